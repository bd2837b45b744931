"""Trains a GFlowNet on three puzzles and shows what it found beside what there is to find.

python examples/train_game24.py [--steps 30]
"""

from __future__ import annotations

import argparse

import numpy as np

from gfn_agents import GFlowNetAgent
from gfn_envs.exact import enumerate_states
from gfn_envs.rollout import rollout

PUZZLES = [{"numbers": [4, 6, 6, 8]}, {"numbers": [1, 4, 6, 8]}, {"numbers": [3, 3, 8, 8]}]


def main() -> None:
    """Trains, then samples 64 trajectories of each puzzle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--samples-per-problem", type=int, default=16)
    options = parser.parse_args()

    agent = GFlowNetAgent(
        "gfn_envs/Game24-v0",
        env_kwargs={"problems": PUZZLES},
        steps=options.steps,
        samples_per_problem=options.samples_per_problem,
    )
    agent.learn(on_step=lambda report: print(f"step {report.step}: loss {report.loss:.3f} solved {report.success:.2f}"))

    rng = np.random.default_rng(0)
    for puzzle in PUZZLES:
        problem = agent.task.problem_from_json(puzzle)
        graph = enumerate_states(agent.task, problem)
        learned = graph.solution_probabilities(graph.reached(graph.policy_of(agent)))
        target = graph.solution_probabilities(graph.target())
        sampled = [trajectory.solution for trajectory in rollout(agent.task, agent, [problem] * 64, rng)]
        print(f"\n{problem.id}")
        for solution in graph.solutions:
            shares = f"learned {learned[solution]:.3f}  target {target[solution]:.3f}"
            print(f"  {solution:<28} {shares}  {sampled.count(solution)} of 64 samples")


if __name__ == "__main__":
    main()
