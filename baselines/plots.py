"""Plots of benchmark results as SVG text, to be put into a page: scores, curves, distributions, trees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from baselines.canvas import (
    AGENT_COLOURS,
    CARD,
    FAINT,
    GOOD,
    INK,
    KEY_ROW,
    LEFT,
    MUTED,
    RIGHT,
    WIDTH,
    canvas,
    key_row,
    percent,
    text_width,
    write,
)
from baselines.results import (
    CEILING,
    CHANCE,
    OTHER_MOVES,
    BenchmarkResults,
    Curve,
    DistributionExhibit,
    Score,
    TreeExhibit,
    TreeNode,
    one_line,
)

_ROW = 48
_BRANCH_WIDTH = 22
_BOX_HEIGHT = 34
_BOX_ROOM = 260
_COLUMN_GAP = 44


def agent_colours(results: BenchmarkResults) -> dict[str, str]:
    """Returns the colour that each agent has in all plots."""
    return {agent.name: AGENT_COLOURS[i % len(AGENT_COLOURS)] for i, agent in enumerate(results.contestants)}


# -- scores --------------------------------------------------------------------------------------
def score_plot(results: BenchmarkResults, score: Score) -> str:
    """Returns one score of every agent with its interval, between chance and ceiling, as SVG."""
    colours = agent_colours(results)
    height = _ROW * len(results.contestants) + 36
    with canvas(f"score-{results.title}-{score.name}", WIDTH, height) as (axes, finish):
        yardsticks = [(name, results.score(name, score.name)) for name in (CHANCE, CEILING)]
        for place, agent in enumerate(results.contestants):
            top = _ROW * place
            estimate = results.score(agent.name, score.name)
            axes.plot([LEFT, RIGHT], [top + 32] * 2, color=FAINT, linewidth=2)
            for name, yardstick in yardsticks:
                if yardstick:
                    axes.plot([_place(yardstick.value)] * 2, [top + 24, top + 40], **_yardstick(name))
            write(axes, LEFT, top + 12, agent.name, 13, INK, room=WIDTH - 178)
            if estimate is None:
                write(axes, RIGHT, top + 12, "–", 13, MUTED, align="right")
                continue
            colour = colours[agent.name]
            write(axes, RIGHT, top + 12, score.interval(estimate), 11, MUTED, align="right")
            write(axes, RIGHT - 104, top + 12, score.text(estimate.value), 13, colour, align="right", bold=True)
            ends = [_place(estimate.low), _place(estimate.high)]
            axes.plot(ends, [top + 32] * 2, color=colour, linewidth=7, alpha=0.4, solid_capstyle="round")
            axes.plot(_place(estimate.value), top + 32, "o", color=colour, markersize=10, markeredgecolor=CARD)
        bottom = _ROW * len(results.contestants)
        for line, (name, yardstick) in enumerate(yardsticks):
            if yardstick:
                x = _place(yardstick.value)
                align = "left" if x < WIDTH / 2 else "right"
                axes.plot([x, x], [bottom - 4, bottom + 12 + 18 * line], **_yardstick(name))
                text = f"{name} {score.text(yardstick.value)}"
                write(axes, x + (6 if align == "left" else -6), bottom + 8 + 18 * line, text, 11, MUTED, align=align)
        return finish(f"{results.label(score)} of every agent")


def _place(value: float, top: float = 1.0) -> float:
    return LEFT + 4 + (RIGHT - LEFT - 8) * min(max(value / top, 0.0), 1.0)


def _yardstick(name: str) -> dict[str, Any]:
    return {"color": INK, "linewidth": 1.5, "linestyle": (0, (2, 2)) if name == CHANCE else "-"}


# -- learning curves -----------------------------------------------------------------------------
def curve_plot(results: BenchmarkResults, curves: Sequence[Curve]) -> str:
    """Returns curves of one quantity as SVG; chance and ceiling are marked if it is a score."""
    colours = agent_colours(results)
    x_label, y_label = curves[0].x_label, curves[0].y_label
    score = next((score for score in results.main_scores if y_label in (score.name, results.label(score))), None)
    key = KEY_ROW * len(curves) + 12
    height = key + 240
    with canvas(f"curve-{results.title}-{x_label}-{y_label}", WIDTH, height) as (whole, finish):
        axes = whole.figure.add_axes((46 / WIDTH, 40 / height, (WIDTH - 62) / WIDTH, 190 / height))
        for place, curve in enumerate(curves):
            colour = colours.get(curve.agent, MUTED)
            marker = "o" if len(curve.x) == 1 else None  # a line needs two points
            axes.plot(curve.x, curve.y, color=colour, linewidth=2.5, solid_capstyle="round", marker=marker)
            last = curve.y[-1] if curve.y else float("nan")
            key_row(whole, place, colour, curve.agent, f"last {score.text(last) if score else f'{last:.3g}'}")
        style_axes(axes, x_label, score.percent if score else False)
        values = [value for curve in curves for value in curve.y]
        if score or all(0 <= value <= 1 for value in values):
            axes.set_ylim(-0.02, 1.02)
        for name in (CHANCE, CEILING) if score else ():
            estimate = results.score(name, score.name) if score else None
            if estimate:
                axes.axhline(estimate.value, zorder=1, **_yardstick(name))
                offset, side = (4, "bottom") if estimate.value < 0.5 else (-4, "top")
                axes.annotate(
                    name,
                    (1, estimate.value),
                    (-2, offset),
                    xycoords=("axes fraction", "data"),
                    textcoords="offset points",
                    ha="right",
                    va=side,
                    fontsize=11,
                    color=MUTED,
                )
        return finish(f"{results.label(score) if score else y_label} by {x_label}")


def style_axes(axes: Any, x_label: str, percent: bool) -> None:
    """Gives axes inside a canvas the look of the page; `percent` is of the vertical one."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.set_facecolor("none")
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.tick_params(colors=MUTED, labelsize=11, length=0)
    axes.set_axisbelow(True)
    axes.locator_params(nbins=5)
    axes.set_xlabel(one_line(x_label), fontsize=12, color=MUTED)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.4g}" if abs(value) < 1e4 else _thousands(value))
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def _thousands(value: float) -> str:
    return f"{value / 1e6:g} M" if abs(value) >= 1e6 else f"{value / 1e3:g} k"


