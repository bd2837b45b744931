"""Speed of the environments, in steps per CPU second, beside Gymnasium's own toy environments.

All figures are taken in one run and one thread, by random legal play over the training problems
with resets included, after a warm-up that fills the caches. Each is the best of three rounds: what
else runs on a machine can only make a round slower. Run it with

    python benchmarks/environments.py [--steps N]
"""

import argparse
import random
import time
from collections.abc import Callable

import gymnasium as gym
import numpy as np

from gfn_envs.task import Task
from gfn_envs.tasks.game24 import Game24
from gfn_envs.tasks.numberline import NumberLine

ROUNDS = 3
NUM_ENVS = 64


def rate(play: Callable[[int], int], count: int) -> float:
    """Returns how many things a CPU second does; `play(count)` does about that many and says how many."""
    best = 0.0
    for _ in range(ROUNDS):
        start = time.process_time()
        done = play(count)
        best = max(best, done / (time.process_time() - start))
    return best


def raw(task: Task) -> Callable[[int], int]:
    """Returns play by the rules alone: `task.actions` and `task.step`."""
    problems, uniform = list(task.problems().split("train")), random.Random(0)

    def play(count: int) -> int:
        steps = 0
        while steps < count:
            state = task.reset(uniform.choice(problems))
            while actions := task.actions(state):
                state = task.step(state, actions[int(uniform.random() * len(actions))])
                steps += 1
        return steps

    return play


def single_text(env_id: str) -> Callable[[int], int]:
    """Returns play through `gym.make`, from `info["admissible_actions"]`."""
    env, uniform = gym.make(env_id, split="train"), random.Random(0)
    env.reset(seed=0)

    def play(count: int) -> int:
        steps = 0
        while steps < count:
            _, info = env.reset()
            over = False
            while not over:
                actions = info["admissible_actions"]
                _, _, terminated, truncated, info = env.step(actions[int(uniform.random() * len(actions))])
                over = terminated or truncated
                steps += 1
        return steps

    return play


def vector_text(env_id: str) -> Callable[[int], int]:
    """Returns play through `gym.make_vec`; a step of one of the environments counts as one."""
    env, uniform = gym.make_vec(env_id, num_envs=NUM_ENVS, split="train"), random.Random(0)

    def play(count: int) -> int:
        _, info = env.reset(seed=0)
        for _ in range(count // NUM_ENVS):
            texts = [a[int(uniform.random() * len(a))] if a else "" for a in info["admissible_actions"]]
            info = env.step(texts)[4]
        return count // NUM_ENVS * NUM_ENVS

    return play


def single_toy(env_id: str) -> Callable[[int], int]:
    """Returns play of one of Gymnasium's environments with two actions."""
    env, uniform = gym.make(env_id), random.Random(0)
    env.reset(seed=0)

    def play(count: int) -> int:
        over = True
        for _ in range(count):
            if over:
                env.reset()
            _, _, terminated, truncated, _ = env.step(int(uniform.random() * 2))
            over = terminated or truncated
        return count

    return play


def vector_toy(env_id: str) -> Callable[[int], int]:
    """Returns play of many of them through Gymnasium's `SyncVectorEnv`."""
    env, rng = gym.make_vec(env_id, num_envs=NUM_ENVS, vectorization_mode="sync"), np.random.default_rng(0)

    def play(count: int) -> int:
        env.reset(seed=0)
        for _ in range(count // NUM_ENVS):
            env.step(rng.integers(2, size=NUM_ENVS))
        return count // NUM_ENVS * NUM_ENVS

    return play


def solving() -> Callable[[int], int]:
    """Returns the finding of all solutions of puzzles; the caches are emptied, so every puzzle is new."""
    from gfn_envs.tasks import arithmetic

    task = Game24()
    problems = list(task.problems())

    def solve(count: int) -> int:
        for cache in (arithmetic._forms, arithmetic._values, arithmetic.form_text):
            cache.cache_clear()
        for problem in problems[:count]:
            task.solve(problem)
        return min(count, len(problems))

    return solve


def verifying() -> Callable[[int], int]:
    """Returns the verification of right and wrong formulas."""
    task = Game24()
    problems = list(task.problems())[::10]
    asked = [
        (problem, text) for problem in problems for text in (*task.solve(problem), "1 + 2 * (3 - 4)", "no formula")
    ]

    def verify(count: int) -> int:
        for index in range(count):
            problem, text = asked[index % len(asked)]
            task.verify(problem, text)
        return count

    return verify


def main() -> None:
    """Measures everything and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200_000, help="steps of each round (default 200000)")
    steps = parser.parse_args().steps
    if steps < NUM_ENVS:
        parser.error(f"--steps must be at least {NUM_ENVS}, got {steps}")

    print("filling the caches ...", flush=True)
    raw(Game24())(3 * steps)
    toys = {
        ("CartPole-v1", "gym.make"): single_toy("CartPole-v1"),
        ("Blackjack-v1", "gym.make"): single_toy("Blackjack-v1"),
        ("CartPole-v1", f"SyncVectorEnv, {NUM_ENVS}"): vector_toy("CartPole-v1"),
        ("Blackjack-v1", f"SyncVectorEnv, {NUM_ENVS}"): vector_toy("Blackjack-v1"),
    }
    texts = {
        (name, view): play
        for name, task in (("Game24-v0", Game24()), ("NumberLine-v0", NumberLine()))
        for view, play in (
            ("rules alone", raw(task)),
            ("gym.make", single_text(f"gfn_envs/{name}")),
            (f"gym.make_vec, {NUM_ENVS}", vector_text(f"gfn_envs/{name}")),
        )
    }
    print(f"{'environment':16s}{'through':22s}{'steps / CPU second':>20s}{'of CartPole-v1':>16s}")
    reference = None
    for (name, view), play in {**toys, **texts}.items():
        figure = rate(play, steps)
        reference = reference or figure
        print(f"{name:16s}{view:22s}{figure:20,.0f}{figure / reference:15.2f}x", flush=True)
    print(f"\n{'Game24-v0':16s}{'puzzles solved':22s}{rate(solving(), 300):20,.0f}   a CPU second, nothing cached")
    print(f"{'Game24-v0':16s}{'formulas verified':22s}{rate(verifying(), steps // 4):20,.0f}   a CPU second")


if __name__ == "__main__":
    main()
