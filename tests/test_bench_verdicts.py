"""Who is the best where: a table of several environments, sentences about one."""

from __future__ import annotations

from rich.console import Console

from baselines.arena_results import ArenaResults, arena_results
from baselines.bench_tables import Tables
from baselines.bench_verdicts import Verdict, leaders, verdicts, verdicts_html, verdicts_markdown, verdicts_text
from baselines.cells import CellResult, ProblemResult
from gfn_envs.metrics import Estimate


def verdict(arena: str, score: str, label: str, low: float, high: float) -> Verdict:
    difference = Estimate((low + high) / 2, low, high)
    return Verdict(arena, score, label, "walker", 0.5, "<b>|", 0.25, difference)


def test_verdicts_on_several_environments_are_one_table(capsys):
    found = [
        verdict("Line", "success_at_1", "success@1", 0.1, 0.4),
        verdict("Line", "pass_at_k", "pass@2", -0.1, 0.1),
        verdict("Game", "success_at_1", "success@1", -0.4, -0.1),
        verdict("Game", "pass_at_k", "pass@4", 0, 0),
        verdict("Game", "total_variation", "distance to target", 0.1, 0.4),
    ]
    lines = verdicts_markdown(found).splitlines()
    assert lines[0].startswith("walker, and in brackets the best of the others. ▲ is surely better")
    assert lines[2:] == [
        "| environment | success@1 | pass@k | distance to target |",
        "| --- | ---: | ---: | ---: |",
        r"| Line | 50.0 % ▲ (&lt;b&gt;\| 25.0 %) | 50.0 % (&lt;b&gt;\| 25.0 %) | – |",
        r"| Game | 50.0 % ▼ (&lt;b&gt;\| 25.0 %) | 50.0 % (&lt;b&gt;\| 25.0 %) | 0.500 ▲ (&lt;b&gt;\| 0.250) |",
    ]
    page = verdicts_html(found)
    assert '<td class="number better">50.0 % ▲<small>&lt;b&gt;| 25.0 %</small></td>' in page
    assert '<td class="number worse">50.0 % ▼<small>' in page
    assert '<td class="number">50.0 %<small>' in page
    for part in verdicts_text(found):
        Console(width=100).print(part)
    assert "50.0\N{NO-BREAK SPACE}% ▼" in capsys.readouterr().out


def test_verdicts_on_one_environment_are_sentences():
    found = [verdict("Line", "coverage", "coverage", -0.1, 0.2)]
    sentence = (
        "Line: walker is the best by coverage: 50.0 % against 25.0 % of <b>|; "
        "the interval of the difference contains 0."
    )
    assert [part.plain for part in verdicts_text(found)] == [sentence]
    assert verdicts_markdown(found) == "- " + sentence.replace("<b>|", r"&lt;b&gt;\|") + "\n"
    assert verdicts_html(found) == f"<ul>\n<li>{sentence.replace('<b>', '&lt;b&gt;')}</li>\n</ul>\n"
    assert (verdicts_html([]), verdicts_markdown([]), verdicts_text([])) == ("", "", [])


def cell(score: float) -> CellResult:
    names = ("success_at_1", "pass_at_k", "coverage", "distinct_solutions", "distinct_at_16", "pass_at_16")
    scores = {**dict.fromkeys(names, score), "total_variation": 1 - score, "chance": 0.1, "optimum": 1.0}
    problems = tuple(ProblemResult(f"p{number}", "", 1.0, scores, {}) for number in range(6))
    return CellResult({}, problems, {}, (), (), {})


def judged(cells: dict[str, dict[int, CellResult]]) -> ArenaResults:
    about = dict.fromkeys(cells, "")
    return arena_results(Tables("Line", "Line", {}, 20, 64, (0, 1), about, cells))


def test_a_verdict_is_on_the_seeds_that_both_have():
    """The one that did not come to the hard seed is not the better for it."""
    arena = judged({"walker": {0: cell(0.8)}, "runner": {0: cell(0.9), 1: cell(0.5)}})
    assert verdicts(arena, "walker")[0].sentence == (
        "Line: walker is NOT the best by success@1: 80.0 % against 90.0 % of runner."
    )
    assert leaders(arena)[0].sentence == "Line: runner is the best by success@1: 90.0 % against 80.0 % of walker."
    distance = next(verdict for verdict in verdicts(arena, "walker") if verdict.score == "total_variation")
    assert distance.values == ("0.200", "0.100")


def test_without_a_common_seed_there_is_no_verdict():
    cells = {"walker": {0: cell(0.9)}, "runner": {1: cell(0.5)}}
    assert verdicts(judged(cells), "walker") == leaders(judged(cells)) == []
    cells["rower"] = {0: cell(0.95), 1: cell(0.95)}
    assert {verdict.rival for verdict in verdicts(judged(cells), "walker")} == {"rower"}
