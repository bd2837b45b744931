"""The subcommand that holds an environment of one's own against the contract: gfn check."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.utils.env_checker import check_env

from gfn_envs.checks import Check, check_task
from gfn_envs.cli import CommandError, import_named, open_env, parse_env_kwargs, print_json, print_table
from gfn_envs.env import TextEnv
from gfn_envs.frames import load_pygame
from gfn_envs.task import Task


def check(target: str, /, env_kwargs: str = "{}", problems: int = 3, seed: int = 0, json: bool = False) -> None:
    """Check an environment against Gymnasium's contract and ours; exits with 1 if a check fails.

    Args:
        target: id of an environment, or package.module:Class of a Task of your own.
        env_kwargs: keywords of gym.make, or of the class, as a JSON object.
        problems: number of problems that the checks look at; small ones are checked state by state.
        seed: of the problems drawn.
        json: print one JSON document.
    """
    if problems < 1:
        raise CommandError(f"--problems must be at least 1, got {problems}")
    env = _open(target, parse_env_kwargs(env_kwargs))
    chosen = env.problems.take(problems, np.random.default_rng(seed))
    found = [_gymnasium_check(env), *check_task(env.task, chosen)]
    failed = [one for one in found if not one.passed]
    if json:
        rows = [{"check": one.name, "passed": one.passed, "reason": one.reason} for one in found]
        print_json({"target": target, "passed": not failed, "checks": rows})
    else:
        shown = [[one.name, "passed" if one.passed else "FAILED", one.reason] for one in found]
        print_table(
            f"{target}: {len(found) - len(failed)} of {len(found)} checks passed", ["check", "", "reason"], shown
        )
    if failed:
        sys.exit(1)


def _open(target: str, keywords: dict[str, Any]) -> TextEnv[Any, Any]:
    if ":" not in target or "/" in target:
        return open_env(target, keywords, None, "all")
    found = import_named(target)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise CommandError(f"'{target}' is not a subclass of gfn_envs.Task")
    task = found(**keywords)
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
