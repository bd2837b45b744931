"""BlocksWorld as arithmetic: moves, exact distances, all plans, and how long the plans of problems are.

Blocks are numbered from 0, and a state is a tuple that says what is under each block. The one idea:
the table always has room, so in a shortest plan every block moves straight to its final place, or by
way of the table if that place is not ready (Gupta and Nau 1992; Slaney and Thiébaux 2001). Only which
blocks take the detour has to be searched, which makes distances exact for a dozen blocks in
milliseconds; everything else here is pruned by them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import accumulate, product
from math import comb, factorial
from typing import NamedTuple

import numpy as np

TABLE, HAND = -1, -2
"""What is under a block that is on no other."""
ANY, NOTHING = -3, -4
"""What a goal says of a place: anything may be there, or nothing."""
TABULATED_BLOCKS = 6
"""Up to this many blocks, the lengths of all problems are listed once."""

Below = tuple[int, ...]


class Goal(NamedTuple):
    """What must be under each block (a block, TABLE or ANY) and over it (a block, NOTHING or ANY)."""

    under: tuple[int, ...]
    over: tuple[int, ...]
    hand_empty: bool = False


class Move(NamedTuple):
    """A block goes from one place (a block, TABLE or HAND) to another; one of the two is HAND."""

    block: int
    source: int
    target: int


def make_goal(under: tuple[int, ...], clear: frozenset[int] = frozenset(), hand_empty: bool = False) -> Goal:
    """Returns the goal that wants these things under the blocks, and these blocks clear."""
    over = [NOTHING if block in clear else ANY for block in range(len(under))]
    for block, lower in enumerate(under):
        if lower >= 0:
            over[lower] = block
    return Goal(under, tuple(over), hand_empty)


# -- rules -----------------------------------------------------------------------------------------
def clear_blocks(below: Below) -> list[int]:
    """Returns the blocks with nothing on them, without the one in the hand."""
    covered = set(below)
    return [block for block, under in enumerate(below) if under != HAND and block not in covered]


def moves(below: Below) -> list[Move]:
    """Returns the legal moves: any clear block into the hand, or the block in the hand to any place."""
    if HAND not in below:
        return [Move(block, below[block], HAND) for block in clear_blocks(below)]
    held = below.index(HAND)
    return [Move(held, HAND, target) for target in (TABLE, *clear_blocks(below))]


def place(below: Below, block: int, target: int) -> Below:
    """Returns the state with the block somewhere else."""
    return (*below[:block], target, *below[block + 1 :])


def reaches(below: Below, goal: Goal) -> bool:
    """Says whether the goal holds. A block in the hand is not clear, as in PDDL."""
    if goal.hand_empty and HAND in below:
        return False
    if any(wanted not in (ANY, under) for wanted, under in zip(goal.under, below, strict=True)):
        return False
    return not any(
        wanted == NOTHING and (below[block] == HAND or block in below) for block, wanted in enumerate(goal.over)
    )


def inverse(below: Below) -> list[int]:
    """Returns what is on each block, ANY where nothing is."""
    above = [ANY] * len(below)
    for block, under in enumerate(below):
        if under >= 0:
            above[under] = block
    return above


def depths(below: Below) -> dict[Below, int]:
    """Returns all states that can be reached, each with the number of moves to it, nearest first."""
    found, order = {below: 0}, [below]
    for state in order:
        for block, _, target in moves(state):
            after = place(state, block, target)
            if after not in found:
                found[after] = found[state] + 1
                order.append(after)
    return found


# -- distances -------------------------------------------------------------------------------------
@lru_cache(maxsize=1 << 16)
def distance(below: Below, goal: Goal) -> int:
    """Returns the length of a shortest plan."""
    if reaches(below, goal):
        return 0
    if HAND in below:
        held = below.index(HAND)
        targets = [TABLE, *(block for block in clear_blocks(below) if block == goal.under[held])]
        return 1 + min(distance(place(below, held, target), goal) for target in targets)
    restless = _restless(below, goal)
    whole_moves = len(restless) + _detours(below, goal)
    return 2 * whole_moves - _can_end_in_the_hand(below, goal, restless)


def _restless(below: Below, goal: Goal) -> set[int]:
    """Returns the blocks that have to move: in the wrong place, or above a block that has to."""
    above = {under: block for block, under in enumerate(below) if under >= 0}
    found = set()
    for base in (block for block, under in enumerate(below) if under == TABLE):
        block: int | None = base
        moving = False
        while block is not None:
            under = below[block]
            moving = moving or goal.under[block] not in (ANY, under)
            moving = moving or (under >= 0 and goal.over[under] not in (ANY, block))
            if moving:
                found.add(block)
            block = above.get(block)
    return found


def _can_end_in_the_hand(below: Below, goal: Goal, restless: set[int]) -> bool:
    """Says whether the last block to move may stay in the hand.

    That is one that the goal does not mention and that only keeps a resting block from being clear.
    """
    return not goal.hand_empty and any(
        goal.under[block] == goal.over[block] == ANY
        and below[block] not in restless
        and goal.over[below[block]] == NOTHING
        for block in restless
    )


def _detours(below: Below, goal: Goal) -> int:
    """Returns how many blocks must go by way of the table: breadth-first over which ones."""
    count, layer = 0, {_settle(below, goal)}
    while all(restless for _, restless in layer):
        layer = {
            _settle(place(state, block, TABLE), goal)
            for state, restless in layer
            for block in clear_blocks(state)
            if block in restless and state[block] != TABLE
        }
        count += 1
    return count


def _settle(below: Below, goal: Goal) -> tuple[Below, frozenset[int]]:
    """Moves blocks to their final places until none is ready; returns the state and who must still move.

    Doing so at once never makes a plan longer.
    """
    while True:
        restless, clear = _restless(below, goal), clear_blocks(below)
        for block in clear:
            target = goal.under[block]
            if block in restless and (target < 0 or (target in clear and target not in restless)):
                below = place(below, block, max(target, TABLE))
                break
        else:
            return below, frozenset(restless)


# -- plans -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Plans:
    """All plans to a goal.

    Args:
        goal: the goal.
        stop: a plan ends as soon as the goal holds; otherwise it has exactly the given steps and the
            goal holds after the last one.
    """

    goal: Goal
    stop: bool = True
    _counts: dict[tuple[Below, int], int] = field(default_factory=dict, repr=False, compare=False)

    def count(self, below: Below, steps: int) -> int:
        """Returns the number of plans within the steps."""
        if distance(below, self.goal) > steps:
            return 0
        if self._ends(below, steps):
            return 1
        key = below, steps
        if key not in self._counts:
            self._counts[key] = sum(self.count(place(below, m.block, m.target), steps - 1) for m in moves(below))
        return self._counts[key]

    def count_without_revisits(self, below: Below, steps: int, visited: frozenset[Below] = frozenset()) -> int:
        """Returns the number of plans that are in no state twice."""
        if not self.count(below, steps) or below in visited:
            return 0
        if self._ends(below, steps):
            return 1
        visited |= {below}
        return sum(
            self.count_without_revisits(place(below, m.block, m.target), steps - 1, visited) for m in moves(below)
        )

    def each(self, below: Below, steps: int) -> Iterator[tuple[Move, ...]]:
        """Yields every plan; looks only at beginnings of plans."""
        if self._ends(below, steps):
            yield ()
            return
        for move in moves(below):
            after = place(below, move.block, move.target)
            if self.count(after, steps - 1):
                yield from ((move, *rest) for rest in self.each(after, steps - 1))

    def _ends(self, below: Below, steps: int) -> bool:
        return (self.stop or steps == 0) and distance(below, self.goal) == 0


# -- problems --------------------------------------------------------------------------------------
class Family(NamedTuple):
    """All problems of one size and length: starts, the goals of each, and their summed weights."""

    starts: tuple[Below, ...]
    goals: tuple[tuple[Below, ...], ...]
    cumulative: tuple[int, ...]


@lru_cache(maxsize=64)
def family(blocks: int, length: int) -> Family:
    """Lists the problems with a shortest plan of the given length, starts up to renaming of blocks."""
    starts, goals, weights = [], [], []
    for heights in _partitions(blocks, blocks):
        start = _stacked(heights)
        found = tuple(under for under, nearest in _goal_distances(start).items() if nearest == length)
        if found:
            starts.append(start)
            goals.append(found)
            weights.append(_arrangements_like(heights) * len(found))
    return Family(tuple(starts), tuple(goals), tuple(accumulate(weights)))


@lru_cache(maxsize=64)
def _goal_distances(start: Below) -> dict[Below, int]:
    """Returns how far all `on` facts of each arrangement are, by breadth-first search over states."""
    found: dict[Below, int] = {}
    arrangements = []
    for state, depth in depths(start).items():
        for under in product(*[(ANY, lower) if lower >= 0 else (ANY,) for lower in state]):
            found.setdefault(under, depth)
        if HAND not in state:
            arrangements.append(tuple([lower if lower >= 0 else ANY for lower in state]))
    return {under: found[under] for under in arrangements}


def _partitions(total: int, largest: int) -> Iterator[tuple[int, ...]]:
    if total == 0:
        yield ()
    for first in range(min(total, largest), 0, -1):
        yield from ((first, *rest) for rest in _partitions(total - first, first))


def _stacked(heights: tuple[int, ...]) -> Below:
    """Returns stacks of these heights, blocks numbered from the bottom of the first."""
    below: list[int] = []
    for height in heights:
        below += [TABLE, *range(len(below), len(below) + height - 1)]
    return tuple(below)


def _arrangements_like(heights: tuple[int, ...]) -> int:
    """Returns how many arrangements of named blocks have these heights."""
    count = factorial(sum(heights))
    for same in Counter(heights).values():
        count //= factorial(same)
    return count


def draw_problem(blocks: int, length: int, rng: np.random.Generator) -> tuple[Below, Below]:
    """Draws start and goal, uniform over all pairs of arrangements whose shortest plan has this length.

    Returns:
        What is under each block at the start, and what must be in the end (a block or ANY).
    """
    listed = family(blocks, length)
    index = bisect_right(listed.cumulative, int(rng.integers(listed.cumulative[-1])))
    goals = listed.goals[index]
    names = rng.permutation(blocks).tolist()
    return _renamed(listed.starts[index], names), _renamed(goals[int(rng.integers(len(goals)))], names)


def _renamed(below: Below, names: list[int]) -> Below:
    renamed = [0] * len(below)
    for block, under in enumerate(below):
        renamed[names[block]] = names[under] if under >= 0 else under
    return tuple(renamed)


def draw_arrangement(blocks: int, rng: np.random.Generator) -> Below:
    """Draws an arrangement with an empty hand, uniformly: a shuffled row of blocks, cut into stacks.

    An arrangement of k stacks comes from k! rows and cuts, so k has the weight of the Lah numbers.
    """
    row = rng.permutation(blocks).tolist()
    stacks = 1 + bisect_right(_cumulative_lah(blocks), int(rng.integers(_cumulative_lah(blocks)[-1])))
    cuts = {0, *(1 + rng.choice(blocks - 1, size=stacks - 1, replace=False)).tolist()}
    below = [TABLE] * blocks
    for index, block in enumerate(row):
        if index not in cuts:
            below[block] = row[index - 1]
    return tuple(below)


@cache
def _cumulative_lah(blocks: int) -> tuple[int, ...]:
    """Returns the summed numbers of arrangements with 1, 2, ... stacks."""
    numbers = [comb(blocks - 1, k - 1) * factorial(blocks) // factorial(k) for k in range(1, blocks + 1)]
    return tuple(accumulate(numbers))


# -- renaming --------------------------------------------------------------------------------------
def canonical_order(below: Below, goal: Goal) -> list[int]:
    """Returns the blocks in an order that only the structure decides.

    A block has at most one neighbour of each kind (below and above it, at the start and in the goal),
    so a component walked from one of its blocks has one code. Each component is walked from the block
    with the least code, and components are sorted by their codes.
    """
    links = list(zip(below, inverse(below), goal.under, goal.over, strict=True))
    walks = [_walk(block, links) for block in range(len(below))]
    best: dict[int, tuple[list[tuple[int, ...]], list[int]]] = {}
    for _, order in walks:
        component = min(order)
        best[component] = min(walks[block] for block in order)
    return [block for _, order in sorted(best.values()) for block in order]


def _walk(block: int, links: list[tuple[int, int, int, int]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """Returns the code of the component walked from this block, and the order of the walk."""
    order = [block]
    for reached in order:
        order += [other for other in dict.fromkeys(links[reached]) if other >= 0 and other not in order]
    numbers = {reached: number for number, reached in enumerate(order)}
    return [tuple(numbers.get(other, other) for other in links[reached]) for reached in order], order
