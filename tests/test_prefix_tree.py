"""Prefix trees: every distinct prefix once, and nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfn_agents.prefix_tree import build_row, node_count, plan_rows, trunk_length

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple)
prompts_with_actions = st.lists(st.tuples(tokens, st.lists(tokens, min_size=1, max_size=5)), min_size=1, max_size=6)


def distinct_prefixes(prompts, actions):
    """Counts by brute force what a tree must hold: prefixes of every sequence but for its last token."""
    found = set()
    for prompt, legal in zip(prompts, actions, strict=True):
        for action in legal:
            sequence = prompt + action
            found |= {sequence[:end] for end in range(1, len(sequence))}
    return len(found)


def visible(row):
    """Returns whether node i sees node j, which is so if j is i or an ancestor of it, bool of shape (L, L)."""
    seer = row.enters[:, None]
    return (row.enters <= seer) & (seer < row.exits)


@given(prompts_with_actions)
def test_a_row_holds_each_distinct_prefix_once(pairs):
    prompts, actions = [p for p, _ in pairs], [a for _, a in pairs]
    row = build_row(range(len(prompts)), prompts, actions)
    assert len(row.tokens) == distinct_prefixes(prompts, actions)


@given(prompts_with_actions)
def test_a_row_spells_every_sequence(pairs):
    prompts, actions = [p for p, _ in pairs], [a for _, a in pairs]
    row = build_row(range(len(prompts)), prompts, actions)
    for number, (prompt, action) in enumerate(row.pairs):
        edges = row.sequence_edges[row.sequence_index == number]
        assert tuple(row.edge_tokens[edges]) == actions[prompt][action]
        start = row.edge_nodes[edges[0]]
        path = np.flatnonzero(visible(row)[start])
        assert tuple(row.tokens[path]) == prompts[prompt]
        assert list(row.depths[path]) == list(range(len(path)))
        assert row.prompt_ends[row.prompts.index(prompt)] == start


@given(prompts_with_actions, st.integers(1, 30))
@settings(max_examples=50)
def test_rows_keep_the_budget_where_a_prompt_allows_it(pairs, budget):
    prompts, actions = [p for p, _ in pairs], [a for _, a in pairs]
    rows = plan_rows(prompts, actions, budget)
    assert sorted(index for row in rows for index in row) == list(range(len(prompts)))
    for row in rows:
        size = len(build_row(row, prompts, actions).tokens)
        assert size <= budget or len(row) == 1


def test_shared_prompts_are_evaluated_once_a_row():
    shared = tuple(range(300))
    prompts = [(*shared, 300 + i) for i in range(40)]
    actions = [[(i, a, 7) for a in range(8)] for i in range(40)]
    rows = plan_rows(prompts, actions, budget=512)
    evaluated = sum(len(build_row(row, prompts, actions).tokens) for row in rows)
    assert evaluated == distinct_prefixes(prompts, actions) + 300 * (len(rows) - 1)


def test_a_prompt_without_tokens_is_refused():
    with pytest.raises(ValueError, match="at least one token"):
        build_row([0], [()], [[(1,)]])


def test_node_count_leaves_last_tokens_out():
    assert node_count([(1, 2, 3), (1, 2, 4), (5,)]) == 2


@given(st.lists(tokens, min_size=1, max_size=5))
def test_the_trunk_is_what_all_prompts_share(prompts):
    length = trunk_length(prompts)
    assert all(prompt[:length] == prompts[0][:length] for prompt in prompts)
    longer = {prompt[: length + 1] for prompt in prompts}
    assert len(longer) > 1 or length == min(map(len, prompts)) - 1
