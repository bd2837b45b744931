"""The results of one environment of a suite as tables, and everything that is computed from them.

A table holds one score of one agent: a row a seed, a column a problem, as `baselines.statistics` wants it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np

from baselines.bench import Run
from baselines.cells import CellResult, ProblemResult
from baselines.results import (
    CEILING,
    CHANCE,
    NO_SOLUTION,
    SCORES,
    AgentResult,
    BenchmarkResults,
    Curve,
    DistributionExhibit,
    Score,
)
from baselines.statistics import (
    Resamples,
    draw_resamples,
    estimate,
    interval,
    normalised,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    resampled_means,
    table_mean,
    worst_decile,
)
from baselines.suites import Arena, Contestant
from gfn_envs.evaluation_results import FAMILY_SCORES, SHOWN_SCORES, ShownScore, shown_scores
from gfn_envs.metrics import Estimate, FamilyScore, creativity

_SHOWN = next(score for score in SHOWN_SCORES if score.name == "sampled_distance")
_SEEN_DISTANCE = Score(_SHOWN.name, _SHOWN.label, _SHOWN.meaning, percent=False, lower_is_better=True)
COMPARED = (*SCORES, _SEEN_DISTANCE)
"""Scores by which agents are held against each other: how well in one attempt and in k, how much of all, how truly."""
_RATIOS = ("diversity", "diversity_at_16")
_DECILES = ("success_at_1", "coverage")
_PARTS = ("distinct_solutions", "distinct_at_16", "pass_at_16")
"""Scores that only serve to make others."""
_THRESHOLDS = np.linspace(0.0, 1.0, 51)
_EXHIBIT_SOLUTIONS = (4, 12)
_GALLERY_PROBLEMS = 4
PROFILE_AXES = ("normalised success of at least", "share of problems and seeds")
CURVE_AXES = ("environment steps", "success of training samples")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better the first agent is than the second by one score; turned around where lower is better.

    Attributes:
        difference: mean of first minus second over the same problems and seeds.
        improvement: how probably the first is the better one on a problem.
    """

    score: str
    first: str
    second: str
    difference: Estimate
    improvement: Estimate


@dataclass(frozen=True, slots=True)
class Found:
    """The solutions of one problem: the share of its attempts in which each agent found each.

    Attributes:
        known: number of solutions that exist; None where they cannot be listed.
        target: share of each under the exact sampler; empty where it is not known.
        agents: by agent, the share of each solution.
    """

    problem_id: str
    known: int | None
    names: tuple[str, ...]
    target: tuple[float, ...]
    agents: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class ArenaResults:
    """Everything about one environment of a suite."""

    name: str
    results: BenchmarkResults
    comparisons: tuple[Comparison, ...]
    found: tuple[Found, ...]


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
        """Returns the tables of one environment of a run."""
        cells: dict[str, dict[int, CellResult]] = {}
        for cell, outcome in zip(run.cells, run.outcomes, strict=True):
            if cell.arena.name == arena.name and isinstance(outcome, CellResult):
                cells.setdefault(cell.contestant.name, {})[cell.seed] = outcome
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


# -- one environment -------------------------------------------------------------------------------
def arena_results(tables: Tables) -> ArenaResults:
    """Returns everything about one environment, in which at least one agent has a result."""
    about, creative = tables.about, _creativity(tables)
    agents = [
        AgentResult(name, about[name], {**_scores(tables, name), "creativity": creative[name]}, _costs(tables, name))
        for name in tables.agents
    ]
    results = BenchmarkResults(
        title=tables.name,
        environment=tables.env_id,
        settings=dict(tables.settings),
        k=tables.k,
        samples=tables.samples,
        agents=(
            AgentResult(CHANCE, "uniformly random legal play", _yardsticks(tables, "chance"), {}),
            *agents,
            AgentResult(CEILING, "the exact sampler of the target distribution", _yardsticks(tables, "target"), {}),
        ),
        curves=tuple(_curves(tables)),
        distributions=_distributions(tables),
        profiles=tuple(_profiles(tables)),
    )
    return ArenaResults(tables.name, results, tuple(_comparisons(tables)), tuple(_found(tables)))


def _about(contestant: Contestant) -> str:
    """Returns what an agent is, where its name does not say it."""
    options = [f"{name}={value}" for name, value in contestant.options.items()]
    return ", ".join([*([contestant.agent] if contestant.agent != contestant.name else []), *options])


