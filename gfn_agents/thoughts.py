"""Thoughts before an action: which there are, how probable each is, and how one is drawn.

A thought is one line of at most N tokens. At each place it goes on with any token that neither holds a
line break nor is special, each with its ordinary softmax probability, or it comes to its END with the
summed probability of all other tokens, the closing ones. After N tokens the end is certain. So the
probabilities of all thoughts sum to 1, and what sampling rules out is part of what is scored.

What thoughts mean for training is told where trajectories become a batch (`gfn_agents.batch`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from gfn_agents.prefix_tree import Tokens
from gfn_agents.scoring import END, KeysAndValues, tokens_in, wide
from gfn_envs.trajectory import Thought


def closing_tokens(tokenizer: Any, size: int) -> np.ndarray:
    """Returns which ids no thought holds: those with a line break, special ones, those that have no text.

    Args:
        size: of the model's vocabulary, which may be larger than the tokenizer's.

    Returns:
        bool of shape (size,).
    """
    texts = tokenizer.batch_decode([[token] for token in range(min(size, len(tokenizer)))])
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    special |= set(tokenizer.all_special_ids)
    closing = np.ones(size, dtype=np.bool_)
    closing[: len(texts)] = [token in special or "\n" in text or "\r" in text for token, text in enumerate(texts)]
    return closing


def spelled(thought: Thought, closing: np.ndarray, longest: int) -> Tokens:
    """Returns the tokens by which a thought is scored: its own, and `END` where the end is not certain.

    Args:
        closing: which ids no thought holds, bool of shape (V,).
        longest: most tokens of a thought.

    Raises:
        ValueError: it is no thought of this policy.
    """
    if len(thought.tokens) > longest:
        raise ValueError(f"a thought has {len(thought.tokens)} tokens, and this policy's have at most {longest}")
    for token in thought.tokens:
        if token >= len(closing) or closing[token]:
            raise ValueError(f"a thought holds token {token}, which this policy's thoughts never do")
    return thought.tokens if len(thought.tokens) == longest else (*thought.tokens, END)


def alternatives(logits: Tensor, closing: Tensor) -> Tensor:
    """Returns the log-probabilities of all tokens, -inf for closing ones, and last that of the end.

    Args:
        logits: of the next token, shape (B, V).
        closing: ids that no thought holds, shape (K,).

    Returns:
        shape (B, V + 1).
    """
    log_probs = wide(logits).log_softmax(dim=-1)
    end = log_probs[:, closing].logsumexp(dim=-1, keepdim=True)
    return torch.cat([log_probs.index_fill(-1, closing, -torch.inf), end], dim=-1)


def draw_thoughts(
    model: Any,
    prompts: Sequence[Tokens],
    closing: Tensor,
    draws: np.ndarray,
    temperature: float = 1.0,
    past: KeysAndValues | None = None,
    at_once: int = 64,
) -> list[Tokens]:
    """Returns the tokens of one thought after each prompt; equal prompts are evaluated once.

    Args:
        closing: ids that no thought holds, shape (K,).
        draws: numbers from 0 to 1 for each prompt and token, shape (B, longest); as many whatever the thoughts turn
            out to be, so that one thought changes no other.
        temperature: alternatives are drawn in proportion to p^(1/temperature); 0 takes the most probable.
        past: an evaluated trunk that comes before every prompt.
        at_once: thoughts that grow side by side, which bounds the memory of keys and values and changes no thought.
    """
    thoughts: list[Tokens] = []
    for start in range(0, len(prompts), at_once):
        part = slice(start, start + at_once)
        thoughts += _grow(model, prompts[part], closing, draws[part], temperature, past)
    return thoughts


@torch.no_grad()
def _grow(
    model: Any,
    prompts: Sequence[Tokens],
    closing: Tensor,
    draws: np.ndarray,
    temperature: float,
    past: KeysAndValues | None,
) -> list[Tokens]:
    """Lets one thought grow after each prompt, place by place, with the keys and values of what came before."""
    distinct = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    width, device = max(map(len, prompts)), model.device
    input_ids = torch.tensor([(0,) * (width - len(prompt)) + prompt for prompt in distinct], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in distinct], device=device)
    behind = tokens_in(past)
    positions = (mask.cumsum(dim=-1) - 1).clamp_min(0) + behind
    mask = torch.nn.functional.pad(mask, (behind, 0), value=1)
    many = len(distinct)
    cache = DynamicCache([(k.expand(many, -1, -1, -1), v.expand(many, -1, -1, -1)) for k, v in past]) if past else None
    # Where each growing thought is among the rows of the last evaluation, and which prompt it answers.
    rows, growing = np.array([distinct[prompt] for prompt in prompts]), np.arange(len(prompts))
    thoughts: list[Tokens] = [()] * len(prompts)
    for place in range(draws.shape[1]):
        output = model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        chosen = _choose(alternatives(output.logits[:, -1], closing), rows, draws[growing, place], temperature)
        goes_on = chosen != END
        rows, growing, chosen = rows[goes_on], growing[goes_on], chosen[goes_on]
        for index, token in zip(growing, chosen.tolist(), strict=True):
            thoughts[index] += (token,)
        if not len(growing):
            break
        kept = torch.from_numpy(rows).to(device)
        cache = output.past_key_values
        cache.reorder_cache(kept)
        input_ids = torch.from_numpy(chosen).to(device)[:, None]
        mask = torch.nn.functional.pad(mask[kept], (0, 1), value=1)
        positions, rows = positions[kept, -1:] + 1, np.arange(len(growing))
    return thoughts


def _choose(log_probs: Tensor, rows: np.ndarray, draws: np.ndarray, temperature: float) -> np.ndarray:
    """Returns one alternative for each draw, `END` for the last of them, shape (B,).

    Args:
        log_probs: of the alternatives, shape (N, A).
        rows: which of them each draw is from, shape (B,).
        draws: numbers from 0 to 1, shape (B,).
    """
    last = log_probs.shape[-1] - 1
    if temperature == 0:
        chosen = log_probs.argmax(dim=-1).cpu().numpy()[rows]
    else:
        cumulative = (log_probs.double() / temperature).softmax(dim=-1).cumsum(dim=-1)[torch.from_numpy(rows)]
        levels = torch.from_numpy(draws).to(cumulative)[:, None] * cumulative[:, -1:]
        chosen = torch.searchsorted(cumulative, levels, right=True)[:, 0].clamp_max(last).cpu().numpy()
    return np.where(chosen == last, END, chosen)
