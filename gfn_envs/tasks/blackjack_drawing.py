"""BlackJack as pictures: the cards that lie open, in shapes or in lines of text.

Suits are no part of the rules, so a card shows its value and nothing else. Whatever nobody tells one by one, a
dealer's hand that has been played, or what was drawn from an endless deck, is written as a sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gfn_envs.drawing import (
    BLUE,
    GREEN,
    GREY,
    HEIGHT,
    INK,
    ORANGE,
    PAPER,
    RED,
    WIDTH,
    Circle,
    Drawing,
    Label,
    Rectangle,
    Shape,
    text_width,
)

if TYPE_CHECKING:
    from gfn_envs.tasks.blackjack import BlackJackState

FELT, EDGE, PRINT = "#1f6b4a", "#6b4a2b", "#a9d3bc"
MARGIN, DEALER, RULES, PLAYER, FOOT = 44, 66, 206, 254, 411
"""Where the cards begin, the top of the dealer's and of the player's, the middle lines of the print and the foot."""
CARD, TALL, STEP = 78, 112, 90
"""Width and height of a card, and from one card to the next where there is room."""
TOTALS = WIDTH - 172
"""Left of the column in which the totals stand; the cards end before it."""
PLAIN, FURTHER, HIDDEN = "", "...", "?"


def draw(state: BlackJackState, rules: str, result: str, payoff: float | None) -> Drawing:
    """Returns the table.

    Args:
        state: what lies on it.
        rules: what is printed on the felt; its first sentence, the aim, is left out.
        result: the dealer's total in words, empty as long as the dealer has not played.
        payoff: what the end pays, None before.
    """
    shown, cards, further = card_name(state.problem.dealer), *_hand(state)
    shapes: list[Shape] = [Rectangle(8, 8, WIDTH - 16, HEIGHT - 16, FELT, EDGE, 26, 10)]
    shapes += _row("Dealer", (shown, FURTHER if result else HIDDEN), DEALER)
    shapes += _row("You", cards, PLAYER)
    if result:
        shapes += _total(DEALER, result, "total" if result.isdigit() else "")
    shapes += _total(PLAYER, str(state.total), "an ace counts 11" if state.usable else "total")
    if further:
        text = f"and {further} in further cards{', an ace as 1' if state.usable else ''}"
        shapes.append(Label(MARGIN + STEP * len(cards) + 4, PLAYER + TALL / 2, text, 16, PAPER, "start"))
    sentences = rules.split(". ")[1:]
    for line, sentence in enumerate(sentences):
        y = RULES + 20 * (line - (len(sentences) - 1) / 2)
        shapes.append(Label(WIDTH / 2, y, sentence.removesuffix("."), 16, PRINT))
    shapes += _stake(state.doubled)
    if payoff is not None:
        shapes += _verdict(payoff, state.dealer is None)
    return Drawing(tuple(shapes), _title(state, result, payoff))


def _hand(state: BlackJackState) -> tuple[tuple[str, ...], int]:
    """Returns the cards that are known one by one, and the sum of all further ones, an ace as 1."""
    hand = state.hand or state.problem.player
    return tuple(map(card_name, hand)), state.total - 10 * state.usable - sum(hand)


def _row(name: str, cards: Sequence[str], top: float) -> Iterator[Shape]:
    """Yields cards side by side, or, where these are too many, one upon the other with their corners visible."""
    step = min(STEP, (TOTALS - 16 - CARD - MARGIN) / max(len(cards) - 1, 1))
    yield Label(MARGIN, top - 18, name, 20, PAPER, "start", bold=True)
    for place, card in enumerate(cards):
        covered = step < CARD and place < len(cards) - 1
        yield from _card(MARGIN + step * place, top, card, covered, min(17.0, 0.75 * step))


def _card(x: float, y: float, name: str, covered: bool, corner: float) -> Iterator[Shape]:
    middle, down = x + CARD / 2, y + TALL / 2
    yield Rectangle(x, y, CARD, TALL, "#ffffff", INK, 8, 1.5)
    if name == HIDDEN:
        yield Rectangle(x + 6, y + 6, CARD - 12, TALL - 12, BLUE, "", 5)
        yield Rectangle(x + 12, y + 12, CARD - 24, TALL - 24, "", "#8fc3e6", 3, 1.5)
        yield Label(middle, down, HIDDEN, 36, "#ffffff", bold=True)
    elif name == FURTHER:
        yield Label(middle, down - 6, FURTHER, 36, GREY, bold=True)
    else:
        yield Label(x + 0.3 * corner, y + 0.9 * corner, name, corner, INK, "start", bold=True)
        if not covered:
            yield Label(middle, down + 4, name, 46, INK, bold=True)


def _total(top: float, total: str, note: str) -> Iterator[Shape]:
    x, y = TOTALS + 68, top + TALL / 2
    yield Label(x, y - 10, total, 44 if len(total) < 3 else 32, PAPER, bold=True)
    if note:
        yield Label(x, y + 24, note, 14, PRINT)


def _stake(doubled: bool) -> Iterator[Shape]:
    for place in range(1 + doubled):
        x = MARGIN + 16 + 22 * place
        yield Circle(x, FOOT, 16, ORANGE, PAPER, 2)
        yield Circle(x, FOOT, 10, "", PAPER, 1.5)
    text = "stake 2, doubled" if doubled else "stake 1"
    yield Label(MARGIN + 42 + 22 * doubled, FOOT, text, 16, PAPER, "start")


def _verdict(payoff: float, bust: bool) -> Iterator[Shape]:
    """Yields who wins and what it pays, on a plate."""
    word, colour = ("You win", GREEN) if payoff > 0 else ("You lose", RED) if payoff < 0 else ("A draw", INK)
    text = f"{word}{': over 21' if bust else ''} ({payoff:+g})" if payoff else word
    width = text_width(text, 24) + 24
    yield Rectangle(WIDTH - MARGIN - width, FOOT - 20, width, 40, PAPER, "", 8)
    yield Label(WIDTH - MARGIN - width / 2, FOOT, text, 24, colour, bold=True)


def _title(state: BlackJackState, result: str, payoff: float | None) -> str:
    cards, further = _hand(state)
    parts = [f"BlackJack: you hold {' '.join(cards)}{f' and {further} in further cards' if further else ''}"]
    parts[0] += f", total {state.total}{' with a usable ace' if state.usable else ''}"
    verb = {"": "shows", "bust": "is", "natural": "has a"}.get(result, "has")
    parts.append(f"the dealer {verb} {result or card_name(state.problem.dealer)}")
    if payoff is not None:
        parts.append(f"you win {payoff:g}" if payoff > 0 else f"you lose {-payoff:g}" if payoff < 0 else "a draw")
    elif state.doubled:
        parts.append("the stake is doubled")
    return "; ".join(parts) + "."


# -- text ------------------------------------------------------------------------------------------
def card_name(card: int) -> str:
    """Returns what is written on a card of this value."""
    return "A" if card == 1 else str(card)


def text_picture(state: BlackJackState, dealer: str) -> str:
    """Returns the cards and, below, the total and the sentence about the dealer."""
    cards, further = _hand(state)
    lines = ["Dealer", _line_of_cards((card_name(state.problem.dealer), HIDDEN)), "You", _line_of_cards(cards)]
    if further:
        lines.append(f"and {further} in further cards, an ace as 1")
    return "\n".join([*lines, f"Total: {state.total}. {dealer}"])


def _line_of_cards(names: Sequence[str]) -> str:
    edge = " ".join("+--+" for _ in names)
    return f"{edge}\n{' '.join(f'|{name:>2}|' for name in names)}\n{edge}"
