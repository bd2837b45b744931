"""States that the embedded policy learns from, each with the probabilities that it should have there.

Where the states of a problem can be listed they are those that the exact sampler visits, with its probabilities.
ALFWorld has too many; there they are states of play that strays from a searching player's, with what that player does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

from gfn_envs.exact import enumerate_states
from gfn_envs.problems import GeneratedProblems, ProblemSource
from gfn_envs.task import Task
from gfn_envs.tasks.alfworld.generator import generate
from gfn_envs.tasks.alfworld.household import TREATMENTS
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem, kind_of
from gfn_envs.tasks.alfworld.searcher import informed_commands, search_policy
from gfn_envs.tasks.alfworld.task import ALFWorld, ALFWorldState
from gfn_envs.tasks.blackjack import BlackJack
from gfn_envs.tasks.blocksworld import BlocksWorld
from gfn_envs.tasks.game24 import Game24
from gfn_envs.tasks.numberline import NumberLine
from gfn_envs.tasks.prontoqa import ANSWERS, PrOntoQA

FAMILIES: dict[str, tuple[Task[Any, Any], ...]] = {
    "Game24": (Game24(),),
    "NumberLine": (NumberLine(),),
    "BlocksWorld": tuple(BlocksWorld(length=length) for length in (2, 4, 4, 4, 6, 6, 6, 6)),
    "PrOntoQA": (
        *(PrOntoQA(hops=hops) for hops in (1, 2, 3, 4, 5, 5)),
        *(PrOntoQA(hops=hops, slack=0) for hops in (2, 4)),
        PrOntoQA(hops=2, applicable_only=True),
        PrOntoQA(hops=3, ontology="true"),
        *(PrOntoQA(hops=hops, slack=0, ontology="true") for hops in (3, 4, 5)),
    ),
    "PrOntoQA with one rule": (
        PrOntoQA(hops=1, slack=0, negation=False),
        *(PrOntoQA(hops=1, slack=0, distractors=distractors) for distractors in (7, 7, 4)),
    ),
    "PrOntoQA answers": (
        *(PrOntoQA(hops=hops, slack=slack) for hops in (1, 2, 3, 4, 5, 5) for slack in (0, 1, 2, 2, 3)),
        *(PrOntoQA(hops=hops, distractors=4) for hops in (3, 4, 5)),
        *(PrOntoQA(hops=hops, slack=slack, ontology="true") for hops in (3, 5) for slack in (0, 1, 2)),
    ),
    "BlackJack": tuple(BlackJack(**options) for options in BlackJack.difficulties.values()),
    "ALFWorld": (ALFWorld().memoryless(),),
    "ALFWorld in small rooms": (ALFWorld().memoryless(),),
}
"""The tasks of each name, drawn alike."""
_KEPT_PROBLEMS = 2000
_SEARCHED_STATES = 4
"""States of one ALFWorld problem in a step: they are the longest."""
_KEPT_SEARCHES, _STRAIGHT = 0.1, 0.8
"""In small rooms the share of states with something to look for that is learned from, and of walks straight to it."""


@dataclass(frozen=True)
class Example:
    """A state's texts and the exact sampler's probabilities of its actions."""

    observation: str
    actions: tuple[str, ...]
    probabilities: np.ndarray


@lru_cache(maxsize=_KEPT_PROBLEMS)
def examples_of(task: Task[Any, Any], problem: Any) -> tuple[list[Example], np.ndarray]:
    """Returns the states that the exact sampler visits, the start first, and how often it does."""
    graph = enumerate_states(task, problem)
    policy = graph.target_policy()
    visits = np.zeros(len(graph.states))
    visits[0] = 1.0
    for index, edges in enumerate(graph.edges):
        for probability, outcomes in zip(policy[index], edges, strict=True):
            for chance, child in outcomes:
                visits[child] += visits[index] * probability * chance
    found: dict[tuple[str, tuple[str, ...]], list[Any]] = {}
    for index in map(int, np.flatnonzero(visits > 1e-3)):
        if graph.actions[index]:
            entry = found.setdefault((task.observe(graph.states[index]), graph.actions[index]), [policy[index], 0.0])
            entry[1] += visits[index]
    examples = [Example(observation, actions, entry[0]) for (observation, actions), entry in found.items()]
    return examples, np.array([entry[1] for entry in found.values()])


def searching_examples(task: ALFWorld, problem: Any, count: int, rng: np.random.Generator) -> list[Example]:
    """Returns up to `count` states of play that strays from a searching player's, seldom or nearly always."""
    state, found, strays = task.reset(problem), [], rng.random() ** 2
    while wise := search_policy(task, state):
        found.append(_searched(task, state, wise))
        state = task.step(state, _strayed(found[-1], strays, rng))
    return _some(found, min(count, _SEARCHED_STATES), rng)


def small_room_examples(task: ALFWorld, problem: Any, count: int, rng: np.random.Generator) -> list[Example]:
    """Returns up to `count` states of the game in a part of its room, nearly all with nothing to look for.

    What is to be taken and where it is to be brought is then a matter of reading the task, and texts are short.
    """
    problem = small_room(problem, int(rng.integers(1, 7)), rng)
    state, found, strays = task.reset(problem), [], 0.25 * rng.random() ** 2
    while wise := search_policy(task, state):
        example = _searched(task, state, wise)
        known = bool(informed_commands(state))
        if known or rng.random() < _KEPT_SEARCHES:
            found.append(example)
        if not known and rng.random() < _STRAIGHT:
            example = _searched(task, state, search_policy(task, state, luck=1.0))
        state = task.step(state, _strayed(example, strays, rng))
    return _some(found, count, rng)


