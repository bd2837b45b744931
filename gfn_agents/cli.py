"""Subcommands that need a policy: train and evaluate."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from gfn_agents.config import TrainConfig, check_config
from gfn_envs.cli import (
    CommandError,
    import_named,
    listed_problems,
    open_env,
    parse_env_kwargs,
    print_json,
    print_table,
    progress,
)

AGENTS_GROUP = "gfn_gym.agents"
_SIMULATED_PLAYS = 300
_EXACT_ONLY = ("n_solutions", "target_coverage", "sampled_distance", "perfect_sampled_distance")
_PROBLEMS_PER_ROLLOUT = 8
"""Problems played side by side in `evaluate`: enough to share prefixes, few enough for a live bar."""


# -- gfn train -------------------------------------------------------------------------------------
def train(
    env: str,
    /,
    output: Path | None = None,
    model: str = "default",
    problems: Path | None = None,
    split: str | None = None,
    env_kwargs: str = "{}",
    resume: bool = False,
    instructions: Path | None = None,
    template: Literal["text", "chat"] = "text",
    few_shot: int = 0,
    config: TrainConfig = TrainConfig(),
    json: bool = False,
) -> None:
    """Train a GFlowNet policy: a language model that finds all good solutions.

    Args:
        env: id of the environment, such as gfn_envs/Game24-v0.
        output: run folder; default runs/ENV-TIME.
        model: model folder, hub name, or "default", the small model that ships with the package.
        problems: problem file to train on instead of the environment's family.
        split: train, validation, test or all; default train, or all of a problem file.
        env_kwargs: keywords of gym.make as a JSON object.
        resume: go on from the last checkpoint of --output.
        instructions: text file put before every observation: rules or worked examples.
        template: plain text, or the tokenizer's chat template.
        few_shot: so many solved training problems are shown in every prompt.
        config: training options.
        json: print one JSON document at the end.
    """
    from gfn_agents.prompts import PromptTemplate

    keywords = _train_keywords(env_kwargs, problems, split)
    folder = output or Path("runs") / f"{env.rsplit('/', 1)[-1]}-{time.strftime('%Y%m%d-%H%M%S')}"
    if resume and output is None:
        raise CommandError("--resume needs --output, the run folder to go on with")
    if not resume and folder.exists() and any(folder.iterdir()):
        raise CommandError(f"'{folder}' is not empty; pass --resume to go on with it, or another --output")
    check_config(config)
    if few_shot < 0:
        raise CommandError(f"--few-shot must be at least 0, got {few_shot}")
    open_env(env, parse_env_kwargs(env_kwargs), problems, split or "all")

    from gfn_agents.agent import GFlowNetAgent

    hide_loading_bars()
    prompts = PromptTemplate(_read_text(instructions) if instructions else "", style=template)
    agent = GFlowNetAgent(env, model, keywords, prompts, folder, config, few_shot)
    if resume:
        agent.resume()
    reports = _learn(agent, folder)
    last = reports[-20:]
    summary = {
        "run": str(folder),
        "env": env,
        "steps": agent.trainer.steps_done,
        "environment_steps": agent.trainer.environment_steps,
        "cpu_seconds": agent.trainer.cpu_seconds,
        "loss": sum(report.loss for report in last) / len(last) if last else None,
        "sampled_success": sum(report.success for report in last) / len(last) if last else None,
        "config": asdict(agent.config),
    }
    if json:
        print_json(summary)
        return
    sys.stdout.write(
        f"{summary['steps']} steps, {summary['environment_steps']} environment steps. The policy is in '{folder}'; "
        f"next: gfn evaluate {folder} {env}\n"
    )


def hide_loading_bars() -> None:
    """Leaves the terminal to the one progress bar that the user waits for."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _train_keywords(env_kwargs: str, problems: Path | None, split: str | None) -> dict[str, Any]:
    keywords = parse_env_kwargs(env_kwargs)
    if problems is not None:
        keywords["problems"] = str(problems.resolve())
    if split is not None:
        keywords["split"] = split
    return keywords


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--instructions '{path}' cannot be read as text: {error}") from None


def _learn(agent: Any, folder: Path) -> list[Any]:
    """Trains with a progress bar, TensorBoard logs and one JSON line a step; returns the reports."""
    from gfn_agents.logs import RunLogs
    from gfn_agents.progress import TrainingBar

    trainer, reports = agent.trainer, []
    folder.mkdir(parents=True, exist_ok=True)
    with (
        RunLogs(folder, first_step=trainer.steps_done + 1) as logs,
        TrainingBar(agent.config.steps, trainer.steps_done) as bar,
        _stop_at_interrupt(trainer),
    ):

        def on_step(report: Any) -> None:
            reports.append(report)
            logs.write(report)
            bar.update(report)

        agent.learn(on_step=on_step)
    if trainer.steps_done < agent.config.steps:
        raise CommandError(
            f"interrupted after step {trainer.steps_done}, which is saved; "
            f"go on with the same command and --resume --output {folder}"
        )
    return reports


