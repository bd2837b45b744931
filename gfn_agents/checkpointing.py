"""Checkpoints of a training run: everything that going on exactly needs, as safetensors, JSON and JSON Lines.

A checkpoint is written beside the last one and then renamed, so a complete one is always there. It does not
depend on how many processes trained.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gfn_agents.config import TrainConfig
from gfn_agents.policy import Policy
from gfn_agents.replay import ReplayBuffer
from gfn_envs.files import whole_folder

_KEPT_CHECKPOINTS = 2
REFERENCE_FOLDER = "reference"
"""Where a run folder keeps the frozen policy of relative objectives and of the prior of thoughts."""


@dataclass(frozen=True)
class Counters:
    """Where a run is, as JSON values.

    Attributes:
        demonstrated: ids of problems whose solutions were shown.
        visits: how often each action of each prompt was taken.
        rng: state of the generator that draws problems.
        config: the run's options.
        target_reached: the distance at which the run was to stop is reached.
        stored: number of trajectories in replay; None in a checkpoint that does not tell.
    """

    steps_done: int
    environment_steps: int
    cpu_seconds: float
    demonstrated: list[str]
    rng: dict[str, Any]
    config: dict[str, Any]
    visits: dict[str, Any] = field(default_factory=dict)
    target_reached: bool = False
    stored: int | None = None


@dataclass(frozen=True)
class Trained:
    """What a run changes in place: written to a checkpoint and read from it."""

    policy: Policy
    reference: Policy | None
    optimizer: torch.optim.Optimizer
    replay: ReplayBuffer


def write_checkpoint(folder: Path, trained: Trained, counters: Counters) -> Path:
    """Writes a checkpoint into a run folder, complete or not at all, and removes all but the last two."""
    final = folder / "checkpoints" / f"step-{counters.steps_done:06d}"
    # That of a run that was killed before its first checkpoint is not kept: it may have been another run.
    known = (folder / REFERENCE_FOLDER).exists() and list_checkpoints(folder)
    if trained.reference is not None and not known:
        with whole_folder(folder / REFERENCE_FOLDER) as partial:
            trained.reference.save(partial)
    with whole_folder(final) as partial:
        trained.policy.save(partial / "policy")
        save_file(_optimizer_tensors(trained.optimizer), partial / "optimizer.safetensors")
        trained.replay.save(partial / "replay.jsonl")
        told = asdict(replace(counters, stored=len(trained.replay)))
        (partial / "trainer.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    for old in (*list_checkpoints(folder)[:-_KEPT_CHECKPOINTS], *final.parent.glob(".partial-*")):
        shutil.rmtree(old)
    return final


def read_checkpoint(checkpoint: Path, trained: Trained, config: TrainConfig) -> Counters:
    """Reads a checkpoint, weights and all in place.

    Raises:
        ValueError: a file is missing or damaged, or the run had other options.
    """
    try:
        counters = read_counters(checkpoint)
        _check_same_options(counters.config, asdict(config))
        trained.policy.load_weights(checkpoint / "policy")
        if trained.reference is not None:
            trained.reference.load_weights(checkpoint.parent.parent / REFERENCE_FOLDER)
        _restore_optimizer(trained.optimizer, load_file(checkpoint / "optimizer.safetensors"))
        trained.replay.load(checkpoint / "replay.jsonl")
        if counters.stored not in (None, len(trained.replay)):
            raise KeyError(f"replay.jsonl has {len(trained.replay)} of {counters.stored} trajectories")
    except (OSError, KeyError, TypeError, json.JSONDecodeError, SafetensorError) as error:
        raise _damaged(checkpoint, error) from None
    return counters


def read_counters(checkpoint: Path) -> Counters:
    """Returns where a run was when it wrote a checkpoint.

    Raises:
        ValueError: the file is missing or damaged.
    """
    try:
        return Counters(**json.loads((checkpoint / "trainer.json").read_text(encoding="utf-8")))
    except (OSError, TypeError, json.JSONDecodeError) as error:
        raise _damaged(checkpoint, error) from None


def _damaged(checkpoint: Path, error: Exception) -> ValueError:
    return ValueError(f"checkpoint '{checkpoint}' is damaged ({error}); remove it to go on from an older one")


def list_checkpoints(folder: Path) -> list[Path]:
    """Returns the complete checkpoints of a run folder, oldest first."""
    return sorted((folder / "checkpoints").glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _check_same_options(saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """A run may be continued with more steps or other checkpoint spacing, nothing else.

    Options that the run did not know yet had their default's effect.
    """
    saved = {**asdict(TrainConfig()), **saved}
    for name, value in wanted.items():
        if name not in ("steps", "checkpoint_every") and saved[name] != value:
            raise ValueError(f"the run was started with {name}={saved[name]!r}, not {value!r}; start a new run")
