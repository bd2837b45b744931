"""NumberLine as a picture: the walker on its line, the goal's flag, and the steps left.

A long line is drawn twice: all of it as a thin strip, and a window of it around the walker. The window moves in
strides that the goal fixes, so that the walker is seen to walk within it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gfn_envs.drawing import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    WIDTH,
    Circle,
    Drawing,
    Label,
    Line,
    Rectangle,
    Shape,
    steps_left,
    text_width,
)

if TYPE_CHECKING:
    from gfn_envs.tasks.numberline import NumberLineProblem, NumberLineState

LEFT, RIGHT, GROUND, STRIP, FOOT = 50, WIDTH - 50, 265, 98, 400
LONGEST = 40
"""Steps from end to end of the longest line, or window of one, in which every number has its tick."""


def draw(state: NumberLineState, horizon: int) -> Drawing:
    """Returns the walker, the goal and the steps left of `horizon`."""
    problem, position = state.problem, state.position
    arrived, left = position == problem.goal, horizon - state.time
    away = abs(position - problem.goal)
    words = "arrived" if arrived else "out of steps" if left <= 0 else f"{away} step{'s' * (away > 1)} to go"
    colour = GREEN if arrived else RED if left <= 0 else INK
    shapes: list[Shape] = [Label(WIDTH / 2, 40, words, 28, colour, bold=True)]
    first, last = _window(problem, position)
    if (first, last) != (problem.low, problem.high):
        shapes += _strip(problem, position, first, last)
    shapes += _line(problem, first, last)
    shapes += _goal(problem, first, last)
    shapes += _walker(_x(position, first, last), f"walker at {position}", GREEN if arrived else BLUE)
    shapes += steps_left(left, horizon, LEFT, FOOT, RIGHT - LEFT, 14)
    title = f"NumberLine from {problem.low} to {problem.high}: walker at {position}, goal {problem.goal}, {words}"
    return Drawing(tuple(shapes), f"{title}; {left} of {horizon} steps left.")


def _window(problem: NumberLineProblem, position: int) -> tuple[int, int]:
    """Returns the numbers at the ends of what is drawn large: with the goal, if it is within 30 steps."""
    if problem.high - problem.low <= LONGEST:
        return problem.low, problem.high
    stride = LONGEST // 2
    middle = problem.goal + stride * ((position - problem.goal + stride // 2) // stride)
    first = min(max(middle - stride, problem.low), problem.high - LONGEST)
    return first, first + LONGEST


def _x(number: int, first: int, last: int) -> float:
    return LEFT + (RIGHT - LEFT) * (number - first) / (last - first)


def _line(problem: NumberLineProblem, first: int, last: int) -> Iterator[Shape]:
    """Yields the line with its ticks and as many numbers as fit; a wall where it ends, an arrow where it goes on."""
    pitch = (RIGHT - LEFT) / (last - first)
    size = min(18.0, max(12.0, 0.9 * pitch))
    longest = max(len(str(problem.low)), len(str(problem.high)))
    every = next(step for step in (1, 2, 5, 10, 20, 40) if step * pitch >= text_width("0" * longest, size) + 6)
    yield Line(LEFT, GROUND, RIGHT, GROUND, INK, 3)
    for number in range(first, last + 1):
        x, numbered = _x(number, first, last), number % every == 0
        yield Line(x, GROUND, x, GROUND + (12 if numbered else 7), INK if numbered else GREY, 2 if numbered else 1.5)
        if numbered:
            yield _kept(Label(x, GROUND + 26, str(number), size, INK))
    for end, outward, x in ((first, -1, LEFT), (last, 1, RIGHT)):
        if end in (problem.low, problem.high):
            yield Line(x, GROUND, x + 18 * outward, GROUND, INK, 3)
            yield Line(x + 18 * outward, GROUND - 18, x + 18 * outward, GROUND + 18, INK, 5)
        else:
            yield Line(x, GROUND, x + 34 * outward, GROUND, INK, 3, arrow=True)


def _goal(problem: NumberLineProblem, first: int, last: int) -> Iterator[Shape]:
    """Yields the flag, or an arrow towards it; and a dot where the walk began."""
    if first <= problem.start <= last:
        yield Circle(_x(problem.start, first, last), GROUND, 5, GREY)
    text = f"goal {problem.goal}"
    if first <= problem.goal <= last:
        x = _x(problem.goal, first, last)
        yield Line(x, GROUND, x, GROUND - 108, ORANGE, 3)
        yield Rectangle(x, GROUND - 108, 30, 20, ORANGE)
        yield Circle(x, GROUND, 5, ORANGE)
        yield _kept(Label(x, GROUND - 122, text, 18, ORANGE, bold=True))
        return
    edge, inward = (RIGHT + 34, -1) if problem.goal > last else (LEFT - 34, 1)
    yield Line(edge + 70 * inward, GROUND - 100, edge, GROUND - 100, ORANGE, 5, arrow=True)
    yield _kept(Label(edge, GROUND - 122, text, 18, ORANGE, bold=True))


def _walker(x: float, text: str, colour: str) -> Iterator[Shape]:
    """Yields a figure that stands on the line, and what it stands on."""
    hip, neck = GROUND - 24, GROUND - 46
    yield Circle(x, neck - 10, 10, colour)
    for x1, y1, x2, y2 in ((0, neck, 0, hip), (0, hip, -9, GROUND - 3), (0, hip, 9, GROUND - 3)):
        yield Line(x + x1, y1, x + x2, y2, colour, 5)
    yield Line(x - 12, hip - 6, x, neck + 4, colour, 4)
    yield Line(x, neck + 4, x + 12, hip - 6, colour, 4)
    yield _kept(Label(x, GROUND + 58, text, 18, colour, bold=True))


def _strip(problem: NumberLineProblem, position: int, first: int, last: int) -> Iterator[Shape]:
    """Yields all of a long line, with the window, the goal and the walker marked on it."""
    low, high = problem.low, problem.high
    left = _x(first, low, high)
    yield Rectangle(left - 3, STRIP - 11, _x(last, low, high) - left + 6, 22, FAINT, GREY, 3, 1)
    yield Line(LEFT, STRIP, RIGHT, STRIP, GREY, 3)
    yield Circle(_x(problem.goal, low, high), STRIP, 7, "#ffffff", ORANGE, 3)
    yield Circle(_x(position, low, high), STRIP, 5, GREEN if position == problem.goal else BLUE)
    yield _kept(Label(LEFT, STRIP + 24, str(low), 14, GREY))
    yield _kept(Label(RIGHT, STRIP + 24, str(high), 14, GREY))


def _kept(label: Label) -> Label:
    """Returns the label, moved so that it lies on the sheet."""
    half = text_width(label.text, label.size) / 2 + 6
    return label._replace(x=min(max(label.x, half), WIDTH - half))
