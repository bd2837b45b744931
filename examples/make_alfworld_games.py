"""Makes the ALFWorld games that come with the package, and game files for the real engine.

    python examples/make_alfworld_games.py

writes gfn_envs/data/alfworld_games.jsonl.gz, 60 games of each of the six task types; the same seed gives the same
games. With `--game-files FOLDER` the games are written as official `game.tw-pddl` files instead (that takes ALFWorld's
domain and grammar from its package), with the `traj_data.json` that ALFWorld's own environment looks for.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import gfn_envs
from gfn_envs.files import write_whole
from gfn_envs.tasks.alfworld.generator import SHIPPED, SHIPPED_PER_TYPE, SHIPPED_SEED, numbered_games
from gfn_envs.tasks.alfworld.pddl_writer import write_game
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem


def write_lines(games: Sequence[ALFWorldProblem], path: Path) -> None:
    """Writes one line of JSON a game, compressed; no time of writing is kept, so that equal games give equal files."""
    lines = "".join(json.dumps(game.to_json(), separators=(",", ":")) + "\n" for game in games)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def write_game_files(games: Sequence[ALFWorldProblem], folder: Path) -> None:
    """Writes each game into a folder of its own."""
    for game in games:
        write_whole(folder / game.game / "game.tw-pddl", write_game(game))
        write_whole(folder / game.game / "traj_data.json", json.dumps({"task_type": game.task_type}))


def main() -> None:
    """Makes and writes the games."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-type", type=int, default=SHIPPED_PER_TYPE)
    parser.add_argument("--seed", type=int, default=SHIPPED_SEED)
    parser.add_argument("--output", type=Path, default=Path(gfn_envs.__file__).parent / "data" / SHIPPED)
    parser.add_argument("--game-files", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    games = list(numbered_games(options.seed, options.per_type))
    if options.game_files:
        write_game_files(games, options.game_files)
    else:
        write_lines(games, options.output)
    print(f"{len(games)} games in '{options.game_files or options.output}'")


if __name__ == "__main__":
    main()
