"""Game24: exact arithmetic, what counts as one solution, files, hostile formulas."""

import itertools
import re
import time
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfn_envs.exact import enumerate_states
from gfn_envs.problems import load_problems, split_of
from gfn_envs.tasks.arithmetic import canonical, formula, parse_formula
from gfn_envs.tasks.game24 import Game24, Game24Problem

TASK = Game24()


# -- an oracle written differently: subsets by bit masks, arithmetic modulo a large prime ----------
PRIME = 2**61 - 1


@cache
def values_of(numbers):
    """Returns what all formulas of exactly these numbers are modulo the prime."""
    if len(numbers) == 1:
        return {numbers[0]}
    found = set()
    for mask in range(1, 2 ** (len(numbers) - 1)):
        left = tuple(n for i, n in enumerate(numbers) if mask >> i & 1)
        right = tuple(n for i, n in enumerate(numbers) if not mask >> i & 1)
        for a, b in itertools.product(values_of(left), values_of(right)):
            found |= {(a + b) % PRIME, (a - b) % PRIME, (b - a) % PRIME, a * b % PRIME}
            found |= {a * inverse(b) % PRIME} if b else set()
            found |= {b * inverse(a) % PRIME} if a else set()
    return found


@cache
def inverse(value):
    return pow(value, -1, PRIME)


def test_1362_of_1820_are_solvable():
    assert (len(Game24(solvable=False).problems()), len(TASK.problems())) == (1820, 1362)


def test_the_oracle_finds_the_same_problems_solvable():
    solvable = {problem.numbers for problem in TASK.problems()}
    assert solvable == {p.numbers for p in Game24(solvable=False).problems() if 24 in values_of(p.numbers)}


def test_3_3_8_8_has_exactly_one_solution_which_floats_lose():
    assert TASK.solve(Game24Problem((3, 3, 8, 8))) == ("8 / (3 - 8 / 3)",)
    assert 8 / (3 - 8 / 3) != 24, "with floats the only solution is missed"
    graph = enumerate_states(TASK, Game24Problem((3, 3, 8, 8)))
    assert graph.solutions == ("8 / (3 - 8 / 3)",)
    assert sum(graph.successes) > 0


# -- what counts as the same solution --------------------------------------------------------------
formulas = st.recursive(
    st.integers(0, 13), lambda inner: st.tuples(st.sampled_from("+-*/"), inner, inner), max_leaves=6
)


def shuffled(expression, draw):
    """Returns a formula that differs only by commutativity and associativity."""
    if isinstance(expression, int):
        return expression
    operator, a, b = expression[0], shuffled(expression[1], draw), shuffled(expression[2], draw)
    weak = "-" if operator in "+-" else "/"
    strong = "+" if operator in "+-" else "*"
    same_kind = isinstance(b, tuple) and b[0] in (weak, strong)
    if same_kind and draw(st.booleans()):
        inner, c, d = b
        if operator == strong:
            return (inner, (strong, a, c), d)
        return (strong if inner == weak else weak, (weak, a, c), d)
    if operator == strong and draw(st.booleans()):
        return (operator, b, a)
    if isinstance(a, tuple) and a[0] in (weak, strong) and draw(st.booleans()):
        inner, c, d = a
        return (inner, (operator, c, b), d)
    return (operator, a, b)


@given(formulas, st.data())
def test_commuting_and_reassociating_keep_the_name(expression, data):
    assert canonical(shuffled(expression, data.draw)) == canonical(expression)


@given(formulas)
def test_a_formula_and_its_name_have_one_value(expression):
    made, named = parse_formula(formula(expression)), parse_formula(canonical(expression))
    # The other way need not hold: 8 / (3 / 0) divides by zero, its name 0 * 8 / 3 does not.
    if made is not None:
        assert named is not None
        assert (made[0], sorted(made[1])) == (named[0], sorted(named[1]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("*", ("-", 1, 5), ("-", 2, 8)), ("*", ("-", 5, 1), ("-", 8, 2))),
        (("*", 6, 1), ("/", 6, 1)),
        (("*", 2, ("+", 3, 4)), ("+", ("*", 2, 3), ("*", 2, 4))),
        (("-", 3, 8), ("-", 8, 3)),
    ],
)
def test_nothing_else_is_identified(one, other):
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        (("-", 9, ("-", 5, 2)), "2 + 9 - 5"),
        (("/", 9, ("/", 5, 2)), "2 * 9 / 5"),
        (("/", 8, ("-", 3, ("/", 8, 3))), "8 / (3 - 8 / 3)"),
        (("*", ("+", 2, 1), 8), "8 * (1 + 2)"),
    ],
)
def test_names(expression, name):
    assert canonical(expression) == name


