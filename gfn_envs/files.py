"""Writing files so that a reader never finds half of one, also after a kill."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

LOCK_FILE = ".lock"
"""In a folder that one process at a time may fill."""


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file beside its place and then moves it there; makes the folder if need be."""
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f"{final.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, final)
    except OSError as error:  # a full disk names no file
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def write_folder(path: str | os.PathLike[str], files: Mapping[str, str]) -> None:
    """Writes text files by name into a new folder, which appears with all of them or not at all.

    Raises:
        ValueError: something that is not an empty folder is at its place.
    """
    check_free(path)
    with whole_folder(path) as partial:
        for name, text in files.items():
            (partial / name).write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields an empty folder to be filled, which then takes the place of what is at `path`: never half of it."""
    final = Path(path)
    check_folder(final)
    partial = final.with_name(f".partial-{final.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)


def check_free(path: str | os.PathLike[str]) -> None:
    """Raises ValueError if something that is not an empty folder is at the place of a new folder."""
    if os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path)):
        raise ValueError(f"'{path}' exists; name a new or an empty folder")
    check_writable(path)


def check_folder(path: str | os.PathLike[str]) -> None:
    """Raises ValueError if no folder can be at a place, because a file is there or nothing can be written."""
    if os.path.lexists(path) and not os.path.isdir(path):
        raise ValueError(f"'{path}' is a file, where a folder should be; name another place")
    check_writable(path)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises ValueError if nothing can be written at a place: before the work, and not after it."""
    home = next(folder for folder in Path(path).absolute().parents if folder.exists())
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise ValueError(f"nothing can be written at '{path}', as '{home}' is no folder that can be written to")


def content_digest(path: str | os.PathLike[str]) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of a file, or of the names and files of a folder; '' of nothing."""
    place = Path(path)
    files = sorted(file for file in place.rglob("*") if file.is_file()) if place.is_dir() else [place]
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            return ""
        about = file.stat()
        digest.update(f"{file.relative_to(place).as_posix()}\n{about.st_size}\n".encode())
        digest.update(_file_digest(file, about.st_size, about.st_mtime_ns))
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1 << 10)
def _file_digest(file: Path, size: int, changed: int) -> bytes:
    """Returns the SHA-256 of a file, of which every cell of a benchmark asks; size and time tell whether it changed."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def check_own(path: str | os.PathLike[str], names: Collection[str]) -> None:
    """Raises ValueError if a folder that is to be replaced holds anything but what was written there before."""
    others = sorted({entry.name for entry in Path(path).iterdir()} - set(names)) if Path(path).is_dir() else []
    if others:
        raise ValueError(f"'{path}' holds {others[0]!r}, which would be lost; name a new or an empty folder")


def json_values(data: Any) -> Any:
    """Returns what is the same after it was written as JSON and read again, as far as JSON has it.

    Tuples become lists, paths texts, NumPy's numbers and arrays Python's, problems their fields, with their weight if
    they are of a set. Anything else stays what it is.
    """
    if isinstance(data, Mapping):
        return {key: json_values(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [json_values(value) for value in data]
    if isinstance(data, np.generic | np.ndarray):
        return data.tolist()
    if isinstance(data, os.PathLike):
        return os.fspath(data)
    return json_values(data.to_json()) if hasattr(data, "to_json") else data


def finite_json(data: Any) -> Any:
    """Returns JSON values in which a number that is not finite is null, which JSON can hold."""
    if isinstance(data, dict):
        return {str(key): finite_json(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite_json(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def number_from_json(value: float | None) -> float:
    """Returns the number of a JSON value that `finite_json` made: null is NaN."""
    return math.nan if value is None else float(value)


def write_json_lines(path: str | os.PathLike[str], rows: Iterable[Any]) -> None:
    """Writes one JSON value a line, whole or not at all."""
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))
