"""Whole numbers in a text as roman numerals or English words, so that no two texts become one."""

from __future__ import annotations

import re
from typing import Literal

Numerals = Literal["roman", "words"]
NUMERALS = ("roman", "words")

WHOLE_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)])-)?"
    r"(?<!\w)(?<![0-9][.,])(?<![\w)]-)(?P<digits>0|[1-9][0-9]*)"
    r"(?!\w|[.,][0-9]|-\w)"
)
_ROMAN = tuple(
    zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ("M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"),
        strict=True,
    )
)
_NAMES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SIGN = {"roman": "-", "words": "minus "}
LETTERS = {
    "roman": "".join(symbol for _, symbol in _ROMAN) + "nulla",
    "words": "".join((*_NAMES, *_TENS)) + " -minushundredthousand",
}
LONGEST = {"roman": (5, 8, 12, 15), "words": (5, 13, 27, 42, 50, 64)}
"""Most characters of a numeral of 1, 2, ... digits, such as nulla, LXXXVIII, DCCCLXXXVIII."""


def paraphrase(text: str, numbers: Numerals) -> str:
    """Returns a text with its whole numbers as roman numerals or English words.

    A whole number stands by itself: the digits of `b1`, `17s`, `007`, `0.5`, `1,000` and `3-4` stay, and
    so do numbers beyond what `roman` and `in_words` can write. Of `-3` the sign is kept (`-III`) or
    written (`minus three`).
    """
    write = roman if numbers == "roman" else in_words

    def replaced(match: re.Match[str]) -> str:
        if len(match["digits"]) > len(LONGEST[numbers]) or (numbers == "roman" and int(match["digits"]) > 3999):
            return match[0]
        return (SIGN[numbers] if match["sign"] else "") + write(int(match["digits"]))

    return WHOLE_NUMBER.sub(replaced, text)


def roman(number: int) -> str:
    """Returns the roman numeral of 1..3999; 0 is `nulla`, the word that medieval tables write for it."""
    if not 0 <= number <= 3999:
        raise ValueError(f"roman numerals go from 0 to 3999, got {number}")
    if number == 0:
        return "nulla"
    written = ""
    for value, symbol in _ROMAN:
        count, number = divmod(number, value)
        written += symbol * count
    return written


def in_words(number: int) -> str:
    """Returns 0..999999 in English words, such as `two-hundred-forty-one`.

    The hyphens tell 102 (`one-hundred-two`) from the list 100 2 (`one-hundred two`).
    """
    if not 0 <= number <= 999_999:
        raise ValueError(f"numbers in words go from 0 to 999999, got {number}")
    for unit, unit_name in ((1000, "thousand"), (100, "hundred")):
        if number >= unit:
            count, rest = divmod(number, unit)
            return f"{in_words(count)}-{unit_name}" + (f"-{in_words(rest)}" if rest else "")
    if number < len(_NAMES):
        return _NAMES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_NAMES[ones]}" if ones else "")
