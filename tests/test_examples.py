"""The examples run with tiny settings."""

from __future__ import annotations

import json
import math
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from gfn_envs.cli import main
from gfn_envs.exact import analyse
from gfn_envs.making import make_text_env
from gfn_envs.problems import load_problems, split_of
from gfn_envs.tasks.alfworld.planner import optimal_plans
from gfn_envs.tasks.alfworld.task import ALFWorld
from gfn_envs.tasks.blackjack import BlackJack
from gfn_envs.tasks.blocksworld import BlocksWorld
from gfn_envs.tasks.prontoqa import PrOntoQA

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs an example as its user would; returns what it printed."""

    def run_example(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.syspath_prepend(str(EXAMPLES))
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
    shares = {"Game24": 0.2, "BlocksWorld": 0.2, "PrOntoQA": 0.2, "BlackJack": 0.2, "ALFWorld": 0.2}
    options = ("--minutes", 0.02, "--start", tmp_path / "policy", "--output", tmp_path / "longer")
    run("make_default_policy.py", *options, "--shares", json.dumps(shares), "--new", *list(shares)[1:])
    longer = load_policy(tmp_path / "longer")

    def lengths(text):
        return [len(each.tokenizer(text)["input_ids"]) for each in (longer, policy)]

    known = "Make 24 with + - * /.\nNumbers: 4 6"
    assert longer.tokenizer(known)["input_ids"] == policy.tokenizer(known)["input_ids"]
    for text in (
        "the red block is on top of the blue block",
        "Every wumpus is not shy. Sam is a wumpus.",
        "Beat the dealer without going over 21.",
        "You are not carrying anything.\ncabinet 1 (closed): not seen.",
    ):
        now, before = lengths(text)
        assert now < before / 3, text
        assert longer.tokenizer.decode(longer.tokenizer(text)["input_ids"]) == text
    assert "## Continued" in (tmp_path / "longer" / "README.md").read_text()


@pytest.fixture
def states(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import default_policy_states

    return default_policy_states


def test_states_are_visited_as_the_cards_fall(states):
    """16 becomes 17 by an ace, and 18 by a two or by two aces; each card has the chance 1/13."""
    task = BlackJack()
    examples, visits = states.examples_of(task, task.problem_from_json({"player": [10, 6], "dealer": 10}))
    found = {example.observation.split("otal: ")[1][:2]: index for index, example in enumerate(examples)}
    hits = {total: examples[index].probabilities[1] for total, index in found.items()}
    assert visits[0] == 1
    assert visits[found["17"]] == pytest.approx(hits["16"] / 13)
    assert visits[found["18"]] == pytest.approx((hits["16"] + visits[found["17"]] * hits["17"]) / 13)


def test_searching_examples_are_states_of_one_game(states):
    task, rng = ALFWorld().memoryless(), np.random.default_rng(0)
    problem = states.training_problems(task).sample(rng)
    assert split_of(problem) == "train"
    examples = states.searching_examples(task, problem, 3, rng)
    assert len({example.observation for example in examples}) == 3
    for example in examples:
        assert f"Your task is to: {problem.task}." in example.observation
        assert example.probabilities.sum() == pytest.approx(1)
        assert len(example.probabilities) == len(example.actions)


def test_small_rooms_are_games_that_can_be_won_with_what_the_goal_needs(states):
    task, rng = ALFWorld().memoryless(), np.random.default_rng(0)
    for problem in task.problems().split("train").take(40, rng):
        small = states.small_room(problem, 2, rng)
        names = [receptacle.name for receptacle in small.receptacles]
        assert [r.name for r in problem.receptacles if r.name in names] == names
        assert {thing.name for thing in small.things} <= {thing.name for thing in problem.things}
        targets = [thing for thing in problem.things if thing.name.startswith(f"{problem.target} ")]
        assert [t.name for t in small.things if t.name.startswith(f"{small.target} ")] == [t.name for t in targets]
        assert len(optimal_plans(small)[0]) >= len(optimal_plans(problem)[0])  # it may lack the nearest place
        assert small.id != problem.id
        needed = {problem.place, "sinkbasin", "fridge", "microwave"} | {n for t in targets for n in t.inside}
        assert len(names) <= len(needed) + 2 + 1


def test_examples_of_small_rooms_ask_to_read_the_task(states):
    """Nearly all of them have one answer, or a few that are as good, among legal commands that do not help."""
    task, rng = ALFWorld().memoryless(), np.random.default_rng(0)
    problems = task.problems().split("train").take(40, rng)
    examples = [example for problem in problems for example in states.small_room_examples(task, problem, 2, rng)]
    assert len(examples) > 75
    assert np.mean([example.probabilities.max() == 1 for example in examples]) > 0.7
    assert np.mean([len(example.actions) for example in examples]) > 8


@pytest.mark.parametrize("options", [{}, {"slack": 1, "ontology": "true"}, {"hops": 4, "slack": 0}])
def test_answer_examples_are_what_the_exact_sampler_answers_at_the_last_step(states, options):
    task, rng = PrOntoQA(**{"hops": 3, "distractors": 4, **options}), np.random.default_rng(0)
    problem = states.training_problems(task).sample(rng)
    exact = {example.observation: example for example in states.examples_of(task, problem)[0]}
    examples = states.answer_examples(task, problem, 4, rng)
    assert len(examples) == 4
    assert (len({example.observation for example in examples}) > 1) == (task.slack > 0)
    for example in examples:
        assert example.observation.endswith("Steps left: 1.")
        assert example.probabilities.max() == 1
        assert exact[example.observation].actions == example.actions
        assert exact[example.observation].probabilities == pytest.approx(example.probabilities, abs=1e-3)


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


# -- flow_of_reasoning.py --------------------------------------------------------------------------
TINY = ("--steps", 1, "--problems-per-step", 1, "--samples-per-problem", 2, "--evaluation-problems", 2)


@pytest.fixture
def flow_of_reasoning(tmp_path):
    """Arguments of a tiny experiment: one training problem, and a folder for its results."""
    start, goal = [["red"], ["orange", "blue"], ["yellow"]], ["on orange blue"]
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps({"start": start, "goal": goal}))
    return "--problems", problems, "--output", tmp_path / "results", *TINY


@pytest.mark.slow
def test_flow_of_reasoning(run, flow_of_reasoning, tmp_path):
    printed, results = run("flow_of_reasoning.py", *flow_of_reasoning), tmp_path / "results"
    table = (results / "table.md").read_text()
    assert table in printed
    rows = [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:8]]
    assert rows == ["chance", "untrained", "sft", "gflownet", "exact sampler", "published, 8B"]
    assert "1.27 of 1.31" in table
    assert (results / "curves.svg").read_text().startswith("<svg")

    methods = json.loads((results / "results.json").read_text())["methods"]
    assert [method["agent"] for method in methods] == ["untrained", "sft", "gflownet"]
    played = [[problem["problem_id"] for problem in method["problems"]] for method in methods]
    assert played[0] == played[1] == played[2]

    (results / "table.md").unlink()
    shutil.rmtree(results / "gflownet-run")  # so that training again would show
    settings = json.loads((results / "settings.json").read_text())
    assert settings.pop("beta") == "1.0"  # as if the experiment was older than this option
    (results / "settings.json").write_text(json.dumps(settings))
    assert table in run("flow_of_reasoning.py", *flow_of_reasoning)
    assert not (results / "gflownet-run").exists()
    with pytest.raises(SystemExit, match="other options"):
        run("flow_of_reasoning.py", *flow_of_reasoning, "--seed", 1)


@pytest.mark.slow
def test_flow_of_reasoning_shows_what_the_gflownet_started_from(run, flow_of_reasoning, tmp_path):
    run("flow_of_reasoning.py", *flow_of_reasoning, "--steps", 2, "--warm-start", 1)
    found = {
        name: json.loads((tmp_path / "results" / name / "evaluation.json").read_text())
        for name in ("sft", "gflownet-start", "gflownet")
    }
    assert [rows["settings"]["curve"][-1]["step"] for rows in found.values()] == [2, 1, 2]
    spent = {name: rows["settings"]["costs"]["environment_steps"] for name, rows in found.items()}
    assert 0 < spent["gflownet-start"] < spent["gflownet"]
    assert len((tmp_path / "results" / "table.md").read_text().splitlines()) == 2 + 7 + 2  # head, rows, sentence


@pytest.mark.slow
def test_flow_of_reasoning_on_restated_problems(run, flow_of_reasoning, tmp_path):
    results = tmp_path / "results"
    run("flow_of_reasoning.py", *flow_of_reasoning, "--restated", "--lr-scheduler-type", "cosine", "--beta", 2)
    assert len(load_problems(BlocksWorld(length=4), results / "training.jsonl")) == 12  # red and yellow are alike
    trained = json.loads((results / "gflownet-run" / "agent.json").read_text())
    assert trained["env_kwargs"]["problems"] == str(results / "training.jsonl")
    assert trained["config"]["beta"] == 2
    found = json.loads((results / "gflownet" / "evaluation.json").read_text())
    assert found["beta"] == 2
    assert found["target_success_at_1"]["value"] > 1 - 1e-5  # at beta = 1 failures have a hundredth


def test_problems_that_can_be_stated_in_one_way_only_are_refused(run, flow_of_reasoning):
    with pytest.raises(SystemExit, match="leave --restated out"):
        run("flow_of_reasoning.py", *flow_of_reasoning, "--restated", "--env", "Game24")


@pytest.mark.parametrize("env", ["BlocksWorld", "PrOntoQA"])
def test_restated_problems_are_the_published_ones_and_none_is_unseen(monkeypatch, env):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import flow_of_reasoning as example

    options = example.Options(Path("unused"), env=env, evaluation_problems=100)
    published = make_text_env(options.env_id, options.family).problems.take(10, np.random.default_rng(1))
    restated = example.restated_problems(options, published)
    assert {problem.id for problem in published} < {problem.id for problem in restated}
    structures = {problem.canonical for problem in restated}
    assert len(structures) == {"BlocksWorld": 1, "PrOntoQA": 2}[env] * len({p.canonical for p in published})
    assert not structures & {problem.canonical for problem in example.unseen_problems(options, published)}


def test_restated_proofs_are_in_other_orders_and_half_of_them_have_the_opposite_answer(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import flow_of_reasoning as example

    options = example.Options(Path("unused"), env="PrOntoQA")
    env = make_text_env(options.env_id, options.family)
    published = env.problems.take(1, np.random.default_rng(1))
    (problem,), ((solution,),) = published, [env.task.solve(problem) for problem in published]
    proof, answer = solution.rsplit(maxsplit=1)
    solutions = {True: f"{proof} {answer}", False: f"{proof} {({'True', 'False'} - {answer}).pop()}"}
    _, *restated = example.restated_problems(options, published)
    assert len({other.question for other in restated}) == len(restated) == 100
    assert sum(other.query == problem.query for other in restated) == 50
    for other in restated:
        *rules, fact = other.question.split(". ")
        *its_rules, its_fact = problem.question.split(". ")
        assert sorted(rules) == sorted(its_rules)
        assert fact == its_fact
        assert env.task.solve(other) == (solutions[other.query == problem.query],)


def test_unseen_problems_are_no_training_problems_in_other_colours(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import flow_of_reasoning as example

    options = example.Options(Path("unused"), evaluation_problems=40)
    family = make_text_env(options.env_id, options.family).problems
    training = family.take(40, np.random.default_rng(1))
    ids, canonical = {problem.id for problem in training}, {problem.canonical for problem in training}
    unseen = example.unseen_problems(options, training)
    assert len(unseen) > 10
    assert not canonical & {problem.canonical for problem in unseen}
    others = [problem for problem in family.take(40, np.random.default_rng(0)) if problem.id not in ids]
    assert canonical & {problem.canonical for problem in others}  # the names alone would not do


def test_unseen_proofs_are_as_long_as_the_published_ones_and_of_real_animals(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import flow_of_reasoning as example

    options = example.Options(Path("unused"), env="PrOntoQA", evaluation_problems=30)
    env = make_text_env(options.env_id, options.family)
    unseen = example.unseen_problems(options, env.problems.take(1, np.random.default_rng(1)))
    proofs = [proof for problem in unseen for proof in env.task.solve(problem)]
    assert {proof.count(".") for proof in proofs} == {3, 4, 5}, "as many rules as sentences before the answer"
    assert not any("umpus" in problem.question for problem in unseen), "published problems are about real animals"
