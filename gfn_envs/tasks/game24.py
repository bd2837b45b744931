"""Game24: combine numbers with + - * / until the target is left.

Description
    Given some numbers, each used exactly once, reach a target (24). One step replaces two of the
    numbers by their sum, difference, product or quotient. Arithmetic is exact: a number is an
    integer or a `Fraction`, so {3, 3, 8, 8} has its solution 8 / (3 - 8/3).

Observation
    `Make 24 with + - * /.` and, on a second line, `Numbers: 4 6 6 8`, the numbers left in ascending
    order. Where two of them are equal but made differently, a made one is shown by its formula:
    `Numbers: 2 (3 * 2) 6`.

Actions
    `6 * 4 = 24 (left: 2 24)`, as in Tree of Thoughts (arXiv 2305.10601). Sums and products are
    listed once, larger number first; differences and quotients in both orders; nothing is divided
    by zero. The other order of a sum or product, and an action without its `(left: ..)`, are
    accepted as aliases. A fraction is an operand in parentheses: `8 / (1/3) = 24`. Of two equal
    numbers that were made differently, a made one is named by its formula, so that every formula
    can be built: `(3 * 2) - 2 = 4 (left: 4 6)`.

Reward
    1 if the last number is the target, otherwise 0. R = 1 or 1e-4.

Episode End
    When one number is left: after (count - 1) steps.

Object and P_B
    The state contains its steps, so every sequence of steps is an object of its own and P_B = 1.

Solutions
    Two formulas are the same solution when they differ only by commutativity and associativity of
    sums and of products, where a difference is a sum with a negated term and a quotient is a
    product with an inverted factor: a - (b - c) = a + c - b and a / (b / c) = a * c / b. Equal
    numbers are interchangeable. Nothing else is identified: (1 - 5) * (2 - 8) and (5 - 1) * (8 - 2)
    are two solutions, and so are x * 1 and x / 1.

Problems and Splits
    All multisets of `count` numbers from `low` to `high`, equally likely; with `solvable=True` only
    those that have a solution (1,362 of 1,820 for four numbers from 1 to 13). CSV files with a
    column `Puzzles` load as published. The canonical problem is the sorted multiset with its target.

Arguments
    count (>= 2), target (integer or "a/b"), low, high, solvable.

Exact Values
    {4, 6, 6, 8}, say, from `gfn analyse gfn_envs/Game24-v0`.

References
    Yao et al. 2023 (arXiv 2305.10601); Yu et al. 2024, Flow of Reasoning (arXiv 2406.05673).

Version History
    v0: first version.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import combinations, combinations_with_replacement
from math import comb
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from gfn_envs.drawing import Drawing
from gfn_envs.problems import GeneratedProblems, ProblemSet, ProblemSource
from gfn_envs.task import Presets, Problem, Task
from gfn_envs.tasks.arithmetic import Expression, Number, apply, canonical, formula, parse_formula, solvable, solve
from gfn_envs.tasks.game24_drawing import draw

_MOST_NUMBERS = 8
_LISTED_FAMILY_LIMIT = 2_000
_CACHED_POSITIONS = 1 << 17
"""Enough for every position of the family of four numbers from 1 to 13."""


@dataclass(frozen=True, slots=True)
class Game24Problem(Problem):
    """Numbers in ascending order, and the target as an integer or as text 'a/b'."""

    numbers: tuple[int, ...]
    target: int | str = 24

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", tuple(sorted(self.numbers)))
        object.__setattr__(self, "target", _read_target(self.target))

    @property
    def id(self) -> str:
        """'game24/4-6-6-8', or 'game24/4-6-6-8=10' where the target is not 24."""
        suffix = "" if self.target == 24 else f"={self.target}"
        return f"game24/{'-'.join(map(str, self.numbers))}{suffix}"


class Move(NamedTuple):
    """Combining the numbers at `first` and `second`, and the numbers that are left after it.

    `order` says where each number left comes from: its index among the numbers before the move, to
    which the new number is appended.
    """

    operator: str
    first: int
    second: int
    value: Number
    left: str
    order: tuple[int, ...]
    leaves_equals: bool


@dataclass(frozen=True, slots=True)
class Position:
    """The numbers left, ascending, and the legal moves by their texts.

    How the numbers are written decides all the rest, so positions are compared by it alone.
    """

    written: str
    words: tuple[str, ...] = field(compare=False, repr=False)
    values: tuple[Number, ...] = field(compare=False, repr=False)
    actions: tuple[str, ...] = field(compare=False, repr=False)
    moves: dict[str, Move] = field(compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles what the position is made from; its moves are listed again, or found listed."""
        return _position, (" ".join(map(str, self.values)), self.words)


