"""What a model says, kept while its weights stay as they are.

Between two updates a policy reads the same texts many times: the instructions and worked examples at every step of
every episode, and a state once when it is first visited, again where local search leaves a trajectory, and again for
each score of an evaluation. What is computed from them depends on the weights alone, so it is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import chain, islice
from typing import Any, Generic, TypeVar

from peft.tuners.tuners_utils import BaseTunerLayer
from torch.optim.optimizer import register_optimizer_step_post_hook

from gfn_agents.pretrained import WithoutAdapter

_optimizer_steps = 0
"""Steps of all optimizers in this process."""


def _count_step(*_: Any) -> None:
    global _optimizer_steps
    _optimizer_steps += 1


register_optimizer_step_post_hook(_count_step)

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

    def get(
        self, model: Any, asked: Sequence[KeyT], evaluate: Callable[[list[KeyT]], Sequence[ValueT]]
    ) -> list[ValueT]:
        """Returns the value of each key.

        Args:
            model: with the weights that it has now.
            evaluate: returns the values of keys that are not known, each of which it is given once.
        """
        now = weights_state(model)
        if now != self._weights:
            self.clear()
            self._weights = now
        values = {key: self._values[key] for key in asked if key in self._values}
        if new := [key for key in dict.fromkeys(asked) if key not in values]:
            if len(self._values) + len(new) > self.capacity:
                self.clear()  # before there are others, so that never more than the capacity is held
            found = dict(zip(new, evaluate(new), strict=True))
            self._values.update(islice(found.items(), self.capacity))
            values.update(found)
        return [values[key] for key in asked]


def weights_state(model: Any) -> tuple[Any, ...]:
    """Returns what differs as soon as a weight was written, moved or replaced, or an adapter switched.

    PyTorch counts how often a tensor was written in place, which most optimizers and `load_state_dict` do. Fused
    optimizers are not seen there, so steps of optimizers count too, whatever they train. Only who writes to `.data`
    goes uncounted. What is trained beside a model without its adapter changes nothing.
    """
    without = isinstance(model, WithoutAdapter)
    whole = model.whole if without else model
    skipped = whole.base_model.prefix if without else None
    state: list[Any] = [] if without else [_optimizer_steps]
    # One walk instead of PyTorch's two with names takes half as long; this is asked at every step of an episode.
    modules = [whole]
    while modules:
        module = modules.pop()
        for tensor in chain(module._parameters.values(), module._buffers.values()):
            if tensor is not None:
                state.append((id(tensor), tensor.data_ptr(), tensor.dtype, tensor._version))
        if not without and isinstance(module, BaseTunerLayer):
            state.append((module.disable_adapters, tuple(module.active_adapters), tuple(module.merged_adapters)))
        modules += [m for name, m in module._modules.items() if m is not None and not (skipped and skipped in name)]
    return tuple(state)
