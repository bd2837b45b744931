"""GFlowNetAgent: learn, predict, save, load, as users of Stable-Baselines3 know them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from gfn_agents.config import TrainConfig
from gfn_agents.few_shot import few_shot as worked_examples
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.policy import Policy, sample_actions
from gfn_agents.prompts import PromptTemplate
from gfn_agents.tokenizer import DEFAULT_POLICY_FOLDER
from gfn_agents.trainer import StepReport, Trainer, list_checkpoints
from gfn_envs.env import make_text_env
from gfn_envs.files import write_whole

AGENT_FILE = "agent.json"


def load_policy(model: str | Path, template: PromptTemplate = PromptTemplate()) -> LanguageModelPolicy:
    """Returns the policy on a model folder, a hub name, or "default": the embedded small model."""
    return LanguageModelPolicy.load(DEFAULT_POLICY_FOLDER if model == "default" else model, template=template)


class GFlowNetAgent:
    """A language-model policy that samples solutions in proportion to their reward.

    >>> agent = GFlowNetAgent("gfn_envs/Game24-v0")
    >>> agent.learn()
    >>> action, _ = agent.predict(observation, info["admissible_actions"])
    >>> agent.save("runs/game24")

    Args:
        env_id: registered id; its training split is used unless `env_kwargs` says otherwise.
        model: model folder, hub name, "default", or a ready Policy.
        env_kwargs: keywords of `gym.make`, `problems` among them.
        template: how observations become prompts; a ready LanguageModelPolicy keeps its own.
        few_shot: so many solved training problems are put into the template as worked examples, the same
            ones for one seed.
        folder: run folder for checkpoints and logs; None keeps nothing.
        config: training options; single ones can be given as keywords.
    """

    def __init__(
        self,
        env_id: str,
        model: str | Path | Policy = "default",
        env_kwargs: dict[str, Any] | None = None,
        template: PromptTemplate = PromptTemplate(),
        folder: str | Path | None = None,
        config: TrainConfig = TrainConfig(),
        few_shot: int = 0,
        **options: Any,
    ) -> None:
        self.env_id = env_id
        self.env_kwargs = training_kwargs(env_kwargs or {})
        self.config = replace(config, **options)
        self.folder = Path(folder) if folder is not None else None
        env = make_text_env(env_id, self.env_kwargs)
        self.task = env.task
        template = model.template if isinstance(model, LanguageModelPolicy) else template
        if few_shot:
            shown = worked_examples(env.task, env.problems, few_shot, np.random.default_rng(self.config.seed))
            template = replace(template, examples=(*template.examples, *shown))
        self.policy: Policy = model if isinstance(model, Policy) else load_policy(model, template)
        if isinstance(model, LanguageModelPolicy):
            model.template = template
        self.template = template
        self.trainer = Trainer(env.task, env.problems, self.policy, self.config, self.folder)

    def learn(
        self, steps: int | None = None, on_step: Callable[[StepReport], None] = lambda report: None
    ) -> GFlowNetAgent:
        """Trains.

        Args:
            steps: so many further optimizer steps; default: until `config.steps` are done, which
                for a resumed agent are the remaining ones.
            on_step: called with a report after each step.
        """
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write_description(self.folder)
        self.trainer.run(on_step, None if steps is None else self.trainer.steps_done + steps)
        return self

    def resume(self) -> GFlowNetAgent:
        """Continues from the last checkpoint of the run folder, or from the start if there is none yet.

        Raises:
            ValueError: there is no such folder, or it belongs to a run with other options or prompts.
        """
        if self.folder is None or not self.folder.is_dir():
            raise ValueError(f"there is no run folder '{self.folder}' to resume; start without resume")
        checkpoints = list_checkpoints(self.folder)
        if checkpoints:
            if read_description(self.folder)[2] != self.template:
                raise ValueError(
                    "the run was started with other prompts; pass the same template, instructions and few_shot, "
                    "or start a new run"
                )
            self.trainer.load_checkpoint(checkpoints[-1])
        return self

    def predict(
        self,
        observation: str,
        admissible_actions: Sequence[str],
        deterministic: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[str, None]:
        """Returns an action, sampled or the most probable one, and None (there is no hidden state)."""
        generator = rng if rng is not None else np.random.default_rng()
        temperature = 0.0 if deterministic else 1.0
        return sample_actions(self.policy, [observation], [admissible_actions], generator, temperature)[0], None

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

    def save(self, folder: str | Path) -> None:
        """Writes policy and options to a folder, which appears complete or not at all."""
        final = Path(folder)
        partial = final.with_name(f".partial-{final.name}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self.policy.save(partial / "policy")
        self._write_description(partial)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)

    @classmethod
    def load(cls, folder: str | Path) -> GFlowNetAgent:
        """Reads what `save` wrote, or the last checkpoint of a run folder.

        Raises:
            ValueError: one sentence that says what is missing or damaged.
        """
        home = Path(folder)
        env_id, env_kwargs, template, config = read_description(home)
        return cls(env_id, policy_folder(home), env_kwargs, template, config=config)

    def _write_description(self, folder: Path) -> None:
        described = {
            "env_id": self.env_id,
            "env_kwargs": self.env_kwargs,
            "template": asdict(self.template),
            "config": asdict(self.config),
            "versions": versions(),
        }
        write_whole(folder / AGENT_FILE, json.dumps(described, indent=1))


def training_kwargs(env_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns keywords that train on the training split, or on given problems as they are."""
    return {"split": "all" if env_kwargs.get("problems") is not None else "train", **env_kwargs}


def read_description(home: Path) -> tuple[str, dict[str, Any], PromptTemplate, TrainConfig]:
    """Returns environment id, its keywords, template and configuration of a run or agent folder.

    Raises:
        ValueError: one sentence that says what is missing or damaged.
    """
    try:
        described = json.loads((home / AGENT_FILE).read_text(encoding="utf-8"))
        template, config = PromptTemplate(**described["template"]), TrainConfig(**described["config"])
        return described["env_id"], described["env_kwargs"], template, config
    except FileNotFoundError:
        raise ValueError(f"'{home}' is not a run or agent folder: it has no {AGENT_FILE}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"'{home / AGENT_FILE}' is damaged: {error}") from None


def policy_folder(home: Path) -> Path:
    """Returns where the policy of an agent folder, or of a run's last checkpoint, is."""
    if (home / "policy").is_dir():
        return home / "policy"
    checkpoints = list_checkpoints(home)
    if not checkpoints:
        raise ValueError(f"'{home}' has no complete checkpoint yet; let the run go on to its first one")
    return checkpoints[-1] / "policy"


def versions() -> dict[str, str]:
    """Returns the versions of what a result depends on."""
    import platform
    from importlib.metadata import version

    packages = ("gfn-gym", "gymnasium", "numpy", "torch", "transformers")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
