"""Options of a training run, in a module without torch, so that the command line reads them at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_type_hints

from gfn_agents.schedules import Schedule, ScheduleKind

ObjectiveName = Literal[
    "vargrad",
    "trajectory_balance",
    "detailed_balance",
    "sub_trajectory_balance",
    "forward_looking_detailed_balance",
    "forward_looking_sub_trajectory_balance",
    "modified_detailed_balance",
    "modified_sub_trajectory_balance",
    "relative_trajectory_balance",
    "reinforce",
    "grpo",
    "ppo_clip",
]
RegressionName = Literal["huber", "squared", "shifted_cosh"]
BackwardName = Literal["uniform", "learned"]
ReplayName = Literal["stratified", "reward"]
BranchName = Literal["uniform", "entropy"]
LocalSearchName = Literal["none", "greedy", "metropolis"]
LearningRateName = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run.

    Args:
        steps: optimizer steps.
        problems_per_step: problems drawn for each step.
        samples_per_problem: trajectories sampled on each of them.
        objective: what is made zero, or for reinforce, grpo and ppo_clip large.
        regression: loss on the residuals.
        subtb_lambda: in sub-trajectory balance a part of n steps weighs subtb_lambda^n.
        backward: P_B where histories merge: uniform over the incoming edges, or learned by the policy.
        clip_range: of the probability ratio in grpo and ppo_clip.
        updates_per_batch: optimizer steps on the same trajectories.
        beta: the target is proportional to R^beta.
        learning_rate: of the model.
        flow_learning_rate: of the flow head, which gives log F, and so log Z.
        warmup_steps: both learning rates grow to their values in equal parts over the first so many steps; Adam's
            first steps are as long as its later ones, too long for a model that can already do something.
        lr_scheduler_type: way of both learning rates after that: they stay, or fall to zero at `steps`, so that the
            last steps, which are short, average over the noise of sampling. A run that is continued with more steps
            falls to the new end.
        max_grad_norm: gradients are clipped to this norm.
        max_steps: episodes that take longer break off after so many steps and are learned from as they are. What
            comes later is learned from episodes that come to their end, so that some must be shorter, or replayed.
        temperature: sampling temperature of the behaviour policy.
        temperature_end: where it goes by the schedule; default: it stays.
        epsilon: probability of a uniformly random legal action in the behaviour policy. This harms a policy that is
            sure, unless the target leaves next to nothing to failures (docs/mathematics.md, the sixth trap).
        epsilon_end: where it goes by the schedule; default: it stays.
        schedule: the way of both between start and end.
        schedule_steps: steps until both are at their end.
        repellence: strength of self-repellent sampling; 0 is none.
        branches_per_sample: further trajectories that share their first steps with each sample.
        branch_at: where a branch leaves: at any step alike, or where the policy is undecided.
        local_search: rebuild the ends of samples, keeping better ones (greedy) or by Metropolis's rule.
        local_search_rounds: how often.
        replay_per_problem: stored trajectories added to each problem of a step; 0 is no replay.
        replay_capacity: most stored trajectories of one problem.
        replay_kind: half successes, or by reward.
        replay_alpha: with "reward", trajectories are drawn in proportion to R^replay_alpha.
        replay_per_solution: most stored trajectories of one solution; default: no limit.
        replay_min_distance: least edit distance in actions between stored trajectories.
        demonstrations_per_problem: solver trajectories put into replay when a problem first comes up.
        distance_every: steps between measurements of the exact distance to the target, on a few training problems
            that can be listed; 0 is never.
        stop_at_distance: training stops once the distance (total variation) is below this.
        thought_weight: of the log-probability of thoughts, for a policy that thinks; exact with 1 only.
        thought_prior: of the log-probability of thoughts under the reference; exact with 1, with 0
            thoughts become noise. Policy gradients do without.
        checkpoint_every: steps between checkpoints.
        seed: of problems, sampling and replay.
    """

    steps: int = 200
    problems_per_step: int = 4
    samples_per_problem: int = 8
    objective: ObjectiveName = "vargrad"
    regression: RegressionName = "huber"
    subtb_lambda: float = 0.9
    backward: BackwardName = "uniform"
    clip_range: float = 0.2
    updates_per_batch: int = 1
    beta: float = 1.0
    learning_rate: float = 3e-4
    flow_learning_rate: float = 1e-2
    warmup_steps: int = 0
    lr_scheduler_type: LearningRateName = "constant"
    max_grad_norm: float = 1.0
    max_steps: int | None = None
    temperature: float = 1.0
    temperature_end: float | None = None
    epsilon: float = 0.0
    epsilon_end: float | None = None
    schedule: ScheduleKind = "linear"
    schedule_steps: int = 100
    repellence: float = 0.0
    branches_per_sample: int = 0
    branch_at: BranchName = "uniform"
    local_search: LocalSearchName = "none"
    local_search_rounds: int = 1
    replay_per_problem: int = 4
    replay_capacity: int = 64
    replay_kind: ReplayName = "stratified"
    replay_alpha: float = 1.0
    replay_per_solution: int | None = None
    replay_min_distance: int = 1
    demonstrations_per_problem: int = 0
    distance_every: int = 0
    stop_at_distance: float = 0.0
    thought_weight: float = 1.0
    thought_prior: float = 1.0
    checkpoint_every: int = 50
    seed: int = 0

    def schedule_of(self, name: Literal["temperature", "epsilon"]) -> Schedule:
        """Returns the schedule of temperature or epsilon."""
        start, end = getattr(self, name), getattr(self, f"{name}_end")
        return Schedule(start) if end is None else Schedule(start, end, self.schedule_steps, self.schedule)

    def learning_rate_factor(self, step: int) -> float:
        """Returns the share of both learning rates that optimizer step `step`, counted from 0, is taken with."""
        warmth = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        if self.lr_scheduler_type == "constant":
            return warmth
        falling = Schedule(1.0, 0.0, max(self.steps - self.warmup_steps, 1), self.lr_scheduler_type)
        return warmth * falling.at(step - self.warmup_steps)


