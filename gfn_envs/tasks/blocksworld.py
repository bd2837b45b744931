"""BlocksWorld: rearrange stacks of blocks with one hand until the goal holds.

Description
    Coloured blocks stand on a table in stacks. A hand takes one clear block at a time and puts it on
    the table or on another clear block. The goal says of some blocks what they must be on. The four
    operators are those of the PDDL domain `blocksworld-4ops`, the texts those of PlanBench
    (arXiv 2206.10498), RAP (arXiv 2305.14992) and Flow of Reasoning (arXiv 2406.05673).

Observation
    `Goal: the orange block is on top of the blue block.`
    `State: the blue block is clear, the hand is empty, the blue block is on top of the orange block
    and the orange block is on the table.`
    `Steps left: 4.`
    With `ending="horizon"` the last line adds that the goal must hold after the last step.

Actions
    `pick up the red block` (from the table), `put down the red block` (on the table), `stack the red
    block on top of the blue block` and `unstack the red block from on top of the blue block`. Aliases
    are the forms of published plans, by colour or letter: `(stack red blue)`, `stack red blue`,
    `(stack a b)`.

Reward
    1 if the goal holds at the end, otherwise 0. R = 1 or 1e-4.

Episode End
    After the length of the problem's shortest plan plus `slack` steps. With `ending="goal"` also as
    soon as the goal holds; with `ending="horizon"` only the last state is judged.

Object and P_B
    The solutions are plans, so the state contains its steps: every sequence of actions is an object
    of its own and P_B = 1. A solution is named by its plan, `(pick-up red) (stack red blue)`.

Problems and Splits
    Generated: start and goal are drawn uniformly from all arrangements of `blocks` blocks, given that
    the shortest plan has `length` steps; the goal is all that is on top of something in the drawn
    arrangement. Up to 6 blocks this draws from a list, beyond it by rejection. Files: PDDL problems,
    and lists `[[pddl path, plan, length], ...]` whose plans are checked. The canonical problem is the
    one with its blocks renamed in an order that only the structure decides.

Arguments
    blocks, length, slack, ending.

Exact Values
    States with the hand included: 22 with 3 blocks, 125 with 4, 866 with 5, 7,057 with 6. Blue on red
    and orange beside it, red wanted on blue: 2 shortest plans of 4 steps, which random play finds with
    probability 13/216.

References
    Gupta and Nau 1992; Slaney and Thiébaux 2001; Valmeekam et al. 2023, PlanBench; Yu et al. 2024.

Version History
    v0: first version.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gfn_envs.actions import read_action
from gfn_envs.drawing import Drawing
from gfn_envs.exact import DEFAULT_LIMIT, EnumerationLimit
from gfn_envs.problems import GeneratedProblems, ProblemSource
from gfn_envs.task import Presets, Problem, Task
from gfn_envs.tasks.blocksworld_drawing import draw, text_picture, upwards
from gfn_envs.tasks.blocksworld_pddl import (
    COLOURS,
    FACTS,
    LETTERS,
    PublishedEntry,
    read_goal,
    read_list,
    read_pddl,
    read_start,
)
from gfn_envs.tasks.blocksworld_search import (
    ANY,
    HAND,
    TABLE,
    TABULATED_BLOCKS,
    Below,
    Goal,
    Move,
    Plans,
    canonical_order,
    distance,
    draw_arrangement,
    draw_problem,
    inverse,
    make_goal,
    moves,
    place,
)

ENDINGS = ("goal", "horizon")
ACTIONS = {
    "pick-up": "pick up the {} block",
    "put-down": "put down the {} block",
    "stack": "stack the {} block on top of the {} block",
    "unstack": "unstack the {} block from on top of the {} block",
}
_LONGEST_COLOUR = max(map(len, LETTERS))
_CACHED_POSITIONS = 1 << 17
_MOST_SLACK = 100


@dataclass(frozen=True, slots=True)
class BlocksWorldProblem(Problem):
    """A start and a goal.

    Attributes:
        start: stacks of colours, each from bottom to top.
        goal: facts 'on red blue', 'ontable red', 'clear red' or 'handempty', all of which must hold.
        length: steps of a shortest plan; found if it is not given.
    """

    start: tuple[tuple[str, ...], ...]
    goal: tuple[str, ...]
    length: int = 0

    def __post_init__(self) -> None:
        start = read_start(self.start)
        goal = read_goal(self.goal, [block for stack in start for block in stack])
        if type(self.length) is not int or self.length < 0:
            raise ValueError(f"'length' must be a positive integer, got {self.length!r}")
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "goal", goal)
        object.__setattr__(self, "length", self.length or shortest_length(self))
        if self.length == 0:
            raise ValueError("the goal holds at the start; there would be nothing to do")

    @property
    def id(self) -> str:
        """'blocksworld/a-cb-d:b-on-d+c-on-a': stacks from bottom to top, by the letters of the colours."""
        stacks = "-".join("".join(LETTERS[block] for block in stack) for stack in self.start)
        return f"blocksworld/{stacks}:{'+'.join(map(_fact_id, self.goal))}"

    @property
    def canonical(self) -> str:
        """The id of the same problem with its blocks renamed in the order of `canonical_order`."""
        blocks, below = _arrangement(self.start)
        order = canonical_order(below, _goal(blocks, self.goal))
        names = {blocks[block]: colour for block, colour in zip(order, LETTERS, strict=False)}
        start = tuple(tuple(names[block] for block in stack) for stack in self.start)
        goal = tuple(" ".join(names.get(word, word) for word in fact.split()) for fact in self.goal)
        return BlocksWorldProblem(start, goal, self.length).id


@dataclass(frozen=True, slots=True)
class Position:
    """An arrangement of the blocks, with its facts, its text and its legal moves."""

    blocks: tuple[str, ...]
    below: Below
    facts: frozenset[str] = field(compare=False, repr=False)
    text: str = field(compare=False, repr=False)
    actions: tuple[str, ...] = field(compare=False, repr=False)
    moves: dict[str, Below] = field(compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles what the position is made from; the rest is found again."""
        return _position, (self.blocks, self.below)


