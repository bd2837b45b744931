"""Reading a YAML file key by key, so that every mistake in it is one sentence with its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from gfn_envs.hints import did_you_mean


def read_yaml(text: str, place: str) -> Entry:
    """Returns the mapping that a YAML text is.

    Raises:
        ValueError: it is none; the sentence begins with the place.
    """
    try:
        data = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{place} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError(f"{place} is nested too deeply for a suite") from None
    return Entry(data, place)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Plain values only, and a key that stands twice in one mapping is a mistake: YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class Entry:
    """One mapping of the file and its place: reads its values, and then refuses what was not read.

    A plain text in the place of a mapping stands for its key `short`.
    """

    def __init__(self, data: Any, place: str, short: str = "") -> None:
        if isinstance(data, str) and short:
            data = {short: data}
        if not isinstance(data, dict):
            raise ValueError(f"{place} must be a mapping of keys to values, got {_shown(data)}")
        self.data, self.place = data, place
        self._read: list[str] = []

    def at(self, key: str) -> str:
        """Returns the place of a key for messages: 'suite.yaml': environments[0].kwargs."""
        return f"{self.place}.{key}" if "': " in self.place else f"{self.place}: {key}"

    def has(self, key: str) -> bool:
        """Returns whether the key is there."""
        self._read.append(key)
        return key in self.data

    def text(self, key: str, default: str | None = None) -> str:
        """Returns a text; one that is not there and has no default is a mistake."""
        return str(self._value(key, (str,), "a text", default))

    def flag(self, key: str, default: bool) -> bool:
        """Returns true or false."""
        return bool(self._value(key, (bool,), "true or false", default))

    def number(self, key: str, default: Any, least: int = 1) -> Any:
        """Returns a whole number, or the default."""
        if not self.has(key) and default is None:
            return None
        value = self._value(key, (int,), f"a whole number of at least {least}", default)
        if value < least:
            raise ValueError(f"{self.at(key)} must be a whole number of at least {least}, got {value}")
        return value

    def numbers(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Returns a list of whole numbers."""
        values = self._value(key, (list,), "a list such as [0, 1, 2]", list(default))
        if not values or not all(type(value) is int and value >= 0 for value in values):
            raise ValueError(f"{self.at(key)} must be a list of whole numbers such as [0, 1, 2], got {_shown(values)}")
        return tuple(values)

    def amount(self, key: str) -> float:
        """Returns a number that is not negative."""
        value = self._value(key, (int, float), "a number", None)
        if not 0 <= value < float("inf"):
            raise ValueError(f"{self.at(key)} must be a number of at least 0, got {value}")
        return float(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """Returns a mapping of keywords, empty if it is not there."""
        values = self._value(key, (dict,), "a mapping such as {difficulty: easy}", {})
        if not all(isinstance(name, str) for name in values):
            raise ValueError(f"{self.at(key)}: names of keywords must be texts, got {_shown(list(values))}")
        try:
            json.dumps(values)
        except TypeError as error:  # a date, which YAML has and results have not
            raise ValueError(f"{self.at(key)} must be numbers, texts, lists and mappings: {error}") from None
        return dict(values)

    def entry(self, key: str) -> Entry:
        """Returns the mapping below a key, empty if it is not there."""
        return Entry(self._value(key, (object,), "", {}), f"{self.at(key)}")

    def entries(self, key: str, short: str) -> list[Entry]:
        """Returns the mappings of a list."""
        values = self._value(key, (list,), "a list with at least one entry", None)
        if not values:
            raise ValueError(f"{self.at(key)} must be a list with at least one entry, got none")
        return [Entry(value, f"{self.at(key)}[{number}]", short) for number, value in enumerate(values)]

    def refuse_others(self, known: Sequence[str] = ()) -> None:
        """Raises ValueError for a key that nobody asked for."""
        asked = list(dict.fromkeys([*known, *self._read]))
        for key in self.data:
            if key not in asked:
                raise ValueError(f"{self.place}: unknown key {str(key)!r}{hint(str(key), asked)}")

    def _value(self, key: str, types: tuple[type, ...], wanted: str, default: Any) -> Any:
        if not self.has(key):
            if default is None:
                self._refuse_misspelt(key)
                raise ValueError(f"{self.place} has no {key!r}; add {wanted}")
            return default
        value = self.data[key]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and object not in types):
            raise ValueError(f"{self.at(key)} must be {wanted}, got {_shown(value)}")
        return value

    def _refuse_misspelt(self, key: str) -> None:
        for other in self.data:
            if other not in self._read and (hint := did_you_mean(str(other), [key])):
                raise ValueError(f"{self.place}: unknown key {str(other)!r}{hint}")


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."


def hint(word: str, known: Sequence[str]) -> str:
    """Returns the nearest known word as a question, or else all of them."""
    return did_you_mean(word, known, f"; there are {', '.join(known)}")
