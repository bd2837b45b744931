import itertools
import json
import math
import random

import numpy as np
import pytest

from gfn_envs.checks import check_task
from gfn_envs.task import LOG_REWARD_FLOOR
from gfn_envs.tasks.alfworld import ALFWorld, ALFWorldProblem
from gfn_envs.tasks.alfworld.game_file import read_game
from gfn_envs.tasks.alfworld.house import house_of
from gfn_envs.tasks.alfworld.rules import Command
from gfn_envs.tasks.alfworld.texts import feedback

# A kitchen in the official format, written for these tests: (identifier, type, pose, has a door).
RECEPTACLES = (
    ("Cabinet_bar_1", "Cabinet", 1, True),
    ("Cabinet_bar_2", "Cabinet", 1, False),
    ("CounterTop_bar_1", "CounterTop", 2, False),
    ("Fridge_bar_1", "Fridge", 3, True),
    ("Microwave_bar_1", "Microwave", 4, True),
    ("SideTable_bar_1", "SideTable", 5, False),
    ("Sink_bar_1_bar_SinkBasin", "SinkBasin", 6, False),
)
# (identifier, type, receptacles it is in, pose that it is near)
THINGS = (
    ("Apple_bar_1", "Apple", ("CounterTop_bar_1",), 2),
    ("Apple_bar_2", "Apple", ("Fridge_bar_1",), 3),
    ("DeskLamp_bar_1", "DeskLamp", ("SideTable_bar_1",), 5),
    ("FloorLamp_bar_1", "FloorLamp", ("Cabinet_bar_1",), 1),
    ("Knife_bar_1", "Knife", ("CounterTop_bar_1",), 2),
    ("Lettuce_bar_1", "Lettuce", (), 6),
    ("Mug_bar_1", "Mug", ("Cabinet_bar_2",), 1),
    ("Pen_bar_1", "Pen", ("Cabinet_bar_1", "SideTable_bar_1"), 5),
    ("Spoon_bar_1", "Spoon", ("Cabinet_bar_2",), 1),
    ("Window_bar_1", "Window", (), 9),
)
FIXED = {"DeskLamp", "FloorLamp", "Window"}
ABLE = {
    "cleanable": {"Apple", "Knife", "Lettuce", "Mug", "Spoon"},
    "heatable": {"Apple", "Mug"},
    "coolable": {"Apple", "Lettuce", "Mug"},
    "sliceable": {"Apple", "Lettuce"},
    "toggleable": {"DeskLamp", "FloorLamp"},
    "isReceptacleObject": {"Mug"},
}
FITS = {
    "Cabinet": {"Mug"},
    "CounterTop": {"Apple", "Knife", "Lettuce", "Mug", "Pen", "Spoon"},
    "Fridge": {"Apple", "Lettuce", "Mug"},
    "Microwave": {"Apple", "Mug"},
    "SideTable": {"Apple", "Knife", "Lettuce", "Mug", "Pen", "Spoon"},
    "SinkBasin": {"Apple", "Knife", "Lettuce", "Mug", "Spoon"},
}
PLACED = """(and (exists (?r - receptacle) (exists (?o - object) (and
    (objectType ?o {}Type) {} (receptacleType ?r {}Type) (inReceptacle ?o ?r)))))"""
GOALS = {
    "pick_and_place_simple": PLACED.format("Apple", "", "SideTable"),
    "pick_clean_then_place_in_recep": PLACED.format("Spoon", "(cleanable ?o) (isClean ?o)", "CounterTop"),
    "pick_heat_then_place_in_recep": PLACED.format("Apple", "(heatable ?o) (isHot ?o)", "CounterTop"),
    "pick_cool_then_place_in_recep": PLACED.format("Mug", "(coolable ?o) (isCool ?o)", "SideTable"),
    "pick_two_obj_and_place": """(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 AppleType)
        (receptacleType ?r SideTableType) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2))
        (objectType ?o2 AppleType) (receptacleType ?r SideTableType) (inReceptacle ?o2 ?r)))))))""",
    "look_at_obj_in_light": """(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and
        (objectType ?ot DeskLampType) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l)
        (inReceptacle ?ot ?r))) (exists (?o - object ?a - agent) (and (objectType ?o MugType) (holds ?a ?o))))""",
}
ROOM = "a cabinet 2, a cabinet 1, a countertop 1, a fridge 1, a microwave 1, a sidetable 1, and a sinkbasin 1"


