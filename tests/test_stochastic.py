"""Wrappers with chance and other texts: their exact effect, computed in the tests in another way."""

import math
import pickle
from fractions import Fraction

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gfn_envs  # noqa: F401  # registers the environments
from baselines.random_legal import RandomLegalAgent
from examples.hypergrid import HyperGrid
from gfn_envs.checks import check_task
from gfn_envs.env import TextEnv
from gfn_envs.exact import analyse, analyse_graph, enumerate_states
from gfn_envs.numerals import LONGEST, in_words, paraphrase, roman
from gfn_envs.problems import ProblemSet
from gfn_envs.rollout import rollout
from gfn_envs.stochastic import (
    ActionNoise,
    ConceptDrift,
    DriftState,
    HiddenFields,
    Paraphrase,
    RandomEvents,
    ReversedActions,
    add_stochasticity,
)
from gfn_envs.task import Task
from gfn_envs.tasks.blackjack import BlackJack
from gfn_envs.tasks.game24 import Game24
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem, NumberLineState
from gfn_envs.wrapped import Wrapped

LINE = NumberLine(0, 5)
PROBLEMS = LINE.problems().problems
GOAL = r"(?<=Goal: )-?[0-9]+"
probabilities = st.floats(0, 1)


def towards_the_goal(graph):
    """Returns the policy that always chooses the step to the goal."""
    walkers = [state.inner if isinstance(state, DriftState) else state for state in graph.states]
    wanted = ["+" if state.problem.goal > state.position else "-" for state in walkers]
    return [np.array([float(a == w) for a in actions]) for w, actions in zip(wanted, graph.actions, strict=True)]


def arrival(distance, to_the_wall, steps, right):
    """Returns the exact chance to arrive: a power of the matrix of the distance to the goal, absorbing at 0.

    The walker is `distance` from the goal with the wall `to_the_wall` behind it, and can leave on one
    side of the goal only, since it stops there.
    """
    far = distance + to_the_wall
    matrix = [[Fraction(0)] * (far + 1) for _ in range(far + 1)]
    matrix[0][0] = Fraction(1)
    for d in range(1, far + 1):
        matrix[d][d - 1] += right
        matrix[d][min(d + 1, far)] += 1 - right
    row = [Fraction(d == distance) for d in range(far + 1)]
    for _ in range(steps):
        row = [sum(row[d] * matrix[d][e] for d in range(far + 1)) for e in range(far + 1)]
    return row[0]


@pytest.mark.parametrize("slip", [Fraction(0), Fraction(1, 10), Fraction(1, 3), Fraction(3, 4), Fraction(1)])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.id)
def test_a_slip_has_its_analytic_effect_on_a_walk_to_the_goal(problem, slip):
    task = ActionNoise(LINE, float(slip))
    graph = enumerate_states(task, problem)
    to_the_wall = problem.start if problem.start < problem.goal else 5 - problem.start
    expected = arrival(abs(problem.start - problem.goal), to_the_wall, task.horizon, 1 - slip / 2)
    assert graph.reached(towards_the_goal(graph)) @ graph.successes == pytest.approx(float(expected), abs=1e-12)


def test_one_step_beside_the_goal_and_no_time_is_one_minus_half_the_slip():
    task = ActionNoise(NumberLine(0, 5, horizon=1), 0.3)
    graph = enumerate_states(task, NumberLineProblem(4, 5, 0, 5))
    assert graph.reached(towards_the_goal(graph)) @ graph.successes == pytest.approx(1 - 0.3 / 2, abs=1e-15)


@pytest.mark.parametrize("reward", ["success", "inverse_distance", "gym_cards"])
def test_no_slips_are_the_inner_task_and_nothing_but_slips_uniform_play(reward):
    inner = NumberLine(0, 5, reward=reward)
    for problem in PROBLEMS:
        plain = analyse(inner, problem)
        never, always = (analyse(ActionNoise(inner, p), problem) for p in (0, 1))
        for value in ("chance", "chance_return", "optimum", "optimal_return", "n_solutions", "n_states"):
            assert getattr(never, value) == getattr(plain, value)
        assert always.optimum == always.chance
        assert always.chance == pytest.approx(plain.chance, abs=1e-15)
        assert always.optimal_return == pytest.approx(plain.chance_return, abs=1e-12)


