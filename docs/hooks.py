"""Pages of the documentation site that are made from the code, so that nothing is written twice.

MkDocs calls `on_files` and `on_page_markdown`. An environment's page is the docstring of its file, with a state of
the game as the game's own text and picture, its options, and exact values that are computed here. The reference
lists public names with the first paragraph of their docstrings, read without importing anything.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np

from gfn_envs.cli import COMMANDS_GROUP
from gfn_envs.drawing import to_svg
from gfn_envs.evaluation_results import SHOWN_SCORES
from gfn_envs.exact import EnumerationLimit, analyse, enumerate_states
from gfn_envs.rollout import draw_outcome
from gfn_envs.task import Problem, Task
from gfn_envs.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gfn_envs", "gfn_agents", "baselines")
_SHOWN_ACTIONS = 12


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages and pictures to what MkDocs builds."""
    from mkdocs.structure.files import File

    for path, content in {**generated_pages(), **pictures()}.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Puts generated tables where a page asks for them by `<!-- generated: NAME -->`."""
    for name, make in TABLES.items():
        mark = f"<!-- generated: {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    return markdown


def generated_pages() -> dict[str, str]:
    """Returns the Markdown of every generated page by its path below docs/."""
    pages = {f"environments/{name.lower()}.md": environment_page(name) for name in TASKS}
    pages |= {f"reference/{package}.md": reference_page(package) for package in PACKAGES}
    return {**pages, "environments/index.md": overview_page(), "reference/command.md": command_page()}


def pictures() -> dict[str, str]:
    """Returns the SVG of a state of every environment by its path below docs/."""
    return {f"environments/{name.lower()}.svg": to_svg(_draw(name)) for name in TASKS}


def _draw(name: str) -> Any:
    task, state = example(name)
    return task.draw(state)


# -- environments ----------------------------------------------------------------------------------
def example(name: str) -> tuple[Task[Any, Any], Any]:
    """Returns a task with its default options, and a state half way to a solution."""
    task, problem = _task(name), _problem(name)
    state, rng = task.reset(problem), np.random.default_rng(0)
    plan = _plan(task, problem)
    for action in plan[: len(plan) // 2]:
        state = draw_outcome(task, state, action, rng)
    return task, state


def _task(name: str) -> Task[Any, Any]:
    return _default_task(name).memoryless()


def _problem(name: str) -> Problem:
    problem: Problem = _task(name).problems().take(1, np.random.default_rng(0)).problems[0]
    return problem


def _plan(task: Task[Any, Any], problem: Problem) -> tuple[str, ...]:
    plans = task.expert_plans(problem)
    if plans or not task.deterministic:
        return plans[0] if plans else ()
    graph = enumerate_states(task, problem)
    policy = graph.demonstration_policy()
    return graph.sample(policy, np.random.default_rng(0), "").actions if policy else ()


def overview_page() -> str:
    """Returns the page that lists the environments."""
    rows = [f"| [{name}]({name.lower()}.md) | `gfn_envs/{name}-v0` | {_first_line(name)} |" for name in TASKS]
    return "\n".join(
        (
            "# Environments",
            "",
            "Every page below is the docstring of the file that holds the rules, with values computed when the page "
            "was built.",
            "",
            "| | id | |",
            "|---|---|---|",
            *rows,
            "",
            "Chance is the success probability of uniform legal play, solutions is how many distinct ones a problem "
            "has, both as means over the family of the default options:",
            "",
            '--8<-- "README.md:environments"',
            "",
            '--8<-- "README.md:shared"',
            "",
        )
    )


def environment_page(name: str) -> str:
    """Returns the page of one environment."""
    module = inspect.getdoc(sys.modules[type(_default_task(name)).__module__]) or ""
    parts = [f"# {name}", _first_line(name), _state(name), _sections(module.partition("\n\n")[2]), _options(name)]
    parts.append(_exact_values(name))
    return "\n\n".join(parts) + "\n"


def _default_task(name: str) -> Task[Any, Any]:
    task: Task[Any, Any] = TASKS[name]()()
    return task


def _first_line(name: str) -> str:
    task = _default_task(name)
    line = (inspect.getdoc(sys.modules[type(task).__module__]) or "").splitlines()[0].partition(": ")[2]
    return line[:1].upper() + line[1:]


def _state(name: str) -> str:
    task, state = example(name)
    legal = task.actions(state)
    more = [f"... and {len(legal) - _SHOWN_ACTIONS} more"] if len(legal) > _SHOWN_ACTIONS else []
    title = task.draw(state).title or name
    return "\n".join(
        (
            f"![{title}]({name.lower()}.svg){{ .picture }}",
            "",
            "This state as the player reads it, and its legal actions:",
            "",
            "``` { .text .reading }",
            task.observe(state),
            "```",
            "",
            "``` { .text .reading }",
            *legal[:_SHOWN_ACTIONS],
            *more,
            "```",
        )
    )


def _sections(text: str) -> str:
    """Returns the docstring's sections as Markdown: a heading is a line without indent."""
    lines = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            lines += [f"## {line}", ""]
            continue
        line = re.sub("::$", ":", line.removeprefix("    "))
        if lines and lines[-1].endswith((".", ")", "`")) and line.startswith("`"):
            lines[-1] += "  "  # one term a line, as in the source
        lines.append(line)
    return "\n".join(lines)


