"""All that is computed from the tables of one environment: scores with intervals, comparisons, curves, profiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from baselines.bench_exhibits import Found, distributions, found_solutions
from baselines.bench_tables import Tables
from baselines.cells import CellResult
from baselines.results import CEILING, CHANCE, SCORES, SEEN_DISTANCE, AgentResult, BenchmarkResults, Curve
from baselines.statistics import (
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
from gfn_envs.evaluation_results import FAMILY_SCORES, parts_of
from gfn_envs.metrics import Estimate, FamilyScore, creativity

COMPARED = (*SCORES, SEEN_DISTANCE)
"""Scores by which agents are held against each other: how well in one attempt and in k, how much of all, how truly."""
_RATIOS = ("diversity", "diversity_at_16")
_DECILES = ("success_at_1", "coverage")
_PARTS = ("distinct_solutions", "distinct_at_16", "pass_at_16")
"""Scores that only serve to make others."""
FEWEST_PROBLEMS = 6
"""For an interval of a difference. The bootstrap over fewer leaves 0 out between equal agents far more often than in
5 % of cases: over one always, over three in a third, over six in a sixth."""
_THRESHOLDS = np.linspace(0.0, 1.0, 51)
PROFILE_AXES = ("normalised success of at least", "share of problems and seeds")
CURVE_AXES = ("environment steps", "success of training samples")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better the first agent is than the second by one score; turned around where lower is better.

    Attributes:
        values: the score of the first and of the second, over the problems and seeds for which both have one.
        difference: mean of first minus second over these, without an interval if they are few problems.
        improvement: how probably the first is the better one on a problem.
    """

    score: str
    first: str
    second: str
    values: tuple[float, float]
    difference: Estimate
    improvement: Estimate


@dataclass(frozen=True, slots=True)
class ArenaResults:
    """Everything about one environment of a suite."""

    name: str
    results: BenchmarkResults
    comparisons: tuple[Comparison, ...]
    found: tuple[Found, ...]


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
            AgentResult(CEILING, _about_ceiling(tables), _yardsticks(tables, "target"), {}),
        ),
        curves=tuple(_curves(tables)),
        distributions=distributions(tables),
        profiles=tuple(_profiles(tables)),
    )
    return ArenaResults(tables.name, results, tuple(_comparisons(tables)), tuple(found_solutions(tables)))


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
    """Returns the scores of uniform play, or of the exact sampler and, where it is unknown, of the best there is.

    They are NaN where they are not known of all problems that the agents' mean is over.
    """

    def whole(yardstick: np.ndarray, name: str) -> np.ndarray:
        if not np.isnan(yardstick).any():
            return yardstick
        scored = np.any(
            [~np.isnan(sum(tables.table(a, part) for part in parts_of(name))) for a in tables.agents], axis=0
        )
        return np.where((scored & np.isnan(yardstick)).any(), np.nan, yardstick)

    def part_of_ratio(name: str, part: str) -> np.ndarray:
        return whole(tables.yardstick(part), name)

    scores = {}
    for shown in tables.means:
        own = tables.yardstick(shown.chance if player == "chance" else shown.target)
        if player == "target" and shown.best:
            own = np.where(np.isnan(own), tables.yardstick(shown.best), own)
        scores[shown.name] = estimate(whole(own, shown.name), tables.weights, tables.draws)
    for name in _RATIOS:
        scores[name] = _combined(tables, FAMILY_SCORES[f"{player}_{name}"], partial(part_of_ratio, name))
    for name in _DECILES:
        shown = next(score for score in tables.means if score.name == name)
        own = whole(tables.yardstick(shown.chance if player == "chance" else shown.target), name)
        scores[f"worst_decile_{name}"] = worst_decile(own, tables.weights, tables.draws)
    return scores


def _about_ceiling(tables: Tables) -> str:
    exact = "the exact sampler of the target distribution"
    known = ~np.isnan(tables.yardstick("target_success_at_1"))
    return exact if known.all() else f"{exact}; where it is not known, the best there is"


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
    """Returns the mean over seeds of the share of all found solutions that only this agent found.

    NaN without a rival, or without a seed that all of them have: it would measure who is missing.
    """
    common = [seed for seed in tables.seeds if all(seed in own for own in tables.cells.values())]
    seeds = common if len(tables.agents) > 1 else []
    shares = [creativity({agent: _found_names(own[seed]) for agent, own in tables.cells.items()}) for seed in seeds]
    means = {
        agent: float(np.mean([share[agent] for share in shares])) if shares else math.nan for agent in tables.agents
    }
    return {agent: Estimate(mean, math.nan, math.nan) for agent, mean in means.items()}


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
        if score is SEEN_DISTANCE and not any(np.isnan(tables.table(a, "total_variation")).all() for a in known):
            continue  # the exact one says the same and more
        for first, second in permutations(known, 2):
            pair = values[first], values[second], tables.weights, tables.draws
            missing = np.isnan(values[first] - values[second])
            means = [sign * table_mean(np.where(missing, np.nan, table), tables.weights) for table in pair[:2]]
            if not missing.all():  # otherwise they have no seed in common yet
                difference, improvement = paired_difference(*pair), probability_of_improvement(*pair)
                if (~missing).any(axis=0).sum() < FEWEST_PROBLEMS:
                    difference = Estimate(difference.value, math.nan, math.nan)
                compared.append(Comparison(score.name, first, second, (means[0], means[1]), difference, improvement))
    return compared
