"""The report of a benchmark run: results on disk, tables, plots, the page."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from baselines.canvas import COLOURS
from baselines.exhibits import distribution_exhibit, solution_tree
from baselines.plots import curve_plot, left_out, score_plot, tree_plot
from baselines.report import html_report, markdown_table, text_table, write_report
from baselines.results import (
    CEILING,
    CHANCE,
    NO_SOLUTION,
    OTHER_MOVES,
    SCORES,
    SEEN_DISTANCE,
    AgentResult,
    BenchmarkResults,
    Curve,
    TreeExhibit,
    TreeNode,
    one_line,
)
from gfn_envs.exact import EnumerationLimit, enumerate_states
from gfn_envs.metrics import Estimate, exact_scores, summarise
from gfn_envs.state_graph import StateGraph
from gfn_envs.tasks.game24 import Game24, Game24Problem

HOSTILE = '<script>alert("1")</script> & $\\frac{$ \' | \x1b[31m\nid="x" style="font: \'DejaVu Sans\''


def listed(*numbers: int) -> StateGraph:
    return enumerate_states(Game24(count=len(numbers)), Game24Problem(numbers))


def target(graph: StateGraph) -> list[np.ndarray]:
    return graph.flow_policy(graph.log_flows(graph.log_rewards))


def uniform(graph: StateGraph) -> list[np.ndarray]:
    return [np.full(len(actions), 1 / max(len(actions), 1)) for actions in graph.actions]


def agent(graph: StateGraph, name: str, policy: list[np.ndarray]) -> AgentResult:
    scores = exact_scores(graph, graph.reached(policy), k=4, samples=8)
    return AgentResult(
        name, f"about {name}", summarise([scores], [1.0], np.random.default_rng(0)), {"cpu_seconds": 1.5}
    )


@pytest.fixture(scope="module")
def results() -> BenchmarkResults:
    graph = listed(1, 4, 6)
    even, exact = uniform(graph), target(graph)
    partial = AgentResult(
        HOSTILE,
        HOSTILE,
        {"success_at_1": Estimate(0.5, 0.25, 0.75), "coverage": Estimate(math.nan, math.nan, math.nan)},
        {"environment_steps": 1234567.0},
    )
    return BenchmarkResults(
        title=f"Run {HOSTILE}",
        environment="gfn_envs/Game24-v0",
        settings={"seed": 0, "problems": ["game24/1-4-6"], HOSTILE: HOSTILE},
        k=4,
        samples=8,
        agents=(agent(graph, CEILING, exact), partial, agent(graph, "even", even), agent(graph, CHANCE, even)),
        curves=(
            Curve("even", (0.0, 10.0, 20.0), (0.0, 0.5, 0.75), "steps", "success_at_1"),
            Curve(HOSTILE, (0.0, 10.0), (3.0, math.nan), HOSTILE, HOSTILE),
        ),
        distributions=(distribution_exhibit(graph, {HOSTILE: exact, "even": even}, exact),),
        trees=(TreeExhibit(graph.problem.id, solution_tree(graph, even, exact), HOSTILE),),
        versions={"python": "3"},
        notes=(HOSTILE,),
    )


@pytest.fixture(scope="module")
def page(results) -> str:
    return html_report(results)


# -- results -------------------------------------------------------------------------------------
def test_the_seen_distance_stands_in_where_nobody_has_an_exact_one(results):
    def renamed(name):
        """Returns the results with the exact distance of all but chance under another name."""
        names = {"total_variation": name}
        agents = [
            agent
            if agent.name == CHANCE  # of a yardstick alone there is nothing to compare
            else replace(agent, scores={names.get(own, own): estimate for own, estimate in agent.scores.items()})
            for agent in results.agents
        ]
        return replace(results, agents=tuple(agents))

    assert results.main_scores == SCORES
    seen = renamed("sampled_distance")
    assert seen.main_scores == (*SCORES[:-1], SEEN_DISTANCE)
    assert "distance seen in 8" in markdown_table(seen)
    assert "distance to target" not in markdown_table(seen)
    assert renamed("unknown").main_scores == SCORES


def test_results_return_from_disk(results, tmp_path: Path):
    results = replace(results, agents=results.agents[2:], curves=results.curves[:1])  # NaN is not equal to itself
    path = tmp_path / "deep" / "results.json"
    results.save(path)
    assert BenchmarkResults.load(path) == results
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_what_is_not_a_number_returns_as_such(results, page: str, tmp_path: Path):
    path = tmp_path / "results.json"
    results.save(path)
    assert "NaN" not in path.read_text()
    loaded = BenchmarkResults.load(path)
    assert math.isnan(loaded.agents[1].scores["coverage"].value)
    assert math.isnan(loaded.curves[1].y[1])
    assert html_report(loaded) == page


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"title": 1}', "no json"])
def test_other_files_are_refused_in_one_sentence(tmp_path: Path, text: str):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other.json' is not a results file"):
        BenchmarkResults.load(path)


def test_a_failed_save_leaves_the_old_file(results, tmp_path: Path):
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(AttributeError):
        replace(results, agents=("not a result",)).save(path)
    assert path.read_text() == "old"


# -- exhibits ------------------------------------------------------------------------------------
def test_tree_of_one_move_by_hand():
    graph = listed(4, 6)
    root = solution_tree(graph, uniform(graph), target(graph))
    total = 1 + 5e-4  # six moves: one of reward 1, five of reward 1e-4
    solved, others = root.children
    assert (root.label, root.probability, root.target, root.success) == ("game24/4-6", 1.0, 1.0, None)
    assert (solved.label, solved.success, solved.solution) == ("6 * 4 = 24 (left: 24)", True, "4 * 6")
    assert (solved.probability, solved.target) == pytest.approx((1 / 6, 1 / total))
    assert (others.label, others.success) == (OTHER_MOVES, False)
    assert (others.probability, others.target) == pytest.approx((5 / 6, 5e-4 / total))


def test_tree_of_two_moves_by_hand():
    graph = listed(1, 4, 6)
    root = solution_tree(graph, uniform(graph), target(graph))
    assert [child.label for child in root.children] == [
        "6 * 4 = 24 (left: 1 24)",
        "4 * 1 = 4 (left: 4 6)",
        "4 / 1 = 4 (left: 4 6)",
        "1 / 4 = 1/4 (left: 1/4 6)",
        "6 * 1 = 6 (left: 4 6)",
        "6 / 1 = 6 (left: 4 6)",
        "1 / 6 = 1/6 (left: 1/6 4)",
        OTHER_MOVES,
    ]
    first, second, others = root.children[0], root.children[1], root.children[-1]
    total = 8 + 100e-4  # 18 first moves with 6 second moves each: 8 of the 108 paths solve it
    assert [leaf.solution for leaf in first.children] == ["1 * 4 * 6", "4 * 6 / 1", ""]
    assert (first.probability, first.target) == pytest.approx((1 / 18, (2 + 4e-4) / total))
    assert (second.children[0].probability, second.children[0].target) == pytest.approx((1 / 108, 1 / total))
    assert (others.probability, others.target) == pytest.approx((11 / 18, 66e-4 / total))


def branches(node: TreeNode) -> list[TreeNode]:
    return [node, *(below for child in node.children for below in branches(child))]


@pytest.mark.parametrize("numbers", [(4, 6), (1, 4, 6), (4, 6, 6, 8)])
def test_children_sum_to_their_parent(numbers: tuple[int, ...]):
    graph = listed(*numbers)
    root = solution_tree(graph, uniform(graph), target(graph))
    for node in branches(root):
        if node.children:
            assert sum(child.probability for child in node.children) == pytest.approx(node.probability)
            assert sum(child.target for child in node.children) == pytest.approx(node.target)
    solved = [node for node in branches(root) if node.success]
    assert sum(node.probability for node in solved) == pytest.approx(graph.reached(uniform(graph)) @ graph.successes)
    assert {node.solution for node in solved} == set(graph.solutions)


def test_trees_too_large_to_show_are_refused():
    graph = listed(4, 6, 6, 8)
    with pytest.raises(EnumerationLimit, match="32 paths"):
        solution_tree(graph, uniform(graph), target(graph), limit=31)


def test_distribution_by_hand():
    graph = listed(4, 6)
    exhibit = distribution_exhibit(graph, {"even": uniform(graph)}, target(graph))
    assert exhibit.names == ("4 * 6", NO_SOLUTION)
    assert exhibit.target == pytest.approx((1 / 1.0005, 0.0005 / 1.0005))
    assert exhibit.learned["even"] == pytest.approx((1 / 6, 5 / 6))


# -- tables --------------------------------------------------------------------------------------
def test_terminal_table(results):
    console = Console(width=160, file=io.StringIO())
    console.print(text_table(results))
    text = console.file.getvalue()
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert len(rows) == 4
    assert "chance" in rows[0]
    assert "ceiling" in rows[-1]
    assert re.search(r"success@1 .* pass@4 .* coverage .* distance to target", text)
    assert re.search(r"50\.0 % │ +– │ +– │ +– ", rows[1])


def test_markdown_table(results):
    lines = markdown_table(results).splitlines()
    assert lines[0] == "| agent | success@1 | pass@4 | coverage | distance to target |"
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [6] * 6
    assert "50.0 % (25.0 to 75.0 %) | – | – | – |" in lines[3]
    assert "<script" not in "".join(lines)


# -- page ----------------------------------------------------------------------------------------
class Page(HTMLParser):
    """Notes tags, attributes and whether every element that opens is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def plots(page: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)


