"""Scores of agents, each beside its chance and its ceiling.

Two ways lead to the same figures: `sampled_scores` counts trajectories, and `exact_scores` takes
the probability of every end from an enumerated problem, without sampling noise. `summarise`
averages over a family with its weights and gives intervals by bootstrap over problems.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfn_envs.exact import StateGraph
from gfn_envs.rollout import Trajectory

Scores = dict[str, float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """Returns `{"value": .., "interval": [low, high]}`."""
        return {"value": self.value, "interval": [self.low, self.high]}


def pass_at_k(samples: int, successes: int, k: int) -> float:
    """Returns the unbiased estimate of the chance that one of k samples succeeds.

    1 - C(n - c, k) / C(n, k) for n samples with c successes (Chen et al. 2021, arXiv 2107.03374,
    equation 1).

    Raises:
        ValueError: k is not from 1 to n.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@k needs 1 <= k <= samples, got k={k} and {samples} samples")
    return 1.0 - math.comb(samples - successes, k) / math.comb(samples, k)


def sampled_scores(trajectories: Sequence[Trajectory], n_solutions: int, k: int) -> Scores:
    """Scores the trajectories of one problem.

    Args:
        trajectories: at least k samples of one agent on one problem.
        n_solutions: number of distinct solutions that the problem has.
        k: for pass@k.
    """
    solved = [trajectory.solution for trajectory in trajectories if trajectory.success]
    counts = Counter(solved)
    return {
        "success_at_1": len(solved) / len(trajectories),
        "pass_at_k": pass_at_k(len(trajectories), len(solved), k),
        "distinct_solutions": float(len(counts)),
        "coverage": len(counts) / n_solutions if n_solutions else math.nan,
        "solution_entropy": entropy([count / len(solved) for count in counts.values()]) if solved else 0.0,
    }


def exact_scores(graph: StateGraph[Any, Any], reached: np.ndarray, k: int, samples: int, beta: float = 1.0) -> Scores:
    """Scores a distribution over the ends of an enumerated problem.

    Args:
        graph: the enumerated problem.
        reached: probability of each end, shape (states,).
        k: for pass@k.
        samples: number of samples for which the expected number of distinct solutions is given.
        beta: the target is proportional to R^beta.
    """
    success = float(reached @ graph.successes)
    probabilities = np.array(list(graph.solution_probabilities(reached).values()))
    distinct = float(np.sum(1.0 - (1.0 - np.minimum(probabilities, 1.0)) ** samples))
    return {
        "success_at_1": success,
        "pass_at_k": 1.0 - (1.0 - min(success, 1.0)) ** k,
        "distinct_solutions": distinct,
        "coverage": distinct / len(graph.solutions) if graph.solutions else math.nan,
        "total_variation": total_variation(reached, graph.target(beta)),
    }


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """Returns half the L1 distance of two distributions, from 0 to 1."""
    return float(0.5 * np.abs(p - q).sum())


def sampled_distance(trajectories: Sequence[Trajectory], target: Mapping[str, float]) -> float:
    """Returns the total variation between the objects that were sampled and their target probabilities."""
    counts = Counter(trajectory.solution for trajectory in trajectories)
    names = {*counts, *target}
    return 0.5 * sum(abs(counts[name] / len(trajectories) - target.get(name, 0.0)) for name in names)


def perfect_sampled_distance(target: Mapping[str, float], samples: int) -> float:
    """Returns the expected `sampled_distance` of a perfect sampler, which is not 0: the floor beside it.

    Half the sum of the mean absolute deviations of binomials, in De Moivre's closed form: for m = floor(np) + 1,
    E|X - np| = 2 m C(n, m) p^m (1 - p)^(n - m + 1).
    """
    total = 0.0
    for p in target.values():
        if not 0 < p < 1:
            continue
        m = math.floor(samples * p) + 1
        log_term = (
            math.lgamma(samples + 1)
            - math.lgamma(m)
            - math.lgamma(samples - m + 1)
            + m * math.log(p)
            + (samples - m + 1) * math.log1p(-p)
        )
        total += math.exp(log_term) / samples
    return total


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Returns the Jensen-Shannon divergence of two distributions, from 0 to log 2 (nats)."""
    middle = 0.5 * (p + q)
    return 0.5 * (_relative_entropy(p, middle) + _relative_entropy(q, middle))


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    support = p > 0
    return float(np.sum(p[support] * np.log(p[support] / q[support])))


def entropy(probabilities: Sequence[float]) -> float:
    """Returns the Shannon entropy in nats."""
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def normalised_score(score: float, chance: float, optimum: float) -> float:
    """Returns (score - chance) / (optimum - chance): 0 at random legal play, 1 at the best possible."""
    return (score - chance) / (optimum - chance) if optimum > chance else math.nan


def summarise(
    scores: Sequence[Mapping[str, float]], weights: Sequence[float], rng: np.random.Generator, resamples: int = 1000
) -> dict[str, Estimate]:
    """Returns the weighted mean of every score over the problems, with its interval.

    The 95 % interval is the percentile bootstrap over problems, drawn uniformly and then weighted;
    all scores share the draws. Problems on which a score is not defined (NaN) do not count for it.
    """
    draws = rng.integers(len(scores), size=(resamples, len(scores)))
    weight = np.asarray(weights, dtype=float)
    result = {}
    for name in scores[0]:
        values = np.array([score[name] for score in scores], dtype=float)
        defined = np.where(np.isnan(values), 0.0, weight)
        filled = np.nan_to_num(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (filled * defined)[draws].sum(axis=1) / defined[draws].sum(axis=1)
            mean = float((filled * defined).sum() / defined.sum()) if defined.sum() else math.nan
        means = means[~np.isnan(means)]
        low, high = np.percentile(means, [2.5, 97.5]) if len(means) else (math.nan, math.nan)
        result[name] = Estimate(mean, float(low), float(high))
    return result
