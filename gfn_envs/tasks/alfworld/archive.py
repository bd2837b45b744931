"""Games in a tar or zip archive: read once, kept as a small file of problems.

A compressed archive cannot be read in its middle, and 3,693 games take a while. So the first use reads all of it,
extracting nothing, and writes the problems (2 KB each) into a cache folder, whole or not at all; every later process
loads single games from there.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gfn_envs.files import write_whole
from gfn_envs.tasks.alfworld.game_file import MOST_CHARACTERS, UnsolvableGame, read_game
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem

GAME_FILE = "game.tw-pddl"
SPLITS = ("train", "valid_seen", "valid_unseen")
SUFFIXES = (".tar", ".xz", ".gz", ".bz2", ".tgz", ".txz", ".tbz2", ".zip")
_FORMAT = 1
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, RuntimeError)


def game_name(parts: tuple[str, ...]) -> str:
    """Returns the name of a game from the parts of its path: from the split onwards, else the last four."""
    folders = parts[:-1]
    starts = [i for i, part in enumerate(folders) if part in SPLITS]
    return "/".join(folders[starts[-1] :] if starts else folders[-4:]) or "game"


def is_official(name: str) -> bool:
    """Says whether ALFWorld itself plays a game of this name; it leaves out two kinds of tasks."""
    return "movable" not in name and "Sliced" not in name


def cache_folder() -> Path:
    """Returns the folder for files that can be made again: GFN_GYM_CACHE, or gfn-gym in the user's cache."""
    named = os.environ.get("GFN_GYM_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named) if named else Path(base).expanduser() / "gfn-gym"


def problems_file(archive: Path) -> Path:
    """Returns the file of an archive's problems, made at the first use of the archive.

    Its first line lists (game, task type, length of its line); then there is one line of JSON a game.

    Raises:
        ValueError: the archive is broken, unsafe or without games; no file is left behind then.
    """
    stat = archive.stat()
    source = f"{archive.resolve()} {stat.st_size} {stat.st_mtime_ns} {_FORMAT}"
    name = f"{archive.name}-{hashlib.sha256(source.encode()).hexdigest()[:16]}.jsonl"
    file = cache_folder() / "alfworld" / name
    if not file.is_file():
        problems = read_archive(archive)
        lines = [json.dumps(problem.to_json()) + "\n" for problem in problems]
        rows = [(problem.game, problem.task_type, len(line)) for problem, line in zip(problems, lines, strict=True)]
        mine = file.with_name(f"{name}.{os.getpid()}")  # two processes may do this at once
        write_whole(mine, json.dumps(rows) + "\n" + "".join(lines))
        os.replace(mine, file)
    return file


def read_archive(archive: Path) -> list[ALFWorldProblem]:
    """Returns all solvable games of an archive, sorted by name.

    Raises:
        ValueError: the archive is broken, has a member that points outside, a broken game, or no games.
    """
    problems: dict[str, ALFWorldProblem] = {}
    try:
        for member, content in _members(archive):
            game = game_name(PurePosixPath(member).parts)
            if not is_official(game):
                continue
            try:
                problems[game] = read_game(content.decode("utf-8"), game)
            except UnsolvableGame:
                continue
            except ValueError as error:
                raise ValueError(f"'{archive}' member '{member}': {error}") from None
    except _BROKEN as error:
        raise ValueError(f"'{archive}' is not a whole tar or zip archive ({error})") from None
    if not problems:
        raise ValueError(f"'{archive}' has no {GAME_FILE} that can be played")
    return [problems[game] for game in sorted(problems)]


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of the game files."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if _is_game(archive, entry.filename, entry.file_size) and not entry.is_dir():
                    yield entry.filename, opened.read(entry)
        return
    with tarfile.open(archive, "r|*") as stream:
        for member in stream:
            if _is_game(archive, member.name, member.size) and member.isfile():
                content = stream.extractfile(member)
                assert content is not None  # true of every regular file
                yield member.name, content.read()


def _is_game(archive: Path, name: str, size: int) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]:
        raise ValueError(f"'{archive}' is refused: its member '{name[:80]}' points outside of the archive")
    if path.name == GAME_FILE and size > MOST_CHARACTERS:
        raise ValueError(f"'{archive}' member '{name[:80]}' has {size} bytes, a game at most {MOST_CHARACTERS}")
    return path.name == GAME_FILE