def test_page_loads_nothing(page: str):
    parsed = Page(page)
    assert not parsed.open
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(parsed.tags)
    references = [value for name, value in parsed.attributes if name in ("src", "href", "xlink:href", "srcset")]
    assert references
    assert all(value.startswith("#") for value in references)
    assert all(name[:2] != "on" for name, _ in parsed.attributes)
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


def test_page_escapes_what_others_wrote(page: str):
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page


def test_page_has_every_part(page: str):
    assert re.findall("<h2>(.*)</h2>", page) == [
        "Scores",
        "Between chance and ceiling",
        "Learning curves",
        "Which solutions",
        "Solution trees",
        "Costs",
        "Settings",
        "Versions",
        "Notes",
    ]
    assert len(plots(page)) == len(SCORES) + 2 + 1 + 1
    assert page.count("<table") == 5
    assert '<td class="number">–</td>' in page
    assert '<td class="number">50.0 %<small>(25.0 to 75.0 %)</small></td>' in page
    assert ">1,234,567<" in page
    assert "prefers-color-scheme:dark" in page


def test_page_without_exhibits_has_no_empty_parts(results):
    bare = replace(results, curves=(), distributions=(), trees=(), versions={}, notes=(), agents=(), settings={})
    assert re.findall("<h2>(.*)</h2>", html_report(bare)) == ["Scores"]