def small_room(problem: ALFWorldProblem, others: int, rng: np.random.Generator) -> ALFWorldProblem:
    """Returns a game in a part of its room: the receptacles that its goal needs, and so many others."""
    kinds = [kind_of(receptacle.name) for receptacle in problem.receptacles]
    treatment = TREATMENTS.get(problem.task_type.split("_")[1])  # "clean" of pick_clean_then_place_in_recep
    wanted = [thing for thing in problem.things if kind_of(thing.name) in (problem.target, problem.place)]
    kept = {number for thing in wanted for number in thing.inside}
    kept |= {number for number, kind in enumerate(kinds) if kind == treatment}
    if places := [number for number, kind in enumerate(kinds) if kind == problem.place]:  # not of a lamp
        kept.add(places[rng.integers(len(places))])
    kept |= set(map(int, rng.permutation([number for number in range(len(kinds)) if number not in kept])[:others]))
    numbers = {old: new for new, old in enumerate(sorted(kept))}
    poses = {pose: new for new, pose in enumerate(dict.fromkeys(problem.receptacles[old].pose for old in numbers))}
    smaller = replace(
        problem,
        receptacles=tuple(row._replace(pose=poses[row.pose]) for row in map(problem.receptacles.__getitem__, numbers)),
        things=tuple(
            thing._replace(
                inside=tuple(numbers[n] for n in thing.inside if n in numbers), near=poses.get(thing.near, -1)
            )
            for thing in problem.things
            if set(thing.inside) & set(numbers)
        ),
        walkthrough=(),
    )
    return replace(smaller, game=f"{problem.game}/{smaller.content_hash[:16]}")


def _searched(task: ALFWorld, state: ALFWorldState, wise: dict[str, float]) -> Example:
    actions = task.actions(state)
    return Example(task.observe(state), actions, np.array([wise.get(action, 0.0) for action in actions]))


def _strayed(example: Example, strays: float, rng: np.random.Generator) -> str:
    """Returns an action as the example has it, or with the probability `strays` any."""
    return str(rng.choice(example.actions, p=None if rng.random() < strays else example.probabilities))


def _some(examples: list[Example], count: int, rng: np.random.Generator) -> list[Example]:
    return [examples[i] for i in rng.choice(len(examples), size=min(count, len(examples)), replace=False)]


def answer_examples(task: PrOntoQA, problem: Any, count: int, rng: np.random.Generator) -> list[Example]:
    """Returns up to `count` states in which a proof is complete and the time is wasted but for the answer."""
    start, solution = task.reset(problem), task.solve(problem)[0]
    rules = [action for action in task.actions(start) if action not in ANSWERS]
    proof = sorted((rule for rule in rules if rule in solution), key=solution.index)
    others = [rule for rule in rules if rule not in proof]
    answer = next(answer for answer in ANSWERS if solution.endswith(answer))
    found = []
    for _ in range(count):
        state, left = start, list(proof)
        for waste in rng.permutation([False] * len(proof) + [True] * task.slack):
            if not waste:
                state = task.step(state, left.pop(0))
                continue
            idle = [r for r in others if r in task.actions(state) and task.step(state, r).applied == state.applied]
            if idle:
                state = task.step(state, idle[rng.integers(len(idle))])
        actions = task.actions(state)
        if all(not task.actions(task.step(state, action)) for action in actions):  # else nothing was left to waste
            right = np.array([float(action == answer) for action in actions])
            found.append(Example(task.observe(state), actions, right))
    return found


def visited_examples(task: Task[Any, Any], problem: Any, count: int, rng: np.random.Generator) -> list[Example]:
    """Returns the start and `count` later states, drawn by how often the exact sampler visits them."""
    examples, visits = examples_of(task, problem)
    later = visits[1:] / max(visits[1:].sum(), 1e-9)
    chosen = rng.choice(len(later), size=min(count, len(later)), replace=False, p=later) if len(later) else []
    return [examples[0], *(examples[1 + int(i)] for i in chosen)]


_DRAW: dict[str, Callable[..., list[Example]]] = {
    "ALFWorld": searching_examples,
    "ALFWorld in small rooms": small_room_examples,
    "PrOntoQA answers": answer_examples,
}
"""How the states of a problem are drawn, where not by the exact sampler's visits."""


class Batches(IterableDataset[dict[str, tuple[Example, str]]]):
    """Examples of training problems without end, by observation, each with the name of its environment."""

    def __init__(self, shares: dict[str, float], problems: int, later_states: int, seed: int) -> None:
        self.names, self.shares = list(shares), np.array(list(shares.values())) / sum(shares.values())
        self.sources = {name: [(task, training_problems(task)) for task in FAMILIES[name]] for name in shares}
        self.problems, self.later_states, self.seed = problems, later_states, seed

    def __iter__(self) -> Iterator[dict[str, tuple[Example, str]]]:
        rng = np.random.default_rng(self.seed)
        while True:
            examples: dict[str, tuple[Example, str]] = {}
            for name in rng.choice(self.names, size=self.problems, p=self.shares):
                task, source = self.sources[name][rng.integers(len(self.sources[name]))]
                draw = _DRAW.get(str(name), visited_examples)
                for example in draw(task, source.sample(rng), self.later_states, rng):
                    examples[example.observation] = example, str(name)
            yield examples


def training_problems(task: Task[Any, Any]) -> ProblemSource[Any]:
    """Returns the training split; of ALFWorld that of all games that can be drawn, not only of the shipped ones."""
    family = GeneratedProblems(generate) if isinstance(task, ALFWorld) else task.problems()
    return family.split("train")
