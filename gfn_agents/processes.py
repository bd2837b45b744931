"""Several processes that train one policy together: the only file that knows `torch.distributed`.

`accelerate launch` and `torchrun` start the same program several times and tell each copy by environment
variables who it is; `start` joins them. Without them, everything here is what it is for one process.

Each process holds the whole policy and works on its own share of the problems of a step. What they sample is
exchanged, so that replay and counters are the same everywhere, and gradients are added up, so that the weights stay
the same everywhere. What passes between them is data of this run alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for one that is alive and silent; one that has ended is noticed at once."""
_SHARDING = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")
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
        ValueError: the launcher wants the model itself divided, or there are more processes than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return
    if any(os.environ.get(name, "false").lower() in ("true", "1") for name in _SHARDING):
        raise ValueError(
            "FSDP and its like need all processes to evaluate the model equally often, and here episodes and packed "
            "rows are not equally many; launch plain data parallel, where every process holds the whole model, and "
            "make a large one fit by use_peft, dtype=bfloat16 and gradient_checkpointing"
        )
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
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=_PATIENCE)


def count() -> int:
    """Returns how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Says whether this is the process that writes files and talks to the user."""
    return not dist.is_initialized() or dist.get_rank() == 0


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
        with _others_needed():
            for parameter in parameters:
                dist.broadcast(parameter, src=0)


@contextmanager
def _others_needed() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost from error
