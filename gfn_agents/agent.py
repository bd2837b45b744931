"""GFlowNetAgent: learn, predict, save, load, as users of Stable-Baselines3 know them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gfn_agents import processes
from gfn_agents.checkpointing import list_checkpoints, read_counters
from gfn_agents.config import TrainConfig
from gfn_agents.few_shot import few_shot as worked_examples
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.logs import BOARD_FOLDER, HISTORY_FILE
from gfn_agents.model_options import ModelOptions, check_same_model
from gfn_agents.policy import Policy, sample_actions
from gfn_agents.pretrained import lasting_name
from gfn_agents.prompts import PromptTemplate
from gfn_agents.trainer import StepReport, Trainer
from gfn_envs.agents import AGENT_FILE, read_agent_file, write_agent_file
from gfn_envs.env import TextEnv
from gfn_envs.files import LOCK_FILE, check_own, content_digest, json_values, whole_folder
from gfn_envs.making import make_text_env
from gfn_envs.task import Task, check_options
from gfn_envs.versions import versions


def load_policy(
    model: str | Path = "default",
    template: PromptTemplate = PromptTemplate(),
    model_options: ModelOptions = ModelOptions(),
    seed: int = 0,
) -> LanguageModelPolicy:
    """Returns the policy on a model folder, a hub name, a GGUF file, "smollm2", or "default": the embedded small model.

    Args:
        seed: of a new adapter.
    """
    return LanguageModelPolicy.load(model, model_options, seed, template=template)


class GFlowNetAgent:
    """A language-model policy that samples solutions in proportion to their reward.

    >>> agent = GFlowNetAgent("gfn_envs/Game24-v0")
    >>> agent.learn()
    >>> action, _ = agent.predict(observation, info["admissible_actions"])
    >>> agent.save("runs/game24")

    Args:
        env_id: registered id; its training split is used unless `env_kwargs` says otherwise.
        model: model folder, hub name, GGUF file, "smollm2", "default", or a ready Policy.
        env_kwargs: keywords of `gym.make`, `problems` among them.
        template: how observations become prompts; a ready LanguageModelPolicy keeps its own.
        few_shot: so many solved training problems are put into the template as worked examples, the same
            ones for one seed.
        folder: run folder for checkpoints and logs; None keeps nothing.
        config: training options; single ones can be given as keywords.
        model_options: how the model is loaded: type, device, adapter. A ready Policy is taken as it is.
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
        model_options: ModelOptions = ModelOptions(),
        **options: Any,
    ) -> None:
        check_options(TrainConfig, options)
        config = TrainConfig(**json_values(asdict(replace(config, **options))))
        self._hold(env_id, json_values(training_kwargs(env_kwargs or {})), config, model_options)
        self.folder = Path(folder) if folder is not None else None
        self._env  # noqa: B018  # mistakes in its keywords are found before a large model is loaded
        template = model.template if isinstance(model, LanguageModelPolicy) else template
        if few_shot:
            rng = np.random.default_rng(self.config.seed)
            shown = worked_examples(self.task, self._env.problems, few_shot, rng)
            template = replace(template, examples=(*template.examples, *shown))
        self.model = None if isinstance(model, Policy) else lasting_name(model)
        self.policy: Policy = (
            model if isinstance(model, Policy) else load_policy(model, template, model_options, self.config.seed)
        )
        if isinstance(model, LanguageModelPolicy):
            model.template = template
        self._template = template
        self.trainer  # noqa: B018  # and mistakes in the options before anything is trained

    def _hold(self, env_id: str, env_kwargs: dict[str, Any], config: TrainConfig, model_options: ModelOptions) -> None:
        self.env_id, self.env_kwargs, self.config, self.model_options = env_id, env_kwargs, config, model_options
        self._spent: dict[str, float] = {}

    @cached_property
    def _env(self) -> TextEnv[Any, Any]:
        return make_text_env(self.env_id, self.env_kwargs)

    @property
    def task(self) -> Task[Any, Any]:
        """Rules of the environment."""
        return self._env.task

    @cached_property
    def trainer(self) -> Trainer:
        """What trains the policy; of an agent that was loaded it is made when it is first asked for."""
        trainer = Trainer(self.task, self._env.problems, self.policy, self.config, self.folder)
        trainer.environment_steps = int(self._spent.get("environment_steps", 0))
        trainer.cpu_seconds = float(self._spent.get("cpu_seconds", 0.0))
        return trainer

    @property
    def template(self) -> PromptTemplate:
        """How observations become prompts; agents on one ready policy have one in common."""
        return self.policy.template if isinstance(self.policy, LanguageModelPolicy) else self._template

    @property
    def thought_tokens(self) -> int:
        """Most tokens of a thought before an action; 0 for a policy that does not think."""
        return self.policy.thought_tokens

    @property
    def costs(self) -> dict[str, float]:
        """What training has used up so far, also before the agent was saved; not that of the model it began with."""
        spent = vars(self.trainer) if "trainer" in vars(self) else self._spent
        return {name: float(spent.get(name, 0.0)) for name in ("environment_steps", "cpu_seconds")}

    def learn(
        self, steps: int | None = None, on_step: Callable[[StepReport], None] = lambda report: None
    ) -> GFlowNetAgent:
        """Trains.

        Args:
            steps: so many further optimizer steps; default: until `config.steps` are done, which
                for a resumed agent are the remaining ones.
            on_step: called with a report after each step.

        Raises:
            ValueError: the run folder holds checkpoints of another run.
        """
        if self.folder is not None and not self.trainer.steps_done and list_checkpoints(self.folder):
            raise ValueError(
                f"'{self.folder}' holds checkpoints of an earlier run; call resume() to go on with it, "
                "or choose another folder"
            )
        processes.gather(None)  # no process writes into the folder before all have looked into it
        if self.folder is not None and processes.is_main():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write_description(self.folder)
        self.trainer.run(on_step, None if steps is None else self.trainer.steps_done + steps)
        return self

    def resume(self) -> GFlowNetAgent:
        """Continues from the last checkpoint of the run folder, or from the start if there is none yet.

        Raises:
            ValueError: there is no such folder, or it belongs to a run with another model, other options or prompts.
        """
        if self.folder is None or not self.folder.is_dir():
            raise ValueError(f"there is no run folder '{self.folder}' to resume; start without resume")
        if not (self.folder / AGENT_FILE).is_file():
            check_own(self.folder, (HISTORY_FILE, BOARD_FOLDER, LOCK_FILE))  # of a run that was killed before it began
        checkpoints = list_checkpoints(self.folder)
        if checkpoints:
            saved = read_description(self.folder)
            if (saved.env_id, saved.env_kwargs) != (self.env_id, self.env_kwargs):
                raise ValueError(
                    f"the run was started on {saved.env_id} with {saved.env_kwargs}, not on {self.env_id} with "
                    f"{self.env_kwargs}; pass the same environment, or start a new run"
                )
            if saved.problems_digest not in ("", self._problems_digest):
                raise ValueError(
                    f"the problem file '{self.env_kwargs['problems']}' has changed since the run was started; put the "
                    "earlier one back, or start a new run"
                )
            if self.model and saved.model and self.model != saved.model:
                raise ValueError(f"the run was started with model={saved.model!r}, not {self.model!r}; start a new run")
            check_same_model(saved.model_options, self.model_options)
            if saved.template != self.template:
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
        """Writes policy and options to a folder, which appears complete or not at all.

        Raises:
            ValueError: the folder holds anything but an agent that was saved there before.
        """
        check_own(folder, (AGENT_FILE, "policy"))
        with whole_folder(folder) as partial:
            self.policy.save(partial / "policy")
            self._write_description(partial, costs=self.costs)

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> GFlowNetAgent:
        """Reads what `save` wrote, or the last checkpoint of a run folder.

        It plays without its training problems, which may be elsewhere; training needs them.

        Args:
            device: where it plays; auto is the first GPU where there is one, and otherwise the CPU.

        Raises:
            ValueError: one sentence that says what is missing or damaged.
        """
        home = Path(folder)
        saved = read_description(home)
        options = replace(saved.model_options, device=device)
        policy = policy_folder(home)
        agent = cls.__new__(cls)  # to make one anew would look for its training problems
        agent._hold(saved.env_id, saved.env_kwargs, saved.config, options)
        agent.folder, agent._template, agent.model = None, saved.template, lasting_name(policy)
        agent.policy = load_policy(policy, saved.template, options, saved.config.seed)
        agent._spent = saved.costs if policy.parent == home else vars(read_counters(policy.parent))
        return agent

    @property
    def _problems_digest(self) -> str:
        """What tells versions of the problem file apart; empty without one."""
        problems = self.env_kwargs.get("problems")
        return content_digest(problems) if isinstance(problems, str) else ""

    def _write_description(self, folder: Path, **more: Any) -> None:
        described = {
            "env_id": self.env_id,
            "env_kwargs": self.env_kwargs,
            "problems_digest": self._problems_digest,
            "model": self.model,
            "model_options": asdict(self.model_options),
            "template": asdict(self.template),
            "config": asdict(self.config),
            "versions": versions(),
            **more,
        }
        write_agent_file(folder, self, described)


