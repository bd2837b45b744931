"""Every registered environment keeps Gymnasium's contract and this package's own."""

import hashlib
import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import gfn_envs
from gfn_envs.env import INFO_KEYS, PRINTABLE
from gfn_envs.exact import EnumerationLimit, analyse, enumerate_states
from gfn_envs.making import register_task
from gfn_envs.problems import ProblemSet
from gfn_envs.task import LOG_REWARD_FLOOR
from gfn_envs.tasks import TASKS
from gfn_envs.tasks.numberline import NumberLine
from gfn_envs.wrappers import DiscreteActions

ROOT = Path(__file__).resolve().parent.parent
IDS = [f"gfn_envs/{name}-v0" for name in TASKS]
every_id = pytest.mark.parametrize("env_id", IDS)


def legal_or_nonsense(actions, rng, nonsense=0.0):
    """Returns a random legal action, or with some probability a text that is none."""
    if not actions or rng.random() < nonsense:
        return "nonsense"
    return actions[rng.integers(len(actions))]


def transcript(env, seed, episodes=5, nonsense=0.2):
    """Returns all that a player sees in some episodes of random play, as JSON values."""
    rng, seen = np.random.default_rng(seed), []
    observation, info = env.reset(seed=seed)
    for _ in range(episodes):
        seen.append([observation, plain(info)])
        over = False
        while not over:
            observation, reward, terminated, truncated, info = env.step(
                legal_or_nonsense(info["admissible_actions"], rng, nonsense)
            )
            over = terminated or truncated
            seen.append([observation, reward, terminated, truncated, plain(info)])
        observation, info = env.reset()
    return seen


def plain(info):
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in info.items()}


def digest(env_id):
    return hashlib.sha256(json.dumps(transcript(gym.make(env_id), 7)).encode()).hexdigest()


def test_all_games_are_registered():
    assert {env_id for env_id in gym.registry if env_id.startswith("gfn_envs/")} == set(IDS)
    assert {"Game24", "NumberLine"} <= set(TASKS)
    assert gym.make("gfn_envs:gfn_envs/Game24-v0").spec.id == "gfn_envs/Game24-v0"


@every_id
def test_gymnasiums_checker_has_no_complaint(env_id, fast_windows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(env_id, render_mode="ansi").unwrapped)


@every_id
def test_the_same_seed_gives_the_same_episodes_in_every_process(env_id):
    assert transcript(gym.make(env_id), 7) == transcript(gym.make(env_id), 7)
    assert transcript(gym.make(env_id), 7) != transcript(gym.make(env_id), 8)
    code = f"import sys; sys.path.insert(0, 'tests'); import test_environments as t; print(t.digest({env_id!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(env_id)


@every_id
def test_observations_and_actions_are_in_their_spaces(env_id):
    env, rng = gym.make(env_id), np.random.default_rng(0)
    observation, info = env.reset(seed=0)
    for _ in range(300):
        assert observation in env.observation_space
        assert all(action in env.action_space for action in info["admissible_actions"])
        assert info["action_mask"].dtype == np.int8
        assert info["action_mask"].tolist() == [
            int(i < len(info["admissible_actions"])) for i in range(env.unwrapped.task.max_actions)
        ]
        if info["admissible_actions"]:
            observation, _, _, _, info = env.step(legal_or_nonsense(info["admissible_actions"], rng))
        else:
            observation, info = env.reset()
    assert set(PRINTABLE) <= set(env.action_space.character_set)


@every_id
def test_info_tells_how_an_episode_ended(env_id):
    for step in transcript(gym.make(env_id), 3, episodes=30, nonsense=0.0):
        info, ended = step[-1], step[-1]["admissible_actions"] == []
        assert ("log_reward" in info) == ended
        assert info["terminal_cause"] in (("solved", "failed") if ended else (None,))
        assert info["success"] == (info["terminal_cause"] == "solved")
        assert info["invalid_action"] is False


