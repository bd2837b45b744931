"""Views of a text environment that show its history: a transcript, or chat messages.

They have a `get_state` and `set_state` of their own that carry the history along, also into a
wrapped clone. Whatever an agent writes, a history shows only the legal action that was played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from gfn_envs.env import ATTEMPTS_PER_STEP, Snapshot

ILLEGAL_SHOWN = "(illegal action)"
"""What a history shows where no legal action was read; the agent's text could be long and hostile."""
PLAYED = "> "
"""What stands before an action in a transcript."""
Past = tuple[tuple[str, str], ...]
"""Every earlier observation with the action that followed it."""


def transcript(past: Past, observation: str) -> str:
    """Returns earlier turns and the current observation as one text."""
    return "".join(f"{before}\n{PLAYED}{action}\n" for before, action in past) + observation


def turns_of(text: str) -> list[str]:
    """Returns the turns of a transcript: its first observation, then each action with what followed it.

    An observation holds no line that starts as an action does, see `gfn_envs.checks`, so that
    `f"\\n{PLAYED}".join(turns)` is the transcript again.
    """
    return text.split(f"\n{PLAYED}")


@dataclass(frozen=True, slots=True)
class HistorySnapshot:
    """All that `get_state` of a history saves: the episode inside and what was shown of it."""

    inner: Snapshot[Any]
    past: Past


class _History(gym.Wrapper[Any, Any, str, Any]):
    """What both histories share: the turns so far, saved and restored together with the episode."""

    def __init__(self, env: gym.Env[str, Any]) -> None:
        self._text_space = text_space_of(env, self)
        gym.Wrapper.__init__(self, env)
        task = env.unwrapped.task  # type: ignore[attr-defined]
        self._max_turns: int = ATTEMPTS_PER_STEP * task.horizon
        self._max_action_length: int = max(task.max_action_length, len(ILLEGAL_SHOWN))
        self._charset = {*self._text_space.characters, *task.charset, *ILLEGAL_SHOWN}
        self._past: Past = ()
        self._now = ""
        self._snapshot: Snapshot[Any] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode with an empty history."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._enter((), observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Plays an action of the environment inside and adds it to the history."""
        self._check_current()
        observation, reward, terminated, truncated, info = self.env.step(action)
        played = ILLEGAL_SHOWN if info["invalid_action"] else info["parsed_action"]
        shown = self._enter((*self._past, (self._now, played)), observation)
        return shown, reward, terminated, truncated, info

    def get_state(self) -> HistorySnapshot:
        """Returns an immutable snapshot of the episode with its history, for `set_state`."""
        return HistorySnapshot(self._check_current(), self._past)

    def set_state(self, snapshot: HistorySnapshot) -> tuple[Any, dict[str, Any]]:
        """Continues from a snapshot; returns observation and info as `reset` does."""
        if not isinstance(snapshot, HistorySnapshot):
            raise TypeError(
                f"set_state needs what get_state of {type(self).__name__} returned, got a {type(snapshot).__name__} "
                "without history; save with get_state() of the wrapper, not of env.unwrapped"
            )
        observation, info = self.env.unwrapped.set_state(snapshot.inner)  # type: ignore[attr-defined]
        return self._enter(snapshot.past, observation), info

    def _enter(self, past: Past, observation: str) -> Any:
        self._past, self._now = past, observation
        self._snapshot = self.env.unwrapped.get_state()  # type: ignore[attr-defined]
        return self._show(past, observation)

    def _show(self, past: Past, observation: str) -> Any:
        raise NotImplementedError

    def _check_current(self) -> Snapshot[Any]:
        """Returns the snapshot inside; raises ResetNeeded where the history does not belong to it."""
        if self._snapshot is None or self.env.unwrapped.get_state() != self._snapshot:  # type: ignore[attr-defined]
            raise gym.error.ResetNeeded(
                f"{type(self).__name__} did not see how the environment inside came to its state; call reset(), "
                "or use get_state() and set_state() of the wrapper instead of those of env.unwrapped"
            )
        return self._snapshot


class Transcript(_History, gym.utils.RecordConstructorArgs):
    """The history as one text: earlier observations, each with its action as `> action`, then the current one.

    An attempt without a legal action is a turn as well, shown as `> (illegal action)`.

    Args:
        env: an environment around a `Task`, by text or by index.
        steps: most turns that are shown, the last ones; None shows all.
    """

    def __init__(self, env: gym.Env[str, Any], steps: int | None = None) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, steps=steps)
        if steps is not None and (type(steps) is not int or steps < 0):
            raise ValueError(f"steps must be an integer of at least 0, or None for all turns, got {steps!r}")
        _History.__init__(self, env)
        self.steps = self._max_turns if steps is None else min(steps, self._max_turns)
        turn = self._text_space.max_length + self._max_action_length + len(f"\n{PLAYED}\n")
        self.observation_space = gym.spaces.Text(
            self.steps * turn + self._text_space.max_length,
            min_length=self._text_space.min_length,
            charset="".join(sorted({*self._charset, *PLAYED, "\n"})),
        )

    def _show(self, past: Past, observation: str) -> str:
        recent = past[max(len(past) - self.steps, 0) :]
        return transcript(recent, observation)


class ChatMessages(_History, gym.utils.RecordConstructorArgs):
    """The history as messages for a chat template: the user shows observations, the assistant plays.

    An observation is a tuple of `{"role": ..., "content": ...}`, new dictionaries at every step.
    An attempt without a legal action is the assistant's `(illegal action)`.

    Args:
        env: an environment around a `Task`, by text or by index.
        system: the system message that comes first; none if empty.
    """

    def __init__(self, env: gym.Env[str, Any], system: str = "") -> None:
        gym.utils.RecordConstructorArgs.__init__(self, system=system)
        _History.__init__(self, env)
        self.system = system
        content = gym.spaces.Text(
            max(self._text_space.max_length, self._max_action_length, len(system)),
            min_length=min(self._text_space.min_length, 1),
            charset="".join(sorted({*self._charset, *system})),
        )
        role = gym.spaces.Text(len("assistant"), charset="".join(sorted({*"system", *"user", *"assistant"})))
        self.observation_space = gym.spaces.Sequence(gym.spaces.Dict(role=role, content=content))

    def _show(self, past: Past, observation: str) -> tuple[dict[str, str], ...]:
        messages = [("system", self.system)] if self.system else []
        for before, action in past:
            messages += [("user", before), ("assistant", action)]
        messages.append(("user", observation))
        return tuple({"role": role, "content": content} for role, content in messages)


def text_space_of(env: gym.Env[Any, Any], view: gym.Wrapper[Any, Any, Any, Any]) -> gym.spaces.Text:
    """Returns the observation space of `env`; raises ValueError if `view` cannot be put around it."""
    inner = env
    while isinstance(inner, gym.Wrapper) and not isinstance(inner, _History):
        inner = inner.env
    repeated = isinstance(inner, _History) and isinstance(view, _History)
    if repeated or not isinstance(env.observation_space, gym.spaces.Text):
        raise ValueError(
            f"{type(view).__name__} needs text observations{' without a history' * isinstance(view, _History)}, "
            f"got {env}; use one history at most, and token ids outside it: TokenObservation(Transcript(env), ...)"
        )
    return env.observation_space
