"""The odds of cards: what the next card is, and what the dealer's hand ends in, from the cards not yet seen."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np

ACE, TEN, LIMIT = 1, 10, 21
CARDS = tuple(range(ACE, TEN + 1))
BUST = 0
"""The dealer's result above 21, the lowest of all."""
NATURAL = 22
"""A natural where it is better than another 21, and so the highest result of all."""

Hand = tuple[int, ...]
"""Values of cards in ascending order, 1 for an ace."""
Pool = tuple[int, ...] | None
"""How many cards of each value are left to draw from, or None for an endless deck."""
Odds = tuple[tuple[float, int], ...]
"""Pairs of a positive probability and a card or a result."""

IN_ONE_DECK = (4,) * 9 + (16,)
_CACHED_ODDS = 1 << 15


def value_of(cards: Sequence[int]) -> tuple[int, bool]:
    """Returns the total and whether an ace is usable, that is, counts as 11."""
    total = sum(cards)
    return (total + 10, True) if total <= LIMIT - 10 and ACE in cards else (total, False)


def is_natural(hand: Hand) -> bool:
    """Says whether a hand is an ace and a ten."""
    return hand == (ACE, TEN)


def pool_of(decks: int | None, hand: Hand, dealer: int) -> Pool:
    """Returns the cards that the player has not seen; the dealer's hole card is one of them."""
    if decks is None:
        return None
    left = [count * decks for count in IN_ONE_DECK]
    for card in (*hand, dealer):
        left[card - 1] -= 1
    return tuple(left)


def chance_of(pool: Pool, card: int) -> Fraction:
    """Returns the probability that the next card is this one."""
    counts = pool or IN_ONE_DECK
    return Fraction(counts[card - 1], sum(counts))


@lru_cache(maxsize=_CACHED_ODDS)
def card_odds(pool: Pool) -> Odds:
    """Returns the distribution of the next card."""
    return tuple((float(chance), card) for card in CARDS if (chance := chance_of(pool, card)))


@lru_cache(maxsize=_CACHED_ODDS)
def dealer_odds(pool: Pool, dealer: int, hits_soft_17: bool, natural_counts: bool) -> Odds:
    """Returns the distribution of the dealer's result.

    All orders of the same cards are equally likely: c cards of one value, of which d are drawn,
    can be drawn in c (c - 1) .. (c - d + 1) ways, or with probability p^d if the deck is endless.

    Args:
        natural_counts: tell a natural from another 21.
    """
    plays = _dealer_plays(dealer, hits_soft_17)
    most = int(plays.drawn.max())
    if pool is None:
        ways = (np.array(IN_ONE_DECK) / sum(IN_ONE_DECK))[:, None] ** np.arange(most + 1)
        probabilities = plays.orders * ways[np.arange(TEN), plays.drawn].prod(axis=1)
    else:
        ways, lengths = _falling_powers(np.array(pool), most), plays.drawn.sum(axis=1)
        every = _falling_powers(np.array([sum(pool)]), int(lengths.max()))[0]
        probabilities = plays.orders * ways[np.arange(TEN), plays.drawn].prod(axis=1) / every[lengths]
    results = np.where((plays.results == NATURAL) & (not natural_counts), LIMIT, plays.results)
    return tuple((p, end) for end, p in enumerate(np.bincount(results, probabilities).tolist()) if p > 0)


def _falling_powers(counts: np.ndarray, most: int) -> np.ndarray:
    """Returns c (c - 1) .. (c - d + 1) for every count c and d = 0 .. most, shape (counts, most + 1)."""
    factors = np.maximum(counts[:, None] - np.arange(most), 0.0)
    return np.hstack([np.ones((len(counts), 1)), np.cumprod(factors, axis=1)])


class _DealerPlays(NamedTuple):
    """All that a dealer can draw, without the order.

    Attributes:
        drawn: how many cards of each value, shape (plays, 10).
        orders: in how many orders they can be drawn, shape (plays,).
        results: what they end in: a total, `BUST` or `NATURAL`; shape (plays,).
    """

    drawn: np.ndarray
    orders: np.ndarray
    results: np.ndarray


@lru_cache(maxsize=2 * len(CARDS))
def _dealer_plays(dealer: int, hits_soft_17: bool) -> _DealerPlays:
    """Lists the plays of a dealer who shows this card, by number of cards drawn."""
    growing: dict[Hand, int] = {(): 1}
    ended: dict[Hand, int] = {}
    while growing:
        longer: dict[Hand, int] = {}
        for drawn, orders in growing.items():
            for card in CARDS:
                cards = tuple(sorted((*drawn, card)))
                goes_on = _dealer_draws((dealer, *cards), hits_soft_17)
                play = longer if goes_on else ended
                play[cards] = play.get(cards, 0) + orders
        growing = longer
    return _DealerPlays(
        np.array([[cards.count(card) for card in CARDS] for cards in ended]),
        np.array(list(ended.values()), dtype=np.float64),
        np.array([_dealer_result(tuple(sorted((dealer, *cards)))) for cards in ended]),
    )


def _dealer_draws(cards: Hand, hits_soft_17: bool) -> bool:
    total, usable = value_of(cards)
    return total < 17 or (hits_soft_17 and usable and total == 17)


def _dealer_result(hand: Hand) -> int:
    if is_natural(hand):
        return NATURAL
    total, _ = value_of(hand)
    return total if total <= LIMIT else BUST
