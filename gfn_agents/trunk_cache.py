"""Keys and values of the tokens that come before everything, kept while the weights stay as they are.

Between two updates a policy reads the same instructions and worked examples many times: at every step of
every episode. What it computes from them depends on the weights alone, so it is computed once.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from gfn_agents.prefix_tree import Tokens
from gfn_agents.pretrained import WithoutAdapter, has_adapter
from gfn_agents.scoring import KeysAndValues, evaluate_trunk


class TrunkCache:
    """The last trunk that was evaluated without gradient. A copy of a cache is empty."""

    def __init__(self) -> None:
        self._known: tuple[Tokens, tuple[Any, ...]] | None = None
        self._past: KeysAndValues = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> TrunkCache:
        return TrunkCache()

    def clear(self) -> None:
        """Forgets what is kept."""
        self._known, self._past = None, ()

    @torch.no_grad()
    def get(self, model: Any, tokens: Tokens) -> KeysAndValues:
        """Returns keys and values of a trunk, from the last call where tokens and weights are the same."""
        asked = tokens, weights_state(model)
        if self._known != asked:
            self.clear()  # first, so that never two are held
            self._past = evaluate_trunk(model, tokens)
            self._known = asked
        return self._past


def weights_state(model: Any) -> tuple[Any, ...]:
    """Returns what differs as soon as a weight was written, moved or replaced, or an adapter switched.

    PyTorch counts how often a tensor was written in place, which optimizers and `load_state_dict` do. Only who
    writes to `.data` goes uncounted. What is trained beside a model without its adapter changes nothing.
    """
    without = isinstance(model, WithoutAdapter)
    whole = model.whole if without else model
    tensors = chain(whole.named_parameters(), whole.named_buffers())
    weights = tuple(
        (id(t), t.data_ptr(), t.dtype, t._version)
        for name, t in tensors
        if not (without and whole.base_model.prefix in name)
    )
    if without or not has_adapter(whole):
        return weights
    layers = [module for module in whole.modules() if isinstance(module, BaseTunerLayer)]
    return (*weights, *((m.disable_adapters, tuple(m.active_adapters), tuple(m.merged_adapters)) for m in layers))
