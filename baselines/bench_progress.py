"""The live display of a benchmark run: cells done, remaining time, what runs now."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from baselines.cells import Cell, CellResult, Outcome
from gfn_agents.progress import LiveBar


class BenchBar(LiveBar):
    """Shows a run on standard error: one line a finished cell, and a bar below them.

    Args:
        cells: all cells of the run.
        finished: how many of them have a result already.
        jobs: cells side by side.
    """

    def __init__(self, cells: Sequence[Cell], finished: int, jobs: int) -> None:
        columns = (
            TextColumn("cells"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        super().__init__(columns, len(cells), finished)
        self._waiting, self._jobs = {cell.key: cell for cell in cells}, jobs
        self._started: dict[str, float] = {}
        self._durations: dict[str, tuple[Cell, float]] = {}

    def start(self, cell: Cell) -> None:
        """Notes that a cell has started."""
        self._started[cell.key] = time.monotonic()
        self._describe()

    def end(self, cell: Cell, outcome: Outcome) -> None:
        """Prints what became of a cell."""
        seconds = time.monotonic() - self._started.pop(cell.key)
        self._waiting.pop(cell.key, None)
        if isinstance(outcome, CellResult):
            self._durations[cell.key] = cell, seconds
            success = [problem.scores["success_at_1"] for problem in outcome.problems]
            said = f"success@1 {sum(success) / len(success):.1%}, {seconds:.0f} s"
        else:
            said = f"[bold red]FAILED[/]: {escape(outcome.error)}"
        self.say(f"{escape(cell.label)}: {said}")
        self._progress.advance(self._task)
        self._describe()

    def _describe(self) -> None:
        running = ", ".join(self._waiting[key].label for key in self._started if key in self._waiting)
        now = time.monotonic()
        spent = {key: now - started for key, started in self._started.items()}
        left = remaining_seconds(list(self._waiting.values()), spent, list(self._durations.values()), self._jobs)
        about = f"about {_clock(left)} left" if left is not None and self._waiting else ""
        self._progress.update(self._task, description=escape(f"{about}  now: {running}" if running else about))


def remaining_seconds(
    waiting: Sequence[Cell], spent: Mapping[str, float], durations: Sequence[tuple[Cell, float]], jobs: int
) -> float | None:
    """Returns about how long the cells that have no result yet will take, None before any has ended.

    A cell takes as long as those of the same agent in the same environment did on average; where there
    are none, as those of the same agent, or as any.

    Args:
        waiting: cells that run or wait.
        spent: by key, how long each running cell has run, seconds.
        durations: cells of this run that have ended, and how long they took, seconds.
        jobs: cells side by side.
    """
    if not durations:
        return None
    total = 0.0
    for cell in waiting:
        alike = [s for other, s in durations if other.contestant == cell.contestant]
        same = [s for other, s in durations if other.contestant == cell.contestant and other.arena == cell.arena]
        known = same or alike or [s for _, s in durations]
        total += max(sum(known) / len(known) - spent.get(cell.key, 0.0), 0.0)
    return total / min(jobs, max(len(waiting), 1))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
