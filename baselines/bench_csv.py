"""A benchmark run as tables for pandas and spreadsheets: scores.csv and problems.csv."""

from __future__ import annotations

import csv
import io
import math

from baselines.bench import Run
from baselines.bench_results import BenchResults
from baselines.cells import CellResult


def scores_csv(results: BenchResults) -> str:
    """Returns one line for every environment, agent and score: value and interval, and the costs alike."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["environment", "agent", "score", "value", "low", "high"])
    for arena in results.arenas:
        for agent in arena.results.rows:
            for name, estimate in agent.scores.items():
                cells = ["" if math.isnan(v) else v for v in (estimate.value, estimate.low, estimate.high)]
                writer.writerow([arena.name, agent.name, name, *cells])
            for name, cost in agent.costs.items():
                writer.writerow([arena.name, agent.name, f"cost_{name}", "" if math.isnan(cost) else cost, "", ""])
        for quoted in results.quoted:
            if quoted.environment == arena.name:
                for name, value in quoted.scores.items():
                    writer.writerow([arena.name, f"{quoted.agent} (quoted from {quoted.source})", name, value, "", ""])
    return buffer.getvalue()


def problems_csv(run: Run) -> str:
    """Returns one line for every finished cell and evaluation problem, with all scores.

    The column "cell" names cells/CELL.json and the trained agent in agents/CELL.
    """
    rows = [
        {
            "environment": cell.arena.name,
            "agent": cell.contestant.name,
            "seed": cell.seed,
            "cell": cell.key,
            "problem": problem.problem_id,
            "weight": problem.weight,
            **{name: "" if math.isnan(value) else value for name, value in problem.scores.items()},
        }
        for cell, outcome in zip(run.cells, run.outcomes, strict=True)
        if isinstance(outcome, CellResult)
        for problem in outcome.problems
    ]
    buffer = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