def pddl_problem(goal: str) -> str:
    types = {kind for _, kind, _, _ in THINGS}
    objects = ["agent1 - agent", *(f"loc_bar_{i} - location" for i in range(10))]
    objects += [f"{name} - receptacle" for name, *_ in RECEPTACLES] + [f"{name} - object" for name, *_ in THINGS]
    objects += [f"{kind}Type - rtype" for kind in FITS] + [f"{kind}Type - otype" for kind in sorted(types)]
    init = ["(atLocation agent1 loc_bar_0)", "(isCool Apple_bar_2)", "(inReceptacleObject Spoon_bar_1 Mug_bar_1)"]
    for name, kind, pose, door in RECEPTACLES:
        init += [f"(receptacleType {name} {kind}Type)", f"(receptacleAtLocation {name} loc_bar_{pose})"]
        init += [f"(openable {name})"] * door
    for name, kind, places, pose in THINGS:
        init += [f"(objectType {name} {kind}Type)", f"(objectAtLocation {name} loc_bar_{pose})"]
        init += [f"(inReceptacle {name} {place})" for place in places]
        init += [f"(pickupable {name})"] * (kind not in FIXED)
        init += [f"({ability} {name})" for ability, kinds in ABLE.items() if kind in kinds]
    init += [f"(canContain {place}Type {kind}Type)" for place, kinds in FITS.items() for kind in sorted(kinds)]
    objects, init = "\n".join(objects), "\n".join(init)
    return f"(define (problem kitchen)\n(:domain alfred)\n(:objects\n{objects})\n(:init\n{init})\n(:goal {goal}))"


def game_text(task_type="pick_and_place_simple", task="put a apple in sidetable", **changes) -> str:
    """Returns the content of a `game.tw-pddl` file; the engine needs its own domain and grammar in it."""
    entries = {
        "pddl_domain": "(define (domain alfred))",
        "grammar": f'grammar :: """{{"task": [{{"rhs": "Your task is to: {task}."}}]}}"""',
        "pddl_problem": pddl_problem(GOALS[task_type]),
        "solvable": True,
        "walkthrough": ["go to countertop 1", "take apple 2 from countertop 1"],
    }
    return json.dumps({key: value for key, value in {**entries, **changes}.items() if value is not None})


def kitchen(task_type="pick_and_place_simple") -> ALFWorldProblem:
    return read_game(game_text(task_type), f"train/{task_type}-kitchen/trial_1")


def play(task, *commands, task_type="pick_and_place_simple"):
    state = task.reset(kitchen(task_type))
    for command in commands:
        assert command in task.actions(state)
        state = task.step(state, command)
    return state


def answers(*commands):
    """Returns the answer to each of the commands."""
    task = ALFWorld()
    return [play(task, *commands[: i + 1]).answer for i in range(len(commands))]


# -- texts and commands ----------------------------------------------------------------------------
def test_first_observation_lists_the_room_and_the_task():
    text = ALFWorld().observe(ALFWorld().reset(kitchen()))
    assert text == (
        "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see "
        f"{ROOM}.\n\nYour task is to: put a apple in sidetable."
    )


def test_start_allows_to_go_anywhere_and_the_three_commands_that_are_always_there():
    names = ("cabinet 1", "cabinet 2", "countertop 1", "fridge 1", "microwave 1", "sidetable 1", "sinkbasin 1")
    task = ALFWorld()
    assert task.actions(task.reset(kitchen())) == (*(f"go to {name}" for name in names), "help", "inventory", "look")


def test_opening_taking_and_putting():
    said = answers(
        "look", "inventory", "go to fridge 1", "open fridge 1", "take apple 1 from fridge 1", "inventory",
        "examine apple 1", "close fridge 1", "examine fridge 1", "go to sinkbasin 1", "move apple 1 to sinkbasin 1",
        "examine sinkbasin 1",
    )  # fmt: skip
    assert said == [
        "You are in the middle of a room. Looking quickly around you, you see nothing.",
        "You are not carrying anything.",
        "You arrive at fridge 1. The fridge 1 is closed.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a apple 1.",
        "You pick up the apple 1 from the fridge 1.",
        "You are carrying: a apple 1.",
        "This is a cold apple 1.",
        "You close the fridge 1.",
        "The fridge 1 is closed.",
        "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing.",
        "You move the apple 1 to the sinkbasin 1.",
        "On the sinkbasin 1, you see a apple 1.",
    ]


