"""Telling an error in the user's own code, an agent's or an environment's, from one of this package."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path

_LIBRARIES = (
    *(str(Path(__file__).parent.parent / package) + os.sep for package in ("gfn_envs", "gfn_agents", "baselines")),
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    os.path.realpath(sysconfig.get_path("stdlib")) + os.sep,
)
_INSTALLED = {"site-packages", "dist-packages"}
"""Where code lies that is not the user's own: in these folders, and in those of these names, of which one Python may
have several, as with `pip install --user` and `venv --system-site-packages`."""


def place_in_own_code(error: BaseException) -> str:
    """Returns file and line of the user's code in which an error arose or that is no Python, '' if it is not there.

    The user's own is what belongs neither to this package nor to what is installed.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [(file, line) for file, line in places if _is_own(file)]
    return f"{Path(own[-1][0]).name}, line {own[-1][1]}" if own else ""


def _is_own(file: str) -> bool:
    return not file.startswith(("<", *_LIBRARIES)) and _INSTALLED.isdisjoint(Path(file).parts)