class Game24State(NamedTuple):
    """The steps taken, and the position that they led to."""

    problem: Game24Problem
    steps: tuple[str, ...]
    position: Position


@dataclass(frozen=True)
class Game24(Task[Game24Problem, Game24State]):
    """Rules of Game24; see the module's docstring.

    Args:
        count: how many numbers a generated problem has, at least 2.
        target: the number to reach: an integer, or 'a/b'.
        low: smallest number of a problem, at least 0.
        high: largest number of a problem.
        solvable: generate only problems that have a solution. Looking for one takes milliseconds with 5 numbers, a
            second with 7, and up to minutes with 8.
    """

    count: int = 4
    target: int | str = 24
    low: int = 1
    high: int = 13
    solvable: bool = True

    name: ClassVar[str] = "game24"
    problem_type: ClassVar[type[Game24Problem]] = Game24Problem
    difficulties: ClassVar[Presets] = {
        "easy": {"count": 3, "high": 9},
        "medium": {},
        "hard": {"count": 5},
    }
    charset: ClassVar[str] = "\n ()*+-./0123456789:=MNabefhiklmrstuw"

    def __post_init__(self) -> None:
        if type(self.solvable) is not bool:
            raise ValueError(f"solvable must be True or False, got {self.solvable!r}")
        for option in ("count", "low", "high"):
            if type(getattr(self, option)) is not int:
                raise ValueError(f"{option} must be an integer, got {getattr(self, option)!r}")
        if not 2 <= self.count <= _MOST_NUMBERS:
            raise ValueError(f"count must be from 2 to {_MOST_NUMBERS}, got {self.count}")
        if not 0 <= self.low <= self.high <= 1000:
            raise ValueError(f"numbers must satisfy 0 <= low <= high <= 1000, got {self.low}..{self.high}")
        object.__setattr__(self, "target", _read_target(self.target))

    # -- sizes -----------------------------------------------------------------------------------
    @property
    def horizon(self) -> int:  # type: ignore[override]
        """count - 1 steps."""
        return self.count - 1

    @property
    def max_actions(self) -> int:  # type: ignore[override]
        """Six moves for every pair."""
        return 6 * comb(self.count, 2)

    @cached_property
    def _number_length(self) -> int:
        """Characters of the longest number: sign, numerator, slash, denominator.

        Numerator and denominator of a formula in n numbers up to h are at most (2h)^n.
        """
        return 2 * len(str((2 * max(self.high, 1)) ** self.count)) + 2

    @cached_property
    def max_action_length(self) -> int:  # type: ignore[override]
        """Two formulas, the value, and the numbers left."""
        formulas = self.count * len(str(self.high)) + 8 * self.count
        return formulas + self.count * (self._number_length + 1) + 20

    @cached_property
    def max_observation_length(self) -> int:  # type: ignore[override]
        """The sentence with the target, and the numbers or formulas left."""
        numbers = self.count * (self._number_length + len(str(self.high)) + 8)
        return 40 + len(str(self.target)) + numbers

    # -- problems --------------------------------------------------------------------------------
    def problems(self) -> ProblemSource[Game24Problem]:
        """Returns the family: listed while it has at most 2,000 multisets, otherwise generated."""
        size = self.high - self.low + 1
        if comb(size + self.count - 1, self.count) <= _LISTED_FAMILY_LIMIT:
            return _listed_family(self)
        accept = (lambda p: solvable(p.numbers, _target_value(p.target)),) if self.solvable else ()
        return GeneratedProblems(self._generate, accept)

    def _generate(self, rng: np.random.Generator) -> Game24Problem:
        """Draws uniformly over multisets ("stars and bars")."""
        size = self.high - self.low + 1
        drawn = np.sort(rng.choice(size + self.count - 1, size=self.count, replace=False))
        return Game24Problem(tuple(int(d) - i + self.low for i, d in enumerate(drawn)), self.target)

    def problem_from_json(self, data: Mapping[str, Any]) -> Game24Problem:
        """Builds a problem from `numbers` and, if it differs from the option, `target`."""
        numbers = data.get("numbers")
        if not isinstance(numbers, list | tuple) or any(type(n) is not int for n in numbers):
            raise ValueError(f"'numbers' must be a list of integers, got {numbers!r}")
        return super().problem_from_json({**data, "numbers": numbers, "target": data.get("target", self.target)})

    def check_problem(self, problem: Game24Problem) -> None:
        """Raises ValueError unless the count and the range of the numbers fit the options."""
        if len(problem.numbers) != self.count:
            shown = " ".join(map(str, problem.numbers[: _MOST_NUMBERS + 1]))
            possible = 2 <= len(problem.numbers) <= _MOST_NUMBERS
            remedy = f"pass count={len(problem.numbers)} for such problems" if possible else "leave it out"
            raise ValueError(f"expected {self.count} numbers, got {len(problem.numbers)} ({shown}); {remedy}")
        outside = [n for n in problem.numbers if not self.low <= n <= self.high]
        if outside:
            raise ValueError(f"number {outside[0]} is outside {self.low}..{self.high}; pass low= or high=")
        if len(str(problem.target)) > self._number_length:
            raise ValueError("the target is longer than any number that these options can reach")

    def load_problems(self, path: Path) -> list[Game24Problem]:
        """Reads the CSV of Tree of Thoughts: a column `Puzzles` with numbers separated by spaces."""
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            try:
                if "Puzzles" not in (reader.fieldnames or []):
                    raise ValueError(
                        f"'{path}' has no column 'Puzzles', which published Game24 files have; JSON Lines end in .jsonl"
                    )
                return [self._read_row(path, reader.line_num, row["Puzzles"]) for row in reader]
            except csv.Error as error:
                raise ValueError(f"'{path}' line {reader.line_num}: not CSV ({error})") from None

    def _read_row(self, path: Path, line: int, cell: str | None) -> Game24Problem:
        words = (cell or "").split()
        try:
            if not words or not all(word.isascii() and word.isdigit() and len(word) <= 6 for word in words):
                raise ValueError(f"expected numbers separated by spaces, got {(cell or '')[:60]!r}")
            return self.problem_from_json({"numbers": [int(word) for word in words]})
        except ValueError as error:
            raise ValueError(f"'{path}' line {line}: {error}") from None

    # -- rules -----------------------------------------------------------------------------------
    def reset(self, problem: Game24Problem) -> Game24State:
        """Returns the state before the first step."""
        return Game24State(problem, (), _start(problem.numbers))

    def actions(self, state: Game24State) -> tuple[str, ...]:
        """Returns the moves, pair by pair."""
        return state.position.actions

    def step(self, state: Game24State, action: str) -> Game24State:
        """Replaces two numbers by their combination."""
        move = state.position.moves[action]
        steps = (*state.steps, action)
        return Game24State(state.problem, steps, _position_after(move, state.problem.numbers, steps))

    def aliases(self, state: Game24State) -> dict[str, str]:
        """Sums and products in the other order; actions without the numbers left."""
        operands, spellings = _operands(state.position.words), {}
        for action, move in state.position.moves.items():
            head, left = action.split(" (left:")
            spellings[head] = action
            if move.operator in "+*":
                swapped = f"{operands[move.second]} {move.operator} {operands[move.first]} = {move.value}"
                spellings[swapped] = spellings[f"{swapped} (left:{left}"] = action
        return spellings

    def observe(self, state: Game24State) -> str:
        """Returns the target and the numbers left."""
        return f"Make {state.problem.target} with + - * /.\nNumbers: {state.position.written}"

    def success(self, state: Game24State) -> bool:
        """Says whether the one number left is the target."""
        return not state.position.actions and state.position.written == str(state.problem.target)

    def solution(self, state: Game24State) -> str:
        """Returns the canonical formula of the number left."""
        return canonical(_formulas(state.problem.numbers, state.steps)[0])

    def solve(self, problem: Game24Problem) -> tuple[str, ...]:
        """Returns all canonical formulas that reach the target, sorted."""
        return solve(problem.numbers, _target_value(problem.target))

    def verify(self, problem: Game24Problem, text: str) -> bool:
        """Says whether a formula such as '8 / (3 - 8/3)' uses the numbers exactly and is right.

        The text is parsed, never evaluated; what is not such a formula is simply not a solution.
        """
        parsed = parse_formula(text)
        if parsed is None:
            return False
        value, numbers = parsed
        return tuple(sorted(numbers)) == problem.numbers and value == _target_value(problem.target)

    def render_text(self, state: Game24State) -> str:
        """Returns the steps taken above the observation."""
        return "\n".join([*state.steps, self.observe(state)])

    def draw(self, state: Game24State) -> Drawing:
        """Draws the numbers after every step as rows of cards."""
        return draw(state, tuple(_moves(state.problem.numbers, state.steps)), self.success(state))


