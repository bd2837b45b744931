"""The contract of a task, executable: `check_task` tells what a task of your own gets wrong.

Every rule is one function over a `Subject` (a problem with some random plays and, where it is small
enough, the graph of all its states). It yields one sentence for each violation; the first is shown.
"""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gfn_envs.actions import read_action
from gfn_envs.drawing import Drawing
from gfn_envs.env import INFO_KEYS
from gfn_envs.exact import analyse_graph, enumerate_states
from gfn_envs.histories import PLAYED, turns_of
from gfn_envs.state_graph import StateGraph
from gfn_envs.task import Problem, Task
from gfn_envs.with_history import WithHistory

_PLAYS = 30
_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of the contract, and the first thing that was wrong with it."""

    name: str
    passed: bool
    reason: str = ""


class Play(NamedTuple):
    """One random play: the states in order and the actions between them."""

    states: tuple[Any, ...]
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What the rules look at: a problem, random plays, and all states where they can be listed."""

    task: Task[Any, Any]
    problem: Problem
    plays: tuple[Play, ...]
    graph: StateGraph[Any, Any] | None
    no_graph: str

    @property
    def states(self) -> Iterator[Any]:
        """The states of all plays."""
        return (state for play in self.plays for state in play.states)

    @property
    def steps(self) -> Iterator[tuple[Any, str]]:
        """The states and actions of all plays."""
        return (step for play in self.plays for step in zip(play.states, play.actions, strict=False))

    @property
    def ends(self) -> Iterator[Any]:
        """The last states of the plays that ended."""
        return (play.states[-1] for play in self.plays if not self.task.actions(play.states[-1]))


Rule = Callable[[Subject], Iterator[str]]


def check_task(task: Task[Any, Any], problems: Iterable[Problem], limit: int = _LIMIT) -> list[Check]:
    """Returns one `Check` for each rule of the contract, in a fixed order.

    Rules about all states of a problem are left out, and say so, where it has more than `limit`.

    Args:
        task: the rules to check.
        problems: small problems of it, at least one.
        limit: most states to list.
    """
    try:
        subjects = [_subject(task, problem, limit) for problem in problems]
    except Exception as error:  # whatever a third-party task raises is its finding
        return [Check("can be played", False, _sentence(error))]
    if not subjects:
        raise ValueError("check_task needs at least one problem, got none")
    checks = [Check("can be played", True)]
    for name, rule in RULES.items():
        reason = next(_reasons(rule, subjects), "")
        checks.append(Check(name, not reason, reason))
    for name, rule in GRAPH_RULES.items():
        listed = [subject for subject in subjects if subject.graph is not None]
        reason = next(_reasons(rule, listed), "")
        left_out = next((f"not checked: {s.no_graph}" for s in subjects if s.graph is None), "")
        checks.append(Check(name, not reason, reason or left_out))
    return checks


def _subject(task: Task[Any, Any], problem: Problem, limit: int) -> Subject:
    rng = np.random.default_rng(0)
    plays = tuple(_play(task, problem, rng) for _ in range(_PLAYS))
    try:
        return Subject(task, problem, plays, enumerate_states(task, problem, limit), "")
    except Exception as error:  # the rule that it breaks reports it
        return Subject(task, problem, plays, None, _sentence(error))


def _play(task: Task[Any, Any], problem: Problem, rng: np.random.Generator) -> Play:
    """Plays at random, rare outcomes as often as others, for one step more than the horizon allows."""
    states = [task.reset(problem)]
    actions: list[str] = []
    while len(actions) <= task.horizon and (legal := task.actions(states[-1])):
        actions.append(legal[rng.integers(len(legal))])
        outcomes = task.outcomes(states[-1], actions[-1])
        states.append(outcomes[rng.integers(len(outcomes))][1])
    return Play(tuple(states), tuple(actions))


def _reasons(rule: Rule, subjects: Iterable[Subject]) -> Iterator[str]:
    for subject in subjects:
        try:
            yield from (f"'{subject.problem.id}': {reason}" for reason in rule(subject))
        except Exception as error:  # as above
            yield f"'{subject.problem.id}': {_sentence(error)}"


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


