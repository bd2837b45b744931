"""What the rules for agents look at: decisions of random play, and the agent, made, trained and asked."""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gfn_envs.agents import Budget, TrainableAgent, check_can_be_kept
from gfn_envs.env import TextEnv
from gfn_envs.rollout import Agent, ProbabilisticAgent, draw_outcome
from gfn_envs.task import Task

BATCH = 64
_PROBLEMS = 32


class Decision(NamedTuple):
    """A state in which an agent has to act, and what it sees of it."""

    state: Any
    observation: str
    actions: tuple[str, ...]


class Remark(str):
    """What a rule has to say of an agent that keeps it, or why it was not checked."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """What the rules look at."""

    env_id: str
    env_kwargs: Mapping[str, Any]
    seed: int
    task: Task[Any, Any]
    decisions: tuple[Decision, ...]
    make_agent: Callable[[], Agent]
    agent: Agent

    @property
    def batch(self) -> tuple[Decision, ...]:
        """Decisions for one call, repeated if there are few."""
        return tuple(self.decisions[i % len(self.decisions)] for i in range(BATCH))

    def trained(self, environment_steps: int = 1) -> Agent:
        """Returns a new agent, trained within a budget if it trains."""
        return make_trained(self.make_agent, self.env_id, self.env_kwargs, environment_steps, self.seed)


def random_decisions(
    task: Task[Any, Any], env: TextEnv[Any, Any], rng: np.random.Generator, count: int
) -> tuple[Decision, ...]:
    """Returns the first decisions of uniformly random play."""
    problems, found = list(env.problems.take(_PROBLEMS, rng)), list[Decision]()
    while len(found) < count:
        state = task.reset(problems[int(rng.integers(len(problems)))])
        while actions := task.actions(state):
            found.append(Decision(state, task.observe(state), actions))
            state = draw_outcome(task, state, actions[int(rng.integers(len(actions)))], rng)
    return tuple(found[:count])


def make_trained(
    make_agent: Callable[[], Agent], env_id: str, env_kwargs: Mapping[str, Any], environment_steps: int, seed: int
) -> Agent:
    """Returns a new agent, trained within a budget if it trains; raises TypeError if it is no agent."""
    agent = make_agent()
    if not isinstance(agent, Agent):
        raise TypeError(f"{type(agent).__name__} has no method act")
    if isinstance(agent, TrainableAgent) and not why_not_trained(agent):
        agent.learn(env_id, Budget(environment_steps=environment_steps), seed, {**env_kwargs})
    return agent


def why_not_trained(agent: Agent) -> str | None:
    """Returns why `learn` is not called, None where it can be; a remark where that is nobody's mistake."""
    if not isinstance(agent, TrainableAgent):
        try:
            check_can_be_kept(agent)
        except ValueError as error:
            return str(error)
        return Remark("not checked: the agent has no learn")
    names = list(inspect.signature(agent.learn).parameters)
    if names[:3] == ["env_id", "budget", "seed"]:
        return None
    return Remark(f"not checked: learn takes ({', '.join(names)}) and not (env_id, budget, seed, env_kwargs)")


def ask(agent: Agent, decisions: Sequence[Decision], seed: int = 0) -> list[str]:
    """Asks with new copies of the texts, so that nothing can be known by who made a string."""
    observations = [_copy(decision.observation) for decision in decisions]
    actions = [tuple(map(_copy, decision.actions)) for decision in decisions]
    return agent.act(observations, actions, np.random.default_rng(seed))


def ask_probabilities(agent: ProbabilisticAgent, decisions: Sequence[Decision]) -> list[np.ndarray]:
    """Returns what an agent says of its probabilities, one array for each decision."""
    told = agent.action_probabilities([d.observation for d in decisions], [d.actions for d in decisions])
    return [np.asarray(row, dtype=float) for row in told]


def _copy(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seeds the generators that everybody shares, and puts their states back."""
    torch = sys.modules.get("torch")  # an agent without torch does not need it here either
    states = random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if torch:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        if torch:
            torch.set_rng_state(states[2])


def told_error(error: Exception) -> str:
    """Returns an error as one line of text."""
    return " ".join(f"{type(error).__name__}: {error}".split())