@every_id
def test_info_holds_copies(env_id):
    env, other = gym.make(env_id), gym.make(env_id)
    _, info = env.reset(seed=0)
    _, untouched = other.reset(seed=0)
    first = info["admissible_actions"][0]
    info["admissible_actions"].clear()
    info["action_mask"][:] = 7
    assert plain(env.step(first)[4]) == plain(other.step(first)[4])
    assert plain(env.reset(seed=0)[1]) == plain(untouched)


@every_id
def test_a_vector_must_be_reset_first(env_id):
    vector = gym.make_vec(env_id, num_envs=2)
    with pytest.raises(gym.error.ResetNeeded, match="no episode has begun"):
        vector.step(["", ""])
    with pytest.raises(gym.error.ResetNeeded, match=r"the first reset\(\) begins all episodes"):
        vector.reset(options={"reset_mask": np.array([True, False])})
    vector.reset(seed=np.array([1, 2]))
    vector.step(["", ""])


@every_id
def test_vector_info_holds_copies(env_id):
    env, other = (gym.make_vec(env_id, num_envs=3) for _ in range(2))
    _, info = env.reset(seed=0)
    _, untouched = other.reset(seed=0)
    actions = [legal[0] for legal in info["admissible_actions"]]
    for key, value in info.items():
        if key == "admissible_actions":
            for legal in value:
                legal.clear()
        else:
            value[...] = value[::-1].copy()
    same(env.step(actions)[4], other.step(actions)[4])
    same(env.reset(seed=0)[1], untouched)


@every_id
def test_info_has_what_every_environment_tells_and_the_details_of_the_task(env_id):
    env = gym.make(env_id, on_invalid="terminate", stochasticity={"ActionNoise": {"probability": 0.5}}).unwrapped
    told = set(env.reset(seed=0)[1])
    told |= set(env.step(env.task.actions(env.get_state().state)[0])[4])
    if not env._episode.over:
        told |= set(env.step("nonsense")[4])
    assert told - set(env.task.details(env.get_state().state)) == INFO_KEYS


def same(info, other):
    """Asserts that two infos of vectors are equal."""
    assert info.keys() == other.keys()
    for key, value in info.items():
        if isinstance(value, dict):
            same(value, other[key])
        else:
            assert value.dtype == other[key].dtype
            assert value.tolist() == other[key].tolist(), key


@every_id
def test_environments_and_states_can_be_pickled(env_id):
    env = gym.make(env_id).unwrapped
    _, info = env.reset(seed=0)
    env.step(info["admissible_actions"][0])
    copy = pickle.loads(pickle.dumps(env))
    snapshot = env.get_state()
    assert copy.get_state() == snapshot == pickle.loads(pickle.dumps(snapshot))
    assert hash(copy.get_state()) == hash(snapshot)
    assert transcript(copy, 5) == transcript(env, 5)


# -- saving and branching --------------------------------------------------------------------------
def played_on(env, rng):
    """Returns what the rest of the episode and the next episode give."""
    seen, over = [], False
    legal = env.set_state(env.get_state())[1]["admissible_actions"]
    while not over:
        observation, reward, terminated, truncated, info = env.step(legal_or_nonsense(legal, rng, 0.2))
        legal, over = info["admissible_actions"], terminated or truncated
        seen.append((observation, reward, terminated, truncated, plain(info)))
    observation, info = env.reset()
    return [*seen, (observation, plain(info))]


def play_one_action_that_goes_on(env):
    """Brings an environment into the middle of an episode."""
    for seed in range(100):
        _, info = env.reset(seed=seed)
        start = env.get_state()
        for action in info["admissible_actions"]:
            env.set_state(start)
            _, _, terminated, truncated, _ = env.step(action)
            if not (terminated or truncated):
                return
    raise AssertionError("every first action ends the episode")


