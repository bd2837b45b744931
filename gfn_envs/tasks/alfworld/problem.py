"""One game as data: the room, what is where, and the goal.

Names and order are the engine's: receptacles and things are listed as it lists them in its sentences, so the
numbers of a kind go downwards. What is constant in all games (what fits where, what can be heated) is not repeated
here but is the table in `gfn_envs.tasks.alfworld.household`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gfn_envs.task import Problem
from gfn_envs.tasks.alfworld.household import ABILITIES, ACCEPTS, TASK_TYPES

MOST_RECEPTACLES = 64
MOST_AT_ONE_POSE = 8
MOST_THINGS = 96
MOST_PLACEMENTS = 96
"""Most pairs of a thing and a receptacle that it is in. Official games have up to 54 receptacles, 5 of them at one
pose, 64 things in receptacles and 65 placements."""
MOST_LAMPS = 4
LONGEST_NAME = 24
LONGEST_TASK = 200
LONGEST_GAME = 200
_NAME = re.compile(r"([a-z]+) ([1-9][0-9]{0,2})")


class Receptacle(NamedTuple):
    """A place for things.

    Attributes:
        name: 'cabinet 3'.
        pose: where one stands to use it; two receptacles can share a pose.
        openable: it has a door, which is closed at the start.
        kind: what it counts as, if that is not what it is called: some bathtub basins count as sink basins.
    """

    name: str
    pose: int
    openable: bool = False
    kind: str = ""


class Thing(NamedTuple):
    """An object.

    Attributes:
        name: 'mug 2'.
        inside: numbers of the receptacles that it is in; the engine's games have things in two at once.
        near: pose at which a knife reaches it, -1 if none; mostly that of the receptacle that it is in.
        fixed: it cannot be picked up.
        cool: it is cool at the start.
        holding: numbers of the things in it, for bowls and other vessels; they stay in it whatever happens.
    """

    name: str
    inside: tuple[int, ...] = ()
    near: int = -1
    fixed: bool = False
    cool: bool = False
    holding: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ALFWorldProblem(Problem):
    """One game.

    Attributes:
        game: name without its task, 'train/pick_and_place_simple-Book-None-Sofa-229/trial_T2019...'.
        task_type: one of the six types.
        task: the player's task, without its full stop: 'put a book in sofa'.
        target: kind of the thing that the goal is about: 'book'.
        place: kind of the receptacle where it must be, or of the lamp to look at it under: 'sofa'.
        receptacles: in the engine's order.
        things: in the engine's order; those that no rule can reach are left out.
        walkthrough: commands that win, empty if none is known; no rule reads it.
    """

    game: str
    task_type: str
    task: str
    target: str
    place: str
    receptacles: tuple[Receptacle, ...]
    things: tuple[Thing, ...]
    walkthrough: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "receptacles", _rows(self.receptacles, Receptacle, "receptacles"))
        object.__setattr__(self, "things", _rows(self.things, Thing, "things"))
        object.__setattr__(self, "walkthrough", _texts(self.walkthrough))
        _check_goal(self)
        _check_names(self)
        _check_room(self)

    def __hash__(self) -> int:
        return hash(self.game)

    @property
    def id(self) -> str:
        """'alfworld/train/pick_and_place_simple-Book-None-Sofa-229/trial_T2019...'."""
        return f"alfworld/{self.game}"

    @property
    def canonical(self) -> str:
        """The goal and the room: games that differ only in name, wording or walkthrough are one problem."""
        fields = self.to_json()
        content = [fields[name] for name in ("task_type", "target", "place", "receptacles", "things")]
        return "alfworld/" + json.dumps(content, separators=(",", ":"))

    @property
    def kind(self) -> str:
        """The task type."""
        return self.task_type

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values; rows end before their last default values."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        for name in ("receptacles", "things"):
            fields[name] = [_short(row) for row in fields[name]]
        return {**fields, "walkthrough": list(self.walkthrough)}


def kind_of(name: str) -> str:
    """Returns the kind of a thing, or what a receptacle is called: 'mug' of 'mug 2'."""
    return name.split(" ", 1)[0]


def _short(row: Receptacle | Thing) -> list[Any]:
    values = [list(value) if isinstance(value, tuple) else value for value in row]
    defaults = type(row)._field_defaults
    for name in reversed(row._fields):
        if name not in defaults or getattr(row, name) != defaults[name]:
            break
        values.pop()
    return values


# -- checks ----------------------------------------------------------------------------------------
def _rows(values: Any, row: Any, field: str) -> tuple[Any, ...]:
    """Returns rows of a JSON file as named tuples; a row may leave out its last fields."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"'{field}' must be a list of rows, got {values!r:.60}")
    try:
        return tuple(row(*map(_frozen, value)) for value in values)
    except TypeError:
        raise ValueError(f"a row of '{field}' has the entries {', '.join(row._fields)}") from None


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"'walkthrough' must be a list of commands, got {values!r:.60}")
    return tuple(values)


