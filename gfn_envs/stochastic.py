"""The five kinds of stochasticity as wrappers of tasks, each with its exact transition probabilities.

After the taxonomy of STORI (arXiv 2509.01793):

==========================  =========================================================================
action noise                `ActionNoise`: another action slips in
random events               `RandomEvents`: something happens that nobody chose
concept drift               `ConceptDrift`: the rules change during the episode, once or in turns
other representations       `Paraphrase`: roman numerals or words instead of figures
missing state variables     `HiddenFields`, and of the history `gfn_envs.with_history.WithHistory(task, steps)`
==========================  =========================================================================

Each wrapper holds a task and is one, so they compose, `ActionNoise(HiddenFields(task, pattern), 0.1)`, and
no wrapper draws anything: chance is data in `outcomes`, so that every exact yardstick of `gfn_envs.exact`
still holds, and the environment's own seed decides what happens. Through Gymnasium,
`gym.make(id, stochasticity={"ActionNoise": {"probability": 0.1}})` puts them on, the innermost first, and
`info["stochasticity"]` tells after each step how often each of them acted, in expectation given the result:
1.0 where the step shows it, a fraction where the same result had been possible without.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, NoReturn

from gfn_envs.numerals import LETTERS, LONGEST, NUMERALS, SIGN, WHOLE_NUMBER, Numerals, paraphrase
from gfn_envs.task import Problem, ProblemT, StateT, Task, check_options
from gfn_envs.wrapped import Wrapped

Outcomes = tuple[tuple[float, StateT], ...]
Event = Callable[[Task[Any, StateT], StateT], Outcomes[StateT]]
"""What an event does to a state that is not terminal, as a distribution over states."""
_PATTERN_LENGTH_LIMIT = 1000


@dataclass(frozen=True)
class _Noisy(Wrapped[ProblemT, StateT]):
    """What wrappers that add chance share.

    Such a task has chance even where the probability is 0: values of play are then the inner task's, but
    flows are expected flows, so log Z counts histories where the inner task merges them.
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
            f"{action!r} has many outcomes under {type(self).__name__}; "
            "use outcomes(), or draw_outcome() of gfn_envs.rollout"
        )

    @property
    def stop_action(self) -> str | None:  # type: ignore[override]  # as in Wrapped
        """None: what a stop would lead to is no single end that a step could tell."""
        return None

    def parents(self, state: StateT) -> None:
        """Returns None: expected flows sum over successors only, so no P_B over incoming edges enters them."""
        return


@dataclass(frozen=True)
class ActionNoise(_Noisy[ProblemT, StateT]):
    """Slips: with a probability a uniformly random legal action is played instead of the chosen one.

    Of n legal actions the chosen one is played with probability 1 - probability * (n - 1) / n, since a
    slip can hit it too. Noise p inside noise q is one noise 1 - (1 - p)(1 - q). `step_reward` is told
    the chosen action. `info["stochasticity"]` counts that another action than the chosen one was played.

    Args:
        task: the inner task, with or without chance of its own.
        probability: of a slip, from 0 to 1.
    """

    def outcomes(self, state: StateT, action: str) -> Outcomes[StateT]:
        """Returns the successors of all actions that can be played, equal ones merged.

        Raises:
            KeyError: the chosen action is not legal.
        """
        return _merged(
            (weight * chance, successor)
            for played, weight in self._played(state, action)
            for chance, successor in self.task.outcomes(state, played)
        )

    def _played(self, state: StateT, action: str) -> list[tuple[str, float]]:
        """Returns every legal action with the probability that it is played where one is chosen."""
        legal = self.task.actions(state)
        if action not in legal:
            raise KeyError(action)
        slip = self.probability / len(legal)
        # In this order whatever was chosen, so that at probability 1 all actions are exactly equal.
        return [(played, slip + (1.0 - self.probability if played == action else 0.0)) for played in legal]

    def stochasticity(self, state: StateT, action: str, next_state: StateT) -> dict[str, float]:
        """Returns the probability of a slip that mattered, beside what the inner wrappers did."""
        causes = [
            (weight * _chance_of(self.task.outcomes(state, played), next_state), played)
            for played, weight in self._played(state, action)
        ]
        return _expected(
            (weight, {type(self).__name__: float(played != action)}, self.task.stochasticity(state, played, next_state))
            for weight, played in causes
            if weight
        )


