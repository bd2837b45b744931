"""New ALFWorld games: what is drawn, what ships, and that written game files say the same."""

from __future__ import annotations

import json
import random
import runpy
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gfn_envs.problems import load_problems, split_of
from gfn_envs.tasks.alfworld import ALFWorld, ALFWorldProblem
from gfn_envs.tasks.alfworld.game_file import read_game
from gfn_envs.tasks.alfworld.generator import (
    LONGEST_PLAN,
    SHIPPED_PER_TYPE,
    SHIPPED_SEED,
    generate,
    numbered_games,
    shipped_games,
    winning_plan,
)
from gfn_envs.tasks.alfworld.house import house_of
from gfn_envs.tasks.alfworld.household import ACCEPTS, TASK_TYPES
from gfn_envs.tasks.alfworld.pddl_writer import write_game
from gfn_envs.tasks.alfworld.problem import Receptacle, Thing, kind_of
from gfn_envs.tasks.alfworld.rooms import ROOMS_OF_TASKS, receptacles_of, things_of
from gfn_envs.tasks.alfworld.stock import StockGame
from tests.test_alfworld import kitchen

MAKER = Path(__file__).resolve().parent.parent / "examples" / "make_alfworld_games.py"
GRAMMAR = '"task": [{"rhs": "Your task is to: UNKNOWN GOAL."}]'
FIXTURES = {"fridge": "kitchen", "sofa": "living room", "bed": "bedroom", "toilet": "bathroom"}
"""What only one kind of room has, and all rooms of that kind."""


def round_trip(problem):
    return read_game(write_game(problem, domain="(define)", grammar=GRAMMAR), problem.game)


def room_of(problem):
    (room,) = {FIXTURES[kind] for one in problem.receptacles if (kind := kind_of(one.name)) in FIXTURES}
    return room


# -- drawing ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_a_generated_game_can_be_won_and_is_not_won_yet(task_type):
    for seed in range(20):
        problem = generate(np.random.default_rng(seed), task_type)
        task = ALFWorld(horizon=LONGEST_PLAN)
        state = task.reset(problem)
        assert problem.task_type == task_type
        assert state.met <= ("then" in task_type)  # an untreated target may be in place, nothing else
        assert problem.target in problem.task
        assert problem.place in problem.task
        for number, command in enumerate(problem.walkthrough, start=1):
            state = task.step(state, command)
            assert task.success(state) == (number == len(problem.walkthrough))


