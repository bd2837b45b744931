"""The page of one evaluated agent: its scores, problem by problem, and the solutions that it found.

Made of what `gfn evaluate --output` wrote, without environment or model. Every text that comes from
an agent or a problem is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from baselines.canvas import AGENT_COLOURS, CARD, FAINT, INK, LEFT, MUTED, RIGHT, WIDTH, canvas, percent, write
from baselines.page import (
    PAGE_FILE,
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
from baselines.plots import curve_plot, distribution_plot, left_out, score_plot
from baselines.report import DASH
from baselines.results import (
    CEILING,
    CHANCE,
    NO_SOLUTION,
    SCORES,
    AgentResult,
    BenchmarkResults,
    Curve,
    DistributionExhibit,
)
from gfn_envs.evaluation import ProblemEvaluation
from gfn_envs.evaluation_results import Evaluation, ShownScore, shown_scores
from gfn_envs.files import write_whole
from gfn_envs.metrics import Estimate, pass_at_k

_PROBLEM_ROWS = 24
_DISTRIBUTIONS = 6
_GALLERY = 12
_GALLERY_ROWS = 12
_ROW = 30


def write_evaluation_report(evaluation: Evaluation, folder: Path) -> Path:
    """Writes report.html, whole or not at all, and returns its path."""
    page = folder / PAGE_FILE
    write_whole(page, evaluation_html(evaluation))
    return page


def evaluation_html(evaluation: Evaluation) -> str:
    """Returns the report as one self-contained HTML page."""
    estimates, results = evaluation.estimates(), _as_benchmark(evaluation)
    curves = figure(
        curve_plot(results, _attempt_curves(evaluation)),
        "Attempts",
        f"Share of problems solved by one of so many attempts, estimated without bias from {evaluation.samples}.",
    )
    scores = [
        figure(score_plot(results, score), text_html(results.label(score)), text_html(results.meaning(score)))
        for score in SCORES
        if results.score(evaluation.agent, score.name)
    ]
    sections = (
        section("Scores", _score_table(evaluation, estimates), _meanings(evaluation, estimates)),
        section("Between chance and ceiling", figure_grid([*scores, curves])),
        section("Problem by problem", figure_grid(_problem_figures(evaluation))),
        section("Learned beside exact distribution", figure_grid(_distribution_figures(evaluation, results))),
        section("Solutions found", figure_grid([_gallery(evaluation, one) for one in evaluation.problems[:_GALLERY]])),
        section("By kind of problem", _kind_table(evaluation)),
        section("Settings", definitions(_settings(evaluation))),
        section("Notes", bullets(_notes(evaluation))),
    )
    return document(f"{evaluation.agent} on {evaluation.env}", _lead(evaluation), sections)


def _lead(evaluation: Evaluation) -> str:
    count = len(evaluation.problems)
    return (
        f"<p>The agent <strong>{text_html(evaluation.agent)}</strong> played {count} "
        f"{'problem' if count == 1 else 'problems'} of <code>{text_html(evaluation.env)}</code>, "
        f"{evaluation.samples} attempts each.</p>\n"
        f"<p>Read every score between its yardsticks: <strong>{CHANCE}</strong>, uniform legal play, takes no skill; "
        "the <strong>exact sampler</strong> finds each solution as often as its reward deserves; the "
        "<strong>optimum</strong> is the most that anyone can have. In brackets are 95&nbsp;% intervals over "
        "problems.</p>\n"
    )


# -- tables --------------------------------------------------------------------------------------
def _score_table(evaluation: Evaluation, estimates: dict[str, Estimate]) -> str:
    heads = "".join(f'<th scope="col" class="number">{name}</th>' for name in (CHANCE, "exact sampler", "optimum"))
    rows = [_score_row(evaluation, score, estimates) for score in _known(estimates)]
    agent = f'<th scope="col" class="number">{text_html(evaluation.agent)}</th>'
    return scrolling_table(f'<th scope="col">score</th>{agent}{heads}', rows, "Scores")


def _known(estimates: dict[str, Estimate]) -> list[ShownScore]:
    return [score for score in shown_scores(estimates) if _cell(estimates, score.name) != DASH]


def _score_row(evaluation: Evaluation, score: ShownScore, estimates: dict[str, Estimate]) -> str:
    estimate = estimates[score.name]
    low, high = f"{estimate.low:.3f}", f"{estimate.high:.3f}"
    interval = f"<small>({low} to {high})</small>" if low != high else ""
    own = number_cell(f"<strong>{_cell(estimates, score.name)}</strong>{interval}")
    yardsticks = "".join(number_cell(_cell(estimates, name)) for name in (score.chance, score.target, score.best))
    return f'<tr><th scope="row">{text_html(evaluation.text(score)[0])}</th>{own}{yardsticks}</tr>\n'


def _meanings(evaluation: Evaluation, estimates: dict[str, Estimate]) -> str:
    entries = (evaluation.text(score) for score in _known(estimates))
    listed = "".join(f"<dt>{text_html(label)}</dt><dd>{text_html(meaning)}</dd>\n" for label, meaning in entries)
    return f"<dl>\n{listed}</dl>\n"


def _cell(estimates: dict[str, Estimate], name: str) -> str:
    estimate = estimates.get(name)
    return f"{estimate.value:.3f}" if estimate and math.isfinite(estimate.value) else DASH


def _kind_table(evaluation: Evaluation) -> str:
    shown = [
        score for score in _known(evaluation.estimates()) if score.name in ("success_at_1", "pass_at_k", "coverage")
    ]
    heads = "".join(
        f'<th scope="col" class="number">{text_html(evaluation.text(score)[0])}<small>{CHANCE}</small></th>'
        for score in shown
    )
    rows = []
    for kind in evaluation.kinds:
        own = evaluation.estimates(kind)
        cells = "".join(
            number_cell(f"{_cell(own, score.name)}<small>{_cell(own, score.chance)}</small>") for score in shown
        )
        rows.append(f'<tr><th scope="row">{text_html(kind)}</th>{cells}</tr>\n')
    return scrolling_table(f'<th scope="col">kind</th>{heads}', rows, "By kind of problem") if rows else ""


def _settings(evaluation: Evaluation) -> dict[str, object]:
    names = ("agent", "env", "samples", "k", "seed", "beta", "exact")
    return {**{name: getattr(evaluation, name) for name in names}, **evaluation.settings}


def _notes(evaluation: Evaluation) -> list[str]:
    intervals = "Intervals are 95 % bootstrap intervals over problems, weighted as the family weights them."
    return [intervals, *evaluation.remarks]


# -- plots of the benchmark's kind -----------------------------------------------------------------
def _as_benchmark(evaluation: Evaluation) -> BenchmarkResults:
    """Returns the agent beside the two yardsticks, as the plots of a benchmark read them."""
    estimates = evaluation.estimates()
    names = [score.name for score in SCORES]
    players = (
        (evaluation.agent, names),
        (CHANCE, ["chance" if name == "success_at_1" else f"chance_{name}" for name in names]),
        (CEILING, [f"target_{name}" for name in names]),
    )
    agents = tuple(
        AgentResult(
            player, "", {name: estimates[own] for name, own in zip(names, owns, strict=True) if own in estimates}, {}
        )
        for player, owns in players
    )
    return BenchmarkResults(
        evaluation.agent, evaluation.env, evaluation.settings, evaluation.k, evaluation.samples, agents
    )


def _attempt_curves(evaluation: Evaluation) -> list[Curve]:
    """Returns pass@k for every k, of the agent and of uniform play."""
    attempts = range(1, evaluation.samples + 1)
    total = sum(problem.weight for problem in evaluation.problems)
    agent, chance = [], []
    for k in attempts:
        own = other = 0.0
        for problem in evaluation.problems:
            successes = round(problem.scores["success_at_1"] * evaluation.samples)
            own += problem.weight * pass_at_k(evaluation.samples, successes, k)
            other += problem.weight * (1.0 - (1.0 - problem.scores["chance"]) ** k)
        agent.append(own / total)
        chance.append(other / total)
    places = tuple(map(float, attempts))
    return [
        Curve(evaluation.agent, places, tuple(agent), "attempts", "pass@k"),
        Curve(CHANCE, places, tuple(chance), "attempts", "pass@k"),
    ]


def _distribution_figures(evaluation: Evaluation, results: BenchmarkResults) -> list[str]:
    """Returns the first problems with several known solutions: the agent's distribution beside the exact one."""
    about = "The bar is the exact target: a perfect agent's point sits on it."
    how = "The agent is exact too." if evaluation.exact else f"The agent is from {evaluation.samples} samples."
    listed = [one for one in evaluation.problems if len(one.solutions) > 1 and not math.isnan(one.scores["n_states"])]
    return [
        figure(
            distribution_plot(results, _exhibit(evaluation, one)),
            text_html(one.problem_id),
            f"{about} {how}{left_out(len(one.solutions))}",
        )
        for one in listed[:_DISTRIBUTIONS]
    ]


