"""The language-model contestants: one policy, trained in different ways, so that only the objective differs.

All of them start from the same masked policy (`model`), see the same texts and training problems, and share one
budget. `METHODS` says how each trains, `baselines.tuned` with which options in which environment.

What counts as an environment step: an action played in training, by the policy or in local search; and for
supervised fine-tuning, the warm start included, a demonstrated action when it is first shown. What is trained on again
(replay, further epochs) counts once. Not counted are the episodes that supervised training plays for its learning
curve, from which nothing is learnt, and the solver demonstrations that a GFlowNet may put into its replay
(`demonstrations_per_problem`, off by default).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from baselines.sft import SFTConfig, supervise
from baselines.tuned import tuned
from gfn_agents.agent import GFlowNetAgent, load_policy, training_kwargs
from gfn_agents.config import TrainConfig
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.objectives import ON_POLICY
from gfn_agents.trainer import StepReport
from gfn_envs.agents import Budget, read_agent_file, write_agent_file
from gfn_envs.env import TextEnv, make_text_env
from gfn_envs.rollout import rollout

_ENDLESS = 10**9
_WATCHED_EPISODES, _WATCHED_EVERY = 32, 10
"""Supervised training plays no episodes; for its learning curve so many are played every so many batches."""


@dataclass
class Meter:
    """What training has used up, and its learning curve.

    Args:
        budget: what it may use.
    """

    budget: Budget
    environment_steps: int = 0
    tokens: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    cpu_started: float = field(default_factory=time.process_time)

    @property
    def seconds(self) -> float:
        """Wall-clock time since training began."""
        return time.monotonic() - self.started

    @property
    def used_up(self) -> bool:
        """Whether training must end."""
        return self.budget.used_up(self.environment_steps, self.tokens, self.seconds)

    def count_tokens(self, policy: LanguageModelPolicy) -> None:
        """Counts from now on the tokens that the model evaluates: to play, to learn, and to learn in less memory."""

        def hook(model: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            self.tokens += int(keywords["input_ids"].numel())

        policy.model.register_forward_pre_hook(hook, with_kwargs=True)

    def note(self, success: float) -> None:
        """Adds a row to the learning curve."""
        self.curve.append({"environment_steps": float(self.environment_steps), "success": success})

    def costs(self) -> dict[str, float]:
        """Returns what was used up."""
        return {
            "environment_steps": float(self.environment_steps),
            "tokens": float(self.tokens),
            "cpu_seconds": time.process_time() - self.cpu_started,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Lesson:
    """What a way of training is given.

    Attributes:
        policy: what is trained, in place.
        env_id, env_kwargs: the environment and its training problems.
        env: the same as an environment.
        seed: of everything that is drawn.
        options: of the method.
        meter: of what is used up.
    """

    policy: LanguageModelPolicy
    env_id: str
    env_kwargs: dict[str, Any]
    env: TextEnv[Any, Any]
    seed: int
    options: dict[str, Any]
    meter: Meter


# -- ways to train ---------------------------------------------------------------------------------
def train_nothing(lesson: Lesson) -> None:
    """Leaves the policy as it is."""


def train_supervised(lesson: Lesson) -> None:
    """Imitates solver demonstrations until the budget is used up."""
    _imitate(lesson, SFTConfig(**lesson.options), lambda: not lesson.meter.used_up)


def train_gflownet(lesson: Lesson) -> None:
    """Trains by VarGrad, or under chance by expected detailed balance, if the options do not say otherwise."""
    usual = "vargrad" if lesson.env.task.deterministic else "detailed_balance"
    train_objective(lesson.options.get("objective", usual), lesson)


def train_objective(objective: str, lesson: Lesson) -> None:
    """Trains by an objective of `gfn_agents.objectives`, after a warm start on demonstrations if there is one."""
    meter, options = lesson.meter, {**lesson.options, "objective": objective}
    warm_steps = options.pop("warm_start", 0)
    _imitate(lesson, SFTConfig(), lambda: meter.environment_steps < warm_steps and not meter.used_up)
    if meter.used_up:
        return
    before = meter.environment_steps
    agent = GFlowNetAgent(lesson.env_id, lesson.policy, lesson.env_kwargs, steps=_ENDLESS, seed=lesson.seed, **options)

    def on_step(report: StepReport) -> None:
        meter.environment_steps = before + report.environment_steps
        meter.note(report.success)
        agent.trainer.stop_requested = meter.used_up

    agent.learn(on_step=on_step)


def _imitate(lesson: Lesson, config: SFTConfig, wanted: Callable[[], bool]) -> None:
    """Trains on demonstrations as long as it is wanted, and watches how well the policy plays."""
    meter, before, batches = lesson.meter, lesson.meter.environment_steps, 0
    task, problems = lesson.env.task, lesson.env.problems
    watching = np.random.default_rng([lesson.seed, 1])

    def go_on(steps: int) -> bool:
        nonlocal batches
        meter.environment_steps = before + steps
        further = wanted()
        if batches and (batches % _WATCHED_EVERY == 0 or not further):
            played = rollout(
                task, lesson.policy, [problems.sample(watching) for _ in range(_WATCHED_EPISODES)], watching
            )
            meter.note(sum(trajectory.success for trajectory in played) / len(played))
        batches += 1
        return further

    supervise(lesson.policy, task, problems, config, np.random.default_rng(lesson.seed), go_on)


METHODS: dict[str, Callable[[Lesson], None]] = {
    "untrained": train_nothing,
    "sft": train_supervised,
    "gflownet": train_gflownet,
    "reinforce": partial(train_objective, "reinforce"),
    "grpo": partial(train_objective, "grpo"),
    "ppo_clip": partial(train_objective, "ppo_clip"),
}
_ON_POLICY = ("reinforce", "grpo", "ppo_clip")


# -- the agent -------------------------------------------------------------------------------------
class PolicyAgent:
    """A language-model policy that learns by one of `METHODS`.

    Args:
        method: its name there.
        model: model folder, hub name, or "default", the small model that ships with the package.
        options: of the method, over the tuned ones: fields of `TrainConfig`, or for sft of `SFTConfig`; and
            `warm_start`, demonstrated steps that are imitated before an objective is trained.

    Raises:
        ValueError: there is no such method or option.
    """

    def __init__(self, method: str, model: str | Path = "default", **options: Any) -> None:
        if method not in METHODS:
            raise ValueError(f"there is no method {method!r}; methods are {', '.join(METHODS)}")
        known = _known_options(method)
        for name in options:
            if name not in known:
                raise ValueError(f"{method} has no option {name!r}; options are {', '.join(known) or 'none'}")
        self.method, self.model, self.options = method, model, options
        self._policy: LanguageModelPolicy | None = None
        self._costs: dict[str, float] = {}
        self._curve: list[dict[str, float]] = []

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        """Trains from the model that the agent was made with; the last batch may go beyond the budget."""
        kwargs = training_kwargs(dict(env_kwargs or {}))
        env = make_text_env(env_id, kwargs)
        self._policy = load_policy(self.model, seed=seed)
        options = {**tuned(self.method, env_id), **self.options}
        if self.method in _ON_POLICY:
            options = {**ON_POLICY, **options}
        meter = Meter(budget)
        meter.count_tokens(self.policy)
        METHODS[self.method](Lesson(self.policy, env_id, kwargs, env, seed, options, meter))
        self._costs, self._curve = meter.costs(), meter.curve

    @property
    def policy(self) -> LanguageModelPolicy:
        """The policy as far as it is trained; before that, the model that the agent was made with."""
        if self._policy is None:
            self._policy = load_policy(self.model)
        return self._policy

    @property
    def costs(self) -> Mapping[str, float]:
        """What training used up: environment_steps, tokens (evaluated by the model), cpu_seconds, seconds."""
        return self._costs

    @property
    def curve(self) -> list[dict[str, float]]:
        """Rows of environment_steps and success, the share of solved training episodes."""
        return self._curve

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns one sampled action for each observation."""
        return self.policy.act(observations, admissible_actions, rng)

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns the probabilities of the legal actions of each observation."""
        return self.policy.action_probabilities(observations, admissible_actions)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the policy, and how it was made."""
        home = Path(folder)
        partial_policy = home / ".partial-policy"
        shutil.rmtree(partial_policy, ignore_errors=True)
        partial_policy.mkdir(parents=True)
        self.policy.save(partial_policy)
        shutil.rmtree(home / "policy", ignore_errors=True)
        os.replace(partial_policy, home / "policy")
        values = {"method": self.method, "options": self.options, "costs": self._costs, "curve": self._curve}
        write_agent_file(home, self, values)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> PolicyAgent:
        """Returns the agent that `save` wrote.

        Raises:
            ValueError: the folder holds no such agent.
        """
        values = read_agent_file(folder)
        try:
            agent = cls(values["method"], Path(folder) / "policy", **values["options"])
            agent._costs, agent._curve = dict(values["costs"]), list(values["curve"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"'{folder}' holds no agent that PolicyAgent saved ({error!r})") from None
        return agent


def _known_options(method: str) -> list[str]:
    if method == "untrained":
        return []
    if method == "sft":
        return [field.name for field in fields(SFTConfig)]
    taken = {"steps", "seed"} if method == "gflownet" else {"steps", "seed", "objective", *ON_POLICY}
    return ["warm_start", *(field.name for field in fields(TrainConfig) if field.name not in taken)]


# -- registered names ------------------------------------------------------------------------------
def untrained(model: str | Path = "default") -> PolicyAgent:
    """Returns the masked policy as it is before any training."""
    return PolicyAgent("untrained", model)


def sft(model: str | Path = "default", **options: Any) -> PolicyAgent:
    """Returns the policy to be trained by maximum likelihood on solver demonstrations (`baselines.sft`)."""
    return PolicyAgent("sft", model, **options)


def gflownet(model: str | Path = "default", **options: Any) -> PolicyAgent:
    """Returns the policy to be trained as a GFlowNet."""
    return PolicyAgent("gflownet", model, **options)


def reinforce(model: str | Path = "default", **options: Any) -> PolicyAgent:
    """Returns the policy to be trained by REINFORCE with the leave-one-out baseline."""
    return PolicyAgent("reinforce", model, **options)


def grpo(model: str | Path = "default", **options: Any) -> PolicyAgent:
    """Returns the policy to be trained by GRPO."""
    return PolicyAgent("grpo", model, **options)


def ppo_clip(model: str | Path = "default", **options: Any) -> PolicyAgent:
    """Returns the policy to be trained by PPO's clipped surrogate."""
    return PolicyAgent("ppo_clip", model, **options)
