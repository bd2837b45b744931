"""Worked examples for prompts, made of solver demonstrations of training problems, for every environment alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gfn_agents.exploration import demonstrations
from gfn_agents.prompts import Example
from gfn_envs.histories import transcript
from gfn_envs.problems import ProblemSet, ProblemSource
from gfn_envs.task import ProblemT, Task
from gfn_envs.trajectory import Step

_DRAWS_PER_EXAMPLE = 100
_DEMONSTRATIONS_DRAWN = 4
"""Of one problem: under chance a demonstration can fail."""


def few_shot(
    task: Task[ProblemT, Any], problems: ProblemSource[ProblemT], count: int, rng: np.random.Generator
) -> tuple[Example, ...]:
    """Returns the decisions along solver demonstrations of distinct training problems, in order.

    Whatever the split of `problems`, only those that belong to the training split are shown.

    Args:
        task: the rules.
        problems: where problems are drawn from.
        count: solved problems to show, each from its start to its end.

    Raises:
        ValueError: there are not so many training problems with a known solution.
    """
    if count < 0:
        raise ValueError(f"the number of worked examples must be at least 0, got {count}")
    shown: dict[str, tuple[Example, ...]] = {}
    tried: set[str] = set()
    for problem in _training_problems(problems, _DRAWS_PER_EXAMPLE * count, rng):
        if problem.canonical in tried:
            continue
        tried.add(problem.canonical)
        solved = [t for t in demonstrations(task, problem, _DEMONSTRATIONS_DRAWN, rng) if t.success]
        if solved:
            shown[problem.canonical] = _decisions(solved[0].steps)
        if len(shown) == count:
            return tuple(example for decisions in shown.values() for example in decisions)
    if count:
        raise ValueError(
            f"only {len(shown)} of {count} worked examples were found among the training problems; ask for fewer"
        )
    return ()


def _training_problems(problems: ProblemSource[ProblemT], draws: int, rng: np.random.Generator) -> Iterator[ProblemT]:
    """Yields so many draws from the training split, and then what they missed of a listed one."""
    if not draws:
        return
    try:
        training = problems.split("train")
        first = training.sample(rng)  # a generated family does not know before that it is empty
    except ValueError as error:
        raise ValueError(f"worked examples need training problems: {error}") from None
    yield first
    for _ in range(draws - 1):
        yield training.sample(rng)
    if isinstance(training, ProblemSet):
        yield from training


def _decisions(steps: Sequence[Step]) -> tuple[Example, ...]:
    """Returns observations and actions, without those that the next observation repeats as its history."""
    later = [step.observation for step in steps[1:]] + [""]
    return tuple(
        (step.observation, step.action)
        for step, after in zip(steps, later, strict=True)
        if not after.startswith(transcript(((step.observation, step.action),), ""))
    )
