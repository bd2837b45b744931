"""What a benchmark run says: scores with intervals, comparisons, profiles, ranks, what was found.

`summarise_run` is a function of the cells of a run folder alone, with a fixed generator for all
intervals, so the same folder always gives the same report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from baselines.arena_results import ArenaResults, arena_results
from baselines.bench import Run
from baselines.bench_exhibits import is_listed
from baselines.bench_tables import Tables
from baselines.bench_verdicts import Verdict, verdicts
from baselines.cells import CellResult, Failure, key_of
from baselines.statistics import normalised, rank_distribution
from baselines.suites import Quoted
from gfn_envs.evaluation import SIMULATED_PLAYS

_ALIKE = (
    "Every agent had the same budget.",
    "Costs are of the agent's own process; environment steps and tokens are what the agent says of itself.",
)
"""What readers should know of every run."""
NORMALISED_SUCCESS = "normalised success"
_EARLIER = "An earlier result: tuned options or the embedded policy changed since; gfn bench runs it again."


@dataclass(frozen=True, slots=True)
class Ranks:
    """How often each agent takes each rank when one problem is drawn per environment.

    Attributes:
        score: what decides the rank.
        shares: for each agent, the share of each rank, best rank first.
    """

    score: str
    shares: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class BenchResults:
    """What the report of a run shows.

    Attributes:
        verdicts: where the suite's focus is the best agent and where it is not.
        failures: sentences about the cells without a result.
        versions: what the cells were run with; all that there were, where these differ.
        suite_text: the suite file.
    """

    title: str
    description: str
    commands: tuple[str, ...]
    seeds: tuple[int, ...]
    arenas: tuple[ArenaResults, ...]
    ranks: tuple[Ranks, ...]
    verdicts: tuple[Verdict, ...]
    failures: tuple[str, ...]
    quoted: tuple[Quoted, ...]
    notes: tuple[str, ...]
    versions: dict[str, str]
    suite_text: str

    def to_json(self) -> dict[str, Any]:
        """Returns everything as JSON values; what is not finite is for `finite_json` to replace."""
        return asdict(self)


def summarise_run(run: Run) -> BenchResults:
    """Returns what a run says; cells without a result are left out of the scores and named.

    Raises:
        ValueError: no cell has a result.
    """
    if not any(isinstance(outcome, CellResult) for outcome in run.outcomes):
        changed = sorted({name for names in run.changed for name in names})
        since = f" with {', '.join(changed)} as changed since" if changed else ""
        if run.outcomes and all(isinstance(outcome, Failure) for outcome in run.outcomes):
            raise ValueError(f"all cells of the suite {run.suite.name!r} failed, so there is nothing to report")
        raise ValueError(
            f"no cell of the suite {run.suite.name!r} has a result yet{since}; run gfn bench until one is finished"
        )
    tables = [Tables.of(run, arena) for arena in run.suite.environments]
    arenas = tuple(arena_results(table) for table in tables if table.agents)
    return BenchResults(
        title=f"Benchmark: {run.suite.name}",
        description=run.suite.description,
        commands=run.commands,
        seeds=run.seeds,
        arenas=arenas,
        ranks=rank_agents(tables),
        verdicts=tuple(verdict for arena in arenas for verdict in verdicts(arena, run.suite.focus)),
        failures=_failures(run),
        quoted=run.suite.quoted,
        notes=(*_ALIKE, *filter(None, map(simulated_chance, tables)), *_notes(run)),
        versions=_versions(run),
        suite_text=run.suite.text,
    )


def simulated_chance(tables: Tables) -> str:
    """Returns a sentence about problems whose chance is not exact, empty if it is of all."""
    count = sum(not is_listed(problem) for problem in tables.problems)
    return (
        f"{tables.name}: {count} of {len(tables.problems)} problems have too many states to list; their chance is from "
        f"{SIMULATED_PLAYS} random plays."
        if count
        else ""
    )


# -- over all environments -------------------------------------------------------------------------
def rank_agents(tables: Sequence[Tables]) -> tuple[Ranks, ...]:
    """Returns the ranks of the agents that have every cell, by success and by coverage."""
    played = [table for table in tables if table.agents]
    agents = [
        agent
        for agent in (played[0].agents if played else ())
        if all(len(table.cells.get(agent, {})) == len(table.seeds) for table in played)
    ]
    found = []
    for label, name in ((NORMALISED_SUCCESS, "success_at_1"), ("coverage", "coverage")):
        families, weights = [], []
        for table in played:
            stack = np.array([table.table(agent, name) for agent in agents])
            if name == "success_at_1":
                chance, best = table.yardstick("chance"), table.yardstick("optimum")
                # On a problem where chance is nearly the best there is, one failure would outweigh all others.
                stack = np.array([np.maximum(normalised(own, chance, best), -1.0) for own in stack])
            known = ~np.isnan(stack).any(axis=(0, 1)) if len(agents) > 1 else np.zeros(0, bool)
            if known.any():
                families.append(stack[:, :, known])
                weights.append(table.weights[known])
        if families:
            shares = rank_distribution(families, weights, np.random.default_rng(0))
            rows = {agent: tuple(row) for agent, row in zip(agents, shares.tolist(), strict=True)}
            found.append(Ranks(label, rows))
    return tuple(found)


def _failures(run: Run) -> tuple[str, ...]:
    """Returns one sentence a failed cell, and one for the agents of an environment that miss the same seeds."""
    failed = [
        f"{cell.label}: {outcome.error} (failures/{cell.key}.txt)"
        for cell, outcome in zip(run.cells, run.outcomes, strict=True)
        if isinstance(outcome, Failure)
    ]
    agents = {cell.contestant.name for cell in run.cells}
    waiting: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for cell, outcome, changed in zip(run.cells, run.outcomes, run.changed, strict=True):
        if outcome is None:
            waiting.setdefault((cell.arena.name, cell.contestant.name, changed), []).append(str(cell.seed))
    alike: dict[tuple[str, str], list[str]] = {}
    for (arena, agent, changed), seeds in waiting.items():
        since = f", as {', '.join(changed)} changed since" if changed else ""
        alike.setdefault((arena, f"{', '.join(seeds)}{since}"), []).append(agent)
    unfinished = (
        f"{arena}, {'all agents' if set(missing) == agents else ', '.join(missing)}: not run yet with seed {seeds}"
        for (arena, seeds), missing in alike.items()
    )
    return (*failed, *unfinished)


def _notes(run: Run) -> tuple[str, ...]:
    """Returns what readers should know, each sentence once with the agents that it is about."""
    about: dict[tuple[str, str], list[str]] = {}
    for cell, outcome in zip(run.cells, run.outcomes, strict=True):
        if not isinstance(outcome, CellResult):
            continue
        for note in (*outcome.notes, *([_EARLIER] if key_of(outcome.description) != cell.key else [])):
            agents = about.setdefault((cell.arena.name, note), [])
            if cell.contestant.name not in agents:
                agents.append(cell.contestant.name)
    everybody = len(run.suite.agents)
    return tuple(
        f"{arena}: {note}" if len(agents) == everybody else f"{arena}, {', '.join(agents)}: {note}"
        for (arena, note), agents in about.items()
    )


def _versions(run: Run) -> dict[str, str]:
    """Returns the versions that the cells were run with: a folder is filled by runs that may be months apart."""
    found: dict[str, list[str]] = {}
    for outcome in run.outcomes:
        for name, version in outcome.versions.items() if isinstance(outcome, CellResult) else ():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return {name: " and ".join(versions) for name, versions in found.items()}
