"""Whether a step along a GFlowNet's gradient helps unseen problems, with random actions in its samples and without.

A policy that is sure gives a random action far less than the target leaves to failures. Balance then asks for more of
it, with the force of a solution (Huber), and as the gradient of a log-probability is large where the probability is
small, such a trajectory outweighs all others of its batch. Shown is the cosine between minus the gradient of the loss
and the gradient of success on problems of the validation split, whose solutions nobody but this script reads: above 0
a step helps. Batches are drawn once for each epsilon, from the same seeds. With a large beta failures have hardly any
place in the target, and random ones show what not to do.

    python benchmarks/random_actions.py
    python benchmarks/random_actions.py --model runs/flow_of_reasoning/warm-start --env PrOntoQA \\
        --options '{"ontology": "true", "slack": 0, "hops": 3}' --problems runs/flow_of_reasoning/training.jsonl
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from gfn_agents.agent import load_policy
from gfn_agents.batch import scored_batch
from gfn_agents.config import TrainConfig
from gfn_agents.exploration import Tempered, demonstrations
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.model_options import ModelOptions
from gfn_agents.objectives import OBJECTIVES
from gfn_envs.making import make_text_env
from gfn_envs.problems import ProblemSource, load_problems
from gfn_envs.rollout import rollout
from gfn_envs.task import Task
from gfn_envs.trajectory import Trajectory

_SAMPLES = 4
"""Of each problem."""
_AT_ONCE = 4
"""Unseen problems of one evaluation of the policy: their activations are kept."""


@dataclass(frozen=True)
class Options:
    """Whether a step along the GFlowNet's gradient helps unseen problems, by the share of random actions.

    Args:
        model: "default", a hub name or a folder, such as one after supervised fine-tuning.
        env: environment.
        options: its keywords, as JSON.
        problems: file of the problems that batches are drawn from; default: generated ones of the training split.
        epsilons: shares of random actions.
        betas: the target is proportional to R^beta: the larger, the less it leaves to failures.
        batches: for each pair of them.
        unseen: problems of the validation split.
        seed: of everything that is drawn.
    """

    model: str = "default"
    env: str = "BlocksWorld"
    options: str = "{}"
    problems: Path | None = None
    epsilons: tuple[float, ...] = (0.0, 0.02)
    betas: tuple[float, ...] = (1.0, 10.0)
    batches: int = 8
    unseen: int = 40
    seed: int = 0


def gradient(policy: LanguageModelPolicy, loss: Tensor) -> Tensor:
    """Returns the gradient of a loss by the weights that are trained, but for the flow head, as one vector."""
    heads = set(map(id, policy.flow_parameters()))
    trained = [p for p in policy.parameters() if p.requires_grad and id(p) not in heads]
    for parameter in policy.parameters():
        parameter.grad = None
    policy.backward(loss)
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in trained])


def success_gradient(
    task: Task[Any, Any], policy: LanguageModelPolicy, unseen: list[Any], rng: np.random.Generator
) -> Tensor:
    """Returns the gradient of the mean probability of up to 4 solutions of each problem."""
    parts = []
    for start in range(0, len(unseen), _AT_ONCE):
        shown = [t for problem in unseen[start : start + _AT_ONCE] for t in demonstrations(task, problem, 4, rng)]
        found = scored_batch(policy, shown, beta=1.0).log_pf.sum(dim=1).exp().sum()
        parts.append(gradient(policy, found / len(unseen)))
    return torch.stack(parts).sum(dim=0)


def sampled(
    task: Task[Any, Any], policy: LanguageModelPolicy, training: ProblemSource[Any], epsilon: float, seed: int
) -> list[Trajectory]:
    """Returns samples of a batch of problems, and a demonstration of each."""
    problems = list(training.take(TrainConfig.problems_per_step, np.random.default_rng(seed)))
    streams = {problem.id: np.random.default_rng([seed, n]) for n, problem in enumerate(problems)}
    repeated = [problem for problem in problems for _ in range(_SAMPLES)]
    fresh = rollout(task, Tempered(policy, 1.0, epsilon), repeated, streams)
    return fresh + [t for problem in problems for t in demonstrations(task, problem, 1, streams[problem.id])]


def vargrad_gradient(policy: LanguageModelPolicy, trajectories: list[Trajectory], beta: float) -> Tensor:
    """Returns the gradient of VarGrad."""
    config = TrainConfig(beta=beta)
    return gradient(policy, OBJECTIVES["vargrad"].loss(scored_batch(policy, trajectories, beta), config))


def main() -> None:
    """Prints a row for each share of random actions."""
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    task = make_text_env(f"gfn_envs/{options.env}-v0", json.loads(options.options)).task
    pretrained = options.model != "default"
    policy = load_policy(options.model, model_options=ModelOptions(use_peft=pretrained), seed=options.seed)
    rng = np.random.default_rng(options.seed)
    unseen = task.problems().split("validation").take(options.unseen, rng)
    wanted = success_gradient(task, policy, list(unseen), rng)
    training = load_problems(task, options.problems) if options.problems else task.problems().split("train")
    print("epsilon  beta  solved         cosine (standard error)  batches that help  gradient norm  CPU s", flush=True)
    for epsilon in options.epsilons:
        batches = [sampled(task, policy, training, epsilon, options.seed + n) for n in range(options.batches)]
        solved = np.mean([t.success for batch in batches for t in batch if t.source == "policy"])
        for beta in options.betas:
            started = time.process_time()
            pulls = [vargrad_gradient(policy, batch, beta) for batch in batches]
            norms = np.array([float(pull.norm()) for pull in pulls])
            along = np.array([-float(pull @ wanted / wanted.norm()) for pull in pulls])
            cosines = along / norms.clip(min=1e-12)
            error = np.std(cosines, ddof=1) / np.sqrt(len(cosines))
            row = f"{epsilon:7.3f}  {beta:4g}  {solved:6.3f}  {np.mean(cosines):+23.3f} ({error:.3f})"
            row += f"  {np.mean(cosines > 0):18.0%}  {np.median(norms):13.2f}  {time.process_time() - started:5.0f}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
