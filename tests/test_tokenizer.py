"""Words and phrases become tokens, and texts read before keep theirs."""

from __future__ import annotations

import pytest

from gfn_agents.tokenizer import add_phrases, find_phrases, load_default_tokenizer, train_tokenizer

KITCHENS = [
    {"You see a mug 2, and an egg 1.", "The mug 2 is agile."},
    {"You see a pan 1, and an egg 3.", "The pan 1 is a pan."},
    {"You see a mug 7, and an egg 1."},
]


def test_words_of_two_problems_and_runs_of_half_of_them_are_phrases():
    words = [" a", " an", " and", " egg", " is", " mug", " see", "The", "You"]  # "pan" is in one problem only
    runs = ["You see", "You see a", " see a", ", and", ", and an", " and an"]  # without names and numbers
    assert find_phrases(KITCHENS) == sorted([*words, *runs])


def test_a_run_that_can_end_within_a_word_is_no_phrase():
    """` is a` would take ` is agile` apart."""
    assert " is a" in find_phrases([{"It is a pan."}] * 2)
    assert " is a" not in find_phrases([{"It is a pan.", "It is agile."}] * 2)


@pytest.fixture
def tokenizer():
    return train_tokenizer(["Make 24 with + - * /.", "4 + 6 = 10 (left: 10 2)"], 300)


def test_texts_become_short_and_those_known_keep_their_tokens(tokenizer):
    known = ["the hand is empty", "Make 24 with + - * /."]
    texts = set().union(*KITCHENS)
    before = {text: tokenizer(text)["input_ids"] for text in (*known, *texts)}
    added = add_phrases(tokenizer, [*find_phrases(KITCHENS), "nowhere"], texts, known)
    assert [tokenizer(text)["input_ids"] for text in known] == [before[text] for text in known]
    vocabulary = set(tokenizer.get_added_vocab()) - set(tokenizer.all_special_tokens)
    # " is" would change the first known text; " and" and others are not needed beside longer ones.
    assert vocabulary == {" a", " egg", " mug", ", and an", "The", "You see a"}
    assert len(vocabulary) == added
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        assert len(ids) < len(before[text])
        assert tokenizer.decode(ids) == text


def test_a_phrase_would_change_a_known_text_if_it_were_let(tokenizer):
    before = tokenizer("the hand is empty")["input_ids"]
    assert add_phrases(tokenizer, [" is"], ["The pan is a pan."], known=[]) == 1
    assert tokenizer("the hand is empty")["input_ids"] != before


def test_the_default_tokenizer_loses_nothing():
    text = "Make 24.\n  Numbers: (7 - 8) / 3, and a mug 2\u00e9"
    tokenizer = load_default_tokenizer()
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