def _read_target(target: Any) -> int | str:
    shown = repr(str(target)[:40]) if not isinstance(target, int) or target.bit_length() < 1000 else "a huge number"
    try:
        written = str(target).lower()
        if isinstance(target, bool | float) or len(written) > 20 or "e" in written:  # '1e999999999' has no end
            raise ValueError
        value = Fraction(target)
    except (ValueError, TypeError, ZeroDivisionError):
        wanted = "an integer or text such as '7/2', of at most 20 characters"
        raise ValueError(f"target must be {wanted}, got {shown}") from None
    return value.numerator if value.denominator == 1 else str(value)


def _target_value(target: int | str) -> Number:
    return target if isinstance(target, int) else Fraction(target)


@lru_cache(maxsize=16)
def _listed_family(task: Game24) -> ProblemSet[Game24Problem]:
    target = _target_value(task.target)
    multisets = combinations_with_replacement(range(task.low, task.high + 1), task.count)
    kept = [numbers for numbers in multisets if not task.solvable or solvable(numbers, target)]
    if not kept:
        raise ValueError(f"no {task.count} numbers from {task.low} to {task.high} reach {task.target}")
    return ProblemSet(tuple(Game24Problem(numbers, task.target) for numbers in kept))


# -- positions -------------------------------------------------------------------------------------
@lru_cache(maxsize=_CACHED_POSITIONS)
def _start(numbers: tuple[int, ...]) -> Position:
    return _position(" ".join(map(str, numbers)))