@every_id
def test_a_clone_goes_on_like_the_original_and_alone(env_id):
    env = gym.make(env_id).unwrapped
    play_one_action_that_goes_on(env)
    clone = env.clone()
    assert clone.get_state() == env.get_state()
    ahead = played_on(clone, np.random.default_rng(2))
    assert clone.get_state() != env.get_state()
    assert ahead == played_on(env, np.random.default_rng(2))


@every_id
def test_set_state_goes_back(env_id):
    env = gym.make(env_id).unwrapped
    observation, info = env.reset(seed=0)
    start = env.get_state()
    for action in info["admissible_actions"]:
        env.step(action)
        again, told = env.set_state(start)
        assert (again, plain(told)) == (observation, plain(info))
    while env._episode.position.actions:
        env.step(env._episode.position.actions[0])
    end = env.get_state()
    env.reset(seed=1)
    _, info = env.set_state(end)
    assert info["admissible_actions"] == []
    assert "log_reward" in info
    with pytest.raises(gym.error.ResetNeeded):
        env.step("anything")


def test_what_needs_an_episode_says_so():
    env = gym.make("gfn_envs/NumberLine-v0", render_mode="ansi").unwrapped
    many = gym.make_vec("gfn_envs/NumberLine-v0", num_envs=2, render_mode="ansi")
    for ask in (env.render, env.get_state, env.clone, many.render):
        with pytest.raises(gym.error.ResetNeeded, match=r"no episode has begun; call reset\(\) first"):
            ask()


def test_wrong_arguments_of_an_environment_get_one_sentence():
    env = gym.make("gfn_envs/NumberLine-v0").unwrapped
    with pytest.raises(TypeError, match=r"options of reset must be a dict such as \{'problem_id': \.\.\.\}, got 5"):
        env.reset(options=5)
    with pytest.raises(TypeError, match="set_state takes what get_state returned, got 'x'"):
        env.set_state("x")
    with pytest.raises(ValueError, match="num_envs must be at least 1, and an integer, got 2"):
        gfn_envs.TextVectorEnv("NumberLine", num_envs=2.5)
    for wrong in ("x", None):
        with pytest.raises(ValueError, match="invalid_reward must be a number, got"):
            gym.make("gfn_envs/NumberLine-v0", invalid_reward=wrong)
    with pytest.raises(ValueError, match="DiscreteActions needs an environment around a Task, got"):
        DiscreteActions(gym.make("CartPole-v1"))


def test_a_task_and_texts_without_memory_are_asked_for_in_their_form():
    with pytest.raises(ValueError, match=r"there is no task 'lines' \(tasks: .*NumberLine"):
        gym.make("gfn_envs/NumberLine-v0", task="lines")
    for wrong in ("no", 0, None):
        with pytest.raises(ValueError, match="memoryless must be True or False, got"):
            gym.make("gfn_envs/ALFWorld-v0", memoryless=wrong)


# -- illegal actions -------------------------------------------------------------------------------
@every_id
@pytest.mark.parametrize(
    ("on_invalid", "reward", "ends"), [("penalize", -1.0, False), ("noop", 0.0, False), ("terminate", -1.0, True)]
)
def test_what_an_illegal_action_does(env_id, on_invalid, reward, ends):
    env = gym.make(env_id, on_invalid=on_invalid)
    _, info = env.reset(seed=0)
    legal, task = info["admissible_actions"], env.unwrapped.task
    after = task.observe(task.fail(env.unwrapped.get_state().state))  # the same text, but for ALFWorld's answer
    observation, given, terminated, truncated, info = env.step("nonsense")
    assert (observation, given, terminated, truncated) == (after, reward, ends, False)
    assert (info["invalid_action"], info["parsed_action"], info["success"]) == (True, None, False)
    assert info["admissible_actions"] == legal
    assert info["terminal_cause"] == ("invalid_action" if ends else None)
    if ends:
        with pytest.raises(gym.error.ResetNeeded):
            env.unwrapped.step(legal[0])
    else:
        assert env.step(legal[0])[4]["invalid_action"] is False


