"""Who is the best where: a table of several environments, sentences about one."""

from __future__ import annotations

from rich.console import Console

from baselines.bench_verdicts import Verdict, verdicts_html, verdicts_markdown, verdicts_text
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
