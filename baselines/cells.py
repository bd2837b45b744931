"""One cell of a benchmark: one agent in one environment with one seed.

`run_cell` is a pure function of a `Cell`: it trains the agent, plays the evaluation problems, and returns
plain data. A cell is named by the hash of what decides its result, so equal cells of any two suites share
a name.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from baselines.suites import Arena, Contestant, Problems
from baselines.tuned import POLICY_METHODS, tuned
from gfn_agents.default_policy import default_policy_digest
from gfn_envs.agents import Budget, TrainableAgent, check_can_be_kept, costs_of, curve_of, load_agent
from gfn_envs.env import TextEnv
from gfn_envs.evaluation import ProblemEvaluation, evaluate_agent
from gfn_envs.files import content_digest, finite_json, number_from_json, write_whole
from gfn_envs.imports import source_file
from gfn_envs.making import make_text_env
from gfn_envs.problems import ProblemSet
from gfn_envs.rollout import Agent, tells_probabilities
from gfn_envs.stochastic import hides_fields
from gfn_envs.task import Task
from gfn_envs.versions import versions

_TRAINING_FILE = "training.json"
_POLICY_AGENTS = ("default", "untrained", "sft", *POLICY_METHODS)
"""Agents that are the embedded policy, or start from it, unless they are given another model."""
_MEASURED = ("seconds", "cpu_seconds")
"""What an agent need not say of itself, because it is measured here."""
_ASKED = ("format", "arena", "contestant", "seed")
"""Parts of a description that a suite decides."""
_FORMAT = 1
"""Number of the layout of a cell's file; a new one makes old results be run again."""


@dataclass(frozen=True)
class Cell:
    """One agent in one environment with one seed."""

    arena: Arena
    contestant: Contestant
    seed: int

    @cached_property
    def key(self) -> str:
        """What names its files: the hash of everything that decides the result, and not of shown names."""
        return key_of(self.description)

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides the result, as JSON values."""
        described = asdict(self)
        described["arena"].pop("name")
        described["contestant"].pop("name")
        values: dict[str, Any] = json.loads(json.dumps({"format": _FORMAT, **described, "tuned": self._tuned}))
        return {**values, **self._embedded_policy, **self._files}

    @property
    def _tuned(self) -> dict[str, dict[str, Any]]:
        """Options that the suite does not name and `baselines.tuned` gives, by method."""
        method, env_id = self.contestant.agent, self.arena.id
        own = tuned(method, env_id)
        warm = {**own, **self.contestant.options}.get("warm_start")
        return {method: own, **({"sft": tuned("sft", env_id)} if warm else {})}

    @property
    def _embedded_policy(self) -> dict[str, str]:
        """What tells versions of the embedded policy apart, if the agent starts from it."""
        agent, model = self.contestant.agent, self.contestant.options.get("model", "default")
        starts = agent in _POLICY_AGENTS and model == "default"
        return {"embedded_policy": default_policy_digest()} if starts else {}

    @property
    def _files(self) -> dict[str, dict[str, str]]:
        """What tells versions of the named files apart: problems, a model in a folder, modules of the user's own."""
        model = self.contestant.options.get("model")
        named = [self.arena.train.file, self.arena.evaluation.file, model if isinstance(model, str) else None]
        places = {name: Path(name) for name in named if name}
        modules = [name.rpartition(":")[0] for name in (self.contestant.agent, self.arena.id) if ":" in name]
        places |= {module: file for module in modules if (file := source_file(module))}
        digests = {name: digest for name, place in places.items() if (digest := content_digest(place))}
        return {"files": digests} if digests else {}

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.arena.name}, {self.contestant.name}, seed {self.seed}"

    @classmethod
    def from_description(cls, data: Mapping[str, Any]) -> Cell:
        """Returns the cell of a description, its ids in the place of names."""
        arena, contestant = dict(data["arena"]), data["contestant"]
        problems = {part: Problems(**arena.pop(part)) for part in ("train", "evaluation")}
        return cls(
            Arena(name=arena["id"], **{**arena, **problems, "budget": Budget(**arena["budget"])}),
            Contestant(name=contestant["agent"], **contestant),
            data["seed"],
        )


