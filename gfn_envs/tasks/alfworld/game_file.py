"""Reading the official file format: a `game.tw-pddl` is JSON with a PDDL problem and a text grammar.

Only the problem and the player's sentence are read; rules and texts are this package's own. All that a
game says of its room is checked against the table of `household`, so a file whose rules differ is refused
rather than played wrongly.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeAlias

from gfn_envs.tasks.alfworld.household import ABILITIES, ACCEPTS
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem, Receptacle, Thing, kind_of

MOST_CHARACTERS = 1 << 20
"""Official files have up to 140,000."""
_MOST_TOKENS = 200_000
_DEEPEST = 16
_TOO_LARGE = "the PDDL problem is too large or too deeply nested for an ALFWorld game"
_TASK = re.compile(r'Your task is to: ([^"\\\n]*)\.')
_OLD_MOVE = re.compile(r"put (\w+ \d+) in/on (\w+ \d+)")
_PROPERTIES = {
    "cleanable": "clean",
    "heatable": "heat",
    "coolable": "cool",
    "sliceable": "slice",
    "toggleable": "use",
    "isreceptacleobject": "contain",
}
_PREDICATES = {
    "atlocation": 2,
    "cancontain": 2,
    "inreceptacle": 2,
    "inreceptacleobject": 2,
    "iscool": 1,
    "objectatlocation": 2,
    "objecttype": 2,
    "openable": 1,
    "pickupable": 1,
    "receptacleatlocation": 2,
    "receptacletype": 2,
    **dict.fromkeys(_PROPERTIES, 1),
}
"""Facts that a start can have, with the number of their arguments."""

_PLACED = """(and (exists (?r - receptacle) (exists (?o - object) (and {}
    (inreceptacle ?o ?r) (objecttype ?o target) (receptacletype ?r place)))))"""
_GOALS = {
    "pick_and_place_simple": _PLACED.format(""),
    "pick_clean_then_place_in_recep": _PLACED.format("(cleanable ?o) (isclean ?o)"),
    "pick_heat_then_place_in_recep": _PLACED.format("(heatable ?o) (ishot ?o)"),
    "pick_cool_then_place_in_recep": _PLACED.format("(coolable ?o) (iscool ?o)"),
    "pick_two_obj_and_place": """(and (exists (?r - receptacle) (exists (?o1 - object) (and
        (objecttype ?o1 target) (receptacletype ?r place) (inreceptacle ?o1 ?r) (exists (?o2 - object) (and
        (not (= ?o1 ?o2)) (objecttype ?o2 target) (receptacletype ?r place) (inreceptacle ?o2 ?r)))))))""",
    "look_at_obj_in_light": """(and
        (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objecttype ?ot place) (toggleable ?ot)
            (istoggled ?ot) (receptacleatlocation ?r ?l) (atlocation ?a ?l) (inreceptacle ?ot ?r)))
        (exists (?o - object ?a - agent) (and (objecttype ?o target) (holds ?a ?o))))""",
}
"""The goal of each task type, in lower case; the order of what `and` joins does not matter."""

Tree: TypeAlias = "str | tuple[Tree, ...]"
Facts: TypeAlias = "Mapping[str, list[tuple[str, ...]]]"


class UnsolvableGame(ValueError):
    """A game file that says of itself that it cannot be won; ALFWorld leaves such games out."""


def read_game(text: str, game: str) -> ALFWorldProblem:
    """Returns the problem of a `game.tw-pddl` file.

    Args:
        text: the content of the file.
        game: the name that the problem shall have.

    Raises:
        ValueError: the file is malformed, or its game is not one of the six task types.
    """
    pddl, grammar, walkthrough = _entries(text)
    task = _TASK.search(grammar)
    if task is None:
        raise ValueError("the grammar has no sentence 'Your task is to: ...', so this is not an ALFWorld game")
    init, goal = _sections(_tree(pddl.lower()))
    facts = _facts(init)
    task_type, target, place = _goal(goal)
    names = _names(facts)
    _check_abilities(facts)
    receptacles, poses, ids = _receptacles(facts, names)
    things = _things(facts, names, poses, ids)
    plan = tuple(_OLD_MOVE.sub(r"move \1 to \2", command) for command in walkthrough)
    return ALFWorldProblem(game, task_type, task[1], target, place, receptacles, things, plan)


def _entries(text: str) -> tuple[str, str, list[str]]:
    """Returns the PDDL problem, the grammar and the walkthrough of the JSON object."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"a game has at most {MOST_CHARACTERS} characters, got {len(text)}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a whole JSON file ({error})") from None
    if not isinstance(data, dict):
        raise ValueError("expected a JSON object with 'pddl_problem' and 'grammar'")
    for key in ("pddl_problem", "grammar"):
        if not isinstance(data.get(key), str):
            raise ValueError(f"the game has no text {key!r}, so this is not an ALFWorld game")
    if data.get("solvable") is False:
        raise UnsolvableGame("the game says of itself that it is not solvable")
    walkthrough = data.get("walkthrough") or []
    if not isinstance(walkthrough, list) or not all(isinstance(command, str) for command in walkthrough):
        raise ValueError("'walkthrough' must be a list of commands")
    return data["pddl_problem"], data["grammar"], walkthrough


