"""Reading a legal action out of free text, without ever guessing.

A text names a legal action if it *is* one (whitespace and case folded), or if it carries one in a
mark that says so: `\\boxed{..}`, `<answer>..</answer>`, `<action>..</action>`, a JSON object with
an `"action"`, or a last line `Action: ..`. There is no substring search ("cabinet 1" is not
"cabinet 12"), no fallback to a random action and no evaluation of the text. Text from a model is
hostile: its length is bounded and every pattern here takes time linear in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

MAX_TEXT_LENGTH = 20_000
"""Most characters of a reply that is read; in a longer one no action is looked for."""
REMEDY = " (see info['admissible_actions'])"
"""How the sentence on an illegal action ends, for those who play from Python."""
_MAX_JSON_OBJECTS = 16
_MARKS = (
    re.compile(r"\\boxed\{([^{}]*)\}"),
    re.compile(r"<answer>([^<]*)</answer>", re.IGNORECASE),
    re.compile(r"<action>([^<]*)</action>", re.IGNORECASE),
)
_LAST_LINE = re.compile(r"\s*action\s*:(.*)", re.IGNORECASE)


class IllegalActionError(ValueError):
    """An action that is not legal in the state it was given for."""

    def __init__(self, text: str, actions: Sequence[str]) -> None:
        shown = text if len(text) <= 80 else f"{text[:80]}... ({len(text)} characters)"
        some = ", ".join(repr(action) for action in actions[:5])
        more = f" and {len(actions) - 5} more" if len(actions) > 5 else ""
        super().__init__(f"{shown!r} is not legal here; legal actions: {some}{more}{REMEDY}")


def read_action(text: str, actions: Sequence[str], aliases: Mapping[str, str] | None = None) -> str | None:
    """Returns the legal action that a text names, or None if it names none.

    Args:
        text: what the agent wrote.
        actions: the legal actions.
        aliases: other accepted spellings, each with the legal action that it means.
    """
    if text in actions:
        return actions[actions.index(text)]
    if len(text) > MAX_TEXT_LENGTH:
        return None
    legal = _folded(actions, aliases or {})
    for candidate in _candidates(text):
        action = legal.get(_fold(candidate))
        if action is not None:
            return action
    return None


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()


def _folded(actions: Sequence[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Maps folded spellings to actions, leaving out spellings that two actions share."""
    legal: dict[str, str] = {}
    shared = set()
    for action in actions:
        key = _fold(action)
        if key in legal:
            shared.add(key)
        legal[key] = action
    for spelling, action in aliases.items():
        key = _fold(spelling)
        if legal.setdefault(key, action) != action and key not in map(_fold, actions):
            shared.add(key)
    return {key: action for key, action in legal.items() if key not in shared}


def _candidates(text: str) -> Iterator[str]:
    yield text
    for mark in _MARKS:
        found = mark.findall(text)
        if found:
            yield found[-1]
    yield from reversed(list(_json_actions(text)))
    lines = text.rstrip().rsplit("\n", 1)
    match = _LAST_LINE.fullmatch(lines[-1])
    if match:
        yield match.group(1)


def _json_actions(text: str) -> Iterator[str]:
    decoder = json.JSONDecoder()
    position = text.find("{")
    for _ in range(_MAX_JSON_OBJECTS):
        if position < 0:
            return
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            if isinstance(value.get("action"), str):
                yield value["action"]
        position = text.find("{", end)
