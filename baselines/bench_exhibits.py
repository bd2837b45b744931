"""What agents found on single problems, for people to look at: solutions, and one distribution beside its target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from baselines.bench_tables import Tables
from baselines.cells import ProblemResult
from baselines.results import EXHIBIT_SOLUTIONS, NO_SOLUTION, DistributionExhibit

_GALLERY_PROBLEMS = 4


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


def distributions(tables: Tables) -> tuple[DistributionExhibit, ...]:
    """Returns the first problem with a number of solutions that a picture can show, beside its exact target."""
    low, high = EXHIBIT_SOLUTIONS
    listed = [place for place, problem in enumerate(tables.problems) if is_listed(problem) and problem.solutions]
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


def is_listed(problem: ProblemResult) -> bool:
    """Says whether all states of a problem are known."""
    return math.isfinite(problem.scores.get("n_states", math.nan))


def found_solutions(tables: Tables) -> list[Found]:
    """Returns what was found on the first problems on which anything was."""
    gallery = []
    for place, problem in enumerate(tables.problems):
        agents = _shares(tables, place, "sampled")
        names = dict.fromkeys(name for shares in agents.values() for name, share in shares.items() if share > 0)
        ordered = sorted(names, key=lambda name: -sum(shares.get(name, 0.0) for shares in agents.values()))
        if ordered:
            listed = is_listed(problem)
            gallery.append(
                Found(
                    problem.problem_id,
                    len(problem.solutions) if listed else None,
                    tuple(ordered),
                    tuple(problem.solutions[name]["target"] for name in ordered) if listed else (),
                    {agent: tuple(shares.get(name, 0.0) for name in ordered) for agent, shares in agents.items()},
                )
            )
            if len(gallery) == _GALLERY_PROBLEMS:
                break
    return gallery
