"""The training loop of a GFlowNet, read from top to bottom in `Trainer.step`.

A run can be killed at any moment: a checkpoint is written beside the last one and then renamed, so
a complete one is always there, and a resumed run goes on exactly as an uninterrupted one would.
Checkpoints are safetensors, JSON and JSON Lines; nothing is pickled.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from gfn_agents.batch import scored_batch
from gfn_agents.config import TrainConfig, check_config
from gfn_agents.distance import DistanceMeter
from gfn_agents.exploration import SelfRepellent, Tempered, VisitCounts, branch, demonstrations
from gfn_agents.local_search import greedy_search, metropolis
from gfn_agents.objectives import OBJECTIVES, check_objective
from gfn_agents.policy import Policy
from gfn_agents.replay import ReplayBuffer
from gfn_envs.problems import ProblemSource
from gfn_envs.rollout import Trajectory, rollout, save_trajectories
from gfn_envs.task import Task

_KEPT_CHECKPOINTS = 2
REFERENCE_FOLDER = "reference"
"""Where a run folder keeps the frozen policy of relative objectives."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did.

    Attributes:
        success: share of solved fresh samples.
        distance: total variation to the exact target after this step, where it was measured.
    """

    step: int
    loss: float
    success: float
    log_reward: float
    gradient_norm: float
    environment_steps: int
    cpu_seconds: float
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class _Searched:
    """What local search found, and what it cost."""

    found: list[Trajectory]
    environment_steps: int


class Trainer:
    """Trains a policy on problems of one task.

    Args:
        task: the rules.
        problems: where training problems are drawn from.
        policy: what is trained.
        config: options.
        folder: run folder for checkpoints, logs and failing batches; None keeps nothing.
        reference: what relative objectives stay close to; by default the policy as it is now, frozen.

    Raises:
        ValueError: an option makes no sense, or the objective does not fit the task.
    """

    def __init__(
        self,
        task: Task[Any, Any],
        problems: ProblemSource[Any],
        policy: Policy,
        config: TrainConfig,
        folder: Path | None = None,
        reference: Policy | None = None,
    ) -> None:
        check_config(config)
        check_objective(config, task, task.reset(problems.sample(np.random.default_rng(config.seed))))
        self.task, self.problems, self.policy, self.config, self.folder = task, problems, policy, config, folder
        self.objective = OBJECTIVES[config.objective]
        self.reference = _frozen(reference or policy) if self.objective.reference else None
        self.rng = np.random.default_rng(config.seed)
        self.replay = ReplayBuffer(
            config.replay_capacity,
            config.replay_kind,
            config.replay_alpha,
            config.replay_per_solution,
            config.replay_min_distance,
        )
        self.visits = VisitCounts()
        self.meter = DistanceMeter(task, problems, config.beta, config.seed) if config.distance_every else None
        self.optimizer = torch.optim.AdamW(_parameter_groups(policy, config), weight_decay=0.0)
        self.steps_done = 0
        self.environment_steps = 0
        self.cpu_seconds = 0.0
        self.stop_requested = False
        self._demonstrated: set[str] = set()

    def run(self, on_step: Callable[[StepReport], None] = lambda report: None, until: int | None = None) -> None:
        """Trains until so many steps are done, by default `config.steps`, or `stop_requested` is set.

        The distance to the target sets it, if `config.stop_at_distance` is reached.

        Checkpoints are written on the way and at the end.
        """
        end = self.config.steps if until is None else until
        while self.steps_done < end and not self.stop_requested:
            report = self.step()
            if report.distance is not None and report.distance < self.config.stop_at_distance:
                self.stop_requested = True
            on_step(report)
            last = self.steps_done == end or self.stop_requested
            if self.folder and (last or self.steps_done % self.config.checkpoint_every == 0):
                self.save_checkpoint()

    def step(self) -> StepReport:
        """Samples trajectories, mixes replay in and takes an optimizer step, or as many as `updates_per_batch` says."""
        started, config = time.process_time(), self.config
        problems = [self.problems.sample(self.rng) for _ in range(config.problems_per_step)]
        fresh, searched = self._sample(problems)
        trajectories = fresh + searched.found + list(self._replayed(problems))
        self.replay.add(fresh + searched.found)

        first: torch.Tensor | None = None
        for _ in range(config.updates_per_batch):
            batch = scored_batch(
                self.policy,
                trajectories,
                config.beta,
                self.objective.flows,
                learned_backward=config.backward == "learned",
                reference=self.reference,
            )
            first = batch.first_log_pf if first is None else first
            loss = self.objective.loss(replace(batch, first_log_pf=first), config)
            self._check_finite(loss, trajectories)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), config.max_grad_norm)
            self._check_finite(norm, trajectories)
            self.optimizer.step()

        self.steps_done += 1
        self.environment_steps += sum(len(trajectory.steps) for trajectory in fresh) + searched.environment_steps
        self.cpu_seconds += time.process_time() - started
        measured = self.meter is not None and self.steps_done % config.distance_every == 0
        return StepReport(
            step=self.steps_done,
            loss=float(loss.detach()),
            success=sum(trajectory.success for trajectory in fresh) / len(fresh),
            log_reward=sum(trajectory.log_reward for trajectory in fresh) / len(fresh),
            gradient_norm=float(norm),
            environment_steps=self.environment_steps,
            cpu_seconds=self.cpu_seconds,
            distance=self.meter.measure(self.policy) if self.meter and measured else None,
        )

    def _sample(self, problems: list[Any]) -> tuple[list[Trajectory], _Searched]:
        """Returns fresh trajectories of the behaviour policy, and what local search made of them."""
        config = self.config
        temperature = config.schedule_of("temperature").at(self.steps_done)
        epsilon = config.schedule_of("epsilon").at(self.steps_done)
        tempered = Tempered(self.policy, temperature, epsilon)
        repeated = [problem for problem in problems for _ in range(config.samples_per_problem)]
        behaviour = SelfRepellent(tempered, self.visits, config.repellence)
        fresh = rollout(self.task, behaviour, repeated, self.rng, max_steps=config.max_steps)
        fresh += branch(self.task, problems, fresh, tempered, self.rng, config.branches_per_sample, config.branch_at)
        if config.local_search == "none":
            return fresh, _Searched([], 0)
        whole = [trajectory for trajectory in fresh if trajectory.complete]
        if config.local_search == "greedy":
            search = greedy_search(self.task, problems, whole, tempered, self.rng, config.local_search_rounds)
        else:
            search = metropolis(self.task, problems, whole, tempered, self.rng, config.beta, config.local_search_rounds)
        found = [new for old, new in zip(whole, search.kept, strict=True) if new is not old]
        return fresh, _Searched(found, sum(len(trajectory.steps) for trajectory in search.proposed))

    def _replayed(self, problems: list[Any]) -> Iterator[Trajectory]:
        if not self.config.replay_per_problem:
            return
        for problem in {problem.id: problem for problem in problems}.values():
            if self.config.demonstrations_per_problem and problem.id not in self._demonstrated:
                self._demonstrated.add(problem.id)
                shown = demonstrations(self.task, problem, self.config.demonstrations_per_problem, self.rng)
                self.replay.add(shown)
            yield from self.replay.sample(problem.id, self.config.replay_per_problem, self.rng)

    def _check_finite(self, value: torch.Tensor, trajectories: list[Trajectory]) -> None:
        if bool(torch.isfinite(value)):
            return
        where = ""
        if self.folder:
            path = self.folder / f"failed-batch-{self.steps_done + 1:06d}.jsonl"
            save_trajectories(trajectories, path)
            where = f"; its trajectories are in '{path}'"
        raise FloatingPointError(f"the loss of step {self.steps_done + 1} is not finite{where}; lower learning_rate")

    # -- checkpoints -----------------------------------------------------------------------------
    def save_checkpoint(self) -> Path:
        """Writes everything that continuing needs; the folder appears complete or not at all."""
        assert self.folder is not None, "a trainer without a folder keeps no checkpoints"
        home = self.folder / "checkpoints"
        partial, final = home / f".partial-{self.steps_done:06d}", home / f"step-{self.steps_done:06d}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self.policy.save(partial / "policy")
        if self.reference is not None and not (self.folder / REFERENCE_FOLDER).exists():
            self.reference.save(partial / REFERENCE_FOLDER)
            os.replace(partial / REFERENCE_FOLDER, self.folder / REFERENCE_FOLDER)
        save_file(_optimizer_tensors(self.optimizer), partial / "optimizer.safetensors")
        self.replay.save(partial / "replay.jsonl")
        counters = {
            "steps_done": self.steps_done,
            "environment_steps": self.environment_steps,
            "cpu_seconds": self.cpu_seconds,
            "demonstrated": sorted(self._demonstrated),
            "visits": self.visits.to_json(),
            "rng": self.rng.bit_generator.state,
            "config": asdict(self.config),
        }
        (partial / "trainer.json").write_text(json.dumps(counters, indent=1), encoding="utf-8")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        for old in list_checkpoints(self.folder)[:-_KEPT_CHECKPOINTS]:
            shutil.rmtree(old)
        return final

    def load_checkpoint(self, checkpoint: Path) -> None:
        """Continues from a checkpoint; the policy's weights are read in place.

        Raises:
            ValueError: a file is missing or damaged, or the run had other options.
        """
        try:
            saved = json.loads((checkpoint / "trainer.json").read_text(encoding="utf-8"))
            _check_same_options(saved["config"], asdict(self.config))
            self.policy.load_weights(checkpoint / "policy")
            if self.reference is not None:
                self.reference.load_weights(checkpoint.parent.parent / REFERENCE_FOLDER)
            _restore_optimizer(self.optimizer, load_file(checkpoint / "optimizer.safetensors"))
            self.replay.load(checkpoint / "replay.jsonl")
            self.rng.bit_generator.state = saved["rng"]
            self.steps_done = saved["steps_done"]
            self.environment_steps = saved["environment_steps"]
            self.cpu_seconds = saved["cpu_seconds"]
            self._demonstrated = set(saved["demonstrated"])
            self.visits.restore(saved.get("visits", {}))
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"checkpoint '{checkpoint}' is damaged ({error}); remove it to go on from an older one"
            ) from None


def list_checkpoints(folder: Path) -> list[Path]:
    """Returns the complete checkpoints of a run folder, oldest first."""
    return sorted((folder / "checkpoints").glob("step-*"))


def _frozen(policy: Policy) -> Policy:
    return copy.deepcopy(policy).requires_grad_(False)


def _parameter_groups(policy: Policy, config: TrainConfig) -> list[dict[str, Any]]:
    flows = policy.flow_parameters()
    kept = {id(parameter) for parameter in flows}
    others = [p for p in policy.parameters() if p.requires_grad and id(p) not in kept]
    return [{"params": others, "lr": config.learning_rate}, {"params": flows, "lr": config.flow_learning_rate}]


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _check_same_options(saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """A run may be continued with more steps or other checkpoint spacing, nothing else.

    Options that the run did not know yet had their default's effect.
    """
    saved = {**asdict(TrainConfig()), **saved}
    for name, value in wanted.items():
        if name not in ("steps", "checkpoint_every") and saved[name] != value:
            raise ValueError(f"the run was started with {name}={saved[name]!r}, not {value!r}; start a new run")
