"""The player without knowledge: every legal action equally often.

Its score is the chance level that stands beside every other score; by `action_probabilities` the
exact analysis gives the same number without sampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gfn_envs.streams import row_streams


class RandomLegalAgent:
    """Plays uniformly over the legal actions."""

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns one legal action for each observation, drawn uniformly."""
        streams = row_streams(rng, len(admissible_actions))
        return [
            actions[int(stream.integers(len(actions)))]
            for actions, stream in zip(admissible_actions, streams, strict=True)
        ]

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns 1/n for each of the n legal actions, one float64 array an observation."""
        return [np.full(len(actions), 1.0 / len(actions)) for actions in admissible_actions]