@every_id
def test_only_illegal_actions_end_too(env_id):
    env = gym.make(env_id, invalid_reward=-0.5)
    env.reset(seed=0)
    task, state = env.unwrapped.task, env.unwrapped.get_state().state
    costs_a_step = task.fail(state) != state
    limit = task.horizon if costs_a_step else 4 * task.horizon
    for count in range(1, limit + 1):
        _, reward, terminated, truncated, info = env.step("nonsense")
        last = count == limit
        assert (reward, terminated, truncated) == (-0.5, last and costs_a_step, last and not costs_a_step)
    assert info["terminal_cause"] == ("failed" if costs_a_step else "step_limit")
    assert info["log_reward"] == LOG_REWARD_FLOOR


@every_id
@pytest.mark.parametrize(
    "mark",
    [
        "%s",
        "  %s \n",
        r"\boxed{%s}",
        "I think <answer>%s</answer>",
        "<action>%s</action>",
        '{"action": "%s"}',
        "Thought: so be it.\nAction: %s",
    ],
)
def test_a_legal_action_is_read_out_of_its_marks(env_id, mark):
    env, plainly = gym.make(env_id), gym.make(env_id)
    _, info = env.reset(seed=0)
    plainly.reset(seed=0)
    action = info["admissible_actions"][0]
    marked, bare = env.step(mark % action), plainly.step(action)
    assert marked[4]["parsed_action"] == action
    assert (marked[:4], plain(marked[4])) == (bare[:4], plain(bare[4]))


def test_aliases_are_read_in_the_environment():
    env = gym.make("gfn_envs/Game24-v0", problems=[{"numbers": [4, 6, 6, 8]}])
    env.reset(seed=0)
    assert env.step("<answer>4 * 6 = 24</answer>")[4]["parsed_action"] == "6 * 4 = 24 (left: 6 8 24)"


# -- options of make and reset ---------------------------------------------------------------------
@every_id
def test_reset_plays_the_problem_that_is_asked_for(env_id):
    env = gym.make(env_id)
    listed = isinstance(env.unwrapped.problems, ProblemSet)
    problem = env.unwrapped.problems.take(6, np.random.default_rng(0)).problems[-1]
    for options in ({"problem": problem}, {"problem": problem.to_json()}):
        assert env.reset(options=options)[1]["problem_id"] == problem.id
    if listed:
        assert env.reset(options={"problem_id": problem.id})[1]["problem_id"] == problem.id
    with pytest.raises(ValueError, match="did you mean" if listed else "too large to look up"):
        env.reset(options={"problem_id": problem.id + "0"})
    with pytest.raises(ValueError, match="options are 'problem' and 'problem_id'"):
        env.reset(options={"puzzle": 1})
    with pytest.raises(ValueError, match="must be a problem or its JSON fields"):
        env.reset(options={"problem": 3})


@every_id
def test_splits_draw_from_different_problems(env_id):
    drawn = {
        split: {env.reset(seed=0)[1]["problem_id"]} | {env.reset()[1]["problem_id"] for _ in range(60)}
        for split in ("train", "validation", "test")
        for env in [gym.make(env_id, split=split)]
    }
    assert not drawn["train"] & drawn["test"]
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["validation"] & drawn["test"]


@every_id
def test_wrong_keywords_get_the_nearest_name(env_id):
    with pytest.raises(TypeError, match="did you mean 'on_invalid'"):
        gym.make(env_id, on_invald="noop")
    with pytest.raises(ValueError, match="on_invalid must be one of"):
        gym.make(env_id, on_invalid="ignore")
    with pytest.raises(ValueError, match="invalid_reward must be finite"):
        gym.make(env_id, invalid_reward=float("nan"))
    with pytest.raises(ValueError, match="there is no split 'tset'"):
        gym.make(env_id, split="tset")
    with pytest.raises(ValueError, match="there is no problem file"):
        gym.make(env_id, problems="missing.jsonl")


