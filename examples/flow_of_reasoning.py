"""The experiment of Flow of Reasoning: learn from a few published problems, find every plan of unseen ones.

Yu et al. (arXiv 2406.05673) train a language model of 8 billion parameters on 15 BlocksWorld problems, some 150 problem
visits in 40 optimizer steps, and count the problems of the same length that 20 attempts solve (40 for 6 steps), and
the distinct plans. Here one model is taken as it is but for the mask of legal actions (untrained), fine-tuned on solver
plans of the problems (sft), and trained as a GFlowNet: VarGrad, local search, and replay, into which the same solver
plans are put, as the problems are published with a plan. SFT and GFlowNet take equally many optimizer steps on equally
many problems; the GFlowNet's first ones can be of SFT (--warm-start), without which a model that never solves anything
is slow to start, and what these alone led to is evaluated too (gflownet-start). All play the same unseen problems,
none of which is a training problem in other words.

    python examples/flow_of_reasoning.py --problems blocksworld/step_4.json                    # the embedded model
    python examples/flow_of_reasoning.py --problems blocksworld/step_6.json --length 6 --model smollm2
    python examples/flow_of_reasoning.py --problems game24/24_train.csv --env Game24

writes table.md, results.json, curves.svg, and for each method a folder of which `gfn report` makes a page, and whose
differences `gfn compare` gives. The same command goes on after an interruption: finished evaluations are kept, the
GFlowNet continues from its last checkpoint.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from transformers.utils import logging

from baselines.canvas import AGENT_COLOURS, KEY_ROW, WIDTH, canvas, key_row, percent
from baselines.plots import style_axes
from baselines.sft import SFTConfig, supervise
from gfn_agents.agent import GFlowNetAgent, load_policy
from gfn_agents.config import LearningRateName, TrainConfig
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.logs import RunLogs, read_history
from gfn_agents.model_options import ModelOptions
from gfn_agents.progress import TrainingBar
from gfn_agents.schedules import Schedule
from gfn_agents.trainer import StepReport
from gfn_envs.cli import progress
from gfn_envs.evaluation import evaluate_agent
from gfn_envs.evaluation_results import EVALUATION_FILE, Evaluation, shown_scores
from gfn_envs.files import finite_json, whole_folder, write_folder, write_whole
from gfn_envs.making import make_text_env
from gfn_envs.metrics import Estimate
from gfn_envs.problems import GeneratedProblems, ProblemSet, load_problems, save_problems
from gfn_envs.rollout import ProbabilisticAgent, rollout
from gfn_envs.tasks.ontology import read_theory
from gfn_envs.tasks.prontoqa import PrOntoQAProblem
from gfn_envs.tasks.sentences import QUERY_PREFIX, parse_query

COLUMNS = (
    "success_at_1",
    "greedy_success",
    "pass_at_k",
    "diversity",
    "coverage",
    "sampled_distance",
    "total_variation",
    "end_proof_complete",
    "end_answer_correct",
)
PUBLISHED = {
    ("BlocksWorld", 4): {"pass_at_k": "0.984", "diversity": "1.27 of 1.31"},
    ("BlocksWorld", 6): {"pass_at_k": "0.784", "diversity": "1.33 of 1.49"},
}
"""Of Flow of Reasoning with 8 billion parameters, on test problems of its own."""
START = "gflownet-start"
"""The method of a warm start alone; its curve is the beginning of the GFlowNet's."""
WATCHED = 15
"""Training problems that are played for the curve of SFT."""
RESTATEMENTS = 100
"""Draws for each published problem; one of 4 blocks has 24 names or fewer."""
MAY_CHANGE = ("output", "steps", "minutes")
"""Options with which an experiment may go on that was started with others."""


