"""Plans that a player could have made who knows no more than it was shown.

The planner knows where everything is, and who imitates its plans alone walks straight to a place, and knows nothing
to do where the thing is not there. This player looks around until it has seen all that it needs, and goes on by the
shortest plan then. Half of the time it is lucky and looks where the planner would, so that who imitates it learns
where things tend to be, too.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from gfn_envs.tasks.alfworld.house import house_of
from gfn_envs.tasks.alfworld.planner import Plan, optimal_plans_from
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem
from gfn_envs.tasks.alfworld.summary import UNSEEN

if TYPE_CHECKING:
    from gfn_envs.tasks.alfworld.task import ALFWorld, ALFWorldState

LUCK = 0.5


def searching_plan(task: ALFWorld, problem: ALFWorldProblem, rng: np.random.Generator) -> Plan | None:
    """Returns the commands of one game that is won, or None if this player does not win it in time."""
    state, plan = task.reset(problem), list[str]()
    while chosen := search_policy(task, state):
        command = str(rng.choice(list(chosen), p=list(chosen.values())))
        plan.append(command)
        state = task.step(state, command)
    return tuple(plan) if task.success(state) else None


def search_policy(task: ALFWorld, state: ALFWorldState, luck: float = LUCK) -> dict[str, float]:
    """Returns the commands that this player would give next, each with its probability.

    Nothing if the game is over, or all is seen and it cannot be won.
    """
    legal = set(task.actions(state))
    if not legal:
        return {}
    if known := informed_commands(state):
        return known
    house = house_of(state.problem)
    new = [house.receptacles[place] for place, content in enumerate(state.seen.contents) if content == UNSEEN]
    doors = [f"open {name}" for name in new if f"open {name}" in legal]
    looks = doors or [f"{verb} {name}" for verb in ("go to", "examine") for name in new if f"{verb} {name}" in legal]
    lucky = {} if doors else _planned(state)
    share = (luck if looks else 1.0) if lucky else 0.0
    found = {command: share * probability for command, probability in lucky.items()}
    for command in looks:
        found[command] = found.get(command, 0.0) + (1 - share) / len(looks)
    return {command: probability for command, probability in found.items() if probability}


def informed_commands(state: ALFWorldState) -> dict[str, float]:
    """Returns how shortest plans begin for which all was seen that they need; nothing if there are none."""
    seen = [max(content, 0) for content in state.seen.contents]
    inside = tuple(there & known for there, known in zip(state.room.inside, seen, strict=True))
    return _planned(state._replace(room=state.room._replace(inside=inside)))


def _planned(state: ALFWorldState) -> dict[str, float]:
    """Returns the first commands of shortest plans by their share of these, nothing if there are none."""
    try:
        firsts = Counter(plan[0] for plan in optimal_plans_from(state) if plan)
    except ValueError:
        return {}
    return {command: count / firsts.total() for command, count in firsts.items()}
