"""RecurrentPPO: it reads a transcript turn by turn, as it learned to, and remembers what texts do not tell."""

import numpy as np
import pytest
import torch

from baselines.ppo import PPOAgent
from baselines.ppo_contestants import RecurrentPPOContestant
from baselines.recurrent_ppo import RecurrentPPOAgent
from baselines.suites import read_suite
from benchmarks.memory_bound import FIRST, bounds, solved, with_memory, without_memory
from gfn_envs.agents import Budget
from gfn_envs.exact import analyse, enumerate_states
from gfn_envs.histories import ILLEGAL_SHOWN, turns_of
from gfn_envs.making import make_env, make_text_env
from gfn_envs.rollout import rollout
from gfn_envs.stochastic import ActionNoise
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem

NUMBER_LINE, ALFWORLD = "gfn_envs/NumberLine-v0", "gfn_envs/ALFWorld-v0"
SMALL = {"num_envs": 4, "n_steps": 8, "batch_size": 16, "width": 16}
HIDDEN = {"HiddenFields": {"pattern": "(?<=Goal: )[0-9]+|(?<=Steps left: )[0-9]+"}}
SEARCH = {"low": 0, "high": 2, "horizon": 3, "history": "all", "stochasticity": HIDDEN}
BOTH_ENDS = [{"start": 1, "goal": goal, "low": 0, "high": 2} for goal in (0, 2)]


def encode(text):
    return [ord(character) % 300 for character in text]


def small(env_kwargs=SEARCH, env_id=NUMBER_LINE, **settings):
    return RecurrentPPOAgent(env_id, env_kwargs, encode=encode, vocabulary_size=300, **{**SMALL, **settings})


def search_task():
    return make_env("NumberLine", **SEARCH).task


def prompts(agent_task, problems=BOTH_ENDS):
    """Returns every transcript of the little game, with its legal actions."""
    graphs = [enumerate_states(agent_task, agent_task.problem_from_json(problem)) for problem in problems]
    found = [(s, a) for graph in graphs for s, a in zip(graph.states, graph.actions, strict=True) if a]
    return [agent_task.observe(state) for state, _ in found], [actions for _, actions in found]


def success(agent, env_kwargs=SEARCH, problems=BOTH_ENDS):
    task = make_env("NumberLine", **env_kwargs).task
    graphs = [enumerate_states(task, task.problem_from_json(problem)) for problem in problems]
    return float(np.mean([graph.reached(graph.policy_of(agent)) @ graph.successes for graph in graphs]))


# -- what it says is what it learned ---------------------------------------------------------------
def test_it_says_of_a_transcript_what_it_sampled_from_while_it_read_turn_by_turn():
    """The network is driven as RecurrentPPO drives it, from state to state, through two episodes."""
    agent = small()
    agent.learn(64)
    view, policy = agent._view, agent._model.policy
    state = (torch.zeros(1, 1, 16), torch.zeros(1, 1, 16))
    checked = 0
    for seed in (3, 4):
        tokens, info = view.reset(seed=seed)
        first, over, rng = 1.0, False, np.random.default_rng(seed)
        while not over:
            with torch.no_grad():
                distribution, state = policy.get_distribution(
                    policy.obs_to_tensor(tokens)[0], state, torch.tensor([first])
                )
            expected = distribution.distribution.probs[0].numpy()
            legal = info["admissible_actions"]
            transcript = view.unwrapped.task.observe(view.unwrapped.get_state().state)
            (found,) = agent.action_probabilities([transcript], [legal])
            np.testing.assert_allclose(found, expected[: len(legal)], atol=1e-6)
            assert expected[len(legal) :].sum() == 0.0
            tokens, _, terminated, truncated, info = view.step(int(rng.integers(len(legal))))
            over, first, checked = terminated or truncated, 0.0, checked + 1
    assert checked >= 3


