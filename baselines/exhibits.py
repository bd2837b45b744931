"""What agents do on one enumerated problem, for people to look at: its solutions, and the tree of moves to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from baselines.results import NO_SOLUTION, OTHER_MOVES, DistributionExhibit, TreeNode
from gfn_envs.exact import EnumerationLimit
from gfn_envs.state_graph import StateGraph

ActionProbabilities = Sequence[np.ndarray]
"""Probabilities of the legal actions, one array for every state of a graph."""


def distribution_exhibit(
    graph: StateGraph[Any, Any], policies: Mapping[str, ActionProbabilities], target: ActionProbabilities
) -> DistributionExhibit:
    """Returns the probability of each solution under each agent's policy and under the target."""

    def distribution(policy: ActionProbabilities) -> tuple[float, ...]:
        found = tuple(graph.solution_probabilities(graph.reached(policy)).values())
        return (*found, max(0.0, 1.0 - sum(found)))

    learned = {agent: distribution(policy) for agent, policy in policies.items()}
    return DistributionExhibit(graph.problem.id, (*graph.solutions, NO_SOLUTION), distribution(target), learned)


def solution_tree(
    graph: StateGraph[Any, Any], policies: ActionProbabilities, target: ActionProbabilities, limit: int = 2_000
) -> TreeNode:
    """Returns the branches that lead to solutions, most probable under the target first.

    All other moves of a state are one node, 'other moves'. A branch is one action, or one outcome
    of an action where there is chance.

    Args:
        graph: the enumerated problem.
        policies: the agent's action probabilities at every state.
        target: those of the exact sampler.
        limit: most paths to solutions.

    Raises:
        EnumerationLimit: there are more paths to solutions.
    """
    paths = graph.successes.copy()
    for index in reversed(range(len(graph.states))):
        paths[index] += sum(paths[child] for outcomes in graph.edges[index] for _, child in outcomes)
    if paths[0] > limit:
        raise EnumerationLimit(
            f"{paths[0]:.0f} paths to solutions of '{graph.problem.id}', more than limit={limit}; pass a larger limit"
        )

    def grow(index: int, label: str, probability: float, exact: float) -> TreeNode:
        kept, others = [], np.zeros(2)
        for action, outcomes, learned, wanted in zip(
            graph.actions[index], graph.edges[index], policies[index], target[index], strict=True
        ):
            for chance, child in outcomes:
                reached = (probability * float(learned) * chance, exact * float(wanted) * chance)
                if paths[child]:
                    branch = action if len(outcomes) == 1 else f"{action} (chance {chance:.2g})"
                    kept.append(grow(child, branch, *reached))
                else:
                    others += reached
        kept.sort(key=lambda node: -node.target)
        if kept and len(kept) < sum(map(len, graph.edges[index])):
            kept.append(TreeNode(OTHER_MOVES, float(others[0]), float(others[1]), False))
        success = None if kept else bool(graph.successes[index])
        return TreeNode(label, probability, exact, success, tuple(kept), graph.solution_names.get(index, ""))

    return grow(0, graph.problem.id, 1.0, 1.0)
