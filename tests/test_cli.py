"""The command line as a user meets it: one JSON document, one sentence for bad input, no damage."""

from __future__ import annotations

import errno
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from gfn_envs.files import write_whole
from gfn_envs.problems import split_of
from gfn_envs.tasks.game24 import Game24Problem

GAME, LINE = "gfn_envs/Game24-v0", "gfn_envs/NumberLine-v0"
FAST = ["--steps", "2", "--problems-per-step", "1", "--samples-per-problem", "2", "--checkpoint-every", "1"]


@pytest.fixture
def puzzles(tmp_path):
    path = tmp_path / "puzzles.csv"
    path.write_text("Rank,Puzzles\n1,1 1 4 6\n2,4 6 6 8\n")
    return path


def refused(result, *words):
    """The one form of an error: non-zero, nothing on standard output, one sentence on standard error."""
    status, out, err = result
    assert status != 0
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    for word in words:
        assert word in lines[0]


def test_help_needs_no_training_library():
    """Whatever answers `gfn --help` must not import torch; that is what keeps it fast."""
    code = (
        "import sys; from gfn_envs.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")
    for command in ("analyse", "demo", "envs", "evaluate", "play", "report", "train"):
        assert command in done.stdout


def test_envs(gfn):
    status, out, _ = gfn("envs", "--json")
    found = {env["id"]: env for env in json.loads(out)["envs"]}
    assert status == 0
    assert found[GAME]["options"]["target"] == 24
    assert LINE in gfn("envs")[1]


def test_analyse_gives_the_yardsticks(gfn, puzzles):
    status, out, _ = gfn("analyse", GAME, "--problems", puzzles, "--json", "--beta", "2")
    document = json.loads(out)
    assert status == 0
    assert document["env"] == GAME
    first = document["problems"][0]
    assert first["problem_id"] == "game24/1-1-4-6"
    for key in (
        "chance",
        "chance_return",
        "optimum",
        "optimal_return",
        "n_solutions",
        "log_z",
        "n_states",
        "target_success",
    ):
        assert math.isclose(document["family"][key], sum(p[key] for p in document["problems"]) / 2)
    assert first["optimum"] == 1.0
    assert 0 < first["chance"] < 0.1
    assert first["target_success"] > 0.99


def test_analyse_of_the_published_number_line(gfn):
    _, out, _ = gfn("analyse", LINE, "--env-kwargs", '{"start_law": "gym_cards"}', "--json")
    assert round(json.loads(out)["family"]["chance"], 6) == 0.611274


def test_analyse_writes_files(gfn, puzzles, tmp_path):
    for name in ("rows.csv", "rows.json"):
        status, out, _ = gfn("analyse", GAME, "--problems", puzzles, "--output", tmp_path / name)
        assert status == 0
        assert "game24/4-6-6-8" in out
        assert "game24/4-6-6-8" in (tmp_path / name).read_text()


def test_check_says_what_a_task_gets_wrong(gfn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forgetful.py").write_text(
        "from gfn_envs.tasks.numberline import NumberLine\n"
        "class Forgetful(NumberLine):\n"
        "    def parents(self, state):\n"
        "        return None\n"
    )
    status, out, _ = gfn("check", "forgetful:Forgetful", "--json")
    document = json.loads(out)
    assert status == 1
    failed = [row["check"] for row in document["checks"] if not row["passed"]]
    assert failed == ["histories merge only with parents"]
    for env_id in (GAME, LINE):
        assert gfn("check", env_id, "--problems", "1")[0] == 0


def test_play_with_typed_actions(gfn, monkeypatch):
    import io

    typed = "<answer>8 - 6 = 2 (left: 2 4 6)</answer>\n6 * 4 = 24\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed + "1\n"))
    status, out, _ = gfn("play", GAME, "--problem-id", "game24/4-6-6-8", "--json")
    document = json.loads(out)
    assert status == 0
    assert [step["action"] for step in document["steps"]][:2] == ["8 - 6 = 2 (left: 2 4 6)", "6 * 4 = 24 (left: 2 24)"]


@pytest.mark.parametrize("typed", ["9**9**9**9\n", "x" * 100_000 + "\n", "__import__('os')\n", ""])
def test_hostile_actions_are_refused_at_once(gfn, monkeypatch, typed):
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    refused(gfn("play", GAME, "--problem-id", "game24/4-6-6-8", "--json"))


