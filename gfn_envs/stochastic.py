"""Three kinds of stochasticity as wrappers of tasks: noise on actions, hidden fields, other numerals.

After STORI (arXiv 2509.01793), which sorts what makes an environment uncertain. Each wrapper holds a
task and is one, so they compose, `ActionNoise(HiddenFields(task, pattern), 0.1)`, and no wrapper draws
anything: chance is data in `outcomes`, so that every exact yardstick of `gfn_envs.exact` still holds.

States and problems are those of the inner task; what a wrapper does not change it hands through.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from gfn_envs.drawing import Drawing
from gfn_envs.task import ProblemT, StateT, Task

if TYPE_CHECKING:
    from gfn_envs.problems import ProblemSource

Numerals = Literal["roman", "words"]
NUMERALS = ("roman", "words")
_PATTERN_LENGTH_LIMIT = 1000


@dataclass(frozen=True)
class Wrapped(Task[ProblemT, StateT]):
    """A task that hands everything through to the task it holds; the base of the wrappers here.

    Args:
        task: the inner task.
    """

    task: Task[ProblemT, StateT]

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise TypeError(f"task must be a Task, got {type(self.task).__name__}; of an environment pass env.task")

    # A plain task has one value of these for its class, a wrapper that of the task it holds.
    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the inner task, which is part of the problems' ids."""
        return self.task.name

    @property
    def problem_type(self) -> type[Any]:  # type: ignore[override]
        """Dataclass of the inner task's problems."""
        return self.task.problem_type

    @property
    def charset(self) -> str:  # type: ignore[override]
        """Characters of the inner task."""
        return self.task.charset

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        """Whether the inner task is."""
        return self.task.deterministic

    @property
    def horizon(self) -> int:  # type: ignore[override]
        """Horizon of the inner task."""
        return self.task.horizon

    @property
    def max_actions(self) -> int:  # type: ignore[override]
        """Most legal actions of the inner task."""
        return self.task.max_actions

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]
        """Longest observation of the inner task."""
        return self.task.max_observation_length

    @property
    def max_action_length(self) -> int:  # type: ignore[override]
        """Longest action of the inner task."""
        return self.task.max_action_length

    # -- problems --------------------------------------------------------------------------------
    def problems(self) -> ProblemSource[ProblemT]:
        """Returns the inner task's problems."""
        return self.task.problems()

    def problem_from_json(self, data: Mapping[str, Any]) -> ProblemT:
        """Builds a problem of the inner task."""
        return self.task.problem_from_json(data)

    def check_problem(self, problem: ProblemT) -> None:
        """Raises ValueError if the problem does not fit the inner task's options."""
        self.task.check_problem(problem)

    def load_problems(self, path: Path) -> list[ProblemT]:
        """Reads the inner task's file format."""
        return self.task.load_problems(path)

    # -- rules -----------------------------------------------------------------------------------
    def reset(self, problem: ProblemT) -> StateT:
        """Returns the inner task's start state."""
        return self.task.reset(problem)

    def actions(self, state: StateT) -> tuple[str, ...]:
        """Returns the inner task's legal actions."""
        return self.task.actions(state)

    def step(self, state: StateT, action: str) -> StateT:
        """Returns the inner task's successor."""
        return self.task.step(state, action)

    def outcomes(self, state: StateT, action: str) -> tuple[tuple[float, StateT], ...]:
        """Returns the inner task's successors."""
        return self.task.outcomes(state, action)

    def aliases(self, state: StateT) -> dict[str, str]:
        """Returns the inner task's other spellings."""
        return self.task.aliases(state)

    def observe(self, state: StateT) -> str:
        """Returns the inner task's text."""
        return self.task.observe(state)

    # -- scores ----------------------------------------------------------------------------------
    def success(self, state: StateT) -> bool:
        """Says whether the inner task is solved."""
        return self.task.success(state)

    def step_reward(self, state: StateT, action: str, next_state: StateT) -> float:
        """Returns the inner task's reward of the step."""
        return self.task.step_reward(state, action, next_state)

    def log_reward(self, state: StateT) -> float:
        """Returns the inner task's log R."""
        return self.task.log_reward(state)

    def log_reward_so_far(self, state: StateT) -> float:
        """Returns the inner task's partial log-reward."""
        return self.task.log_reward_so_far(state)

    def solution(self, state: StateT) -> str:
        """Returns the inner task's name of the object."""
        return self.task.solution(state)

    def details(self, state: StateT) -> dict[str, Any]:
        """Returns the inner task's entries of `info`."""
        return self.task.details(state)

    def parents(self, state: StateT) -> tuple[tuple[StateT, str], ...] | None:
        """Returns the inner task's incoming edges."""
        return self.task.parents(state)

    def solve(self, problem: ProblemT) -> tuple[str, ...]:
        """Returns the inner task's solutions: no wrapper here opens or closes a way to a state."""
        return self.task.solve(problem)

    def render_text(self, state: StateT) -> str:
        """Returns the inner task's picture, which is for who watches: it hides and rewrites nothing."""
        return self.task.render_text(state)

    def draw(self, state: StateT) -> Drawing:
        """Returns the inner task's picture, as `render_text` does."""
        return self.task.draw(state)


