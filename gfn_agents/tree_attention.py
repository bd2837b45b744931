"""Attention for rows too long for a dense mask, by FlexAttention, whose mask is a function of two places.

A model is switched once to an attention that looks at the mask it is given: for a `BlockMask` it is
FlexAttention, otherwise what `transformers` calls sdpa. So short rows, trunks and thoughts go the usual way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from gfn_agents.prefix_tree import Row

SHORTEST_FLEX_ROW = 2048
"""Tokens. Below, a dense mask is small, and no kernel has to be compiled for its shape."""
_NAME = "tree_attention"


def can_use_flex(model: Any) -> bool:
    """Says whether a model is on a GPU and lets its attention be chosen, as FlexAttention needs it."""
    return (
        torch.device(model.device).type == "cuda"
        and getattr(model, "_supports_flex_attn", False)
        and model.config.get_text_config()._attn_implementation == "sdpa"
    )


def use_flex(model: Any) -> None:
    """Lets a model take a `BlockMask` as its attention mask, besides those it took before."""
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def leave_flex(model: Any) -> None:
    """Undoes `use_flex`."""
    model.set_attn_implementation("sdpa")


def takes_block_masks(model: Any) -> bool:
    """Says whether `use_flex` was called for a model."""
    return bool(model.config.get_text_config()._attn_implementation == _NAME)


def block_mask(row: Row, behind: int, device: torch.device) -> BlockMask:
    """Returns the mask by which every node of a row sees the trunk, its ancestors and itself, in memory of O(L).

    To make it takes a byte for each pair of tokens.

    Args:
        behind: tokens of the trunk.
    """
    enters, exits = (torch.from_numpy(a).to(device, torch.int32, non_blocking=True) for a in (row.enters, row.exits))

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = (key - behind).clamp_min(0)
        return (key < behind) | ((enters[seen] <= enters[query]) & (enters[query] < exits[seen]))

    length = len(row.tokens)
    return create_block_mask(visible, B=None, H=None, Q_LEN=length, KV_LEN=behind + length, device=device)


def _attend(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
) -> tuple[Tensor, Tensor | None]:
    forward = flex_attention_forward if isinstance(attention_mask, BlockMask) else sdpa_attention_forward
    attended: tuple[Tensor, Tensor | None] = forward(module, query, key, value, attention_mask, **options)
    return attended