def test_transcripts_are_read_alike_alone_and_together():
    agent = small()
    agent.learn(64)
    observations, legal = prompts(search_task())
    assert len({len(turns_of(text)) for text in observations}) == 3
    together = agent.action_probabilities(observations * 70, legal * 70)
    assert len(together) > 2 * 256
    for index in range(len(observations)):
        (alone,) = agent.action_probabilities([observations[index]], [legal[index]])
        for copy in range(70):
            np.testing.assert_allclose(together[index + copy * len(observations)], alone, rtol=1e-5)


def test_the_past_decides_and_not_the_newest_turn_alone():
    """Two walks end with the same turn; only a memory tells them apart."""
    line = {**SEARCH, "high": 4, "horizon": 5}
    agent, task = small(line), make_env("NumberLine", **line).task
    agent.learn(64)
    texts = []
    for actions in ("+-+", "-++"):
        state = task.reset(task.problem_from_json({"start": 2, "goal": 4, "low": 0, "high": 4}))
        for action in actions:
            state = task.step(state, action)
        texts.append(task.observe(state))
    assert turns_of(texts[0])[-1] == turns_of(texts[1])[-1]
    first, second = agent.action_probabilities(texts, [("-", "+")] * 2)
    assert np.abs(first - second).max() > 1e-6


@pytest.mark.parametrize(("env_id", "kwargs"), [(NUMBER_LINE, SEARCH), (ALFWORLD, {"history": "all", "horizon": 4})])
def test_it_never_plays_a_row_without_an_action(env_id, kwargs):
    agent = small(kwargs, env_id)
    assert [row["illegal"] for row in agent.learn(64)] == [0.0, 0.0]
    assert agent._view.max_actions > len(agent._view.reset(seed=0)[1]["admissible_actions"]) or env_id == NUMBER_LINE


def test_an_attempt_without_an_action_is_a_turn_that_it_can_read():
    agent, task = small(), search_task()
    failed = task.fail(task.reset(task.problem_from_json(BOTH_ENDS[0])))
    text = task.observe(failed)
    assert turns_of(text)[-1].startswith(f"{ILLEGAL_SHOWN}\n")
    (found,) = agent.action_probabilities([text], [task.actions(failed)])
    assert found.sum() == pytest.approx(1.0, abs=1e-12)


def test_permuted_candidates_permute_the_probabilities():
    agent = small()
    agent.learn(64)
    observations, legal = prompts(search_task())
    before = agent.action_probabilities(observations, legal)
    after = agent.action_probabilities(observations, [actions[::-1] for actions in legal])
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_allclose(ours, theirs[::-1], rtol=1e-5)
    assert max(p.std() for p in before) > 1e-6


# -- the same agent as the others ------------------------------------------------------------------
def test_one_seed_gives_one_agent_and_saved_agents_play_the_same(tmp_path):
    observations, legal = prompts(search_task())
    found = []
    for seed in (1, 1, 2):
        agent = small(seed=seed)
        agent.learn(64)
        found.append(np.concatenate(agent.action_probabilities(observations, legal)))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    agent.save(tmp_path)
    loaded = RecurrentPPOAgent.load(tmp_path, encode)
    np.testing.assert_array_equal(found[2], np.concatenate(loaded.action_probabilities(observations, legal)))
    loaded.learn(32)


def test_it_plays_batches_of_transcripts():
    task = search_task()
    problems = [task.problem_from_json(problem) for problem in BOTH_ENDS * 3]
    played = rollout(task, small(), problems, np.random.default_rng(0))
    assert all(trajectory.complete for trajectory in played)


@pytest.mark.parametrize("history", [None, 4])
def test_texts_without_the_whole_history_are_refused(history):
    kwargs = {name: value for name, value in SEARCH.items() if name != "history"}
    kwargs |= {} if history is None else {"history": history}
    with pytest.raises(ValueError, match=r"reads turn by turn, and .* was made without .* make it with history='all'"):
        RecurrentPPOContestant().learn(NUMBER_LINE, Budget(environment_steps=8), 0, kwargs)


