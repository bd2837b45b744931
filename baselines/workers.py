"""Where cells are run: in processes on this machine, or as tasks of a Ray cluster.

Both play each cell in a process of its own, and bring back its result, or why there is none: an
exception of the agent and a process that was killed are alike failures of that one cell.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from baselines.cells import Cell, CellResult, Failure, Outcome, run_cell
from gfn_envs.agents import SIDE_BY_SIDE, agent_maker

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def in_processes(
    cells: Sequence[Cell], on_start: Callable[[Cell], None], jobs: int, folder: Path
) -> Iterator[tuple[Cell, Outcome]]:
    """Yields each cell with its outcome as soon as it has one, in whatever order they end.

    Args:
        cells: what to run.
        on_start: called when the process of a cell has started.
        jobs: processes side by side, each with one thread.
        folder: run folder: trained agents are kept in `agents/`, what cells print goes to `logs/`.
    """
    context = _context(cells)
    waiting, running = deque(cells), dict[Connection, tuple[Any, Cell]]()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.popleft()
                receiver, sender = context.Pipe(duplex=False)
                given = json.dumps(cell.description), folder, cell.key, jobs, sender
                process = context.Process(target=_work, args=given)
                with _one_thread():
                    process.start()
                sender.close()  # this end is the child's alone, so its death ends the pipe
                running[receiver] = process, cell
                on_start(cell)
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                process, cell = running.pop(ready)
                yield cell, _received(ready, process, folder / "logs" / f"{cell.key}.txt")
    finally:
        for process, _ in running.values():
            process.kill()
        for process, _ in running.values():
            process.join()


def _context(cells: Sequence[Cell]) -> Any:
    """Returns how processes start: as fresh copies of one that has imported the agents' packages, where possible.

    That spares every cell the seconds that the imports take; the copied process has done nothing else.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    modules = {getattr(agent_maker(cell.contestant.agent), "__module__", __name__) for cell in cells}
    context.set_forkserver_preload([__name__, *sorted(modules)])
    return context


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Lets processes that start now compute on one thread each: several of them share the machine."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _received(receiver: Connection, process: Any, log: Path) -> Outcome:
    """Returns what a process sent; one that ended without a word was killed."""
    try:
        text = receiver.recv_bytes()
    except (EOFError, OSError):  # before the message, or in the middle of it
        process.join()
        return Failure(f"the process {_ending(process.exitcode)}", _tail(log))
    finally:
        receiver.close()
    process.join()
    return outcome_from_text(text.decode())


def _ending(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "was killed (signal 9): the machine may have run out of memory; fewer --jobs need less"
    if exit_code < 0:
        return f"was ended by signal {-exit_code} ({signal.Signals(-exit_code).name})"
    return f"ended with exit status {exit_code} and no result"


def _tail(log: Path, most: int = 4_000) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-most:] if log.is_file() else ""


def _work(description: str, folder: Path, key: str, jobs: int, sender: Connection) -> None:
    """Runs one cell in a process of its own and sends the outcome as JSON."""
    os.environ[SIDE_BY_SIDE] = str(jobs)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent alone decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with (folder / "logs" / f"{key}.txt").open("w", encoding="utf-8") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        text = outcome_text(description, folder / "agents")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    sender.send_bytes(text.encode())
    sender.close()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# -- Ray -------------------------------------------------------------------------------------------
def on_ray(
    cells: Sequence[Cell], on_start: Callable[[Cell], None], address: str, jobs: int
) -> Iterator[tuple[Cell, Outcome]]:
    """Yields each cell with its outcome as soon as it has one; every node needs the same packages.

    Args:
        cells: what to run.
        on_start: called when a cell is handed to Ray.
        address: of the cluster, as `ray.init` takes it; "local" starts one here with `jobs` processors.
        jobs: processors of a local cluster.
    """
    try:
        import ray
    except ImportError:
        raise ValueError('Ray is an optional dependency: pip install "gfn-gym[ray]"') from None

    local: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if address == "local" else {}
    ray.init(address=address, log_to_driver=False, logging_level="ERROR", **local)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=1, max_retries=0)(outcome_text)
        running = {}
        for cell in cells:
            running[task.remote(json.dumps(cell.description))] = cell
            on_start(cell)
        while running:
            for ready in ray.wait(list(running), num_returns=1)[0]:
                try:
                    outcome = outcome_from_text(ray.get(ready))
                except ray.exceptions.RayError as error:
                    outcome = Failure(f"the Ray worker gave no result: {' '.join(str(error).split())}")
                yield running.pop(ready), outcome
    finally:
        ray.shutdown()


# -- outcomes as text ------------------------------------------------------------------------------
def outcome_text(description: str, agents: Path | None = None) -> str:
    """Runs the cell of a description and returns its result, or why there is none, as JSON."""
    try:
        result = run_cell(Cell.from_description(json.loads(description)), agents)
        return json.dumps({"result": result.to_json()}, allow_nan=False)
    except Exception as error:  # a foreign agent may raise anything, and that is this cell's outcome
        sentence = " ".join(f"{type(error).__name__}: {error}".split())
        return json.dumps({"error": sentence, "traceback": traceback.format_exc()})


def outcome_from_text(text: str) -> Outcome:
    """Returns what `outcome_text` says."""
    data = json.loads(text)
    if "error" in data:
        return Failure(data["error"], data["traceback"])
    return CellResult.from_json(data["result"])
