"""Several processes that train one policy together, by `torch.distributed`.

`accelerate launch` and `torchrun` start the same program several times and tell each copy by environment
variables who it is; `start` joins them. Without them, everything here is what it is for one process.

Each process works on its own share of the problems of a step. What they sample is exchanged, so that replay and
counters are the same everywhere, and gradients are added up, so that the weights stay the same everywhere. What
passes between them is data of this run alone.

Each process holds the whole policy, or the launcher asks for a divided one (`gfn_agents.sharding`). Evaluating that is
work for all of them at once, though each wants it at other times and more or less often. So before such work a process
waits until all have come to some; then all do the first kind that any of them wants, those that want another lending a
hand; and whoever has come to an exchange lends a hand until all have come there.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

import torch
import torch.distributed as dist

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for one that is alive and silent; one that has ended is noticed at once."""
_SHARDED = "ACCELERATE_USE_FSDP"
_REFUSED = {
    "ACCELERATE_USE_DEEPSPEED": "a model is divided among processes by FSDP here, not by DeepSpeed; use --use_fsdp",
    "ACCELERATE_USE_MEGATRON_LM": "a model is divided among processes by FSDP here, not by Megatron; use --use_fsdp",
    "FSDP_OFFLOAD_PARAMS": "weights stay where the model is evaluated; leave --fsdp_offload_params out",
}
_EXCHANGE = 1 << 30
"""What a process wants that has come to an exchange: higher than the number of any work."""
Item = TypeVar("Item")


class ProcessLost(RuntimeError):
    """Another process of the run has ended, so that this one cannot go on."""

    def __init__(self) -> None:
        super().__init__("another process of this run has ended or cannot be reached")


def start(device: str = "auto") -> None:
    """Joins the processes that a launcher started; alone there is nothing to join.

    Args:
        device: where the policy will be; "auto" gives each process of a machine a GPU of its own where there are some.

    Raises:
        ValueError: the launcher wants the model divided in another way than FSDP's, or there are more processes than
            GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return
    for name, reason in _REFUSED.items():
        if _is_set(name):
            raise ValueError(reason)
    # Else transformers would read no weights in all processes but the first.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    gpu = device != "cpu" and torch.cuda.is_available()
    if gpu:
        place, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if device not in ("auto", "cuda"):
            raise ValueError(f"device={device!r} is the same for every process; use auto, which gives each its own")
        if place >= found:
            raise ValueError(
                f"process {place + 1} of this machine has no GPU of its own, there are {found}; "
                "start fewer processes, or use device=cpu"
            )
        torch.cuda.set_device(place)
    # It keeps the process group of the time of its import in default arguments, where `_leave` cannot reach it.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=_PATIENCE)
    atexit.register(_leave)


def _leave() -> None:
    """Ends the threads that exchange, which abort the program if they still let go of a tensor when Python has ended.

    They end with the last reference to the process group, and a divided model has some.
    """
    _shared_work.helps.clear()
    if dist.is_initialized():
        dist.destroy_process_group()
        gc.collect()


def _is_set(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("true", "1")


def count() -> int:
    """Returns how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Says whether this is the process that writes files and talks to the user."""
    return not dist.is_initialized() or dist.get_rank() == 0


def model_is_divided() -> bool:
    """Says whether the launcher wants the model itself divided among the processes."""
    return count() > 1 and _is_set(_SHARDED)


def share(items: Sequence[Item]) -> list[Item]:
    """Returns this process's part of a list; the parts of all processes, put together, are the list."""
    rank, total = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    return list(items[len(items) * rank // total : len(items) * (rank + 1) // total])


def gather(item: Item) -> list[Item]:
    """Returns the items of all processes, in the same order in each.

    Raises:
        ProcessLost: one of them has ended.
    """
    if count() == 1:
        return [item]
    items: list[Item | None] = [None] * count()
    _come_together(_EXCHANGE)
    with _others_needed():
        dist.all_gather_object(items, item)
    return items  # type: ignore[return-value]


def add_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Adds up gradients over all processes, in place; one that only others have counts as zero here.

    Raises:
        ProcessLost: one of them has ended.
    """
    if count() == 1:
        return
    known = list(parameters)
    anywhere = [any(flags) for flags in zip(*gather([p.grad is not None for p in known]), strict=True)]
    wanted = [parameter for parameter, exists in zip(known, anywhere, strict=True) if exists]
    for parameter in wanted:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    with _others_needed():
        for work in [dist.all_reduce(parameter.grad, async_op=True) for parameter in wanted]:
            work.wait()


@torch.no_grad()
def copy_from_main(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Gives parameters the values that they have in the main process, in place."""
    if count() > 1:
        _come_together(_EXCHANGE)
        with _others_needed():
            for parameter in parameters:
                dist.broadcast(parameter, src=0)


# -- work for all processes at once ------------------------------------------------------------------
class _SharedWork:
    """The kinds of work that all processes do at once, and how each is helped with."""

    def __init__(self) -> None:
        self.helps: list[Callable[[], object]] = []
        self.helping = False


_shared_work = _SharedWork()


def shared_work(help_with: Callable[[], object]) -> Callable[[], None]:
    """Makes a kind of work known that all processes must do at once; all make the same ones known, in the same order.

    Args:
        help_with: does the part of a process that needs no result of it.

    Returns:
        what to call right before such work. It comes back when all processes do this work now, and raises ProcessLost
        where one of them has ended.
    """
    _shared_work.helps.append(help_with)
    return partial(_come_together, len(_shared_work.helps) - 1)


def _come_together(wanted: int) -> None:
    """Helps with what other processes want first, until it is the turn of what this one wants."""
    if not _shared_work.helps or _shared_work.helping:
        return
    while (turn := _lowest(wanted)) != wanted:
        _shared_work.helping = True
        try:
            _shared_work.helps[turn]()
        finally:
            _shared_work.helping = False


def _lowest(wanted: int) -> int:
    """Returns the lowest number that any process wants; each has its turn, as all come to an exchange at last."""
    lowest = torch.tensor(wanted)
    with _others_needed():
        dist.all_reduce(lowest, dist.ReduceOp.MIN)
    return int(lowest)


# -- processes that have ended -----------------------------------------------------------------------
@contextmanager
def _others_needed() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost from error


@contextmanager
def noticing_loss() -> Iterator[None]:
    """Raises ProcessLost for what PyTorch says where a process ends in the midst of shared work."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise ProcessLost from error
        raise
