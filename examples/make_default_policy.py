"""Makes the embedded default policy: a small Llama trained from nothing on exact target policies.

For training-split problems the exact flows are known by enumeration, and with them the action
probabilities of the exact sampler at every state. The model learns these probabilities over all
legal actions (cross-entropy), at states that the exact sampler visits. No test or validation
problem is used, neither by the tokenizer nor by the model.

    python examples/make_default_policy.py --minutes 25

writes the `from_pretrained` folder gfn_agents/checkpoints/default and its card README.md.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.tokenizer import DEFAULT_POLICY_FOLDER, train_tokenizer
from gfn_envs.exact import enumerate_states
from gfn_envs.tasks.game24 import Game24
from gfn_envs.tasks.numberline import NumberLine

GAME24_SHARE = 0.97


@dataclass(frozen=True)
class Example:
    """A state's texts and the exact sampler's probabilities of its actions."""

    observation: str
    actions: tuple[str, ...]
    probabilities: np.ndarray


@cache
def examples_of(task: Any, problem: Any) -> tuple[list[Example], np.ndarray]:
    """Returns the states that the exact sampler visits, the start first, and how often it does."""
    graph = enumerate_states(task, problem)
    policy = graph.flow_policy(graph.log_flows(graph.log_rewards))
    visits = np.zeros(len(graph.states))
    visits[0] = 1.0
    for index, edges in enumerate(graph.edges):
        for probability, outcomes in zip(policy[index], edges, strict=True):
            visits[outcomes[0][1]] += visits[index] * probability
    found: dict[tuple[str, tuple[str, ...]], list[Any]] = {}
    for index in np.flatnonzero(visits > 1e-3):
        if graph.actions[index]:
            entry = found.setdefault((task.observe(graph.states[index]), graph.actions[index]), [policy[index], 0.0])
            entry[1] += visits[index]
    examples = [Example(observation, actions, entry[0]) for (observation, actions), entry in found.items()]
    return examples, np.array([entry[1] for entry in found.values()])


def draw_examples(task: Any, problem: Any, count: int, rng: np.random.Generator) -> list[Example]:
    """Returns the start and `count` later states, drawn by how often the exact sampler visits them."""
    examples, visits = examples_of(task, problem)
    later = visits[1:] / max(visits[1:].sum(), 1e-9)
    chosen = rng.choice(len(later), size=min(count, len(later)), replace=False, p=later) if len(later) else []
    return [examples[0], *(examples[1 + int(i)] for i in chosen)]


def tokenizer_texts(task: Any, problems: Any, rng: np.random.Generator) -> list[str]:
    """Returns prompts and actions along random play."""
    texts = []
    for problem in problems:
        state = task.reset(problem)
        while actions := task.actions(state):
            texts += [f"{task.observe(state)}\nAction:", *(f" {action}" for action in actions)]
            state = task.step(state, actions[rng.integers(len(actions))])
    return texts


def card(parameters: int, steps: int, minutes: float, seed: int, threads: int, divergence: float) -> str:
    """Returns the text that lies beside the policy: what it is, and what data, seed and time made it."""
    return f"""# The embedded default policy

A Llama of {parameters:,} parameters with a byte-level vocabulary of its own, trained from nothing.

- Data: the exact target policies of Game24 (four numbers from 1 to 13, target 24) and of NumberLine (0..5), by
  enumeration of problems of the training split; {GAME24_SHARE:.0%} of the problems drawn are Game24. No validation or
  test problem was used, neither for the tokenizer nor for the model.
- Loss: cross-entropy to the exact sampler's action probabilities over all legal actions (target R^1, failures 1e-4).
- Run: `python examples/make_default_policy.py --minutes {minutes:g} --seed {seed} --threads {threads}`, {steps} steps;
  mean Kullback-Leibler divergence from the exact policy over the last 50 steps {divergence:.3f} nats a state.
- Scores: `gfn evaluate default gfn_envs/Game24-v0 --exact` scores it on the test split beside chance and ceiling.
"""


def main() -> None:
    """Trains until the time is used up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--problems-per-step", type=int, default=4)
    parser.add_argument("--later-states", type=int, default=6)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--output", type=Path, default=DEFAULT_POLICY_FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)

    game, line = Game24(), NumberLine()
    puzzles = game.problems().split("train")
    lines = line.problems().split("train")
    texts = tokenizer_texts(game, puzzles, rng) + tokenizer_texts(line, lines, rng)
    tokenizer = train_tokenizer(texts, vocabulary_size=640)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=arguments.hidden,
            intermediate_size=3 * arguments.hidden,
            num_hidden_layers=arguments.layers,
            num_attention_heads=arguments.hidden // 32,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {len(puzzles)} puzzles", flush=True)
    policy = LanguageModelPolicy(model, tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    started, steps, losses = time.time(), 0, []
    while (progress := (time.time() - started) / (60 * arguments.minutes)) < 1:
        rate = (
            arguments.learning_rate
            * min(1.0, (steps + 1) / 100)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        examples: dict[str, Example] = {}
        for _ in range(arguments.problems_per_step):
            task, source = (game, puzzles) if rng.random() < GAME24_SHARE else (line, lines)
            for example in draw_examples(task, source.sample(rng), arguments.later_states, rng):
                examples[example.observation] = example
        batch = list(examples.values())
        log_probs = policy.log_probs([e.observation for e in batch], [e.actions for e in batch])
        loss = torch.zeros(())
        for row, example in zip(log_probs, batch, strict=True):
            target = torch.from_numpy(example.probabilities).float()
            loss = loss + (target * (target.clamp_min(1e-9).log() - row[: len(target)])).sum() / len(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
        losses.append(float(loss.detach()))
        if steps % 25 == 0:
            recent = sum(losses[-25:]) / 25
            print(f"step {steps} divergence {recent:.4f} minutes {progress * arguments.minutes:.1f}", flush=True)
        if steps % 200 == 0:
            policy.save(arguments.output)
    policy.save(arguments.output)
    last = sum(losses[-50:]) / len(losses[-50:])
    text = card(model.num_parameters(), steps, arguments.minutes, arguments.seed, arguments.threads, last)
    (arguments.output / "README.md").write_text(text, encoding="utf-8")
    print(f"{steps} steps in {arguments.minutes} minutes; last divergence {last:.4f}")


if __name__ == "__main__":
    main()