@dataclass(frozen=True)
class RandomEvents(_Noisy[ProblemT, StateT]):
    """Random events: after a step that did not end the episode something happens, with a probability.

    What happens is the task's matter (`Task.events`): in ALFWorld a door closes or a thing turns up elsewhere;
    in the other games one of the legal actions is played as well, which takes its step of the horizon.

    Args:
        task: the inner task, with or without chance of its own.
        probability: of an event after a step, from 0 to 1.
        event: what happens instead; a function of the inner task and the state (at module level, to be
            pickled), which must not make an episode longer than the horizon.
    """

    event: Event[Any] | None = None

    def outcomes(self, state: StateT, action: str) -> Outcomes[StateT]:
        """Returns the successors without and with an event, equal ones merged."""
        return _merged(
            (chance * weight, end)
            for chance, after in self.task.outcomes(state, action)
            for weight, end, _ in self._follows(after)
        )

    def _follows(self, after: StateT) -> list[tuple[float, StateT, bool]]:
        """Returns what can become of a state once an action led to it, and whether an event did it."""
        if not self.task.actions(after):
            return [(1.0, after, False)]
        events = self.event(self.task, after) if self.event else self.task.events(after)
        if not events:
            return [(1.0, after, False)]
        happened = [(self.probability * chance, end, True) for chance, end in events]
        return [(1.0 - self.probability, after, False), *happened]

    def stochasticity(self, state: StateT, action: str, next_state: StateT) -> dict[str, float]:
        """Returns the probability that an event happened, beside what the inner wrappers did before it."""
        return _expected(
            (chance * weight, {type(self).__name__: float(event)}, self.task.stochasticity(state, action, after))
            for chance, after in self.task.outcomes(state, action)
            for weight, end, event in self._follows(after)
            if end == next_state and chance * weight
        )

    def solve(self, problem: ProblemT) -> tuple[str, ...]:
        """Returns the inner task's solutions, or by enumeration where an event can do what no action can."""
        by_actions = self.event is None and type(_innermost(self.task)).events is Task.events
        return self.task.solve(problem) if by_actions else Task.solve(self, problem)


@dataclass(frozen=True)
class ReversedActions(Wrapped[ProblemT, StateT]):
    """The list of legal actions read from its other end: the first does what the last says, and so on.

    On NumberLine left and right change places. The usual second half of a `ConceptDrift`.

    Args:
        task: the inner task.
    """

    @property
    def stop_action(self) -> str | None:  # type: ignore[override]  # as in Wrapped
        """None: the inner task's does what its opposite says, and another one ends the episode in each state."""
        return None

    def step(self, state: StateT, action: str) -> StateT:
        """Returns where the opposite action leads."""
        return super().step(state, self._opposite(state, action))

    def outcomes(self, state: StateT, action: str) -> Outcomes[StateT]:
        """Returns where the opposite action can lead."""
        return super().outcomes(state, self._opposite(state, action))

    def parents(self, state: StateT) -> tuple[tuple[StateT, str], ...] | None:
        """Returns the incoming edges by the actions that lead here now."""
        edges = super().parents(state)
        return None if edges is None else tuple((before, self._opposite(before, action)) for before, action in edges)

    def stochasticity(self, state: StateT, action: str, next_state: StateT) -> dict[str, float]:
        """Returns 1 where the opposite is another action."""
        opposite = self._opposite(state, action)
        inner = self.task.stochasticity(state, opposite, next_state)
        return _sum({type(self).__name__: float(opposite != action)}, inner)

    def _opposite(self, state: StateT, action: str) -> str:
        legal = self.task.actions(state)
        if action not in legal:
            raise KeyError(action)
        return legal[-1 - legal.index(action)]


class DriftState(NamedTuple, Generic[StateT]):
    """A state of the inner task, and how many actions the player has played."""

    inner: StateT
    time: int

    @property
    def problem(self) -> Problem:
        """The inner state's problem."""
        problem: Problem = self.inner.problem  # type: ignore[attr-defined]  # every state has its problem
        return problem


