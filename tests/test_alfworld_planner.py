"""Shortest plans are proven by breadth-first search over the rules, in small random rooms with the engine's quirks."""

import random
from collections import Counter

import pytest

from gfn_envs.exact import EnumerationLimit, enumerate_states
from gfn_envs.making import make_env
from gfn_envs.tasks.alfworld import ALFWorld, ALFWorldProblem
from gfn_envs.tasks.alfworld.house import house_of
from gfn_envs.tasks.alfworld.household import TASK_TYPES, TREATMENTS
from gfn_envs.tasks.alfworld.planner import (
    _count_orders,
    _shortest_ways,
    all_optimal_plans,
    count_optimal_plans,
    optimal_plans,
    optimal_plans_from,
    shortest_plan,
    shortest_plan_from,
    solutions,
)
from gfn_envs.tasks.alfworld.problem import kind_of
from gfn_envs.tasks.alfworld.rules import apply, commands, conditions_met, read
from tests.test_alfworld import PLANS, kitchen
from tests.test_alfworld_games import official_problems, wins

LAMP, TWO = "look_at_obj_in_light", "pick_two_obj_and_place"
LARGEST_SEARCH = 100_000


def problem(task_type, place, receptacles, things, target="mug", name="game"):
    return ALFWorldProblem(name, task_type, "do it", target, place, receptacles, things)


def random_room(task_type, seed, rng):
    """Returns a game with shared poses, doors, things in two places at once, fixed ones and cool ones."""
    place = {LAMP: "desklamp"}.get(task_type, rng.choice(["cabinet", "shelf"]))
    appliance = [TREATMENTS[task_type.split("_")[1]]] if task_type.split("_")[1] in TREATMENTS else []
    kinds = appliance + [place] * (task_type != LAMP)
    kinds += rng.choices(["cabinet", "shelf", "sidetable", "cart", *appliance], k=rng.randint(2, 4) - len(kinds))
    rng.shuffle(kinds)
    poses = rng.randint(1, len(kinds))
    at = [*range(poses), *(rng.randrange(poses) for _ in kinds[poses:])]
    rng.shuffle(at)
    receptacles = [(name, pose, rng.random() < 0.5) for name, pose in zip(numbered(kinds), at, strict=True)]
    kinds = ["mug"] * (1 + (task_type == TWO)) + ["desklamp"] * (task_type == LAMP)
    others = ["mug", "candle", "desklamp"] if task_type == LAMP else ["mug", "mug", "candle", "teddybear"]
    kinds += rng.choices(others, k=max(rng.randint(2, 4) - len(kinds), 0))
    things = []
    for name in numbered(kinds):
        inside = rng.sample(range(len(receptacles)), 1 + (rng.random() < 0.25))
        fixed = rng.random() < (0.8 if kind_of(name) == "desklamp" else 0.1)
        things.append((name, inside, receptacles[inside[0]][1], fixed, rng.random() < 0.2))
    # Games of one name would have one hash, so that every look-up compares them.
    return problem(task_type, place, receptacles, things, name=f"game {seed}")


def numbered(kinds):
    return [f"{kind} {kinds[: i + 1].count(kind)}" for i, kind in enumerate(kinds)]


def random_state(task, game, rng):
    """Returns a state before the end, reached by random commands of random verbs."""
    state = task.reset(game)
    for _ in range(rng.choice([0, 4, 15])):
        verb = rng.choice(sorted({action.split()[0] for action in task.actions(state)}) or [""])
        options = [action for action in task.actions(state) if action.startswith(verb)]
        after = task.step(state, rng.choice(options)) if options else state
        if task.success(after):
            break
        state = after
    return state


