"""The examples run with tiny settings."""

from __future__ import annotations

import json
import math
import runpy
import sys
from pathlib import Path

import pytest

from gfn_envs.cli import main
from gfn_envs.exact import analyse

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
    shares = '{"BlocksWorld": 0.5, "Game24": 0.5}'
    run(
        "make_default_policy.py",
        "--minutes",
        0.02,
        "--start",
        tmp_path / "policy",
        "--shares",
        shares,
        "--output",
        tmp_path / "longer",
    )
    longer = load_policy(tmp_path / "longer")
    known, text = "Make 24 with + - * /.\nNumbers: 4 6", "the red block is on top of the blue block"
    assert longer.tokenizer(known)["input_ids"] == policy.tokenizer(known)["input_ids"]
    assert len(longer.tokenizer(text)["input_ids"]) < len(policy.tokenizer(text)["input_ids"]) / 3
    assert "## Continued" in (tmp_path / "longer" / "README.md").read_text()


def test_hypergrid_passes_every_check_in_under_100_lines(capsys, monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    main(["check", "examples.hypergrid:HyperGrid", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["passed"], document
    assert len((EXAMPLES / "hypergrid.py").read_text().splitlines()) < 100


def test_hypergrid_has_the_known_partition_function():
    """Z of the 8x8 grid by counting: 64 places at 0.1, 16 outer ones 0.5 more, 4 modes 2 more."""
    sys.path.insert(0, str(EXAMPLES.parent))
    from examples.hypergrid import Grid, HyperGrid

    assert math.exp(analyse(HyperGrid(), Grid(2, 8)).log_z) == pytest.approx(64 * 0.1 + 16 * 0.5 + 4 * 2.0)
