"""Pictures as data: a drawing is a list of shapes, so a state is drawn by a pure function.

`Task.draw` returns a `Drawing`. `to_svg` writes it for a page, `gfn_envs.frames` turns it into the pixels of
`render_mode="rgb_array"` and the window of `"human"`. Every drawing has one size, so that the frames of a film do.
Coordinates and sizes are pixels from the upper left corner. Shapes are drawn in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 450
"""Pixels of every drawing."""

# A quiet palette that people with any colour vision can tell apart (after Okabe and Ito), on paper white.
PAPER, INK, GREY, FAINT = "#fbfaf7", "#22262b", "#7a8088", "#dcdedf"
BLUE, ORANGE, GREEN, RED = "#0072b2", "#d55e00", "#007a5a", "#b3261e"

Anchor = Literal["start", "middle", "end"]


class Rectangle(NamedTuple):
    """A box; a corner radius of 0 leaves it square. An empty `fill` or `outline` draws none."""

    x: float
    y: float
    width: float
    height: float
    fill: str = ""
    outline: str = ""
    radius: float = 0
    thickness: float = 2


class Circle(NamedTuple):
    """A disc around (x, y). An empty `fill` or `outline` draws none."""

    x: float
    y: float
    radius: float
    fill: str = ""
    outline: str = ""
    thickness: float = 2


class Line(NamedTuple):
    """A straight line, with a head at its end if `arrow`."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str = INK
    thickness: float = 2
    arrow: bool = False


class Label(NamedTuple):
    """One line of text whose middle line is at `y`; `anchor` says which end of it `x` is. ASCII only."""

    x: float
    y: float
    text: str
    size: float = 18
    colour: str = INK
    anchor: Anchor = "middle"
    bold: bool = False


Shape = Rectangle | Circle | Line | Label


class Drawing(NamedTuple):
    """The shapes on a sheet of WIDTH by HEIGHT pixels, and what they show in words."""

    shapes: tuple[Shape, ...]
    title: str = ""


def text_width(text: str, size: float) -> float:
    """Returns about the most pixels that a label in mixed case is wide, for a layout that needs no font."""
    return 0.62 * size * len(text)


def shortened(text: str, characters: int) -> str:
    """Returns the text, its end replaced by dots where it is longer."""
    return text if len(text) <= characters else text[: max(characters - 3, 0)] + "..."


def arrow_head(line: Line) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Returns the corners of the triangle at the end of a line."""
    length = max(((line.x2 - line.x1) ** 2 + (line.y2 - line.y1) ** 2) ** 0.5, 1e-9)
    ux, uy = (line.x2 - line.x1) / length, (line.y2 - line.y1) / length
    size = 5 + 2 * line.thickness
    x, y = line.x2 - size * ux, line.y2 - size * uy
    return (line.x2, line.y2), (x - size * uy / 2, y + size * ux / 2), (x + size * uy / 2, y - size * ux / 2)


def shaft_end(line: Line) -> tuple[float, float]:
    """Returns where a line's own stroke ends: at the base of its head, so that the tip is sharp."""
    if not line.arrow:
        return line.x2, line.y2
    _, left, right = arrow_head(line)
    return (left[0] + right[0]) / 2, (left[1] + right[1]) / 2


def steps_left(
    left: int, steps: int, x: float, y: float, width: float, height: float, above: float = 16, size: float = 16
) -> Iterator[Shape]:
    """Yields the steps left as a text and a bar.

    Args:
        left, steps: steps left, of how many.
        x, y: upper left corner of the whole bar; its size follows.
        above: how far above the bar the middle of the text is.
        size: of the text.
    """
    radius = height / 3
    yield Label(x, y - above, f"{left} of {steps} steps left", size, anchor="start")
    yield Rectangle(x, y, width, height, FAINT, radius=radius)
    if left > 0:
        filled = width * left / steps
        yield Rectangle(x, y, filled, height, INK, radius=min(radius, filled / 2))


def text_drawing(text: str, title: str = "") -> Drawing:
    """Returns a text as a drawing, its lines as large as they fit: the picture of a task that draws none."""
    lines = text.splitlines()[:30]
    longest = max(map(len, lines), default=1)
    size = min(20.0, (WIDTH - 60) / (0.62 * max(longest, 1)), (HEIGHT - 60) / (1.4 * max(len(lines), 1)))
    size = max(size, 9.0)
    fitting = int((WIDTH - 60) / (0.62 * size))
    labels = (
        Label(30, 30 + 1.4 * size * (row + 0.5), shortened(line, fitting), size, anchor="start")
        for row, line in enumerate(lines)
    )
    return Drawing(tuple(labels), title)


# -- SVG -------------------------------------------------------------------------------------------
def to_svg(drawing: Drawing) -> str:
    """Returns the drawing as one <svg> element that needs nothing from outside."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif">'
    ]
    if drawing.title:
        parts.append(f"<title>{escape(drawing.title)}</title>")
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>')
    parts += [_svg(shape) for shape in drawing.shapes]
    return "".join((*parts, "</svg>"))


def _svg(shape: Shape) -> str:
    if isinstance(shape, Rectangle):
        box = f'x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}" rx="{shape.radius:g}"'
        return f"<rect {box} {_paint(shape)}/>"
    if isinstance(shape, Circle):
        return f'<circle cx="{shape.x:g}" cy="{shape.y:g}" r="{shape.radius:g}" {_paint(shape)}/>'
    if isinstance(shape, Label):
        weight = ' font-weight="bold"' if shape.bold else ""
        place = f'x="{shape.x:g}" y="{shape.y:g}" text-anchor="{shape.anchor}" dominant-baseline="central"'
        return f'<text {place} font-size="{shape.size:g}" fill="{shape.colour}"{weight}>{escape(shape.text)}</text>'
    x2, y2 = shaft_end(shape)
    ends = f'x1="{shape.x1:g}" y1="{shape.y1:g}" x2="{x2:g}" y2="{y2:g}"'
    cap = "butt" if shape.arrow else "round"
    line = f'<line {ends} stroke="{shape.colour}" stroke-width="{shape.thickness:g}" stroke-linecap="{cap}"/>'
    if not shape.arrow:
        return line
    corners = " ".join(f"{x:g},{y:g}" for x, y in arrow_head(shape))
    return f'{line}<polygon points="{corners}" fill="{shape.colour}"/>'


def _paint(shape: Rectangle | Circle) -> str:
    stroke = f' stroke="{shape.outline}" stroke-width="{shape.thickness:g}"' if shape.outline else ""
    return f'fill="{shape.fill or "none"}"{stroke}'
