"""The page of one evaluation: everything is on it, nothing hostile is, and its curve has the right values."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from baselines.evaluation_report import _attempt_curves, _spread, evaluation_html, problem_plot, write_evaluation_report
from baselines.random_legal import RandomLegalAgent
from gfn_envs.evaluation import ProblemEvaluation, evaluate_agent
from gfn_envs.evaluation_results import Evaluation
from gfn_envs.problems import ProblemSet
from gfn_envs.tasks.game24 import Game24, Game24Problem
from tests.test_report import HOSTILE

PROBLEMS = ProblemSet((Game24Problem((1, 4, 6)), Game24Problem((2, 3, 4))), (3.0, 1.0))


@pytest.fixture(scope="module")
def evaluation():
    rng = np.random.default_rng(0)
    rows = tuple(evaluate_agent(Game24(count=3), RandomLegalAgent(), PROBLEMS, 16, 4, rng, exact=True))
    return Evaluation("even", "gfn_envs/Game24-v0", 16, 4, 0, 1.0, True, {"split": "test"}, rows)


def test_the_page_shows_scores_problems_and_solutions(evaluation, tmp_path):
    path = write_evaluation_report(evaluation, tmp_path)
    page = path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    for text in ("success@1, greedy", "total variation", "ELBO", "game24/1-4-6", "solutions found in 16 attempts"):
        assert text in page
    for problem in evaluation.problems:
        assert all(name.replace("'", "&#x27;") in page for name in problem.solutions)
    assert page.count("<svg") == 8
    assert "<script" not in page
    assert "nan" not in page.lower().replace("nano", "")


def test_what_agents_and_problems_say_is_escaped(evaluation):
    """Also where nothing is known: a problem that is too large to list."""
    known = evaluation.problems[0]
    hostile = replace(known, problem_id=HOSTILE, kind=HOSTILE, solutions={HOSTILE: {"sampled": 0.5}})
    unknown = {name: math.nan for name in known.scores if name not in ("success_at_1", "chance")}
    hostile = replace(hostile, scores={**known.scores, **unknown})
    page = evaluation_html(replace(evaluation, agent=HOSTILE, settings={HOSTILE: HOSTILE}, problems=(hostile,)))
    assert "<script" not in page
    assert "of an unknown number" in page
    assert "1 of 1 problems have too many states to list" in page


def test_the_curve_over_attempts_is_unbiased_and_weighted(evaluation):
    scores = [{"success_at_1": share, "chance": chance} for share, chance in ((0.5, 0.5), (0.0, 0.2))]
    rows = tuple(
        ProblemEvaluation("p", "", weight, own, {}, ()) for weight, own in zip((0.75, 0.25), scores, strict=True)
    )
    agent, chance = _attempt_curves(replace(evaluation, samples=4, k=1, problems=rows))
    assert agent.x == (1, 2, 3, 4)
    assert agent.y == pytest.approx((0.75 * 0.5, 0.75 * 5 / 6, 0.75, 0.75))  # 2 of 4: 1 - 1/6 for two attempts
    assert chance.y[1] == pytest.approx(0.75 * 0.75 + 0.25 * 0.36)


def test_many_problems_are_thinned_from_the_worst_to_the_best():
    ordered = list(range(100))
    shown = _spread(ordered)
    assert len(shown) == 24
    assert (shown[0], shown[-1]) == (0, 99)
    assert shown == sorted(set(shown))
    assert _spread(ordered[:5]) == ordered[:5]


def test_the_plot_of_problems_is_one_svg_with_its_numbers():
    svg = problem_plot("success@1", [("a", 0.25, 0.1, 1.0), (HOSTILE, 1.0, math.nan, math.nan)])
    ElementTree.fromstring(svg)
    assert "25.0 %" in svg
    assert "100.0 %" in svg
