"""check_agent: right agents pass, and every rule is seen to fail on an agent that breaks it."""

from __future__ import annotations

import gc
import json
import random

import numpy as np
import pytest

from gfn_envs.agents import Budget, FunctionAgent, read_agent_file, write_agent_file
from gfn_envs.check_agent import RULES, check_agent
from gfn_envs.cli import main
from gfn_envs.env import TextEnv
from gfn_envs.stochastic import HiddenFields

LINE, CARDS = "gfn_envs/NumberLine-v0", "gfn_envs/BlackJack-v0"
MADE = "can be made and trained"
TEXTS, LEGAL, ALONE, SEED, HIDDEN, AWKWARD, BATCH, HONEST, SAVED, EQUAL, NUMBERS, KEPT = RULES


class Table:
    """A right agent with everything to check: one number, drawn in training, decides how it plays."""

    batch = 10

    def __init__(self):
        self.first, self.costs = 0.5, {"environment_steps": 0}

    def action_probabilities(self, observations, admissible_actions):
        rows = [np.full(len(a), (1 - self.first) / max(1, len(a) - 1)) for a in admissible_actions]
        for row in rows:
            row[0] = self.first if len(row) > 1 else 1.0
        return rows

    def act(self, observations, admissible_actions, rng):
        rows = self.action_probabilities(observations, admissible_actions)
        return [actions[rng.choice(len(row), p=row)] for actions, row in zip(admissible_actions, rows, strict=True)]

    def learn(self, env_id, budget, seed, env_kwargs=None):
        self.first = np.random.default_rng(seed).uniform(0.3, 0.7)
        while not budget.used_up(self.costs["environment_steps"]):
            self.costs["environment_steps"] += self.batch

    def save(self, folder):
        write_agent_file(folder, self, {"first": self.first})

    @classmethod
    def load(cls, folder):
        agent = cls()
        agent.first = read_agent_file(folder)["first"]
        return agent


def failures(make_agent, env_ids=(LINE, CARDS), **keywords):
    checks = check_agent(make_agent, env_ids, decisions=64, **keywords)
    assert all(check.passed or check.reason for check in checks), "a failure has a reason"
    assert not [check.reason for check in checks if "\n" in check.reason]
    return {check.name: check.reason for check in checks if not check.passed}


def test_a_right_agent_passes_every_rule():
    checks = check_agent(Table)
    assert [check.name for check in checks] == [MADE, *RULES]
    assert [check for check in checks if not check.passed or check.reason] == []


def test_what_an_agent_does_not_offer_is_said_to_be_left_out():
    checks = check_agent(lambda: FunctionAgent(lambda observation, actions, rng: actions[-1]), [LINE])
    assert {check.name for check in checks if "not checked" in check.reason} == {BATCH, HONEST, SAVED, EQUAL, KEPT}
    assert all(check.passed for check in checks)


def test_without_environments_there_is_nothing_to_check():
    for nothing in ({"env_ids": ()}, {"decisions": 0}):
        with pytest.raises(ValueError, match="at least one"):
            check_agent(Table, **nothing)


# -- one wrong agent a rule ------------------------------------------------------------------------
class TooFew(Table):
    def act(self, observations, admissible_actions, rng):
        return super().act(observations, admissible_actions, rng)[:32]


class Numbers(Table):
    def act(self, observations, admissible_actions, rng):
        return [0 for _ in observations]


class Generates(Table):
    def act(self, observations, admissible_actions, rng):
        return (answer for answer in super().act(observations, admissible_actions, rng))


class Babbles(Table):
    def act(self, observations, admissible_actions, rng):
        return ["I would rather not" if rng.random() < 0.2 else a[0] for a in admissible_actions]


class Sorts(Table):
    def act(self, observations, admissible_actions, rng):
        for actions in admissible_actions:
            if isinstance(actions, list):
                actions.sort()
        return super().act(observations, admissible_actions, rng)


class Consumes(Table):
    def act(self, observations, admissible_actions, rng):
        answers = super().act(observations, admissible_actions, rng)
        if isinstance(observations, list):
            observations.clear()
        return answers


class DrawsFromRandom(Table):
    def act(self, observations, admissible_actions, rng):
        return [random.choice(actions) for actions in admissible_actions]


class DrawsFromNumpy(Table):
    def act(self, observations, admissible_actions, rng):
        return [actions[np.random.randint(len(actions))] for actions in admissible_actions]  # noqa: NPY002


class DrawsFromTorch(Table):
    def act(self, observations, admissible_actions, rng):
        import torch

        return [actions[int(torch.randint(len(actions), ()))] for actions in admissible_actions]


class Counts(Table):
    """Remembers its calls: no agent of a rollout may, as episodes come in any order."""

    calls = 0

    def act(self, observations, admissible_actions, rng):
        self.calls += 1
        return [actions[self.calls % len(actions)] for actions in admissible_actions]


