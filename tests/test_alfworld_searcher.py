"""The player that looks for things wins, takes only what it was shown, and knows nothing else, unless it is lucky."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gfn_envs.tasks.alfworld.house import house_of, members
from gfn_envs.tasks.alfworld.planner import optimal_plans
from gfn_envs.tasks.alfworld.searcher import informed_commands, search_policy, searching_plan
from gfn_envs.tasks.alfworld.summary import UNSEEN
from gfn_envs.tasks.alfworld.task import ALFWorld

TASK = ALFWorld()
GAMES = [game for kind in ALFWorld.difficulties.values() for game in ALFWorld(**kind).problems().problems[:12]]


def states_on(plan, problem):
    state = TASK.reset(problem)
    for command in plan:
        yield state, command
        state = TASK.step(state, command)
    yield state, None


@pytest.mark.parametrize("problem", GAMES, ids=lambda game: game.id)
def test_its_plans_win_and_take_only_what_was_shown(problem):
    plans = TASK.expert_plans(problem)
    assert plans == TASK.expert_plans(problem)
    assert len(set(plans)) == len(plans) > 0
    house, shortest = house_of(problem), len(optimal_plans(problem)[0])
    for plan in plans:
        assert shortest <= len(plan) <= TASK.horizon
        *steps, (end, _) = states_on(plan, problem)
        assert TASK.success(end)
        for state, command in steps:
            verb, _, rest = command.partition(" ")
            if verb == "take":
                thing, _, place = rest.partition(" from ")
                if len(house.here[state.room.pose]) == 1:  # otherwise the legal commands show what is beside it
                    shown = state.seen.contents[house.receptacle_numbers[place]]
                    assert shown != UNSEEN
                    assert shown >> house.thing_numbers[thing] & 1


def test_with_little_time_the_shortest_plans_that_fit_are_left():
    problem = GAMES[0]
    shortest = optimal_plans(problem)
    assert set(ALFWorld(horizon=len(shortest[0])).expert_plans(problem)) <= set(shortest)
    assert ALFWorld(horizon=len(shortest[0]) - 1).expert_plans(problem) == ()


def elsewhere(problem):
    """The start of a game, and the same with all targets in another place that was not seen either."""
    house, start = house_of(problem), TASK.reset(problem)
    homes = [place for place, inside in enumerate(start.room.inside) if inside & house.targets]
    other = next(place for place in range(len(house.receptacles)) if place not in homes and place not in house.places)
    inside = [there & ~house.targets for there in start.room.inside]
    inside[other] |= house.targets
    return start, start._replace(room=start.room._replace(inside=tuple(inside)))


@pytest.mark.parametrize(("luck", "same"), [(0.0, True), (0.5, False), (1.0, False)])
def test_without_luck_it_cannot_know_where_things_are(luck, same):
    pairs = [elsewhere(problem) for problem in GAMES[:4]]
    assert all((search_policy(TASK, start, luck) == search_policy(TASK, moved, luck)) == same for start, moved in pairs)


@pytest.mark.parametrize("luck", [0.0, 0.5, 1.0])
def test_it_looks_into_what_is_new_or_does_what_the_planner_does(luck):
    for problem in GAMES:
        start, firsts = TASK.reset(problem), Counter(plan[0] for plan in optimal_plans(problem))
        planned = {command: count / firsts.total() for command, count in firsts.items()}
        looks = [command for command in TASK.actions(start) if command.startswith("go to ")]
        chosen = search_policy(TASK, start, luck)
        assert sum(chosen.values()) == pytest.approx(1)
        if not informed_commands(start):
            for command in {*planned, *looks}:
                share = luck * planned.get(command, 0) + (1 - luck) * (command in looks) / len(looks)
                assert chosen.get(command, 0) == pytest.approx(share)


def test_it_goes_straight_on_as_soon_as_it_has_seen_all():
    for problem in GAMES:
        steps = states_on(TASK.expert_plans(problem)[0], problem)
        state = next(state for state, _ in steps if informed_commands(state))
        while TASK.actions(state):
            known = informed_commands(state)
            assert search_policy(TASK, state) == known
            assert sum(known.values()) == pytest.approx(1)
            state = TASK.step(state, min(known))
        assert TASK.success(state)


def test_it_opens_what_it_stands_before():
    problem = next(game for game in GAMES if house_of(game).openable)
    house, start = house_of(problem), TASK.reset(problem)
    door = next(members(house.openable & ~start.room.opened))
    state = TASK.step(start, f"go to {house.receptacles[door]}")
    assert set(search_policy(TASK, state)) <= {
        f"open {house.receptacles[place]}" for place in house.here[state.room.pose]
    }


def test_a_game_that_takes_too_long_is_no_plan():
    problem = next(game for game in GAMES if len(optimal_plans(game)[0]) > 3)
    assert searching_plan(ALFWorld(horizon=3), problem, np.random.default_rng(0)) is None
    late = ALFWorld(horizon=1)
    assert search_policy(late, late.step(late.reset(problem), "look")) == {}
