"""Plays ALFWorld on the real engine and on this package's rules in lock-step and counts the differences.

Every step compares the text, the full list of admissible commands, `won` and the score. Half of the games first
follow their walkthrough; all go on at random, past the goal too, with some commands that are not admissible. Needs
the engine, `pip install "gfn-gym[alfworld]"`. Run it with

    python benchmarks/alfworld_lockstep.py GAMES [--games 200] [--steps 100] [--seed 0] [--remember]

where GAMES is a folder of official games. It also prints the CPU seconds a step of both, and their ratio. The engine
derives the text of every admissible command anew at every step, which is nearly all of its time; with `--remember`
each is derived by the engine once a game (they do not depend on the state), which makes it five times faster.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gfn_envs.tasks.alfworld.game_file import read_game
from gfn_envs.tasks.alfworld.house import House, Room, house_of
from gfn_envs.tasks.alfworld.rules import apply, commands, conditions_met, read
from gfn_envs.tasks.alfworld.stock import StockGame, StockTurn
from gfn_envs.tasks.alfworld.texts import NOTHING_HAPPENS, feedback, first_observation

verbs: Counter[str] = Counter()
history: list[str] = []
NONSENSE = ("", "dance", "take", "go to moon 1", "open", "examine", "LOOK", "use  ", "take mug 1 from", "put a in/on b")
IDLE = ("go", "examine", "help", "inventory", "look")


class Clock(NamedTuple):
    """CPU seconds."""

    stock: float = 0.0
    ours: float = 0.0


def our_turn(house: House, room: Room, command: str) -> tuple[Room, StockTurn]:
    """Returns the room and the answer of our rules to any text, as the engine gives them."""
    try:
        read_command = read(house, command.strip())
        room = apply(house, room, read_command)
        text = feedback(house, room, read_command)
    except KeyError:
        text = NOTHING_HAPPENS
    won = conditions_met(house, room) == house.conditions
    return room, StockTurn(text, commands(house, room), won, int(won))


def choose(house: House, admissible: tuple[str, ...], rng: random.Random) -> str:
    """Returns a random command: by verb first, so that rare verbs are played; sometimes one that may not be legal."""
    if rng.random() < 0.08:
        names = [*house.receptacles, *house.things]
        a, b = rng.choice(names), rng.choice(names)
        forms = (f"take {a} from {b}", f"move {a} to {b}", f"examine {a}", f"open {a}", f"go to {a}", f"use {a}")
        return rng.choice((*NONSENSE, *forms, f"heat {a} with {b}", f"slice {a} with {b}", f"put {a} in/on {b}"))
    acts = [command for command in admissible if command.split()[0] not in IDLE]
    if acts and rng.random() < 0.6:
        verb = rng.choice(sorted({command.split()[0] for command in acts}))
        return rng.choice([command for command in acts if command.startswith(f"{verb} ")])
    return rng.choice(IDLE[2:]) if rng.random() < 0.25 else rng.choice(admissible)


def play(file: Path, steps: int, rng: random.Random, with_plan: bool, remember: bool) -> tuple[int, list[str], Clock]:
    """Returns the compared steps, the differences and the CPU seconds of both."""
    text = file.read_text(encoding="utf-8")
    problem = read_game(text, file.parent.as_posix()[-100:])
    house, stock_game = house_of(problem), StockGame(text)
    if remember:
        remember_commands(stock_game)
    room, clock, differences = house.start, Clock(), []
    stock = stock_game.reset()
    ours = StockTurn(first_observation(house, problem.task), commands(house, room), False, 0)
    plan = list(problem.walkthrough) if with_plan else []
    for step in range(steps + 1):
        differences += [f"{file} step {step} {line}" for line in compare(stock, ours)]
        command = plan.pop(0) if plan else choose(house, stock.admissible_commands, rng)
        start = time.process_time()
        stock = stock_game.step(command)
        middle = time.process_time()
        room, ours = our_turn(house, room, command)
        clock = Clock(clock.stock + middle - start, clock.ours + time.process_time() - middle)
        verbs[command.split()[0] if ours.text != NOTHING_HAPPENS else "(refused)"] += 1
        history.append(command)
    return steps + 1, differences, clock


def remember_commands(game: StockGame) -> None:
    """Makes the engine derive the text of each ground command once."""
    logic, texts = game._env._logic, {}
    derive, templates = logic.grammar.derive, {action.template for action in logic.actions.values()}

    def derive_once(start: str, context: dict) -> str:
        if start not in templates:
            return derive(start, context)
        key = (start, *((placeholder.name, thing.name) for placeholder, thing in context["mapping"].items()))
        if key not in texts:
            texts[key] = derive(start, context)
        return texts[key]

    logic.grammar.derive = derive_once


def compare(stock: StockTurn, ours: StockTurn) -> Iterator[str]:
    """Yields one line for each field that differs."""
    for name, one, other in zip(StockTurn._fields, stock, ours, strict=True):
        if one != other:
            yield f"{name} after {history[-1:]}:\n  stock {one!r}\n  ours  {other!r}"


def main() -> None:
    """Plays and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--games", type=int, default=200)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--remember", action="store_true")
    options = parser.parse_args()
    files = sorted(options.folder.rglob("game.tw-pddl"))
    if not files:
        sys.exit(f"'{options.folder}' has no game.tw-pddl files")
    rng = random.Random(options.seed)
    chosen = rng.sample(files, min(options.games, len(files)))
    steps, differences, clock = 0, 0, Clock()
    for number, file in enumerate(chosen, start=1):
        try:
            compared, found, seconds = play(file, options.steps, rng, number % 2 == 0, options.remember)
        except ImportError as error:
            sys.exit(str(error))
        steps, differences = steps + compared, differences + len(found)
        clock = Clock(clock.stock + seconds.stock, clock.ours + seconds.ours)
        for line in found[:3]:
            print(line, flush=True)
        print(f"\r{number}/{len(chosen)} games, {steps} steps, {differences} differences", end="", flush=True)
    print(f"\n{dict(verbs.most_common())}")
    each = f"{1e3 * clock.stock / steps:.1f} ms on the engine, {1e6 * clock.ours / steps:.1f} us on the rules"
    print(f"CPU time of a step: {each}; ratio {clock.stock / clock.ours:.0f}")


if __name__ == "__main__":
    main()
