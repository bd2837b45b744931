"""Exploration: every behaviour policy is what its formula says, and none of them moves the target."""

from __future__ import annotations

import itertools
import json
import math
import runpy
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfn_agents.exploration import SelfRepellent, Tempered, VisitCounts, branch, repelled
from gfn_agents.local_search import greedy_search, log_acceptance, metropolis, regrow, suffix_log_probs, uniform_cuts
from gfn_agents.policy import TabularPolicy, temper
from gfn_agents.schedules import Schedule
from gfn_envs.exact import enumerate_states
from gfn_envs.rollout import replay_actions, rollout
from gfn_envs.tasks.blackjack import BlackJack
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from gfn_envs.trajectory import cut

PLACES = {
    "tree": (Game24(count=3), Game24Problem((1, 4, 6))),
    "merged": (NumberLine(high=3, horizon=5, reward="inverse_distance"), NumberLineProblem(0, 2, 0, 3)),
}
GAME, PUZZLE = PLACES["tree"]
LINE, WALK = PLACES["merged"]


def uneven_table(graph, seed=0, scale=1.0):
    """A table with random logits, so that no probability agrees with another by chance."""
    policy = TabularPolicy(
        [
            (graph.task.observe(state), actions)
            for state, actions in zip(graph.states, graph.actions, strict=True)
            if actions
        ]
    )
    with torch.no_grad():
        policy.logits.copy_(scale * torch.randn(policy.logits.shape, generator=torch.Generator().manual_seed(seed)))
    return policy


def all_trajectories(task, problem):
    """Every complete trajectory, by depth-first search."""
    found, open_ends = [], [((), task.reset(problem))]
    while open_ends:
        actions, state = open_ends.pop()
        legal = task.actions(state)
        if not legal:
            found.append(replay_actions(task, problem, actions, "listed"))
        open_ends += [((*actions, action), task.step(state, action)) for action in reversed(legal)]
    return found


class Counting:
    """An agent that notes the size of every batch it is asked for."""

    def __init__(self, policy):
        self.policy, self.batches = policy, []

    def act(self, observations, admissible_actions, rng):
        self.batches.append(len(observations))
        return self.policy.act(observations, admissible_actions, rng)

    def action_probabilities(self, observations, admissible_actions):
        self.batches.append(len(observations))
        return self.policy.action_probabilities(observations, admissible_actions)


# -- schedules -----------------------------------------------------------------------------------
def test_schedules_by_hand():
    assert [Schedule(1.0, 0.0, 4, "linear").at(step) for step in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    cosine = [Schedule(2.0, 0.0, 4, "cosine").at(step) for step in range(5)]
    assert cosine == pytest.approx([2.0, 1.0 + math.sqrt(0.5), 1.0, 1.0 - math.sqrt(0.5), 0.0], abs=1e-15)
    assert [Schedule(8.0, 0.5, 4, "exponential").at(s) for s in range(6)] == pytest.approx([8, 4, 2, 1, 0.5, 0.5])
    assert {Schedule(0.3).at(step) for step in range(9)} == {0.3}


@given(
    start=st.floats(1e-6, 10), end=st.floats(1e-6, 10), steps=st.integers(1, 50), kind=st.sampled_from(
        ["linear", "cosine", "exponential"]
    )
)  # fmt: skip
def test_a_schedule_moves_from_start_to_end_and_stays_between(start, end, steps, kind):
    schedule = Schedule(start, end, steps, kind)
    values = [schedule.at(step) for step in range(steps + 3)]
    assert values[0] == start
    assert values[steps:] == [end] * 3
    assert all(min(start, end) <= value <= max(start, end) for value in values)
    way = np.diff(values) * (1 if end >= start else -1)
    assert (way >= -1e-12).all()
    assert end == start or len(set(values)) > 1
    assert Schedule(**json.loads(json.dumps(asdict(schedule)))) == schedule


def test_rounding_does_not_lead_out_of_the_range():
    """Start and end are neighbours among the floating-point numbers, so every other value is out of it."""
    start, end = 0.05, math.nextafter(0.05, 1.0)
    assert {Schedule(start, end, 7, "exponential").at(step) for step in range(8)} == {start, end}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((0.5, 0.1), "stays at 0.5 and never reaches 0.1"),
        ((0.5, 0.0, 10, "exponential"), "needs start and end above 0"),
        ((0.5, 0.1, 0, "linear"), "at least 1"),
        ((0.5, 0.1, 10, "stepwise"), "constant, linear, cosine, exponential"),
        ((0.5, math.nan, 10, "linear"), "finite"),
    ],
)
def test_schedules_that_cannot_move_as_they_say_are_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        Schedule(*arguments)


