"""The versions of everything that a result depends on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    *("gfn-gym", "gymnasium", "numpy", "torch", "transformers", "peft", "accelerate"),
    *("stable-baselines3", "sb3-contrib", "ray"),
)


def versions() -> dict[str, str]:
    """Returns the versions of the packages that are installed, of this code where git knows it, and the machine."""
    found = {"python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} processors"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    commit = code_commit()
    return {**found, "commit": commit} if commit else found


def code_commit(file: Path = Path(__file__)) -> str:
    """Returns the commit that a file of a git checkout is from, with "-dirty" if the checkout was changed; else ''."""
    # A file that git does not track may lie inside somebody else's repository, as an installed package does.
    if not _git(file, "ls-files", "--error-unmatch", file.name):
        return ""
    return _git(file, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _git(file: Path, *arguments: str) -> str:
    try:
        ran = subprocess.run(["git", *arguments], cwd=file.parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""
