"""PrOntoQA as pictures: the proof so far as a chain of facts, beside what is asked and the sentences left.

Nothing is drawn that the observation does not say: a rule is shown at its place in the proof, among those not yet
used, or among those used without effect, never as one that would apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gfn_envs.drawing import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    HEIGHT,
    INK,
    ORANGE,
    RED,
    WIDTH,
    Drawing,
    Label,
    Line,
    Rectangle,
    Shape,
    shortened,
    steps_left,
    text_width,
)
from gfn_envs.tasks.ontology import Theory

if TYPE_CHECKING:
    from gfn_envs.tasks.prontoqa import PrOntoQAState

MARGIN, TOP, FLOOR, FOOT = 24, 38, 384, HEIGHT - 32
"""Edge of the sheet, where the columns begin and end, and the middle line of the foot."""
GUTTER, RIGHT = 346, 370
"""Where the line from proof to query runs up, and the left of the second column."""
FACT = 250
"""Width of the box of a fact."""
MOST_FACTS = 13
"""Most boxes; the longest chain of a generated world has as many."""
MOST_WASTED = 3
QUERY_TALL, LINE_TALL = 44, 17


def draw(state: PrOntoQAState, theory: Theory, hops: int, steps: int) -> Drawing:
    """Returns the proof so far.

    Args:
        state: what is drawn.
        theory: its problem, read.
        hops: most rules that a proof needs, for which room is kept.
        steps: most steps of the episode.
    """
    used = state.used.bit_count() + bool(state.answer)
    decided = next((place for place, rule in enumerate(state.applied, start=1) if rule in theory.decisive), 0)
    over = bool(state.answer) or used == steps
    verdict, colour = _verdict(state.answer, theory.answer, decided > 0) if over else ("", INK)
    shapes = [*_proof(state.applied, theory, hops, decided), *_query(theory, decided > 0)]
    shapes += _lists(state, theory)
    shapes += _foot(used, steps, verdict, colour)
    claim = theory.claims[state.applied[-1] if state.applied else -1]
    end = verdict and f"; {verdict[0].lower()}{verdict[1:]}"
    title = f"PrOntoQA after {used} of {steps} steps, to decide whether {theory.query.text[:-1]}: {claim[:-1]}{end}."
    return Drawing(tuple(shapes), title)


# -- the proof, on the left ------------------------------------------------------------------------
def _proof(applied: Sequence[int], theory: Theory, hops: int, decided: int) -> Iterator[Shape]:
    """Yields the facts from the given one down, joined by the rules; of a long proof the first and the last facts."""
    skipped = max(len(applied) + 1 - MOST_FACTS, 0)
    places = [0, *range(1 + skipped, len(applied) + 1)]
    pitch = min(64.0, (FLOOR - TOP) / (max(len(places), hops + 1) - 0.44))
    tall = 0.56 * pitch
    yield Label(MARGIN, 20, "Proof so far", 16, anchor="start", bold=True)
    for row, place in enumerate(places):
        y, rule = TOP + row * pitch, applied[place - 1] if place else -1
        if place:
            before = f"{skipped} more rules, then: " if place == skipped + 1 and skipped else ""
            x, size = MARGIN + 22, min(13.0, 0.36 * pitch)
            yield Line(x, y - pitch + tall, x, y, INK, min(2, pitch / 20), arrow=True)
            text = _fitted(before + theory.sentences[rule], GUTTER - 6 - (x + 11), size)
            yield Label(x + 11, y - (pitch - tall) / 2, text, size, anchor="start")
        last, decides = place == len(applied), place and place == decided
        outline, fill = BLUE if decides else INK if last else GREY, "" if place else FAINT
        yield Rectangle(MARGIN, y, FACT, tall, fill, outline, 5, 3 if last or decides else 1.5)
        size = min(15.0, 0.45 * pitch)
        yield Label(MARGIN + 10, y + tall / 2, _fitted(theory.claims[rule], FACT - 18, size), size, INK, "start", last)
        if decides:
            yield Line(MARGIN + FACT + 2, y + tall / 2, GUTTER, y + tall / 2, BLUE)
            yield Line(GUTTER, y + tall / 2, GUTTER, TOP + QUERY_TALL / 2, BLUE)
            yield Line(GUTTER, TOP + QUERY_TALL / 2, RIGHT - 2, TOP + QUERY_TALL / 2, BLUE, arrow=True)


# -- what is asked and the sentences, on the right -------------------------------------------------
def _query(theory: Theory, decided: bool) -> Iterator[Shape]:
    width = WIDTH - MARGIN - RIGHT
    text = _fitted(theory.query.text[:-1] + "?", width - 24, 16)
    yield Label(RIGHT, 20, "True or false", 16, anchor="start", bold=True)
    yield Rectangle(RIGHT, TOP, width, QUERY_TALL, "#ffffff", BLUE if decided else INK, 5, 3)
    yield Label(RIGHT + width / 2, TOP + QUERY_TALL / 2, text, 16, bold=True)


def _lists(state: PrOntoQAState, theory: Theory) -> Iterator[Shape]:
    """Yields the sentences not yet used and those used without effect, as many as fit."""
    free = [text for i, text in enumerate(theory.sentences) if not state.used >> i & 1]
    wasted = [text for i, text in enumerate(theory.sentences) if state.used >> i & 1 and i not in state.applied]
    top = TOP + QUERY_TALL + 26
    room = int((FLOOR - top) / LINE_TALL)
    below = _cut(wasted, MOST_WASTED)
    yield from _list(top, f"Not yet used ({len(free)})", _cut(free, room - (len(below) + 2 if below else 0)), INK)
    if below:
        top = FLOOR - LINE_TALL * len(below)
        yield from _list(top, f"Used without effect ({len(wasted)})", below, GREY)


def _list(top: float, heading: str, texts: Sequence[str], colour: str) -> Iterator[Shape]:
    yield Label(RIGHT, top, heading, 14, anchor="start", bold=True)
    for row, text in enumerate(texts, start=1):
        fitted = _fitted(text, WIDTH - MARGIN - RIGHT, 13)
        yield Label(RIGHT, top + LINE_TALL * row + 2, fitted, 13, colour, "start")


def _cut(texts: Sequence[str], most: int) -> list[str]:
    """Returns the texts, or the first of them and how many more there are."""
    if len(texts) <= most:
        return list(texts)
    return [*texts[: most - 1], f"... and {len(texts) - most + 1} more"]


# -- the foot --------------------------------------------------------------------------------------
def _foot(used: int, steps: int, verdict: str, colour: str) -> Iterator[Shape]:
    """Yields the steps left as text and bar, and the verdict at the end."""
    yield from steps_left(steps - used, steps, MARGIN, FOOT + 10, 200, 10)
    if verdict:
        yield Label(WIDTH - MARGIN, FOOT + 4, verdict, 24, colour, "end", bold=True)


def _verdict(answer: str, right: str, proven: bool) -> tuple[str, str]:
    """Returns what was answered, whether it is right and proven, and the colour to say so in."""
    if not answer:
        return "No answer: out of steps", RED
    if answer != right:
        return f"Answer {answer}: wrong", RED
    return (f"Answer {answer}: right, proven", GREEN) if proven else (f"Answer {answer}: right, not proven", ORANGE)


def _fitted(text: str, width: float, size: float) -> str:
    """Returns the text, shortened to a width in pixels."""
    return shortened(text, int(width / text_width("x", size)))
