"""The main job in a few minutes: train a GFlowNet on Game24 and show it beside PPO and chance.

Everything is scored exactly, by enumeration of held-out puzzles: no score has sampling noise, and
each stands beside what uniform legal play and the exact sampler reach.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.exhibits import distribution_exhibit, solution_tree
from baselines.ppo import MaskablePPOAgent, PPOAgent
from baselines.random_legal import RandomLegalAgent
from baselines.results import (
    CEILING,
    CHANCE,
    EXHIBIT_SOLUTIONS,
    AgentResult,
    BenchmarkResults,
    Curve,
    DistributionExhibit,
    TreeExhibit,
)
from gfn_agents.agent import GFlowNetAgent, load_policy
from gfn_agents.config import TrainConfig
from gfn_agents.default_policy import default_policy_digest
from gfn_agents.logs import RunLogs, read_history
from gfn_agents.trainer import StepReport
from gfn_envs.exact import enumerate_states
from gfn_envs.making import make_text_env
from gfn_envs.metrics import exact_scores, summarise
from gfn_envs.rollout import ProbabilisticAgent
from gfn_envs.state_graph import StateGraph
from gfn_envs.versions import versions

ENVIRONMENT = "gfn_envs/Game24-v0"
GFLOWNET, BEFORE = "GFlowNet", "policy before training"
_CURVE_WINDOW = 10


@dataclass(frozen=True)
class DemoConfig:
    """Options of the demo.

    Args:
        steps: optimizer steps of the GFlowNet; PPO gets as many environment steps as these take.
        puzzles: held-out puzzles of the test split that everyone is scored on.
        samples: for coverage: distinct solutions in so many samples.
        k: of pass@k.
        seed: of everything.
    """

    steps: int = 55
    puzzles: int = 20
    samples: int = 64
    k: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"steps": 1, "puzzles": 1, "samples": 1, "k": 1, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    @property
    def training(self) -> TrainConfig:
        """Options of the GFlowNet's training."""
        return TrainConfig(
            steps=self.steps,
            problems_per_step=4,
            samples_per_problem=12,
            replay_per_problem=4,
            demonstrations_per_problem=4,
            learning_rate=2e-4,
            checkpoint_every=20,
            seed=self.seed,
        )


Say = Callable[[str], None]
RUN_FOLDER = "gflownet"
"""Where a demo's folder keeps the training run."""


def train_gflownet(config: DemoConfig, folder: Path, on_step: Callable[[StepReport], None]) -> GFlowNetAgent:
    """Returns the trained agent; goes on from the last checkpoint of the folder if there is one.

    Raises:
        ValueError: the folder holds a run of more steps, or of other options.
    """
    run = folder / RUN_FOLDER
    run.mkdir(parents=True, exist_ok=True)
    agent = GFlowNetAgent(ENVIRONMENT, folder=run, config=config.training).resume()
    if agent.trainer.steps_done > config.steps:
        raise ValueError(
            f"'{folder}' holds a demo of {agent.trainer.steps_done} steps, which is more than {config.steps}; add "
            "--fresh, or choose another --output"
        )
    with RunLogs(run, first_step=agent.trainer.steps_done + 1) as logs:

        def report(step: StepReport) -> None:
            logs.write(step)
            on_step(step)

        return agent.learn(on_step=report)


def train_ppo(kind: type[PPOAgent], config: DemoConfig, environment_steps: int) -> tuple[PPOAgent, list[Any]]:
    """Returns a PPO agent after so many environment steps, and its learning curve."""
    agent = kind(ENVIRONMENT, {"split": "train"}, seed=config.seed)
    return agent, list(agent.learn(environment_steps))


def held_out_graphs(config: DemoConfig) -> list[StateGraph[Any, Any]]:
    """Returns the enumerated puzzles of the test split that everyone is scored on."""
    env = make_text_env(ENVIRONMENT, {"split": "test"})
    chosen = env.problems.take(config.puzzles, np.random.default_rng(config.seed))
    return [enumerate_states(env.task, problem) for problem in chosen]


def agent_result(
    name: str,
    description: str,
    graphs: Sequence[StateGraph[Any, Any]],
    reached: Sequence[np.ndarray],
    config: DemoConfig,
    costs: dict[str, float],
) -> AgentResult:
    """Returns the exact scores of what an agent reaches on each puzzle."""
    scores = [exact_scores(graph, ends, config.k, config.samples) for graph, ends in zip(graphs, reached, strict=True)]
    return AgentResult(name, description, summarise(scores, [1.0] * len(scores), np.random.default_rng(0)), costs)


