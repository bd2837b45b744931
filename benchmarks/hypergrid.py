"""Trajectories per CPU second of the training loop on HyperGrid 8x8, beside torchgfn in the same run.

    python -m benchmarks.hypergrid [--steps 2000] [--seconds 30] [--objective trajectory_balance]

A table of logits learns from batches of 16 of its own samples on one thread, with the reward of
Bengio et al. 2021 (R0 = 0.1, R1 = 0.5, R2 = 2). L1 is the sum over the 64 places of |P(place) - R / Z|
at the end, with the exact P of the learned policy. Where torchgfn can be imported it does the same:
its own HyperGrid, whose reward is compared place by place, its table, its trajectory balance and its
sampler, with the same optimizer, rates and number of steps. Both take turns of `--turn` steps, so that a busy
machine slows both. The ratio is what counts. To put torchgfn beside an installed gfn-gym and its torch:

    python -m venv /tmp/torchgfn
    python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \\
        $(/tmp/torchgfn/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/gfn_gym.pth
    /tmp/torchgfn/bin/pip install --no-deps torchgfn==2.4.1
    /tmp/torchgfn/bin/pip install dill einops linear-attention-transformer tensordict torch_geometric
    /tmp/torchgfn/bin/python -m benchmarks.hypergrid
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from examples.hypergrid import Grid, HyperGrid
from gfn_agents.config import TrainConfig
from gfn_agents.policy import TabularPolicy
from gfn_agents.trainer import Trainer
from gfn_envs.exact import enumerate_states
from gfn_envs.state_graph import StateGraph

SIDE, BATCH = 8, 16
WARM_UP = 20


@dataclass
class Run:
    """One way of training: a step, and the exact L1 error after all of them."""

    name: str
    step: Callable[[], Any]
    error: Callable[[], float]
    cpu_seconds: float = 0.0
    steps: int = 0

    def train(self, steps: int) -> None:
        """Takes steps and counts them and their CPU seconds."""
        started = time.process_time()
        for _ in range(steps):
            self.step()
        self.cpu_seconds += time.process_time() - started
        self.steps += steps

    @property
    def speed(self) -> float:
        """Trajectories per CPU second."""
        return BATCH * self.steps / self.cpu_seconds


def listed() -> StateGraph[Grid, Any]:
    """Returns all states of the grid."""
    return enumerate_states(HyperGrid(2, SIDE), Grid(2, SIDE))


def l1_error(graph: StateGraph[Grid, Any], policy: list[np.ndarray]) -> float:
    """Returns the sum of |P - R / Z| over the places."""
    return float(np.abs(graph.reached(policy) - graph.target()).sum())


def ours(options: argparse.Namespace) -> Run:
    """Returns the loop of this package."""
    graph = listed()
    prompts = [
        (graph.task.observe(state), legal) for state, legal in zip(graph.states, graph.actions, strict=True) if legal
    ]
    policy = TabularPolicy(prompts)
    config = TrainConfig(
        problems_per_step=1,
        samples_per_problem=BATCH,
        objective=options.objective,
        regression="squared",
        learning_rate=options.learning_rate,
        flow_learning_rate=options.learning_rate,
        max_grad_norm=1e3,
        epsilon=0.0,
        replay_per_problem=0,
        seed=options.seed,
    )
    trainer = Trainer(graph.task, graph.task.problems(), policy, config)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(trainer.optimizer, options.decay)

    def step() -> None:
        trainer.step()
        scheduler.step()

    return Run("gfn-gym", step, lambda: l1_error(graph, graph.policy_of(policy)))


def torchgfns(options: argparse.Namespace) -> Run:
    """Returns the loop that torchgfn's examples show, with a table."""
    from gfn.estimators import DiscretePolicyEstimator
    from gfn.gflownet import TBGFlowNet
    from gfn.gym import HyperGrid as TorchGrid
    from gfn.preprocessors import EnumPreprocessor
    from gfn.utils.modules import Tabular

    graph = listed()
    torch.manual_seed(options.seed)
    env = TorchGrid(ndim=2, height=SIDE, store_all_states=True)
    for place, reward in zip(env.all_states.tensor.tolist(), env.reward(env.all_states).tolist(), strict=True):
        state = type(graph.states[0])(graph.problem, tuple(place), stopped=True)
        assert math.isclose(reward, math.exp(graph.task.log_reward(state)), rel_tol=1e-6), (place, reward)
    numbers = EnumPreprocessor(env.get_states_indices)
    table = Tabular(env.n_states, env.n_actions)
    forward = DiscretePolicyEstimator(table, env.n_actions, numbers)
    flow_network = TBGFlowNet(forward, DiscretePolicyEstimator.uniform(env.n_actions, numbers))
    optimizer = torch.optim.AdamW(
        [{"params": flow_network.pf_pb_parameters()}, {"params": flow_network.logz_parameters()}],
        lr=options.learning_rate,
        weight_decay=0.0,
    )
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, options.decay)

    def step() -> None:
        trajectories = flow_network.sample_trajectories(env, n=BATCH, save_logprobs=True)
        optimizer.zero_grad()
        flow_network.loss(env, trajectories, recalculate_all_logprobs=False).backward()
        optimizer.step()
        scheduler.step()

    def policy() -> list[np.ndarray]:
        """Its columns are the coordinates and then stopping, as those of `HyperGrid` are."""
        found = []
        for state, legal in zip(graph.states, graph.actions, strict=True):
            columns = [env.n_actions - 1 if action == "stop" else int(action.split()[1]) for action in legal]
            logits = table.table.detach().double()[np.dot(state.place, [SIDE, 1]), columns]
            found.append(logits.softmax(0).numpy())
        return found

    return Run("torchgfn", step, lambda: l1_error(graph, policy()))


def main() -> None:
    """Prints one line for each way, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="optimizer steps of each")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stops earlier after so many CPU seconds")
    parser.add_argument("--objective", choices=("trajectory_balance", "vargrad"), default="trajectory_balance")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=0.997, help="of the learning rate, each step")
    parser.add_argument("--turn", type=int, default=100, help="steps of one before the other goes on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = [ours(options)]
    if importlib.util.find_spec("gfn"):
        runs.append(torchgfns(options))
    else:
        print("torchgfn is not installed here; --help says how to put it beside")
    for run in runs:
        run.train(WARM_UP)
        run.cpu_seconds, run.steps = 0.0, 0
    while runs[0].steps < options.steps and sum(run.cpu_seconds for run in runs) < options.seconds:
        for run in runs:
            run.train(min(options.turn, options.steps - run.steps))
    for run in runs:
        print(f"{run.name}: {run.speed:,.0f} trajectories per CPU second, {run.steps} steps, L1 {run.error():.1e}")
    if len(runs) > 1:
        print(f"{runs[0].speed / runs[1].speed:.2f} times as many")


if __name__ == "__main__":
    main()
