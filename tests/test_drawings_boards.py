"""Pictures of BlocksWorld, NumberLine and Game24: all on the sheet, all that matters on them, a new one each step."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfn_envs.drawing import HEIGHT, WIDTH, Circle, Label, Line, Rectangle, arrow_head, text_width
from gfn_envs.tasks.blocksworld import BlocksWorld, BlocksWorldProblem
from gfn_envs.tasks.blocksworld_drawing import PAINTS, WHITE_ON
from gfn_envs.tasks.blocksworld_pddl import LETTERS
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem, NumberLineState
from gfn_envs.tasks.numberline_drawing import GROUND, LONGEST, STRIP

COLOURS = tuple(LETTERS)
TOWER, APART = (COLOURS,), tuple((colour,) for colour in COLOURS)
REVERSED = tuple(f"on {upper} {lower}" for upper, lower in pairwise(COLOURS))
MANY = BlocksWorld(blocks=12, length=48, slack=100)
SWAP = BlocksWorldProblem((("red", "blue"), ("orange",)), ("on red blue",))
BLOCKS = {
    "swap": (BlocksWorld(slack=2), SWAP),
    "all facts": (
        BlocksWorld(blocks=6, ending="horizon", slack=1),
        BlocksWorldProblem(
            (("red", "yellow", "white"), ("green", "magenta", "black")),
            ("on red yellow", "ontable green", "clear black", "handempty"),
        ),
    ),
    "one tower": (MANY, BlocksWorldProblem(TOWER, REVERSED)),
    "all on the table": (MANY, BlocksWorldProblem(APART, REVERSED)),
    "tower to table": (MANY, BlocksWorldProblem(TOWER, tuple(f"ontable {colour}" for colour in COLOURS))),
    "everything clear": (MANY, BlocksWorldProblem(TOWER, tuple(f"clear {colour}" for colour in COLOURS))),
}
FAR = 10**9
LINES = {
    "short": (NumberLine(), NumberLineProblem(2, 5, 0, 5)),
    "two": (NumberLine(high=1), NumberLineProblem(1, 0, 0, 1)),
    "hard": (NumberLine(low=10, high=50), NumberLineProblem(12, 47, 10, 50)),
    "long": (NumberLine(high=1000), NumberLineProblem(437, 870, 0, 1000)),
    "goal left": (NumberLine(high=1000), NumberLineProblem(437, 3, 0, 1000)),
    "far": (NumberLine(low=-FAR, high=FAR), NumberLineProblem(-FAR, FAR, -FAR, FAR)),
    "few steps": (NumberLine(low=-50, high=50, horizon=3), NumberLineProblem(0, -12, -50, 50)),
}
NUMBERS = {
    "three": (Game24(count=3), Game24Problem((4, 4, 8))),
    "equal numbers": (Game24(), Game24Problem((2, 2, 3, 6))),
    "fractions": (Game24(target="7/2"), Game24Problem((3, 3, 8, 8), "7/2")),
    "five": (Game24(count=5, target="7/2"), Game24Problem((1, 5, 7, 9, 13), "7/2")),
    "two": (Game24(count=2, target="12345678901/2345678"), Game24Problem((4, 6), "12345678901/2345678")),
    "eight": (Game24(count=8, high=1000), Game24Problem((7, 997, 998, 998, 999, 1000, 1000, 1000))),
}
ALL = {**BLOCKS, **{f"line {k}": v for k, v in LINES.items()}, **{f"numbers {k}": v for k, v in NUMBERS.items()}}
CHOICES = st.lists(st.integers(0, 10**6), max_size=14)


def played(task, problem, choices):
    """Returns the states of a play that takes these actions, by their numbers."""
    states = [task.reset(problem)]
    for choice in choices:
        actions = task.actions(states[-1])
        if actions:
            states.append(task.step(states[-1], actions[choice % len(actions)]))
    return states


def box(shape):
    """Returns left, top, right and bottom of a shape, with its stroke."""
    if isinstance(shape, Label):
        width = text_width(shape.text, shape.size)
        left = shape.x - {"start": 0, "middle": width / 2, "end": width}[shape.anchor]
        return left, shape.y - 0.4 * shape.size, left + width, shape.y + 0.4 * shape.size
    edge = shape.thickness / 2
    if isinstance(shape, Rectangle):
        edge = edge if shape.outline else 0
        return shape.x - edge, shape.y - edge, shape.x + shape.width + edge, shape.y + shape.height + edge
    if isinstance(shape, Circle):
        reach = shape.radius + (edge if shape.outline else 0)
        return shape.x - reach, shape.y - reach, shape.x + reach, shape.y + reach
    points = [(shape.x1, shape.y1), (shape.x2, shape.y2), *(arrow_head(shape) if shape.arrow else ())]
    xs, ys = zip(*points, strict=True)
    return min(xs) - edge, min(ys) - edge, max(xs) + edge, max(ys) + edge


def texts(drawing):
    return [shape.text for shape in drawing.shapes if isinstance(shape, Label)]


def overlapping(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


# -- all three -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ALL)
@given(choices=CHOICES)
@settings(max_examples=25, deadline=None)
def test_every_shape_is_on_the_sheet_and_no_label_on_another(name, choices):
    task, problem = ALL[name]
    for state in played(task, problem, choices):
        drawing = task.draw(state)
        for shape in drawing.shapes:
            left, top, right, bottom = box(shape)
            assert 0 <= left <= right <= WIDTH, shape
            assert 0 <= top <= bottom <= HEIGHT, shape
            assert not isinstance(shape, Rectangle) or min(shape.width, shape.height) > 0, shape
        for one, other in combinations([shape for shape in drawing.shapes if isinstance(shape, Label)], 2):
            assert not overlapping(box(one), box(other)), (one, other)


@pytest.mark.parametrize("name", ALL)
@given(choices=CHOICES)
@settings(max_examples=10, deadline=None)
def test_drawings_are_ascii_values_that_change_with_each_step(name, choices):
    task, problem = ALL[name]
    states = played(task, problem, choices)
    drawings = [task.draw(state) for state in states]
    assert drawings == [task.draw(state) for state in played(task, problem, choices)]
    assert len(set(drawings)) == len(drawings)
    for drawing in drawings:
        assert drawing.title.endswith(".")
        assert all(text and text.isascii() and text.isprintable() for text in [drawing.title, *texts(drawing)])


# -- BlocksWorld -----------------------------------------------------------------------------------
def test_every_colour_has_its_paint_and_readable_letters():
    assert tuple(PAINTS) == COLOURS
    for colour, paint in PAINTS.items():
        light = luminance(paint)
        contrast = 1.05 / (light + 0.05) if colour in WHITE_ON else (light + 0.05) / 0.05
        assert contrast >= 4.5, (colour, contrast)


def luminance(paint):
    """Returns the relative luminance of WCAG 2."""
    parts = [int(paint[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def painted(drawing):
    """Returns where each block is left and right of the divide; it must bear its name or the first letters of it."""
    (divide,) = [s.x1 for s in drawing.shapes if isinstance(s, Line) and s.x1 == s.x2 and s.y2 - s.y1 > HEIGHT / 2]
    here, wanted = {}, {}
    for shape, label in pairwise(drawing.shapes):
        if isinstance(shape, Rectangle) and shape.fill in PAINTS.values() and isinstance(label, Label):
            colour = next(colour for colour, paint in PAINTS.items() if paint == shape.fill)
            side = here if label.x < divide else wanted
            assert colour not in side
            assert colour.startswith(label.text)
            assert len(label.text) >= 3
            assert shape.x < label.x < shape.x + shape.width
            assert shape.y < label.y < shape.y + shape.height
            side[colour] = (label.x, label.y)
    return here, wanted


@pytest.mark.parametrize("name", BLOCKS)
@given(choices=CHOICES)
@settings(max_examples=15, deadline=None)
def test_all_blocks_of_state_and_goal_are_drawn_where_they_are(name, choices):
    task, problem = BLOCKS[name]
    named = {word for fact in problem.goal for word in fact.split()[1:]}
    for state in played(task, problem, choices):
        drawing = task.draw(state)
        here, wanted = painted(drawing)
        assert set(here) == set(state.position.blocks)
        assert set(wanted) == named
        assert all_hold(here, [fact for fact in state.position.facts if fact.startswith("on")])
        assert all_hold(wanted, problem.goal)
        open_below = {colour for colour in named if not any(f.split()[:2] == ["on", colour] for f in problem.goal)}
        open_below -= {fact.split()[1] for fact in problem.goal if fact.startswith("ontable")}
        assert texts(drawing).count("...") == len(open_below)
        assert texts(drawing).count("clear") == sum(fact.startswith("clear") for fact in problem.goal)
        assert ("hand empty" in texts(drawing)) == ("handempty" in problem.goal)


def all_hold(places, facts):
    """Says whether blocks at these places stand on each other and on the table as the facts say."""
    floors = {places[fact.split()[1]][1] for fact in facts if fact.startswith("ontable")}
    supports = [(places[fact.split()[1]], places[fact.split()[2]]) for fact in facts if fact.startswith("on ")]
    rises = {round(lower[1] - upper[1], 6) for upper, lower in supports}
    same_place = all(upper[0] == lower[0] for upper, lower in supports)
    return same_place and len(floors) <= 1 and len(rises) <= 1 and all(rise > 0 for rise in rises)


def test_the_held_block_is_above_its_place_and_the_others_stay():
    task, problem = BLOCKS["one tower"]
    before, taken, down = (painted(task.draw(state))[0] for state in played(task, problem, (0, 0)))
    assert len({y for _, y in before.values()}) == 12
    assert before["gold"][1] < before["silver"][1]
    gold = taken.pop("gold")
    assert gold[1] < min(y for _, y in taken.values())
    assert down.pop("gold") == (gold[0], before["red"][1])
    assert before.pop("gold")
    assert before == taken == down


def test_blocksworld_says_the_steps_and_how_it_ended():
    task = BlocksWorld(slack=0)
    plan = [
        "unstack the blue block from on top of the red block",
        "put down the blue block",
        "pick up the red block",
        "stack the red block on top of the blue block",
    ]
    state = task.reset(SWAP)
    assert "4 of 4 steps left" in texts(task.draw(state))
    for action in plan:
        assert not {"solved", "failed"} & set(texts(task.draw(state)))
        state = task.step(state, action)
    assert {"solved", "0 of 4 steps left", "1 of 1 goal facts hold"} <= set(texts(task.draw(state)))
    failed = texts(task.draw(played(task, SWAP, (0, 0, 0, 0))[-1]))
    assert "failed" in failed
    assert "solved" not in failed


# -- NumberLine ------------------------------------------------------------------------------------
def head(drawing):
    """Returns where the walker is: the middle of the one disc above the line."""
    (x,) = [s.x for s in drawing.shapes if isinstance(s, Circle) and STRIP + 20 < s.y < GROUND - 20]
    return x


@pytest.mark.parametrize("high", [5, LONGEST, LONGEST + 1, 100])
def test_the_walker_goes_right_on_plus_and_left_on_minus(high):
    task = NumberLine(high=high)
    goal = high // 2
    for start in range(high):
        if goal in (start, start + 1):
            continue
        state = NumberLineState(NumberLineProblem(start, goal, 0, high), start)
        right = task.step(state, "+")
        back = task.step(right, "-")
        window = [window_of(task.draw(s)) for s in (state, right)]
        if window[0] == window[1]:
            assert head(task.draw(state)) < head(task.draw(right))
        assert head(task.draw(back)) == head(task.draw(state))
        if high > LONGEST:
            assert dot(task.draw(state)) < dot(task.draw(right))


def window_of(drawing):
    """Returns the numbers under the ticks."""
    return [text for text in texts(drawing) if text.lstrip("-").isdigit()]


def dot(drawing):
    """Returns where the walker is on the strip with all of a long line."""
    (x,) = [s.x for s in drawing.shapes if isinstance(s, Circle) and s.y == STRIP and not s.outline]
    return x


def test_the_window_seldom_moves_and_never_loses_the_walker():
    task, (low, goal, high) = NumberLine(high=1000), (0, 437, 1000)
    windows = []
    for position in range(low, high + 1):
        drawing = task.draw(NumberLineState(NumberLineProblem(1, goal, low, high), position))
        windows.append(tuple(window_of(drawing)))
        assert 50 <= head(drawing) <= WIDTH - 50
        flag = any(isinstance(s, Rectangle) and (s.width, s.height) == (30, 20) for s in drawing.shapes)
        assert flag or abs(position - goal) > LONGEST // 2
        assert f"goal {goal}" in texts(drawing)
        assert f"walker at {position}" in texts(drawing)
    assert sum(one != other for one, other in pairwise(windows)) <= (high - low) / (LONGEST / 2)


def test_numberline_says_the_steps_and_how_it_ended():
    task, problem = LINES["short"]
    assert {"3 steps to go", "10 of 10 steps left"} <= set(texts(task.draw(task.reset(problem))))
    assert {"arrived", "7 of 10 steps left"} <= set(texts(task.draw(played(task, problem, (1, 1, 1))[-1])))
    task, problem = LINES["few steps"]
    assert {"out of steps", "0 of 3 steps left"} <= set(texts(task.draw(played(task, problem, (1, 0, 1))[-1])))
    arrived = NumberLine(high=5, horizon=3)
    assert "arrived" in texts(arrived.draw(played(arrived, NumberLineProblem(2, 5, 0, 5), (1, 1, 1))[-1]))


# -- Game24 ----------------------------------------------------------------------------------------
def highlighted(drawing):
    """Returns the numbers on the coloured cards, from left to right."""
    return [
        label.text
        for card, label in pairwise(drawing.shapes)
        if isinstance(card, Rectangle) and card.fill not in ("", "#ffffff") and isinstance(label, Label)
    ]


@pytest.mark.parametrize("name", [name for name in NUMBERS if name != "eight"])
@given(choices=CHOICES)
@settings(max_examples=25, deadline=None)
def test_the_numbers_left_and_the_operations_are_shown(name, choices):
    task, problem = NUMBERS[name]
    for state in played(task, problem, choices):
        drawing = task.draw(state)
        assert highlighted(drawing) == [str(value) for value in state.position.values]
        assert set(map(str, problem.numbers)) <= set(texts(drawing))
        assert {step.split(" (left")[0] for step in state.steps} <= set(texts(drawing))
        assert f"Make {problem.target}" in texts(drawing)
        over, right = not task.actions(state), task.success(state)
        assert ("right" in texts(drawing), "wrong" in texts(drawing)) == (over and right, over and not right)
        assert ("Target" in texts(drawing)) == (not over)


def test_two_strong_lines_go_from_the_numbers_used_to_the_new_one():
    task, problem = NUMBERS["fractions"]
    state = task.step(task.reset(problem), "8 / 3 = 8/3 (left: 8/3 3 8)")
    drawing = task.draw(state)
    at = {}
    for shape in drawing.shapes:
        if isinstance(shape, Label):
            at.setdefault((shape.text, round(shape.y)), shape.x)
    rows = sorted({y for text, y in at if text == "3"})
    strong = [shape for shape in drawing.shapes if isinstance(shape, Line) and shape.thickness == 3]
    assert {line.x2 for line in strong} == {at["8/3", rows[1]]}
    assert {line.x1 for line in strong} == {at["3", rows[0]], at["8", rows[0]]}
    assert len([shape for shape in drawing.shapes if isinstance(shape, Line)]) == 4


def test_equal_numbers_bear_the_formula_that_tells_them_apart():
    task, problem = NUMBERS["equal numbers"]
    state = task.step(task.reset(problem), "3 * 2 = 6 (left: 2 6 6)")
    assert state.position.written == "2 (3 * 2) 6"
    assert highlighted(task.draw(state)) == ["2", "6", "6"]
    assert "(3 * 2)" in texts(task.draw(state))
