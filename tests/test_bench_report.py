"""The report of a benchmark run: what it says, that it is safe, and that a browser shows it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from baselines.bench import Run, read_run, run_suite
from baselines.bench_csv import problems_csv, scores_csv
from baselines.bench_report import html_report, load_and_report, markdown_report
from baselines.bench_results import BenchResults, Ranks, summarise_run
from baselines.bench_verdicts import verdicts
from baselines.cells import CellResult, Failure
from baselines.cli import bench, report
from baselines.suites import parse_suite
from gfn_envs.cli import CommandError
from gfn_envs.metrics import Estimate
from tests.test_bench import REPOSITORY, TINY, here

HOSTILE = '<script>alert("1")</script> & $\\frac{$ | \x1b[31m'
QUOTED = "quoted:\n  - {environment: NumberLine, agent: theirs, source: their table 1, scores: {accuracy: 0.5}}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "run"
    run_suite(
        parse_suite(TINY + QUOTED, REPOSITORY / "tiny.yaml"),
        path,
        here,
        "gfn bench tiny.yaml",
    )
    return path


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """The finished run with a failure and a cell that was not run in the place of two results on Game24."""
    whole = read_run(folder)
    outcomes = list(whole.outcomes)
    places = [place for place, cell in enumerate(whole.cells) if cell.arena.name == "Game24" and cell.seed == 1]
    outcomes[places[0]], outcomes[places[1]] = Failure(f"ValueError: {HOSTILE}"), None
    return replace(whole, outcomes=tuple(outcomes))


@pytest.fixture(scope="module")
def results(run: Run) -> BenchResults:
    return summarise_run(run)


# -- numbers ---------------------------------------------------------------------------------------
def test_scores_are_means_over_seeds_and_problems(run: Run, results: BenchResults):
    line = results.arenas[0]
    mine = [o for c, o in zip(run.cells, run.outcomes, strict=True) if c.label.startswith("NumberLine, walker")]
    for name in ("success_at_1", "coverage", "total_variation", "solution_entropy"):
        expected = np.mean([[problem.scores[name] for problem in outcome.problems] for outcome in mine])
        own = line.results.score("walker", name)
        assert own.value == pytest.approx(expected)
        assert own.low <= own.value <= own.high
    chance = np.mean([problem.scores["chance"] for problem in mine[0].problems])
    assert line.results.score("chance", "success_at_1").value == pytest.approx(chance)
    assert line.results.score("ceiling", "total_variation").value == pytest.approx(0, abs=1e-12)
    distinct, solved = (
        np.mean([[problem.scores[name] for problem in outcome.problems] for outcome in mine])
        for name in ("distinct_solutions", "accuracy")
    )
    assert line.results.score("walker", "diversity").value == pytest.approx(distinct / solved)


def test_a_run_that_went_on_with_another_version_names_both(run: Run, results: BenchResults):
    played = next(outcome for outcome in run.outcomes if isinstance(outcome, CellResult))
    newer = replace(played, versions={**played.versions, "gfn-gym": "99.0"})
    outcomes = tuple(newer if outcome is played else outcome for outcome in run.outcomes)
    found = summarise_run(replace(run, outcomes=outcomes)).versions
    assert sorted(found.pop("gfn-gym").split(" and ")) == sorted(["99.0", played.versions["gfn-gym"]])
    assert found == {name: version for name, version in results.versions.items() if name != "gfn-gym"}


def test_comparisons_are_of_all_pairs_and_mirrored(results: BenchResults):
    line = results.arenas[0]
    pairs = {(one.score, one.first, one.second): one for one in line.comparisons}
    assert len(pairs) == 4 * 2
    one, other = (pairs[("total_variation", *order)] for order in (("walker", "uniform"), ("uniform", "walker")))
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert one.improvement.value == pytest.approx(1 - other.improvement.value)
    own, their = (line.results.score(agent, "total_variation").value for agent in ("walker", "uniform"))
    assert one.difference.value == pytest.approx(their - own)  # a smaller distance is better


def test_what_is_missing_is_named_and_leaves_the_rest(results: BenchResults):
    game = results.arenas[1]
    assert game.results.score("walker", "success_at_1") is not None
    assert [sentence.split(" (failures")[0] for sentence in results.failures] == [
        f"Game24, uniform, seed 1: ValueError: {HOSTILE}",
        "Game24, walker: not run yet with seed 1",
    ]
    assert [ranks.shares for ranks in results.ranks] == []  # nobody has every cell


def test_agents_that_miss_the_same_seeds_are_one_sentence(run: Run):
    outcomes = tuple(
        None if cell.arena.name == "Game24" else outcome for cell, outcome in zip(run.cells, run.outcomes, strict=True)
    )
    unfinished = summarise_run(replace(run, outcomes=outcomes))
    assert unfinished.failures == ("Game24, all agents: not run yet with seed 0, 1",)


def test_ranks_and_profiles_of_a_whole_run(folder: Path):
    whole = summarise_run(read_run(folder))
    assert [ranks.score for ranks in whole.ranks] == ["normalised success", "coverage"]
    for ranks in whole.ranks:
        assert np.sum(list(ranks.shares.values()), axis=0) == pytest.approx([1, 1])
    for curve in whole.arenas[0].results.profiles:
        assert list(curve.y) == sorted(curve.y, reverse=True)


def test_a_run_without_results_is_refused(run: Run):
    with pytest.raises(ValueError, match="no cell of the suite 'tiny' has a result yet"):
        summarise_run(replace(run, outcomes=(None,) * len(run.outcomes)))
    with pytest.raises(ValueError, match="all cells of the suite 'tiny' failed, so there is nothing to report"):
        summarise_run(replace(run, outcomes=(Failure("no", ""),) * len(run.outcomes)))


def test_verdicts_say_plainly_where_the_agent_in_focus_is_not_the_best(results: BenchResults):
    line = results.arenas[0]

    def with_success(walker: float, difference: Estimate):
        comparisons = tuple(
            replace(one, values=(walker, one.values[1]), difference=difference)
            if (one.score, one.first) == ("success_at_1", "walker")
            else one
            for one in line.comparisons
        )
        return [verdict.sentence for verdict in verdicts(replace(line, comparisons=comparisons), "walker")]

    uniform = f"{100 * line.results.score('uniform', 'success_at_1').value:.1f} %"
    assert with_success(0.1, Estimate(-0.5, -0.6, -0.4))[0] == (
        f"NumberLine: walker is NOT the best by success@1: 10.0 % against {uniform} of uniform."
    )
    assert with_success(0.1, Estimate(-0.5, -0.6, 0.4))[0].endswith("; the interval of the difference contains 0.")
    assert with_success(0.9, Estimate(0.5, 0.4, 0.6))[0].startswith(
        "NumberLine: walker is the best by success@1: 90.0 %"
    )
    assert (
        with_success(0.9, Estimate(0, 0, 0))[0] == "NumberLine: walker shares the best success@1 with uniform: 90.0 %."
    )
    assert verdicts(line, "somebody else") == []


# -- forms -----------------------------------------------------------------------------------------
class Page(HTMLParser):
    """Counts tags, and keeps the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name, value in attributes:
            assert not name.startswith("on")
            assert not (name in ("src", "href") and not value.startswith("#"))

    def handle_data(self, data) -> None:
        self.text.append(data)


