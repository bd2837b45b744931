"""Scores of agents, each beside its chance and its ceiling.

Two ways lead to the same figures: `sampled_scores` counts trajectories, and `exact_scores` takes
the probability of every end from an enumerated problem, without sampling noise. `summarise`
averages over a family with its weights and gives intervals by bootstrap over problems.

The published figures of Flow of Reasoning (Yu et al., arXiv 2406.05673) are among them: Accuracy is
`accuracy`, at least one success in n samples; Diversity is distinct successes a solved problem, over a
family the mean of `distinct_solutions` over the mean of `accuracy`; Creativity is `creativity`. Div@16
of GFlowVLM (Kang et al., arXiv 2503.06514) is that Diversity in 16 samples, from `distinct_at_16` and
`pass_at_16`, which are unbiased for any larger number of samples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfn_envs.state_graph import StateGraph
from gfn_envs.trajectory import Trajectory

Scores = dict[str, float]
PUBLISHED_SAMPLES = 16
"""Samples of a problem in GFlowVLM's Div@16."""
END = "end_"
"""Before the name of one of `Task.end_scores`, the name of the score."""
_DECILE = 0.1
_TIE = 9
"""Decimals to which log-probabilities must differ to be ranked apart; less is rounding."""


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


def distinct_at_k(counts: Sequence[int], samples: int, k: int) -> float:
    """Returns the unbiased estimate of how many distinct solutions k samples find.

    The sum over solutions of `pass_at_k`, known as rarefaction (Hurlbert 1971).

    Args:
        counts: how often each solution was found in `samples` samples.
    """
    return sum(pass_at_k(samples, count, k) for count in counts)


def sampled_scores(
    trajectories: Sequence[Trajectory], n_solutions: int, k: int, end_names: Iterable[str] = ()
) -> Scores:
    """Scores the trajectories of one problem.

    `accuracy` is whether any of them succeeds; the scores at 16 are NaN for fewer than 16 samples. An attempt that
    broke off is a failure, and has 0 of every end score.

    Args:
        trajectories: at least k samples of one agent on one problem.
        n_solutions: number of distinct solutions that the problem has, 0 if that is not known.
        k: for pass@k.
        end_names: names of `Task.end_scores`, for where no attempt reaches an end.
    """
    solved = [trajectory.solution for trajectory in trajectories if trajectory.success]
    counts, samples = Counter(solved), len(trajectories)
    enough = samples >= PUBLISHED_SAMPLES
    return {
        "success_at_1": len(solved) / samples,
        "pass_at_k": pass_at_k(samples, len(solved), k),
        "accuracy": float(bool(solved)),
        "pass_at_16": pass_at_k(samples, len(solved), PUBLISHED_SAMPLES) if enough else math.nan,
        "distinct_solutions": float(len(counts)),
        "distinct_at_16": distinct_at_k([*counts.values()], samples, PUBLISHED_SAMPLES) if enough else math.nan,
        "coverage": len(counts) / n_solutions if n_solutions else math.nan,
        "solution_entropy": entropy([count / len(solved) for count in counts.values()]) if solved else 0.0,
        "illegal_answers": sum(trajectory.illegal_answer is not None for trajectory in trajectories) / samples,
        **end_means([dict(trajectory.end_scores) for trajectory in trajectories], end_names),
    }


def end_means(found: Sequence[Mapping[str, float]], end_names: Iterable[str] = ()) -> Scores:
    """Returns the mean of each of `Task.end_scores` over some ends, named as a score; what an end lacks is 0."""
    names = dict.fromkeys([*(name for scores in found for name in scores), *end_names])
    return {f"{END}{name}": sum(scores.get(name, 0.0) for scores in found) / len(found) for name in names}


