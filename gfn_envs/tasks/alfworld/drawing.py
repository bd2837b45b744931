"""A game as a picture: a map of the room with what the player knows of it, in shapes or in lines of text.

Every receptacle is a box of its own, those of one kind side by side, those of one pose joined. Only what the player
has seen is shown: a grey box with '?' was never looked into, a brown one is closed. What the goal is about is orange,
and the place where the player stands is blue.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from gfn_envs.drawing import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    RED,
    WIDTH,
    Circle,
    Drawing,
    Label,
    Rectangle,
    Shape,
    shortened,
    steps_left,
    text_width,
)
from gfn_envs.tasks.alfworld.house import House, Room, house_of, members, set_of
from gfn_envs.tasks.alfworld.problem import kind_of
from gfn_envs.tasks.alfworld.rules import conditions_met
from gfn_envs.tasks.alfworld.summary import UNSEEN, known_states
from gfn_envs.tasks.alfworld.texts import joined

if TYPE_CHECKING:
    from gfn_envs.tasks.alfworld.task import ALFWorldState

WOOD, DARK_WOOD, PLAIN, GOAL = "#e6dccb", "#a08a64", "#ffffff", "#b34700"
MARGIN, GAP, BOTTOM = 24, 7, 354
_MOST_COLUMNS = 10
_WIDEST, _TALLEST = 220, 140
_WANTED_WIDTH, _WANTED_HEIGHT = 96, 44
_DOOR, _PAD = 5, 5
_SMALLEST, _LARGEST = 8.5, 13.0
_LINE = 1.17


class _Grid(NamedTuple):
    """Where the boxes are: upper left corner of each receptacle's, and the size of all of them."""

    corners: dict[int, tuple[float, float]]
    width: float
    height: float


def draw(state: ALFWorldState, steps: int) -> Drawing:
    """Returns the map of the room.

    Args:
        state: what is drawn.
        steps: most steps of the episode.
    """
    house = house_of(state.problem)
    marks = _marks(house, state)
    task, size = _task_lines(state.problem.task)
    shapes: list[Shape] = [
        Label(MARGIN, 22 + row * _LINE * size, line, size, anchor="start", bold=True) for row, line in enumerate(task)
    ]
    grid = _grid(house, 40 + (len(task) - 1) * _LINE * size)
    shapes += _joints(house, state.room, grid)
    for place in grid.corners:
        shapes += _box(house, state, place, grid, marks)
    if not house.here[state.room.pose]:
        shapes += [
            Circle(WIDTH - MARGIN - 6, 22, 6, BLUE),
            Label(WIDTH - MARGIN - 18, 22, "You", 13, BLUE, "end", True),
        ]
    shapes += _foot(house, state, steps, marks)
    return Drawing(tuple(shapes), _title(house, state, steps, marks))


def picture(state: ALFWorldState, steps: int) -> str:
    """Returns the map as text: '@' is where the player stands, '+' a receptacle at the pose of the one above.

    Args:
        state: what is shown.
        steps: most steps of the episode.
    """
    house = house_of(state.problem)
    marks = _marks(house, state)
    rows = [(place, number) for group in _groups(house) for number, place in enumerate(group)]
    longest = max(map(len, house.receptacles))
    lines = [f"Task: {state.problem.task}."]
    for place, number in rows:
        here = "@" if house.poses[place] == state.room.pose else " "
        door = {True: "open", False: "closed", None: ""}[_door(house, state, place)]
        names = [_named(house, thing, marks) for thing in _things(house, state, place)]
        known = "?" if state.seen.contents[place] == UNSEEN else ", ".join(names) or "-"
        lines.append(f"{here}{'+' if number else ' '} {house.receptacles[place]:{longest}}  {door:6}  {known}")
    where = "" if house.here[state.room.pose] else "; you are in the middle of the room"
    lines.append(f"In hand: {_hand(house, state, marks)}{where}.")
    lines.append(f"{_left(state, steps)}; {_progress(house, state, marks)}{_ending(house, state, steps, '; {}')}.")
    return "\n".join(lines)


