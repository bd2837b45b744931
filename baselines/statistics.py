"""Comparing agents over problems and seeds: intervals, differences, profiles, ranks.

The one idea: the scores of an agent in one environment are a *table* with one row for each training
seed and one column for each problem. Both are samples of what could have been, so the bootstrap
draws rows and columns anew, each for itself; and every agent is scored on the same problems with the
same seeds, so a comparison draws them for both agents at once. Columns carry the family's weights.
NaN stands for a score that is not defined and does not count.

The definitions are those of rliable (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of
the Statistical Precipice", arXiv 2108.13264), with a problem in the place of a task. Everything is
vectorised; S is the number of seeds, P of problems, R of resamples, A of agents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gfn_envs.metrics import Estimate, worst_deciles

RESAMPLES = 1000
_TIE_DIGITS = 12
"""Decimals that count when agents are ranked, so that rounding in a mean makes no order."""


@dataclass(frozen=True, slots=True)
class Resamples:
    """How often each seed and each problem is drawn.

    Attributes:
        seeds: counts of shape (R, S); a row sums to S.
        problems: counts of shape (R, P); a row sums to P.
    """

    seeds: np.ndarray
    problems: np.ndarray


def draw_resamples(seeds: int, problems: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> Resamples:
    """Returns bootstrap draws of seeds and of problems, with replacement, independent of one another."""
    return Resamples(
        rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples),
        rng.multinomial(problems, np.full(problems, 1 / problems), size=resamples),
    )


def _undrawn(table: np.ndarray) -> Resamples:
    """Returns one resample that is the sample itself."""
    return Resamples(np.ones((1, table.shape[0])), np.ones((1, table.shape[1])))


def interval(value: float, resampled: np.ndarray) -> Estimate:
    """Returns a value with the 95 % percentile interval of its resampled values."""
    defined = resampled[~np.isnan(resampled)]
    low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (math.nan, math.nan)
    return Estimate(value, float(low), float(high))


# -- one agent -----------------------------------------------------------------------------------
def table_mean(table: np.ndarray, weights: np.ndarray) -> float:
    """Returns the mean of a table (S, P), its columns weighted by `weights` (P,)."""
    once = _undrawn(table)
    return float(resampled_means(table, weights, once)[0])


def resampled_means(table: np.ndarray, weights: np.ndarray, resamples: Resamples) -> np.ndarray:
    """Returns the weighted mean of a table (S, P) in each resample, shape (R,)."""
    mass = np.where(np.isnan(table), 0.0, weights)
    total = ((resamples.seeds @ (np.nan_to_num(table) * mass)) * resamples.problems).sum(axis=1)
    return _ratio(total, ((resamples.seeds @ mass) * resamples.problems).sum(axis=1))


def estimate(table: np.ndarray, weights: np.ndarray, resamples: Resamples) -> Estimate:
    """Returns the weighted mean of a table (S, P) and its interval."""
    return interval(table_mean(table, weights), resampled_means(table, weights, resamples))


def worst_decile(table: np.ndarray, weights: np.ndarray, resamples: Resamples) -> Estimate:
    """Returns the mean over the tenth of the problems on which an agent scores least, with its interval.

    A problem's score is its mean over seeds. Problems count by weight, the last one in part, so this is
    the expected shortfall at 10 %. Higher scores must be better.
    """
    once = _undrawn(table)
    return interval(float(_worst(table, weights, once)[0]), _worst(table, weights, resamples))


def _worst(table: np.ndarray, weights: np.ndarray, resamples: Resamples) -> np.ndarray:
    known = (~np.isnan(table)).astype(float)
    means = _ratio(resamples.seeds @ np.nan_to_num(table), resamples.seeds @ known)
    return worst_deciles(means, weights * resamples.problems)


def performance_profile(table: np.ndarray, weights: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns for each threshold the share of problems and seeds that score at least that much, shape (T,).

    The run-score distribution of arXiv 2108.13264, section 4.2, with >= so that a perfect agent has
    share 1 at the highest score.
    """
    return np.array([table_mean(_reached(table, threshold), weights) for threshold in thresholds])