def _position_after(move: Move, numbers: tuple[int, ...], steps: tuple[str, ...]) -> Position:
    """Returns the position after a move, the last of the steps from the given numbers."""
    return _position_of_equals(move.left, numbers, steps) if move.leaves_equals else _position(move.left)


def _formulas(numbers: tuple[int, ...], steps: tuple[str, ...]) -> tuple[Expression, ...]:
    """Returns the formula of each number that is left of the given numbers after some steps."""
    formulas = cast("tuple[Expression, ...]", numbers)
    for move in _moves(numbers, steps):
        made = (move.operator, formulas[move.first], formulas[move.second])
        with_made = (*formulas, made)
        formulas = tuple([with_made[index] for index in move.order])
    return formulas


def _moves(numbers: tuple[int, ...], steps: tuple[str, ...]) -> Iterator[Move]:
    """Yields the move that each step stands for; the position after the last is not needed and not made."""
    position = _start(numbers)
    for count, step in enumerate(steps, start=1):
        move = position.moves[step]
        yield move
        if count < len(steps):
            position = _position_after(move, numbers, steps[:count])


@lru_cache(maxsize=_CACHED_POSITIONS)
def _position_of_equals(left: str, numbers: tuple[int, ...], steps: tuple[str, ...]) -> Position:
    """Returns a position in which equal numbers that were made differently are told apart.

    Of such numbers, a made one is written by its formula.
    """
    formulas, words = _formulas(numbers, steps), left.split()
    written = list(words)
    for index, (word, made) in enumerate(zip(words, formulas, strict=True)):
        rivals = [rival for rival, equal in zip(formulas, words, strict=True) if equal == word]
        if isinstance(made, tuple) and any(canonical(rival) != canonical(made) for rival in rivals):
            written[index] = f"({formula(made)})"
    return _position(left, tuple(written))


@lru_cache(maxsize=_CACHED_POSITIONS)
def _position(numbers: str, written: tuple[str, ...] = ()) -> Position:
    """Lists the legal moves; moves with equal texts are the same move of equal numbers.

    Args:
        numbers: the numbers left, as text, because a `Fraction` is slow to look up.
        written: how they are written, if not simply so.
    """
    values = tuple([Fraction(word) if "/" in word else int(word) for word in numbers.split()])
    words = written or tuple(numbers.split())
    operands = _operands(words)
    moves: dict[str, Move] = {}
    for small, large in combinations(range(len(values)), 2):
        rest = [index for index in range(len(values)) if index not in (small, large)]
        for operator, first, second in _operations(values, small, large):
            value = apply(operator, values[first], values[second])
            place = bisect_left(rest, value, key=values.__getitem__)
            order = (*rest[:place], len(values), *rest[place:])
            kept = [str(value if index == len(values) else values[index]) for index in order]
            left = " ".join(kept)
            text = f"{operands[first]} {operator} {operands[second]} = {value} (left: {left})"
            moves.setdefault(text, Move(operator, first, second, value, left, order, len(set(kept)) < len(kept)))
    return Position(" ".join(words), words, values, tuple(moves), moves)


def _operands(words: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the numbers as operands: a fraction in parentheses, because 8 / 1/3 would read as 8/3."""
    return tuple(f"({word})" if "/" in word and not word.startswith("(") else word for word in words)


def _operations(values: tuple[Number, ...], small: int, large: int) -> list[tuple[str, int, int]]:
    operations = [("+", large, small), ("-", large, small), ("-", small, large), ("*", large, small)]
    if values[small] != 0:
        operations.append(("/", large, small))
    if values[large] != 0:
        operations.append(("/", small, large))
    return operations