# -- memory pays -----------------------------------------------------------------------------------
def test_it_finds_a_hidden_goal_that_no_player_of_the_newest_position_finds_as_often():
    """The goal is at either end, two steps apart, and three steps are allowed: look at one end, then at the other.

    Who sees the position alone plays + with probability p in the middle, and turns back with probability q or r at the
    end it came to. Of the two goals one is found at once with p, or after the other end with (1 - p) q p: over both
    (1 + p (1 - p) (q + r)) / 2 <= 0.75.
    """
    agent = small(seed=0, width=32, num_envs=16, n_steps=16, batch_size=64)
    for _ in range(3):
        agent.learn(2_000)
        if success(agent) > 0.9:
            break
    assert success(agent) > 0.9


@pytest.mark.parametrize("arena", read_suite("memory").environments, ids=lambda arena: arena.name)
def test_the_memory_suite_tells_nothing_but_what_was_done(arena):
    env, actions = make_text_env(arena.id, {**arena.kwargs, "split": "all"}), "++--+-"
    told = set()
    for problem in env.problems:
        state = env.task.reset(problem)
        for action in actions:
            if env.task.actions(state):
                state = env.task.outcomes(state, action)[0][1]
        if env.task.actions(state):
            told.add(env.task.observe(state))
    assert len(told) == 1
    without, best = bounds(arena)
    assert 0.7 < without < best - 0.1


def test_players_without_a_memory_are_scored_exactly():
    problems = [NumberLineProblem(start, goal, 0, 4) for start in range(5) for goal in range(5) if start != goal]
    for task in (NumberLine(high=4), ActionNoise(NumberLine(high=4), 0.2)):
        even = dict.fromkeys((FIRST, "+", "-"), np.array([0.5]))
        chance = np.mean([analyse(task, problem).chance for problem in problems])
        assert solved(task, problems, [even] * task.horizon) == pytest.approx(chance)
    there, back = (dict.fromkeys((FIRST, "+", "-"), np.array([share])) for share in (0.0, 1.0))
    assert solved(NumberLine(high=4), problems, [there] * 4 + [back] * 4) == 1
    assert solved(NumberLine(high=4), problems, [there] * 8) == 0.5  # the goals below the start


@pytest.mark.slow
def test_it_counts_its_steps_where_no_turn_tells_how_many_there_were():
    """Two steps one way, then four the other: all turns after the same action look alike."""
    pattern = "(?<=Goal: )[0-9]+|(?<=Position: )[0-9]+|(?<=Steps left: )[0-9]+"
    goals = [{"start": 2, "goal": goal, "low": 0, "high": 4} for goal in (0, 4)]
    blind = {**SEARCH, "high": 4, "horizon": 6, "stochasticity": {"HiddenFields": {"pattern": pattern}}}
    alike = [NumberLineProblem(**goal) for goal in goals]
    assert without_memory(NumberLine(high=4, horizon=6), alike) == pytest.approx(0.625, abs=0.01)
    assert with_memory(NumberLine(high=4, horizon=6), alike) == 1
    agent = small(
        {**blind, "problems": goals},
        width=32,
        num_envs=16,
        n_steps=16,
        batch_size=256,
        learning_rate=2e-3,
        n_epochs=10,
        entropy_bonus=0.05,
        seed=1,
    )
    for _ in range(8):
        agent.learn(2_000)
        if success(agent, blind, goals) > 0.75:
            break
    assert success(agent, blind, goals) > 0.75


def test_ppo_that_reads_the_same_transcripts_learns_on_what_it_is_asked_with():
    """Texts that tell news only stay in a history what they are: summaries would never be asked about."""
    agent = PPOAgent(ALFWORLD, {"history": 1, "horizon": 4}, encode=encode, vocabulary_size=300, **SMALL)
    shown = agent._view.unwrapped.task
    assert shown == shown.memoryless() == make_env("ALFWorld", history=1, horizon=4).task.memoryless()
