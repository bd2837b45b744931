"""Log-probabilities of token sequences under a causal language model, as prefix trees or as padded batches.

Both give the same numbers. Sums are computed in at least float32, whatever the model's type.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from transformers import DynamicCache

from gfn_agents.memory import is_out_of_memory
from gfn_agents.prefix_tree import Row, Tokens, build_row
from gfn_agents.tree_attention import SHORTEST_FLEX_ROW, block_mask, leave_flex, takes_block_masks

END = -1
"""In the place of a token, last in its sequence: any one of the closing tokens, with their summed probability."""
KeysAndValues = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer, each of shape (1, heads, tokens, size)."""


def check_context(model: Any, tokens: int) -> None:
    """Warns of sequences that are longer than the model was made for: its answers get worse there.

    Raises:
        ValueError: it has learned positions, and none so far out.
    """
    config = model.config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or tokens <= limit:
        return
    remedy = "use fewer worked examples, a shorter history or a model with a longer context"
    if getattr(config, "rope_parameters", None) is None:
        raise ValueError(f"a prompt and its action have {tokens} tokens, and the model has {limit} positions; {remedy}")
    warnings.warn(f"prompts are longer than the {limit} tokens that the model was made for; {remedy}", stacklevel=2)


def evaluate_trunk(model: Any, tokens: Tokens, past: KeysAndValues | None = None) -> KeysAndValues:
    """Returns the keys and values of tokens with which all prompts begin, those of the past too, with their gradient.

    Args:
        past: an evaluated trunk that comes before them.
    """
    cache = DynamicCache(past) if past else None
    ids = torch.tensor([tokens], device=model.device)
    output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return tuple((layer.keys, layer.values) for layer in output.past_key_values.layers)


def tokens_in(past: KeysAndValues | None) -> int:
    """Returns the length of an evaluated trunk."""
    return past[0][0].shape[2] if past else 0