def _options(name: str) -> str:
    task = _default_task(name)
    told = _arguments(inspect.getdoc(type(task)) or "")
    rows = [
        f"| `{field.name}` | `{getattr(task, field.name)!r}` | {told.get(field.name, '')} |"
        for field in fields(task)
        if field.init
    ]
    presets = [
        f"| `{preset}` | {', '.join(f'`{key}={value!r}`' for key, value in options.items()) or 'the defaults'} |"
        for preset, options in task.difficulties.items()
    ]
    return "\n".join(
        (
            "## Options of `gym.make`",
            "",
            "| option | default | |",
            "|---|---|---|",
            *rows,
            "",
            "| `difficulty=` | stands for |",
            "|---|---|",
            *presets,
            "",
            "```python",
            "import gymnasium as gym",
            "",
            f'env = gym.make("gfn_envs:gfn_envs/{name}-v0", difficulty="{next(iter(task.difficulties))}")',
            "observation, info = env.reset(seed=0)",
            "print(observation)",
            "```",
        )
    )


def _arguments(docstring: str) -> dict[str, str]:
    """Returns what the section Args of a docstring says of each argument."""
    _, _, section = docstring.partition("Args:\n")
    joined = re.sub(r"\n {8,}", " ", section.partition("\n\n")[0])
    return dict(re.findall(r"^    (\w+): (.*)$", joined, flags=re.MULTILINE))


def _exact_values(name: str) -> str:
    task, problem = _task(name), _problem(name)
    title = f"## The problem of the picture\n\n`{problem.id}`, as `gfn analyse gfn_envs/{name}-v0` gives it:\n\n"
    try:
        found = analyse(task, problem)
    except EnumerationLimit:
        return (
            f"## The problem of the picture\n\n`{problem.id}` has too many states to list; `gfn analyse "
            f"gfn_envs/{name}-v0` gives its chance from random plays, with an interval."
        )
    rows = {
        "chance: uniform legal play succeeds": f"{found.chance:.6f}",
        "optimum: the most that any player can": f"{found.optimum:.6f}",
        "distinct solutions": f"{found.n_solutions:,}",
        "states": f"{found.n_states:,}",
        "log Z": f"{found.log_z:.6f}",
        "success of the exact sampler of the target": f"{found.target_success:.6f}",
    }
    return title + "| | |\n|---|---:|\n" + "\n".join(f"| {what} | {value} |" for what, value in rows.items())