def test_train_evaluate_and_resume(gfn, puzzles, tmp_path):
    run = tmp_path / "run"
    status, out, _ = gfn("train", GAME, "--problems", puzzles, "--output", run, *FAST, "--json")
    assert status == 0
    assert json.loads(out)["steps"] == 2
    assert len((run / "history.jsonl").read_text().splitlines()) == 2
    assert list((run / "tensorboard").iterdir())

    status, out, _ = gfn(
        "train", GAME, "--problems", puzzles, "--output", run, "--resume", *FAST, "--steps", "3", "--json"
    )
    assert status == 0
    assert json.loads(out)["steps"] == 3

    status, out, _ = gfn(
        "evaluate", run, GAME, "--problems", puzzles, "--samples", "64", "--k", "4", "--exact", "--json"
    )
    document = json.loads(out)
    assert status == 0
    assert (document["k"], document["samples"], document["n_problems"]) == (4, 64, 2)
    for key in ("success_at_1", "pass_at_k", "distinct_solutions", "coverage", "chance", "optimum", "total_variation"):
        low, high = document[key]["interval"]
        assert low <= document[key]["value"] <= high
    last = json.loads((run / "history.jsonl").read_text().splitlines()[-1])
    assert document["settings"]["costs"] == {name: last[name] for name in ("environment_steps", "cpu_seconds")}
    assert document["chance"]["value"] < document["optimum"]["value"] == 1.0
    assert document["elbo"]["value"] < document["log_z"]["value"]
    assert document["target_total_variation"]["value"] < 1e-9 < document["total_variation"]["value"] <= 1
    # With samples enough: a few of a good policy can lie nearer than those of the target do on average.
    assert 0 < document["target_sampled_distance"]["value"] < document["sampled_distance"]["value"] <= 1
    for row in document["problems"]:
        assert len(row["solutions"]) == row["n_solutions"]
        assert sum(p["agent"] for p in row["solutions"].values()) == pytest.approx(row["exact_success"])


def test_a_run_that_came_near_enough_is_no_interrupted_one(gfn, tmp_path):
    words = ("train", LINE, *FAST, "--steps", "9", "--distance-every", "2", "--stop-at-distance", "0.99", "--output")
    hard = ("--env-kwargs", '{"high": 6}', "--beta", "2")
    status, out, err = gfn(*words, tmp_path / "run", *hard)
    assert (status, "error" in err) == (0, False)
    assert out.startswith("2 steps, ")
    assert "The distance is below 0.99." in out
    assert out.endswith(f"next: gfn evaluate {tmp_path / 'run'} {LINE} --env-kwargs '{{\"high\": 6}}' --beta 2\n")
    _, _, err = gfn("evaluate", tmp_path / "run", LINE, "--limit", "1", "--samples", "2", "--json")
    assert "trained with --env-kwargs '{\"high\": 6}' and is evaluated with '{}'" in err
    assert "trained with --beta 2 and is evaluated with 1" in err
    _, _, err = gfn("evaluate", tmp_path / "run", LINE, *hard, "--limit", "1", "--samples", "2", "--json")
    assert "note: " not in err
    status, out, _ = gfn(*words, tmp_path / "run", *hard, "--resume", "--json")
    document = json.loads(out)
    assert (status, document["steps"], document["target_reached"]) == (0, 2, True)


def test_worked_examples_are_kept_for_evaluation(gfn, tmp_path):
    run, words = tmp_path / "run", ("train", LINE, "--few-shot", "2", *FAST, "--json")
    assert gfn(*words, "--output", run)[0] == 0
    template = json.loads((run / "agent.json").read_text())["template"]
    assert template["style"] == "text"
    assert {action for _, action in template["examples"]} <= {"+", "-"}
    assert gfn(*words, "--output", run, "--resume", "--steps", "3")[0] == 0
    assert json.loads((run / "agent.json").read_text())["template"] == template
    refused(gfn("train", LINE, *FAST, "--output", run, "--resume"), "other prompts")
    refused(gfn("train", "gfn_envs/Game24-v0", *FAST, "--output", run, "--resume"), f"started on {LINE}")
    status, out, err = gfn("evaluate", run, LINE, "--limit", "1", "--samples", "2", "--json")
    assert (status, json.loads(out)["k"]) == (0, 2)
    assert "was trained on" not in err
    _, _, err = gfn("evaluate", run, LINE, "--limit", "1", "--samples", "2", "--env-kwargs", '{"low": 0}', "--json")
    assert "note: " not in err, "a default that is written out is no other option"
    _, _, err = gfn("evaluate", run, GAME, "--limit", "1", "--samples", "2", "--json")
    assert f"was trained on {LINE} and is evaluated on {GAME}" in err


