"""The subcommand that prints exact yardsticks of problems: gfn analyse."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfn_envs.cli import (
    CommandError,
    check_at_least,
    listed_problems,
    open_env,
    parse_env_kwargs,
    print_json,
    print_table,
    progress,
)
from gfn_envs.exact import DEFAULT_LIMIT, Analysis, EnumerationLimit
from gfn_envs.exact import analyse as analyse_problem
from gfn_envs.files import check_writable, finite_json, write_whole
from gfn_envs.simulation import simulate


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
