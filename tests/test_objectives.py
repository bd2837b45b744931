"""Objectives: zero at exact flows and nowhere else, and a tabular policy that reaches the exact target."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from gfn_agents.batch import Batch, scored_batch
from gfn_agents.config import ObjectiveName, RegressionName
from gfn_agents.objectives import OBJECTIVES, REGRESSIONS, delta, trajectory_balance, vargrad
from gfn_agents.policy import TabularPolicy
from gfn_envs.exact import enumerate_states
from gfn_envs.metrics import total_variation
from gfn_envs.rollout import record
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem

PROBLEMS = {
    "game24": (Game24(count=3), Game24Problem((2, 3, 4))),
    "numberline": (NumberLine(high=3, horizon=5), NumberLineProblem(1, 3, 0, 3)),
    "numberline by distance": (
        NumberLine(high=3, horizon=5, reward="inverse_distance"),
        NumberLineProblem(0, 2, 0, 3),
    ),
}


@pytest.fixture(params=sorted(PROBLEMS))
def graph(request):
    return enumerate_states(*PROBLEMS[request.param])


def all_trajectories(graph):
    """Every trajectory of the problem, by following every path."""
    found, stack = [], [(0, [])]
    while stack:
        index, history = stack.pop()
        if not graph.actions[index]:
            found.append(record(graph.task, graph.problem.id, history, graph.states[index], "enumerated"))
        for action, outcomes in zip(graph.actions[index], graph.edges[index], strict=True):
            stack.append((outcomes[0][1], [*history, (graph.states[index], action)]))
    return found


def table_for(graph):
    prompts = [
        (graph.task.observe(state), actions)
        for state, actions in zip(graph.states, graph.actions, strict=True)
        if actions
    ]
    return TabularPolicy(prompts)


def exact_policy(graph, beta=1.0):
    """The table filled with the exact flows."""
    policy = table_for(graph)
    flows = graph.log_flows(beta * graph.log_rewards)
    chosen = graph.flow_policy(flows)
    with torch.no_grad():
        for index, actions in enumerate(graph.actions):
            if actions:
                observation = graph.task.observe(graph.states[index])
                row = policy._places[observation, actions]
                policy.logits[row, : len(actions)] = torch.from_numpy(np.log(chosen[index]))
                policy.log_flows[policy._flow_places[observation]] = flows[index]
    return policy


def residuals(name, policy, trajectories, beta=1.0):
    objective = OBJECTIVES[name]
    return objective.residuals(scored_batch(policy, trajectories, beta, objective.needs_log_z))


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_residuals_vanish_at_exact_flows_and_only_there(name, beta, graph):
    policy = exact_policy(graph, beta)
    trajectories = all_trajectories(graph)
    with torch.no_grad():
        assert residuals(name, policy, trajectories, beta).abs().max() < 1e-9
        policy.logits[0, 0] += 0.1
        assert residuals(name, policy, trajectories, beta).abs().max() > 1e-3


def test_the_names_on_the_command_line_are_the_names_in_the_code():
    assert set(ObjectiveName.__args__) == set(OBJECTIVES)
    assert set(RegressionName.__args__) == set(REGRESSIONS)


def batch_of(log_pf, log_reward, group=(0, 0), log_z=None):
    log_pf = torch.tensor(log_pf, dtype=torch.float64)
    return Batch(
        log_pf=log_pf,
        log_pb=torch.zeros_like(log_pf),
        mask=torch.ones_like(log_pf, dtype=torch.bool),
        log_reward=torch.tensor(log_reward, dtype=torch.float64),
        group=torch.tensor(group),
        log_z=None if log_z is None else torch.tensor(log_z, dtype=torch.float64),
    )


def test_a_case_by_hand():
    batch = batch_of([[-1.0, -2.0], [-0.5, 0.0]], [1.0, 2.0], log_z=[3.0, 3.0])
    assert delta(batch).tolist() == [-4.0, -2.5]
    assert vargrad(batch).tolist() == [-0.75, 0.75]
    assert trajectory_balance(batch).tolist() == [-1.0, 0.5]


def test_vargrad_is_trajectory_balance_at_the_best_log_z():
    batch = batch_of([[-1.0], [-0.5], [-2.0]], [1.0, 2.0, 0.5], group=(0, 0, 0))
    best = -delta(batch).mean()
    balanced = trajectory_balance(replace(batch, log_z=best.expand(3)))
    assert torch.allclose(vargrad(batch), balanced)


def test_two_problems_have_two_log_z():
    """A batch of two problems that are each balanced: one log Z for both would leave a residual."""
    together = batch_of([[-1.0], [-1.0], [-2.0], [-2.0]], [0.0, 0.0, 5.0, 5.0], group=(0, 0, 1, 1))
    assert vargrad(together).abs().max() == 0
    assert vargrad(replace(together, group=torch.zeros(4, dtype=torch.long))).abs().min() > 1


def test_padding_and_order_change_nothing(graph):
    policy = table_for(graph)
    with torch.no_grad():
        policy.logits.normal_(generator=torch.Generator().manual_seed(0))
        trajectories = all_trajectories(graph)[:6]
        for name in OBJECTIVES:
            forward = residuals(name, policy, trajectories)
            backward = residuals(name, policy, trajectories[::-1])
            assert torch.allclose(forward, backward.flip(0))
        alone = torch.stack([delta(scored_batch(policy, [t], 1.0, False))[0] for t in trajectories])
        assert torch.allclose(alone, delta(scored_batch(policy, trajectories, 1.0, False)))


def test_vargrad_needs_two_trajectories_of_a_problem():
    with pytest.raises(ValueError, match="at least 2 trajectories per problem"):
        vargrad(batch_of([[-1.0], [-1.0]], [0.0, 0.0], group=(0, 1)))


def train_table(graph, name, trajectories, steps=400, log_pb=None):
    """Trains the table on a fixed set of trajectories with L-BFGS; returns the policy and the last loss."""
    policy, objective = table_for(graph), OBJECTIVES[name]
    optimizer = torch.optim.LBFGS(
        policy.parameters(), max_iter=steps, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        batch = scored_batch(policy, trajectories, 1.0, objective.needs_log_z)
        if log_pb is not None:
            batch = replace(batch, log_pb=torch.full_like(batch.log_pb, log_pb))
        loss = objective.residuals(batch).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return policy, float(closure().detach())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_reaches_the_exact_target(name, graph):
    """On all trajectories, none of them from the policy: off-policy data does not move the optimum."""
    policy, loss = train_table(graph, name, all_trajectories(graph))
    assert loss < 1e-8
    assert total_variation(graph.reached(graph.policy_of(policy)), graph.target()) < 1e-3


def test_a_backward_policy_of_one_on_merged_states_reaches_a_wrong_target():
    """Zero loss, wrong distribution: each end counts once for every way that leads to it."""
    graph = enumerate_states(*PROBLEMS["numberline by distance"])
    trajectories = all_trajectories(graph)
    policy, loss = train_table(graph, "vargrad", trajectories, log_pb=0.0)
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


def test_regressions_by_hand():
    values = torch.tensor([0.5, -2.0])
    assert math.isclose(float(REGRESSIONS["squared"](values)), (0.25 + 4.0) / 2)
    assert math.isclose(float(REGRESSIONS["huber"](values)), (0.125 + 1.5) / 2)


def test_trajectory_balance_says_what_it_lacks():
    with pytest.raises(ValueError, match="log_z"):
        trajectory_balance(batch_of([[-1.0]], [0.0], group=(0,)))


def test_all_trajectories_are_all():
    graph = enumerate_states(*PROBLEMS["numberline"])
    complete = sum(1 for actions in product("-+", repeat=5) if not any(p == 3 for p in positions(1, actions[:-1])))
    early = sum(
        1
        for length in range(1, 5)
        for actions in product("-+", repeat=length)
        if positions(1, actions)[-1] == 3 and 3 not in positions(1, actions[:-1])
    )
    assert len(all_trajectories(graph)) == complete + early


def positions(start, actions):
    path = [start]
    for action in actions:
        path.append(min(path[-1] + 1, 3) if action == "+" else max(path[-1] - 1, 0))
    return path
