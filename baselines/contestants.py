"""The language-model contestants: one policy, trained in different ways, so that only the objective differs.

All of them start from the same masked policy (`model`), see the same texts and training problems, and share one
budget. `METHODS` says how each trains, `baselines.tuned` with which options in which environment.

What counts as an environment step: an action played in training, by the policy or in local search, and an action of a
demonstration that a solver was asked for, also if it gave the same one before. So sft, which asks anew for each batch,
pays each time, and demonstrations in a GFlowNet's replay, asked for once a problem, count once. What is trained on
again (replay, further epochs) counts once. Not counted are the episodes that supervised training plays for its
learning curve, from which nothing is learnt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from baselines.contestant import Contestant, Meter
from baselines.sft import SFTConfig, supervise
from baselines.tuned import tuned
from gfn_agents.agent import GFlowNetAgent, load_policy, training_kwargs
from gfn_agents.config import TrainConfig, check_config, check_numbers
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.model_options import ModelOptions, check_asked, check_model_options
from gfn_agents.objective_checks import ON_POLICY, check_objective
from gfn_agents.trainer import StepReport
from gfn_envs.agents import Budget, read_agent_file, write_agent_file
from gfn_envs.env import TextEnv
from gfn_envs.files import whole_folder
from gfn_envs.making import make_text_env
from gfn_envs.rollout import rollout
from gfn_envs.task import Task

_ENDLESS = 10**9
_WATCHED_EPISODES, _WATCHED_EVERY = 32, 10
"""Supervised training plays no episodes; for its learning curve so many are played every so many batches."""


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


def train_objective(lesson: Lesson) -> None:
    """Trains by an objective of `gfn_agents.objectives`, after a warm start on demonstrations if there is one."""
    meter, options = lesson.meter, dict(lesson.options)
    warm_steps = options.pop("warm_start", 0)
    imitation = SFTConfig(**tuned("sft", lesson.env_id))
    _imitate(lesson, imitation, lambda: meter.environment_steps < warm_steps and not meter.used_up)
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
    **dict.fromkeys(("gflownet", "reinforce", "grpo", "ppo_clip"), train_objective),
}
_ON_POLICY = ("reinforce", "grpo", "ppo_clip")
_MODEL_OPTIONS = tuple(field.name for field in fields(ModelOptions))


# -- the agent -------------------------------------------------------------------------------------
class PolicyAgent(Contestant):
    """A language-model policy that learns by one of `METHODS`.

    Args:
        method: its name there.
        model: model folder, hub name, GGUF file, "smollm2", or "default", the small model that ships with the package.
        options: fields of `ModelOptions`, such as use_peft; and of the method, over the tuned ones: fields of
            `TrainConfig`, or for sft of `SFTConfig`, and `warm_start`, demonstrated steps that are imitated before an
            objective is trained.

    Raises:
        ValueError: there is no such method or option.
    """

    def __init__(self, method: str, model: str | Path = "default", **options: Any) -> None:
        if method not in METHODS:
            raise ValueError(f"there is no method {method!r}; methods are {', '.join(METHODS)}")
        known = [*_known_options(method), *_MODEL_OPTIONS]
        for name in options:
            if name not in known:
                raise ValueError(f"{method} has no option {name!r}; options are model, {', '.join(known)}")
        self.method, self.model, self.options = method, model, options
        self.model_options = ModelOptions(**{name: options[name] for name in options if name in _MODEL_OPTIONS})
        check_model_options(self.model_options)
        check_asked(self.model_options)
        super().__init__()
        self._policy: LanguageModelPolicy | None = None

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        """Trains from the model that the agent was made with; the last batch may go beyond the budget."""
        kwargs = training_kwargs(dict(env_kwargs or {}))
        env = make_text_env(env_id, kwargs)
        self._policy = load_policy(self.model, model_options=self.model_options, seed=seed)
        options = self._options_on(env_id, env.task)
        meter = Meter(budget)
        meter.count_tokens(self.policy)
        METHODS[self.method](Lesson(self.policy, env_id, kwargs, env, seed, options, meter))
        self.costs, self.curve = meter.costs(), meter.curve

    def check_options(self, env_id: str, env_kwargs: Mapping[str, Any]) -> None:
        """Raises ValueError if an option has no sense, by itself or in this environment."""
        env = make_text_env(env_id, training_kwargs(dict(env_kwargs)))
        options = self._options_on(env_id, env.task)
        if self.method == "sft":
            SFTConfig(**options)
        elif self.method != "untrained":
            warm_start = options.pop("warm_start", 0)
            check_numbers({"warm_start": int}, {"warm_start": warm_start})
            if warm_start < 0:
                raise ValueError(f"warm_start must not be negative, got {warm_start}")
            config = TrainConfig(**options)
            check_config(config)
            check_objective(config, env.task, env.task.reset(env.problems.sample(np.random.default_rng(0))))

    def _options_on(self, env_id: str, task: Task[Any, Any]) -> dict[str, Any]:
        """Returns the options in an environment: those given over the tuned ones over the usual ones.

        A GFlowNet is usually trained by VarGrad, and under chance by expected detailed balance.
        """
        usual: dict[str, Any] = {}
        if self.method == "gflownet":
            usual = {"objective": "vargrad" if task.deterministic else "detailed_balance"}
        elif self.method in _ON_POLICY:
            usual = {**ON_POLICY, "objective": self.method}
        own = {name: value for name, value in self.options.items() if name not in _MODEL_OPTIONS}
        return {**usual, **tuned(self.method, env_id), **own}

    @property
    def policy(self) -> LanguageModelPolicy:
        """The policy as far as it is trained; before that, the model that the agent was made with."""
        if self._policy is None:
            self._policy = load_policy(self.model, model_options=self.model_options)
        return self._policy

    @property
    def player(self) -> LanguageModelPolicy:
        """The policy."""
        return self.policy

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the policy, and how it was made."""
        with whole_folder(Path(folder) / "policy") as partial:
            self.policy.save(partial)
        values = {"method": self.method, "options": self.options, "costs": self.costs, "curve": self.curve}
        write_agent_file(folder, self, values)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> PolicyAgent:
        """Returns the agent that `save` wrote.

        Raises:
            ValueError: the folder holds no such agent.
        """
        values = read_agent_file(folder)
        try:
            agent = cls(values["method"], Path(folder) / "policy", **values["options"])
            agent.costs, agent.curve = dict(values["costs"]), list(values["curve"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"'{folder}' holds no agent that PolicyAgent saved ({error!r})") from None
        return agent


def _known_options(method: str) -> list[str]:
    if method == "untrained":
        return []
    if method == "sft":
        return [field.name for field in fields(SFTConfig)]
    # How many steps there will be is a matter of the budget, so no learning rate can fall with them.
    taken = {"steps", "seed", "lr_scheduler_type", *(() if method == "gflownet" else ("objective", *ON_POLICY))}
    return ["warm_start", *(field.name for field in fields(TrainConfig) if field.name not in taken)]


# -- registered names ------------------------------------------------------------------------------
def untrained(model: str | Path = "default", **options: Any) -> PolicyAgent:
    """Returns the masked policy as it is before any training."""
    return PolicyAgent("untrained", model, **options)


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
