"""Suites: what a file says, and one sentence for every mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.bench import check_cells, suite_cells
from baselines.suites import SHIPPED, Budget, Contestant, Problems, Quoted, parse_suite, read_suite

GOOD = """
environments:
  - id: gfn_envs/Game24-v0
    kwargs: {count: 3}
    train: {count: 5, seed: 1}
    evaluation: {split: validation, count: 7, seed: 3}
  - id: gfn_envs/NumberLine-v0
    name: line
    budget: {tokens: 9, seconds: 1.5}
    exact: false
    samples: 4
    k: 2
agents: [uniform, {name: mine, agent: "a.b:C", options: {width: 8}}]
seeds: [2, 0]
budget: {environment_steps: 100}
samples: 8
k: 20
quoted:
  - {environment: line, agent: theirs, source: table 1, scores: {accuracy: 0.5}}
"""


def parse(text: str):
    return parse_suite(text, Path("folder/own.yaml"))


def test_a_file_is_read_into_what_it_says():
    suite = parse(GOOD)
    game, line = suite.environments
    assert (suite.name, suite.seeds, suite.focus) == ("own", (2, 0), "gflownet")
    assert (game.name, game.id, game.kwargs, game.exact) == ("Game24", "gfn_envs/Game24-v0", {"count": 3}, True)
    assert game.train == Problems("train", 5, 1)
    assert game.evaluation == Problems("validation", 7, 3)
    assert (game.samples, game.k, line.samples, line.k) == (8, 8, 4, 2)
    assert game.budget == Budget(environment_steps=100)
    assert (line.name, line.exact, line.budget) == ("line", False, Budget(tokens=9, seconds=1.5))
    assert (line.train, line.evaluation) == (Problems("train"), Problems("test", 20))
    assert suite.agents == (Contestant("uniform", "uniform", {}), Contestant("mine", "a.b:C", {"width": 8}))
    assert suite.quoted == (Quoted("line", "theirs", "table 1", {"accuracy": 0.5}),)
    assert [cell.label for cell in suite_cells(suite)][:3] == [
        "Game24, uniform, seed 2",
        "Game24, mine, seed 2",
        "line, uniform, seed 2",
    ]


def test_problem_files_are_beside_the_suite():
    game = parse(GOOD.replace("train: {count: 5, seed: 1}", "train: {file: own.jsonl}")).environments[0]
    assert game.train == Problems("all", None, 0, str(Path("folder/own.jsonl").resolve()))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seeds: [2, 0]", "sedes: [2, 0]", r"'folder/own.yaml': unknown key 'sedes'; did you mean 'seeds'\?"),
        ("seeds: [2, 0]", "seeds: 3", r": seeds must be a list such as \[0, 1, 2\], got 3"),
        ("seeds: [2, 0]", "seeds: [1, true]", r": seeds must be a list of whole numbers .*got \[1, True\]"),
        ("seeds: [2, 0]", "seeds: [1, 1]", r"seeds has '1' twice; list each seed once"),
        ("count: 7", "cuont: 7", r"environments\[0\]\.evaluation: unknown key 'cuont'; did you mean 'count'\?"),
        ("split: validation", "split: tset", r"evaluation\.split: there is no split 'tset'; did you mean 'test'\?"),
        ("count: 7", "count: 0", r"evaluation\.count must be a whole number of at least 1, got 0"),
        ("count: 7", "count: many", r"evaluation\.count must be a whole number of at least 1, got 'many'"),
        ("environments:", "enviroments:", r"unknown key 'enviroments'; did you mean 'environments'\?"),
        ("agents: [uniform", "agents: [{nam: x}", r"agents\[0\] has no 'agent'; add a text"),
        ('agent: "a.b:C"', 'agents: "a.b:C"', r"agents\[1\]: unknown key 'agents'; did you mean 'agent'\?"),
        (
            "agents: [uniform,",
            "agents: [uniform, uniform,",
            r"agents has 'uniform' twice; give one of them another name",
        ),
        ("name: line", "name: Game24", r"environments has 'Game24' twice"),
        (
            "environment_steps: 100",
            "enviroment_steps: 100",
            r": budget: unknown key 'enviroment_steps'; did you mean 'environment_steps'\?",
        ),
        (
            "environment_steps: 100",
            "",
            r": budget sets no limit; give at least one of environment_steps, tokens, seconds",
        ),
        (
            "environment_steps: 100",
            "environment_steps: -1",
            r": budget\.environment_steps must be a number of at least 0",
        ),
        (
            "environment_steps: 100",
            "environment_steps: 0",
            r": budget: the budget's environment_steps must be positive, got 0",
        ),
        ("budget: {environment_steps: 100}", "", r"environments\[0\] has no budget; add one for the whole suite"),
        ("samples: 8\n", "samples: yes\n", r": samples must be a whole number of at least 1, got True"),
        ("exact: false", "exact: 1", r"environments\[1\]\.exact must be true or false, got 1"),
        ("kwargs: {count: 3}", "kwargs: 3", r"environments\[0\]\.kwargs must be a mapping such as .* got 3"),
        ("kwargs: {count: 3}", "kwargs: {3: 3}", r"kwargs: names of keywords must be texts, got \[3\]"),
        ("seeds: [2, 0]", "focus: yours", r"focus is 'yours', which is none of its agents \(uniform, mine\)"),
        ("environment: line", "environment: lin", r"quoted: there is no environment 'lin'; did you mean 'line'\?"),
        ("samples: 8\n", "samples: 8\nsamples: 9\n", r"is not YAML: the key 'samples' stands twice in .* line \d+"),
        ("kwargs: {count: 3}", "kwargs: {count: 3, count: 4}", r"the key 'count' stands twice"),
        (
            "kwargs: {count: 3}",
            "kwargs: {split: train}",
            r"\[0\]\.kwargs cannot have 'split'; write train: {split: ...} and",
        ),
        (
            "kwargs: {count: 3}",
            "kwargs: {max_episode_steps: 3}",
            r"kwargs cannot have 'max_episode_steps'; episodes are",
        ),
        ("[uniform,", "[{name: chance, agent: uniform},", r"agents: 'chance' is the name of a yardstick"),
        (
            "environment_steps: 100",
            "environment_steps: 2.5",
            r": budget: the budget's environment_steps must be a whole number, got 2\.5",
        ),
        ("accuracy: 0.5", "accuracy: high", r"quoted\[0\]\.scores\.accuracy must be a number, got 'high'"),
    ],
)
def test_every_mistake_is_one_sentence_with_its_place(old: str, new: str, sentence: str):
    assert GOOD.count(old) == 1
    with pytest.raises(ValueError, match=sentence) as error:
        parse(GOOD.replace(old, new))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "a: [", "!!python/object/apply:os.system [ls]", "[" * 1200])
def test_other_texts_are_refused(text: str):
    with pytest.raises(ValueError, match=r"'folder/own.yaml'"):
        parse(text)


def test_a_suite_is_found_by_its_name_or_path(tmp_path: Path):
    assert read_suite("quick").name == "quick"
    own = tmp_path / "own.yaml"
    own.write_text(GOOD)
    assert read_suite(own) == parse(GOOD)
    with pytest.raises(ValueError, match=r"there is no suite 'quikc'; did you mean 'quick'\?, or a path"):
        read_suite("quikc")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(file.stem for file in SHIPPED.glob("*.yaml")))
def test_shipped_suites_can_be_run(name: str):
    suite = read_suite(name)
    assert suite.name == name
    assert suite.description
    check_cells(suite_cells(suite))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("gfn_envs/Game24-v0", "gfn_envs/Gane24-v0", r"environment 'Gane24' cannot be made: .*Game24"),
        ("kwargs: {count: 3}", "kwargs: {cuont: 3}", r"environment 'Game24' cannot be made: .*did you mean 'count'"),
        ("[uniform,", "[tests,", r"'tests' is a folder, and what it holds is not trained anew; score it by gfn eval"),
        ("[uniform,", "[unifrom,", r"there is no agent 'unifrom'; did you mean 'uniform'\?"),
        ("[uniform,", "[{agent: uniform, options: {x: 1}},", r"agent 'uniform': options do not fit 'uniform': .*'x'"),
        ("evaluation: {split", "evaluation: {file: no.jsonl, split", r"cannot be made: there is no problem file"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(old: str, new: str, sentence: str):
    suite = parse(GOOD.replace("a.b:C", "tests.bench_agents:Walker").replace("width: 8", "rate: 1").replace(old, new))
    with pytest.raises(ValueError, match=sentence):
        check_cells(suite_cells(suite))


def test_a_folder_beside_a_registered_name_is_no_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Registered names come before folders wherever an agent is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "uniform").mkdir()
    check_cells(suite_cells(parse(GOOD.replace("a.b:C", "uniform").replace("{width: 8}", "{}"))))