def test_evaluate_named_agents(gfn, puzzles, tmp_path):
    written = tmp_path / "evaluation"
    status, out, _ = gfn(
        "evaluate", "uniform", GAME, "--problems", puzzles, "--samples", "4", "--json", "--exact", "--output", written
    )
    document = json.loads(out)
    assert status == 0
    assert math.isclose(document["exact_success"]["value"], document["chance"]["value"], rel_tol=1e-9)
    assert sorted(path.name for path in written.iterdir()) == [
        "evaluation.csv",
        "evaluation.json",
        "trajectories.jsonl",
    ]
    assert len((written / "trajectories.jsonl").read_text().splitlines()) == 8
    assert json.loads((written / "evaluation.json").read_text()) == document
    refused(gfn("evaluate", "uniform", GAME, "--output", written), "exists")
    status, out, _ = gfn("evaluate", "baselines.random_legal:RandomLegalAgent", LINE, "--limit", "2", "--samples", "2")
    assert status == 0
    assert "chance" in out


def test_evaluate_refuses_what_it_cannot_do(gfn, tmp_path, monkeypatch):
    """An agent that only acts has no exact scores; a file without test problems says which split to name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mute.py").write_text(
        "class Mute:\n"
        "    def act(self, observations, admissible_actions, rng):\n"
        "        return [actions[0] for actions in admissible_actions]\n"
    )
    refused(gfn("evaluate", "mute:Mute", GAME, "--limit", "1", "--exact"), "Mute has no action_probabilities")
    (tmp_path / "one.jsonl").write_text('{"numbers": [1, 1, 4, 6]}\n')
    split = "test" if split_of(Game24Problem((1, 1, 4, 6))) != "test" else "validation"
    refused(gfn("evaluate", "uniform", GAME, "--problems", "one.jsonl", "--split", split), split, "split='all'")


def test_yardsticks_that_know_more_than_the_texts_are_noted(gfn):
    hidden = '{"stochasticity": {"HiddenFields": {"pattern": "(?<=Goal: )[0-9]+"}}}'
    options = (LINE, "--limit", "1", "--samples", "2", "--env-kwargs")
    assert "note: texts hide what exact sampler and optimum know" in gfn("evaluate", "uniform", *options, hidden)[2]
    assert "texts hide" not in gfn("evaluate", "uniform", *options, "{}")[2]


def test_a_full_disk_takes_no_result_away(gfn, tmp_path, monkeypatch):
    def full(self, text, encoding=None):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    command = ("evaluate", "uniform", LINE, "--limit", "2", "--samples", "4", "--output", tmp_path / "evaluation")
    status, out, err = gfn(*command)
    assert status == 1
    assert "success@1" in out
    assert "No space left on device" in err
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match=r"No space left on device: '.*page\.html'"):
        write_whole(tmp_path / "page.html", "")
    assert not list(tmp_path.iterdir())


def test_a_page_is_made_of_an_evaluation(gfn, tmp_path):
    folder = tmp_path / "evaluation"
    status, out, _ = gfn("evaluate", "uniform", LINE, "--limit", "2", "--samples", "4", "--output", folder)
    assert status == 0
    assert f"next, for a page with plots: gfn report {folder}" in out
    assert gfn("report", folder)[0] == 0
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    (folder / "evaluation.json").write_text("{}")
    refused(gfn("report", folder), "is not an evaluation")


LARGE = ("gfn_envs/BlocksWorld-v0", "--env-kwargs", '{"blocks": 6, "length": 8, "slack": 12}')


def test_what_is_too_large_to_list_is_simulated_and_says_so(gfn):
    status, out, _ = gfn("analyse", *LARGE, "--limit", "2", "--plays", "50", "--json")
    document = json.loads(out)
    assert status == 0
    for row in (*document["problems"], document["family"]):
        assert 0 <= row["chance_low"] <= row["chance"] < row["chance_high"]
        assert row["optimum"] is None
    status, out, _ = gfn("analyse", GAME, "--limit", "1", "--states", "10", "--plays", "20")
    assert status == 0
    assert "1 of 1 problems have more than 10 states" in out
    status, out, _ = gfn("evaluate", "uniform", *LARGE, "--limit", "2", "--samples", "4", "--json")
    document = json.loads(out)
    assert status == 0
    assert document["chance"]["value"] < 0.05
    assert document["coverage"]["value"] is None


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (("analyse", "gfn_envs/Game25-v0"), ("Game24",)),
        (("analyse", "no-such-env"), ("no-such-env",)),
        (("analyse", GAME, "--split", "tset"), ("tset", "test")),
        (("analyse", GAME, "--problems", "missing.csv"), ("missing.csv",)),
        (("analyse", GAME, "--env-kwargs", "{count: 3}"), ("JSON",)),
        (("analyse", GAME, "--env-kwargs", '{"cuont": 3}'), ("cuont", "count")),
        (("analyse", GAME, "--env-kwargs", '{"target": "9**9"}'), ("9**9",)),
        (("analyse", GAME, "--limit", "0"), ("limit",)),
        (("analyse", GAME, "--limit", "1", "--beta", "nan"), ("beta",)),
        (("analyse", GAME, "--limit", "1", "--plays", "0"), ("plays",)),
        (
            ("evaluate", "uniform", *LARGE, "--limit", "1", "--samples", "1", "--exact"),
            ("--exact",),
        ),
        (("check", "no.such.module:Task"), ("no.such.module",)),
        (("check", "os:environ"), ("environ",)),
        (("evaluate", "unifrom", GAME), ("uniform",)),
        (("evaluate", "uniform", GAME, "--samples", "0"), ("samples",)),
        (("evaluate", "uniform", GAME, "--samples", "4", "--k", "5"), ("--k", "4 samples")),
        (("evaluate", "uniform", GAME, "--limit", "1", "--beta", "0"), ("beta",)),
        (("report", "."), ("neither evaluation.json nor results.json",)),
        (("evaluate", "os:nothing", GAME), ("os:nothing",)),
        (("train", "gfn_envs/Game25-v0"), ("Game24",)),
        (("train", GAME, "--resume"), ("--output",)),
        (("train", GAME, "--few-shot", "-1", "--output", "never"), ("--few-shot",)),
        (("train", LINE, "--few-shot", "1", "--split", "test", "--output", "never"), ("training problems",)),
        (("train", GAME, "--template", "chat", "--output", "never"), ("no chat template",)),
        (("analyse", LINE, "--env-kwargs", '{"history": -1}'), ("history",)),
        (("train", GAME, "--samples-per-problem", "1", "--output", "never"), ("at least 2",)),
        (("train", GAME, "--model", "/no/such/model", "--output", "never"), ("/no/such/model",)),
        (("train", GAME, "--lora-r", "4", "--output", "never"), ("lora_r is of adapters", "add use_peft")),
        (("train", GAME, "--temperature", "0", "--output", "never"), ("temperature 0 plays one trajectory",)),
        (("analyse", "Game24-v0"), ("Game24", "did you mean 'gfn_envs/Game24-v0'?")),
        (("evaluate", "uniform", LINE, "--seed", "-1"), ("--seed must be at least 0, got -1",)),
        (("check", "uniform", "--seed", "-1"), ("--seed must be at least 0, got -1",)),
        (("play", LINE, "--seed", "-1"), ("--seed must be at least 0, got -1",)),
        (("demo", "--seed", "-1"), ("seed must be at least 0, got -1",)),
        (("analyse", LINE, "--env-kwargs", '{"task": 3}'), ("'task'", "id says which")),
        (
            ("analyse", LINE, "--env-kwargs", '{"max_episode_steps": 3}'),
            ("'max_episode_steps'", "the end that the rules"),
        ),
        (("analyse", LINE, "--env-kwargs", '{"memoryless": "no"}'), ("memoryless must be True or False, got 'no'",)),
        (("compare", "=one", "two"), ("'=one' has no name before '='",)),
    ],
)
def test_bad_input_gets_one_sentence(gfn, words, reasons, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(gfn(*words), *reasons)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("Rank,Numbers\n1,1 2 3 4\n", "column 'Puzzles'"),
        ("Rank,Puzzles\n1,1 2 3 4 5\n", "line 2"),
        ("Rank,Puzzles\n1,1 2 x 4\n", "line 2"),
        ("Rank,Puzzles\n1\n", "line 2"),
        ("", "column 'Puzzles'"),
        ("Rank,Puzzles\n", "no problems"),
        (b"\xff\xfe\x00binary", "UTF-8"),
    ],
)
def test_damaged_csv_files_get_one_sentence(gfn, tmp_path, content, reason):
    path = tmp_path / "puzzles.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(gfn("analyse", GAME, "--problems", path), reason)


def test_a_folder_in_use_is_not_overwritten(gfn, puzzles, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").write_text("mine")
    refused(gfn("train", GAME, "--problems", puzzles, "--output", run, *FAST), "not empty", "--resume")
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


def test_half_files_of_an_interrupted_run_are_refused(gfn, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    refused(gfn("evaluate", run, GAME), "agent.json")
    (run / "agent.json").write_text('{"env_id": "gfn_envs/Ga')
    refused(gfn("evaluate", run, GAME), "damaged")


def test_published_puzzles_load(gfn, published_data):
    _, out, _ = gfn("analyse", GAME, "--problems", published_data / "game24" / "24_train.csv", "--json")
    document = json.loads(out)
    assert document["family"]["n_problems"] == 20
    assert document["family"]["optimum"] == 1.0
    assert document["family"]["chance"] == pytest.approx(0.0125677, abs=1e-7)


def test_the_installed_command_answers():
    command = Path(sys.executable).parent / "gfn"
    if not command.is_file():
        pytest.skip("the package is not installed in this environment")
    done = subprocess.run([str(command), "analyse", "gfn_envs/Gaem24-v0"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error:")


def test_the_demo_removes_nothing_but_what_it_made(gfn, tmp_path, monkeypatch):
    monkeypatch.setattr("baselines.demo.run_demo", lambda *arguments: 1 / 0)
    for name in ("thesis.txt", "results.json", "report.html", "gflownet/history.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    assert gfn("demo", "--fresh", "--output", tmp_path)[0] != 0
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


OWN = """
import gymnasium as gym

