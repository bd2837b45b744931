"""What a BlocksWorld problem may say, and reading it from PDDL and from published lists with plans.

The grammar of PDDL is that of the library `pddl`; what is judged here is whether a well-formed problem
is one of BlocksWorld: its objects, its facts, and a start that the facts describe completely.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

COLOURS = {
    "a": "red",
    "b": "blue",
    "c": "orange",
    "d": "yellow",
    "e": "white",
    "f": "magenta",
    "g": "black",
    "h": "cyan",
    "i": "green",
    "j": "violet",
    "k": "silver",
    "l": "gold",
}
"""The colour of each PDDL object, as in PlanBench."""
LETTERS = {colour: letter for letter, colour in COLOURS.items()}
FACTS = {
    "on": "the {} block is on top of the {} block",
    "ontable": "the {} block is on the table",
    "clear": "the {} block is clear",
    "handempty": "the hand is empty",
}
"""The facts that a goal may have, as text."""
_LONGEST_TEXT = 50_000
_DEEPEST_NESTING = 20
_SHOWN = 60

Facts = set[tuple[str, ...]]


class PublishedEntry(NamedTuple):
    """One entry of a published list: a PDDL file, a plan with one action a line, and its length."""

    number: int
    file: Path
    plan: tuple[str, ...]
    length: int


# -- fields of a problem ---------------------------------------------------------------------------
def read_start(start: Any) -> tuple[tuple[str, ...], ...]:
    """Returns the stacks in the order of their lowest blocks; raises ValueError if they are none."""
    if not _is_list(start) or not all(_is_list(stack) and stack for stack in start) or not start:
        raise ValueError(f"'start' must be a list of stacks, each a list of colours, got {repr(start)[:_SHOWN]}")
    blocks = [block for stack in start for block in stack]
    for block in blocks:
        if not isinstance(block, str) or block not in LETTERS:
            raise ValueError(f"blocks are named {', '.join(LETTERS)}; got {str(block)[:_SHOWN]!r}")
        if blocks.count(block) > 1:
            raise ValueError(f"the {block} block stands in two places")
    return tuple(sorted((tuple(stack) for stack in start), key=lambda stack: LETTERS[stack[0]]))


def read_goal(goal: Any, blocks: list[str]) -> tuple[str, ...]:
    """Returns the facts in a fixed order; raises ValueError if no arrangement of the blocks has them all."""
    if not _is_list(goal) or not all(isinstance(fact, str) for fact in goal) or not goal:
        raise ValueError(f"'goal' must be a list of facts such as 'on red blue', got {repr(goal)[:_SHOWN]}")
    facts = [tuple(fact.split()) for fact in goal]
    claims: dict[tuple[str, str], str] = {}
    for fact in facts:
        if not fact or fact[0] not in FACTS or FACTS[fact[0]].count("{}") != len(fact) - 1:
            raise ValueError(f"a goal has the facts {', '.join(FACTS)} of blocks, got {' '.join(fact)[:_SHOWN]!r}")
        missing = [block for block in fact[1:] if block not in blocks]
        if missing:
            raise ValueError(f"the goal names {missing[0][:_SHOWN]!r}, which is not among the blocks")
        for what, claim in _claims(fact):
            if claims.setdefault(what, claim) != claim:
                raise ValueError(f"the goal cannot hold: {' '.join(fact)!r} contradicts another of its facts")
    for block in blocks:
        under: str | None = block
        for _ in blocks:
            under = claims.get(("under", under)) if under else None
        if under:
            raise ValueError(f"the goal cannot hold: the {block} block would be above itself")
    return tuple(sorted({" ".join(fact) for fact in facts}, key=_fact_order))


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _claims(fact: tuple[str, ...]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yields what a goal fact says is under a block or over it; '' is the table, or nothing."""
    if fact[0] == "on":
        yield ("under", fact[1]), fact[2]
        yield ("over", fact[2]), fact[1]
    elif fact[0] == "ontable":
        yield ("under", fact[1]), ""
    elif fact[0] == "clear":
        yield ("over", fact[1]), ""


def _fact_order(fact: str) -> tuple[int, list[str]]:
    name, *blocks = fact.split()
    return list(FACTS).index(name), [LETTERS[block] for block in blocks]