# -- PDDL ------------------------------------------------------------------------------------------
def _tree(text: str) -> Tree:
    """Returns an S-expression as nested tuples."""
    tokens = text.replace("(", " ( ").replace(")", " ) ").split()
    if len(tokens) > _MOST_TOKENS:
        raise ValueError(_TOO_LARGE)
    around: list[list[Tree]] = []
    inside: list[Tree] = []
    for token in tokens:
        if token == "(":
            around.append(inside)
            inside = []
            if len(around) >= _DEEPEST:
                raise ValueError(_TOO_LARGE)
        elif token == ")":
            if not around:
                raise ValueError("the PDDL problem has a ')' too many")
            around[-1].append(tuple(inside))
            inside = around.pop()
        else:
            inside.append(token)
    if around or len(inside) != 1:
        raise ValueError("the PDDL problem is not one whole list in parentheses")
    return inside[0]


def _sections(tree: Tree) -> tuple[tuple[Tree, ...], Tree]:
    """Returns the facts of the start and the goal of `(define (problem ..) (:domain alfred) ..)`."""
    parts = [part for part in tree if isinstance(part, tuple) and part]
    sections = {part[0]: part[1:] for part in parts}
    if isinstance(tree, str) or tree[:1] != ("define",) or sections.get(":domain") != ("alfred",):
        raise ValueError("the PDDL problem is not of the domain 'alfred'")
    goal = sections.get(":goal", ())
    if ":init" not in sections or len(goal) != 1:
        raise ValueError("the PDDL problem must have one (:init ..) and one (:goal ..)")
    return sections[":init"], goal[0]


def _facts(init: Iterable[Tree]) -> Facts:
    facts: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for fact in init:
        name, arguments = (fact[0], fact[1:]) if isinstance(fact, tuple) and fact else (fact, ())
        if not isinstance(name, str) or len(arguments) != _PREDICATES.get(name, -1):
            raise ValueError(f"{fact!r:.80} is not a fact that an ALFWorld game starts with")
        for argument in arguments:
            if not isinstance(argument, str):
                raise ValueError(f"{fact!r:.80} has a list where a name should be")
        facts[name].append(arguments)  # type: ignore[arg-type]  # just checked
    return facts


def _goal(goal: Tree) -> tuple[str, str, str]:
    """Returns the task type, the kind of the target and the kind of the place or lamp."""
    kinds: dict[str, str] = {}
    task_type = _task_types().get(_shape(goal, kinds))
    if task_type is None or set(kinds) != {"target", "place"}:
        raise ValueError("the goal is not that of one of the six task types of ALFWorld")
    return task_type, kinds["target"].removesuffix("type"), kinds["place"].removesuffix("type")


@cache
def _task_types() -> dict[Tree, str]:
    return {_shape(_tree(goal), {}): task_type for task_type, goal in _GOALS.items()}


def _shape(tree: Tree, kinds: dict[str, str]) -> Tree:
    """Returns a goal without its kinds, which it collects, and with what `and` joins in a fixed order."""
    if isinstance(tree, str):
        return tree
    name = tree[0] if tree else ""
    if name in ("objecttype", "receptacletype") and len(tree) == 3:
        role = "target" if name == "objecttype" and tree[1] != "?ot" else "place"
        if kinds.setdefault(role, str(tree[2])) != tree[2]:
            raise ValueError(f"the goal names two kinds where it must name one: {kinds[role]} and {tree[2]}")
        return (name, tree[1], role)
    parts = tuple(_shape(part, kinds) for part in tree)
    return ("and", *sorted(parts[1:], key=repr)) if name == "and" else parts