class BlocksWorldState(NamedTuple):
    """The plan so far, the position that it led to, and whether the episode is over."""

    problem: BlocksWorldProblem
    plan: tuple[str, ...]
    position: Position
    over: bool


@dataclass(frozen=True)
class BlocksWorld(Task[BlocksWorldProblem, BlocksWorldState]):
    """Rules of BlocksWorld; see the module's docstring.

    Args:
        blocks: how many blocks a generated problem has, from 2 to 12; the most that one from a file has.
        length: steps of the shortest plan of a generated problem; the most that one from a file has.
        slack: steps that an episode can have beyond the shortest plan.
        ending: "goal" ends an episode as soon as the goal holds, "horizon" after the last step only.
    """

    blocks: int = 4
    length: int = 6
    slack: int = 0
    ending: str = "goal"

    name: ClassVar[str] = "blocksworld"
    problem_type: ClassVar[type[BlocksWorldProblem]] = BlocksWorldProblem
    difficulties: ClassVar[Presets] = {
        "easy": {"length": 4},
        "medium": {"length": 6},
        "hard": {"blocks": 5, "length": 8},
    }
    charset: ClassVar[str] = "\n ,.0123456789:;GSabcdefghiklmnoprstuvwy"
    max_action_length: ClassVar[int] = len(ACTIONS["unstack"].format(*["x" * _LONGEST_COLOUR] * 2))  # type: ignore[misc]

    def __post_init__(self) -> None:
        bounds = {"blocks": (2, len(COLOURS)), "length": (1, 4 * len(COLOURS)), "slack": (0, _MOST_SLACK)}
        for option, (low, high) in bounds.items():
            value = getattr(self, option)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{option} must be an integer from {low} to {high}, got {value!r}")
        if self.ending not in ENDINGS:
            raise ValueError(f"ending must be one of {ENDINGS}, got {self.ending!r}")

    # -- sizes -----------------------------------------------------------------------------------
    @property
    def horizon(self) -> int:  # type: ignore[override]
        """length + slack steps; a problem with a shorter plan has fewer."""
        return self.length + self.slack

    @property
    def max_actions(self) -> int:  # type: ignore[override]
        """Every block taken, or the one in the hand put on every other one or on the table."""
        return self.blocks

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]
        """Two facts of every block in the state and in the goal, twice the hand, and the steps left."""
        support, other = (len(FACTS["on"]) + 2 * _LONGEST_COLOUR, len("the  block is in the hand") + _LONGEST_COLOUR)
        return 2 * self.blocks * (support + other + 2 * len(" and ")) + 200

    # -- problems --------------------------------------------------------------------------------
    def problems(self) -> ProblemSource[BlocksWorldProblem]:
        """Returns the family of generated problems.

        Raises:
            ValueError: no problem of so many blocks has a shortest plan of this length.
        """
        longest = 4 * (self.blocks - 1)
        if self.length % 2 or self.length > longest:
            raise ValueError(
                f"generated problems of {self.blocks} blocks have shortest plans of an even length "
                f"from 2 to {longest}, got length={self.length}"
            )
        if self.blocks <= TABULATED_BLOCKS:
            return GeneratedProblems(self._generate)
        usual = 2 * round(1.25 * self.blocks) - 2
        remedy = (
            f"most problems of {self.blocks} blocks have shortest plans of about {usual} steps: choose such a length, "
            f"not {self.length}, or fewer blocks"
        )
        return GeneratedProblems(self._generate_any, (lambda problem: problem.length == self.length,), remedy)

    def _generate(self, rng: np.random.Generator) -> BlocksWorldProblem:
        return _from_arrangements(*draw_problem(self.blocks, self.length, rng), self.length)

    def _generate_any(self, rng: np.random.Generator) -> BlocksWorldProblem:
        """Draws a problem of any length; pairs that leave nothing to do are drawn again."""
        while True:
            start, wanted = draw_arrangement(self.blocks, rng), draw_arrangement(self.blocks, rng)
            under = tuple([lower if lower >= 0 else ANY for lower in wanted])
            length = distance(start, make_goal(under))
            if length:
                return _from_arrangements(start, under, length)

    def check_problem(self, problem: BlocksWorldProblem) -> None:
        """Raises ValueError unless the number of blocks and the length fit the options."""
        count, length = sum(map(len, problem.start)), shortest_length(problem)
        if problem.length != length:
            raise ValueError(f"the shortest plan has {length} steps, not {problem.length}")
        if count > self.blocks:
            raise ValueError(f"expected at most {self.blocks} blocks, got {count}; pass blocks={count}")
        if length > self.length:
            raise ValueError(f"the shortest plan has {length} steps, more than {self.length}; pass length={length}")

    def load_problems(self, path: Path) -> list[BlocksWorldProblem]:
        """Reads a PDDL problem, or a published list of PDDL problems with plans, which are checked."""
        if path.suffix == ".pddl":
            return [self._read_pddl(path)]
        if path.suffix != ".json":
            raise ValueError(f"'{path}' is not a .jsonl, .json or .pddl file, the formats that blocksworld reads")
        return [self._read_entry(path, entry) for entry in read_list(path)]

    def _read_pddl(self, path: Path) -> BlocksWorldProblem:
        try:
            return self.problem_from_json(read_pddl(path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            raise ValueError(f"'{path}' is not a text file in UTF-8") from None
        except ValueError as error:
            raise ValueError(f"'{path}': {error}") from None

    def _read_entry(self, path: Path, entry: PublishedEntry) -> BlocksWorldProblem:
        problem = self._read_pddl(entry.file)
        try:
            self._check_plan(problem, entry)
        except ValueError as error:
            raise ValueError(f"'{path}' entry {entry.number}: {error}") from None
        return problem

    def _check_plan(self, problem: BlocksWorldProblem, entry: PublishedEntry) -> None:
        """Plays a published plan; its own length may leave it more steps than the options do."""
        steps = len(entry.plan)
        if steps > entry.length:
            raise ValueError(f"the plan has {steps} steps, more than its length {entry.length}")
        if steps > problem.length + self.slack:
            raise ValueError(
                f"the plan has {steps} steps and the shortest {problem.length}; pass slack={steps - problem.length}"
            )
        state = self.reset(problem)
        for line in entry.plan:
            action = read_action(line, self.actions(state), self.aliases(state))
            if action is None:
                raise ValueError(f"the plan's {line[:60]!r} is not legal where it stands")
            state = self.step(state, action)
        if not self.success(state):
            raise ValueError("the plan does not reach the goal")

    # -- rules -----------------------------------------------------------------------------------
    def reset(self, problem: BlocksWorldProblem) -> BlocksWorldState:
        """Returns the state before the first step."""
        return BlocksWorldState(problem, (), _position(*_arrangement(problem.start)), over=False)

    def actions(self, state: BlocksWorldState) -> tuple[str, ...]:
        """Returns the moves of the hand, in the order of the colours."""
        return () if state.over else state.position.actions

    def step(self, state: BlocksWorldState, action: str) -> BlocksWorldState:
        """Moves one block into the hand or out of it."""
        problem, plan, position, over = state
        if over:
            raise KeyError(action)
        position = _position(position.blocks, position.moves[action])
        plan = (*plan, action)
        over = len(plan) >= problem.length + self.slack or (
            self.ending == "goal" and position.facts.issuperset(problem.goal)
        )
        return BlocksWorldState(problem, plan, position, over)

    def aliases(self, state: BlocksWorldState) -> dict[str, str]:
        """The forms of published plans, by colour and by letter, with and without parentheses."""
        spellings = {}
        for action in self.actions(state):
            operator, *blocks = _words_of_actions()[action]
            for names in (blocks, [LETTERS[block] for block in blocks]):
                for form in (operator, operator.replace("-", " ")):
                    short = " ".join([form, *names])
                    spellings[short] = spellings[f"({short})"] = action
        return spellings

    def observe(self, state: BlocksWorldState) -> str:
        """Returns the goal, the state and the steps left."""
        left = state.problem.length + self.slack - len(state.plan)
        last = "; the goal must hold after the last one" if self.ending == "horizon" else ""
        return f"Goal: {_sentence(state.problem.goal)}.\nState: {state.position.text}.\nSteps left: {left}{last}."

    # -- scores ----------------------------------------------------------------------------------
    def success(self, state: BlocksWorldState) -> bool:
        """Says whether all facts of the goal hold."""
        return state.position.facts.issuperset(state.problem.goal)

    def solution(self, state: BlocksWorldState) -> str:
        """Returns the plan, in the form of published plans."""
        return _plan_name(_words_of_actions()[action] for action in state.plan)

    def solve(self, problem: BlocksWorldProblem) -> tuple[str, ...]:
        """Returns all plans within the steps of an episode, sorted.

        Raises:
            EnumerationLimit: there are more than 200,000.
        """
        count = self.count_plans(problem)
        if count > DEFAULT_LIMIT:
            raise EnumerationLimit(f"'{problem.id}' has {count} plans, more than {DEFAULT_LIMIT}; use less slack")
        blocks, below = _arrangement(problem.start)
        plans = self._plans(problem).each(below, problem.length + self.slack)
        return tuple(sorted(_plan_name(_words(blocks, move) for move in plan) for plan in plans))

    def count_plans(self, problem: BlocksWorldProblem, revisits: bool = True) -> int:
        """Returns the number of plans within the steps of an episode, without listing them.

        Args:
            problem: the problem.
            revisits: count plans that are in some state twice, too. Without them they are walked
                through one by one.
        """
        _, below = _arrangement(problem.start)
        plans, steps = self._plans(problem), problem.length + self.slack
        return plans.count(below, steps) if revisits else plans.count_without_revisits(below, steps)

    def _plans(self, problem: BlocksWorldProblem) -> Plans:
        blocks, _ = _arrangement(problem.start)
        return Plans(_goal(blocks, problem.goal), stop=self.ending == "goal")

    def render_text(self, state: BlocksWorldState) -> str:
        """Draws the stacks beside those of the goal; '...' is a place that the goal leaves open."""
        blocks, below = state.position.blocks, state.position.below
        return f"{text_picture(blocks, below, _goal(blocks, state.problem.goal))}\n{self.observe(state)}"

    def draw(self, state: BlocksWorldState) -> Drawing:
        """Draws the stacks and the hand beside the goal, and the steps left."""
        goal = _goal(state.position.blocks, state.problem.goal)
        return draw(state, goal, state.problem.length + self.slack, self.success(state))


def shortest_length(problem: BlocksWorldProblem) -> int:
    """Returns how many steps a shortest plan has, 0 if the goal holds at the start."""
    blocks, below = _arrangement(problem.start)
    return distance(below, _goal(blocks, problem.goal))


# -- numbering blocks ------------------------------------------------------------------------------
def _fact_id(fact: str) -> str:
    name, *blocks = fact.split()
    forms = {"on": "{}-on-{}", "ontable": "{}-on-table", "clear": "{}-clear", "handempty": "hand-empty"}
    return forms[name].format(*(LETTERS[block] for block in blocks))


def _from_arrangements(start: Below, under: Below, length: int) -> BlocksWorldProblem:
    """Returns the problem of these numbered blocks, named by the first colours."""
    blocks, above = tuple(LETTERS)[: len(start)], inverse(start)
    stacks = tuple(tuple(blocks[c] for c in upwards(b, above)) for b, lower in enumerate(start) if lower == TABLE)
    goal = tuple(f"on {blocks[b]} {blocks[lower]}" for b, lower in enumerate(under) if lower >= 0)
    return BlocksWorldProblem(stacks, goal, length)


@lru_cache(maxsize=1 << 12)
def _arrangement(start: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], Below]:
    """Returns the colours in the order of their letters, and what is under each of them."""
    blocks = tuple(sorted((block for stack in start for block in stack), key=LETTERS.__getitem__))
    numbers = {block: number for number, block in enumerate(blocks)}
    below = [TABLE] * len(blocks)
    for stack in start:
        for lower, upper in pairwise(stack):
            below[numbers[upper]] = numbers[lower]
    return blocks, tuple(below)


@lru_cache(maxsize=1 << 12)
def _goal(blocks: tuple[str, ...], facts: tuple[str, ...]) -> Goal:
    numbers = {block: number for number, block in enumerate(blocks)}
    under, clear = [ANY] * len(blocks), set()
    for name, *named in (fact.split() for fact in facts):
        if name == "on":
            under[numbers[named[0]]] = numbers[named[1]]
        elif name == "ontable":
            under[numbers[named[0]]] = TABLE
        elif name == "clear":
            clear.add(numbers[named[0]])
    return make_goal(tuple(under), frozenset(clear), "handempty" in facts)


# -- positions and texts ---------------------------------------------------------------------------
@lru_cache(maxsize=_CACHED_POSITIONS)
def _position(blocks: tuple[str, ...], below: Below) -> Position:
    legal = {ACTIONS[(words := _words(blocks, move))[0]].format(*words[1:]): move for move in moves(below)}
    after = {action: place(below, move.block, move.target) for action, move in legal.items()}
    covered, facts, phrases = set(below), [], []
    for number, block in enumerate(blocks):
        if below[number] == HAND:
            phrases.append(f"the {block} block is in the hand")
        elif number not in covered:
            facts.append(f"clear {block}")
            phrases.append(FACTS["clear"].format(block))
    held = blocks[below.index(HAND)] if HAND in below else None
    facts += [] if held else ["handempty"]
    phrases.append(f"the hand is holding the {held} block" if held else FACTS["handempty"])
    supports = [f"on {block} {blocks[under]}" for block, under in zip(blocks, below, strict=True) if under >= 0]
    supports += [f"ontable {block}" for block, under in zip(blocks, below, strict=True) if under == TABLE]
    phrases += [_phrase(fact) for fact in supports]
    return Position(blocks, below, frozenset([*facts, *supports]), _joined(phrases), tuple(after), after)


def _words(blocks: tuple[str, ...], move: Move) -> tuple[str, ...]:
    """Returns a move as in published plans: ('stack', 'red', 'blue')."""
    block, other = blocks[move.block], max(move.source, move.target)
    if other < 0:
        return ("pick-up" if move.target == HAND else "put-down", block)
    return ("unstack" if move.target == HAND else "stack", block, blocks[other])


@cache
def _words_of_actions() -> dict[str, tuple[str, ...]]:
    """Returns the words of every action that can be."""
    words = [(operator, block) for operator in ("pick-up", "put-down") for block in LETTERS]
    pairs = [(operator, a, b) for operator in ("stack", "unstack") for a in LETTERS for b in LETTERS if a != b]
    return {ACTIONS[operator].format(*blocks): (operator, *blocks) for operator, *blocks in (*words, *pairs)}


def _plan_name(plan: Iterable[tuple[str, ...]]) -> str:
    return " ".join(f"({' '.join(words)})" for words in plan)


def _phrase(fact: str) -> str:
    name, *blocks = fact.split()
    return FACTS[name].format(*blocks)


@lru_cache(maxsize=1 << 12)
def _sentence(facts: tuple[str, ...]) -> str:
    return _joined([_phrase(fact) for fact in facts])


def _joined(phrases: list[str]) -> str:
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]]) if len(phrases) > 1 else phrases[0]
