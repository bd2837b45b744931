"""Makes the embedded default policy: a small Llama trained from nothing on exact target policies.

For training-split problems the exact flows are known by enumeration, and with them the action
probabilities of the exact sampler at every state. The model learns these probabilities over all
legal actions (cross-entropy), at states that the exact sampler visits. ALFWorld has too many states
to list; there it learns what a searching player does, at states of play that strays from that player's. No
test or validation problem is used, neither by the tokenizer nor by the model.

It is made in fourteen runs: Game24 and NumberLine, then BlocksWorld, then the other three, each with what came before
repeated; then three times all of them, at last with most time for PrOntoQA. After that it found the rule that applies
nearly always, and whether the answer is true or false it guessed: that is the parity of two negations, and in a mix of
long proofs nothing rewards a half of it. Proofs of one rule alone teach it within minutes, and three more runs of
all carry it over to longer ones; answers after wasted steps need minutes of their own, too. In ALFWorld a planner that
knows where everything is was the teacher so far (the script has it no more), and it took any thing and not the one that
the task names. Most of run 13 reads tasks in small rooms, the rest keeps what was learned, and run 14 goes out into
whole ones:

    python examples/make_default_policy.py --minutes 36 --output /tmp/first
    python examples/make_default_policy.py --minutes 27 --seed 1 --start /tmp/first --output /tmp/second \\
        --learning-rate 1.2e-3 --new BlocksWorld \\
        --shares '{"BlocksWorld": 0.67, "Game24": 0.3, "NumberLine": 0.03}'
    python examples/make_default_policy.py --minutes 42 --seed 2 --start /tmp/second --output /tmp/third \\
        --learning-rate 1.2e-3 --new PrOntoQA BlackJack ALFWorld \\
        --shares '{"Game24": 0.22, "BlocksWorld": 0.2, "NumberLine": 0.02, "PrOntoQA": 0.28, "BlackJack": 0.03,
                  "ALFWorld": 0.25}'
    python examples/make_default_policy.py --minutes 44 --seed 3 --start /tmp/third --output /tmp/fourth \\
        --learning-rate 1e-3 \\
        --shares '{"Game24": 0.24, "BlocksWorld": 0.24, "NumberLine": 0.06, "PrOntoQA": 0.24, "BlackJack": 0.06,
                  "ALFWorld": 0.16}'
    python examples/make_default_policy.py --minutes 18 --seed 4 --start /tmp/fourth --output /tmp/fifth \\
        --learning-rate 9e-4 \\
        --shares '{"Game24": 0.14, "BlocksWorld": 0.46, "NumberLine": 0.12, "PrOntoQA": 0.22, "BlackJack": 0.02,
                  "ALFWorld": 0.04}'
    python examples/make_default_policy.py --minutes 55 --seed 5 --start /tmp/fifth --output /tmp/sixth \\
        --learning-rate 1e-3 \\
        --shares '{"PrOntoQA": 0.55, "BlocksWorld": 0.16, "Game24": 0.12, "ALFWorld": 0.1, "NumberLine": 0.05,
                  "BlackJack": 0.02}'
    python examples/make_default_policy.py --minutes 6 --seed 7 --start /tmp/sixth --output /tmp/seventh \\
        --learning-rate 1e-3 --problems-per-step 16 \\
        --shares '{"PrOntoQA with one rule": 1.0}'
    python examples/make_default_policy.py --minutes 15 --seed 7 --start /tmp/seventh --output /tmp/eighth \\
        --learning-rate 8e-4 \\
        --shares '{"PrOntoQA": 0.42, "PrOntoQA with one rule": 0.1, "BlocksWorld": 0.2, "Game24": 0.13,
                  "NumberLine": 0.06, "ALFWorld": 0.07, "BlackJack": 0.02}'
    python examples/make_default_policy.py --minutes 15 --seed 8 --start /tmp/eighth --output /tmp/ninth \\
        --learning-rate 8e-4 \\
        --shares '{"PrOntoQA": 0.5, "PrOntoQA with one rule": 0.03, "BlocksWorld": 0.2, "Game24": 0.13,
                  "NumberLine": 0.06, "ALFWorld": 0.06, "BlackJack": 0.02}'
    python examples/make_default_policy.py --minutes 10 --seed 9 --start /tmp/ninth --output /tmp/tenth \\
        --learning-rate 8e-4 \\
        --shares '{"PrOntoQA": 0.66, "BlocksWorld": 0.14, "Game24": 0.1, "NumberLine": 0.05, "ALFWorld": 0.04,
                  "BlackJack": 0.01}'
    python examples/make_default_policy.py --minutes 6 --seed 10 --start /tmp/tenth --output /tmp/eleventh \\
        --learning-rate 1e-3 --problems-per-step 16 --later-states 2 \\
        --shares '{"PrOntoQA answers": 1.0}'
    python examples/make_default_policy.py --minutes 17 --seed 11 --start /tmp/eleventh --output /tmp/twelfth \\
        --learning-rate 8e-4 \\
        --shares '{"PrOntoQA": 0.5, "PrOntoQA answers": 0.08, "BlocksWorld": 0.18, "Game24": 0.12,
                  "NumberLine": 0.07, "ALFWorld": 0.04, "BlackJack": 0.01}'
    python examples/make_default_policy.py --minutes 42 --seed 12 --start /tmp/twelfth --output /tmp/thirteenth \\
        --learning-rate 1e-3 --problems-per-step 10 --later-states 3 \\
        --shares '{"ALFWorld in small rooms": 0.66, "PrOntoQA": 0.14, "PrOntoQA answers": 0.04, "BlocksWorld": 0.08,
                  "Game24": 0.05, "NumberLine": 0.02, "BlackJack": 0.01}'
    python examples/make_default_policy.py --minutes 33 --seed 13 --start /tmp/thirteenth \\
        --learning-rate 9e-4 --problems-per-step 10 --later-states 3 \\
        --shares '{"ALFWorld": 0.28, "ALFWorld in small rooms": 0.13, "PrOntoQA": 0.21, "PrOntoQA answers": 0.03,
                  "BlocksWorld": 0.12, "Game24": 0.16, "NumberLine": 0.05, "BlackJack": 0.02}'

The last writes the `from_pretrained` folder gfn_agents/checkpoints/default and its card README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from default_policy_states import FAMILIES, Batches, training_problems
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM

from gfn_agents.default_policy import DEFAULT_POLICY_FOLDER
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.pretrained import load_pretrained
from gfn_agents.tokenizer import add_phrases, find_phrases, train_tokenizer
from gfn_envs.rollout import draw_outcome
from gfn_envs.task import Task

FIRST_SHARES = {"Game24": 0.97, "NumberLine": 0.03}
_PROBLEMS_READ = 100
"""Problems of each task whose texts decide about new tokens."""


def tokenizer_texts(task: Task[Any, Any], problem: Any, rng: np.random.Generator) -> list[str]:
    """Returns prompts and actions along random play."""
    texts, state = [], task.reset(problem)
    while actions := task.actions(state):
        texts += [f"{task.observe(state)}\nAction:", *(f" {action}" for action in actions)]
        state = draw_outcome(task, state, actions[rng.integers(len(actions))], rng)
    return texts


def new_model(texts: list[str], hidden: int, layers: int) -> tuple[Any, Any]:
    """Returns a model with random weights and a tokenizer made from texts."""
    tokenizer = train_tokenizer(texts, vocabulary_size=640)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 32,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return model, tokenizer


def extended_model(folder: Path, names: list[str], new: list[str], rng: np.random.Generator) -> tuple[Any, Any]:
    """Returns a saved model with tokens for the texts of new environments; those of the others keep theirs."""
    model, tokenizer = load_pretrained(folder)
    if not new:
        return model, tokenizer

    def texts_of(name: str) -> list[set[str]]:
        drawn = [
            (task, problem) for task in FAMILIES[name] for problem in training_problems(task).take(_PROBLEMS_READ, rng)
        ]
        return [set(tokenizer_texts(task, problem, rng)) for task, problem in drawn]

    known: set[str] = set().union(*(text for name in names if name not in new for text in texts_of(name)))
    for name in new:
        texts = texts_of(name)
        read = set().union(*texts)
        added = add_phrases(tokenizer, find_phrases(texts), read, known)
        known |= read
        print(f"{added} tokens for {name}", flush=True)
    before = len(model.get_input_embeddings().weight)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight[before:] = torch.randn(len(weight) - before, weight.shape[1]) * weight[:before].std()
    return model, tokenizer


def card(parameters: int, steps: int, arguments: argparse.Namespace, divergences: dict[str, float]) -> str:
    """Returns the text that lies beside the policy: what it is, and what data, seed and time made it."""
    before = ""
    if arguments.start:
        before = (arguments.start / "README.md").read_text(encoding="utf-8") + "\n## Continued"
    shares = ", ".join(f"{name} {share:.0%}" for name, share in arguments.shares.items())
    measured = ", ".join(f"{name} {value:.3f}" for name, value in divergences.items())
    return f"""{before or "# The embedded default policy"}