def test_the_seed_decides_the_game_and_the_name_its_content():
    first, again, other = (generate(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.id != other.id
    assert first.game.startswith(f"generated/{first.task_type}/")


def test_all_types_are_drawn():
    rng = np.random.default_rng(0)
    assert {generate(rng).task_type for _ in range(60)} == set(TASK_TYPES)


def test_an_unknown_type_is_named():
    with pytest.raises(ValueError, match=r"no task type 'pick'; task types are pick_and_place_simple, look_at"):
        generate(np.random.default_rng(0), "pick")


def test_poses_are_shared_about_as_often_as_in_official_games():
    """In official games 18.6 % of the receptacles are at the pose of another one."""
    shared = total = 0
    for problem in shipped_games():
        counts = Counter(receptacle.pose for receptacle in problem.receptacles)
        shared += sum(count for count in counts.values() if count > 1)
        total += len(problem.receptacles)
        assert max(counts.values()) <= 5
    assert 0.15 < shared / total < 0.22


@pytest.mark.parametrize("room", FIXTURES.values())
def test_the_tables_of_rooms_fit_the_rules(room):
    assert any(room in rooms for rooms in ROOMS_OF_TASKS.values())
    places, things = receptacles_of(room), things_of(room)
    assert set(places) <= set(ACCEPTS)
    assert all(len(deciles) == 10 for deciles in places.values())
    for kind, (mean, inside) in things.items():
        assert 0 < mean <= 4, kind
        assert set(inside) & set(places), kind


def test_there_is_no_plan_without_the_treatment():
    problem = generate(np.random.default_rng(0), "pick_heat_then_place_in_recep")
    cold = replace(
        problem,
        receptacles=tuple(
            one._replace(kind="shelf") if one.name == "microwave 1" else one for one in problem.receptacles
        ),
    )
    assert winning_plan(problem) == problem.walkthrough
    assert winning_plan(cold) is None


def test_a_plan_opens_only_the_doors_that_it_needs_and_takes_the_short_way():
    receptacles = (Receptacle("drawer 2", 0, True), Receptacle("drawer 1", 1, True), Receptacle("shelf 1", 0))
    things = (Thing("pen 2", (0,), 0), Thing("pen 1", (1,), 1))
    problem = ALFWorldProblem("one", "pick_and_place_simple", "put a pen in shelf", "pen", "shelf", receptacles, things)
    expected = ("go to drawer 2", "open drawer 2", "take pen 2 from drawer 2", "move pen 2 to shelf 1")
    assert winning_plan(problem) == expected
    both = replace(problem, task_type="pick_two_obj_and_place")
    assert len(winning_plan(both) or ()) == 8  # drawer 1 first: then drawer 2 is at hand


# -- the shipped games -----------------------------------------------------------------------------
def test_every_shipped_game_is_won_by_its_walkthrough():
    for problem in shipped_games():
        task = ALFWorld(horizon=LONGEST_PLAN)
        state = task.reset(problem)
        assert not task.success(state)
        for command in problem.walkthrough:
            assert not task.success(state), problem.id
            assert command in task.actions(state), problem.id
            state = task.step(state, command)
        assert task.success(state), problem.id


def test_types_and_rooms_of_the_shipped_games():
    games = shipped_games()
    assert Counter(problem.task_type for problem in games) == dict.fromkeys(TASK_TYPES, SHIPPED_PER_TYPE)
    assert {room_of(problem) for problem in games} == set(FIXTURES.values())
    for task_type, rooms in ROOMS_OF_TASKS.items():
        assert {room_of(problem) for problem in games if problem.task_type == task_type} == set(rooms)
    assert len({problem.task for problem in games}) > 200


def test_shipped_games_are_distinct_and_every_split_has_all_types():
    games = shipped_games()
    rooms = {(one.task_type, one.target, one.place, one.receptacles, one.things) for one in games}
    assert len(games) == len(rooms) == len({one.id for one in games}) == len({one.canonical for one in games})
    splits = {"train": set(), "validation": set(), "test": set()}
    for problem in games:
        splits[split_of(problem)].add(problem.canonical)
    assert sum(map(len, splits.values())) == len(games)
    for name in splits:
        assert {problem.task_type for problem in games if split_of(problem) == name} == set(TASK_TYPES)


def test_the_shipped_games_are_those_of_their_seed():
    made = list(numbered_games(SHIPPED_SEED, 2))[:10]
    shipped = {problem.id: problem for problem in shipped_games()}
    assert [shipped[problem.id] for problem in made] == made


def test_the_script_writes_the_same_file_again(tmp_path, monkeypatch, capsys):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        monkeypatch.setattr(sys, "argv", ["make", "--per-type", "1", "--seed", "3", "--output", str(tmp_path / name)])
        runpy.run_path(str(MAKER), run_name="__main__")
    assert "6 games in" in capsys.readouterr().out
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


# -- game files ------------------------------------------------------------------------------------
def test_shipped_games_survive_being_written_and_read():
    for problem in shipped_games()[::5]:
        assert round_trip(problem) == problem


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_the_quirks_of_official_games_survive(task_type):
    problem = kitchen(task_type)
    assert round_trip(problem) == problem


def test_missing_numbers_vessels_and_other_kinds_survive():
    receptacles = (Receptacle("bathtubbasin 1", 0, False, "sinkbasin"), Receptacle("sinkbasin 1", 1))
    things = (Thing("apple 3", (1,), 0), Thing("cup 9", (0, 1), -1, holding=(2,)), Thing("fork 1", fixed=True))
    problem = ALFWorldProblem("gap", "pick_and_place_simple", "do it", "cup", "shelf", receptacles, things)
    assert round_trip(problem) == problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": 'say "hello"'}, r"cannot have the characters"),
        ({"task": "go {o.name}"}, r"cannot have the characters"),
        ({"things": (Thing("mug 1", (0,)), Thing("mug 2", (0,)))}, r"the highest number first"),
        ({"receptacles": (Receptacle("shelf 3", 0),)}, r"without a gap; 'shelf 1' is missing"),
    ],
)
def test_what_the_format_cannot_say_is_refused(change, message):
    problem = ALFWorldProblem("x", "pick_and_place_simple", "x", "mug", "shelf", (Receptacle("shelf 1", 0),), ())
    with pytest.raises(ValueError, match=message):
        write_game(replace(problem, **change), domain="", grammar=GRAMMAR)


def test_a_grammar_without_a_place_for_the_task_is_refused():
    with pytest.raises(ValueError, match="UNKNOWN GOAL"):
        write_game(kitchen(), domain="", grammar="{}")


def test_missing_alfworld_is_named(monkeypatch):
    monkeypatch.setattr("gfn_envs.tasks.alfworld.pddl_writer.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "gfn-gym\[alfworld\]", or pass domain= and grammar='):
        write_game(kitchen())


def test_written_games_can_be_loaded_from_files(tmp_path):
    (problem,) = (one for one in shipped_games() if one.game.endswith("simple/0003"))
    file = tmp_path / "train" / "mine" / "one" / "game.tw-pddl"
    file.parent.mkdir(parents=True)
    file.write_text(write_game(problem, domain="(define)", grammar=GRAMMAR))
    (loaded,) = load_problems(ALFWorld(), file)
    assert replace(loaded, game=problem.game) == problem


def test_shipped_lines_can_be_loaded_as_problems(tmp_path):
    file = tmp_path / "games.jsonl"
    file.write_text("".join(json.dumps(one.to_json()) + "\n" for one in shipped_games()[:7]))
    assert load_problems(ALFWorld(), file).problems == shipped_games()[:7]


@pytest.mark.slow
@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_the_engine_plays_written_games_as_the_rules_do(task_type):
    problem = next(one for one in shipped_games() if one.task_type == task_type)
    try:
        engine = StockGame(write_game(problem))
    except ImportError as error:
        pytest.skip(str(error))
    task, rng = ALFWorld(horizon=1000), random.Random(task_type)
    turn, state = engine.reset(), task.reset(problem)
    plan, wandering = list(problem.walkthrough), 15
    while not task.success(state):
        assert turn.text == task.observe(state)
        assert turn.admissible_commands == task.actions(state)
        assert not turn.won
        if wandering:  # only what the plan is not changed by
            wandering -= 1
            action = rng.choice([one for one in task.actions(state) if one.split()[0] in ("go", "examine", "look")])
        else:
            action = plan.pop(0)
            if action.startswith("go ") and action not in task.actions(state):
                continue  # already there
        turn, state = engine.step(action), task.step(state, action)
    assert turn.won
    assert turn.text == task.observe(state)
    assert house_of(problem).conditions == state.met