# -- solve against brute force ---------------------------------------------------------------------
MADE_TWICE = [
    (2, 2, 3, 6),
    (2, 3, 6, 6),
    (1, 1, 2, 12),
    (4, 6, 6, 8),
    (3, 3, 8, 8),
    (1, 2, 2, 4),
    (4, 4, 8, 8),
    (1, 5, 5, 5),
]


@pytest.mark.parametrize("numbers", MADE_TWICE, ids=str)
def test_solve_is_what_all_trajectories_reach(numbers):
    problem = Game24Problem(numbers)
    assert TASK.solve(problem) == enumerate_states(TASK, problem).solutions


def test_solve_is_what_all_trajectories_reach_on_random_problems():
    rng = np.random.default_rng(5)
    for options in ({"count": 3, "low": 0, "high": 6, "solvable": False, "target": 6}, {"low": 0, "solvable": False}):
        task = Game24(**options)
        for _ in range(4):
            problem = task.problems().sample(rng)
            assert task.solve(problem) == enumerate_states(task, problem).solutions


def all_formulas(numbers):
    """Yields every binary formula over every order of the numbers, without sharing anything."""
    if len(numbers) == 1:
        yield numbers[0]
    for cut in range(1, len(numbers)):
        for left, right in itertools.product(list(all_formulas(numbers[:cut])), list(all_formulas(numbers[cut:]))):
            for operator in "+-*/":
                yield (operator, left, right)


def exact_value(expression):
    if isinstance(expression, int):
        return Fraction(expression)
    a, b = exact_value(expression[1]), exact_value(expression[2])
    if None in (a, b) or (expression[0] == "/" and b == 0):
        return None
    return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}[expression[0]]()


@pytest.mark.parametrize(("numbers", "target"), [((2, 3, 4), 10), ((0, 2, 2), 0), ((3, 3, 7), "4/7"), ((1, 1, 1), 1)])
def test_solve_is_every_formula_with_the_value(numbers, target):
    task = Game24(count=3, low=0, target=target, solvable=False)
    found = {
        canonical(expression)
        for order in set(itertools.permutations(numbers))
        for expression in all_formulas(order)
        if exact_value(expression) == Fraction(target)
    }
    assert set(task.solve(Game24Problem(numbers, task.target))) == found


def test_every_solution_verifies():
    for problem in TASK.problems().take(60, np.random.default_rng(2)):
        for name in TASK.solve(problem):
            assert TASK.verify(problem, name)


# -- actions ---------------------------------------------------------------------------------------
def test_actions_read_as_in_tree_of_thoughts():
    state = TASK.reset(Game24Problem((4, 6, 6, 8)))
    assert TASK.observe(state) == "Make 24 with + - * /.\nNumbers: 4 6 6 8"
    assert "6 * 4 = 24 (left: 6 8 24)" in TASK.actions(state)
    aliases = TASK.aliases(state)
    for spelling in ("6 * 4 = 24", "4 * 6 = 24", "4 * 6 = 24 (left: 6 8 24)"):
        assert aliases[spelling] == "6 * 4 = 24 (left: 6 8 24)"


def test_equal_numbers_made_differently_are_told_apart():
    state = TASK.step(TASK.reset(Game24Problem((2, 2, 3, 6))), "3 * 2 = 6 (left: 2 6 6)")
    assert TASK.observe(state).endswith("Numbers: 2 (3 * 2) 6")
    assert "(3 * 2) - 2 = 4 (left: 4 6)" in TASK.actions(state)
    assert "6 - 2 = 4 (left: 4 6)" in TASK.actions(state)


def test_nothing_is_divided_by_zero():
    state = TASK.step(TASK.reset(Game24Problem((4, 6, 6, 8))), "6 - 6 = 0 (left: 0 4 8)")
    assert not [action for action in TASK.actions(state) if "/ 0" in action]
    assert "0 / 8 = 0 (left: 0 4)" in TASK.actions(state)


@pytest.mark.parametrize(
    ("options", "solvable"),
    [
        ({"count": 2, "target": 24}, {(2, 12), (3, 8), (4, 6), (11, 13), (12, 12)}),
        ({"count": 2, "target": "1/3", "high": 4}, {(1, 3)}),
        ({"count": 2, "target": -3, "high": 5}, {(1, 4), (2, 5)}),
        ({"count": 2, "target": 0, "low": 0, "high": 2}, {(0, 0), (0, 1), (0, 2), (1, 1), (2, 2)}),
    ],
    ids=str,
)
def test_other_counts_and_targets(options, solvable):
    assert {problem.numbers for problem in Game24(**options).problems()} == solvable


