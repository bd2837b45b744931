"""The results of one environment of a suite as tables of scores.

A table holds one score of one agent: a row a seed, a column a problem, as `baselines.statistics` wants it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from baselines.bench import Run
from baselines.cells import CellResult, ProblemResult
from baselines.statistics import Resamples, draw_resamples
from baselines.suites import Arena, Contestant
from gfn_envs.evaluation_results import FAMILY_SCORES, ShownScore, shown_scores


@dataclass(frozen=True)
class Tables:
    """The results of one environment as tables (S, P) of agents with a result, NaN where there is none.

    Attributes:
        name: of the environment, as the report shows it.
        env_id: its registered id.
        settings: what readers should know of it, by name.
        k: of pass@k.
        samples: episodes on each problem.
        seeds: with which agents were trained.
        about: of each agent what it is, where its name does not say it.
        cells: the results, by agent and seed.
    """

    name: str
    env_id: str
    settings: Mapping[str, Any]
    k: int
    samples: int
    seeds: tuple[int, ...]
    about: Mapping[str, str]
    cells: Mapping[str, Mapping[int, CellResult]]

    @classmethod
    def of(cls, run: Run, arena: Arena) -> Tables:
        """Returns the tables of one environment of a run.

        Raises:
            ValueError: its results are of different problems.
        """
        cells: dict[str, dict[int, CellResult]] = {}
        for cell, outcome in zip(run.cells, run.outcomes, strict=True):
            if cell.arena.name == arena.name and isinstance(outcome, CellResult):
                cells.setdefault(cell.contestant.name, {})[cell.seed] = outcome
        played = {
            tuple(problem.problem_id for problem in one.problems) for own in cells.values() for one in own.values()
        }
        if len(played) > 1:
            raise ValueError(
                f"results in {arena.name!r} are of different problems, as the package drew others when some were made; "
                "choose another --output to make all of them anew"
            )
        about = {contestant.name: _about(contestant) for contestant in run.suite.agents}
        return cls(arena.name, arena.id, arena.kwargs, arena.k, arena.samples, run.seeds, about, cells)

    @property
    def agents(self) -> list[str]:
        """Names of the agents with a result."""
        return list(self.cells)

    @cached_property
    def problems(self) -> tuple[ProblemResult, ...]:
        """The problems, as any of the agents played them."""
        return next((result.problems for own in self.cells.values() for result in own.values()), ())

    @cached_property
    def weights(self) -> np.ndarray:
        """Weight of each problem, shape (P,)."""
        return np.array([problem.weight for problem in self.problems])

    @cached_property
    def draws(self) -> Resamples:
        """Bootstrap draws, the same for everything that is computed from these tables."""
        return draw_resamples(max(len(self.seeds), 1), max(len(self.problems), 1), np.random.default_rng(0))

    @cached_property
    def means(self) -> tuple[ShownScore, ...]:
        """The scores that are means over problems."""
        shown = shown_scores(self.problems[0].scores) if self.problems else ()
        return tuple(score for score in shown if score.name not in FAMILY_SCORES and "worst" not in score.name)

    def table(self, agent: str, name: str) -> np.ndarray:
        """Returns one score of an agent, shape (S, P)."""
        empty = np.full(len(self.problems), np.nan)
        own = self.cells[agent]
        return np.array([self._row(own[seed], name) if seed in own else empty for seed in self.seeds])

    def yardstick(self, name: str) -> np.ndarray:
        """Returns a yardstick, the same for every agent but for the noise of simulated chance, shape (S, P)."""
        rows = np.array([self._row(result, name) for own in self.cells.values() for result in own.values()])
        known = ~np.isnan(rows)
        sums, counts = np.where(known, rows, 0.0).sum(axis=0), known.sum(axis=0)
        mean = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return np.tile(mean, (len(self.seeds), 1))

    @staticmethod
    def _row(result: CellResult, name: str) -> np.ndarray:
        return np.array([problem.scores.get(name, math.nan) for problem in result.problems])


def _about(contestant: Contestant) -> str:
    """Returns what an agent is, where its name does not say it."""
    options = [f"{name}={value}" for name, value in contestant.options.items()]
    return ", ".join([*([contestant.agent] if contestant.agent != contestant.name else []), *options])