# -- what the player knows -------------------------------------------------------------------------
Marks = dict[int, list[str]]
"""For things that the player has treated, what is true of them: 'hot', 'cool', 'clean', 'sliced', 'on'."""


def _marks(house: House, state: ALFWorldState) -> Marks:
    return {house.thing_numbers[name]: words for name, words in known_states(house, state.room, state.history)}


def _named(house: House, thing: int, marks: Marks) -> str:
    return f"{house.things[thing]} ({', '.join(marks[thing])})" if thing in marks else house.things[thing]


def _hand(house: House, state: ALFWorldState, marks: Marks) -> str:
    return "nothing" if state.room.held < 0 else _named(house, state.room.held, marks)


def _door(house: House, state: ALFWorldState, place: int) -> bool | None:
    """Says whether a door is open, None if there is none that the player knows of."""
    return bool(state.seen.opened >> place & 1) if house.openable & state.seen.visited & 1 << place else None


def _things(house: House, state: ALFWorldState, place: int) -> list[int]:
    """Returns what is known to be in a receptacle, what the goal is about first."""
    things = list(members(max(state.seen.contents[place], 0)))
    return sorted(things, key=lambda thing: not _is_of_goal(house, state, thing))


def _is_of_goal(house: House, state: ALFWorldState, thing: int) -> bool:
    return bool(house.targets >> thing & 1) or kind_of(house.things[thing]) == state.problem.place


def _progress(house: House, state: ALFWorldState, marks: Marks) -> str:
    """Returns how many of the goal's conditions the player knows to hold, all of them at a win."""
    treated = {word: set_of(thing for thing, words in marks.items() if word in words) for word in Room._fields}
    room = state.room._replace(
        inside=tuple(max(content, 0) for content in state.seen.contents),
        hot=treated["hot"],
        cool=treated["cool"],
        clean=treated["clean"],
    )
    met = house.conditions if state.met == house.conditions else conditions_met(house, room)
    return f"{met} of {house.conditions} goal condition{'s' * (house.conditions > 1)} met"


def _left(state: ALFWorldState, steps: int) -> str:
    return f"{steps - len(state.history)} of {steps} steps left"


def _ending(house: House, state: ALFWorldState, steps: int, form: str = "{}") -> str:
    """Returns 'won' or 'failed' in a form, '' before the end."""
    won = state.met == house.conditions
    return form.format("won" if won else "failed") if won or len(state.history) >= steps else ""


def _title(house: House, state: ALFWorldState, steps: int, marks: Marks) -> str:
    here = [house.receptacles[place] for place in house.here[state.room.pose]]
    where = f"at {joined(here)}" if here else "in the middle of the room"
    used = f"after {len(state.history)} of {steps} steps{_ending(house, state, steps, ', {}')}"
    return f"ALFWorld {used}: {state.problem.task}; the player is {where} with {_hand(house, state, marks)} in hand."


# -- boxes -----------------------------------------------------------------------------------------
def _groups(house: House) -> list[list[int]]:
    """Returns the receptacles of each pose, sorted by kind and number."""

    def key(place: int) -> tuple[str, int]:
        kind, number = house.receptacles[place].split(" ")
        return kind, int(number)

    groups = [sorted(here, key=key) for here in house.here if here]
    return sorted(groups, key=lambda group: key(group[0]))


