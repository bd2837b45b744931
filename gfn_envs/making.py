"""How environments are made: from the keywords of `gym.make` to rules, problems and the shell around them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import gymnasium as gym
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

from gfn_envs.env import EnvOptions, TextEnv
from gfn_envs.hints import did_you_mean
from gfn_envs.imports import look_in_working_folder
from gfn_envs.problems import ProblemSet, ProblemSource, checked_problem, is_source, load_problems, weighted_problem
from gfn_envs.stochastic import add_stochasticity
from gfn_envs.task import Task, check_options
from gfn_envs.tasks import TASKS
from gfn_envs.with_history import add_history

_BUILD_OPTIONS = ("problems", "split", "render_mode", "difficulty", "stochasticity", "memoryless", "history")
_WITHOUT_EFFECT = {
    "task": "the environment's id says which it is",
    "max_episode_steps": "episodes are played to the end that the rules have",
}
"""Keywords of `gym.make` that do nothing where the bare environment is taken, with the reason."""
_OF_GYMNASIUM = (PassiveEnvChecker, OrderEnforcing)
"""Wrappers that look on and change nothing."""


def register_task(env_id: str, task: str | type[Task[Any, Any]]) -> None:
    """Registers the environment of a task, single and vector, with all keywords that `make_env` takes.

    >>> gfn_envs.register_task("Coins-v0", Coins)
    >>> gym.make("Coins-v0", split="test", history="all")

    Args:
        env_id: as Gymnasium has them, with a version.
        task: a class of rules, or its name in the table `gfn_envs.tasks.TASKS`.

    Raises:
        TypeError: it is neither.
    """
    if not (isinstance(task, str) or (isinstance(task, type) and issubclass(task, Task))):
        raise TypeError(f"register_task takes a class of rules, whose options gym.make takes, got {task!r:.60}")
    gym.register(
        id=env_id,
        entry_point="gfn_envs.making:make_env",
        vector_entry_point="gfn_envs.vector:TextVectorEnv",
        kwargs={"task": task},
    )


def build(
    task: str | type[Task[Any, Any]], problems: Any, split: str, options: Mapping[str, Any]
) -> tuple[Task[Any, Any], ProblemSource[Any], EnvOptions]:
    """Turns the keywords of `gym.make` into a task, its problems and the shell's options.

    Args:
        task: a class of rules, or its name in the table `gfn_envs.tasks.TASKS`.
        problems: path of a problem file, problems or their JSON fields (with a `"weight"`, if they have one),
            a ready set, or None for the family that the options describe.
        split: "train", "validation", "test" or "all".
        options: keywords of the task and of `EnvOptions`; `difficulty`, the name of a preset of the task's
            options, over which options given go; `stochasticity`, see `gfn_envs.stochastic`;
            `memoryless=True` for texts that need no memory (`Task.memoryless`); `history`, how many earlier
            turns the texts show, or "all" (`gfn_envs.with_history`).
    """
    if isinstance(task, str) and task not in TASKS:
        raise ValueError(
            f"there is no task {task!r} (tasks: {', '.join(TASKS)}); the environment's id says which it is"
        )
    if type(options.get("memoryless", False)) is not bool:
        raise ValueError(f"memoryless must be True or False, got {options['memoryless']!r}")
    task_type = TASKS[task]() if isinstance(task, str) else task
    shell_names = tuple(EnvOptions.__dataclass_fields__)
    check_options(task_type, options, (*shell_names, *_BUILD_OPTIONS))
    shell = EnvOptions(**{key: value for key, value in options.items() if key in shell_names})
    given = {key: value for key, value in options.items() if key not in (*shell_names, *_BUILD_OPTIONS)}
    rules = task_type(**{**_preset(task_type, options.get("difficulty")), **given})
    rules = add_stochasticity(rules, options.get("stochasticity") or {})
    if options.get("memoryless"):
        rules = rules.memoryless()
    if options.get("history") is not None:
        rules = add_history(rules, options["history"])
    return rules, _problem_source(rules, problems).split(split), shell


def _preset(task_type: type[Task[Any, Any]], difficulty: str | None) -> Mapping[str, Any]:
    if difficulty is None:
        return {}
    if difficulty not in task_type.difficulties:
        known = ", ".join(task_type.difficulties)
        raise ValueError(f"{task_type.__name__} has no difficulty {difficulty!r} (difficulties: {known})")
    return task_type.difficulties[difficulty]


def _problem_source(task: Task[Any, Any], problems: Any) -> ProblemSource[Any]:
    if problems is None:
        return task.problems()
    if isinstance(problems, str | os.PathLike):
        return load_problems(task, problems)
    if is_source(problems):
        source: ProblemSource[Any] = problems
        return source
    weighted = [
        weighted_problem(task, given) if isinstance(given, Mapping) else (checked_problem(task, given), 1.0)
        for given in problems
    ]
    return ProblemSet(tuple(problem for problem, _ in weighted), tuple(weight for _, weight in weighted))


def make_env(
    task: str | type[Task[Any, Any]],
    problems: Any = None,
    split: str = "all",
    render_mode: str | None = None,
    **options: Any,
) -> TextEnv[Any, Any]:
    """Entry point of every registered environment; see `build` for the keywords."""
    rules, source, shell = build(task, problems, split, options)
    return TextEnv(rules, source, shell, render_mode)


def check_keywords(
    keywords: Mapping[str, Any], place: str, elsewhere: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Checks keywords for `make_text_env`.

    Args:
        keywords: as they were given.
        place: where they were given, for the message.
        elsewhere: keywords that are given in another way there, with that way.

    Raises:
        ValueError: one of them would have no effect, or is given elsewhere.
    """
    for name, instead in {**_WITHOUT_EFFECT, **elsewhere}.items():
        if name in keywords:
            raise ValueError(f"{place} cannot have {name!r}; {instead}")


def make_text_env(env_id: str, env_kwargs: dict[str, Any]) -> TextEnv[Any, Any]:
    """Returns the bare environment of an id, from which task and problems are read.

    Raises:
        gymnasium.error.NameNotFound: it is not registered.
        TypeError: it does not take these keywords.
        ValueError: it is registered, but is no text environment of this kind, or one inside of wrappers, which
            rollouts and everything exact would leave out; or a keyword would have no effect.
    """
    check_keywords(env_kwargs, "env_kwargs")
    if not isinstance(env_id, str):
        raise TypeError(f"an environment is named by its id, and its keywords beside it; got {type(env_id).__name__}")
    if ":" in env_id:
        look_in_working_folder()
    try:
        made = gym.make(env_id, **env_kwargs)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise TypeError(
            f"'{env_id}' cannot be made with {', '.join(env_kwargs)}: {error}; text environments of this kind take "
            "split= and problems="
        ) from None
    except gym.error.NameNotFound as error:
        where = "; gfn envs lists ours, and one of your own is named with its module: my_module:Name-v0"
        hint = "" if "Did you mean" in str(error) else did_you_mean(env_id, gym.registry, where)
        raise gym.error.NameNotFound(f"{str(error).rstrip('.')}{hint}") from None
    if not isinstance(made.unwrapped, TextEnv):
        raise ValueError(f"'{env_id}' is not a text environment made from a gfn_envs Task")
    layer = made
    while isinstance(layer, gym.Wrapper):
        if not isinstance(layer, _OF_GYMNASIUM):
            raise ValueError(
                f"'{env_id}' is registered with the wrapper {type(layer).__name__}, which play without Gymnasium and "
                "exact analysis would leave out; register it without, and put what it does into the Task"
            )
        layer = layer.env
    return made.unwrapped