def test_plots_are_well_formed_and_share_no_ids(page: str):
    seen: set[str] = set()
    for plot in plots(page):
        root = ElementTree.fromstring(plot)
        assert root.tag.endswith("svg")
        assert one_line(root.get("aria-label"))
        ids = {element.get("id") for element in root.iter() if element.get("id")}
        assert not ids & seen
        seen |= ids
        for element in root.iter():
            reference = element.get("{http://www.w3.org/1999/xlink}href")
            assert reference is None or reference[1:] in ids


def test_plots_leave_colours_to_the_page(page: str):
    for plot in plots(page):
        shown = set(re.findall(r"(?:fill|stroke): ([^;\"]*)", plot)) - {"none"}
        assert shown <= {f"var(--{name}, {light})" for name, (light, _) in COLOURS.items()}


def words(plot: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(plot).iter() if element.tag.endswith("text")]


def test_plots_say_what_they_show(results):
    graph = listed(4, 6)
    assert {"even", "7.4 %", "chance 7.4 %", "ceiling 99.9 %", "50.0 %", "(25.0 to 75.0 %)"} <= set(
        words(score_plot(results, SCORES[0]))
    )
    assert {"even", "last 75.0 %", "chance", "ceiling"} <= set(words(curve_plot(results, results.curves[:1])))
    (curve,) = results.curves[:1]
    one = curve_plot(results, [replace(curve, x=curve.x[:1], y=curve.y[:1])])
    assert one.count("<use") > curve_plot(results, [replace(curve, x=(), y=())]).count("<use"), "a point is seen"
    exhibit = TreeExhibit(graph.problem.id, solution_tree(graph, uniform(graph), target(graph)), "even")
    assert words(tree_plot(results, exhibit)) == [
        "game24/4-6",
        "agent · target",
        "6 * 4 = 24 (left: 24)",
        "16.7 % · target 100.0 %",
        "4 * 6",
        "other moves 83.3 % · target 0.0 %",
    ]


def test_large_trees_say_how_many_branches_they_leave_out(results):
    graph = listed(4, 6, 6, 8)
    exhibit = TreeExhibit(graph.problem.id, solution_tree(graph, uniform(graph), target(graph)))
    solved = [words(tree_plot(results, exhibit, most=most)).count("8 * 3 = 24 (left: 24)") for most in (32, 1)]
    assert solved[0] > solved[1]
    assert any("more to solutions" in text for text in words(tree_plot(results, exhibit, most=1)))


def test_report_is_written_whole_and_the_same_again(results, page: str, tmp_path: Path):
    path = write_report(results, tmp_path / "run")
    assert path == tmp_path / "run" / "report.html"
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.html", "results.json"]
    assert path.read_text(encoding="utf-8") == page


def test_a_picture_of_many_solutions_says_that_it_is_of_the_likeliest():
    assert left_out(16) == ""
    assert left_out(43) == " The 16 likeliest of 43 solutions."
