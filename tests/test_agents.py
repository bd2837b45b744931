"""Agents by name, by folder, by decorator and as plain functions; budgets; what a stranger's folder cannot do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gfn_agents import GFlowNetAgent
from gfn_envs import agents
from gfn_envs.agents import (
    AGENT_FILE,
    Budget,
    FunctionAgent,
    TrainableAgent,
    agent_names,
    load_agent,
    read_agent_file,
    register_agent,
    saved_class,
    write_agent_file,
)
from gfn_envs.check_agent import check_agent
from gfn_envs.making import make_text_env
from gfn_envs.rollout import Agent, rollout

LINE = "gfn_envs/NumberLine-v0"
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "third_party_agent"


class Stubborn:
    """Plays the action of one place; an agent with one number to keep."""

    def __init__(self, place=0):
        self.place = place

    def act(self, observations, admissible_actions, rng):
        return [actions[self.place] for actions in admissible_actions]

    def save(self, folder):
        write_agent_file(folder, self, {"place": self.place})

    @classmethod
    def load(cls, folder):
        return cls(read_agent_file(folder)["place"])


@FunctionAgent
def last(observation, actions, rng):
    return actions[-1]


def play(agent):
    return agent.act(["seen", "too"], [("a", "b"), ("a", "b")], np.random.default_rng(0))


@pytest.fixture
def decorated(monkeypatch):
    """Forgets what a test registers."""
    monkeypatch.setattr(agents, "_decorated", {})


# -- budgets ---------------------------------------------------------------------------------------
def test_the_first_limit_that_is_reached_ends_training():
    budget = Budget(environment_steps=10, seconds=2.5)
    assert not budget.used_up(environment_steps=9, seconds=2.4)
    assert budget.used_up(environment_steps=10, seconds=0.0)
    assert budget.used_up(environment_steps=0, tokens=10**9, seconds=2.5)
    assert not budget.used_up(environment_steps=9), "seconds are not counted here"
    with pytest.raises(ValueError, match="does not count tokens"):
        Budget(tokens=5).used_up(environment_steps=10**9)


@pytest.mark.parametrize("limits", [{}, {"tokens": 0}, {"environment_steps": 5, "seconds": -1.0}, {"seconds": np.nan}])
def test_budgets_without_an_end_are_refused(limits):
    with pytest.raises(ValueError, match=r"at least one limit|must be positive"):
        Budget(**limits)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"environment_steps": 1.5}, r"whole number, got 1\.5"),
        ({"tokens": np.inf}, "whole number, got inf"),
        ({"seconds": "3"}, "must be a number, got '3'"),
        ({"tokens": True}, "must be a number, got True"),
    ],
)
def test_budgets_that_are_no_numbers_are_refused(limits, reason):
    with pytest.raises(ValueError, match=reason):
        Budget(**limits)
    assert Budget(environment_steps=1e3) == Budget(environment_steps=np.int64(1000)) == Budget(environment_steps=1000)


# -- names -----------------------------------------------------------------------------------------
def test_names_of_all_kinds(decorated):
    register_agent("stubborn")(Stubborn)
    assert {"default", "stubborn", "uniform"} <= set(agent_names())
    assert play(load_agent("stubborn", place=1)) == ["b", "b"]
    assert play(load_agent("tests.test_agents:Stubborn", place=1)) == ["b", "b"]
    assert play(load_agent("tests.test_agents:last")) == ["b", "b"], "an agent rather than its class"
    assert type(load_agent("uniform")).__name__ == "RandomLegalAgent"


def test_a_decorator_keeps_what_is_there(decorated):
    assert register_agent("stubborn")(Stubborn) is Stubborn
    anew = type("Stubborn", (Stubborn,), {"__module__": __name__})  # as a notebook defines it once more
    assert play(register_agent("stubborn")(anew)()) == ["a", "a"]
    with pytest.raises(ValueError, match="registered already, by Stubborn"):
        register_agent("stubborn")(lambda: last)
    with pytest.raises(ValueError, match="installed already"):
        register_agent("uniform")
    for wrong in ("", "a/b", "a:b"):
        with pytest.raises(ValueError, match="without ':' and '/'"):
            register_agent(wrong)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unifrom", "did you mean 'uniform'"),
        ("xyz", "known are .*uniform.*, run folders and package.module:Class"),
        ("no.such.module:Agent", "no.such.module"),
        ("os:nothing", "os:nothing"),
        ("os:getcwd", "no method act"),
        ("os:name", "neither an agent nor a class"),
        (":x", "cannot be imported"),
    ],
)
def test_unknown_names_get_one_sentence(name, reason):
    with pytest.raises(ValueError, match=reason):
        load_agent(name)


def test_a_function_is_an_agent():
    assert isinstance(last, Agent)
    assert not isinstance(last, TrainableAgent)
    env = make_text_env(LINE, {})
    (trajectory,) = rollout(env.task, last, list(env.problems)[:1], np.random.default_rng(0))
    assert set(trajectory.actions) == {"+"}


# -- folders ---------------------------------------------------------------------------------------
def test_a_folder_stands_for_the_agent_that_it_holds(tmp_path):
    Stubborn(1).save(tmp_path)
    loaded = load_agent(tmp_path)
    assert type(loaded) is Stubborn
    assert play(loaded) == ["b", "b"]
    with pytest.raises(ValueError, match="takes no keywords, got place"):
        load_agent(str(tmp_path), place=0)


def test_names_come_before_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Stubborn(1).save(tmp_path / "uniform")
    assert type(load_agent("uniform")).__name__ == "RandomLegalAgent"
    assert type(load_agent("./uniform")) is Stubborn


def test_runs_and_bare_models_are_folders_of_agents(tmp_path):
    GFlowNetAgent(LINE).save(tmp_path / "run")
    texts = (["Goal: 5. Start: 3. Position: 3. Line: 0 to 5. Steps left: 10."], [("-", "+")])
    (expected,) = load_agent("default").action_probabilities(*texts)
    for folder in (tmp_path / "run", tmp_path / "run" / "policy"):
        np.testing.assert_array_equal(load_agent(folder).action_probabilities(*texts)[0], expected)
    file = tmp_path / "run" / AGENT_FILE
    described = json.loads(file.read_text())
    assert described.pop("class") == "gfn_agents.agent:GFlowNetAgent"
    file.write_text(json.dumps(described))  # as runs were described before other agents had folders
    assert isinstance(load_agent(tmp_path / "run"), GFlowNetAgent)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "damaged"),
        ("[]", "must hold a JSON object"),
        ("[" * 100_000, "damaged"),
        ('{"class": 3}', "no installed package with agents"),
        ('{"class": "gfn_agents.no_such_module:Agent"}', "cannot be imported"),
        ('{"class": "gfn_agents.agent:no_such_class"}', "cannot be imported"),
        ('{"class": "os:system"}', "no class of agents"),
        ('{"class": "subprocess:Popen"}', "no class of agents"),
        ('{"class": "baselines.random_legal:RandomLegalAgent"}', "no class of agents with act and load"),
    ],
)
def test_damaged_and_hostile_folders_get_one_sentence(tmp_path, content, reason):
    (tmp_path / AGENT_FILE).write_text(content)
    with pytest.raises(ValueError, match=reason):
        load_agent(tmp_path)


def test_a_folder_does_not_decide_what_is_imported(tmp_path, monkeypatch):
    """A module that can be imported, but is of no package with agents, is left alone: importing would run it."""
    (tmp_path / "strangers_code.py").write_text("raise SystemExit('this must not run')")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / AGENT_FILE).write_text('{"class": "strangers_code:Agent"}')
    with pytest.raises(ValueError, match="no installed package with agents"):
        saved_class(tmp_path)
    assert "strangers_code" not in sys.modules


def test_what_is_not_json_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Stubborn cannot be saved as JSON"):
        write_agent_file(tmp_path / "agent", Stubborn(), {"place": {1, 2}})
    assert not (tmp_path / "agent").exists()


# -- registered and third-party agents -------------------------------------------------------------
SLOW = sorted(set(agent_names()) - {"uniform"})
NEEDED = {"recurrent_ppo": {"history": "all"}}
"""Keywords of environments without which an agent does not play."""


@pytest.mark.parametrize("name", ["uniform", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_registered_agent_keeps_the_contract(name):
    checks = check_agent(lambda: load_agent(name), [LINE], NEEDED.get(name))
    assert [check for check in checks if not check.passed] == []


def test_the_example_is_complete_in_under_60_lines(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    assert len((EXAMPLE / "softmax_table.py").read_text().splitlines()) < 60
    agent = load_agent("softmax_table:SoftmaxTable")
    assert isinstance(agent, TrainableAgent)
    assert all(check.passed and not check.reason for check in check_agent(type(agent)))
    agent.learn(LINE, Budget(environment_steps=8000), seed=0)
    assert agent.curve[-1]["success"] > 0.85, "chance is 0.598"


@pytest.mark.slow
def test_an_installed_package_is_found_by_its_name(tmp_path):
    """The example as a user has it: a wheel, installed elsewhere, called by its registered name."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "softmax_table.py"):  # a copy, because building writes beside the sources
        (source / name).write_text((EXAMPLE / name).read_text())
    offline = ["--no-deps", "--no-index"]
    subprocess.run(
        [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", tmp_path / "wheels", source], check=True
    )
    (wheel,) = (tmp_path / "wheels").iterdir()
    subprocess.run([*pip, "install", *offline, "--target", tmp_path / "installed", wheel], check=True)

    places = [str(tmp_path / "installed"), str(EXAMPLE.parent.parent), os.environ.get("PYTHONPATH", "")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}

    def gfn(*words):
        command = [sys.executable, "-c", "from gfn_envs.cli import main; main()", *map(str, words), "--json"]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert gfn("check", "softmax_table")["passed"]
    assert 0 < gfn("evaluate", "softmax_table", LINE, "--samples", 8)["success_at_1"]["value"] < 1
    train = (
        "from gfn_envs.agents import Budget, load_agent; agent = load_agent('softmax_table');"
        f"agent.learn('{LINE}', Budget(environment_steps=500), 0); agent.save('folder')"
    )
    subprocess.run([sys.executable, "-c", train], cwd=tmp_path, env=variables, check=True)
    assert gfn("check", "folder")["passed"], "its package is installed, so its folder is a name"
