"""What happens in a room without the player, as exact distributions."""

import gymnasium as gym
import numpy as np
import pytest

from gfn_envs.checks import check_task
from gfn_envs.stochastic import RandomEvents
from gfn_envs.tasks.alfworld import ALFWorld
from gfn_envs.tasks.alfworld.generator import shipped_games
from gfn_envs.tasks.alfworld.house import house_of, members

GAMES = shipped_games()[:60:6]
TASK = ALFWorld()


def states_of(problem, steps=12):
    rng, state = np.random.default_rng(0), TASK.reset(problem)
    for _ in range(steps):
        yield state
        actions = TASK.actions(state)
        if not actions:
            return
        # Doors are opened whenever one can be, so that some are open.
        wanted = [action for action in actions if action.startswith("open")] or actions
        state = TASK.step(state, wanted[rng.integers(len(wanted))])


@pytest.mark.parametrize("problem", GAMES, ids=lambda problem: problem.id)
def test_events_are_distributions_over_doors_and_places(problem):
    house = house_of(problem)
    for state in states_of(problem):
        before, happened = state.room, TASK.events(state)
        assert sum(p for p, _ in happened) == pytest.approx(1)
        assert len({after for _, after in happened}) == len(happened)
        for _, after in happened:
            room = after.room
            closed = list(members(before.opened & ~room.opened))
            moved = [place for place in range(len(room.inside)) if room.inside[place] != before.inside[place]]
            assert (len(closed), len(moved)) in ((1, 0), (0, 2))
            assert (room.pose, room.held) == (before.pose, before.held)
            assert room.opened | before.opened == before.opened
            if moved:
                assert sum(map(int.bit_count, room.inside)) == sum(map(int.bit_count, before.inside))
                (into,) = [place for place in moved if room.inside[place] & ~before.inside[place]]
                assert house.accepts[into] & (room.inside[into] & ~before.inside[into])
            assert after.seen == state.seen, "the player does not know"
            assert (after.history, after.answer) == (state.history, state.answer)


def test_doors_and_things_share_the_chance():
    problem = next(p for p in GAMES if any(r.openable for r in p.receptacles))
    state = next(s for s in states_of(problem, 40) if s.room.opened)
    doors = sum(p for p, after in TASK.events(state) if after.room.opened != state.room.opened)
    assert doors == pytest.approx(0.5)
    start = TASK.reset(problem)
    assert all(after.room.opened == 0 for _, after in TASK.events(start)), "no door is open yet"


def test_the_contract_holds_with_events():
    task = RandomEvents(ALFWorld(horizon=4), 0.5)
    assert [check for check in check_task(task, GAMES[:2]) if not check.passed] == []


def test_events_go_through_gym_make_and_are_told():
    env = gym.make("gfn_envs/ALFWorld-v0", stochasticity={"RandomEvents": {"probability": 1.0}})
    _, info = env.reset(seed=0)
    rooms = []
    for action in ("look", "look"):
        *_, info = env.step(action)
        assert info["stochasticity"] == {"RandomEvents": 1.0}, "a look changes nothing, so something happened"
        rooms.append(env.unwrapped.get_state().state.room)
    assert rooms[0] != rooms[1]
