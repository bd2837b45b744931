"""The main job with tiny settings: trains, scores, writes the report, and costs nothing the second time."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from baselines.cli import demo
from baselines.demo import RUN_FOLDER, DemoConfig, train_gflownet
from baselines.results import BenchmarkResults
from gfn_agents.default_policy import default_policy_digest
from gfn_agents.trainer import Trainer


@pytest.mark.slow
def test_the_demo_runs_and_reports(tmp_path, capsys):
    demo(output=tmp_path / "demo", steps=1, puzzles=2, json=True)
    document = json.loads(capsys.readouterr().out)
    rows = {agent["name"]: agent["scores"] for agent in document["agents"]}
    assert list(rows) == ["chance", "PPO", "MaskablePPO", "policy before training", "GFlowNet", "ceiling"]
    assert rows["GFlowNet"]["success_at_1"]["value"] > 3 * rows["chance"]["success_at_1"]["value"]
    for scores in rows.values():
        assert 0 <= scores["success_at_1"]["value"] <= scores["pass_at_k"]["value"] <= 1
        assert scores["total_variation"]["value"] >= rows["ceiling"]["total_variation"]["value"] == 0
    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.count("<svg") >= 4
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page

    written = (tmp_path / "demo" / "results.json").stat().st_mtime_ns
    demo(output=tmp_path / "demo", steps=1, puzzles=2)
    assert "MaskablePPO" in capsys.readouterr().out
    assert (tmp_path / "demo" / "results.json").stat().st_mtime_ns == written
    assert BenchmarkResults.load(tmp_path / "demo" / "results.json").k == 20


def test_a_longer_run_does_not_pass_for_a_shorter_one(tmp_path, monkeypatch):
    def run(trainer, *_):
        trainer.steps_done = trainer.config.steps
        trainer.save_checkpoint()

    monkeypatch.setattr(Trainer, "run", run)
    for steps in (3, 3, 4):
        assert train_gflownet(DemoConfig(steps=steps), tmp_path, print).trainer.steps_done == steps
    with pytest.raises(ValueError, match="holds a demo of 4 steps, which is more than 3; add --fresh"):
        train_gflownet(DemoConfig(steps=3), tmp_path, print)


def test_results_of_another_embedded_policy_are_not_shown_as_this_ones(tmp_path, capsys, monkeypatch):
    """The demo starts anew, its training too; what it did not write stays."""
    config, run = DemoConfig(steps=1, puzzles=2), tmp_path / RUN_FOLDER
    run.mkdir()
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")

    def trained(*_):
        assert not run.exists()
        return replace(old, settings=settings | {"embedded_policy": default_policy_digest()})

    settings = {"demo": asdict(config), "embedded_policy": "0" * 16}
    old = BenchmarkResults("title", "env", settings, k=1, samples=1, agents=())
    old.save(tmp_path / "results.json")
    monkeypatch.setattr("baselines.demo.run_demo", trained)
    monkeypatch.setattr("baselines.report.write_report", lambda results, folder: results.save(folder / "results.json"))
    demo(output=tmp_path, steps=1, puzzles=2)
    assert "of another version of the embedded policy" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "mine.txt").exists()
    demo(output=tmp_path, steps=1, puzzles=2)
    assert "--fresh runs the demo again" in " ".join(capsys.readouterr().out.split())
