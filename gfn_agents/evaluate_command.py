"""The subcommand that scores an agent on a family of problems: evaluate."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping
from json import dumps
from pathlib import Path
from typing import Any

from gfn_envs.cli import (
    CommandError,
    check_at_least,
    listed_problems,
    open_env,
    parse_env_kwargs,
    print_json,
    print_table,
    progress,
)
from gfn_envs.evaluation_results import Evaluation, ShownScore, shown_scores
from gfn_envs.making import make_text_env
from gfn_envs.metrics import Estimate
from gfn_envs.rollout import Agent
from gfn_envs.task import Task

_DEFAULT_K = 20


def evaluate(
    agent: str,
    env: str,
    /,
    problems: Path | None = None,
    samples: int = 64,
    k: int | None = None,
    split: str | None = None,
    limit: int | None = None,
    exact: bool = False,
    beta: float = 1.0,
    seed: int = 0,
    env_kwargs: str = "{}",
    output: Path | None = None,
    json: bool = False,
) -> None:
    """Score an agent on problems, every score beside its chance and its ceiling.

    Args:
        agent: run folder, model folder, "default", a registered name such as "uniform", or
            package.module:Class.
        env: id of the environment.
        problems: problem file instead of the environment's family.
        samples: episodes on each problem.
        k: for pass@k, at most --samples; default 20, or --samples if that is less.
        split: train, validation, test or all; default test, or all of a problem file.
        limit: evaluate only so many problems, drawn with a fixed seed.
        exact: also ask the agent at every state: its exact distance to the target, without sampling.
        beta: the exact target is proportional to R^beta.
        seed: of sampling and of the intervals.
        env_kwargs: keywords of gym.make as a JSON object.
        output: also write everything into this new folder, of which `gfn report` makes a page with plots.
        json: print one JSON document.
    """
    import numpy as np

    from gfn_envs.agents import costs_of, load_agent
    from gfn_envs.evaluation import evaluate_agent
    from gfn_envs.files import check_free, write_folder
    from gfn_envs.stochastic import hides_fields
    from gfn_envs.versions import versions

    check_at_least(1, samples=samples)
    check_at_least(0, seed=seed)
    if k is not None and not 1 <= k <= samples:
        raise CommandError(f"--k must be from 1 to --samples, got {k} and {samples} samples")
    k = min(_DEFAULT_K, samples) if k is None else k
    if output is not None:
        check_free(output)
    split = split or ("test" if problems is None else "all")
    keywords = parse_env_kwargs(env_kwargs)
    made = open_env(env, keywords, problems, split)
    chosen = listed_problems(made, limit)
    player = load_agent(agent)
    _warn_of_training(agent, player, env, made.task, keywords, beta)
    found = evaluate_agent(made.task, player, chosen, samples, k, np.random.default_rng(seed), exact, beta)
    costs = costs_of(player)
    settings = {
        "env_kwargs": keywords,
        "problems": None if problems is None else str(problems),
        "split": split,
        "limit": limit,
        **({"costs": costs} if costs else {}),
        "versions": versions(),
    }
    evaluated = tuple(progress(found, len(chosen), "evaluating"))
    evaluation = Evaluation(agent, env, samples, k, seed, beta, exact, settings, evaluated)
    if hides_fields(made.task):
        sys.stderr.write(
            "note: texts hide what exact sampler and optimum know, so that perhaps nobody who reads them can reach "
            "these\n"
        )
    if json:
        print_json(evaluation.to_json())
    else:
        _print(evaluation)
    if output is None:
        return
    write_folder(output, evaluation.files())  # a full disk does not take the table away
    if not json:
        sys.stdout.write(
            f"All of it is in '{output}'; next, for a page with plots: {shlex.join(['gfn', 'report', str(output)])}\n"
        )


def _warn_of_training(
    agent: str, player: Agent, env: str, task: Task[Any, Any], keywords: Mapping[str, Any], beta: float
) -> None:
    """Says so in one sentence each if an agent was not trained, or its folder tells that it was on something else."""
    from gfn_envs.agents import AGENT_FILE, TrainableAgent, read_agent_file

    if isinstance(player, TrainableAgent) and not Path(agent).is_dir():
        sys.stderr.write(
            f"note: '{agent}' is scored as it is before any training; gfn bench trains it, and the folder of a trained "
            "one names that one\n"
        )
    if not (Path(agent) / AGENT_FILE).is_file():
        return
    described = read_agent_file(agent)
    trained_on, notes = described.get("env_id"), []
    if trained_on is None:
        return
    if _bare(str(trained_on)) != _bare(env):
        notes.append(f"was trained on {trained_on} and is evaluated on {env}")
    else:
        given = {n: v for n, v in dict(described.get("env_kwargs", {})).items() if n not in ("problems", "split")}
        if given != keywords and make_text_env(env, given).task != task:  # defaults may be written out
            notes.append(f"was trained with --env-kwargs '{dumps(given)}' and is evaluated with '{dumps(keywords)}'")
    towards = dict(described.get("config", {})).get("beta", beta)
    if towards != beta:
        notes.append(f"was trained with --beta {towards:g} and is evaluated with {beta:g}")
    sys.stderr.write("".join(f"note: '{agent}' {note}\n" for note in notes))


def _bare(env_id: str) -> str:
    """Returns an environment's id without the module that registers it."""
    return env_id.rpartition(":")[2]


# -- tables ----------------------------------------------------------------------------------------
def _print(evaluation: Evaluation) -> None:
    """Prints the scores for people: the agent's, and beside each what chance, exact sampler and optimum have."""
    estimates, count = evaluation.estimates(), len(evaluation.problems)
    known = [score for score in shown_scores(estimates) if _known(estimates, score.name)]
    print_table(
        f"{evaluation.agent} on {evaluation.env}: {count} problems, {evaluation.samples} samples of each",
        ["score", "agent", "95 % interval", "chance", "exact sampler", "optimum"],
        [_row(evaluation, score, estimates) for score in known if score.brief],
    )
    if evaluation.kinds:
        shown = [s for s in known if s.name in ("success_at_1", "pass_at_k", "coverage")]
        columns = [text for s in shown for text in (evaluation.text(s)[0], "chance")]
        rows = []
        for kind in evaluation.kinds:
            own = evaluation.estimates(kind)
            count = sum(problem.kind == kind for problem in evaluation.problems)
            rows.append([kind, str(count), *(_cell(own, name) for s in shown for name in (s.name, s.chance))])
        print_table("by kind of problem", ["kind", "problems", *columns], rows)
    sys.stdout.write("".join(f"{remark}\n" for remark in evaluation.remarks))


def _row(evaluation: Evaluation, score: ShownScore, estimates: dict[str, Estimate]) -> list[str]:
    estimate = estimates[score.name]
    low, high = f"{estimate.low:.4f}", f"{estimate.high:.4f}"
    interval = f"{low} to {high}" if low != high else ""
    yardsticks = [_cell(estimates, name) for name in (score.chance, score.target, score.best)]
    return [evaluation.text(score)[0], _cell(estimates, score.name), interval, *yardsticks]


def _cell(estimates: dict[str, Estimate], name: str) -> str:
    return f"{estimates[name].value:.4f}" if _known(estimates, name) else ""


def _known(estimates: dict[str, Estimate], name: str) -> bool:
    return name in estimates and math.isfinite(estimates[name].value)
