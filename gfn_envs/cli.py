"""The command `gfn`, what its subcommands share, and the shortest of them, envs.

Each package brings its subcommands through the entry-point group `gfn_gym.commands`, so that this
package imports none of the others. Modules of commands import heavy libraries inside the functions,
and `gfn --help` answers at once. With `--json` a command prints exactly one JSON document on
standard output and everything else on standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from importlib.metadata import entry_points
from itertools import starmap
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np

from gfn_envs.env import TextEnv
from gfn_envs.files import finite_json
from gfn_envs.making import check_keywords, make_text_env
from gfn_envs.own_code import place_in_own_code
from gfn_envs.problems import ProblemSet

COMMANDS_GROUP = "gfn_gym.commands"
DEFAULT_GENERATED = 100
"""Problems taken from a family that is too large to list, unless --limit says otherwise."""
_MISSING = {"torch": "agents", "transformers": "agents", "safetensors": "agents", "tyro": "cli", "rich": "cli"}
Item = TypeVar("Item")


class CommandError(Exception):
    """Bad input to a command: its text is the one sentence that the user sees."""


_SAID = (CommandError, ImportError, ValueError, TypeError, RuntimeError, OSError, ArithmeticError, gym.error.Error)
"""Errors whose text is a sentence for the user."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; exits with 0, or 1 and one sentence on standard error."""
    words = sys.argv[1:] if arguments is None else arguments
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # of loading models: a command shows one bar, its own
    try:
        import tyro

        available = sorted(entry_points(group=COMMANDS_GROUP), key=lambda entry: entry.name)
        chosen = [entry for entry in available if words and entry.name == words[0]] or available
        tyro.extras.subcommand_cli_from_dict(
            {entry.name: entry.load() for entry in chosen},
            prog="gfn",
            description="Text reasoning environments with exact yardsticks, and agents that find all solutions.",
            args=words,
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except SystemExit as error:
        if place := place_in_own_code(error):  # as an end of the user's code it would pass for success
            sys.exit(f"error: {place}: SystemExit: {error}")
        raise
    except Exception as error:
        place, said = place_in_own_code(error), " ".join(str(error).split())
        if place:
            said = f"{place}: {type(error).__name__}: {said}"
        elif isinstance(error, ModuleNotFoundError) and error.name:  # without a name it is Gymnasium's, of an id
            package = error.name.split(".")[0]
            said = f'{package} is missing: pip install "gfn-gym[{_MISSING.get(package, "all")}]"'
        elif not isinstance(error, _SAID):
            raise
        sys.stderr.write(f"error: {said}\n")
        sys.exit(1)


# -- shared by commands ----------------------------------------------------------------------------
def parse_env_kwargs(text: str) -> dict[str, Any]:
    """Reads `--env-kwargs`, what would be passed to `gym.make`, from a JSON object."""
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CommandError(f"--env-kwargs is not JSON ({error}); write for example '{{\"count\": 3}}'") from None
    if not isinstance(values, dict):
        raise CommandError(f"--env-kwargs must be a JSON object such as '{{\"count\": 3}}', got {text[:40]}")
    options = {"split": "pass --split instead", "problems": "pass --problems instead"}
    check_keywords(values, "--env-kwargs", options)
    return values


def check_at_least(least: int, **options: int | None) -> None:
    """Raises CommandError that names the first option which is given and below the least that it can be."""
    for name, value in options.items():
        if value is not None and value < least:
            raise CommandError(f"--{name.replace('_', '-')} must be at least {least}, got {value}")


def open_env(env: str, env_kwargs: dict[str, Any], problems: Path | None, split: str) -> TextEnv[Any, Any]:
    """Returns the bare environment of an id with the problems that a command asks for."""
    keywords: dict[str, Any] = {"split": split, **env_kwargs}
    if problems is not None:
        keywords["problems"] = str(problems)
    return make_text_env(env, keywords)


def listed_problems(env: TextEnv[Any, Any], limit: int | None, seed: int = 0) -> ProblemSet[Any]:
    """Returns an environment's problems, or `limit` of them drawn with a fixed seed."""
    check_at_least(1, limit=limit)
    source = env.problems
    if limit is None and isinstance(source, ProblemSet):
        return source
    return source.take(limit or DEFAULT_GENERATED, np.random.default_rng(seed))


def progress(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """Yields items with a progress bar on standard error: rate and remaining time."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=title)


def print_json(document: Any) -> None:
    """Prints one JSON document; a number that is not finite becomes null."""
    sys.stdout.write(json.dumps(finite_json(document), indent=2) + "\n")


def print_table(title: str, columns: list[str], rows: Iterable[list[str]], texts: int = 1) -> None:
    """Prints a table for people on standard output, its first `texts` columns flush left, figures flush right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < texts else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


# -- gfn envs --------------------------------------------------------------------------------------
def envs(json: bool = False) -> None:
    """List the environments and their options.

    Args:
        json: print one JSON document.
    """
    found = [
        _describe(env_id, gym.make(spec).unwrapped.task)  # type: ignore[attr-defined]  # ours have a task
        for env_id, spec in sorted(gym.registry.items())
        if env_id.startswith("gfn_envs/")
    ]
    if json:
        print_json({"envs": found})
        return
    columns = ["id", "description", "options (keywords of gym.make) with defaults", "difficulty="]
    rows = [
        [e["id"], e["description"], _keywords(e["options"]), "\n".join(starmap(_preset, e["difficulties"].items()))]
        for e in found
    ]
    print_table("Environments", columns, rows, texts=len(columns))


def _keywords(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def _preset(name: str, options: Mapping[str, Any]) -> str:
    return f"{name}: {_keywords(options) or 'the defaults'}"


def _describe(env_id: str, task: Any) -> dict[str, Any]:
    summary = (sys.modules[type(task).__module__].__doc__ or "").splitlines()[0]
    options = {f.name: getattr(task, f.name) for f in fields(task)}
    return {"id": env_id, "description": summary, "options": options, "difficulties": task.difficulties}