def test_the_page_holds_every_section_and_loads_nothing(results: BenchResults):
    page = Page(html_report(results))
    text = " ".join(" ".join(page.text).split())
    for heading in (
        *(
            "In short",
            "Not finished",
            "NumberLine",
            "Game24",
            "Between chance and ceiling",
            "Success against diversity",
        ),
        *("Head to head", "Performance profiles", "Learned beside exact distribution", "Solutions found"),
        *("Costs, mean of a seed", "The scores of papers", "To do it again", "Versions", "Notes"),
    ):
        assert heading in text
    assert "gfn bench tiny.yaml" in text
    assert "quoted from their table 1" in text
    assert "environment_steps: 40" in text
    assert "script" not in page.tags
    assert page.tags["svg"] >= 12
    assert page.tags["table"] >= 10
    assert not re.search(r"https?://(?!www\.w3\.org)", html_report(results))


def test_names_from_strangers_do_no_harm(run: Run):
    contestant = replace(run.suite.agents[1], name=HOSTILE)
    suite = replace(run.suite, agents=(run.suite.agents[0], contestant), focus=HOSTILE, text=f"# {HOSTILE}")
    cells = tuple(
        replace(cell, contestant=contestant) if cell.contestant.name == "walker" else cell for cell in run.cells
    )
    results = summarise_run(replace(run, suite=suite, cells=cells))
    page = html_report(results)
    assert "script" not in Page(page).tags
    assert "\x1b" not in page
    assert "<script" not in markdown_report(results).split("```")[0]


