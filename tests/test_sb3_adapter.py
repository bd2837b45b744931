"""Models of Stable-Baselines3 as agents: what the model's own policy says, over the legal actions."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN, TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from baselines.sb3_adapter import SB3Agent, token_env
from gfn_envs.check_agent import check_agent

LINE, CARDS = "gfn_envs/NumberLine-v0", "gfn_envs/BlackJack-v0"
TEXT = "Goal: 5. Start: 3. Position: 3. Line: 0 to 5. Steps left: 10."
DOUBLING = {"doubling": True}
CARD_TEXT = "Beat the dealer. Your cards: A 6. Total: 17 (usable ace). Dealer shows: 10."


def encode(text):
    return [min(ord(character), 255) for character in text]


def made(algorithm, env_id=LINE, policy="MultiInputPolicy", **env_kwargs):
    env = token_env(env_id, env_kwargs, encode, 256)
    return algorithm(policy, env, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu")


def own_scores(model, text, actions, env_id, env_kwargs):
    """Returns what the policy says of all indices, by its own call for one observation."""
    tokens, _ = model.policy.obs_to_tensor(token_env(env_id, env_kwargs, encode, 256).tokens(text, actions))
    with torch.no_grad():
        if isinstance(model, DQN):
            return model.q_net(tokens)[0].numpy()
        if isinstance(model, QRDQN):
            return model.policy.quantile_net(tokens)[0].mean(dim=0).numpy()
        return model.policy.get_distribution(tokens).distribution.probs[0].double().numpy()


@pytest.mark.parametrize("algorithm", [PPO, A2C, TRPO, MaskablePPO, DQN, QRDQN])
@pytest.mark.parametrize("legal", [("stick", "hit", "double"), ("stick", "hit")], ids=len)
def test_the_policy_is_that_of_the_model_over_legal_actions(algorithm, legal):
    model = made(algorithm, CARDS, **DOUBLING)
    agent = SB3Agent(model, CARDS, DOUBLING, encode)
    scores = own_scores(model, CARD_TEXT, legal, CARDS, DOUBLING)[: len(legal)]
    greedy = np.eye(len(legal))[scores.argmax()]
    expected = greedy if algorithm in (DQN, QRDQN) else scores / scores.sum()
    (probabilities,) = agent.action_probabilities([CARD_TEXT], [legal])
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    answers = agent.act([CARD_TEXT] * 50, [legal] * 50, np.random.default_rng(0))
    assert set(answers) <= {action for action, p in zip(legal, expected, strict=True) if p > 0}


@pytest.mark.parametrize("algorithm", [PPO, MaskablePPO, DQN])
def test_adapted_models_keep_the_contract(algorithm):
    model = made(algorithm)
    checks = check_agent(lambda: SB3Agent(model, LINE, encode=encode), [LINE], decisions=64)
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize("wrap", [VecNormalize, lambda env: VecFrameStack(env, 2)], ids=["normalize", "stack"])
def test_models_that_saw_something_else_are_refused(wrap):
    """The spaces of normalised token ids are those of the ids themselves."""
    env = wrap(DummyVecEnv([lambda: token_env(LINE, {}, encode, 256)]))
    model = PPO("MultiInputPolicy", env, policy_kwargs={"net_arch": [8]}, device="cpu")
    with pytest.raises(ValueError, match=r"PPO learned behind Vec\w+, and an agent is asked with texts alone"):
        SB3Agent(model, LINE, encode=encode)


def test_hidden_states_and_other_views_are_refused():
    with pytest.raises(ValueError, match="history='all'"):
        SB3Agent(made(RecurrentPPO, policy="MultiInputLstmPolicy"), LINE, encode=encode)
    with pytest.raises(ValueError, match=r"did not learn on TokenObservation; train it on token_env"):
        SB3Agent(PPO("MlpPolicy", gym.make("CartPole-v1"), device="cpu"), LINE)
    with pytest.raises(ValueError, match=f"'{CARDS}' has"):
        SB3Agent(made(PPO, CARDS, **DOUBLING), CARDS, encode=encode)
