"""Where games come from: a folder or an archive of official games, listed at once and loaded one by one.

Names of folders tell split and task type, so listing opens no game. ALFWorld's own splits go before the hash that
splits other problems: train, validation = valid_seen, test = valid_unseen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import numpy as np

from gfn_envs.problems import ProblemSet, check_split, no_such_problem, split_of
from gfn_envs.task import Problem
from gfn_envs.tasks.alfworld.archive import (
    GAME_FILE,
    SPLITS,
    SUFFIXES,
    game_name,
    is_official,
    problems_file,
    read_archive,
)
from gfn_envs.tasks.alfworld.game_file import MOST_CHARACTERS, UnsolvableGame, read_game
from gfn_envs.tasks.alfworld.household import TASK_TYPES
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem

OFFICIAL = "official"
"""Value of `games` that means the games that `alfworld-download` put on this machine."""
_OFFICIAL_SPLITS = {"train": "train", "validation": "valid_seen", "test": "valid_unseen"}
_KEPT_PROBLEMS = 128
_ATTEMPTS = 1000


@dataclass(frozen=True, slots=True)
class Entry(Problem):
    """A game that is not loaded: its name, its task type ('' if only the file tells) and where it is."""

    game: str
    task_type: str
    file: str
    offset: int = -1
    length: int = 0

    @property
    def id(self) -> str:
        """The id of the problem."""
        return f"alfworld/{self.game}"

    @property
    def split_name(self) -> str:
        """ALFWorld's split, or for other games the one that the hash of their content decides, by ALFWorld's name."""
        first = self.game.split("/", 1)[0]
        if first in SPLITS:
            return first
        try:
            return _OFFICIAL_SPLITS[split_of(self.load())]
        except UnsolvableGame:
            return ""

    def load(self) -> ALFWorldProblem:
        """Returns the problem.

        Raises:
            ValueError: the file is missing or is not a game of ALFWorld.
        """
        return _load(self)


@dataclass(frozen=True)
class Games:
    """A listed family of games, all of one weight."""

    source: str
    entries: tuple[Entry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[ALFWorldProblem]:
        for entry in self.entries:
            try:
                yield entry.load()
            except UnsolvableGame:
                continue

    def sample(self, rng: np.random.Generator) -> ALFWorldProblem:
        """Draws a game; one that says that it is not solvable is drawn again."""
        for _ in range(_ATTEMPTS):
            try:
                return self.entries[rng.integers(len(self.entries))].load()
            except UnsolvableGame:
                continue
        raise ValueError(f"'{self.source}' has no solvable game among {_ATTEMPTS} drawn")

    def split(self, name: str) -> Games:
        """Returns the games of 'train', 'validation' or 'test', or of ALFWorld's own names of these."""
        if name not in SPLITS:
            check_split(name)
        if name == "all":
            return self
        wanted = _OFFICIAL_SPLITS.get(name, name)
        return self._kept([entry for entry in self.entries if entry.split_name == wanted], f"in the split {name!r}")

    def of_types(self, task_types: tuple[str, ...]) -> Games:
        """Returns the games of these task types."""
        kept = [entry for entry in self.entries if _type_of(entry) in task_types]
        return self._kept(kept, f"of the type {' or '.join(task_types)}")

    def _kept(self, entries: list[Entry], which: str) -> Games:
        if not entries:
            raise ValueError(f"none of the {len(self)} games of '{self.source}' is {which}")
        return replace(self, entries=tuple(entries))

    def take(self, count: int, rng: np.random.Generator) -> ProblemSet[ALFWorldProblem]:
        """Returns up to `count` games drawn uniformly without replacement, in the order of their names."""
        chosen = sorted(rng.permutation(len(self))[:count])
        return ProblemSet(tuple(replace(self, entries=tuple(self.entries[i] for i in chosen))))

    def find(self, problem_id: str) -> ALFWorldProblem:
        """Returns the game of an id; raises ValueError that names the nearest one if there is none."""
        by_id = {entry.id: entry for entry in self.entries}
        if problem_id not in by_id:
            raise no_such_problem(problem_id, by_id)
        return by_id[problem_id].load()


