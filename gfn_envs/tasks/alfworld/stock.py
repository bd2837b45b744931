"""The real engine, TextWorld with ALFWorld's names: the oracle that the rules of this package are compared with.

An optional dependency, `pip install "gfn-gym[alfworld]"`; its planner library compiles for some minutes. It is slow
(a second a game, tens of milliseconds a step), not safe in threads, and keeps every game that it has read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from gfn_envs.tasks.alfworld.pddl_writer import write_game
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem


class StockTurn(NamedTuple):
    """What the engine answers."""

    text: str
    admissible_commands: tuple[str, ...]
    won: bool
    score: int


class StockGame:
    """One game on the engine.

    Args:
        text: content of a `game.tw-pddl` file; `pddl_writer.write_game` writes one for any problem.

    Raises:
        ImportError: the engine is not installed.
    """

    def __init__(self, text: str) -> None:
        pddl, core, misc = _modules()
        # Never ask for policy_commands: that runs a planner, for minutes.
        self._env = pddl.PddlEnv(core.EnvInfos(won=True, admissible_commands=True))
        with _own_arguments():
            self._env.load(json.loads(text))
        names = misc.Demangler(game_infos=self._env._entity_infos)
        for info in self._env._entity_infos.values():
            info.name = names.demangle_alfred_name(info.id)

    def reset(self) -> StockTurn:
        """Starts the game."""
        with _own_arguments():
            state = self._env.reset()
        return _turn(state)

    def step(self, command: str) -> StockTurn:
        """Plays a command; one that is not admissible is answered 'Nothing happens.'."""
        return _turn(self._env.step(command)[0])


_AS_NONSENSE = "say nothing"
"""A command that is never admissible; histories do not keep what the player wrote in its place."""


class _Replay:
    """A game on the engine, and the commands that brought it to where it is."""

    def __init__(self, problem: ALFWorldProblem) -> None:
        self._game = StockGame(write_game(problem))
        self._turns: list[StockTurn] = []
        self._history: tuple[str, ...] = ()

    def turn(self, history: tuple[str, ...]) -> StockTurn:
        """Returns what the engine says after these commands, played from the start where they are others."""
        if not self._turns or self._history[: len(history)] != history[: len(self._history)]:
            self._turns, self._history = [self._game.reset()], ()
        for command in history[len(self._history) :]:
            self._turns.append(self._game.step(command or _AS_NONSENSE))
        self._history = max(self._history, history, key=len)
        return self._turns[len(history)]


_replay = lru_cache(maxsize=4)(_Replay)


def engine_turn(problem: ALFWorldProblem, history: tuple[str, ...]) -> StockTurn:
    """Returns what the engine answers after a history of commands."""
    return _replay(problem).turn(history)


def load_engine() -> None:
    """Raises ImportError that says how to install the engine if it is missing."""
    _modules()


def _modules() -> tuple[Any, Any, Any]:
    try:
        import_module("fast_downward")  # without it TextWorld fails later and less clearly
        names = ("textworld.envs.pddl.pddl", "textworld.core", "alfworld.agents.utils.misc")
        pddl, core, misc = map(import_module, names)
    except ImportError as error:
        message = f'the ALFWorld engine is an optional dependency: pip install "gfn-gym[alfworld]" ({error})'
        raise ImportError(message) from None
    return pddl, core, misc


@contextmanager
def _own_arguments() -> Iterator[None]:
    """Puts `sys.argv` back, which the engine's PDDL translator overwrites."""
    arguments = sys.argv[:]
    try:
        yield
    finally:
        sys.argv[:] = arguments


def _turn(state: Any) -> StockTurn:
    won = bool(state["won"])
    return StockTurn(state["feedback"], tuple(state["admissible_commands"]), won, int(state.get("score") or won))
