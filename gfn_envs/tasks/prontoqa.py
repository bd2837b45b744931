"""PrOntoQA: derive by rules, sentence by sentence, whether a statement is true or false.

Description
    A paragraph gives rules about kinds ("Every butterfly is a lepidopteran. Vumpuses are not shy.")
    and one fact ("Max is a tumpus."). The player follows the fact through the rules until the
    statement in question, or its negation, is derived, and answers. After PrOntoQA (arXiv
    2210.01240), played sentence by sentence as in Flow of Reasoning (arXiv 2406.05673).

Observation
    The paragraph, the query, what was derived, the sentences that were used without effect (if
    any), the current claim and the steps left::

        Cats are felines. Each feline is not shy. Max is a cat.
        True or false: Max is shy.
        Derived: Max is a feline.
        Claim: Max is a feline.
        Steps left: 4.

Actions
    Each rule of the paragraph as it stands there, in its order, and `Answer: True` and
    `Answer: False`, also spelled `True` and `False`. A rule whose subject is the current claim's
    concept derives the new claim. By default every rule not yet used is offered, the published
    setting: one that does not apply is legal, derives nothing, and is used up together with the
    step, so that it is missing if it is needed later. With `applicable_only=True` only rules that
    apply to the current claim are offered.

Reward
    1 for the right answer with a complete proof of it, otherwise 0. R = 1 or 1e-4. A right answer
    without a proof is no success; `details` tells the two apart.

Episode End
    With an answer, or after as many steps as the problem's longest proof has rules, hops at most,
    one for the answer, and `slack`. So there is time for every proof, and as much to waste in
    problems with short proofs as in others.

Object and P_B
    The state is the applied rules in their order and the *set* of those used without effect, whose
    order makes no difference. Histories that differ only in it merge, so that all states can be
    listed in the published setting too. The object is such a state with its answer. P_B is uniform
    over the incoming edges from states that can be reached: a rule that applies to the given fact
    cannot have been wasted before another was applied.

Solutions
    A solution is a proof and its answer: the applied rules up to the first claim that decides the
    query. Rules used without effect, and rules applied after that claim, make no new solution. Two
    proofs differ if they use different sentences or other concepts on their way (`shortcuts`).

Problems and Splits
    `ontology="fictional"`: a random chain of invented concepts. `ontology="true"`: a small taxonomy
    of animals. The query follows by `hops` rules and has exactly one truth value; both polarities
    are equally likely. `distractors` more rules lead elsewhere; the first of them says the opposite
    of a concept off the chain, as published. Each of `shortcuts` more rules skips a link of the
    chain, which is true as well and makes more proofs. The JSON files of PrOntoQA load as published
    (each `test_example`). The canonical problem is the graph of the rules with the given fact and the
    query marked and all words removed, so that a split separates structures: order of sentences,
    wording, names of concepts and individuals do not matter. With few distractors there are few
    structures, and a split can be empty.

Arguments
    hops (1 to 8), distractors, shortcuts, slack, ontology, negation, applicable_only.

Exact Values
    The 20 published problems, default options: one proof each, optimum 1; random legal play succeeds
    with probability 0.000539 on average (13/9504 on the first), with `applicable_only=True` 0.006084.

References
    Saparov and He 2023 (arXiv 2210.01240); Yu et al. 2024, Flow of Reasoning (arXiv 2406.05673).

Version History
    v0: first version.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gfn_envs.drawing import Drawing
from gfn_envs.problems import GeneratedProblems, ProblemSource
from gfn_envs.task import Presets, Problem, Task
from gfn_envs.tasks.ontology import Shape, Theory, draw, fictional_world, read_theory, structure, true_world
from gfn_envs.tasks.prontoqa_drawing import draw as draw_proof
from gfn_envs.tasks.sentences import LONGEST_PHRASE, LONGEST_SENTENCE, QUERY_PREFIX

ONTOLOGIES = ("fictional", "true")
ANSWERS = {"Answer: True": "True", "Answer: False": "False"}
_LONGEST_CLAIM = 2 * LONGEST_PHRASE + len(" is not an .") + 3
_CACHED_ACTIONS = 1 << 16


@dataclass(frozen=True, slots=True)
class PrOntoQAProblem(Problem):
    """The paragraph of rules and one fact, and the query, both as published."""

    question: str
    query: str

    @property
    def id(self) -> str:
        """'prontoqa/max-is-not-shy-' and twelve digits that tell the paragraph."""
        digits = hashlib.sha256(f"{self.question}\n{self.query}".encode()).hexdigest()[:12]
        asked = self.query.removeprefix(QUERY_PREFIX).removesuffix(".").lower().replace(" ", "-")
        return f"prontoqa/{asked}-{digits}"

    @property
    def canonical(self) -> str:
        """The structure of the rules, the same for every order of sentences and all names."""
        return f"prontoqa/{structure(_theory(self))}"


class PrOntoQAState(NamedTuple):
    """What was done so far; sentences are counted from 0 in the paragraph's order.

    Attributes:
        applied: the sentences that derived a claim, in order.
        used: the bits of all sentences used.
        answer: "True", "False", or nothing yet.
    """

    problem: PrOntoQAProblem
    applied: tuple[int, ...] = ()
    used: int = 0
    answer: str = ""


@dataclass(frozen=True)
class PrOntoQA(Task[PrOntoQAProblem, PrOntoQAState]):
    """Rules of PrOntoQA; see the module's docstring.

    Args:
        hops: rules in the chain of a generated problem, and most that a given one may need, 1 to 8.
        distractors: further rules.
        shortcuts: further rules that skip a link of the chain, at most hops - 1.
        slack: steps beyond the longest proof and the answer.
        ontology: "fictional" or "true".
        negation: whether generated rules may be negated; queries may be in any case.
        applicable_only: offer only the rules that apply to the current claim.
    """

    hops: int = 5
    distractors: int = 7
    shortcuts: int = 0
    slack: int = 2
    ontology: str = "fictional"
    negation: bool = True
    applicable_only: bool = False

    name: ClassVar[str] = "prontoqa"
    problem_type: ClassVar[type[PrOntoQAProblem]] = PrOntoQAProblem
    difficulties: ClassVar[Presets] = {
        "easy": {"hops": 2, "applicable_only": True},
        "medium": {"hops": 3},
        "hard": {"hops": 5},
    }
    charset: ClassVar[str] = "\n -.:" + string.digits + string.ascii_letters
    max_action_length: ClassVar[int] = LONGEST_SENTENCE  # type: ignore[misc]

    def __post_init__(self) -> None:
        limits = {"hops": (1, 8), "distractors": (0, 20), "shortcuts": (0, 7), "slack": (0, 20)}
        for option, (low, high) in limits.items():
            value = getattr(self, option)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{option} must be an integer from {low} to {high}, got {value!r}")
        if self.shortcuts >= self.hops:
            raise ValueError(
                f"a chain of {self.hops} hops has {self.hops - 1} shortcuts, got shortcuts={self.shortcuts}"
            )
        if self.ontology not in ONTOLOGIES:
            raise ValueError(f"ontology must be one of {ONTOLOGIES}, got {self.ontology!r}")
        for option in ("negation", "applicable_only"):
            if type(getattr(self, option)) is not bool:
                raise ValueError(f"{option} must be True or False, got {getattr(self, option)!r}")

    # -- sizes -----------------------------------------------------------------------------------
    @property
    def horizon(self) -> int:  # type: ignore[override]
        """The chain, the answer, and the slack; a problem whose proofs are all shorter has fewer."""
        return self.hops + 1 + self.slack

    @property
    def max_rules(self) -> int:
        """Most rules that a problem can have."""
        return self.hops + self.distractors + self.shortcuts

    @property
    def max_actions(self) -> int:  # type: ignore[override]
        """Every rule and two answers."""
        return self.max_rules + 2

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]
        """All rules with the fact, and once more if wasted; a claim for each rule, the query and the current one."""
        return (2 * self.max_rules + 1) * (LONGEST_SENTENCE + 1) + (self.max_rules + 2) * (_LONGEST_CLAIM + 1) + 100

    # -- problems --------------------------------------------------------------------------------
    def problems(self) -> ProblemSource[PrOntoQAProblem]:
        """Returns the generated family."""
        return GeneratedProblems(self._generate)

    def _generate(self, rng: np.random.Generator) -> PrOntoQAProblem:
        world = true_world() if self.ontology == "true" else fictional_world(rng, self.negation)
        shape = Shape(self.hops, self.distractors, self.shortcuts, self.negation)
        return PrOntoQAProblem(*draw(world, shape, rng))

    def problem_from_json(self, data: Mapping[str, Any]) -> PrOntoQAProblem:
        """Builds a problem from `question` and `query`, white space folded."""
        return super().problem_from_json({k: " ".join(v.split()) if isinstance(v, str) else v for k, v in data.items()})

    def check_problem(self, problem: PrOntoQAProblem) -> None:
        """Raises ValueError unless the sentences are read, the query has one answer, and the sizes fit."""
        for key in ("question", "query"):
            if not isinstance(getattr(problem, key), str):
                raise ValueError(f"{key!r} must be a text, got {str(getattr(problem, key))[:40]!r}")
        rules = problem.question.count(".") - 1
        if rules > self.max_rules:
            raise ValueError(
                f"the problem has {rules} rules, more than hops + distractors + shortcuts = {self.max_rules}; "
                f"pass distractors={self.distractors + rules - self.max_rules} for such problems"
            )
        shortest = int(_theory(problem).distances[-1])
        if shortest > self.hops:
            raise ValueError(
                f"the shortest proof has {shortest} rules, more than hops={self.hops}; pass hops={shortest}"
            )

    def load_problems(self, path: Path) -> list[PrOntoQAProblem]:
        """Reads the published JSON: examples by name, each with a `test_example`; the others are not read."""
        try:
            examples = json.loads(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise ValueError(f"'{path}' is not JSON: {error}") from None
        if not isinstance(examples, dict):
            raise ValueError(f"'{path}' must hold a JSON object of examples, as published PrOntoQA files do")
        return [self._read_example(path, name, example) for name, example in examples.items()]

    def _read_example(self, path: Path, name: str, example: Any) -> PrOntoQAProblem:
        try:
            test = example.get("test_example") if isinstance(example, dict) else None
            if not isinstance(test, dict):
                raise ValueError("there is no 'test_example'")
            missing = [key for key in ("question", "query", "answer") if key not in test]
            if missing:
                raise ValueError(f"'test_example' has no {missing[0]!r}")
            problem = self.problem_from_json({"question": test["question"], "query": test["query"]})
            if test["answer"] != _theory(problem).answer:
                told = str(test["answer"])[:40]
                raise ValueError(f"the answer is given as {told!r}, the rules prove {_theory(problem).answer!r}")
        except ValueError as error:
            raise ValueError(f"'{path}' example {name[:40]!r}: {error}") from None
        return problem

    # -- rules -----------------------------------------------------------------------------------
    def _steps(self, theory: Theory) -> int:
        """Returns the most steps of an episode."""
        return min(self.hops, theory.longest) + 1 + self.slack

    def reset(self, problem: PrOntoQAProblem) -> PrOntoQAState:
        """Returns the state in which only the fact is given."""
        return PrOntoQAState(problem)

    def actions(self, state: PrOntoQAState) -> tuple[str, ...]:
        """Returns the rules on offer in the paragraph's order, and the answers."""
        theory = _theory(state.problem)
        if state.answer or state.used.bit_count() >= self._steps(theory):
            return ()
        return _actions(theory, _claim(state), state.used, self.applicable_only)

    def step(self, state: PrOntoQAState, action: str) -> PrOntoQAState:
        """Applies a rule to the current claim, or wastes it, or answers."""
        problem, applied, used, answer = state
        theory = _theory(problem)
        if answer or used.bit_count() >= self._steps(theory):
            raise KeyError(action)
        if action in ANSWERS:
            return PrOntoQAState(problem, applied, used, ANSWERS[action])
        index = theory.indices[action]
        applies = index in theory.applicable[_claim(state)]
        if used >> index & 1 or (self.applicable_only and not applies):
            raise KeyError(action)
        return PrOntoQAState(problem, (*applied, index) if applies else applied, used | 1 << index)

    def aliases(self, state: PrOntoQAState) -> dict[str, str]:
        """The answers as single words."""
        return {answer: action for action, answer in ANSWERS.items()} if self.actions(state) else {}

    def observe(self, state: PrOntoQAState) -> str:
        """Returns paragraph, query, derived claims, wasted sentences, current claim and steps left."""
        problem, theory = state.problem, _theory(state.problem)
        derived = wasted = ""
        if state.applied:
            derived = f"\nDerived: {' '.join([theory.claims[i] for i in state.applied])}"
        if indices := _wasted(state):
            wasted = f"\nUsed without effect: {' '.join([theory.sentences[i] for i in indices])}"
        left = self._steps(theory) - state.used.bit_count()
        last = f"Answer: {state.answer}" if state.answer else f"Steps left: {left}"
        claim = theory.claims[_claim(state)]
        return f"{problem.question}\n{problem.query}{derived}{wasted}\nClaim: {claim}\n{last}."

    def draw(self, state: PrOntoQAState) -> Drawing:
        """Draws the proof so far beside the query and the sentences left, at the end whether it was right."""
        theory = _theory(state.problem)
        return draw_proof(state, theory, self.hops, self._steps(theory))

    # -- scores ----------------------------------------------------------------------------------
    def success(self, state: PrOntoQAState) -> bool:
        """Says whether the answer is right and its proof complete."""
        theory = _theory(state.problem)
        return state.answer == theory.answer and not theory.decisive.isdisjoint(state.applied)

    def step_reward(self, state: PrOntoQAState, action: str, next_state: PrOntoQAState) -> float:
        """Returns 1 for the right answer with a complete proof, otherwise 0."""
        return float(self.success(next_state))

    def details(self, state: PrOntoQAState) -> dict[str, Any]:
        """Returns `answer_correct` and `proof_complete`, the two halves of success."""
        theory = _theory(state.problem)
        return {
            "answer_correct": state.answer == theory.answer,
            "proof_complete": not theory.decisive.isdisjoint(state.applied),
        }

    def end_scores(self, state: PrOntoQAState) -> dict[str, float]:
        """Returns the details as numbers: papers report answers and proofs apart."""
        return {name: float(value) for name, value in self.details(state).items()}

    def solution(self, state: PrOntoQAState) -> str:
        """Returns the rules applied up to the first claim that decides the query, and the answer."""
        theory = _theory(state.problem)
        ends = [place for place, rule in enumerate(state.applied, start=1) if rule in theory.decisive]
        return _solution_name(theory, state.applied[: ends[0]] if ends else state.applied, state.answer)

    def parents(self, state: PrOntoQAState) -> tuple[tuple[PrOntoQAState, str], ...]:
        """Returns the incoming edges: the answer, the last applied rule, or any wasted one."""
        problem, applied, used, answer = state
        theory = _theory(problem)
        if answer:
            return ((PrOntoQAState(problem, applied, used), f"Answer: {answer}"),)
        edges, wasted = [], _wasted(state)
        # Only at the given fact can no other claim have been current when a rule was wasted.
        if applied and (len(applied) > 1 or not set(wasted).intersection(theory.applicable[-1])):
            edges.append((applied[-1], applied[:-1]))
        here = theory.applicable[_claim(state)]
        edges += [(index, applied) for index in wasted if index not in here]
        return tuple(
            (PrOntoQAState(problem, before, used ^ 1 << index), theory.sentences[index]) for index, before in edges
        )

    def solve(self, problem: PrOntoQAProblem) -> tuple[str, ...]:
        """Returns all proofs for which there is time, each with the answer, sorted."""
        theory = _theory(problem)
        proofs = theory.proofs(self._steps(theory) - 1)
        return tuple(sorted(_solution_name(theory, proof, theory.answer) for proof in proofs))


def _theory(problem: PrOntoQAProblem) -> Theory:
    return read_theory(problem.question, problem.query)


def _claim(state: PrOntoQAState) -> int:
    """Returns the current claim as the rule that derived it, -1 for the given fact."""
    return state.applied[-1] if state.applied else -1


@lru_cache(maxsize=_CACHED_ACTIONS)
def _actions(theory: Theory, claim: int, used: int, applicable_only: bool) -> tuple[str, ...]:
    offered = theory.applicable[claim] if applicable_only else range(len(theory.rules))
    return (*[theory.sentences[i] for i in offered if not used >> i & 1], *ANSWERS)


def _wasted(state: PrOntoQAState) -> list[int]:
    """Returns the sentences that were used without effect, in the paragraph's order."""
    bits = state.used
    for index in state.applied:
        bits ^= 1 << index
    return [i for i in range(bits.bit_length()) if bits >> i & 1]


def _solution_name(theory: Theory, proof: tuple[int, ...], answer: str) -> str:
    return " ".join([*(theory.sentences[i] for i in proof), f"Answer: {answer or 'none'}"])