# -- tempering -----------------------------------------------------------------------------------
def test_a_tempered_agent_says_how_it_plays():
    graph = enumerate_states(LINE, WALK)
    policy = uneven_table(graph)
    told = graph.policy_of(Tempered(policy, temperature=2.0, epsilon=0.25))
    for mixed, plain, actions in zip(told, graph.policy_of(policy), graph.actions, strict=True):
        if actions:
            root = np.sqrt(plain)
            assert mixed == pytest.approx(0.75 * root / root.sum() + 0.25 / len(actions), abs=1e-14)


# -- local search --------------------------------------------------------------------------------
def exact_chain(trajectories, policy, beta=1.0, acceptance=log_acceptance):
    """Returns the target over trajectories and the transition matrix, both from the definition.

    K(tau, tau') = sum over the cuts t that both share of 1 / T * q(suffix' | s_t) * A, and the rest stays.
    """
    target = np.array([beta * t.log_reward + sum(step.log_pb for step in t.steps) for t in trajectories])
    target = np.exp(target - target.max())
    chances = {
        (step.observation, action): float(probability)
        for t in trajectories
        for step in t.steps
        for action, probability in zip(
            step.admissible_actions,
            policy.action_probabilities([step.observation], [step.admissible_actions])[0],
            strict=True,
        )
    }
    log_q = [[math.log(chances[step.observation, step.action]) for step in t.steps] for t in trajectories]
    chain = np.zeros((len(trajectories), len(trajectories)))
    for i, old in enumerate(trajectories):
        for t in range(len(old.steps)):
            for j, new in enumerate(trajectories):
                if new.actions[:t] == old.actions[:t]:
                    proposed = math.exp(sum(log_q[j][t:])) / len(old.steps)
                    accepted = math.exp(acceptance(old, new, t, sum(log_q[i][t:]), sum(log_q[j][t:]), beta))
                    chain[i, j] += proposed * accepted
                    chain[i, i] += proposed * (1.0 - accepted)
    return target / target.sum(), chain


@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize("place", PLACES)
def test_metropolis_leaves_the_target_invariant(place, beta):
    task, problem = PLACES[place]
    graph = enumerate_states(task, problem)
    trajectories = all_trajectories(task, problem)
    target, chain = exact_chain(trajectories, uneven_table(graph), beta)
    assert chain.sum(axis=1) == pytest.approx(np.ones(len(chain)), abs=1e-12)
    assert np.abs(target @ chain - target).max() < 1e-12
    flow = target[:, None] * chain
    assert np.abs(flow - flow.T).max() < 1e-12, "not reversible"
    # From any start it gets there, and the ends are then drawn in proportion to R^beta.
    rows = np.linalg.matrix_power(chain, 2**20)
    assert np.abs(rows - target).max() < 1e-9
    ends = dict.fromkeys((trajectory.end for trajectory in trajectories), 0.0)
    reached = dict(ends)
    for state, probability in zip(graph.states, graph.target(beta), strict=True):
        if probability > 0:
            ends[task.observe(state)] += probability
    for trajectory, probability in zip(trajectories, target, strict=True):
        reached[trajectory.end] += probability
    assert reached == pytest.approx(ends, abs=1e-12)


