"""The tables of one game that never change while it is played, computed once a problem.

Sets of things are numbers: bit i stands for thing i of the problem. Sets of receptacles likewise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from gfn_envs.tasks.alfworld.household import ABILITIES, ACCEPTS, KNIVES, TREATMENTS
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem, kind_of

_KEPT_HOUSES = 128
_CONDITIONS = {"pick_and_place_simple": 1, "look_at_obj_in_light": 2, "pick_two_obj_and_place": 2}


class Room(NamedTuple):
    """All that commands change.

    Attributes:
        pose: where the player is; the pose after the last one of the receptacles is the start.
        held: number of the thing in hand, -1 if none.
        opened: receptacles whose door is open.
        inside: for each receptacle the things in it.
        near: for each pose the things that a knife reaches from there.
        taken: for each receptacle the things taken from it and not put back; the engine's "look" needs them.
        hot, cool, clean, sliced, lit: things of which that is true.
    """

    pose: int
    held: int
    opened: int
    inside: tuple[int, ...]
    near: tuple[int, ...]
    taken: tuple[int, ...]
    hot: int = 0
    cool: int = 0
    clean: int = 0
    sliced: int = 0
    lit: int = 0


class House(NamedTuple):
    """What never changes.

    Attributes:
        receptacles: name of each receptacle.
        things: name of each thing.
        receptacle_numbers, thing_numbers: the reverse of both.
        poses: pose of each receptacle.
        here: receptacles at each pose, the start included.
        goes: at each pose, the start included, the commands to go elsewhere, sorted.
        openable: receptacles with a door.
        accepts: for each receptacle the things that can be put there.
        treatments: for each receptacle the verb of what it does to things ('heat') or '', and to which things.
        portable, sliceable, knives, lamps: things.
        vessels: for each vessel the names of the things in it.
        task_type: the goal's form.
        targets: things that the goal is about.
        places: receptacles where they must be; for "look at" the lamps, as things.
        conditions: into how many parts the goal falls.
        start: the room before the first step.
    """

    receptacles: tuple[str, ...]
    things: tuple[str, ...]
    receptacle_numbers: dict[str, int]
    thing_numbers: dict[str, int]
    poses: tuple[int, ...]
    here: tuple[tuple[int, ...], ...]
    goes: tuple[tuple[str, ...], ...]
    openable: int
    accepts: tuple[int, ...]
    treatments: tuple[tuple[str, int], ...]
    portable: int
    sliceable: int
    knives: int
    lamps: int
    vessels: dict[int, tuple[str, ...]]
    task_type: str
    targets: int
    places: tuple[int, ...]
    conditions: int
    start: Room


def members(numbers: int) -> Iterator[int]:
    """Returns the members of a set in increasing order, which is the engine's order."""
    while numbers:
        lowest = numbers & -numbers
        yield lowest.bit_length() - 1
        numbers ^= lowest


def set_of(numbers: Iterable[int]) -> int:
    """Returns the set of these numbers."""
    return sum({1 << number for number in numbers})


@lru_cache(maxsize=_KEPT_HOUSES)
def house_of(problem: ALFWorldProblem) -> House:
    """Returns the tables of a problem."""
    receptacles = [receptacle.name for receptacle in problem.receptacles]
    things = [thing.name for thing in problem.things]
    poses = [receptacle.pose for receptacle in problem.receptacles]
    kinds = [receptacle.kind or kind_of(receptacle.name) for receptacle in problem.receptacles]
    thing_kinds = [kind_of(name) for name in things]
    places = [i for i, kind in enumerate(kinds) if kind == problem.place]
    lamps = [i for i, kind in enumerate(thing_kinds) if kind == problem.place]

    def able(kinds_of_things: frozenset[str]) -> int:
        return set_of(i for i, kind in enumerate(thing_kinds) if kind in kinds_of_things)

    treatment = {place: (verb, able(ABILITIES[verb])) for verb, place in TREATMENTS.items()}
    return House(
        receptacles=tuple(receptacles),
        things=tuple(things),
        receptacle_numbers={name: i for i, name in enumerate(receptacles)},
        thing_numbers={name: i for i, name in enumerate(things)},
        poses=tuple(poses),
        here=tuple(tuple(i for i, at in enumerate(poses) if at == pose) for pose in range(max(poses) + 2)),
        goes=tuple(_goes(receptacles, poses, pose) for pose in range(max(poses) + 2)),
        openable=set_of(i for i, receptacle in enumerate(problem.receptacles) if receptacle.openable),
        accepts=tuple(able(ACCEPTS[kind]) for kind in kinds),
        treatments=tuple(treatment.get(kind, ("", 0)) for kind in kinds),
        portable=set_of(i for i, thing in enumerate(problem.things) if not thing.fixed),
        sliceable=able(ABILITIES["slice"]),
        knives=able(KNIVES),
        lamps=able(ABILITIES["use"]),
        vessels={
            i: tuple(things[inner] for inner in thing.holding)
            for i, thing in enumerate(problem.things)
            if thing_kinds[i] in ABILITIES["contain"]
        },
        task_type=problem.task_type,
        targets=able(frozenset([problem.target])),
        places=tuple(places or lamps),
        conditions=_CONDITIONS.get(problem.task_type, 3),
        start=_start(problem, max(poses) + 1),
    )


def _goes(receptacles: list[str], poses: list[int], pose: int) -> tuple[str, ...]:
    return tuple(sorted(f"go to {name}" for name, at in zip(receptacles, poses, strict=True) if at != pose))


def _start(problem: ALFWorldProblem, pose: int) -> Room:
    receptacles, things = range(len(problem.receptacles)), list(enumerate(problem.things))
    return Room(
        pose=pose,
        held=-1,
        opened=0,
        inside=tuple(set_of(i for i, thing in things if place in thing.inside) for place in receptacles),
        near=tuple(set_of(i for i, thing in things if thing.near == at) for at in range(pose)),
        taken=(0,) * len(receptacles),
        cool=set_of(i for i, thing in things if thing.cool),
    )
