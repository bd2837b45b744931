"""A benchmark that is killed goes on to what an unbroken one gives, and leaves no process behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from baselines.bench import read_run, run_suite
from baselines.cells import CellResult
from baselines.workers import _received
from tests.test_bench import LINE, REPOSITORY, here, suite, what_counts

RUN = """
import signal
import sys
from functools import partial
from pathlib import Path
from baselines.bench import run_suite
from baselines.suites import parse_suite
from baselines.workers import in_processes
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
folder = Path(sys.argv[1])
suite = parse_suite(sys.stdin.read(), Path(sys.argv[2]))
try:
    run_suite(suite, folder, partial(in_processes, jobs=2, folder=folder))
except KeyboardInterrupt:
    sys.exit(130)
"""


def start(folder: Path, text: str) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, str(folder), str(REPOSITORY / "tiny.yaml")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=REPOSITORY, start_new_session=True)
    process.stdin.write(text)
    process.stdin.close()
    return process


def wait_until(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, "the run ended before the moment of the test"
        time.sleep(0.01)


def files(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))


def test_a_process_killed_in_the_middle_of_its_message_fails_alone(tmp_path: Path):
    receiver, sender = multiprocessing.get_context("forkserver").Pipe(duplex=False)
    os.write(sender.fileno(), struct.pack("!i", 100_000) + b"the beginning")
    sender.close()
    killed = SimpleNamespace(exitcode=-9, join=lambda: None)
    assert "was killed (signal 9)" in _received(receiver, killed, tmp_path / "log").error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "count"), [("logs/*", 1), ("cells/*.json", 1), ("agents/*/training.json", 2), ("cells/*.json", 5)]
)
def test_a_killed_run_goes_on_to_what_an_unbroken_run_gives(tmp_path: Path, pattern: str, count: int):
    text = LINE.replace("seeds: [0, 1]", "seeds: [0, 1, 2, 3]")
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    process = start(broken, text)
    wait_until(lambda: files(broken, pattern) >= count, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for file in (broken / "cells").glob("*.json"):
        json.loads(file.read_text())
    finished = {file: file.stat().st_mtime_ns for file in (broken / "cells").glob("*.json")}
    resumed = start(broken, text)
    assert resumed.wait() == 0
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
    run_suite(suite(text), whole, here)
    assert what_counts(read_run(broken)) == what_counts(read_run(whole))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_run(tmp_path: Path, number: int):
    """Ctrl-C reaches the whole group, a kill the parent alone; either way no cell plays on."""
    folder = tmp_path / "run"
    text = LINE.replace("seeds:", '  - {name: endless, agent: "tests.bench_agents:Endless"}\nseeds:')
    process = start(folder, text)
    wait_until(lambda: files(folder, "cells/*.json") == 4 and files(folder, "logs/*") == 6, process)
    group = [
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and group_of(entry) == process.pid
    ]
    assert len(group) > 2
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
        assert process.wait() == 130
    else:
        process.send_signal(number)
        process.wait()
    while any(group_of(Path(f"/proc/{pid}")) == process.pid for pid in group):
        time.sleep(0.05)
    run = read_run(folder)
    assert sum(isinstance(outcome, CellResult) for outcome in run.outcomes) == 4
    assert sum(outcome is None for outcome in run.outcomes) == 2


def group_of(entry: Path) -> int:
    """The process group of a running process, 0 for one that is no more."""
    try:
        state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if state == "Z" else int(group)
