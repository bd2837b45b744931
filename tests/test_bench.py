"""Benchmark runs: cells in processes of their own, failures that stay alone, folders that go on."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from baselines.bench import SUITE_FILE, Run, check_cells, read_run, run_suite, select, suite_cells
from baselines.bench_progress import remaining_seconds
from baselines.bench_results import summarise_run
from baselines.cells import Cell, CellResult, Failure, Outcome, evaluation_problems, run_cell, training_keywords
from baselines.suites import Contestant, Suite, parse_suite
from baselines.tuned import TUNED
from baselines.workers import in_processes, on_ray

REPOSITORY = Path(__file__).parent.parent
TINY = """
environments:
  - id: gfn_envs/NumberLine-v0
    evaluation: {split: all, count: 3}
    train: {split: all}
  - {id: gfn_envs/Game24-v0, kwargs: {count: 3}, evaluation: {count: 2}}
agents:
  - uniform
  - {name: walker, agent: "tests.bench_agents:Walker", options: {rate: 0.03}}
seeds: [0, 1]
budget: {environment_steps: 40}
samples: 4
k: 2
focus: walker
"""
LINE = TINY.replace("  - {id: gfn_envs/Game24-v0, kwargs: {count: 3}, evaluation: {count: 2}}\n", "")


def suite(text: str = LINE, **agents: str) -> Suite:
    """The tiny suite, with agents of the test's own beside the walker: name=Class."""
    added = "".join(f'  - {{name: {name}, agent: "tests.bench_agents:{kind}"}}\n' for name, kind in agents.items())
    return parse_suite(text.replace("seeds:", f"{added}seeds:"), REPOSITORY / "tiny.yaml")


def here(cells: Sequence[Cell], on_start) -> Iterator[tuple[Cell, Outcome]]:
    """A runner without processes."""
    for cell in cells:
        on_start(cell)
        yield cell, run_cell(cell)


def processes(folder: Path, jobs: int = 2):
    return partial(in_processes, jobs=jobs, folder=folder)