# -- distributions -------------------------------------------------------------------------------
MOST_SOLUTIONS = 16
"""That a picture of a distribution shows."""


def left_out(solutions: int) -> str:
    """Returns a sentence on the solutions that a picture of a distribution has no room for, empty if it has."""
    return f" The {MOST_SOLUTIONS} likeliest of {solutions} solutions." if solutions > MOST_SOLUTIONS else ""


def distribution_plot(results: BenchmarkResults, exhibit: DistributionExhibit, most: int = MOST_SOLUTIONS) -> str:
    """Returns the probability of each solution for each agent beside the exact target, as SVG.

    The key says how often each finds no solution. Solutions beyond the `most` probable are left out.
    """
    colours = agent_colours(results)
    learned = [(name, colours.get(name, MUTED), values) for name, values in exhibit.learned.items()]
    order = sorted(range(len(exhibit.names) - 1), key=lambda index: -exhibit.target[index])[:most]
    shown = [(exhibit.target[i], *(values[i] for _, _, values in learned)) for i in order]
    scale = max((value for row in shown for value in row), default=1.0) or 1.0
    key, row = KEY_ROW * (len(learned) + 1) + 14, 32 + 10 * len(learned)
    with canvas(f"distribution-{results.title}-{exhibit.problem_id}", WIDTH, key + row * len(order) + 4) as (
        axes,
        finish,
    ):
        key_row(axes, 0, INK, "exact target", f"{percent(exhibit.target[-1])} no solution", marker="|")
        for place, (name, colour, values) in enumerate(learned, start=1):
            key_row(axes, place, colour, name, f"{percent(values[-1])} no solution", marker="o")
        for place, index in enumerate(order):
            top = key + row * place
            write(axes, LEFT, top + 8, exhibit.names[index], 13, INK, room=WIDTH - 96)
            write(axes, RIGHT, top + 8, f"target {percent(exhibit.target[index])}", 11, MUTED, align="right")
            axes.plot([LEFT] * 2, [top + 18, top + 22 + 10 * len(learned)], color=FAINT, linewidth=2)
            for line, (_, colour, values) in enumerate(learned):
                x, y = LEFT + _place(values[index], scale) - _place(0), top + 25 + 10 * line
                axes.plot([LEFT, x], [y, y], color=colour, linewidth=2, alpha=0.5)
                axes.plot(x, y, "o", color=colour, markersize=8, markeredgecolor=CARD)
            x = LEFT + _place(exhibit.target[index], scale) - _place(0)
            axes.plot([x, x], [top + 19, top + 21 + 10 * len(learned)], color=INK, linewidth=3)
        return finish(f"Probability of each solution of {exhibit.problem_id}")


