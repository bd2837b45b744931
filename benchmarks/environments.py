"""Speed of the environments, in steps per CPU second, beside Gymnasium's own toy environments.

All figures are taken in one run and one thread, by random legal play with resets included. A listed
family is played whole (its training split), of a generated one 100 problems drawn before the clock
starts. Each figure is the best of three rounds: what else runs on a machine can only make a round slower.
Run it with

    python benchmarks/environments.py [--steps N]
"""

import argparse
import random
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from gfn_envs.making import make_text_env
from gfn_envs.problems import ProblemSet
from gfn_envs.tasks import TASKS
from gfn_envs.tasks.game24 import Game24

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


def problems_of(env_id: str) -> ProblemSet:
    """Returns the training split, or 100 problems of it where there is no end of them."""
    source = make_text_env(env_id, {"split": "train"}).problems
    return source if isinstance(source, ProblemSet) else source.take(100, np.random.default_rng(0))


def raw(env_id: str) -> Callable[[int], int]:
    """Returns play by the rules alone: `task.actions` and `task.step`, or `task.outcomes` and a draw."""
    task, problems, uniform = make_text_env(env_id, {}).task, list(problems_of(env_id)), random.Random(0)

    def successor(state: Any, action: str) -> Any:
        if task.deterministic:
            return task.step(state, action)
        outcomes, remaining, index = task.outcomes(state, action), uniform.random(), -1
        while remaining >= 0 and index < len(outcomes) - 1:
            index += 1
            remaining -= outcomes[index][0]
        return outcomes[index][1]

    def play(count: int) -> int:
        steps = 0
        while steps < count:
            state = task.reset(uniform.choice(problems))
            while actions := task.actions(state):
                state = successor(state, actions[int(uniform.random() * len(actions))])
                steps += 1
        return steps

    return play


def single_text(env_id: str) -> Callable[[int], int]:
    """Returns play through `gym.make`, from `info["admissible_actions"]`."""
    env, uniform = gym.make(env_id, problems=problems_of(env_id)), random.Random(0)
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
    env, uniform = gym.make_vec(env_id, num_envs=NUM_ENVS, problems=problems_of(env_id)), random.Random(0)

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


def generating() -> Callable[[int], int]:
    """Returns the generation of BlocksWorld problems of 4 blocks and plan length 6."""
    source, rng = make_text_env("gfn_envs/BlocksWorld-v0", {}).problems, np.random.default_rng(0)

    def generate(count: int) -> int:
        for _ in range(count):
            source.sample(rng)
        return count

    return generate


def main() -> None:
    """Measures everything and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200_000, help="steps of each round (default 200000)")
    steps = parser.parse_args().steps
    if steps < NUM_ENVS:
        parser.error(f"--steps must be at least {NUM_ENVS}, got {steps}")

    toys = {
        ("CartPole-v1", "gym.make"): single_toy("CartPole-v1"),
        ("Blackjack-v1", "gym.make"): single_toy("Blackjack-v1"),
        ("CartPole-v1", f"SyncVectorEnv, {NUM_ENVS}"): vector_toy("CartPole-v1"),
        ("Blackjack-v1", f"SyncVectorEnv, {NUM_ENVS}"): vector_toy("Blackjack-v1"),
    }
    texts = {
        (name, view): play
        for name in TASKS
        for view, play in (
            ("rules alone", raw(f"gfn_envs/{name}-v0")),
            ("gym.make", single_text(f"gfn_envs/{name}-v0")),
            (f"gym.make_vec, {NUM_ENVS}", vector_text(f"gfn_envs/{name}-v0")),
        )
    }
    print(f"{'environment':16s}{'through':22s}{'steps / CPU second':>20s}{'of CartPole-v1':>16s}")
    reference = None
    for (name, view), play in {**toys, **texts}.items():
        figure = rate(play, steps)
        reference = reference or figure
        print(f"{name:16s}{view:22s}{figure:20,.0f}{figure / reference:15.2f}x", flush=True)
    print(f"\n{'Game24-v0':16s}{'puzzles solved':22s}{rate(solving(), 300):20,.0f}   a CPU second, nothing cached")
    print(f"{'BlocksWorld-v0':16s}{'problems generated':22s}{rate(generating(), 3000):20,.0f}   a CPU second")
    print(f"{'Game24-v0':16s}{'formulas verified':22s}{rate(verifying(), steps // 4):20,.0f}   a CPU second")


if __name__ == "__main__":
    main()
