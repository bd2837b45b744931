"""What messages add about a name that nobody knows."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def did_you_mean(word: str, known: Collection[str], otherwise: str = "") -> str:
    """Returns "; did you mean 'x'?" for the nearest known word, and if none is near what is to be said otherwise."""
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else otherwise
