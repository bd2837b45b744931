"""Many (prompt, action) token sequences as one prefix tree, every distinct prefix token once.

A row is a flat list of tree nodes, parents before children. A transformer evaluates it in one pass
when every node attends to its ancestors and itself only and sits at the position of its depth. The
log-probability of an action is the sum over its edges (node -> child token). Rows are cut at a
token budget, because attention costs the square of the row. What all prompts share, the trunk,
can be left out of the rows and evaluated once for all of them.

Who is an ancestor is told by two numbers a node: on a walk down every branch in turn, the number at
which the walk enters it, and the first number after it has left all that is below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A prefix tree in the layout that one forward pass evaluates.

    Attributes:
        tokens: token of each node, shape (L,).
        depths: position of each node, shape (L,).
        enters: number of each node on a walk through the tree, branch by branch, shape (L,).
        exits: first number of that walk that is no longer below each node, shape (L,).
        edge_nodes: node at which each scored edge starts, shape (E,).
        edge_tokens: token that each scored edge leads to, shape (E,).
        sequence_edges: edges of all sequences, one after another, shape (S,).
        sequence_index: which (prompt, action) pair each entry of `sequence_edges` belongs to, shape (S,).
        pairs: (prompt, action) of each sequence, shape (N, 2).
        prompt_ends: last node of each prompt of the row.
        prompts: which prompts the row has.
    """

    tokens: np.ndarray
    depths: np.ndarray
    enters: np.ndarray
    exits: np.ndarray
    edge_nodes: np.ndarray
    edge_tokens: np.ndarray
    sequence_edges: np.ndarray
    sequence_index: np.ndarray
    pairs: np.ndarray
    prompt_ends: np.ndarray
    prompts: tuple[int, ...]


@dataclass
class _Tree:
    """A growing row. The last token of an action is an edge without a node: nothing follows it."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    children: dict[tuple[int, int], int] = field(default_factory=dict)
    edges: dict[tuple[int, int], int] = field(default_factory=dict)
    sequences: list[list[int]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    prompt_ends: list[int] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)

    def add(self, index: int, prompt: Tokens, actions: Sequence[Tokens]) -> None:
        end = -1
        for token in prompt:
            end = self._child(end, token)
        self.prompts.append(index)
        self.prompt_ends.append(end)
        for number, action in enumerate(actions):
            node, edges = end, []
            for position, token in enumerate(action):
                edges.append(self.edges.setdefault((node, token), len(self.edges)))
                if position < len(action) - 1:
                    node = self._child(node, token)
            self.sequences.append(edges)
            self.pairs.append((index, number))

    def _child(self, node: int, token: int) -> int:
        child = self.children.setdefault((node, token), len(self.tokens))
        if child == len(self.tokens):
            self.tokens.append(token)
            self.parents.append(node)
        return child

    def growth(self, prompt: Tokens, actions: Sequence[Tokens]) -> int:
        """Returns how many nodes adding a prompt would cost, at most."""
        node, shared = -1, 0
        for token in prompt:
            if (node, token) not in self.children:
                break
            node, shared = self.children[node, token], shared + 1
        return len(prompt) - shared + node_count(actions)

    def row(self) -> Row:
        depths, enters, exits = _walk(self.parents)
        nodes, tokens = zip(*self.edges, strict=True)
        return Row(
            tokens=np.array(self.tokens),
            depths=depths,
            enters=enters,
            exits=exits,
            edge_nodes=np.array(nodes),
            edge_tokens=np.array(tokens),
            sequence_edges=np.array([edge for edges in self.sequences for edge in edges]),
            sequence_index=np.repeat(np.arange(len(self.sequences)), [len(edges) for edges in self.sequences]),
            pairs=np.array(self.pairs),
            prompt_ends=np.array(self.prompt_ends),
            prompts=tuple(self.prompts),
        )


def _walk(parents: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns depth, enter and exit number of each node, from parents that come before their children (-1: none)."""
    sizes = [1] * len(parents)
    for node in range(len(parents) - 1, -1, -1):
        if parents[node] >= 0:
            sizes[parents[node]] += sizes[node]
    depths, enters, free = [0] * len(parents), [0] * len(parents), [0] * (len(parents) + 1)  # free[-1]: of the roots
    for node, parent in enumerate(parents):
        depths[node] = depths[parent] + 1 if parent >= 0 else 0
        enters[node] = free[parent]
        free[parent] += sizes[node]
        free[node] = enters[node] + 1
    return np.array(depths), np.array(enters), np.array(enters) + np.array(sizes)


def trunk_length(prompts: Sequence[Tokens]) -> int:
    """Returns how many first tokens all prompts share, each keeping at least one token of its own."""
    first, last = min(prompts), max(prompts)
    longest = min(map(len, prompts)) - 1
    return next((place for place in range(longest) if first[place] != last[place]), longest)


def node_count(actions: Sequence[Tokens]) -> int:
    """Returns the number of tree nodes of some actions below their prompt, last tokens left out."""
    return len({action[:end] for action in actions for end in range(1, len(action))})


def plan_rows(prompts: Sequence[Tokens], actions: Sequence[Sequence[Tokens]], budget: int) -> list[list[int]]:
    """Returns which prompts share a row, so that a row has at most `budget` nodes where possible.

    Sequences are taken in the order of their tokens, so that neighbours share prefixes. A prompt and
    all its actions stay together; one that exceeds the budget alone is a row of its own.
    """
    rows: list[list[int]] = []
    tree = _Tree()
    for index in sorted(range(len(prompts)), key=lambda i: prompts[i] + actions[i][0]):
        if not rows or len(tree.tokens) + tree.growth(prompts[index], actions[index]) > budget:
            rows.append([])
            tree = _Tree()
        tree.add(index, prompts[index], actions[index])
        rows[-1].append(index)
    return rows


def build_row(indices: Sequence[int], prompts: Sequence[Tokens], actions: Sequence[Sequence[Tokens]]) -> Row:
    """Returns the prefix tree of some prompts with their actions.

    Raises:
        ValueError: a prompt or an action has no tokens.
    """
    tree = _Tree()
    for index in indices:
        if not prompts[index] or not all(actions[index]):
            raise ValueError("a prompt and each of its actions need at least one token")
        tree.add(index, prompts[index], actions[index])
    return tree.row()