def test_treatments_need_no_open_door():
    said = answers(
        "go to countertop 1", "take apple 2 from countertop 1", "go to microwave 1", "heat apple 2 with microwave 1",
        "examine apple 2", "go to fridge 1", "cool apple 2 with fridge 1", "examine apple 2", "go to sinkbasin 1",
        "clean apple 2 with sinkbasin 1", "examine apple 2",
    )  # fmt: skip
    assert said[3:5] == ["You heat the apple 2 using the microwave 1.", "This is a hot apple 2."]
    assert said[6:8] == ["You cool the apple 2 using the fridge 1.", "This is a cold apple 2."]
    assert said[9:] == ["You clean the apple 2 using the sinkbasin 1.", "This is a cool and clean apple 2."]


def test_a_knife_in_hand_slices_what_is_near_also_what_is_in_nothing():
    task = ALFWorld()
    state = play(task, "go to countertop 1", "take knife 1 from countertop 1", "slice apple 2 with knife 1")
    assert state.answer == "You sliced the apple 2 with the knife 1."
    assert "slice lettuce 1 with knife 1" in task.actions(task.step(state, "go to sinkbasin 1"))
    assert not any(action.startswith("slice") for action in task.actions(task.step(state, "go to microwave 1")))


def test_lamps_can_be_used_behind_a_closed_door_and_stay_on():
    task = ALFWorld()
    state = play(task, "go to cabinet 2")
    assert state.answer == "You arrive at cabinet 2. The cabinet 2 is closed."
    state = task.step(state, "use floorlamp 1")
    assert state.answer == "You turn on the floorlamp 1."
    assert "use floorlamp 1" in task.actions(state)


def test_of_two_receptacles_at_one_pose_the_other_cannot_be_gone_to_but_is_there():
    task = ALFWorld()
    state = play(task, "go to cabinet 2")
    actions = task.actions(state)
    assert "go to cabinet 1" not in actions
    assert {"examine cabinet 1", "examine cabinet 2", "open cabinet 2", "take mug 1 from cabinet 1"} < set(actions)
    assert (
        task.step(state, "look").answer == "You are facing the cabinet 2, and cabinet 1. Next to it, you see nothing."
    )


def test_look_shows_what_was_moved_within_a_pose():
    said = answers("go to cabinet 1", "take mug 1 from cabinet 1", "open cabinet 2", "move mug 1 to cabinet 2", "look")
    assert said[-1] == "You are facing the cabinet 2, and cabinet 1. Next to it, you see a mug 1."


def test_a_thing_in_two_receptacles_stays_in_the_other_one():
    task = ALFWorld()
    state = play(
        task, "go to sidetable 1", "take pen 1 from sidetable 1", "move pen 1 to sidetable 1", "go to cabinet 2"
    )
    state = task.step(state, "open cabinet 2")
    assert state.answer == "You open the cabinet 2. The cabinet 2 is open. In it, you see a floorlamp 1, and a pen 1."
    assert "take pen 1 from cabinet 2" in task.actions(state)


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ((), "There's nothing special about {}."),
        (("hot",), "This is a hot {}."),
        (("cool",), "This is a cold {}."),
        (("clean",), "This is a clean {}."),
        (("sliced",), "This is a sliced {}."),
        (("hot", "clean"), "This is a hot and clean {}."),
        (("cool", "clean"), "This is a cool and clean {}."),
        (("hot", "sliced"), "This is a hot sliced {}."),
        (("cool", "sliced"), "This is a cool sliced {}."),
        (("clean", "sliced"), "This is a clean sliced {}."),
        (("hot", "clean", "sliced"), "This is a hot and clean sliced {}."),
        (("cool", "clean", "sliced"), "This is a cool and clean sliced {}."),
    ],
)
def test_examining_tells_what_was_done_to_a_thing(states, text):
    house = house_of(kitchen())
    apple = house.thing_numbers["apple 2"]
    room = house.start._replace(held=apple, **dict.fromkeys(states, 1 << apple))
    assert feedback(house, room, Command("examine", apple)) == text.format("apple 2")


