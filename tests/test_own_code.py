"""Code of the user's own that fails: what it is and where, and never a remedy for something else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gfn_envs.own_code import place_in_own_code
from tests.test_cli import LINE, refused

MODULE = """
import numpy as np
from gfn_envs.task import Task


class Agent:
    def act(self, observations, admissible_actions, rng):
        {body}


def function(observation, actions, rng):
    return actions[0]


class NeedsMore:
    def __init__(self, size):
        self.size = size

    def act(self, observations, admissible_actions, rng):
        return [actions[0] for actions in admissible_actions]
"""
"""Line 8 is what fails."""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a module into the working folder; returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(body="return 1", text=MODULE):
        (tmp_path / "own_code_of_a_test.py").write_text(text.replace("{body}", body), encoding="utf-8")
        sys.modules.pop("own_code_of_a_test", None)
        return "own_code_of_a_test"

    yield write
    sys.modules.pop("own_code_of_a_test", None)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('raise RuntimeError("boom")', "RuntimeError: boom"),
        ("return [int('x')]", "ValueError: invalid literal for int() with base 10: 'x'"),
        ("return {}['missing']", "KeyError: 'missing'"),
        ("assert not observations", "AssertionError:"),
        ("return np.zeros(3)[7]", "IndexError: index 7 is out of bounds for axis 0 with size 3"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_an_error_in_ones_own_code_is_told_with_its_place(gfn, own, body, said):
    refused(gfn("evaluate", f"{own(body)}:Agent", LINE, "--samples", "2"), f"own_code_of_a_test.py, line 8: {said}")


def test_what_is_no_python_is_told_with_its_place(gfn, own):
    refused(gfn("evaluate", f"{own(text='x = 1' + chr(10) + 'def')}:Agent", LINE), "own_code_of_a_test.py, line 2: ")


def test_an_error_of_the_package_itself_keeps_its_traceback(monkeypatch):
    """A mistake of ours is no sentence for the user."""
    from gfn_envs import cli, own_code

    monkeypatch.setattr(cli, "check_at_least", lambda *_, **__: {}["a mistake"])
    monkeypatch.setattr(own_code, "_LIBRARIES", (*own_code._LIBRARIES, str(Path(__file__).parent)))
    with pytest.raises(KeyError, match="a mistake"):
        cli.main(["analyse", LINE])


@pytest.mark.parametrize(
    ("folder", "named"),
    [
        ("work", "other.py"),
        ("home/.local/lib/python3/site-packages", Path(__file__).name),
        ("usr/lib/python3/dist-packages", Path(__file__).name),
    ],
)
def test_what_is_installed_anywhere_is_not_ones_own(folder, named):
    """Not every folder of installed packages is this Python's own: `pip install --user` has another."""
    with pytest.raises(SystemExit) as caught:
        exec(compile("raise SystemExit(0)", f"/{folder}/other.py", "exec"))
    assert place_in_own_code(caught.value).startswith(f"{named}, line")


def test_an_agent_that_cannot_be_made_is_told_why(gfn, own):
    name = own()
    refused(gfn("evaluate", f"{name}:function", LINE), "cannot be made: missing a required", "FunctionAgent")
    refused(gfn("evaluate", f"{name}:NeedsMore", LINE), "missing a required argument: 'size'", "without arguments")


def test_environments_of_another_kind_are_told_apart(gfn, own):
    refused(gfn("evaluate", "uniform", "CartPole-v1"), "CartPole-v1", "split= and problems=")
    refused(gfn("check", "Sorting-v0"), "named with the module that registers it: MODULE:Sorting-v0")


LISTED = """
from examples.hypergrid import Grid, HyperGrid


class Listed(HyperGrid):
    def problems(self):
        return [Grid(2, 8)]
"""


def test_problems_must_be_a_source_of_problems(gfn, own):
    sentence = "problems must be a source of problems, got list; write ProblemSet(tuple(problems))"
    refused(gfn("check", f"{own(text=LISTED)}:Listed"), sentence)


def test_two_runs_do_not_train_into_one_folder(gfn, tmp_path):
    from filelock import FileLock

    words = ("train", LINE, "--steps", "1", "--samples-per-problem", "2", "--output", tmp_path / "run")
    assert gfn(*words)[0] == 0
    with FileLock(tmp_path / "run" / ".lock"):
        refused(gfn(*words, "--steps", "2", "--resume"), "another run is training in")
    assert gfn(*words, "--steps", "2", "--resume")[0] == 0


@pytest.mark.parametrize("command", ["train", "demo", "bench", "evaluate"])
def test_a_file_in_the_place_of_a_folder_is_said_to_be_one(gfn, tmp_path, command):
    place = tmp_path / "file"
    place.write_text("mine", encoding="utf-8")
    words = {"train": (LINE,), "bench": ("quick", "--only", "uniform"), "evaluate": ("uniform", LINE)}.get(command, ())
    status, _, err = gfn(command, *words, "--output", place)
    assert status == 1
    assert "Errno" not in err
    assert f"'{place}' " in " ".join(err.split())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "mine")]


def test_the_demo_leaves_other_results_alone(gfn, tmp_path):
    gfn("evaluate", "uniform", LINE, "--samples", "2", "--output", tmp_path / "scores")
    before = {path.name for path in (tmp_path / "scores").iterdir()}
    status, _, err = gfn("demo", "--output", tmp_path / "scores")
    assert status == 1
    assert "holds evaluation.json, so it is not the folder of a demo" in " ".join(err.split())
    assert {path.name for path in (tmp_path / "scores").iterdir()} == before


def test_what_to_type_next_fits_a_folder_with_spaces(gfn, tmp_path):
    folder = tmp_path / "my ünï scores"
    _, out, _ = gfn("evaluate", "uniform", LINE, "--samples", "2", "--output", folder)
    assert out.endswith(f"gfn report '{folder}'\n")


def test_a_run_folder_as_a_model_is_told_where_its_policy_is(gfn, tmp_path):
    run = tmp_path / "run"
    gfn("train", LINE, "--steps", "1", "--samples-per-problem", "2", "--output", run)
    policy = run / "checkpoints" / "step-000001" / "policy"
    refused(gfn("train", LINE, "--model", run, "--output", tmp_path / "other"), f"this run is in '{policy}'")


def test_a_module_that_ends_the_process_is_no_success(tmp_path):
    """`raise SystemExit` in an agent would end the command with status 0 and nothing written."""
    (tmp_path / "leaves.py").write_text(MODULE.replace("{body}", "raise SystemExit"), encoding="utf-8")
    command = [sys.executable, "-c", "from gfn_envs.cli import main; main()", "evaluate", "leaves:Agent", LINE]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert json.dumps(ended.returncode) == "1"
    assert "leaves.py, line 8: SystemExit" in ended.stderr