def _grid(house: House, top: float) -> _Grid:
    """Returns the grid in which the boxes are closest to the wanted size; those of a pose are in one row."""
    groups = _groups(house)
    best, score = _Grid({}, 0, 0), -1.0
    for columns in range(max(map(len, groups)), _MOST_COLUMNS + 1):
        cells = _cells(groups, columns)
        rows = 1 + max(row for _, row in cells.values())
        width = min((WIDTH - 2 * MARGIN + GAP) / columns - GAP, _WIDEST)
        height = min((BOTTOM - top + GAP) / rows - GAP, _TALLEST)
        fit = min(width / _WANTED_WIDTH, height / _WANTED_HEIGHT)
        if fit >= score:
            used = 1 + max(column for column, _ in cells.values())
            left = (WIDTH - used * (width + GAP) + GAP) / 2
            upper = top + (BOTTOM - top - rows * (height + GAP) + GAP) / 2
            corners = {
                place: (left + column * (width + GAP), upper + row * (height + GAP))
                for place, (column, row) in cells.items()
            }
            best, score = _Grid(corners, width, height), fit
    return best


def _cells(groups: Sequence[Sequence[int]], columns: int) -> dict[int, tuple[int, int]]:
    cells, column, row = dict[int, tuple[int, int]](), 0, 0
    for group in groups:
        if column and column + len(group) > columns:
            column, row = 0, row + 1
        for place in group:
            cells[place] = (column, row)
            column += 1
    return cells


def _joints(house: House, room: Room, grid: _Grid) -> Iterator[Shape]:
    """Yields the bars that join neighbouring boxes of one pose."""
    for group in _groups(house):
        colour = BLUE if house.poses[group[0]] == room.pose else GREY
        for left, right in pairwise(group):
            (x, y), (_, below) = grid.corners[left], grid.corners[right]
            if y == below:
                yield Rectangle(x + grid.width - 3, y + grid.height / 2 - 3, GAP + 6, 6, colour)


def _box(house: House, state: ALFWorldState, place: int, grid: _Grid, marks: Marks) -> Iterator[Shape]:
    """Yields a receptacle: its name and what is known to be in it."""
    (x, y), width, height = grid.corners[place], grid.width, grid.height
    door, unseen = _door(house, state, place), state.seen.contents[place] == UNSEEN
    here = house.poses[place] == state.room.pose
    is_goal = kind_of(house.receptacles[place]) == state.problem.place
    fill = WOOD if door is False else FAINT if unseen else PLAIN
    yield Rectangle(x, y, width, height, fill, BLUE if here else GREY, 4, 3.5 if here else 1.2)
    if door is False:
        yield Circle(x + width - 6, y + height / 2, 3, DARK_WOOD)
    elif door:
        yield Rectangle(x + width - _DOOR - 2.5, y + 4, _DOOR, height - 8, WOOD, DARK_WOOD, 1, 1)
    size = min(max(0.22 * height, _SMALLEST), _LARGEST)
    room = width - 2 * _PAD - _DOOR * (door is not None)
    name = _fitting_name(house.receptacles[place], int(room / text_width("x", _SMALLEST - 1)))
    name_size = min(size, room / text_width(name, 1))
    colour = GOAL if is_goal else BLUE if here else INK
    yield Label(x + _PAD, y + 2 + _LINE * size / 2, name, name_size, colour, "start", bold=True)
    if here and place == _groups_of(house, state.room.pose)[0]:
        yield Circle(x, y, 6, BLUE)
    if unseen:
        yield Label(x + width / 2, y + height / 2 + 0.4 * size, "?", 1.6 * size, GREY, bold=True)
        return
    top = y + 2 + _LINE * size
    names = [(_named(house, i, marks), _is_of_goal(house, state, i)) for i in _things(house, state, place)]
    lines, size = _content(names, room, y + height - 2 - top, max(0.9 * size, _SMALLEST))
    for row, (text, of_goal) in enumerate(lines):
        ink = GOAL if of_goal else INK
        yield Label(x + _PAD, top + _LINE * size * (row + 0.5), text, size, ink, "start", bold=of_goal)


def _groups_of(house: House, pose: int) -> list[int]:
    return next(group for group in _groups(house) if house.poses[group[0]] == pose)


def _fitting_name(name: str, characters: int) -> str:
    """Returns 'coffeema. 1' for 'coffeemachine 1' if that has too many characters."""
    if len(name) <= characters:
        return name
    kind, rest = name.split(" ", 1)
    return shortened(f"{kind[: max(characters - len(rest) - 2, 3)]}. {rest}", max(characters, 3))