def _exhibit(evaluation: Evaluation, problem: ProblemEvaluation) -> DistributionExhibit:
    player = "agent" if evaluation.exact else "sampled"
    learned, target = (
        tuple(shares.get(name, 0.0) for shares in problem.solutions.values()) for name in (player, "target")
    )
    return DistributionExhibit(
        problem.problem_id,
        (*problem.solutions, NO_SOLUTION),
        (*target, max(0.0, 1.0 - sum(target))),
        {evaluation.agent: (*learned, max(0.0, 1.0 - sum(learned)))},
    )


# -- problem by problem ----------------------------------------------------------------------------
def _problem_figures(evaluation: Evaluation) -> list[str]:
    rows = (
        ("success@1", "success_at_1", CHANCE, "optimum", "optimum"),
        ("coverage", "coverage", "chance_coverage", "target_coverage", "exact sampler"),
    )
    found = []
    for label, name, chance, best, best_label in rows:
        known = [one for one in evaluation.problems if math.isfinite(one.scores[name])]
        ordered = sorted(known, key=lambda one: one.scores[name])
        shown = _spread(ordered)
        if not shown:
            continue
        about = (
            f"{len(shown)} of {len(known)} problems, from the worst to the best."
            if len(shown) < len(known)
            else "From the worst to the best."
        )
        key = f" Dashed: {CHANCE}. Solid: {best_label}."
        values = [(one.problem_id, one.scores[name], one.scores[chance], one.scores[best]) for one in shown]
        found.append(figure(problem_plot(label, values), label, f"{about}{key}"))
    return found


