"""Families of problems: explicit weights, splits by canonical problem, files.

A family is either listed (`ProblemSet`) or too large to list (`GeneratedProblems`). Both can be
sampled and split. The split of a problem is decided by the hash of its canonical name and by
nothing else, so it is the same in every version, process and family, and no seed can leak a test
problem into training.
"""

from __future__ import annotations

import json
import math
import os
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from gfn_envs.files import write_json_lines
from gfn_envs.hints import did_you_mean
from gfn_envs.task import Problem, ProblemT, Task

SPLITS = ("train", "validation", "test", "all")
_REJECTION_LIMIT = 100_000
_LONGEST_MESSAGE = 400
_LEAST_WEIGHT = 1e-100
"""Of a problem in a file, and one over the greatest, so that no share of a sum of weights is rounded to 0."""
ProblemCoT = TypeVar("ProblemCoT", bound=Problem, covariant=True)


def split_of(problem: Problem) -> str:
    """Returns 'train' (80 %), 'validation' (10 %) or 'test' (10 %), decided by the hash alone."""
    return {0: "test", 1: "validation"}.get(int(problem.content_hash[:8], 16) % 10, "train")


def check_split(split: str) -> None:
    """Raises ValueError if there is no such split."""
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; splits are {', '.join(SPLITS)}")


def no_such_problem(problem_id: str, ids: Collection[str]) -> ValueError:
    """Returns the error of an id that is not among the ids of a set."""
    hint = did_you_mean(problem_id, ids)
    return ValueError(f"there is no problem {problem_id!r} among the {len(ids)} of this environment{hint}")


class ProblemSource(Protocol[ProblemCoT]):
    """What an environment needs of a family: draw a problem, narrow to a split."""

    def sample(self, rng: np.random.Generator) -> ProblemCoT:
        """Draws one problem by the family's weights."""
        ...

    def split(self, name: str) -> ProblemSource[ProblemCoT]:
        """Returns the part of the family that is in one split."""
        ...

    def take(self, count: int, rng: np.random.Generator) -> ProblemSet[Any]:
        """Returns a listed set of at most `count` distinct problems, for analysis."""
        ...

    def find(self, problem_id: str) -> ProblemCoT:
        """Returns the problem of an id; raises ValueError if there is none, or no list to find it in."""
        ...


def is_source(problems: Any) -> bool:
    """Says whether problems can be drawn from, as from a `ProblemSource`."""
    return hasattr(problems, "sample") and hasattr(problems, "split")


@dataclass(frozen=True)
class ProblemSet(Generic[ProblemT]):
    """A listed family.

    Args:
        problems: distinct problems, at least one.
        weights: one positive weight a problem; any scale. Default: all equal.
    """

    problems: tuple[ProblemT, ...]
    weights: tuple[float, ...] = ()
    _cumulative: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.problems:
            raise ValueError("a problem set needs at least one problem, got none")
        weights = self.weights or (1.0,) * len(self.problems)
        total = sum(weights)
        if len(weights) != len(self.problems) or not all(weight > 0 for weight in weights) or not total < math.inf:
            raise ValueError("a problem set needs one positive weight a problem, with a finite sum")
        object.__setattr__(self, "weights", tuple(w / total for w in weights))
        object.__setattr__(self, "_cumulative", tuple(accumulate(self.weights)))

    def __len__(self) -> int:
        return len(self.problems)

    def __iter__(self) -> Iterator[ProblemT]:
        return iter(self.problems)

    def to_json(self) -> list[dict[str, Any]]:
        """Returns the fields of all problems with their weights, which `gym.make` takes as `problems`."""
        return [{**one.to_json(), "weight": weight} for one, weight in zip(self.problems, self.weights, strict=True)]

    def sample(self, rng: np.random.Generator) -> ProblemT:
        """Draws one problem by the weights."""
        return self.problems[bisect_right(self._cumulative, rng.random(), hi=len(self.problems) - 1)]

    def find(self, problem_id: str) -> ProblemT:
        """Returns the problem of an id; raises ValueError that names the nearest one if there is none."""
        by_id = {problem.id: problem for problem in self.problems}
        if problem_id not in by_id:
            raise no_such_problem(problem_id, by_id)
        return by_id[problem_id]

    def split(self, name: str) -> ProblemSet[ProblemT]:
        """Returns the problems of one split, their weights renormalised.

        Raises:
            ValueError: no such split, or no problem is in it.
        """
        check_split(name)
        if name == "all":
            return self
        kept = [pair for pair in zip(self.problems, self.weights, strict=True) if split_of(pair[0]) == name]
        if not kept:
            raise ValueError(f"none of the {len(self)} problems is in the split {name!r}; use split='all'")
        return ProblemSet(tuple(p for p, _ in kept), tuple(w for _, w in kept))

    def take(self, count: int, rng: np.random.Generator) -> ProblemSet[ProblemT]:
        """Returns `count` problems drawn uniformly without replacement, in the set's order."""
        if count >= len(self):
            return self
        chosen = sorted(rng.choice(len(self), size=count, replace=False))
        return ProblemSet(tuple(self.problems[i] for i in chosen), tuple(self.weights[i] for i in chosen))


