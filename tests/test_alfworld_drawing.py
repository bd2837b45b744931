import random
from dataclasses import replace
from itertools import combinations

import pytest

from gfn_envs.drawing import FAINT, HEIGHT, WIDTH, Label, Rectangle
from gfn_envs.tasks.alfworld import ALFWorld, ALFWorldProblem
from gfn_envs.tasks.alfworld.drawing import WOOD, draw, picture
from gfn_envs.tasks.alfworld.problem import Thing
from tests.test_alfworld import PLANS, kitchen, play
from tests.test_drawings_boards import box, overlapping, texts

STEPS = 50


def played(problem, *commands, task=ALFWorld()):
    state = task.reset(problem)
    for command in commands:
        state = task.step(state, command)
    return state


def largest(task="put a hot mug in cabinet"):
    """Returns a game as large as the official ones: 54 receptacles, 65 things, five receptacles at one pose."""
    kinds = ["cabinet"] * 20 + ["coffeemachine", "diningtable", "fridge", "microwave", "toiletpaperhanger"]
    kinds += ["drawer"] * 25 + ["stoveburner"] * 4
    names = [f"{kind} {kinds[: i + 1].count(kind)}" for i, kind in enumerate(kinds)]
    receptacles = [(name, max(0, i - 4), i % 3 == 0) for i, name in enumerate(names)]
    things = [
        (f"{('mug', 'toiletpaperroll', 'saltshaker')[i % 3]} {i + 1}", (21 if i < 20 else i % 54,)) for i in range(65)
    ]
    return ALFWorldProblem("g", "pick_heat_then_place_in_recep", task, "mug", "cabinet", receptacles, things)


def walks(problem, seed, steps=STEPS):
    """Yields the states of a play with random commands of random verbs."""
    task, rng = ALFWorld(horizon=steps), random.Random(seed)
    state = task.reset(problem)
    yield state
    while actions := task.actions(state):
        verb = rng.choice(sorted({action.split()[0] for action in actions}))
        state = task.step(state, rng.choice([action for action in actions if action.startswith(verb)]))
        yield state


def filled(drawing, colour):
    return sum(isinstance(shape, Rectangle) and shape.fill == colour and shape.radius == 4 for shape in drawing.shapes)


GAMES = {
    "kitchen": kitchen("pick_heat_then_place_in_recep"),
    "lamp": kitchen("look_at_obj_in_light"),
    "largest": largest(),
    "wordy": largest(("put the hottest mug of all into the cabinet that is nearest to the fridge " * 4)[:199].strip()),
    "small": ALFWorldProblem("g", "pick_two_obj_and_place", "put two pens in safe", "pen", "safe", [("safe 1", 0)], []),
}


# -- all games -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", GAMES)
def test_every_shape_is_on_the_sheet_and_no_label_on_another(name):
    for state in walks(GAMES[name], 0):
        drawing = draw(state, STEPS)
        for shape in drawing.shapes:
            left, top, right, bottom = box(shape)
            assert 0 <= left <= right <= WIDTH, shape
            assert 0 <= top <= bottom <= HEIGHT, shape
            assert not isinstance(shape, Rectangle) or min(shape.width, shape.height) > 0, shape
        labels = [(shape, box(shape)) for shape in drawing.shapes if isinstance(shape, Label)]
        for (one, first), (other, second) in combinations(labels, 2):
            assert not overlapping(first, second), (one, other)


@pytest.mark.parametrize("name", GAMES)
def test_drawings_are_ascii_values_that_change_with_each_step(name):
    states = list(walks(GAMES[name], 1))
    drawings = [draw(state, STEPS) for state in states]
    assert drawings == [draw(state, STEPS) for state in walks(GAMES[name], 1)]
    assert len(set(drawings)) == len(drawings)
    for state, drawing in zip(states, drawings, strict=True):
        assert state.problem.task in drawing.title
        assert drawing.title.endswith(".")
        assert all(text and text.isascii() and text.isprintable() for text in [drawing.title, *texts(drawing)])


