"""A self-contained text of a state, for players without memory: what the player could know, and nothing else.

`Seen` is the player's memory: what was in each receptacle when its content was last shown or changed by hand.
"""

from __future__ import annotations

from typing import NamedTuple

from gfn_envs.tasks.alfworld.house import House, Room, members
from gfn_envs.tasks.alfworld.rules import Command, is_visible
from gfn_envs.tasks.alfworld.texts import inventory, joined, listed

UNSEEN = -1


class Seen(NamedTuple):
    """What the player has seen.

    Attributes:
        contents: for each receptacle the things last seen in it, `UNSEEN` if it was never looked into.
        visited: receptacles that were ever named by an answer.
        opened: receptacles whose door was last seen open.
    """

    contents: tuple[int, ...]
    visited: int
    opened: int


def nothing_seen(house: House) -> Seen:
    """Returns the memory before the first step."""
    return Seen((UNSEEN,) * len(house.receptacles), 0, 0)


def see(house: House, room: Room, seen: Seen, command: Command) -> Seen:
    """Returns the memory after a command, given the room after it."""
    verb, first, second = command
    if verb in ("go", "open", "close", "inspect"):
        place, content = first, seen.contents[first]
        if is_visible(house, room, place):
            content = room.inside[place]
    elif verb == "take":
        place, content = second, max(seen.contents[second], 0) & ~(1 << first)
    elif verb == "move":
        place, content = second, max(seen.contents[second], 0) | 1 << first
    else:
        return seen
    bit = 1 << place
    contents = seen.contents
    if contents[place] != content:
        contents = (*contents[:place], content, *contents[place + 1 :])
    return Seen(contents, seen.visited | bit, seen.opened & ~bit | room.opened & bit)


def summary(house: House, room: Room, seen: Seen, task: str, history: tuple[str, ...], answer: str, left: int) -> str:
    """Returns the text.

    Args:
        house, room, seen: the game, its state and the player's memory.
        task: the player's task.
        history: the commands so far; they tell what the player has done to things.
        answer: the last answer of the engine, empty at the start.
        left: steps left.
    """
    here = house.here[room.pose]
    known = [f"{_place(house, seen, place)}." for place in members(seen.visited)]
    new = [name for place, name in enumerate(house.receptacles) if not seen.visited >> place & 1]
    done = [f"{name}: {' and '.join(states)}." for name, states in known_states(house, room, history)]
    where = joined([house.receptacles[place] for place in here]) if here else "the start, in the middle of the room"
    lines = (
        f"Your task is to: {task}.",
        f"You are at {where}.",
        inventory(house, room),
        *known,
        *done,
        f"Not visited: {', '.join(new)}." if new else "",
        f"Last: {answer.strip()}" if answer else "",
        f"Steps left: {left}.",
    )
    return "\n".join(filter(None, lines))


def _place(house: House, seen: Seen, place: int) -> str:
    name, content = house.receptacles[place], seen.contents[place]
    if house.openable >> place & 1:
        name += " (open)" if seen.opened >> place & 1 else " (closed)"
    return f"{name}: {'not seen' if content == UNSEEN else listed(house.things[thing] for thing in members(content))}"


def known_states(house: House, room: Room, history: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Returns the things that the player has treated, with what is true of them because of that."""
    words = {"heat": ("hot", room.hot), "cool": ("cool", room.cool), "clean": ("clean", room.clean)}
    words |= {"slice": ("sliced", room.sliced), "use": ("on", room.lit)}
    states: dict[str, list[str]] = {}
    for command in dict.fromkeys(history):
        verb, _, rest = command.partition(" ")
        if verb in words:
            thing, (word, things) = rest.partition(" with ")[0], words[verb]
            known = states.setdefault(thing, [])
            if things >> house.thing_numbers[thing] & 1 and word not in known:
                known.append(word)
    return [(thing, known) for thing, known in states.items() if known]
