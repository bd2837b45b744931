"""BlocksWorld as pictures: the stacks and the hand beside the goal, in shapes or in lines of text.

Every block has a place of its own on the table, in the order of the colours, so that a stack stays where it is
while others come and go. A place that the goal leaves open is drawn dashed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gfn_envs.drawing import (
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
    steps_left,
)
from gfn_envs.drawing import text_width as width_of
from gfn_envs.tasks.blocksworld_search import ANY, HAND, NOTHING, TABLE, Below, Goal, inverse

if TYPE_CHECKING:
    from gfn_envs.tasks.blocksworld import BlocksWorldState

PAINTS = {
    "red": "#d3322c",
    "blue": "#2362c0",
    "orange": "#f28a25",
    "yellow": "#f7dc45",
    "white": "#ffffff",
    "magenta": "#c8178a",
    "black": "#2a2a2a",
    "cyan": "#4fcbe0",
    "green": "#2f7d3f",
    "violet": "#7440a8",
    "silver": "#bfc3c9",
    "gold": "#c79a1e",
}
WHITE_ON = ("red", "blue", "magenta", "black", "green", "violet")
"""Paints that are read better under white letters than under black ones."""
MARGIN, GAP, ROOF, FLOOR, FOOT = 28, 48, 62, 372, HEIGHT - 38
_TALLEST, _WIDEST, _FEWEST_GOAL_PLACES = 60, 96, 3
_GRIP, _SMALLEST_NAME = 26, 11


class _Size(NamedTuple):
    """Pixels from one place on the table to the next, and from one level to the next; whether names fit."""

    across: float
    up: float
    letters: int

    def block(self, name: str, x: float, level: float) -> Iterator[Shape]:
        """Yields a block whose middle is at x; level 0 stands on the table."""
        width, top = 0.9 * self.across, FLOOR - (level + 1) * self.up
        text = name[: self.letters]
        size = min(20.0, 0.62 * self.up, (width - 6) / width_of("x" * min(self.letters, 7), 1))
        yield Rectangle(x - width / 2, top + 1, width, self.up - 2, PAINTS[name], INK, min(6, self.up / 6), 1.5)
        yield Label(x, top + self.up / 2, text, size, "#ffffff" if name in WHITE_ON else "#000000", bold=True)


def draw(state: BlocksWorldState, goal: Goal, steps: int, solved: bool) -> Drawing:
    """Returns the state beside its goal.

    Args:
        state: what is drawn.
        goal: the goal of its problem.
        steps: most steps of the episode.
        solved: whether the goal holds.
    """
    blocks, below = state.position.blocks, state.position.below
    wanted = _wanted(goal)
    size = _size(len(blocks), wanted)
    spare = (WIDTH - 2 * MARGIN - GAP - size.across * (len(blocks) + max(len(wanted), _FEWEST_GOAL_PLACES))) / 2
    divide = MARGIN + GAP / 2 + spare + size.across * len(blocks)
    shapes: list[Shape] = [Line(divide, 24, divide, FLOOR + 6, FAINT)]
    shapes += _here(blocks, below, size, MARGIN, divide - GAP / 2)
    shapes += _goal(blocks, goal, wanted, size, divide + GAP / 2, WIDTH - MARGIN)
    used, facts = len(state.plan), state.problem.goal
    held = len(state.position.facts.intersection(facts))
    verdict = ("solved" if solved else "failed") if state.over else ""
    shapes += _foot(used, steps, f"{held} of {len(facts)} goal facts hold", verdict)
    stacks = ", ".join(" under ".join(blocks[b] for b in stack) for stack in _stacks(below))
    hand = f"{blocks[below.index(HAND)]} in the hand" if HAND in below else "the hand is empty"
    title = f"BlocksWorld after {used} of {steps} steps{verdict and ', ' + verdict}: on the table {stacks}; {hand}."
    return Drawing(tuple(shapes), title)


def _size(count: int, wanted: Sequence[tuple[bool, list[int]]]) -> _Size:
    """Returns the largest size at which everything fits that this problem can lead to."""
    tallest = max((open_below + len(stack) for open_below, stack in wanted), default=1)
    across = (WIDTH - 2 * MARGIN - GAP) / (count + max(len(wanted), _FEWEST_GOAL_PLACES))
    across = min(_WIDEST, across)
    up = min(_TALLEST, (FLOOR - ROOF - _GRIP) / count, (FLOOR - ROOF) / (tallest + 0.6))
    whole = (0.9 * across - 6) / width_of("magenta", 1) >= _SMALLEST_NAME
    return _Size(across, up, 7 if whole else 3)


def _here(blocks: tuple[str, ...], below: Below, size: _Size, left: float, right: float) -> Iterator[Shape]:
    """Yields the table, the stacks, and the hand above the place of the block that it holds."""
    first = (left + right - size.across * (len(blocks) - 1)) / 2
    yield Label((left + right) / 2, 20, "Now", 18, bold=True)
    yield Line(left, FLOOR + 2, right, FLOOR + 2, GREY, 4)
    for stack in _stacks(below):
        for level, block in enumerate(stack):
            yield from size.block(blocks[block], first + stack[0] * size.across, level)
    held = below.index(HAND) if HAND in below else None
    x = (left + right) / 2 if held is None else first + held * size.across
    half = 0.45 * size.across + 4
    yield Line(x, 34, x, ROOF - 6, INK, 4)
    yield Line(x - half, ROOF - 6, x + half, ROOF - 6, INK, 4)
    for finger in (x - half, x + half):
        yield Line(finger, ROOF - 6, finger, ROOF + 12, INK, 4)
    if held is not None:
        yield from size.block(blocks[held], x, (FLOOR - ROOF) / size.up - 1)


def _goal(
    blocks: tuple[str, ...],
    goal: Goal,
    wanted: Sequence[tuple[bool, list[int]]],
    size: _Size,
    left: float,
    right: float,
) -> Iterator[Shape]:
    """Yields the stacks of the goal; dots in a dashed box are whatever a block may stand on."""
    first = (left + right - size.across * (len(wanted) - 1)) / 2
    yield Label((left + right) / 2, 20, "Goal", 18, bold=True)
    if goal.hand_empty:
        yield Label((left + right) / 2, 42, "hand empty", 13, GREY)
    yield Line(left, FLOOR + 2, right, FLOOR + 2, GREY, 4)
    for place, (open_below, stack) in enumerate(wanted):
        x = first + place * size.across
        if open_below:
            yield from _dashed(x - 0.45 * size.across, FLOOR - size.up + 1, 0.9 * size.across, size.up - 4)
            letters = min(18.0, 0.6 * size.up, 0.9 * size.across / width_of("...", 1))
            yield Label(x, FLOOR - size.up / 2, "...", letters, GREY, bold=True)
        for level, block in enumerate(stack):
            yield from size.block(blocks[block], x, level + open_below)
        if goal.over[stack[-1]] == NOTHING:
            y = FLOOR - (open_below + len(stack) + 0.3) * size.up
            yield Label(x, y, "clear", min(14.0, 0.5 * size.up, 0.9 * size.across / width_of("clear", 1)), GREY)


def _dashed(x: float, y: float, width: float, height: float) -> Iterator[Line]:
    across, down = max(round(width / 11), 2), max(round(height / 11), 2)
    for number in range(across):
        start = x + number * width / across
        yield Line(start, y, start + 0.5 * width / across, y, GREY, 1.5)
        yield Line(start, y + height, start + 0.5 * width / across, y + height, GREY, 1.5)
    for number in range(down):
        start = y + number * height / down
        yield Line(x, start, x, start + 0.5 * height / down, GREY, 1.5)
        yield Line(x + width, start, x + width, start + 0.5 * height / down, GREY, 1.5)


def _foot(used: int, steps: int, facts: str, verdict: str) -> Iterator[Shape]:
    """Yields the steps left as text and bar, how much of the goal holds, and the verdict at the end."""
    yield from steps_left(steps - used, steps, MARGIN, FOOT + 10, 200, 10)
    yield Label(WIDTH / 2, FOOT + 4, facts, 16)
    if verdict:
        yield Label(WIDTH - MARGIN, FOOT + 4, verdict, 28, GREEN if verdict == "solved" else RED, "end", bold=True)


# -- stacks ----------------------------------------------------------------------------------------
def upwards(block: int, over: Sequence[int]) -> list[int]:
    """Returns this block and those on top of it."""
    stack = []
    while block >= 0:
        stack.append(block)
        block = over[block]
    return stack


def _stacks(below: Below) -> list[list[int]]:
    over = inverse(below)
    return [upwards(block, over) for block, under in enumerate(below) if under == TABLE]


def _wanted(goal: Goal) -> list[tuple[bool, list[int]]]:
    """Returns the stacks that the goal speaks of, each with whether it leaves open what they stand on."""
    named = [
        block for block, (under, over) in enumerate(zip(goal.under, goal.over, strict=True)) if {under, over} != {ANY}
    ]
    return [(goal.under[block] == ANY, upwards(block, goal.over)) for block in named if goal.under[block] < 0]


# -- text ------------------------------------------------------------------------------------------
def text_picture(blocks: tuple[str, ...], below: Below, goal: Goal) -> str:
    """Returns the stacks beside those of the goal; '...' is a place that the goal leaves open."""
    here = [[blocks[block] for block in stack] for stack in _stacks(below)]
    wanted = [["..."] * open_below + [blocks[block] for block in stack] for open_below, stack in _wanted(goal)]
    height = max(map(len, [*here, *wanted]))
    left, right = _lines("State", here, height), _lines("Goal", wanted, height)
    held = blocks[below.index(HAND)] if HAND in below else "empty"
    picture = "\n".join(f"{one}   {other}".rstrip() for one, other in zip(left, right, strict=True))
    return f"{picture}\nHand: {held}"


def _lines(title: str, stacks: list[list[str]], height: int) -> list[str]:
    """Returns the lines of a picture of stacks, all of the same width."""
    width = 1 + max([len(name) for stack in stacks for name in stack], default=0)
    rows = [
        "".join((stack[level] if level < len(stack) else "").ljust(width) for stack in stacks)
        for level in reversed(range(height))
    ]
    length = max(len(title), *map(len, rows))
    return [line.ljust(length) for line in (title, *rows)] + ["-" * length]
