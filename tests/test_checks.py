"""check_task: the shipped games pass, and every rule is seen to fail on a task that breaks it."""

import math
from dataclasses import dataclass, field

import pytest

from gfn_envs.checks import GRAPH_RULES, RULES, Check, check_task
from gfn_envs.drawing import Drawing
from gfn_envs.problems import ProblemSet
from gfn_envs.task import Problem, Task
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine

PLAYABLE = "can be played"


@dataclass(frozen=True, slots=True)
class BitsProblem(Problem):
    """How many bits to write; the last must be 1."""

    length: int = 2

    @property
    def id(self):
        return f"bits/{self.length}"


@dataclass(frozen=True)
class Bits(Task):
    """Writes bits one by one; solved if the last one is 1. States are the texts written so far."""

    name = "bits"
    problem_type = BitsProblem
    charset = "01ab "
    horizon = 2
    max_actions = 2
    max_observation_length = 3
    max_action_length = 1

    def problems(self):
        return ProblemSet((BitsProblem(),))

    def reset(self, problem):
        return ""

    def actions(self, state):
        return ("0", "1") if len(state) < 2 else ()

    def step(self, state, action):
        if action not in self.actions(state):
            raise KeyError(action)
        return state + action

    def observe(self, state):
        return f" {state}"

    def success(self, state):
        return state.endswith("1")


def failures(task, **keywords):
    checks = check_task(task, [BitsProblem()], **keywords)
    assert all(check.passed or check.reason for check in checks), "a failure has a reason"
    assert not [check.reason for check in checks if "\n" in check.reason]
    return {check.name for check in checks if not check.passed}


def test_a_right_task_passes_every_rule():
    checks = check_task(Bits(), [BitsProblem()])
    assert checks == [Check(name, True) for name in (PLAYABLE, *RULES, *GRAPH_RULES)]


@pytest.mark.parametrize(
    "task",
    [Game24(), Game24(count=3, target=6, low=0, solvable=False)]
    + [NumberLine(reward=reward) for reward in ("success", "inverse_distance", "gym_cards")]
    + [NumberLine(low=-3, high=0, horizon=5), NumberLine(high=1)],
    ids=str,
)
def test_shipped_games_pass(task):
    problems = list(task.problems())[:3]
    assert [check for check in check_task(task, problems) if not check.passed or check.reason] == []


def test_problems_too_large_to_list_are_said_to_be_left_out():
    checks = check_task(Game24(), [Game24Problem((4, 6, 6, 8))], limit=50)
    left_out = {check.name for check in checks if check.reason.startswith("not checked: EnumerationLimit")}
    assert left_out == set(GRAPH_RULES)
    assert all(check.passed for check in checks)


def test_without_problems_there_is_nothing_to_check():
    with pytest.raises(ValueError, match="at least one problem"):
        check_task(Bits(), [])


# -- one broken task a rule ------------------------------------------------------------------------
class Crashes(Bits):
    def observe(self, state):
        raise RuntimeError("boom")

    def reset(self, problem):
        raise RuntimeError("boom")


@dataclass(eq=False)
class Identity:
    text: str = ""


class StatesWithIdentity(Bits):
    def reset(self, problem):
        return Identity()

    def actions(self, state):
        return ("0", "1") if len(state.text) < 2 else ()

    def step(self, state, action):
        return Identity(state.text + action)

    def observe(self, state):
        return f" {state.text}"

    def success(self, state):
        return state.text.endswith("1")

    def solution(self, state):
        return state.text


@dataclass(frozen=True)
class Shared:
    text: str
    written: list = field(default_factory=list, compare=False)


class StepWritesIntoTheState(StatesWithIdentity):
    def reset(self, problem):
        return Shared("")

    def step(self, state, action):
        state.written.append(action)
        return Shared(state.text + action)

    def observe(self, state):
        return f" {len(state.written) % 2}"


class StepIsRandom(Bits):
    counter = iter(range(10**9))

    def step(self, state, action):
        return super().step(state, action)[:-1] + str(next(StepIsRandom.counter) % 2)