def without_lengths(old, new, t, log_q_old, log_q_new, beta):
    shift = math.log(len(new.steps)) - math.log(len(old.steps))
    ratio = beta * (new.log_reward - old.log_reward) + backward(new, t) - backward(old, t) + log_q_old - log_q_new
    assert min(0.0, ratio - shift) == pytest.approx(log_acceptance(old, new, t, log_q_old, log_q_new, beta))
    return min(0.0, ratio)


def without_backward(old, new, t, log_q_old, log_q_new, beta):
    return log_acceptance(bare(old), bare(new), t, log_q_old, log_q_new, beta)


def without_proposal(old, new, t, log_q_old, log_q_new, beta):
    return log_acceptance(old, new, t, 0.0, 0.0, beta)


def with_the_proposal_upside_down(old, new, t, log_q_old, log_q_new, beta):
    return log_acceptance(old, new, t, log_q_new, log_q_old, beta)


def greedy(old, new, t, log_q_old, log_q_new, beta):
    return 0.0 if new.log_reward > old.log_reward else -math.inf


def backward(trajectory, t):
    return sum(step.log_pb for step in trajectory.steps[t:])


def bare(trajectory):
    return replace(trajectory, steps=tuple(replace(step, log_pb=0.0) for step in trajectory.steps))


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        ("merged", without_lengths),
        ("merged", without_backward),
        ("merged", without_proposal),
        ("merged", with_the_proposal_upside_down),
        ("merged", greedy),
        ("tree", without_proposal),
        ("tree", greedy),
    ],
)
def test_wrong_acceptance_ratios_move_the_target(place, wrong):
    task, problem = PLACES[place]
    policy = uneven_table(enumerate_states(task, problem))
    target, chain = exact_chain(all_trajectories(task, problem), policy, 0.3, wrong)
    assert np.abs(target @ chain - target).sum() > 1e-2


class Script:
    """Agent and generator at once: suffixes and uniform draws are given, the probabilities are a policy's."""

    def __init__(self, policy, suffixes, *draws):
        self.policy, self.suffixes, self.draws = policy, [list(s) for s in suffixes], list(draws)

    def random(self, count):
        assert count == len(self.draws[0])
        return self.draws.pop(0)

    def act(self, observations, admissible_actions, rng):
        return [suffix.pop(0) for suffix in self.suffixes if suffix]

    def action_probabilities(self, observations, admissible_actions):
        return self.policy.action_probabilities(observations, admissible_actions)


@pytest.mark.parametrize("place", PLACES)
def test_metropolis_accepts_with_exactly_the_probability_of_the_chain(place):
    """Plays every pair and cut through `metropolis` itself, with a draw just within and one just beyond A."""
    task, problem = PLACES[place]
    policy = uneven_table(enumerate_states(task, problem))
    listed = all_trajectories(task, problem)
    listed = listed[::7] if place == "tree" else listed
    moves = [
        (old, new, t)
        for old, new in itertools.product(listed, listed)
        for t in range(len(old.steps))
        if new.actions[:t] == old.actions[:t]
    ]
    assert {len(old.steps) == len(new.steps) for old, new, _ in moves} >= ({True} if place == "tree" else {True, False})
    olds, news, cuts = (list(column) for column in zip(*moves, strict=True))
    log_old, log_new = suffix_log_probs(policy, olds, cuts), suffix_log_probs(policy, news, cuts)
    accept = np.exp([log_acceptance(*move, lo, ln, 0.7) for move, lo, ln in zip(moves, log_old, log_new, strict=True)])
    for factor, taken in ((1 - 1e-6, accept > 0), (1 + 1e-6, accept > 1 - 1e-12)):
        thresholds = np.minimum(accept * factor, 1.0)
        middles = np.array([(t + 0.5) / len(old.steps) for old, t in zip(olds, cuts, strict=True)])
        suffixes = [n.actions[t:] for n, t in zip(news, cuts, strict=True)]
        script = Script(policy, suffixes, middles, 1 - thresholds)
        search = metropolis(task, [problem], olds, script, script, beta=0.7)
        assert [new.actions for new in search.proposed] == [new.actions for new in news]
        expected = [new if yes else old for old, new, yes in zip(olds, search.proposed, taken, strict=True)]
        assert all(kept is wanted for kept, wanted in zip(search.kept, expected, strict=True))