class Peeks(Table):
    """Reads the dealer's card from the running environment, where the text has a question mark."""

    env = None

    def act(self, observations, admissible_actions, rng):
        if "?" not in observations[0]:
            return super().act(observations, admissible_actions, rng)
        if self.env is None:
            gc.collect()
            envs = [thing for thing in gc.get_objects() if type(thing) is TextEnv]
            self.env = next(env for env in envs if isinstance(env.task, HiddenFields))
        return [admissible_actions[0][self.env.get_state().state.problem.dealer % 2]]


class ChokesOnOne(Table):
    def act(self, observations, admissible_actions, rng):
        return [actions[rng.integers(2)] for actions in admissible_actions]


class ChokesOnLength(Table):
    def act(self, observations, admissible_actions, rng):
        if max(map(len, observations)) > 170:  # a hand of endless cards
            raise ValueError("too long")
        return super().act(observations, admissible_actions, rng)


class ChokesOnScripts(Table):
    def act(self, observations, admissible_actions, rng):
        for observation in observations:
            observation.encode("ascii")
        return super().act(observations, admissible_actions, rng)


class MixesTheBatch(Table):
    def action_probabilities(self, observations, admissible_actions):
        rows = super().action_probabilities(observations, admissible_actions)
        return rows if len(rows) == 1 else [np.full(len(row), 1 / len(row)) for row in rows]


class SumsToMore(Table):
    def action_probabilities(self, observations, admissible_actions):
        return [1.1 * row for row in super().action_probabilities(observations, admissible_actions)]

    def act(self, observations, admissible_actions, rng):
        return [actions[0] for actions in admissible_actions]


class Pads(Table):
    def action_probabilities(self, observations, admissible_actions):
        return [np.append(row, 0.0) for row in super().action_probabilities(observations, admissible_actions)]

    def act(self, observations, admissible_actions, rng):
        return [actions[0] for actions in admissible_actions]


class Boasts(Table):
    """Says that it plays one way, and plays another."""

    def act(self, observations, admissible_actions, rng):
        return [actions[0] for actions in admissible_actions]


class Forgets(Table):
    @classmethod
    def load(cls, folder):
        return cls()


class LearnsByChance(Table):
    def learn(self, env_id, budget, seed, env_kwargs=None):
        super().learn(env_id, budget, int(random.random() * 1000), env_kwargs)


class Overdraws(Table):
    def learn(self, env_id, budget, seed, env_kwargs=None):
        super().learn(env_id, Budget(environment_steps=budget.environment_steps**2 * 10), seed, env_kwargs)


class NeverLooks(Table):
    def learn(self, env_id, budget, seed, env_kwargs=None):
        super().learn(env_id, Budget(environment_steps=5000), seed, env_kwargs)


class TellsTexts(Table):
    curve = ({"success": "high"},)


class TellsOfSteps(Table):
    curve = ({"success": 0.5, "steps": 3},)


class CannotBeKept:
    def learn(self, env_id, budget, seed, env_kwargs=None):
        raise AssertionError

    def act(self, observations, admissible_actions, rng):
        return [actions[0] for actions in admissible_actions]


@pytest.mark.parametrize(
    ("wrong", "rule", "reason"),
    [
        (TooFew, TEXTS, "32 answers to 64 observations"),
        (Numbers, TEXTS, "must be a text, got 0"),
        (Generates, TEXTS, "must return a list, got generator"),
        (Babbles, LEGAL, "name no legal action, such as 'I would rather not'"),
        (Sorts, ALONE, "changed the lists of legal actions"),
        (Consumes, ALONE, "changed the list of observations"),
        (DrawsFromRandom, SEED, "depend on a global generator"),
        (DrawsFromNumpy, SEED, "depend on a global generator"),
        (DrawsFromTorch, SEED, "depend on a global generator"),
        (Counts, SEED, "two different answers"),
        (Peeks, HIDDEN, "look the same got different answers: 'Beat the dealer"),
        (ChokesOnOne, AWKWARD, "a single legal action: IndexError"),
        (ChokesOnLength, AWKWARD, "a very long observation: ValueError"),
        (ChokesOnScripts, AWKWARD, "an observation in other scripts: UnicodeEncodeError"),
        (MixesTheBatch, BATCH, "differ by"),
        (SumsToMore, BATCH, "sum to 1"),
        (Pads, BATCH, "2 legal actions got probabilities of shape (3,)"),
        (Boasts, HONEST, "total variation"),
        (Forgets, SAVED, "plays otherwise"),
        (LearnsByChance, EQUAL, "same seed: probabilities differ"),
        (TellsTexts, NUMBERS, "TellsTexts.curve must be numbers by name, got {'success': 'high'}"),
        (
            TellsOfSteps,
            NUMBERS,
            "a row of TellsOfSteps.curve has no environment_steps, got {'success': 0.5, 'steps': 3.0}",
        ),
        (CannotBeKept, EQUAL, "CannotBeKept has learn and no save and no load"),
        (Overdraws, KEPT, "a budget of 30 environment steps was overdrawn: 9000"),
        (NeverLooks, KEPT, "5000 environment steps were played with a budget of 1 and with one of 15000"),
    ],
)
def test_every_rule_finds_who_breaks_it(wrong, rule, reason):
    assert reason in failures(wrong, (CARDS,)).get(rule, "")


