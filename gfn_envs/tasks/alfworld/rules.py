"""ALFWorld's rules: which commands are admissible in a room, what they do, and how much of the goal is met.

They are those of ALFWorld's PDDL domain as the engine plays it, its quirks included: a thing can be in two
receptacles at once; lamps in a closed drawer can be switched on; heating, cooling and cleaning need no
open door; one cannot go to where one is, so of two receptacles at one pose the other cannot be gone to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gfn_envs.tasks.alfworld.house import House, Room, members

ALWAYS = ("help", "inventory", "look")
_PREPOSITIONS = {
    "take": (" from ", True),
    "move": (" to ", True),
    "heat": (" with ", True),
    "cool": (" with ", True),
    "clean": (" with ", True),
    "slice": (" with ", False),
}
"""What stands between the two names of a command, and whether the second one is a receptacle."""


class Command(NamedTuple):
    """A command that has been read.

    Attributes:
        verb: 'go', 'open', 'close', 'inspect' (a receptacle), 'examine' (a thing), 'use', 'take', 'move', 'heat',
            'cool', 'clean', 'slice', 'help', 'inventory' or 'look'.
        first: number of the receptacle ('go' to 'inspect') or of the thing, -1 if there is none.
        second: number of the receptacle, for 'slice' of the knife, -1 if there is none.
    """

    verb: str
    first: int = -1
    second: int = -1


# -- commands as text ------------------------------------------------------------------------------
def read(house: House, text: str) -> Command:
    """Returns the command that a text is; raises KeyError if it is none of this house's."""
    verb, _, rest = text.partition(" ")
    if verb in _PREPOSITIONS:
        preposition, is_receptacle = _PREPOSITIONS[verb]
        first, _, second = rest.partition(preposition)
        numbers = house.receptacle_numbers if is_receptacle else house.thing_numbers
        return Command(verb, house.thing_numbers[first], numbers[second])
    if verb == "go" and rest.startswith("to "):
        return Command("go", house.receptacle_numbers[rest[3:]])
    if verb in ("open", "close"):
        return Command(verb, house.receptacle_numbers[rest])
    if verb == "examine" and rest in house.receptacle_numbers:
        return Command("inspect", house.receptacle_numbers[rest])
    if verb in ("examine", "use"):
        return Command(verb, house.thing_numbers[rest])
    if text not in ALWAYS:
        raise KeyError(text)
    return Command(text)


def commands(house: House, room: Room) -> tuple[str, ...]:
    """Returns the admissible commands, sorted as the engine sorts them."""
    before, after = [], list(ALWAYS)
    for place in house.here[room.pose]:
        name = house.receptacles[place]
        before.append(f"examine {name}")
        if house.openable >> place & 1:
            if not room.opened >> place & 1:
                after.append(f"open {name}")
                continue
            before.append(f"close {name}")
        if room.held < 0:
            things = room.inside[place] & house.portable
            after += [f"take {house.things[thing]} from {name}" for thing in members(things)]
        elif house.accepts[place] >> room.held & 1:
            after.append(f"move {house.things[room.held]} to {name}")
    _add_uses(house, room, after)
    if room.held >= 0:
        _add_with_held(house, room, before, after)
    before.sort()  # all of these verbs sort before "go"
    after.sort()
    return (*before, *house.goes[room.pose], *after)


def _add_uses(house: House, room: Room, after: list[str]) -> None:
    lamps = 0
    for place in house.here[room.pose]:
        lamps |= room.inside[place] & house.lamps
    after += [f"use {house.things[lamp]}" for lamp in members(lamps)]


def _add_with_held(house: House, room: Room, before: list[str], after: list[str]) -> None:
    held, name = room.held, house.things[room.held]
    before.append(f"examine {name}")
    for place in house.here[room.pose]:
        verb, things = house.treatments[place]
        if things >> held & 1:
            (after if verb == "heat" else before).append(f"{verb} {name} with {house.receptacles[place]}")
    if house.knives >> held & 1:
        sliceable = room.near[room.pose] & house.sliceable
        after += [f"slice {house.things[thing]} with {name}" for thing in members(sliceable)]


# -- what commands do ------------------------------------------------------------------------------
def apply(house: House, room: Room, command: Command) -> Room:
    """Returns the room after a command; raises KeyError if it is not admissible."""
    return _EFFECTS[command.verb](house, room, command.first, command.second)


def is_visible(house: House, room: Room, place: int) -> bool:
    """Says whether one sees what is in a receptacle when one stands before it."""
    return not (house.openable & ~room.opened) >> place & 1


def _require(admissible: bool | int) -> None:
    if not admissible:
        raise KeyError("the command is not admissible here")


def _nothing(house: House, room: Room, first: int, second: int) -> Room:
    return room


def _go(house: House, room: Room, place: int, _: int) -> Room:
    _require(house.poses[place] != room.pose)
    return room._replace(pose=house.poses[place])


