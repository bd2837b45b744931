"""The command `gfn`, and its subcommands that need no training library: envs, analyse, play.

Each package brings its subcommands through the entry-point group `gfn_gym.commands`, so that this
package imports none of the others. Modules of commands import heavy libraries inside the functions,
and `gfn --help` answers at once. With `--json` a command prints exactly one JSON document on
standard output and everything else on standard error.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from itertools import starmap
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np

from gfn_envs.env import TextEnv, make_text_env
from gfn_envs.exact import DEFAULT_LIMIT, Analysis, EnumerationLimit
from gfn_envs.exact import analyse as analyse_problem
from gfn_envs.files import check_writable, finite_json, write_whole
from gfn_envs.own_code import place_in_own_code
from gfn_envs.problems import ProblemSet
from gfn_envs.simulation import simulate

COMMANDS_GROUP = "gfn_gym.commands"
DEFAULT_GENERATED = 100
"""Problems taken from a family that is too large to list, unless --limit says otherwise."""
_MISSING = {"torch": "agents", "transformers": "agents", "safetensors": "agents", "tyro": "cli", "rich": "cli"}
_NOT_IN_ENV_KWARGS = {
    "split": "pass --split instead",
    "problems": "pass --problems instead",
    "task": "the environment's id says which it is",
    "max_episode_steps": "commands play to the end that the rules have",
}
"""Keywords of `gym.make` that would beat an option, or have no effect, with what to do instead."""
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
    for name, reason in _NOT_IN_ENV_KWARGS.items():
        if name in values:
            raise CommandError(f"--env-kwargs cannot have {name!r}; {reason}")
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


# -- gfn analyse -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Row:
    analysis: Analysis
    weight: float


def analyse(
    env: str,
    /,
    problems: Path | None = None,
    split: str = "all",
    limit: int | None = None,
    beta: float = 1.0,
    env_kwargs: str = "{}",
    states: int = DEFAULT_LIMIT,
    plays: int = 1000,
    output: Path | None = None,
    json: bool = False,
) -> None:
    """Print the exact yardsticks of problems: chance, optimum, solutions, Z.

    A problem with too many states to list gets its chance by random play, with a 95 % interval, and says so.

    Args:
        env: id of the environment, such as gfn_envs/Game24-v0.
        problems: problem file instead of the family that the options describe.
        split: train, validation, test or all.
        limit: analyse only so many problems, drawn with a fixed seed.
        beta: the target is proportional to R^beta.
        env_kwargs: keywords of gym.make as a JSON object.
        states: simulate a problem with more states than this.
        plays: episodes of a simulated problem.
        output: also write the rows to this .csv or .json file.
        json: print one JSON document.
    """
    if not 0 < beta < math.inf:
        raise CommandError(f"--beta must be positive, got {beta}")
    if output is not None and output.suffix not in (".csv", ".json"):
        raise CommandError(f"--output must end in .csv or .json, got '{output}'")
    if output is not None:
        check_writable(output)
    made = open_env(env, parse_env_kwargs(env_kwargs), problems, split)
    check_at_least(1, plays=plays)
    chosen, rng = listed_problems(made, limit), np.random.default_rng(0)
    rows = [
        _Row(_analysis(made.task, problem, beta, states, plays, rng), weight)
        for problem, weight in progress(zip(chosen, chosen.weights, strict=True), len(chosen), "analysing")
    ]
    family = _family(rows)
    document = {
        "env": env,
        "beta": beta,
        "problems": [{**row.analysis.to_json(), "weight": row.weight} for row in rows],
        "family": family,
    }
    if output is not None:
        _write_rows(document, output)
    if json:
        print_json(document)
        return
    columns = [
        "problem",
        "chance",
        "optimum",
        "chance return",
        "optimal return",
        "solutions",
        "states",
        "log Z",
        "target success",
    ]
    shown = [[row.analysis.problem_id, *_cells(row.analysis.to_json())] for row in rows[:40]]
    simulated = sum(not row.analysis.exact for row in rows)
    if len(rows) > len(shown):
        shown.append([f"... {len(rows) - len(shown)} more (--json or --output has all)", *[""] * 8])
    print_table(f"{env}: exact yardsticks", columns, [*shown, [f"family ({len(rows)} problems)", *_cells(family)]])
    if simulated:
        sys.stdout.write(
            f"{simulated} of {len(rows)} problems have more than {states} states: their chance is from {plays} random "
            "plays, with a 95 % interval, and the rest is not known.\n"
        )


def _analysis(task: Any, problem: Any, beta: float, states: int, plays: int, rng: np.random.Generator) -> Analysis:
    try:
        return analyse_problem(task, problem, beta, states)
    except EnumerationLimit:
        return simulate(task, problem, plays, rng)


def _family(rows: list[_Row]) -> dict[str, Any]:
    """Returns the weighted mean of every figure over the problems."""
    total = sum(row.weight for row in rows)
    names = [name for name in rows[0].analysis.to_json() if name != "problem_id"]
    means = {name: sum(row.weight * getattr(row.analysis, name) for row in rows) / total for name in names}
    # Half widths of independent means add as squares; where chance is exact they are 0.
    for name, sign in (("chance_low", -1), ("chance_high", 1)):
        widths = [row.weight * (getattr(row.analysis, name) - row.analysis.chance) for row in rows]
        means[name] = means["chance"] + sign * math.sqrt(sum(width**2 for width in widths)) / total
    return {"n_problems": len(rows), **means}


def _cells(figures: dict[str, Any]) -> list[str]:
    names = (
        "chance",
        "optimum",
        "chance_return",
        "optimal_return",
        "n_solutions",
        "n_states",
        "log_z",
        "target_success",
    )
    cells = ["" if math.isnan(figures[name]) else f"{figures[name]:.6g}" for name in names]
    if figures["chance_low"] < figures["chance_high"]:
        cells[0] += f" ({figures['chance_low']:.2g} to {figures['chance_high']:.2g})"
    return cells


def _write_rows(document: dict[str, Any], path: Path) -> None:
    if path.suffix == ".json":
        text = json.dumps(finite_json(document), indent=2) + "\n"
    else:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fieldnames=list(document["problems"][0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(document["problems"])
        text = buffer.getvalue()
    write_whole(path, text)


# -- gfn play --------------------------------------------------------------------------------------
def play(
    env: str,
    /,
    problem_id: str | None = None,
    problems: Path | None = None,
    split: str = "all",
    seed: int | None = None,
    env_kwargs: str = "{}",
    json: bool = False,
) -> None:
    """Play an environment yourself: type an action or its number.

    Args:
        env: id of the environment.
        problem_id: play this problem, such as game24/4-6-6-8.
        problems: problem file.
        split: train, validation, test or all.
        seed: of the problem drawn and of chance.
        env_kwargs: keywords of gym.make as a JSON object.
        json: print the whole episode as one JSON document at its end.
    """
    check_at_least(0, seed=seed)
    made = open_env(env, parse_env_kwargs(env_kwargs), problems, split)
    say = sys.stderr if json else sys.stdout
    observation, info = made.reset(seed=seed, options={"problem_id": problem_id} if problem_id else None)
    transcript: list[dict[str, Any]] = []
    reward, over = 0.0, False
    while not over:
        say.write(f"\n{observation}\n")
        for number, action in enumerate(info["admissible_actions"], start=1):
            say.write(f"  {number:>3}  {action}\n")
        action = _ask(info["admissible_actions"], say)
        before = observation
        observation, gained, terminated, truncated, info = made.step(action)
        reward, over = reward + gained, terminated or truncated
        transcript.append({"observation": before, "action": info["parsed_action"], "reward": gained})
        if info["invalid_action"]:
            _refuse(action, info["admissible_actions"], say)
    say.write(f"\n{observation}\n{info['terminal_cause']}; return {reward:g}\n")
    if json:
        print_json(
            {
                "env": env,
                "problem_id": info["problem_id"],
                "steps": transcript,
                "success": info["success"],
                "return": reward,
            }
        )


def _ask(actions: list[str], say: Any) -> str:
    if sys.stdin.isatty():
        say.write("> ")
        say.flush()
    line = sys.stdin.readline()
    if not line:
        raise CommandError("the input ended before the episode did")
    text = line.rstrip("\n")
    numbered = text.strip()
    if numbered.isascii() and numbered.isdigit() and len(numbered) < 6 and 1 <= int(numbered) <= len(actions):
        return actions[int(numbered) - 1]
    return text


def _refuse(text: str, actions: list[str], say: Any) -> None:
    from gfn_envs.actions import REMEDY, IllegalActionError

    refusal = IllegalActionError(text, actions)
    if not sys.stdin.isatty():
        raise refusal
    say.write(f"{str(refusal).removesuffix(REMEDY)}; type its number or its text, Ctrl-C to leave\n")
