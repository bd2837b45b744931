"""Reading actions: a legal action or None, never a guess."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfn_envs.actions import MAX_TEXT_LENGTH, IllegalActionError, read_action

CABINETS = ("go to cabinet 1", "go to cabinet 12", "open cabinet 1")
MARKS = (
    r"so \boxed{%s}",
    "<answer>%s</answer>",
    "<Answer> %s </ANSWER> done",
    "<action>%s</action>",
    '{"thoughts": "hm", "action": "%s"}',
    'text {"a": 1} and {"action": "%s"} text',
    "I think.\nAction: %s",
    "I think.\naction :  %s  \n",
)


@given(st.text(max_size=300))
def test_any_text_is_a_legal_action_or_none(text):
    assert read_action(text, CABINETS) in (None, *CABINETS)


@given(st.lists(st.sampled_from([*'{}<>\\/:" \n', "action", "answer", "boxed", "cabinet 1", "go to"]), max_size=60))
def test_broken_marks_are_a_legal_action_or_none(pieces):
    assert read_action("".join(pieces), CABINETS) in (None, *CABINETS)


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("action", CABINETS)
def test_marks_carry_actions(mark, action):
    assert read_action(mark % action, CABINETS) == action
    assert read_action(mark % action.upper(), CABINETS) == action


@given(st.sampled_from(CABINETS), st.sampled_from(["", " ", "\n", "\t  "]), st.booleans())
def test_whitespace_and_case_are_folded(action, space, upper):
    text = space + action.replace(" ", "  ") + space
    assert read_action(text.upper() if upper else text, CABINETS) == action


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cabinet 1",
        "go to cabinet",
        "go to cabinet 13",
        "go to cabinet 1 please",
        "I go to cabinet 1",
        "Action: go to cabinet 1\nbut first I think",
        "<answer>go to cabinet 13</answer>",
        r"\boxed{go to cabinet {1}}",
        '{"action": 1}',
        '["go to cabinet 1"]',
        "1",
    ],
)
def test_nothing_is_guessed(text):
    assert read_action(text, CABINETS) is None


def test_the_last_mark_of_a_kind_counts():
    text = "<answer>go to cabinet 1</answer> no: <answer>go to cabinet 12</answer>"
    assert read_action(text, CABINETS) == "go to cabinet 12"


def test_spellings_that_two_actions_share_name_neither():
    assert read_action("stack a", ("Stack A", "stack  a")) is None
    assert read_action("Stack A", ("Stack A", "stack  a")) == "Stack A"
    assert read_action("up", ("+", "-"), {"up": "+", "UP": "-"}) is None
    assert read_action("up", ("+", "-"), {"up": "+", "UP": "+"}) == "+"


def test_an_alias_never_hides_a_legal_action():
    assert read_action("LEFT", ("left", "right"), {"Left": "right"}) == "left"


def test_without_legal_actions_nothing_is_read():
    assert read_action("anything", ()) is None


@pytest.mark.parametrize(
    "text",
    [
        "{" * MAX_TEXT_LENGTH,
        '{"action":' * 2000,
        "\\boxed{" * 3000,
        "<answer>" * 2500,
        "action:" * 2800,
        " " * MAX_TEXT_LENGTH,
        "[" * MAX_TEXT_LENGTH,
        "x" * 10_000_000,
    ],
    ids=lambda text: text[:10],
)
def test_hostile_text_is_quick(text):
    start = time.process_time()
    assert read_action(text, CABINETS) is None
    # Generous: a pattern that takes quadratic time would need minutes here.
    assert time.process_time() - start < 2


def test_error_names_the_legal_actions():
    message = str(IllegalActionError("x" * 500, [f"a{i}" for i in range(8)]))
    assert "(500 characters)" in message
    assert "'a0', 'a1', 'a2', 'a3', 'a4' and 3 more" in message
    assert "info['admissible_actions']" in message


def test_of_several_answers_the_last_counts():
    for mark in ('{"action": "%s"}', "<action>%s</action>", r"\boxed{%s}"):
        text = "\n".join([mark % "go to cabinet 1", "No, better:", mark % "go to cabinet 12"])
        assert read_action(text, CABINETS) == "go to cabinet 12"


def test_the_legal_action_itself_is_returned():
    class Thoughtful(str):
        """As an agent's answer that carries what was thought."""

    assert type(read_action(Thoughtful("open cabinet 1"), CABINETS)) is str
