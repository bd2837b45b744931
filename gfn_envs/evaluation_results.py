"""The evaluation of one agent on a family: means with intervals, and the files that keep it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfn_envs.evaluation import SIMULATED_PLAYS, ProblemEvaluation
from gfn_envs.files import finite_json, number_from_json
from gfn_envs.metrics import END, Estimate, FamilyScore, summarise

EVALUATION_FILE = "evaluation.json"
"""In an evaluation's folder, what `Evaluation.load` reads."""
_WORST = ("success_at_1", "pass_at_k", "coverage")


@dataclass(frozen=True, slots=True)
class ShownScore:
    """How a score is shown to people.

    Attributes:
        name: as in `ProblemEvaluation.scores` or FAMILY_SCORES.
        label: with {k} and {samples}.
        meaning: one sentence.
        best: name of the most that anyone can have, '' where the exact sampler is the measure of all things.
        brief: whether the command line shows it.
    """

    name: str
    label: str
    meaning: str
    best: str = ""
    brief: bool = True

    @property
    def chance(self) -> str:
        """Name under which uniform legal play has this score."""
        return "chance" if self.best == "optimum" else f"chance_{self.name}"

    @property
    def target(self) -> str:
        """Name under which the exact sampler of the target has this score."""
        if self.name in ("elbo", "log_z_estimate"):
            return "log_z"
        return "target_success_at_1" if self.best == "optimum" else f"target_{self.name}"


SHOWN_SCORES = (
    ShownScore("success_at_1", "success@1", "Share of attempts that solve the problem.", "optimum"),
    ShownScore("exact_success", "success@1, exact", "The same without sampling, from every state.", "optimum"),
    ShownScore(
        "greedy_success", "success@1, greedy", "Success when the most probable action is always played.", "optimum"
    ),
    ShownScore(
        "normalised_score",
        "normalised score",
        "Where success@1 is between chance, 0, and the optimum, 1.",
        "optimum_normalised_score",
    ),
    ShownScore("worst_decile_success_at_1", "success@1, worst decile", "Mean over the worst tenth of the problems."),
    ShownScore(
        "pass_at_k", "pass@{k}", "Probability that one of {k} attempts solves it, unbiased.", "optimum_pass_at_k"
    ),
    ShownScore(
        "accuracy",
        "accuracy, pass@{samples}",
        "Share of problems solved by one of {samples} attempts; Accuracy in papers.",
        "optimum_accuracy",
        brief=False,
    ),
    ShownScore(
        "distinct_solutions",
        "distinct solutions in {samples}",
        "How many different solutions {samples} attempts find.",
        brief=False,
    ),
    ShownScore("coverage", "coverage in {samples}", "Share of all solutions that {samples} attempts find."),
    ShownScore(
        "worst_decile_coverage", "coverage, worst decile", "Mean over the worst tenth of the problems.", brief=False
    ),
    ShownScore(
        "diversity", "diversity in {samples}", "Distinct solutions a solved problem; Diversity in papers.", brief=False
    ),
    ShownScore("diversity_at_16", "diversity in 16", "The same in 16 attempts; Div@16 in papers."),
    ShownScore(
        "solution_entropy", "entropy over solutions", "Nats; seen in the samples, which show less than there is."
    ),
    ShownScore(
        "sampled_distance",
        "distance seen in {samples}",
        "Total variation between {samples} samples and the exact target, over solutions; a perfect sampler shows some, "
        "and with few samples who plays the likeliest solution alone can show less.",
    ),
    ShownScore(
        "total_variation", "total variation", "Exact distance to the target, over ends: 0 is perfect, 1 is worst."
    ),
    ShownScore("jensen_shannon", "Jensen-Shannon", "Exact divergence from the target in nats, at most log 2."),
    ShownScore("spearman", "Spearman of P and R", "Rank correlation of log P and log R over all ends."),
    ShownScore("elbo", "ELBO", "Lower bound of log Z that only the exact sampler reaches."),
    ShownScore("log_z_estimate", "log Z, estimated", "By importance weights from the agent's samples."),
)
"""What tables show of every task, in their order; a score that is nowhere known is left out."""