@pytest.mark.parametrize("name", GAMES)
def test_every_receptacle_has_a_box_of_its_own(name):
    drawing = draw(next(walks(GAMES[name], 0)), STEPS)
    boxes = [box(shape) for shape in drawing.shapes if isinstance(shape, Rectangle) and shape.radius == 4]
    assert len(boxes) == len(GAMES[name].receptacles)
    assert not any(overlapping(one, other) for one, other in combinations(boxes, 2))


def test_receptacles_of_one_pose_are_joined_in_a_row():
    game = GAMES["largest"]
    shapes = draw(next(walks(game, 0)), STEPS).shapes
    joints = [box(shape) for shape in shapes if isinstance(shape, Rectangle) and shape.height == 6]
    assert len(joints) == len(game.receptacles) - len({receptacle.pose for receptacle in game.receptacles}) == 4
    assert len({top for _, top, _, _ in joints}) == 1


def test_letters_are_smaller_rather_than_a_thing_left_out():
    def content(count):
        names = [
            f"{kind} 1" for kind in ("apple", "bread", "butterknife", "dishsponge", "fork", "peppershaker")[:count]
        ]
        receptacles = [(f"countertop {i}", i - 1) for i in range(1, 21)]
        things = [(name, (0,)) for name in names]
        game = ALFWorldProblem("g", "pick_and_place_simple", "put it", "mug", "shelf", receptacles, things)
        labels = [one for one in draw(played(game, "go to countertop 1"), STEPS).shapes if isinstance(one, Label)]
        lines = [one for one in labels if names[0][:5] in one.text or one.text in ", ".join(names)]
        lines = [one for one in lines if one.y < 354]
        assert ", ".join(one.text for one in lines) == ", ".join(names)
        return {one.size for one in lines}

    (few,), (many,) = content(1), content(6)
    assert many < few


def test_a_receptacles_labels_are_in_its_box():
    for state in walks(GAMES["largest"], 2, 200):
        inside = None
        for shape in draw(state, 200).shapes:
            if isinstance(shape, Rectangle) and shape.radius == 4:
                inside = box(shape)
            elif isinstance(shape, Label) and inside and 36 < shape.y < 354:
                left, top, right, bottom = box(shape)
                assert inside[0] <= left <= right <= inside[2], shape
                assert inside[1] <= top <= bottom <= inside[3], shape


# -- what the player knows -------------------------------------------------------------------------
def changed(problem, hidden):
    """Returns the game with other things where they are not seen, and other doors."""
    things = [thing if thing.name not in hidden else Thing(thing.name, hidden[thing.name]) for thing in problem.things]
    return replace(problem, things=things, receptacles=[row._replace(openable=True) for row in problem.receptacles])


@pytest.mark.parametrize(
    "task_type", ["pick_heat_then_place_in_recep", "pick_and_place_simple", "pick_two_obj_and_place"]
)
def test_what_was_not_seen_is_not_shown(task_type):
    """A game and one with doors everywhere, the targets in place or not, look alike until the player looks."""
    game = kitchen(task_type)
    other = changed(game, {"apple 2": (3,), "apple 1": (4,), "mug 1": (6,), "knife 1": (1,)})
    for show in (draw, picture):
        assert show(played(game), STEPS) == show(played(other), STEPS)
        assert show(played(game, "go to fridge 1"), STEPS) == show(played(other, "go to fridge 1"), STEPS)
        here = "go to fridge 1", "open fridge 1"
        assert show(played(game, *here), STEPS) != show(played(other, *here), STEPS)


def test_the_memory_is_shown_and_not_the_room():
    state = played(kitchen(), "go to countertop 1", "go to fridge 1", "open fridge 1", "go to sidetable 1")
    emptied = state._replace(room=state.room._replace(inside=(0,) * 7, opened=0, cool=0))
    assert draw(state, STEPS) == draw(emptied, STEPS)
    assert picture(state, STEPS) == picture(emptied, STEPS)


def test_long_names_in_hand_and_in_the_last_command_do_not_meet():
    things = [("toiletpaperrollholder 12", (0,))]
    game = ALFWorldProblem(
        "g", "pick_and_place_simple", "put it", "mug", "shelf", [("toiletpaperhanger 99", 0)], things
    )
    state = played(game, "go to toiletpaperhanger 99", "take toiletpaperrollholder 12 from toiletpaperhanger 99")
    one, other = (shape for shape in draw(state, STEPS).shapes if isinstance(shape, Label) and shape.y == 368)
    assert other.text.startswith("last: take")
    assert not overlapping(box(one), box(other))