# -- rules on plays --------------------------------------------------------------------------------
def _states_are_values(subject: Subject) -> Iterator[str]:
    for state in subject.states:
        copy = pickle.loads(pickle.dumps(state))
        if copy != state or hash(copy) != hash(state):
            yield f"a pickled copy of {state!r} is not equal to it"


def _step_keeps_its_argument(subject: Subject) -> Iterator[str]:
    task = subject.task
    for state, action in subject.steps:
        copy = pickle.loads(pickle.dumps(state))
        task.outcomes(state, action)
        if state != copy or task.observe(state) != task.observe(copy) or task.actions(state) != task.actions(copy):
            yield f"{action!r} changed the state it was played in"


def _step_is_repeatable(subject: Subject) -> Iterator[str]:
    for state, action in subject.steps:
        if subject.task.outcomes(state, action) != subject.task.outcomes(state, action):
            yield f"{action!r} led to two different results from one state"


def _illegal_actions_are_refused(subject: Subject) -> Iterator[str]:
    for state, _ in subject.steps:
        try:
            subject.task.outcomes(state, "no such action")
        except KeyError:
            continue
        yield "an action that is not legal must raise KeyError"


def _actions_are_distinct(subject: Subject) -> Iterator[str]:
    for state in subject.states:
        twice = [action for action, count in Counter(subject.task.actions(state)).items() if count > 1]
        if twice:
            yield f"{twice[0]!r} is listed more than once"


def _actions_are_stable(subject: Subject) -> Iterator[str]:
    for state in subject.states:
        if subject.task.actions(state) != subject.task.actions(pickle.loads(pickle.dumps(state))):
            yield "the actions of one state were listed in two ways"


def _actions_fit(subject: Subject) -> Iterator[str]:
    task = subject.task
    for state in subject.states:
        actions = task.actions(state)
        if not isinstance(actions, tuple):
            yield f"the actions are a {type(actions).__name__}, and must be a tuple"
        if len(actions) > task.max_actions:
            yield f"{len(actions)} legal actions are more than max_actions={task.max_actions}"
        for action in actions:
            yield from _misfits("action", action, task.max_action_length, task.charset)


def _observations_fit(subject: Subject) -> Iterator[str]:
    task = subject.task
    for state in subject.states:
        yield from _misfits("observation", task.observe(state), task.max_observation_length, task.charset)


def _observations_hold_no_turns(subject: Subject) -> Iterator[str]:
    """A transcript can be read back only if what the game says does not look like a player's line."""
    if isinstance(subject.task, WithHistory):
        return
    for state in subject.states:
        observation = subject.task.observe(state)
        if len(turns_of(observation)) > 1:
            yield f"the observation {observation!r} has a line that starts with {PLAYED!r}, as actions in a history do"


def _misfits(kind: str, text: str, longest: int, charset: str) -> Iterator[str]:
    strange = sorted(set(text) - set(charset))
    if not 1 <= len(text) <= longest:
        yield f"the {kind} {text!r} has {len(text)} characters, max_{kind}_length is {longest}"
    if strange:
        yield f"the {kind} {text!r} has {strange[0]!r}, which is not in the charset"


def _outcomes_are_a_distribution(subject: Subject) -> Iterator[str]:
    for state, action in subject.steps:
        outcomes = subject.task.outcomes(state, action)
        probabilities = [probability for probability, _ in outcomes]
        if min(probabilities, default=0.0) <= 0 or not math.isclose(math.fsum(probabilities), 1.0, abs_tol=1e-9):
            yield f"the outcomes of {action!r} have probabilities {probabilities}, which must be positive and sum to 1"
        if subject.task.deterministic and outcomes != ((1.0, subject.task.step(state, action)),):
            yield f"the task is declared deterministic, but the outcomes of {action!r} are not its step"


def _episodes_start_and_end(subject: Subject) -> Iterator[str]:
    task, longest = subject.task, max(len(play.actions) for play in subject.plays)
    if not task.actions(subject.plays[0].states[0]):
        yield "the start state has no legal action"
    if subject.graph is not None:
        longest = max(longest, _longest_path(subject.graph))
    if longest > task.horizon:
        yield f"an episode can have {longest} steps or more, but horizon is {task.horizon}"