class AnythingGoes(Bits):
    def step(self, state, action):
        return state + action[:1]


class ActionsTwice(Bits):
    def actions(self, state):
        return ("0", "0") if len(state) < 2 else ()


class ActionsInAnyOrder(Bits):
    counter = iter(range(10**9))

    def actions(self, state):
        actions = super().actions(state)
        return actions[::-1] if next(ActionsInAnyOrder.counter) % 2 else actions


class ActionsOutsideTheCharset(Bits):
    charset = "0ab "

    def observe(self, state):
        return "a"


class ActionsTooLong(Bits):
    max_action_length = 0


class ActionsTooMany(Bits):
    max_actions = 1


class ObservationsTooLong(Bits):
    max_observation_length = 2


class ObservationsOutsideTheCharset(Bits):
    charset = "01"


class ObservationsLikeHistories(Bits):
    charset = Bits.charset + ">\n"
    max_observation_length = 20

    def observe(self, state):
        return f"{super().observe(state)}\n> {state}"


class OutcomesDoNotSum(Bits):
    deterministic = False

    def outcomes(self, state, action):
        return ((0.5, self.step(state, action)), (0.4, f"{state}b"))


class OutcomesAreNotTheStep(Bits):
    def outcomes(self, state, action):
        self.step(state, action)
        return ((0.5, state + "0"), (0.5, state + "1"))


class LongerThanTheHorizon(Bits):
    horizon = 1


class Endless(Bits):
    def actions(self, state):
        return ("0", "1")

    def step(self, state, action):
        if action not in "01":
            raise KeyError(action)
        return action


class NothingToDo(Bits):
    def actions(self, state):
        return ()


class RewardOfZero(Bits):
    def log_reward(self, state):
        return 0.0 if self.success(state) else -math.inf


class SuccessIsANumber(Bits):
    def success(self, state):
        return float(super().success(state))


class ScoreAboveOne(Bits):
    def end_scores(self, state):
        return {"ones": float(state.count("1"))}


class ScoreOfSomeEnds(Bits):
    def end_scores(self, state):
        return {"first": 1.0} if state.startswith("1") else {}


class AliasOfAnotherAction(Bits):
    def aliases(self, state):
        return {"1": "0"} if self.actions(state) else {}


class AliasOfNothing(Bits):
    def aliases(self, state):
        return {"a": "7"}


class ActionsAreAList(Bits):
    def actions(self, state):
        return list(super().actions(state))


class StopsWithNothing(Bits):
    stop_action = "stop"


class StopGoesOn(Bits):
    stop_action = "0"


class PartialRewardIsNotTheReward(Bits):
    def log_reward_so_far(self, state):
        return -1.0


class StepRewardIsNoNumber(Bits):
    def step_reward(self, state, action, next_state):
        return math.nan


class ParentsForgetOne(Bits):
    def parents(self, state):
        return ((state[:-1], state[-1]),) if state not in ("", "11") else ()


class MergesWithoutSaying(Bits):
    """The order of the bits is forgotten."""

    def step(self, state, action):
        return "".join(sorted(super().step(state, action)))


class SolveForgetsOne(Bits):
    def solve(self, problem):
        return super().solve(problem)[1:]


class SolveRepeatsOne(Bits):
    def solve(self, problem):
        return super().solve(problem)[:1] + super().solve(problem)


class OutcomesAboveOne(Bits):
    deterministic = False

    def outcomes(self, state, action):
        return ((1.5, self.step(state, action)),)


class FieldsOfAnotherProblem(Bits):
    """Reads back another problem than it was given."""

    def problem_from_json(self, data):
        return BitsProblem(data["length"] + 1)


class DetailsOfSomeStates(Bits):
    def details(self, state):
        return {"last": state[-1]} if state else {}


class DetailsToWriteInto(Bits):
    def details(self, state):
        return {"written": (1, [*state])}