def what_counts(run: Run) -> list[object]:
    """Everything about the outcomes but what time and memory were."""
    return [
        (outcome.description, repr(outcome.problems), outcome.curve, outcome.notes, outcome.costs["environment_steps"])
        if isinstance(outcome, CellResult) and "environment_steps" in outcome.costs
        else (outcome.description, repr(outcome.problems))
        if isinstance(outcome, CellResult)
        else outcome
        for outcome in run.outcomes
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "run"
    run_suite(suite(), folder, here, "gfn bench tiny.yaml")
    return folder


# -- cells -----------------------------------------------------------------------------------------
def test_a_cell_is_named_by_what_decides_its_result():
    first, *others = suite_cells(suite(TINY))
    assert len({first.key, *(cell.key for cell in others)}) == len(others) + 1 == 8
    renamed = replace(first, arena=replace(first.arena, name="x"), contestant=replace(first.contestant, name="y"))
    assert renamed.key == first.key
    assert replace(first, arena=replace(first.arena, samples=5)).key != first.key
    assert Cell.from_description(json.loads(json.dumps(first.description))).key == first.key


def test_other_tuned_options_make_other_cells(monkeypatch):
    untuned = suite_cells(suite())[0]
    trained = replace(untuned, contestant=replace(untuned.contestant, agent="gflownet"))
    warm = replace(trained, contestant=replace(trained.contestant, options={"warm_start": 10}))

    def keys() -> list[str]:
        return [replace(cell).key for cell in (untuned, trained, warm)]

    monkeypatch.setitem(TUNED, "NumberLine", {})
    before = keys()
    monkeypatch.setitem(TUNED, "NumberLine", {"sft": {"epochs": 7}})
    assert [new == old for new, old in zip(keys(), before, strict=True)] == [True, True, False]  # imitation comes first
    monkeypatch.setitem(TUNED, "NumberLine", {"gflownet": {"epsilon": 0.5}})
    assert [new == old for new, old in zip(keys(), before, strict=True)] == [True, False, False]


def test_another_embedded_policy_makes_other_cells_of_those_that_start_from_it(monkeypatch):
    (first, *_), agents = suite_cells(suite()), ("uniform", "ppo", "untrained", "sft", "gflownet", "default")
    cells = [replace(first, contestant=Contestant(agent, agent, {})) for agent in agents]
    own_model = replace(first, contestant=Contestant("gflownet", "gflownet", {"model": "smollm2"}))

    def keys() -> list[str]:
        return [replace(cell).key for cell in (*cells, own_model)]

    before = keys()
    monkeypatch.setattr("baselines.cells.default_policy_digest", lambda: "0" * 16)
    assert [new == old for new, old in zip(keys(), before, strict=True)] == [True] * 2 + [False] * 4 + [True]


def test_a_report_keeps_what_was_run_with_other_options_and_says_so(unbroken: Path, tmp_path: Path, monkeypatch):
    shutil.copytree(unbroken, tmp_path / "run")
    before = read_run(tmp_path / "run")
    assert not any("earlier" in note for note in summarise_run(before).notes)
    monkeypatch.setitem(TUNED, "NumberLine", {"tests.bench_agents:Walker": {"rate": 0.5}})
    (result, *_) = (tmp_path / "run" / "cells").glob("*.json")
    described = json.loads(result.read_text()) | {"description": ["nothing"]}
    for name, stray in (("damaged", "{"), ("strange", json.dumps(described))):
        (tmp_path / "run" / "cells" / f"{name}.json").write_text(stray)
    after = read_run(tmp_path / "run")
    assert {after.cells[i].key == cell.key for i, cell in enumerate(before.cells)} == {True, False}
    assert repr(after.outcomes) == repr(before.outcomes)
    (told,) = [note for note in summarise_run(after).notes if "earlier" in note]
    assert told.startswith("NumberLine, walker: An earlier result")
    run_suite(suite(), tmp_path / "run", here)
    again = read_run(tmp_path / "run")
    assert not any("earlier" in note for note in summarise_run(again).notes)
    assert [o.description for o in again.outcomes] == [cell.description for cell in after.cells]


def test_another_suite_does_not_take_a_folder_over(unbroken: Path, tmp_path: Path):
    shutil.copytree(unbroken, tmp_path / "run")
    text = (tmp_path / "run" / "suite.yaml").read_text()
    other = parse_suite(f"name: other\n{LINE}", REPOSITORY / "tiny.yaml")
    with pytest.raises(ValueError, match="holds the suite 'tiny', and not 'other'; choose another --output"):
        run_suite(other, tmp_path / "run", here)
    assert (tmp_path / "run" / "suite.yaml").read_text() == text


def test_a_cell_learns_on_training_problems_and_is_scored_on_others():
    walker = suite_cells(suite())[1]
    result = run_cell(walker)
    assert 40 <= result.costs["environment_steps"] <= 80
    assert "seconds" not in result.costs  # what is measured is not asked
    assert {"training_seconds", "training_cpu_seconds", "evaluation_cpu_seconds"} <= result.costs.keys()
    assert result.costs["peak_memory"] > 1e6
    assert result.curve[-1]["environment_steps"] == result.costs["environment_steps"]
    assert result.notes[0] == "3 of the 3 evaluation problems are training problems too."
    for problem in result.problems:
        assert 0 <= problem.scores["total_variation"] <= 1
        assert problem.scores["chance"] < 1
        assert sum(shares["sampled"] for shares in problem.solutions.values()) == problem.scores["success_at_1"]
    loaded = CellResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False)))
    assert repr(loaded.problems) == repr(result.problems)


@pytest.mark.parametrize(
    ("stochasticity", "told"),
    [
        ("{HiddenFields: {pattern: '(?<=Goal: )[0-9]+'}, ActionNoise: {probability: 0.1}}", True),
        ("{ActionNoise: {probability: 0.1}}", False),
    ],
)
def test_readers_are_told_of_a_ceiling_that_knows_what_texts_hide(stochasticity, told):
    around = LINE.replace("    train:", f"    kwargs: {{stochasticity: {stochasticity}}}\n    train:")
    notes = run_cell(suite_cells(suite(around))[0]).notes
    assert any("Texts hide what the ceiling knows" in note for note in notes) == told


