"""Drawings as pixels: frames for `render_mode="rgb_array"` and the window of `"human"`.

pygame draws the inside of each shape several times too large, the mean of its pixels says how much of each pixel the
shape covers, and that much of its colour is mixed in. All but the outlines is exact arithmetic, so a drawing gives the
same bytes in every process. pygame is optional and imported where it is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from gfn_envs.drawing import HEIGHT, PAPER, WIDTH, Circle, Drawing, Label, Line, Rectangle, Shape, arrow_head, shaft_end

ENLARGED = 4
"""How much larger shapes are drawn, and so the edge of the squares whose mean is one pixel."""
TEXT_ENLARGED = 8
"""The same for text, which has finer parts."""
THINNED = 0.028
"""What the regular weight loses on each side of its strokes, in text sizes: pygame's own font is bold only."""
CAPITALS = 0.36
"""Half the height of a capital letter in text sizes: a label's y is the middle of its capitals and digits."""


class Stain(NamedTuple):
    """One colour to mix in: how much of each pixel from (x, y) on it covers, shape (height, width), 0 to 1."""

    x: int
    y: int
    coverage: np.ndarray
    colour: str


def load_pygame() -> Any:
    """Returns the module pygame.

    Raises:
        gymnasium.error.DependencyNotInstalled: it is not installed.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError:
        message = 'rendering pictures needs pygame: pip install "gfn-gym[render]"'
        raise gym.error.DependencyNotInstalled(message) from None
    return pygame


def frame(drawing: Drawing) -> np.ndarray:
    """Returns a drawing as pixels of shape (HEIGHT, WIDTH, 3), uint8."""
    pygame = load_pygame()
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:] = np.array(tuple(pygame.Color(PAPER))[:3], np.uint8)
    for shape in drawing.shapes:
        for stain in _stains(pygame, shape):
            _mix(pixels, stain, np.array(tuple(pygame.Color(stain.colour))[:3], np.float32))
    return pixels


def _mix(pixels: np.ndarray, stain: Stain, colour: np.ndarray) -> None:
    x, y, (height, width) = stain.x, stain.y, stain.coverage.shape
    part = pixels[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    left, top = max(-x, 0), max(-y, 0)
    coverage = stain.coverage[top : top + part.shape[0], left : left + part.shape[1], None]
    part[:] = np.rint(part + coverage * (colour - part))


def _stains(pygame: Any, shape: Shape) -> Iterator[Stain]:
    if isinstance(shape, Label):
        yield _label(shape)
    elif isinstance(shape, Line):
        yield _line(pygame, shape)
    else:
        if shape.fill:
            yield _blob(pygame, shape, 0, None)
        if shape.outline:  # as in SVG, half of the outline lies outside
            yield _blob(pygame, shape, shape.thickness / 2, -shape.thickness / 2)


class _Sheet:
    """The part of the enlarged sheet that a shape needs, to be drawn on in the drawing's coordinates."""

    def __init__(self, pygame: Any, left: float, top: float, right: float, bottom: float) -> None:
        self.x, self.y = max(int(left) - 1, 0), max(int(top) - 1, 0)
        width, height = min(int(right) + 2, WIDTH) - self.x, min(int(bottom) + 2, HEIGHT) - self.y
        size = (max(width, 0) * ENLARGED, max(height, 0) * ENLARGED)
        self.surface = pygame.Surface(size, depth=8)

    def at(self, x: float, y: float) -> tuple[int, int]:
        return round((x - self.x) * ENLARGED), round((y - self.y) * ENLARGED)

    def stain(self, pygame: Any, colour: str) -> Stain:
        inside = pygame.surfarray.array2d(self.surface)
        return Stain(self.x, self.y, _means(inside, ENLARGED), colour)