def test_tables_for_programs(results: BenchResults):
    rows = list(csv.DictReader(io.StringIO(scores_csv(results))))
    (own,) = (r for r in rows if (r["environment"], r["agent"], r["score"]) == ("NumberLine", "walker", "coverage"))
    estimate = results.arenas[0].results.score("walker", "coverage")
    assert [float(own[name]) for name in ("value", "low", "high")] == [estimate.value, estimate.low, estimate.high]
    assert any(row["score"] == "cost_environment_steps" for row in rows)
    assert any(row["agent"] == "theirs (quoted from their table 1)" for row in rows)
    markdown = markdown_report(results)
    assert "| walker |" in markdown
    assert "## Not finished" in markdown


def test_only_what_somebody_found_counts_as_found(run: Run, results: BenchResults):
    """Listed problems carry all solutions, also those of which no agent has seen one."""
    for arena in results.arenas:
        cells = [o for c, o in zip(run.cells, run.outcomes, strict=True) if c.arena.name == arena.name]
        for one in arena.found:
            played = [
                p for o in cells if isinstance(o, CellResult) for p in o.problems if p.problem_id == one.problem_id
            ]
            found = {name for p in played for name, shares in p.solutions.items() if shares["sampled"] > 0}
            assert set(one.names) == found
            assert one.known == len(played[0].solutions)


def test_creativity_is_of_seeds_that_all_have(folder: Path):
    """Who is alone with a seed found everything alone there."""
    whole = read_run(folder)

    def creative(*missing: tuple[str, int]) -> list[float]:
        kept = [
            None if (cell.contestant.name, cell.seed) in missing else outcome
            for cell, outcome in zip(whole.cells, whole.outcomes, strict=True)
        ]
        line = summarise_run(replace(whole, outcomes=tuple(kept))).arenas[0].results
        return [agent.scores["creativity"].value for agent in line.contestants]

    one_seed = creative(("walker", 1), ("uniform", 1))
    assert all(map(math.isfinite, one_seed))
    assert creative(("walker", 1)) == one_seed != creative()
    (single,) = creative(("walker", 0), ("walker", 1))
    assert math.isnan(single)


def test_ranks_name_who_is_left_out(results: BenchResults):
    page = html_report(replace(results, ranks=(Ranks("normalised success", {"uniform": (1.0,)}),)))
    assert "Without walker, of which a result is missing." in page
    assert "counts as -1" in page
    assert "Without" not in html_report(
        replace(results, ranks=(Ranks("coverage", {"uniform": (1, 0), "walker": (0, 1)}),))
    )


def test_every_problem_is_a_line_for_programs(run: Run):
    rows = list(csv.DictReader(io.StringIO(problems_csv(run))))
    played = [(cell, o) for cell, o in zip(run.cells, run.outcomes, strict=True) if isinstance(o, CellResult)]
    assert len(rows) == sum(len(outcome.problems) for _, outcome in played)
    cell, outcome = played[-1]
    own = [row for row in rows if row["cell"] == cell.key]
    assert {(row["environment"], row["agent"], row["seed"]) for row in own} == {
        (cell.arena.name, cell.contestant.name, str(cell.seed))
    }
    assert [row["problem"] for row in own] == [problem.problem_id for problem in outcome.problems]
    for row, problem in zip(own, outcome.problems, strict=True):
        assert float(row["coverage"]) == problem.scores["coverage"]


