"""The report of a benchmark run: one page, Markdown for a text, CSV for a spreadsheet, JSON for a program."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from baselines.arena_results import COMPARED, ArenaResults, Comparison
from baselines.bench import read_run
from baselines.bench_csv import problems_csv, scores_csv
from baselines.bench_exhibits import Found
from baselines.bench_plots import diversity_plot, rank_plot
from baselines.bench_results import NORMALISED_SUCCESS, BenchResults, summarise_run
from baselines.bench_verdicts import sure_side, verdicts_html, verdicts_markdown
from baselines.page import (
    PAGE_FILE,
    RESULTS_FILE,
    bullets,
    definitions,
    document,
    figure,
    figure_grid,
    number_cell,
    preformatted,
    scrolling_table,
    section,
    subsection,
    text_html,
)
from baselines.plots import agent_colours, curve_plot
from baselines.report import (
    DASH,
    cost_table,
    curve_figures,
    distribution_figures,
    markdown_table,
    markdown_text,
    score_figures,
    score_meanings,
    score_table,
    text_table,
)
from baselines.results import CEILING, CHANCE, Score, one_line
from gfn_envs.evaluation_results import SHOWN_SCORES, shown_scores
from gfn_envs.files import finite_json, write_whole
from gfn_envs.metrics import Estimate

_GALLERY_ROWS = 12
_PUBLISHED = ("accuracy", "diversity", "diversity_at_16", "creativity")
_CREATIVITY = ("creativity", "share of all solutions found by anyone that only this agent found; Creativity in papers")


def load_and_report(folder: Path) -> tuple[BenchResults, Path]:
    """Writes the report of a run folder, as a page and as data; returns what it says, and the page.

    Raises:
        ValueError: it is no run folder, or nothing in it is finished.
    """
    run = read_run(folder)
    results = summarise_run(run)
    for name, text in {**report_files(results), "problems.csv": problems_csv(run)}.items():
        write_whole(folder / name, text)
    return results, folder / PAGE_FILE


def report_files(results: BenchResults) -> dict[str, str]:
    """Returns the text of each file that shows results."""
    return {
        RESULTS_FILE: json.dumps(finite_json(results.to_json()), indent=1, allow_nan=False) + "\n",
        "scores.csv": scores_csv(results),
        "report.md": markdown_report(results),
        PAGE_FILE: html_report(results),
    }


# -- page ----------------------------------------------------------------------------------------
def html_report(results: BenchResults) -> str:
    """Returns the report as one self-contained HTML page."""
    sections = (
        section("In short", verdicts_html(results.verdicts)),
        section("Not finished", _warning(results.failures)),
        *(_arena_section(arena) for arena in results.arenas),
        section("Ranks over all environments", figure_grid(_rank_figures(results))),
        section("The scores of papers", _published_table(results), _published_meanings(results)),
        section("To do it again", _commands(results)),
        section("Versions", definitions(dict(results.versions))),
        section("Notes", bullets((*results.notes, *_method(results)))),
    )
    return document(results.title, _lead(results), sections)


def _lead(results: BenchResults) -> str:
    agents = {agent.name for arena in results.arenas for agent in arena.results.contestants}
    seeds = len(results.seeds)
    counts = (
        f"{len(agents)} {'agent' if len(agents) == 1 else 'agents'}, "
        f"{len(results.arenas)} {'environment' if len(results.arenas) == 1 else 'environments'}, "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}"
    )
    return (
        f"<p>{text_html(results.description)}</p>\n<p>{counts}. Every agent was scored on the same problems. "
        f"Read every score between its yardsticks: <strong>{CHANCE}</strong>, uniformly random legal "
        f"play, takes no skill; <strong>{CEILING}</strong> is the exact sampler of the target distribution. In "
        "brackets are 95&nbsp;% intervals over problems and seeds.</p>\n"
    )


def _warning(sentences: Sequence[str]) -> str:
    return f'<div class="warning">{bullets(sentences)}</div>\n' if sentences else ""


def _arena_section(arena: ArenaResults) -> str:
    results = arena.results
    return section(
        text_html(arena.name),
        score_table(results),
        f"<details><summary>What the scores mean</summary>\n{score_meanings(results)}</details>\n",
        _all_scores(arena),
        subsection("Between chance and ceiling", figure_grid([*score_figures(results), *_diversity_figure(arena)])),
        subsection("Head to head", *_matrices(arena)),
        subsection("Learning and profiles", figure_grid([*curve_figures(results), *_profile_figure(arena)])),
        subsection("Learned beside exact distribution", figure_grid(distribution_figures(results))),
        subsection("Solutions found", *(_gallery(found) for found in arena.found)),
        subsection("Costs, mean of a seed", cost_table(results)),
    )


def _all_scores(arena: ArenaResults) -> str:
    """Returns every score that anyone has, folded; worst deciles are among them."""
    results = arena.results
    numbers = {"k": results.k, "samples": results.samples}
    measured = dict.fromkeys(name for agent in results.contestants for name in agent.scores)
    shown = [s for s in shown_scores(measured) if any(results.score(a.name, s.name) for a in results.contestants)]
    heads = "".join(f'<th scope="col" class="number">{text_html(s.label.format(**numbers))}</th>' for s in shown)
    rows = [
        f'<tr><th scope="row">{text_html(agent.name)}</th>'
        + "".join(_plain_cell(results.score(agent.name, score.name)) for score in shown)
        + "</tr>\n"
        for agent in results.rows
    ]
    table = scrolling_table(f'<th scope="col">agent</th>{heads}', rows, f"All scores in {arena.name}")
    return f"<details><summary>All scores</summary>\n{table}</details>\n"


def _plain_cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return number_cell(DASH)
    interval = f"<small>({estimate.low:.3f} to {estimate.high:.3f})</small>" if estimate.low < estimate.high else ""
    return number_cell(f"{estimate.value:.3f}{interval}")


def _diversity_figure(arena: ArenaResults) -> list[str]:
    if not any(arena.results.score(agent.name, "coverage") for agent in arena.results.contestants):
        return []
    about = "One good answer, or all of them? Up is more of all solutions, right is more often a solution."
    return [figure(diversity_plot(arena.results), "Success against diversity", about)]


def _profile_figure(arena: ArenaResults) -> list[str]:
    if not arena.results.profiles:
        return []
    about = (
        "Share of problems and seeds on which an agent reaches so much of the way from chance, 0, to the best "
        "possible, 1. Higher is better everywhere."
    )
    return [figure(curve_plot(arena.results, arena.results.profiles), "Performance profiles", about)]


def _matrices(arena: ArenaResults) -> list[str]:
    """Returns the comparisons by each score, the first one open and the others folded."""
    tables = [(score, table) for score in COMPARED if (table := _matrix(arena, score))]
    if not tables:
        return []
    about = (
        "<p><small>How much better the agent of the row is than that of the column, with the interval over the same "
        "problems and seeds; P is how probably it is the better one on a problem. Coloured where the interval leaves 0 "
        "out.</small></p>\n"
    )
    folded = (
        f"<details><summary>by {text_html(arena.results.label(score))}</summary>\n{table}</details>\n"
        for score, table in tables[1:]
    )
    return [about, tables[0][1], *folded]


def _matrix(arena: ArenaResults, score: Score) -> str:
    """Returns the table of differences: row minus column, so that a row with much green is a good agent."""
    found = {(one.first, one.second): one for one in arena.comparisons if one.score == score.name}
    names = list(dict.fromkeys(first for first, _ in found))
    if not names:
        return ""
    heads = "".join(f'<th scope="col" class="number">{text_html(name)}</th>' for name in names)
    rows = [
        f'<tr><th scope="row">{text_html(first)}</th>'
        + "".join(_difference_cell(found.get((first, second)), score) for second in names)
        + "</tr>\n"
        for first in names
    ]
    label = text_html(arena.results.label(score))
    return scrolling_table(f'<th scope="col">{label}</th>{heads}', rows, f"Head to head by {score.name}")


def _difference_cell(comparison: Comparison | None, score: Score) -> str:
    if comparison is None:
        return number_cell(DASH)
    difference = comparison.difference
    interval = f"<small>({told})</small>" if (told := _range(difference, score)) else ""
    improvement = f"<small>P {comparison.improvement.value:.2f}</small>"
    return number_cell(f"{_signed(difference.value, score)}{interval}{improvement}", sure_side(difference))


def _range(difference: Estimate, score: Score) -> str:
    """Returns the interval of a difference, empty where there is none."""
    if math.isnan(difference.low):
        return ""
    return f"{_signed(difference.low, score)} to {_signed(difference.high, score)}"


def _signed(value: float, score: Score) -> str:
    if math.isnan(value):
        return DASH
    text = f"{100 * value:+.1f}" if score.percent else f"{value:+.3f}"
    return text.replace("-", "−")


def _gallery(found: Found) -> str:
    """Returns the solutions of one problem with the share of attempts in which each agent found each."""
    agents = list(found.agents)
    heads = "".join(f'<th scope="col" class="number">{text_html(name)}</th>' for name in agents)
    heads += '<th scope="col" class="number">exact sampler</th>' if found.target else ""
    rows = []
    for place, name in enumerate(found.names[:_GALLERY_ROWS]):
        shares = [found.agents[agent][place] for agent in agents] + ([found.target[place]] if found.target else [])
        cells = "".join(number_cell(_share(share)) for share in shares)
        rows.append(f'<tr><th scope="row">{text_html(name)}</th>{cells}</tr>\n')
    count = f"{len(found.names)} of {found.known}" if found.known is not None else f"{len(found.names)}"
    more = len(found.names) - len(rows)
    about = f"{count} solutions found by anyone" + (f", the {_GALLERY_ROWS} most frequent shown" if more > 0 else "")
    table = scrolling_table(f'<th scope="col">solution</th>{heads}', rows, f"Solutions of {found.problem_id}")
    return figure(table, text_html(found.problem_id), f"{about}; share of attempts")


def _share(share: float) -> str:
    return f"{100 * share:.1f} %" if share else DASH


def _rank_figures(results: BenchResults) -> list[str]:
    colours = agent_colours(results.arenas[0].results)
    agents = dict.fromkeys(agent.name for arena in results.arenas for agent in arena.results.contestants)
    figures = []
    for ranks in results.ranks:
        about = "How often each agent takes each rank, the first darkest, when one problem is drawn per environment."
        if ranks.score == NORMALISED_SUCCESS:
            about += " What is further below chance than the best is above it counts as -1."
        if left_out := [agent for agent in agents if agent not in ranks.shares]:
            about += f" Without {', '.join(left_out)}, of which a result is missing."
        figures.append(figure(rank_plot(ranks, colours), f"By {ranks.score}", text_html(about)))
    return figures


def _published_table(results: BenchResults) -> str:
    """Returns accuracy, diversity and creativity of every agent, and beside them what papers report."""
    names = [*_PUBLISHED, *_quoted_only(results)]
    heads = "".join(f'<th scope="col" class="number">{text_html(_label(results, name))}</th>' for name in names)
    rows = []
    for arena in results.arenas:
        for agent in arena.results.rows:
            values = [estimate.value if (estimate := agent.scores.get(name)) else math.nan for name in names]
            kind = ' class="yardstick"' if agent.name in (CHANCE, CEILING) else ""
            rows.append(_published_row(kind, arena.name, agent.name, "", values))
        for quoted in results.quoted:
            if quoted.environment == arena.name:
                values = [quoted.scores.get(name, math.nan) for name in names]
                about = f"quoted from {quoted.source}"
                rows.append(_published_row(' class="quoted"', arena.name, quoted.agent, about, values))
    first = '<th scope="col">environment</th><th scope="col">agent</th>'
    return scrolling_table(f"{first}{heads}", rows, "The scores of papers")


def _published_row(kind: str, arena: str, agent: str, about: str, values: Sequence[float]) -> str:
    small = f"<small>{text_html(about)}</small>" if about else ""
    cells = "".join(number_cell(DASH if math.isnan(value) else f"{value:.3f}") for value in values)
    return f'<tr{kind}><td>{text_html(arena)}</td><th scope="row">{text_html(agent)}{small}</th>{cells}</tr>\n'


def _quoted_only(results: BenchResults) -> list[str]:
    return list(dict.fromkeys(name for quoted in results.quoted for name in quoted.scores if name not in _PUBLISHED))


def _numbers(results: BenchResults) -> dict[str, object]:
    """Returns k and the number of samples for labels, or letters where environments differ in them."""
    k, samples = ({getattr(arena.results, name) for arena in results.arenas} for name in ("k", "samples"))
    return {"k": k.pop() if len(k) == 1 else "k", "samples": samples.pop() if len(samples) == 1 else "n"}


def _label(results: BenchResults, name: str) -> str:
    numbers = _numbers(results)
    labels = {score.name: score.label for score in SHOWN_SCORES}
    return labels.get(name, name.replace("_", " ")).format(**numbers)


def _published_meanings(results: BenchResults) -> str:
    numbers = _numbers(results)
    shown = [
        (score.label.format(**numbers), score.meaning.format(**numbers))
        for score in SHOWN_SCORES
        if score.name in _PUBLISHED
    ]
    entries = "".join(
        f"<dt>{text_html(label)}</dt><dd>{text_html(text)}</dd>\n" for label, text in (*shown, _CREATIVITY)
    )
    return f"<dl>\n{entries}</dl>\n"


def _commands(results: BenchResults) -> str:
    if not results.suite_text:
        return ""
    lines = "\n".join(results.commands)
    commands = f"{preformatted(lines)}<p>with this suite file:</p>\n" if lines else ""
    return f"{commands}{preformatted(results.suite_text)}"


def _method(results: BenchResults) -> tuple[str, ...]:
    return (
        "Intervals are 95 % percentile bootstrap intervals: problems and seeds are drawn anew, for all agents alike; "
        "problems count by the weights of their family.",
        *(["With one seed they say nothing about other seeds."] if len(results.seeds) == 1 else []),
    )


# -- tables ----------------------------------------------------------------------------------------
def text_tables(results: BenchResults) -> list[Table]:
    """Returns for the terminal one table of scores an environment, without intervals."""
    return [text_table(arena.results) for arena in results.arenas]


def differences_table(arena: ArenaResults) -> Table:
    """Returns for the terminal each difference of two agents once, the later one's row less the earlier one's."""
    table = Table(title="paired differences")
    for heading in ("score", "agent", "against"):
        table.add_column(heading)
    for heading in ("better by", "95 % interval", "P(better)"):
        table.add_column(heading, justify="right")
    place = {agent.name: index for index, agent in enumerate(arena.results.contestants)}
    for score in COMPARED:
        for one in arena.comparisons:
            if one.score == score.name and place[one.first] > place[one.second]:
                difference = one.difference
                interval = _range(difference, score) or DASH
                texts = (arena.results.label(score), one.first, one.second, _signed(difference.value, score), interval)
                table.add_row(*(Text(one_line(text)) for text in texts), f"{one.improvement.value:.2f}")
    return table


def markdown_report(results: BenchResults) -> str:
    """Returns the verdicts, the failures and the table of every environment as Markdown."""
    parts = [f"# {markdown_text(results.title)}\n"]
    if results.verdicts:
        parts.append(f"## In short\n\n{verdicts_markdown(results.verdicts)}")
    if results.failures:
        parts.append("## Not finished\n\n" + "".join(f"- {markdown_text(one)}\n" for one in results.failures))
    parts += [f"## {markdown_text(arena.name)}\n\n{markdown_table(arena.results)}" for arena in results.arenas]
    if results.notes:
        parts.append("## Notes\n\n" + "".join(f"- {markdown_text(note)}\n" for note in results.notes))
    if suite := results.suite_text:
        fence = "`" * max(3, 1 + max((len(run) for run in suite.split("\n") if set(run) == {"`"}), default=0))
        parts.append(f"## To do it again\n\n{_markdown_commands(results)}{fence}yaml\n{suite}\n{fence}\n")
    return "\n".join(parts)


def _markdown_commands(results: BenchResults) -> str:
    return "".join(f"{markdown_text(command)}\n\n" for command in results.commands)