def _means(values: np.ndarray, edge: int) -> np.ndarray:
    """Returns the mean of each square of `edge` by `edge` values; from pygame's (x, y) to NumPy's (y, x)."""
    total = np.zeros((values.shape[0] // edge, values.shape[1] // edge), np.float32)
    for x in range(edge):
        for y in range(edge):
            total += values[x::edge, y::edge]
    return np.ascontiguousarray(total.T) / np.float32(edge * edge)


def _blob(pygame: Any, shape: Rectangle | Circle, outer: float, inner: float | None) -> Stain:
    """Returns a rectangle or circle grown by `outer`, without what it is when grown by `inner`."""
    if isinstance(shape, Rectangle):
        left, top, right, bottom = shape.x, shape.y, shape.x + shape.width, shape.y + shape.height
    else:
        r = shape.radius
        left, top, right, bottom = shape.x - r, shape.y - r, shape.x + r, shape.y + r
    sheet = _Sheet(pygame, left - outer, top - outer, right + outer, bottom + outer)
    for value, grown in ((1, outer), (0, inner)):
        if grown is None:
            continue
        start, end = sheet.at(left - grown, top - grown), sheet.at(right + grown, bottom + grown)
        box = (*start, max(end[0] - start[0], 0), max(end[1] - start[1], 0))
        if isinstance(shape, Circle):
            pygame.draw.ellipse(sheet.surface, value, box)
        else:
            radius = round(ENLARGED * max(shape.radius + grown, 0)) if shape.radius else 0
            pygame.draw.rect(sheet.surface, value, box, border_radius=radius)
    return sheet.stain(pygame, shape.outline if inner is not None else shape.fill)


def _line(pygame: Any, line: Line) -> Stain:
    """Returns a line with round ends; a shaft stops at the base of its head, so that the tip is sharp."""
    tip, one, other = arrow_head(line)
    reach = line.thickness / 2 + (abs(tip[0] - one[0]) + abs(tip[1] - one[1]) if line.arrow else 0)
    start, end = (line.x1, line.y1), shaft_end(line)
    (left, right), (top, bottom) = sorted((line.x1, line.x2)), sorted((line.y1, line.y2))
    sheet = _Sheet(pygame, left - reach, top - reach, right + reach, bottom + reach)
    if line.arrow:
        pygame.draw.polygon(sheet.surface, 1, [sheet.at(*corner) for corner in (tip, one, other)])
    across, half = np.array([start[1] - end[1], end[0] - start[0]]), line.thickness / 2
    across = across * half / max(float(np.hypot(*across)), 1e-9)
    corners = (start + across, end + across, end - across, start - across)
    pygame.draw.polygon(sheet.surface, 1, [sheet.at(*corner) for corner in corners])
    for x, y in (start, end):
        low, high = sheet.at(x - half, y - half), sheet.at(x + half, y + half)
        pygame.draw.ellipse(sheet.surface, 1, (*low, high[0] - low[0], high[1] - low[1]))
    return sheet.stain(pygame, line.colour)


def _label(label: Label) -> Stain:
    coverage, width, ascent = _text(label.text, max(round(label.size * TEXT_ENLARGED), 1), label.bold)
    x = label.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[label.anchor] * width
    return Stain(round(x), round(label.y + CAPITALS * label.size - ascent), coverage, label.colour)


@lru_cache(maxsize=2048)  # most labels stay from frame to frame
def _text(text: str, enlarged_size: int, bold: bool) -> tuple[np.ndarray, float, float]:
    """Returns how much of each pixel a text covers, its width and how far it reaches above its baseline, in pixels."""
    pygame = load_pygame()
    pygame.font.init()  # each time: other environments call pygame.quit(), which also spoils fonts that are kept
    font = pygame.font.Font(os.path.join(os.path.dirname(pygame.__file__), "freesansbold.ttf"), enlarged_size)
    ink = pygame.surfarray.array_alpha(font.render(text, True, "black"))
    width, height = ink.shape
    ink = np.pad(ink, ((0, -width % TEXT_ENLARGED), (0, -height % TEXT_ENLARGED)))
    if not bold:
        ink = _thinner(ink, THINNED * enlarged_size)
    coverage = _means(ink, TEXT_ENLARGED) / np.float32(255)
    return coverage, width / TEXT_ENLARGED, font.get_ascent() / TEXT_ENLARGED


def _thinner(ink: np.ndarray, radius: float) -> np.ndarray:
    """Returns the least of all values within a radius of each place."""
    thin, reach = ink.copy(), int(radius)
    for dx in range(-reach, reach + 1):
        for dy in range(-reach, reach + 1):
            if dx * dx + dy * dy <= radius * radius:
                np.minimum(thin, np.roll(ink, (dx, dy), (0, 1)), out=thin)
    return thin


# -- the window ------------------------------------------------------------------------------------
class Window:
    """The window of `render_mode="human"`; it opens with its first picture.

    Where the user closes it, the run goes on without pictures and without waiting until `close`, after which it may
    open again. pygame has one window a process: environments that show themselves at the same time take turns in it,
    as all of Gymnasium's do. A copy or an unpickled window is a new one that is not open.
    """

    def __init__(self, title: str, fps: float) -> None:
        self.title = title
        self.fps = fps
        self._clock: Any = None
        self._closed_by_user = False

    def __reduce__(self) -> tuple[Any, ...]:
        return Window, (self.title, self.fps)

    def show(self, picture: np.ndarray) -> None:
        """Shows pixels of shape (HEIGHT, WIDTH, 3), then waits so long that the frame rate is kept."""
        if self._closed_by_user:
            return
        pygame = load_pygame()
        pygame.display.init()
        surface = pygame.display.get_surface()
        if surface is None or surface.get_size() != (WIDTH, HEIGHT):  # not open yet, or another environment's
            surface = pygame.display.set_mode((WIDTH, HEIGHT))
        pygame.display.set_caption(self.title)
        pygame.surfarray.blit_array(surface, picture.transpose(1, 0, 2))
        pygame.display.flip()
        self._clock = self._clock or pygame.time.Clock()
        self._clock.tick(self.fps)
        pygame.event.clear(pygame.MOUSEMOTION)  # else these fill the queue, and the wish to close is lost
        if pygame.event.get(pygame.QUIT):
            self.close()
            self._closed_by_user = True

    def close(self) -> None:
        """Closes the window if this object has opened one; more than once does no harm."""
        if self._clock is not None:
            load_pygame().display.quit()
        self._clock = None
        self._closed_by_user = False
