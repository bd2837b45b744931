"""Anybody's agent: what it may offer, by which names it is found, and a plain function as one.

An agent is anything with `act` (`gfn_envs.rollout.Agent`). One that trains has `learn`, `save` and
`load` besides. It may also offer two properties: `costs`, what training has used up so far
(environment_steps, tokens, cpu_seconds, ...), and `curve`, the rows of its learning curve with
"environment_steps" and "success".

`load_agent` knows an agent by a name of the entry-point group `gfn_gym.agents` or of
`register_agent`, as package.module:Class, or by a folder that it saved. A folder may come from a
stranger: its `agent.json` names a class, and the class is imported only from packages that have an
agent in the entry-point group, or is taken from modules that the program has imported already; so
nothing runs that the user has not installed as an agent or started. Nothing is unpickled.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from gfn_envs.files import json_values, write_whole
from gfn_envs.hints import did_you_mean
from gfn_envs.imports import look_in_working_folder
from gfn_envs.rollout import Agent, told_probabilities
from gfn_envs.streams import row_streams

if TYPE_CHECKING:
    from typing import Self

AGENTS_GROUP = "gfn_gym.agents"
AGENT_FILE = "agent.json"
SIDE_BY_SIDE = "GFN_GYM_SIDE_BY_SIDE"
"""Environment variable: how many programs this machine runs side by side, each with its part of the memory."""
_MODEL_FILES = ("config.json", "adapter_config.json")
"""What a bare model folder has one of."""
_UNNAMED = "gfn_agents.agent:GFlowNetAgent"
"""Who wrote an agent.json that names no class: run folders are older than other folders of agents."""

MakeAgent = Callable[..., Agent]
MakeT = TypeVar("MakeT", bound=MakeAgent)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much training may use; the first limit that is reached ends it, with the batch in progress.

    Attributes:
        environment_steps: actions played, illegal ones included.
        tokens: tokens that a model has read or written.
        seconds: of wall-clock time.

    Raises:
        ValueError: no limit is given, or one is not positive.
    """

    environment_steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = {name: limit for name, limit in self._limits() if limit is not None}
        if not given:
            raise ValueError("a budget needs at least one limit: environment_steps, tokens or seconds")
        for name, limit in given.items():
            if isinstance(limit, bool) or not isinstance(limit, Real):
                raise ValueError(f"the budget's {name} must be a number, got {limit!r}")
            if not limit > 0:
                raise ValueError(f"the budget's {name} must be positive, got {limit!r}")
            if name != "seconds" and limit % 1:
                raise ValueError(f"the budget's {name} must be a whole number, got {limit!r}")

    def used_up(
        self, environment_steps: int | None = None, tokens: int | None = None, seconds: float | None = None
    ) -> bool:
        """Says whether what was used so far reaches one of the limits.

        Args:
            environment_steps, tokens, seconds: used so far; None for what the agent does not count.

        Raises:
            ValueError: the agent counts nothing that is limited, so that it would train forever.
        """
        used = {"environment_steps": environment_steps, "tokens": tokens, "seconds": seconds}
        limits = {name: limit for name, limit in self._limits() if limit is not None}
        counted = [(used_so_far, limits[name]) for name, used_so_far in used.items() if name in limits]
        if all(used_so_far is None for used_so_far, _ in counted):
            raise ValueError(f"this agent does not count {' or '.join(limits)}, so it needs another budget")
        return any(used_so_far is not None and used_so_far >= limit for used_so_far, limit in counted)

    def _limits(self) -> Iterator[tuple[str, float | None]]:
        yield from (
            ("environment_steps", self.environment_steps),
            ("tokens", self.tokens),
            ("seconds", self.seconds),
        )


@runtime_checkable
class TrainableAgent(Agent, Protocol):
    """An agent that learns on any environment, and can be kept."""

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        """Trains from the start on the problems of `gym.make(env_id, **env_kwargs)` until the budget is used up.

        Equal seeds give equal agents.
        """
        ...

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the agent into a folder; `write_agent_file` lets `load_agent` find its class."""
        ...

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Returns an agent that plays as the one that was saved."""
        ...


def check_can_be_kept(agent: Agent | MakeAgent) -> None:
    """Raises ValueError if an agent, or its class, has learn without save and load: it would be scored untrained."""
    missing = [name for name in ("save", "load") if hasattr(agent, "learn") and not hasattr(agent, name)]
    if missing:
        kind = agent if isinstance(agent, type) else type(agent)
        raise ValueError(
            f"{kind.__name__} has learn and no {' and no '.join(missing)}, so that gfn bench cannot train it; add what "
            "is missing, or rename learn if it is to be scored as it is"
        )


