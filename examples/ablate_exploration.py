"""What each device of exploration is worth: training with one alone, with all, and with all but one.

A table (or the embedded language model) is trained with VarGrad on small Game24 puzzles. `train` is the
whole algorithm, read from top to bottom. Every run may take the same number of environment steps, the
proposals of local search and whole branches counted, so a device must earn what it costs. Scores are
exact, by enumeration, and stand beside those of the untrained policy and of the exact sampler.
Demonstrations are drawn through replay, so they come and go with it.

    python examples/ablate_exploration.py                                 # a table, about two minutes
    python examples/ablate_exploration.py --model default --budget 2000   # the embedded language model

writes ablation.md and ablation.csv to the output folder.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from gfn_agents.batch import scored_batch
from gfn_agents.exploration import SelfRepellent, Tempered, VisitCounts, branch, demonstrations
from gfn_agents.local_search import greedy_search, metropolis
from gfn_agents.objectives import squared, vargrad
from gfn_agents.policy import Policy, TabularPolicy
from gfn_agents.replay import ReplayBuffer, ReplayKind
from gfn_agents.schedules import Schedule
from gfn_envs.exact import enumerate_states
from gfn_envs.files import write_whole
from gfn_envs.metrics import Scores, exact_scores
from gfn_envs.rollout import rollout
from gfn_envs.state_graph import StateGraph
from gfn_envs.tasks.game24 import Game24
from gfn_envs.trajectory import Trajectory

SCORES = ("success_at_1", "coverage", "total_variation", "updates", "environment_steps")


@dataclass(frozen=True)
class Devices:
    """What is switched on; the defaults switch everything off."""

    epsilon: Schedule = Schedule(0.0)
    temperature: Schedule = Schedule(1.0)
    repellence: float = 0.0
    branches: int = 0
    local_search: Literal["none", "greedy", "metropolis"] = "none"
    replay: int = 0
    replay_kind: ReplayKind = "stratified"
    demonstrations: int = 0


def arms(steps: int) -> Iterator[tuple[str, Devices]]:
    """Yields the runs: nothing, each device alone, everything, everything but one.

    Args:
        steps: updates over which epsilon and temperature fall.
    """
    alone: dict[str, dict[str, Any]] = {
        "epsilon": {"epsilon": Schedule(0.5, 0.02, steps, "linear")},
        "tempering": {"temperature": Schedule(3.0, 1.0, steps, "cosine")},
        "self-repellence": {"repellence": 2.0},
        "branching": {"branches": 1},
        "local search": {"local_search": "greedy"},
        "replay": {"replay": 8},
        "demonstrations": {"replay": 8, "demonstrations": 4},
    }
    everything = {name: value for device in alone.values() for name, value in device.items()}
    yield "nothing", Devices()
    for name, options in alone.items():
        yield f"only {name}", Devices(**options)
    yield "only Metropolis", Devices(local_search="metropolis")
    yield "only replay by reward", Devices(replay=8, replay_kind="reward")
    yield "everything", Devices(**everything)
    for name, options in alone.items():
        kept = "replay" if name == "demonstrations" else ""
        off = {option: getattr(Devices(), option) for option in options if option != kept}
        if name == "replay":
            off["demonstrations"] = 0  # they are drawn through replay
        yield f"without {name}", replace(Devices(**everything), **off)


def train(
    task: Any, problems: list[Any], policy: Policy, devices: Devices, budget: int, learning_rate: float, seed: int
) -> tuple[int, int]:
    """Trains within a budget of environment steps; returns updates and environment steps."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr=learning_rate)
    counts = VisitCounts()
    buffer = ReplayBuffer(capacity=64, kind=devices.replay_kind, per_solution=8)
    for problem in problems if devices.demonstrations else ():
        buffer.add(demonstrations(task, problem, devices.demonstrations, rng))
    updates = spent = 0
    while spent < budget:
        # Behaviour: the policy, tempered and mixed, less of what it took too often.
        tempered = Tempered(policy, devices.temperature.at(updates), devices.epsilon.at(updates))
        behaviour = SelfRepellent(tempered, counts, devices.repellence)
        drawn = [problems[int(rng.integers(len(problems)))] for _ in range(2)]
        played = rollout(task, behaviour, [problem for problem in drawn for _ in range(8)], rng)

        # More of the same start, and of what is near.
        played += branch(task, drawn, played, tempered, rng, devices.branches, at="entropy")
        found: list[Trajectory] = []
        if devices.local_search != "none":
            if devices.local_search == "greedy":
                search = greedy_search(task, drawn, played, tempered, rng)
            else:
                search = metropolis(task, drawn, played, tempered, rng)
            found = [new for old, new in zip(played, search.kept, strict=True) if new is not old]
            spent += sum(len(trajectory.steps) for trajectory in search.proposed)
        spent += sum(len(trajectory.steps) for trajectory in played)

        # The past: drawn before what is new goes in, so that nothing comes twice.
        ids = dict.fromkeys(problem.id for problem in drawn)
        past = [trajectory for name in ids for trajectory in buffer.sample(name, devices.replay, rng)]
        buffer.add(played + found)

        # The objective is right off policy, so none of this moves its optimum.
        loss = vargrad(scored_batch(policy, played + found + past, beta=1.0)).loss(squared)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
        optimizer.step()
        updates += 1
    return updates, spent