def run_demo(config: DemoConfig, folder: Path, say: Say, on_step: Callable[[StepReport], None]) -> BenchmarkResults:
    """Trains all agents, scores them on held-out puzzles and returns everything that the report shows.

    It computes on one thread: these models are small, and two threads collapse where one core is busy.
    """
    torch.set_num_threads(1)
    agent = train_gflownet(config, folder, on_step)
    steps = agent.trainer.environment_steps
    contestants: list[tuple[str, str, ProbabilisticAgent, dict[str, float]]] = []
    curves = [_gflownet_curve(folder)]
    for kind, name, description in (
        (PPOAgent, "PPO", "Stable-Baselines3 PPO that reads the same text and candidates, without masks"),
        (MaskablePPOAgent, "MaskablePPO", "sb3-contrib MaskablePPO that reads the same text and candidates"),
    ):
        say(f"training {name} for {steps:,} environment steps on the same puzzles")
        ppo, rows = train_ppo(kind, config, steps)
        contestants.append(
            (
                name,
                description,
                ppo,
                {"environment_steps": rows[-1]["environment_steps"], "cpu_seconds": rows[-1]["cpu_seconds"]},
            )
        )
        curves.append(_curve(name, [row["environment_steps"] for row in rows], [row["success"] for row in rows]))
    contestants.append((BEFORE, "the small language model that ships with the package", load_policy("default"), {}))
    costs = {"environment_steps": float(steps), "cpu_seconds": agent.trainer.cpu_seconds}
    contestants.append((GFLOWNET, "the same model after training with VarGrad", agent, costs))

    graphs = held_out_graphs(config)
    say(f"scoring on {len(graphs)} held-out puzzles, exactly, by enumeration")
    targets = [graph.target() for graph in graphs]
    chance = [graph.reached(graph.policy_of(RandomLegalAgent())) for graph in graphs]
    results = [agent_result(CHANCE, "uniformly random legal play", graphs, chance, config, {})]
    policies: dict[str, list[list[np.ndarray]]] = {}
    for name, description, contestant, spent in contestants:
        started = time.process_time()
        policies[name] = [graph.policy_of(contestant) for graph in graphs]
        reached = [graph.reached(policy) for graph, policy in zip(graphs, policies[name], strict=True)]
        results.append(agent_result(name, description, graphs, reached, config, spent))
        say(f"  {name}: {time.process_time() - started:.0f} CPU seconds")
    results.append(agent_result(CEILING, "the exact sampler for the target distribution", graphs, targets, config, {}))
    shown = _exhibit_place(graphs)
    return BenchmarkResults(
        title="Game24: a GFlowNet beside PPO and chance",
        environment=ENVIRONMENT,
        settings={
            "command": f"gfn demo --steps {config.steps} --puzzles {config.puzzles} --seed {config.seed}",
            "demo": asdict(config),
            "training": asdict(config.training),
            "embedded_policy": default_policy_digest(),
        },
        k=config.k,
        samples=config.samples,
        agents=tuple(results),
        curves=tuple(curves),
        distributions=(_distribution(graphs[shown], {name: own[shown] for name, own in policies.items()}),),
        trees=(_tree(graphs[shown], policies[GFLOWNET][shown]),),
        versions=versions(),
        notes=_notes(config, graphs),
    )


def _exhibit_place(graphs: Sequence[StateGraph[Any, Any]]) -> int:
    """Returns the first puzzle with a number of solutions that a picture can show."""
    low, high = EXHIBIT_SOLUTIONS
    fitting = [i for i, graph in enumerate(graphs) if low <= len(graph.solutions) <= high]
    return fitting[0] if fitting else 0


def _distribution(graph: StateGraph[Any, Any], policies: dict[str, list[np.ndarray]]) -> DistributionExhibit:
    return distribution_exhibit(graph, policies, graph.target_policy())


def _tree(graph: StateGraph[Any, Any], policy: list[np.ndarray]) -> TreeExhibit:
    return TreeExhibit(graph.problem.id, solution_tree(graph, policy, graph.target_policy()), GFLOWNET)


def _gflownet_curve(folder: Path) -> Curve:
    history = read_history(folder / RUN_FOLDER)
    success = np.array([row["success"] for row in history])
    window = min(_CURVE_WINDOW, len(success))
    smooth = np.convolve(success, np.full(window, 1 / window), mode="valid")
    return _curve(GFLOWNET, [row["environment_steps"] for row in history[window - 1 :]], smooth.tolist())


def _curve(agent: str, x: Sequence[float], y: Sequence[float]) -> Curve:
    return Curve(agent, tuple(map(float, x)), tuple(map(float, y)), "environment steps", "success of training samples")


def _notes(config: DemoConfig, graphs: Sequence[StateGraph[Any, Any]]) -> tuple[str, ...]:
    return (
        f"All scores are exact expectations over {len(graphs)} puzzles of the test split, which no agent and no "
        "embedded policy was trained on; intervals are 95 % bootstrap intervals over these puzzles.",
        "PPO starts from nothing, as its users start it; the GFlowNet starts from the small pretrained policy, whose "
        f"own scores are the row '{BEFORE}'. Both took the same number of environment steps.",
        "The training curve of the GFlowNet is a moving average over "
        f"{_CURVE_WINDOW} steps of samples from its behaviour policy.",
    )
