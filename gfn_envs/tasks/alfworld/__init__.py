"""ALFWorld's household tasks; `gfn_envs.tasks.alfworld.task` is the documentation page."""

from gfn_envs.tasks.alfworld.problem import ALFWorldProblem
from gfn_envs.tasks.alfworld.task import ALFWorld, ALFWorldState

__all__ = ["ALFWorld", "ALFWorldProblem", "ALFWorldState"]
