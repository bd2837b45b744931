"""A GPU to pretend with: tensors that hold numbers on the CPU, say that they are elsewhere, and keep CUDA's rules.

`with pretend_device() as device:` makes the device "pretend". As on CUDA, tensors there cannot be mixed with those of
the CPU, but for numbers (tensors without dimensions) and for indices, and NumPy cannot read them. So a forgotten
`.to(device)` or `.cpu()` raises here what it would raise there, and everything else gives the numbers of the CPU.
`Rules.waits` counts what a program would wait for: reads, copies to the device that are not said to go on meanwhile,
and operations whose result has a size that depends on numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _DummyPrivateUse1Hook,
    _setup_privateuseone_for_python_backend,
)

aten = torch.ops.aten
NAME = "pretend"
COPIES = (aten._to_copy, aten.copy_, aten.copy)
INDEXED = (aten.index, aten.index_put, aten.index_put_)
"""CUDA's tensors may be indexed by the CPU's."""
WAITING = (aten._local_scalar_dense, aten.nonzero, aten.bincount)
"""What needs to know numbers, or how many there are."""
MATHS_ATTENTION = 0
"""The answer of `_fused_sdp_choice` that means: made of ordinary operations."""


class Elsewhere(torch.Tensor):
    """A tensor on the pretended device; `held` are its numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Elsewhere:
        """Returns the tensor that stands for numbers of the CPU."""
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
            requires_grad=held.requires_grad,
        )
        tensor.held = held
        return tensor

    def __repr__(self) -> str:
        return f"Elsewhere({self.held!r})"

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(parts: dict[str, torch.Tensor], context: None, size: Any, stride: Any) -> Elsewhere:
        return Elsewhere(parts["held"])

    def tolist(self) -> Any:
        """Returns the numbers, which for subclasses torch leaves to them."""
        Rules.waits += 1
        return self.held.tolist()

    def untyped_storage(self) -> torch.UntypedStorage:
        """Returns where the numbers are, which tells which tensors share them."""
        return self.held.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operation = func.overloadpacket
        if operation is aten._fused_sdp_choice:
            return MATHS_ATTENTION
        if operation in WAITING or (operation in INDEXED and any(map(_says_whether, _leaves(args[1:])))):
            Rules.waits += 1
        if operation not in COPIES:
            _refuse_mixing(operation, args, kwargs)
        place = kwargs.get("device")
        if operation is aten._to_copy and place is not None and torch.device(place).type == "cpu":
            Rules.waits += 1
            return func(*_each(_held, args), **_each(_held, kwargs))
        if operation is aten.copy_ and not isinstance(args[0], Elsewhere):
            Rules.waits += 1
            args[0].copy_(args[1].held)
            return args[0]
        out = _run(func, args, kwargs)
        return return_and_correct_aliasing(func, args, kwargs, out)


class Rules(TorchDispatchMode):
    """Lets tensors be made on the pretended device."""

    in_force = False
    waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation; one that makes a tensor on the device does so on the CPU."""
        kwargs = kwargs or {}
        place = kwargs.get("device")
        if any(isinstance(leaf, Elsewhere) for leaf in _leaves((args, kwargs))):
            return func(*args, **kwargs)
        if place is not None and torch.device(place).type == NAME:
            Rules.waits += func.overloadpacket is aten._to_copy and not kwargs.get("non_blocking")
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


def _leaves(value: Any) -> Iterator[Any]:
    """Yields what tuples, lists and dictionaries hold; torch's own function for it costs more than the operations."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    else:
        yield value


def _each(function: Callable[[Any], Any], value: Any) -> Any:
    """Returns tuples, lists and dictionaries with a function applied to what they hold."""
    if isinstance(value, tuple | list):
        return type(value)([_each(function, item) for item in value])
    if isinstance(value, dict):
        return {name: _each(function, item) for name, item in value.items()}
    return function(value)


def _says_whether(index: Any) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype is torch.bool


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Elsewhere) else value


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """Returns what the CPU makes of an operation, as tensors elsewhere."""
    place = {"device": "cpu"} if kwargs.get("device") is not None else {}
    out = func(*_each(_held, args), **{**_each(_held, kwargs), **place})
    return _each(lambda value: Elsewhere(value) if isinstance(value, torch.Tensor) else value, out)


def _refuse_mixing(operation: Any, args: Any, kwargs: Any) -> None:
    tensors = _leaves((args[:1], kwargs) if operation in INDEXED else (args, kwargs))
    here = [t for t in tensors if isinstance(t, torch.Tensor) and not isinstance(t, Elsewhere) and t.dim()]
    if here:
        raise RuntimeError(f"{operation} got tensors of the CPU among those of '{NAME}'; move them to one device")


class Backend(_DummyBackendModule):
    """What torch asks of a device beside its kernels; for other tests there is none."""

    def is_available(self) -> bool:
        return Rules.in_force

    def device_count(self) -> int:
        return int(Rules.in_force)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Returns the types of autocast."""
        return [torch.bfloat16]


class Hook(_DummyPrivateUse1Hook):
    """The same for the part of torch that is not Python."""

    def is_available(self) -> bool:
        return Rules.in_force


@cache
def _register() -> torch.library.Library:
    """Makes the device known, once in a process, and lets threads that do not know of `Rules` copy to it."""
    _setup_privateuseone_for_python_backend(NAME, Backend(), Hook())
    kernels = torch.library.Library("aten", "IMPL", "PrivateUse1")

    def empty_strided(size: Any, stride: Any, *, dtype: Any = None, **place: Any) -> torch.Tensor:
        return Elsewhere(torch.empty_strided(size, stride, dtype=dtype))

    kernels.impl("empty_strided", empty_strided)
    return kernels


@contextmanager
def pretend_device() -> Iterator[torch.device]:
    """Makes the device be there."""
    _register()
    Rules.waits, Rules.in_force = 0, True
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) makes it on the CPU and moves it
    try:
        # A thread of the device's own cannot take an exception of Python, by which torch ends a second evaluation.
        with Rules(), torch.autograd.set_multithreading_enabled(False):
            yield torch.device(NAME, 0)
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
        Rules.in_force = False