def breadth_first(state):
    """Returns length and number of the shortest winning sequences of commands; None if there are too many rooms."""
    house = house_of(state.problem)
    layer, seen, depth = Counter({state.room: 1}), {state.room}, 0
    while layer and len(seen) < LARGEST_SEARCH:
        if won := sum(n for room, n in layer.items() if conditions_met(house, room) == house.conditions):
            return depth, won
        after = Counter()
        for room, count in layer.items():
            for command in commands(house, room):
                after[apply(house, room, read(house, command))] += count
        layer = Counter({room: count for room, count in after.items() if room not in seen})
        seen.update(layer)
        depth += 1
    return (None, 0) if not layer else None


def played(task, state, plan):
    for command in plan:
        assert command in task.actions(state)
        state = task.step(state, command)
    return state


def check_one_room(task_type, seed):
    """Compares the planner with the search, from the start and from a random state; returns the length found."""
    rng = random.Random(f"{task_type} {seed}")
    task, game = ALFWorld(horizon=100), random_room(task_type, seed, rng)
    state = random_state(task, game, rng)
    start = task.reset(game)
    for here in {start, state}:
        found = breadth_first(here)
        if found is None:
            continue
        length, count = found
        if length is None:
            with pytest.raises(ValueError, match=f"'{game.id}' cannot be won"):
                shortest_plan_from(here)
            continue
        plan = shortest_plan_from(here)
        assert len(plan) == length, (game, here.room)
        assert task.success(played(task, here, plan))
        ways = _shortest_ways(game, here.room)
        assert sum(_count_orders(house_of(game), here.room, way) for way in ways) == count, (game, here.room)
        if here == start:
            check_all_plans(task, start, length, count)
    return found


def check_all_plans(task, start, length, count):
    game = start.problem
    assert count_optimal_plans(game) == count, game
    plans, classes = all_optimal_plans(game), optimal_plans(game)
    assert len(plans) == len(set(plans)) == count
    assert list(plans) == sorted(plans)
    assert all(len(plan) == length and task.success(played(task, start, plan)) for plan in plans[:200])
    assert set(classes) <= set(plans)
    chains = {errands(task, start, plan) for plan in plans}
    assert len({errands(task, start, plan) for plan in classes}) == len(classes) == len(chains)
    assert min(classes) == shortest_plan(game)


def errands(task, start, plan):
    """Returns what plans up to commuting steps share."""
    hand = tuple(command for command in plan if command.split()[0] not in ("go", "open", "use"))
    lamps = frozenset(command for command in plan if command.startswith("use "))
    return hand, lamps, played(task, start, plan).room.pose


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_lengths_and_numbers_of_plans_are_those_of_breadth_first_search(task_type):
    found = [check_one_room(task_type, seed) for seed in range(60)]
    assert len({one[0] for one in found if one}) >= 4  # not only trivial rooms


@pytest.mark.slow
@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_the_same_in_many_more_rooms(task_type):
    for seed in range(1000, 1600):
        check_one_room(task_type, seed)


# -- rooms counted by hand -------------------------------------------------------------------------
def test_orders_of_commuting_steps_and_names_of_a_pose_are_counted():
    """Two closed cabinets at one pose: three orders of the two doors and the taking, times two names to go to."""
    game = problem(
        "pick_and_place_simple", "shelf", [("cabinet 1", 0, True), ("shelf 1", 0, True)], [("mug 1", (0,), 0)]
    )
    plan = ("go to cabinet 1", "open cabinet 1", "take mug 1 from cabinet 1", "open shelf 1", "move mug 1 to shelf 1")
    assert shortest_plan(game) == plan
    assert optimal_plans(game) == (plan,)
    assert count_optimal_plans(game) == 3 * 2
    assert plan in all_optimal_plans(game)
    with pytest.raises(EnumerationLimit, match="'alfworld/game' has 6 shortest plans, more than 5; pass limit="):
        all_optimal_plans(game, limit=5)


