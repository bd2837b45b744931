"""Suites: small YAML files that say who plays what, how long they train, and how they are scored.

A suite is data and nothing else: environments with their training and evaluation problems, agents
by name, seeds, and one budget that is equal for all. `read_suite` turns a file, or the name of a
suite that ships with the package, into frozen dataclasses; every mistake in a file is one sentence
that names the place and the remedy.

```yaml
name: example
environments:
  - id: gfn_envs/Game24-v0
    kwargs: {difficulty: easy}
    train: {split: train}
    evaluation: {split: test, count: 20, seed: 0}
agents:
  - uniform
  - {name: mine, agent: "package.module:Class", options: {learning_rate: 0.001}}
seeds: [0, 1]
budget: {environment_steps: 20000}
samples: 64
k: 20
exact: true
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from baselines.results import CEILING, CHANCE
from baselines.yaml_entries import Entry, hint, read_yaml
from gfn_envs.agents import Budget
from gfn_envs.making import check_keywords
from gfn_envs.problems import SPLITS

SHIPPED = Path(__file__).parent / "suites"
_BUDGETS = ("environment_steps", "tokens", "seconds")
_ELSEWHERE = {
    "split": "write train: {split: ...} and evaluation: {split: ...}",
    "problems": "write train: {file: ...} and evaluation: {file: ...}",
}
"""Keywords of `gym.make` that a suite says elsewhere, with the place."""


@dataclass(frozen=True, slots=True)
class Problems:
    """Which problems of an environment.

    Attributes:
        split: train, validation, test or all.
        count: so many of them, drawn once with `seed`; None for all.
        seed: of that draw.
        file: a problem file in the place of the environment's family, '' for none.
    """

    split: str
    count: int | None = None
    seed: int = 0
    file: str = ""


@dataclass(frozen=True, slots=True)
class Arena:
    """An environment of a suite.

    Attributes:
        name: as the report shows it.
        id: registered id.
        kwargs: keywords of `gym.make`.
        train: what agents learn from.
        evaluation: what they are scored on.
        budget: of training, equal for all agents.
        exact: enumerate the problems and give the distance to the exact target, for agents that can say
            how they play.
        samples: episodes on each evaluation problem.
        k: of pass@k.
    """

    name: str
    id: str
    kwargs: Mapping[str, Any]
    train: Problems
    evaluation: Problems
    budget: Budget
    exact: bool
    samples: int
    k: int


@dataclass(frozen=True, slots=True)
class Contestant:
    """An agent of a suite.

    Attributes:
        name: as the report shows it.
        agent: registered name, or package.module:Class.
        options: keywords that it is made with.
    """

    name: str
    agent: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Quoted:
    """A published result that the report shows beside what was measured, marked as quoted.

    Attributes:
        environment: name of the environment it belongs to.
        agent: whose result.
        source: paper and table.
        scores: by the names of `gfn_envs.metrics`.
    """

    environment: str
    agent: str
    source: str
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Suite:
    """Everything that a benchmark run needs.

    Attributes:
        focus: name of the agent of which the report says where it is not the best.
        text: the file itself.
        path: where it was read.
    """

    name: str
    description: str
    environments: tuple[Arena, ...]
    agents: tuple[Contestant, ...]
    seeds: tuple[int, ...]
    focus: str
    quoted: tuple[Quoted, ...] = ()
    text: str = field(default="", repr=False, compare=False)
    path: Path = field(default=Path(), repr=False, compare=False)


def read_suite(name: str | Path) -> Suite:
    """Returns the suite of a file, or of a name such as 'quick' that ships with the package.

    Raises:
        ValueError: there is no such suite, or the file has a mistake; the message says where.
    """
    path = Path(name)
    if not path.is_file():
        shipped = sorted(file.stem for file in SHIPPED.glob("*.yaml"))
        if str(name) not in shipped:
            raise ValueError(f"there is no suite {str(name)!r}{hint(str(name), shipped)}, or a path to a YAML file")
        path = SHIPPED / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"'{path}' is not a text file in UTF-8") from None
    return parse_suite(text, path)


def parse_suite(text: str, path: Path) -> Suite:
    """Returns the suite that a YAML text describes.

    Args:
        text: the YAML.
        path: where it comes from: for messages, and problem files are relative to its folder.

    Raises:
        ValueError: one sentence with the place of the mistake.
    """
    whole = read_yaml(text, f"'{path}'")
    defaults = _Defaults(
        _budget(whole.entry("budget")) if whole.has("budget") else None,
        whole.flag("exact", True),
        whole.number("samples", 64),
        whole.number("k", 20),
    )
    suite = Suite(
        name=whole.text("name", path.stem),
        description=whole.text("description", ""),
        environments=tuple(
            _arena(entry, defaults, path.resolve().parent) for entry in whole.entries("environments", "id")
        ),
        agents=tuple(_contestant(entry) for entry in whole.entries("agents", "agent")),
        seeds=whole.numbers("seeds", (0,)),
        focus=whole.text("focus", "gflownet"),
        quoted=tuple(_quoted(entry) for entry in whole.entries("quoted", "")) if whole.has("quoted") else (),
        text=text,
        path=path,
    )
    names = [agent.name for agent in suite.agents]
    if whole.has("focus") and suite.focus not in names:
        raise ValueError(f"{path}: focus is {suite.focus!r}, which is none of its agents ({', '.join(names)})")
    whole.refuse_others()
    _check_names(suite, str(path))
    return suite


class _Defaults(NamedTuple):
    """What the suite says for all environments; an environment may say something else."""

    budget: Budget | None
    exact: bool
    samples: int
    k: int


def _arena(entry: Entry, defaults: _Defaults, folder: Path) -> Arena:
    env_id = entry.text("id")
    budget = _budget(entry.entry("budget")) if entry.has("budget") else defaults.budget
    samples = entry.number("samples", defaults.samples)
    if budget is None:
        raise ValueError(
            f"{entry.place} has no budget; add one for the whole suite: budget: {{environment_steps: 20000}}"
        )
    kwargs = entry.mapping("kwargs")
    check_keywords(kwargs, entry.at("kwargs"), _ELSEWHERE)
    arena = Arena(
        name=entry.text("name", env_id.rsplit("/", 1)[-1].removesuffix("-v0")),
        id=env_id,
        kwargs=kwargs,
        train=_problems(entry.entry("train"), "train", None, folder),
        evaluation=_problems(entry.entry("evaluation"), "test", 20, folder),
        budget=budget,
        exact=entry.flag("exact", defaults.exact),
        samples=samples,
        k=min(entry.number("k", defaults.k), samples),
    )
    entry.refuse_others()
    return arena


def _problems(entry: Entry, split: str, count: int | None, folder: Path) -> Problems:
    file = entry.text("file", "")
    if file:
        split, count, file = "all", None, str(folder / file)
    problems = Problems(
        entry.text("split", split), entry.number("count", count), entry.number("seed", 0, least=0), file
    )
    if problems.split not in SPLITS:
        raise ValueError(f"{entry.at('split')}: there is no split {problems.split!r}{hint(problems.split, SPLITS)}")
    entry.refuse_others()
    return problems


def _budget(entry: Entry) -> Budget:
    limits = {name: entry.amount(name) for name in _BUDGETS if entry.has(name)}
    entry.refuse_others(_BUDGETS)
    if not limits:
        raise ValueError(f"{entry.place} sets no limit; give at least one of {', '.join(_BUDGETS)}")
    whole = {name: int(value) if name != "seconds" and value.is_integer() else value for name, value in limits.items()}
    try:
        return Budget(**whole)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"{entry.place}: {error}") from None


def _contestant(entry: Entry) -> Contestant:
    agent = entry.text("agent")
    contestant = Contestant(entry.text("name", agent), agent, entry.mapping("options"))
    entry.refuse_others()
    return contestant


def _quoted(entry: Entry) -> Quoted:
    scores = entry.entry("scores")
    numbers = {str(name): scores.amount(name) for name in scores.data}
    quoted = Quoted(entry.text("environment"), entry.text("agent"), entry.text("source"), numbers)
    entry.refuse_others()
    return quoted


def _check_names(suite: Suite, path: str) -> None:
    for what, names in (
        ("environments", [arena.name for arena in suite.environments]),
        ("agents", [contestant.name for contestant in suite.agents]),
        ("seeds", list(map(str, suite.seeds))),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            remedy = "list each seed once" if what == "seeds" else "give one of them another name"
            raise ValueError(f"'{path}': {what} has {twice[0]!r} twice; {remedy}")
    if taken := {CHANCE, CEILING} & {contestant.name for contestant in suite.agents}:
        raise ValueError(f"'{path}': agents: {taken.pop()!r} is the name of a yardstick; call the agent otherwise")
    known = [arena.name for arena in suite.environments]
    for quoted in suite.quoted:
        if quoted.environment not in known:
            raise ValueError(
                f"'{path}': quoted: there is no environment {quoted.environment!r}{hint(quoted.environment, known)}"
            )
