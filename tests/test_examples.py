"""The examples run with tiny settings."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs an example as its user would; returns what it printed."""

    def run_example(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run_example


@pytest.mark.slow
def test_train_game24(run):
    printed = run("train_game24.py", "--steps", 1, "--samples-per-problem", 2)
    assert "8 / (3 - 8 / 3)" in printed


@pytest.mark.slow
def test_make_default_policy(run, tmp_path):
    printed = run(
        "make_default_policy.py", "--minutes", 0.02, "--hidden", 32, "--layers", 1, "--output", tmp_path / "policy"
    )
    assert "parameters" in printed
    from gfn_agents.agent import load_policy

    policy = load_policy(tmp_path / "policy")
    (probabilities,) = policy.action_probabilities(["Make 24 with + - * /.\nNumbers: 4 6"], [["a", "b"]])
    assert probabilities.sum() == pytest.approx(1)
    assert "training split" in (tmp_path / "policy" / "README.md").read_text()
