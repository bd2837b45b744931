"""Sentences about kinds and their properties, read and written letter for letter.

A sentence is read into a `Rule` or a `Claim` and written back from it; only what comes back letter
for letter is accepted, so a derived claim is always in the English of the given sentences. Words
are compared whole, never as substrings: "carnivore" and "carnivorous" are two predicates, and so
are the noun and the adjective "prime".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

LONGEST_PHRASE = 30
"""Characters of the longest noun, adjective or name that is read."""
LONGEST_SENTENCE = len("Every  is not an .") + 2 * LONGEST_PHRASE + 6
"""Characters of the longest sentence; an irregular plural adds at most three to each noun."""
QUERY_PREFIX = "True or false: "
_QUANTIFIERS = ("Each", "Every", "All")
_RESERVED = frozenset(
    ("a", "all", "an", "and", "are", "each", "every", "false", "if", "is", "no", "not", "or", "some", "that", "true")
)
_WORD = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
_NAME = re.compile(r"[A-Z][A-Za-z]*|[0-9]+")


# -- nouns -----------------------------------------------------------------------------------------
_PLURALS = {
    "bacterium": "bacteria",
    "child": "children",
    "deer": "deer",
    "emu": "emus",
    "fish": "fish",
    "foot": "feet",
    "gnu": "gnus",
    "goose": "geese",
    "man": "men",
    "mantis": "mantises",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "salmon": "salmon",
    "sheep": "sheep",
    "tooth": "teeth",
    "trout": "trout",
    "wolf": "wolves",
    "woman": "women",
}
_SINGULARS = {plural: noun for noun, plural in _PLURALS.items()}
_KEEP_IE = ("collies", "genies", "magpies", "movies", "pies", "zombies")
_CONSONANT_SOUND = re.compile(r"eu|one\b|uni(?!n|m)|us[aeiou]")
_ES = re.compile(r"(s|x|z|ch|sh)$")
_ADDED_ES = re.compile(r"(ss|sh|ch|x|zz|(?<!o)us)es$")


def article(noun: str) -> str:
    """Returns 'a' or 'an' by the first sound: an arthropod, a unicorn."""
    first = noun.lower()
    return "an" if first[:1] in tuple("aeiou") and not _CONSONANT_SOUND.match(first) else "a"


def plural(noun: str) -> str:
    """Returns the plural of a noun phrase: butterflies, wumpuses, prime numbers, sheep."""
    head, last = _split_last(noun)
    if last in _PLURALS:
        return head + _PLURALS[last]
    if re.search(r"[^aeiou]y$", last):
        return f"{head}{last[:-1]}ies"
    return f"{head}{last}es" if _ES.search(last) else f"{head}{last}s"


def singular(nouns: str) -> str:
    """Returns the singular of a plural noun phrase; for other phrases the result is not their singular."""
    head, last = _split_last(nouns)
    if last in _SINGULARS:
        return head + _SINGULARS[last]
    if last.endswith("ies") and last not in _KEEP_IE:
        return f"{head}{last[:-3]}y"
    return head + (last[:-2] if _ADDED_ES.search(last) else last[:-1])


def is_plural(phrase: str) -> bool:
    """Says whether the phrase is a plural noun, as 'carnivores' is and 'carnivorous' and 'wumpus' are not."""
    last = _split_last(phrase)[1]
    return last in _SINGULARS or bool(re.search(r"[^su]s$", last))


def _split_last(phrase: str) -> tuple[str, str]:
    head, space, last = phrase.rpartition(" ")
    return head + space, last


# -- sentences -------------------------------------------------------------------------------------
class Predicate(NamedTuple):
    """What is said of something: a concept (a noun, in the singular) or a property, or its negation."""

    name: str
    concept: bool
    negated: bool = False

    @property
    def key(self) -> tuple[str, bool, bool]:
        """What is compared; a sentence may begin with a capital, so case is not."""
        return self.name.lower(), self.concept, self.negated

    @property
    def opposite(self) -> Predicate:
        """The negation."""
        return self._replace(negated=not self.negated)

    def text(self, many: bool = False) -> str:
        """Returns 'a cat', 'not shy' or, of many, 'not cats'."""
        noun = plural(self.name) if many else f"{article(self.name)} {self.name}"
        return ("not " if self.negated else "") + (noun if self.concept else self.name)


class Claim(NamedTuple):
    """A fact about one individual."""

    individual: str
    predicate: Predicate

    @property
    def text(self) -> str:
        """'Max is a tumpus.'"""
        return f"{self.individual} is {self.predicate.text()}."


class Rule(NamedTuple):
    """A sentence about all of a concept; `quantifier` is 'Each', 'Every', 'All' or '' (plain plural)."""

    quantifier: str
    subject: str
    predicate: Predicate

    @property
    def text(self) -> str:
        """'Every butterfly is a lepidopteran.' or 'Vumpuses are not shy.'"""
        if self.quantifier in ("Each", "Every"):
            return f"{self.quantifier} {self.subject} is {self.predicate.text()}."
        nouns = plural(self.subject)
        start = f"{self.quantifier} {nouns}" if self.quantifier else nouns[:1].upper() + nouns[1:]
        return f"{start} are {self.predicate.text(many=True)}."


def parse_sentence(text: str) -> Rule | Claim:
    """Reads a sentence, so that `parse_sentence(text).text == text`.

    Raises:
        ValueError: the sentence is outside the grammar.
    """
    read = _read(text[:-1].split(" ")) if len(text) <= LONGEST_SENTENCE and text.endswith(".") else None
    if read is None or read.text != text:
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise ValueError(
            f"{shown!r} is outside the grammar; sentences are such as 'Each cat is a feline.', "
            "'Cats are not shy.' and 'Max is a cat.'"
        )
    return read


def parse_query(text: str) -> Claim:
    """Reads 'True or false: Max is not shy.'; raises ValueError if it is anything else."""
    claim = parse_sentence(text[len(QUERY_PREFIX) :]) if text.startswith(QUERY_PREFIX) else None
    if not isinstance(claim, Claim):
        raise ValueError(f"a query is such as 'True or false: Max is not shy.', got {text[:60]!r}")
    return claim


def _read(words: Sequence[str]) -> Rule | Claim | None:
    verbs = [index for index, word in enumerate(words) if word in ("is", "are")]
    if not verbs or not all(map(_WORD.fullmatch, words)):
        return None
    many = words[verbs[0]] == "are"
    left, right = words[: verbs[0]], words[verbs[0] + 1 :]
    predicate = _read_predicate(right, many)
    if predicate is None or not left:
        return None
    quantifier = left[0] if left[0] in _QUANTIFIERS else ""
    subject = _phrase(left[1:] if quantifier else left)
    if many:
        nouns = subject if quantifier else subject[:1].lower() + subject[1:]
        return Rule(quantifier, singular(nouns), predicate) if is_plural(nouns) else None
    if quantifier:
        return Rule(quantifier, subject, predicate) if subject else None
    return Claim(subject, predicate) if _NAME.fullmatch(subject) else None


def _read_predicate(words: Sequence[str], many: bool) -> Predicate | None:
    negated = words[:1] == ["not"]
    words = words[negated:]
    named = words[:1] in (["a"], ["an"])
    phrase = _phrase(words[named:])
    if not phrase or (many and named):
        return None
    if many and is_plural(phrase):
        return Predicate(singular(phrase), True, negated)
    if not named and re.search(r"[^o]us$", phrase):
        return None  # 'Tumpuses are wumpus.': a noun that lacks its article or plural
    return Predicate(phrase, named, negated)


def _phrase(words: Sequence[str]) -> str:
    """Returns the words as one phrase, or nothing if they are not one."""
    phrase = " ".join(words)
    return phrase if len(phrase) <= LONGEST_PHRASE and not _RESERVED & {w.lower() for w in words} else ""