def test_log_acceptance_by_hand():
    """From 5 steps to 2: R from 50 to 100, and q and P_B as written in the comments."""
    old = replay_actions(LINE, WALK, ("+", "-", "-", "-", "-"), "listed")
    new = replay_actions(LINE, WALK, ("+", "+"), "listed")
    assert math.exp(old.log_reward) == pytest.approx(100 / 3)
    assert math.exp(new.log_reward) == pytest.approx(100)
    # Both share the first step. Where 0 or 1 is reached from, the step number decides; edges are counted by `record`.
    backward_ratio = math.exp(backward(new, 1) - backward(old, 1))
    expected = (100 / (100 / 3)) * backward_ratio * (5 / 2) * (0.001 / 0.9)
    assert expected < 1
    assert math.exp(log_acceptance(old, new, 1, math.log(0.001), math.log(0.9))) == pytest.approx(expected)
    assert log_acceptance(new, old, 1, math.log(0.9), math.log(0.001)) == 0.0


@pytest.mark.parametrize("place", PLACES)
def test_suffix_log_probs_are_sums_over_the_suffix(place):
    task, problem = PLACES[place]
    policy = uneven_table(enumerate_states(task, problem))
    played = rollout(task, policy, [problem] * 20, np.random.default_rng(0))
    cuts = uniform_cuts(played, np.random.default_rng(1))
    assert {0, 1} <= set(cuts)
    for trajectory, t, found in zip(played, cuts, suffix_log_probs(policy, played, cuts), strict=True):
        by_hand = 0.0
        for step in trajectory.steps[t:]:
            row = policy.log_probs([step.observation], [step.admissible_actions])[0]
            by_hand += float(row[step.admissible_actions.index(step.action)].detach())
        assert found == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("place", PLACES)
def test_what_grows_is_what_a_replay_of_its_actions_gives(place):
    task, problem = PLACES[place]
    policy = uneven_table(enumerate_states(task, problem))
    played = rollout(task, policy, [problem] * 20, np.random.default_rng(0))
    cuts = uniform_cuts(played, np.random.default_rng(1))
    grown = regrow(task, [problem], played, cuts, policy, np.random.default_rng(2), "local_search")
    for old, new, t in zip(played, grown, cuts, strict=True):
        assert new.actions[:t] == old.actions[:t]
        assert new == replay_actions(task, problem, new.actions, "local_search")


def test_the_stop_action_of_a_task_is_recorded_where_a_suffix_grows():
    @dataclass(frozen=True)
    class Stopping(NumberLine):
        stop_action = "+"

    task = Stopping(low=0, high=1, horizon=3, reward="inverse_distance")
    walk = NumberLineProblem(0, 1, 0, 1)
    parent = replay_actions(task, walk, ("-", "-", "-"), "listed")
    (grown,) = branch(task, [walk], [parent], Contrary({}), np.random.default_rng(0))
    assert {step.stop_action for step in grown.steps} == {"+"}
    assert grown == replay_actions(task, walk, grown.actions, "branch")


def test_greedy_search_keeps_only_what_is_better():
    policy = uneven_table(enumerate_states(LINE, WALK))
    played = rollout(LINE, policy, [WALK] * 50, np.random.default_rng(0))
    search = greedy_search(LINE, [WALK], played, policy, np.random.default_rng(1), rounds=1)
    better = [new.log_reward > old.log_reward for old, new in zip(played, search.proposed, strict=True)]
    assert 0 < sum(better) < 50
    for old, new, kept, is_better in zip(played, search.proposed, search.kept, better, strict=True):
        assert kept is (new if is_better else old)
    more = greedy_search(LINE, [WALK], played, policy, np.random.default_rng(1), rounds=4)
    assert len(more.proposed) == 200
    assert sum(t.log_reward for t in more.kept) > sum(t.log_reward for t in search.kept)