@dataclass(frozen=True)
class ConceptDrift(Wrapped[ProblemT, DriftState[Any]]):
    """Concept drift: after some steps the rules are those of another wrapper of the same task.

    Only what actions do drifts; texts, legal actions and rewards are those of `task`.
    `info["stochasticity"]` counts the steps that were played by the other rules.

    Args:
        task: the rules at first.
        after: the rules later, around the same task: `ReversedActions(task)`, `ActionNoise(task, 0.3)`.
        steps: how many actions are played by the rules at first.
        cyclic: False: the rules change once (sudden). True: they change back and again, every `steps` actions.
    """

    after: Task[ProblemT, Any]
    steps: int
    cyclic: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.steps) is not int or self.steps < 1:
            raise ValueError(f"steps must be an integer of at least 1, got {self.steps!r}")
        if not isinstance(self.after, Task) or _innermost(self.after) != _innermost(self.task):
            raise ValueError("after must be a wrapper around the same task, such as ReversedActions(task)")
        if _has(self.task, ConceptDrift) or _has(self.after, ConceptDrift):
            raise ValueError("ConceptDrift cannot hold another one; put it outermost, or use cyclic=True")

    @property
    def deterministic(self) -> bool:  # type: ignore[override]  # as in Wrapped
        """Whether both sets of rules are."""
        return self.task.deterministic and self.after.deterministic

    @property
    def stop_action(self) -> str | None:  # type: ignore[override]  # as in Wrapped
        """The action that ends an episode anywhere, if it does so by both sets of rules."""
        return self.task.stop_action if self.task.stop_action == self.after.stop_action else None

    def memoryless(self) -> ConceptDrift[ProblemT]:
        """Returns the drift around tasks with self-contained texts."""
        return replace(self, task=self.task.memoryless(), after=self.after.memoryless())

    def inner(self, state: DriftState[Any]) -> Any:
        """Returns the state without the time."""
        return state.inner

    def rules(self, time: int) -> Task[ProblemT, Any]:
        """Returns the rules by which the action after `time` others is played."""
        drifted = (time // self.steps) % 2 == 1 if self.cyclic else time >= self.steps
        return self.after if drifted else self.task

    def reset(self, problem: ProblemT) -> DriftState[Any]:
        """Returns the start state at time 0."""
        return DriftState(self.task.reset(problem), 0)

    def step(self, state: DriftState[Any], action: str) -> DriftState[Any]:
        """Returns the successor by the rules of the hour."""
        return DriftState(self.rules(state.time).step(state.inner, action), state.time + 1)

    def outcomes(self, state: DriftState[Any], action: str) -> Outcomes[DriftState[Any]]:
        """Returns the successors by the rules of the hour."""
        time = state.time
        return tuple((p, DriftState(after, time + 1)) for p, after in self.rules(time).outcomes(state.inner, action))

    def fail(self, state: DriftState[Any]) -> DriftState[Any]:
        """Returns the inner task's state after a text that names no legal action; time stands still."""
        return DriftState(self.task.fail(state.inner), state.time)

    def events(self, state: DriftState[Any]) -> Outcomes[DriftState[Any]]:
        """Returns the inner task's events; they are no action of the player's, so time stands still."""
        return tuple((chance, DriftState(after, state.time)) for chance, after in self.task.events(state.inner))

    def parents(self, state: DriftState[Any]) -> tuple[tuple[DriftState[Any], str], ...] | None:
        """Returns the incoming edges by the rules of the step before; None where there is chance or no merging."""
        if not self.deterministic or (self.task.parents(state.inner)) is None:
            return None
        time = state.time - 1
        edges = () if time < 0 else self.rules(time).parents(state.inner) or ()
        return tuple((DriftState(before, time), action) for before, action in edges)

    def solve(self, problem: ProblemT) -> tuple[str, ...]:
        """Returns the solutions of both sets of rules: by enumeration where there is chance, which can open others."""
        return self.task.solve(problem) if self.deterministic else Task.solve(self, problem)

    def stochasticity(self, state: DriftState[Any], action: str, next_state: DriftState[Any]) -> dict[str, float]:
        """Returns 1 for a step by the other rules, beside what the wrappers of the rules did."""
        rules = self.rules(state.time)
        inner = rules.stochasticity(state.inner, action, next_state.inner)
        return _sum({type(self).__name__: float(rules is self.after)}, inner)


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
        return self._compiled.sub(lambda match: self.replacement if match[0] else "", super().observe(state))

    def stochasticity(self, state: StateT, action: str, next_state: StateT) -> dict[str, float]:
        """Returns how many matches the new observation hides."""
        hidden = sum(bool(match[0]) for match in self._compiled.finditer(super().observe(next_state)))
        return _sum({type(self).__name__: float(hidden)}, super().stochasticity(state, action, next_state))


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
        return "".join(sorted({*self.task.charset, *LETTERS[self.numbers]}))

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]  # as in Wrapped
        """A bound: the text made of the numbers that grow most, each with a character between."""
        length, sign = self.task.max_observation_length, len(SIGN[self.numbers])
        growth = max(
            max((longest + 1) / (digits + 1), (longest + sign + 1) / (digits + 2))
            for digits, longest in enumerate(LONGEST[self.numbers], start=1)
        )
        return math.ceil(growth * (length + 1))

    def observe(self, state: StateT) -> str:
        """Returns the inner task's text with its whole numbers in the other representation."""
        return paraphrase(super().observe(state), self.numbers)

    def stochasticity(self, state: StateT, action: str, next_state: StateT) -> dict[str, float]:
        """Returns how many numbers of the new observation are written otherwise."""
        numbers = (match[0] for match in WHOLE_NUMBER.finditer(super().observe(next_state)))
        rewritten = sum(paraphrase(number, self.numbers) != number for number in numbers)
        return _sum({type(self).__name__: float(rewritten)}, super().stochasticity(state, action, next_state))


