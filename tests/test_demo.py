"""The main job with tiny settings: trains, scores, writes the report, and costs nothing the second time."""

from __future__ import annotations

import json

import pytest

from baselines.cli import demo
from baselines.results import BenchmarkResults


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