def test_problem_ids_name_the_target():
    assert Game24Problem((4, 6, 6, 8)).id == "game24/4-6-6-8"
    assert TASK.problem_from_json({"numbers": [8, 6, 4, 6], "target": "14/4"}).id == "game24/4-6-6-8=7/2"
    assert Game24(target="48/2").target == 24


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"count": 1}, "count must be from 2 to 8, got 1"),
        ({"count": 2.0}, "count must be an integer"),
        ({"low": 5, "high": 4}, "numbers must satisfy"),
        ({"target": "24.x"}, "target must be"),
        ({"target": 24.0}, "target must be"),
        ({"target": "1/0"}, "target must be"),
        ({"target": "9" * 1000}, "target must be"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_wrong_options_get_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Game24(**options)


def test_a_family_without_a_solution_says_so():
    with pytest.raises(ValueError, match="no 2 numbers from 1 to 2 reach 24"):
        Game24(count=2, high=2).problems()


# -- the published file ----------------------------------------------------------------------------
def test_the_published_file_loads(published_data):
    problems = load_problems(TASK, published_data / "game24" / "24_train.csv")
    assert len(problems) == 20
    assert problems.problems[0].numbers == (1, 1, 4, 6)
    assert all(TASK.solve(problem) for problem in problems)
    assert {split_of(problem) for problem in problems} <= {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"Rank,Numbers\n1,4 6 6 8\n", "has no column 'Puzzles'"),
        (b"", "has no column 'Puzzles'"),
        (b"Rank,Puzzles\n", "has no problems"),
        (b"Rank,Puzzles\n1,4 6 6 8\n2,1 2 3 4 5\n", "line 3: expected 4 numbers, got 5"),
        (b"Rank,Puzzles\n1,a b c d\n", "line 2: expected numbers separated by spaces"),
        (b"Rank,Puzzles\n1\n", "line 2: expected numbers"),
        (b"Rank,Puzzles\n1,1 2 3 14\n", "line 2: number 14 is outside"),
        (b"Rank,Puzzles\n1,1 2 3 9999999\n", "line 2: expected numbers"),
        (b"Rank,Puzzles\n1,1 2 3 \xc2\xb2\n", "line 2: expected numbers"),
        (b"\x00\xff\xfe\x80Puzzles\n1", "not a text file"),
        (b"Rank,Puzzles\n1," + b"9" * 200_000, "not CSV"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_malformed_files_get_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "puzzles.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"puzzles\.csv") as error:
        load_problems(TASK, path)
    assert sentence in str(error.value)


# -- formulas are hostile text ---------------------------------------------------------------------
def test_verify_wants_every_number_exactly_once():
    problem = Game24Problem((3, 3, 8, 8))
    assert TASK.verify(problem, "8 / (3 - 8/3)")
    assert TASK.verify(problem, " ( 8/((3-(8/3))) ) ")
    for wrong in ("8 / (3 - 8)", "3 * 8", "8 / (3 - 8/3) + 0", "24", "8 / (3 - 8/3) = 24", "8 8 3 3", "(8/(3-8/3)", ""):
        assert not TASK.verify(problem, wrong)


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9**9",
        "9" * 100_000,
        "1+" * 50_000 + "1",
        "(" * 100_000,
        "(" * 199 + "1" + ")" * 199 + "+",
        "__import__('os').system('true')",
        "3 / (8 - 8) * 3",
        "-3 + 8",
        "3 8",
        "3 + ) 8 (",
        "()",
        "٣ + 8",
        "1e5",
        "\x00",
    ],
    ids=lambda text: repr(text)[:20],
)
def test_hostile_formulas_are_quick_and_refused(text):
    start = time.process_time()
    assert parse_formula(text) is None
    assert not TASK.verify(Game24Problem((3, 3, 8, 8)), text)
    assert time.process_time() - start < 0.5


@given(st.text(alphabet="0123456789+-*/() ", max_size=60))
def test_reading_agrees_with_python_where_both_read(text):
    parsed = parse_formula(text)
    if parsed is not None:
        # Only what the reader accepted is evaluated: digits, four operators and parentheses.
        assert parsed[0] == eval(
            re.sub(r"\d+", lambda match: f"Fraction({int(match[0])})", text), {"Fraction": Fraction}
        )


@pytest.mark.parametrize(
    ("numbers", "remedy"), [((7,), "leave it out"), ((1, 2, 3), "pass count=3"), ((1,) * 99, "out")]
)
def test_numbers_that_are_too_few_or_too_many_are_refused_with_a_remedy_that_works(numbers, remedy):
    with pytest.raises(ValueError, match=remedy) as refusal:
        Game24().problem_from_json({"numbers": numbers})
    assert len(str(refusal.value)) < 100


def test_one_puzzle_is_one_problem_however_it_is_written():
    sorted_one, other = Game24Problem((4, 6, 6, 8)), Game24Problem((8, 6, 6, 4), "48/2")
    assert (sorted_one, sorted_one.id) == (other, other.id)
    assert split_of(sorted_one) == split_of(other)
    assert Game24().solve(other) == Game24().solve(sorted_one)
    with pytest.raises(ValueError, match="solvable must be True or False, got 'no'"):
        Game24(solvable="no")