@lru_cache(maxsize=_KEPT_PROBLEMS)
def _load(entry: Entry) -> ALFWorldProblem:
    try:
        if entry.offset < 0:
            return read_file(Path(entry.file), entry.game)
        with open(entry.file, "rb") as file:
            file.seek(entry.offset)
            return ALFWorldProblem(**json.loads(file.read(entry.length)))
    except UnsolvableGame:
        raise
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"'{entry.file}': {error}") from None


def _type_of(entry: Entry) -> str:
    """Returns the task type; opens the file only where its name does not tell."""
    try:
        return entry.task_type or entry.load().task_type
    except UnsolvableGame:
        return ""


def read_file(file: Path, game: str) -> ALFWorldProblem:
    """Returns the problem of one official file; raises ValueError if it is none."""
    if file.stat().st_size > MOST_CHARACTERS:
        raise ValueError(f"a game has at most {MOST_CHARACTERS} bytes, got {file.stat().st_size}")
    try:
        return read_game(file.read_text(encoding="utf-8"), game)
    except UnicodeDecodeError:
        raise ValueError("not a text file in UTF-8") from None


# -- finding ---------------------------------------------------------------------------------------
def open_games(games: str) -> Games:
    """Returns the games of a folder or an archive, which is read once in a process.

    Args:
        games: path of a folder, a tar archive or a zip archive, with variables such as $ALFWORLD_DATA; a relative
            path may be relative to that folder, too. 'official' is $ALFWORLD_DATA itself, by default
            ~/.cache/alfworld, where `alfworld-download` puts it.

    Raises:
        ValueError: there is no such place, or it has no games.
    """
    path = _located(games)
    if not path.exists():
        raise ValueError(f"there is no folder or archive of ALFWorld games '{path}'")
    return _listed(str(path.resolve()), path.stat().st_mtime_ns)


def _located(games: str) -> Path:
    data = os.environ.get("ALFWORLD_DATA")
    if games == OFFICIAL:
        return Path(data or "~/.cache/alfworld").expanduser()
    path = Path(os.path.expandvars(games)).expanduser()
    return Path(data, path) if data and not path.exists() else path


@lru_cache(maxsize=8)
def _listed(path: str, changed: int) -> Games:
    """Lists a folder or archive; `changed`, its time, is part of the key so that a new archive is read anew."""
    entries = _in_folder(Path(path)) if os.path.isdir(path) else _in_archive(Path(path))
    return Games(path, tuple(sorted(entries, key=lambda entry: entry.game)))


def _in_folder(folder: Path) -> list[Entry]:
    files = [Path(place, GAME_FILE) for place, _, names in os.walk(folder) if GAME_FILE in names]
    named = [(game_name(file.parts), file) for file in files]
    entries = [Entry(game, _task_type(game), str(file)) for game, file in named if is_official(game)]
    if not entries:
        raise ValueError(f"'{folder}' has no {GAME_FILE} files below it")
    return entries


def _in_archive(archive: Path) -> list[Entry]:
    if archive.suffix not in SUFFIXES:
        raise ValueError(f"'{archive}' is neither a folder nor one of the archives {', '.join(SUFFIXES)}")
    file = problems_file(archive)
    try:
        with file.open("rb") as opened:
            rows = json.loads(first := opened.readline())
        offsets = accumulate((size for _, _, size in rows), initial=len(first))
        return [Entry(game, kind, str(file), at, size) for (game, kind, size), at in zip(rows, offsets, strict=False)]
    except (ValueError, TypeError):
        raise ValueError(f"'{file}' is damaged; remove it, it is made again from '{archive}'") from None


def _task_type(game: str) -> str:
    return next((kind for part in game.split("/") for kind in TASK_TYPES if part.split("-", 1)[0] == kind), "")


def load_games(path: Path) -> list[ALFWorldProblem]:
    """Returns all problems of one game file or one archive."""
    if path.name.endswith(".tw-pddl"):
        try:
            return [read_file(path, game_name(path.resolve().parts))]
        except ValueError as error:
            raise ValueError(f"'{path}': {error}") from None
    if path.suffix in SUFFIXES:
        return read_archive(path)
    raise ValueError(f"'{path}' is not a .jsonl file, a .tw-pddl game or an archive, the formats that alfworld reads")
