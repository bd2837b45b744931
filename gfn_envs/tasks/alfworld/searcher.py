"""Plans that a player could have made who knows no more than it was shown.

The planner knows where everything is, and who imitates its plans alone walks straight to a place, and knows nothing
to do where the thing is not there. This player looks around until it has seen all that it needs, and goes on by the
shortest plan then. Half of the time it is lucky and looks where the planner would, so that who imitates it learns
where things tend to be, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gfn_envs.tasks.alfworld.house import house_of
from gfn_envs.tasks.alfworld.planner import Plan, shortest_plan_from
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem
from gfn_envs.tasks.alfworld.summary import UNSEEN

if TYPE_CHECKING:
    from gfn_envs.tasks.alfworld.task import ALFWorld, ALFWorldState

LUCK = 0.5


def searching_plan(task: ALFWorld, problem: ALFWorldProblem, rng: np.random.Generator) -> Plan | None:
    """Returns the commands of one game that is won, or None if this player does not win it in time."""
    state, plan = task.reset(problem), list[str]()
    while task.actions(state):
        command = _next(task, state, rng)
        if command is None:
            return None
        plan.append(command)
        state = task.step(state, command)
    return tuple(plan) if task.success(state) else None


def _next(task: ALFWorld, state: ALFWorldState, rng: np.random.Generator) -> str | None:
    """Returns the next command, None if nothing is left to look at and the game cannot be won."""
    seen = [max(content, 0) for content in state.seen.contents]
    inside = tuple(there & known for there, known in zip(state.room.inside, seen, strict=True))
    if command := _planned(state._replace(room=state.room._replace(inside=inside))):
        return command
    house, legal = house_of(state.problem), set(task.actions(state))
    new = [house.receptacles[place] for place, content in enumerate(state.seen.contents) if content == UNSEEN]
    doors = [f"open {name}" for name in new if f"open {name}" in legal]
    looks = doors or [f"{verb} {name}" for verb in ("go to", "examine") for name in new if f"{verb} {name}" in legal]
    lucky = None if doors or rng.random() >= LUCK else _planned(state)
    return lucky or (str(rng.choice(looks)) if looks else _planned(state))


def _planned(state: ALFWorldState) -> str | None:
    """Returns the first command of a shortest plan, None if there is none."""
    try:
        return shortest_plan_from(state)[0]
    except ValueError:
        return None
