"""Modules of the working folder are importable, as with `python -m`: commands find a user's own there."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


def look_in_working_folder() -> None:
    """Puts the working folder in front of where modules are looked for, unless it is there."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def source_file(module: str) -> Path | None:
    """Returns the file of a module, of the working folder too; None where there is none."""
    look_in_working_folder()
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
