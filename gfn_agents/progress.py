"""A live progress bar of training on standard error, with rate, remaining time and the latest figures."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gfn_agents.trainer import StepReport

_RECENT = 20


class TrainingBar:
    """Shows the steps done, and success and loss over the last steps.

    Args:
        total: steps of the whole run.
        done: steps that are done already.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("", total=total, completed=done)
        self._distance = ""
        self._recent: deque[StepReport] = deque(maxlen=_RECENT)

    def update(self, report: StepReport) -> None:
        """Shows one more step."""
        self._recent.append(report)
        success = sum(recent.success for recent in self._recent) / len(self._recent)
        text = f"loss {report.loss:.3f}  sampled success {success:.1%}"
        if report.distance is not None:
            self._distance = f"  distance {report.distance:.3f}"
        text += self._distance
        self._progress.update(self._task, completed=report.step, description=text)

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._progress.console.print(text, highlight=False)

    def __enter__(self) -> TrainingBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