@every_id
def test_render_shows_text(env_id):
    env = gym.make(env_id, render_mode="ansi")
    env.reset(seed=0)
    assert isinstance(env.render(), str)
    vector = gym.make_vec(env_id, num_envs=2, render_mode="ansi")
    vector.reset(seed=0)
    assert vector.render()[0] == env.render()


# -- vectors ---------------------------------------------------------------------------------------
COUNT = 5


def entries(info, index):
    """Returns the info of one environment of a vector, as the single environment gives it."""
    return {
        key: plain_entry(value[index])
        for key, value in info.items()
        if f"_{key}" in info and info[f"_{key}"][index] and not key.startswith("final_")
    }


def plain_entry(value):
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def pair(env_id, mode, on_invalid):
    """Returns a vector and as many single environments, reset with the same seeds."""
    vector = gym.make_vec(env_id, num_envs=COUNT, on_invalid=on_invalid, autoreset_mode=mode)
    singles = [gym.make(env_id, on_invalid=on_invalid) for _ in range(COUNT)]
    observations, info = vector.reset(seed=100)
    for index, env in enumerate(singles):
        observation, one = env.reset(seed=100 + index)
        assert (observations[index], entries(info, index)) == (observation, plain(one))
    return vector, singles, info


all_modes = pytest.mark.parametrize("on_invalid", ["penalize", "terminate", "noop"])


@every_id
@all_modes
def test_next_step_vector_equals_singles(env_id, on_invalid):
    vector, singles, info = pair(env_id, AutoresetMode.NEXT_STEP, on_invalid)
    rng, over = np.random.default_rng(0), [False] * COUNT
    for _ in range(120):
        actions = [legal_or_nonsense(legal, rng, 0.1) for legal in info["admissible_actions"]]
        observations, rewards, terminations, truncations, info = vector.step(actions)
        for index, env in enumerate(singles):
            if over[index]:
                observation, one = env.reset()
                expected = (observation, 0.0, False, False, plain(one))
            else:
                *result, one = env.step(actions[index])
                expected = (*result, plain(one))
            got = (observations[index], rewards[index], terminations[index], truncations[index], entries(info, index))
            assert got == expected
            over[index] = bool(expected[2] or expected[3])


@every_id
@all_modes
def test_same_step_vector_equals_singles(env_id, on_invalid):
    vector, singles, info = pair(env_id, AutoresetMode.SAME_STEP, on_invalid)
    rng, endings = np.random.default_rng(0), 0
    for _ in range(160):
        actions = [legal_or_nonsense(legal, rng, 0.1) for legal in info["admissible_actions"]]
        observations, rewards, terminations, truncations, info = vector.step(actions)
        for index, env in enumerate(singles):
            observation, *result, one = env.step(actions[index])
            assert [rewards[index], terminations[index], truncations[index]] == result
            if result[1] or result[2]:
                endings += 1
                assert info["_final_obs"][index]
                assert info["_final_info"][index]
                assert info["final_obs"][index] == observation
                assert entries(info["final_info"], index) == plain(one)
                observation, one = env.reset()
            else:
                assert "final_obs" not in info or not info["_final_obs"][index]
            assert (observations[index], entries(info, index)) == (observation, plain(one))
    assert endings > 10


@every_id
@all_modes
def test_disabled_vector_with_reset_mask_equals_singles(env_id, on_invalid):
    vector, singles, info = pair(env_id, AutoresetMode.DISABLED, on_invalid)
    rng = np.random.default_rng(0)
    for _ in range(120):
        actions = [legal_or_nonsense(legal, rng, 0.1) for legal in info["admissible_actions"]]
        observations, rewards, terminations, truncations, info = vector.step(actions)
        for index, env in enumerate(singles):
            *result, one = env.step(actions[index])
            got = [observations[index], rewards[index], terminations[index], truncations[index]]
            assert (got, entries(info, index)) == (result, plain(one))
        mask = terminations | truncations
        if mask.any():
            shown = list(observations)
            observations, info = vector.reset(options={"reset_mask": mask})
            for index, env in enumerate(singles):
                if mask[index]:
                    observation, one = env.reset()
                    assert (observations[index], entries(info, index)) == (observation, plain(one))
                else:
                    assert observations[index] == shown[index]
                    assert entries(info, index) == {}