def _content(
    names: Sequence[tuple[str, bool]], width: float, height: float, size: float
) -> tuple[list[tuple[str, bool]], float]:
    """Returns lines with the names, each with whether the goal is about it, and their size: smaller if all fit then.

    Where not all of them fit at the smallest size, '+3' stands for three others.
    """
    if not names:
        return [("empty", False)], size
    for shown in range(len(names), 0, -1):
        rest = [(f"+{len(names) - shown}", False)] if shown < len(names) else []
        trial = size if shown == len(names) else _SMALLEST
        while trial >= _SMALLEST:
            characters, rows = int(width / text_width("x", trial)), int(height / (_LINE * trial))
            short = [(_fitting_name(name, characters), of_goal) for name, of_goal in names[:shown]]
            lines = _joined_lines([*short, *rest], characters)
            if len(lines) <= rows:
                return lines, trial
            trial -= 0.5
    return [(f"{len(names)} things", any(of_goal for _, of_goal in names))], _SMALLEST


def _joined_lines(names: Iterable[tuple[str, bool]], characters: int) -> list[tuple[str, bool]]:
    """Joins names with commas; names that the goal is about have lines of their own."""
    lines: list[tuple[str, bool]] = []
    for name, of_goal in names:
        longer = f"{lines[-1][0]}, {name}" if lines else ""
        if lines and len(longer) <= characters and (lines[-1][1] == of_goal or name.startswith("+")):
            lines[-1] = (longer, lines[-1][1])
        else:
            lines.append((name, of_goal))
    return lines


# -- around the map --------------------------------------------------------------------------------
def _task_lines(task: str) -> tuple[list[str], float]:
    """Returns the player's task in one line or two, and their size."""
    text = f"Task: {task}."
    size = 17.0
    while len(lines := textwrap.wrap(text, int((WIDTH - 2 * MARGIN - 40) / text_width("x", size)))) > 2 and size > 11:
        size -= 1
    return [*lines[:1], *(shortened(" ".join(lines[1:]), 95) for _ in lines[1:2])], size


def _foot(house: House, state: ALFWorldState, steps: int, marks: Marks) -> Iterator[Shape]:
    """Yields the thing in hand, the last command with its answer, the steps left and how much of the goal is met."""
    of_goal = state.room.held >= 0 and bool(house.targets >> state.room.held & 1)
    hand = f"In hand: {_hand(house, state, marks)}"
    yield Label(MARGIN, 368, hand, 15, GOAL if of_goal else INK, "start", bold=True)
    room = int((WIDTH - 2 * MARGIN - 12 - text_width(hand, 15)) / text_width("x", 12))
    last = (state.history[-1] or "not a command here") if state.history else "nothing yet"
    yield Label(WIDTH - MARGIN, 368, shortened(f"last: {last}", room), 12, GREY, "end")
    answer = " ".join(state.answer.split()) or "grey ?: not seen yet, brown: closed, orange: of the goal, blue: you"
    for row, line in enumerate(_wrapped(answer, int((WIDTH - 2 * MARGIN) / text_width("x", 11.5)), 2)):
        yield Label(MARGIN, 388 + 15 * row, line, 11.5, anchor="start")
    yield from steps_left(steps - len(state.history), steps, MARGIN, 433, 180, 8, above=11, size=13)
    yield Label(WIDTH / 2, 430, _progress(house, state, marks), 14)
    if verdict := _ending(house, state, steps):
        yield Label(WIDTH - MARGIN, 428, verdict, 26, GREEN if verdict == "won" else RED, "end", bold=True)


def _wrapped(text: str, characters: int, rows: int) -> list[str]:
    lines = textwrap.wrap(text, characters)
    return [*lines[: rows - 1], *(shortened(" ".join(lines[rows - 1 :]), characters) for _ in lines[rows - 1 : rows])]