class DetailsHideTheSuccess(Bits):
    def details(self, state):
        return {"success": True}


class ExpertPlaysIllegally(Bits):
    def expert_plans(self, problem):
        return (("1", "1"), ("2",))


class ExpertFails(Bits):
    def expert_plans(self, problem):
        return (("0", "0"),)


class ExpertStopsTooSoon(Bits):
    def expert_plans(self, problem):
        return (("1",),)


class DrawsNothing(Bits):
    def draw(self, state):
        return None


class PicturesAreNoTexts(Bits):
    def render_text(self, state):
        return [*state]

    def draw(self, state):
        return Drawing(())


BROKEN = {
    Crashes: PLAYABLE,
    StatesWithIdentity: "states are hashable values that can be pickled",
    StepWritesIntoTheState: "step leaves its argument alone",
    StepIsRandom: "step is repeatable",
    AnythingGoes: "illegal actions raise KeyError",
    ActionsTwice: "actions are distinct",
    ActionsInAnyOrder: "actions are stable",
    ActionsOutsideTheCharset: "actions fit charset, length and number",
    ActionsTooLong: "actions fit charset, length and number",
    ActionsTooMany: "actions fit charset, length and number",
    ObservationsTooLong: "observations fit charset and length",
    ObservationsOutsideTheCharset: "observations fit charset and length",
    ObservationsLikeHistories: "observations hold no turns of a history",
    OutcomesDoNotSum: "outcomes are a distribution",
    OutcomesAreNotTheStep: "outcomes are a distribution",
    LongerThanTheHorizon: "episodes start and end within the horizon",
    Endless: "episodes start and end within the horizon",
    NothingToDo: "episodes start and end within the horizon",
    RewardOfZero: "ends have finite log-rewards and scores",
    SuccessIsANumber: "ends have finite log-rewards and scores",
    ScoreAboveOne: "ends have finite log-rewards and scores",
    ScoreOfSomeEnds: "ends have finite log-rewards and scores",
    AliasOfAnotherAction: "aliases shadow no legal action",
    AliasOfNothing: "aliases shadow no legal action",
    ActionsAreAList: "actions fit charset, length and number",
    StopsWithNothing: "stop_action ends the episode",
    StopGoesOn: "stop_action ends the episode",
    PartialRewardIsNotTheReward: "partial log-rewards end in the log-reward",
    StepRewardIsNoNumber: "step rewards are finite",
    FieldsOfAnotherProblem: "problems read back from their JSON fields",
    DetailsOfSomeStates: "details have the same keys and constant values",
    DetailsToWriteInto: "details have the same keys and constant values",
    DetailsHideTheSuccess: "details have the same keys and constant values",
    ExpertPlaysIllegally: "expert plans succeed",
    ExpertFails: "expert plans succeed",
    ExpertStopsTooSoon: "expert plans succeed",
    DrawsNothing: "states are drawn",
    PicturesAreNoTexts: "states are drawn",
    ParentsForgetOne: "parents are the incoming edges",
    MergesWithoutSaying: "histories merge only with parents",
    SolveForgetsOne: "solve gives all solutions",
    SolveRepeatsOne: "solve gives all solutions",
    OutcomesAboveOne: "chance is at most the optimum",
}


@pytest.mark.parametrize(("task", "rule"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_every_rule_can_fail(task, rule):
    assert rule in failures(task())


def test_every_rule_is_seen_to_fail():
    assert set(BROKEN.values()) == {PLAYABLE, *RULES, *GRAPH_RULES}


@pytest.mark.parametrize(
    "task",
    [
        LongerThanTheHorizon,
        RewardOfZero,
        AliasOfAnotherAction,
        SolveForgetsOne,
        ParentsForgetOne,
        FieldsOfAnotherProblem,
        DetailsHideTheSuccess,
        ExpertFails,
        DrawsNothing,
    ],
)
def test_a_single_fault_fails_a_single_rule(task):
    assert failures(task()) == {BROKEN[task]}