def _inspect(house: House, room: Room, place: int, _: int) -> Room:
    _require(house.poses[place] == room.pose)
    return room


def _examine(house: House, room: Room, thing: int, _: int) -> Room:
    _require(thing == room.held)
    return room


def _open(house: House, room: Room, place: int, _: int) -> Room:
    _require(house.poses[place] == room.pose and (house.openable & ~room.opened) >> place & 1)
    return room._replace(opened=room.opened | 1 << place)


def _close(house: House, room: Room, place: int, _: int) -> Room:
    _require(house.poses[place] == room.pose and room.opened >> place & 1)
    return room._replace(opened=room.opened & ~(1 << place))


def _take(house: House, room: Room, thing: int, place: int) -> Room:
    pose, bit = room.pose, 1 << thing
    _require(room.held < 0 and house.poses[place] == pose and is_visible(house, room, place))
    _require(room.inside[place] & house.portable & bit)
    return room._replace(
        held=thing,
        inside=_changed(room.inside, place, room.inside[place] & ~bit),
        near=_changed(room.near, pose, room.near[pose] & ~bit),
        taken=_changed(room.taken, place, room.taken[place] | bit),
    )


def _move(house: House, room: Room, thing: int, place: int) -> Room:
    pose, bit = room.pose, 1 << thing
    _require(room.held == thing and house.poses[place] == pose and is_visible(house, room, place))
    _require(house.accepts[place] & bit)
    return room._replace(
        held=-1,
        inside=_changed(room.inside, place, room.inside[place] | bit),
        near=_changed(room.near, pose, room.near[pose] | bit),
        taken=_changed(room.taken, place, room.taken[place] & ~bit),
    )


def _changed(sets: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    return (*sets[:index], value, *sets[index + 1 :])


def _use(house: House, room: Room, thing: int, _: int) -> Room:
    bit = 1 << thing
    _require(house.lamps & bit and any(room.inside[place] & bit for place in house.here[room.pose]))
    return room._replace(lit=room.lit | bit)


def _require_treatment(house: House, room: Room, verb: str, thing: int, place: int) -> int:
    gives, things = house.treatments[place]
    _require(gives == verb and things >> thing & 1 and room.held == thing and house.poses[place] == room.pose)
    return 1 << thing


def _clean(house: House, room: Room, thing: int, place: int) -> Room:
    return room._replace(clean=room.clean | _require_treatment(house, room, "clean", thing, place))


def _heat(house: House, room: Room, thing: int, place: int) -> Room:
    bit = _require_treatment(house, room, "heat", thing, place)
    return room._replace(hot=room.hot | bit, cool=room.cool & ~bit)


def _cool(house: House, room: Room, thing: int, place: int) -> Room:
    bit = _require_treatment(house, room, "cool", thing, place)
    return room._replace(cool=room.cool | bit, hot=room.hot & ~bit)


def _slice(house: House, room: Room, thing: int, knife: int) -> Room:
    bit = 1 << thing
    _require(room.held == knife and house.knives >> knife & 1 and room.near[room.pose] & house.sliceable & bit)
    return room._replace(sliced=room.sliced | bit)


_EFFECTS: dict[str, Callable[[House, Room, int, int], Room]] = {
    **dict.fromkeys(ALWAYS, _nothing),
    "go": _go,
    "inspect": _inspect,
    "examine": _examine,
    "open": _open,
    "close": _close,
    "take": _take,
    "move": _move,
    "use": _use,
    "clean": _clean,
    "heat": _heat,
    "cool": _cool,
    "slice": _slice,
}


# -- the goal --------------------------------------------------------------------------------------
def conditions_met(house: House, room: Room) -> int:
    """Returns how many of the goal's conditions hold, of `house.conditions`; all of them if and only if it is won.

    They are those of ALFRED: the target is in place; for the treatments also that a target is treated and that a
    treated one is in place; each of two targets in one place; the target in hand and the lamp here on.
    """
    task_type, targets = house.task_type, house.targets
    if task_type == "look_at_obj_in_light":
        held = room.held >= 0 and targets >> room.held & 1
        lit = room.lit & sum(1 << lamp for lamp in house.places)
        return int(bool(held)) + any(room.inside[place] & lit for place in house.here[room.pose])
    if task_type == "pick_two_obj_and_place":
        return min(2, max([(room.inside[place] & targets).bit_count() for place in house.places], default=0))
    placed = 0
    for place in house.places:
        placed |= room.inside[place] & targets
    if task_type == "pick_and_place_simple":
        return int(placed != 0)
    treated = targets & (room.clean if "clean" in task_type else room.hot if "heat" in task_type else room.cool)
    return (placed != 0) + (treated != 0) + (placed & treated != 0)


def is_won(house: House, room: Room) -> bool:
    """Says whether the goal is reached."""
    return conditions_met(house, room) == house.conditions