QUIRKS = {
    "the treated thing is in place, too": (
        [("cabinet 1", 2), ("sinkbasin 1", 2, True), ("sidetable 1", 1), ("cabinet 2", 0)],
        [("mug 1", (3,)), ("mug 2", (1, 0)), ("mug 3", (3,))],
        ("go to sinkbasin 1",),
    ),
    "one is put down for another that is in place": (
        [("shelf 1", 1), ("cabinet 1", 0), ("sinkbasin 1", 2), ("cart 1", 1)],
        [("mug 1", (0,)), ("mug 2", (1, 3))],
        ("go to shelf 1", "take mug 1 from shelf 1"),
    ),
    "one is put in place and taken from where it is, too": (
        [("cabinet 1", 0), ("sinkbasin 1", 1), ("cart 1", 0), ("shelf 1", 0)],
        [("mug 1", (2, 3))],
        ("go to cart 1",),
    ),
}


@pytest.mark.parametrize("quirk", QUIRKS)
def test_things_in_two_receptacles_open_other_ways(quirk):
    receptacles, things, before = QUIRKS[quirk]
    game = problem("pick_clean_then_place_in_recep", "cabinet", receptacles, things)
    house, state = house_of(game), played(ALFWorld(), ALFWorld().reset(game), before)
    counted = sum(_count_orders(house, state.room, way) for way in _shortest_ways(game, state.room))
    assert (len(shortest_plan_from(state)), counted) == breadth_first(state)


def test_two_things_can_come_in_either_order():
    game = problem(
        TWO, "shelf", [("cart 1", 0), ("shelf 1", 1), ("sofa 1", 2)], [("mug 1", (0,), 0), ("mug 2", (2,), 2)]
    )
    assert len(shortest_plan(game)) == 8
    assert len(optimal_plans(game)) == count_optimal_plans(game) == 2


def test_a_lamp_is_switched_on_before_or_after_taking():
    game = problem(LAMP, "desklamp", [("desk 1", 0)], [("desklamp 1", (0,), 0, True), ("mug 1", (0,), 0)])
    assert shortest_plan(game) == ("go to desk 1", "take mug 1 from desk 1", "use desklamp 1")
    assert (len(optimal_plans(game)), count_optimal_plans(game)) == (1, 2)


@pytest.mark.parametrize("task_type", PLANS)
def test_the_plans_of_the_kitchen_are_shortest(task_type):
    _, plan, _ = PLANS[task_type]
    assert len(shortest_plan(kitchen(task_type))) == len(plan)
    assert plan in all_optimal_plans(kitchen(task_type))


def test_a_plan_can_start_anywhere():
    task = ALFWorld()
    _, plan, _ = PLANS["pick_heat_then_place_in_recep"]
    state = task.reset(kitchen("pick_heat_then_place_in_recep"))
    for number, command in enumerate(plan):
        assert len(shortest_plan_from(state)) == len(plan) - number
        assert {len(each) for each in optimal_plans_from(state)} == {len(plan) - number}
        state = task.step(state, command)
    assert shortest_plan_from(state) == ()
    assert optimal_plans_from(state) == ((),)
    detour = played(task, task.reset(kitchen()), ("go to countertop 1", "take knife 1 from countertop 1"))
    assert shortest_plan_from(detour)[0] == "move knife 1 to countertop 1"


def test_what_no_receptacle_takes_is_a_dead_end():
    game = problem(
        "pick_and_place_simple", "shelf", [("cart 1", 0), ("shelf 1", 1)], [("mug 1", (0,), 0), ("teddybear 1", (0,))]
    )
    task = ALFWorld()
    state = played(task, task.reset(game), ("go to cart 1", "take teddybear 1 from cart 1"))
    with pytest.raises(ValueError, match="'alfworld/game' cannot be won: no sequence of commands"):
        shortest_plan_from(state)


def test_looking_at_a_lamp_is_refused():
    game = problem(LAMP, "desklamp", [("desk 1", 0)], [("desklamp 1", (0,), 0)], target="desklamp")
    with pytest.raises(ValueError, match="'alfworld/game' asks to look at a lamp"):
        shortest_plan(game)


