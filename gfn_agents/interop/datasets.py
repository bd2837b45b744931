"""Trajectories as a data set of Hugging Face `datasets`, in plain columns that other trainers read."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from gfn_envs.trajectory import Trajectory


def to_dataset(trajectories: Iterable[Trajectory]) -> Any:
    """Returns a `datasets.Dataset` with one row a trajectory, in their order.

    Columns: `problem_id`; `messages`, a chat in which the user shows observations and the assistant plays; `actions`;
    `log_reward`, the natural logarithm of R; `success`; `solution`, empty where the episode broke off; `source`.
    Thoughts and backward probabilities are left out: JSON Lines (`save_trajectories`) keeps everything.

    Raises:
        ImportError: `datasets` is not installed.
    """
    datasets = load_datasets()
    text = datasets.Value("string")
    features = datasets.Features(
        {
            "problem_id": text,
            "messages": datasets.List({"role": text, "content": text}),
            "actions": datasets.List(text),
            "log_reward": datasets.Value("float64"),
            "success": datasets.Value("bool"),
            "solution": text,
            "source": text,
        }
    )
    rows = [_row(trajectory) for trajectory in trajectories]
    columns = {name: [row[name] for row in rows] for name in features}  # from_list fails where there are no rows
    return datasets.Dataset.from_dict(columns, features=features)


def load_datasets() -> ModuleType:
    """Returns the module `datasets`; raises ImportError that says how to install it."""
    try:
        import datasets
    except ImportError:
        raise ImportError('datasets is an optional dependency: pip install "gfn-gym[interop]"') from None
    module: ModuleType = datasets
    return module


def _row(trajectory: Trajectory) -> dict[str, Any]:
    turns = [(("user", step.observation), ("assistant", step.action)) for step in trajectory.steps]
    return {
        "problem_id": trajectory.problem_id,
        "messages": [{"role": role, "content": content} for turn in turns for role, content in turn],
        "actions": list(trajectory.actions),
        "log_reward": trajectory.log_reward,
        "success": trajectory.success,
        "solution": trajectory.solution,
        "source": trajectory.source,
    }
