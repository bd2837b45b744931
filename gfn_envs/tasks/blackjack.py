"""BlackJack: one player against the dealer, with every chance of the cards known exactly.

Description
    Draw cards until you stick; then the dealer draws. Nearer to 21 wins, above 21 loses. The rules
    are those of Gymnasium's `Blackjack-v1` (Sutton and Barto, example 5.1); a finite deck, doubling
    and the dealer's soft 17 are options.

Observation
    `Beat the dealer without going over 21. The dealer stands on all 17s and draws from 1 deck.` and,
    on a second line, `Your cards: A 6. Total: 17 (usable ace). Dealer shows: 10.` Cards are listed
    in ascending order, ace first; J, Q and K are tens. An ace is usable if it counts as 11. The
    cards on the table are all that has been seen of a deck. Of an endless deck nothing is learnt by
    seeing it, so that once a card is drawn only the value of the hand is told, as Gymnasium does:
    `Your total: 17 (usable ace). Dealer shows: 10.` At the end the dealer's total stands in place
    of the card: `Dealer has: 20. You lose.`

Actions
    `stick` (also spelled `stand` and `stay`) and `hit`, in Gymnasium's order; with `doubling=True`
    also `double` (or `double down`) as the first decision: the stake is doubled, one card is drawn,
    and the dealer plays. All are legal until the end, at 21 too.

Chance
    `step` is not defined; `outcomes` is the rule. No state holds the dealer's hole card: nobody acts
    on it, so that card is one of those not yet seen, and is drawn when the dealer plays. After `hit`
    there is one outcome a card, after `stick` one outcome a final total of the dealer. The dealer
    does not look for a natural before the player acts.

Reward
    Gymnasium's reward is the payoff at the end: +1 for a win, 0 for a draw, -1 for a loss; twice
    that after `double`. A natural (ace and ten in the initial deal) does not end the game, as in
    `Blackjack-v1`: the player acts, and by default it is a 21 like any other. `natural=True`: a
    natural on which the player sticks, and wins, pays 1.5. `sab=True`, as in the book: it wins 1
    against all but a natural, with which it draws; a natural of the dealer is no better than
    another 21. (Gymnasium ignores `natural` under `sab`; here the pair is refused.)
    `reward="win"`: R = 1 for a win, otherwise 1e-4.
    `reward="gym"`: R = max(1 + payoff, 1e-4): loss 1e-4, draw 1, win 2.

Episode End
    When the player sticks, doubles, or is above 21 (bust).

Object and P_B
    The object is how it ended: both totals, the stake and the result. The state has the player's
    cards without their order, or only their value, so histories merge, and yet no P_B is needed: the
    expected flow F(s, a) = E F(s') depends on nothing but what can follow, and so is the same number
    whether the histories of s are kept apart or not. With an endless deck, a deal of two aces has 20
    states to decide in, and 521,984 histories that lead to them. With a finite deck a problem has
    from some hundreds of states up to about 20,000.

Problems and Splits
    A problem is the initial deal: the player's two cards, in ascending order, and the dealer's card.
    The family has all 550, each with its exact probability. The deck is an option and no part of
    the problem, so that one split serves every deck.

Arguments
    decks (None, 1, 2 or 6), dealer_hits_soft_17, natural, sab, doubling, reward.

Exact Values
    Averages over the family with `decks=None`, where cards are drawn independently with probability
    4/13 for a ten and 1/13 for any other: the optimal expected return is -0.046556, and who plays
    for it wins with probability 0.429457; the most that anybody can win is 0.431630. To stick on 17
    or more, and only then, has the expected return -0.079295; uniformly random play -0.395896.

References
    Sutton and Barto 2018, Reinforcement Learning, example 5.1; Gymnasium's `Blackjack-v1`; Zhai et
    al. 2024 (arXiv 2405.10292) for blackjack as a task of language models.

Version History
    v0: first version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement
from typing import Any, ClassVar, NamedTuple, NoReturn

from gfn_envs.drawing import Drawing
from gfn_envs.problems import ProblemSet
from gfn_envs.task import LOG_REWARD_FLOOR, Presets, Problem, Task
from gfn_envs.tasks.blackjack_drawing import card_name, draw, text_picture
from gfn_envs.tasks.blackjack_odds import (
    ACE,
    BUST,
    CARDS,
    IN_ONE_DECK,
    LIMIT,
    NATURAL,
    TEN,
    Hand,
    Odds,
    card_odds,
    chance_of,
    dealer_odds,
    is_natural,
    pool_of,
    value_of,
)

ACTIONS = ("stick", "hit")
FIRST_ACTIONS = ("stick", "hit", "double")
REWARDS = ("win", "gym")
DECKS = (None, 1, 2, 6)
_NAMES = {"A": ACE, "J": TEN, "Q": TEN, "K": TEN} | {str(card): card for card in CARDS}
_CACHED_TURNS = 1 << 14


@dataclass(frozen=True, slots=True)
class BlackJackProblem(Problem):
    """The player's two cards, put into ascending order, and the dealer's card; 1 is an ace."""

    player: tuple[int, ...]
    dealer: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "player", tuple(sorted(self.player)))

    @property
    def id(self) -> str:
        """'blackjack/A-10-vs-6'."""
        return f"blackjack/{'-'.join(map(card_name, self.player))}-vs-{card_name(self.dealer)}"


class BlackJackState(NamedTuple):
    """What lies open on the table.

    Attributes:
        hand: the player's cards; empty where nothing but their value is kept, that is, with an
            endless deck once a card is drawn.
        total: of the player.
        usable: an ace counts as 11 in the total.
        doubled: the stake is doubled.
        dealer: the dealer's total, `BUST` or `NATURAL`; None as long as the dealer has not played.
    """

    problem: BlackJackProblem
    hand: Hand
    total: int
    usable: bool
    doubled: bool = False
    dealer: int | None = None


@dataclass(frozen=True)
class BlackJack(Task[BlackJackProblem, BlackJackState]):
    """Rules of BlackJack; see the module's docstring.

    Args:
        decks: cards are drawn from 1, 2 or 6 decks without replacement; None for an endless deck.
        dealer_hits_soft_17: the dealer draws on 17 with a usable ace.
        natural: a natural that wins pays 1.5.
        sab: a natural wins against all but a natural.
        doubling: `double` is legal as the first decision.
        reward: "win" or "gym".
    """

    decks: int | None = None
    dealer_hits_soft_17: bool = False
    natural: bool = False
    sab: bool = False
    doubling: bool = False
    reward: str = "win"

    name: ClassVar[str] = "blackjack"
    problem_type: ClassVar[type[BlackJackProblem]] = BlackJackProblem
    difficulties: ClassVar[Presets] = {
        "easy": {},
        "medium": {"decks": 6},
        "hard": {"decks": 1, "dealer_hits_soft_17": True, "doubling": True},
    }
    charset: ClassVar[str] = "\n ().0123456789:ABDTYabcdefghiklmnoprstuvwy"
    deterministic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.decks, bool | float) or self.decks not in DECKS:
            raise ValueError(f"decks must be 1, 2, 6, or None for an endless deck, got {self.decks!r}")
        for option in ("dealer_hits_soft_17", "natural", "sab", "doubling"):
            if type(getattr(self, option)) is not bool:
                raise ValueError(f"{option} must be True or False, got {getattr(self, option)!r}")
        if self.natural and self.sab:
            raise ValueError("natural=True has no meaning with sab=True, where a natural pays 1; choose one of them")
        if self.reward not in REWARDS:
            raise ValueError(f"reward must be one of {REWARDS}, got {self.reward!r}")

    # -- sizes -----------------------------------------------------------------------------------
    @cached_property
    def _longest_hand(self) -> int:
        """Most cards that do not go over 21: the smallest of the deck."""
        if self.decks is None:
            return LIMIT
        hand: list[int] = []
        for card in CARDS:
            hand += [card] * min(IN_ONE_DECK[card - 1] * self.decks, (LIMIT - sum(hand)) // card)
        return len(hand)

    @property
    def horizon(self) -> int:  # type: ignore[override]
        """Hits until the hand is at its longest, and one more action."""
        return self._longest_hand - 1

    @property
    def max_actions(self) -> int:  # type: ignore[override]
        """Two, or three with doubling."""
        return len(FIRST_ACTIONS if self.doubling else ACTIONS)

    @property
    def max_action_length(self) -> int:  # type: ignore[override]
        """Characters of `stick` or `double`."""
        return max(map(len, FIRST_ACTIONS if self.doubling else ACTIONS))

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]
        """The rules, the longest hand that is told, with at most two tens, and the end."""
        hand = 2 * (2 if self.decks is None else self._longest_hand + 1) + 1
        others = "\nYour cards: . Total: 21 (usable ace). Doubled. Dealer has: natural. You lose."
        return len(self._rules) + len(others) + hand

    # -- problems --------------------------------------------------------------------------------
    def problems(self) -> ProblemSet[BlackJackProblem]:
        """Returns all initial deals with their probabilities."""
        return _initial_deals(self.decks)

    def problem_from_json(self, data: Mapping[str, Any]) -> BlackJackProblem:
        """Builds a problem from `player` and `dealer`: cards from 1 (ace) to 10, or their names."""
        cards = data.get("player")
        if not isinstance(cards, list | tuple) or len(cards) != 2:
            raise ValueError(f"'player' must be a list of two cards, got {cards!r}")
        player = tuple(_read_card("player", card) for card in cards)
        return super().problem_from_json({**data, "player": player, "dealer": _read_card("dealer", data.get("dealer"))})

    def check_problem(self, problem: BlackJackProblem) -> None:
        """Raises ValueError unless there are two cards of the player and one of the dealer."""
        if len(problem.player) != 2:
            raise ValueError(f"'player' must be a list of two cards, got {list(problem.player)}")
        for field, cards in (("player", problem.player), ("dealer", (problem.dealer,))):
            for card in cards:
                if type(card) is not int or card not in CARDS:
                    raise ValueError(f"a card of {field!r} must be an integer from 1 (ace) to 10, got {card!r}")

    # -- rules -----------------------------------------------------------------------------------
    def reset(self, problem: BlackJackProblem) -> BlackJackState:
        """Returns the initial deal."""
        return BlackJackState(problem, problem.player, *value_of(problem.player))

    def actions(self, state: BlackJackState) -> tuple[str, ...]:
        """Returns `stick` and `hit`, with `double` first of all, until the end."""
        if state.dealer is not None or state.total > LIMIT:
            return ()
        return FIRST_ACTIONS if self.doubling and len(state.hand) == 2 else ACTIONS

    def step(self, state: BlackJackState, action: str) -> NoReturn:
        """Is not defined, because an action has many outcomes."""
        raise NotImplementedError(
            f"{action!r} has many outcomes in {self.name}; use outcomes(), or draw_outcome() of gfn_envs.rollout"
        )

    def outcomes(self, state: BlackJackState, action: str) -> tuple[tuple[float, BlackJackState], ...]:
        """Returns one outcome a card after `hit`, and one a total of the dealer after `stick`."""
        return _outcomes(self, state, action)

    def aliases(self, state: BlackJackState) -> dict[str, str]:
        """Other words of the tables."""
        spellings = {"stand": "stick", "stay": "stick", "double down": "double"}
        legal = self.actions(state)
        return {spelling: action for spelling, action in spellings.items() if action in legal}

    def _card_odds(self, state: BlackJackState) -> Odds:
        """Returns the distribution of the next card."""
        return card_odds(pool_of(self.decks, state.hand, state.problem.dealer))

    def _dealer_odds(self, state: BlackJackState) -> Odds:
        """Returns the distribution of the result of a dealer who plays now."""
        dealer = state.problem.dealer
        natural_counts = self.sab and is_natural(state.hand)
        return dealer_odds(pool_of(self.decks, state.hand, dealer), dealer, self.dealer_hits_soft_17, natural_counts)

    def _with_card(self, state: BlackJackState, card: int, doubled: bool = False) -> BlackJackState:
        """Returns the state with one card more in the player's hand."""
        value = value_of((ACE, state.total - 11, card) if state.usable else (state.total, card))
        hand = () if self.decks is None else tuple(sorted((*state.hand, card)))
        return BlackJackState(state.problem, hand, *value, doubled)

    # -- observation -----------------------------------------------------------------------------
    @cached_property
    def _rules(self) -> str:
        """The sentences that are the same in every state."""
        dealer = "hits soft 17" if self.dealer_hits_soft_17 else "stands on all 17s"
        deck = {None: "an endless deck", 1: "1 deck"}.get(self.decks, f"{self.decks} decks")
        natural = " A natural pays 1.5." if self.natural else " A natural beats any other 21." if self.sab else ""
        return f"Beat the dealer without going over 21. The dealer {dealer} and draws from {deck}.{natural}"

    def observe(self, state: BlackJackState) -> str:
        """Returns the rules, the player's cards, and the dealer's card or total."""
        cards = f"Your cards: {' '.join(map(card_name, state.hand))}. Total" if state.hand else "Your total"
        soft = " (usable ace)" if state.usable else ""
        doubled = " Doubled." if state.doubled else ""
        return f"{self._rules}\n{cards}: {state.total}{soft}.{doubled} {self._dealer_text(state)}"

    def _dealer_text(self, state: BlackJackState) -> str:
        verdict = "" if self.actions(state) else f" You {_VERBS[_sign(self.payoff(state))]}."
        if state.dealer is None:
            return f"Dealer shows: {card_name(state.problem.dealer)}.{verdict}"
        return f"Dealer has: {_RESULTS.get(state.dealer, state.dealer)}.{verdict}"

    def render_text(self, state: BlackJackState) -> str:
        """Draws the cards on the table; of an endless deck, what was drawn to the deal as one sum."""
        return text_picture(state, self._dealer_text(state))

    def draw(self, state: BlackJackState) -> Drawing:
        """Draws the table with the cards that lie open, the totals and the stake, at the end who wins."""
        result = "" if state.dealer is None else str(_RESULTS.get(state.dealer, state.dealer))
        return draw(state, self._rules, result, None if self.actions(state) else self.payoff(state))

    # -- scores ----------------------------------------------------------------------------------
    def payoff(self, state: BlackJackState) -> float:
        """Returns what a terminal state pays for a stake of 1."""
        stake = 2.0 if state.doubled else 1.0
        if state.dealer is None:
            return -stake
        own = NATURAL if self.sab and is_natural(state.hand) else state.total
        won = _sign(own - state.dealer)
        return 1.5 if won == 1 and self.natural and is_natural(state.hand) else stake * won

    def success(self, state: BlackJackState) -> bool:
        """Says whether the player has won; a draw is no success."""
        return state.dealer is not None and self.payoff(state) > 0

    def step_reward(self, state: BlackJackState, action: str, next_state: BlackJackState) -> float:
        """Returns the payoff at the end, 0 before."""
        return 0.0 if self.actions(next_state) else self.payoff(next_state)

    def log_reward(self, state: BlackJackState) -> float:
        """Returns log R of an end: R = 1 for a win, or R = 1 + payoff; at least 1e-4."""
        if self.reward == "win":
            return 0.0 if self.success(state) else LOG_REWARD_FLOOR
        reward = 1.0 + self.payoff(state)
        return math.log(reward) if reward > 0 else LOG_REWARD_FLOOR

    def solution(self, state: BlackJackState) -> str:
        """Returns how it ended, such as 'player 20, dealer bust: win'."""
        own = "natural" if (self.natural or self.sab) and is_natural(state.hand) else state.total
        doubled = " doubled" if state.doubled else ""
        if state.dealer is None:
            return f"player bust{doubled}: loss"
        result = _RESULTS.get(state.dealer, state.dealer)
        return f"player {own}{doubled}, dealer {result}: {_ENDS[_sign(self.payoff(state))]}"