def test_no_policy_matters_where_every_action_slips():
    graph = enumerate_states(ActionNoise(LINE, 1.0), PROBLEMS[0])
    chance = analyse_graph(graph).chance
    rng = np.random.default_rng(0)
    for _ in range(5):
        policy = [rng.dirichlet(np.ones(len(actions))) if actions else np.zeros(0) for actions in graph.actions]
        assert graph.reached(policy) @ graph.successes == pytest.approx(chance, abs=1e-14)


def test_without_slips_log_z_counts_histories():
    inner = NumberLine(0, 2, horizon=3)
    problem = NumberLineProblem(0, 2, 0, 2)
    # Two walks arrive, ++ and -++; the other five of three steps do not: --- --+ -+- +-- +-+.
    expected = 2 * 1.0 + 5 * 1e-4
    assert analyse(ActionNoise(inner, 0.0), problem).log_z == pytest.approx(math.log(expected), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(probabilities, probabilities)
def test_noise_inside_noise_is_one_noise(p, q):
    twice, once = ActionNoise(ActionNoise(LINE, p), q), ActionNoise(LINE, 1 - (1 - p) * (1 - q))
    for state in (LINE.reset(PROBLEMS[0]), NumberLineState(NumberLineProblem(2, 4, 0, 5), 2)):
        for action in LINE.actions(state):
            chances, expected = ({s: c for c, s in task.outcomes(state, action)} for task in (twice, once))
            for successor in chances.keys() | expected.keys():
                assert chances.get(successor, 0.0) == pytest.approx(expected.get(successor, 0.0), abs=1e-15)


@settings(max_examples=50, deadline=None)
@given(probabilities, st.integers(0, 2**32 - 1))
def test_outcomes_are_distinct_positive_and_sum_to_one(p, seed):
    rng = np.random.default_rng(seed)
    for inner in (LINE, BlackJack(), Game24(), NumberLine(0, 1)):
        task = ActionNoise(inner, p)
        state = task.reset(task.problems().sample(rng))
        while legal := task.actions(state):
            outcomes = task.outcomes(state, legal[rng.integers(len(legal))])
            chances = [chance for chance, _ in outcomes]
            assert all(0 < chance <= 1 for chance in chances)
            assert math.fsum(chances) == pytest.approx(1.0, abs=1e-12)
            assert len({successor for _, successor in outcomes}) == len(outcomes)
            state = outcomes[rng.integers(len(outcomes))][1]


def test_equal_successors_are_merged():
    state = NumberLineState(NumberLineProblem(0, 1, 0, 1), 0)
    # Noise over a task that already has both outcomes: two actions, each with both, still two outcomes.
    assert len(ActionNoise(ActionNoise(NumberLine(0, 1), 0.5), 0.5).outcomes(state, "+")) == 2


class Detours(NumberLine):
    """Seven actions that all do the same."""

    max_actions = 7

    def actions(self, state):
        return tuple("-+01234") if super().actions(state) else ()

    def step(self, state, action):
        return super().step(state, "+")


def test_what_cannot_matter_is_certain_and_never_more():
    start = NumberLineState(NumberLineProblem(2, 4, 0, 5), 2)
    for hundredths in range(101):
        ((chance, successor),) = ActionNoise(Detours(0, 5), hundredths / 100).outcomes(start, "0")
        assert successor == LINE.step(start, "+")
        assert 1 - 1e-15 <= chance <= 1


def test_noise_mixes_the_outcomes_of_a_task_with_chance():
    inner = BlackJack()
    state = inner.reset(inner.problems().sample(np.random.default_rng(3)))
    legal = inner.actions(state)
    expected = {}
    for played in legal:
        for chance, successor in inner.outcomes(state, played):
            weight = 0.4 / len(legal) + (0.6 if played == legal[0] else 0.0)
            expected[successor] = expected.get(successor, 0.0) + weight * chance
    found = {successor: chance for chance, successor in ActionNoise(inner, 0.4).outcomes(state, legal[0])}
    assert found == pytest.approx(expected, abs=1e-15)


def test_noise_refuses_illegal_actions_and_steps():
    task = ActionNoise(LINE, 0.1)
    start = task.reset(PROBLEMS[0])
    with pytest.raises(KeyError):
        task.outcomes(start, "jump")
    with pytest.raises(KeyError):
        task.outcomes(NumberLineState(NumberLineProblem(2, 4, 0, 5), 4), "+")
    with pytest.raises(NotImplementedError, match=r"outcomes\(\)"):
        task.step(start, "+")
    assert task.parents(start) is None
    assert not task.deterministic


@pytest.mark.parametrize("probability", [-0.1, 1.1, math.nan, True, "0.1", None])
def test_a_slip_must_have_a_probability(probability):
    with pytest.raises(ValueError, match="probability must be a number from 0 to 1"):
        ActionNoise(LINE, probability)


def test_a_wrapper_needs_a_task():
    with pytest.raises(TypeError, match=r"pass env\.task"):
        ActionNoise(TextEnv(LINE, LINE.problems()), 0.1)


@pytest.mark.parametrize(
    "task",
    [
        ActionNoise(LINE, 0.0),
        ActionNoise(LINE, 0.25),
        ActionNoise(LINE, 1.0),
        ActionNoise(ActionNoise(LINE, 0.25), 0.5),
        HiddenFields(LINE, GOAL),
        HiddenFields(LINE, "[0-9]", "<hidden>"),
        Paraphrase(LINE),
        Paraphrase(LINE, "words"),
        Paraphrase(NumberLine(-12, -8), "words"),
        Paraphrase(HiddenFields(ActionNoise(LINE, 0.25), GOAL), "words"),
    ],
    ids=repr,
)
def test_wrapped_tasks_keep_the_contract(task):
    checks = check_task(task, task.problems().problems[:4])
    assert not [check for check in checks if not check.passed or check.reason]
    assert pickle.loads(pickle.dumps(task)) == task
    assert hash(task) == hash(pickle.loads(pickle.dumps(task)))


def test_blackjack_and_game24_keep_the_contract_under_words_and_noise():
    hand = BlackJack().problems().sample(np.random.default_rng(0))
    cards = Game24().problems().sample(np.random.default_rng(0))
    assert all(check.passed for check in check_task(ActionNoise(Paraphrase(BlackJack(), "words"), 0.2), [hand]))
    assert all(check.passed for check in check_task(Paraphrase(ActionNoise(Game24(), 0.2)), [cards], limit=500))


def test_everything_of_a_task_is_handed_through():
    own = {name for name in vars(Task) if not name.startswith("_")} | set(Task.__annotations__)
    assert own <= set(vars(Wrapped))


# -- texts ---------------------------------------------------------------------------------------------
def test_hidden_fields_hide_the_goal_and_nothing_else():
    task = HiddenFields(LINE, GOAL)
    state = NumberLineState(NumberLineProblem(2, 5, 0, 5), 3, 4)
    assert task.observe(state) == "Goal: ?. Start: 2. Position: 3. Line: 0 to 5. Steps left: 6."
    assert task.deterministic
    assert not HiddenFields(ActionNoise(LINE, 0.1), GOAL).deterministic
    for problem in PROBLEMS:
        hidden, plain = enumerate_states(task, problem), enumerate_states(LINE, problem)
        assert (hidden.states, hidden.actions, hidden.edges) == (plain.states, plain.actions, plain.edges)
        assert analyse_graph(hidden) == analyse_graph(plain)
        assert {task.observe(s).replace("Goal: ?", f"Goal: {problem.goal}") for s in hidden.states} == {
            LINE.observe(s) for s in plain.states
        }


def test_hidden_fields_replace_literally_and_skip_empty_matches():
    state = NumberLineState(NumberLineProblem(2, 5, 0, 5), 3, 4)
    assert HiddenFields(LINE, GOAL, r"\1").observe(state).startswith(r"Goal: \1. Start: 2. Position: 3")
    assert HiddenFields(LINE, "(?=G)").observe(state) == LINE.observe(state)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        ("(", "?", "not a regular expression"),
        ("x*", "?", "matches the empty text"),
        ("", "?", "matches the empty text"),
        ("a" * 1001, "?", "at most 1000 characters"),
        ("a", "", "at least one character"),
    ],
)
def test_hidden_fields_refuse_what_is_not_bounded(pattern, replacement, message):
    with pytest.raises(ValueError, match=message):
        HiddenFields(LINE, pattern, replacement)