def _scores(tables: Tables, agent: str) -> dict[str, Estimate]:
    def table(name: str) -> np.ndarray:
        return tables.table(agent, name)

    scores = {name: estimate(table(name), tables.weights, tables.draws) for name in (*_names(tables.means), *_PARTS)}
    for name in _RATIOS:
        scores[name] = _combined(tables, FAMILY_SCORES[name], table)

    def between(name: str) -> np.ndarray:
        return table(name) if name == "success_at_1" else tables.yardstick(name)

    scores["normalised_score"] = _combined(tables, FAMILY_SCORES["normalised_score"], between)
    for name in _DECILES:
        scores[f"worst_decile_{name}"] = worst_decile(table(name), tables.weights, tables.draws)
    return scores


def _yardsticks(tables: Tables, player: str) -> dict[str, Estimate]:
    """Returns the scores of uniform play, or of the exact sampler and, where it is unknown, of the best there is."""

    def table(name: str) -> np.ndarray:
        return tables.yardstick(name)

    scores = {}
    for shown in tables.means:
        own = table(shown.chance if player == "chance" else shown.target)
        if player == "target" and shown.best:
            own = np.where(np.isnan(own), table(shown.best), own)
        scores[shown.name] = estimate(own, tables.weights, tables.draws)
    for name in _RATIOS:
        scores[name] = _combined(tables, FAMILY_SCORES[f"{player}_{name}"], table)
    for name in _DECILES:
        shown = next(score for score in tables.means if score.name == name)
        own = table(shown.chance if player == "chance" else shown.target)
        scores[f"worst_decile_{name}"] = worst_decile(own, tables.weights, tables.draws)
    return scores


def _names(scores: Sequence[Any]) -> list[str]:
    return [score.name for score in scores]


def _combined(tables: Tables, score: FamilyScore, table: Callable[[str], np.ndarray]) -> Estimate:
    """Returns a score that is a function of means, with its interval.

    Args:
        table: returns each part of the score, shape (S, P).
    """
    parts = [table(name) for name in score.parts]
    known = ~np.isnan(sum(parts))
    parts = [np.where(known, part, np.nan) for part in parts]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = score.combine(*(np.array([table_mean(part, tables.weights)]) for part in parts))
        resampled = score.combine(*(resampled_means(part, tables.weights, tables.draws) for part in parts))
    value, resampled = (np.where(np.isfinite(found), found, np.nan) for found in (value, resampled))
    return interval(float(value[0]), resampled)


def _creativity(tables: Tables) -> dict[str, Estimate]:
    """Returns the mean over seeds of the share of all found solutions that only this agent found."""
    values: dict[str, list[float]] = {agent: [] for agent in tables.agents}
    for seed in tables.seeds:
        found = {agent: _found_names(own[seed]) for agent, own in tables.cells.items() if seed in own}
        for agent, value in creativity(found).items():
            values[agent].append(value)
    return {agent: Estimate(float(np.mean(own)), math.nan, math.nan) for agent, own in values.items()}


def _found_names(result: CellResult) -> dict[str, list[str]]:
    return {
        problem.problem_id: [name for name, shares in problem.solutions.items() if shares["sampled"] > 0]
        for problem in result.problems
    }


def _costs(tables: Tables, agent: str) -> dict[str, float]:
    """Returns the mean cost of a seed."""
    rows = [result.costs for result in tables.cells[agent].values()]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def _curves(tables: Tables) -> list[Curve]:
    """Returns the mean learning curve over seeds, at every step count that all seeds have come to."""
    curves = []
    for agent in tables.agents:
        rows = [result.curve for result in tables.cells[agent].values()]
        points = [
            np.array([(row["environment_steps"], row["success"]) for row in curve if math.isfinite(row["success"])])
            for curve in rows
        ]
        if any(len(own) < 2 for own in points):
            continue
        low, high = max(own[0, 0] for own in points), min(own[-1, 0] for own in points)
        steps = np.unique(np.concatenate([own[:, 0] for own in points]))
        steps = steps[(steps >= low) & (steps <= high)]
        mean = np.mean([np.interp(steps, own[:, 0], own[:, 1]) for own in points], axis=0)
        curves.append(Curve(agent, tuple(steps.tolist()), tuple(mean.tolist()), *CURVE_AXES))
    return curves


