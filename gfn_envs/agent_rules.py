"""The contract of an agent: each rule is one function over a `Subject`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gfn_envs.actions import read_action
from gfn_envs.agent_subject import (
    BATCH,
    Decision,
    Remark,
    Subject,
    ask,
    ask_probabilities,
    global_seed,
    told_error,
    why_not_trained,
)
from gfn_envs.agents import AGENT_FILE, costs_of, curve_of, is_model_folder, read_agent_file
from gfn_envs.env import Snapshot, TextEnv
from gfn_envs.rollout import Agent, tells_probabilities
from gfn_envs.stochastic import HiddenFields
from gfn_envs.task import Task

_TOLERANCE = 1e-5
_DRAWS = 512
_TWINS = 4
Rule = Callable[[Subject], Iterator[str]]


# -- rules on answers ------------------------------------------------------------------------------
def _answers_are_texts(subject: Subject) -> Iterator[str]:
    for size in (1, BATCH):
        answers = ask(subject.agent, subject.batch[:size])
        if not isinstance(answers, list):
            yield f"act must return a list, got {type(answers).__name__}"
        elif len(answers) != size:
            yield f"act gave {len(answers)} answers to {size} observations"
        elif strange := [answer for answer in answers if not isinstance(answer, str)]:
            yield f"an answer must be a text, got {strange[0]!r}"


def _answers_are_legal(subject: Subject) -> Iterator[str]:
    illegal = []
    for first in range(0, len(subject.decisions), BATCH):
        asked = subject.decisions[first : first + BATCH]
        for decision, answer in zip(asked, ask(subject.agent, asked), strict=True):
            if read_action(answer, decision.actions, subject.task.aliases(decision.state)) is None:
                illegal.append(answer)
    if not illegal:
        return
    share = len(illegal) / len(subject.decisions)
    told = f"{share:.1%} of {len(subject.decisions)} answers name no legal action, such as {illegal[0][:60]!r}"
    answers_texts = not tells_probabilities(subject.agent)  # as a language model does, which may miss at times
    yield Remark(told) if answers_texts and len(illegal) < len(subject.decisions) else told


def _arguments_are_left_alone(subject: Subject) -> Iterator[str]:
    observations = [decision.observation for decision in subject.batch]
    actions = [list(decision.actions) for decision in subject.batch]
    subject.agent.act(observations, actions, np.random.default_rng(0))
    if observations != [decision.observation for decision in subject.batch]:
        yield "act changed the list of observations"
    if actions != [list(decision.actions) for decision in subject.batch]:
        yield "act changed the lists of legal actions"


def _the_generator_decides(subject: Subject) -> Iterator[str]:
    for size in (1, BATCH):
        answers = []
        for seed in (1, 1, 2):
            with global_seed(seed):
                answers.append(ask(subject.agent, subject.batch[:size]))
        if answers[0] != answers[1]:
            yield "the same call with the same generator gave two different answers"
        elif answers[0] != answers[2]:
            yield "the answers depend on a global generator (random, numpy or torch); draw from rng only"


def _nothing_hidden_is_seen(subject: Subject) -> Iterator[str]:
    task: Task[Any, Any] = HiddenFields(subject.task, r"[0-9]+")
    alike: defaultdict[tuple[str, tuple[str, ...]], list[Any]] = defaultdict(list)
    for state, _, actions in subject.decisions:
        others = alike[task.observe(state), actions]
        if state not in others:
            others.append(state)
    pairs = [pair for states in alike.values() for pair in combinations(states, 2)][:_TWINS]
    if not pairs:
        yield Remark("not checked: no two states differ in hidden numbers only")
    env = TextEnv(task, task.problems())
    for pair in pairs:
        answers = []
        for state in pair:
            observation, info = env.set_state(Snapshot(state, 0, False))
            decision = Decision(state, observation, tuple(info["admissible_actions"]))
            answers.append([ask(subject.agent, [decision], seed) for seed in range(3)])
        if answers[0] != answers[1]:
            yield f"two states that look the same got different answers: {observation[:80]!r}"


def _awkward_input_is_answered(subject: Subject) -> Iterator[str]:
    state, observation, actions = subject.decisions[0]
    longest = subject.task.max_observation_length
    awkward = {
        "a single legal action": (observation, actions[:1]),
        "a very long observation": ((observation * (longest // len(observation) + 1))[:longest], actions),
        "an observation in other scripts": ("Größe 漢字 🂡"[: max(1, longest // 4)], actions),
    }
    decisions = [Decision(state, *seen) for seen in awkward.values()]
    for name, decision in zip(awkward, decisions, strict=True):
        try:
            if len(ask(subject.agent, [decision])) != 1:
                yield f"{name} got no answer"
        except Exception as error:  # whatever it raises is the finding
            yield f"{name}: {told_error(error)}"
    if len(ask(subject.agent, decisions)) != len(decisions):
        yield "a batch of different lengths got another number of answers"


# -- rules on probabilities ------------------------------------------------------------------------
def _a_batch_is_its_members(subject: Subject) -> Iterator[str]:
    agent = subject.agent
    if not tells_probabilities(agent):
        yield Remark("not checked: the agent has no action_probabilities")
        return
    together = ask_probabilities(agent, subject.batch)
    if len(together) != BATCH:
        yield f"action_probabilities gave {len(together)} rows for {BATCH} observations"
        return
    for decision, row in zip(subject.batch, together, strict=True):
        (alone,) = ask_probabilities(agent, [decision])
        if np.shape(row) != (len(decision.actions),) or np.shape(alone) != np.shape(row):
            yield f"{len(decision.actions)} legal actions got probabilities of shape {np.shape(row)}"
        elif not (np.min(row) >= 0 and abs(np.sum(row) - 1) <= _TOLERANCE):
            yield f"probabilities must be at least 0 and sum to 1, got {row[:6]} with the sum {np.sum(row):.6f}"
        elif (distance := np.max(np.abs(row - alone))) > _TOLERANCE:
            yield f"the probabilities in a batch differ by {distance:.2g} from those of a single call"


def _it_plays_what_it_says(subject: Subject) -> Iterator[str]:
    """Compares frequencies with probabilities; the bound is broken by a right agent once in 10^7 cases.

    The mean total variation of n draws from A values is at most sqrt((A - 1) / n) / 2, and it exceeds
    its mean by t with probability exp(-2 n t^2) at most (McDiarmid 1989).
    """
    agent = subject.agent
    if not tells_probabilities(agent):
        yield Remark("not checked: the agent has no action_probabilities")
        return
    choices = [decision for decision in subject.decisions if 2 <= len(decision.actions) <= 20]
    for decision in choices[:: max(1, len(choices) // 4)]:
        (told,) = ask_probabilities(agent, [decision])
        answers = ask(agent, [decision] * _DRAWS)
        played = np.array([answers.count(action) for action in decision.actions]) / _DRAWS
        distance = float(np.abs(played - told).sum() / 2)
        if distance > np.sqrt((len(told) - 1) / _DRAWS) / 2 + 3 / np.sqrt(_DRAWS):
            yield f"act plays at a total variation of {distance:.2f} from action_probabilities"


# -- rules on training and keeping -----------------------------------------------------------------
def _difference(one: Agent, other: Agent, subject: Subject) -> str:
    """Returns how two agents play differently, nothing if they do not."""
    if tells_probabilities(one) and tells_probabilities(other):
        rows = zip(ask_probabilities(one, subject.batch), ask_probabilities(other, subject.batch), strict=True)
        distance = max(float(np.max(np.abs(a - b))) for a, b in rows)
        return f"probabilities differ by {distance:.2g}" if distance > _TOLERANCE else ""
    same = ask(one, subject.batch) == ask(other, subject.batch)
    return "" if same else "the answers to the same texts differ"


def _saved_is_loaded(subject: Subject) -> Iterator[str]:
    agent = subject.agent
    save, load = getattr(agent, "save", None), getattr(type(agent), "load", None)
    if save is None or load is None:
        yield Remark("not checked: the agent has no save and load")
        return
    with TemporaryDirectory() as home:
        folder = Path(home) / "agent"
        save(folder)
        difference = _difference(agent, load(folder), subject)
        if difference:
            yield f"the loaded agent plays otherwise: {difference}"
        if not (is_model_folder(folder) or ((folder / AGENT_FILE).is_file() and "class" in read_agent_file(folder))):
            yield Remark(f"no {AGENT_FILE} names its class, so that its folder is no name of it; see write_agent_file")


def _the_seed_decides(subject: Subject) -> Iterator[str]:
    if otherwise := why_not_trained(subject.agent):
        yield otherwise
        return
    with global_seed(1):
        one = subject.trained()
    with global_seed(2):
        other = subject.trained()
    if difference := _difference(one, other, subject):
        yield f"two agents trained with the same seed: {difference}"


def _what_it_tells_is_numbers(subject: Subject) -> Iterator[str]:
    for tell in (costs_of, curve_of):
        try:
            tell(subject.agent)
        except ValueError as error:
            yield str(error)


def _the_budget_is_kept(subject: Subject) -> Iterator[str]:
    """A budget of one step shows the agent's batch; a larger one must be used, and kept within a batch.

    Batches of whole episodes vary in steps, so twice the first one is allowed, and an episode.
    """
    if otherwise := why_not_trained(subject.agent):
        yield otherwise
        return
    batch = _steps_used(subject.agent)
    if batch is None:
        yield Remark('not checked: the agent tells no costs["environment_steps"]')
        return
    budget = max(3 * batch, 8)
    used = _steps_used(subject.trained(budget))
    if used is None or used > budget + max(2 * batch, subject.task.horizon):
        yield f"a budget of {budget} environment steps was overdrawn: {used} were played, in batches of about {batch}"
    elif used == batch > 1:
        yield f"{used} environment steps were played with a budget of 1 and with one of {budget}"


def _steps_used(agent: Agent) -> int | None:
    costs = getattr(agent, "costs", {})
    return int(costs["environment_steps"]) if "environment_steps" in costs else None


RULES: dict[str, Rule] = {
    "batches of 1 and 64 are answered by as many texts": _answers_are_texts,
    "answers name legal actions": _answers_are_legal,
    "arguments are left alone": _arguments_are_left_alone,
    "the same generator gives the same answers": _the_generator_decides,
    "what looks the same is answered the same": _nothing_hidden_is_seen,
    "awkward input is answered": _awkward_input_is_answered,
    "a batch is answered as its members are": _a_batch_is_its_members,
    "it plays what its probabilities say": _it_plays_what_it_says,
    "a loaded agent plays as the saved one": _saved_is_loaded,
    "equal seeds give equal agents": _the_seed_decides,
    "costs and curve are numbers by name": _what_it_tells_is_numbers,
    "a budget is kept": _the_budget_is_kept,
}
