"""The training loop of a GFlowNet, read from top to bottom in `Trainer.step`.

A run can be killed at any moment, and a resumed one goes on exactly as an uninterrupted one would
(`gfn_agents.checkpointing`), on a GPU up to the rounding of its kernels, which add in any order.

Several processes (`gfn_agents.processes`) divide the problems of a step among them. All trajectories of a problem
stay in one process, which plays and scores them, and a problem's random numbers are its own, so with any number of
processes the same is sampled and learned, up to rounding. Self-repellence is the exception where problems of a step
share a state's text: they keep away from one another's actions only within a process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gfn_agents import processes
from gfn_agents.batch import scored_batch
from gfn_agents.checkpointing import Counters, Trained, read_checkpoint, write_checkpoint
from gfn_agents.config import TrainConfig, check_config, check_thinking
from gfn_agents.distance import DistanceMeter
from gfn_agents.exploration import Row, SelfRepellent, Tempered, VisitCounts, branch, demonstrations
from gfn_agents.local_search import Search, greedy_search, metropolis
from gfn_agents.memory import within_memory
from gfn_agents.objective_checks import check_objective
from gfn_agents.objectives import OBJECTIVES
from gfn_agents.policy import Policy
from gfn_agents.replay import ReplayBuffer
from gfn_envs.problems import ProblemSource
from gfn_envs.rollout import rollout
from gfn_envs.task import Task
from gfn_envs.trajectory import Trajectory, save_trajectories


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did.

    Attributes:
        success: share of solved fresh samples.
        log_reward: mean log R of the fresh samples, where one that broke off counts as a failure.
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
class _Sample:
    """What was played on some problems.

    Attributes:
        fresh: trajectories of the behaviour policy.
        found: what local search put in the place of some of them.
        shown: demonstrations.
        environment_steps: what all of these cost, demonstrations alike.
        visits: how often each action of each prompt was taken.
    """

    fresh: list[Trajectory]
    found: list[Trajectory]
    shown: list[Trajectory]
    environment_steps: int
    visits: dict[str, Row]


class Trainer:
    """Trains a policy on problems of one task.

    Args:
        task: the rules.
        problems: where training problems are drawn from.
        policy: what is trained.
        config: options.
        folder: run folder for checkpoints, logs and failing batches; None keeps nothing.
        reference: what relative objectives stay close to, and thoughts; by default the policy as it is now, frozen.
            Of a policy with an adapter the default is the model without it.

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
        if config.problems_per_step < processes.count():
            raise ValueError(
                f"{processes.count()} processes need as many problems in a step, and problems_per_step is "
                f"{config.problems_per_step}; raise it, or start fewer processes"
            )
        self.task, self.problems, self.policy, self.config, self.folder = task, problems, policy, config, folder
        self.objective = OBJECTIVES[config.objective]
        if policy.thought_tokens:
            check_thinking(config)
            if reference is not None and reference.thought_tokens != policy.thought_tokens:
                raise ValueError("the reference must think as the policy does, with the same thought_tokens")
        processes.copy_from_main(parameter for parameter in policy.parameters() if parameter.requires_grad)
        # Policy gradients have no backward policy, where the prior of thoughts would stand.
        prior = policy.thought_tokens > 0 and config.thought_prior > 0 and not self.objective.policy_gradient
        needed = self.objective.reference or prior
        self.reference: Policy | None = None
        if needed:  # one that is given is meant as it is, with its adapter
            self.reference = policy.frozen_reference() if reference is None else Policy.frozen_reference(reference)
        divided = processes.model_is_divided()
        for whole in (self.policy, self.reference) if divided else ():
            if whole is not None:
                whole.shard()
        self.rng = np.random.default_rng(config.seed)
        self.replay = ReplayBuffer(
            config.replay_capacity,
            config.replay_kind,
            config.replay_alpha,
            config.replay_per_solution,
            config.replay_min_distance,
        )
        self.visits = VisitCounts()
        relative = self.reference if self.objective.reference else None
        self.meter = (
            DistanceMeter(task, problems, config.beta, config.seed, relative) if config.distance_every else None
        )
        self.optimizer = torch.optim.AdamW(_parameter_groups(policy, config), weight_decay=0.0)
        # Of a divided model the gradients are added up as they arise.
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self._exchanged = policy.flow_parameters() if divided else trained
        if divided:
            from gfn_agents.sharding import shard_optimizer  # here, because it takes a second

            shard_optimizer(self.optimizer)
        self.steps_done = 0
        self.environment_steps = 0
        self.cpu_seconds = 0.0
        self.stop_requested = False
        self.target_reached = False
        self._demonstrated: set[str] = set()

    @processes.noticing_loss()
    def run(self, on_step: Callable[[StepReport], None] = lambda report: None, until: int | None = None) -> None:
        """Trains until so many steps are done, by default `config.steps`, or `stop_requested` is set, which it clears.

        It also ends with `target_reached`, once the distance to the target is below `config.stop_at_distance`, and
        then goes on only if `until` says so. Checkpoints are written on the way and at the end.

        Raises:
            ProcessLost: another process of the run has ended.
            ValueError: the learning rate would be zero before so many steps are done.
        """
        end = self.config.steps if until is None else until
        if self.config.lr_scheduler_type != "constant" and end > self.config.steps:
            raise ValueError(
                f"lr_scheduler_type={self.config.lr_scheduler_type} is at a learning rate of zero after steps="
                f"{self.config.steps}, and training was to go on to step {end}; set steps={end}, or "
                "lr_scheduler_type=constant"
            )
        stop = self._stop_agreed() or (until is None and self.target_reached)
        while self.steps_done < end and not stop:
            report = self.step()
            if report.distance is not None:
                self.target_reached = report.distance < self.config.stop_at_distance
            on_step(report)
            stop = self._stop_agreed() or (report.distance is not None and self.target_reached)
            due = self.steps_done == end or stop or self.steps_done % self.config.checkpoint_every == 0
            if self.folder and due:
                if processes.is_main():
                    self.save_checkpoint()
                processes.gather(None)  # the others have their parts of a divided model
        self.stop_requested = False

    def _stop_agreed(self) -> bool:
        """Says whether any process was asked to stop; all of them must stop after the same step."""
        return any(processes.gather(self.stop_requested))

    def step(self) -> StepReport:
        """Samples trajectories, mixes replay in and takes an optimizer step, or as many as `updates_per_batch` says."""
        started, config = time.process_time(), self.config
        for policy in filter(None, (self.policy, self.reference)):
            policy.forget()  # a resumed run knows nothing either, and the same texts in other batches round otherwise
        problems = [self.problems.sample(self.rng) for _ in range(config.problems_per_step)]
        streams = self._streams(problems)
        shared = processes.share(list(streams))
        own = self._sample([problem for problem in problems if problem.id in shared], streams)
        samples = processes.gather(own)

        fresh = [trajectory for sample in samples for trajectory in sample.fresh]
        replayed = self._replayed(samples, shared, streams) if config.replay_per_problem else []
        self._count(samples, streams)

        trajectories, first = own.fresh + own.found + replayed, None
        for _ in range(config.updates_per_batch):
            loss, norm, first = self._update(trajectories, first)

        self.steps_done += 1
        self.cpu_seconds += sum(processes.gather(time.process_time() - started))
        measured = self.meter is not None and self.steps_done % config.distance_every == 0
        return StepReport(
            step=self.steps_done,
            loss=loss,
            success=sum(trajectory.success for trajectory in fresh) / len(fresh),
            log_reward=sum(trajectory.final_log_reward for trajectory in fresh) / len(fresh),
            gradient_norm=norm,
            environment_steps=self.environment_steps,
            cpu_seconds=self.cpu_seconds,
            distance=processes.gather(self.meter.measure(self.policy))[0] if self.meter and measured else None,
        )

    def _streams(self, problems: list[Any]) -> dict[str, np.random.Generator]:
        """Returns a random stream for each distinct problem of this step, by id: its place among them decides."""
        ids = dict.fromkeys(problem.id for problem in problems)
        seeds = (np.random.SeedSequence(self.config.seed, spawn_key=(self.steps_done, n)) for n in range(len(ids)))
        return {name: np.random.default_rng(seed) for name, seed in zip(ids, seeds, strict=True)}

    def _sample(self, problems: list[Any], streams: dict[str, np.random.Generator]) -> _Sample:
        """Plays fresh trajectories by the behaviour policy, searches around them, and shows what was not shown yet."""
        config = self.config
        temperature = config.schedule_of("temperature").at(self.steps_done)
        epsilon = config.schedule_of("epsilon").at(self.steps_done)
        tempered, visits = Tempered(self.policy, temperature, epsilon), VisitCounts(earlier=self.visits)
        repeated = [problem for problem in problems for _ in range(config.samples_per_problem)]
        behaviour = SelfRepellent(tempered, visits, config.repellence)
        fresh = rollout(self.task, behaviour, repeated, streams, max_steps=config.max_steps)
        fresh += branch(
            self.task,
            problems,
            fresh,
            tempered,
            streams,
            config.branches_per_sample,
            config.branch_at,
            config.max_steps,
        )
        search = self._search(problems, [trajectory for trajectory in fresh if trajectory.complete], tempered, streams)
        shown = [
            trajectory
            for problem in {problem.id: problem for problem in problems}.values()
            if config.demonstrations_per_problem and problem.id not in self._demonstrated
            for trajectory in demonstrations(self.task, problem, config.demonstrations_per_problem, streams[problem.id])
        ]
        known = set(map(id, fresh))
        found = [trajectory for trajectory in search.kept if id(trajectory) not in known]
        cost = sum(len(trajectory.steps) for trajectory in fresh + search.proposed + shown)
        return _Sample(fresh, found, shown, cost, visits.gained())

    def _search(
        self, problems: list[Any], played: list[Trajectory], agent: Tempered, streams: dict[str, np.random.Generator]
    ) -> Search:
        config, rounds = self.config, self.config.local_search_rounds
        if config.local_search == "none" or not played:
            return Search([], [])
        if config.local_search == "greedy":
            return greedy_search(self.task, problems, played, agent, streams, rounds, config.max_steps)
        return metropolis(self.task, problems, played, agent, streams, config.beta, rounds, config.max_steps)

    def _replayed(
        self, samples: list[_Sample], problem_ids: list[str], streams: dict[str, np.random.Generator]
    ) -> list[Trajectory]:
        """Returns what is drawn from replay, demonstrations included; what was played is put there afterwards."""
        self.replay.add(trajectory for sample in samples for trajectory in sample.shown)
        count = self.config.replay_per_problem
        drawn = [trajectory for name in problem_ids for trajectory in self.replay.sample(name, count, streams[name])]
        self.replay.add(trajectory for sample in samples for trajectory in sample.fresh)
        self.replay.add(trajectory for sample in samples for trajectory in sample.found)
        return drawn

    def _count(self, samples: list[_Sample], problem_ids: Iterable[str]) -> None:
        for sample in samples:
            self.visits.add(sample.visits)
            self.environment_steps += sample.environment_steps
        if self.config.demonstrations_per_problem:
            self._demonstrated.update(problem_ids)

    def _update(
        self, trajectories: list[Trajectory], first: torch.Tensor | None
    ) -> tuple[float, float, torch.Tensor | None]:
        """Takes one optimizer step on the trajectories of all processes; returns loss, gradient norm and first log_pf.

        Every trajectory weighs the same in a loss, so that of all processes is the mean of theirs, weighed by how
        many trajectories each has.
        """
        weight = len(trajectories) / sum(processes.gather(len(trajectories)))
        loss, first = within_memory(lambda: self._add_gradient(trajectories, weight, first), self.policy)
        mean = sum(processes.gather(weight * loss))
        self._check_finite(mean, trajectories)
        processes.add_gradients(self._exchanged)
        norm = self.policy.clip_gradients(self.config.max_grad_norm)
        self._check_finite(norm, trajectories)
        self._set_learning_rates()
        self.optimizer.step()
        return mean, norm, first

    def _set_learning_rates(self) -> None:
        """Sets the learning rates of model and flow head while they change; constant ones are left to the caller."""
        config = self.config
        if config.lr_scheduler_type == "constant" and self.steps_done >= config.warmup_steps:
            return
        factor = config.learning_rate_factor(self.steps_done)
        rates = (config.learning_rate, config.flow_learning_rate)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = factor * rate

    def _add_gradient(
        self, trajectories: list[Trajectory], weight: float, first: torch.Tensor | None
    ) -> tuple[float, torch.Tensor | None]:
        """Sets the gradient to that of this process's loss, weighed; returns that loss and first log_pf."""
        self.optimizer.zero_grad()
        if not trajectories:
            return 0.0, first
        batch = scored_batch(
            self.policy,
            trajectories,
            self.config.beta,
            self.objective.flows,
            learned_backward=self.config.backward == "learned",
            reference=self.reference if self.objective.reference else None,
            thought_reference=self.reference,
            thought_weight=self.config.thought_weight,
            thought_prior=self.config.thought_prior,
        )
        first = batch.first_log_pf if first is None else first
        loss = self.objective.loss(replace(batch, first_log_pf=first), self.config)
        self.policy.backward(loss * weight)
        return float(loss.detach()), first

    def _check_finite(self, value: float, trajectories: list[Trajectory]) -> None:
        if math.isfinite(value):
            return
        where, everything = "", processes.gather(trajectories)
        if self.folder:
            path = self.folder / f"failed-batch-{self.steps_done + 1:06d}.jsonl"
            if processes.is_main():
                save_trajectories((trajectory for part in everything for trajectory in part), path)
            where = f"; its trajectories are in '{path}'"
        remedy = "lower learning_rate"
        if self.config.regression == "shifted_cosh":  # e^r of a policy far from its target is too large for a float
            remedy += ", or set regression=huber"
        raise FloatingPointError(f"the loss of step {self.steps_done + 1} is not finite{where}; {remedy}")

    # -- checkpoints -----------------------------------------------------------------------------
    @property
    def _trained(self) -> Trained:
        return Trained(self.policy, self.reference, self.optimizer, self.replay)

    def save_checkpoint(self) -> Path:
        """Writes everything that continuing needs; the folder appears complete or not at all."""
        assert self.folder is not None, "a trainer without a folder keeps no checkpoints"
        counters = Counters(
            steps_done=self.steps_done,
            environment_steps=self.environment_steps,
            cpu_seconds=self.cpu_seconds,
            demonstrated=sorted(self._demonstrated),
            rng=dict(self.rng.bit_generator.state),
            config=asdict(self.config),
            visits=self.visits.to_json(),
            target_reached=self.target_reached,
        )
        return write_checkpoint(self.folder, self._trained, counters)

    def load_checkpoint(self, checkpoint: Path) -> None:
        """Continues from a checkpoint; the policy's weights are read in place.

        Raises:
            ValueError: a file is missing or damaged, or the run had other options.
        """
        counters = read_checkpoint(checkpoint, self._trained, self.config)
        self.rng.bit_generator.state = counters.rng
        self.steps_done = counters.steps_done
        self.environment_steps = counters.environment_steps
        self.cpu_seconds = counters.cpu_seconds
        self.target_reached = counters.target_reached
        self._demonstrated = set(counters.demonstrated)
        self.visits.restore(counters.visits)


def _parameter_groups(policy: Policy, config: TrainConfig) -> list[dict[str, Any]]:
    flows = policy.flow_parameters()
    kept = {id(parameter) for parameter in flows}
    others = [p for p in policy.parameters() if p.requires_grad and id(p) not in kept]
    if any(torch.finfo(p.dtype).bits < 32 for p in others):
        raise ValueError(
            "weights in half precision lose small steps, so they cannot be trained themselves; "
            "use dtype='float32', or use_peft, which trains an adapter in float32"
        )
    return [{"params": others, "lr": config.learning_rate}, {"params": flows, "lr": config.flow_learning_rate}]
