"""The subcommand that compares agents: demo."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from gfn_envs.cli import print_json


def demo(
    output: Path = Path("runs/demo"),
    steps: int = 55,
    puzzles: int = 20,
    seed: int = 0,
    fresh: bool = False,
    json: bool = False,
) -> None:
    """Train a GFlowNet on Game24 and show it beside PPO and chance, in about five minutes.

    Args:
        output: folder of the results; an unfinished demo in it goes on where it was.
        steps: optimizer steps of the GFlowNet.
        puzzles: held-out puzzles that everyone is scored on.
        seed: of everything.
        fresh: train again even if the results are there.
        json: print the results as one JSON document.
    """
    import shutil

    from rich.console import Console

    from baselines.demo import DemoConfig, run_demo
    from baselines.report import text_table, write_report
    from baselines.results import BenchmarkResults
    from gfn_agents.cli import hide_loading_bars
    from gfn_agents.progress import TrainingBar

    hide_loading_bars()
    out = Console(stderr=json, width=None if sys.stdout.isatty() else 120)
    config = DemoConfig(steps=steps, puzzles=puzzles, seed=seed)
    if fresh:
        shutil.rmtree(output, ignore_errors=True)
    finished = output / "results.json"
    results = BenchmarkResults.load(finished) if finished.is_file() else None
    if results is not None and results.settings.get("demo") == asdict(config):
        out.print(f"These results are from '{output}'; --fresh runs the demo again.")
    else:
        out.print(_plan(config.steps, config.puzzles))
        with TrainingBar(steps) as bar:
            results = run_demo(config, output, bar.say, bar.update)
        write_report(results, output)
    out.print(text_table(results))
    out.print(f"report: {output / 'report.html'}   data: {finished}")
    if json:
        print_json(results.to_json())


def _plan(steps: int, puzzles: int) -> str:
    return (
        "This demo trains on Game24 puzzles and scores on puzzles that nothing was trained on:\n"
        f"  1. a GFlowNet: {steps} optimizer steps from the small language model that ships with the package;\n"
        "  2. PPO and MaskablePPO of Stable-Baselines3, with as many environment steps;\n"
        f"  3. exact scores of all of them on {puzzles} held-out puzzles, beside chance and the ceiling;\n"
        "  4. a report with plots, in one HTML file."
    )