def _longest_path(graph: StateGraph[Any, Any]) -> int:
    depth = [0] * len(graph.states)
    for index, edges in enumerate(graph.edges):
        for _, child in (outcome for outcomes in edges for outcome in outcomes):
            depth[child] = max(depth[child], depth[index] + 1)
    return max(depth)


def _ends_are_scored(subject: Subject) -> Iterator[str]:
    for state in subject.ends:
        log_reward = subject.task.log_reward(state)
        if not math.isfinite(log_reward):
            yield f"log_reward is {log_reward} at an end, where it must be finite"
        if not isinstance(subject.task.success(state), bool):
            yield "success must be a bool"
        scores = subject.task.end_scores(state)
        strange = [name for name, value in scores.items() if not 0 <= value <= 1]
        if strange:
            yield f"end_scores has {strange[0]!r} = {scores[strange[0]]}, which must be from 0 to 1"
        if scores.keys() != subject.task.end_scores(next(subject.ends)).keys():
            yield "end_scores has other keys at another end"
        if subject.task.solution(state) != subject.task.solution(pickle.loads(pickle.dumps(state))):
            yield "an end and its copy have two different solution names"


def _stop_action_ends_the_episode(subject: Subject) -> Iterator[str]:
    task = subject.task
    for state, _ in subject.steps if task.stop_action is not None else ():
        if task.stop_action not in task.actions(state):
            yield f"the stop_action {task.stop_action!r} is not legal in a state that is no end"
        elif any(task.actions(end) for _, end in task.outcomes(state, task.stop_action)):
            yield f"the stop_action {task.stop_action!r} does not end the episode"


def _partial_rewards_end_in_the_reward(subject: Subject) -> Iterator[str]:
    task = subject.task
    if not any(task.log_reward_so_far(state) for state in subject.states):
        return
    for state in subject.ends:
        partial, whole = task.log_reward_so_far(state), task.log_reward(state)
        if not math.isclose(partial, whole, abs_tol=1e-6):
            yield f"log_reward_so_far is {partial:g} at an end whose log_reward is {whole:g}"


def _step_rewards_are_finite(subject: Subject) -> Iterator[str]:
    for state, action in subject.steps:
        for _, after in subject.task.outcomes(state, action):
            if not math.isfinite(reward := subject.task.step_reward(state, action, after)):
                yield f"the step reward of {action!r} is {reward}"


def _aliases_shadow_nothing(subject: Subject) -> Iterator[str]:
    for state in subject.states:
        actions, aliases = subject.task.actions(state), subject.task.aliases(state)
        for spelling, action in aliases.items():
            if action not in actions:
                yield f"the alias {spelling!r} stands for {action!r}, which is not legal"
            elif read_action(spelling, actions) not in (None, action):
                yield f"the alias {spelling!r} for {action!r} is the name of another legal action"


def _problems_read_back(subject: Subject) -> Iterator[str]:
    told = subject.problem.to_json()
    again = subject.task.problem_from_json(json.loads(json.dumps(told)))
    if (again, again.id) != (subject.problem, subject.problem.id):
        yield f"its JSON fields {told} are read back as another problem, '{again.id}'"


def _details_fit(subject: Subject) -> Iterator[str]:
    first = subject.task.details(subject.plays[0].states[0])
    if taken := sorted(first.keys() & INFO_KEYS):
        yield f"details has {taken[0]!r}, which info has in every environment"
    for details in map(subject.task.details, subject.states):
        if details.keys() != first.keys():
            yield f"details has {sorted(details)} in one state and {sorted(first)} in another"
        for name, value in details.items():
            if not _is_constant(value):
                yield f"details has {name!r} = {value!r}, which its reader could change"


def _is_constant(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_constant, value))
    return value is None or isinstance(value, str | int | float | np.generic)


def _expert_plans_succeed(subject: Subject) -> Iterator[str]:
    task = subject.task
    for plan in task.expert_plans(subject.problem)[:_PLAYS] if task.deterministic else ():
        state = task.reset(subject.problem)
        for action in plan:
            if action not in task.actions(state):
                yield f"the expert plan {plan} plays {action!r} where it is not legal"
                return
            state = task.step(state, action)
        if task.actions(state) or not task.success(state):
            yield f"the expert plan {plan} does not succeed"