def _profiles(tables: Tables) -> list[Curve]:
    """Returns the performance profile of each agent, by success between chance and optimum."""
    chance, best = tables.yardstick("chance"), tables.yardstick("optimum")
    curves = []
    for agent in tables.agents:
        table = normalised(tables.table(agent, "success_at_1"), chance, best)
        if not np.isnan(table).all():
            shares = performance_profile(table, tables.weights, _THRESHOLDS)
            curves.append(Curve(agent, tuple(_THRESHOLDS.tolist()), tuple(shares.tolist()), *PROFILE_AXES))
    return curves


def _comparisons(tables: Tables) -> list[Comparison]:
    compared = []
    for score in COMPARED:
        sign = -1.0 if score.lower_is_better else 1.0
        values = {agent: sign * tables.table(agent, score.name) for agent in tables.agents}
        known = [agent for agent, table in values.items() if not np.isnan(table).all()]
        if score is _SEEN_DISTANCE and not any(np.isnan(tables.table(a, "total_variation")).all() for a in known):
            continue  # the exact one says the same and more
        for first, second in permutations(known, 2):
            pair = values[first], values[second], tables.weights, tables.draws
            compared.append(
                Comparison(score.name, first, second, paired_difference(*pair), probability_of_improvement(*pair))
            )
    return compared


# -- what was found --------------------------------------------------------------------------------
def _shares(tables: Tables, place: int, player: str) -> dict[str, dict[str, float]]:
    """Returns for each agent the mean over seeds of a column of one problem's solutions."""
    shares: dict[str, dict[str, float]] = {}
    for agent, own in tables.cells.items():
        lists = [result.problems[place].solutions for result in own.values()]
        names = dict.fromkeys(name for solutions in lists for name in solutions)
        if all(player in columns for solutions in lists for columns in solutions.values()):
            shares[agent] = {
                name: sum(solutions.get(name, {}).get(player, 0.0) for solutions in lists) / len(lists)
                for name in names
            }
    return shares


def _distributions(tables: Tables) -> tuple[DistributionExhibit, ...]:
    """Returns the first problem with a number of solutions that a picture can show, beside its exact target."""
    low, high = _EXHIBIT_SOLUTIONS
    listed = [place for place, problem in enumerate(tables.problems) if _is_listed(problem) and problem.solutions]
    fitting = [place for place in listed if low <= len(tables.problems[place].solutions) <= high]
    fitting = fitting or sorted(listed, key=lambda place: -len(tables.problems[place].solutions))
    if not fitting:
        return ()
    problem = tables.problems[fitting[0]]
    learned = {**_shares(tables, fitting[0], "sampled"), **_shares(tables, fitting[0], "agent")}

    def column(shares: Mapping[str, float]) -> tuple[float, ...]:
        values = [shares.get(name, 0.0) for name in problem.solutions]
        return (*values, max(0.0, 1.0 - sum(values)))

    target = {name: shares["target"] for name, shares in problem.solutions.items()}
    exhibit = DistributionExhibit(
        problem.problem_id,
        (*problem.solutions, NO_SOLUTION),
        column(target),
        {agent: column(shares) for agent, shares in learned.items()},
    )
    return (exhibit,)


def _is_listed(problem: ProblemResult) -> bool:
    return math.isfinite(problem.scores.get("n_states", math.nan))


def _found(tables: Tables) -> list[Found]:
    """Returns what was found on the first problems on which anything was."""
    gallery = []
    for place, problem in enumerate(tables.problems):
        agents = _shares(tables, place, "sampled")
        names = dict.fromkeys(name for shares in agents.values() for name in shares)
        ordered = sorted(names, key=lambda name: -sum(shares.get(name, 0.0) for shares in agents.values()))
        if ordered:
            listed = _is_listed(problem)
            gallery.append(
                Found(
                    problem.problem_id,
                    len(problem.solutions) if listed else None,
                    tuple(ordered),
                    tuple(problem.solutions[name]["target"] for name in ordered) if listed else (),
                    {agent: tuple(shares.get(name, 0.0) for name in ordered) for agent, shares in agents.items()},
                )
            )
    return gallery[:_GALLERY_PROBLEMS]
