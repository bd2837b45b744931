"""Evaluations of several agents on the same problems, held against each other.

What `gfn evaluate --output` wrote of each agent becomes the tables of one environment, so that the
report of a benchmark shows it: scores beside the yardsticks, paired differences, profiles, ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines.arena_results import arena_results
from baselines.bench_results import BenchResults, rank_agents, simulated_chance
from baselines.bench_tables import Tables
from baselines.bench_verdicts import leaders
from baselines.cells import CellResult, ProblemResult
from baselines.results import CEILING, CHANCE
from gfn_envs.evaluation_results import EVALUATION_FILE, Evaluation

_DESCRIPTION = "What gfn evaluate wrote of each agent."
_COSTS = "Costs are what an agent says of its own training."


def read_agents(words: Sequence[str]) -> dict[str, list[Evaluation]]:
    """Returns the evaluations of each agent by its name.

    Args:
        words: each a folder that `gfn evaluate --output` wrote, or NAME=FOLDER,FOLDER,... for several trainings of one
            agent. A folder is called by its last part, or as it is written where two end alike.

    Raises:
        ValueError: there are fewer than two, a name is taken, or a folder holds no evaluation.
    """
    if len(words) < 2:
        raise ValueError("a comparison needs at least two agents: gfn compare FOLDER FOLDER")
    parts = {word: Path(word).resolve().name for word in words if _is_folder(word)}
    alike = len(set(parts.values())) < len(parts)
    agents: dict[str, list[Evaluation]] = {}
    for word in words:
        name, _, listed = (word if alike else parts[word], "=", word) if word in parts else word.partition("=")
        if not name.strip():
            raise ValueError(f"{word!r} has no name before '='; write NAME=FOLDER, or the folder alone")
        if name in (CHANCE, CEILING):
            raise ValueError(f"{name!r} is the name of a yardstick; call the agent otherwise: NAME={listed}")
        if name in agents:
            raise ValueError(f"two agents are called {name!r}; name them apart: NAME={listed}")
        folders = [word] if word in parts else listed.split(",")
        if len({Path(folder).resolve() for folder in folders}) < len(folders):
            raise ValueError(f"{name!r} names a folder twice, and one training would count for two")
        agents[name] = [_read(Path(folder)) for folder in folders]
    return agents


def _is_folder(word: str) -> bool:
    return "=" not in word or Path(word).is_dir()


def _read(folder: Path) -> Evaluation:
    file = folder / EVALUATION_FILE
    if not file.is_file():
        raise ValueError(f"'{folder}' has no {EVALUATION_FILE}; gfn evaluate --output writes such a folder")
    return Evaluation.load(file)


def compare(agents: Mapping[str, Sequence[Evaluation]]) -> BenchResults:
    """Returns what a report shows of agents that played the same problems.

    Args:
        agents: by name the evaluations of an agent, one for each training.

    Raises:
        ValueError: two were evaluated on other problems, or otherwise not alike, or trained unequally often.
    """
    (first_name, (first, *_)), *_ = agents.items()
    for name, own in agents.items():
        if len(own) != len(agents[first_name]):
            raise ValueError(
                f"{first_name!r} comes with {len(agents[first_name])} and {name!r} with {len(own)}: a comparison needs "
                "equally many evaluations of each agent"
            )
        for evaluation in own:
            _check_alike(first_name, first, name, evaluation)
    order = [problem.problem_id for problem in first.problems]
    tables = Tables(
        name=first.env.rpartition("/")[2],
        env_id=first.env,
        settings=first.settings.get("env_kwargs", {}),
        k=first.k,
        samples=first.samples,
        seeds=tuple(range(len(agents[first_name]))),
        about={
            name: ", ".join(dict.fromkeys(one.agent for one in own if one.agent != name))
            for name, own in agents.items()
        },
        cells={name: {seed: _result(one, order) for seed, one in enumerate(own)} for name, own in agents.items()},
    )
    arena = arena_results(tables)
    costs = _COSTS if any(evaluation.costs for own in agents.values() for evaluation in own) else ""
    return BenchResults(
        title=f"{', '.join(agents)} on {tables.name}",
        description=_DESCRIPTION,
        commands=(),
        seeds=tables.seeds,
        arenas=(arena,),
        ranks=rank_agents([tables]),
        verdicts=tuple(leaders(arena)),
        failures=(),
        quoted=(),
        notes=tuple(filter(None, (costs, simulated_chance(tables)))),
        versions=first.settings.get("versions", {}),
        suite_text="",
    )


def _result(evaluation: Evaluation, order: Sequence[str]) -> CellResult:
    """Returns an evaluation as the result of a benchmark's cell, its problems in the given order."""
    found = {problem.problem_id: ProblemResult.of(problem) for problem in evaluation.problems}
    return CellResult({}, tuple(found[problem_id] for problem_id in order), evaluation.costs, (), (), {})


def _check_alike(first_name: str, first: Evaluation, name: str, evaluation: Evaluation) -> None:
    for what in ("env", "env_kwargs", "samples", "k", "beta"):
        own, other = (_setting(one, what) for one in (first, evaluation))
        if own != other:
            raise ValueError(f"{first_name!r} was evaluated with {what}={own} and {name!r} with {what}={other}")
    weights, own_weights = ({p.problem_id: p.weight for p in one.problems} for one in (first, evaluation))
    asked, others = weights.keys(), own_weights.keys()
    if asked == others and weights != own_weights:
        raise ValueError(f"{first_name!r} and {name!r} were evaluated with other weights of the same problems")
    if asked != others:
        raise ValueError(
            f"{first_name!r} was evaluated on {len(asked)} problems and {name!r} on {len(others)}, of which "
            f"{len(asked & others)} are the same; evaluate both with the same --problems, --split and --limit"
        )


def _setting(evaluation: Evaluation, name: str) -> Any:
    return evaluation.settings.get(name, {}) if name == "env_kwargs" else getattr(evaluation, name)
