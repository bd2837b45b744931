"""Shortest plans of a game, by listing the few ways in which its goal can be reached.

The one idea: every step of a shortest plan is needed, so it is fixed by its *errands*, the things that it takes, moves,
treats and switches on, in their order. Between two errands at different poses there is one `go to`, and every closed
receptacle that an errand needs is opened once. Nothing else can be in it: a thing that the goal is not about is
touched only if it is in hand at the start and the hand is needed, and a target is taken once and stays where it is
put (but for one that is in two receptacles at once, as the engine allows).
So `_ways` lists all sensible sequences of errands, their number of commands is a sum, and the least is the optimum.
`tests/test_alfworld_planner.py` proves lengths and numbers of plans by breadth-first search over the rules.

It plans with full information: it knows what is in closed receptacles. So its lengths are a ceiling for players, who
have to search, and its plans show how to win, not how to look for things, as those of `searcher` do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, pairwise, permutations, product
from math import factorial, prod
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gfn_envs.exact import DEFAULT_LIMIT, EnumerationLimit, enumerate_states
from gfn_envs.tasks.alfworld.house import House, Room, house_of, members
from gfn_envs.tasks.alfworld.household import ABILITIES
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem
from gfn_envs.tasks.alfworld.rules import ALWAYS, is_visible, is_won

if TYPE_CHECKING:
    from gfn_envs.tasks.alfworld.task import ALFWorld, ALFWorldState

Plan: TypeAlias = tuple[str, ...]


class Errand(NamedTuple):
    """Something to do at a receptacle.

    Attributes:
        verb: 'take', 'move', 'heat', 'cool', 'clean', 'use', or 'stand' to be there and do nothing.
        thing: number of the thing.
        place: number of the receptacle; for 'use' and 'stand' one of those at the pose.
    """

    verb: str
    thing: int
    place: int


Way: TypeAlias = tuple[Errand, ...]


# -- plans -----------------------------------------------------------------------------------------
def shortest_plan(problem: ALFWorldProblem) -> Plan:
    """Returns the commands of a shortest plan from the start of a game; no plan has fewer.

    Raises:
        ValueError: the game cannot be won.
    """
    return _plan(problem, house_of(problem).start)


def shortest_plan_from(state: ALFWorldState) -> Plan:
    """Returns the commands of a shortest plan from here, () if the game is won; the steps left are not looked at.

    Raises:
        ValueError: the game cannot be won from here.
    """
    return _plan(state.problem, state.room)


def optimal_plans_from(state: ALFWorldState) -> tuple[Plan, ...]:
    """Returns what `optimal_plans` returns, from here; `((),)` if the game is won; the steps left are not looked at.

    Raises:
        ValueError: the game cannot be won from here.
    """
    return _optimal_plans(state.problem, state.room)


def optimal_plans(problem: ALFWorldProblem) -> tuple[Plan, ...]:
    """Returns all shortest plans up to commuting steps, sorted.

    Two plans count as the same if they take, move and treat the same things with the same receptacles in the same
    order, and end at the same pose with the same lamp. So they may differ in when doors are opened and the lamp is
    switched on, and in which of several receptacles at one pose `go to` names. Returned is the one that goes to what
    it uses, opens a receptacle just before it is needed and switches the lamp on last; `count_optimal_plans` counts
    all of them.

    Raises:
        ValueError: the game cannot be won.
    """
    return _optimal_plans(problem, house_of(problem).start)


def count_optimal_plans(problem: ALFWorldProblem) -> int:
    """Returns how many different sequences of commands win in the least number of steps.

    Raises:
        ValueError: the game cannot be won.
    """
    house = house_of(problem)
    return sum(_count_orders(house, house.start, way) for way in _shortest_ways(problem, house.start))


def all_optimal_plans(problem: ALFWorldProblem, limit: int = DEFAULT_LIMIT) -> tuple[Plan, ...]:
    """Returns all sequences of commands that win in the least number of steps, sorted.

    Raises:
        ValueError: the game cannot be won.
        EnumerationLimit: there are more than `limit`.
    """
    count = count_optimal_plans(problem)
    if count > limit:
        raise EnumerationLimit(
            f"'{problem.id}' has {count} shortest plans, more than {limit}; pass limit=, or use optimal_plans, "
            "which leaves out those that differ in the order of commuting steps"
        )
    house = house_of(problem)
    ways = _shortest_ways(problem, house.start)
    return tuple(sorted(chain.from_iterable(_orders(house, house.start, way) for way in ways)))


def solutions(task: ALFWorld, problem: ALFWorldProblem) -> tuple[str, ...]:
    """Returns the names of all solutions if they can be listed, and otherwise of the `optimal_plans`.

    With the horizon of a game, plans with detours are beyond any listing: already `look`, `help` and `inventory` can
    be put before everything else, so there are more than 3 ** (horizon - optimum) solutions.
    """
    if is_won(house := house_of(problem), house.start):
        return (task.solution(task.reset(problem)),)
    try:
        spare = task.horizon - len(shortest_plan(problem))
    except ValueError:  # it cannot be won, or asks to look at a lamp, of which the planner knows nothing
        return _listed(task, problem)
    if spare <= 0:
        return tuple("; ".join(plan) for plan in (all_optimal_plans(problem) if spare == 0 else ()))
    return _listed(task, problem) or tuple("; ".join(plan) for plan in optimal_plans(problem))


def _listed(task: ALFWorld, problem: ALFWorldProblem) -> tuple[str, ...]:
    """Returns all solutions, none where they are too many to list."""
    if len(ALWAYS) ** task.horizon <= DEFAULT_LIMIT:
        with suppress(EnumerationLimit):
            return enumerate_states(task, problem).solutions
    return ()


def _plan(problem: ALFWorldProblem, room: Room) -> Plan:
    house = house_of(problem)
    return min(_commands(house, room, way) for way in _shortest_ways(problem, room))


def _optimal_plans(problem: ALFWorldProblem, room: Room) -> tuple[Plan, ...]:
    house = house_of(problem)
    return tuple(sorted(_commands(house, room, way) for way in _shortest_ways(problem, room)))


# -- ways to reach the goal ------------------------------------------------------------------------
def _shortest_ways(problem: ALFWorldProblem, room: Room) -> list[Way]:
    """Returns all ways with the least number of commands, one that does nothing if the goal holds."""
    house = house_of(problem)
    if is_won(house, room):
        return [()]
    if house.task_type == "look_at_obj_in_light" and problem.target in ABILITIES["use"]:
        raise ValueError(f"'{problem.id}' asks to look at a lamp, for which there are no plans here")
    best: list[Way] = []
    least = 1 << 30
    for way in _ways(house, room):
        length = _length(house, room, way)
        if length < least:
            best, least = [], length
        if length == least:
            best.append(way)
    if not best:
        raise ValueError(f"'{problem.id}' cannot be won: no sequence of commands reaches its goal from here")
    return best


def _ways(house: House, room: Room) -> Iterator[Way]:
    """Yields every way that could be a shortest one, once; its errands are possible one after the other."""
    held = room.held
    if held < 0:
        yield from _with_empty_hand(house, room)
        return
    is_target = house.targets >> held & 1
    if is_target:
        yield from _with_target(house, room)
    for way in _with_empty_hand(house, room):
        if not is_target or _goes_around(house, room, way):
            yield from ((Errand("move", held, place), *way) for place in _accepting(house, held))


def _goes_around(house: House, room: Room, way: Way) -> bool:
    """Says whether a way that starts by putting down the target in hand can be a shortest one.

    It is not shorter to put a target down and take another one, except for one that is treated or in place already,
    or if two are wanted in a receptacle that this one is in, too.
    """
    if house.task_type == "pick_two_obj_and_place":
        return bool(room.inside[way[-1].place] >> room.held & 1)
    return house.conditions == 3 and len(way) == 2


def _with_empty_hand(house: House, room: Room) -> Iterator[Way]:
    if house.task_type == "pick_two_obj_and_place":
        for place in house.places:
            yield from _fetches(house, room, place, 2 - (room.inside[place] & house.targets).bit_count(), -1)
        return
    for take in _takes(house, room, -1):
        yield from ((take, *way) for way in _with_held(house, room, take))


def _with_target(house: House, room: Room) -> Iterator[Way]:
    """Yields the ways that use the target in hand."""
    held = room.held
    if house.task_type != "pick_two_obj_and_place":
        yield from _with_held(house, room, Errand("take", held, -1))
        return
    for place in house.places:
        if house.accepts[place] >> held & 1 and not room.inside[place] >> held & 1:
            missing = 1 - (room.inside[place] & house.targets).bit_count()
            move = Errand("move", held, place)
            yield from ((move, *way) for way in _fetches(house, room, place, missing, held))


def _with_held(house: House, room: Room, take: Errand) -> Iterator[Way]:
    """Yields what is left to do with the target that was just taken."""
    if house.task_type == "look_at_obj_in_light":
        yield from ((light,) for light in _lights(house, room))
        return
    thing = take.thing
    moves = [Errand("move", thing, place) for place in house.places if house.accepts[place] >> thing & 1]
    if house.conditions != 3 or _treated(house, room) >> thing & 1:
        yield from ((move,) for move in moves)
        return
    elsewhere = [place for place, inside in enumerate(room.inside) if inside >> thing & 1 and place != take.place]
    for place, (verb, things) in enumerate(house.treatments):
        if verb != _verb(house) or not things >> thing & 1:
            continue
        treatment = Errand(verb, thing, place)
        # A thing that is in two receptacles can be in place and in hand, or come to be.
        if not set(house.places).isdisjoint(elsewhere):
            yield (treatment,)
            continue
        yield from ((treatment, move) for move in moves)
        for move, other in product(moves, elsewhere):
            yield (move, Errand("take", thing, other), treatment)


def _fetches(house: House, room: Room, place: int, missing: int, moved: int) -> Iterator[Way]:
    """Yields the ways to bring that many targets to a receptacle, without those there and the one moved before."""
    if missing <= 0:
        yield ()
        return
    accepted, here = house.accepts[place], room.inside[place]
    takes = [take for take in _takes(house, room, moved) if accepted >> take.thing & ~here >> take.thing & 1]
    for chosen in permutations(takes, missing):
        if len({take.thing for take in chosen}) == missing:
            yield tuple(chain.from_iterable((take, Errand("move", take.thing, place)) for take in chosen))


def _takes(house: House, room: Room, without: int) -> list[Errand]:
    things = house.targets & house.portable
    return [
        Errand("take", thing, place)
        for place, inside in enumerate(room.inside)
        for thing in members(inside & things)
        if thing != without
    ]


def _accepting(house: House, thing: int) -> list[int]:
    return [place for place, accepted in enumerate(house.accepts) if accepted >> thing & 1]


def _lights(house: House, room: Room) -> list[Errand]:
    """Returns the lamps to switch on, and the poses to stand at where one is on, each once a pose."""
    found: dict[tuple[int, int], Errand] = {}
    for place, pose in enumerate(house.poses):
        for lamp in house.places:
            if room.inside[place] >> lamp & 1:
                light = Errand("stand", -1, place) if room.lit >> lamp & 1 else Errand("use", lamp, place)
                found.setdefault((light.thing, pose), light)
    return list(found.values())


def _verb(house: House) -> str:
    return house.task_type.split("_")[1]


def _treated(house: House, room: Room) -> int:
    return {"clean": room.clean, "heat": room.hot, "cool": room.cool}.get(_verb(house), 0)


# -- from errands to commands ----------------------------------------------------------------------
def _doors(house: House, room: Room, way: Way) -> dict[int, int]:
    """Returns the receptacles to open, each with the number of the first errand that needs it open."""
    doors: dict[int, int] = {}
    for number, errand in enumerate(way):
        if errand.verb in ("take", "move") and not is_visible(house, room, errand.place):
            doors.setdefault(errand.place, number)
    return doors


def _length(house: House, room: Room, way: Way) -> int:
    poses = [room.pose, *(house.poses[errand.place] for errand in way)]
    moves = sum(before != after for before, after in pairwise(poses))
    return moves + sum(errand.verb != "stand" for errand in way) + len(_doors(house, room, way))


def _words(house: House, errand: Errand) -> list[str]:
    """Returns the command of an errand, none for 'stand'."""
    verb, thing, place = errand
    if verb in ("stand", "use"):
        return [f"use {house.things[thing]}"] if verb == "use" else []
    preposition = {"take": "from", "move": "to"}.get(verb, "with")
    return [f"{verb} {house.things[thing]} {preposition} {house.receptacles[place]}"]


def _commands(house: House, room: Room, way: Way) -> Plan:
    """Returns the plan that opens each receptacle just before it is needed."""
    doors = {number: place for place, number in _doors(house, room, way).items()}
    pose, plan = room.pose, list[str]()
    for number, errand in enumerate(way):
        if house.poses[errand.place] != pose:
            pose = house.poses[errand.place]
            plan.append(f"go to {house.receptacles[errand.place]}")
        if number in doors:
            plan.append(f"open {house.receptacles[doors[number]]}")
        plan += _words(house, errand)
    return tuple(plan)


class _Frame(NamedTuple):
    """A way without what can be done at several times.

    Attributes:
        steps: the other commands in order, each with its spellings.
        free: commands that open or switch on, each with the numbers of the steps right before which it can come; one
            more than the last step is the end.
    """

    steps: list[list[str]]
    free: list[tuple[str, list[int]]]


def _frame(house: House, room: Room, way: Way) -> _Frame:
    steps: list[list[str]] = []
    poses = [room.pose]  # where one is right before each step
    at: list[int] = []  # number of the step of each errand
    for errand in way:
        pose = house.poses[errand.place]
        if pose != poses[-1]:
            steps.append([f"go to {house.receptacles[place]}" for place in house.here[pose]])
            poses.append(pose)
        at.append(len(steps))
        if errand.verb not in ("use", "stand"):
            steps.append(_words(house, errand))
            poses.append(pose)

    def times(ways_there: Iterable[int], last: int) -> list[int]:
        there = {house.poses[place] for place in ways_there}
        return [step for step, pose in enumerate(poses[: last + 1]) if pose in there]

    free = [
        (f"open {house.receptacles[place]}", times([place], at[number]))
        for place, number in _doors(house, room, way).items()
    ]
    for errand in way:
        if errand.verb == "use":
            lamps = (place for place, inside in enumerate(room.inside) if inside >> errand.thing & 1)
            free.append((_words(house, errand)[0], times(lamps, len(steps))))
    return _Frame(steps, free)


def _count_orders(house: House, room: Room, way: Way) -> int:
    steps, free = _frame(house, room, way)
    orders = sum(prod(map(factorial, Counter(times).values())) for times in product(*(times for _, times in free)))
    return orders * prod(map(len, steps))


def _orders(house: House, room: Room, way: Way) -> Iterator[Plan]:
    """Yields all sequences of commands that do these errands in the least number of steps."""
    steps, free = _frame(house, room, way)
    for order in permutations(free):
        for times in product(*(times for _, times in order)):
            if list(times) != sorted(times):
                continue
            for spelled in product(*steps):
                plan = list(spelled)
                for (command, _), time in reversed(list(zip(order, times, strict=True))):
                    plan.insert(time, command)
                yield tuple(plan)
