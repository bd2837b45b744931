"""The subcommand that trains a policy: train.

`python -m gfn_agents.cli train ...` is the same command as `gfn train ...`, for launchers that start modules.
"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from gfn_agents.config import TrainConfig, check_config
from gfn_agents.model_options import ModelOptions, check_asked, check_model_options
from gfn_envs.cli import CommandError, check_at_least, open_env, parse_env_kwargs, print_json
from gfn_envs.files import LOCK_FILE, check_folder


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
    thought_tokens: int = 0,
    config: TrainConfig = TrainConfig(),
    model_options: ModelOptions = ModelOptions(),
    json: bool = False,
) -> None:
    """Train a GFlowNet policy: a language model that finds all good solutions.

    Args:
        env: id of the environment, such as gfn_envs/Game24-v0.
        output: run folder; default runs/ENV-TIME.
        model: model folder, hub name, GGUF file, "smollm2", or "default", the small model that ships with the package.
        problems: problem file to train on instead of the environment's family.
        split: train, validation, test or all; default train, or all of a problem file.
        env_kwargs: keywords of gym.make as a JSON object.
        resume: go on from the last checkpoint of --output.
        instructions: text file put before every observation: rules or worked examples.
        template: plain text, or the tokenizer's chat template.
        few_shot: so many solved training problems are shown in every prompt.
        thought_tokens: let the model think before every action, so many tokens at most.
        config: training options.
        model_options: how the model is loaded.
        json: print one JSON document at the end.
    """
    from gfn_agents.prompts import PromptTemplate

    keywords = _train_keywords(env_kwargs, problems, split)
    check_model_options(model_options)
    check_asked(model_options)

    from gfn_agents import processes

    processes.start(model_options.device)
    named = output or Path("runs") / f"{env.rsplit('/', 1)[-1]}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = processes.gather(named)[0]
    if resume and output is None:
        raise CommandError("--resume needs --output, the run folder to go on with")
    check_folder(folder)
    if not resume and folder.exists() and any(folder.iterdir()):
        raise CommandError(f"'{folder}' is not empty; pass --resume to go on with it, or another --output")
    processes.gather(None)  # no process writes into the folder before all have found it empty
    check_config(config)
    check_at_least(0, few_shot=few_shot, thought_tokens=thought_tokens)
    open_env(env, parse_env_kwargs(env_kwargs), problems, split or "all")

    from gfn_agents.agent import GFlowNetAgent

    prompts = PromptTemplate(
        _read_text(instructions) if instructions else "", style=template, thought_tokens=thought_tokens
    )
    agent = GFlowNetAgent(env, model, keywords, prompts, folder, config, few_shot, model_options)
    if resume:
        agent.resume()
    try:
        reports = _learn(agent, folder)
    except processes.ProcessLost as error:
        raise CommandError(f"{error}; {_way_on(folder)}") from None
    if not processes.is_main():
        return
    last = reports[-20:]
    summary = {
        "run": str(folder),
        "env": env,
        "steps": agent.trainer.steps_done,
        "environment_steps": agent.trainer.environment_steps,
        "cpu_seconds": agent.trainer.cpu_seconds,
        "loss": sum(report.loss for report in last) / len(last) if last else None,
        "sampled_success": sum(report.success for report in last) / len(last) if last else None,
        "target_reached": agent.trainer.target_reached,
        "config": asdict(agent.config),
    }
    if json:
        print_json(summary)
        return
    reached = f"The distance is below {config.stop_at_distance:g}. " if agent.trainer.target_reached else ""
    given = {"--env-kwargs": env_kwargs if parse_env_kwargs(env_kwargs) else "", "--beta": f"{config.beta:g}"}
    options = [part for name, value in given.items() if value not in ("", "1") for part in (name, value)]
    sys.stdout.write(
        f"{summary['steps']} steps, {summary['environment_steps']} environment steps. {reached}The policy is in "
        f"'{folder}'; next: {shlex.join(['gfn', 'evaluate', str(folder), env, *options])}\n"
    )


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
    from filelock import FileLock, Timeout

    from gfn_agents import processes
    from gfn_agents.logs import RunLogs
    from gfn_agents.progress import TrainingBar

    trainer = agent.trainer
    reports: list[Any] = []
    if processes.count() > 1:
        _end_with_the_others(folder)
    with ExitStack() as stack:
        observers: list[Callable[[Any], None]] = [reports.append]
        if processes.is_main():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(FileLock(folder / LOCK_FILE, timeout=0))
            except Timeout:
                raise CommandError(f"another run is training in '{folder}' right now; wait for it") from None
            observers.append(stack.enter_context(RunLogs(folder, first_step=trainer.steps_done + 1)).write)
            observers.append(stack.enter_context(TrainingBar(agent.config.steps, trainer.steps_done)).update)
        stack.enter_context(_stop_at_interrupt(trainer))
        agent.learn(on_step=lambda report: [observe(report) for observe in observers])
    if trainer.steps_done < agent.config.steps and not trainer.target_reached and processes.is_main():
        raise CommandError(f"interrupted after step {trainer.steps_done}, which is saved; {_way_on(folder)}")
    return reports


def _way_on(folder: Path) -> str:
    """Says how a run that ended early goes on."""
    from gfn_agents.checkpointing import list_checkpoints

    if not list_checkpoints(folder):
        return f"there is no checkpoint yet, so start anew with --resume --output {folder}"
    return f"go on with the same command and --resume --output {folder}"


def _end_with_the_others(folder: Path) -> None:
    """Lets the signal by which a launcher ends the processes that are left say why, and how to go on."""

    def end(number: int, frame: Any) -> None:
        sys.exit(f"error: the launcher ended this process, as it does when another one has ended; {_way_on(folder)}")

    # It stays to the end, since the launcher may be faster or slower than what this process notices by itself.
    signal.signal(signal.SIGTERM, end)


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


if __name__ == "__main__":
    from gfn_envs.cli import main

    main()