@dataclass(frozen=True)
class ActionNoise(Wrapped[ProblemT, StateT]):
    """Slips: with a probability a uniformly random legal action is played instead of the chosen one.

    Of n legal actions the chosen one is played with probability 1 - probability * (n - 1) / n, since a
    slip can hit it too. Noise p inside noise q is one noise 1 - (1 - p)(1 - q). `step_reward` is told
    the chosen action. Always a task with chance, even at 0: values of play are then the inner task's,
    but flows are expected flows, so log Z counts histories where the inner task merges them.

    Args:
        task: the inner task, with or without chance of its own.
        probability: of a slip, from 0 to 1.
    """

    probability: float

    def __post_init__(self) -> None:
        super().__post_init__()
        number = isinstance(self.probability, int | float) and not isinstance(self.probability, bool)
        if not number or not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be a number from 0 to 1, got {self.probability!r}")

    @property
    def deterministic(self) -> bool:  # type: ignore[override]  # as in Wrapped
        """False."""
        return False

    def step(self, state: StateT, action: str) -> NoReturn:
        """Is not defined, because an action has many outcomes."""
        raise NotImplementedError(
            f"{action!r} has many outcomes under ActionNoise; use outcomes(), or draw_outcome() of gfn_envs.rollout"
        )

    def outcomes(self, state: StateT, action: str) -> tuple[tuple[float, StateT], ...]:
        """Returns the successors of all actions that can be played, equal ones merged.

        Raises:
            KeyError: the chosen action is not legal.
        """
        legal = self.task.actions(state)
        if action not in legal:
            raise KeyError(action)
        slip = self.probability / len(legal)
        merged: dict[StateT, float] = {}
        for played in legal:  # in this order whatever was chosen, so that at 1 all actions are exactly equal
            weight = slip + (1.0 - self.probability if played == action else 0.0)
            for chance, successor in self.task.outcomes(state, played):
                merged[successor] = merged.get(successor, 0.0) + weight * chance
        # What cannot happen is no outcome, and a sum can exceed 1 by rounding; log-probabilities are finite and <= 0.
        return tuple((min(chance, 1.0), successor) for successor, chance in merged.items() if chance > 0)

    def parents(self, state: StateT) -> None:
        """Returns None: expected flows sum over successors only, so no P_B over incoming edges enters them."""
        return


@dataclass(frozen=True)
class HiddenFields(Wrapped[ProblemT, StateT]):
    """Missing state variables: every match of a regular expression in the observation is hidden.

    Only the observation changes: actions, `info` and `render_text` say what the inner task says. States
    that look alike get the same play from a player that reads the text only, so exact flows need not be
    within its reach.

    Args:
        task: the inner task.
        pattern: regular expression, such as `(?<=Goal: )-?[0-9]+`. It is the experimenter's own and runs
            without a time limit: nested repeats like `(a+)+` can be slow.
        replacement: what stands in place of a match, literally and whatever the match's length.
    """

    pattern: str
    replacement: str = "?"
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.pattern, str) or len(self.pattern) > _PATTERN_LENGTH_LIMIT:
            raise ValueError(f"pattern must be a text of at most {_PATTERN_LENGTH_LIMIT} characters")
        if not isinstance(self.replacement, str) or not self.replacement:
            raise ValueError(f"replacement must be at least one character, got {self.replacement!r}")
        try:
            compiled = re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is not a regular expression: {error}") from None
        if compiled.search(""):
            raise ValueError(f"pattern {self.pattern!r} matches the empty text; it must need a character to hide")
        object.__setattr__(self, "_compiled", compiled)

    @property
    def charset(self) -> str:  # type: ignore[override]  # as in Wrapped
        """Characters of the inner task and of the replacement."""
        return "".join(sorted({*self.task.charset, *self.replacement}))

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]  # as in Wrapped
        """Length if every character were a match of its own."""
        return self.task.max_observation_length * len(self.replacement)

    def observe(self, state: StateT) -> str:
        """Returns the inner task's text with the matches hidden; an empty match hides nothing."""
        return self._compiled.sub(lambda match: self.replacement if match[0] else "", self.task.observe(state))


