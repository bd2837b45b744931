"""Cells of a benchmark read problem files and models that may change, and keep the weights of a family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baselines.bench import read_run, run_suite, suite_cells
from baselines.bench_results import summarise_run
from baselines.cells import CellResult, run_cell, training_keywords
from baselines.suites import Contestant, Problems, Suite, parse_suite
from gfn_envs.env import make_text_env
from tests.test_bench import here

SUITE = """
environments:
  - {id: gfn_envs/NumberLine-v0, evaluation: {file: played.jsonl}, train: {split: all}}
agents: [uniform]
seeds: [0]
budget: {environment_steps: 10}
samples: 4
k: 2
"""
NEAR, FAR = '{"start": 4, "goal": 5}', '{"start": 0, "goal": 5}'


def suite(folder: Path, *problems: str) -> Suite:
    (folder / "played.jsonl").write_text("".join(f"{problem}\n" for problem in problems), encoding="utf-8")
    return parse_suite(SUITE, folder / "files.yaml")


def chance(folder: Path) -> float:
    return summarise_run(read_run(folder)).arenas[0].results.agents[0].scores["success_at_1"].value


def test_other_problems_in_a_file_make_other_cells(tmp_path):
    run = tmp_path / "run"
    run_suite(suite(tmp_path, NEAR), run, here)
    near = chance(run)
    changed = suite(tmp_path, FAR)
    assert read_run(run).outcomes == (None,), "what was played answers another question"
    run_suite(changed, run, here)
    assert chance(run) < near
    assert len(list((run / "cells").glob("*.json"))) == 2
    run_suite(suite(tmp_path, NEAR), run, lambda cells, on_start: (pytest.fail("it is there") for _ in cells))
    assert chance(run) == near
    (tmp_path / "played.jsonl").unlink()
    assert isinstance(read_run(run).outcomes[0], CellResult), "a report needs no problem file"


def test_another_model_in_a_folder_makes_other_cells(tmp_path):
    (cell,) = suite_cells(suite(tmp_path, NEAR))
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"first")
    own = replace(cell, contestant=Contestant("own", "untrained", {"model": str(model)}))
    first, before = own.key, cell.key
    (model / "model.safetensors").write_bytes(b"other")
    assert replace(own).key != first
    assert replace(cell).key == before


def test_results_on_different_problems_are_not_put_into_one_table(tmp_path):
    run_suite(suite(tmp_path, NEAR), tmp_path / "run", here)
    run = read_run(tmp_path / "run")
    other = run_cell(suite_cells(suite(tmp_path, FAR))[0])
    twice = replace(run, cells=(*run.cells, replace(run.cells[0], seed=1)), outcomes=(*run.outcomes, other))
    with pytest.raises(ValueError, match="of different problems"):
        summarise_run(twice)


@pytest.mark.parametrize(
    ("env_id", "kwargs"), [("gfn_envs/NumberLine-v0", {"start_law": "gym_cards"}), ("gfn_envs/BlackJack-v0", {})]
)
def test_training_problems_that_are_drawn_keep_their_weights(tmp_path, env_id, kwargs):
    (cell,) = suite_cells(suite(tmp_path, NEAR))
    arena = replace(cell.arena, id=env_id, kwargs=kwargs, train=Problems("all", 100, 0, ""))
    family = make_text_env(env_id, {**kwargs, "split": "all"}).problems
    weights = {problem.id: weight for problem, weight in zip(family, family.weights, strict=True)}
    drawn = make_text_env(env_id, training_keywords(arena)).problems
    total = sum(weights[problem.id] for problem in drawn)
    assert drawn.weights == pytest.approx([weights[problem.id] / total for problem in drawn])
    assert np.ptp(drawn.weights) > 0


@pytest.mark.parametrize("weight", [0, -1.0, "heavy", True, float("inf"), None])
def test_a_weight_that_is_none_is_refused(weight):
    problems = [{"start": 0, "goal": 5, "weight": weight}]
    with pytest.raises(ValueError, match="the weight must be a positive number"):
        make_text_env("gfn_envs/NumberLine-v0", {"problems": problems})