def key_of(description: Mapping[str, Any]) -> str:
    """Returns the hash of a description in which what a problem file holds stands for its place.

    So a project can be moved, and keeps its results.
    """
    read, arena = description.get("files", {}), dict(description["arena"])
    files = {arena[part]["file"] for part in ("train", "evaluation")}
    for part in ("train", "evaluation"):
        arena[part] = {**arena[part], "file": read.get(arena[part]["file"], arena[part]["file"])}
    others = {name: digest for name, digest in read.items() if name not in files}
    rest = {name: value for name, value in description.items() if name != "files"}
    text = json.dumps({**rest, "arena": arena, **({"files": others} if others else {})}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def question(description: Mapping[str, Any]) -> str:
    """Returns what a description asks for, whatever the tuned options and the embedded policy were then."""
    return json.dumps([description.get(name) for name in _ASKED], sort_keys=True)


def changed_files(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """Returns what two descriptions read otherwise, as far as the files of the first are still there."""
    read = then.get("files", {})
    return [name for name, digest in now.get("files", {}).items() if read.get(name) != digest]


@dataclass(frozen=True, slots=True)
class ProblemResult:
    """What one agent did on one problem, as `gfn_envs.evaluation.ProblemEvaluation` without the episodes."""

    problem_id: str
    kind: str
    weight: float
    scores: dict[str, float]
    solutions: dict[str, dict[str, float]]

    @classmethod
    def of(cls, one: ProblemEvaluation) -> ProblemResult:
        """Returns an evaluation without its episodes."""
        return cls(one.problem_id, one.kind, one.weight, one.scores, one.solutions)


@dataclass(frozen=True, slots=True)
class CellResult:
    """What came out of one cell.

    Attributes:
        description: what was run.
        problems: one entry an evaluation problem.
        costs: by name with unit; what the agent says of itself (environment_steps, tokens) and what was measured.
        curve: rows of the learning curve, if the agent keeps one.
        notes: sentences for the reader.
        versions: of the packages and the machine.
    """

    description: dict[str, Any]
    problems: tuple[ProblemResult, ...]
    costs: dict[str, float]
    curve: tuple[dict[str, float], ...]
    notes: tuple[str, ...]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values; a number that is not finite becomes null."""
        values: dict[str, Any] = finite_json(asdict(self))
        return values

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CellResult:
        """Returns the result that `to_json` wrote."""
        problems = tuple(
            ProblemResult(**{**problem, "scores": _numbers(problem["scores"])}) for problem in data["problems"]
        )
        curve = tuple(map(_numbers, data["curve"]))
        notes = tuple(data["notes"])
        return cls(data["description"], problems, _numbers(data["costs"]), curve, notes, data["versions"])


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a cell has no result.

    Attributes:
        error: one sentence.
        traceback: what a programmer reads.
    """

    error: str
    traceback: str = ""


Outcome = CellResult | Failure


# -- one cell --------------------------------------------------------------------------------------
def run_cell(cell: Cell, agents: Path | None = None) -> CellResult:
    """Trains, evaluates and returns everything that the report needs.

    Args:
        cell: what to run.
        agents: folder in which trained agents are kept; a cell that was killed while it was evaluated
            goes on from there. None keeps nothing.
    """
    agent, costs, curve = _trained(cell, agents)
    env, problems = evaluation_problems(cell.arena)
    started = _Clock()
    exact = cell.arena.exact and tells_probabilities(agent)
    rng = np.random.default_rng([cell.arena.evaluation.seed, cell.seed])
    found = tuple(
        ProblemResult.of(one)
        for one in evaluate_agent(env.task, agent, problems, cell.arena.samples, cell.arena.k, rng, exact)
    )
    costs = _with_peaks(costs, started.spent("evaluation"))
    notes = _notes(cell, env.task, problems, costs, found)
    return CellResult(cell.description, found, costs, curve, notes, versions())


def _trained(cell: Cell, agents: Path | None) -> tuple[Agent, dict[str, float], tuple[dict[str, float], ...]]:
    """Returns the agent, what its training cost, and its learning curve."""
    agent = load_agent(cell.contestant.agent, **cell.contestant.options)
    if not isinstance(agent, TrainableAgent):
        check_can_be_kept(agent)
        return agent, {}, ()
    home = agents / cell.key if agents else None
    if home is not None and (home / _TRAINING_FILE).is_file():
        training = json.loads((home / _TRAINING_FILE).read_text(encoding="utf-8"))
        return type(agent).load(home / "agent"), _numbers(training["costs"]), tuple(map(_numbers, training["curve"]))
    started = _Clock()
    agent.learn(cell.arena.id, cell.arena.budget, cell.seed, training_keywords(cell.arena))
    said = {name: value for name, value in costs_of(agent).items() if name not in _MEASURED}
    costs = {**said, **started.spent("training")}
    curve = curve_of(agent)
    if home is not None:
        agent.save(home / "agent")
        training = {"costs": costs, "curve": curve}
        write_whole(home / _TRAINING_FILE, json.dumps(finite_json(training)))  # last: it says that the rest is there
    return agent, costs, curve


def training_keywords(arena: Arena) -> dict[str, Any]:
    """Returns the keywords of `gym.make` for the training problems: JSON values, so that agents can keep them."""
    chosen = arena.train
    keywords = {**arena.kwargs, "split": chosen.split, **({"problems": chosen.file} if chosen.file else {})}
    if chosen.count is None:
        return keywords
    drawn = make_text_env(arena.id, keywords).problems.take(chosen.count, np.random.default_rng(chosen.seed))
    return {**arena.kwargs, "split": "all", "problems": drawn.to_json()}


def evaluation_problems(arena: Arena) -> tuple[TextEnv[Any, Any], ProblemSet[Any]]:
    """Returns the environment and the listed problems that every agent is scored on.

    Raises:
        ValueError: the environment cannot be made, or its family is too large to list and no count is given.
    """
    chosen = arena.evaluation
    problems = {"problems": chosen.file} if chosen.file else {}
    try:
        env = make_text_env(arena.id, {**arena.kwargs, "split": chosen.split, **problems})
    except Exception as error:  # whatever gym.make raises for what the file says
        raise ValueError(f"environment {arena.name!r} cannot be made: {' '.join(str(error).split())}") from error
    if chosen.count is not None:
        return env, env.problems.take(chosen.count, np.random.default_rng(chosen.seed))
    if not isinstance(env.problems, ProblemSet):
        raise ValueError(f"environment {arena.name!r} has too many problems to list; give evaluation: {{count: 20}}")
    return env, env.problems


def _notes(
    cell: Cell,
    task: Task[Any, Any],
    problems: ProblemSet[Any],
    costs: Mapping[str, float],
    found: Sequence[ProblemResult],
) -> tuple[str, ...]:
    """Returns what a reader should know: a ceiling out of reach, known problems, what was not kept to."""
    notes = []
    if hides_fields(task):
        notes.append("Texts hide what the ceiling knows, so that perhaps nobody who reads them can reach it.")
    training = make_text_env(cell.arena.id, training_keywords(cell.arena)).problems
    if isinstance(training, ProblemSet):
        known = len({problem.id for problem in training} & {problem.id for problem in problems})
        if known:
            notes.append(f"{known} of the {len(problems)} evaluation problems are training problems too.")
    if (beta := cell.contestant.options.get("beta", 1)) != 1:
        notes.append(f"It was trained towards R^{beta}, and its distance is to R.")
    limit, used = cell.arena.budget.environment_steps, costs.get("environment_steps", 0.0)
    if limit is not None and used > 1.1 * limit:
        notes.append(f"It used {used:,.0f} environment steps where the budget is {limit:,}.")
    if illegal := sum(one.scores["illegal_answers"] for one in found) / len(found):
        notes.append(
            f"{illegal:.1%} of its attempts with seed {cell.seed} ended as failures because an answer named no legal "
            "action."
        )
    return tuple(notes)


def _with_peaks(training: dict[str, float], evaluation: dict[str, float]) -> dict[str, float]:
    """Returns both costs; a cell that went on in another process has the larger of the two peaks of memory."""
    both = [name for name in ("peak_memory", "peak_gpu_memory") if name in training and name in evaluation]
    return {**training, **evaluation, **{name: max(training[name], evaluation[name]) for name in both}}


class _Clock:
    """Measures what this process spends from now on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def spent(self, what: str) -> dict[str, float]:
        """Returns wall and processor seconds, and the peak of memory (bytes) of the process so far."""
        seconds = {
            f"{what}_seconds": time.perf_counter() - self._wall,
            f"{what}_cpu_seconds": time.process_time() - self._cpu,
        }
        return {
            **seconds,
            **_gpu_costs(f"{what}_gpu_seconds", seconds[f"{what}_seconds"]),
            "peak_memory": _peak_memory(),
        }


def _gpu_costs(name: str, seconds: float) -> dict[str, float]:
    """Returns for how long this process held a GPU, and the most memory it had there; nothing without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {name: seconds, "peak_gpu_memory": float(torch.cuda.max_memory_allocated())}


def _peak_memory() -> float:
    """Returns the most memory that this process had, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: number_from_json(value) for name, value in values.items()}