@contextmanager
def _stop_at_interrupt(trainer: Any) -> Iterator[None]:
    """Lets Ctrl-C end the run after the step in progress; a second one ends it at once."""

    def stop(number: int, frame: Any) -> None:
        if trainer.stop_requested:
            raise KeyboardInterrupt
        trainer.stop_requested = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# -- gfn evaluate ----------------------------------------------------------------------------------
def evaluate(
    agent: str,
    env: str,
    /,
    problems: Path | None = None,
    samples: int = 64,
    k: int = 20,
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
        k: for pass@k; at most --samples.
        split: train, validation, test or all; default test, or all of a problem file.
        limit: evaluate only so many problems, drawn with a fixed seed.
        exact: also enumerate every problem and report the distance to the exact target.
        beta: the exact target is proportional to R^beta.
        seed: of sampling and of the intervals.
        env_kwargs: keywords of gym.make as a JSON object.
        output: also write the sampled trajectories to this JSON Lines file.
        json: print one JSON document.
    """
    import numpy as np

    from gfn_envs.rollout import rollout, save_trajectories

    if samples < 1:
        raise CommandError(f"--samples must be at least 1, got {samples}")
    if k < 1:
        raise CommandError(f"--k must be at least 1, got {k}")
    k = min(k, samples)
    hide_loading_bars()
    made = open_env(env, parse_env_kwargs(env_kwargs), problems, split or ("test" if problems is None else "all"))
    chosen = listed_problems(made, limit)
    player = resolve_agent(agent)
    rng = np.random.default_rng(seed)
    rows, trajectories = [], []
    groups = [chosen.problems[i : i + _PROBLEMS_PER_ROLLOUT] for i in range(0, len(chosen), _PROBLEMS_PER_ROLLOUT)]
    for group in progress(groups, len(groups), "evaluating"):
        played = rollout(made.task, player, [problem for problem in group for _ in range(samples)], rng)
        trajectories += played
        for number, problem in enumerate(group):
            own = played[number * samples : (number + 1) * samples]
            rows.append(_problem_row(made.task, problem, own, k, samples, player if exact else None, beta, rng))
    if output is not None:
        save_trajectories(trajectories, output)
    summary = _summary(rows, chosen.weights, seed)
    kinds = {kind: _summary(rows, chosen.weights, seed, kind) for kind in sorted({row["kind"] for row in rows} - {""})}
    if json:
        settings = {"agent": agent, "env": env, "samples": samples, "k": k, "seed": seed, "n_problems": len(rows)}
        print_json({**settings, **summary, "kinds": kinds, "problems": rows})
        return
    labels = _labels(k, samples)
    print_table(
        f"{agent} on {env}: {len(rows)} problems, {samples} samples each",
        ["score", "mean", "95 % interval over problems"],
        [
            [labels.get(name, name), f"{e['value']:.4f}", f"{e['interval'][0]:.4f} to {e['interval'][1]:.4f}"]
            for name, e in summary.items()
            if not math.isnan(e["value"])
        ],
    )
    if kinds:
        columns = ["success_at_1", "pass_at_k", "chance", "chance_pass_at_k"]
        print_table(
            "by kind of problem",
            ["kind", "problems", *(labels[name].partition(":")[0] for name in columns)],
            [
                [kind, str(sum(row["kind"] == kind for row in rows)), *(f"{s[name]['value']:.4f}" for name in columns)]
                for kind, s in kinds.items()
            ],
        )


def _summary(
    rows: Sequence[dict[str, Any]], weights: Sequence[float], seed: int, kind: str | None = None
) -> dict[str, Any]:
    """Returns the mean and interval of every score, over all problems or those of one kind."""
    import numpy as np

    from gfn_envs.metrics import summarise

    chosen = [number for number, row in enumerate(rows) if kind in (None, row["kind"])]
    scores = [{name: value for name, value in rows[n].items() if isinstance(value, float)} for n in chosen]
    estimates = summarise(scores, [weights[n] for n in chosen], np.random.default_rng(seed))
    return {name: estimate.to_json() for name, estimate in estimates.items()}


def _problem_row(
    task: Any, problem: Any, played: Sequence[Any], k: int, samples: int, prober: Any, beta: float, rng: Any
) -> dict[str, Any]:
    """Returns the scores of one problem beside its chance, optimum and ceiling, as far as they are known."""
    from gfn_envs.exact import EnumerationLimit, analyse_graph, enumerate_states
    from gfn_envs.metrics import exact_scores, perfect_sampled_distance, sampled_distance, sampled_scores
    from gfn_envs.simulation import simulate

    try:
        graph = enumerate_states(task.memoryless(), problem)
    except EnumerationLimit:
        if prober is not None:
            raise CommandError(f"'{problem.id}' has too many states to list; leave --exact out") from None
        simulated = simulate(task, problem, _SIMULATED_PLAYS, rng)
        known = {"chance": simulated.chance, "chance_pass_at_k": 1.0 - (1.0 - simulated.chance) ** k}
        known["optimum"] = simulated.optimum
        unknown = dict.fromkeys(_EXACT_ONLY, math.nan)
        return {"problem_id": problem.id, "kind": problem.kind, **sampled_scores(played, 0, k), **known, **unknown}
    analysis = analyse_graph(graph, beta)
    target = graph.target(beta)
    ceiling = exact_scores(graph, target, k, samples, beta)
    by_name = graph.ends_by_name(target)
    row = {
        "problem_id": problem.id,
        "kind": problem.kind,
        **sampled_scores(played, len(graph.solutions), k),
        "chance": analysis.chance,
        "chance_pass_at_k": 1.0 - (1.0 - analysis.chance) ** k,
        "optimum": analysis.optimum,
        "n_solutions": float(analysis.n_solutions),
        "target_coverage": ceiling["coverage"],
        "sampled_distance": sampled_distance(played, by_name),
        "perfect_sampled_distance": perfect_sampled_distance(by_name, samples),
    }
    if prober is not None:
        row |= _exact_row(graph, prober, beta)
    return row


def _exact_row(graph: Any, prober: Any, beta: float) -> dict[str, Any]:
    """Returns what enumeration says of an agent: its distribution over the ends, without sampling."""
    from gfn_envs.metrics import jensen_shannon, total_variation

    if not hasattr(prober, "action_probabilities"):
        raise CommandError("--exact needs an agent with action_probabilities; leave it out for this one")
    policy, target = graph.policy_of(prober), graph.target(beta)
    reached = graph.reached(policy)
    row: dict[str, Any] = {
        "exact_success": float(reached @ graph.successes),
        "total_variation": total_variation(reached, target),
        "jensen_shannon": jensen_shannon(reached, target),
    }
    if graph.task.deterministic:
        scaled = beta * graph.log_rewards
        row["elbo"], row["log_z"] = graph.elbo(policy, scaled), float(graph.log_flows(scaled)[0])
    wanted, found = graph.solution_probabilities(target), graph.solution_probabilities(reached)
    row["solutions"] = {name: {"agent": found[name], "target": wanted[name]} for name in wanted}
    return row


def _labels(k: int, samples: int) -> dict[str, str]:
    return {
        "success_at_1": "success@1",
        "pass_at_k": f"pass@{k}",
        "distinct_solutions": f"distinct solutions in {samples}",
        "coverage": "coverage (share of all solutions found)",
        "solution_entropy": "entropy over solutions (nats)",
        "chance": "chance: success of uniform legal play",
        "optimum": "optimum: highest possible success",
        "chance_pass_at_k": f"chance of pass@{k}",
        "n_solutions": "solutions that exist",
        "target_coverage": f"coverage that the exact sampler has in {samples}",
        "sampled_distance": f"distance to the target, seen in {samples} samples",
        "perfect_sampled_distance": "that a perfect sampler would show",
        "exact_success": "success@1, exact",
        "total_variation": "total variation to the exact target",
        "jensen_shannon": "Jensen-Shannon divergence to it (nats)",
        "elbo": "lower bound of log Z (ELBO)",
        "log_z": "log Z",
    }


def resolve_agent(name: str) -> Any:
    """Returns the agent that a name stands for.

    Raises:
        CommandError: there is no such agent; the message says what there is.
    """
    path = Path(name)
    if path.is_dir() and (path / "config.json").is_file():
        from gfn_agents.agent import load_policy

        return load_policy(path)
    if path.exists():
        from gfn_agents.agent import GFlowNetAgent

        return GFlowNetAgent.load(path)
    if name == "default":
        from gfn_agents.agent import load_policy

        return load_policy("default")
    registered = {entry.name: entry for entry in entry_points(group=AGENTS_GROUP)}
    if name in registered:
        return registered[name].load()()
    if ":" in name:
        return import_named(name)()
    known = ["default", *sorted(registered)]
    near = get_close_matches(name, known, n=1)
    hint = (
        f"; did you mean {near[0]!r}?"
        if near
        else f"; known are {', '.join(known)}, run folders and package.module:Class"
    )
    raise CommandError(f"there is no agent {name!r}{hint}")