def test_boxes_tell_unseen_closed_and_open():
    start, closed = played(kitchen()), played(kitchen(), "go to fridge 1")
    opened = ALFWorld().step(closed, "open fridge 1")
    assert (filled(draw(start, STEPS), FAINT), filled(draw(start, STEPS), WOOD)) == (7, 0)
    assert (filled(draw(closed, STEPS), FAINT), filled(draw(closed, STEPS), WOOD)) == (6, 1)
    assert (filled(draw(opened, STEPS), FAINT), filled(draw(opened, STEPS), WOOD)) == (6, 0)
    assert texts(draw(closed, STEPS)).count("?") == 7
    assert texts(draw(opened, STEPS)).count("?") == 6
    assert "apple 1" in texts(draw(opened, STEPS))
    again = draw(ALFWorld().step(opened, "close fridge 1"), STEPS)
    assert filled(again, WOOD) == 1
    assert "apple 1" in texts(again)  # the player remembers it


def test_the_thing_in_hand_and_what_was_done_to_it_is_told():
    _, plan, _ = PLANS["pick_heat_then_place_in_recep"]
    states = [play(ALFWorld(), *plan[:i], task_type="pick_heat_then_place_in_recep") for i in (1, 2, 4, 6)]
    shown = [texts(draw(state, STEPS)) for state in states]
    hands = ["In hand: nothing", "In hand: apple 2", "In hand: apple 2 (hot)", "In hand: nothing"]
    assert [next(text for text in one if text.startswith("In hand")) for one in shown] == hands
    assert "apple 2 (hot)" in shown[-1]
    assert "apple 2" in " ".join(shown[0])
    assert "apple 2" not in " ".join(text for text in shown[1] if not text.startswith(("In hand", "last:", "You")))
    assert [text for one in shown for text in one if "met" in text] == [
        "1 of 3 goal conditions met",  # one of the apples is on the countertop
        "0 of 3 goal conditions met",
        "1 of 3 goal conditions met",
        "3 of 3 goal conditions met",
    ]


def test_coolness_from_the_start_is_not_told():
    state = played(kitchen("pick_cool_then_place_in_recep"), "go to fridge 1", "open fridge 1")
    state = ALFWorld().step(state, "take apple 1 from fridge 1")
    assert state.room.cool
    assert "In hand: apple 1" in texts(draw(state, STEPS))


def test_the_end_is_told():
    _, plan, _ = PLANS["pick_and_place_simple"]
    won, lost = played(kitchen(), *plan), played(kitchen(), "look", "look", task=ALFWorld(horizon=2))
    assert "won" in texts(draw(won, STEPS))
    assert "1 of 1 goal condition met" in texts(draw(won, STEPS))
    assert {"failed", "0 of 2 steps left"} <= set(texts(draw(lost, 2)))
    assert not {"won", "failed"} & set(texts(draw(lost, 3)))
    assert picture(won, STEPS).endswith("46 of 50 steps left; 1 of 1 goal condition met; won.")
    assert picture(lost, 2).endswith("; failed.")


def test_a_command_that_does_nothing_is_drawn():
    task = ALFWorld()
    drawing = draw(task.fail(task.reset(kitchen())), STEPS)
    assert {"last: not a command here", "Nothing happens.", "49 of 50 steps left"} <= set(texts(drawing))


def test_the_map_as_text():
    state = play(
        ALFWorld(), "go to countertop 1", "take apple 2 from countertop 1", "go to cabinet 2", "open cabinet 2"
    )
    assert picture(state, STEPS) == (
        "Task: put a apple in sidetable.\n"
        "@  cabinet 1             ?\n"
        "@+ cabinet 2     open    floorlamp 1, pen 1\n"
        "   countertop 1          knife 1\n"
        "   fridge 1              ?\n"
        "   microwave 1           ?\n"
        "   sidetable 1           ?\n"
        "   sinkbasin 1           ?\n"
        "In hand: apple 2.\n"
        "46 of 50 steps left; 0 of 1 goal condition met."
    )
    assert "you are in the middle of the room" in picture(played(kitchen()), STEPS)