_VERBS = {1: "win", 0: "draw", -1: "lose"}
_ENDS = {1: "win", 0: "draw", -1: "loss"}
_RESULTS = {BUST: "bust", NATURAL: "natural"}


# -- hands -----------------------------------------------------------------------------------------
def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _read_card(field: str, card: Any) -> int:
    """Returns the value of a card given as a number or by its name."""
    if type(card) is int and card in CARDS:
        return card
    if isinstance(card, str) and card.upper() in _NAMES:
        return _NAMES[card.upper()]
    raise ValueError(f"a card of {field!r} must be an integer from 1 (ace) to 10, or one of A J Q K, got {card!r}")


# -- chance ----------------------------------------------------------------------------------------
@lru_cache(maxsize=_CACHED_TURNS)
def _outcomes(task: BlackJack, state: BlackJackState, action: str) -> tuple[tuple[float, BlackJackState], ...]:
    if action not in task.actions(state):
        raise KeyError(action)
    if action == "hit":
        return tuple((p, task._with_card(state, card)) for p, card in task._card_odds(state))
    if action == "stick":
        return _dealt(task, state)
    drawn = [(p, task._with_card(state, card, doubled=True)) for p, card in task._card_odds(state)]
    return tuple((p * q, end) for p, after in drawn for q, end in _dealt(task, after))


def _dealt(task: BlackJack, state: BlackJackState) -> tuple[tuple[float, BlackJackState], ...]:
    """Returns the ends after the dealer's play, for which a bust player does not wait."""
    if state.total > LIMIT:
        return ((1.0, state),)
    return tuple((p, BlackJackState(*state[:5], result)) for p, result in task._dealer_odds(state))


@lru_cache(maxsize=len(DECKS))
def _initial_deals(decks: int | None) -> ProblemSet[BlackJackProblem]:
    """Returns the family, with weights rounded once from exact fractions."""
    weights = {}
    for dealer in CARDS:
        for player in combinations_with_replacement(CARDS, 2):
            orders = 1 if player[0] == player[1] else 2
            pools = (pool_of(decks, (), dealer), pool_of(decks, player[:1], dealer))
            chances = [chance_of(pool, card) for pool, card in zip(pools, player, strict=True)]
            first = Fraction(IN_ONE_DECK[dealer - 1], sum(IN_ONE_DECK))
            weights[BlackJackProblem(player, dealer)] = float(orders * first * chances[0] * chances[1])
    return ProblemSet(tuple(weights), tuple(weights.values()))
