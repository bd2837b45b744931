"""Plots that only a comparison of several agents has: success against diversity, ranks."""

from __future__ import annotations

from baselines.bench_results import Ranks
from baselines.canvas import CARD, FAINT, INK, KEY_ROW, LEFT, MUTED, RIGHT, WIDTH, canvas, key_row, percent, write
from baselines.plots import agent_colours, style_axes
from baselines.results import CEILING, CHANCE, BenchmarkResults

_BAR = 40


def diversity_plot(results: BenchmarkResults) -> str:
    """Returns success@1 against coverage, one point an agent with its intervals, chance and ceiling beside, as SVG."""
    colours = agent_colours(results)
    points = [
        (agent.name, colours.get(agent.name, INK), success, coverage)
        for agent in results.rows
        if (success := results.score(agent.name, "success_at_1"))
        and (coverage := results.score(agent.name, "coverage"))
    ]
    key = KEY_ROW * len(points) + 12
    height = key + 300
    with canvas(f"diversity-{results.title}", WIDTH, height) as (surface, finish):
        axes = surface.figure.add_axes((46 / WIDTH, 40 / height, (WIDTH - 62) / WIDTH, 250 / height))
        style_axes(axes, "success@1", percent=True)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        for place, (name, colour, success, coverage) in enumerate(points):
            marker = {CHANCE: "x", CEILING: "*"}.get(name, "o")
            key_row(surface, place, colour, name, f"{percent(success.value)} · {percent(coverage.value)}", marker)
            axes.plot([success.low, success.high], [coverage.value] * 2, color=colour, linewidth=2, alpha=0.4)
            axes.plot([success.value] * 2, [coverage.low, coverage.high], color=colour, linewidth=2, alpha=0.4)
            edge = CARD if marker == "o" else colour
            axes.plot(success.value, coverage.value, marker, color=colour, markersize=11, markeredgecolor=edge)
        return finish("Coverage by success@1 of every agent")


def rank_plot(ranks: Ranks, colours: dict[str, str]) -> str:
    """Returns how often each agent takes each rank as bars, best rank first and darkest, as SVG."""
    height = _BAR * len(ranks.shares) + 4
    with canvas(f"ranks-{ranks.score}", WIDTH, height) as (axes, finish):
        for row, (agent, shares) in enumerate(ranks.shares.items()):
            top, x = _BAR * row, float(LEFT)
            mean = sum(place * share for place, share in enumerate(shares, start=1))
            write(axes, LEFT, top + 10, agent, 13, INK, room=WIDTH - 140)
            write(axes, RIGHT, top + 10, f"first {percent(shares[0])} · mean {mean:.1f}", 11, MUTED, align="right")
            axes.plot([LEFT, RIGHT], [top + 27] * 2, color=FAINT, linewidth=10, solid_capstyle="butt")
            for place, share in enumerate(shares):
                end = x + share * (RIGHT - LEFT)
                shade = (1 - place / len(shares)) ** 1.5
                axes.plot(
                    [x, end],
                    [top + 27] * 2,
                    color=colours.get(agent, MUTED),
                    linewidth=10,
                    alpha=shade,
                    solid_capstyle="butt",
                )
                x = end
        return finish(f"Ranks of all agents by {ranks.score}")