# -- published lists -------------------------------------------------------------------------------
def read_list(path: Path) -> list[PublishedEntry]:
    """Reads `[[pddl path, plan, length], ...]`.

    The folders of the paths are those of the authors, so that files are looked up by name: in a
    folder `pddl` beside the list, or beside the list itself.

    Raises:
        ValueError: the list has another form, or a file is missing.
    """
    text = path.read_text(encoding="utf-8-sig")
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is not JSON ({_shortened(error)})") from None
    if not isinstance(entries, list):
        raise ValueError(f"'{path}' is not a list of [pddl path, plan, length]")
    return [_read_entry(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _read_entry(path: Path, number: int, entry: Any) -> PublishedEntry:
    if not isinstance(entry, list) or [type(value) for value in entry] != [str, str, int]:
        raise ValueError(f"'{path}' entry {number}: expected [pddl path, plan, length]")
    name = re.split(r"[/\\]", entry[0])[-1]
    for folder in (path.parent / "pddl", path.parent):
        file = folder / name
        if os.path.isfile(file):  # unlike Path.is_file, False also for names that no file can have
            lines = tuple(line.strip() for line in entry[1].splitlines() if line.strip())
            return PublishedEntry(number, file, lines, entry[2])
    raise ValueError(
        f"'{path}' entry {number}: there is no {name[:_SHOWN]!r} in 'pddl/' beside the list, nor beside it"
    )


# -- PDDL ------------------------------------------------------------------------------------------
def read_pddl(text: str) -> dict[str, list[Any]]:
    """Returns `start` and `goal` of a PDDL problem, as the fields of a `BlocksWorldProblem`.

    Raises:
        ImportError: the library `pddl` is missing.
        ValueError: the text is not PDDL, or not a problem of BlocksWorld.
    """
    problem = _parse(text)
    colours = _colours(str(thing.name) for thing in problem.objects)
    start = {_fact(formula, colours, "start") for formula in problem.init}
    goal = [_fact(formula, colours, "goal") for formula in _conjuncts(problem.goal)]
    return {"start": _stacks(start, set(colours.values())), "goal": [" ".join(fact) for fact in goal]}


def _parse(text: str) -> Any:
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"{len(text)} characters are too many for a BlocksWorld problem")
    depth = deepest = 0
    for character in re.sub(r";[^\n]*", "", text):
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > _DEEPEST_NESTING:
        raise ValueError(f"parentheses nest {deepest} deep, which no BlocksWorld problem needs")
    parser = _parser()
    try:
        return parser(text.removeprefix("\ufeff").lower())  # PDDL does not tell cases apart, the library does
    except Exception as error:  # the library raises what its parts raise: lark's errors, its own, AssertionError
        raise ValueError(f"not a PDDL problem ({_shortened(error)})") from None


@cache
def _parser() -> Any:
    try:
        module = import_module("pddl.parser.problem")
    except ImportError:
        raise ImportError('BlocksWorld PDDL files need an optional dependency: pip install "gfn-gym[pddl]".') from None
    return module.ProblemParser()


def _shortened(error: Exception) -> str:
    lines = str(error).split("\n") if str(error) else [type(error).__name__]
    return lines[0][:120]


def _colours(names: Iterable[str]) -> dict[str, str]:
    """Returns the colour of each object, which may be named by a letter or by the colour itself."""
    found: dict[str, str] = {}
    for name in names:
        colour = name if name in LETTERS else COLOURS.get(name)
        if colour is None:
            raise ValueError(f"objects must be the letters a to l or colours, got {name[:_SHOWN]!r}")
        if colour in found.values():
            raise ValueError(f"two objects are the {colour} block")
        found[name] = colour
    return found


def _conjuncts(formula: Any) -> list[Any]:
    """Returns the parts of a conjunction, nested or not."""
    if type(formula).__name__ != "And":
        return [formula]
    return [part for operand in formula.operands for part in _conjuncts(operand)]


def _fact(formula: Any, colours: dict[str, str], where: str) -> tuple[str, ...]:
    if type(formula).__name__ != "Predicate":
        raise ValueError(f"the {where} may have facts only, got '{str(formula)[:_SHOWN]}'")
    name, terms = str(formula.name), [str(term.name) for term in formula.terms]
    if (name, len(terms)) != ("holding", 1) and (name not in FACTS or FACTS[name].count("{}") != len(terms)):
        shown = " ".join([name, *terms])[:_SHOWN]
        raise ValueError(f"'({shown})' in the {where} is no fact of BlocksWorld, which has {', '.join(FACTS)}")
    missing = [term for term in terms if term not in colours]
    if missing:
        raise ValueError(f"the {where} names {missing[0][:_SHOWN]!r}, which is not among the objects")
    return (name, *(colours[term] for term in terms))


def _stacks(facts: Facts, blocks: set[str]) -> list[list[str]]:
    """Returns the stacks that the facts of a start describe, each from bottom to top."""
    if ("handempty",) not in facts or any(fact[0] == "holding" for fact in facts):
        raise ValueError("the hand must be empty at the start")
    stacks = [[fact[1]] for fact in facts if fact[0] == "ontable"]
    for stack in stacks:  # each grows while it is walked
        for block in stack:
            stack += [fact[1] for fact in facts if fact[0] == "on" and fact[2] == block and len(stack) <= len(blocks)]
    described = {("handempty",), *(("clear", stack[-1]) for stack in stacks), *(("ontable", s[0]) for s in stacks)}
    described |= {("on", upper, lower) for stack in stacks for lower, upper in pairwise(stack)}
    if sorted(block for stack in stacks for block in stack) != sorted(blocks) or described != facts:
        wrong = next(iter(sorted(described ^ facts)), ("ontable",))
        raise ValueError(
            f"the facts of the start do not describe one arrangement of the blocks; see ({' '.join(wrong)})"
        )
    return stacks