# -- the room --------------------------------------------------------------------------------------
def _names(facts: Facts) -> dict[str, str]:
    """Returns the engine's name of every identifier: each kind is numbered, the highest number first."""
    ids = sorted({argument for rows in facts.values() for row in rows for argument in row if "_bar_" in argument})
    kinds = [one.split("_bar_", 1)[0] + ("basin" if "basin" in one else "") for one in ids]
    left = Counter(kinds)
    names = {}
    for one, kind in zip(ids, kinds, strict=True):
        names[one] = f"{kind} {left[kind]}"
        left[kind] -= 1
    return names


def _check_abilities(facts: Facts) -> None:
    """Raises ValueError if the game says of a kind of things what the table does not, or the reverse."""
    things, receptacles = _types(facts["objecttype"]), _types(facts["receptacletype"])
    for predicate, verb in _PROPERTIES.items():
        said = {row[0] for row in facts[predicate]}
        for one, kind in things.items():
            if (one in said) != (kind in ABILITIES[verb]):
                raise ValueError(f"the game differs from the rules of ALFWorld: '{predicate}' of a {kind}")
    fits = set(facts["cancontain"])
    kinds = set(things.values())
    for place in set(receptacles.values()):
        for kind in kinds:
            if ((f"{place}type", f"{kind}type") in fits) != (kind in ACCEPTS.get(place, ())):
                raise ValueError(f"the game differs from the rules of ALFWorld: whether a {kind} fits a {place}")


def _types(rows: list[tuple[str, ...]]) -> dict[str, str]:
    return {one: kind.removesuffix("type") for one, kind in rows}


def _receptacles(facts: Facts, names: dict[str, str]) -> tuple[tuple[Receptacle, ...], dict[str, int], dict[str, int]]:
    """Returns the receptacles, the number of each of their poses and the number of each of them."""
    places, kinds = facts["receptacleatlocation"], _types(facts["receptacletype"])
    openable = {row[0] for row in facts["openable"]}
    if len({one for one, _ in places}) < len(places):
        raise ValueError("a receptacle is at two poses, which no ALFWorld game has")
    poses: dict[str, int] = {}
    receptacles = []
    for one, pose in sorted(places):
        name, kind = names.get(one, one), kinds.get(one, "")
        own = "" if kind == kind_of(name) else kind or "of no type"
        receptacles.append(Receptacle(name, poses.setdefault(pose, len(poses)), one in openable, own))
    if len(facts["atlocation"]) != 1 or facts["atlocation"][0][1] in poses:
        raise ValueError("the player must start at one pose, away from all receptacles")
    return tuple(receptacles), poses, {one: number for number, (one, _) in enumerate(sorted(places))}


def _things(facts: Facts, names: dict[str, str], poses: dict[str, int], places: dict[str, int]) -> tuple[Thing, ...]:
    """Returns the things that are in a receptacle, within reach of a knife, or in a vessel of these."""
    kinds, near, inside, holding = _types(facts["objecttype"]), dict[str, int](), _lists(), _lists()
    for one, place in sorted(facts["inreceptacle"]):
        inside[one].append(_known(places, place))
    for one, pose in facts["objectatlocation"]:
        if pose in poses and near.setdefault(one, poses[pose]) != poses[pose]:
            raise ValueError("a thing is at two poses, which no ALFWorld game starts with")
    for inner, vessel in sorted(facts["inreceptacleobject"]):
        holding[vessel].append(inner)
    sliceable = {one for one, _ in facts["objecttype"] if kinds[one] in ABILITIES["slice"] and one in near}
    kept = {*inside, *sliceable}
    ids = sorted(kept.union(*(holding[one] for one in kept if one in holding)))
    numbers = {one: number for number, one in enumerate(ids)}
    portable, cool = ({row[0] for row in facts[name]} for name in ("pickupable", "iscool"))
    things = []
    for one in ids:
        name = names.get(one, one)
        if kinds.get(one) != kind_of(name):
            raise ValueError(f"{one!r:.80} is not of the type that its name says")
        held = tuple(numbers[inner] for inner in holding.get(one, ()) if inner in numbers)
        things.append(
            Thing(name, tuple(inside.get(one, ())), near.get(one, -1), one not in portable, one in cool, held)
        )
    return tuple(things)


def _lists() -> dict[str, list[Any]]:
    return defaultdict(list)


def _known(numbers: dict[str, int], one: str) -> int:
    if one not in numbers:
        raise ValueError(f"{one!r:.80} is not a receptacle with a pose")
    return numbers[one]