STOCHASTICITY: dict[str, type[Wrapped[Any, Any]]] = {
    wrapper.__name__: wrapper
    for wrapper in (ActionNoise, RandomEvents, ReversedActions, ConceptDrift, HiddenFields, Paraphrase)
}


def add_stochasticity(task: Task[Any, Any], wrappers: Mapping[str, Mapping[str, Any]]) -> Task[Any, Any]:
    """Returns a task with wrappers put around it, the first innermost.

    Args:
        task: the innermost task.
        wrappers: names of the classes here, each with its keywords, as JSON can hold them. The keyword
            `after` of ConceptDrift is again such a mapping, of what is put around the same task:
            `{"ConceptDrift": {"after": {"ReversedActions": {}}, "steps": 3}}`.

    Raises:
        ValueError: a name, a keyword or its value is wrong.
    """
    if not isinstance(wrappers, Mapping):
        raise ValueError(f"stochasticity must map names to keywords, got {wrappers!r}")
    wrapped = task
    for name, keywords in wrappers.items():
        if name not in STOCHASTICITY:
            raise ValueError(f"there is no stochasticity {name!r}; there are {', '.join(STOCHASTICITY)}")
        if not isinstance(keywords, Mapping):
            raise ValueError(f"stochasticity of {name} must be its keywords, got {keywords!r}")
        after = {"after": add_stochasticity(task, keywords["after"])} if "after" in keywords else {}
        try:
            check_options(STOCHASTICITY[name], keywords)
            wrapped = STOCHASTICITY[name](wrapped, **{**keywords, **after})
        except TypeError as error:
            raise ValueError(f"stochasticity of {name}: {error}") from None
    return wrapped


def hides_fields(task: Task[Any, Any]) -> bool:
    """Says whether `HiddenFields` hides some of a task's state from its texts."""
    return _has(task, HiddenFields)


# -- distributions -------------------------------------------------------------------------------------
def _merged(outcomes: Iterable[tuple[float, StateT]]) -> Outcomes[StateT]:
    """Returns a distribution with equal states merged and impossible ones left out."""
    merged: dict[StateT, float] = {}
    for chance, state in outcomes:
        merged[state] = merged.get(state, 0.0) + chance
    # A sum can exceed 1 by rounding; log-probabilities are finite and <= 0.
    return tuple((min(chance, 1.0), state) for state, chance in merged.items() if chance > 0)


def _chance_of(outcomes: Outcomes[StateT], state: StateT) -> float:
    return sum(chance for chance, successor in outcomes if successor == state)


def _sum(*counts: Mapping[str, float]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0.0) + count
    return total


def _expected(causes: Iterable[tuple[float, Mapping[str, float], Mapping[str, float]]]) -> dict[str, float]:
    """Returns the mean of the counts over what can have caused a step, each with its weight."""
    listed = list(causes)
    total = math.fsum(weight for weight, _, _ in listed)
    return _sum(*({n: c * weight / total for n, c in _sum(*counts).items()} for weight, *counts in listed))


def _innermost(task: Task[Any, Any]) -> Task[Any, Any]:
    while isinstance(task, Wrapped):
        task = task.task
    return task


def _has(task: Task[Any, Any], wrapper: type[Wrapped[Any, Any]]) -> bool:
    """Says whether a task is wrapped so, at whatever depth."""
    return isinstance(task, wrapper) or (isinstance(task, Wrapped) and _has(task.task, wrapper))
