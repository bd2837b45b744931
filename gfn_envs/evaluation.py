"""Evaluation of one agent on a family of problems: what it does, beside chance, exact sampler and optimum.

`evaluate_agent` plays, and yields everything that is known of one problem after the other;
`gfn_envs.evaluation_results` averages and keeps it. A score is named as in `gfn_envs.metrics`;
`chance_NAME` is what uniform legal play has of it, `target_NAME` what the exact sampler of the target
has, and `optimum_NAME` the most that anyone can have. Plain `chance` and `optimum` are of success.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfn_envs.exact import EnumerationLimit, analyse_graph, enumerate_states
from gfn_envs.files import number_from_json
from gfn_envs.greedy import (
    DeterministicAgent,
    GreedyAgent,
    PredictingAgent,
    greedy_policy,
    greedy_success,
    most_probable,
)
from gfn_envs.metrics import (
    PUBLISHED_SAMPLES,
    Scores,
    end_means,
    exact_scores,
    expected_sampled_distance,
    importance_bounds,
    jensen_shannon,
    normalised_score,
    sampled_distance,
    sampled_scores,
    spearman,
    total_variation,
)
from gfn_envs.problems import ProblemSet
from gfn_envs.rollout import Agent, ProbabilisticAgent, rollout, tells_probabilities, told_probabilities
from gfn_envs.simulation import analyse_plays, random_plays
from gfn_envs.state_graph import StateGraph
from gfn_envs.task import Problem, Task
from gfn_envs.trajectory import Trajectory

_LEAVE_EXACT_OUT = "leave exact out (--exact, or exact: true of a suite)"
SIMULATED_PLAYS = 300
"""Random plays that give the chance of a problem with too many states to list."""
_PROBLEMS_PER_ROLLOUT = 8
"""Problems played side by side: enough to share prefixes, few enough for a live bar."""
_WITH_YARDSTICKS = (
    "pass_at_k",
    "accuracy",
    "pass_at_16",
    "distinct_solutions",
    "distinct_at_16",
    "coverage",
    "solution_entropy",
    "sampled_distance",
    "total_variation",
    "jensen_shannon",
    "spearman",
)


@dataclass(frozen=True, slots=True)
class ProblemEvaluation:
    """What is known of one agent on one problem.

    Attributes:
        weight: of the problem in its family.
        scores: the agent's scores and their yardsticks by name, NaN where one is unknown.
        solutions: by name of a solution its share of the samples ("sampled"), and where the states can be listed its
            probability under the exact sampler ("target"), under uniform play ("chance") and, if it was asked for,
            under the agent ("agent"). Listed problems have all solutions, others those that were found.
        trajectories: the samples.
    """

    problem_id: str
    kind: str
    weight: float
    scores: dict[str, float]
    solutions: dict[str, dict[str, float]]
    trajectories: tuple[Trajectory, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the trajectories as JSON values, the scores side by side."""
        named = {"problem_id": self.problem_id, "kind": self.kind, "weight": self.weight}
        return {**named, **self.scores, "solutions": self.solutions}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProblemEvaluation:
        """Returns the evaluation that `to_json` wrote, without its trajectories; null is NaN."""
        names = ("problem_id", "kind", "weight", "solutions")
        scores = {name: number_from_json(value) for name, value in data.items() if name not in names}
        solutions = {
            name: {player: number_from_json(share) for player, share in shares.items()}
            for name, shares in data["solutions"].items()
        }
        return cls(str(data["problem_id"]), str(data["kind"]), float(data["weight"]), scores, solutions, ())


