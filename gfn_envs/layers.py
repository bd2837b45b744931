"""The edges of a state graph as arrays, layer by layer, so that what runs over all edges runs in numpy.

States of a layer have no edges among each other, and all their edges lead to later layers. What is computed from the
start to the ends takes the layers in order, what is computed from the ends backwards takes them in reverse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np

Outcomes = tuple[tuple[float, int], ...]
Row = TypeVar("Row")


@dataclass(frozen=True, eq=False)
class Layer:
    """Some states that have legal actions, their S states, A actions and E outcomes one after another.

    Attributes:
        states: index of each state, shape (S,).
        actions: where their actions are among those of all states.
        outcomes: where the outcomes of these are among all outcomes.
        first_actions: place of each state's first action, shape (S,).
        first_outcomes: place of each action's first outcome, shape (A,).
        sources: index of each action's state, shape (A,).
        takers: place of each outcome's action, shape (E,).
        children: index of the state that an outcome leads to, shape (E,).
        chances: probability of an outcome, shape (E,).
    """

    states: np.ndarray
    actions: slice
    outcomes: slice
    first_actions: np.ndarray
    first_outcomes: np.ndarray
    sources: np.ndarray
    takers: np.ndarray
    children: np.ndarray
    chances: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """How many actions each state has, shape (S,)."""
        return np.diff(self.first_actions, append=len(self.sources))


def layers_of(edges: Sequence[Sequence[Outcomes]]) -> tuple[Layer, ...]:
    """Returns the layers of a graph in topological order, the ends left out.

    Args:
        edges: for each state and action the outcomes as (probability, index of a later state).
    """
    found, n_actions, n_outcomes = [], 0, 0
    for bounds in _bounds(edges):
        inner = [index for index in bounds if edges[index]]
        actions = list(chain.from_iterable(edges[index] for index in inner))
        outcomes = list(chain.from_iterable(actions))
        if not inner:
            continue
        per_state, per_action = _sizes(edges[index] for index in inner), _sizes(actions)
        found.append(
            Layer(
                states=np.array(inner),
                actions=slice(n_actions, n_actions + len(actions)),
                outcomes=slice(n_outcomes, n_outcomes + len(outcomes)),
                first_actions=np.cumsum(per_state) - per_state,
                first_outcomes=np.cumsum(per_action) - per_action,
                sources=np.repeat(inner, per_state),
                takers=np.repeat(np.arange(len(actions)), per_action),
                children=np.array([child for _, child in outcomes]),
                chances=np.array([chance for chance, _ in outcomes]),
            )
        )
        n_actions, n_outcomes = n_actions + len(actions), n_outcomes + len(outcomes)
    return tuple(found)


def _bounds(edges: Sequence[Sequence[Outcomes]]) -> Iterator[range]:
    """Yields the longest runs of states without edges among each other."""
    start, first_child = 0, len(edges)
    for index, actions in enumerate(edges):
        if index == first_child:
            yield range(start, index)
            start, first_child = index, len(edges)
        first_child = min(first_child, *(child for outcomes in actions for _, child in outcomes), len(edges))
    yield range(start, len(edges))


def _sizes(rows: Iterable[Sequence[Row]]) -> np.ndarray:
    return np.array([len(row) for row in rows], dtype=np.intp)