def from_roman(text):
    """Reads a numeral from its end: a letter smaller than one read before is taken away."""
    total, largest = 0, 0
    for letter in reversed("" if text == "nulla" else text):
        value = dict(zip("IVXLCDM", (1, 5, 10, 50, 100, 500, 1000), strict=True))[letter]
        total, largest = total + (value if value >= largest else -value), max(value, largest)
    return total


def from_words(text):
    """Reads English words by adding, and multiplying at 'hundred' and 'thousand'."""
    units = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    teens = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
    known = {word: value for value, word in enumerate([*units, *teens])}
    tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    known |= {word: 10 * value for value, word in enumerate(tens, start=2)}
    total, part = 0, 0
    for word in text.replace("-", " ").split():
        if word == "thousand":
            total, part = total + 1000 * part, 0
        else:
            part = 100 * part if word == "hundred" else part + known[word]
    return total + part


def test_numerals_round_trip():
    assert [from_roman(roman(n)) for n in range(4000)] == list(range(4000))
    checked = [*range(10_000), *range(10_000, 1_000_000, 997), 999_999]
    assert [from_words(in_words(n)) for n in checked] == checked
    assert [roman(n) for n in (0, 4, 9, 14, 49, 50)] == ["nulla", "IV", "IX", "XIV", "XLIX", "L"]
    assert [in_words(n) for n in (0, 13, 40, 41, 50)] == ["zero", "thirteen", "forty", "forty-one", "fifty"]
    for write, beyond in ((roman, 4000), (in_words, 1_000_000)):
        for wrong in (-1, beyond):
            with pytest.raises(ValueError, match="go from 0 to"):
                write(wrong)


