"""The results of a benchmark run as plain data, on disk as JSON.

Whatever runs agents fills a `BenchmarkResults`; tables, plots and the report are functions of it
and need neither environment nor model. The rows of agents named 'chance' and 'ceiling' are the
yardsticks: what uniformly random legal play reaches, and what the exact target policy reaches.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gfn_envs.evaluation_results import SHOWN_SCORES
from gfn_envs.files import finite_json, number_from_json, write_whole
from gfn_envs.metrics import Estimate

CHANCE = "chance"
CEILING = "ceiling"
NO_SOLUTION = "no solution"
EXHIBIT_SOLUTIONS = (4, 12)
"""Fewest and most solutions of a problem of which a picture can show each."""
OTHER_MOVES = "other moves"


@dataclass(frozen=True, slots=True)
class Score:
    """How a score is shown.

    Attributes:
        name: as in `gfn_envs.metrics`.
        label: for headings, with {k} and {samples}.
        meaning: one sentence for the reader.
        percent: shown in percent, or else as a number with three decimals.
        lower_is_better: for a distance.
    """

    name: str
    label: str
    meaning: str
    percent: bool = True
    lower_is_better: bool = False

    def text(self, value: float) -> str:
        """Returns a value as the reader sees it."""
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3f}"

    def interval(self, estimate: Estimate) -> str:
        """Returns the interval in brackets, '' where there is none."""
        if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)) or estimate.low == estimate.high:
            return ""
        low, high = self.text(estimate.low), self.text(estimate.high)
        return "" if low == high else f"({low} to {high})".replace(" % to", " to")


SCORES = (
    Score("success_at_1", "success@1", "Probability that one attempt solves the problem."),
    Score("pass_at_k", "pass@{k}", "Probability that at least one of {k} attempts solves it."),
    Score("coverage", "coverage", "Distinct solutions found in {samples} attempts, of all that exist."),
    Score(
        "total_variation",
        "distance to target",
        "Total variation between what the agent samples and the exact target distribution: 0 is perfect, 1 is worst.",
        percent=False,
        lower_is_better=True,
    ),
)
_SEEN = next(score for score in SHOWN_SCORES if score.name == "sampled_distance")
SEEN_DISTANCE = Score(_SEEN.name, _SEEN.label, _SEEN.meaning, percent=False, lower_is_better=True)


@dataclass(frozen=True, slots=True)
class AgentResult:
    """How one agent did, and what that cost.

    Attributes:
        scores: by the names of `gfn_envs.metrics`: success_at_1, pass_at_k, coverage, ...
        costs: by name with unit: environment_steps, cpu_seconds, ...
    """

    name: str
    description: str
    scores: dict[str, Estimate]
    costs: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        scores = {name: estimate.to_json() for name, estimate in self.scores.items()}
        return {"name": self.name, "description": self.description, "scores": scores, "costs": self.costs}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AgentResult:
        """Returns the result that `to_json` wrote."""
        scores = {
            name: Estimate(number_from_json(value["value"]), *map(number_from_json, value["interval"]))
            for name, value in data["scores"].items()
        }
        costs = {name: number_from_json(value) for name, value in data["costs"].items()}
        return cls(data["name"], data["description"], scores, costs)


@dataclass(frozen=True, slots=True)
class Curve:
    """A learning curve of one agent."""

    agent: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    x_label: str
    y_label: str

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Curve:
        """Returns the curve that `to_json` wrote."""
        return cls(data["agent"], _numbers(data["x"]), _numbers(data["y"]), data["x_label"], data["y_label"])


@dataclass(frozen=True, slots=True)
class DistributionExhibit:
    """The exact probability of every solution of one problem.

    Attributes:
        names: the solutions, and 'no solution' as the last entry.
        target: probability of each name under the exact sampler.
        learned: probability of each name for each agent.
    """

    problem_id: str
    names: tuple[str, ...]
    target: tuple[float, ...]
    learned: dict[str, tuple[float, ...]]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DistributionExhibit:
        """Returns the exhibit that `to_json` wrote."""
        learned = {agent: _numbers(values) for agent, values in data["learned"].items()}
        return cls(data["problem_id"], tuple(data["names"]), _numbers(data["target"]), learned)


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One branch of a solution tree; the children's probabilities sum to their parent's.

    Attributes:
        label: the action that leads here.
        probability: how often the agent comes here from the start.
        target: how often the exact sampler comes here from the start.
        success: True at a solution, False where no solution can be reached any more, otherwise None.
        solution: name of the solution, '' elsewhere.
    """

    label: str
    probability: float
    target: float
    success: bool | None
    children: tuple[TreeNode, ...] = ()
    solution: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TreeNode:
        """Returns the node that `to_json` wrote."""
        return cls(**{**data, "children": tuple(map(cls.from_json, data["children"]))})


