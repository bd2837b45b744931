"""The subcommand that holds an environment or an agent of one's own against its contract: gfn check."""

from __future__ import annotations

import os
import re
import sys
import warnings
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.utils.env_checker import check_env

from gfn_envs.agents import AGENT_FILE, agent_maker, agent_names, import_named, load_agent, read_agent_file
from gfn_envs.check_agent import DEFAULT_ENVS, check_agent
from gfn_envs.checks import Check, check_task
from gfn_envs.cli import CommandError, check_at_least, open_env, parse_env_kwargs, print_json, print_table
from gfn_envs.env import TextEnv
from gfn_envs.frames import load_pygame
from gfn_envs.imports import look_in_working_folder
from gfn_envs.task import Task


def check(
    target: str,
    /,
    env: tuple[str, ...] = (),
    env_kwargs: str | None = None,
    problems: int = 3,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Check an environment or an agent against its contract; exits with 1 if a check fails.

    Args:
        target: id of an environment, registered name or folder of an agent, or package.module:Class of
            a Task or an agent of your own.
        env: for an agent: ids of environments to check it on; default: the one that it was saved with, or
            NumberLine and BlackJack.
        env_kwargs: keywords of gym.make, or of the Task, as a JSON object.
        problems: for an environment: number of problems to look at; small ones are checked state by state.
        seed: of what is drawn, and of training.
        json: print one JSON document.
    """
    check_at_least(1, problems=problems)
    check_at_least(0, seed=seed)
    keywords = parse_env_kwargs(env_kwargs or "{}")
    if _is_agent(target):
        saved_with = {} if env or not Path(target, AGENT_FILE).is_file() else read_agent_file(target)
        env_ids = env or ((saved_with["env_id"],) if "env_id" in saved_with else DEFAULT_ENVS)
        known = saved_with.get("env_kwargs", {}) if env_kwargs is None else keywords
        found = check_agent(partial(load_agent, target), env_ids, known, seed)
    else:
        found = _check_environment(_open(target, keywords), problems, seed)
    failed = [one for one in found if not one.passed]
    if json:
        rows = [{"check": one.name, "passed": one.passed, "reason": one.reason} for one in found]
        print_json({"target": target, "passed": not failed, "checks": rows})
    else:
        shown = [[one.name, "passed" if one.passed else "FAILED", one.reason] for one in found]
        print_table(
            f"{target}: {len(found) - len(failed)} of {len(found)} checks passed",
            ["check", "", "reason"],
            shown,
            texts=3,
        )
    if failed:
        sys.exit(1)


def _is_agent(target: str) -> bool:
    """Says whether a target is an agent: a name, a folder, or something in a module that is no Task."""
    if _is_registered(target):
        return False
    if target in agent_names() or Path(target).is_dir():
        return True
    if "/" in target:
        return False
    if ":" not in target and re.search(r"-v\d+$", target):
        raise CommandError(
            f"there is no environment {target!r}; one of your own is named with the module that registers it: "
            f"MODULE:{target}"
        )
    found = agent_maker(target)  # raises the sentence that says which agents there are
    return not (isinstance(found, type) and issubclass(found, Task))


def _is_registered(target: str) -> bool:
    """Says whether a target is an environment's id, also one that the module before its colon registers."""
    module, _, name = target.rpartition(":")
    if module:
        look_in_working_folder()
        with suppress(ImportError, ValueError):  # what is wrong is said where it is opened
            import_module(module)
    return name in gym.registry


def _check_environment(env: TextEnv[Any, Any], problems: int, seed: int) -> list[Check]:
    chosen = env.problems.take(problems, np.random.default_rng(seed))
    return [_gymnasium_check(env), *check_task(env.task, chosen)]


def _open(target: str, keywords: dict[str, Any]) -> TextEnv[Any, Any]:
    if "/" in target or _is_registered(target):
        return open_env(target, keywords, None, "all")
    task = import_named(target)(**keywords)
    return TextEnv(task, task.problems())


def _gymnasium_check(env: TextEnv[Any, Any]) -> Check:
    """Runs Gymnasium's own checker; a warning fails too, apart from the one that the class has no id."""
    name, remark = "Gymnasium's check_env passes", ""
    os.environ["SDL_VIDEODRIVER"] = "dummy"  # render_mode="human" is tried too, and no window should open
    try:
        load_pygame()
    except DependencyNotInstalled:
        env.metadata = {**env.metadata, "render_modes": ["ansi"]}
        remark = "pictures were not tried: pygame is not installed"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*not able to test alternative render modes.*")
            check_env(env)
    except Exception as error:  # whatever a foreign environment raises is the reason
        return Check(name, False, " ".join(str(error).split()) or type(error).__name__)
    return Check(name, True, remark)
