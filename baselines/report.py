"""Benchmark results as one page, and as tables for the terminal, for Markdown and for spreadsheets.

The page is a single file: no script, nothing loaded from anywhere, readable on a phone, by day and
by night. Every text that comes from an agent or a problem is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rich.table import Table
from rich.text import Text

from baselines.page import (
    PAGE_FILE,
    RESULTS_FILE,
    bullets,
    definitions,
    document,
    figure,
    figure_grid,
    number_cell,
    scrolling_table,
    section,
    text_html,
)
from baselines.plots import curve_plot, distribution_plot, left_out, score_plot, tree_plot
from baselines.results import (
    CEILING,
    CHANCE,
    BenchmarkResults,
    Curve,
    DistributionExhibit,
    Score,
    one_line,
)
from gfn_envs.files import write_whole

DASH = "–"


def write_report(results: BenchmarkResults, folder: Path) -> Path:
    """Writes report.html and results.json, each whole or not at all; returns the path of the page."""
    page = folder / PAGE_FILE
    results.save(folder / RESULTS_FILE)
    write_whole(page, html_report(results))
    return page


# -- tables --------------------------------------------------------------------------------------
def text_table(results: BenchmarkResults) -> Table:
    """Returns the scores of all agents for the terminal, without intervals."""
    table = Table(title=Text(one_line(results.title)))
    table.add_column("agent")
    for score in results.main_scores:
        table.add_column(results.label(score), justify="right")
    for agent in results.rows:
        style = "dim" if agent.name in (CHANCE, CEILING) else ""
        cells = [_value(results, agent.name, score) for score in results.main_scores]
        table.add_row(Text(one_line(agent.name)), *map(Text, cells), style=style)
    return table


def markdown_table(results: BenchmarkResults) -> str:
    """Returns the scores of all agents with their intervals as a Markdown table."""
    lines = []
    for agent in results.rows:
        cells = [
            " ".join(filter(None, (_value(results, agent.name, score), _interval(results, agent.name, score))))
            for score in results.main_scores
        ]
        lines.append([markdown_text(agent.name), *cells])
    return markdown_lines(["agent", *(results.label(score) for score in results.main_scores)], lines)


def markdown_lines(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table of which all columns but the first are numbers."""
    alignment = ["---", *["---:"] * (len(heads) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, alignment, *lines))