def test_no_rounds_and_no_branches_do_nothing():
    policy = Counting(uneven_table(enumerate_states(LINE, WALK)))
    played = rollout(LINE, policy.policy, [WALK] * 3, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for search in (greedy_search, metropolis):
        done = search(LINE, [WALK], played, policy, rng, rounds=0)
        assert (done.kept, done.proposed) == (played, [])
    assert branch(LINE, [WALK], played, policy, rng, per_trajectory=0) == []
    assert policy.batches == []
    assert rng.bit_generator.state == np.random.default_rng(1).bit_generator.state


def test_all_suffixes_are_played_in_step():
    """One batch a step of the longest suffix, and one more to score both suffixes of all."""
    other = replace(WALK, start=1)
    graphs = [enumerate_states(LINE, problem) for problem in (WALK, other)]
    policy = Counting(
        TabularPolicy([(LINE.observe(s), a) for g in graphs for s, a in zip(g.states, g.actions, strict=True) if a])
    )
    played = rollout(LINE, policy.policy, [WALK, other] * 20, np.random.default_rng(0))
    metropolis(LINE, [other, WALK], played, policy, np.random.default_rng(1))
    assert policy.batches[0] == 40
    assert len(policy.batches) <= LINE.horizon + 1


def test_searches_are_decided_by_their_generator():
    policy = uneven_table(enumerate_states(LINE, WALK))
    played = rollout(LINE, policy, [WALK] * 10, np.random.default_rng(0))
    for search in (greedy_search, metropolis):
        first, again = (search(LINE, [WALK], played, policy, np.random.default_rng(5), rounds=3) for _ in range(2))
        assert first == again


def test_what_cannot_be_searched_is_refused_in_one_sentence():
    policy, rng = uneven_table(enumerate_states(LINE, WALK)), np.random.default_rng(0)
    played = rollout(LINE, policy, [WALK] * 5, rng)
    chance = BlackJack()
    for search in (greedy_search, metropolis, branch):
        with pytest.raises(ValueError, match="'blackjack' has chance"):
            search(chance, [], played, policy, rng)
        with pytest.raises(ValueError, match="'numberline/0-to-2-in-0-to-3' is not among the problems"):
            search(LINE, [], played, policy, rng)
    broken_off = [cut(played[0], 1)]
    for search in (greedy_search, metropolis):
        with pytest.raises(ValueError, match="breaks off after 1 steps"):
            search(LINE, [WALK], broken_off, policy, rng)


# -- self-repellent sampling ---------------------------------------------------------------------
def test_repelled_by_hand():
    """p = 1/2 each, one visit to the first: weights (1/2) (2 / 1.5)^-1 and (1/2) (1 / 1.5)^-1, so 1/3 and 2/3."""
    p, visits, expected = np.array([0.5, 0.5]), np.array([1.0, 0.0]), np.array([0.5, 0.5])
    assert repelled(p, visits, expected, 1.0) == pytest.approx([1 / 3, 2 / 3], abs=1e-15)
    assert repelled(p, visits, expected, 2.0) == pytest.approx([1 / 5, 4 / 5], abs=1e-15)
    assert repelled(p, visits, expected, 0.0) is p
    # An action that is never drawn does not set the scale, however much it is missed.
    assert list(repelled(np.array([1.0, 0.0]), np.array([1e4, 0.0]), np.zeros(2), 200.0)) == [1.0, 0.0]


ROWS = st.integers(1, 6).flatmap(
    lambda n: st.tuples(*(st.lists(st.floats(low, high), min_size=n, max_size=n)
                          for low, high in ((1e-3, 1), (0, 1e4), (0, 1e4))))
)  # fmt: skip


@given(ROWS, st.floats(0, 50))
def test_repelled_is_a_distribution_that_leans_to_what_was_missed(rows, alpha):
    weights, visits, expected = map(np.array, rows)
    p = weights / weights.sum()
    q = repelled(p, visits, expected, alpha)
    assert q.sum() == pytest.approx(1.0)
    assert (q >= 0).all()
    assert repelled(p, expected, expected, alpha) == pytest.approx(p, abs=1e-12)
    surplus = (visits + 1) / (expected + 1)
    for i, j in itertools.combinations(range(len(p)), 2):
        if surplus[i] <= surplus[j]:
            assert q[i] * p[j] >= q[j] * p[i] * (1 - 1e-9)


def variance_of_counts(p, alpha, draws):
    """Returns mean and variance of how often the first of two actions is taken, from the exact law of the counts."""
    law = np.array([1.0])
    for done in range(draws):
        after = np.zeros(done + 2)
        for count, probability in enumerate(law):
            visits = np.array([count, done - count], dtype=float)
            first = repelled(np.array([p, 1 - p]), visits, done * np.array([p, 1 - p]), alpha)[0]
            after[count + 1] += probability * first
            after[count] += probability * (1 - first)
        law = after
    counts = np.arange(draws + 1)
    mean = float(law @ counts)
    return mean, float(law @ (counts - mean) ** 2)


def test_self_repellent_counts_have_the_variance_of_the_theorem():
    """Doshi et al. for independent draws of a fixed p: the shares converge to p, variance p (1 - p) / (2 alpha + 1)."""
    p, draws = 0.3, 200
    for alpha in (0.0, 1.0, 4.0):
        mean, variance = variance_of_counts(p, alpha, draws)
        assert mean / draws == pytest.approx(p, abs=2e-3)
        assert variance / draws == pytest.approx(p * (1 - p) / (2 * alpha + 1), rel=0.06 if alpha else 1e-9)
    assert variance_of_counts(p, -0.2, draws)[1] / draws > p * (1 - p) * 1.3, "the wrong sign spreads the counts"


def test_without_strength_it_is_the_policy_itself():
    graph = enumerate_states(LINE, WALK)
    policy, counts = uneven_table(graph), VisitCounts()
    plain = rollout(LINE, policy, [WALK] * 30, np.random.default_rng(3))
    assert rollout(LINE, SelfRepellent(policy, counts, 0.0), [WALK] * 30, np.random.default_rng(3)) == plain
    assert len(counts) == 0


def test_a_batch_of_one_prompt_spreads_at_once():
    """With great strength 3 visits to each of 4 equally likely actions, in every 12 draws."""
    policy = TabularPolicy([("start", tuple("abcd"))])
    agent = SelfRepellent(policy, VisitCounts(), 200.0)
    for seed in range(5):
        actions = agent.act(["start"] * 12, [tuple("abcd")] * 12, np.random.default_rng(seed))
        assert {actions.count(letter) for letter in "abcd"} == {3}


def test_expected_visits_follow_a_policy_that_moves():
    """What an earlier policy rightly took often is not held against it later."""
    counts = VisitCounts()
    policy = TabularPolicy([("start", ("a", "b"))])
    with torch.no_grad():
        policy.logits.copy_(torch.tensor([[20.0, -20.0]]))
    SelfRepellent(policy, counts, 1.0).act(["start"] * 50, [("a", "b")] * 50, np.random.default_rng(0))
    visits, expected = counts.of("start", ("a", "b"))
    assert list(visits) == [50, 0]
    assert repelled(np.array([0.2, 0.8]), visits, expected, 1.0) == pytest.approx([0.2, 0.8], abs=1e-9)


def test_counts_go_through_json_and_sampling_goes_on_the_same():
    policy = uneven_table(enumerate_states(LINE, WALK))
    unbroken, first, second = VisitCounts(5), VisitCounts(5), VisitCounts(5)
    rng, rng_again = np.random.default_rng(0), np.random.default_rng(0)
    rollout(LINE, SelfRepellent(policy, unbroken, 5.0), [WALK] * 9, rng)
    rollout(LINE, SelfRepellent(policy, first, 5.0), [WALK] * 9, rng_again)
    second.restore(json.loads(json.dumps(first.to_json())))
    last = ("Goal: 2. Start: 0. Position: 0. Line: 0 to 3. Steps left: 1.", ("-", "+"))
    assert np.array_equal(unbroken.of(*last), second.of(*last))
    played = rollout(LINE, SelfRepellent(policy, unbroken, 5.0), [WALK] * 40, rng)
    assert rollout(LINE, SelfRepellent(policy, second, 5.0), [WALK] * 40, rng_again) == played
    assert list(unbroken.to_json().items()) == list(second.to_json().items())


def test_counts_are_bounded_and_forget_what_was_not_met_for_longest():
    counts = VisitCounts(2)
    counts.of("one", "ab")[0][0] = 1.0
    counts.of("two", "ab")[0][0] = 2.0
    counts.of("one", "ab")
    counts.of("three", "ab")
    assert len(counts) == 2
    assert counts.of("one", "ab")[0][0] == 1.0
    assert counts.of("two", "ab")[0][0] == 0.0
    with pytest.raises(ValueError, match="at least 1"):
        VisitCounts(0)


@pytest.mark.parametrize("alpha", [-1.0, math.inf, math.nan])
def test_a_strength_that_makes_no_sense_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha of self-repellent sampling"):
        SelfRepellent(TabularPolicy([("start", ("a", "b"))]), VisitCounts(), alpha)


# -- branching -----------------------------------------------------------------------------------
class FixedDraws:
    """A generator whose first uniform numbers are given; what follows comes from a real one."""

    def __init__(self, draws):
        self.draws, self.rng = draws, np.random.default_rng(0)

    def random(self, count):
        draws, self.draws = self.draws, None
        return self.rng.random(count) if draws is None else draws


def cuts_of(parents, branches):
    """How many first steps each branch is known to share, where the agent always leaves the parent's way."""
    return [
        next((t for t, (a, b) in enumerate(zip(p.actions, c.actions, strict=False)) if a != b), len(p.actions))
        for p, c in zip(parents, branches, strict=True)
    ]


class Contrary:
    """Always goes up, where the parents of these tests go down; its probabilities are given."""

    def __init__(self, probabilities):
        self.probabilities = probabilities

    def act(self, observations, admissible_actions, rng):
        return ["+" for _ in observations]

    def action_probabilities(self, observations, admissible_actions):
        return [np.array(self.probabilities[text]) for text in observations]


def test_branches_cut_uniformly_after_the_first_step():
    parent = replay_actions(LINE, WALK, ("-",) * 5, "listed")
    draws = (np.arange(100) + 0.5) / 100
    branches = branch(LINE, [WALK], [parent], Contrary({}), FixedDraws(draws), per_trajectory=100)
    cuts = cuts_of([parent] * 100, branches)
    assert [cuts.count(t) for t in range(6)] == [0, 25, 25, 25, 25, 0]
    assert {trajectory.source for trajectory in branches} == {"branch"}
    assert all(replay_actions(LINE, WALK, b.actions, "branch") == b for b in branches)


def test_what_grows_anew_keeps_to_the_most_steps_of_an_episode():
    policy = uneven_table(enumerate_states(LINE, WALK), scale=2.0)
    played = rollout(LINE, policy, [WALK] * 200, np.random.default_rng(0), max_steps=3)
    branches = branch(LINE, [WALK], played, policy, np.random.default_rng(1), max_steps=3)
    assert {len(trajectory.steps) for trajectory in branches if not trajectory.complete} == {3}
    assert max(len(trajectory.steps) for trajectory in branches) == 3
    assert max(len(t.steps) for t in branch(LINE, [WALK], played, policy, np.random.default_rng(1))) == 5
    complete = [trajectory for trajectory in played if trajectory.complete]
    assert 20 < len(complete) < 200
    for search in (greedy_search, metropolis):
        done = search(LINE, [WALK], complete, policy, np.random.default_rng(1), rounds=3, max_steps=3)
        assert max(len(trajectory.steps) for trajectory in done.proposed) == 3
        assert not all(trajectory.complete for trajectory in done.proposed)
        assert all(trajectory.complete for trajectory in done.kept)
        assert {trajectory.actions for trajectory in done.kept} != {trajectory.actions for trajectory in complete[:1]}


def test_each_episode_can_have_its_own_most_steps():
    limits = [1, 2, 3, 4, 5] * 20
    played = rollout(
        LINE, uneven_table(enumerate_states(LINE, WALK)), [WALK] * 100, np.random.default_rng(0), "x", limits
    )
    for one, limit in zip(played, limits, strict=True):
        assert one.complete or len(one.steps) == limit
        assert len(one.steps) <= limit
    assert {len(one.steps) for one in played if not one.complete} == {1, 2, 3, 4}


def test_branches_cut_in_proportion_to_entropy():
    """Entropies 0, log 2, 0 and log 2 at the later steps: no cut where there is no choice."""
    parent = replay_actions(LINE, WALK, ("-",) * 5, "listed")
    rows = [[0.5, 0.5], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.5, 0.5]]
    agent = Contrary({step.observation: row for step, row in zip(parent.steps, rows, strict=True)})
    draws = (np.arange(100) + 0.5) / 100
    branches = branch(LINE, [WALK], [parent], agent, FixedDraws(draws), per_trajectory=100, at="entropy")
    cuts = cuts_of([parent] * 100, branches)
    assert [cuts.count(t) for t in range(6)] == [0, 0, 50, 0, 50, 0]