@dataclass(frozen=True)
class Paraphrase(Wrapped[ProblemT, StateT]):
    """Another representation: whole numbers in the observation as roman numerals or English words.

    Actions, and with them the spellings that the player must write, stay as they are. No two numbers,
    and no two lists of numbers, become one; see `paraphrase` for what counts as a whole number.

    Args:
        task: the inner task.
        numbers: "roman" or "words".
    """

    numbers: Numerals = "roman"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.numbers not in NUMERALS:
            raise ValueError(f"numbers must be one of {NUMERALS}, got {self.numbers!r}")

    @property
    def charset(self) -> str:  # type: ignore[override]  # as in Wrapped
        """Characters of the inner task and of the numerals."""
        return "".join(sorted({*self.task.charset, *_LETTERS[self.numbers]}))

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]  # as in Wrapped
        """A bound: the text made of the numbers that grow most, each with a character between."""
        length, sign = self.task.max_observation_length, len(_SIGN[self.numbers])
        growth = max(
            max((longest + 1) / (digits + 1), (longest + sign + 1) / (digits + 2))
            for digits, longest in enumerate(_LONGEST[self.numbers], start=1)
        )
        return math.ceil(growth * (length + 1))

    def observe(self, state: StateT) -> str:
        """Returns the inner task's text with its whole numbers in the other representation."""
        return paraphrase(self.task.observe(state), self.numbers)


# -- numerals ------------------------------------------------------------------------------------------
_WHOLE_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)])-)?"
    r"(?<!\w)(?<![0-9][.,])(?<![\w)]-)(?P<digits>0|[1-9][0-9]*)"
    r"(?!\w|[.,][0-9]|-\w)"
)
_ROMAN = tuple(
    zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ("M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"),
        strict=True,
    )
)
_NAMES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SIGN = {"roman": "-", "words": "minus "}
_LETTERS = {
    "roman": "".join(symbol for _, symbol in _ROMAN) + "nulla",
    "words": "".join((*_NAMES, *_TENS)) + " -minushundredthousand",
}
_LONGEST = {"roman": (5, 8, 12, 15), "words": (5, 13, 27, 42, 50, 64)}
"""Most characters of a numeral of 1, 2, ... digits, such as nulla, LXXXVIII, DCCCLXXXVIII."""


def paraphrase(text: str, numbers: Numerals) -> str:
    """Returns a text with its whole numbers as roman numerals or English words.

    A whole number stands by itself: the digits of `b1`, `17s`, `007`, `0.5`, `1,000` and `3-4` stay, and
    so do numbers beyond what `roman` and `in_words` can write. Of `-3` the sign is kept (`-III`) or
    written (`minus three`).
    """
    write = roman if numbers == "roman" else in_words

    def replaced(match: re.Match[str]) -> str:
        if len(match["digits"]) > len(_LONGEST[numbers]) or (numbers == "roman" and int(match["digits"]) > 3999):
            return match[0]
        return (_SIGN[numbers] if match["sign"] else "") + write(int(match["digits"]))

    return _WHOLE_NUMBER.sub(replaced, text)


def roman(number: int) -> str:
    """Returns the roman numeral of 1..3999; 0 is `nulla`, the word that medieval tables write for it."""
    if not 0 <= number <= 3999:
        raise ValueError(f"roman numerals go from 0 to 3999, got {number}")
    if number == 0:
        return "nulla"
    written = ""
    for value, symbol in _ROMAN:
        count, number = divmod(number, value)
        written += symbol * count
    return written


def in_words(number: int) -> str:
    """Returns 0..999999 in English words, such as `two-hundred-forty-one`.

    The hyphens tell 102 (`one-hundred-two`) from the list 100 2 (`one-hundred two`).
    """
    if not 0 <= number <= 999_999:
        raise ValueError(f"numbers in words go from 0 to 999999, got {number}")
    for unit, unit_name in ((1000, "thousand"), (100, "hundred")):
        if number >= unit:
            count, rest = divmod(number, unit)
            return f"{in_words(count)}-{unit_name}" + (f"-{in_words(rest)}" if rest else "")
    if number < len(_NAMES):
        return _NAMES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_NAMES[ones]}" if ones else "")