def test_numbers_that_stay_as_they_are_do_not_count_as_paraphrased():
    """Roman numerals end at 3999, so of goal, start and position none is one; of the line's ends and the steps two."""
    task, problem = Paraphrase(NumberLine(0, 9000, horizon=5), "roman"), NumberLineProblem(5000, 6000, 0, 9000)
    start = task.reset(problem)
    ((_, after),) = task.outcomes(start, "+")
    assert task.observe(after) == "Goal: 6000. Start: 5000. Position: 5001. Line: nulla to 9000. Steps left: IV."
    assert task.stochasticity(start, "+", after) == {"Paraphrase": 2.0}


@pytest.mark.parametrize(("numbers", "read"), [("roman", from_roman), ("words", from_words)])
def test_paraphrased_observations_round_trip_for_0_to_50(numbers, read):
    line = NumberLine(0, 50)
    task = Paraphrase(line, numbers)
    for place in range(51):
        state = NumberLineState(NumberLineProblem(1, 50, 0, 50), place, 7)
        goal, start, position, ends, left = task.observe(state)[:-1].split(". ")
        low, high = ends.removeprefix("Line: ").split(" to ")
        texts = (
            goal.removeprefix("Goal: "),
            start.removeprefix("Start: "),
            position.removeprefix("Position: "),
            low,
            high,
        )
        assert [read(text) for text in texts] == [50, 1, place, 0, 50]
        assert read(left.removeprefix("Steps left: ")) == 93
        assert task.actions(state) == line.actions(state)
        assert set(task.observe(state)) <= set(task.charset)
        assert len(task.observe(state)) <= task.max_observation_length


def test_only_numbers_that_stand_by_themselves_are_rewritten():
    assert (
        paraphrase("Make 24 of -5 and 8/3, (-2).", "words")
        == "Make twenty-four of minus five and eight/three, (minus two)."
    )
    assert paraphrase("Make 24 of -5 and 8/3, (-2).", "roman") == "Make XXIV of -V and VIII/III, (-II)."
    stay = "b1 17s 007 0.5 1,000 3-4 (1)-2 x-1 2-block 4000000"
    assert paraphrase(stay, "words") == stay.replace("(1)", "(one)")
    assert paraphrase("3999 4000", "roman") == "MMMCMXCIX 4000"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-3999, 3999), min_size=1), st.sampled_from([("roman", from_roman), ("words", from_words)]))
def test_lists_of_numbers_round_trip(numbers, how):
    representation, read = how
    texts = paraphrase(" ".join(map(str, numbers)), representation).replace("minus ", "-").split(" ")
    assert [-read(text[1:]) if text.startswith("-") else read(text) for text in texts] == numbers


@settings(max_examples=200, deadline=None)
@given(st.text("0123456789- .,)a", max_size=40), st.sampled_from(["roman", "words"]))
def test_the_bound_on_the_length_holds(text, numbers):
    class Echo(NumberLine):
        max_observation_length = 40

    written = paraphrase(text.ljust(40), numbers)
    assert len(written) <= Paraphrase(Echo(), numbers).max_observation_length


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ("roman", "888 " * 10),
        ("roman", "0 " * 20),
        ("words", "777777 " * 6),
        ("words", "-7 " * 13),
        ("words", "7777 " * 8),
    ],
)
def test_the_bound_on_the_length_holds_for_the_longest_numerals(numbers, text):
    class Exact(NumberLine):
        max_observation_length = len(text.strip())

    written = paraphrase(text.strip(), numbers)
    assert len(written) <= Paraphrase(Exact(), numbers).max_observation_length