def _spread(ordered: Sequence[ProblemEvaluation]) -> list[ProblemEvaluation]:
    """Returns problems evenly spaced in their order, both ends among them."""
    if len(ordered) <= _PROBLEM_ROWS:
        return list(ordered)
    return [ordered[round(place * (len(ordered) - 1) / (_PROBLEM_ROWS - 1))] for place in range(_PROBLEM_ROWS)]


def problem_plot(label: str, rows: Iterable[tuple[str, float, float, float]]) -> str:
    """Returns one score of each problem between its own chance and its own ceiling, as SVG.

    Args:
        rows: name, score, chance and ceiling of each problem; all scores from 0 to 1.
    """
    listed = list(rows)
    with canvas(f"problems-{label}", WIDTH, _ROW * len(listed) + 6) as (axes, finish):
        for place, (name, value, chance, best) in enumerate(listed):
            top = _ROW * place
            write(axes, LEFT, top + 9, name, 11, MUTED, room=WIDTH - 80)
            write(axes, RIGHT, top + 9, percent(value), 11, AGENT_COLOURS[0], align="right", bold=True)
            axes.plot([LEFT, RIGHT], [top + 22] * 2, color=FAINT, linewidth=2)
            for yardstick, style in ((chance, (0, (2, 1.5))), (best, "-")):
                if math.isfinite(yardstick):
                    axes.plot([_across(yardstick)] * 2, [top + 16, top + 28], color=INK, linewidth=1.5, linestyle=style)
            axes.plot(_across(value), top + 22, "o", color=AGENT_COLOURS[0], markersize=8, markeredgecolor=CARD)
        return finish(f"{label} of each problem")


def _across(share: float) -> float:
    return LEFT + 4 + (RIGHT - LEFT - 8) * min(max(share, 0.0), 1.0)


def _gallery(evaluation: Evaluation, problem: ProblemEvaluation) -> str:
    """Returns the solutions of one problem with how often each was found, the missing ones last."""
    ordered = sorted(problem.solutions.items(), key=lambda entry: -entry[1]["sampled"])
    count = sum(shares["sampled"] > 0 for _, shares in ordered)
    exact = not math.isnan(problem.scores["n_states"])
    about = f"{count} of {len(ordered)} solutions found" if exact else f"{count} solutions found, of an unknown number"
    rows = [
        f'<tr><th scope="row">{text_html(name)}</th>'
        + number_cell(str(round(shares["sampled"] * evaluation.samples)))
        + (number_cell(f"{evaluation.samples * shares['target']:.1f}") if exact else "")
        + "</tr>\n"
        for name, shares in ordered[:_GALLERY_ROWS]
    ]
    more = len(ordered) - len(rows)
    heads = '<th scope="col">solution</th><th scope="col" class="number">found</th>'
    heads += '<th scope="col" class="number">exact sampler</th>' if exact else ""
    table = scrolling_table(heads, rows, f"Solutions of {problem.problem_id}") if rows else ""
    note = f"<small>and {more} more</small>" if more > 0 else ""
    return figure(table, text_html(problem.problem_id), f"{about} in {evaluation.samples} attempts", note)
