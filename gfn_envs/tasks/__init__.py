"""One file a game; each reads like its rules, and its docstring is its documentation page.

`TASKS` is the one table of built-in games, from which the Gymnasium ids are registered. Its values
load the game when it is first made, so that importing the package stays fast.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from gfn_envs.task import Task


def _loader(module: str, name: str) -> Callable[[], type[Task[Any, Any]]]:
    return lambda: getattr(import_module(f"gfn_envs.tasks.{module}"), name)


TASKS: dict[str, Callable[[], type[Task[Any, Any]]]] = {
    "ALFWorld": _loader("alfworld", "ALFWorld"),
    "BlackJack": _loader("blackjack", "BlackJack"),
    "BlocksWorld": _loader("blocksworld", "BlocksWorld"),
    "Game24": _loader("game24", "Game24"),
    "NumberLine": _loader("numberline", "NumberLine"),
    "PrOntoQA": _loader("prontoqa", "PrOntoQA"),
}
