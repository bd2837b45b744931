"""Random numbers of episodes that are played in step: one generator for all, or a stream for each problem.

With a stream for each problem, what is drawn on one does not depend on which others are played beside it. So a
set of problems can be divided among processes without changing what any of them gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Streams = np.random.Generator | Mapping[str, np.random.Generator]
"""One generator for everything, or one for each problem by its id."""


def streams_of(rng: Streams, problem_ids: Iterable[str]) -> list[np.random.Generator]:
    """Returns the generator of each problem."""
    return [rng[problem_id] if isinstance(rng, Mapping) else rng for problem_id in problem_ids]


def side_by_side(streams: Sequence[np.random.Generator]) -> np.random.Generator:
    """Returns one generator, whose numbers come row by row from the given ones.

    It draws what the streams draw one after another, whether a stream stands for one row or for all of them.
    """
    if all(stream is streams[0] for stream in streams):
        return streams[0] if streams else np.random.default_rng(0)
    return _SideBySide(streams)


def row_streams(rng: np.random.Generator, rows: int) -> list[np.random.Generator]:
    """Returns the generator that each row draws from, for agents that answer row by row."""
    return list(rng.streams) if isinstance(rng, _SideBySide) else [rng] * rows


class _SideBySide(np.random.Generator):
    """Draws `random` row by row from several generators; everything else from the first of them.

    Who draws otherwise asks for the `row_streams`.
    """

    def __init__(self, streams: Sequence[np.random.Generator]) -> None:
        super().__init__(streams[0].bit_generator)
        self.streams = streams

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Returns numbers from 0 to 1, one row for each stream, shape `size`."""
        rows, *rest = (size,) if isinstance(size, int | np.integer) else size or (None,)
        if rows != len(self.streams):
            raise ValueError(f"there are {len(self.streams)} streams, one for each row, and size is {size}")
        return np.array([stream.random(rest, dtype) for stream in self.streams])