def test_agents_are_scored_on_the_same_problems_and_train_on_those_of_the_suite():
    arena = suite_cells(suite(TINY))[2].arena
    assert training_keywords(arena) == {"count": 3, "split": "train"}
    few = replace(arena, train=replace(arena.train, count=3, seed=1))
    keywords = training_keywords(few)
    assert keywords == training_keywords(few)
    assert (keywords["split"], len(keywords["problems"])) == ("all", 3)
    held_out = {problem.id for problem in evaluation_problems(arena)[1]}
    assert held_out == {problem.id for problem in evaluation_problems(arena)[1]}
    json.dumps(keywords)


def test_seeds_differ_and_repeat(unbroken: Path):
    run = read_run(unbroken)
    first, second = (run.outcomes[place] for place in (1, 3))
    assert (run.cells[1].label, run.cells[3].label) == ("NumberLine, walker, seed 0", "NumberLine, walker, seed 1")
    assert first.problems != second.problems
    again = run_cell(run.cells[1])
    assert (repr(again.problems), again.curve) == (repr(first.problems), first.curve)


def test_an_agent_that_cannot_say_how_it_plays_is_scored_by_samples():
    silent = suite_cells(suite(silent="Silent"))[2]
    scores = run_cell(silent).problems[0].scores
    assert math.isnan(scores.get("total_variation", math.nan))
    assert 0 <= scores["success_at_1"] <= 1


