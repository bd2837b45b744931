"""Layers: numpy over whole layers gives what a walk over single edges gives."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfn_envs.layers import layers_of


@st.composite
def graphs(draw):
    """Draws edges of a random graph in topological order, with chance, and with several edges between two states."""
    size = draw(st.integers(2, 12))
    edges = []
    for index in range(size - 1):
        actions = []
        for _ in range(draw(st.integers(0, 3))):
            children = draw(st.lists(st.integers(index + 1, size - 1), min_size=1, max_size=3))
            actions.append(tuple((1.0 / len(children), child) for child in children))
        edges.append(tuple(actions))
    return (*edges, ())


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_layers_hold_every_edge_once_and_no_edge_within_one(edges):
    layers = layers_of(edges)
    found = []
    for layer in layers:
        assert not set(layer.states) & set(layer.children)
        states = layer.sources[layer.takers]
        found += zip(states.tolist(), layer.chances.tolist(), layer.children.tolist(), strict=True)
        assert (layer.sources[layer.first_actions] == layer.states).all()
        assert (layer.takers[layer.first_outcomes] == np.arange(len(layer.sources))).all()
    assert found == [(s, p, c) for s, actions in enumerate(edges) for outcomes in actions for p, c in outcomes]
    assert all(layer.states.max() < after.states.min() for layer, after in pairwise(layers))
    for part, last in (("actions", "sources"), ("outcomes", "children")):
        places = [getattr(layer, part) for layer in layers]
        assert [place.stop - place.start for place in places] == [len(getattr(layer, last)) for layer in layers]
        assert [place.start for place in places] == [0, *(place.stop for place in places)][: len(places)]


@given(graphs(), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_mass_that_flows_through_layers_is_that_of_single_edges(edges, seed):
    rng = np.random.default_rng(seed)
    policy = [rng.dirichlet(np.ones(len(actions))) if actions else np.zeros(0) for actions in edges]
    single = np.zeros(len(edges))
    single[0] = 1.0
    for index, actions in enumerate(edges):
        for share, outcomes in zip(policy[index], actions, strict=True):
            for chance, child in outcomes:
                single[child] += single[index] * share * chance
    mass = np.zeros(len(edges))
    mass[0] = 1.0
    for layer in layers_of(edges):
        taken = mass[layer.sources] * np.concatenate([policy[index] for index in layer.states])
        np.add.at(mass, layer.children, taken[layer.takers] * layer.chances)
    np.testing.assert_allclose(mass, single, atol=1e-15)
    ends = [index for index, actions in enumerate(edges) if not actions]
    assert math.isclose(mass[ends].sum(), 1.0, rel_tol=1e-12)


def test_a_chain_has_a_layer_for_each_state_and_a_fan_has_one():
    chain = (((1.0, 1),),), (((1.0, 2),),), ()
    fan = (((1.0, 1),), ((0.5, 2), (0.5, 3))), (), (), ()
    assert [layer.states.tolist() for layer in layers_of(chain)] == [[0], [1]]
    (layer,) = layers_of(fan)
    assert layer.states.tolist() == [0]
    assert layer.chances == pytest.approx([1.0, 0.5, 0.5])
    assert layer.takers.tolist() == [0, 1, 1]