def exact_scores(graph: StateGraph[Any, Any], reached: np.ndarray, k: int, samples: int, beta: float = 1.0) -> Scores:
    """Scores a distribution over the ends of an enumerated problem.

    What `sampled_scores` has is here its expectation, except for the entropy, which is that of the
    distribution over solutions itself: the limit of many samples.

    Args:
        graph: the enumerated problem.
        reached: probability of each end, shape (states,).
        k: for pass@k.
        samples: number of samples for which accuracy and the expected number of distinct solutions are given.
        beta: the target is proportional to R^beta.
    """
    success = min(float(reached @ graph.successes), 1.0)
    probabilities = np.minimum(np.array(list(graph.solution_probabilities(reached).values())), 1.0)
    distinct = float(np.sum(1.0 - (1.0 - probabilities) ** samples))
    target = graph.target(beta)
    return {
        "success_at_1": success,
        "pass_at_k": 1.0 - (1.0 - success) ** k,
        "accuracy": 1.0 - (1.0 - success) ** samples,
        "pass_at_16": 1.0 - (1.0 - success) ** PUBLISHED_SAMPLES,
        "distinct_solutions": distinct,
        "distinct_at_16": float(np.sum(1.0 - (1.0 - probabilities) ** PUBLISHED_SAMPLES)),
        "coverage": distinct / len(graph.solutions) if graph.solutions else math.nan,
        "solution_entropy": entropy((probabilities / success).tolist()) if success > 0 else 0.0,
        "total_variation": total_variation(reached, target),
        "jensen_shannon": jensen_shannon(reached, target),
        **{f"{END}{name}": float(reached @ values) for name, values in graph.end_scores.items()},
    }


def creativity(found: Mapping[str, Mapping[str, Collection[str]]]) -> dict[str, float]:
    """Returns for each agent the share of all solutions found by anyone that only this agent found.

    Creativity of Flow of Reasoning (Yu et al., arXiv 2406.05673): it says something about a set of agents that had
    equally many samples of the same problems, and nothing about one agent alone.

    Args:
        found: by agent and problem, the names of the solutions that it found.
    """
    sets = {agent: {(p, name) for p, names in own.items() for name in names} for agent, own in found.items()}
    finders = Counter(solution for own in sets.values() for solution in own)
    return {
        agent: sum(finders[solution] == 1 for solution in own) / len(finders) if finders else math.nan
        for agent, own in sets.items()
    }


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Returns Spearman's rank correlation, equal values sharing their average rank; NaN if one side is constant."""
    ranks = [_average_ranks(np.round(np.asarray(values, dtype=float), _TIE)) for values in (x, y)]
    a, b = (rank - rank.mean() for rank in ranks)
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def _average_ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places])


def importance_bounds(log_weights: np.ndarray) -> tuple[float, float]:
    """Returns the ELBO and the importance-weighted estimate of log Z, from samples.

    With log w = log R + sum of (log P_B - log P_F), the mean of log w estimates the ELBO without bias (Malkin et
    al. 2023, arXiv 2210.00580), and log of the mean of w estimates log Z: from below in expectation, closer with
    more samples, and exactly for the exact sampler (Burda et al. 2016, arXiv 1509.00519).

    Args:
        log_weights: log w of each sample, shape (samples,).
    """
    top = float(log_weights.max())
    log_z = top + math.log(float(np.mean(np.exp(log_weights - top)))) if math.isfinite(top) else top
    return float(log_weights.mean()), log_z


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """Returns half the L1 distance of two distributions, from 0 to 1."""
    return float(0.5 * np.abs(p - q).sum())


def sampled_distance(trajectories: Sequence[Trajectory], target: Mapping[str, float]) -> float:
    """Returns the total variation between the objects that were sampled and their target probabilities.

    An attempt that broke off is none of the objects.
    """
    counts = Counter(trajectory.solution for trajectory in trajectories if trajectory.complete)
    names = sorted({*counts, *target})  # in an order, so that every process sums alike
    apart = sum(abs(counts[name] / len(trajectories) - target.get(name, 0.0)) for name in names)
    return 0.5 * (apart + sum(not trajectory.complete for trajectory in trajectories) / len(trajectories))


