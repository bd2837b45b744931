"""Shared fixtures: one thread for torch, no windows, the optional folder with published data, golden files."""

import os

# Set before anything imports torch: tests of several workers must not fight for cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
# Windows open nowhere, so that tests need no display.
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    parser.addoption("--regenerate-golden", action="store_true", help="rewrite tests/golden/*.txt, to review as a diff")


@pytest.fixture
def regenerate_golden(request):
    """True if the golden files are to be written anew."""
    return request.config.getoption("--regenerate-golden")


@pytest.fixture(scope="session")
def published_data():
    """Folder with the published problem files: GFN_GYM_DATA, or ../shared/data beside the repository."""
    named = os.environ.get("GFN_GYM_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no published data at '{folder}'; set GFN_GYM_DATA to the folder that has game24/24_train.csv")
    return folder


@pytest.fixture
def gfn(capsys):
    """Runs a command in this process; returns exit status, standard output and standard error."""

    def run(*words):
        from gfn_envs.cli import main

        try:
            main(list(map(str, words)))
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def fast_windows(monkeypatch):
    """Windows that do not wait until the next frame is due."""
    import pygame

    from gfn_envs.env import TextEnv

    monkeypatch.setitem(TextEnv.metadata, "render_fps", 10_000)
    yield
    pygame.quit()
