"""TextEnv: the one Gymnasium shell around any Task.

The shell adds what a Task must not have: a current state, randomness, the reading of free text and
the bookkeeping of `info`. `Episode` holds one running episode; `TextEnv` wraps one of them and
`TextVectorEnv` wraps many, so a vector gives what single environments give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Generic, Literal

import gymnasium as gym
import numpy as np

from gfn_envs.actions import read_action
from gfn_envs.frames import Window, frame, load_pygame
from gfn_envs.positions import Position, Turn, positions_of
from gfn_envs.problems import ProblemSource, checked_problem, is_source
from gfn_envs.task import LOG_REWARD_FLOOR, Problem, ProblemT, StateT, Task

OnInvalid = Literal["penalize", "terminate", "noop"]
ON_INVALID = ("penalize", "terminate", "noop")
PRINTABLE = "".join(map(chr, range(32, 127))) + "\n\t"
"""Characters of the action space: an agent may write any plain text, legal actions are part of it."""
ATTEMPTS_PER_STEP = 4
"""An episode is truncated after this many times its horizon, so that illegal actions end too."""


@dataclass(frozen=True)
class EnvOptions:
    """Options of the shell, the same for every environment.

    Args:
        on_invalid: what an unreadable or illegal action does. "penalize" gives `invalid_reward` and
            stays in the state; "noop" stays and gives 0; "terminate" gives `invalid_reward` and ends.
            (Of the environments here, ALFWorld alone has a rule for it: it costs a step.)
        invalid_reward: Gymnasium's reward of such an action.
    """

    on_invalid: OnInvalid = "penalize"
    invalid_reward: float = -1.0

    def __post_init__(self) -> None:
        if self.on_invalid not in ON_INVALID:
            raise ValueError(f"on_invalid must be one of {ON_INVALID}, got {self.on_invalid!r}")
        if not isinstance(self.invalid_reward, Real):
            raise ValueError(f"invalid_reward must be a number, got {self.invalid_reward!r}")
        if not math.isfinite(self.invalid_reward):
            raise ValueError(f"invalid_reward must be finite, got {self.invalid_reward!r}")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[StateT]):
    """All that `get_state` saves and `set_state` restores."""

    state: StateT
    elapsed: int
    over: bool


NOT_PLAYED = Turn()
INFO_KEYS = frozenset(
    (
        "admissible_actions",
        "action_mask",
        "problem_id",
        "success",
        "terminal_cause",
        "parsed_action",
        "invalid_action",
        "transition_log_prob",
        "stochasticity",
        "log_reward",
    )
)
"""What `info` says in every environment, and `Task.details` must leave alone."""


class Episode(Generic[ProblemT, StateT]):
    """One running episode of a task: the state and what the shell needs beside it."""

    __slots__ = ("_positions", "_step_limit", "elapsed", "options", "over", "position", "problem_id", "task")

    def __init__(self, task: Task[ProblemT, StateT], options: EnvOptions) -> None:
        self.task = task
        self.options = options
        self.over = True
        self._positions = positions_of(task)
        self._step_limit = ATTEMPTS_PER_STEP * task.horizon

    def start(self, problem: ProblemT) -> None:
        """Begins at the start state of a problem."""
        self.problem_id, self.position = self._positions.start(problem)
        self.elapsed = 0
        self.over = not self.position.actions

    def step(self, text: str, rng: np.random.Generator) -> Turn:
        """Plays what the agent wrote; chance draws from `rng`."""
        if self.over:
            raise gym.error.ResetNeeded("the episode is over; call reset() before the next step()")
        if not isinstance(text, str):
            raise TypeError(f"actions are text, got {text!r}; for indices wrap the environment in DiscreteActions")
        text = str(text)  # without what else an agent's answer may carry, as positions are remembered
        self.elapsed += 1
        try:
            _, self.position, turn = self._positions.follow(self.position, text, rng)
        except KeyError:  # the rules refuse the text as it stands: look for an action in it
            turn = self._read(text, rng)
        if self.elapsed >= self._step_limit and not turn.terminated:
            turn = turn._replace(truncated=True, cause="step_limit")
        self.over = turn.terminated or turn.truncated
        return turn

    def _read(self, text: str, rng: np.random.Generator) -> Turn:
        action = read_action(text, self.position.actions, self.task.aliases(self.position.state))
        if action is not None:
            _, self.position, turn = self._positions.follow(self.position, action, rng)
            return turn
        before = self.position.state
        failed = self.task.fail(before)
        if failed is not before and failed != before:
            self.position = Position(self.task, failed)
        reward = 0.0 if self.options.on_invalid == "noop" else self.options.invalid_reward
        if self.options.on_invalid == "terminate":
            return Turn(reward, terminated=True, cause="invalid_action", invalid=True)
        over = not self.position.actions
        return Turn(reward, over, cause="failed" if over else None, invalid=True)

    @property
    def log_reward(self) -> float:
        """The log-reward of an episode that is over; one cut short counts as a failure."""
        return LOG_REWARD_FLOOR if self.position.actions else self.task.log_reward(self.position.state)

    @property
    def begun(self) -> bool:
        """Whether there is anything to play."""
        return hasattr(self, "position")

    def check_begun(self) -> None:
        """Raises ResetNeeded if none has begun."""
        if not self.begun:
            raise gym.error.ResetNeeded("no episode has begun; call reset() first")

    def snapshot(self) -> Snapshot[StateT]:
        """Returns an immutable copy of the episode.

        Raises:
            ResetNeeded: none has begun.
        """
        self.check_begun()
        return Snapshot(self.position.state, self.elapsed, self.over)

    def restore(self, snapshot: Snapshot[StateT]) -> None:
        """Continues from a snapshot of the same task."""
        self.position = Position(self.task, snapshot.state)
        self.problem_id = snapshot.state.problem.id  # type: ignore[attr-defined]  # every state has its problem
        self.elapsed, self.over = snapshot.elapsed, snapshot.over

    def __getstate__(self) -> tuple[Any, ...]:
        # What is remembered of positions stays in its process.
        return self.task, self.options, self.snapshot() if self.begun else None

    def __setstate__(self, saved: tuple[Any, ...]) -> None:
        task, options, snapshot = saved
        self.__init__(task, options)  # type: ignore[misc]  # a slotted class without subclasses
        if snapshot is not None:
            self.restore(snapshot)


class TextEnv(gym.Env[str, str], Generic[ProblemT, StateT]):
    """A Task as a Gymnasium environment with text observations and text actions.

    `info` has `admissible_actions` (list of str), `action_mask` (int8 of shape (max_actions,)),
    `problem_id`, `success`, `terminal_cause`, `parsed_action`, `invalid_action`,
    `transition_log_prob`, at the end `log_reward`, after a step under `gfn_envs.stochastic` the counts
    `stochasticity`, and what `Task.details` adds. All are copies.

    Args:
        task: the rules.
        problems: where `reset` draws problems from.
        options: what illegal actions do.
        render_mode: "ansi" (text), "rgb_array" (pixels), "human" (a window that follows the play) or None.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array", "human"], "render_fps": 2}

    def __init__(
        self,
        task: Task[ProblemT, StateT],
        problems: ProblemSource[ProblemT],
        options: EnvOptions = EnvOptions(),
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode must be one of {self.metadata['render_modes']}, got {render_mode!r}")
        if not is_source(problems):
            kind = type(problems).__name__
            raise TypeError(f"problems must be a source of problems, got {kind}; write ProblemSet(tuple(problems))")
        self.task = task
        self.problems = problems
        self.render_mode = render_mode
        self.observation_space, self.action_space = text_spaces(task)
        self._episode = Episode(task, options)
        self._masks = action_masks(task.max_actions)
        if render_mode in ("rgb_array", "human"):
            load_pygame()  # says at once that it is missing
        self._window = Window(task.name, self.metadata["render_fps"]) if render_mode == "human" else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: seeds the drawing of problems and chance.
            options: `{"problem": ...}` (a problem, or its JSON fields) or `{"problem_id": ...}`.
        """
        super().reset(seed=seed)
        if not isinstance(options, Mapping | None):
            raise TypeError(f"options of reset must be a dict such as {{'problem_id': ...}}, got {options!r}")
        self._episode.start(choose_problem(self.task, self.problems, options or {}, self.np_random))
        if self._window is not None:
            self.render()
        return self._observation(), self._info(NOT_PLAYED)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Plays a text; see `gfn_envs.actions` for how a legal action is read out of it."""
        turn = self._episode.step(action, self.np_random)
        if self._window is not None:
            self.render()
        return self._observation(), turn.reward, turn.terminated, turn.truncated, self._info(turn)

    def render(self) -> str | np.ndarray | None:  # type: ignore[override]
        """Returns the picture of the current state as text or as pixels, or shows it in the window."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode, for example gym.make(..., render_mode='ansi')")
            return None
        if self.render_mode == "ansi":
            return self.task.render_text(self.get_state().state)
        picture = frame(self.task.draw(self.get_state().state))
        if self._window is None:
            return picture
        self._window.show(picture)
        return None

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._window is not None:
            self._window.close()

    def get_state(self) -> Snapshot[StateT]:
        """Returns an immutable snapshot for `set_state`."""
        return self._episode.snapshot()

    def set_state(self, snapshot: Snapshot[StateT]) -> tuple[str, dict[str, Any]]:
        """Continues from a snapshot; returns observation and info as `reset` does."""
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"set_state takes what get_state returned, got {snapshot!r}")
        self._episode.restore(snapshot)
        return self._observation(), self._info(NOT_PLAYED)

    def memoryless(self) -> TextEnv[ProblemT, Any]:
        """Returns a new environment with the texts that agents without memory are shown, see `Task.memoryless`."""
        copy = TextEnv(self.task.memoryless(), self.problems, self._episode.options, self.render_mode)
        copy.spec = self.spec
        return copy

    def clone(self) -> TextEnv[ProblemT, StateT]:
        """Returns an independent environment in the same state, its chance included.

        The clone of one that shows itself in a window gives frames instead: looking ahead is not part of the play.
        """
        render_mode = "rgb_array" if self.render_mode == "human" else self.render_mode
        copy = TextEnv(self.task, self.problems, self._episode.options, render_mode)
        copy.np_random = np.random.Generator(type(self.np_random.bit_generator)())
        copy.np_random.bit_generator.state = self.np_random.bit_generator.state
        copy._episode.restore(self._episode.snapshot())
        copy.spec = self.spec
        return copy

    def _observation(self) -> str:
        return self._episode.position.observation

    def _info(self, turn: Turn) -> dict[str, Any]:
        episode, position = self._episode, self._episode.position
        info: dict[str, Any] = {
            "admissible_actions": list(position.actions),
            "action_mask": self._masks[len(position.actions)].copy(),
            "problem_id": episode.problem_id,
            "success": position.success,
            "terminal_cause": turn.cause,
            "parsed_action": turn.action,
            "invalid_action": turn.invalid,
            "transition_log_prob": turn.transition_log_prob,
        }
        if turn.stochasticity:
            info["stochasticity"] = dict(turn.stochasticity)
        if episode.over:
            info["log_reward"] = episode.log_reward
        info.update(position.details)
        return info


def text_spaces(task: Task[Any, Any]) -> tuple[gym.spaces.Text, gym.spaces.Text]:
    """Returns the observation and the action space of a task."""
    observations = gym.spaces.Text(task.max_observation_length, charset=task.charset)
    actions = gym.spaces.Text(max(task.max_action_length, 1), charset="".join(sorted({*PRINTABLE, *task.charset})))
    return observations, actions


def action_masks(max_actions: int) -> list[np.ndarray]:
    """Returns for each number of legal actions its mask of shape (max_actions,), int8."""
    return [(np.arange(max_actions) < count).astype(np.int8) for count in range(max_actions + 1)]


def choose_problem(
    task: Task[ProblemT, Any], problems: ProblemSource[ProblemT], options: Mapping[str, Any], rng: np.random.Generator
) -> ProblemT:
    """Returns the problem that reset options name, or draws one.

    Raises:
        ValueError: an unknown option, a problem that does not fit, or an id that is not in the set.
    """
    unknown = set(options) - {"problem", "problem_id"}
    if unknown:
        raise ValueError(f"reset has no option {unknown.pop()!r}; options are 'problem' and 'problem_id'")
    problem, problem_id = options.get("problem"), options.get("problem_id")
    if problem is None and problem_id is None:
        return problems.sample(rng)
    if isinstance(problem, Problem):
        return checked_problem(task, problem)  # type: ignore[no-any-return]
    if problem is not None:
        if not isinstance(problem, Mapping):
            raise ValueError(f"options['problem'] must be a problem or its JSON fields, got {problem!r}")
        return task.problem_from_json(problem)
    return problems.find(str(problem_id))
