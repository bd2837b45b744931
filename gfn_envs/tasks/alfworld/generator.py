"""New games of all six task types, in rooms drawn from the statistics of official ones.

A game is drawn in steps: kind of room, goal, receptacles, things, plan. If the goal holds from the start or no plan
reaches it, all but the kind of room is drawn again. Everything is drawn by `Generator.random` alone, the stream that
NumPy keeps the most stable. Unlike in a few official games, no thing is in two receptacles and no vessel holds things.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from itertools import product
from typing import TypeVar

import numpy as np

from gfn_envs.tasks.alfworld.house import house_of
from gfn_envs.tasks.alfworld.household import ABILITIES, ACCEPTS, TASK_TYPES, TREATMENTS
from gfn_envs.tasks.alfworld.planner import shortest_plan
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem, Receptacle, Thing, kind_of
from gfn_envs.tasks.alfworld.rooms import FIXED, NEIGHBOURS, OPENABLE, ROOMS_OF_TASKS, receptacles_of, things_of
from gfn_envs.tasks.alfworld.rules import conditions_met

SHIPPED = "alfworld_games.jsonl.gz"
"""File of the shipped games, in the package's folder `data`."""
SHIPPED_SEED = 7
"""With it every task type is in every split."""
SHIPPED_PER_TYPE = 60
LONGEST_PLAN = 50
_MOST_AT_ONE_POSE = 5
_MOST_OF_A_KIND = 4
_ATTEMPTS = 1000
_NO_GOALS = frozenset({"bathtubbasin", "handtowelholder", "sinkbasin", "toaster", "towelholder", "tvstand"})
"""Kinds of receptacles to which no official task brings anything."""
_TASKS = {
    "pick_and_place_simple": ("put a {0} in {1}", "put some {0} on {1}"),
    "look_at_obj_in_light": ("examine the {0} with the {1}", "look at {0} under the {1}"),
    "pick_clean_then_place_in_recep": ("put a clean {0} in {1}", "clean some {0} and put it in {1}"),
    "pick_heat_then_place_in_recep": ("put a hot {0} in {1}", "heat some {0} and put it in {1}"),
    "pick_cool_then_place_in_recep": ("put a cool {0} in {1}", "cool some {0} and put it in {1}"),
    "pick_two_obj_and_place": ("put two {0} in {1}", "find two {0} and put them in {1}"),
}
"""ALFWorld's sentences; each of the two is as frequent in its games."""
_VERBS = {f"pick_{verb}_then_place_in_recep": verb for verb in TREATMENTS}
T = TypeVar("T")


def generate(rng: np.random.Generator, task_type: str | None = None) -> ALFWorldProblem:
    """Returns a new game; its name ends with the hash of its content, so equal games have equal names.

    Args:
        rng: decides the game.
        task_type: one of the six types, or None to draw one of them.

    Raises:
        ValueError: there is no such task type.
    """
    if task_type is not None and task_type not in TASK_TYPES:
        raise ValueError(f"there is no task type {task_type!r}; task types are {', '.join(TASK_TYPES)}")
    drawn_type = task_type or _one_of(rng, TASK_TYPES)
    room = _weighted(rng, ROOMS_OF_TASKS[drawn_type])
    for _ in range(_ATTEMPTS):
        problem = _draw(rng, drawn_type, room)
        plan = winning_plan(problem) if problem is not None else None
        if problem is not None and plan:
            rows = json.dumps(problem.to_json())
            name = f"generated/{drawn_type}/{hashlib.sha256(rows.encode()).hexdigest()[:16]}"
            return replace(problem, game=name, walkthrough=plan)
    raise RuntimeError(f"no game of the type {drawn_type} in a {room} among {_ATTEMPTS} draws")


def numbered_games(seed: int, per_type: int) -> Iterator[ALFWorldProblem]:
    """Yields games of every type in turn, 'generated/pick_and_place_simple/0000' first; each has its own stream."""
    for number, (index, task_type) in product(range(per_type), enumerate(TASK_TYPES)):
        problem = generate(np.random.default_rng([seed, index, number]), task_type)
        yield replace(problem, game=f"generated/{task_type}/{number:04d}")


@cache
def shipped_games() -> tuple[ALFWorldProblem, ...]:
    """Returns the games that come with the package; `examples/make_alfworld_games.py` made them."""
    content = gzip.decompress((files("gfn_envs") / "data" / SHIPPED).read_bytes()).decode()
    return tuple(ALFWorldProblem(**json.loads(line)) for line in content.splitlines())


