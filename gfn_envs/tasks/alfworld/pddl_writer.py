"""Writing games as official `game.tw-pddl` files, which the real engine plays and `game_file` reads.

The engine numbers the things of a kind by the order of their identifiers, so the identifiers written here are in the
order of the problem. Domain and text grammar are ALFWorld's own and come from its package.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from gfn_envs.tasks.alfworld.household import ABILITIES, ACCEPTS
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem, Receptacle, Thing, kind_of

_NO_GOAL = "UNKNOWN GOAL"
"""What ALFWorld's grammar says instead of the task."""
_SYNTAX = re.compile(r"[\"\\#{}|]")
"""Characters that mean something to JSON or to the grammar."""
_PROPERTIES = {
    "clean": "cleanable",
    "heat": "heatable",
    "cool": "coolable",
    "slice": "sliceable",
    "use": "toggleable",
    "contain": "isReceptacleObject",
}
_PLACED = """(and (exists (?r - receptacle) (exists (?o - object) (and {}
    (objectType ?o {{target}}Type) (receptacleType ?r {{place}}Type) (inReceptacle ?o ?r)))))"""
_GOALS = {
    "pick_and_place_simple": _PLACED.format(""),
    "pick_clean_then_place_in_recep": _PLACED.format("(cleanable ?o) (isClean ?o)"),
    "pick_heat_then_place_in_recep": _PLACED.format("(heatable ?o) (isHot ?o)"),
    "pick_cool_then_place_in_recep": _PLACED.format("(coolable ?o) (isCool ?o)"),
    "pick_two_obj_and_place": """(and (exists (?r - receptacle) (exists (?o1 - object) (and
    (objectType ?o1 {target}Type) (receptacleType ?r {place}Type) (inReceptacle ?o1 ?r)
    (exists (?o2 - object) (and (not (= ?o1 ?o2))
        (objectType ?o2 {target}Type) (receptacleType ?r {place}Type) (inReceptacle ?o2 ?r)))))))""",
    "look_at_obj_in_light": """(and
    (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?ot {place}Type) (toggleable ?ot)
        (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))
    (exists (?o - object ?a - agent) (and (objectType ?o {target}Type) (holds ?a ?o))))""",
}
_PROBLEM = """(define (problem {name})
(:domain alfred)
(:objects
{objects}
)
(:init
{init}
)
(:goal {goal})
)
"""


def write_game(problem: ALFWorldProblem, domain: str | None = None, grammar: str | None = None) -> str:
    """Returns a game as the content of a `game.tw-pddl` file; `read_game` makes an equal problem of it.

    Args:
        problem: the game. Its receptacles and things must be in the engine's order, as in all games that were read
            or generated. Where a number is missing ('mug 2' without 'mug 1') the file has a thing out of reach.
        domain: content of ALFWorld's `alfred.pddl`; by default that of the installed package.
        grammar: content of ALFWorld's `alfred.twl2`; likewise.

    Raises:
        ImportError: ALFWorld is not installed and domain or grammar was not given.
        ValueError: the format has no way to say this problem or this grammar has no place for the task.
    """
    domain = _data("alfred.pddl") if domain is None else domain
    grammar = _data("alfred.twl2") if grammar is None else grammar
    if _NO_GOAL not in grammar:
        raise ValueError(f"the grammar must say '{_NO_GOAL}' where the task belongs, as ALFWorld's alfred.twl2 does")
    if _SYNTAX.search(problem.task):
        raise ValueError(f'the task of a game file cannot have the characters " \\ # {{ }} |, got {problem.task!r}')
    return json.dumps(
        {
            "pddl_domain": domain,
            "grammar": grammar.replace(_NO_GOAL, problem.task),
            "pddl_problem": pddl_problem(problem),
            "solvable": True,
            "walkthrough": list(problem.walkthrough),
        }
    )


