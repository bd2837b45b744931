"""One readable playthrough a game, with everything that can be seen of every state.

A change of behaviour shows as a diff of tests/golden/*.txt. If it is wanted, write the files anew
with `pytest --regenerate-golden tests/test_golden.py` and review the diff.
"""

from pathlib import Path

import pytest

from gfn_envs.exact import EnumerationLimit, analyse
from gfn_envs.tasks.alfworld import ALFWorld
from gfn_envs.tasks.alfworld.generator import shipped_games
from gfn_envs.tasks.blackjack import BlackJack, BlackJackProblem
from gfn_envs.tasks.blocksworld import BlocksWorld, BlocksWorldProblem
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from gfn_envs.tasks.prontoqa import PrOntoQA, PrOntoQAProblem

SMALL_BATH = min(shipped_games(), key=lambda game: len(game.receptacles))
FOLDER = Path(__file__).resolve().parent / "golden"

PLAYTHROUGHS = {
    "alfworld_won": (ALFWorld(), SMALL_BATH, SMALL_BATH.walkthrough),
    "alfworld_summary": (ALFWorld(observation="summary"), SMALL_BATH, SMALL_BATH.walkthrough),
    "game24_solved": (
        Game24(),
        Game24Problem((2, 2, 3, 6)),
        ("3 * 2 = 6 (left: 2 6 6)", "6 - 2 = 4 (left: 4 6)", "6 * 4 = 24 (left: 24)"),
    ),
    "game24_fractions": (
        Game24(),
        Game24Problem((3, 3, 8, 8)),
        ("8 / 3 = 8/3 (left: 8/3 3 8)", "3 - (8/3) = 1/3 (left: 1/3 8)", "8 / (1/3) = 24 (left: 24)"),
    ),
    "numberline_arrived": (NumberLine(high=3, horizon=5), NumberLineProblem(0, 2, 0, 3), ("-", "+", "-", "+", "+")),
    "numberline_inverse_distance": (
        NumberLine(low=-1, high=2, horizon=3, reward="inverse_distance"),
        NumberLineProblem(2, 0, -1, 2),
        ("+", "-", "+"),
    ),
    "blackjack_hit_and_stick": (BlackJack(), BlackJackProblem((2, 10), 9), ("hit", "stick")),
    "blackjack_one_deck": (BlackJack(decks=1, doubling=True), BlackJackProblem((5, 6), 10), ("double",)),
    "blocksworld_solved": (
        BlocksWorld(blocks=3, length=4),
        BlocksWorldProblem((("blue", "orange", "red"),), ("on orange red",), 4),
        (
            "unstack the red block from on top of the orange block",
            "put down the red block",
            "unstack the orange block from on top of the blue block",
            "stack the orange block on top of the red block",
        ),
    ),
    "prontoqa_proved": (
        PrOntoQA(hops=2, distractors=1, slack=1),
        PrOntoQAProblem(
            "Each borpus is not brown. Wumpuses are brown. Sterpuses are wumpuses. Wren is a sterpus.",
            "True or false: Wren is brown.",
        ),
        ("Each borpus is not brown.", "Sterpuses are wumpuses.", "Wumpuses are brown.", "Answer: True"),
    ),
}


def playthrough(task, problem, actions):
    """Returns the text of one playthrough."""
    lines = [f"task: {task!r}", f"problem: {problem.id} {problem.to_json()}", f"content hash: {problem.content_hash}"]
    try:
        analysis = analyse(task, problem).to_json()
    except EnumerationLimit as limit:
        analysis = {"too large": str(limit)}
    lines += [f"{key}: {rounded(value)}" for key, value in analysis.items() if key != "problem_id"]
    lines += [f"solve: {name}" for name in task.solve(problem)]
    state = task.reset(problem)
    for number, action in enumerate((*actions, None)):
        lines += ["", f"== state {number}", *shown(task, state)]
        if action is not None:
            outcomes = task.outcomes(state, action)
            if not task.deterministic:
                lines += [f"outcome {probability:.12f}: {outcome!r}" for probability, outcome in outcomes]
            after = outcomes[0][1]
            lines.append(f">> {action}   reward {task.step_reward(state, action, after)!r}")
            state = after
    return "\n".join(lines) + "\n"


def rounded(value):
    """The last digits of a sum depend on the order in which a processor adds up."""
    return f"{value:.12g}" if isinstance(value, float) else repr(value)


def shown(task, state):
    yield from (f"| {line}" for line in task.observe(state).splitlines())
    yield from (f"picture| {line}" for line in task.render_text(state).splitlines())
    yield from (f"action: {action}" for action in task.actions(state))
    yield from (f"alias: {spelling} -> {action}" for spelling, action in task.aliases(state).items())
    parents = task.parents(state)
    yield f"parents: {None if parents is None else [(task.observe(parent), action) for parent, action in parents]}"
    yield f"details: {task.details(state)}"
    yield f"log_reward_so_far: {task.log_reward_so_far(state)!r}"
    if not task.actions(state):
        yield f"success: {task.success(state)}, log_reward: {task.log_reward(state)!r}"
        yield f"solution: {task.solution(state)}"


@pytest.mark.parametrize("name", PLAYTHROUGHS)
def test_playthrough_is_as_recorded(name, regenerate_golden):
    text, path = playthrough(*PLAYTHROUGHS[name]), FOLDER / f"{name}.txt"
    if regenerate_golden:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_golden_file_has_its_playthrough():
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(PLAYTHROUGHS)
