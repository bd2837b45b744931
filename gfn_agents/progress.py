"""Live progress bars on standard error; that of training has rate, remaining time and the latest figures."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:  # torch, for a bar
    from typing import Self

    from gfn_agents.trainer import StepReport

_RECENT = 20


class LiveBar:
    """A bar that is shown on standard error inside a `with` block.

    Args:
        columns: of the bar.
        total: what there is to do.
        done: what is done already.
    """

    def __init__(self, columns: Sequence[ProgressColumn], total: int, done: int) -> None:
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("", total=total, completed=done)

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._progress.console.print(text, highlight=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class TrainingBar(LiveBar):
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
        super().__init__(columns, total, done)
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
