"""`gfn compare`: evaluations of several agents on the same problems, and what may not be compared."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from baselines.cli import compare as compare_command
from baselines.compare import compare, read_agents
from baselines.random_legal import RandomLegalAgent
from gfn_envs.evaluation import evaluate_agent
from gfn_envs.evaluation_results import Evaluation
from gfn_envs.files import finite_json, write_folder
from gfn_envs.problems import ProblemSet
from gfn_envs.tasks.game24 import Game24, Game24Problem

TASK = Game24(count=2)
PROBLEMS = ProblemSet((Game24Problem((4, 6)), Game24Problem((3, 8)), Game24Problem((2, 12))), (1.0, 2.0, 3.0))
SIX = ProblemSet((*PROBLEMS, *(Game24Problem((n, n)) for n in (5, 7, 9))), (1.0, 2.0, 3.0, 1.0, 1.0, 1.0))
"""The last three are beyond both players."""


class Multiplies:
    """Plays a product where there is one."""

    def act(self, observations, admissible_actions, rng):
        return [next((a for a in legal if "*" in a), legal[0]) for legal in admissible_actions]


class MultipliesSmall(Multiplies):
    """Plays a sum where the first number is 2, a product elsewhere: worse on one problem."""

    def act(self, observations, admissible_actions, rng):
        return [
            next(a for a in legal if ("+" if "12" in text else "*") in a)
            for text, legal in zip(observations, admissible_actions, strict=True)
        ]


def evaluation(agent, name="agent", seed=0, exact=False, samples=8, problems=PROBLEMS, **settings):
    found = evaluate_agent(TASK, agent, problems, samples, 4, np.random.default_rng(seed), exact)
    return Evaluation(name, "gfn_envs/Game24-v0", samples, 4, seed, 1.0, exact, settings, tuple(found))


@pytest.fixture(scope="module")
def always():
    return evaluation(Multiplies())


@pytest.fixture(scope="module")
def mostly():
    return evaluation(MultipliesSmall())


def difference(results, score="success_at_1", first="always", second="mostly"):
    (one,) = (
        one for one in results.arenas[0].comparisons if (one.score, one.first, one.second) == (score, first, second)
    )
    return one


# -- numbers ---------------------------------------------------------------------------------------
def test_the_difference_is_weighted_and_paired(always, mostly):
    """The second is worse on the problem that has half of the weight: by 1 there, by 0 elsewhere."""
    one = difference(compare({"always": [always], "mostly": [mostly]}))
    assert one.difference.value == pytest.approx(0.5)
    assert one.improvement.value == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert math.isnan(one.difference.low), "three problems make nothing sure"
    assert math.isnan(one.difference.high)
    players = {"always": Multiplies(), "mostly": MultipliesSmall()}
    one = difference(compare({name: [evaluation(player, problems=SIX)] for name, player in players.items()}))
    assert one.difference.value == pytest.approx(3 / 9)
    assert one.difference.low == 0 < one.difference.high <= 1  # a draw without that problem, many draws of it


def test_problems_are_matched_by_name_and_not_by_place(always):
    other = evaluation(RandomLegalAgent())
    turned = replace(other, problems=other.problems[::-1])
    straight, matched = (compare({"always": [always], "mostly": [given]}) for given in (other, turned))
    assert finite_json(straight.to_json()) == finite_json(matched.to_json())
    assert [p.scores["success_at_1"] for p in other.problems] != [p.scores["success_at_1"] for p in turned.problems]


def test_several_trainings_of_one_agent_are_its_seeds(always, mostly):
    results = compare({"always": [always, always], "mostly": [always, mostly]})
    assert results.seeds == (0, 1)
    assert results.arenas[0].results.score("mostly", "success_at_1").value == pytest.approx(0.75)
    assert difference(results).difference.value == pytest.approx(0.25)


def test_the_seen_distance_is_compared_where_someone_has_no_exact_one(always):
    uniform = evaluation(RandomLegalAgent(), exact=True)
    exactly = compare({"one": [uniform], "other": [uniform]})
    shared = {"success_at_1", "pass_at_k", "coverage"}
    assert {one.score for one in exactly.arenas[0].comparisons} == {*shared, "total_variation"}
    seen = compare({"uniform": [uniform], "always": [always]})
    assert {one.score for one in seen.arenas[0].comparisons} == {*shared, "sampled_distance"}


def test_costs_stand_beside_the_scores(always, mostly):
    dear, cheap = (replace(mostly, settings={"costs": {"cpu_seconds": seconds}}) for seconds in (30.0, 10.0))
    results = compare({"always": [always, always], "mostly": [dear, cheap]})
    assert [agent.costs for agent in results.arenas[0].results.contestants] == [{}, {"cpu_seconds": 20.0}]
    assert results.notes == ("Costs are what an agent says of its own training.",)
    assert compare({"always": [always], "mostly": [mostly]}).notes == ()


def test_it_says_who_is_the_best(always, mostly):
    results = compare({"mostly": [mostly], "always": [always]})
    assert results.verdicts[0].sentence.startswith(
        "Game24-v0: always is the best by success@1: 100.0 % against 50.0 % of mostly; fewer than 6 problems"
    )
    players = {"always": Multiplies(), "mostly": MultipliesSmall()}
    results = compare({name: [evaluation(player, problems=SIX)] for name, player in players.items()})
    assert "the interval of the difference contains 0" in results.verdicts[0].sentence


# -- what may not be compared ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"env": "gfn_envs/NumberLine-v0"},
            "'a' was evaluated with env=gfn_envs/Game24-v0 and 'b' with env=gfn_envs/N",
        ),
        ({"samples": 9}, "'a' was evaluated with samples=8 and 'b' with samples=9"),
        ({"k": 3}, "'a' was evaluated with k=4 and 'b' with k=3"),
        ({"beta": 2.0}, "'a' was evaluated with beta=1.0 and 'b' with beta=2.0"),
        (
            {"settings": {"env_kwargs": {"count": 3}}},
            "'a' was evaluated with env_kwargs={} and 'b' with env_kwargs={'c",
        ),
    ],
)
def test_what_was_evaluated_otherwise_is_refused(always, changes, sentence):
    with pytest.raises(ValueError, match="^" + sentence.replace("{", r"\{").replace("}", r"\}")):
        compare({"a": [always], "b": [replace(always, **changes)]})


def test_other_problems_and_other_weights_are_refused(always):
    with pytest.raises(ValueError, match="'a' was evaluated on 3 problems and 'b' on 2, of which 2 are the same"):
        compare({"a": [always], "b": [replace(always, problems=always.problems[:2])]})
    heavier = tuple(replace(problem, weight=5.0) for problem in always.problems)
    fewer = replace(always, problems=heavier[:2])
    with pytest.raises(ValueError, match="'a' was evaluated on 3 problems and 'b' on 2, of which 2 are the same"):
        compare({"a": [always], "b": [fewer]})
    with pytest.raises(ValueError, match="'a' and 'b' were evaluated with other weights of the same problems"):
        compare({"a": [always], "b": [replace(always, problems=heavier)]})


def test_unequally_many_trainings_are_refused(always, mostly):
    with pytest.raises(ValueError, match="'a' comes with 1 and 'b' with 2: a comparison needs equally many"):
        compare({"a": [always], "b": [always, mostly]})


# -- folders ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def folders(tmp_path_factory, always, mostly):
    home = tmp_path_factory.mktemp("evaluations")
    for name, found in {"always": always, "mostly": mostly, "deep/always": mostly, "a=b": mostly}.items():
        write_folder(home / name, found.files())
    return home


def test_agents_are_called_by_the_last_part_of_their_folder(folders):
    short = read_agents([f"{folders}/always", f"{folders}/mostly/"])
    assert {name: len(own) for name, own in short.items()} == {"always": 1, "mostly": 1}
    alike = read_agents([f"{folders}/always", f"{folders}/deep/always"])
    assert list(alike) == [f"{folders}/always", f"{folders}/deep/always"]
    named = read_agents([f"both={folders}/always,{folders}/mostly", f"{folders}/a=b"])
    assert {name: len(own) for name, own in named.items()} == {"both": 2, "a=b": 1}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "a comparison needs at least two agents"),
        (["{}/always"], "a comparison needs at least two agents"),
        (["{}/always", "{}/always"], "two agents are called 'always'; name them apart: NAME="),
        (["x={}/always", "x={}/mostly"], "two agents are called 'x'; name them apart: NAME="),
        (["{}/always", "chance={}/mostly"], "'chance' is the name of a yardstick"),
        (["{}/always", "{}/nothing"], "nothing' has no evaluation.json; gfn evaluate --output writes such a folder"),
        (["{}/always", "x={0}/mostly,{0}/deep/../mostly"], "'x' names a folder twice, and one training would count"),
        (["{}/always", "x="], "has no evaluation.json"),
    ],
)
def test_wrong_folders_are_named(folders, words, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_agents([word.format(folders) for word in words])


def test_the_command_prints_and_writes_what_it_found(folders, tmp_path, capsys):
    output = tmp_path / "compared"
    compare_command((f"{folders}/always", f"{folders}/mostly"), output=output, json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((output / "results.json").read_text())
    assert "mostly is" not in printed.err
    assert "always is the best by success@1" in printed.err
    (row,) = (line for line in printed.err.splitlines() if "success@1" in line and "−50.0" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "success@1", "mostly", "always", "−50.0", "–", "0.25"
    ]  # fmt: skip
    assert sorted(path.name for path in output.iterdir()) == ["report.html", "report.md", "results.json", "scores.csv"]
    assert "To do it again" not in (output / "report.html").read_text() + (output / "report.md").read_text()


def test_a_comparison_that_is_refused_writes_nothing(folders, tmp_path):
    with pytest.raises(ValueError, match="has no evaluation"):
        compare_command((f"{folders}/always", f"{folders}/nothing"), output=tmp_path / "compared")
    assert not list(tmp_path.iterdir())
