"""How long the rows of a prefix tree should be: CPU seconds of an update and of scoring, for several row budgets.

    python -m benchmarks.row_budget [--model default|random|smollm2] [--budgets 256 512 1024 2048]

The case is a batch of 4 groups as in `benchmarks/training_step.py`, without worked examples, of another problem each.
"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.training_step import load_policy, play, tree_sampling, tree_update
from gfn_agents.model_options import ModelOptions


def main() -> None:
    """Prints one line a budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--budgets", type=int, nargs="+", default=[256, 512, 1024, 2048])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    policy = load_policy(chosen.model, ModelOptions(device="cpu", use_peft=chosen.model == "smollm2"))
    groups = [trajectory for seed in range(chosen.groups) for trajectory in play(shots=0, seed=seed)[1]]
    for budget in chosen.budgets:
        policy.row_budget = budget
        spent = []
        for work in (tree_update, tree_sampling):
            started = time.process_time()
            work(policy, groups)
            spent.append(time.process_time() - started)
        print(f"{budget} tokens a row: update {spent[0]:.2f} s, scoring {spent[1]:.2f} s", flush=True)


if __name__ == "__main__":
    main()