@dataclass(frozen=True)
class GeneratedProblems(Generic[ProblemT]):
    """A family too large to list: a generator, and conditions that a drawn problem must meet.

    Args:
        generate: draws one problem; the family's weights are the probabilities of this draw.
        accept: conditions; a draw that fails one is drawn again.
        remedy: what helps where nearly every draw fails one.
    """

    generate: Callable[[np.random.Generator], ProblemT]
    accept: tuple[Callable[[ProblemT], bool], ...] = ()
    remedy: str = "loosen the options"

    def sample(self, rng: np.random.Generator) -> ProblemT:
        """Draws one problem.

        Raises:
            ValueError: the conditions reject everything.
        """
        for _ in range(_REJECTION_LIMIT):
            problem = self.generate(rng)
            if all(condition(problem) for condition in self.accept):
                return problem
        raise ValueError(f"no problem met the conditions in {_REJECTION_LIMIT} draws; {self.remedy}")

    def split(self, name: str) -> GeneratedProblems[ProblemT]:
        """Returns the part of the family that is in one split."""
        check_split(name)
        if name == "all":
            return self
        return replace(self, accept=(*self.accept, lambda problem: split_of(problem) == name))

    def find(self, problem_id: str) -> ProblemT:
        """Raises ValueError: there is no list."""
        raise ValueError(
            "this family is too large to look up an id; give the problem itself, in a file or as "
            "reset(options={'problem': {...}})"
        )

    def take(self, count: int, rng: np.random.Generator) -> ProblemSet[ProblemT]:
        """Returns up to `count` distinct problems in the order drawn, all of the same weight."""
        drawn = {problem.id: problem for problem in (self.sample(rng) for _ in range(count))}
        return ProblemSet(tuple(drawn.values()))


def load_problems(task: Task[ProblemT, Any], path: str | os.PathLike[str]) -> ProblemSet[ProblemT]:
    """Reads problems from JSON Lines or from the task's published file format.

    Repeated problems are kept once. A JSON line may carry a `"weight"`.

    Raises:
        ValueError: the file is missing, empty or has a wrong line; the message names the line.
    """
    file = Path(path)
    if not os.path.isfile(file):  # unlike Path.is_file, False also for names that no file can have
        raise ValueError(_one_line(f"there is no problem file '{path}'"))
    try:
        weighted = _read_json_lines(task, file) if file.suffix == ".jsonl" else _unit_weights(task.load_problems(file))
    except UnicodeDecodeError:
        raise ValueError(f"'{path}' is not a text file in UTF-8") from None
    except ValueError as error:
        raise ValueError(_one_line(str(error))) from None
    distinct = {problem.id: (problem, weight) for problem, weight in weighted}
    if not distinct:
        raise ValueError(f"'{path}' has no problems")
    problems, weights = zip(*distinct.values(), strict=True)
    return ProblemSet(problems, weights)


def weighted_problem(task: Task[ProblemT, Any], data: Mapping[str, Any]) -> tuple[ProblemT, float]:
    """Returns a problem and its weight from JSON fields, among which a `"weight"` may be; without one it is 1.

    Raises:
        ValueError: a field is missing, unknown or out of range.
    """
    fields = dict(data)
    weight = fields.pop("weight", 1)
    if type(weight) not in (int, float) or not _LEAST_WEIGHT <= weight <= 1 / _LEAST_WEIGHT:
        raise ValueError(f"the weight must be a positive number from 1e-100 to 1e100, got {weight!r}")
    return task.problem_from_json(fields), float(weight)


def checked_problem(task: Task[ProblemT, Any], problem: Any) -> ProblemT:
    """Returns a problem if it is one of the task's and fits its options.

    Raises:
        ValueError: it is not, or does not.
    """
    if not isinstance(problem, task.problem_type):
        wanted = task.problem_type.__name__
        raise ValueError(f"problems of {task.name} are {wanted} or their JSON fields, got {str(problem)[:40]!r}")
    task.check_problem(problem)
    return problem  # type: ignore[no-any-return]  # it is of the task's type


def save_problems(problems: Iterable[Problem], path: str | os.PathLike[str]) -> None:
    """Writes problems as JSON Lines, whole or not at all; those of a set with their weights where these differ."""
    if isinstance(problems, ProblemSet) and len(set(problems.weights)) > 1:
        write_json_lines(path, problems.to_json())
    else:
        write_json_lines(path, (problem.to_json() for problem in problems))


def _one_line(message: str) -> str:
    """Returns a message as one line of bounded length, because it may quote a hostile file."""
    shown = "".join(c if c.isprintable() else " " for c in message[: _LONGEST_MESSAGE + 1])
    return shown if len(shown) <= _LONGEST_MESSAGE else f"{shown[:_LONGEST_MESSAGE]}..."


def _unit_weights(problems: Sequence[ProblemT]) -> list[tuple[ProblemT, float]]:
    return [(problem, 1.0) for problem in problems]


def _read_json_lines(task: Task[ProblemT, Any], file: Path) -> list[tuple[ProblemT, float]]:
    weighted = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            if not isinstance(data, dict):
                raise ValueError("not a JSON object")
            weighted.append(weighted_problem(task, data))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"'{file}' line {number}: {error}") from None
    return weighted
