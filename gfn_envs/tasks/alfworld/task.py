"""ALFWorld: household tasks in text, by rules that are equal to the original engine's and a thousand times faster.

Description
    A player walks through a room, opens cabinets, takes things and puts them elsewhere, cleans, heats, cools and
    slices them and switches lamps on. There are six types of tasks, `pick_and_place_simple`, `look_at_obj_in_light`,
    `pick_clean_then_place_in_recep`, `pick_heat_then_place_in_recep`, `pick_cool_then_place_in_recep` and
    `pick_two_obj_and_place`. Text, admissible commands and winning are those of ALFWorld 0.4 on TextWorld 1.7, which
    `benchmarks/alfworld_lockstep.py` shows by playing both.

Observation
    With `observation="feedback"` the engine's text: first the room and the task, then the answer to the last command,
    `You arrive at desk 1. On the desk 1, you see a mug 2, and a pen 1.` It is all that the original shows, so a
    player needs memory. With `observation="summary"` a text that stands for itself: the task, where the player is,
    what is in hand, what the player has seen where and treated, the last answer and the steps left.

Actions
    All admissible commands as the engine lists them, sorted: `go to desk 1`, `open drawer 2`, `close drawer 2`,
    `take mug 2 from desk 1`, `move mug 2 to desk 1`, `use desklamp 1`, `heat mug 2 with microwave 1`, `clean .. with
    ..`, `cool .. with ..`, `slice .. with ..`, `examine ..`, `help`, `inventory`, `look`. Alias: the older `put mug 2
    in/on desk 1`. Other commands are not legal here; the engine answers them "Nothing happens.", see `ALFWorld.fail`.

Reward
    With `reward="success"` 1 for reaching the goal, otherwise 0. With `reward="subgoals"` 50 for reaching the goal
    plus 1 for each of its conditions that is met for the first time (GFlowVLM, arXiv 2503.06514). The conditions are
    those of ALFRED: the target is in place; for treatments also that a target is treated, and that a treated one is
    in place; each of two targets; the target in hand, and the lamp here on. One of three holds at the start where an
    untreated target lies in place already. R = 1 or 1e-4; the partial log-reward goes from log 1e-4 to 0 with the
    share of conditions met.

Episode End
    When the goal is reached, or after `horizon` steps.

Object and P_B
    The solutions are plans, so the state contains its commands: every trajectory is an object of its own, P_B = 1.

Problems and Splits
    By default the 360 games that come with the package, 60 of each type, drawn by `generator.py` from the statistics
    of official rooms. `games`: a folder or archive of official games (`game.tw-pddl`), `"official"` for those of
    `alfworld-download`. Their splits hold: train, validation = valid_seen, test = valid_unseen. Other games are split
    by the hash of room and goal, whatever their name.

Arguments
    horizon, observation, reward, backend, task_types, games.

Exact Values
    All 3,693 walkthroughs of the official train and valid_seen games win, in 3 to 10 steps, and no plan is shorter.
    Random play of 50 steps wins 0.34 % of the games that come with the package. In 910 official games a thing can be
    picked up that fits nowhere (a teddy bear, a paper towel roll); with it in hand most goals are out of reach.
    Demonstrations (`expert_plans`) are games of a player that has to look for things, lucky half of the time: 8.0
    (easy) to 14.4 steps (hard) on average where shortest plans have 4.1 to 8.4.

References
    Shridhar et al. 2021, ALFWorld; Shridhar et al. 2020, ALFRED; Côté et al. 2018, TextWorld.

Version History
    v0: first version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gfn_envs.drawing import Drawing
from gfn_envs.problems import ProblemSet, ProblemSource
from gfn_envs.task import LOG_REWARD_FLOOR, Presets, Task
from gfn_envs.tasks.alfworld.drawing import draw, picture
from gfn_envs.tasks.alfworld.events import events
from gfn_envs.tasks.alfworld.games import load_games, open_games
from gfn_envs.tasks.alfworld.generator import shipped_games
from gfn_envs.tasks.alfworld.house import Room, house_of
from gfn_envs.tasks.alfworld.household import TASK_TYPES
from gfn_envs.tasks.alfworld.planner import optimal_plans, solutions
from gfn_envs.tasks.alfworld.problem import (
    LONGEST_NAME,
    LONGEST_TASK,
    MOST_AT_ONE_POSE,
    MOST_LAMPS,
    MOST_PLACEMENTS,
    MOST_RECEPTACLES,
    MOST_THINGS,
    ALFWorldProblem,
)
from gfn_envs.tasks.alfworld.rules import ALWAYS, apply, commands, conditions_met, is_won, read
from gfn_envs.tasks.alfworld.searcher import searching_plan
from gfn_envs.tasks.alfworld.stock import engine_turn, load_engine
from gfn_envs.tasks.alfworld.summary import Seen, nothing_seen, see, summary
from gfn_envs.tasks.alfworld.texts import HELP, NOTHING_HAPPENS, feedback, first_observation

OBSERVATIONS = ("feedback", "summary")
REWARDS = ("success", "subgoals")
BACKENDS = ("rules", "textworld")
GOAL_REWARD = 50.0
_LONGEST_HORIZON = 10_000
_SEARCHES = 8
_LISTED = LONGEST_NAME + len(", a ")


class ALFWorldState(NamedTuple):
    """A game under way.

    Attributes:
        problem: the game.
        history: the commands so far; one that did nothing is '' (see `ALFWorld.fail`).
        room: where everything is.
        seen: what the player knows of that.
        answer: the engine's last answer, '' before the first step.
        met: conditions of the goal that hold.
        best: most of them that ever held.
    """

    problem: ALFWorldProblem
    history: tuple[str, ...]
    room: Room
    seen: Seen
    answer: str
    met: int
    best: int


@dataclass(frozen=True)
class ALFWorld(Task[ALFWorldProblem, ALFWorldState]):
    """Rules of ALFWorld.

    Args:
        horizon: most steps of an episode.
        observation: "feedback", the engine's text, or "summary", a text that needs no memory.
        reward: "success" or "subgoals".
        backend: "rules", or "textworld": the original engine, slow and an extra (`gfn_envs.tasks.alfworld.stock`).
        task_types: types to play, all if empty.
        games: folder or archive of official games, "official", or None for those that come with the package.
    """

    horizon: int = 50
    observation: str = "feedback"
    reward: str = "success"
    backend: str = "rules"
    task_types: Sequence[str] = ()
    games: str | None = None

    name: ClassVar[str] = "alfworld"
    problem_type: ClassVar[type[ALFWorldProblem]] = ALFWorldProblem
    difficulties: ClassVar[Presets] = {
        "easy": {"task_types": ("pick_and_place_simple", "look_at_obj_in_light")},
        "medium": {"task_types": tuple(f"pick_{verb}_then_place_in_recep" for verb in ("clean", "heat", "cool"))},
        "hard": {"task_types": ("pick_two_obj_and_place",)},
    }
    charset: ClassVar[str] = "\n" + "".join(map(chr, range(32, 127)))
    # Of a receptacle: go to it, or (here) examine it and open or close it; with an empty hand also take what is in
    # those here, with a full one at most move, heat, clean or cool, and slice what is near.
    max_actions: ClassVar[int] = (  # type: ignore[misc]
        MOST_RECEPTACLES + MOST_AT_ONE_POSE + MOST_PLACEMENTS + MOST_LAMPS + len(ALWAYS)
    )
    max_action_length: ClassVar[int] = len("clean  with ") + 2 * LONGEST_NAME  # type: ignore[misc]

    def __post_init__(self) -> None:
        if type(self.horizon) is not int or not 1 <= self.horizon <= _LONGEST_HORIZON:
            raise ValueError(f"horizon must be a number of steps from 1 to {_LONGEST_HORIZON}, got {self.horizon!r}")
        if self.observation not in OBSERVATIONS:
            raise ValueError(f"observation must be one of {OBSERVATIONS}, got {self.observation!r}")
        if self.reward not in REWARDS:
            raise ValueError(f"reward must be one of {REWARDS}, got {self.reward!r}")
        if self.backend not in BACKENDS:
            raise ValueError(f"backend must be one of {BACKENDS}, got {self.backend!r}")
        if self.backend == "textworld":
            load_engine()
        named = (self.task_types,) if isinstance(self.task_types, str) else tuple(self.task_types)
        for task_type in named:
            if task_type not in TASK_TYPES:
                raise ValueError(f"there is no task type {task_type!r}; task types are {', '.join(TASK_TYPES)}")
        object.__setattr__(self, "task_types", named)
        object.__setattr__(self, "games", None if self.games is None else str(self.games))

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]
        """Characters of the longest text that a room within the limits of `problem` can give."""
        first = 150 + MOST_RECEPTACLES * _LISTED + LONGEST_TASK
        floor = min(MOST_THINGS * MOST_AT_ONE_POSE, self.horizon)
        answer = max(first, len(HELP), 150 + max(MOST_AT_ONE_POSE + floor, MOST_THINGS) * _LISTED)
        if self.observation == "feedback":
            return answer
        place = LONGEST_NAME + len(" (closed): not seen.\n")
        state = LONGEST_NAME + len(": cool and clean and sliced.\n")
        remembered = MOST_PLACEMENTS + self.horizon  # the horizon is for wrappers that move things, one a step
        rows = MOST_RECEPTACLES * place + remembered * _LISTED + min(self.horizon, MOST_THINGS) * state
        return answer + rows + LONGEST_TASK + (MOST_AT_ONE_POSE + 1) * _LISTED + 200

    # -- problems --------------------------------------------------------------------------------
    def problems(self) -> ProblemSource[ALFWorldProblem]:
        """Returns the games, listed but not loaded.

        Raises:
            ValueError: there are none.
        """
        wanted = tuple(self.task_types) or TASK_TYPES
        if self.games is None:
            return ProblemSet(tuple(game for game in shipped_games() if game.task_type in wanted))
        return open_games(self.games).of_types(wanted) if self.task_types else open_games(self.games)

    def check_problem(self, problem: ALFWorldProblem) -> None:
        """Raises ValueError if the game is not of the types to play, or is won before it begins."""
        house = house_of(problem)
        if is_won(house, house.start):
            raise ValueError(f"'{problem.id}' is won at its start, so there is nothing to play")
        if self.task_types and problem.task_type not in self.task_types:
            raise ValueError(
                f"the game is of the type {problem.task_type}; task_types are {', '.join(self.task_types)}"
            )

    def load_problems(self, path: Path) -> list[ALFWorldProblem]:
        """Reads a `game.tw-pddl` or an archive of them."""
        return [problem for problem in load_games(path) if problem.task_type in (self.task_types or TASK_TYPES)]

    # -- rules -----------------------------------------------------------------------------------
    def reset(self, problem: ALFWorldProblem) -> ALFWorldState:
        """Returns the game before the first step."""
        house = house_of(problem)
        met = conditions_met(house, house.start)
        return ALFWorldState(problem, (), house.start, nothing_seen(house), "", met, met)

    def _over(self, state: ALFWorldState) -> bool:
        return len(state.history) >= self.horizon or self.success(state)

    def actions(self, state: ALFWorldState) -> tuple[str, ...]:
        """Returns the admissible commands, sorted as the engine sorts them."""
        if self._over(state):
            return ()
        if self.backend == "textworld":
            return tuple(sorted(engine_turn(state.problem, state.history).admissible_commands))
        return commands(house_of(state.problem), state.room)

    def step(self, state: ALFWorldState, action: str) -> ALFWorldState:
        """Plays an admissible command; raises KeyError if it is none."""
        if self._over(state):
            raise KeyError(action)
        problem, history, room, seen, _, _, best = state
        house = house_of(problem)
        command = read(house, action)
        room = apply(house, room, command)
        met = conditions_met(house, room)
        seen, answer = see(house, room, seen, command), feedback(house, room, command)
        return ALFWorldState(problem, (*history, action), room, seen, answer, met, max(met, best))

    def fail(self, state: ALFWorldState) -> ALFWorldState:
        """Returns the state after a command that is not admissible: the engine uses up a step and changes nothing."""
        if self._over(state):
            raise KeyError("the game is over")
        return state._replace(history=(*state.history, ""), answer=NOTHING_HAPPENS)

    def events(self, state: ALFWorldState) -> tuple[tuple[float, ALFWorldState], ...]:
        """Returns what happens without the player: a door closes, or a thing turns up elsewhere."""
        house, changed = house_of(state.problem), []
        for chance, room in events(house, state.room):
            met = conditions_met(house, room)
            changed.append((chance, state._replace(room=room, met=met, best=max(met, state.best))))
        return tuple(changed)

    def aliases(self, state: ALFWorldState) -> dict[str, str]:
        """The `put X in/on Y` of ALFWorld before 0.4."""
        moves = [action for action in self.actions(state) if action.startswith("move ")]
        return {f"put {action[5:].replace(' to ', ' in/on ')}": action for action in moves}

    def observe(self, state: ALFWorldState) -> str:
        """Returns the engine's text or the summary."""
        problem, history, room, seen, answer, _, _ = state
        if self.backend == "textworld":
            answer = engine_turn(problem, history).text
        if self.observation == "summary":
            left = self.horizon - len(history)
            return summary(house_of(problem), room, seen, problem.task, history, answer, left)
        if history or self.backend == "textworld":
            return answer
        return first_observation(house_of(problem), problem.task)

    def memoryless(self) -> ALFWorld:
        """Returns the rules with `observation="summary"`."""
        return replace(self, observation="summary")

    # -- scores ----------------------------------------------------------------------------------
    def success(self, state: ALFWorldState) -> bool:
        """Says whether the goal is reached."""
        if self.backend == "textworld":
            return engine_turn(state.problem, state.history).won
        return state.met == house_of(state.problem).conditions

    def step_reward(self, state: ALFWorldState, action: str, next_state: ALFWorldState) -> float:
        """Returns Gymnasium's reward by the chosen variant."""
        if self.reward == "success":
            return float(self.success(next_state))
        return GOAL_REWARD * self.success(next_state) + (next_state.best - state.best)

    def goal_progress(self, state: ALFWorldState) -> float:
        """Returns the share of the goal's conditions that hold."""
        return state.met / house_of(state.problem).conditions

    def log_reward_so_far(self, state: ALFWorldState) -> float:
        """Returns the floor at no progress and less of it with progress; at an end the log-reward."""
        return self.log_reward(state) if self._over(state) else (1.0 - self.goal_progress(state)) * LOG_REWARD_FLOOR

    def solution(self, state: ALFWorldState) -> str:
        """Returns the commands in order."""
        return "; ".join(state.history)

    def solve(self, problem: ALFWorldProblem) -> tuple[str, ...]:
        """Returns all solutions where they can be listed, and otherwise all shortest plans up to commuting steps."""
        return solutions(self, problem)

    def expert_plans(self, problem: ALFWorldProblem) -> tuple[tuple[str, ...], ...]:
        """Returns plans of a player that has to look for things, or shortest ones if none of its games is won."""
        rng = np.random.default_rng(int(problem.content_hash[:16], 16))
        found = [searching_plan(self, problem, rng) for _ in range(_SEARCHES)]
        try:
            plans = dict.fromkeys(plan for plan in found if plan) or optimal_plans(problem)
        except ValueError:  # it cannot be won, or asks to look at a lamp
            return ()
        return tuple(plan for plan in plans if len(plan) <= self.horizon)

    def render_text(self, state: ALFWorldState) -> str:
        """Returns the room as far as the player knows it, in lines."""
        return picture(state, self.horizon)

    def draw(self, state: ALFWorldState) -> Drawing:
        """Draws the room as far as the player knows it."""
        return draw(state, self.horizon)

    def details(self, state: ALFWorldState) -> dict[str, Any]:
        """Returns `gamefile`, `task_type`, `goal_progress` and `won`."""
        return {
            "gamefile": state.problem.game,
            "task_type": state.problem.task_type,
            "goal_progress": self.goal_progress(state),
            "won": self.success(state),
        }

    def end_scores(self, state: ALFWorldState) -> dict[str, float]:
        """Returns the share of goal conditions that hold, which ALFWorld's authors report beside success."""
        return {"goal_progress": self.goal_progress(state)}
