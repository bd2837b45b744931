"""Local search: cut a trajectory, grow the rest of it anew with an agent, keep the better one.

Local Search GFlowNets (Kim et al. 2023, arXiv 2310.02710) go back from an end with the backward
policy and forward again with the forward policy, so that training sees more of what is near good
objects. Here the way back is the trajectory's own; all suffixes are played in step, so that an agent
acts on batches. States contain all that their rules need, so a cut is played again by the rules alone.

`greedy_search` is an optimiser, and what it keeps is biased to high rewards. `metropolis` is a
sampler: its chain leaves the target over complete trajectories, R(x)^beta P_B(tau | x) / Z,
unchanged. Both change which trajectories are trained on and nothing else, so they belong with
objectives that are right off policy; with `rounds=0` they are switched off.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gfn_envs.rollout import Agent, ProbabilisticAgent, rollout
from gfn_envs.streams import Streams, side_by_side, streams_of
from gfn_envs.task import Problem, ProblemT, StateT, Task
from gfn_envs.trajectory import Trajectory
from gfn_envs.wrapped import Wrapped


@dataclass(frozen=True, slots=True)
class Search:
    """What a local search made.

    Attributes:
        kept: one trajectory for each that came in: the same object, or what took its place.
        proposed: everything that was played on the way, kept or not.
    """

    kept: list[Trajectory]
    proposed: list[Trajectory]


def greedy_search(
    task: Task[ProblemT, Any],
    problems: Iterable[ProblemT],
    trajectories: Sequence[Trajectory],
    agent: Agent,
    rng: Streams,
    rounds: int = 1,
    max_steps: int | None = None,
) -> Search:
    """Cuts each trajectory at a uniformly drawn step and keeps what grows if its reward is higher.

    Args:
        problems: the trajectories' problems, in any order.
        rounds: how often; each round starts from what the last one kept.
        max_steps: what grows longer breaks off there and is not kept.

    Raises:
        ValueError: the task has chance, a trajectory breaks off, or its problem is missing.
    """
    _check_complete(trajectories)
    known, kept, proposed = list(problems), list(trajectories), []
    for _ in range(rounds):
        grown = regrow(task, known, kept, uniform_cuts(kept, rng), agent, rng, "local_search", max_steps)
        kept = [
            new if new.complete and new.log_reward > old.log_reward else old
            for old, new in zip(kept, grown, strict=True)
        ]
        proposed += grown
    return Search(kept, proposed)


def metropolis(
    task: Task[ProblemT, Any],
    problems: Iterable[ProblemT],
    trajectories: Sequence[Trajectory],
    agent: ProbabilisticAgent,
    rng: Streams,
    beta: float = 1.0,
    rounds: int = 1,
    max_steps: int | None = None,
) -> Search:
    """Moves each trajectory `rounds` steps of a Markov chain that leaves the target unchanged.

    A step cuts at a uniformly drawn step, lets the agent grow a new suffix and takes it with the
    probability of `log_acceptance` (Metropolis and Hastings). From any start the chain converges to
    the target if the agent gives every legal action a positive probability.

    Args:
        problems: the trajectories' problems, in any order.
        agent: acts with exactly its `action_probabilities`, which must not change meanwhile.
        beta: the target is R(x)^beta P_B(tau | x) / Z, with P_B as recorded in the steps.
        max_steps: what grows longer breaks off there and is not taken: the target is that of the shorter ones.

    Raises:
        ValueError: the task has chance, a trajectory breaks off, or its problem is missing.
    """
    _check_complete(trajectories)
    known, kept, proposed = list(problems), list(trajectories), []
    for _ in range(rounds):
        cuts = uniform_cuts(kept, rng)
        grown = regrow(task, known, kept, cuts, agent, rng, "metropolis", max_steps)
        log_q = suffix_log_probs(agent, kept + grown, cuts + cuts)
        # 1 - u is in (0, 1], so its logarithm is finite.
        thresholds = np.log1p(-_draws(kept, rng))
        kept = [
            new if new.complete and threshold <= log_acceptance(old, new, cut, log_q_old, log_q_new, beta) else old
            for old, new, cut, log_q_old, log_q_new, threshold in zip(
                kept, grown, cuts, log_q[: len(grown)], log_q[len(grown) :], thresholds, strict=True
            )
        ]
        proposed += grown
    return Search(kept, proposed)


def _check_complete(trajectories: Sequence[Trajectory]) -> None:
    for trajectory in trajectories:
        if not trajectory.complete:
            raise ValueError(
                f"local search compares finished trajectories, and one of '{trajectory.problem_id}' breaks off "
                f"after {len(trajectory.steps)} steps; leave it out"
            )


def log_acceptance(
    old: Trajectory, new: Trajectory, cut: int, log_q_old: float, log_q_new: float, beta: float = 1.0
) -> float:
    """Returns the log of the probability with which `new`, grown from step `cut` of `old`, takes its place.

    For trajectories of T and T' steps with suffixes from the same cut t, drawn with probability 1 / T,

        A = min(1, R'^beta P_B(suffix') / (R^beta P_B(suffix)) * (T / T') * q(suffix) / q(suffix'))

    P_B and q of the common prefix cancel. The way back uses the same t and has probability 1 / T', hence
    T / T'. Detailed balance holds for every t by itself, so it holds for their mixture.

    Args:
        log_q_old: log-probability with which the agent grows old's suffix.
        log_q_new: the same of new's suffix.
    """
    log_target = _log_target(new, cut, beta) - _log_target(old, cut, beta)
    log_lengths = math.log(len(old.steps)) - math.log(len(new.steps))
    return min(0.0, log_target + log_lengths + log_q_old - log_q_new)


def _log_target(trajectory: Trajectory, cut: int, beta: float) -> float:
    return beta * trajectory.log_reward + sum(step.log_pb for step in trajectory.steps[cut:])


def suffix_log_probs(agent: ProbabilisticAgent, trajectories: Sequence[Trajectory], cuts: Sequence[int]) -> list[float]:
    """Returns the log-probability that the agent plays each trajectory's steps from its cut on.

    Equal prompts are asked once, all of them in one batch.
    """
    suffixes = [
        [(step.observation, step.admissible_actions, step.action) for step in trajectory.steps[cut:]]
        for trajectory, cut in zip(trajectories, cuts, strict=True)
    ]
    asked = list(dict.fromkeys((text, legal) for suffix in suffixes for text, legal, _ in suffix))
    answers = agent.action_probabilities([text for text, _ in asked], [legal for _, legal in asked])
    with np.errstate(divide="ignore"):
        known = {
            (text, legal, action): log_prob
            for (text, legal), answer in zip(asked, answers, strict=True)
            for action, log_prob in zip(legal, np.log(answer), strict=True)
        }
    return [float(sum(known[choice] for choice in suffix)) for suffix in suffixes]


def uniform_cuts(trajectories: Sequence[Trajectory], rng: Streams) -> list[int]:
    """Returns for each trajectory one of its steps, all equally likely: 0 plays it anew from the start."""
    draws = _draws(trajectories, rng).tolist()
    return [int(draw * len(trajectory.steps)) for trajectory, draw in zip(trajectories, draws, strict=True)]


def _draws(trajectories: Sequence[Trajectory], rng: Streams) -> np.ndarray:
    """Returns a number from 0 to 1 for each trajectory, from the stream of its problem, shape (N,)."""
    streams = streams_of(rng, [trajectory.problem_id for trajectory in trajectories])
    return side_by_side(streams).random(len(trajectories))


def regrow(
    task: Task[ProblemT, Any],
    problems: Iterable[ProblemT],
    trajectories: Sequence[Trajectory],
    cuts: Sequence[int],
    agent: Agent,
    rng: Streams,
    source: str,
    max_steps: int | None = None,
) -> list[Trajectory]:
    """Returns each trajectory with its steps from `cut` on played anew by the agent, all of them in step.

    Args:
        problems: the trajectories' problems, in any order.
        cuts: for each trajectory the number of steps that stay, less than it has.
        source: recorded in what is returned.
        max_steps: what is longer, its steps up to the cut counted, breaks off there.

    Raises:
        ValueError: the task has chance, or a trajectory's problem is missing.
    """
    if not task.deterministic:
        raise ValueError(
            f"cutting trajectories needs a task without chance, and '{task.name}' has chance: what was drawn "
            "would have to be drawn again; switch local search and branching off"
        )
    known = {problem.id: problem for problem in problems}
    starts = []
    for trajectory, cut in zip(trajectories, cuts, strict=True):
        if trajectory.problem_id not in known:
            raise ValueError(f"'{trajectory.problem_id}' is not among the problems {sorted(known)}; pass it too")
        state = task.reset(known[trajectory.problem_id])
        for step in trajectory.steps[:cut]:
            state = task.step(state, step.action)
        starts.append(_Start(trajectory.problem_id, state))
    limits = None if max_steps is None else [max_steps - cut for cut in cuts]
    suffixes = rollout(_Resumed(task), agent, starts, rng, source, limits)
    return [
        replace(suffix, steps=old.steps[:cut] + suffix.steps)
        for old, cut, suffix in zip(trajectories, cuts, suffixes, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Start(Problem):
    """A state within an episode, as the start of the rest of it."""

    problem_id: str
    state: Any

    @property
    def id(self) -> str:
        return self.problem_id


class _Resumed(Wrapped[Any, StateT]):
    """The inner task, whose episodes begin where a `_Start` says."""

    def reset(self, problem: _Start) -> StateT:
        state: StateT = problem.state
        return state
