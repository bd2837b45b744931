"""Drawing on one canvas of pixels, and what turns it into SVG text for a page.

The canvas is about as wide as a phone, so that text keeps its size. A colour leaves here as a CSS
variable with the light colour as its fallback: the page decides what it looks like in the dark, and
a plot saved alone still has its colours. Text stays text.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any
from zlib import crc32

import matplotlib
from matplotlib.figure import Figure

from baselines.results import one_line

INK, MUTED, FAINT, CARD = "#1f2328", "#5b6570", "#d5dae0", "#fefefe"
GOOD = "#1a7f4b"
AGENT_COLOURS = (
    *("#2563b0", "#b5541c", "#1b7f79", "#8347a0", "#8a6d0b"),
    *("#b3324f", "#4a7317", "#64513f", "#475b78", "#a01f86"),
)
_BY_NIGHT = (
    *("#78b0f5", "#f09a62", "#5cc9c1", "#cb9ae4", "#dcbf55"),
    *("#f28ba3", "#a3d06a", "#cdb49d", "#a9bad6", "#f08fdc"),
)

COLOURS = {
    "ink": (INK, "#e8eaed"),
    "muted": (MUTED, "#a3acb5"),
    "faint": (FAINT, "#3b434c"),
    "card": (CARD, "#1b1f24"),
    "good": (GOOD, "#56d18b"),
    **{f"agent-{place}": pair for place, pair in enumerate(zip(AGENT_COLOURS, _BY_NIGHT, strict=True))},
}
"""CSS variable of every colour, with its value on light and on dark pages."""

WIDTH = 360
LEFT, RIGHT = 8, WIDTH - 8
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans'"
KEY_ROW = 20
_LETTER = 0.55


@contextmanager
def canvas(name: str, width: float, height: float) -> Iterator[tuple[Any, Callable[[str], str]]]:
    """Yields axes in pixels with the origin at the top left, and what turns them into SVG."""
    options = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
    }
    with matplotlib.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's browser has the fonts
        figure = Figure(figsize=(width / 72, height / 72))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        yield axes, lambda title: _svg(figure, name, title, width, height)


def _svg(figure: Figure, name: str, title: str, width: float, height: float) -> str:
    """Returns the figure as an `svg` element whose ids no other figure has."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    text = buffer.getvalue()
    text = re.sub(r" *<style.*?</style>\n", "", text[text.index("<svg") :], count=1, flags=re.DOTALL)
    prefix = f"plot-{crc32(name.encode()):08x}"
    text = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"{prefix}-", text)
    text = text.replace("'DejaVu Sans'", _FONT)
    for variable, (light, _) in COLOURS.items():
        text = text.replace(light, f"var(--{variable}, {light})")
    size = f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escape(one_line(title))}"'
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', lambda _: size, text, count=1).strip()


def write(
    axes: Any,
    x: float,
    y: float,
    text: str,
    size: float,
    colour: str,
    align: str = "left",
    bold: bool = False,
    room: float = 600,
) -> None:
    """Writes one line, cut where it would need more room."""
    text = one_line(text)
    if text_width(text, size) > room:
        text = text[: int(room / size / _LETTER)].rstrip() + "…"
    weight = "bold" if bold else "normal"
    axes.text(x, y, text, fontsize=size, color=colour, ha=align, va="center", fontweight=weight)


def text_width(text: str, size: float) -> float:
    """Returns about how wide a line is in the reader's sans-serif font, in pixels."""
    return _LETTER * size * len(one_line(text))


def key_row(axes: Any, place: int, colour: str, name: str, value: str, marker: str = "o") -> None:
    """Writes one line of a key above a plot: marker, name and a value."""
    y = KEY_ROW * place + 10
    axes.plot(LEFT + 5, y, marker, color=colour, markersize=9, markeredgewidth={"|": 3, "x": 2}.get(marker, 0))
    write(axes, LEFT + 18, y, name, 13, colour, room=WIDTH - 140)
    write(axes, RIGHT, y, value, 11, MUTED, align="right")


def percent(share: float) -> str:
    """Returns a share in percent with one decimal."""
    return f"{100 * share:.1f} %"
