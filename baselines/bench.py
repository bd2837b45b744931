"""A benchmark run: every agent of a suite in every environment with every seed.

The one idea: a *cell* is one agent in one environment with one seed, and `run_cell` is a pure
function of it, played in a process of its own. What it returns is one JSON file, named by the hash of
what was asked, and written whole or not at all. So a run can be killed at any moment and goes on
where it was, the same cell is never run twice, and a suite that grows keeps what it has.

A run folder holds `suite.yaml`, `cells/` (results), `failures/` (one text file a cell that failed, which
is tried again when the run goes on), `agents/` (what was trained) and `logs/` (what cells printed).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.cells import (
    Cell,
    CellResult,
    Failure,
    Outcome,
    changed_files,
    evaluation_problems,
    question,
    training_keywords,
)
from baselines.suites import Suite, parse_suite
from gfn_envs.agents import agent_maker, agent_names, check_can_be_kept
from gfn_envs.files import LOCK_FILE, check_folder, write_whole

SUITE_FILE, RUN_FILE = "suite.yaml", "run.json"

Runner = Callable[[Sequence[Cell], Callable[[Cell], None]], Iterator[tuple[Cell, Outcome]]]
"""Runs cells anywhere: calls the function when one starts, yields each with its outcome when it ends."""


def suite_cells(suite: Suite) -> list[Cell]:
    """Returns the cells of a suite, all agents with the first seed first."""
    return [
        Cell(arena, contestant, seed)
        for seed in suite.seeds
        for arena in suite.environments
        for contestant in suite.agents
    ]


def check_cells(cells: Iterable[Cell]) -> None:
    """Raises ValueError if an environment, an agent or its options cannot be: before hours are spent."""
    arenas = {id(cell.arena): cell.arena for cell in cells}.values()
    keywords = {}
    for arena in arenas:
        evaluation_problems(arena)
        keywords[arena.name] = training_keywords(arena)
    for contestant in {id(cell.contestant): cell.contestant for cell in cells}.values():
        if contestant.agent not in agent_names() and Path(contestant.agent).is_dir():
            raise ValueError(
                f"agent {contestant.name!r}: '{contestant.agent}' is a folder, and what it holds is not trained anew; "
                "score it by gfn evaluate, and hold it against others by gfn compare"
            )
        make = agent_maker(contestant.agent)
        check_can_be_kept(make)
        try:
            inspect.signature(make).bind(**contestant.options)
        except TypeError as error:
            raise ValueError(f"agent {contestant.name!r}: options do not fit {contestant.agent!r}: {error}") from None
        if not make.__module__.startswith("baselines."):  # to make another agent may be to load a large model
            continue
        for arena in arenas:
            try:
                if check := getattr(make(**contestant.options), "check_options", None):
                    check(arena.id, keywords[arena.name])
            except ValueError as error:
                raise ValueError(f"agent {contestant.name!r} in {arena.name!r}: {error}") from None


# -- a run -----------------------------------------------------------------------------------------
def run_suite(
    suite: Suite,
    folder: Path,
    runner: Runner,
    command: str = "",
    cells: Sequence[Cell] | None = None,
    on_start: Callable[[Cell], None] = lambda cell: None,
    on_end: Callable[[Cell, Outcome], None] = lambda cell, outcome: None,
) -> None:
    """Runs what the folder does not have yet; a failure is recorded and stops nothing else.

    Args:
        suite: what to run.
        folder: run folder; one process at a time may fill it.
        runner: where cells are run.
        command: what the user typed, for the report.
        cells: only these of the suite's cells.
        on_start: called when a cell starts.
        on_end: called when a cell ends.

    Raises:
        ValueError: another run is filling the folder, or it is the folder of something else.
    """
    from filelock import FileLock, Timeout

    check_folder(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / SUITE_FILE).is_file():
        raise ValueError(f"'{folder}' is not empty and not the folder of a benchmark run; choose another --output")
    if (folder / RUN_FILE).is_file() and (name := _suite_of(folder).name) != suite.name:
        raise ValueError(f"'{folder}' holds the suite {name!r}, and not {suite.name!r}; choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK_FILE, timeout=0):
            about = folder / RUN_FILE
            earlier = _json(about).get("commands", []) if about.is_file() else []
            commands = list(dict.fromkeys([*earlier, *([command] if command else [])]))
            write_whole(about, json.dumps({"suite": str(suite.path.resolve()), "commands": commands}) + "\n")
            write_whole(folder / SUITE_FILE, suite.text)
            wanted = {cell.key: cell for cell in (suite_cells(suite) if cells is None else cells)}
            missing = [cell for cell in wanted.values() if not has_result(folder, cell)]
            for cell, outcome in runner(missing, on_start):
                _keep(folder, cell, outcome)
                on_end(cell, outcome)
    except Timeout:
        raise ValueError(
            f"another run is filling '{folder}' right now; wait for it, or choose another --output"
        ) from None


def _keep(folder: Path, cell: Cell, outcome: Outcome) -> None:
    failure = _failure_file(folder, cell)
    if isinstance(outcome, Failure):
        write_whole(failure, f"{outcome.error}\n{cell.label}\n\n{outcome.traceback}")
        return
    write_whole(_result_file(folder, cell), json.dumps(outcome.to_json(), indent=1, allow_nan=False) + "\n")
    failure.unlink(missing_ok=True)


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        commands: that filled it, the earliest first.
        cells: the suite's cells.
        outcomes: one a cell: a result, a failure, or None if it has not been run. A result is an earlier one, with
            another description than the cell's, where tuned options or the embedded policy changed since.
        changed: one a cell: where it has not been run with its files and modules as they are now, but with earlier
            ones, the names of those.
    """

    suite: Suite
    commands: tuple[str, ...]
    cells: tuple[Cell, ...]
    outcomes: tuple[Outcome | None, ...]
    changed: tuple[tuple[str, ...], ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The suite's seeds with which anything has been run."""
        played = zip(self.cells, self.outcomes, strict=True)
        found = {cell.seed for cell, outcome in played if isinstance(outcome, CellResult)}
        return tuple(seed for seed in self.suite.seeds if seed in found)


def read_run(folder: Path) -> Run:
    """Returns what a run folder holds.

    Raises:
        ValueError: it is no run folder, or a file in it is damaged.
    """
    file, about = folder / SUITE_FILE, folder / RUN_FILE
    if not file.is_file() or not about.is_file():
        raise ValueError(f"'{folder}' is not the folder of a benchmark run: it has no {SUITE_FILE}")
    written, suite = _json(about), _suite_of(folder)
    cells = tuple(suite_cells(suite))
    outcomes = [_read(folder, cell) for cell in cells]
    changed: list[tuple[str, ...]] = [()] * len(cells)
    if None in outcomes:
        earlier = _earlier_results(folder, {cell.key for cell in cells})
        for place, cell in enumerate(cells):
            if outcomes[place] is None:
                now = cell.description
                found = earlier.get(question(now), [])
                differing = [tuple(changed_files(now, one.description)) for one in found]
                outcomes[place] = found[differing.index(())] if () in differing else None
                changed[place] = next(iter(differing), ()) if outcomes[place] is None else ()
    return Run(suite, tuple(written.get("commands", ())), cells, tuple(outcomes), tuple(changed))


def _suite_of(folder: Path) -> Suite:
    """Returns the suite that a run folder was filled with last, as it was read then."""
    return parse_suite((folder / SUITE_FILE).read_text(encoding="utf-8"), Path(_json(folder / RUN_FILE)["suite"]))


def _earlier_results(folder: Path, keys: Collection[str]) -> dict[str, list[CellResult]]:
    """Returns the results that no cell names now and that can be read, by question, the last written first."""
    found: dict[str, list[CellResult]] = {}
    files = [file for file in (folder / "cells").glob("*.json") if file.stem not in keys]
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            result = _read_result(file)
            found.setdefault(question(result.description), []).append(result)
        except (ValueError, AttributeError):  # no longer asked for, so nobody's loss
            continue
    return found


def _read(folder: Path, cell: Cell) -> Outcome | None:
    result, failure = _result_file(folder, cell), _failure_file(folder, cell)
    if result.is_file():
        return _read_result(result)
    if failure.is_file():
        sentence, _, rest = failure.read_text(encoding="utf-8").partition("\n")
        return Failure(sentence, rest)
    return None


def _read_result(file: Path) -> CellResult:
    try:
        return CellResult.from_json(_json(file))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"'{file}' is damaged ({error!r}); delete it and run the suite again") from None


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"'{file}' is damaged ({error}); delete it and run the suite again") from None