def costs_of(agent: Agent) -> dict[str, float]:
    """Returns what an agent says that its training has used up so far, empty if it says nothing.

    Raises:
        ValueError: it says something else than numbers by name.
    """
    return _numbers(agent, "costs", getattr(agent, "costs", {}))


def curve_of(agent: Agent) -> tuple[dict[str, float], ...]:
    """Returns the rows of an agent's learning curve, empty if it has none.

    Raises:
        ValueError: a row is something else than numbers by name, with environment_steps and success among them.
    """
    rows = tuple(_numbers(agent, "curve", row) for row in getattr(agent, "curve", ()))
    for row in rows:
        if missing := [name for name in ("environment_steps", "success") if name not in row]:
            raise ValueError(
                f"a row of {type(agent).__name__}.curve has no {' and no '.join(missing)}, got {row!r:.80}"
            )
    return rows


def _numbers(agent: Agent, what: str, values: Any) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in values.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"{type(agent).__name__}.{what} must be numbers by name, got {values!r:.80}") from None


class FunctionAgent:
    """A plain function as an agent.

    >>> @FunctionAgent
    ... def first(observation, actions, rng):
    ...     return actions[0]

    Args:
        function: takes one observation, its legal actions and a generator; returns an action's text.
    """

    def __init__(self, function: Callable[[str, Sequence[str], np.random.Generator], str]) -> None:
        self.function = function

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns the function's answer to each observation in turn."""
        rows = zip(observations, admissible_actions, row_streams(rng, len(observations)), strict=True)
        return [self.function(text, actions, stream) for text, actions, stream in rows]


class SamplingAgent:
    """An agent that draws from its own `action_probabilities`; a class of its own gives these."""

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns one legal action for each observation, drawn from `action_probabilities`."""
        rows = told_probabilities(self, observations, admissible_actions)
        drawn = zip(admissible_actions, rows, row_streams(rng, len(rows)), strict=True)
        return [legal[int(stream.choice(len(legal), p=row))] for legal, row, stream in drawn]

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns the probabilities of the legal actions of each observation, float64."""
        raise NotImplementedError


# -- names -----------------------------------------------------------------------------------------
_decorated: dict[str, MakeAgent] = {}


def register_agent(name: str) -> Callable[[MakeT], MakeT]:
    """Returns a decorator that gives a class, or a function that makes an agent, a name in this process.

    Other processes, the command line among them, know the names of the entry-point group
    `gfn_gym.agents`.

    Raises:
        ValueError: the name could be mistaken for a path or a class, or is taken.
    """

    if not name.strip() or set(name) & set(":/\\"):
        raise ValueError(f"the name of an agent must be a text without ':' and '/', got {name!r}")
    if name in _installed():
        raise ValueError(f"the agent {name!r} is installed already; choose another name")

    def register(make: MakeT) -> MakeT:
        before = _decorated.get(name, make)
        # A class that is defined anew, as in a notebook, takes the place of the former one.
        if (before.__module__, before.__qualname__) != (make.__module__, make.__qualname__):
            raise ValueError(f"the agent {name!r} is registered already, by {before.__qualname__}; choose another name")
        _decorated[name] = make
        return make

    return register


def agent_names() -> list[str]:
    """Returns the registered names, in alphabetical order."""
    return sorted({*_decorated, *_installed()})


def agent_maker(name: str) -> MakeAgent:
    """Returns what makes the agent of a registered name or of package.module:Class, usually its class.

    Raises:
        ValueError: there is no such agent; the message says what there is.
    """
    if name in _decorated:
        return _decorated[name]
    if (entry := _installed().get(name)) is not None:
        make: MakeAgent = entry.load()
        return make
    if ":" not in name:
        if os.sep in name:
            raise ValueError(
                f"there is no folder '{name}', and no agent of this name; docs/bench.md says how to name a model"
            )
        names = agent_names()
        known = f"; known are {', '.join(names)}, run folders and package.module:Class"
        raise ValueError(f"there is no agent {name!r}{did_you_mean(name, names, known)}")
    found = import_named(name)
    if isinstance(found, Agent) and not isinstance(found, type):  # an agent rather than its class
        return lambda: found
    if not callable(found):
        raise ValueError(f"'{name}' is neither an agent nor a class of agents")
    return found  # type: ignore[no-any-return]  # `load_agent` looks at what it makes