gym.register("OwnLine-v0", entry_point="gfn_envs.making:make_env", kwargs={"task": "NumberLine"})
"""


def test_modules_of_the_working_folder_are_found(gfn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    name = f"own_{tmp_path.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(OWN, encoding="utf-8")
    status, out, _ = gfn("evaluate", "uniform", f"{name}:OwnLine-v0", "--limit", "1", "--samples", "2", "--json")
    assert (status, json.loads(out)["n_problems"]) == (0, 1)
    status, out, _ = gfn("check", f"{name}:OwnLine-v0", "--problems", "1", "--json")
    assert (status, json.loads(out)["passed"]) == (0, True)
    refused(gfn("analyse", "no_such_module:X-v0"), "no_such_module")


class Boaster:
    """Tells a probability of 1 for every action."""

    def act(self, observations, admissible_actions, rng):
        return [actions[0] for actions in admissible_actions]

    def action_probabilities(self, observations, admissible_actions):
        return [[1.0] * len(actions) for actions in admissible_actions]


def test_probabilities_that_are_none_are_refused(gfn):
    refused(gfn("evaluate", "tests.test_cli:Boaster", LINE, "--limit", "1", "--samples", "2", "--exact"), "add up to 1")


@pytest.mark.parametrize("place", ["file.txt/new", "file.txt/deep/new"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(gfn, tmp_path, place):
    (tmp_path / "file.txt").write_text("", encoding="utf-8")
    words = ("evaluate", "uniform", LINE, "--limit", "1", "--samples", "2", "--output", tmp_path / place)
    refused(gfn(*words), "nothing can be written at")


def test_an_agent_that_was_not_trained_is_said_to_be_so(gfn, puzzles):
    for name, told in (("sft", True), ("default", False), ("uniform", False)):
        status, _, err = gfn("evaluate", name, GAME, "--problems", puzzles, "--samples", "2")
        assert status == 0
        assert (f"'{name}' is scored as it is before any training" in err) == told


@pytest.mark.parametrize("name", ["split", "problems"])
def test_what_has_a_flag_is_no_keyword(gfn, name):
    refused(gfn("analyse", LINE, "--env-kwargs", json.dumps({name: "train"})), f"pass --{name} instead")
