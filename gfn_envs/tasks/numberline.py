"""NumberLine: walk along the integers until the goal is reached.

Description
    A walker stands on a line of integers and must reach a goal within a number of steps. After
    gym_cards of RL4VLM (arXiv 2405.10292) and GFlowVLM (arXiv 2503.06514).

Observation
    `Goal: 5. Start: 2. Position: 2. Line: 0 to 5. Steps left: 10.` The start is told because P_B, and
    with it the best policy, depends on what can be reached from it.

Actions
    `-` (one down) and `+` (one up), also spelled `left` and `right`. Both are always legal; at an
    end of the line the walker stays where it is, and the step counts.

Reward
    `reward="success"`: 1 on the goal, otherwise 0; R = 1 or 1e-4.
    `reward="inverse_distance"`: at the end R = 100 / (|position - goal| + 1), equation 9 of GFlowVLM;
    Gymnasium's reward is the same number.
    `reward="gym_cards"`: on every step +1 for reaching the goal, 0 for coming closer and -1
    otherwise, as published; R = 1 or 1e-4 as with "success", since a sum of these is not positive.

Episode End
    On the goal, or after `horizon` steps (twice the length of the line, as published).

Object and P_B
    Position and time are the state, so different walks merge. The object is the place and time of
    arrival. P_B is uniform over the incoming edges from states that can be reached: a walk of one
    action more or less near an end is another edge.

Problems and Splits
    `start_law="uniform"`: start and goal are distinct and uniform over pairs. `start_law="gym_cards"`:
    both uniform; if they agree, the goal becomes (goal + 1) mod `high`, as published (defined for
    low = 0). The canonical problem is start, goal and line.

Arguments
    low, high, horizon, start_law, reward.

Exact Values
    Line 0..5, 10 steps, published start law: random play arrives with probability 0.611274.

References
    Zhai et al. 2024 (arXiv 2405.10292); Kang et al. 2025, GFlowVLM (arXiv 2503.06514), equation 9.

Version History
    v0: first version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gfn_envs.drawing import Drawing
from gfn_envs.problems import GeneratedProblems, ProblemSet, ProblemSource
from gfn_envs.task import LOG_REWARD_FLOOR, Presets, Problem, Task
from gfn_envs.tasks.numberline_drawing import draw

ACTIONS = ("-", "+")
REWARDS = ("success", "inverse_distance", "gym_cards")
START_LAWS = ("uniform", "gym_cards")
_LISTED_LENGTH_LIMIT = 100


@dataclass(frozen=True, slots=True)
class NumberLineProblem(Problem):
    """A start and a goal on the line from low to high (ends included)."""

    start: int
    goal: int
    low: int
    high: int

    @property
    def id(self) -> str:
        """'numberline/2-to-5-in-0-to-5'."""
        return f"numberline/{self.start}-to-{self.goal}-in-{self.low}-to-{self.high}"


class NumberLineState(NamedTuple):
    """Where the walker is, and how many steps it has made."""

    problem: NumberLineProblem
    position: int
    time: int = 0


@dataclass(frozen=True)
class NumberLine(Task[NumberLineProblem, NumberLineState]):
    """Rules of NumberLine; see the module's docstring.

    Args:
        low: lower end of the line.
        high: upper end of the line.
        horizon: most steps; default 2 * (high - low).
        start_law: "uniform" or "gym_cards".
        reward: "success", "inverse_distance" or "gym_cards".
    """

    low: int = 0
    high: int = 5
    horizon: int = 0
    start_law: str = "uniform"
    reward: str = "success"

    name: ClassVar[str] = "numberline"
    problem_type: ClassVar[type[NumberLineProblem]] = NumberLineProblem
    difficulties: ClassVar[Presets] = {
        "easy": {},
        "medium": {"high": 20},
        "hard": {"low": 10, "high": 50},
    }
    charset: ClassVar[str] = " -+.:0123456789GLPSaefilnoprst"
    max_actions: ClassVar[int] = 2  # type: ignore[misc]
    max_action_length: ClassVar[int] = 1  # type: ignore[misc]

    def __post_init__(self) -> None:
        for option in ("low", "high", "horizon"):
            if type(getattr(self, option)) is not int:
                raise ValueError(f"{option} must be an integer, got {getattr(self, option)!r}")
            if abs(getattr(self, option)) > 10**9:
                raise ValueError(f"{option} must be between -10^9 and 10^9")
        if self.low >= self.high:
            raise ValueError(f"the line needs low < high, got {self.low}..{self.high}")
        if self.horizon < 0:
            raise ValueError(f"horizon must be at least 1, or 0 for twice the line, got {self.horizon}")
        if self.start_law not in START_LAWS:
            raise ValueError(f"start_law must be one of {START_LAWS}, got {self.start_law!r}")
        if self.reward not in REWARDS:
            raise ValueError(f"reward must be one of {REWARDS}, got {self.reward!r}")
        if self.start_law == "gym_cards" and self.low != 0:
            raise ValueError(f"start_law='gym_cards' is published for low=0 only, got low={self.low}")
        if self.start_law == "gym_cards" and self.high < 2:
            raise ValueError("start_law='gym_cards' needs high >= 2, or start and goal can agree")
        object.__setattr__(self, "horizon", self.horizon or 2 * (self.high - self.low))

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]
        """Characters of the sentence with the longest numbers that can stand in it."""
        number = max(len(str(self.low)), len(str(self.high)))
        return len("Goal: . Start: . Position: . Line:  to . Steps left: .") + 5 * number + len(str(self.horizon))

    # -- problems --------------------------------------------------------------------------------
    def problems(self) -> ProblemSource[NumberLineProblem]:
        """Returns the family with the weights of the start law; generated where the line is long."""
        if self.high - self.low > _LISTED_LENGTH_LIMIT:
            return GeneratedProblems(self._generate)
        positions = range(self.low, self.high + 1)
        weights: dict[NumberLineProblem, float] = {}
        for start in positions:
            for drawn in positions:
                goal = self._goal(start, drawn)
                if goal is not None:
                    problem = NumberLineProblem(start, goal, self.low, self.high)
                    weights[problem] = weights.get(problem, 0.0) + 1.0
        return ProblemSet(tuple(weights), tuple(weights.values()))

    def _goal(self, start: int, drawn: int) -> int | None:
        """Returns the goal for a drawn pair, None where the pair is to be drawn again."""
        if drawn != start:
            return drawn
        return (drawn + 1) % self.high if self.start_law == "gym_cards" else None

    def _generate(self, rng: np.random.Generator) -> NumberLineProblem:
        goal = None
        while goal is None:
            start, drawn = (int(x) for x in rng.integers(self.low, self.high + 1, size=2))
            goal = self._goal(start, drawn)
        return NumberLineProblem(start, goal, self.low, self.high)

    def problem_from_json(self, data: Mapping[str, Any]) -> NumberLineProblem:
        """Builds a problem from `start` and `goal`; the line defaults to the options'."""
        return super().problem_from_json({"low": self.low, "high": self.high, **data})

    def check_problem(self, problem: NumberLineProblem) -> None:
        """Raises ValueError unless start and goal are distinct integers on this line."""
        for field in ("start", "goal", "low", "high"):
            if type(getattr(problem, field)) is not int:
                raise ValueError(f"{field!r} must be an integer, got {getattr(problem, field)!r}")
        if (problem.low, problem.high) != (self.low, self.high):
            raise ValueError(
                f"the problem's line is {problem.low}..{problem.high}, the environment's {self.low}..{self.high}; "
                "pass low= and high="
            )
        if not (self.low <= problem.start <= self.high and self.low <= problem.goal <= self.high):
            raise ValueError(f"start {problem.start} and goal {problem.goal} must lie in {self.low}..{self.high}")
        if problem.start == problem.goal:
            raise ValueError(f"start and goal are both {problem.start}; there would be nothing to do")

    # -- rules -----------------------------------------------------------------------------------
    def reset(self, problem: NumberLineProblem) -> NumberLineState:
        """Returns the walker at its start."""
        return NumberLineState(problem, problem.start)

    def actions(self, state: NumberLineState) -> tuple[str, ...]:
        """Returns both actions, until the goal or the horizon is reached."""
        return () if state.position == state.problem.goal or state.time >= self.horizon else ACTIONS

    def step(self, state: NumberLineState, action: str) -> NumberLineState:
        """Moves by one, or stays at an end of the line."""
        problem, position = state.problem, state.position
        if action == "+":
            moved = position + 1 if position < problem.high else position
        elif action == "-":
            moved = position - 1 if position > problem.low else position
        else:
            raise KeyError(action)
        return NumberLineState(problem, moved, state.time + 1)

    def aliases(self, state: NumberLineState) -> dict[str, str]:
        """Words for the signs."""
        return {"left": "-", "right": "+"} if self.actions(state) else {}

    def observe(self, state: NumberLineState) -> str:
        """Returns goal, start, position, line and steps left."""
        problem = state.problem
        return (
            f"Goal: {problem.goal}. Start: {problem.start}. Position: {state.position}. "
            f"Line: {problem.low} to {problem.high}. Steps left: {self.horizon - state.time}."
        )

    # -- scores ----------------------------------------------------------------------------------
    def success(self, state: NumberLineState) -> bool:
        """Says whether the walker is on the goal."""
        return state.position == state.problem.goal

    def step_reward(self, state: NumberLineState, action: str, next_state: NumberLineState) -> float:
        """Returns Gymnasium's reward by the chosen variant."""
        before = abs(state.position - state.problem.goal)
        after = abs(next_state.position - state.problem.goal)
        if self.reward == "success":
            return float(after == 0)
        if self.reward == "inverse_distance":
            return 0.0 if self.actions(next_state) else 100.0 / (after + 1)
        return 1.0 if after == 0 else 0.0 if after < before else -1.0

    def log_reward(self, state: NumberLineState) -> float:
        """Returns log R of an end: equation 9 of GFlowVLM, or log 1 on the goal and log 1e-4 off it."""
        if self.reward == "inverse_distance":
            return math.log(100.0 / (abs(state.position - state.problem.goal) + 1))
        return 0.0 if self.success(state) else LOG_REWARD_FLOOR

    def solution(self, state: NumberLineState) -> str:
        """Returns place and time of arrival."""
        return f"{state.position} after {state.time} steps"

    def parents(self, state: NumberLineState) -> tuple[tuple[NumberLineState, str], ...]:
        """Returns the incoming edges from states that a walk from the start can be in."""
        problem, time = state.problem, state.time - 1
        if time < 0:
            return ()
        low, reached = _positions_reached(problem, self.horizon)
        edges = [(state.position - 1, "+"), (state.position + 1, "-")]
        if state.position == problem.high:
            edges.append((state.position, "+"))
        if state.position == problem.low:
            edges.append((state.position, "-"))
        known = [(p, a) for p, a in edges if low <= p <= problem.high and reached[time] >> (p - low) & 1]
        return tuple((NumberLineState(problem, p, time), action) for p, action in known)

    def render_text(self, state: NumberLineState) -> str:
        """Draws the line (a window of it where it is long) with walker and goal."""
        problem = state.problem
        first = max(problem.low, min(state.position, problem.goal) - 3)
        last = min(problem.high, max(state.position, problem.goal) + 3)
        if last - first > 40:
            return self.observe(state)
        marks = {problem.goal: "G", state.position: "@" if state.position != problem.goal else "*"}
        width = max(len(str(first)), len(str(last))) + 1
        line = "".join(marks.get(p, ".").rjust(width) for p in range(first, last + 1))
        scale = "".join(str(p).rjust(width) for p in range(first, last + 1))
        return f"{line}\n{scale}\n@ walker, G goal, * arrived; steps left: {self.horizon - state.time}"

    def draw(self, state: NumberLineState) -> Drawing:
        """Draws the walker on the line, the goal's flag and the steps left."""
        return draw(state, self.horizon)


@lru_cache(maxsize=1 << 12)
def _positions_reached(problem: NumberLineProblem, horizon: int) -> tuple[int, tuple[int, ...]]:
    """Returns a lowest position and for each time those from which a walk can go on, bit p - lowest for position p.

    What lies further from the start than the horizon is left out: it is not reached, so its ends stop nobody.
    """
    low, high = max(problem.low, problem.start - horizon), min(problem.high, problem.start + horizon)
    last, goal = 1 << (high - low), 1 << (problem.goal - low) if low <= problem.goal <= high else 0
    reached = [1 << (problem.start - low)]
    for _ in range(horizon):
        here = reached[-1]
        up, down = (here & ~last) << 1 | here & last, here >> 1 | here & 1
        reached.append((up | down) & ~goal)
    return low, tuple(reached)