@dataclass(frozen=True)
class Options:
    """The experiment of Flow of Reasoning: an untrained model, SFT and a GFlowNet beside each other.

    Args:
        problems: file of published training problems.
        restated: train on them in other words, which say no more: in all names of their blocks, or with their rules in
            other orders and the question put the other way round.
        env: environment of these problems.
        length: steps of a BlocksWorld plan.
        model: "default", the small embedded model, is trained itself; "smollm2", a folder or a hub name by an adapter.
        steps: optimizer steps of SFT and of the GFlowNet.
        warm_start: so many of the GFlowNet's steps are SFT.
        minutes: most CPU minutes of training of each.
        problems_per_step: problems of each optimizer step.
        samples_per_problem: fresh episodes of each of them.
        demonstrations: most solver plans of each, for SFT and, through replay, for the GFlowNet.
        epsilon: share of random actions in the GFlowNet's samples. A policy that is sure, as one after SFT is, gives
            them less than the target leaves to failures, and to learn that outweighs all else.
        beta: the GFlowNet's target, which is a yardstick of all, is proportional to R^beta.
        learning_rate: of SFT, and of the GFlowNet if it has no other.
        gflownet_learning_rate: of the GFlowNet.
        warmup_steps: steps over which the GFlowNet's learning rate grows.
        lr_scheduler_type: whether learning rates stay, or fall to zero at the last step; in a warm start they stay.
        evaluation_problems: most unseen problems.
        split: of the unseen problems; "default" has read the training split of all environments.
        exact: also measure the exact distance to the target, where all states can be listed.
        seed: of everything that is drawn.
        output: folder of the results.
    """

    problems: Path
    restated: bool = False
    env: Literal["BlocksWorld", "Game24", "PrOntoQA"] = "BlocksWorld"
    length: int = 4
    model: str = "default"
    steps: int = 40
    warm_start: int = 0
    minutes: float = 60.0
    problems_per_step: int = 4
    samples_per_problem: int = 4
    demonstrations: int = 4
    epsilon: float = 0.0
    beta: float = 1.0
    learning_rate: float = 1e-4
    gflownet_learning_rate: float | None = None
    warmup_steps: int = 0
    lr_scheduler_type: LearningRateName = "constant"
    evaluation_problems: int = 50
    split: Literal["all", "test"] = "all"
    exact: bool = False
    seed: int = 0
    output: Path = Path("runs/flow_of_reasoning")

    @property
    def env_id(self) -> str:
        """Id of the environment."""
        return f"gfn_envs/{self.env}-v0"

    @property
    def families(self) -> list[dict[str, Any]]:
        """Keywords of the environments whose generated problems are like the published ones; the last can play all."""
        if self.env == "BlocksWorld":
            return [{"length": self.length}]
        if self.env == "PrOntoQA":  # the published proofs have 3 to 5 rules
            return [{"ontology": "true", "slack": 0, "hops": hops} for hops in (3, 4, 5)]
        return [{}]

    @property
    def family(self) -> dict[str, Any]:
        """Keywords of the environment that is played."""
        return self.families[-1]

    @property
    def training_file(self) -> Path:
        """File of the problems that are trained on."""
        return self.output / "training.jsonl" if self.restated else self.problems

    @property
    def training(self) -> dict[str, Any]:
        """Keywords of the environment with the problems that are trained on."""
        return {**self.family, "problems": str(self.training_file.resolve()), "split": "all"}

    @property
    def attempts(self) -> int:
        """Attempts at each unseen problem, which is also the k of pass@k."""
        return 40 if self.family.get("length", 0) >= 6 else 20

    @property
    def methods(self) -> tuple[str, ...]:
        """What is compared."""
        return ("untrained", "sft", *([START] if self.warm_start else []), "gflownet")

    @property
    def sft_learning_rate(self) -> Schedule:
        """Learning rate of SFT by optimizer step."""
        end = self.learning_rate if self.lr_scheduler_type == "constant" else 0.0
        return Schedule(self.learning_rate, end, self.steps, self.lr_scheduler_type)

    @property
    def model_options(self) -> ModelOptions:
        """How the model is loaded."""
        return ModelOptions(use_peft=self.model != "default")


@dataclass(frozen=True)
class Training:
    """What a training cost, and the share of solved training episodes by optimizer step."""

    costs: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)