def test_a_trained_agent_is_not_trained_again(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    cell = suite_cells(suite(counting="Counting"))[2]
    first, second = run_cell(cell, tmp_path / "agents"), run_cell(cell, tmp_path / "agents")
    assert (tmp_path / "count").read_text() == "x"
    assert repr(first.problems) == repr(second.problems)
    assert first.curve == second.curve
    assert first.costs["training_seconds"] == second.costs["training_seconds"]


# -- runs ------------------------------------------------------------------------------------------
def test_processes_give_what_one_process_gives(unbroken: Path, tmp_path: Path):
    started, ended = [], []
    run_suite(
        suite(), tmp_path, processes(tmp_path), on_start=started.append, on_end=lambda cell, _: ended.append(cell)
    )
    assert what_counts(read_run(tmp_path)) == what_counts(read_run(unbroken))
    assert len(started) == len(ended) == 4
    assert not list((tmp_path / "cells").glob("*.partial"))


def test_a_finished_run_is_not_run_again_and_a_larger_suite_keeps_it(unbroken: Path):
    before = {file: file.stat().st_mtime_ns for file in (unbroken / "cells").iterdir()}
    run_suite(suite(), unbroken, lambda cells, on_start: iter([] if not cells else pytest.fail("run again")))
    asked: list[Cell] = []
    run_suite(suite(TINY), unbroken, lambda cells, on_start: iter(asked.extend(cells) or ()))
    assert {cell.arena.name for cell in asked} == {"Game24"}
    assert {file: file.stat().st_mtime_ns for file in before} == before
    run_suite(suite(), unbroken, here, "gfn bench tiny.yaml")


def test_a_failing_cell_stays_alone_and_is_tried_again(tmp_path: Path, monkeypatch):
    wrong = suite(failing="Failing", killed="Killed", leaving="Leaving")
    run_suite(wrong, tmp_path, processes(tmp_path))
    run = read_run(tmp_path)
    failures = {cell.contestant.name: o for cell, o in zip(run.cells, run.outcomes, strict=True) if cell.seed == 0}
    assert isinstance(failures["walker"], CellResult)
    assert failures["failing"].error == "RuntimeError: the walker has no legs"
    assert "bench_agents.py" in failures["failing"].traceback
    assert "was killed (signal 9): the machine may have run out of memory" in failures["killed"].error
    assert failures["killed"].traceback.endswith("last words\n")
    assert failures["leaving"].error == "the process ended with exit status 3 and no result"

    monkeypatch.setenv("REPAIRED", str(tmp_path))
    asked = []
    run_suite(wrong, tmp_path, lambda cells, on_start: (asked.append(c) or (c, run_cell(c)) for c in cells[:1]))
    assert [cell.contestant.name for cell in asked] == ["failing"]
    again = read_run(tmp_path)
    assert sum(isinstance(outcome, Failure) for outcome in again.outcomes) == 5
    assert isinstance(again.outcomes[2], CellResult)


def test_processes_side_by_side_have_one_thread_and_know_how_many_they_are(tmp_path: Path):
    cells = [cell for cell in suite_cells(suite(asking="Asking")) if cell.contestant.name == "asking"][:1]
    for jobs in (2, 3):
        ((_, outcome),) = in_processes(cells, lambda cell: None, jobs, tmp_path)
        assert outcome.error == f"RuntimeError: 1 thread, {jobs} side by side"


def test_two_runs_do_not_fill_one_folder(tmp_path: Path):
    def nested(cells: Sequence[Cell], on_start) -> Iterator[tuple[Cell, Outcome]]:
        with pytest.raises(ValueError, match="another run is filling"):
            run_suite(suite(), tmp_path, here)
        yield from ()

    run_suite(suite(), tmp_path, nested)
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and not the folder of a benchmark run"):
        run_suite(suite(), other, here)
    assert [file.name for file in other.iterdir()] == ["letter.txt"]
    with pytest.raises(ValueError, match=f"it has no {SUITE_FILE}"):
        read_run(other)


def test_a_damaged_result_is_named(unbroken: Path, tmp_path: Path):
    run_suite(suite(), tmp_path, lambda cells, on_start: ((cell, run_cell(cell)) for cell in cells[:1]))
    (file,) = (tmp_path / "cells").iterdir()
    file.write_text(file.read_text()[:-20])
    with pytest.raises(ValueError, match=r"is damaged \(.*\); delete it and run the suite again"):
        read_run(tmp_path)


def test_words_select_cells():
    cells = suite_cells(suite(TINY))
    assert [cell.label for cell in select(cells, ["Game24", "walker", "1"])] == ["Game24, walker, seed 1"]
    assert len(select(cells, ["walker", "uniform", "0"])) == 4
    assert select(cells, []) == cells
    with pytest.raises(ValueError, match="nothing in this suite is called 'Game42'"):
        select(cells, ["Game42"])


def test_remaining_time_by_hand():
    uniform, walker, *_ = cells = suite_cells(suite(TINY))
    assert remaining_seconds(cells, {}, [], 2) is None
    ended = [(uniform, 2.0), (walker, 10.0)]
    # waiting: game with uniform and walker (same agents: 2, 10), then all four of seed 1 (2, 10, 2, 10)
    assert remaining_seconds(cells[2:], {}, ended, 2) == pytest.approx((2 + 10 + 2 + 10 + 2 + 10) / 2)
    assert remaining_seconds(cells[2:], {cells[3].key: 4.0}, ended, 1) == pytest.approx(32)
    assert remaining_seconds(cells[7:], {cells[7].key: 11.0}, ended, 8) == 0


# -- Ray -------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_ray_cluster_gives_what_one_process_gives(unbroken: Path, tmp_path: Path):
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        wrong = suite(killed="Killed", failing="Failing")
        run_suite(wrong, tmp_path, partial(on_ray, address=cluster.address, jobs=2))
    finally:
        cluster.shutdown()
    run = read_run(tmp_path)
    outcomes = {cell.label: outcome for cell, outcome in zip(run.cells, run.outcomes, strict=True)}
    assert "RuntimeError: the walker has no legs" in outcomes["NumberLine, failing, seed 0"].error
    assert "the Ray worker gave no result" in outcomes["NumberLine, killed, seed 1"].error
    kept = [outcome for outcome in run.outcomes if isinstance(outcome, CellResult)]
    assert what_counts(replace(run, outcomes=tuple(kept))) == what_counts(read_run(unbroken))


def test_without_ray_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r'Ray is an optional dependency: pip install "gfn-gym\[ray\]"'):
        next(on_ray([], lambda cell: None, "auto", 1))


def test_everything_of_the_tiny_suite_can_be(unbroken: Path):
    check_cells(suite_cells(suite(TINY)))