def markdown_text(text: str) -> str:
    """Returns text from anywhere on one line, so that Markdown shows it as it is."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|~$" else c for c in escape(one_line(text), quote=False))


def _value(results: BenchmarkResults, agent_name: str, score: Score) -> str:
    estimate = results.score(agent_name, score.name)
    return score.text(estimate.value) if estimate else DASH


def _interval(results: BenchmarkResults, agent_name: str, score: Score) -> str:
    estimate = results.score(agent_name, score.name)
    return score.interval(estimate) if estimate else ""


# -- page ----------------------------------------------------------------------------------------
def html_report(results: BenchmarkResults) -> str:
    """Returns the report as one self-contained HTML page."""
    sections = (
        section("Scores", score_table(results), score_meanings(results)),
        section("Between chance and ceiling", figure_grid(score_figures(results))),
        section("Learning curves", figure_grid(curve_figures(results))),
        section("Which solutions", figure_grid(distribution_figures(results))),
        section("Solution trees", _tree_figures(results)),
        section("Costs", cost_table(results)),
        section("Settings", definitions(results.settings)),
        section("Versions", definitions(results.versions)),
        section("Notes", bullets(results.notes)),
    )
    return document(results.title, _lead(results), sections)


def _lead(results: BenchmarkResults) -> str:
    """Returns what was run and how to read it."""
    count = len(results.contestants)
    about = {agent.name: f" ({text_html(agent.description)})" for agent in results.agents if agent.description}
    return (
        f"<p>{count} {'agent' if count == 1 else 'agents'} played <code>{text_html(results.environment)}</code>, "
        "where a problem has many right answers and the aim is to find all of them, each as often as its reward "
        "deserves.</p>\n"
        f"<p>Read every score between its two yardsticks: <strong>{CHANCE}</strong>{about.get(CHANCE, '')}, which "
        f"takes no skill, and <strong>{CEILING}</strong>{about.get(CEILING, '')}. In brackets are "
        "95&nbsp;% intervals.</p>\n"
    )


def score_table(results: BenchmarkResults) -> str:
    """Returns the scores of all agents with their intervals."""
    scores = results.main_scores
    heads = "".join(f'<th scope="col" class="number">{text_html(results.label(score))}</th>' for score in scores)
    rows = []
    for agent in results.rows:
        cells = "".join(_score_cell(results, agent.name, score) for score in scores)
        kind = ' class="yardstick"' if agent.name in (CHANCE, CEILING) else ""
        about = f"<small>{text_html(agent.description)}</small>" if agent.description else ""
        rows.append(f'<tr{kind}><th scope="row">{text_html(agent.name)}{about}</th>{cells}</tr>\n')
    return scrolling_table(f'<th scope="col">agent</th>{heads}', rows, "Scores")


def _score_cell(results: BenchmarkResults, agent_name: str, score: Score) -> str:
    interval = _interval(results, agent_name, score)
    small = f"<small>{interval}</small>" if interval else ""
    return number_cell(f"{_value(results, agent_name, score)}{small}")


def score_meanings(results: BenchmarkResults) -> str:
    """Returns what each score means."""
    scores = results.main_scores
    entries = (f"<dt>{text_html(results.label(s))}</dt><dd>{text_html(results.meaning(s))}</dd>\n" for s in scores)
    return f"<dl>\n{''.join(entries)}</dl>\n"


def score_figures(results: BenchmarkResults) -> list[str]:
    """Returns one figure a score: every agent between chance and ceiling."""
    shown = [s for s in results.main_scores if any(results.score(agent.name, s.name) for agent in results.contestants)]
    return [figure(score_plot(results, s), text_html(results.label(s)), text_html(results.meaning(s))) for s in shown]


def curve_figures(results: BenchmarkResults) -> list[str]:
    """Returns the learning curves, those of one quantity together."""
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in results.curves:
        groups.setdefault((curve.x_label, curve.y_label), []).append(curve)
    labels = {score.name: results.label(score) for score in results.main_scores}
    return [
        figure(curve_plot(results, curves), text_html(labels.get(y, y)), f"by {text_html(x)}")
        for (x, y), curves in groups.items()
    ]


def distribution_figures(results: BenchmarkResults) -> list[str]:
    """Returns what agents find beside the exact target, problem by problem."""
    about = "How often each agent finds each solution. The bar is the exact target: a perfect agent's point sits on it."
    return [
        figure(
            distribution_plot(results, exhibit),
            text_html(exhibit.problem_id),
            f"{about}{left_out(len(exhibit.names) - 1)}",
            _distribution_numbers(exhibit),
        )
        for exhibit in results.distributions
    ]


def _distribution_numbers(exhibit: DistributionExhibit) -> str:
    columns = [exhibit.target, *exhibit.learned.values()]
    heads = "".join(f'<th scope="col" class="number">{text_html(name)}</th>' for name in ("target", *exhibit.learned))
    rows = [
        f'<tr><th scope="row">{text_html(name)}</th>'
        + "".join(f'<td class="number">{100 * column[place]:.2f} %</td>' for column in columns)
        + "</tr>\n"
        for place, name in enumerate(exhibit.names)
    ]
    table = scrolling_table(f'<th scope="col">solution</th>{heads}', rows, f"Probabilities for {exhibit.problem_id}")
    return f"<details><summary>All numbers</summary>\n{table}</details>\n"


def _tree_figures(results: BenchmarkResults) -> str:
    return "".join(
        figure(
            tree_plot(results, exhibit),
            f"{text_html(exhibit.problem_id)}, played by {text_html(exhibit.agent)}",
            "Moves that lead to solutions. The coloured line and the first number are how often the agent gets there; "
            "the pale band and the second number are the exact target.",
            wide=True,
        )
        for exhibit in results.trees
    )


def cost_table(results: BenchmarkResults) -> str:
    """Returns what each agent cost; nothing where no cost is known."""
    names = list(dict.fromkeys(name for agent in results.rows for name in agent.costs))
    heads = "".join(f'<th scope="col" class="number">{text_html(name.replace("_", " "))}</th>' for name in names)
    rows = [
        f'<tr><th scope="row">{text_html(agent.name)}</th>'
        + "".join(f'<td class="number">{_cost(agent.costs.get(name))}</td>' for name in names)
        + "</tr>\n"
        for agent in results.rows
        if agent.costs
    ]
    return scrolling_table(f'<th scope="col">agent</th>{heads}', rows, "Costs") if rows else ""


def _cost(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.3g}"
