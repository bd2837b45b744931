"""What a model says, kept while its weights stay as they are.

Between two updates a policy reads the same texts many times: the instructions and worked examples at every step of
every episode, and a state once when it is first visited, again where local search leaves a trajectory, and again for
each score of an evaluation. What is computed from them depends on the weights alone, so it is computed once.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import chain
from typing import Any, Generic, TypeVar

from peft.tuners.tuners_utils import BaseTunerLayer

from gfn_agents.pretrained import WithoutAdapter, has_adapter

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class WeightsCache(Generic[KeyT, ValueT]):
    """Values that follow from the weights of a model, by what was asked. A copy of a cache is empty.

    Args:
        capacity: most values; all are forgotten when there would be more.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._values: dict[KeyT, ValueT] = {}
        self._weights: tuple[Any, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> WeightsCache[KeyT, ValueT]:
        return WeightsCache(self.capacity)

    def clear(self) -> None:
        """Forgets everything."""
        self._values.clear()

    def known(self, model: Any) -> dict[KeyT, ValueT]:
        """Returns what is known of a model with the weights that it has now."""
        now = weights_state(model)
        if now != self._weights:
            self.clear()
            self._weights = now
        return self._values

    def make_room(self, count: int) -> None:
        """Forgets everything if so many further values would be too many."""
        if len(self._values) + count > self.capacity:
            self.clear()


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