def test_a_vessel_tells_its_content_whatever_was_done_to_it():
    said = answers("go to cabinet 1", "take mug 1 from cabinet 1", "examine mug 1")
    assert said[-1] == "This is a normal mug 1. In it, you see a spoon 1."


def test_exactly_the_admissible_commands_can_be_played():
    task, rng = ALFWorld(horizon=40), random.Random(0)
    house = house_of(kitchen())
    names = [*house.receptacles, *house.things, "moon 1", ""]
    conceivable = {f"{verb} {name}" for verb in ("go to", "open", "close", "examine", "use") for name in names}
    forms = (
        "take {} from {}",
        "move {} to {}",
        "heat {} with {}",
        "cool {} with {}",
        "clean {} with {}",
        "slice {} with {}",
    )
    conceivable |= {form.format(*pair) for form in forms for pair in itertools.product(names, repeat=2)}
    conceivable |= {"", "help", "inventory", "look", "look ", "LOOK", "go", "take", "put a in b"}
    starts = (
        ("go to countertop 1", "take knife 1 from countertop 1"),
        ("go to cabinet 1", "take mug 1 from cabinet 1", "go to fridge 1", "cool mug 1 with fridge 1"),
        ("go to countertop 1", "take apple 2 from countertop 1", "go to microwave 1", "heat apple 2 with microwave 1"),
    )
    for start in starts:
        state = play(task, *start)
        while actions := task.actions(state):
            assert list(actions) == sorted(set(actions))
            assert set(actions) <= conceivable
            assert {text for text in conceivable if is_played(task, state, text)} == set(actions)
            verb = rng.choice(sorted({action.split()[0] for action in actions}))
            state = task.step(state, rng.choice([action for action in actions if action.startswith(verb)]))


def is_played(task, state, text):
    try:
        task.step(state, text)
    except KeyError:
        return False
    return True


def test_the_older_spelling_is_an_alias():
    task = ALFWorld()
    state = play(task, "go to countertop 1", "take apple 2 from countertop 1")
    assert task.aliases(state) == {"put apple 2 in/on countertop 1": "move apple 2 to countertop 1"}


