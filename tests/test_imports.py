"""Imports point one way: baselines -> gfn_agents -> gfn_envs, and gfn_envs stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIGHT = {"gymnasium", "numpy", "gfn_envs", *sys.stdlib_module_names}
BASELINES = {"baselines", "stable_baselines3", "sb3_contrib"}
HEAVY = {"torch", "transformers", "gfn_agents", *BASELINES}


def files_of(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    """Returns the top-level packages that a file imports anywhere, in functions and strings of type hints too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import; write the package out"
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", files_of("gfn_envs"), ids=str)
def test_gfn_envs_imports_nothing_heavy(path):
    assert not imported(path) & HEAVY
    if path.name != "cli.py":
        assert imported(path) <= LIGHT | ({"pygame"} if path.name == "frames.py" else set())


@pytest.mark.parametrize("path", files_of("gfn_agents"), ids=str)
def test_gfn_agents_knows_no_baselines(path):
    assert not imported(path) & BASELINES


def test_importing_gfn_envs_loads_no_torch():
    heavy = ("torch", "transformers", "rich", "tyro", "pygame")
    code = f"import sys, gfn_envs; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_walk_sees_imports_inside_functions(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("def f():\n    import torch.nn\n    from gfn_agents.policy import Policy\n")
    assert imported(path) == {"torch", "gfn_agents"}