A Llama of {parameters:,} parameters with a byte-level vocabulary of its own, trained from nothing.

- Data: the exact target policies of problems of the training split, by enumeration, and for ALFWorld what a searching
  player does ({shares}). The tasks are those of `FAMILIES` in `examples/default_policy_states.py`. No validation or
  test problem was used, neither for the tokenizer nor for the model.
- Loss: cross-entropy to the exact sampler's action probabilities over all legal actions (target R^1, failures 1e-4).
- Run: {steps} steps in {arguments.minutes:g} minutes, seed {arguments.seed}, threads {arguments.threads}, learning rate
  {arguments.learning_rate:g}. Mean Kullback-Leibler divergence from the exact policy at the end, nats a state:
  {measured}.
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
    parser.add_argument("--start", type=Path, help="continue from the policy in this folder")
    parser.add_argument(
        "--new", nargs="*", choices=FAMILIES, default=[], help="environments that the policy of --start has not read"
    )
    parser.add_argument("--shares", type=json.loads, default=FIRST_SHARES, help="shares of the environments, as JSON")
    parser.add_argument("--output", type=Path, default=DEFAULT_POLICY_FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)

    batches = Batches(arguments.shares, arguments.problems_per_step, arguments.later_states, arguments.seed)
    if arguments.start:
        model, tokenizer = extended_model(arguments.start, list(arguments.shares), arguments.new, rng)
    else:
        drawn = [
            (task, p) for family in batches.sources.values() for task, source in family for p in source.take(2000, rng)
        ]
        texts = [text for task, problem in drawn for text in tokenizer_texts(task, problem, rng)]
        model, tokenizer = new_model(texts, arguments.hidden, arguments.layers)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens", flush=True)
    policy = LanguageModelPolicy(model, tokenizer, rows_in_memory=64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    # A process of its own, as to list all states takes as long as to learn from a few of them.
    loader = iter(DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=16))
    started, steps = time.time(), 0
    divergences: dict[str, list[float]] = {name: [] for name in arguments.shares}
    while (progress := (time.time() - started) / (60 * arguments.minutes)) < 1:
        rate = (
            arguments.learning_rate
            * min(1.0, (steps + 1) / 100)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = list(next(loader).values())
        log_probs = policy.log_probs([e.observation for e, _ in batch], [e.actions for e, _ in batch])
        loss = torch.zeros(())
        for row, (example, name) in zip(log_probs, batch, strict=True):
            target = torch.from_numpy(example.probabilities).float()
            divergence = (target * (target.clamp_min(1e-9).log() - row[: len(target)])).sum()
            divergences[name].append(float(divergence.detach()))
            loss = loss + divergence / len(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
        if steps % 25 == 0:
            recent = "  ".join(f"{name} {np.mean(values[-200:]):.3f}" for name, values in divergences.items() if values)
            print(f"step {steps}  minutes {progress * arguments.minutes:.1f}  divergence: {recent}", flush=True)
        if steps % 200 == 0:
            policy.save(arguments.output)
    policy.save(arguments.output)
    last = {name: float(np.mean(values[-1000:])) for name, values in divergences.items() if values}
    text = card(model.num_parameters(), steps, arguments, last)
    (arguments.output / "README.md").write_text(text, encoding="utf-8")
    print(f"{steps} steps in {arguments.minutes} minutes; divergence {last}")


if __name__ == "__main__":
    main()
