"""Subcommands that compare agents and show what was found: demo, bench, compare, report."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gfn_envs.cli import CommandError, check_at_least, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from baselines.bench_results import BenchResults


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

    from baselines.bench import SUITE_FILE
    from baselines.demo import RUN_FOLDER, DemoConfig, run_demo
    from baselines.page import PAGE_FILE, RESULTS_FILE
    from baselines.report import text_table, write_report
    from baselines.results import BenchmarkResults
    from gfn_agents.default_policy import default_policy_digest
    from gfn_agents.progress import TrainingBar
    from gfn_envs.evaluation_results import EVALUATION_FILE
    from gfn_envs.files import check_folder

    out = Console(stderr=json, width=None if sys.stdout.isatty() else 120)
    config = DemoConfig(steps=steps, puzzles=puzzles, seed=seed)
    finished = output / RESULTS_FILE
    for other in (EVALUATION_FILE, SUITE_FILE):
        if (output / other).exists():
            raise CommandError(f"'{output}' holds {other}, so it is not the folder of a demo; choose another --output")
    check_folder(output)
    results = None if fresh or not finished.is_file() else BenchmarkResults.load(finished)
    if results is not None and results.settings.get("embedded_policy") != default_policy_digest():
        out.print(f"The results in '{output}' are of another version of the embedded policy, so the demo starts anew.")
        results, fresh = None, True
    if fresh:  # and nothing else that may lie there
        shutil.rmtree(output / RUN_FOLDER, ignore_errors=True)
        for file in (finished, output / PAGE_FILE):
            file.unlink(missing_ok=True)
    if results is not None and results.settings.get("demo") == asdict(config):
        out.print(f"These results are from '{output}'; --fresh runs the demo again.")
    else:
        out.print(_plan(config.steps, config.puzzles))
        with TrainingBar(steps) as bar:
            results = run_demo(config, output, bar.say, bar.update)
        write_report(results, output)
    out.print(text_table(results))
    out.print(f"report: {output / PAGE_FILE}   data: {finished}")
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


def bench(
    suite: str,
    /,
    output: Path | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    only: tuple[str, ...] = (),
    json: bool = False,
) -> None:
    """Run every agent of a suite in every environment with every seed, and report who is better at what.

    Exits with 1 if something that was asked for failed, after everything else has been run and reported.

    Args:
        suite: quick, paper, full, memory, or the path of a suite file.
        output: run folder; default runs/bench-SUITE. What is finished in it is not run again.
        jobs: cells side by side, each a process with one thread; default: one for each processor.
        ray: run the cells on this Ray cluster instead: its address, "auto", or "local" to start one with --jobs.
        only: names of environments and agents and numbers of seeds; nothing else of the suite is run.
        json: print the results as one JSON document.
    """
    import shlex
    from functools import partial

    from rich.console import Console

    from baselines.bench import check_cells, has_result, run_suite, select, suite_cells
    from baselines.bench_progress import BenchBar
    from baselines.bench_report import load_and_report
    from baselines.suites import read_suite
    from baselines.workers import in_processes, on_ray

    check_at_least(1, jobs=jobs)
    chosen = read_suite(suite)
    cells = select(suite_cells(chosen), only)
    check_cells(cells)
    cells = list({cell.key: cell for cell in cells}.values())  # equal agents of two names are run once
    folder = output or Path("runs") / f"bench-{chosen.name}"
    side_by_side = jobs or os.cpu_count() or 1
    runner = (
        partial(on_ray, address=ray, jobs=side_by_side)
        if ray is not None
        else partial(in_processes, jobs=side_by_side, folder=folder)
    )
    command = shlex.join(["gfn", "bench", suite, *(["--only", *only] if only else [])])
    finished = sum(has_result(folder, cell) for cell in cells)
    try:
        with BenchBar(cells, finished, side_by_side) as bar:
            run_suite(chosen, folder, runner, command, cells, bar.start, bar.end)
    except KeyboardInterrupt:
        finished = sum(has_result(folder, cell) for cell in cells)
        raise CommandError(
            f"interrupted; {finished} of {len(cells)} cells are finished and kept in '{folder}'; "
            "the same command goes on"
        ) from None
    results, page = load_and_report(folder)
    out = Console(stderr=json, width=None if sys.stdout.isatty() else 120)
    _print(out, results)
    out.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)
    if json:
        print_json(results.to_json())
    if not all(has_result(folder, cell) for cell in cells):
        sys.exit(1)  # said above, cell by cell


def _print(out: Console, results: BenchResults) -> None:
    """Prints the table of each environment, and who is better at what."""
    from baselines.bench_report import text_tables
    from baselines.bench_verdicts import verdicts_text

    for table in text_tables(results):
        out.print(table)
    for part in verdicts_text(results.verdicts):
        out.print(part)
    for sentence in results.failures:
        out.print(sentence, markup=False, highlight=False)


def compare(agents: tuple[str, ...], /, output: Path | None = None, json: bool = False) -> None:
    """Hold agents against each other that `gfn evaluate --output` scored on the same problems.

    Differences are paired, problem by problem, so that a hard problem counts for neither side.

    Args:
        agents: folders of evaluations, two or more; several trainings of one agent are NAME=FOLDER,FOLDER.
        output: also write a page with plots, a Markdown text, CSV and JSON into this new folder.
        json: print the results as one JSON document.
    """
    from rich.console import Console

    from baselines.bench_report import differences_table, report_files
    from baselines.compare import compare as compare_evaluations
    from baselines.compare import read_agents
    from baselines.page import PAGE_FILE
    from gfn_envs.files import check_free, write_folder

    if output is not None:
        check_free(output)
    results = compare_evaluations(read_agents(agents))
    out = Console(stderr=json, width=None if sys.stdout.isatty() else 120)
    _print(out, results)
    out.print(differences_table(results.arenas[0]))
    if output is not None:
        write_folder(output, report_files(results))
        out.print(f"report: {output / PAGE_FILE}", markup=False, highlight=False, soft_wrap=True)
    if json:
        print_json(results.to_json())


def report(folder: Path, /) -> None:
    """Make one page with tables and plots of what another command wrote: report.html.

    Args:
        folder: what `gfn evaluate --output`, `gfn demo` or `gfn bench` wrote.
    """
    from baselines.bench import SUITE_FILE
    from baselines.bench_report import load_and_report
    from baselines.evaluation_report import write_evaluation_report
    from baselines.page import RESULTS_FILE
    from baselines.report import write_report
    from baselines.results import BenchmarkResults
    from gfn_envs.evaluation_results import EVALUATION_FILE, Evaluation

    evaluation, results = folder / EVALUATION_FILE, folder / RESULTS_FILE
    if (folder / SUITE_FILE).is_file():
        _, page = load_and_report(folder)
    elif evaluation.is_file():
        page = write_evaluation_report(Evaluation.load(evaluation), folder)
    elif results.is_file():
        page = write_report(BenchmarkResults.load(results), folder)
    else:
        raise CommandError(
            f"'{folder}' holds neither {EVALUATION_FILE} nor {RESULTS_FILE} nor a benchmark run; gfn evaluate "
            "--output, gfn demo and gfn bench write such a folder"
        )
    sys.stdout.write(f"report: {page}\n")
