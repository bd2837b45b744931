"""The README's Python runs, and the commands that it shows exist."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from gfn_envs.cli import COMMANDS_GROUP

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_the_commands_exist():
    shown = set(re.findall(r"gfn ([a-z]+) ", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert shown <= {entry.name for entry in entry_points(group=COMMANDS_GROUP)}
    assert {"train", "evaluate"} <= shown