# -- goals and rewards -----------------------------------------------------------------------------
TAKE_APPLE = ("go to countertop 1", "take apple 2 from countertop 1")
PLANS = {
    "pick_and_place_simple": (1, (*TAKE_APPLE, "go to sidetable 1", "move apple 2 to sidetable 1"), [0, 0, 0, 1]),
    "pick_clean_then_place_in_recep": (
        3,
        ("go to cabinet 1", "take spoon 1 from cabinet 1", "go to sinkbasin 1", "clean spoon 1 with sinkbasin 1",
         "go to countertop 1", "move spoon 1 to countertop 1"),
        [0, 0, 0, 1, 1, 3],
    ),
    "pick_heat_then_place_in_recep": (
        3,
        (*TAKE_APPLE, "go to microwave 1", "heat apple 2 with microwave 1", "go to countertop 1",
         "move apple 2 to countertop 1"),
        [1, 0, 0, 1, 1, 3],
    ),
    "pick_cool_then_place_in_recep": (
        3,
        ("go to cabinet 1", "take mug 1 from cabinet 1", "go to fridge 1", "cool mug 1 with fridge 1",
         "go to sidetable 1", "move mug 1 to sidetable 1"),
        [0, 0, 0, 1, 1, 3],
    ),
    "pick_two_obj_and_place": (
        2,
        (*TAKE_APPLE, "go to sidetable 1", "move apple 2 to sidetable 1", "go to fridge 1", "open fridge 1",
         "take apple 1 from fridge 1", "go to sidetable 1", "move apple 1 to sidetable 1"),
        [0, 0, 0, 1, 1, 1, 1, 1, 2],
    ),
    "look_at_obj_in_light": (
        2,
        ("go to cabinet 1", "take mug 1 from cabinet 1", "go to sidetable 1", "use desklamp 1"),
        [0, 1, 1, 2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("task_type", PLANS)
def test_goals_are_met_condition_by_condition(task_type):
    conditions, plan, met = PLANS[task_type]
    task = ALFWorld()
    states = [play(task, *plan[: i + 1], task_type=task_type) for i in range(len(plan))]
    assert [state.met for state in states] == met
    assert [task.goal_progress(state) for state in states] == [count / conditions for count in met]
    assert [task.success(state) for state in states] == [False] * (len(plan) - 1) + [True]
    assert task.actions(states[-1]) == ()
    assert task.details(states[-1]) == {
        "gamefile": f"train/{task_type}-kitchen/trial_1", "task_type": task_type, "goal_progress": 1.0, "won": True,
    }  # fmt: skip
    with pytest.raises(KeyError):
        task.step(states[-1], "look")


def test_the_lamp_must_be_on_where_the_player_is():
    task = ALFWorld()
    plan = ("go to sidetable 1", "use desklamp 1", "go to cabinet 1", "take mug 1 from cabinet 1")
    state = play(task, *plan, task_type="look_at_obj_in_light")
    assert not task.success(state)
    assert task.success(task.step(state, "go to sidetable 1"))


def test_subgoals_are_paid_once_and_the_goal_fifty():
    task = ALFWorld(reward="subgoals")
    _, plan, _ = PLANS["pick_heat_then_place_in_recep"]
    states = [task.reset(kitchen("pick_heat_then_place_in_recep"))]
    for command in plan:
        states.append(task.step(states[-1], command))
    rewards = [task.step_reward(a, c, b) for a, c, b in zip(states, plan, states[1:], strict=False)]
    # An apple lies on the countertop from the start, so one condition is met before anything is done.
    assert rewards == [0, 0, 0, 0, 0, 52]
    assert [ALFWorld().step_reward(a, c, b) for a, c, b in zip(states, plan, states[1:], strict=False)] == [0] * 5 + [1]


def test_partial_log_reward_agrees_with_the_log_reward_at_the_ends():
    task = ALFWorld(horizon=6)
    _, plan, met = PLANS["pick_clean_then_place_in_recep"]
    states = [play(task, *plan[: i + 1], task_type="pick_clean_then_place_in_recep") for i in range(6)]
    expected = [(1 - count / 3) * math.log(1e-4) for count in met]
    assert [task.log_reward_so_far(state) for state in states] == pytest.approx(expected)
    assert task.log_reward(states[-1]) == 0.0
    failed = ALFWorld(horizon=5)
    assert failed.actions(states[4]) == ()
    assert failed.log_reward_so_far(states[4]) == failed.log_reward(states[4]) == LOG_REWARD_FLOOR


def test_a_failed_command_costs_a_step_and_changes_nothing():
    task = ALFWorld(horizon=2)
    state = task.reset(kitchen())
    failed = task.fail(state)
    assert failed.answer == task.observe(failed) == "Nothing happens."
    assert (failed.room, failed.met, len(failed.history)) == (state.room, state.met, 1)
    assert task.actions(failed) == task.actions(state)
    end = task.fail(failed)
    assert task.actions(end) == ()
    with pytest.raises(KeyError):
        task.fail(end)


# -- the summary -----------------------------------------------------------------------------------
def test_summary_tells_what_was_seen_and_no_more():
    task = ALFWorld(observation="summary", horizon=20)
    state = task.reset(kitchen())
    assert task.observe(state) == (
        "Your task is to: put a apple in sidetable.\nYou are at the start, in the middle of the room.\n"
        "You are not carrying anything.\n"
        "Not visited: cabinet 2, cabinet 1, countertop 1, fridge 1, microwave 1, sidetable 1, sinkbasin 1.\n"
        "Steps left: 20."
    )
    plan = ("go to fridge 1", "go to countertop 1", "take apple 2 from countertop 1", "go to microwave 1")
    for command in (*plan, "heat apple 2 with microwave 1", "go to cabinet 2", "open cabinet 2"):
        state = task.step(state, command)
    assert task.observe(state) == (
        "Your task is to: put a apple in sidetable.\nYou are at cabinet 2, and cabinet 1.\n"
        "You are carrying: a apple 2.\ncabinet 2 (open): a floorlamp 1, and a pen 1.\ncountertop 1: a knife 1.\n"
        "fridge 1 (closed): not seen.\n"
        "microwave 1 (closed): not seen.\napple 2: hot.\nNot visited: cabinet 1, sidetable 1, sinkbasin 1.\n"
        "Last: You open the cabinet 2. The cabinet 2 is open. In it, you see a floorlamp 1, and a pen 1.\n"
        "Steps left: 13."
    )


def test_what_the_summary_remembers_is_true():
    task, rng = ALFWorld(observation="summary"), random.Random(1)
    state = task.reset(kitchen("pick_two_obj_and_place"))
    while actions := task.actions(state):
        state = task.step(state, rng.choice(actions))
        for known, inside in zip(state.seen.contents, state.room.inside, strict=True):
            assert known == -1 or known & inside == known


# -- the contract ----------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"observation": "summary", "reward": "subgoals"}])
def test_the_contract_of_a_task_holds(options):
    checks = check_task(ALFWorld(horizon=2, **options), [kitchen(), kitchen("look_at_obj_in_light")])
    assert [check for check in checks if not check.passed or check.reason] == []
    checks = check_task(ALFWorld(**options), [kitchen("pick_heat_then_place_in_recep")])
    assert [check for check in checks if not check.passed] == []


def test_a_problem_survives_json():
    problem = kitchen()
    data = json.loads(json.dumps(problem.to_json()))
    assert ALFWorld().problem_from_json(data) == problem
    assert data["things"][0] == ["apple 2", [2], 1]


def test_room_limits_bound_the_actions_and_the_texts():
    """The largest room that a problem can be: all in one place, everything in hand's reach."""
    receptacles = [(f"toiletpaperhanger {i + 1}", max(0, i - 7)) for i in range(64)]
    things = [(f"papertowelroll {100 + i}", (i % 8,), 0) for i in range(96)]
    problem = ALFWorldProblem("g", "pick_and_place_simple", "x" * 200, "mug", "toiletpaperhanger", receptacles, things)
    for observation in ("feedback", "summary"):
        task, rng = ALFWorld(observation=observation), np.random.default_rng(0)
        state = task.reset(problem)
        while actions := task.actions(state):
            assert len(actions) <= task.max_actions
            assert max(map(len, actions)) <= task.max_action_length
            assert len(task.observe(state)) <= task.max_observation_length
            state = task.step(state, actions[rng.integers(len(actions))])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"horizon": 0}, "horizon must be a number of steps from 1 to 10000, got 0"),
        ({"observation": "json"}, r"observation must be one of \('feedback', 'summary'\), got 'json'"),
        ({"reward": "dense"}, r"reward must be one of \('success', 'subgoals'\), got 'dense'"),
        ({"task_types": ["pick"]}, "there is no task type 'pick'; task types are pick_and_place_simple, "),
    ],
)
def test_wrong_options_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ALFWorld(**options)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task_type": "pick"}, "there is no task type 'pick'"),
        ({"place": "moon"}, "'place' must be one of armchair, "),
        ({"task": "caf\u00e9"}, "'task' must be 1 to 200 printable ASCII characters"),
        ({"things": [["mug", []]]}, "a name is a kind and a number, such as 'mug 2', got 'mug'"),
        ({"things": [["mug 1", [99]]]}, r"numbers in a room must be 0 to 6 here, got \(99,\)"),
        ({"things": [["mug 1"], ["mug 1"]]}, "two things or receptacles have the same name"),
        ({"things": [["mug 1", [], 77]]}, "is not a thing of this room"),
        ({"things": [["mug 1", [], 0, 1, 1, [], 2]]}, "a row of 'things' has the entries name, inside, near"),
        ({"things": "mug"}, "a row of 'things'|'things' must be a list of rows"),
        ({"receptacles": [["bed 1", 5]], "things": []}, "poses of the receptacles must be numbered"),
        ({"receptacles": [["bed 1", 1 << 70]], "things": []}, "poses of the receptacles must be numbered"),
        ({"receptacles": [["bed 1", "a"]], "things": []}, "expected a whole number in a room, got 'a'"),
        ({"receptacles": [["moon 1", 0]], "things": []}, "is not a receptacle; kinds are armchair, "),
        ({"receptacles": [], "things": []}, "the poses of the receptacles must be numbered"),
        ({"walkthrough": "look"}, "'walkthrough' must be a list of commands"),
    ],
)
def test_wrong_problems_are_named(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        ALFWorld().problem_from_json({**kitchen().to_json(), **changes})


def test_a_game_of_another_type_does_not_fit():
    task = ALFWorld(task_types="look_at_obj_in_light")
    with pytest.raises(
        ValueError, match="the game is of the type pick_and_place_simple; task_types are look_at_obj_in_light"
    ):
        task.check_problem(kitchen())