def pddl_problem(problem: ALFWorldProblem) -> str:
    """Returns the room and the goal in PDDL.

    Raises:
        ValueError: receptacles or things are not in the engine's order, so they would get other numbers.
    """
    places, unused_places = _identifiers(problem.receptacles)
    things, unused_things = _identifiers(problem.things)
    if unused_places:
        raise ValueError(
            f"the receptacles of a game file are numbered without a gap; {min(unused_places)!r} is missing"
        )
    kinds = sorted({kind_of(thing.name) for thing in problem.things} | {problem.target})
    lamps = [problem.place] if problem.place in ABILITIES["use"] else []
    named = (
        ("agent1 - agent",),
        (f"{kind}Type - otype" for kind in dict.fromkeys(kinds + lamps)),
        (f"{kind}Type - rtype" for kind in ACCEPTS),
        (f"{one} - object" for one in (*things, *unused_things.values())),
        (f"{one} - receptacle" for one in places),
        (f"{_pose(number)} - location" for number in range(len(problem.receptacles) + 1)),
    )
    facts = (
        _room_facts(problem, places),
        *(_kind_facts(one, kind_of(thing.name)) for one, thing in zip(things, problem.things, strict=True)),
        *(_kind_facts(one, kind_of(name)) for name, one in unused_things.items()),
        _thing_facts(problem, things, places),
        (f"(canContain {place}Type {kind}Type)" for place in ACCEPTS for kind in kinds if kind in ACCEPTS[place]),
    )
    return _PROBLEM.format(
        name="game_" + re.sub(r"[^a-z0-9]+", "_", problem.game.lower()),
        objects="\n".join(f"    {line}" for lines in named for line in lines),
        init="\n".join(f"    {line}" for lines in facts for line in lines),
        goal=_GOALS[problem.task_type].format(target=problem.target, place=problem.place),
    )


def _identifiers(rows: Iterable[Receptacle | Thing]) -> tuple[list[str], dict[str, str]]:
    """Returns the identifier of each row, and of each name that is missing below the highest number of its kind."""
    rows = list(rows)
    highest: dict[str, int] = defaultdict(int)
    for row in rows:
        kind, number = row.name.split(" ")
        highest[kind] = max(highest[kind], int(number))
    found = [_identifier(row.name, highest) for row in rows]
    if found != sorted(found):
        raise ValueError("receptacles and things of a game file are sorted by kind, the highest number first")
    names = {row.name for row in rows}
    every = (f"{kind} {number}" for kind, most in highest.items() for number in range(1, most + 1))
    return found, {name: _identifier(name, highest) for name in every if name not in names}


def _identifier(name: str, highest: dict[str, int]) -> str:
    """Returns what the engine makes this name of: kind, place in the order, and 'basin' at the end."""
    kind, number = name.split(" ")
    short = kind.removesuffix("basin")
    return f"{short}_bar_{highest[kind] - int(number):03d}" + ("" if short == kind else f"_bar_{kind}")


def _pose(number: int) -> str:
    return f"loc_bar_{number}"


def _room_facts(problem: ALFWorldProblem, places: list[str]) -> Iterator[str]:
    start = max(receptacle.pose for receptacle in problem.receptacles) + 1
    yield f"(atLocation agent1 {_pose(start)})"
    for one, receptacle in zip(places, problem.receptacles, strict=True):
        yield f"(receptacleType {one} {receptacle.kind or kind_of(receptacle.name)}Type)"
        yield f"(receptacleAtLocation {one} {_pose(receptacle.pose)})"
        if receptacle.openable:
            yield f"(openable {one})"


def _kind_facts(one: str, kind: str) -> Iterator[str]:
    yield f"(objectType {one} {kind}Type)"
    for verb, predicate in _PROPERTIES.items():
        if kind in ABILITIES[verb]:
            yield f"({predicate} {one})"


def _thing_facts(problem: ALFWorldProblem, things: list[str], places: list[str]) -> Iterator[str]:
    for one, thing in zip(things, problem.things, strict=True):
        if not thing.fixed:
            yield f"(pickupable {one})"
        if thing.cool:
            yield f"(isCool {one})"
        if thing.near >= 0:
            yield f"(objectAtLocation {one} {_pose(thing.near)})"
        for place in thing.inside:
            yield f"(inReceptacle {one} {places[place]})"
        for inner in thing.holding:
            yield f"(inReceptacleObject {things[inner]} {one})"


def _data(name: str) -> str:
    """Returns a data file of the installed ALFWorld, without importing it."""
    found = find_spec("alfworld")
    for folder in (found.submodule_search_locations or []) if found else []:
        file = Path(folder, "data", name)
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise ImportError(
        f'{name} comes with ALFWorld, which is not installed: pip install "gfn-gym[alfworld]", or pass domain= '
        "and grammar="
    )
