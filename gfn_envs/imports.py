"""Modules of the working folder are importable, as with `python -m`: commands find a user's own there."""

from __future__ import annotations

import sys
from pathlib import Path


def look_in_working_folder() -> None:
    """Puts the working folder in front of where modules are looked for, unless it is there."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
