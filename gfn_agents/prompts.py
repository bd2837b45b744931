"""From an observation to what a language model reads, and from an action to what it would write.

Two styles: plain text, which every model continues, and chat, the tokenizer's own template. Worked
examples come before the observation in both, and as all prompts share them, they are evaluated once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gfn_agents.prefix_tree import Tokens, trunk_length

Style = Literal["text", "chat"]
Example = tuple[str, str]
"""An observation and the action that answers it."""
_MARK = "ANSWER"


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """How observations and actions are put into text.

    Args:
        instructions: text before every observation: rules, or worked examples. In a chat, the system's turn.
        before_action: text between the observation and the action. An action is written with a
            space before it, as byte-level tokenizers expect of a continuing text. In a chat only after a thought.
        examples: worked examples (few-shot), each an observation and its action: text before the
            observation, in a chat turns of user and assistant.
        style: "text", or "chat" for the tokenizer's chat template, where the observation is the user's
            turn and the action the assistant's.
        thought_tokens: most tokens that are thought before an action; 0 is no thoughts (`gfn_agents.thoughts`).
        before_thought: text between the observation and the thought, which `before_action` follows, in a chat
            too: there the thought opens the assistant's turn. Worked examples show no thoughts.
    """

    instructions: str = ""
    before_action: str = "\nAction:"
    examples: tuple[Example, ...] = ()
    style: Style = "text"
    thought_tokens: int = 0
    before_thought: str = "\nThought:"

    def __post_init__(self) -> None:
        if self.style not in get_args(Style):
            raise ValueError(f"the style of a prompt must be one of {', '.join(get_args(Style))}, got {self.style!r}")
        if type(self.thought_tokens) is not int or self.thought_tokens < 0:
            raise ValueError(f"thought_tokens must be a whole number of at least 0, got {self.thought_tokens!r}")
        pairs = tuple(tuple(example) for example in self.examples)  # JSON makes lists of them
        if not all(len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in pairs):
            raise ValueError("an example of a prompt must be an observation and an action, both text")
        object.__setattr__(self, "examples", pairs)

    def prompt(self, observation: str) -> str:
        """Returns the text that an action continues, or a thought where there are thoughts."""
        shown = "".join(f"{seen}{self.before_action} {action}\n\n" for seen, action in self.examples)
        asked = self.before_thought if self.thought_tokens else self.before_action
        return f"{self.instructions}{shown}{observation}{asked}"

    def messages(self, observation: str) -> list[dict[str, str]]:
        """Returns the chat that an action, or a thought before it, continues as the assistant's turn."""
        turns = [("system", self.instructions)] if self.instructions else []
        for seen, action in self.examples:
            answer = f"{self.before_action} {action}".lstrip() if self.thought_tokens else action
            turns += [("user", seen), ("assistant", answer)]
        return [{"role": role, "content": content} for role, content in [*turns, ("user", observation)]]


# -- text to tokens --------------------------------------------------------------------------------
class PromptTokens:
    """A template together with the tokenizer that turns its prompts, and actions, into token ids.

    An action ends with a terminator: the end-of-sequence token, in a chat the token that ends a turn.

    Args:
        tokenizer: of a language model, with an end-of-sequence token.
        template: how observations become prompts.

    Raises:
        ValueError: the tokenizer has no end-of-sequence token, or no chat template that can be used.
    """

    def __init__(self, tokenizer: Any, template: PromptTemplate) -> None:
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no end-of-sequence token, which must terminate an action; set one")
        self.tokenizer, self.template = tokenizer, template
        self._lead, self.terminator = " ", int(tokenizer.eos_token_id)
        if template.style == "chat":
            if not tokenizer.chat_template:
                raise ValueError(
                    "the tokenizer has no chat template; use the template 'text', or a model made for chats"
                )
            self._lead, self.terminator = self._answer()
        self._opening: Tokens = ()
        self.after_thought: Tokens = ()
        """What comes between a thought and an action."""
        if template.thought_tokens:
            if template.style == "chat":
                self._opening = self._ids(self._lead + template.before_thought.lstrip())
            self.after_thought, self._lead = self._ids(template.before_action), " "

    def prompt(self, observation: str) -> Tokens:
        """Returns the ids of a prompt, which an action continues, or a thought where there are thoughts."""
        if self.template.style == "chat":
            chat = self._chat(self.template.messages(observation), answered=False, tokenize=True)
            return (*chat, *self._opening)
        return tuple(self.tokenizer(self.template.prompt(observation))["input_ids"])

    def opening(self) -> Tokens:
        """Returns the ids with which every prompt begins, found from observations that share nothing."""
        prompts = [self.prompt("0"), self.prompt("A")]
        return prompts[0][: trunk_length(prompts)]

    def action(self, action: str) -> Tokens:
        """Returns the ids of an action that continues a prompt, with the terminator."""
        return (*self._ids(f"{self._lead}{action}"), self.terminator)

    def _ids(self, text: str) -> Tokens:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _answer(self) -> tuple[str, int]:
        """Returns the space that the chat template puts before an answer, and the token that it puts after it."""
        chat = self.template.messages("?")
        opened: str = self._chat(chat, answered=False, tokenize=False)
        whole: str = self._chat([*chat, {"role": "assistant", "content": _MARK}], answered=True, tokenize=False)
        before, _, after = whole.rpartition(_MARK)
        lead = before[len(opened) :] if before.startswith(opened) else ""
        special = {token for token, added in self.tokenizer.added_tokens_decoder.items() if added.special}
        terminator = next((token for token in self._ids(after) if token in special), self.tokenizer.eos_token_id)
        return lead if lead.isspace() else "", int(terminator)

    def _chat(self, messages: Sequence[dict[str, str]], answered: bool, tokenize: bool) -> Any:
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=tokenize,
                add_generation_prompt=not answered,
                return_dict=False,
                enable_thinking=False,  # for templates that would leave a thought open; others do not read it
            )
        except TemplateError as error:
            raise ValueError(
                f"the tokenizer's chat template refuses the prompt ({error}); use the template 'text', "
                "or leave the instructions out if it knows no system turn"
            ) from None
