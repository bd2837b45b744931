"""Families of problems: splits that never move, weights, files, and sentences for bad input."""

import json
from collections import Counter

import numpy as np
import pytest

from gfn_envs.problems import GeneratedProblems, ProblemSet, load_problems, save_problems, split_of
from gfn_envs.tasks.blocksworld import BlocksWorld
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem

PINNED = {
    "game24/1-1-1-8": "train",
    "game24/1-1-1-11": "train",
    "game24/1-1-1-12": "train",
    "game24/1-1-2-12": "validation",
    "game24/1-1-3-4": "validation",
    "game24/1-1-3-7": "validation",
    "game24/1-1-3-11": "test",
    "game24/1-1-3-12": "test",
    "game24/1-1-6-6": "test",
    "numberline/0-to-1-in-0-to-5": "train",
    "numberline/0-to-2-in-0-to-5": "train",
    "numberline/0-to-3-in-0-to-5": "train",
    "numberline/5-to-1-in-0-to-5": "validation",
    "numberline/1-to-0-in-0-to-5": "test",
    "numberline/3-to-4-in-0-to-5": "test",
    "numberline/4-to-2-in-0-to-5": "test",
}


@pytest.mark.parametrize(("problem_id", "split"), PINNED.items())
def test_splits_are_pinned(problem_id, split):
    problems = {p.id: p for task in (Game24(), NumberLine()) for p in task.problems()}
    assert split_of(problems[problem_id]) == split


def test_splits_are_disjoint_and_complete():
    family = Game24().problems()
    parts = {name: {p.canonical for p in family.split(name)} for name in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == len(family) == 1362
    assert set.union(*parts.values()) == {p.canonical for p in family.split("all")}
    assert 0.75 < len(parts["train"]) / 1362 < 0.85
    assert 0.07 < len(parts["test"]) / 1362 < 0.13


def test_generated_families_split_by_the_same_rule():
    rng = np.random.default_rng(0)
    family = Game24(count=5).problems()
    assert isinstance(family, GeneratedProblems)
    for name in ("train", "validation", "test"):
        assert {split_of(family.split(name).sample(rng)) for _ in range(20)} == {name}


def test_sampling_follows_the_weights():
    problems = tuple(Game24Problem((1, 1, 1, n)) for n in (1, 2, 3))
    family = ProblemSet(problems, (1, 2, 7))
    assert family.weights == pytest.approx((0.1, 0.2, 0.7))
    rng = np.random.default_rng(1)
    counts = Counter(family.sample(rng).numbers[-1] for _ in range(20_000))
    assert [counts[n] / 20_000 for n in (1, 2, 3)] == pytest.approx([0.1, 0.2, 0.7], abs=0.02)


def test_split_renormalises_weights():
    family = NumberLine(start_law="gym_cards").problems()
    part = family.split("train")
    assert sum(part.weights) == pytest.approx(1)
    whole = dict(zip(family.problems, family.weights, strict=True))
    ratios = {w / whole[p] for p, w in zip(part.problems, part.weights, strict=True)}
    assert max(ratios) == pytest.approx(min(ratios))


def test_take_is_a_sorted_subset_without_repeats():
    family = Game24().problems()
    taken = family.take(50, np.random.default_rng(0))
    places = [family.problems.index(p) for p in taken]
    assert len(taken) == 50
    assert places == sorted(set(places))
    assert family.take(5000, np.random.default_rng(0)) is family
    assert len(Game24(count=5).problems().take(10, np.random.default_rng(0))) <= 10


def test_json_lines_round_trip(tmp_path):
    path = tmp_path / "problems.jsonl"
    for task, problems in (
        (Game24(), [Game24Problem((4, 6, 6, 8)), Game24Problem((1, 2, 3, 4), "7/2")]),
        (NumberLine(), [NumberLineProblem(0, 5, 0, 5)]),
    ):
        save_problems(problems, path)
        assert list(load_problems(task, path)) == problems
    assert not list(tmp_path.glob("*.partial"))


def test_json_lines_with_weights_blank_lines_and_repeats(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"start": 0, "goal": 1, "weight": 3}\n\n{"start": 0, "goal": 2}\n{"start": 0, "goal": 2}\n')
    family = load_problems(NumberLine(), path)
    assert [p.goal for p in family] == [1, 2]
    assert family.weights == pytest.approx((0.75, 0.25))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("[1, 2]", "not a JSON object"),
        ("{", "line 2"),
        ("[" * 100_000, "line 2"),
        ('{"numbers": [1, 2, 3]}', "expected 4 numbers, got 3"),
        ('{"numbers": [1, 2, 3, 99]}', "outside 1..13"),
        ('{"numbers": "1 2 3 4"}', "must be a list of integers"),
        ('{"numbers": [1, 2, 3, true]}', "must be a list of integers"),
        ('{"numbers": [1, 2, 3, 4], "goal": 1}', "unknown field 'goal'"),
        ('{"numbers": [1, 2, 3, 4], "target": "1/0"}', "target must be"),
        ('{"numbers": [1, 2, 3, 4], "weight": "x"}', "line 2"),
    ],
    ids=lambda text: text[:20],
)
def test_a_wrong_line_is_named(tmp_path, line, sentence):
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps({"numbers": [4, 6, 6, 8]}) + "\n" + line + "\n")
    with pytest.raises(ValueError, match="line 2") as error:
        load_problems(Game24(), path)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("weight", ["0", "-1", "NaN", "Infinity"])