# -- one problem after the other -------------------------------------------------------------------
def evaluate_agent(
    task: Task[Any, Any],
    agent: Agent,
    problems: ProblemSet[Any],
    samples: int,
    k: int,
    rng: np.random.Generator,
    exact: bool = False,
    beta: float = 1.0,
) -> Iterator[ProblemEvaluation]:
    """Yields the evaluation of each problem as soon as it is known.

    Args:
        samples: episodes on each problem.
        k: of pass@k, from 1 to `samples`.
        exact: also ask the agent at every state, which gives its distribution over ends without sampling.
        beta: the target is proportional to R^beta.

    An attempt ends as a failure where the agent's text names no legal action, `illegal_answers` of them; an agent that
    tells probabilities must not do so.

    Raises:
        TypeError: what was given is no agent, or no listed problems.
        IllegalActionError: an agent that tells the probabilities of legal actions plays another.
        ValueError: a number is out of range, or `exact` is asked of an agent or a problem that does not allow it.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@k needs 1 <= k <= samples, got k={k} and {samples} samples")
    if not 0 < beta < math.inf:
        raise ValueError(f"beta must be positive and finite, got {beta}")
    if not isinstance(agent, Agent):
        raise TypeError(
            f"an agent has a method act, and {type(agent).__name__} has none; a plain function of observation, actions "
            "and rng becomes one by gfn_envs.agents.FunctionAgent"
        )
    if not isinstance(problems, ProblemSet):
        raise TypeError(f"problems must be a ProblemSet, got {type(problems).__name__}; see take(count, rng)")
    if exact and not tells_probabilities(agent):
        raise ValueError(
            f"{type(agent).__name__} has no action_probabilities, or none without its thoughts, and exact scores need "
            f"them; {_LEAVE_EXACT_OUT}"
        )
    return _evaluations(task, agent, problems, samples, k, rng, exact, beta)


def _evaluations(
    task: Task[Any, Any],
    agent: Agent,
    problems: ProblemSet[Any],
    samples: int,
    k: int,
    rng: np.random.Generator,
    exact: bool,
    beta: float,
) -> Iterator[ProblemEvaluation]:
    player = _player(agent)
    for start in range(0, len(problems), _PROBLEMS_PER_ROLLOUT):
        group = problems.problems[start : start + _PROBLEMS_PER_ROLLOUT]
        attempts = [problem for problem in group for _ in range(samples)]
        played = rollout(task, agent, attempts, rng, illegal_ends=player.telling is None)
        for number, problem in enumerate(group):
            own = played[number * samples : (number + 1) * samples]
            graph = _listed(task, problem)
            if graph is not None:
                scores, solutions = _listed_scores(graph, player, own, k, exact, beta)
            elif exact:
                raise ValueError(f"'{problem.id}' has too many states to list; {_LEAVE_EXACT_OUT}")
            else:
                scores, solutions = _simulated_scores(task, problem, player, own, k, rng)
            if not exact:
                scores |= _bounds(own, player, task, beta)
            scores["normalised_score"] = normalised_score(scores["success_at_1"], scores["chance"], scores["optimum"])
            yield ProblemEvaluation(
                problem.id, problem.kind, problems.weights[start + number], scores, solutions, tuple(own)
            )


@dataclass(frozen=True, slots=True)
class _Player:
    """What an agent can say of itself.

    Attributes:
        telling: the agent, if it gives its action probabilities.
        greedy: the agent playing greedily, if it can.
    """

    telling: ProbabilisticAgent | None
    greedy: Agent | None


def _player(agent: Agent) -> _Player:
    if tells_probabilities(agent):
        return _Player(agent, GreedyAgent(agent))
    return _Player(None, PredictingAgent(agent) if isinstance(agent, DeterministicAgent) else None)


def _listed(task: Task[Any, Any], problem: Problem) -> StateGraph[Any, Any] | None:
    try:
        return enumerate_states(task.memoryless(), problem)
    except EnumerationLimit:
        return None


def _listed_scores(
    graph: StateGraph[Any, Any], player: _Player, played: Sequence[Trajectory], k: int, exact: bool, beta: float
) -> tuple[Scores, dict[str, dict[str, float]]]:
    """Returns the scores of a problem whose states are listed, and its solutions."""
    samples, analysis = len(played), analyse_graph(graph, beta)
    uniform = [np.full(len(actions), 1.0 / max(len(actions), 1)) for actions in graph.actions]
    chance, target = graph.reached(uniform), graph.target(beta)
    wanted = graph.ends_by_name(target)
    yardsticks: Scores = {}
    for name_of, reached in (("chance", chance), ("target", target)):
        own = exact_scores(graph, reached, k, samples, beta)
        own["spearman"] = end_correlation(graph, reached)
        own["sampled_distance"] = expected_sampled_distance(graph.ends_by_name(reached), wanted, samples)
        yardsticks |= {f"{name_of}_{name}": value for name, value in own.items()}
    yardsticks["chance"] = yardsticks.pop("chance_success_at_1")
    scores = {
        **sampled_scores(played, len(graph.solutions), k, graph.end_scores),
        "greedy_success": math.nan,
        "sampled_distance": sampled_distance(played, wanted),
        **yardsticks,
        **_best(analysis.optimum, k, samples),
        "n_solutions": float(analysis.n_solutions),
        "n_states": float(analysis.n_states),
        "log_z": analysis.log_z if graph.task.deterministic else math.nan,
        "chance_elbo": _elbo(graph, uniform, beta),
    }
    ends = {"target": target, "chance": chance}
    if exact and player.telling:
        policy = graph.policy_of(player.telling)
        ends["agent"] = graph.reached(policy)
        scores |= _exact_scores(graph, policy, ends["agent"], target, beta)
        scores["greedy_success"] = greedy_success(graph, lambda indices: [most_probable(policy[i]) for i in indices])
    elif greedy := player.greedy:
        scores["greedy_success"] = greedy_success(graph, lambda indices: greedy_policy(graph, greedy, indices))
    found = _shares(played)
    columns = {who: graph.solution_probabilities(reached) for who, reached in ends.items()}
    solutions = {
        name: {"sampled": found.get(name, 0.0), **{who: own[name] for who, own in columns.items()}}
        for name in graph.solutions
    }
    return scores, solutions


def _simulated_scores(
    task: Task[Any, Any], problem: Any, player: _Player, played: Sequence[Trajectory], k: int, rng: np.random.Generator
) -> tuple[Scores, dict[str, dict[str, float]]]:
    """Returns the scores of a problem with too many states to list: chance is from random plays."""
    random = random_plays(task, problem, SIMULATED_PLAYS, rng)
    samples, analysis = len(played), analyse_plays(task, problem, random)
    found = [task.end_scores(end) for end, _ in random]
    ends = end_means(found)
    unknown = [f"{start}_{name}" for start in ("chance", "target") for name in _WITH_YARDSTICKS]
    scores = {
        **sampled_scores(played, 0, k, found[0]),
        "greedy_success": math.nan,
        "sampled_distance": math.nan,
        **dict.fromkeys((*unknown, "target_success_at_1", "n_solutions", "n_states", "log_z", "chance_elbo"), math.nan),
        **{f"chance_{name}": value for name, value in ends.items()},
        **{f"target_{name}": math.nan for name in ends},
        "chance": analysis.chance,
        "chance_pass_at_k": 1.0 - (1.0 - analysis.chance) ** k,
        "chance_accuracy": 1.0 - (1.0 - analysis.chance) ** samples,
        "chance_pass_at_16": 1.0 - (1.0 - analysis.chance) ** PUBLISHED_SAMPLES,
        **_best(analysis.optimum, k, samples),
    }
    if player.greedy:
        (greedily,) = rollout(task, player.greedy, [problem], rng, illegal_ends=True)
        scores["greedy_success"] = float(greedily.success)
    return scores, {name: {"sampled": share} for name, share in _shares(played).items()}


def _best(optimum: float, k: int, samples: int) -> Scores:
    """Returns the most that anyone can have: success of the best player, and of its repeated attempts."""
    return {
        "optimum": optimum,
        "optimum_pass_at_k": 1.0 - (1.0 - optimum) ** k,
        "optimum_accuracy": 1.0 - (1.0 - optimum) ** samples,
        "optimum_pass_at_16": 1.0 - (1.0 - optimum) ** PUBLISHED_SAMPLES,
    }


def _shares(played: Sequence[Trajectory]) -> dict[str, float]:
    counts = Counter(trajectory.solution for trajectory in played if trajectory.success)
    return {name: count / len(played) for name, count in counts.most_common()}


# -- what enumeration says of an agent -------------------------------------------------------------
def _exact_scores(
    graph: StateGraph[Any, Any], policy: Sequence[np.ndarray], reached: np.ndarray, target: np.ndarray, beta: float
) -> Scores:
    return {
        "exact_success": float(reached @ graph.successes),
        "total_variation": total_variation(reached, target),
        "jensen_shannon": jensen_shannon(reached, target),
        "spearman": end_correlation(graph, reached),
        "elbo": _elbo(graph, policy, beta),
    }


def _elbo(graph: StateGraph[Any, Any], policy: Sequence[np.ndarray], beta: float) -> float:
    return graph.elbo(policy, beta * graph.log_rewards) if graph.task.deterministic else math.nan


def end_correlation(graph: StateGraph[Any, Any], reached: np.ndarray) -> float:
    """Returns Spearman(log P, log R) over the ends of a problem, NaN where all have the same reward.

    Over ends, because an end is the object that is sampled and that has a reward; the solutions alone mostly share
    one reward, and there is no order to find among them.

    Args:
        reached: probability of each end, shape (states,).
    """
    ends = list(graph.terminals)
    with np.errstate(divide="ignore"):
        return spearman(np.log(reached[ends]), graph.log_rewards[ends])


def _bounds(played: Sequence[Trajectory], player: _Player, task: Task[Any, Any], beta: float) -> Scores:
    """Returns the sampled ELBO and the estimate of log Z, NaN under chance, where outcomes belong to neither side."""
    if not (task.deterministic and player.telling):
        return {"elbo": math.nan, "log_z_estimate": math.nan}
    elbo, log_z = importance_bounds(log_weights(played, player.telling, beta))
    return {"elbo": elbo, "log_z_estimate": log_z}


def log_weights(trajectories: Sequence[Trajectory], agent: ProbabilisticAgent, beta: float = 1.0) -> np.ndarray:
    """Returns beta log R + sum of (log P_B - log P_F) of each trajectory, shape (trajectories,).

    Equal prompts are asked once. A trajectory that broke off counts as a failure.
    """
    asked = list({(s.observation, s.admissible_actions): None for t in trajectories for s in t.steps})
    answers = told_probabilities(agent, [text for text, _ in asked], [legal for _, legal in asked])
    known = dict(zip(asked, answers, strict=True))
    weights = []
    for trajectory in trajectories:
        weight = beta * trajectory.final_log_reward
        for step in trajectory.steps:
            legal = step.admissible_actions
            probability = float(known[step.observation, legal][legal.index(step.action)])
            weight += step.log_pb - (math.log(probability) if probability > 0 else -math.inf)
        weights.append(weight)
    return np.array(weights)
