"""The rules beside the real engine: the same text, admissible commands and winning, on the test kitchen."""

import json
import random
import sys
from importlib.resources import files

import gymnasium as gym
import numpy as np
import pytest

import gfn_envs  # noqa: F401  # registers the environments
from gfn_envs.tasks.alfworld import ALFWorld
from gfn_envs.tasks.alfworld.generator import shipped_games
from gfn_envs.tasks.alfworld.stock import StockGame, load_engine
from tests.test_alfworld import GOALS, game_text, kitchen

STEPS = 60


def engine_text(task_type: str) -> str:
    """Returns the kitchen with the engine's own domain and grammar."""
    data = files("alfworld") / "data"
    entries = json.loads(game_text(task_type))
    entries["pddl_domain"] = (data / "alfred.pddl").read_text()
    entries["grammar"] = (data / "alfred.twl2").read_text().replace("UNKNOWN GOAL", "put a apple in sidetable")
    return json.dumps(entries)


def open_game(task_type: str) -> StockGame:
    try:
        return StockGame(engine_text(task_type))
    except (ImportError, ModuleNotFoundError) as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("task_type", GOALS)
def test_rules_equal_the_engine(task_type):
    arguments = sys.argv[:]
    engine, task, rng = open_game(task_type), ALFWorld(horizon=STEPS + 1), random.Random(task_type)
    turn, state = engine.reset(), task.reset(kitchen(task_type))
    assert sys.argv == arguments
    for _ in range(STEPS):
        assert turn.text.strip() == task.observe(state).strip()
        assert turn.won == task.success(state)
        if turn.won:
            return
        assert turn.admissible_commands == task.actions(state)
        if rng.random() < 0.1:
            turn, state = engine.step("go to moon 1"), task.fail(state)
            continue
        verb = rng.choice(sorted({action.split()[0] for action in task.actions(state)}))
        action = rng.choice([action for action in task.actions(state) if action.startswith(verb)])
        turn, state = engine.step(action), task.step(state, action)


def test_a_missing_engine_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "textworld", None)
    monkeypatch.setitem(sys.modules, "fast_downward", None)
    with pytest.raises(ImportError, match=r'pip install "gfn-gym\[alfworld\]"'):
        StockGame(game_text())


@pytest.mark.slow
def test_the_engine_plays_behind_the_same_environment():
    try:
        load_engine()
    except ImportError as error:
        pytest.skip(str(error))
    problem = min(shipped_games(), key=lambda game: len(game.receptacles))
    envs = [gym.make("gfn_envs/ALFWorld-v0", backend=backend) for backend in ("rules", "textworld")]
    told = [env.reset(seed=0, options={"problem": problem}) for env in envs]
    rng = np.random.default_rng(0)
    for number in range(40):
        assert told[0][0] == told[1][0]
        infos = [turn[-1] for turn in told]
        assert infos[0]["admissible_actions"] == infos[1]["admissible_actions"]
        assert (infos[0]["won"], infos[0]["success"]) == (infos[1]["won"], infos[1]["success"])
        legal = infos[0]["admissible_actions"]
        action = "sing" if number % 7 == 3 else problem.walkthrough[0] if number == 0 else str(rng.choice(legal))
        told = [env.step(action) for env in envs]
    restored = envs[1].unwrapped.clone()
    assert restored.step("look")[0] == envs[0].step("look")[0], "a clone replays its history on the engine"


def test_the_environment_names_the_missing_engine(monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_downward", None)
    with pytest.raises(ImportError, match=r'pip install "gfn-gym\[alfworld\]"'):
        ALFWorld(backend="textworld")