# -- reference -------------------------------------------------------------------------------------
def reference_page(package: str) -> str:
    """Returns the public names of a package, module by module, with what their docstrings say first."""
    parts = [f"# {package}"]
    for path in sorted((ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        entries = list(_entries(tree))
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if entries and not path.name.startswith("_"):
            parts += [f"## {module}", _paragraph(tree), *entries]
    return "\n\n".join(parts) + "\n"


def _entries(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield _entry(node)
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                        yield _entry(member, f"{node.name}.")


def _entry(node: ast.FunctionDef | ast.ClassDef, owner: str = "") -> str:
    """Returns a name with its arguments as a term, and its docstring's first paragraph as the definition."""
    kind = "class " if isinstance(node, ast.ClassDef) else ""
    return f"`{kind}{owner}{node.name}{_signature(node)}`\n:   {_paragraph(node)}"


def _signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.ClassDef):
        return ""
    if any(isinstance(mark, ast.Name) and "property" in mark.id for mark in node.decorator_list):
        return ""
    arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    names = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
    return f"({', '.join(names)})"


def _paragraph(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """Returns the first paragraph of a docstring in one line, nothing in it read as Markdown but code."""
    text = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
    plain = re.split("(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<|~^\[\]{}])", r"\\\1", part) for part in plain)


def command_page() -> str:
    """Returns the subcommands of `gfn` with their options, from the functions behind them."""
    parts = [
        "# gfn, the command",
        "`gfn COMMAND --help` says the same. With `--json` a command prints one JSON document and nothing else on "
        "standard output. Bad input ends in one sentence and exit code 1.",
    ]
    for entry in sorted(entry_points(group=COMMANDS_GROUP), key=lambda entry: entry.name):
        function = entry.load()
        docstring = inspect.getdoc(function) or ""
        told = _arguments(textwrap.dedent(docstring))
        parts.append(f"## gfn {entry.name}\n\n{docstring.partition('Args:')[0].strip()}")
        rows = [row for parameter in inspect.signature(function).parameters.values() for row in _rows(parameter, told)]
        parts.append("\n".join(("| option | default | |", "|---|---|---|", *rows)))
    return "\n\n".join(parts) + "\n"


def _rows(parameter: inspect.Parameter, told: dict[str, str]) -> Iterator[str]:
    """Yields the row of an option; one that is a group of options has a row for each of them."""
    if is_dataclass(parameter.default):
        own = _arguments(inspect.getdoc(type(parameter.default)) or "")
        for field in fields(parameter.default):
            yield _row(field.name, getattr(parameter.default, field.name), own)
    elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        yield f"| `{parameter.name.upper()}` | | {told.get(parameter.name, '')} |"
    else:
        yield _row(parameter.name, parameter.default, told)


def _row(name: str, default: Any, told: dict[str, str]) -> str:
    nothing = default == () or any(default is value for value in (inspect.Parameter.empty, None, False))
    shown = "" if nothing else f"`{default}`"
    return f"| `--{name.replace('_', '-')}` | {shown} | {told.get(name, '')} |"


# -- tables in written pages -----------------------------------------------------------------------
def scores_table() -> str:
    """Returns the scores that `gfn evaluate` gives, and what they mean."""
    rows = [
        f"| {score.label.format(k='k', samples='n')} | `{score.name}` | {score.meaning.format(k='k', samples='n')} |"
        for score in SHOWN_SCORES
    ]
    return "\n".join(("| score | name in files | |", "|---|---|---|", *rows))


def quoted_table() -> str:
    """Returns the published results that the shipped suites quote."""
    from baselines.suites import SHIPPED, read_suite

    listed = [row for file in sorted(SHIPPED.glob("*.yaml")) for row in read_suite(file).quoted]
    quoted = [row for place, row in enumerate(listed) if row not in listed[:place]]
    rows = [
        f"| {row.environment} | {row.agent} | {', '.join(f'{name} {value:g}' for name, value in row.scores.items())} "
        f"| {row.source} |"
        for row in quoted
    ]
    table = "\n".join(("| environment | agent | quoted | source |", "|---|---|---|---|", *rows))
    return table if rows else "The suites that ship with the package quote none."


TABLES: dict[str, Callable[[], str]] = {"scores": scores_table, "quoted": quoted_table}
