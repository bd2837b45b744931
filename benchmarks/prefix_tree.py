"""How much faster prefix trees score actions than right-padded batches, forward and backward.

    python benchmarks/prefix_tree.py [--states 40] [--actions 8] [--shared 300]

Both ways give the same numbers on the same model. CPU seconds of one run on one thread; the ratio
is what counts. The padded way is the usual one: every (prompt, action) pair is a sequence of its
own, in batches of `--batch` right-padded sequences.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from gfn_agents.prefix_tree import Tokens, build_row, plan_rows, trunk_length
from gfn_agents.scoring import evaluate_trunk, score_padded, score_row

VOCABULARY = 640


def sequences(states: int, actions: int, shared: int, seed: int) -> tuple[list[Tokens], list[list[Tokens]]]:
    """Returns prompts with a shared prefix, and for each its actions of 6 to 11 tokens."""
    rng = np.random.default_rng(seed)

    def draw(length: int) -> Tokens:
        return tuple(int(token) for token in rng.integers(VOCABULARY, size=length))

    prefix = draw(shared)
    prompts = [prefix + draw(int(rng.integers(8, 13))) for _ in range(states)]
    return prompts, [[draw(int(rng.integers(6, 12))) for _ in range(actions)] for _ in range(states)]


def packed(model: Any, prompts: Sequence[Tokens], actions: Sequence[Sequence[Tokens]], budget: int) -> list[float]:
    """Scores by prefix trees after one trunk, with gradients."""
    cut = trunk_length(prompts)
    past = evaluate_trunk(model, prompts[0][:cut])
    prompts, found, losses = [prompt[cut:] for prompt in prompts], {}, []
    for indices in plan_rows(prompts, actions, budget):
        row = build_row(indices, prompts, actions)
        totals = score_row(model, row, past)
        losses.append(totals.sum())
        found.update(dict(zip(map(tuple, row.pairs.tolist()), totals.tolist(), strict=True)))
    torch.stack(losses).sum().backward()
    return [found[i, a] for i, legal in enumerate(actions) for a in range(len(legal))]


def padded(model: Any, prompts: Sequence[Tokens], actions: Sequence[Sequence[Tokens]], batch: int) -> list[float]:
    """Scores by right-padded batches, batch by batch, with gradients."""
    pairs = [(prompt, action) for prompt, legal in zip(prompts, actions, strict=True) for action in legal]
    found: list[float] = []
    for start in range(0, len(pairs), batch):
        totals: Tensor = score_padded(model, pairs[start : start + batch], padding=0)
        totals.sum().backward()
        found += totals.tolist()
    return found


def seconds(work: Callable[[], list[float]]) -> tuple[float, list[float]]:
    """Returns the CPU seconds of the second of two calls, and what it gave."""
    work()
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def models() -> dict[str, Any]:
    """Returns randomly initialised models of the sizes that matter here."""
    small = {"vocab_size": VOCABULARY, "max_position_embeddings": 2048, "tie_word_embeddings": True}
    torch.manual_seed(0)
    return {
        "Llama, the shape of the default policy (6 layers of 128)": LlamaForCausalLM(
            LlamaConfig(hidden_size=128, intermediate_size=384, num_hidden_layers=6, num_attention_heads=4, **small)
        ),
        "Qwen2 (6 layers of 384)": Qwen2ForCausalLM(
            Qwen2Config(
                hidden_size=384,
                intermediate_size=1152,
                num_hidden_layers=6,
                num_attention_heads=6,
                num_key_value_heads=2,
                **small,
            )
        ),
    }


def main() -> None:
    """Prints one line a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("states", 40), ("actions", 8), ("shared", 300), ("budget", 512), ("batch", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    prompts, actions = sequences(options.states, options.actions, options.shared, seed=0)
    cut = trunk_length(prompts)
    own = [prompt[cut:] for prompt in prompts]
    rows = plan_rows(own, actions, options.budget)
    evaluated = cut + sum(len(build_row(indices, own, actions).tokens) for indices in rows)
    distinct = len(build_row(range(len(prompts)), prompts, actions).tokens)
    usual = sum(len(p) + len(a) for p, legal in zip(prompts, actions, strict=True) for a in legal)
    print(
        f"tokens: {usual:,} in sequences, {distinct:,} distinct prefixes, {evaluated:,} evaluated in {len(rows)} rows"
    )
    for name, model in models().items():
        tree, tree_scores = seconds(lambda model=model: packed(model, prompts, actions, options.budget))
        usual_way, usual_scores = seconds(lambda model=model: padded(model, prompts, actions, options.batch))
        error = max(abs(a - b) for a, b in zip(tree_scores, usual_scores, strict=True))
        print(f"{name}: tree {tree:.2f} s, padded {usual_way:.2f} s, {usual_way / tree:.1f} times faster")
        print(f"  largest difference of the scores: {error:.1e}")


if __name__ == "__main__":
    main()
