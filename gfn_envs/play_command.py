"""The subcommand by which a person plays an environment: gfn play."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gfn_envs.actions import REMEDY, IllegalActionError
from gfn_envs.cli import CommandError, check_at_least, open_env, parse_env_kwargs, print_json


def play(
    env: str,
    /,
    problem_id: str | None = None,
    problems: Path | None = None,
    split: str = "all",
    seed: int | None = None,
    env_kwargs: str = "{}",
    json: bool = False,
) -> None:
    """Play an environment yourself: type an action or its number.

    Args:
        env: id of the environment.
        problem_id: play this problem, such as game24/4-6-6-8.
        problems: problem file.
        split: train, validation, test or all.
        seed: of the problem drawn and of chance.
        env_kwargs: keywords of gym.make as a JSON object.
        json: print the whole episode as one JSON document at its end.
    """
    check_at_least(0, seed=seed)
    made = open_env(env, parse_env_kwargs(env_kwargs), problems, split)
    say = sys.stderr if json else sys.stdout
    observation, info = made.reset(seed=seed, options={"problem_id": problem_id} if problem_id else None)
    transcript: list[dict[str, Any]] = []
    reward, over = 0.0, False
    while not over:
        say.write(f"\n{observation}\n")
        for number, action in enumerate(info["admissible_actions"], start=1):
            say.write(f"  {number:>3}  {action}\n")
        action = _ask(info["admissible_actions"], say)
        before = observation
        observation, gained, terminated, truncated, info = made.step(action)
        reward, over = reward + gained, terminated or truncated
        transcript.append({"observation": before, "action": info["parsed_action"], "reward": gained})
        if info["invalid_action"]:
            _refuse(action, info["admissible_actions"], say)
    say.write(f"\n{observation}\n{info['terminal_cause']}; return {reward:g}\n")
    if json:
        print_json(
            {
                "env": env,
                "problem_id": info["problem_id"],
                "steps": transcript,
                "success": info["success"],
                "return": reward,
            }
        )


def _ask(actions: list[str], say: Any) -> str:
    if sys.stdin.isatty():
        say.write("> ")
        say.flush()
    line = sys.stdin.readline()
    if not line:
        raise CommandError("the input ended before the episode did")
    text = line.rstrip("\n")
    numbered = text.strip()
    if numbered.isascii() and numbered.isdigit() and len(numbered) < 6 and 1 <= int(numbered) <= len(actions):
        return actions[int(numbered) - 1]
    return text


def _refuse(text: str, actions: list[str], say: Any) -> None:
    refusal = IllegalActionError(text, actions)
    if not sys.stdin.isatty():
        raise refusal
    say.write(f"{str(refusal).removesuffix(REMEDY)}; type its number or its text, Ctrl-C to leave\n")