def test_branches_of_sure_steps_and_of_single_steps_are_cut_all_the_same():
    parent = replay_actions(LINE, WALK, ("-",) * 5, "listed")
    sure = Contrary({step.observation: [1.0, 0.0] for step in parent.steps})
    draws = (np.arange(8) + 0.5) / 8
    branches = branch(LINE, [WALK], [parent], sure, FixedDraws(draws), per_trajectory=8, at="entropy")
    assert cuts_of([parent] * 8, branches) == [1, 1, 2, 2, 3, 3, 4, 4]
    near = NumberLineProblem(1, 2, 0, 3)
    short = replay_actions(LINE, near, ("+",), "listed")
    (grown,) = branch(LINE, [near], [short], Contrary({}), np.random.default_rng(0))
    assert grown.actions == ("+",)


def test_branching_by_entropy_needs_probabilities():
    policy = uneven_table(enumerate_states(LINE, WALK))
    agent = SelfRepellent(policy, VisitCounts(), 1.0)
    played = rollout(LINE, agent, [WALK] * 2, np.random.default_rng(0))
    assert len(branch(LINE, [WALK], played, agent, np.random.default_rng(0), per_trajectory=3)) == 6
    with pytest.raises(TypeError, match="SelfRepellent has none"):
        branch(LINE, [WALK], played, agent, np.random.default_rng(0), at="entropy")


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 5), st.floats(0, 1), st.integers(0, 10))
def test_tempering_is_a_distribution(temperature, epsilon, seed):
    p = np.random.default_rng(seed).dirichlet(np.ones(5))
    assert temper(p, temperature, epsilon).sum() == pytest.approx(1.0)


# -- the example ---------------------------------------------------------------------------------
def test_the_ablation_writes_its_tables(monkeypatch, capsys, tmp_path):
    path = Path(__file__).resolve().parent.parent / "examples" / "ablate_exploration.py"
    arguments = ["--budget", "200", "--seeds", "1", "--problems", "2", "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [path.name, *arguments])
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    table = (tmp_path / "out" / "ablation.md").read_text()
    rows = (tmp_path / "out" / "ablation.csv").read_text().splitlines()
    assert "| everything |" in table
    assert "| without local search |" in table
    assert table.splitlines()[0] in printed
    assert len(rows) == len([line for line in table.splitlines() if line.startswith("| ")])
