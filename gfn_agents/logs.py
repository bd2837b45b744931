"""Logs of a run: one JSON line a step, and TensorBoard beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from gfn_agents.trainer import StepReport
from gfn_envs.files import write_json_lines

HISTORY_FILE, BOARD_FOLDER = "history.jsonl", "tensorboard"


class RunLogs:
    """Writes reports to `history.jsonl` and TensorBoard; a resumed run drops the steps it repeats.

    Args:
        folder: run folder.
        first_step: number of the first step that will be written.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        path = folder / HISTORY_FILE
        kept = [row for row in read_history(folder) if row["step"] < first_step]
        write_json_lines(path, kept)
        self._file = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / BOARD_FOLDER), purge_step=first_step)  # type: ignore[no-untyped-call]

    def write(self, report: StepReport) -> None:
        """Adds one step."""
        self._file.write(json.dumps(asdict(report)) + "\n")
        self._file.flush()
        for name, value in asdict(report).items():
            if name != "step" and value is not None:
                self._board.add_scalar(f"train/{name}", value, report.step)  # type: ignore[no-untyped-call]

    def __enter__(self) -> RunLogs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()  # type: ignore[no-untyped-call]


def read_history(folder: Path) -> list[dict[str, float]]:
    """Returns the steps logged so far; a last line cut by a kill is left out."""
    path = folder / HISTORY_FILE
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