def evaluate_row(
    model: Any,
    row: Row,
    past: KeysAndValues | None = None,
    flow_head: nn.Module | None = None,
    closing: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns the summed token log-probability of each sequence of a row, and log F of each prompt.

    Args:
        past: an evaluated trunk that comes before the row's tokens.
        flow_head: hidden state -> log F; without it the flows are empty.
        closing: ids of the closing tokens, for sequences that come to an `END`, shape (K,).

    Returns:
        float32 of shape (N,), and of shape (prompts,); float64 if the model is.
    """
    behind = tokens_in(past)
    nodes, place = np.unique(row.edge_nodes, return_inverse=True)
    # All that is known beforehand goes to the device beforehand, so that nothing waits for the evaluation.
    given = (row.tokens, row.depths + behind, nodes, place, row.edge_tokens, row.sequence_index, row.sequence_edges)
    tokens, positions, kept, at, edge_tokens, owners, members = _moved(model.device, *given)
    ends, prompt_ends = _moved(model.device, np.flatnonzero(row.edge_tokens == END), row.prompt_ends)
    output = _forward(
        model,
        row,
        past,
        input_ids=tokens[None],
        position_ids=positions[None],
        logits_to_keep=kept,
        output_hidden_states=flow_head is not None,
    )
    logits = wide(output.logits[0])
    edges = _picked(logits, at, edge_tokens, ends, closing) - logits.logsumexp(dim=-1)[at]
    totals = edges.new_zeros(len(row.pairs)).index_add(0, owners, edges[members])
    if flow_head is None:
        return totals, totals[:0]
    return totals, flow_head(wide(output.hidden_states[-1][0, prompt_ends]))[:, 0]


def _moved(device: torch.device, *arrays: np.ndarray) -> list[Tensor]:
    """Returns arrays on a device without waiting for it: CUDA takes a copy of them before it lets the program go on."""
    meanwhile = device.type != "mps"  # which may read them later, when they are gone
    return [torch.from_numpy(array).to(device, non_blocking=meanwhile) for array in arrays]


def _forward(model: Any, row: Row, past: KeysAndValues | None, **given: Any) -> Any:
    """Returns what a model says of a row; where FlexAttention cannot run, it is left for good, with a warning."""
    mask = _mask(model, row, tokens_in(past))
    try:
        cache = DynamicCache(past) if past else None
        return model(attention_mask=mask, past_key_values=cache, use_cache=False, **given)
    except Exception as error:  # of compilers, whatever they raise
        if not isinstance(mask, BlockMask) or is_out_of_memory(error):
            raise
        reason = str(error).strip().partition("\n")[0]
    warnings.warn(f"FlexAttention does not run here ({reason:.200}); going on with dense masks", stacklevel=2)
    leave_flex(model)
    return _forward(model, row, past, **given)


def _mask(model: Any, row: Row, behind: int) -> Any:
    """Returns what lets every node of a row see the trunk, its ancestors and itself: a dense mask or a `BlockMask`."""
    if len(row.tokens) >= SHORTEST_FLEX_ROW and takes_block_masks(model):
        return block_mask(row, behind, model.device)
    enters, exits = _moved(model.device, row.enters, row.exits)
    unseen = (enters > enters[:, None]) | (enters[:, None] >= exits)
    width = behind + len(row.tokens)
    # Kernels take a mask as it is if its lines begin at multiples of 8, and else copy it in each layer.
    lines = torch.zeros(len(row.tokens), -(-width // 8) * 8, dtype=model.dtype, device=model.device)
    mask = lines[:, :width]
    mask[:, behind:].masked_fill_(unseen, torch.finfo(model.dtype).min)
    return mask[None, None]


def evaluate_padded(
    model: Any,
    sequences: Sequence[tuple[Tokens, Tokens]],
    padding: int,
    flow_head: nn.Module | None = None,
    closing: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns the same numbers from one right-padded batch of prompt + action, log F of each sequence's prompt."""
    device = model.device
    padded, attended = _right_padded([prompt + action for prompt, action in sequences], padding)
    input_ids, attention_mask, ends = _moved(device, padded, attended, np.flatnonzero(padded[:, 1:] == END))
    output = model(
        input_ids=input_ids.clamp_min(0),
        attention_mask=attention_mask,
        output_hidden_states=flow_head is not None,
        use_cache=False,
    )
    logits = wide(output.logits[:, :-1])
    tokens = input_ids[:, 1:].flatten()
    picked = _picked(logits.flatten(0, 1), torch.arange(len(tokens), device=device), tokens, ends, closing)
    picked = picked.view(logits.shape[:2]) - logits.logsumexp(dim=-1)
    position = torch.arange(1, input_ids.shape[1], device=device)
    starts = torch.tensor([len(prompt) for prompt, _ in sequences], device=device)
    lengths = torch.tensor([len(prompt) + len(action) for prompt, action in sequences], device=device)
    scored = (position >= starts[:, None]) & (position < lengths[:, None])
    totals = torch.where(scored, picked, 0.0).sum(dim=1)
    if flow_head is None:
        return totals, totals[:0]
    hidden = output.hidden_states[-1][torch.arange(len(sequences), device=device), starts - 1]
    return totals, flow_head(wide(hidden))[:, 0]


def score_row(model: Any, row: Row, past: KeysAndValues | None = None) -> Tensor:
    """Returns what `evaluate_row` says of the sequences, shape (N,)."""
    return evaluate_row(model, row, past)[0]


def score_padded(model: Any, sequences: Sequence[tuple[Tokens, Tokens]], padding: int) -> Tensor:
    """Returns what `evaluate_padded` says of the sequences, shape (N,)."""
    return evaluate_padded(model, sequences, padding)[0]


def _picked(logits: Tensor, at: Tensor, tokens: Tensor, ends: Tensor, closing: Tensor | None) -> Tensor:
    """Returns the logit of each token in its row of (N, V) logits, of `END` that of all closing ones, shape (E,).

    Args:
        ends: where the tokens are `END`.
    """
    picked = logits[at, tokens.clamp_min(0)]
    if closing is None or not len(ends):
        return picked
    return picked.index_copy(0, ends, logits[at[ends]][:, closing].logsumexp(dim=-1))


def wide(values: Tensor) -> Tensor:
    """Returns values in at least float32, in which sums and flows are computed whatever the model's type."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _right_padded(rows: Sequence[Tokens], padding: int) -> tuple[np.ndarray, np.ndarray]:
    length = max(map(len, rows))
    input_ids = np.full((len(rows), length), padding)
    attention_mask = np.zeros((len(rows), length), dtype=np.int64)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = row
        attention_mask[index, : len(row)] = 1
    return input_ids, attention_mask


@torch.no_grad()
def packing_is_exact(model: Any) -> bool:
    """Says whether a small prefix tree gives this model the values that padded sequences give.

    A probe instead of a list of architectures: it is right for models that nobody has listed yet. What rounding may
    change is measured by what is changed by a mask that is wrong, and sums of log-probabilities round anyhow.
    """
    size = model.config.get_text_config().vocab_size
    trunk, first, second, third = (tuple((7 * i + start) % size for i in range(5)) for start in (2, 3, 5, 11))
    prompts, actions = [first, first[:2] + second], [[second, second[:3] + third], [third]]
    pairs = [(trunk + prompts[i], action) for i in (0, 1) for action in actions[i]]
    expected = score_padded(model, pairs, 0)
    whole = build_row([0, 1], [trunk + prompt for prompt in prompts], actions)
    length = len(whole.tokens)
    wrong = replace(whole, enters=np.arange(length), exits=np.full(length, length))  # every node sees all before it
    try:
        packed = score_row(model, whole)
        changed = (score_row(model, wrong) - expected).abs().max()
        rounding = 4 * torch.finfo(expected.dtype).eps * expected.abs().max()
        tolerance = torch.finfo(model.dtype).eps ** 0.5 * changed + rounding
        after_trunk = score_row(model, build_row([0, 1], prompts, actions), evaluate_trunk(model, trunk))
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False
    return all((found - expected).abs().max() <= tolerance for found in (packed, after_trunk))
