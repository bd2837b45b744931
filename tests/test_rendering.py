"""Pictures: what they show, that they are the same everywhere, and that Gymnasium's tools for them work."""

import contextlib
import copy
import hashlib
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.wrappers import AddRenderObservation, RecordVideo

from gfn_envs import TextEnv
from gfn_envs.cli import main
from gfn_envs.drawing import (
    BLUE,
    GREEN,
    HEIGHT,
    INK,
    PAPER,
    RED,
    WIDTH,
    Circle,
    Drawing,
    Label,
    Line,
    Rectangle,
    arrow_head,
    text_drawing,
    to_svg,
)
from gfn_envs.frames import Window, frame, load_pygame
from gfn_envs.tasks import TASKS

try:
    pygame = load_pygame()
except DependencyNotInstalled as error:
    pytest.skip(str(error), allow_module_level=True)

ROOT = Path(__file__).resolve().parent.parent
IDS = [f"gfn_envs/{name}-v0" for name in TASKS]
LINE = "gfn_envs/NumberLine-v0"
SHAPE = (HEIGHT, WIDTH, 3)
every_id = pytest.mark.parametrize("env_id", IDS)


def rgb(colour):
    return tuple(bytes.fromhex(colour[1:]))


def inked(pixels):
    """Returns where a picture is not paper, bool of shape (HEIGHT, WIDTH)."""
    return (pixels != rgb(PAPER)).any(axis=2)


def picture_of(*shapes):
    return frame(Drawing(shapes))


def started(env_id, **keywords):
    env = gym.make(env_id, **keywords)
    _, info = env.reset(seed=3)
    return env, info["admissible_actions"][0]


def digests(env_id):
    """Returns the hashes of the pictures before and after a step."""
    env, action = started(env_id, render_mode="rgb_array")
    found = [hashlib.sha256(env.render()).hexdigest()]
    env.step(action)
    return [*found, hashlib.sha256(env.render()).hexdigest()]


# -- every environment -----------------------------------------------------------------------------
@every_id
def test_a_frame_shows_the_state(env_id):
    env, action = started(env_id, render_mode="rgb_array")
    before = env.render()
    assert (before.shape, before.dtype) == (SHAPE, np.uint8)
    counts = np.unique(before.reshape(-1, 3), axis=0, return_counts=True)[1]
    assert counts.max() < 0.99 * counts.sum(), "more than one colour"
    assert (before == env.render()).all()
    assert (before == started(env_id, render_mode="rgb_array")[0].render()).all()
    env.step(action)
    assert (env.render() != before).any()