def load_agent(name: str | os.PathLike[str], **keywords: Any) -> Agent:
    """Returns the agent that a name stands for; registered names come before folders, so write ./NAME for those.

    Args:
        name: a registered name, package.module:Class, or a folder: one that an agent saved, a run of
            `gfn train`, or a model.
        keywords: for the class; a folder that an agent saved takes none.

    Raises:
        ValueError: there is no such agent; the message says what there is.
    """
    name = os.fspath(name)
    folder = Path(name)
    if name in agent_names() or not folder.exists():
        agent = _made(name, agent_maker(name), keywords)
    elif is_model_folder(folder) and not (folder / AGENT_FILE).is_file():
        agent = agent_maker("default")(model=folder, **keywords)
    elif keywords:
        raise ValueError(f"'{name}' is an agent as it was saved and takes no keywords, got {', '.join(keywords)}")
    else:
        agent = saved_class(folder).load(folder)  # type: ignore[attr-defined]  # it has one, see there
    if not isinstance(agent, Agent):
        raise ValueError(f"'{name}' is no agent: what it makes has no method act")
    return agent


def _made(name: str, make: MakeAgent, keywords: Mapping[str, Any]) -> Agent:
    try:
        inspect.signature(make).bind(**keywords)
    except TypeError as error:
        remedy = (
            "a plain function of observation, actions and rng becomes an agent by the decorator "
            "gfn_envs.agents.FunctionAgent"
            if inspect.isfunction(make)
            else "a class of agents is made without arguments, or with the options that a suite gives"
        )
        raise ValueError(f"'{name}' cannot be made: {error}; {remedy}") from None
    except ValueError:  # no signature can be read: it is tried
        pass
    return make(**keywords)


def import_named(name: str) -> Any:
    """Returns what package.module:Name stands for; modules of the working folder are found too.

    Raises:
        ValueError: there is no such module, or nothing of that name in it.
    """
    look_in_working_folder()
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"'{name}' cannot be imported: {error}") from None


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=AGENTS_GROUP)}


# -- folders ---------------------------------------------------------------------------------------
def write_agent_file(folder: str | os.PathLike[str], agent: Agent, values: Mapping[str, Any]) -> None:
    """Writes `agent.json`: the agent's class and JSON values of its own, which its `load` reads.

    Args:
        values: by name; of what is no JSON value, those that `gfn_envs.files.json_values` knows can be among them.

    Raises:
        ValueError: a value is not one of JSON.
    """
    try:
        text = json.dumps({"class": class_name(type(agent)), **json_values(values)}, indent=1)
    except TypeError as error:
        raise ValueError(f"{type(agent).__name__} cannot be saved as JSON: {error}") from None
    write_whole(Path(folder) / AGENT_FILE, text)


def is_model_folder(folder: Path) -> bool:
    """Says whether a folder holds a language model, or an adapter of one; the agent "default" plays it."""
    return any((folder / file).is_file() for file in _MODEL_FILES)


def class_name(kind: type) -> str:
    """Returns package.module:Class of a class."""
    return f"{kind.__module__}:{kind.__qualname__}"


def read_agent_file(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what `write_agent_file` wrote.

    Raises:
        ValueError: there is no such file in the folder, or it is damaged.
    """
    file = Path(folder) / AGENT_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"'{folder}' is not a run or agent folder: it has no {AGENT_FILE}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{file}' is damaged: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"'{file}' is damaged: it must hold a JSON object")
    return values


def saved_class(folder: str | os.PathLike[str]) -> type[Agent]:
    """Returns the class whose `load` reads a folder; the module's docstring says what is imported for it.

    Raises:
        ValueError: the folder names no class of agents that may be imported.
    """
    name = read_agent_file(folder).get("class", _UNNAMED)
    module, _, attribute = name.partition(":") if isinstance(name, str) else ("", "", "")
    providers = {entry.module.partition(".")[0] for entry in _installed().values()}
    if module not in sys.modules and module.partition(".")[0] not in providers:
        raise ValueError(
            f"'{folder}' was saved by {name!r}, which is of no installed package with agents (entry-point group "
            f"{AGENTS_GROUP}); install that package, or load it in a module of your own, as in "
            f"agent = {attribute or 'Class'}.load('{folder}'), and name it as module:agent"
        )
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"'{folder}' was saved by {name!r}, which cannot be imported: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Agent) and callable(getattr(found, "load", None))):
        raise ValueError(f"'{folder}' was saved by {name!r}, which is no class of agents with act and load")
    return found