def expected_sampled_distance(reached: Mapping[str, float], target: Mapping[str, float], samples: int) -> float:
    """Returns the expected `sampled_distance` of a known distribution over objects.

    That of the target itself is not 0: it is the floor that stands beside a sampled distance.

    Args:
        reached: probability of each object.
        target: the target probability of each object.
        samples: number of samples.
    """
    names = sorted({*reached, *target})
    pairs = np.array([(min(reached.get(name, 0.0), 1.0), target.get(name, 0.0)) for name in names])
    pairs, times = np.unique(pairs, axis=0, return_counts=True)
    counts = np.arange(samples + 1)
    log_factorials = np.array([math.lgamma(count + 1) for count in counts.tolist()])
    log_binomials = log_factorials[-1] - log_factorials - log_factorials[::-1]
    total = 0.0
    for (p, q), repeated in zip(pairs.tolist(), times.tolist(), strict=True):
        if 0 < p < 1:
            chances = np.exp(log_binomials + counts * math.log(p) + (samples - counts) * math.log1p(-p))
        else:
            chances = (counts == samples * p).astype(float)
        total += repeated * float(chances @ np.abs(counts / samples - q))
    return 0.5 * total


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Returns the Jensen-Shannon divergence of two distributions, from 0 to log 2 (nats)."""
    middle = 0.5 * (p + q)
    return 0.5 * (_relative_entropy(p, middle) + _relative_entropy(q, middle))


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    support = p > 0
    return float(np.sum(p[support] * np.log(p[support] / q[support])))


def entropy(probabilities: Sequence[float]) -> float:
    """Returns the Shannon entropy in nats, never below 0 where probabilities are rounded."""
    return max(0.0, -sum(p * math.log(p) for p in probabilities if p > 0))


def normalised_score(score: float, chance: float, optimum: float) -> float:
    """Returns (score - chance) / (optimum - chance): 0 at random legal play, 1 at the best possible."""
    return (score - chance) / (optimum - chance) if optimum > chance else math.nan


@dataclass(frozen=True, slots=True)
class FamilyScore:
    """A score of a family that is no mean over problems but a function of such means.

    Attributes:
        parts: names of the scores whose means it needs; problems on which one is not defined do not count.
        combine: the function of these means, elementwise.
    """

    parts: tuple[str, ...]
    combine: Callable[..., np.ndarray]


def summarise(
    scores: Sequence[Mapping[str, float]],
    weights: Sequence[float],
    rng: np.random.Generator,
    resamples: int = 1000,
    family: Mapping[str, FamilyScore] | None = None,
    worst: Mapping[str, str] | None = None,
) -> dict[str, Estimate]:
    """Returns the weighted mean of every score over the problems, with its interval.

    The 95 % interval is the percentile bootstrap over problems, drawn uniformly and then weighted;
    all scores share the draws. Problems on which a score is not defined (NaN) do not count for it.

    Args:
        family: further scores by name, as functions of means; one whose parts are missing is left out.
        worst: further scores by name: the worst decile of the score that is named.
    """
    count = len(scores)
    draws = np.vstack([np.arange(count), rng.integers(count, size=(resamples, count))])
    weight = np.asarray(weights, dtype=float)
    columns = {name: np.array([score[name] for score in scores], dtype=float) for name in scores[0]}
    result = {name: _estimate(_means(values, weight, draws)) for name, values in columns.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        for name, score in (family or {}).items():
            if columns.keys() >= set(score.parts):
                parts = [columns[part] for part in score.parts]
                defined = ~np.isnan(sum(parts))
                means = [_means(np.where(defined, part, np.nan), weight, draws) for part in parts]
                result[name] = _estimate(score.combine(*means))
    for name, of in (worst or {}).items():
        if of in columns:
            result[name] = _estimate(worst_deciles(columns[of][draws], weight[draws]))
    return result


def worst_decile(values: Sequence[float], weights: Sequence[float]) -> float:
    """Returns the mean over the lowest tenth of the values by weight; one that straddles the border counts in part."""
    return float(worst_deciles(np.array([values], dtype=float), np.array([weights], dtype=float))[0])


def worst_deciles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the worst decile of each row, NaN where nothing is defined; NaN values do not count.

    Args:
        values: shape (R, P).
        weights: of the same shape.

    Returns:
        shape (R,).
    """
    defined = np.where(np.isnan(values), 0.0, weights)
    order = np.argsort(values, axis=1, kind="stable")  # NaN last
    defined = np.take_along_axis(defined, order, axis=1)
    ordered = np.nan_to_num(np.take_along_axis(values, order, axis=1))
    room = _DECILE * defined.sum(axis=1, keepdims=True) - (np.cumsum(defined, axis=1) - defined)
    counted = np.clip(room, 0.0, defined)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((counted * ordered).sum(axis=1) / counted.sum(axis=1))


def _means(values: np.ndarray, weight: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Returns the weighted mean of each row of draws, shape (draws,), NaN where nothing is defined."""
    defined = np.where(np.isnan(values), 0.0, weight)
    filled = np.where(np.isnan(values), 0.0, values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((filled * defined)[draws].sum(axis=1) / defined[draws].sum(axis=1))


def _estimate(means: np.ndarray) -> Estimate:
    """Returns the first value with the interval of the others."""
    resampled = means[1:][np.isfinite(means[1:])]
    low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (math.nan, math.nan)
    return Estimate(float(means[0]), float(low), float(high))