# -- drawing ---------------------------------------------------------------------------------------
def _draw(rng: np.random.Generator, task_type: str, room: str) -> ALFWorldProblem | None:
    """Returns a game without a plan, or None if the draw came to none or its start is unlike that of official games.

    In these nothing of the goal holds at the start, except that an untreated target may be in place.
    """
    target, place = _one_of(rng, _goals(task_type, room))
    receptacles = _receptacles(rng, room, place)
    needed = 2 if task_type == "pick_two_obj_and_place" else 1
    things = _things(rng, room, receptacles, {target: needed, **({place: 1} if place in FIXED else {})})
    placed = [thing for thing in things if kind_of(thing.name) == target]
    if len(placed) < needed:
        return None
    marked = [thing._replace(cool=_is_cool(thing, target, receptacles)) for thing in things]
    task = _one_of(rng, _TASKS[task_type]).format(target, place)
    problem = ALFWorldProblem("-", task_type, task, target, place, receptacles, tuple(marked))
    house = house_of(problem)
    met = conditions_met(house, house.start)
    treated = task_type == "pick_cool_then_place_in_recep" and house.start.cool
    return None if met > (task_type in _VERBS) or treated else problem


@cache
def _goals(task_type: str, room: str) -> tuple[tuple[str, str], ...]:
    """Returns the pairs of a target and a place that make sense: it fits there, and something is left to do."""
    things = [kind for kind in things_of(room) if kind not in FIXED]
    if task_type == "look_at_obj_in_light":
        return tuple((kind, "desklamp") for kind in things)
    verb = _VERBS.get(task_type, "")
    treatable = [kind for kind in things if not verb or kind in ABILITIES[verb]]
    places = [kind for kind in receptacles_of(room) if kind not in _NO_GOALS and kind != TREATMENTS.get(verb)]
    return tuple((kind, place) for kind in treatable for place in places if kind in ACCEPTS[place])


def _receptacles(rng: np.random.Generator, room: str, needed: str) -> tuple[Receptacle, ...]:
    """Returns the receptacles of a room, one of the needed kind among them if that is a kind of receptacles."""
    counts = {kind: _one_of(rng, deciles) for kind, deciles in receptacles_of(room).items()}
    if needed in counts:
        counts[needed] = max(1, counts[needed])
    kinds = [kind for kind in sorted(counts) for _ in range(counts[kind])]
    poses = _poses(rng, kinds)
    names = [f"{kind} {number}" for kind in sorted(counts) for number in range(counts[kind], 0, -1)]
    doors = [rng.random() < OPENABLE.get(kind, 0.0) for kind in kinds]
    return tuple(map(Receptacle, names, poses, doors))


def _poses(rng: np.random.Generator, kinds: list[str]) -> list[int]:
    """Returns the pose of each receptacle, numbered as they first occur; some share that of a neighbour."""
    poses = list(range(len(kinds)))
    for i, kind in enumerate(kinds):
        beside, probability = NEIGHBOURS.get(kind, ("", 0.0))
        neighbours = [poses[j] for j, other in enumerate(kinds) if other == beside and j != i]
        if neighbours and rng.random() < probability:
            pose = _one_of(rng, neighbours)
            if poses.count(pose) < _MOST_AT_ONE_POSE:
                poses[i] = pose
    order = {pose: number for number, pose in enumerate(dict.fromkeys(poses))}
    return [order[pose] for pose in poses]


def _things(
    rng: np.random.Generator, room: str, receptacles: tuple[Receptacle, ...], needed: dict[str, int]
) -> list[Thing]:
    """Returns the things of a room in the engine's order, at least the needed number of each kind that has a place."""
    by_kind: dict[str, list[int]] = {}
    for number, receptacle in enumerate(receptacles):
        by_kind.setdefault(kind_of(receptacle.name), []).append(number)
    things = []
    for kind, (mean, places) in sorted(things_of(room).items()):
        possible = {place: weight for place, weight in places.items() if place in by_kind}
        most = 1 if kind in FIXED else _MOST_OF_A_KIND
        drawn = sum(rng.random() < mean / most for _ in range(most))
        for number in range(max(drawn, needed.get(kind, 0)) if possible else 0, 0, -1):
            place = _one_of(rng, by_kind[_weighted(rng, possible)])
            things.append(Thing(f"{kind} {number}", (place,), receptacles[place].pose, kind in FIXED))
    return things


def _is_cool(thing: Thing, target: str, receptacles: tuple[Receptacle, ...]) -> bool:
    """Says whether a thing is cool at the start: as in official games only a target is, in the fridge."""
    return kind_of(thing.name) == target and kind_of(receptacles[thing.inside[0]].name) == "fridge"


def _one_of(rng: np.random.Generator, values: Sequence[T]) -> T:
    return values[int(rng.random() * len(values))]


def _weighted(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    left = rng.random() * sum(weights.values())
    for value, weight in weights.items():
        left -= weight
        if left < 0:
            return value
    return value  # rounding only


# -- plans -----------------------------------------------------------------------------------------
def winning_plan(problem: ALFWorldProblem) -> tuple[str, ...] | None:
    """Returns a shortest plan, or None if there is none of at most 50 steps."""
    try:
        plan = shortest_plan(problem)
    except ValueError:
        return None
    return plan if len(plan) <= LONGEST_PLAN else None
