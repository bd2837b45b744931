"""How much may be evaluated at once: a row budget from free memory, and less of it when memory runs out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil
import torch

from gfn_agents import processes
from gfn_envs.agents import SIDE_BY_SIDE

CPU_ROW_BUDGET = 512
"""Measured with `python -m benchmarks.row_budget`: longer rows are no faster, as attention costs their square."""
SMALLEST_ROW_BUDGET, LARGEST_ROW_BUDGET = 256, 8192
_SHARE = 0.5
"""Of the free memory that rows may take: the optimizer, the trunk and what is sampled need some too."""
_SMALL_MODEL_PARAMETERS = 50_000_000
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
"""Bytes that the processes of a Linux container may take together, and that they take."""
_NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What PyTorch's allocator of the CPU, CUDA and its library of matrix products say."""
Result = TypeVar("Result")


class NeedsMemory(Protocol):
    """Something whose evaluations can be made smaller."""

    def use_less_memory(self) -> None:
        """Halves what is evaluated at once, or raises RuntimeError where that cannot be."""


def default_rows_in_memory(model: Any, row_budget: int | None = None) -> int:
    """Returns how many rows of a batch keep their activations for the gradient, which saves evaluating them again.

    On a CPU, whose rows are short, as many as fit; elsewhere one, and more of small models, as longer rows are better.

    Args:
        row_budget: tokens of a row; None for `CPU_ROW_BUDGET`.
    """
    device = torch.device(model.device)
    if device.type != "cpu":
        return max(1, _SMALL_MODEL_PARAMETERS // int(model.num_parameters()))
    rows = _SHARE * free_memory(device) / processes.count() / ((row_budget or CPU_ROW_BUDGET) * bytes_per_token(model))
    return max(1, int(rows) - 1)  # one more is held while it is evaluated again


def default_row_budget(model: Any, rows_in_memory: int) -> int:
    """Returns the tokens of one row: on a GPU what fits its free memory, elsewhere `CPU_ROW_BUDGET`."""
    device = torch.device(model.device)
    if device.type != "cuda":
        return CPU_ROW_BUDGET
    rows = rows_in_memory + 1  # the one that is evaluated again for its gradient
    share = int(_SHARE * free_memory(device)) // rows
    return row_budget_for(share, bytes_per_token(model), torch.finfo(model.dtype).bits // 8)


def free_memory(device: torch.device) -> int:
    """Returns this program's part of the bytes that are free, where several run side by side.

    Raises:
        ValueError: the environment does not say how many they are.
    """
    programs = os.environ.get(SIDE_BY_SIDE, "1")
    if not programs.isdecimal() or not int(programs):
        raise ValueError(f"{SIDE_BY_SIDE} must be the number of programs that run side by side, got {programs!r}")
    return _free(device) // int(programs)


def _free(device: torch.device) -> int:
    """Returns the bytes that are free: of a GPU, or of this machine, of which a container may take a part only."""
    if device.type == "cuda":
        # What PyTorch has reserved and does not use is free too.
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + reusable)
    available = int(psutil.virtual_memory().available)
    try:
        most, taken = (path.read_text(encoding="ascii").strip() for path in _CONTAINER_LIMIT)
    except OSError:
        return available
    return available if most == "max" else max(0, min(available, int(most) - int(taken)))


def row_budget_for(memory: int, per_token: int, size: int) -> int:
    """Returns the most tokens of a row that fit, a multiple of 128 within the smallest and the largest budget.

    Args:
        memory: for one row, bytes.
        per_token: activations and logits, bytes.
        size: of a number, bytes; the mask has one for each pair of tokens, and one byte that says whether.
    """
    square = size + 1
    tokens = (((per_token**2 + 4 * square * memory) ** 0.5) - per_token) / (2 * square)
    return min(max(int(tokens) // 128 * 128, SMALLEST_ROW_BUDGET), LARGEST_ROW_BUDGET)


def bytes_per_token(model: Any) -> int:
    """Returns about how many bytes a token's activations and logits take while its gradient is due.

    A layer keeps the inputs of its matrix products and what its norms, rotations and gates need: some 20 vectors of
    the hidden size and 5 of the inner one. Logits are kept three times, as float32.
    """
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    size = torch.finfo(model.dtype).bits // 8
    return int(config.num_hidden_layers * (20 * config.hidden_size + 5 * inner) * size + 3 * 4 * config.vocab_size)


def is_out_of_memory(error: BaseException) -> bool:
    """Says whether an error is that memory ran out, by its type or by the words of who had none."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def within_memory(work: Callable[[], Result], of: NeedsMemory) -> Result:
    """Returns what some work returns; when memory runs out, it is done again with less of it at once.

    Raises:
        RuntimeError: it cannot be done with less.
    """
    while True:
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the except clause, so that the error no longer holds on to what was evaluated.
        of.use_less_memory()
        # A backward pass that failed on a CPU leaves its graph with the engine until the next one.
        torch.zeros((), requires_grad=True).backward()  # type: ignore[no-untyped-call]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@dataclass
class AtOnce:
    """How many things are evaluated at once.

    Attributes:
        name: how a warning calls the number.
        remedy: what to do when one thing is too much, as the end of a sentence.
    """

    name: str
    count: int
    remedy: str

    def use_less_memory(self) -> None:
        """Halves the number, with a warning.

        Raises:
            RuntimeError: it is one already.
        """
        if self.count == 1:
            raise RuntimeError(f"memory ran out with {self.name}=1; {self.remedy}")
        before, self.count = self.count, self.count // 2
        warn_of_less(self.name, before, self.count)


def warn_of_less(name: str, before: int, now: int) -> None:
    """Tells the user that work goes on with less at once."""
    warnings.warn(f"memory ran out; going on with {name}={now} instead of {before}", stacklevel=3)