def shown_scores(names: Iterable[str]) -> tuple[ShownScore, ...]:
    """Returns what tables show of scores with these names: those of every task, then the task's own `end_scores`."""
    return (*SHOWN_SCORES, *(_end_score(name) for name in names if name.startswith(END)))


def _end_score(name: str) -> ShownScore:
    said = name.removeprefix(END).replace("{", "{{").replace("}", "}}")  # a label is a format, a name is not
    return ShownScore(name, said.replace("_", " "), f"Mean of `{said}` over attempts.")


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.asarray(above / below)


def _between(score: np.ndarray, chance: np.ndarray, optimum: np.ndarray) -> np.ndarray:
    return np.where(optimum > chance, (score - chance) / (optimum - chance), np.nan)


_PLAYERS = ("", "chance_", "target_")
FAMILY_SCORES = {
    **{f"{p}diversity": FamilyScore((f"{p}distinct_solutions", f"{p}accuracy"), _ratio) for p in _PLAYERS},
    **{f"{p}diversity_at_16": FamilyScore((f"{p}distinct_at_16", f"{p}pass_at_16"), _ratio) for p in _PLAYERS},
    "normalised_score": FamilyScore(("success_at_1", "chance", "optimum"), _between),
    **{
        f"{player}_normalised_score": FamilyScore((success, "chance", "optimum"), _between)
        for player, success in (("chance", "chance"), ("target", "target_success_at_1"), ("optimum", "optimum"))
    },
}
"""Scores that only a family has; the normalised score is that of its means, where no near-zero span is divided by."""
WORST_DECILES = {
    f"{start}worst_decile_{name}": named
    for name in _WORST
    for start, named in (
        ("", name),
        ("chance_", "chance" if name == "success_at_1" else f"chance_{name}"),
        ("target_", f"target_{name}"),
    )
}
"""Mean over the worst tenth of the problems by weight, of each player its own tenth."""


def summarise_family(
    evaluations: Sequence[ProblemEvaluation], rng: np.random.Generator, resamples: int = 1000
) -> dict[str, Estimate]:
    """Returns the mean of every score by the problems' weights, and the scores that only a family has.

    A yardstick is NaN if it is not known of some problems on which the score itself is: it would be that of others.
    """
    scores, weights = [e.scores for e in evaluations], [e.weight for e in evaluations]
    found = summarise(scores, weights, rng, resamples, FAMILY_SCORES, WORST_DECILES)
    for shown in shown_scores(scores[0]):
        for yardstick in found.keys() & {shown.chance, shown.target, shown.best}:
            if any(_is_known(score, shown.name) and not _is_known(score, yardstick) for score in scores):
                found[yardstick] = Estimate(math.nan, math.nan, math.nan)
    return found


def parts_of(name: str) -> tuple[str, ...]:
    """Returns the scores of a problem that a score of a family is made of: itself, or its parts."""
    return FAMILY_SCORES[name].parts if name in FAMILY_SCORES else (WORST_DECILES.get(name, name),)


def _is_known(scores: Mapping[str, float], name: str) -> bool:
    return not any(math.isnan(scores.get(part, math.nan)) for part in parts_of(name))


