"""The contract of an agent, executable: `check_agent` tells what an agent of your own gets wrong.

Every rule is one function over a `Subject`: an environment, decisions from random play on it, and
the agent, trained with the smallest budget if it trains. A rule yields one sentence for each
violation, or a `Remark` where there is something to say of an agent that keeps it; the first of them
is shown. What an agent could find by searching the interpreter's memory is not looked for.
"""

from __future__ import annotations

import inspect
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from gfn_envs.actions import read_action
from gfn_envs.agents import (
    AGENT_FILE,
    Budget,
    TrainableAgent,
    check_can_be_kept,
    costs_of,
    curve_of,
    is_model_folder,
    read_agent_file,
)
from gfn_envs.checks import Check
from gfn_envs.env import Snapshot, TextEnv
from gfn_envs.making import make_text_env
from gfn_envs.rollout import Agent, ProbabilisticAgent, draw_outcome, tells_probabilities
from gfn_envs.stochastic import HiddenFields
from gfn_envs.task import Task

DEFAULT_ENVS = ("gfn_envs/NumberLine-v0", "gfn_envs/BlackJack-v0")
_BATCH = 64
_PROBLEMS = 32
_TOLERANCE = 1e-5
_DRAWS = 512
_TWINS = 4


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
        return tuple(self.decisions[i % len(self.decisions)] for i in range(_BATCH))

    def trained(self, environment_steps: int = 1) -> Agent:
        """Returns a new agent, trained within a budget if it trains."""
        return _trained(self.make_agent, self.env_id, self.env_kwargs, environment_steps, self.seed)


Rule = Callable[[Subject], Iterator[str]]


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
        wrong = [sentence for sentence in said if not isinstance(sentence, Remark)]
        checks.append(Check(name, not wrong, next(iter(wrong or said), "")))
    return checks


class _AgentError(Exception):
    """What the agent raised when it was made or trained."""


def _subject(
    make_agent: Callable[[], Agent], env_id: str, env_kwargs: Mapping[str, Any], seed: int, count: int
) -> Subject:
    env = make_text_env(env_id, {**env_kwargs})
    task = env.task.memoryless()
    decisions = _decisions(task, env, np.random.default_rng(seed), count)
    try:
        agent = _trained(make_agent, env_id, env_kwargs, 1, seed)
    except Exception as error:  # whatever a third-party agent raises is its finding
        raise _AgentError(f"'{env_id}': {_sentence(error)}") from None
    return Subject(env_id, env_kwargs, seed, task, decisions, make_agent, agent)


def _decisions(
    task: Task[Any, Any], env: TextEnv[Any, Any], rng: np.random.Generator, count: int
) -> tuple[Decision, ...]:
    problems, found = list(env.problems.take(_PROBLEMS, rng)), list[Decision]()
    while len(found) < count:
        state = task.reset(problems[int(rng.integers(len(problems)))])
        while actions := task.actions(state):
            found.append(Decision(state, task.observe(state), actions))
            state = draw_outcome(task, state, actions[int(rng.integers(len(actions)))], rng)
    return tuple(found[:count])


def _trained(
    make_agent: Callable[[], Agent], env_id: str, env_kwargs: Mapping[str, Any], environment_steps: int, seed: int
) -> Agent:
    agent = make_agent()
    if not isinstance(agent, Agent):
        raise TypeError(f"{type(agent).__name__} has no method act")
    if isinstance(agent, TrainableAgent) and not _learns_otherwise(agent):
        agent.learn(env_id, Budget(environment_steps=environment_steps), seed, {**env_kwargs})
    return agent


def _learns_otherwise(agent: Agent) -> str | None:
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


def _said(rule: Rule, subjects: Iterable[Subject]) -> Iterator[str]:
    for subject in subjects:
        try:
            for sentence in rule(subject):
                yield type(sentence)(f"'{subject.env_id}': {sentence}")
        except Exception as error:  # as above
            yield f"'{subject.env_id}': {_sentence(error)}"