@pytest.mark.parametrize(("write", "numbers", "top"), [(roman, "roman", 3999), (in_words, "words", 999_999)])
def test_the_longest_numerals_are_the_longest(write, numbers, top):
    longest = {}
    for number in range(0, top + 1, 1 if top < 10_000 else 7):  # with 777777, and multiples that are as long
        digits = len(str(number))
        longest[digits] = max(longest.get(digits, 0), len(write(number)))
    assert tuple(longest.values()) == LONGEST[numbers]


def test_unknown_numerals_are_refused():
    with pytest.raises(ValueError, match="numbers must be one of"):
        Paraphrase(LINE, "binary")


# -- in an environment ---------------------------------------------------------------------------------
def test_an_environment_reports_the_chance_of_what_happened_and_slips_as_often_as_it_should():
    slip, plays = 0.3, 4000
    line = NumberLine(0, 1000, horizon=plays)
    task = ActionNoise(line, slip)
    env = TextEnv(task, ProblemSet((NumberLineProblem(500, 0, 0, 1000),)))
    env.reset(seed=7)
    wrong = 0
    for _ in range(plays):
        before = env.get_state().state
        action = "+" if before.position < 500 else "-"  # stay away from the ends
        info = env.step(action)[4]
        after = env.get_state().state
        chances = {successor: chance for chance, successor in task.outcomes(before, action)}
        assert info["transition_log_prob"] == math.log(chances[after])
        assert info["parsed_action"] == action
        wrong += (after.position - before.position) != (1 if action == "+" else -1)
    # The wrong step needs a slip and the other of two actions; 4 standard deviations of the binomial.
    rate = slip / 2
    assert abs(wrong - plays * rate) < 4 * math.sqrt(plays * rate * (1 - rate))


# -- random events ---------------------------------------------------------------------------------
@pytest.mark.parametrize("event", [Fraction(0), Fraction(1, 4), Fraction(1, 2), Fraction(1)])
def test_a_gust_before_the_last_step_costs_half_its_probability(event):
    """Two steps from the goal with two steps left: a gust carries the walker there or uses up the time."""
    task = RandomEvents(NumberLine(0, 9, horizon=2), float(event))
    graph = enumerate_states(task, NumberLineProblem(3, 5, 0, 9))
    assert graph.reached(towards_the_goal(graph)) @ graph.successes == pytest.approx(float(1 - event / 2), abs=1e-15)


@pytest.mark.parametrize("event", [Fraction(0), Fraction(1, 3), Fraction(1)])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.id)
def test_gusts_have_their_exact_effect_on_a_walk_to_the_goal(problem, event):
    def arrives(distance, far, left):
        """The exact chance by recursion over the distance to the goal, with the wall at distance `far`."""
        if distance == 0:
            return Fraction(1)
        if left == 0:
            return Fraction(0)
        moved = distance - 1
        if moved == 0 or left == 1:
            return Fraction(moved == 0)
        blown = (arrives(moved - 1, far, left - 2) + arrives(min(moved + 1, far), far, left - 2)) / 2
        return (1 - event) * arrives(moved, far, left - 1) + event * blown

    graph = enumerate_states(RandomEvents(LINE, float(event)), problem)
    far = problem.goal if problem.start < problem.goal else 5 - problem.goal
    expected = arrives(abs(problem.start - problem.goal), far, LINE.horizon)
    assert graph.reached(towards_the_goal(graph)) @ graph.successes == pytest.approx(float(expected), abs=1e-12)


def to_the_left_end(task, state):
    """An event of one's own: the walker is carried to the left end, which takes no time."""
    return ((1.0, state._replace(position=state.problem.low)),)


def test_a_drift_into_events_opens_the_solutions_that_they_open():
    line = NumberLine(0, 3, horizon=3)
    task, problem = ConceptDrift(line, RandomEvents(line, 0.5, to_the_left_end), 1), NumberLineProblem(3, 0, 0, 3)
    assert line.solve(problem) == ("0 after 3 steps",)
    assert task.solve(problem) == enumerate_states(task, problem).solutions == ("0 after 2 steps", "0 after 3 steps")


GRID = HyperGrid(2, 3)


