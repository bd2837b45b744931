"""Writing files so that a reader never finds half of one, also after a kill."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file beside its place and then moves it there; makes the folder if need be."""
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f"{final.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, final)


def finite_json(data: Any) -> Any:
    """Returns JSON values in which a number that is not finite is null, which JSON can hold."""
    if isinstance(data, dict):
        return {str(key): finite_json(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite_json(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def write_json_lines(path: str | os.PathLike[str], rows: Iterable[Any]) -> None:
    """Writes one JSON value a line, whole or not at all."""
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))