def test_the_same_folder_gives_the_same_report(folder: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    _, page = load_and_report(folder)
    first = page.read_text()
    _, again = load_and_report(copy)
    assert again.read_text() == first
    kept = json.loads((folder / "results.json").read_text())
    assert [arena["name"] for arena in kept["arenas"]] == ["NumberLine", "Game24"]


# -- command line ----------------------------------------------------------------------------------
def test_the_command_runs_resumes_and_reports(tmp_path: Path, capsys):
    own, output = tmp_path / "own.yaml", tmp_path / "run"
    own.write_text(TINY)
    bench(str(own), output=output, jobs=2, only=("NumberLine", "0"), json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["failures"] == [  # cells that were not asked for
        "Game24, all agents: not run yet with seed 0, 1",
        "NumberLine, all agents: not run yet with seed 1",
    ]
    first = f"gfn bench {own} --only NumberLine 0"
    assert printed["commands"] == [first]
    assert printed["seeds"] == [0]
    assert "2 agents, 1 environment, 1 seed." in (output / "report.html").read_text()
    before = {file: file.stat().st_mtime_ns for file in (output / "cells").iterdir()}
    assert len(before) == 2
    bench(str(own), output=output, jobs=2, only=("NumberLine",))
    shown = capsys.readouterr()
    assert "walker" in shown.out
    assert f"report: {output / 'report.html'}" in shown.out
    assert "NumberLine, walker, seed 1: success@1" in " ".join(shown.err.split())
    assert {file: file.stat().st_mtime_ns for file in before} == before
    (output / "report.html").unlink()
    report(output)
    page = (output / "report.html").read_text()
    assert f"{first}\ngfn bench {own} --only NumberLine<" in page, "all that is needed to do it again"
    assert "2 agents, 1 environment, 2 seeds." in page


def test_a_failed_cell_makes_the_command_fail_at_its_end(tmp_path: Path, capsys):
    own, output = tmp_path / "own.yaml", tmp_path / "run"
    own.write_text("""
name: own
environments: [{id: gfn_envs/NumberLine-v0, evaluation: {split: test, count: 2}}]
agents: [recurrent_ppo, uniform]
seeds: [0]
budget: {environment_steps: 10}
""")
    with pytest.raises(SystemExit) as ended:
        bench(str(own), output=output, jobs=1)
    assert ended.value.code == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "NumberLine, recurrent_ppo, seed 0: ValueError: recurrent_ppo reads turn by turn" in shown
    assert f"report: {output / 'report.html'}" in shown
    bench(str(own), output=output, only=("uniform",))  # nothing of what is asked for now has failed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"suite": "quikc"}, "did you mean 'quick'"),
        ({"jobs": 0}, "--jobs must be at least 1, got 0"),
        ({"only": ("nobody",)}, "nothing in this suite is called 'nobody'"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(tmp_path: Path, options: dict, sentence: str):
    own = tmp_path / "own.yaml"
    own.write_text(TINY)
    suite = options.pop("suite", str(own))
    with pytest.raises((CommandError, ValueError), match=sentence):
        bench(suite, output=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


# -- browser ---------------------------------------------------------------------------------------
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [400, 1100])
def test_a_browser_shows_the_page_without_complaint(results: BenchResults, tmp_path: Path, width: int):
    (tmp_path / "report.html").write_text(html_report(results), encoding="utf-8")
    probe = (tmp_path / "report.html").read_text() + (
        "<script>document.title = 'wide ' + (document.documentElement.scrollWidth > innerWidth) + ' empty ' + "
        "[...document.querySelectorAll('svg,table,figure')].filter(one => !one.closest('details:not([open])') && "
        "one.getBoundingClientRect().height < 10).length</script>"
    )
    (tmp_path / "probe.html").write_text(probe.replace("default-src 'none'", "default-src 'unsafe-inline'"))
    dom, said = browse(tmp_path / "report.html", tmp_path, width)
    assert "CONSOLE" not in said
    assert dom.count("<svg") >= 12
    assert dom.count("<table") >= 10
    shown, _ = browse(tmp_path / "probe.html", tmp_path, width)
    assert "<title>wide false empty 0</title>" in shown


def browse(page: Path, home: Path, width: int) -> tuple[str, str]:
    """Returns the document as the browser has it, and what it said."""
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home / 'profile'}"),
            *("--enable-logging=stderr", f"--window-size={width},3000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


def test_scores_that_nobody_has_are_left_out(run: Run):
    """Without lists of solutions there is no coverage and no distance, and the page does without."""

    def unlisted(outcome):
        if not isinstance(outcome, CellResult):
            return outcome
        problems = tuple(
            replace(
                problem,
                scores={
                    **dict.fromkeys(problem.scores, math.nan),
                    **{name: problem.scores[name] for name in ("success_at_1", "pass_at_k", "chance", "optimum")},
                },
                solutions={name: {"sampled": columns["sampled"]} for name, columns in problem.solutions.items()},
            )
            for problem in outcome.problems
        )
        return replace(outcome, problems=problems)

    results = summarise_run(replace(run, outcomes=tuple(map(unlisted, run.outcomes))))
    assert {one.score for one in results.arenas[0].comparisons} == {"success_at_1", "pass_at_k"}
    assert results.arenas[0].results.score("walker", "coverage") is None
    page = html_report(results)
    assert "Success against diversity" not in page
    assert "Learned beside exact distribution" not in page
    assert "Solutions found" in page
    assert "nan" not in re.sub(r"<[^>]*>", "", page)
