"""The index view and the token view: what they show, and that they keep nothing of the episode."""

import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import gfn_envs  # noqa: F401
from gfn_envs.wrappers import DiscreteActions, TokenObservation

IDS = ("gfn_envs/Game24-v0", "gfn_envs/NumberLine-v0")
BYTES = 256


def encode(text):
    return list(text.encode())


def index_env(env_id=IDS[0], **options):
    return DiscreteActions(gym.make(env_id, **options))


def token_env(env_id=IDS[0], **options):
    return TokenObservation(index_env(env_id, **options), encode, BYTES, observation_length=200, action_length=200)


def decoded(row):
    return bytes(int(token) for token in row if token < BYTES).decode()


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("view", [index_env, token_env])
def test_check_env_passes(view, env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version.*")
        check_env(view(env_id))


@pytest.mark.parametrize("env_id", IDS)
def test_masks_agree_with_info_all_the_way(env_id):
    env = index_env(env_id)
    rng = np.random.default_rng(0)
    for seed in range(5):
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            mask = env.action_masks()
            assert mask.dtype == np.bool_
            assert mask.shape == (env.action_space.n,)
            np.testing.assert_array_equal(mask, info["action_mask"].astype(bool))
            assert mask.sum() == len(info["admissible_actions"])
            choice = int(rng.choice(np.flatnonzero(mask)))
            expected = info["admissible_actions"][choice]
            _, _, terminated, truncated, info = env.step(choice)
            assert info["parsed_action"] == expected
            over = terminated or truncated
        assert not env.action_masks().any()


@pytest.mark.parametrize("index", [35, 36, -1, 10**6])
@pytest.mark.parametrize(
    ("on_invalid", "ends", "reward"), [("penalize", False, -1.0), ("terminate", True, -1.0), ("noop", False, 0.0)]
)
def test_an_index_without_an_action_is_illegal(index, on_invalid, ends, reward):
    env = index_env(on_invalid=on_invalid)
    before, _ = env.reset(options={"problem": {"numbers": [4, 4, 6, 8]}})
    assert not env.action_masks()[35]
    after, got, terminated, _, info = env.step(index)
    assert info["invalid_action"]
    assert (after, got, terminated) == (before, reward, ends)


def test_numpy_indices_play():
    env = index_env()
    _, info = env.reset(seed=1)
    *_, after = env.step(np.int64(3))
    assert after["parsed_action"] == info["admissible_actions"][3]


def test_index_view_follows_set_state():
    env = index_env()
    env.reset(seed=0)
    start, mask = env.unwrapped.get_state(), env.action_masks()
    env.step(0)
    assert env.action_masks().sum() < mask.sum()
    _, info = env.unwrapped.set_state(start)
    np.testing.assert_array_equal(env.action_masks(), mask)
    *_, after = env.step(20)
    assert after["parsed_action"] == info["admissible_actions"][20]


def test_index_view_of_a_clone_is_independent():
    env = index_env()
    env.reset(seed=0)
    other = DiscreteActions(env.unwrapped.clone())
    env.step(0)
    assert other.action_masks().sum() > env.action_masks().sum()


def test_tokens_carry_text_and_actions():
    env = token_env()
    shown, info = env.reset(seed=3)
    assert shown in env.observation_space
    assert decoded(shown["observation"]) == env.unwrapped.task.observe(env.unwrapped.get_state().state)
    assert [decoded(row) for row in shown["actions"][: len(info["admissible_actions"])]] == info["admissible_actions"]
    assert (shown["actions"][len(info["admissible_actions"]) :] == BYTES).all()


def test_tokens_are_fresh_arrays():
    env = token_env()
    first, info = env.reset(seed=3)
    kept = first["actions"].copy()
    env.step(0)
    np.testing.assert_array_equal(first["actions"], kept)
    first["actions"][:] = 0
    text = env.unwrapped.task.observe(env.unwrapped.get_state().state)
    assert (env.tokens(text, info["admissible_actions"])["actions"] == kept).all()


@pytest.mark.parametrize("limit", ["observation_length", "action_length"])
def test_a_text_too_long_is_refused(limit):
    lengths = {"observation_length": 200, "action_length": 200, limit: 5}
    env = TokenObservation(index_env(), encode, BYTES, **lengths)
    with pytest.raises(ValueError, match=rf"tokens, {limit} is 5; pass a larger {limit}"):
        env.reset(seed=0)


def test_too_many_actions_are_refused():
    env = token_env(count=2)
    with pytest.raises(ValueError, match="7 legal actions do not fit into 6 rows"):
        env.tokens("text", ["a"] * 7)


def test_token_view_works_over_the_text_view():
    env = TokenObservation(gym.make(IDS[1]), encode, BYTES, observation_length=80, action_length=1)
    env.reset(seed=0)
    shown, *_ = env.step("+")
    assert shown in env.observation_space


def test_views_are_made_again_from_their_spec():
    env = token_env()
    again = gym.make(env.spec)
    assert again.observation_space == env.observation_space
    assert again.action_space == env.action_space
    np.testing.assert_array_equal(again.reset(seed=5)[0]["actions"], env.reset(seed=5)[0]["actions"])


def test_views_pickle():
    env = token_env()
    env.reset(seed=0)
    copy = pickle.loads(pickle.dumps(env))
    expected, found = env.step(1)[0], copy.step(1)[0]
    np.testing.assert_array_equal(found["observation"], expected["observation"])
    np.testing.assert_array_equal(found["actions"], expected["actions"])


def test_texts_are_encoded_once():
    calls = []

    def counting(text):
        calls.append(text)
        return encode(text)

    env = TokenObservation(index_env(), counting, BYTES, observation_length=200, action_length=200)
    env.reset(options={"problem": {"numbers": [4, 4, 6, 8]}})
    env.reset(options={"problem": {"numbers": [4, 4, 6, 8]}})
    assert len(calls) == len(set(calls))
