"""Cells of a benchmark read problem files and models that may change, and keep the weights of a family."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baselines.bench import check_cells, read_run, run_suite, suite_cells
from baselines.bench_results import summarise_run
from baselines.cells import CellResult, _with_peaks, run_cell, training_keywords
from baselines.contestants import PolicyAgent
from baselines.suites import Contestant, Problems, Suite, parse_suite
from gfn_envs.agents import Budget, FunctionAgent
from gfn_envs.making import make_text_env
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


@FunctionAgent
def sideways(observation, actions, rng):
    return "sideways"


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


def test_a_cell_tells_how_many_attempts_ended_by_an_illegal_answer(tmp_path):
    (cell,) = suite_cells(suite(tmp_path, NEAR, FAR))
    written = run_cell(replace(cell, contestant=Contestant("sideways", "tests.test_cells:sideways", {})))
    assert written.notes[-1].startswith("100.0% of its attempts with seed 0 ended as failures because an answer")
    assert {problem.scores["success_at_1"] for problem in written.problems} == {0.0}
    assert not any("legal" in note for note in run_cell(cell).notes)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """Writes a module of the working folder that is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path / "own_agents_of_a_test.py"
    sys.modules.pop("own_agents_of_a_test", None)


def test_another_version_of_an_agent_of_ones_own_makes_other_cells(tmp_path, own_module):
    """Also one that is named again after it was imported: its file is asked and not the process."""
    own_module.write_text("Mine = 3", encoding="utf-8")
    (cell,) = suite_cells(suite(tmp_path, NEAR))
    cell = replace(cell, contestant=Contestant("mine", "own_agents_of_a_test:Mine", {}))
    before = replace(cell).key
    own_module.write_text("Mine = 4", encoding="utf-8")
    after = replace(cell)
    assert after.key != before
    assert set(after.description["files"]) == {str(tmp_path / "played.jsonl"), "own_agents_of_a_test"}
    environment = replace(cell, contestant=Contestant("mine", "uniform", {}))
    named = replace(environment, arena=replace(cell.arena, id="own_agents_of_a_test:Game-v0"))
    assert "own_agents_of_a_test" not in environment.description["files"]
    assert "own_agents_of_a_test" in named.description["files"]
    own_module.unlink()
    assert set(replace(cell).description["files"]) == {str(tmp_path / "played.jsonl")}


def test_a_project_that_was_moved_keeps_its_results(tmp_path):
    run_suite(suite(tmp_path, NEAR), tmp_path / "run", here)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    again = suite(moved, NEAR)
    run_suite(again, tmp_path / "run", lambda cells, on_start: (pytest.fail("it is there") for _ in cells))
    run = read_run(tmp_path / "run")
    assert isinstance(run.outcomes[0], CellResult)
    assert not any("earlier" in note for note in summarise_run(run).notes)


def test_a_report_says_that_a_file_changed_since(tmp_path):
    run = tmp_path / "run"
    run_suite(suite(tmp_path, NEAR), run, here)
    suite(tmp_path, FAR)
    with pytest.raises(ValueError, match=r"has a result yet with .*played\.jsonl as changed since; run gfn bench"):
        summarise_run(read_run(run))
    both = read_run(run)
    played = replace(both.cells[0], contestant=Contestant("other", "uniform", {}))
    told = replace(
        both,
        cells=(both.cells[0], played),
        outcomes=(None, run_cell(played)),
        changed=(both.changed[0], ()),
        suite=replace(both.suite, agents=(both.cells[0].contestant, played.contestant)),
    )
    (sentence,) = summarise_run(told).failures
    assert sentence.startswith("NumberLine, uniform: not run yet with seed 0, as ")
    assert sentence.endswith("played.jsonl changed since")


class Learner:
    """Learns, and cannot be kept."""

    def learn(self, env_id, budget, seed, env_kwargs=None):
        raise AssertionError

    def act(self, observations, admissible_actions, rng):
        return [actions[0] for actions in admissible_actions]


class Boastful(Learner):
    """Tells no numbers."""

    curve = [{"environment_steps": 3, "success": "high"}]

    def learn(self, env_id, budget, seed, env_kwargs=None):
        pass

    def save(self, folder):
        pass

    @classmethod
    def load(cls, folder):
        return cls()


untaught = Learner()