def _sentence(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _act(agent: Agent, decisions: Sequence[Decision], seed: int = 0) -> list[str]:
    """Asks with new copies of the texts, so that nothing can be known by who made a string."""
    observations = [_copy(decision.observation) for decision in decisions]
    actions = [tuple(map(_copy, decision.actions)) for decision in decisions]
    return agent.act(observations, actions, np.random.default_rng(seed))


def _probabilities(agent: ProbabilisticAgent, decisions: Sequence[Decision]) -> list[np.ndarray]:
    told = agent.action_probabilities([d.observation for d in decisions], [d.actions for d in decisions])
    return [np.asarray(row, dtype=float) for row in told]


def _copy(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
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


# -- rules on answers ------------------------------------------------------------------------------
def _answers_are_texts(subject: Subject) -> Iterator[str]:
    for size in (1, _BATCH):
        answers = _act(subject.agent, subject.batch[:size])
        if not isinstance(answers, list):
            yield f"act must return a list, got {type(answers).__name__}"
        elif len(answers) != size:
            yield f"act gave {len(answers)} answers to {size} observations"
        elif strange := [answer for answer in answers if not isinstance(answer, str)]:
            yield f"an answer must be a text, got {strange[0]!r}"


def _answers_are_legal(subject: Subject) -> Iterator[str]:
    illegal = []
    for first in range(0, len(subject.decisions), _BATCH):
        asked = subject.decisions[first : first + _BATCH]
        for decision, answer in zip(asked, _act(subject.agent, asked), strict=True):
            if read_action(answer, decision.actions, subject.task.aliases(decision.state)) is None:
                illegal.append(answer)
    if not illegal:
        return
    share = len(illegal) / len(subject.decisions)
    sentence = f"{share:.1%} of {len(subject.decisions)} answers name no legal action, such as {illegal[0][:60]!r}"
    yield sentence if tells_probabilities(subject.agent) else Remark(sentence)


def _arguments_are_left_alone(subject: Subject) -> Iterator[str]:
    observations = [decision.observation for decision in subject.batch]
    actions = [list(decision.actions) for decision in subject.batch]
    subject.agent.act(observations, actions, np.random.default_rng(0))
    if observations != [decision.observation for decision in subject.batch]:
        yield "act changed the list of observations"
    if actions != [list(decision.actions) for decision in subject.batch]:
        yield "act changed the lists of legal actions"


def _the_generator_decides(subject: Subject) -> Iterator[str]:
    for size in (1, _BATCH):
        answers = []
        for seed in (1, 1, 2):
            with _global_seed(seed):
                answers.append(_act(subject.agent, subject.batch[:size]))
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
            answers.append([_act(subject.agent, [decision], seed) for seed in range(3)])
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
            if len(_act(subject.agent, [decision])) != 1:
                yield f"{name} got no answer"
        except Exception as error:  # whatever it raises is the finding
            yield f"{name}: {_sentence(error)}"
    if len(_act(subject.agent, decisions)) != len(decisions):
        yield "a batch of different lengths got another number of answers"


# -- rules on probabilities ------------------------------------------------------------------------
def _a_batch_is_its_members(subject: Subject) -> Iterator[str]:
    agent = subject.agent
    if not tells_probabilities(agent):
        yield Remark("not checked: the agent has no action_probabilities")
        return
    together = _probabilities(agent, subject.batch)
    if len(together) != _BATCH:
        yield f"action_probabilities gave {len(together)} rows for {_BATCH} observations"
        return
    for decision, row in zip(subject.batch, together, strict=True):
        (alone,) = _probabilities(agent, [decision])
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
        (told,) = _probabilities(agent, [decision])
        answers = _act(agent, [decision] * _DRAWS)
        played = np.array([answers.count(action) for action in decision.actions]) / _DRAWS
        distance = float(np.abs(played - told).sum() / 2)
        if distance > np.sqrt((len(told) - 1) / _DRAWS) / 2 + 3 / np.sqrt(_DRAWS):
            yield f"act plays at a total variation of {distance:.2f} from action_probabilities"


# -- rules on training and keeping -----------------------------------------------------------------
def _difference(one: Agent, other: Agent, subject: Subject) -> str:
    """Returns how two agents play differently, nothing if they do not."""
    if tells_probabilities(one) and tells_probabilities(other):
        rows = zip(_probabilities(one, subject.batch), _probabilities(other, subject.batch), strict=True)
        distance = max(float(np.max(np.abs(a - b))) for a, b in rows)
        return f"probabilities differ by {distance:.2g}" if distance > _TOLERANCE else ""
    same = _act(one, subject.batch) == _act(other, subject.batch)
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
    if otherwise := _learns_otherwise(subject.agent):
        yield otherwise
        return
    with _global_seed(1):
        one = subject.trained()
    with _global_seed(2):
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
    if otherwise := _learns_otherwise(subject.agent):
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