@pytest.mark.parametrize(
    ("task", "stops"),
    [
        (GRID, True),
        (ReversedActions(GRID), False),
        (ActionNoise(GRID, 0.1), False),
        (RandomEvents(GRID, 0.1), False),
        (Paraphrase(GRID), True),
        (ConceptDrift(GRID, HiddenFields(GRID, "x"), 1), True),
        (ConceptDrift(GRID, ReversedActions(GRID), 1), False),
        (ConceptDrift(GRID, ActionNoise(GRID, 0.1), 1), False),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_stop_action_is_one_that_stops(task, stops):
    """Modified objectives rely on it, and so does what is recorded of a step."""
    assert (task.stop_action == "stop") == stops
    problems = list(task.problems())
    assert not [check for check in check_task(task, problems) if not check.passed]
    played = rollout(task, RandomLegalAgent(), problems * 3, np.random.default_rng(0))
    assert all(step.stop_action == task.stop_action for trajectory in played for step in trajectory.steps)


def test_an_event_of_ones_own_happens_and_is_listed_by_solve():
    task = RandomEvents(NumberLine(0, 3, horizon=3), 1.0, to_the_left_end)
    problem = NumberLineProblem(2, 0, 0, 3)
    assert {end.position for _, end in task.outcomes(task.reset(problem), "+")} == {0}
    assert task.solve(problem) == ("0 after 1 steps",)
    assert pickle.loads(pickle.dumps(task)) == task


def test_no_event_follows_the_end():
    task = RandomEvents(LINE, 1.0)
    state = task.reset(NumberLineProblem(4, 5, 0, 5))
    assert [(chance, end.position) for chance, end in task.outcomes(state, "+")] == [(1.0, 5)]


def figures(task, problem):
    """Returns all that an exact analysis says in numbers."""
    return {name: value for name, value in analyse(task, problem).to_json().items() if name != "problem_id"}


# -- reversed actions and concept drift ------------------------------------------------------------
def test_reversed_actions_do_the_opposite_and_keep_chance_and_optimum():
    task = ReversedActions(LINE)
    for problem in PROBLEMS:
        start = task.reset(problem)
        assert task.step(start, "+") == LINE.step(start, "-")
        assert figures(task, problem) == pytest.approx(figures(LINE, problem), rel=1e-12)
        graph = enumerate_states(task, problem)
        there = graph.reached(towards_the_goal(graph)) @ graph.successes
        assert there == 0, "a walker who does not notice never arrives"


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("goal", [1, 2, 3, 4, 5])
def test_after_a_sudden_drift_who_does_not_notice_arrives_only_if_it_was_near(goal, steps):
    task = ConceptDrift(LINE, ReversedActions(LINE), steps)
    graph = enumerate_states(task, NumberLineProblem(0, goal, 0, 5))
    wanted = [np.array([float(action == "+") for action in actions]) for actions in graph.actions]
    assert graph.reached(wanted) @ graph.successes == float(goal <= steps)


@pytest.mark.parametrize(("period", "furthest"), [(1, 1), (2, 2), (3, 3)])
def test_a_cyclic_drift_walks_to_and_fro(period, furthest):
    task = ConceptDrift(NumberLine(-5, 5), ReversedActions(NumberLine(-5, 5)), period, cyclic=True)
    state, positions = task.reset(NumberLineProblem(0, 5, -5, 5)), [0]
    while task.actions(state):
        state = task.step(state, "+")
        positions.append(state.inner.position)
    there_and_back = [*range(furthest), *range(furthest, 0, -1)]
    assert positions == [there_and_back[t % (2 * period)] for t in range(len(positions))]


@pytest.mark.parametrize("cyclic", [False, True])
def test_who_notices_loses_nothing_by_a_drift(cyclic):
    for problem in PROBLEMS:
        task = ConceptDrift(LINE, ReversedActions(LINE), 3, cyclic)
        assert figures(task, problem) == pytest.approx(figures(LINE, problem), rel=1e-12)


def test_the_chance_of_a_slip_can_drift():
    """One step from the goal with two steps: the first never slips, from the second on every one does."""
    line = NumberLine(0, 9, horizon=2)
    task = ConceptDrift(line, ActionNoise(line, 0.4), steps=1)
    assert not task.deterministic
    graph = enumerate_states(task, NumberLineProblem(3, 5, 0, 9))
    assert graph.reached(towards_the_goal(graph)) @ graph.successes == pytest.approx(1 - 0.4 / 2, abs=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConceptDrift(LINE, ReversedActions(LINE), 0), "at least 1"),
        (lambda: ConceptDrift(LINE, ReversedActions(LINE), True), "at least 1"),
        (lambda: ConceptDrift(LINE, ReversedActions(NumberLine(0, 6)), 1), "around the same task"),
        (lambda: ConceptDrift(LINE, None, 1), "around the same task"),
        (lambda: ConceptDrift(ConceptDrift(LINE, ReversedActions(LINE), 1), LINE, 1), "another one"),
    ],
)
def test_a_drift_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "task",
    [
        RandomEvents(NumberLine(0, 3), 0.2),
        ReversedActions(NumberLine(0, 3)),
        ConceptDrift(NumberLine(0, 3), ReversedActions(NumberLine(0, 3)), 2),
        ConceptDrift(NumberLine(0, 3), ActionNoise(NumberLine(0, 3), 0.2), 1, cyclic=True),
        ActionNoise(ConceptDrift(NumberLine(0, 3), ReversedActions(NumberLine(0, 3)), 2), 0.1),
        Paraphrase(ConceptDrift(NumberLine(0, 3), ReversedActions(NumberLine(0, 3)), 2), "words"),
        RandomEvents(ActionNoise(HiddenFields(NumberLine(0, 3), GOAL), 0.1), 0.3),
        ConceptDrift(Game24(count=3), ReversedActions(Game24(count=3)), 1),
        ReversedActions(BlackJack()),
    ],
    ids=lambda task: repr(task).partition(", event=")[0],
)
def test_events_and_drift_keep_the_contract(task):
    problems = task.problems().take(2, np.random.default_rng(0))
    assert [check for check in check_task(task, problems) if not check.passed] == []