@dataclass(frozen=True, slots=True)
class TreeExhibit:
    """The solution tree of one problem as one agent walks it."""

    problem_id: str
    root: TreeNode
    agent: str = "learned"

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TreeExhibit:
        """Returns the exhibit that `to_json` wrote."""
        return cls(data["problem_id"], TreeNode.from_json(data["root"]), data["agent"])


@dataclass(frozen=True, slots=True)
class BenchmarkResults:
    """Everything that a report shows.

    Attributes:
        settings: what reproduces the run, by name.
        k: of pass@k.
        samples: number of samples for each problem, to which coverage refers.
        profiles: for each agent, the share of problems and seeds that reach a normalised score.
        versions: of the packages that were used.
        notes: sentences for the reader.
    """

    title: str
    environment: str
    settings: dict[str, Any]
    k: int
    samples: int
    agents: tuple[AgentResult, ...]
    curves: tuple[Curve, ...] = ()
    distributions: tuple[DistributionExhibit, ...] = ()
    trees: tuple[TreeExhibit, ...] = ()
    profiles: tuple[Curve, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[AgentResult, ...]:
        """The agents as tables list them: chance first, ceiling last."""
        place = {CHANCE: 0, CEILING: 2}
        return tuple(sorted(self.agents, key=lambda agent: place.get(agent.name, 1)))

    @property
    def contestants(self) -> tuple[AgentResult, ...]:
        """The agents without the yardsticks."""
        return tuple(agent for agent in self.agents if agent.name not in (CHANCE, CEILING))

    @property
    def main_scores(self) -> tuple[Score, ...]:
        """The scores of tables and plots; where nobody's exact distance is known, the seen one is in its place."""
        known = {name for agent in self.contestants for name in agent.scores if self.score(agent.name, name)}
        seen_only = SEEN_DISTANCE.name in known and "total_variation" not in known
        return (*SCORES[:-1], SEEN_DISTANCE) if seen_only else SCORES

    def score(self, agent_name: str, score_name: str) -> Estimate | None:
        """Returns a score, or None where the agent has none that is defined."""
        for agent in self.agents:
            estimate = agent.scores.get(score_name)
            if agent.name == agent_name and estimate is not None and math.isfinite(estimate.value):
                return estimate
        return None

    def label(self, score: Score) -> str:
        """Returns the heading of a score."""
        return score.label.format(k=self.k, samples=self.samples)

    def meaning(self, score: Score) -> str:
        """Returns the sentence that explains a score."""
        return score.meaning.format(k=self.k, samples=self.samples)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        parts = ("agents", "curves", "distributions", "trees", "profiles")
        return {
            "title": self.title,
            "environment": self.environment,
            "settings": self.settings,
            "k": self.k,
            "samples": self.samples,
            **{part: [entry.to_json() for entry in getattr(self, part)] for part in parts},
            "versions": self.versions,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BenchmarkResults:
        """Returns the results that `to_json` wrote."""
        return cls(
            title=data["title"],
            environment=data["environment"],
            settings=dict(data["settings"]),
            k=data["k"],
            samples=data["samples"],
            agents=tuple(map(AgentResult.from_json, data["agents"])),
            curves=tuple(map(Curve.from_json, data["curves"])),
            distributions=tuple(map(DistributionExhibit.from_json, data["distributions"])),
            trees=tuple(map(TreeExhibit.from_json, data["trees"])),
            profiles=tuple(map(Curve.from_json, data.get("profiles", ()))),
            versions=data["versions"],
            notes=tuple(data["notes"]),
        )

    def save(self, path: Path) -> None:
        """Writes the results as JSON, whole or not at all; what is not finite becomes null."""
        write_whole(path, json.dumps(finite_json(self.to_json()), indent=1, allow_nan=False, default=str) + "\n")

    @classmethod
    def load(cls, path: Path) -> BenchmarkResults:
        """Reads what `save` wrote.

        Raises:
            ValueError: the file holds something else.
        """
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"'{path}' is not a results file of a benchmark run ({error!r})") from None


def one_line(text: str) -> str:
    """Returns text from third parties without line breaks and without characters that no one can see."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _numbers(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(map(number_from_json, values))