def test_weights_must_be_positive_numbers(tmp_path, weight):
    path = tmp_path / "problems.jsonl"
    path.write_text(f'{{"numbers": [4, 6, 6, 8], "weight": {weight}}}\n{{"numbers": [1, 2, 3, 4]}}\n')
    with pytest.raises(ValueError, match="line 1: the weight must be a positive number"):
        load_problems(Game24(), path)


def test_sentences_for_missing_and_empty(tmp_path):
    with pytest.raises(ValueError, match="there is no problem file"):
        load_problems(Game24(), tmp_path / "missing.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="has no problems"):
        load_problems(Game24(), tmp_path / "empty.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="not a text file in UTF-8"):
        load_problems(Game24(), tmp_path / "binary.jsonl")
    (tmp_path / "x.csv").write_text("a\n")
    with pytest.raises(ValueError, match="only format"):
        load_problems(NumberLine(), tmp_path / "x.csv")
    with pytest.raises(ValueError, match="at least one problem"):
        ProblemSet(())
    for weights in ((1.0, 2.0), (0.0,), (float("nan"),), (float("inf"),)):
        with pytest.raises(ValueError, match="one positive weight a problem"):
            ProblemSet((Game24Problem((1, 2, 3, 4)),), weights)
    with pytest.raises(ValueError, match="no split 'tset'"):
        Game24().problems().split("tset")
    with pytest.raises(ValueError, match="use split='all'"):
        ProblemSet((Game24Problem((4, 6, 6, 8)),)).split("validation").split("test")


def test_a_generator_that_accepts_nothing_says_so(monkeypatch):
    monkeypatch.setattr("gfn_envs.problems._REJECTION_LIMIT", 10)
    family = GeneratedProblems(lambda rng: Game24Problem((1, 1, 1, 1)), (lambda problem: False,))
    with pytest.raises(ValueError, match="loosen the options"):
        family.sample(np.random.default_rng(0))
    with pytest.raises(
        ValueError, match="12 blocks have shortest plans of about 28 steps: choose such a length, not 4"
    ):
        BlocksWorld(blocks=12, length=4).problems().split("test").sample(np.random.default_rng(0))


def test_weights_are_kept_in_a_file_where_they_differ(tmp_path):
    task = NumberLine(start_law="gym_cards")
    family = task.problems()
    save_problems(family, tmp_path / "weighted.jsonl")
    again = load_problems(task, tmp_path / "weighted.jsonl")
    assert again.problems == family.problems
    assert again.weights == pytest.approx(family.weights)
    assert len(set(again.weights)) > 1
    save_problems(NumberLine().problems(), tmp_path / "equal.jsonl")
    assert "weight" not in (tmp_path / "equal.jsonl").read_text()