# -- what happened ---------------------------------------------------------------------------------
def test_a_slip_that_shows_is_certain_and_one_that_cannot_be_told_apart_is_not():
    task = ActionNoise(LINE, 0.5)
    start = task.reset(NumberLineProblem(0, 5, 0, 5))
    (stayed, moved) = (LINE.step(start, "-"), LINE.step(start, "+"))
    assert task.stochasticity(start, "+", stayed) == {"ActionNoise": 1.0}
    assert task.stochasticity(start, "+", moved) == {"ActionNoise": 0.0}
    walled = ActionNoise(RandomEvents(LINE, 0.5), 0.5)
    told = walled.stochasticity(start, "+", NumberLineState(start.problem, 0, 2))
    # causes of being back at 0 after two steps: '+' then a gust '-' (3/4 * 1/4), slip '-' then a gust '-' (1/4 * 1/4)
    assert told == pytest.approx({"ActionNoise": 1 / 4, "RandomEvents": 1.0})


def test_noise_inside_noise_counts_both():
    inner = ActionNoise(LINE, 0.5)
    task = ActionNoise(inner, 0.5)
    start = task.reset(NumberLineProblem(2, 5, 0, 5))
    # '+' was chosen and played: no slip (3/4 * 3/4), or two that undo each other (1/4 * 1/4)
    assert task.stochasticity(start, "+", LINE.step(start, "+")) == pytest.approx({"ActionNoise": 2 * 1 / 10})
    # '-' was played: exactly one of the two slipped
    assert task.stochasticity(start, "+", LINE.step(start, "-")) == pytest.approx({"ActionNoise": 1.0})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), probabilities)
def test_counts_are_calibrated(seed, p):
    """Over all outcomes of an action, the expected counts average to the probability that was asked for."""
    rng = np.random.default_rng(seed)
    task = RandomEvents(LINE, p)
    state = task.reset(PROBLEMS[rng.integers(len(PROBLEMS))])
    action = task.actions(state)[rng.integers(2)]
    mean = sum(c * task.stochasticity(state, action, s)["RandomEvents"] for c, s in task.outcomes(state, action))
    ended = not LINE.actions(LINE.step(state, action))
    assert mean == pytest.approx(0.0 if ended else p, abs=1e-12)


STOCHASTIC = {
    "ActionNoise": {"probability": 0.25},
    "RandomEvents": {"probability": 0.25},
    "ConceptDrift": {"after": {"ReversedActions": {}}, "steps": 2},
    "HiddenFields": {"pattern": GOAL},
    "Paraphrase": {"numbers": "words"},
}


