"""Benchmark results as one page, and as tables for the terminal, for Markdown and for spreadsheets.

The page is a single file: no script, nothing loaded from anywhere, readable on a phone, by day and
by night. Every text that comes from an agent or a problem is escaped.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from baselines.plots import COLOURS, curve_plot, distribution_plot, score_plot, tree_plot
from baselines.results import (
    CEILING,
    CHANCE,
    SCORES,
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
    page = folder / "report.html"
    results.save(folder / "results.json")
    write_whole(page, html_report(results))
    return page


# -- tables --------------------------------------------------------------------------------------
def text_table(results: BenchmarkResults) -> Table:
    """Returns the scores of all agents for the terminal, without intervals."""
    table = Table(title=Text(one_line(results.title)))
    table.add_column("agent")
    for score in SCORES:
        table.add_column(results.label(score), justify="right")
    for agent in results.rows:
        style = "dim" if agent.name in (CHANCE, CEILING) else ""
        cells = [_value(results, agent.name, score) for score in SCORES]
        table.add_row(Text(one_line(agent.name)), *map(Text, cells), style=style)
    return table


def markdown_table(results: BenchmarkResults) -> str:
    """Returns the scores of all agents with their intervals as a Markdown table."""
    heads = ["agent", *(results.label(score) for score in SCORES)]
    lines = [heads, ["---", *["---:"] * len(SCORES)]]
    for agent in results.rows:
        cells = [
            " ".join(filter(None, (_value(results, agent.name, score), _interval(results, agent.name, score))))
            for score in SCORES
        ]
        lines.append([_markdown(agent.name), *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _markdown(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|~$" else c for c in escape(one_line(text), quote=False))


def csv_table(results: BenchmarkResults) -> str:
    """Returns every score with its interval and every cost, one line for each agent."""
    scores = _union(agent.scores for agent in results.rows)
    costs = _union(agent.costs for agent in results.rows)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    bounds = [f"{name}{part}" for name in scores for part in ("", "_low", "_high")]
    writer.writerow(["agent", "description", *bounds, *costs])
    for agent in results.rows:
        estimates = [agent.scores.get(name) for name in scores]
        cells = [value for e in estimates for value in ((e.value, e.low, e.high) if e else ("", "", ""))]
        writer.writerow([agent.name, agent.description, *cells, *(agent.costs.get(name, "") for name in costs)])
    return buffer.getvalue()


def _union(mappings: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _value(results: BenchmarkResults, agent_name: str, score: Score) -> str:
    estimate = results.score(agent_name, score.name)
    return score.text(estimate.value) if estimate else DASH


def _interval(results: BenchmarkResults, agent_name: str, score: Score) -> str:
    estimate = results.score(agent_name, score.name)
    return score.interval(estimate) if estimate else ""


# -- page ----------------------------------------------------------------------------------------
def html_report(results: BenchmarkResults) -> str:
    """Returns the report as one self-contained HTML page."""
    title = escape(one_line(results.title))
    sections = (
        _section("Scores", _score_table(results), _score_meanings(results)),
        _section("Between chance and ceiling", _figures(_score_figures(results))),
        _section("Learning curves", _figures(_curve_figures(results))),
        _section("Which solutions", _figures(_distribution_figures(results))),
        _section("Solution trees", _tree_figures(results)),
        _section("Costs", _cost_table(results)),
        _section("Settings", _definitions(results.settings)),
        _section("Versions", _definitions(results.versions)),
        _section("Notes", _list(results.notes)),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n"
        f"<header>\n<h1>{title}</h1>\n{_lead(results)}</header>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _section(heading: str, *parts: str) -> str:
    body = "".join(parts)
    return f"<section>\n<h2>{heading}</h2>\n{body}</section>\n" if body else ""


def _lead(results: BenchmarkResults) -> str:
    """Returns what was run and how to read it."""
    count = len(results.contestants)
    about = {agent.name: f" ({_html(agent.description)})" for agent in results.agents if agent.description}
    return (
        f"<p>{count} {'agent' if count == 1 else 'agents'} played <code>{_html(results.environment)}</code>, "
        "where a problem has many right answers and the aim is to find all of them, each as often as its reward "
        "deserves.</p>\n"
        f"<p>Read every score between its two yardsticks: <strong>{CHANCE}</strong>{about.get(CHANCE, '')}, which "
        f"takes no skill, and <strong>{CEILING}</strong>{about.get(CEILING, '')}. In brackets are "
        "95&nbsp;% intervals.</p>\n"
    )


def _score_table(results: BenchmarkResults) -> str:
    heads = "".join(f'<th scope="col" class="number">{_html(results.label(score))}</th>' for score in SCORES)
    rows = []
    for agent in results.rows:
        cells = "".join(_score_cell(results, agent.name, score) for score in SCORES)
        kind = ' class="yardstick"' if agent.name in (CHANCE, CEILING) else ""
        about = f"<small>{_html(agent.description)}</small>" if agent.description else ""
        rows.append(f'<tr{kind}><th scope="row">{_html(agent.name)}{about}</th>{cells}</tr>\n')
    return _table(f'<th scope="col">agent</th>{heads}', rows, "Scores")


def _score_cell(results: BenchmarkResults, agent_name: str, score: Score) -> str:
    interval = _interval(results, agent_name, score)
    small = f"<small>{interval}</small>" if interval else ""
    return f'<td class="number">{_value(results, agent_name, score)}{small}</td>'


def _score_meanings(results: BenchmarkResults) -> str:
    entries = (f"<dt>{_html(results.label(s))}</dt><dd>{_html(results.meaning(s))}</dd>\n" for s in SCORES)
    return f"<dl>\n{''.join(entries)}</dl>\n"


def _score_figures(results: BenchmarkResults) -> list[str]:
    shown = [s for s in SCORES if any(results.score(agent.name, s.name) for agent in results.contestants)]
    return [_figure(score_plot(results, s), _html(results.label(s)), _html(results.meaning(s))) for s in shown]


def _curve_figures(results: BenchmarkResults) -> list[str]:
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in results.curves:
        groups.setdefault((curve.x_label, curve.y_label), []).append(curve)
    labels = {score.name: results.label(score) for score in SCORES}
    return [
        _figure(curve_plot(results, curves), _html(labels.get(y, y)), f"by {_html(x)}")
        for (x, y), curves in groups.items()
    ]


def _distribution_figures(results: BenchmarkResults) -> list[str]:
    about = "How often each agent finds each solution. The bar is the exact target: a perfect agent's point sits on it."
    return [
        _figure(distribution_plot(results, exhibit), _html(exhibit.problem_id), about, _distribution_numbers(exhibit))
        for exhibit in results.distributions
    ]


def _distribution_numbers(exhibit: DistributionExhibit) -> str:
    columns = [exhibit.target, *exhibit.learned.values()]
    heads = "".join(f'<th scope="col" class="number">{_html(name)}</th>' for name in ("target", *exhibit.learned))
    rows = [
        f'<tr><th scope="row">{_html(name)}</th>'
        + "".join(f'<td class="number">{100 * column[place]:.2f} %</td>' for column in columns)
        + "</tr>\n"
        for place, name in enumerate(exhibit.names)
    ]
    table = _table(f'<th scope="col">solution</th>{heads}', rows, f"Probabilities for {exhibit.problem_id}")
    return f"<details><summary>All numbers</summary>\n{table}</details>\n"


def _tree_figures(results: BenchmarkResults) -> str:
    return "".join(
        _figure(
            tree_plot(results, exhibit),
            f"{_html(exhibit.problem_id)}, played by {_html(exhibit.agent)}",
            "Moves that lead to solutions. The coloured line and the first number are how often the agent gets there; "
            "the pale band and the second number are the exact target.",
            wide=True,
        )
        for exhibit in results.trees
    )


def _cost_table(results: BenchmarkResults) -> str:
    names = _union(agent.costs for agent in results.rows)
    heads = "".join(f'<th scope="col" class="number">{_html(name.replace("_", " "))}</th>' for name in names)
    rows = [
        f'<tr><th scope="row">{_html(agent.name)}</th>'
        + "".join(f'<td class="number">{_cost(agent.costs.get(name))}</td>' for name in names)
        + "</tr>\n"
        for agent in results.rows
        if agent.costs
    ]
    return _table(f'<th scope="col">agent</th>{heads}', rows, "Costs") if rows else ""


def _cost(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:.3g}"


# -- pieces of the page --------------------------------------------------------------------------
def _html(text: str) -> str:
    return escape(one_line(text))


def _table(heads: str, rows: Sequence[str], label: str) -> str:
    return (
        f'<div class="scroll" role="region" aria-label="{_html(label)}" tabindex="0"><table>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table></div>\n"
    )


def _figure(plot: str, heading: str, about: str, below: str = "", wide: bool = False) -> str:
    if wide:
        plot = f'<div class="scroll" role="region" aria-label="{heading}" tabindex="0">{plot}</div>'
    return (
        f"<figure{' class=wide' if wide else ''}>\n<figcaption><strong>{heading}</strong><span>{about}</span>"
        f"</figcaption>\n{plot}\n{below}</figure>\n"
    )


def _figures(figures: Sequence[str]) -> str:
    return f'<div class="figures">\n{"".join(figures)}</div>\n' if figures else ""


def _definitions(values: dict[str, Any]) -> str:
    if not values:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_html(str(name))}</th><td><code>{_html(_plain(value))}</code></td></tr>\n'
        for name, value in values.items()
    )
    return f'<div class="scroll"><table class="definitions"><tbody>\n{rows}</tbody></table></div>\n'


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _list(notes: Sequence[str]) -> str:
    return f"<ul>\n{''.join(f'<li>{_html(note)}</li>' for note in notes)}\n</ul>\n" if notes else ""


def _style() -> str:
    light = "".join(f"--{name}:{pair[0]};" for name, pair in COLOURS.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in COLOURS.items())
    return (
        f":root{{color-scheme:light dark;--page:#f4f5f7;{light}}}\n"
        f"@media(prefers-color-scheme:dark){{:root{{--page:#121518;{dark}}}}}\n{_CSS}"
    )


_CSS = """\
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}
main{max-width:68rem;margin:0 auto;padding:1.5rem 1rem 4rem}
header p,dl,ul{max-width:44rem}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0 1rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.5rem 0 .75rem}
code{font-family:ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:.9em;
overflow-wrap:anywhere}
small,figcaption span{display:block;color:var(--muted);font-size:.8rem;font-weight:400}
.scroll{overflow-x:auto}
section>.scroll,figure{background:var(--card);border:1px solid var(--faint);border-radius:.6rem}
table{border-collapse:collapse;width:100%}
th,td{padding:.5rem .8rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--faint)}
tbody tr:last-child>*{border-bottom:0}
thead th{color:var(--muted);font-size:.85rem;font-weight:500;vertical-align:bottom}
tbody th{font-weight:600}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.yardstick>*{color:var(--muted)}
.yardstick th{font-weight:500}
.definitions th{font-weight:500;color:var(--muted);white-space:nowrap;width:1%}
dl{margin:1rem 0;font-size:.9rem}
dt{font-weight:600;float:left;clear:left;margin-right:.5rem}
dd{margin:0 0 .25rem;color:var(--muted)}
.figures{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr))}
figure{margin:0 0 1rem;padding:1rem;min-width:0}
.figures figure{margin:0}
figcaption{margin-bottom:.75rem}
figcaption strong{overflow-wrap:anywhere}
svg{display:block;width:100%;max-width:28rem;height:auto}
.wide svg{width:auto;max-width:none}
details{margin-top:.75rem;font-size:.85rem}
@media(max-width:30rem){main{padding:1rem .75rem 3rem}figure{padding:.75rem}}
summary{cursor:pointer;color:var(--muted)}
"""
