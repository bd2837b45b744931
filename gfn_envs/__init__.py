"""Text reasoning environments with exact yardsticks, for Gymnasium.

Importing the package registers every environment: `gym.make("gfn_envs/Game24-v0")`.
"""

from gfn_envs._version import __version__
from gfn_envs.actions import IllegalActionError, read_action
from gfn_envs.env import TextEnv
from gfn_envs.making import register_task
from gfn_envs.problems import GeneratedProblems, ProblemSet, load_problems, save_problems, split_of
from gfn_envs.task import Problem, Task
from gfn_envs.tasks import TASKS
from gfn_envs.vector import TextVectorEnv

__all__ = [
    "GeneratedProblems",
    "IllegalActionError",
    "Problem",
    "ProblemSet",
    "Task",
    "TextEnv",
    "TextVectorEnv",
    "__version__",
    "load_problems",
    "read_action",
    "register_task",
    "save_problems",
    "split_of",
]

for _name in TASKS:
    register_task(f"gfn_envs/{_name}-v0", _name)