def test_an_agent_that_would_be_scored_untrained_is_refused(tmp_path):
    (cell,) = suite_cells(suite(tmp_path, NEAR))
    sentence = "Learner has learn and no save and no load, so that gfn bench cannot train it"
    with pytest.raises(ValueError, match=sentence):
        check_cells([replace(cell, contestant=Contestant("own", "tests.test_cells:Learner", {}))])
    with pytest.raises(ValueError, match=sentence):
        run_cell(replace(cell, contestant=Contestant("own", "tests.test_cells:untaught", {})))


def test_a_curve_that_is_none_is_named(tmp_path):
    (cell,) = suite_cells(suite(tmp_path, NEAR))
    with pytest.raises(ValueError, match=r"Boastful\.curve must be numbers by name, got .*'high'"):
        run_cell(replace(cell, contestant=Contestant("own", "tests.test_cells:Boastful", {})))


class OfOtherNames(Boastful):
    """Has a curve of which no plot can be made."""

    curve = [{"env_steps": 3, "success": 0.5}]


def test_a_curve_without_the_names_that_a_plot_needs_is_named(tmp_path):
    (cell,) = suite_cells(suite(tmp_path, NEAR))
    with pytest.raises(ValueError, match=r"a row of OfOtherNames\.curve has no environment_steps, got .*'env_steps'"):
        run_cell(replace(cell, contestant=Contestant("own", "tests.test_cells:OfOtherNames", {})))


def test_a_cell_that_went_on_elsewhere_has_the_larger_peak():
    training = {"training_seconds": 3.0, "peak_memory": 9.0, "peak_gpu_memory": 5.0}
    found = _with_peaks(training, {"evaluation_seconds": 1.0, "peak_memory": 2.0})
    assert found == {**training, "evaluation_seconds": 1.0}
    assert _with_peaks({}, {"peak_memory": 2.0}) == {"peak_memory": 2.0}


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


@pytest.mark.parametrize(
    ("agent", "options", "reason"),
    [
        ("gflownet", "learning_rat: 0.1", "gflownet has no option 'learning_rat'"),
        ("gflownet", "objective: nonsense", "objective must be one of vargrad"),
        ("gflownet", "learning_rate: 1e-3", "learning_rate must be a number, got '1e-3'; in YAML .* 1.0e-3"),
        ("gflownet", "warm_start: many", "warm_start must be a whole number, got 'many'"),
        ("gflownet", "lr_scheduler_type: linear", "gflownet has no option 'lr_scheduler_type'"),
        ("grpo", "samples_per_problem: 1", "samples_per_problem"),
        ("grpo", "samples_per_problem: 2.5", "samples_per_problem must be a whole number, got 2.5"),
        ("gflownet", "stop_at_distance: 0.1", "set distance_every to at least 1"),
        ("sft", "epochs: true", "epochs must be a whole number, got True"),
        ("sft", "learning_rate: 1e-3", "learning_rate must be a number, got '1e-3'"),
        ("gflownet", "warm_start: -5", "warm_start must not be negative, got -5"),
        ("ppo", "seed: 3", "ppo has no option 'seed'; options are"),
        ("ppo", "env_id: x", "ppo has no option 'env_id'; options are"),
        ("ppo", "num_envs: 0", "num_envs must be at least 1, got 0"),
        ("recurrent_ppo", "width: 0", "width must be at least 1, got 0"),
        ("ppo", "learning_rate: 1e-3", "learning_rate must be a number, got '1e-3'"),
        ("maskable_ppo", "n_step: 3", "maskable_ppo has no option 'n_step'; options are .*n_steps"),
    ],
)
def test_options_that_cannot_be_are_found_before_anything_is_run(tmp_path, agent, options, reason):
    text = SUITE.replace("agents: [uniform]", f"agents: [{{name: own, agent: {agent}, options: {{{options}}}}}]")
    with pytest.raises(ValueError, match=rf"agent 'own' in 'NumberLine': .*{reason}"):
        check_cells(suite_cells(parse_suite(text.replace("file: played.jsonl", "count: 2"), tmp_path / "own.yaml")))


@pytest.mark.slow
def test_a_gflownet_that_is_near_enough_stops_before_its_budget_is_used_up():
    agent = PolicyAgent("gflownet", distance_every=1, stop_at_distance=0.99)
    agent.learn("gfn_envs/NumberLine-v0", Budget(environment_steps=100_000), seed=0)
    assert len(agent.curve) == 1