def test_frames_are_the_same_in_every_process():
    code = (
        "import json, sys; sys.path.insert(0, 'tests'); import test_rendering as t;"
        "print(json.dumps({name: t.digests(name) for name in reversed(t.IDS)}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {env_id: digests(env_id) for env_id in IDS}


@every_id
def test_all_frames_of_an_episode_have_one_size(env_id):
    env, _ = started(env_id, render_mode="rgb_array")
    rng, over, shapes = np.random.default_rng(0), False, {env.render().shape}
    while not over:
        legal = env.unwrapped.task.actions(env.unwrapped.get_state().state)
        _, _, terminated, truncated, _ = env.step(legal[rng.integers(len(legal))])
        over = terminated or truncated
        shapes.add(env.render().shape)
    assert shapes == {SHAPE}


@every_id
def test_a_vector_gives_what_single_environments_give(env_id):
    vector = gym.make_vec(env_id, num_envs=3, render_mode="rgb_array")
    vector.reset(seed=3)
    pictures = vector.render()
    assert isinstance(pictures, tuple)
    for index, picture in enumerate(pictures):
        env = gym.make(env_id, render_mode="rgb_array")
        env.reset(seed=3 + index)
        assert (picture == env.render()).all()


@every_id
def test_every_picture_is_well_formed_svg(env_id):
    env, action = started(env_id)
    start = env.unwrapped.get_state().state
    env.step(action)
    for state in (start, env.unwrapped.get_state().state):
        root = ElementTree.fromstring(to_svg(env.unwrapped.task.draw(state)))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(root) > 2


# -- Gymnasium's tools -----------------------------------------------------------------------------
@every_id
def test_a_video_can_be_recorded_and_played(env_id, tmp_path):
    moviepy = pytest.importorskip("moviepy")
    env = RecordVideo(gym.make(env_id, render_mode="rgb_array"), str(tmp_path / "films"))
    _, info = env.reset(seed=3)
    frames, over = [env.render()], False
    while not over:
        _, _, terminated, truncated, info = env.step((info["admissible_actions"] or [""])[0])
        frames.append(env.render())
        over = terminated or truncated
    env.close()
    with moviepy.VideoFileClip(str(tmp_path / "films" / "rl-video-episode-0.mp4")) as film:
        assert film.size == [WIDTH, HEIGHT]
        assert film.fps == TextEnv.metadata["render_fps"]
        assert film.n_frames == len(frames)
        difference = np.abs(film.get_frame(0).astype(int) - frames[0])
    assert difference.mean() < 4, "compression changes the picture a little"


def test_pictures_as_observations():
    env = AddRenderObservation(gym.make(LINE, render_mode="rgb_array"))
    observation, info = env.reset(seed=3)
    assert env.observation_space == gym.spaces.Box(0, 255, SHAPE, np.uint8)
    assert observation in env.observation_space
    assert (observation == started(LINE, render_mode="rgb_array")[0].render()).all()
    after = env.step(info["admissible_actions"][0])[0]
    assert after in env.observation_space
    assert (after != observation).any()


@pytest.mark.parametrize("missing", [False, True])
def test_gfn_check_passes_with_and_without_pygame(missing, monkeypatch, capsys):
    tried = []
    monkeypatch.setattr(Window, "show", lambda window, picture: tried.append(picture.shape))
    if missing:
        monkeypatch.setitem(sys.modules, "pygame", None)
    monkeypatch.setattr(sys, "argv", ["gfn", "check", LINE, "--problems", "1", "--json"])
    main()
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert all(check["passed"] for check in checks)
    assert ("pygame is not installed" in checks[0]["reason"]) == missing
    assert set(tried) == (set() if missing else {SHAPE})


# -- windows ---------------------------------------------------------------------------------------
def shown():
    """Returns what the window shows, or None if none is open."""
    surface = pygame.display.get_surface() if pygame.display.get_init() else None
    return None if surface is None else pygame.surfarray.array3d(surface).transpose(1, 0, 2)


def test_a_window_follows_the_play(fast_windows):
    env = gym.make(LINE, render_mode="human")
    still, action = started(LINE, render_mode="rgb_array")
    for _ in range(2):
        assert shown() is None
        env.reset(seed=3)
        still.reset(seed=3)
        assert (shown() == still.render()).all()
        env.step(action)
        still.step(action)
        assert (shown() == still.render()).all()
        assert env.render() is None
        env.close()
        env.close()
    assert shown() is None


def test_an_environment_without_a_window_closes_none(fast_windows):
    one, _ = started(LINE, render_mode="human")
    gym.make(LINE, render_mode="human").close()
    started(LINE, render_mode="rgb_array")[0].close()
    assert shown() is not None
    one.close()
    assert shown() is None


def test_a_run_goes_on_when_the_user_closes_the_window(fast_windows):
    env, action = started(LINE, render_mode="human")
    pygame.event.post(pygame.Event(pygame.QUIT))
    env.step(action)
    assert shown() is None
    env.reset(seed=3)
    env.step(action)
    assert shown() is None
    env.close()
    env.reset(seed=3)
    assert shown() is not None


def test_a_run_goes_on_when_another_environment_ends_pygame(fast_windows):
    env, action = started(LINE, render_mode="human")
    pygame.quit()  # what closing CartPole does
    env.step(action)
    assert shown() is not None
    pygame.quit()
    pygame.init()
    pygame.display.set_mode((30, 20))
    env.reset()
    assert shown().shape == SHAPE


def test_a_clone_gives_frames_and_copies_get_a_window_of_their_own(fast_windows):
    env, action = started(LINE, render_mode="human")
    before = shown()
    clone = env.unwrapped.clone()
    clone.step(action)
    assert (clone.render() != before).any()
    assert (shown() == before).all()
    env.close()
    for other in (copy.deepcopy(env.unwrapped), pickle.loads(pickle.dumps(env.unwrapped))):
        assert other._window is not env.unwrapped._window
        assert shown() is None
        other.step(action)
        assert (shown() == clone.render()).all()
        other.close()


def test_a_window_keeps_the_frame_rate():
    window, picture = Window("line", fps=20), picture_of()
    begun = time.perf_counter()
    for _ in range(4):
        window.show(picture)
    window.close()
    assert 0.15 < time.perf_counter() - begun < 2


def test_a_window_hears_that_it_is_to_be_closed_among_many_motions():
    pygame, window, picture = load_pygame(), Window("line", fps=1000), picture_of()
    for last in (pygame.event.Event(pygame.KEYDOWN, key=pygame.K_a), pygame.event.Event(pygame.QUIT)):
        window.show(picture)
        with contextlib.suppress(pygame.error):  # until the queue is full
            while True:
                pygame.event.post(pygame.event.Event(pygame.MOUSEMOTION))
        window.show(picture)
        pygame.event.post(last)
    assert pygame.event.peek(pygame.KEYDOWN), "what its owner may wait for stays"
    window.show(picture)
    assert window._closed_by_user
    window.close()


# -- what is refused -------------------------------------------------------------------------------
def test_missing_pygame_gets_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    sentence = r'^rendering pictures needs pygame: pip install "gfn-gym\[render\]"$'
    for mode in ("rgb_array", "human"):
        with pytest.raises(DependencyNotInstalled, match=sentence):
            gym.make(LINE, render_mode=mode)
    with pytest.raises(DependencyNotInstalled, match=sentence):
        gym.make_vec(LINE, render_mode="rgb_array")
    with pytest.raises(DependencyNotInstalled, match=sentence):
        picture_of()
    assert "@" in started(LINE, render_mode="ansi")[0].render()


def test_unknown_render_modes_get_one_sentence():
    with pytest.raises(ValueError, match=r"render_mode must be one of .*'human'.*, got 'svg'"):
        gym.make(LINE, render_mode="svg")
    with pytest.raises(ValueError, match=r"a vector must be one of \('ansi', 'rgb_array'\), got 'human'"):
        gym.make_vec(LINE, render_mode="human")


# -- shapes ----------------------------------------------------------------------------------------
def test_a_rectangle_is_where_it_says():
    pixels = picture_of(Rectangle(100, 50, 200, 80, RED))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[50:130, 100:300] = True
    assert (inked(pixels) == expected).all()
    assert (pixels[expected] == rgb(RED)).all()


def test_half_of_an_outline_lies_outside():
    pixels = picture_of(Rectangle(100, 50, 200, 80, "", BLUE, thickness=6))
    assert np.flatnonzero(inked(pixels)[90]).tolist() == [*range(97, 103), *range(297, 303)]
    assert np.flatnonzero(inked(pixels)[:, 200]).tolist() == [*range(47, 53), *range(127, 133)]


def test_round_corners_are_paper():
    pixels = picture_of(Rectangle(100, 50, 200, 80, RED, INK, radius=20))
    assert tuple(pixels[51, 101]) == rgb(PAPER)
    assert tuple(pixels[90, 200]) == rgb(RED)
    assert tuple(pixels[90, 100]) == rgb(INK)


def test_a_circle_is_round_and_its_edge_smooth():
    pixels = picture_of(Circle(360, 225, 100, GREEN))
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(x - 360, y - 225)
    assert (pixels[distance < 98.5] == rgb(GREEN)).all()
    assert not inked(pixels)[distance > 101.5].any()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 8, "the edge mixes colours"
    ring = picture_of(Circle(360, 225, 100, "", GREEN, thickness=10))
    assert tuple(ring[225, 262]) == rgb(GREEN)
    assert not inked(ring)[distance < 93].any()


def test_shapes_are_drawn_in_their_order():
    red, blue = Rectangle(100, 100, 50, 50, RED), Rectangle(100, 100, 50, 50, BLUE)
    assert tuple(picture_of(red, blue)[125, 125]) == rgb(BLUE)
    assert tuple(picture_of(blue, red)[125, 125]) == rgb(RED)
    covered = picture_of(Label(125, 125, "MMM"), red)
    assert (covered[100:150, 100:150] == rgb(RED)).all()


def test_what_lies_outside_the_sheet_is_cut_off():
    outside = (Rectangle(-500, -500, 100, 100, RED), Circle(WIDTH + 300, 10, 20, RED), Label(-400, 20, "out"))
    assert not inked(picture_of(*outside, Line(-90, -90, -10, -10), Label(WIDTH + 400, 500, "out"))).any()
    assert inked(picture_of(Rectangle(-1e6, -1e6, 2e6, 2e6, RED))).all()
    assert inked(picture_of(Label(2, 3, "edge", anchor="start"), Label(WIDTH, HEIGHT, "edge"))).any()


@pytest.mark.parametrize(("x", "y"), [(500, 200), (200, 200), (350, 60), (350, 380), (470, 330)])
def test_an_arrow_has_a_head(x, y):
    line = Line(350, 200, x, y, INK, 4)
    bare, arrow = inked(picture_of(line)), inked(picture_of(line._replace(arrow=True)))
    tip, one, other = arrow_head(line)
    for corner in (one, other):  # a little inside of it
        column, row = (round(0.75 * a + 0.25 * b) for a, b in zip(corner, tip, strict=True))
        assert arrow[row, column]
    assert arrow.sum() > bare.sum()
    half = [round((350 + x) / 2), round((200 + y) / 2)]
    assert bare[half[1], half[0]]
    assert arrow[half[1], half[0]]


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize(
    ("anchor", "left", "right"), [("start", 0, 1), ("middle", 0.5, 0.5), ("end", 1, 0)], ids=["start", "middle", "end"]
)
def test_a_label_lies_on_its_side_of_the_anchor(anchor, left, right, bold):
    ink = inked(picture_of(Label(360, 225, "HOOH", 40, INK, anchor, bold)))
    columns, rows = np.flatnonzero(ink.any(0)), np.flatnonzero(ink.any(1))
    width = columns[-1] - columns[0]
    assert 80 < width < 160
    assert columns[0] == pytest.approx(360 - left * width, abs=8)
    assert columns[-1] == pytest.approx(360 + right * width, abs=8)
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(225, abs=2), "capitals are centred"


def test_bold_has_more_ink_and_crisp_strokes():
    regular, bold = (picture_of(Label(360, 225, "Hill 24", 20, INK, bold=bold)) for bold in (False, True))
    paper = picture_of().astype(int)
    assert (paper - bold).sum() > 1.2 * (paper - regular).sum() > 0
    for pixels in (regular, bold):
        assert (np.abs(pixels.astype(int) - rgb(INK)).sum(axis=2) < 30).any(), "some pixels are all ink"


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_label_draws_nothing(text):
    assert not inked(picture_of(Label(360, 225, text))).any()


# -- text and SVG ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "One long line of plain words. " * 40,
        "Many short lines\n" * 90,
        "Some words of a text. " * 9 + "\n\nend",
    ],
)
def test_a_long_text_stays_inside_the_sheet(text):
    ink = inked(frame(text_drawing(text)))
    assert ink.any()
    ink[15 : HEIGHT - 15, 15 : WIDTH - 15] = False
    assert not ink.any()


def test_svg_escapes_what_it_shows():
    nasty = """<&">'</svg><script>"""
    drawing = Drawing((Label(10, 20, nasty), Rectangle(1, 2, 3, 4, RED, INK), Line(0, 0, 9, 9, arrow=True)), nasty)
    root = ElementTree.fromstring(to_svg(drawing))
    texts = [element.text for element in root if element.text]
    assert texts == [nasty, nasty]
    assert [element.tag.split("}")[1] for element in root] == ["title", "rect", "text", "rect", "line", "polygon"]
