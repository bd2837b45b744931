"""README and documentation site: their Python runs, their commands are right, the site builds and needs no network."""

from __future__ import annotations

import functools
import importlib.util
import re
import shlex
import subprocess
import sys
import types
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import tyro

from gfn_envs.cli import COMMANDS_GROUP, main

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = {entry.name: entry for entry in entry_points(group=COMMANDS_GROUP)}
CHEAP = ("envs", "analyse", "check", "evaluate", "report")
LITTLE = {
    "train": ["--steps", "1", "--problems-per-step", "1", "--samples-per-problem", "2", "--distance-every", "0"],
    "evaluate": ["--samples", "2", "--limit", "2"],
    "analyse": ["--limit", "2"],
}
"""What makes a command cheap: options that come last win."""


def hooks():
    """Returns docs/hooks.py, which makes the other pages."""
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path):
    """Returns a page with the files that it includes."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r'^--8<-- "([^":]+)"$', lambda found: (ROOT / found[1]).read_text(encoding="utf-8"), text, flags=re.M)


def blocks(text, language):
    """Returns the fenced blocks of a language that are not part of a block in turn."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def commands(text):
    """Returns the lines of the bash blocks as words, without comments."""
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def parse(words):
    """Reads a line `gfn COMMAND ...` as the command would, without running it."""
    command = COMMANDS[words[1]].load()

    @functools.wraps(command)
    def told(*values, **options):
        pass

    tyro.cli(told, args=words[2:], config=(tyro.conf.OmitArgPrefixes,))


def run_python(text, name, monkeypatch):
    """Runs the Python blocks of a page in order, as one module."""
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)  # so that its classes can be pickled
    for number, block in enumerate(blocks(text, "python")):
        exec(compile(block, f"{name}, block {number}", "exec"), module.__dict__)


# -- Python ----------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_blocks_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_python(read(path), f"page_{path.stem}", monkeypatch)


@pytest.mark.slow
def test_python_blocks_of_generated_pages_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, text in hooks().generated_pages().items():
        if blocks(text, "python"):
            run_python(text, f"page_{Path(path).stem}", monkeypatch)


def test_a_block_that_fails_is_seen(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        run_python("```python\nx = 0\n```\ntext\n```python\n1 / x\n```\n", "page_wrong", monkeypatch)


# -- commands --------------------------------------------------------------------------------------
def wrong_command(words):
    """Returns what is wrong with a line of a bash block, '' if nothing is."""
    try:
        if words[0] == "gfn":
            parse(words)
        elif words[0] in ("accelerate", "torchrun"):  # launchers of `python -m gfn_agents.cli`, which is gfn
            parse(["gfn", *words[words.index("gfn_agents.cli") + 1 :]])
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.M), "no such target"
        elif words[:2] == ["pip", "install"]:
            extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), flags=re.M))
            asked = {extra for word in words for part in re.findall(r"\[(.*?)\]", word) for extra in part.split(",")}
            assert asked <= extras, "no such extra"
        elif words[0] == "python":
            assert words[1] == "-m" or (ROOT / words[1]).is_file(), "no such file"
        else:
            return "nobody knows how to check it"
    except (AssertionError, KeyError, ValueError, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_are_right(path, monkeypatch):
    text = read(path)
    assert {" ".join(words): wrong for words in commands(text) if (wrong := wrong_command(words))} == {}
    named = set(re.findall(r"\bgfn ([a-z]+)\b", "\n".join(re.findall(r"`[^`]+`", text))))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize(
    "line",
    [
        "gfn trian x",
        "gfn train x --step-count 3",
        "torchrun x",
        "torchrun -m gfn_agents.cli trian x",
        "make nothing",
        "rm -rf /",
    ],
)
def test_a_wrong_command_is_seen(line, capsys):
    assert wrong_command(line.split())


@pytest.mark.slow
@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_cheap_commands_run(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    trains = ("train",) if path.stem == "tutorial" else ()  # there each command goes on where the one before ended
    for words in commands(read(path)):
        made_elsewhere = any(word.startswith("runs/") and not Path(word).exists() for word in words[2:3])
        if words[0] == "gfn" and words[1] in (*CHEAP, *trains) and not made_elsewhere:
            main([*words[1:], *LITTLE.get(words[1], [])])
    assert not trains or Path("runs/scores/report.html").is_file()


# -- links -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_links_lead_to_files(name):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / name).read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []


# -- the site --------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_site_builds_and_needs_no_network(tmp_path):
    pytest.importorskip("material", reason="the documentation needs mkdocs-material: pip install 'gfn-gym[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="([^"]+)|<link[^>]+href="([^"]+)', text)
        assert [url for pair in loaded for url in pair if url.startswith(("http", "//"))] == [], page
        assert "--8<--" not in text, page
        assert "generated:" not in text, page