# -- solutions -------------------------------------------------------------------------------------
def test_solutions_are_all_there_are_where_they_can_be_listed():
    things = [("mug 1", (0,), 0), ("mug 2", (0,), 0)]
    game = problem("pick_and_place_simple", "shelf", [("cart 1", 0), ("shelf 1", 0)], things)
    # One more step is one of 3 without effect at the start, of 5 before the cart, or of 6 with a mug in hand.
    for horizon, count in ((2, 0), (3, 4), (4, 4 + (3 + 5 + 6) * 4)):
        task = ALFWorld(horizon=horizon)
        assert solutions(task, game) == enumerate_states(task, game).solutions
        assert len(solutions(task, game)) == count


def test_solutions_are_shortest_plans_beyond_listing():
    assert solutions(ALFWorld(), kitchen()) == tuple("; ".join(plan) for plan in optimal_plans(kitchen()))
    assert solutions(ALFWorld(horizon=11), kitchen()) == solutions(ALFWorld(), kitchen())


def test_a_game_that_is_won_at_its_start_or_cannot_be_won_has_these_solutions():
    shelf, cart = ("shelf 1", 0), ("cart 1", 1)
    won = problem("pick_and_place_simple", "shelf", [shelf, cart], [("mug 1", (0,), 0)])
    lost = problem("pick_and_place_simple", "shelf", [shelf, cart], [("mug 1", (1,), 1, True)])
    assert shortest_plan(won) == ()
    for game in (won, lost):
        task = ALFWorld(horizon=2)
        assert solutions(task, game) == enumerate_states(task, game).solutions


def test_a_game_that_is_won_at_its_start_is_not_played():
    won = problem("pick_and_place_simple", "shelf", [("shelf 1", 0), ("cart 1", 1)], [("mug 1", (0,), 0)])
    with pytest.raises(ValueError, match="'alfworld/game' is won at its start, so there is nothing to play"):
        make_env("ALFWorld", problems=[won])


def test_no_plans_are_known_of_a_game_that_cannot_be_won():
    lost = problem("pick_and_place_simple", "shelf", [("shelf 1", 0), ("cart 1", 1)], [("mug 1", (1,), 1, True)])
    assert ALFWorld().expert_plans(lost) == ALFWorld().solve(lost) == ()


def test_solutions_of_looking_at_a_lamp_are_listed():
    things = [("desklamp 1", (0,), 0), ("floorlamp 1", (0,), 0)]
    game = problem(LAMP, "floorlamp", [("desk 1", 0)], things, target="desklamp")
    found = solutions(ALFWorld(horizon=4), game)
    assert found == enumerate_states(ALFWorld(horizon=4), game).solutions
    assert found


# -- official games --------------------------------------------------------------------------------
def check_official(games):
    """Asserts that walkthroughs win and are never shorter; returns how many there are and how many are shortest."""
    task, count, equal = ALFWorld(), 0, 0
    for game in games:
        assert wins(task, game), game.id
        assert len(game.walkthrough) <= task.horizon, game.id
        plan = shortest_plan(game)
        assert task.success(played(task, task.reset(game), plan)), game.id
        assert len(plan) <= len(game.walkthrough), game.id
        equal += len(plan) == len(game.walkthrough)
        if equal and count_optimal_plans(game) <= 1000:
            assert game.walkthrough in all_optimal_plans(game)
        count += 1
    return count, equal


def test_a_start_of_the_official_games_is_solved_within_the_walkthrough(published_data):
    games = [game for game, _ in zip(official_problems(published_data, 1), range(150), strict=False)]
    assert check_official(games) == (150, 150)


@pytest.mark.slow
def test_all_official_games_are_solved_within_the_walkthrough(published_data):
    assert check_official(official_problems(published_data, 1)) == (3693, 3693)