def table_for(graphs: list[StateGraph[Any, Any]]) -> TabularPolicy:
    """Returns the uniform policy as a table over all states."""
    return TabularPolicy(
        [
            (graph.task.observe(state), actions)
            for graph in graphs
            for state, actions in zip(graph.states, graph.actions, strict=True)
            if actions
        ]
    )


def scores_of(graphs: list[StateGraph[Any, Any]], ends: list[np.ndarray]) -> Scores:
    """Returns the mean exact scores over the problems; coverage is that of 20 samples."""
    scores = [exact_scores(graph, reached, k=20, samples=20) for graph, reached in zip(graphs, ends, strict=True)]
    return {name: float(np.mean([score[name] for score in scores])) for name in SCORES[:3]}


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a Markdown table."""
    lines = ["| run | success@1 | coverage | TV to target | updates | environment steps |", "|---|---|---|---|---|---|"]
    for row in rows:
        numbers = [f"{row[name]:.3f}" for name in SCORES[:3]] + [f"{row[name]:.0f}" for name in SCORES[3:]]
        lines.append(f"| {row['run']} | " + " | ".join(numbers) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Trains every arm with every seed and writes the mean scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="table", help="'table', or a language model: 'default', a folder, a name")
    parser.add_argument("--budget", type=int, default=8000, help="environment steps of each run")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--problems", type=int, default=4, help="how many puzzles of three numbers")
    parser.add_argument("--learning-rate", type=float, help="default: 0.1 for a table, 3e-4 for a model")
    parser.add_argument("--output", type=Path, default=Path("runs/ablate_exploration"))
    options = parser.parse_args()

    task = Game24(count=3)
    problems = list(task.problems().take(options.problems, np.random.default_rng(0)))
    graphs = [enumerate_states(task, problem) for problem in problems]

    def new_policy() -> Policy:
        if options.model == "table":
            return table_for(graphs)
        from gfn_agents.agent import load_policy

        return load_policy(options.model)

    def row(run: str, runs: list[Scores]) -> dict[str, Any]:
        return {"run": run, **{name: float(np.mean([scores[name] for scores in runs])) for name in SCORES}}

    no_cost = {"updates": 0.0, "environment_steps": 0.0}
    untrained = new_policy()
    rows = [
        row("untrained", [scores_of(graphs, [g.reached(g.policy_of(untrained)) for g in graphs]) | no_cost]),
        row("exact sampler", [scores_of(graphs, [g.target() for g in graphs]) | no_cost]),
    ]
    learning_rate = options.learning_rate or (0.1 if options.model == "table" else 3e-4)
    # A run without extras makes this many updates; schedules reach their end half-way.
    updates = max(options.budget // (2 * 8 * task.horizon), 2)
    for name, devices in arms(updates // 2):
        runs = []
        for seed in range(options.seeds):
            policy = new_policy()
            done = train(task, problems, policy, devices, options.budget, learning_rate, seed)
            costs = dict(zip(SCORES[3:], map(float, done), strict=True))
            runs.append(scores_of(graphs, [g.reached(g.policy_of(policy)) for g in graphs]) | costs)
        rows.append(row(name, runs))
        print(markdown(rows[-1:]).splitlines()[-1], flush=True)

    text = markdown(rows)
    write_whole(options.output / "ablation.md", text)
    with (options.output / "ablation.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["run", *SCORES])
        writer.writeheader()
        writer.writerows(rows)
    print(f"\n{text}\nwritten to {options.output}")


if __name__ == "__main__":
    main()