def has_result(folder: Path, cell: Cell) -> bool:
    """Says whether a cell is finished."""
    return _result_file(folder, cell).is_file()


def _result_file(folder: Path, cell: Cell) -> Path:
    return folder / "cells" / f"{cell.key}.json"


def _failure_file(folder: Path, cell: Cell) -> Path:
    return folder / "failures" / f"{cell.key}.txt"


def select(cells: Sequence[Cell], words: Sequence[str]) -> list[Cell]:
    """Returns the cells that are meant by names of environments and agents, and by seeds.

    Words of one kind are alternatives: "Game24 ppo gflownet 0" is two agents in one environment with one seed.

    Raises:
        ValueError: a word names nothing in the suite.
    """
    parts: tuple[Callable[[Cell], str], ...] = (
        lambda cell: cell.arena.name,
        lambda cell: cell.contestant.name,
        lambda cell: str(cell.seed),
    )
    chosen = list(cells)
    known = {part(cell) for part in parts for cell in cells}
    for word in words:
        if word not in known:
            raise ValueError(f"nothing in this suite is called {word!r}; there are {', '.join(sorted(known))}")
    for part in parts:
        wanted = {part(cell) for cell in cells} & set(words)
        chosen = [cell for cell in chosen if not wanted or part(cell) in wanted]
    return chosen
