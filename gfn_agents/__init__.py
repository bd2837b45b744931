"""GFlowNet agents that train language models on the environments of `gfn_envs`.

Names are loaded when they are first used, so that the command line answers before torch is there.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "GFlowNetAgent": "gfn_agents.agent",
    "LanguageModelPolicy": "gfn_agents.language_model",
    "Policy": "gfn_agents.policy",
    "TabularPolicy": "gfn_agents.policy",
    "TrainConfig": "gfn_agents.config",
    "Trainer": "gfn_agents.trainer",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gfn_agents' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
