"""Game24 as a picture: one row of cards for the numbers after each step, lines from the two that were combined.

The last row, in colour, is what is left. All rows have their place from the start, so that the picture grows
downwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gfn_envs.drawing import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    HEIGHT,
    INK,
    RED,
    WIDTH,
    Drawing,
    Label,
    Line,
    Rectangle,
    Shape,
    shortened,
    text_width,
)

if TYPE_CHECKING:
    from gfn_envs.tasks.game24 import Game24State, Move

MARGIN, HEAD, CARDS, ROOM, FOOT = 28, 84, 290, 238, HEIGHT - 16
_TALLEST, _NARROWEST, _GAP, _FARTHEST, _SMALLEST = 60, 48, 10, 100, 9.0


class _Card(NamedTuple):
    x: float
    width: float


def draw(state: Game24State, moves: Sequence[Move], solved: bool) -> Drawing:
    """Returns the numbers after every step.

    Args:
        state: what is drawn.
        moves: the moves that its steps stand for.
        solved: whether what is left is the target.
    """
    numbers, target, most = state.problem.numbers, state.problem.target, len(state.problem.numbers) - 1
    verdict, colour = ("", BLUE) if len(moves) < most else ("right", GREEN) if solved else ("wrong", RED)
    rows = [tuple(map(str, numbers)), *(tuple(move.left.split()) for move in moves)]
    pitch = min(_FARTHEST, (FOOT - HEAD) / len(numbers))
    height = min(_TALLEST, 0.66 * pitch)
    middles = [HEAD + (row + 0.5) * pitch for row in range(len(numbers))]
    places = [_places(words, height) for words in rows]
    shapes: list[Shape] = [Label(MARGIN, 34, f"Make {target}", 28, anchor="start", bold=True)]
    if verdict:
        shapes.append(Label(WIDTH - MARGIN, 34, verdict, 28, colour, "end", bold=True))
    else:
        shapes += _target(str(target), middles[-1], height)
    for row, move in enumerate(moves):
        top, bottom = middles[row] + height / 2, middles[row + 1] - height / 2
        shapes += _links(move, places[row], places[row + 1], top, bottom)
        operation = state.steps[row].split(" (left:")[0]
        shapes.append(_fitted(Label(MARGIN, middles[row + 1], operation, 22, INK, "start", bold=True), ROOM))
    shapes.append(Label(MARGIN, middles[0], "Numbers", 22, GREY, "start"))
    for words, cards, y in zip(rows[:-1], places, middles, strict=False):
        for word, card in zip(words, cards, strict=True):
            shapes += _card(card, y, height, word)
    for word, note, card in zip(rows[-1], state.position.words, places[-1], strict=True):
        shapes += _card(card, middles[len(moves)], height, word, "" if note == word else note, colour)
    title = f"Game24: make {target}; {' '.join(rows[-1])} left after {len(moves)} of {most} steps"
    return Drawing(tuple(shapes), f"{title}, {verdict}." if verdict else f"{title}.")


def _places(words: Sequence[str], height: float) -> list[_Card]:
    """Returns where the cards of a row are, beside each other around the same middle."""
    most = (WIDTH - MARGIN - CARDS) / len(words) - _GAP
    widths = [min(most, max(_NARROWEST, 1.1 * height, text_width(word, 0.5 * height) + 16)) for word in words]
    x = (CARDS + WIDTH - MARGIN - sum(widths) - _GAP * (len(words) - 1)) / 2
    cards = []
    for width in widths:
        cards.append(_Card(x + width / 2, width))
        x += width + _GAP
    return cards


def _target(word: str, y: float, height: float) -> Iterator[Shape]:
    """Yields an empty card where the last number will be."""
    (card,) = _places((word,), height)
    yield Label(MARGIN, y, "Target", 22, GREY, "start")
    yield Rectangle(card.x - card.width / 2, y - height / 2, card.width, height, "", GREY, height / 7)
    yield _fitted(Label(card.x, y, word, 0.5 * height, GREY, bold=True), card.width - 8)


def _card(card: _Card, y: float, height: float, word: str, note: str = "", colour: str = "") -> Iterator[Shape]:
    """Yields a number on its card, with the formula that it is told apart by; in colour if it is left."""
    ink = "#ffffff" if colour else INK
    yield Rectangle(
        card.x - card.width / 2, y - height / 2, card.width, height, colour or "#ffffff", colour or FAINT, height / 7
    )
    size, room = 0.5 * height, card.width - 8
    yield _fitted(Label(card.x, y - (0.14 * height if note else 0), word, size, ink, bold=True), room)
    if note:
        yield _fitted(Label(card.x, y + 0.29 * height, note, max(0.24 * height, _SMALLEST), ink), room)


def _links(move: Move, before: Sequence[_Card], after: Sequence[_Card], top: float, bottom: float) -> list[Line]:
    """Returns lines from the numbers of one row to what they are in the next: strong ones into the new number."""
    lines = []
    for place, source in enumerate(move.order):
        combined = source == len(before)
        for origin in (move.first, move.second) if combined else (source,):
            colour, thickness = (BLUE, 3) if combined else (GREY, 1)
            lines.append(Line(before[origin].x, top, after[place].x, bottom, colour, thickness))
    return sorted(lines, key=lambda line: line.thickness)


def _fitted(label: Label, room: float) -> Label:
    """Returns the label, smaller or even shortened if it is wider than `room`."""
    size = min(label.size, max(_SMALLEST, room / text_width(label.text, 1)))
    return label._replace(size=size, text=shortened(label.text, int(room / text_width("0", size) + 1e-9)))