# -- files -----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Evaluation:
    """One agent on one family, as it is kept.

    Attributes:
        agent: the name that it was loaded by.
        seed: of sampling and of the intervals.
        settings: what else reproduces the evaluation, by name.
    """

    agent: str
    env: str
    samples: int
    k: int
    seed: int
    beta: float
    exact: bool
    settings: dict[str, Any]
    problems: tuple[ProblemEvaluation, ...]

    @property
    def kinds(self) -> list[str]:
        """The kinds of problems, '' left out."""
        return sorted({problem.kind for problem in self.problems} - {""})

    @property
    def simulated(self) -> int:
        """Number of problems with too many states to list."""
        return sum(math.isnan(problem.scores["n_states"]) for problem in self.problems)

    @property
    def illegal_answers(self) -> int:
        """Number of attempts that ended because an answer named no legal action."""
        shares = [problem.scores.get("illegal_answers", math.nan) for problem in self.problems]
        return round(sum(share for share in shares if math.isfinite(share)) * self.samples)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences for the reader: what is not known exactly, and what the agent did against the rules."""
        remarks = []
        if self.simulated:
            remarks.append(
                f"{self.simulated} of {len(self.problems)} problems have too many states to list: their chance is from "
                f"{SIMULATED_PLAYS} random plays, and their solutions and targets are not known, so that the family's "
                "are left out."
            )
        if self.illegal_answers:
            remarks.append(
                f"{self.illegal_answers} of {len(self.problems) * self.samples} attempts ended as failures because an "
                "answer named no legal action."
            )
        return tuple(remarks)

    @property
    def costs(self) -> dict[str, float]:
        """What the agent says that its training has used up, by name with unit."""
        return {name: number_from_json(value) for name, value in self.settings.get("costs", {}).items()}

    def estimates(self, kind: str | None = None) -> dict[str, Estimate]:
        """Returns every score of the family, or of its problems of one kind."""
        chosen = [problem for problem in self.problems if kind in (None, problem.kind)]
        return summarise_family(chosen, np.random.default_rng(self.seed))

    def text(self, score: ShownScore) -> tuple[str, str]:
        """Returns label and meaning of a score."""
        numbers = {"k": self.k, "samples": self.samples}
        return score.label.format(**numbers), score.meaning.format(**numbers)

    def to_json(self) -> dict[str, Any]:
        """Returns the settings, the scores of the family and of its kinds, and the problems, as JSON values."""
        options = {name: getattr(self, name) for name in ("agent", "env", "samples", "k", "seed", "beta", "exact")}
        return {
            **options,
            "settings": self.settings,
            "n_problems": len(self.problems),
            "n_simulated": self.simulated,
            **_to_json(self.estimates()),
            "kinds": {kind: _to_json(self.estimates(kind)) for kind in self.kinds},
            "problems": [problem.to_json() for problem in self.problems],
        }

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Reads what `to_json` returned; the trajectories are in a file of their own.

        Raises:
            ValueError: the file holds something else.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            evaluation = cls(
                agent=str(data["agent"]),
                env=str(data["env"]),
                samples=int(data["samples"]),
                k=int(data["k"]),
                seed=int(data["seed"]),
                beta=float(data["beta"]),
                exact=bool(data["exact"]),
                settings=dict(data["settings"]),
                problems=tuple(map(ProblemEvaluation.from_json, data["problems"])),
            )
            _ = evaluation.estimates(), evaluation.costs  # what cannot be read is found here
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise ValueError(f"'{path}' is not an evaluation ({error!r}); gfn evaluate --output writes one") from None
        return evaluation

    def files(self) -> dict[str, str]:
        """Returns the text of each file of an evaluation's folder: all as JSON, a table, the trajectories."""
        rows = [json.dumps(trajectory.to_json()) for problem in self.problems for trajectory in problem.trajectories]
        return {
            EVALUATION_FILE: json.dumps(finite_json(self.to_json()), indent=1, allow_nan=False) + "\n",
            "evaluation.csv": self._table(),
            "trajectories.jsonl": "".join(f"{row}\n" for row in rows),
        }

    def _table(self) -> str:
        """Returns one line of comma-separated scores a problem; what is unknown is empty."""
        buffer = io.StringIO()
        names = list(self.problems[0].scores)
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["problem_id", "kind", "weight", *names])
        for problem in self.problems:
            cells = [problem.scores[name] for name in names]
            shown = ["" if math.isnan(value) else value for value in cells]
            writer.writerow([problem.problem_id, problem.kind, problem.weight, *shown])
        return buffer.getvalue()


def _to_json(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_json() for name, estimate in estimates.items()}