def test_a_partial_reset_leaves_other_episodes_and_their_chance_alone():
    """Nothing is told of the others, no reward of a fresh one, and a seed is for those that it resets."""
    options = {"num_envs": 3, "autoreset_mode": "Disabled"}
    vector = gym.make_vec("gfn_envs/NumberLine-v0", horizon=2, **options)
    _, info = vector.reset(seed=0)
    for _ in range(2):
        _, _, terminations, _, info = vector.step([legal[0] for legal in info["admissible_actions"]])
    assert terminations.all()
    assert info["_log_reward"].all()
    _, info = vector.reset(options={"reset_mask": np.array([True, False, False])})
    assert not info.get("_log_reward", np.zeros(3)).any()
    assert info["_problem_id"].tolist() == [True, False, False]

    one, other = (gym.make_vec("gfn_envs/BlackJack-v0", **options) for _ in range(2))
    for cards in (one, other):
        cards.reset(seed=0)
    reseeded, _ = one.reset(seed=100, options={"reset_mask": np.array([True, False, False])})
    assert reseeded[0] == gym.make("gfn_envs/BlackJack-v0").reset(seed=100)[0]
    hits = [cards.step(["hit"] * 3)[0] for cards in (one, other)]
    assert hits[0][1:] == hits[1][1:]


@every_id
def test_a_disabled_vector_refuses_ended_episodes(env_id):
    vector = gym.make_vec(env_id, num_envs=2, on_invalid="terminate", autoreset_mode="Disabled")
    vector.reset(seed=0)
    vector.step(["nonsense", "nonsense"])
    with pytest.raises(gym.error.ResetNeeded):
        vector.step(["nonsense", "nonsense"])


@every_id
def test_wrong_arguments_of_a_vector_get_one_sentence(env_id):
    vector = gym.make_vec(env_id, num_envs=3)
    vector.reset(seed=[1, None, 2])
    with pytest.raises(ValueError, match="expected 3 actions, got 2"):
        vector.step(["a", "b"])
    with pytest.raises(ValueError, match="expected 3 seeds, got 2"):
        vector.reset(seed=[1, 2])
    for mask in ([True, False, True], np.array([True]), np.array([1, 0, 1])):
        with pytest.raises(ValueError, match=r"bool array of shape \(3,\)"):
            vector.reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match="at least one True"):
        vector.reset(options={"reset_mask": np.zeros(3, dtype=bool)})
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        gfn_envs.TextVectorEnv(env_id.split("/")[1].split("-")[0], num_envs=0)


@every_id
def test_a_vector_keeps_its_spaces(env_id):
    vector = gym.make_vec(env_id, num_envs=4)
    observations, info = vector.reset(seed=0)
    assert observations in vector.observation_space
    actions = tuple(legal[0] for legal in info["admissible_actions"])
    assert actions in vector.action_space
    observations, rewards, terminations, truncations, _ = vector.step(actions)
    assert observations in vector.observation_space
    assert (rewards.dtype, terminations.dtype, truncations.dtype) == (np.float64, np.bool_, np.bool_)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


@every_id
def test_make_vec_shows_true_text_where_shared_memory_freezes_it(env_id):
    true = [gym.make(env_id).reset(seed=seed)[0] for seed in (0, 1)]
    ours = gym.make_vec(env_id, num_envs=2)
    assert isinstance(ours.unwrapped, gfn_envs.TextVectorEnv)
    assert list(ours.reset(seed=0)[0]) == true
    # The known trap of Gymnasium: text that is passed through shared memory is not what was written.
    for shared, right in ((True, False), (False, True)):
        vector = gym.vector.AsyncVectorEnv([lambda: gym.make(env_id)] * 2, shared_memory=shared)
        try:
            assert (list(vector.reset(seed=0)[0]) == true) is right
        finally:
            vector.close()