def training_kwargs(env_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns keywords that train on the training split, or on given problems as they are."""
    return {"split": "all" if env_kwargs.get("problems") is not None else "train", **env_kwargs}


@dataclass(frozen=True, slots=True)
class RunDescription:
    """What an agent was made of. The model is None where a ready policy was given; the digest is empty if unknown."""

    env_id: str
    env_kwargs: dict[str, Any]
    template: PromptTemplate
    config: TrainConfig
    model: str | None
    model_options: ModelOptions
    costs: dict[str, float]
    problems_digest: str


def read_description(home: Path) -> RunDescription:
    """Returns what the agent of a run or agent folder was made of.

    Raises:
        ValueError: one sentence that says what is missing or damaged.
    """
    described = read_agent_file(home)
    try:
        return RunDescription(
            described["env_id"],
            described["env_kwargs"],
            PromptTemplate(**described["template"]),
            TrainConfig(**described["config"]),
            described.get("model"),
            ModelOptions(**described.get("model_options", {})),
            {name: float(value) for name, value in described.get("costs", {}).items()},
            str(described.get("problems_digest", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"'{home / AGENT_FILE}' is damaged: {error}") from None


def policy_folder(home: Path) -> Path:
    """Returns where the policy of an agent folder, or of a run's last checkpoint, is."""
    if (home / "policy").is_dir():
        return home / "policy"
    checkpoints = list_checkpoints(home)
    if not checkpoints:
        raise ValueError(f"'{home}' has no complete checkpoint yet; let the run go on to its first one")
    return checkpoints[-1] / "policy"