def _check_goal(problem: ALFWorldProblem) -> None:
    for field, longest in (("game", LONGEST_GAME), ("task", LONGEST_TASK)):
        text = getattr(problem, field)
        if not isinstance(text, str) or not 0 < len(text) <= longest or not (text.isascii() and text.isprintable()):
            raise ValueError(f"'{field}' must be 1 to {longest} printable ASCII characters, got {text!r:.60}")
    if problem.task_type not in TASK_TYPES:
        raise ValueError(f"there is no task type {problem.task_type!r:.60}; task types are {', '.join(TASK_TYPES)}")
    places: Any = ABILITIES["use"] if problem.task_type == "look_at_obj_in_light" else ACCEPTS
    if problem.place not in places:
        raise ValueError(f"'place' must be one of {', '.join(sorted(places))}, got {problem.place!r:.60}")
    if not isinstance(problem.target, str) or not problem.target.isalpha():
        raise ValueError(f"'target' must be a kind of things, got {problem.target!r:.60}")


def _check_names(problem: ALFWorldProblem) -> None:
    rows: list[Receptacle | Thing] = [*problem.receptacles, *problem.things]
    for row in rows:
        if not isinstance(row.name, str) or len(row.name) > LONGEST_NAME or not _NAME.fullmatch(row.name):
            raise ValueError(f"a name is a kind and a number, such as 'mug 2', got {row.name!r:.60}")
    if len({row.name for row in rows}) < len(rows):
        raise ValueError("two things or receptacles have the same name")


def _check_room(problem: ALFWorldProblem) -> None:
    receptacles, things = problem.receptacles, problem.things
    poses = [_number(receptacle.pose) for receptacle in receptacles]
    placements = sum(len(_numbers(thing.inside, len(receptacles))) for thing in things)
    counts = (
        ("receptacles", len(receptacles), MOST_RECEPTACLES),
        ("things", len(things), MOST_THINGS),
        ("placements", placements, MOST_PLACEMENTS),
        ("lamps", sum(kind_of(thing.name) in ABILITIES["use"] for thing in things), MOST_LAMPS),
    )
    for name, count, most in counts:
        if count > most:
            raise ValueError(f"a room has at most {most} {name}, got {count}")
    if not receptacles or sorted(set(poses)) != list(range(len(set(poses)))):
        raise ValueError("the poses of the receptacles must be numbered 0, 1, 2, ... without a gap")
    if max(map(poses.count, poses)) > MOST_AT_ONE_POSE:
        raise ValueError(f"at most {MOST_AT_ONE_POSE} receptacles can share a pose")
    for receptacle in receptacles:
        kind = receptacle.kind or kind_of(receptacle.name)
        if kind not in ACCEPTS or type(receptacle.openable) is not bool:
            raise ValueError(f"{receptacle!r:.80} is not a receptacle; kinds are {', '.join(ACCEPTS)}")
    for thing in things:
        _numbers(thing.holding, len(things))
        if not -1 <= _number(thing.near) <= max(poses) or {type(thing.fixed), type(thing.cool)} != {bool}:
            raise ValueError(f"{thing!r:.80} is not a thing of this room")


def _number(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"expected a whole number in a room, got {value!r:.60}")
    return value


def _numbers(values: Any, count: int) -> Sequence[int]:
    """Returns distinct numbers below `count`."""
    if not isinstance(values, tuple) or len(set(values)) < len(values):
        raise ValueError(f"expected a list of distinct numbers in a room, got {values!r:.60}")
    if not all(0 <= _number(value) < count for value in values):
        raise ValueError(f"numbers in a room must be 0 to {count - 1} here, got {values!r:.60}")
    return values
