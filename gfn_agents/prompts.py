"""From an observation to what a language model reads, and from an action to what it would write."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """How observations and actions are put into text.

    Args:
        instructions: text before every observation: rules, or worked examples (few-shot).
        before_action: text between the observation and the action. An action is written with a
            space before it, as byte-level tokenizers expect of a continuing text.
    """

    instructions: str = ""
    before_action: str = "\nAction:"

    def prompt(self, observation: str) -> str:
        """Returns the text that an action continues."""
        return f"{self.instructions}{observation}{self.before_action}"

    def continuation(self, action: str) -> str:
        """Returns an action as the continuation of a prompt."""
        return f" {action}"