# -- trees ---------------------------------------------------------------------------------------
class _Placed(NamedTuple):
    """A node of a tree with its depth, its height on the canvas, and its children."""

    node: TreeNode
    depth: int
    y: float
    children: tuple[_Placed, ...]

    def walk(self) -> Iterator[_Placed]:
        """Yields this node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def tree_plot(results: BenchmarkResults, exhibit: TreeExhibit, most: int = 32, least: float = 0.01) -> str:
    """Returns the solution tree as SVG: pale bands for the target, lines for the agent.

    Args:
        results: gives the agent its colour.
        exhibit: the tree.
        most: leaves that are shown; the less probable ones are counted in one node for each state.
        least: other moves are shown where the agent or the target makes them at least that often.
    """
    leaves = sorted(_leaves(exhibit.root), key=lambda node: -max(node.probability, node.target))
    root = _pruned(exhibit.root, {id(node) for node in leaves[:most]}, least)
    placed, bottom = _lay_out(root, 0, 4.0)
    nodes = list(placed.walk())
    depth = max(node.depth for node in nodes)
    columns = [max(_box_width(entry) for entry in nodes if entry.depth == level) for level in range(depth + 1)]
    lefts = [sum(columns[:level]) + _COLUMN_GAP * level + 4 for level in range(depth + 1)]
    width = max(lefts[entry.depth] + _box_width(entry) + text_width(entry.node.solution, 12) for entry in nodes) + 12
    colour = agent_colours(results).get(exhibit.agent, AGENT_COLOURS[0])
    with canvas(f"tree-{exhibit.problem_id}-{exhibit.agent}", width, bottom + 4) as (axes, finish):
        for parent in nodes:
            start = lefts[parent.depth] + _box_width(parent)
            for child in parent.children:
                _draw_branch(axes, (start, parent.y), (lefts[child.depth], child.y), child.node, colour)
        for entry in nodes:
            _draw_node(axes, lefts[entry.depth], entry, colour)
        return finish(f"Solution tree of {exhibit.problem_id} as {exhibit.agent} walks it")


def _leaves(node: TreeNode) -> list[TreeNode]:
    if not node.children:
        return [] if node.label == OTHER_MOVES else [node]
    return [leaf for child in node.children for leaf in _leaves(child)]


def _pruned(node: TreeNode, kept: set[int], least: float) -> TreeNode:
    """Returns the tree with only the kept leaves; what is dropped at a state becomes one node."""
    children, dropped = [], []
    for child in node.children:
        if child.label == OTHER_MOVES and not child.children:
            if max(child.probability, child.target) >= least:
                children.append(child)
        elif any(id(leaf) in kept for leaf in _leaves(child)):
            children.append(_pruned(child, kept, least))
        else:
            dropped.append(child)
    if dropped and children:
        masses = sum(child.probability for child in dropped), sum(child.target for child in dropped)
        children.append(TreeNode(f"{len(dropped)} more to solutions", *masses, None))
    return replace(node, children=tuple(children))


def _lay_out(node: TreeNode, depth: int, top: float) -> tuple[_Placed, float]:
    """Returns the placed node and the y below all that it holds."""
    if not node.children:
        height = _BOX_HEIGHT if node.success else 22
        return _Placed(node, depth, top + height / 2, ()), top + height + 8
    children, bottom = [], top
    for child in node.children:
        placed, bottom = _lay_out(child, depth + 1, bottom)
        children.append(placed)
    middle = (children[0].y + children[-1].y) / 2
    return _Placed(node, depth, middle, tuple(children)), max(bottom, top + _BOX_HEIGHT + 8)


def _draw_branch(axes: Any, start: tuple[float, float], end: tuple[float, float], node: TreeNode, colour: str) -> None:
    middle = (start[0] + end[0]) / 2
    curve = Path([start, (middle, start[1]), (middle, end[1]), end], [Path.MOVETO, *[Path.CURVE4] * 3])
    own = MUTED if node.success is False else colour
    for share, shade, alpha in ((node.target, FAINT, 1.0), (node.probability, own, 0.85)):
        width = max(_BRANCH_WIDTH * share, 0.6)
        axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=shade, linewidth=width, alpha=alpha))


def _draw_node(axes: Any, left: float, entry: _Placed, colour: str) -> None:
    node = entry.node
    if not node.children and not node.success:
        write(axes, left + 6, entry.y, f"{one_line(node.label)}  {_shares(entry)}", 11, MUTED)
        return
    width = _box_width(entry)
    corner = (left, entry.y - _BOX_HEIGHT / 2)
    edge = GOOD if node.success else MUTED
    axes.add_patch(
        FancyBboxPatch(
            corner, width, _BOX_HEIGHT, "round,pad=0,rounding_size=5", facecolor=CARD, edgecolor=edge, linewidth=1.2
        )
    )
    write(axes, left + 8, entry.y - 7, node.label, 12, INK, room=_BOX_ROOM)
    write(axes, left + 8, entry.y + 9, _shares(entry), 10.5, colour)
    write(axes, left + width + 6, entry.y, node.solution, 12, GOOD)


def _shares(entry: _Placed) -> str:
    """Returns how often the agent and the target come to a node; at the root, what the numbers are."""
    if entry.depth == 0:
        return "agent · target"
    return f"{percent(entry.node.probability)} · target {percent(entry.node.target)}"


def _box_width(entry: _Placed) -> float:
    return min(max(text_width(entry.node.label, 12), text_width(_shares(entry), 10.5)), _BOX_ROOM) + 16
