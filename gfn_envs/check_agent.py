"""The contract of an agent, executable: `check_agent` tells what an agent of your own gets wrong.

A rule (`gfn_envs.agent_rules`) yields one sentence for each violation, or a `Remark` where there is something to say of
an agent that keeps it; the first of them is shown. What an agent could find by searching the interpreter's memory is
not looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gfn_envs.agent_rules import RULES, Rule
from gfn_envs.agent_subject import Remark, Subject, make_trained, random_decisions, told_error
from gfn_envs.checks import Check
from gfn_envs.making import make_text_env
from gfn_envs.rollout import Agent

DEFAULT_ENVS = ("gfn_envs/NumberLine-v0", "gfn_envs/BlackJack-v0")


def check_agent(
    make_agent: Callable[[], Agent],
    env_ids: Sequence[str] = DEFAULT_ENVS,
    env_kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    decisions: int = 256,
) -> list[Check]:
    """Returns one `Check` for each rule of the contract, in a fixed order.

    An agent that trains is trained four times on each environment, with budgets that it can just not
    keep: one batch of its own size, and about three.

    Args:
        make_agent: makes the agent, anew each time; usually its class.
        env_ids: environments made from a `Task`, at least one.
        env_kwargs: keywords of `gym.make` for all of them.
        seed: of random play and of training.
        decisions: so many decisions of random play on each environment, at least 1.

    Raises:
        ValueError: there is no environment or no decision to check on.
    """
    if not env_ids or decisions < 1:
        raise ValueError("check_agent needs at least one environment and one decision")
    try:
        subjects = [_subject(make_agent, env_id, env_kwargs or {}, seed, decisions) for env_id in env_ids]
    except _AgentError as error:
        return [Check("can be made and trained", False, str(error))]
    checks = [Check("can be made and trained", True)]
    for name, rule in RULES.items():
        said = list(_said(rule, subjects))
        wrong = [one for one in said if not isinstance(one, Remark)]
        checks.append(Check(name, not wrong, next(iter(wrong or said), "")))
    return checks


class _AgentError(Exception):
    """What the agent raised when it was made or trained."""


def _subject(
    make_agent: Callable[[], Agent], env_id: str, env_kwargs: Mapping[str, Any], seed: int, count: int
) -> Subject:
    env = make_text_env(env_id, {**env_kwargs})
    task = env.task.memoryless()
    decisions = random_decisions(task, env, np.random.default_rng(seed), count)
    try:
        agent = make_trained(make_agent, env_id, env_kwargs, 1, seed)
    except Exception as error:  # whatever a third-party agent raises is its finding
        raise _AgentError(f"'{env_id}': {told_error(error)}") from None
    return Subject(env_id, env_kwargs, seed, task, decisions, make_agent, agent)


def _said(rule: Rule, subjects: Iterable[Subject]) -> Iterator[str]:
    for subject in subjects:
        try:
            for said in rule(subject):
                yield type(said)(f"'{subject.env_id}': {said}")
        except Exception as error:  # as above
            yield f"'{subject.env_id}': {told_error(error)}"