def check_config(config: TrainConfig) -> None:
    """Raises ValueError with one sentence if an option makes no sense, whatever the task."""
    check_numbers(get_type_hints(TrainConfig), vars(config))
    sizes = (
        *("steps", "problems_per_step", "samples_per_problem", "updates_per_batch", "replay_capacity", "max_steps"),
        *("replay_per_solution", "replay_min_distance", "local_search_rounds", "schedule_steps", "checkpoint_every"),
    )
    check_sizes(vars(config), sizes)
    for name in (
        *("replay_per_problem", "demonstrations_per_problem", "branches_per_sample", "distance_every", "seed"),
        *("temperature", "temperature_end", "repellence", "replay_alpha", "stop_at_distance"),
        *("thought_weight", "thought_prior", "warmup_steps"),
    ):
        if getattr(config, name) is not None and not 0 <= getattr(config, name) < math.inf:
            raise ValueError(f"{name} must not be negative, got {getattr(config, name)}")
    for name in ("beta", "subtb_lambda", "clip_range", "learning_rate", "flow_learning_rate", "max_grad_norm"):
        if not 0 < getattr(config, name) < math.inf:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")
    for name in ("epsilon", "epsilon_end"):
        if getattr(config, name) is not None and not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {getattr(config, name)}")
    for name, known in (
        *(("objective", ObjectiveName), ("regression", RegressionName), ("backward", BackwardName)),
        *(("schedule", ScheduleKind), ("replay_kind", ReplayName), ("branch_at", BranchName)),
        *(("local_search", LocalSearchName), ("lr_scheduler_type", LearningRateName)),
    ):
        if getattr(config, name) not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {getattr(config, name)!r}")
    temperature, epsilon = config.schedule_of("temperature"), config.schedule_of("epsilon")
    for when in (0, config.schedule_steps):
        if not (temperature.at(when) or epsilon.at(when)):
            raise ValueError(
                f"temperature 0 plays one trajectory again and again, as at step {when}; set epsilon, or a temperature "
                "above 0"
            )
    if config.stop_at_distance and not config.distance_every:
        raise ValueError("stop_at_distance needs measurements; set distance_every to at least 1")
    if config.demonstrations_per_problem and not config.replay_per_problem:
        raise ValueError("demonstrations are drawn through replay; set replay_per_problem to at least 1")


def check_numbers(hints: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raises ValueError if an option that is a number by its type hint has another value, such as the text '1e-3'."""
    for name, value in options.items():
        kinds = get_args(hints.get(name)) or (hints.get(name),)
        numbers = [kind for kind in kinds if kind in (int, float)]
        others = tuple(kind for kind in kinds if isinstance(kind, type) and kind not in numbers)
        if not numbers or isinstance(value, others):
            continue
        wanted, kind = ("a number", Real) if float in numbers else ("a whole number", Integral)
        if isinstance(value, bool) or not isinstance(value, kind):
            remedy = "; in YAML a number with an exponent needs a point: 1.0e-3" if isinstance(value, str) else ""
            raise ValueError(f"{name} must be {wanted}, got {value!r}{remedy}")


def check_sizes(options: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raises ValueError if one of the named options is given and less than 1."""
    for name in names:
        if options.get(name) is not None and options[name] < 1:
            raise ValueError(f"{name} must be at least 1, got {options[name]}")


def check_thinking(config: TrainConfig) -> None:
    """Raises ValueError with one sentence if an option needs more of a policy that thinks than its samples."""
    for asks, remedy in (
        (config.local_search == "metropolis", "local_search=greedy or none"),
        (config.repellence > 0, "repellence=0"),
        (config.branches_per_sample > 0 and config.branch_at == "entropy", "branch_at=uniform"),
        (config.distance_every > 0, "distance_every=0"),
    ):
        if asks:
            raise ValueError(
                "the policy thinks before it acts, so the probability of an action is a sum over all thoughts, which "
                f"cannot be listed; set {remedy}, or thought_tokens=0"
            )