def test_gym_make_puts_wrappers_on_in_order_and_tells_what_they_did():
    chosen = {name: STOCHASTIC[name] for name in ("RandomEvents", "HiddenFields", "Paraphrase", "ActionNoise")}
    env = gym.make("gfn_envs/NumberLine-v0", stochasticity=chosen)
    observation, info = env.reset(seed=3)
    task = env.unwrapped.task
    assert task == ActionNoise(Paraphrase(HiddenFields(RandomEvents(LINE, 0.25), GOAL), "words"), 0.25)
    assert observation.startswith("Goal: ?. Start: ")
    assert "stochasticity" not in info, "nothing has happened yet"
    over = False
    while not over:
        _, _, terminated, truncated, info = env.step("+")
        over = terminated or truncated
        assert set(info["stochasticity"]) == set(chosen)
        assert info["stochasticity"]["HiddenFields"] == 1
        assert info["stochasticity"]["Paraphrase"] == 5, "start, position, line and steps left; the goal is hidden"


def test_the_same_seed_gives_the_same_chance_in_single_and_vector_environments():
    keywords = {"stochasticity": {name: STOCHASTIC[name] for name in ("ActionNoise", "RandomEvents")}}
    vector = gym.make_vec("gfn_envs/NumberLine-v0", num_envs=3, autoreset_mode="Disabled", **keywords)
    singles = [gym.make("gfn_envs/NumberLine-v0", **keywords) for _ in range(3)]
    shown, _ = vector.reset(seed=11)
    assert list(shown) == [env.reset(seed=11 + index)[0] for index, env in enumerate(singles)]
    shown, _, _, _, info = vector.step(["+"] * 3)
    steps = [env.step("+") for env in singles]
    assert list(shown) == [step[0] for step in steps]
    assert list(info["stochasticity"]) == [step[4]["stochasticity"] for step in steps]


def test_drift_goes_through_gym_make_and_survives_clone():
    drift = {"ConceptDrift": STOCHASTIC["ConceptDrift"]}
    env = gym.make("gfn_envs/NumberLine-v0", stochasticity=drift).unwrapped
    env.reset(seed=0, options={"problem": {"start": 0, "goal": 5}})
    counts = [env.step("+")[4]["stochasticity"]["ConceptDrift"] for _ in range(4)]
    assert counts == [0, 0, 1, 1]
    assert env.get_state().state == DriftState(NumberLineState(NumberLineProblem(0, 5, 0, 5), 0, 4), 4)
    assert env.clone().step("-")[0] == env.step("-")[0]


@pytest.mark.parametrize(
    ("wrappers", "message"),
    [
        ({"Slips": {}}, "there is no stochasticity 'Slips'"),
        ({"ActionNoise": {"chance": 0.1}}, "no option 'chance'"),
        ({"ActionNoise": {}}, "probability"),
        ({"ActionNoise": {"probability": 2}}, "from 0 to 1"),
        ({"ActionNoise": 0.1}, "must be its keywords"),
        ([("ActionNoise", 0.1)], "must map names to keywords"),
        ({"ConceptDrift": {"after": {"Slips": {}}, "steps": 1}}, "there is no stochasticity 'Slips'"),
    ],
)
def test_wrong_wrappers_are_refused_with_a_sentence(wrappers, message):
    with pytest.raises(ValueError, match=message):
        add_stochasticity(LINE, wrappers)


def test_the_default_event_is_one_more_action():
    state = LINE.reset(NumberLineProblem(2, 5, 0, 5))
    assert {(p, after.position) for p, after in LINE.events(state)} == {(0.5, 1), (0.5, 3)}


def test_nothing_happens_where_nothing_can():
    task = RandomEvents(LINE, 1.0, no_event)
    state = task.reset(NumberLineProblem(2, 5, 0, 5))
    assert task.outcomes(state, "+") == ((1.0, LINE.step(state, "+")),)


def no_event(task, state):
    return ()


def test_who_cannot_see_the_goal_reaches_it_half_of_the_time():
    """One step, the goal left or right, unseen: whatever a player does, over both problems it succeeds once."""
    line = NumberLine(0, 2, horizon=1)
    both = [NumberLineProblem(1, goal, 0, 2) for goal in (0, 2)]
    hidden = HiddenFields(line, GOAL)
    assert len({hidden.observe(hidden.reset(problem)) for problem in both}) == 1
    for right in (0.0, 0.3, 1.0):
        player = Leaning(right)
        graphs = [enumerate_states(hidden, problem) for problem in both]
        arrived = [graph.reached(graph.policy_of(player)) @ graph.successes for graph in graphs]
        assert sum(arrived) / 2 == pytest.approx(0.5, abs=1e-15)


class Leaning:
    """A player that goes right with a fixed probability, whatever it sees."""

    def __init__(self, right):
        self.right = right

    def action_probabilities(self, observations, admissible_actions):
        return [np.array([1 - self.right, self.right]) for _ in observations]
