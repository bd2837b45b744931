"""The engine's sentences.

The words are those of ALFWorld's text grammar, its mistakes in English included: a player trained here reads the
same in the original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gfn_envs.tasks.alfworld.house import House, Room, members
from gfn_envs.tasks.alfworld.rules import Command

NOTHING_HAPPENS = "Nothing happens."
_BANNER = "-= Welcome to TextWorld, ALFRED! =-"
_MIDDLE = "You are in the middle of a room. Looking quickly around you,"
HELP = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""


def first_observation(house: House, task: str) -> str:
    """Returns what the player sees before the first step."""
    room = f"{_MIDDLE} you see {listed(house.receptacles)}."
    return f"{_BANNER}\n\n{room}\n\nYour task is to: {task}."


def feedback(house: House, room: Room, command: Command) -> str:
    """Returns what the engine answers to an admissible command.

    Args:
        house: the tables of the game.
        room: the room after the command.
        command: the command.
    """
    verb, first, second = command
    if verb in _ON_ROOM:
        return _ON_ROOM[verb](house, room)
    if verb in _ON_RECEPTACLES:
        return _ON_RECEPTACLES[verb](house, room, first)
    if verb == "examine":
        return _thing(house, room, first)
    if verb == "use":
        return f"You turn on the {house.things[first]}."
    names = house.things if verb == "slice" else house.receptacles
    return _ON_THINGS[verb].format(house.things[first], names[second])


def listed(names: Iterable[str]) -> str:
    """Returns 'a mug 2, a mug 1, and a pen 1', or 'nothing'."""
    words = [f"a {name}" for name in names]
    return joined(words) if words else "nothing"


def joined(words: list[str]) -> str:
    """Returns 'bed 2, bed 1, and desk 1'."""
    return f"{', '.join(words[:-1])}, and {words[-1]}" if len(words) > 1 else words[0]


def _look(house: House, room: Room) -> str:
    here = house.here[room.pose]
    if not here:
        return f"{_MIDDLE} you see nothing."  # of a later look; the first observation lists the room
    # The engine lists what is reachable here and was taken from a receptacle of this pose, once for each of these.
    near = members(room.near[room.pose])
    floor = listed(house.things[thing] for thing in near for place in here if room.taken[place] >> thing & 1)
    return f"You are facing the {joined([house.receptacles[place] for place in here])}. Next to it, you see {floor}."


def inventory(house: House, room: Room) -> str:
    """Returns what the player holds."""
    return f"You are carrying: a {house.things[room.held]}." if room.held >= 0 else "You are not carrying anything."


def _receptacle(house: House, room: Room, place: int) -> str:
    name = house.receptacles[place]
    if not house.openable >> place & 1:
        return f"On the {name}, you see {_contents(house, room, place)}."
    if room.opened >> place & 1:
        return f"The {name} is open. In it, you see {_contents(house, room, place)}."
    return f"The {name} is closed."


def _contents(house: House, room: Room, place: int) -> str:
    return listed([house.things[thing] for thing in members(room.inside[place])])


def _thing(house: House, room: Room, thing: int) -> str:
    name = house.things[thing]
    if thing in house.vessels:
        return f"This is a normal {name}. In it, you see {listed(house.vessels[thing])}."
    hot, cool, clean, sliced = (true_of >> thing & 1 for true_of in (room.hot, room.cool, room.clean, room.sliced))
    warmth = "hot" if hot else "cool" if cool else ""
    if sliced:
        states = " and ".join(filter(None, [warmth, "clean" if clean else ""]))
        return f"This is a {states} sliced {name}." if states else f"This is a sliced {name}."
    if warmth and clean:
        return f"This is a {warmth} and clean {name}."
    if not (warmth or clean):
        return f"There's nothing special about {name}."
    return f"This is a {'clean' if clean else 'hot' if hot else 'cold'} {name}."


_ON_ROOM: dict[str, Callable[[House, Room], str]] = {
    "look": _look,
    "inventory": inventory,
    "help": lambda house, room: HELP,
}
_ON_RECEPTACLES: dict[str, Callable[[House, Room, int], str]] = {
    "go": lambda house, room, place: f"You arrive at {house.receptacles[place]}. {_receptacle(house, room, place)}",
    "open": lambda house, room, place: f"You open the {house.receptacles[place]}. {_receptacle(house, room, place)}",
    "close": lambda house, room, place: f"You close the {house.receptacles[place]}.",
    "inspect": _receptacle,
}
_ON_THINGS = {
    "take": "You pick up the {} from the {}.",
    "move": "You move the {} to the {}.",
    "heat": "You heat the {} using the {}.",
    "clean": "You clean the {} using the {}.",
    "cool": "You cool the {} using the {}.",
    "slice": "You sliced the {} with the {}.",
}
