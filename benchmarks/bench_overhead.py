"""What `gfn bench` costs beside the agents' learning and playing: the share of a run that is neither.

Runs the cells of a suite in this process, with clocks around learning, playing (environment steps and
model passes) and listing states (environment steps); then starts empty cells in processes of their own to see what
a process costs, and writes the report. Times are processor seconds, but for the start of processes.

    python benchmarks/bench_overhead.py quick --only Game24 gflownet maskable_ppo uniform
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import gfn_envs.evaluation
from baselines import cells as cells_module
from baselines.bench import check_cells, run_suite, select, suite_cells
from baselines.bench_report import load_and_report
from baselines.cells import Cell, Outcome, run_cell
from baselines.suites import Contestant, read_suite
from baselines.workers import in_processes

PROCESSES = 8


class Clock:
    """Adds up processor seconds by name; what runs inside another measured call is not counted twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = False

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function with its time counted under a name."""

        def timed(*arguments: Any, **keywords: Any) -> Any:
            if self._inside:
                return function(*arguments, **keywords)
            self._inside, started = True, time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                self._inside = False
                self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started

        return timed


@contextmanager
def measured(clock: Clock) -> Iterator[None]:
    """Puts the clock around what a cell is for: learning, playing, listing states."""
    load = cells_module.load_agent

    def load_timed(*arguments: Any, **keywords: Any) -> Any:
        agent = load(*arguments, **keywords)
        for name, label in (("learn", "learning"), ("action_probabilities", "playing"), ("act", "playing")):
            if hasattr(agent, name):
                setattr(agent, name, clock.around(label, getattr(agent, name)))
        return agent

    evaluation = gfn_envs.evaluation
    with (
        mock.patch.object(cells_module, "load_agent", clock.around("loading agents", load_timed)),
        mock.patch.object(evaluation, "rollout", clock.around("playing", evaluation.rollout)),
        mock.patch.object(evaluation, "enumerate_states", clock.around("listing states", evaluation.enumerate_states)),
    ):
        yield


def here(cells: Sequence[Cell], on_start: Callable[[Cell], None]) -> Iterator[tuple[Cell, Outcome]]:
    """Runs the cells one after the other in this process."""
    for cell in cells:
        on_start(cell)
        yield cell, run_cell(cell)


def start_of_a_process(cell: Cell) -> float:
    """Returns the wall seconds that a process of its own costs a cell that does nothing, after the first one."""
    with tempfile.TemporaryDirectory() as folder:
        line = replace(
            cell.arena,
            id="gfn_envs/NumberLine-v0",
            kwargs={},
            evaluation=replace(cell.arena.evaluation, count=1),
            samples=1,
            k=1,
        )
        idle = replace(cell, arena=line, contestant=Contestant("uniform", "uniform", {}))
        run = partial(in_processes, on_start=lambda cell: None, jobs=1, folder=Path(folder))
        list(run([idle]))  # the first one starts the server that the others are copies of
        started = time.perf_counter()
        list(run([replace(idle, seed=seed) for seed in range(PROCESSES)]))
        return (time.perf_counter() - started) / PROCESSES


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", nargs="?", default="quick")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    suite = read_suite(options.suite)
    cells = select(suite_cells(suite), options.only)
    check_cells(cells)  # imports what the agents need
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, measured(clock):
        run = Path(folder) / "run"
        started = time.process_time()
        run_suite(suite, run, here, cells=cells)
        total = time.process_time() - started
        started = time.process_time()
        load_and_report(run)
        report = time.process_time() - started
    process = start_of_a_process(cells[0])
    useful = sum(seconds for name, seconds in clock.seconds.items() if name != "loading agents")
    overhead = {
        "scores, files and the rest of the cells": total - sum(clock.seconds.values()),
        "loading agents": clock.seconds.get("loading agents", 0.0),
        f"{len(cells)} processes": process * len(cells),
        "the report": report,
    }
    whole = useful + sum(overhead.values())
    for name, seconds in {**{n: s for n, s in clock.seconds.items() if n != "loading agents"}, **overhead}.items():
        print(f"{name:42} {seconds:8.2f} s  {seconds / whole:6.1%}")
    print(f"{'overhead':42} {sum(overhead.values()):8.2f} s  {sum(overhead.values()) / whole:6.1%}")


if __name__ == "__main__":
    main()
