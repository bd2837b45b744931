"""Objectives: zero at exact flows and nowhere else, and a tabular policy that reaches the exact target.

The wrong variants that this field knows are built here too, and shown to reach a wrong target.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from functools import lru_cache
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from examples.hypergrid import Grid, HyperGrid
from gfn_agents.batch import BACKWARD_MARKER, Batch, scored_batch
from gfn_agents.config import BackwardName, ObjectiveName, RegressionName, TrainConfig
from gfn_agents.objective_checks import check_objective
from gfn_agents.objectives import (
    OBJECTIVES,
    REGRESSIONS,
    delta,
    detailed_balance,
    grpo,
    ppo_clip,
    reinforce,
    relative_trajectory_balance,
    squared,
    sub_trajectory_balance,
    trajectory_balance,
    vargrad,
)
from gfn_agents.policy import TabularPolicy
from gfn_envs.exact import enumerate_states
from gfn_envs.metrics import total_variation
from gfn_envs.rollout import edge_names, record, replay_actions, rollout
from gfn_envs.tasks.blackjack import BlackJack, BlackJackProblem
from gfn_envs.tasks.blocksworld import BlocksWorld, BlocksWorldProblem
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from gfn_envs.tasks.prontoqa import PrOntoQA, PrOntoQAProblem
from gfn_envs.trajectory import Outcome, Step, Trajectory, cut


class DistanceLine(NumberLine):
    """Partial rewards: less of a penalty on the way, the nearer the goal."""

    def log_reward_so_far(self, state):
        return -0.7 * abs(state.position - state.problem.goal) if self.actions(state) else self.log_reward(state)


class HopefulBlackJack(BlackJack):
    """Partial rewards under chance: the higher the total, the better."""

    def log_reward_so_far(self, state):
        return 0.1 * state.total - 3.0 if self.actions(state) else self.log_reward(state)


PROBLEMS = {
    "game24": (Game24(count=3), Game24Problem((2, 2, 6))),
    "numberline": (NumberLine(high=3, horizon=5), NumberLineProblem(1, 3, 0, 3)),
    "numberline by distance": (
        DistanceLine(high=3, horizon=5, reward="inverse_distance"),
        NumberLineProblem(0, 2, 0, 3),
    ),
    "blocksworld": (
        BlocksWorld(blocks=3, length=4, slack=1),
        BlocksWorldProblem((("blue", "orange", "red"),), ("on orange red",), 4),
    ),
    "prontoqa": (
        PrOntoQA(hops=2, distractors=1, slack=1),
        PrOntoQAProblem(
            "Each borpus is not brown. Wumpuses are brown. Sterpuses are wumpuses. Wren is a sterpus.",
            "True or false: Wren is brown.",
        ),
    ),
    "hypergrid": (HyperGrid(side=4), Grid(2, 4)),
    "blackjack": (HopefulBlackJack(), BlackJackProblem((8, 10), 10)),
}
BALANCE = [name for name, objective in OBJECTIVES.items() if not objective.policy_gradient]
ON_POLICY = {"replay_per_problem": 0, "epsilon": 0.0}


def fits(name, task, problem, backward="uniform"):
    """Whether an objective is for a task, by its own declaration."""
    try:
        config = TrainConfig(objective=name, backward=backward, **ON_POLICY)
        check_objective(config, task, task.reset(problem))
    except ValueError:
        return False
    return True


def pairs(names, places, backward="uniform"):
    return [(name, place) for place in places for name in names if fits(name, *PROBLEMS[place], backward)]


def has_head(name):
    return OBJECTIVES[name].flows in ("head", "forward_looking")


PAIRS = pairs(BALANCE, PROBLEMS)
EXACTNESS = pytest.mark.parametrize(("name", "place"), PAIRS)
LEARNED_BACKWARD = pytest.mark.parametrize(
    ("name", "place"), pairs(BALANCE, ["numberline by distance", "hypergrid"], "learned")
)


@lru_cache
def graph_of(place):
    return enumerate_states(*PROBLEMS[place])


@lru_cache
def trajectories_of(place):
    """Every trajectory of the problem, by following every path."""
    graph, found, stack = graph_of(place), [], [(0, [])]
    while stack:
        index, history = stack.pop()
        if not graph.actions[index]:
            found.append(record(graph.task, graph.problem.id, history, graph.states[index], "enumerated"))
        for action, outcomes in zip(graph.actions[index], graph.edges[index], strict=True):
            for _, child in outcomes:
                stack.append((child, [*history, (graph.states[index], action)]))
    return tuple(found)


def prompts_of(graph):
    """All prompts that a policy is asked for, those of a backward policy included."""
    task = graph.task
    for state, actions in zip(graph.states, graph.actions, strict=True):
        if actions:
            yield task.observe(state), actions
        edges = task.parents(state) or ()
        if len(edges) > 1:
            yield task.observe(state) + BACKWARD_MARKER, edge_names(task, edges)


def table_for(*graphs):
    return TabularPolicy([prompt for graph in graphs for prompt in prompts_of(graph)])


def random_table(graph, seed=0):
    policy, generator = table_for(graph), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        policy.logits.normal_(generator=generator)
        policy.log_flows.normal_(generator=generator)
    return policy


def first_choice(policy):
    """The first row of a table with more than one action."""
    return int(policy.legal.sum(dim=1).gt(1).nonzero()[0])


def solved(graph, beta, log_weight):
    """log F by dynamic programming, F(s) = sum_a E[weight F(s')], and the policy that follows it."""
    flows, chosen = np.full(len(graph.states), -np.inf), [np.zeros(0)] * len(graph.states)
    for index in reversed(range(len(graph.states))):
        if not graph.actions[index]:
            flows[index] = beta * graph.task.log_reward(graph.states[index])
            continue
        edges = [
            np.logaddexp.reduce(
                [math.log(p) + log_weight(index, number, child) + flows[child] for p, child in outcomes]
            )
            for number, outcomes in enumerate(graph.edges[index])
        ]
        flows[index] = np.logaddexp.reduce(edges)
        chosen[index] = np.exp(np.array(edges) - flows[index])
    return flows, chosen


def log_weights(graph, objective, reference=None, backward=None):
    """What an edge weighs in the flows that an objective is zero at."""
    task = graph.task
    if objective.reference:
        probabilities = graph.policy_of(reference)
        return lambda index, number, child: math.log(probabilities[index][number])
    if backward is None:
        return lambda index, number, child: graph.log_backward[child]

    def learned(index, number, child):
        edges = task.parents(graph.states[child])
        if len(edges) == 1:
            return 0.0
        prompt = [task.observe(graph.states[child]) + BACKWARD_MARKER], [edge_names(task, edges)]
        place = edges.index((graph.states[index], graph.actions[index][number]))
        return float(backward.log_probs(*prompt)[0, place].detach())

    return learned


def exact_policy(graph, name, beta=1.0, reference=None, backward=None):
    """The table filled with the exact flows of an objective."""
    objective, policy = OBJECTIVES[name], table_for(graph)
    flows, chosen = solved(graph, beta, log_weights(graph, objective, reference, backward))
    with torch.no_grad():
        if backward is not None:
            policy.logits.copy_(backward.logits)
        for index, actions in enumerate(graph.actions):
            if actions:
                state, observation = graph.states[index], graph.task.observe(graph.states[index])
                row = policy._places[observation, actions]
                policy.logits[row, : len(actions)] = torch.from_numpy(np.log(chosen[index]))
                known = beta * graph.task.log_reward_so_far(state) if objective.flows == "forward_looking" else 0.0
                policy.log_flows[policy._flow_places[observation]] = flows[index] - known
    return policy


def batch_for(name, policy, trajectories, beta=1.0, reference=None, learned_backward=False):
    objective = OBJECTIVES[name]
    frozen = reference if objective.reference else None
    return scored_batch(policy, trajectories, beta, objective.flows, learned_backward, frozen)


def terms(name, policy, trajectories, beta=1.0, **options):
    return OBJECTIVES[name].terms(batch_for(name, policy, trajectories, beta, **options))


def largest(found):
    return float(torch.where(found.weights > 0, found.values, 0.0).detach().abs().max())


# -- exact flows -----------------------------------------------------------------------------------
def test_every_objective_is_held_against_every_environment_that_it_is_for():
    count = {place: sum(p == place for _, p in PAIRS) for place in PROBLEMS}
    assert count == {
        "game24": 5,
        "numberline": 5,
        "numberline by distance": 7,
        "blocksworld": 5,
        "prontoqa": 5,
        "hypergrid": 9,
        "blackjack": 2,
    }
    assert {name for name, _ in PAIRS} == set(BALANCE)


@EXACTNESS
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_residuals_vanish_at_exact_flows_and_only_there(name, place, beta):
    graph, trajectories = graph_of(place), trajectories_of(place)
    reference = random_table(graph, 1)
    policy = exact_policy(graph, name, beta, reference)
    with torch.no_grad():
        assert largest(terms(name, policy, trajectories, beta, reference=reference)) < 1e-9
        policy.logits[first_choice(policy), 0] += 0.1
        assert largest(terms(name, policy, trajectories, beta, reference=reference)) > 1e-3


@pytest.mark.parametrize(("name", "place"), [pair for pair in PAIRS if has_head(pair[0])])
def test_residuals_do_not_vanish_at_other_flows(name, place):
    graph, trajectories = graph_of(place), trajectories_of(place)
    reference = random_table(graph, 1)
    policy = exact_policy(graph, name, reference=reference)
    with torch.no_grad():
        policy.log_flows += 0.1
        assert largest(terms(name, policy, trajectories, reference=reference)) > 1e-3


@LEARNED_BACKWARD
def test_residuals_vanish_for_any_backward_policy(name, place):
    """A random P_B over the incoming edges: other flows, another policy, the same target."""
    graph = graph_of(place)
    backward = random_table(graph, 2)
    policy = exact_policy(graph, name, backward=backward)
    with torch.no_grad():
        assert largest(terms(name, policy, trajectories_of(place), learned_backward=True)) < 1e-9
        assert largest(terms(name, policy, trajectories_of(place))) > 1e-3
    assert total_variation(graph.reached(graph.policy_of(policy)), graph.target()) < 1e-9


def test_expected_detailed_balance_is_the_dynamic_program():
    graph = graph_of("blackjack")
    flows, _ = solved(graph, 1.0, lambda index, number, child: 0.0)
    assert np.allclose(flows, graph.log_flows(graph.log_rewards), atol=1e-12)
    policy, _ = train_table("detailed_balance", "blackjack")
    for state, flow, actions in zip(graph.states, flows, graph.actions, strict=True):
        if actions:
            assert float(policy.log_flow([graph.task.observe(state)]).detach()) == pytest.approx(flow, abs=1e-3)
    expected = graph.flow_policy(graph.log_flows(graph.log_rewards))
    assert all(np.allclose(p, q, atol=1e-3) for p, q in zip(graph.policy_of(policy), expected, strict=True))


def test_the_names_on_the_command_line_are_the_names_in_the_code():
    assert set(ObjectiveName.__args__) == set(OBJECTIVES)
    assert set(RegressionName.__args__) == set(REGRESSIONS)
    assert set(BackwardName.__args__) == {"uniform", "learned"}


# -- by hand ---------------------------------------------------------------------------------------
def numbers(values):
    return None if values is None else torch.tensor(values, dtype=torch.float64)


def batch_of(log_pf, log_reward, group=(0, 0), log_f=None, log_f_next=None, log_pb=None, lengths=None, **others):
    log_pf = numbers(log_pf)
    mask = torch.ones_like(log_pf, dtype=torch.bool)
    if lengths is not None:
        mask = torch.arange(log_pf.shape[1]) < torch.tensor(lengths)[:, None]
    return Batch(
        log_pf=log_pf,
        log_pb=torch.zeros_like(log_pf) if log_pb is None else numbers(log_pb),
        mask=mask,
        log_reward=numbers(log_reward),
        group=torch.tensor(group),
        complete=torch.ones(len(log_pf), dtype=torch.bool),
        log_f=numbers(log_f),
        log_f_next=numbers(log_f_next),
        **{name: numbers(values) for name, values in others.items()},
    )


TWO = {
    "log_pf": [[-1.0, -2.0], [-0.5, 0.0]],
    "log_pb": [[-0.25, -0.5], [-0.125, 0.0]],
    "log_reward": [1.0, 2.0],
    "log_f": [[3.0, 2.0], [3.0, 0.0]],
    "log_f_next": [[2.0, 1.0], [2.0, 0.0]],
    "log_ref": [-1.5, -0.75],
    "lengths": [2, 1],
}
"""A trajectory of two steps, and one of a single step with padding after it."""


def test_trajectory_objectives_by_hand():
    batch = batch_of(**TWO)
    # -3 + 0.75 - 1 and -0.5 + 0.125 - 2
    assert delta(batch).tolist() == [-3.25, -2.375]
    assert vargrad(batch).values.tolist() == [-0.4375, 0.4375]
    assert trajectory_balance(batch).values.tolist() == [-0.25, 0.625]
    # 3 - 3 + 1.5 - 1 and 3 - 0.5 + 0.75 - 2: no backward policy
    assert relative_trajectory_balance(batch).values.tolist() == [0.5, 1.25]
    assert trajectory_balance(batch).weights.tolist() == [0.5, 0.5]


def test_detailed_balance_by_hand():
    found = detailed_balance(batch_of(**TWO))
    # 3 - 1 + 0.25 - 2, 2 - 2 + 0.5 - 1 and 3 - 0.5 + 0.125 - 2
    assert found.values.tolist() == [[0.25, -0.5], [0.625, 0.0]]
    assert found.weights.tolist() == [[0.25, 0.25], [0.5, 0.0]]
    assert float(found.loss(squared)) == 0.25 * (0.0625 + 0.25) + 0.5 * 0.625**2


def test_sub_trajectory_balance_by_hand():
    found = sub_trajectory_balance(batch_of(**TWO), subtb_lambda=0.5)
    assert found.values[0].tolist() == [[0.0, 0.25, -0.25], [0.0, 0.0, -0.5], [0.0, 0.0, 0.0]]
    assert found.values[1].tolist() == [[0.0, 0.625, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    # parts of one step weigh 1/2, that of two steps 1/4: normalised 2/5, 2/5 and 1/5
    assert torch.allclose(found.weights[0], numbers([[0, 0.2, 0.1], [0, 0, 0.2], [0, 0, 0]]))
    assert torch.allclose(found.weights[1], numbers([[0, 0.5, 0], [0, 0, 0], [0, 0, 0]]))


def test_policy_gradients_by_hand():
    batch = batch_of([[-1.0, -2.0], [-0.5, 0.0], [-3.0, -1.0]], [math.log(4), 0.0, 0.0], (0, 0, 0), lengths=[2, 1, 2])
    # returns 4, 1, 1: against the mean of the others 3, -1.5 and -1.5
    assert torch.allclose(reinforce(batch).values, numbers([9.0, -0.75, -6.0]))
    # mean 2, standard deviation sqrt(2), ratios 1
    advantages = numbers([2.0, -1.0, -1.0]) / math.sqrt(2)
    assert torch.allclose(grpo(batch).values, -advantages[:, None].expand(3, 2))
    assert torch.allclose(grpo(batch).weights * 3, numbers([[0.5, 0.5], [1.0, 0.0], [0.5, 0.5]]))
    # ratios e, 1 and 1/e: clipped where that makes the surrogate smaller
    moved = replace(batch, first_log_pf=batch.log_pf + numbers([[-1.0, 0.0], [0.0, 0.0], [1.0, -1.0]]))
    expected = numbers([[-3.0 * 1.2, -3.0], [1.5, 1.5], [1.5 * 0.8, 1.5 * math.e]])
    assert torch.allclose(ppo_clip(moved, clip_range=0.2).values, expected)


def test_equal_returns_give_no_policy_gradient():
    batch = batch_of([[-1.0], [-2.0], [-3.0]], [0.1, 0.1, 0.1], group=(0, 0, 0))
    for function in (reinforce, grpo, ppo_clip):
        assert function(batch).values.abs().max() < 1e-6


@pytest.mark.parametrize("count", [3, 6, 7, 8, 16])
@pytest.mark.parametrize("log_reward", [math.log(100) / 3, math.log(100) * 1.5, math.log(33.3), math.log(1e-4)])
def test_rounding_of_equal_returns_is_no_advantage(count, log_reward):
    """The mean of equal float32 numbers can be one unit in the last place away from them."""
    batch = batch_of([[-1.0]] * count, [log_reward] * count, group=(0,) * count)
    named = {field.name: getattr(batch, field.name) for field in fields(batch)}
    singles = {
        name: value.float()
        for name, value in named.items()
        if isinstance(value, torch.Tensor) and value.dtype == torch.float64
    }
    assert grpo(replace(batch, **singles)).values.abs().max() < 1e-6


def test_regressions_by_hand():
    values = torch.tensor([0.5, -2.0], dtype=torch.float64)
    assert REGRESSIONS["squared"](values).tolist() == [0.25, 4.0]
    assert REGRESSIONS["huber"](values).tolist() == [0.125, 1.5]
    cosh = [math.exp(r) + math.exp(-r) - 2 for r in (0.5, -2.0)]
    assert REGRESSIONS["shifted_cosh"](values).tolist() == pytest.approx(cosh)
    assert float(REGRESSIONS["shifted_cosh"](torch.tensor(1e-6))) == pytest.approx(1e-12)


FORKED = (
    Trajectory(
        "forked/1",
        (
            Step("a", ("x", "y"), "x", log_reward_so_far=-1.0),
            Step("b", ("x", "y"), "y", log_reward_so_far=-0.5, stop_action="x", stop_log_reward=0.25),
        ),
        log_reward=2.0,
        success=True,
        solution="",
    ),
    Trajectory(
        "forked/1",
        (
            Step(
                "a",
                ("x", "y"),
                "y",
                log_reward_so_far=-1.0,
                outcomes=(Outcome(0.25, "b", -0.5), Outcome(0.25, "c", 0.75), Outcome(0.5, None, 1.0)),
            ),
        ),
        log_reward=1.0,
        success=True,
        solution="",
    ),
)


@pytest.mark.parametrize("source", ["head", "forward_looking"])
def test_flows_of_a_batch_by_hand(source):
    policy = TabularPolicy([("a", ("x", "y")), ("b", ("x", "y")), ("c", ("x", "y"))])
    with torch.no_grad():
        policy.log_flows[:] = torch.tensor([4.0, 3.0, 2.5])
    beta = 0.5
    so_far = 0.0 if source == "head" else beta
    batch = scored_batch(policy, FORKED, beta, source)
    assert batch.log_f.tolist() == [[4.0 - so_far, 3.0 - 0.5 * so_far], [4.0 - so_far, 0.0]]
    assert batch.log_f_next[0].tolist() == [3.0 - 0.5 * so_far, 2.0 * beta]
    parts = [0.25 * math.exp(3.0 - 0.5 * so_far), 0.25 * math.exp(2.5 + 0.75 * so_far), 0.5 * math.exp(beta)]
    assert batch.log_f_next[1].tolist() == pytest.approx([math.log(sum(parts)), 0.0])
    batch.log_f_next.sum().backward()
    # b after the first step of the first trajectory, and with its share in the expectation
    assert float(policy.log_flows.grad[1]) == pytest.approx(1.0 + parts[0] / sum(parts))
    assert torch.isfinite(policy.log_flows.grad).all()


def test_flows_from_stopping_by_hand():
    policy = TabularPolicy([("a", ("x", "y")), ("b", ("x", "y"))])
    first, last = FORKED[0].steps
    trajectory = replace(FORKED[0], steps=(replace(first, stop_action="y", stop_log_reward=-2.0), last))
    batch = scored_batch(policy, [trajectory], 0.5, "stop")
    assert batch.log_f[0].tolist() == pytest.approx([-1.0 + math.log(2), 0.125 + math.log(2)])
    assert batch.log_f_next[0].tolist() == pytest.approx([0.125 + math.log(2), 1.0])


# -- equivalences ----------------------------------------------------------------------------------
DETERMINISTIC = [place for place in PROBLEMS if place != "blackjack"]


@pytest.mark.parametrize("place", DETERMINISTIC)
def test_sub_trajectory_balance_lies_between_detailed_and_trajectory_balance(place):
    policy, trajectories = random_table(graph_of(place)), trajectories_of(place)
    with torch.no_grad():
        batch = batch_for("sub_trajectory_balance", policy, trajectories)
        whole, steps = trajectory_balance(batch), detailed_balance(batch)
        ends = batch.mask.sum(dim=1)
        full_length = sub_trajectory_balance(batch).values[torch.arange(len(ends)), 0, ends]
        assert torch.allclose(full_length, whole.values, atol=1e-12)
        assert torch.allclose(steps.values.sum(dim=1), whole.values, atol=1e-12)
        assert torch.allclose(sub_trajectory_balance(batch, 1e12).loss(squared), whole.loss(squared))
        assert torch.allclose(sub_trajectory_balance(batch, 1e-12).loss(squared), steps.loss(squared))


def test_of_one_step_all_balances_are_one():
    batch = batch_of([[-1.0], [-0.5]], [1.0, 2.0], log_f=[[3.0], [3.0]], log_f_next=[[1.0], [2.0]])
    expected = trajectory_balance(batch).values
    assert torch.equal(detailed_balance(batch).values[:, 0], expected)
    assert torch.equal(sub_trajectory_balance(batch).values[:, 0, 1], expected)
    assert torch.equal(sub_trajectory_balance(batch).loss(squared), trajectory_balance(batch).loss(squared))


def test_vargrad_is_trajectory_balance_at_the_best_log_z():
    batch = batch_of([[-1.0], [-0.5], [-2.0]], [1.0, 2.0, 0.5], group=(0, 0, 0))
    best = -delta(batch).mean()
    balanced = trajectory_balance(replace(batch, log_f=best.expand(3, 1), log_f_next=torch.zeros(3, 1)))
    assert torch.allclose(vargrad(batch).values, balanced.values)


def test_relative_balance_to_uniform_play_is_balance_but_for_the_scale_of_z():
    """On a tree whose trajectories all have the same number of choices P_ref is one constant."""
    task = NumberLine(high=9, horizon=3, reward="inverse_distance")
    problem = NumberLineProblem(4, 9, 0, 9)
    graph = enumerate_states(task, problem)
    policy, uniform = random_table(graph), table_for(graph)
    played = [replay_actions(task, problem, actions, "") for actions in product("-+", repeat=3)]
    with torch.no_grad():
        relative = batch_for("relative_trajectory_balance", policy, played, reference=uniform)
        assert torch.allclose(relative.log_ref, numbers(-3 * math.log(2)))
        plain = replace(relative, log_pb=torch.zeros_like(relative.log_pb), log_f=relative.log_f + 3 * math.log(2))
        assert torch.allclose(relative_trajectory_balance(relative).values, trajectory_balance(plain).values)


@pytest.mark.parametrize(("name", "place"), pairs(OBJECTIVES, PROBLEMS))
def test_padding_and_order_change_nothing(name, place):
    graph = graph_of(place)
    policy, reference = random_table(graph), random_table(graph, 1)
    trajectories = sorted(trajectories_of(place), key=lambda t: len(t.steps))
    trajectories = [*trajectories[:3], *trajectories[-3:]]

    def each(chosen):
        found = terms(name, policy, chosen, reference=reference)
        return (found.values * found.weights).reshape(len(chosen), -1).sum(dim=1) * len(chosen)

    with torch.no_grad():
        together = each(trajectories)
        assert torch.allclose(together, each(trajectories[::-1]).flip(0))
        if not OBJECTIVES[name].group:
            assert torch.allclose(together, torch.cat([each([trajectory]) for trajectory in trajectories]))
        elif OBJECTIVES[name].policy_gradient:
            others = [replace(t, problem_id="another") for t in trajectories[-2:]]
            assert torch.allclose(each(trajectories[:3]), each([*trajectories[:3], *others])[:3])


@pytest.mark.parametrize("name", BALANCE)
def test_weights_sum_to_one_and_every_trajectory_counts_the_same(name):
    graph = graph_of("hypergrid")
    found = terms(name, table_for(graph), trajectories_of("hypergrid"), reference=table_for(graph))
    each = found.weights.reshape(len(found.weights), -1).sum(dim=1)
    assert torch.allclose(each, torch.full_like(each, 1 / len(each)))


# -- training --------------------------------------------------------------------------------------
def train_table(
    name, place, trajectories=None, steps=600, change=lambda batch: batch, extra=(), learned_backward=False
):
    """Trains a table on a fixed set of trajectories, by default all, with L-BFGS; returns it and the last loss."""
    graph = graph_of(place)
    policy, reference = table_for(graph), random_table(graph, 1)
    chosen = trajectories_of(place) if trajectories is None else trajectories
    optimizer = torch.optim.LBFGS(
        [*policy.parameters(), *extra],
        max_iter=steps,
        tolerance_grad=1e-8,
        tolerance_change=1e-14,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        batch = batch_for(name, policy, chosen, reference=reference, learned_backward=learned_backward)
        loss = OBJECTIVES[name].terms(change(batch)).loss(squared)
        loss.backward()
        return loss

    optimizer.step(closure)
    return policy, float(closure().detach())


def target_of(name, graph):
    """What the exact sampler of an objective reaches."""
    if not OBJECTIVES[name].reference:
        return graph.target()
    rewarded = graph.reached(graph.policy_of(random_table(graph, 1))) * np.exp(graph.log_rewards)
    return rewarded / rewarded.sum()


def distance(name, place, policy):
    graph = graph_of(place)
    return total_variation(graph.reached(graph.policy_of(policy)), target_of(name, graph))


@EXACTNESS
def test_training_reaches_the_exact_target(name, place):
    """On all trajectories, none of them from the policy: off-policy data does not move the optimum."""
    policy, loss = train_table(name, place)
    assert loss < 1e-6
    assert distance(name, place, policy) < 1e-3


@LEARNED_BACKWARD
def test_training_with_a_learned_backward_policy_reaches_the_exact_target(name, place):
    policy, loss = train_table(name, place, learned_backward=True)
    assert loss < 1e-6
    assert distance(name, place, policy) < 1e-3
    backward = [policy._places[prompt] for prompt in prompts_of(graph_of(place)) if prompt[0].endswith(BACKWARD_MARKER)]
    assert policy.logits[backward].abs().max() > 0.01, "it was trained too"


@pytest.mark.parametrize("name", ["vargrad", "sub_trajectory_balance", "forward_looking_detailed_balance"])
def test_the_share_of_each_trajectory_in_the_data_does_not_move_the_optimum(name):
    trajectories = trajectories_of("hypergrid")
    skewed = [t for number, t in enumerate(trajectories) for _ in range(1 + number % 5)]
    policy, loss = train_table(name, "hypergrid", skewed)
    assert loss < 1e-6
    assert distance(name, "hypergrid", policy) < 1e-3


@pytest.mark.parametrize("name", ["detailed_balance", "forward_looking_detailed_balance"])
def test_incomplete_trajectories_train_the_objectives_of_parts(name):
    """All walks, each broken off before it stops, and one way to each end."""
    whole = trajectories_of("hypergrid")
    parts = [cut(t, len(t.steps) - 1) for t in whole if len(t.steps) > 1]
    ends = list({t.solution: t for t in whole}.values())
    assert (len(parts), len(ends)) == (68, 16)
    policy, loss = train_table(name, "hypergrid", [*parts, *ends])
    assert loss < 1e-6
    assert distance(name, "hypergrid", policy) < 1e-3


INCOMPLETE = [name for name in BALANCE if OBJECTIVES[name].incomplete]


@pytest.mark.parametrize(("name", "place"), pairs(INCOMPLETE, ["numberline by distance", "hypergrid", "blackjack"]))
def test_residuals_of_incomplete_trajectories_vanish_at_exact_flows(name, place):
    graph = graph_of(place)
    parts = [cut(t, length) for t in trajectories_of(place) for length in range(1, len(t.steps))]
    policy = exact_policy(graph, name)
    with torch.no_grad():
        assert largest(terms(name, policy, parts)) < 1e-9
        policy.log_flows += torch.linspace(0, 1, len(policy.log_flows))
        assert largest(terms(name, policy, parts)) > 1e-3


def test_a_cut_trajectory_is_what_a_rollout_that_breaks_off_records():
    task, problem = PROBLEMS["numberline by distance"]
    policy = random_table(graph_of("numberline by distance"))
    whole, part = (
        rollout(task, policy, [problem] * 20, np.random.default_rng(0), max_steps=steps) for steps in (None, 2)
    )
    assert not all(t.complete for t in part)
    assert max(len(t.steps) for t in part) == 2
    for long, short in zip(whole, part, strict=True):
        assert (short.steps == long.steps[:2] and short == cut(long, 2)) if len(long.steps) > 2 else short == long
    with pytest.raises(ValueError, match="cannot be cut after 9"):
        cut(whole[0], 9)


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if not OBJECTIVES[name].incomplete])
def test_incomplete_trajectories_are_refused_where_they_mean_nothing(name):
    graph = graph_of("hypergrid")
    parts = [cut(t, 1) for t in trajectories_of("hypergrid") if len(t.steps) > 1]
    with pytest.raises(ValueError, match="does not come to its end"):
        terms(name, table_for(graph), parts, reference=table_for(graph))


def test_two_problems_get_two_log_z():
    task, problems = NumberLine(high=3, horizon=4, reward="inverse_distance"), [(0, 1), (0, 3)]
    graphs = [enumerate_states(task, NumberLineProblem(start, goal, 0, 3)) for start, goal in problems]
    exact = [float(graph.log_flows(graph.log_rewards)[0]) for graph in graphs]
    assert abs(exact[0] - exact[1]) > 0.3
    policy = table_for(*graphs)
    played = [t for graph in graphs for t in rollout(task, policy, [graph.problem] * 60, np.random.default_rng(0))]

    def train(change):
        trained = table_for(*graphs)
        optimizer = torch.optim.LBFGS(trained.parameters(), max_iter=300, line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = trajectory_balance(change(scored_batch(trained, played, 1.0, "head"))).loss(squared)
            loss.backward()
            return loss

        optimizer.step(closure)
        reached = [graph.reached(graph.policy_of(trained)) for graph in graphs]
        return trained, max(total_variation(r, g.target()) for r, g in zip(reached, graphs, strict=True))

    trained, off = train(lambda batch: batch)
    assert off < 1e-3
    found = [float(trained.log_flow([task.observe(graph.states[0])]).detach()) for graph in graphs]
    assert found == pytest.approx(exact, abs=1e-3)
    # one Z for all problems: a wrong target on both
    _, off = train(lambda batch: replace(batch, log_f=batch.log_f[:1].expand_as(batch.log_f)))
    assert off > 0.02


def test_vargrad_keeps_problems_apart():
    together = batch_of([[-1.0], [-1.0], [-2.0], [-2.0]], [0.0, 0.0, 5.0, 5.0], group=(0, 0, 1, 1))
    assert vargrad(together).values.abs().max() == 0
    assert vargrad(replace(together, group=torch.zeros(4, dtype=torch.long))).values.abs().min() > 1


# -- wrong variants, which reach zero loss and a wrong target --------------------------------------
def test_a_backward_policy_of_one_on_merged_states_reaches_a_wrong_target():
    """Zero loss, wrong distribution: each end counts once for every way that leads to it."""
    place = "numberline by distance"
    graph = graph_of(place)
    policy, loss = train_table("vargrad", place, change=lambda b: replace(b, log_pb=torch.zeros_like(b.log_pb)))
    assert loss < 1e-8
    reached = graph.reached(graph.policy_of(policy))
    assert total_variation(reached, graph.target()) > 0.1
    ways = np.zeros(len(graph.states))
    ways[0] = 1
    for index, edges in enumerate(graph.edges):
        for outcomes in edges:
            ways[outcomes[0][1]] += ways[index]
    counted = np.where(np.isneginf(graph.log_rewards), 0.0, ways * np.exp(graph.log_rewards))
    assert total_variation(reached, counted / counted.sum()) < 1e-3


class EveryParent(NumberLine):
    """Counts parents that no walk reaches, as if the walker could have come from anywhere."""

    def parents(self, state):
        edges = super().parents(state)
        if not state.time:
            return edges
        place = state.position
        before = {place - 1: "+", place + 1: "-", self.low: "-" if place == self.low else "+"}
        legal = [(p, a) for p, a in before.items() if self.low <= p <= self.high and p != state.problem.goal]
        legal += [(place, "-")] * (place == self.low) + [(place, "+")] * (place == self.high)
        extra = [(replace_place(state, p), a) for p, a in legal if self.step(replace_place(state, p), a) == state]
        return tuple(dict.fromkeys([*edges, *extra]))


def replace_place(state, position):
    return type(state)(state.problem, position, state.time - 1)


def test_counting_parents_that_cannot_be_reached_gives_a_wrong_target():
    task, problem = EveryParent(high=3, horizon=5, reward="inverse_distance"), NumberLineProblem(0, 2, 0, 3)
    right = {t.actions: t for t in trajectories_of("numberline by distance")}
    wrong = [replay_actions(task, problem, actions, "") for actions in right]
    assert any(
        step.log_pb < true.log_pb - 0.1
        for t in wrong
        for step, true in zip(t.steps, right[t.actions].steps, strict=True)
    )
    wrong = [replace(t, steps=tuple(replace(s, incoming=()) for s in t.steps)) for t in wrong]
    policy, loss = train_table("trajectory_balance", "numberline by distance", wrong)
    assert loss < 1e-8
    assert distance("trajectory_balance", "numberline by distance", policy) > 0.05


def test_forward_looking_without_its_boundary_means_nothing():
    """log F~ left free at the ends: zero loss, and a target of nothing."""
    name, place = "forward_looking_detailed_balance", "hypergrid"
    trajectories = trajectories_of(place)
    ends = {end: number for number, end in enumerate(dict.fromkeys(t.solution for t in trajectories))}
    rows = torch.tensor([ends[t.solution] for t in trajectories])
    free = nn.Parameter(torch.zeros(len(ends), dtype=torch.float64))

    def without_boundary(batch):
        last = batch.mask & ~torch.nn.functional.pad(batch.mask, (0, 1))[:, 1:]
        return replace(batch, log_f_next=batch.log_f_next + torch.where(last, free[rows][:, None], 0.0))

    policy, loss = train_table(name, place, change=without_boundary, extra=[free])
    assert loss < 1e-8
    assert distance(name, place, policy) > 0.1


def test_a_random_failure_turns_the_step_of_a_sure_policy_around():
    """Of right, wrong and silly actions the last has e^-20: with a sample of it, a step makes right ones rarer."""
    logits = torch.tensor([3.5, 0.0, -16.5], dtype=torch.float64, requires_grad=True)
    log_rewards = torch.tensor([0.0, -9.2, -9.2], dtype=torch.float64)

    def gain(drawn):
        """Returns by how much the log-probability of the right action grows in a step of length 1."""
        batch = batch_of([[0.0] for _ in drawn], log_rewards[drawn].tolist(), group=[0] * len(drawn))
        log_pf = logits.log_softmax(dim=0)[drawn][:, None]
        loss = OBJECTIVES["vargrad"].loss(replace(batch, log_pf=log_pf), TrainConfig(samples_per_problem=len(drawn)))
        (gradient,) = torch.autograd.grad(loss, logits)
        (wanted,) = torch.autograd.grad(logits.log_softmax(dim=0)[0], logits)
        return float(-gradient @ wanted)

    right, wrong, silly = 0, 1, 2
    assert gain([right, right, wrong]) > 0.01
    assert gain([right, right, wrong, silly]) < 0
    assert gain([right, right, wrong, wrong]) > 0.01


def test_trajectory_balance_under_chance_is_never_zero():
    """Nor is its best policy the one of the expected flows."""
    policy, loss = train_table("trajectory_balance", "blackjack")
    assert loss > 0.1
    assert distance("trajectory_balance", "blackjack", policy) > 0.05
    exact = exact_policy(graph_of("blackjack"), "detailed_balance")
    assert largest(terms("trajectory_balance", exact, trajectories_of("blackjack"))) > 1.0


# -- policy gradients ------------------------------------------------------------------------------
def test_reinforce_has_the_gradient_of_the_expected_return():
    """Over all pairs of trajectories, each as often as the policy plays it."""
    place = "prontoqa"
    graph, trajectories = graph_of(place), trajectories_of(place)
    policy = random_table(graph)
    pairs = list(product(trajectories, trajectories))
    chosen = [replace(t, problem_id=str(number)) for number, pair in enumerate(pairs) for t in pair]
    found = terms("reinforce", policy, chosen)
    batch = batch_for("reinforce", policy, trajectories)
    played = batch.log_pf.sum(dim=1).detach().exp()
    assert float(played.sum()) == pytest.approx(1.0)
    weights = (played[:, None] * played[None, :]).flatten().repeat_interleave(2) / 2
    (found.values * weights).sum().backward()
    estimated = -policy.logits.grad.clone()
    policy.zero_grad()
    (batch.log_pf.sum(dim=1).exp() * batch.log_reward.exp()).sum().backward()
    assert torch.allclose(estimated, policy.logits.grad, atol=1e-12)
    assert policy.logits.grad.abs().max() > 1e-3


def test_ppo_begins_with_the_gradient_of_reinforce():
    graph, trajectories = graph_of("hypergrid"), trajectories_of("hypergrid")
    found = []
    for name in ("reinforce", "ppo_clip"):
        policy = random_table(graph)
        values = terms(name, policy, trajectories)
        (values.values * values.weights).sum().backward()
        found.append(policy.logits.grad)
    assert torch.allclose(*found, atol=1e-14)


# -- what is refused -------------------------------------------------------------------------------
def test_objectives_say_what_they_lack():
    single = batch_of([[-1.0]], [0.0], group=(0,))
    for function in (trajectory_balance, detailed_balance, sub_trajectory_balance):
        with pytest.raises(ValueError, match="log_f"):
            function(single)
    with pytest.raises(ValueError, match="log_ref"):
        relative_trajectory_balance(single)
    for function in (vargrad, reinforce, grpo, ppo_clip):
        with pytest.raises(ValueError, match="at least 2 trajectories per problem"):
            function(batch_of([[-1.0], [-1.0]], [0.0, 0.0], group=(0, 1)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_positive_and_finite_is_named(value):
    broken = [replace(trajectories_of("game24")[0], log_reward=value)] * 2
    with pytest.raises(ValueError, match=r"'game24/2-2-6' is .*positive and finite"):
        scored_batch(table_for(graph_of("game24")), broken, 1.0)


# -- data ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", PROBLEMS)
def test_trajectories_keep_everything_in_json(place):
    for trajectory in trajectories_of(place)[:5]:
        line = json.dumps(trajectory.to_json())
        assert Trajectory.from_json(json.loads(line)) == trajectory
        old = json.loads(line)
        for step in old["steps"]:
            for key in ("outcomes", "stop_action", "stop_log_reward", "incoming", "incoming_edge"):
                step.pop(key, None)
        del old["complete"], old["end"]
        assert Trajectory.from_json(old).actions == trajectory.actions


def test_steps_know_their_incoming_edges():
    task, problem = PROBLEMS["numberline by distance"]
    graph = graph_of("numberline by distance")
    for trajectory in trajectories_of("numberline by distance"):
        state = task.reset(problem)
        for step in trajectory.steps:
            edge, state = (state, step.action), task.step(state, step.action)
            edges = task.parents(state)
            assert step.log_pb == pytest.approx(graph.log_backward[graph.states.index(state)])
            assert step.incoming == (edge_names(task, edges) if len(edges) > 1 else ())
            assert len(set(step.incoming)) == len(step.incoming)
            if step.incoming:
                assert step.incoming.index(step.incoming_edge) == edges.index(edge)


def test_edges_are_told_apart_by_action_or_by_parent():
    task = NumberLine(high=3, horizon=5)
    near, far = (task.reset(NumberLineProblem(start, 3, 0, 3)) for start in (0, 1))
    assert edge_names(task, ((near, "+"), (far, "-"))) == ("+", "-")
    names = edge_names(task, ((near, "-"), (far, "-")))
    assert names == tuple(f"- from: {task.observe(state)}" for state in (near, far))


def test_all_trajectories_are_all():
    complete = sum(1 for actions in product("-+", repeat=5) if not any(p == 3 for p in positions(1, actions[:-1])))
    early = sum(
        1
        for length in range(1, 5)
        for actions in product("-+", repeat=length)
        if positions(1, actions)[-1] == 3 and 3 not in positions(1, actions[:-1])
    )
    assert len(trajectories_of("numberline")) == complete + early


def positions(start, actions):
    path = [start]
    for action in actions:
        path.append(min(path[-1] + 1, 3) if action == "+" else max(path[-1] - 1, 0))
    return path
