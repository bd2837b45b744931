"""TextVectorEnv: many episodes in one process, without the overhead of many environments.

It gives step by step what as many single environments give, supports every autoreset mode of
Gymnasium and partial resets by `reset_mask`, and passes observations as tuples of str: nothing is
copied through shared memory, where text would freeze.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from gfn_envs.env import NOT_PLAYED, Episode, action_masks, choose_problem, text_spaces
from gfn_envs.frames import frame, load_pygame
from gfn_envs.making import build
from gfn_envs.positions import Turn
from gfn_envs.task import Task

Observations = tuple[str, ...]
Seeds = int | Sequence[int | None] | None
RENDER_MODES = ("ansi", "rgb_array")


class TextVectorEnv(gym.vector.VectorEnv[Observations, Sequence[str], np.ndarray]):
    """The registered vector entry point of every environment.

    Args:
        num_envs: number of episodes side by side.
        task, problems, split, options: as for `gfn_envs.making.make_env`.
        autoreset_mode: "NextStep" (default), "SameStep" or "Disabled".
        render_mode: "ansi", "rgb_array" or None; a window shows one episode, so "human" is for single environments.
    """

    def __init__(
        self,
        task: str | type[Task[Any, Any]],
        num_envs: int = 1,
        problems: Any = None,
        split: str = "all",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, and an integer, got {num_envs!r}")
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode of a vector must be one of {RENDER_MODES}, got {render_mode!r}")
        if render_mode == "rgb_array":
            load_pygame()  # says at once that it is missing
        self.task, self.problems, shell = build(task, problems, split, options)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": 2,
            "autoreset_mode": self.autoreset_mode,
        }
        self.single_observation_space, self.single_action_space = text_spaces(self.task)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._episodes = [Episode(self.task, shell) for _ in range(num_envs)]
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._masks = np.stack(action_masks(self.task.max_actions))
        self._observations = [""] * num_envs

    def reset(  # type: ignore[override]  # Gymnasium's own vectors take lists of seeds too
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Starts episodes: all of them, or those of `options["reset_mask"]`.

        Args:
            seed: one seed for all (environment i gets seed + i) or one for each.
            options: `reset_mask` (bool array) and the options of the single environment.
        """
        options = dict(options or {})
        chosen = self._reset_indices(options.pop("reset_mask", None))
        if len(chosen) < self.num_envs and not self._episodes[-1].begun:  # the last of the first reset
            raise gym.error.ResetNeeded("the first reset() begins all episodes; leave reset_mask out")
        seeds = self._seeds(seed)
        for index in chosen:
            if seeds[index] is not None:
                self._generators[index], _ = gym.utils.seeding.np_random(seeds[index])
            self._start(index, options)
        info = self._info([NOT_PLAYED] * self.num_envs)
        if len(chosen) < self.num_envs:
            present = np.isin(np.arange(self.num_envs), chosen)
            info |= {key: told & present for key, told in info.items() if key.startswith("_")}
        return tuple(self._observations), info

    def step(self, actions: Sequence[str]) -> tuple[Observations, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Plays one text in every episode; ended ones start anew as the autoreset mode says."""
        if len(actions) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} actions, got {len(actions)}")
        self._episodes[-1].check_begun()
        turns = [self._advance(index, action) for index, action in enumerate(actions)]
        rewards, terminations, truncations = map(np.array, list(zip(*turns, strict=True))[:3])
        ended = terminations | truncations
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            info = self._restart(ended, turns)
        else:
            info = self._info(turns)
        return tuple(self._observations), rewards, terminations, truncations, info

    def render(self) -> tuple[Any, ...] | None:
        """Returns one picture an episode, as text or as pixels."""
        if self.render_mode is None:
            return None
        if self.render_mode == "ansi":
            return tuple(self.task.render_text(episode.snapshot().state) for episode in self._episodes)
        return tuple(frame(self.task.draw(episode.snapshot().state)) for episode in self._episodes)

    def _advance(self, index: int, action: str) -> Turn:
        """Plays in one episode, or starts it anew if it ended in the step before."""
        episode = self._episodes[index]
        if episode.over and self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._start(index, {})
            return NOT_PLAYED
        turn = episode.step(action, self._generators[index])
        self._observations[index] = episode.position.observation
        return turn

    def _restart(self, ended: np.ndarray, turns: list[Turn]) -> dict[str, Any]:
        """Starts the ended episodes in the step that ended them and reports how they ended."""
        final = self._info(turns)
        final |= {f"_{key}": final[f"_{key}"] & ended for key in list(final) if f"_{key}" in final}
        final_observations = np.full(self.num_envs, None, dtype=object)
        for index in map(int, np.flatnonzero(ended)):
            final_observations[index] = self._observations[index]
            self._start(index, {})
            turns[index] = NOT_PLAYED
        return self._info(turns) | {
            "final_obs": final_observations,
            "_final_obs": ended,
            "final_info": final,
            "_final_info": ended.copy(),
        }

    def _start(self, index: int, options: dict[str, Any]) -> None:
        episode = self._episodes[index]
        episode.start(choose_problem(self.task, self.problems, options, self._generators[index]))
        self._observations[index] = episode.position.observation

    def _info(self, turns: list[Turn]) -> dict[str, Any]:
        """Returns the keys of the single environment as arrays, each with its mask `_key`."""
        episodes, count = self._episodes, self.num_envs
        _, _, _, causes, actions, invalid, log_probs, acted = zip(*turns, strict=True)
        positions = [episode.position for episode in episodes]
        lengths = [len(position.actions) for position in positions]
        info: dict[str, Any] = {
            "admissible_actions": np.fromiter([list(position.actions) for position in positions], object, count),
            "action_mask": self._masks[lengths],
            "problem_id": np.array([episode.problem_id for episode in episodes], object),
            "success": np.array([position.success for position in positions]),
            "terminal_cause": np.array(causes, object),
            "parsed_action": np.array(actions, object),
            "invalid_action": np.array(invalid),
            "transition_log_prob": np.array(log_probs),
        }
        details = [position.details for position in positions]
        info |= {key: _array([entries[key] for entries in details]) for key in details[0]}
        present = np.ones((len(info), count), dtype=np.bool_)
        info |= {f"_{key}": row for key, row in zip(list(info), present, strict=True)}
        if any(acted):
            counts = np.fromiter([dict(one) for one in acted], object, count)
            info |= {"stochasticity": counts, "_stochasticity": np.array([bool(one) for one in acted])}
        ended = np.array([episode.over for episode in episodes])
        if ended.any():
            log_rewards = [episode.log_reward if episode.over else 0.0 for episode in episodes]
            info |= {"log_reward": np.array(log_rewards), "_log_reward": ended}
        return info

    def _seeds(self, seed: Seeds) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + index for index in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, got {len(seed)}")
        return [None if one is None else int(one) for one in seed]

    def _reset_indices(self, mask: Any) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask'] must be a bool array of shape ({self.num_envs},)")
        if not mask.any():
            raise ValueError("options['reset_mask'] must have at least one True value")
        return [int(index) for index in np.flatnonzero(mask)]


def _array(values: list[Any]) -> np.ndarray:
    """Returns one entry a value: numbers and texts as NumPy has them, anything else as it is."""
    if all(isinstance(value, bool | int | float | str | np.generic) for value in values):
        return np.array(values)
    return np.fromiter(values, object, len(values))