# -- training --------------------------------------------------------------------------------------
def train_sft(
    options: Options,
    policy: LanguageModelPolicy,
    task: Any,
    training: ProblemSet[Any],
    steps: int,
    learning_rate: Schedule,
) -> Training:
    """Imitates solver plans in place, a batch each optimizer step; its curve is from other episodes."""
    config = SFTConfig(options.problems_per_step, max(options.demonstrations, 1), 1, learning_rate)
    watching, batches, spent, since = np.random.default_rng([options.seed, 1]), 0, 0.0, time.process_time()
    record = Training()

    def go_on(environment_steps: int) -> bool:
        nonlocal batches, spent, since
        spent += time.process_time() - since
        record.costs.update(environment_steps=environment_steps, cpu_seconds=spent)
        further = batches < steps and spent < 60 * options.minutes
        if batches % max(options.steps // 4, 1) == 0 or not further:
            played = rollout(task, policy, list(training.take(WATCHED, watching)), watching)
            record.curve.append({"step": batches, "success": sum(t.success for t in played) / len(played)})
            print(f"SFT, step {batches}: {percent(record.curve[-1]['success'])} solved", file=sys.stderr, flush=True)
        batches, since = batches + 1, time.process_time()
        return further

    supervise(policy, task, training, config, np.random.default_rng(options.seed), go_on)
    return record


def warm_start(options: Options, task: Any, training: ProblemSet[Any]) -> tuple[str, Training]:
    """Returns the folder of the model that the GFlowNet starts from, and what the steps of SFT cost."""
    folder = options.output / "warm-start"
    if not (folder / "training.json").is_file():
        policy = load_policy(options.model, model_options=options.model_options, seed=options.seed)
        record = train_sft(options, policy, task, training, options.warm_start, Schedule(options.learning_rate))
        with whole_folder(folder) as partial:
            policy.save(partial)
            (partial / "training.json").write_text(json.dumps(asdict(record)), encoding="utf-8")
    return str(folder), Training(**json.loads((folder / "training.json").read_text(encoding="utf-8")))


def train_gflownet(options: Options, task: Any, training: ProblemSet[Any]) -> tuple[GFlowNetAgent, Training]:
    """Trains with VarGrad, replay and local search, from the last checkpoint of the run folder if there is one."""
    folder = options.output / "gflownet-run"
    model, start = options.model, Training({"environment_steps": 0, "cpu_seconds": 0})
    if options.warm_start:
        model, start = warm_start(options, task, training)
    config = TrainConfig(
        steps=options.steps - options.warm_start,
        problems_per_step=options.problems_per_step,
        samples_per_problem=options.samples_per_problem,
        epsilon=options.epsilon,
        beta=options.beta,
        learning_rate=options.gflownet_learning_rate or options.learning_rate,
        warmup_steps=options.warmup_steps,
        lr_scheduler_type=options.lr_scheduler_type,
        local_search="greedy",
        demonstrations_per_problem=options.demonstrations,
        checkpoint_every=5,
        seed=options.seed,
    )
    agent = GFlowNetAgent(
        options.env_id, model, options.training, folder=folder, config=config, model_options=options.model_options
    )
    if folder.is_dir():
        agent.resume()
    trainer, most = agent.trainer, 60 * options.minutes - start.costs["cpu_seconds"]
    with RunLogs(folder, trainer.steps_done + 1) as logs, TrainingBar(config.steps, trainer.steps_done) as bar:

        def on_step(report: StepReport) -> None:
            logs.write(report)
            bar.update(report)
            trainer.stop_requested = report.cpu_seconds >= most

        if trainer.cpu_seconds < most:
            agent.learn(on_step=on_step)
    costs = {name: start.costs[name] + cost for name, cost in agent.costs.items()}
    curve = [{"step": options.warm_start + row["step"], "success": row["success"]} for row in read_history(folder)]
    return agent, Training(costs, start.curve + curve)


# -- problems --------------------------------------------------------------------------------------
def generated(options: Options, published: ProblemSet[Any], restated: bool, split: str) -> GeneratedProblems[Any]:
    """Returns the generated problems that are published ones in other words, or those that are not."""
    stated = list(published)
    if options.env == "PrOntoQA":
        stated += map(opposite_question, published)
    known = {problem.canonical for problem in stated}
    sources = [make_text_env(options.env_id, {**family, "split": split}).problems for family in options.families]

    def draw(rng: np.random.Generator) -> Any:
        return sources[rng.integers(len(sources))].sample(rng)

    return GeneratedProblems(draw, (lambda problem: (problem.canonical in known) == restated,))


def unseen_problems(options: Options, published: ProblemSet[Any]) -> ProblemSet[Any]:
    """Returns generated problems, none of which is a published one in other words."""
    family = generated(options, published, False, options.split)
    return family.take(options.evaluation_problems, np.random.default_rng(options.seed))


def restated_problems(options: Options, published: ProblemSet[Any]) -> ProblemSet[Any]:
    """Returns the published problems in other words: nearly all names of blocks, or many orders of rules."""
    rng = np.random.default_rng(options.seed)
    if options.env == "PrOntoQA":
        both = [*published, *map(opposite_question, published)]
        said = [reordered(problem, rng) for problem in both for _ in range(RESTATEMENTS // 2)]
        return ProblemSet(tuple(dict.fromkeys([*published, *said])))
    return generated(options, published, True, "all").take(RESTATEMENTS * len(published), rng)


def opposite_question(problem: PrOntoQAProblem) -> PrOntoQAProblem:
    """Returns a PrOntoQA problem that asks for the opposite statement."""
    asked = parse_query(problem.query)
    opposite = asked._replace(predicate=asked.predicate.opposite)
    return PrOntoQAProblem(problem.question, QUERY_PREFIX + opposite.text)


def reordered(problem: PrOntoQAProblem, rng: np.random.Generator) -> PrOntoQAProblem:
    """Returns a PrOntoQA problem with its rules in another order; the fact stays last, as in published problems."""
    theory = read_theory(problem.question, problem.query)
    return PrOntoQAProblem(" ".join([*rng.permutation(theory.sentences), theory.start.text]), problem.query)


# -- evaluation ------------------------------------------------------------------------------------
def evaluate(options: Options, method: str) -> Evaluation:
    """Returns the kept evaluation of a method; without one, trains, evaluates and keeps it."""
    folder = options.output / method
    if (folder / EVALUATION_FILE).is_file():
        return Evaluation.load(folder / EVALUATION_FILE)
    task = make_text_env(options.env_id, options.family).task
    training = load_problems(task, options.training_file)
    agent: ProbabilisticAgent
    if method == "gflownet":
        agent, record = train_gflownet(options, task, training)
    else:
        model, record = options.model, Training()
        if method == START:
            model, record = warm_start(options, task, training)
        agent = load_policy(model, model_options=options.model_options, seed=options.seed)
        if method == "sft":
            record = train_sft(options, agent, task, training, options.steps, options.sft_learning_rate)

    unseen = unseen_problems(options, load_problems(task, options.problems))
    k, rng = options.attempts, np.random.default_rng(options.seed)
    found = evaluate_agent(task, agent, unseen, k, k, rng, options.exact, options.beta)
    problems = tuple(progress(found, len(unseen), f"evaluating {method}"))
    settings = asdict(record)
    evaluation = Evaluation(method, options.env_id, k, k, options.seed, options.beta, options.exact, settings, problems)
    write_folder(folder, evaluation.files())
    return evaluation


# -- what is written -------------------------------------------------------------------------------
def known(estimates: dict[str, Estimate], name: str) -> bool:
    """Says whether a score was measured and is defined."""
    return name in estimates and bool(np.isfinite(estimates[name].value))


def table(evaluations: Sequence[Evaluation], published: dict[str, str]) -> str:
    """Returns a Markdown table: methods with 95 % intervals, between chance and the exact sampler."""
    first, everyone = evaluations[0], [evaluation.estimates() for evaluation in evaluations]
    yardsticks = everyone[0]  # the same for all
    shown = [s for s in shown_scores(yardsticks) if s.name in COLUMNS and any(known(own, s.name) for own in everyone)]

    def row(name: str, cells: list[str], costs: dict[str, float]) -> str:
        spent = [f"{costs[cost]:,.0f}" if cost in costs else "" for cost in ("environment_steps", "cpu_seconds")]
        return f"| {' | '.join([name, *cells, *spent])} |"

    def yardstick(name: str) -> str:
        return f"{yardsticks[name].value:.3f}" if known(yardsticks, name) else ""

    def measured(own: dict[str, Estimate], name: str) -> str:
        return f"{own[name].value:.3f} ({own[name].low:.2f} to {own[name].high:.2f})" if known(own, name) else ""

    titles = ["", *(first.text(score)[0] for score in shown), "environment steps", "CPU seconds"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    lines.append(row("chance", [yardstick(score.chance) for score in shown], {}))
    for evaluation, own in zip(evaluations, everyone, strict=True):
        lines.append(row(evaluation.agent, [measured(own, s.name) for s in shown], evaluation.costs))
    lines.append(row("exact sampler", [yardstick(score.target) for score in shown], {}))
    if published:
        lines.append(row("published, 8B", [published.get(score.name, "") for score in shown], {}))
    having = f", which have {yardstick('n_solutions')} solutions on average" if known(yardsticks, "n_solutions") else ""
    return "\n".join([*lines, "", f"{first.samples} attempts at each of {len(first.problems)} problems{having}.", ""])


def curves_plot(evaluations: Sequence[Evaluation]) -> str:
    """Returns the share of solved training episodes by optimizer step, as a mean over a tenth of the steps, as SVG."""
    curves = {e.agent: e.settings["curve"] for e in evaluations if e.settings["curve"] and e.agent != START}
    key = KEY_ROW * len(curves) + 12
    height = key + 240
    with canvas("flow-of-reasoning", WIDTH, height) as (whole, finish):
        axes = whole.figure.add_axes((46 / WIDTH, 40 / height, (WIDTH - 62) / WIDTH, 190 / height))
        for place, (name, rows) in enumerate(curves.items()):
            recent = 1 + rows[-1]["step"] // 10
            means = [
                float(np.mean([row["success"] for row in rows if end["step"] - recent < row["step"] <= end["step"]]))
                for end in rows
            ]
            key_row(whole, place, AGENT_COLOURS[place], name, f"last {percent(means[-1])}")
            axes.plot([row["step"] for row in rows], means, color=AGENT_COLOURS[place], linewidth=2.5)
        axes.set_ylim(-0.02, 1.02)
        style_axes(axes, "optimizer steps", percent=True)
        return finish("Solved training episodes by optimizer steps")


def fixed(options: Options) -> dict[str, str]:
    """Returns the options with which an experiment must go on; one that it was started without has its default."""
    return {name: str(value) for name, value in asdict(options).items() if name not in MAY_CHANGE}


def run(options: Options) -> str:
    """Runs the experiment, or the rest of it, writes the results and returns the table.

    Raises:
        ValueError: an option makes no sense, or the folder holds an experiment with other ones.
    """
    if not 0 <= options.warm_start < options.steps:
        raise ValueError(f"warm_start must be less than the {options.steps} steps, got {options.warm_start}")
    if options.restated and options.env == "Game24":
        raise ValueError("a puzzle of Game24 can be stated in one way only; leave --restated out")
    given = {name: str(value) for name, value in asdict(options).items()}
    described, settings = fixed(options), options.output / "settings.json"
    if settings.is_file() and fixed(Options(options.problems)) | json.loads(settings.read_text("utf-8")) != described:
        raise ValueError(f"'{options.output}' holds an experiment with other options; name another --output")
    published = load_problems(make_text_env(options.env_id, options.family).task, options.problems)
    if options.restated:
        save_problems(restated_problems(options, published), options.training_file)
    write_whole(settings, json.dumps(described, indent=1) + "\n")
    evaluations = [evaluate(options, method) for method in options.methods]
    text = table(evaluations, PUBLISHED.get((options.env, options.length), {}))
    results = {"options": given, "methods": [evaluation.to_json() for evaluation in evaluations]}
    write_whole(options.output / "table.md", text)
    write_whole(options.output / "results.json", json.dumps(finite_json(results), indent=1) + "\n")
    write_whole(options.output / "curves.svg", curves_plot(evaluations) + "\n")
    return text


def main() -> None:
    """Reads the options and prints the table."""
    options = tyro.cli(Options)
    logging.disable_progress_bar()
    try:
        print(f"{run(options)}\nwritten to {options.output}")
    except (ValueError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