def _reached(table: np.ndarray, threshold: float) -> np.ndarray:
    return np.where(np.isnan(table), np.nan, table >= threshold - 10.0**-_TIE_DIGITS)


# -- two agents ----------------------------------------------------------------------------------
def paired_difference(first: np.ndarray, second: np.ndarray, weights: np.ndarray, resamples: Resamples) -> Estimate:
    """Returns the mean of first minus second, two tables (S, P) of the same seeds and problems.

    What is rounding is 0, so that it makes no difference sure.
    """
    found = estimate(first - second, weights, resamples)
    return Estimate(*(round(number, _TIE_DIGITS) + 0.0 for number in (found.value, found.low, found.high)))


def probability_of_improvement(
    first: np.ndarray, second: np.ndarray, weights: np.ndarray, resamples: Resamples
) -> Estimate:
    """Returns how probably the first agent scores higher on a problem than the second; ties count half.

    The Mann-Whitney statistic over all pairs of seeds, averaged over problems (arXiv 2108.13264,
    section 4.3): 0.5 between equal agents.
    """
    once = _undrawn(first)
    wins = 0.5 * (1.0 + np.sign(np.round(first[:, None] - second[None], _TIE_DIGITS)))  # (S, S, P)
    return interval(float(_mean_of_pairs(wins, weights, once)[0]), _mean_of_pairs(wins, weights, resamples))


def _mean_of_pairs(pairs: np.ndarray, weights: np.ndarray, resamples: Resamples) -> np.ndarray:
    """Returns the mean of a table (S, S, P) of pairs of seeds in each resample, shape (R,)."""
    mass = np.where(np.isnan(pairs), 0.0, weights)

    def total(values: np.ndarray) -> np.ndarray:
        summed: np.ndarray = np.einsum(
            "rs,rt,stp,rp->r", resamples.seeds, resamples.seeds, values, resamples.problems, optimize=True
        )
        return summed

    return _ratio(total(np.nan_to_num(pairs) * mass), total(mass))


# -- all agents ----------------------------------------------------------------------------------
def rank_distribution(
    families: Sequence[np.ndarray], weights: Sequence[np.ndarray], rng: np.random.Generator, draws: int = 10_000
) -> np.ndarray:
    """Returns how often each agent takes each rank when one problem is drawn per family, shape (A, A).

    Problems of one family are alike, so a mean over all of them would let the largest family decide. One
    draw takes one problem of each family, by its weights, and one seed, for all agents; the agents are
    ranked by the mean of their scores over the families (after arXiv 2210.08607). Agents that tie share
    their ranks evenly, so rows and columns sum to 1.

    Args:
        families: one table a family, shape (A, S, P of the family), normalised scores without NaN.
        weights: weights of the problems of each family.
        rng: draws problems and seeds.
        draws: number of draws.
    """
    scores = np.zeros((draws, families[0].shape[0]))
    for table, weight in zip(families, weights, strict=True):
        problems = rng.choice(table.shape[2], size=draws, p=weight / weight.sum())
        scores += table[:, rng.integers(table.shape[1], size=draws), problems].T / len(families)
    share: np.ndarray = ranks(scores).mean(axis=0)
    return share


def ranks(scores: np.ndarray) -> np.ndarray:
    """Returns the share of each rank that each agent has in each draw: (D, A) scores to (D, A, A) shares."""
    rounded = np.round(scores, _TIE_DIGITS)
    better = (rounded[:, None, :] > rounded[:, :, None]).sum(axis=2)[:, :, None]
    tied = (rounded[:, None, :] == rounded[:, :, None]).sum(axis=2)[:, :, None]
    places = np.arange(scores.shape[1])
    shares: np.ndarray = ((places >= better) & (places < better + tied)) / tied
    return shares


def normalised(table: np.ndarray, chance: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Returns (score - chance) / (best - chance) for a table (S, P): 0 is uniform legal play, 1 the best there is.

    NaN for a problem on which nobody can be better than chance.
    """
    return _ratio(table - chance, np.where(best > chance, best - chance, 0.0) + np.zeros_like(table))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return ratio