def test_whoever_cannot_be_made_or_trained_is_told_so():
    class NoAct:
        pass

    class NoLearning(Table):
        def learn(self, env_id, budget, seed, env_kwargs=None):
            raise RuntimeError("no\nteacher")

    assert failures(NoAct) == {MADE: f"'{LINE}': TypeError: NoAct has no method act"}
    assert failures(NoLearning) == {MADE: f"'{LINE}': RuntimeError: no teacher"}


def test_illegal_answers_of_who_writes_freely_are_counted():
    """A language model that generates may err: its share is a remark, and a failure for who claims probabilities."""
    writer = FunctionAgent(lambda observation, actions, rng: "help" if rng.random() < 0.25 else actions[0])
    (legal,) = [check for check in check_agent(lambda: writer, [LINE]) if check.name == LEGAL]
    assert legal.passed
    share = float(legal.reason.partition(": ")[2].partition("%")[0])
    assert 15 < share < 35
    silent = FunctionAgent(lambda observation, actions, rng: "Sure! I go up.")
    (legal,) = [check for check in check_agent(lambda: silent, [LINE]) if check.name == LEGAL]
    assert not legal.passed, "who never names a legal action does not play"
    assert "100.0% of 256 answers name no legal action" in legal.reason


def test_answers_may_be_free_texts_that_carry_the_action():
    class Talks(Table):
        def act(self, observations, admissible_actions, rng):
            return [f"Action: {text}" for text in super().act(observations, admissible_actions, rng)]

    assert LEGAL not in failures(Talks)


def test_a_saved_folder_that_names_no_class_is_remarked():
    class Plain(Table):
        def save(self, folder):
            folder.mkdir()
            (folder / "first.txt").write_text(str(self.first))

        @classmethod
        def load(cls, folder):
            agent = cls()
            agent.first = float((folder / "first.txt").read_text())
            return agent

    (saved,) = [check for check in check_agent(Plain, [LINE]) if check.name == SAVED]
    assert saved.passed
    assert "write_agent_file" in saved.reason


def test_another_learn_is_not_called():
    class LearnsItsOwnWay(Table):
        def learn(self, steps=None, on_step=None):
            raise AssertionError("not to be called")

    (equal,) = [check for check in check_agent(LearnsItsOwnWay, [LINE]) if check.name == EQUAL]
    assert equal.passed
    assert "learn takes (steps, on_step)" in equal.reason


def test_global_generators_are_left_as_they_were():
    import torch

    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    check_agent(Table, [LINE])
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002


# -- gfn check -------------------------------------------------------------------------------------
def checked(capsys, *words):
    status = 0
    try:
        main(["check", *map(str, words), "--json"])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    return status, json.loads(captured.out) if captured.out else captured.err


def test_the_command_takes_agents_of_all_kinds(capsys, tmp_path):
    Table().save(tmp_path)
    for target in ("uniform", "tests.test_check_agent:Table", tmp_path):
        status, document = checked(capsys, target, "--env", LINE)
        assert (status, document["passed"]) == (0, True)
        assert [row["check"] for row in document["checks"]] == [MADE, *RULES]
    status, document = checked(capsys, "tests.test_check_agent:Boasts", "--env", LINE)
    assert (status, document["passed"]) == (1, False)


def test_a_saved_agent_is_checked_where_it_was_trained(capsys, tmp_path):
    """The folder says on what: BlackJack alone, whose texts and options are not those of the default."""
    write_agent_file(tmp_path, Table(), {"first": 0.4, "env_id": CARDS, "env_kwargs": {"decks": 3}})
    status, error = checked(capsys, tmp_path)
    assert status == 1
    assert "decks must be 1, 2, 6" in error
    assert checked(capsys, tmp_path, "--env-kwargs", '{"decks": 1}')[0] == 0


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("unifrom", "uniform"),
        ("gfn_envs/Game25-v0", "Game24"),
        ("os:environ", "environ"),
        ("no/such/folder", "no/such"),
    ],
)
def test_unknown_targets_get_one_sentence(capsys, target, reason):
    status, error = checked(capsys, target)
    assert status == 1
    assert error.startswith("error: ")
    assert reason in error
