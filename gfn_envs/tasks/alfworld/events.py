"""What can happen in a room without the player: a door falls shut, a thing turns up elsewhere.

The player's memory stays as it was, so it can be wrong afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

from gfn_envs.tasks.alfworld.house import House, Room, members


def events(house: House, room: Room) -> tuple[tuple[float, Room], ...]:
    """Returns what an event makes of a room, as a distribution; () if nothing can happen.

    An open door closes, each as likely as another; or a thing that can be carried and is in one receptacle only moves
    to another one that accepts it, each thing and then each place as likely as another. If there are both, each kind
    of event has probability 1/2.
    """
    closed = [room._replace(opened=room.opened & ~(1 << place)) for place in members(room.opened)]
    moved = list(_moved(house, room))
    kinds = (bool(closed) + bool(moved)) or 1
    return (
        *((1.0 / kinds / len(closed), after) for after in closed),
        *((weight / kinds, after) for weight, after in moved),
    )


def _moved(house: House, room: Room) -> Iterator[tuple[float, Room]]:
    ways = {thing: ways for thing in members(house.portable) if (ways := _ways(house, room, thing))}
    for thing, (place, others) in ways.items():
        for other in others:
            yield 1.0 / len(ways) / len(others), _relocated(house, room, thing, place, other)


def _ways(house: House, room: Room, thing: int) -> tuple[int, list[int]] | None:
    """Returns where a thing is and where else it can be; None if it is stuck, or not in exactly one receptacle."""
    places = [place for place, inside in enumerate(room.inside) if inside >> thing & 1]
    if len(places) != 1 or thing == room.held:
        return None
    others = [place for place, accepted in enumerate(house.accepts) if accepted >> thing & 1 and place != places[0]]
    return (places[0], others) if others else None


def _relocated(house: House, room: Room, thing: int, place: int, other: int) -> Room:
    bit, near = 1 << thing, list(room.near)
    for pose, things in enumerate(near):
        near[pose] = things & ~bit
    near[house.poses[other]] |= bit
    inside = list(room.inside)
    inside[place], inside[other] = inside[place] & ~bit, inside[other] | bit
    return room._replace(inside=tuple(inside), near=tuple(near), taken=tuple(things & ~bit for things in room.taken))