def _states_are_drawn(subject: Subject) -> Iterator[str]:
    for state in subject.plays[0].states:
        if not isinstance(subject.task.render_text(state), str):
            yield "render_text must return a text"
        if not isinstance(subject.task.draw(state), Drawing):
            yield "draw must return a gfn_envs.drawing.Drawing"


# -- rules on all states ---------------------------------------------------------------------------
def _listed(subject: Subject) -> StateGraph[Any, Any]:
    assert subject.graph is not None, "rules on all states get listed subjects only"
    return subject.graph


def _parents_are_the_edges(subject: Subject) -> Iterator[str]:
    graph = _listed(subject)
    if subject.task.parents(graph.states[0]) is None:
        return
    incoming: dict[int, Counter[Any]] = {index: Counter() for index in range(len(graph.states))}
    for state, actions, edges in zip(graph.states, graph.actions, graph.edges, strict=True):
        for action, outcomes in zip(actions, edges, strict=True):
            for _, child in outcomes:
                incoming[child][state, action] += 1
    for index, state in enumerate(graph.states):
        told = subject.task.parents(state)
        if told is None or Counter(told) != incoming[index]:
            count = None if told is None else len(told)
            yield f"parents gives {count} incoming edges of {state!r}, enumeration {incoming[index].total()}"


def _histories_merge_only_with_parents(subject: Subject) -> Iterator[str]:
    graph = _listed(subject)
    if not subject.task.deterministic or subject.task.parents(graph.states[0]) is not None:
        return
    incoming = Counter(child for edges in graph.edges for outcomes in edges for _, child in outcomes)
    for index, count in incoming.items():
        if count > 1:
            yield (
                f"{count} histories lead to {graph.states[index]!r}, so that P_B = 1 samples n(x) R(x); "
                "put the history into the state or return the incoming edges from parents"
            )


def _solve_is_complete(subject: Subject) -> Iterator[str]:
    told, listed = subject.task.solve(subject.problem), _listed(subject).solutions
    if len(set(told)) != len(told):
        yield "solve names a solution more than once"
    difference = sorted(set(told) ^ set(listed))
    if difference:
        yield f"solve gives {len(told)} solutions and enumeration {len(listed)}; only one of them has {difference[0]!r}"


def _chance_is_below_the_optimum(subject: Subject) -> Iterator[str]:
    analysis = analyse_graph(_listed(subject))
    if not 0 <= analysis.chance <= analysis.optimum + 1e-12 <= 1 + 2e-12:
        yield f"chance {analysis.chance} and optimum {analysis.optimum} must satisfy 0 <= chance <= optimum <= 1"
    if analysis.chance_return > analysis.optimal_return + 1e-12:
        yield f"the random player's return {analysis.chance_return} is above the optimum {analysis.optimal_return}"


RULES: dict[str, Rule] = {
    "states are hashable values that can be pickled": _states_are_values,
    "step leaves its argument alone": _step_keeps_its_argument,
    "step is repeatable": _step_is_repeatable,
    "illegal actions raise KeyError": _illegal_actions_are_refused,
    "actions are distinct": _actions_are_distinct,
    "actions are stable": _actions_are_stable,
    "actions fit charset, length and number": _actions_fit,
    "observations fit charset and length": _observations_fit,
    "observations hold no turns of a history": _observations_hold_no_turns,
    "outcomes are a distribution": _outcomes_are_a_distribution,
    "episodes start and end within the horizon": _episodes_start_and_end,
    "ends have finite log-rewards and scores": _ends_are_scored,
    "partial log-rewards end in the log-reward": _partial_rewards_end_in_the_reward,
    "step rewards are finite": _step_rewards_are_finite,
    "stop_action ends the episode": _stop_action_ends_the_episode,
    "aliases shadow no legal action": _aliases_shadow_nothing,
    "problems read back from their JSON fields": _problems_read_back,
    "details have the same keys and constant values": _details_fit,
    "expert plans succeed": _expert_plans_succeed,
    "states are drawn": _states_are_drawn,
}
GRAPH_RULES: dict[str, Rule] = {
    "parents are the incoming edges": _parents_are_the_edges,
    "histories merge only with parents": _histories_merge_only_with_parents,
    "solve gives all solutions": _solve_is_complete,
    "chance is at most the optimum": _chance_is_below_the_optimum,
}