@pytest.mark.parametrize("env_id", IDS)
def test_difficulties_are_presets_that_options_override(env_id):
    task = gym.make(env_id).unwrapped.task
    assert list(task.difficulties) == ["easy", "medium", "hard"]
    for name, preset in task.difficulties.items():
        env = gym.make(env_id, difficulty=name)
        assert env.unwrapped.task == type(task)(**preset)
        env.reset(seed=0)
    with pytest.raises(ValueError, match=r"no difficulty 'extreme' \(difficulties: easy, medium, hard\)"):
        gym.make(env_id, difficulty="extreme")


def test_an_option_given_goes_over_the_preset():
    env = gym.make("gfn_envs/NumberLine-v0", difficulty="hard", high=30).unwrapped
    assert (env.task.low, env.task.high) == (10, 30)
    assert gym.make_vec("gfn_envs/NumberLine-v0", difficulty="hard", high=30).task == env.task


def test_harder_is_harder_for_random_play():
    for env_id in ("gfn_envs/NumberLine-v0", "gfn_envs/BlocksWorld-v0"):
        envs = [gym.make(env_id, difficulty=name).unwrapped for name in ("easy", "medium", "hard")]
        chances = [
            np.mean([analyse(env.task, problem).chance for problem in env.problems.take(5, np.random.default_rng(0))])
            for env in envs
        ]
        assert chances == sorted(chances, reverse=True)


def target_policies(task, problems):
    """Returns for each prompt the exact target's action probabilities in all states that show it."""
    found = {}
    for problem in problems:
        try:
            graph = enumerate_states(task, problem, 20_000)
        except EnumerationLimit:
            continue
        policy = graph.flow_policy(graph.log_flows(graph.log_rewards))
        for state, actions, probabilities in zip(graph.states, graph.actions, policy, strict=True):
            if actions:
                found.setdefault((task.observe(state), actions), []).append(probabilities)
    return found


@pytest.mark.parametrize("env_id", [env_id for env_id in IDS if "ALFWorld" not in env_id])  # too large to list
def test_what_is_seen_decides_what_the_exact_sampler_does(env_id):
    """Otherwise no agent that reads texts could sample the target of all problems."""
    env = gym.make(env_id, difficulty="easy").unwrapped
    task = env.task.memoryless()
    found = target_policies(task, env.problems.take(12, np.random.default_rng(0)))
    assert found
    for prompt, policies in found.items():
        for other in policies[1:]:
            assert other == pytest.approx(policies[0], abs=1e-9), prompt


def test_without_its_start_a_walk_could_not_be_sampled_exactly():
    start = r"Start: \d+\. "  # P_B counts what can be reached from it
    task = gym.make("gfn_envs/NumberLine-v0", stochasticity={"HiddenFields": {"pattern": start}}).unwrapped.task
    found = target_policies(task, task.problems().problems)
    assert max(np.abs(a - b).max() for policies in found.values() for a in policies for b in policies) > 0.1


def test_details_of_any_kind_go_through_a_vector():
    class Wanderer(NumberLine):
        def details(self, state):
            return {"visited": tuple(range(state.time)), "time": state.time}

    register_task("Wanderer-v0", Wanderer)
    options = {"problems": [{"start": 0, "goal": 5}], "autoreset_mode": AutoresetMode.DISABLED}
    try:
        vector = gym.make_vec("Wanderer-v0", num_envs=3, **options)
    finally:
        del gym.registry["Wanderer-v0"]
    vector.reset()
    vector.step(["+"] * 3)
    vector.reset(options={"reset_mask": np.array([True, False, False])})
    *_, info = vector.step(["-"] * 3)
    assert info["visited"].tolist() == [(0,), (0, 1), (0, 1)]
    assert info["time"].tolist() == [1, 2, 2]
    assert info["time"].dtype == np.int64
