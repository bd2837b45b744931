"""Exact arithmetic for number games: formulas, their canonical names, and all solutions.

Numbers are integers wherever they can be and `Fraction` otherwise; there is no float and no
evaluation of text. A formula is a number or `(operator, left, right)`. Its canonical form flattens
nested sums and products, so that formulas that differ only by commutativity and associativity have
one form; `gfn_envs.tasks.game24` says precisely what that means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple, TypeAlias

Number: TypeAlias = int | Fraction
Expression: TypeAlias = "int | tuple[str, Expression, Expression]"

MAX_FORMULA_LENGTH = 400
_TOKEN = re.compile(r"\s*([0-9]{1,9}|[-+*/()])")
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}


class Form(NamedTuple):
    """A flattened sum (`plain` minus `inverted`) or product (`plain` over `inverted`), sorted."""

    operator: str
    plain: tuple[int | Form, ...]
    inverted: tuple[int | Form, ...]


def divide(a: Number, b: Number) -> Number:
    """Returns a / b exactly, as an integer if it is one; raises ZeroDivisionError."""
    if type(a) is int and type(b) is int and a % b == 0:
        return a // b
    quotient = Fraction(a, b)
    return quotient.numerator if quotient.denominator == 1 else quotient


def apply(operator: str, a: Number, b: Number) -> Number:
    """Returns `a operator b` exactly, as an integer if it is one."""
    if operator == "/":
        return divide(a, b)
    value = a + b if operator == "+" else a - b if operator == "-" else a * b
    return value if type(value) is int or value.denominator != 1 else value.numerator


def formula(expression: Expression) -> str:
    """Writes an expression as it was made, every inner operation in parentheses."""
    if isinstance(expression, int):
        return str(expression)
    operator, left, right = expression
    return f"{_operand(left)} {operator} {_operand(right)}"


def _operand(expression: Expression) -> str:
    return str(expression) if isinstance(expression, int) else f"({formula(expression)})"


# -- canonical forms -------------------------------------------------------------------------------
def canonical(expression: Expression) -> str:
    """Returns the canonical name of a formula, such as '8 / (3 - 8 / 3)'."""
    return form_text(form_of(expression))


@lru_cache(maxsize=1 << 16)
def form_of(expression: Expression) -> int | Form:
    """Returns the canonical form of a formula."""
    if isinstance(expression, int):
        return expression
    operator, left, right = expression
    return join_forms(operator, form_of(left), form_of(right))


def join_forms(operator: str, left: int | Form, right: int | Form) -> Form:
    """Returns the canonical form of `left operator right`: the operands' own terms merged."""
    kind, inverse = ("+", "-") if operator in "+-" else ("*", "/")
    plain, inverted = _terms(kind, left)
    right_plain, right_inverted = _terms(kind, right)
    if operator == inverse:
        right_plain, right_inverted = right_inverted, right_plain
    return Form(kind, _ordered(plain + right_plain), _ordered(inverted + right_inverted))


def _terms(kind: str, form: int | Form) -> tuple[tuple[int | Form, ...], tuple[int | Form, ...]]:
    return (form.plain, form.inverted) if isinstance(form, Form) and form.operator == kind else ((form,), ())


def _ordered(forms: tuple[int | Form, ...]) -> tuple[int | Form, ...]:
    return tuple(sorted(forms, key=lambda form: (0, form, "") if isinstance(form, int) else (1, 0, form_text(form))))


@lru_cache(maxsize=1 << 16)
def form_text(form: int | Form) -> str:
    """Writes a canonical form; a sum inside a product or after a minus stands in parentheses."""
    if isinstance(form, int):
        return str(form)
    inverse = "-" if form.operator == "+" else "/"
    plain = f" {form.operator} ".join(_term_text(form.operator, term) for term in form.plain)
    return plain + "".join(f" {inverse} {_term_text(form.operator, term)}" for term in form.inverted)


def _term_text(operator: str, form: int | Form) -> str:
    text = form_text(form)
    return f"({text})" if operator == "*" and isinstance(form, Form) else text


# -- all solutions ---------------------------------------------------------------------------------
def solvable(numbers: tuple[int, ...], target: Number) -> bool:
    """Says whether some formula that uses every number once reaches the target."""
    if len(numbers) == 1:
        return numbers[0] == target
    for left, right in _partitions(numbers):
        reached = _values(right)
        for a in _values(left):
            if any(b is None or b in reached for _, _, b in _partners(a, target)):
                return True
    return False


def solve(numbers: tuple[int, ...], target: Number) -> tuple[str, ...]:
    """Returns the canonical names of all formulas that reach the target, sorted."""
    return tuple(sorted(form_text(form) for form in _forms_reaching(tuple(sorted(numbers)), target)))


def _forms_reaching(numbers: tuple[int, ...], target: Number) -> set[int | Form]:
    if len(numbers) == 1:
        return {numbers[0]} if numbers[0] == target else set()
    found: set[int | Form] = set()
    for left, right in _partitions(numbers):
        right_forms = _forms(right)
        for a, a_forms in _forms(left).items():
            for operator, swapped, b in _partners(a, target):
                for value in right_forms if b is None else (b,):
                    if operator == "/" and (a if swapped else value) == 0:
                        continue
                    for a_form in a_forms:
                        for b_form in right_forms.get(value, ()):
                            pair = (b_form, a_form) if swapped else (a_form, b_form)
                            found.add(join_forms(operator, *pair))
    return found


def _partners(a: Number, target: Number) -> Iterator[tuple[str, bool, Number | None]]:
    """Yields (operator, swapped, b) for every b that makes the target with a; None is any b."""
    yield "+", False, apply("-", target, a)
    yield "-", False, apply("-", a, target)
    yield "-", True, apply("+", target, a)
    if a != 0:
        yield "*", False, divide(target, a)
        yield "/", True, apply("*", target, a)
        if target != 0:
            yield "/", False, divide(a, target)
    elif target == 0:
        yield "*", False, None
        yield "/", False, None


@lru_cache(maxsize=1 << 14)
def _values(numbers: tuple[int, ...]) -> frozenset[Number]:
    """Returns all values of formulas that use every number once."""
    if len(numbers) == 1:
        return frozenset(numbers)
    return frozenset(
        value
        for left, right in _partitions(numbers)
        for a in _values(left)
        for b in _values(right)
        for _, _, value in _combinations(a, b)
    )


@lru_cache(maxsize=1 << 12)
def _forms(numbers: tuple[int, ...]) -> dict[Number, frozenset[int | Form]]:
    """Returns all canonical forms that use every number once, by value."""
    if len(numbers) == 1:
        return {numbers[0]: frozenset(numbers)}
    forms: dict[Number, set[int | Form]] = {}
    for left, right in _partitions(numbers):
        for a, a_forms in _forms(left).items():
            for b, b_forms in _forms(right).items():
                for operator, swapped, value in _combinations(a, b):
                    pairs = ((y, x) if swapped else (x, y) for x in a_forms for y in b_forms)
                    forms.setdefault(value, set()).update(join_forms(operator, *pair) for pair in pairs)
    return {value: frozenset(found) for value, found in forms.items()}


def _combinations(a: Number, b: Number) -> Iterator[tuple[str, bool, Number]]:
    """Yields (operator, swapped, value) for the up to six ways to combine two numbers."""
    yield "+", False, apply("+", a, b)
    yield "-", False, apply("-", a, b)
    yield "-", True, apply("-", b, a)
    yield "*", False, apply("*", a, b)
    if b != 0:
        yield "/", False, divide(a, b)
    if a != 0:
        yield "/", True, divide(b, a)


@lru_cache(maxsize=1 << 14)
def _partitions(numbers: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Returns the distinct ways to cut a sorted multiset in two parts, the smaller part first."""
    found: dict[tuple[tuple[int, ...], tuple[int, ...]], None] = {}
    indices = range(len(numbers))
    for size in range(1, len(numbers) // 2 + 1):
        for chosen in combinations(indices, size):
            left = tuple(numbers[i] for i in chosen)
            right = tuple(numbers[i] for i in indices if i not in chosen)
            found[min((left, right), (right, left)) if len(left) == len(right) else (left, right)] = None
    return tuple(found)


# -- reading formulas ------------------------------------------------------------------------------
def parse_formula(text: str) -> tuple[Number, list[int]] | None:
    """Reads a formula of non-negative integers, + - * / and parentheses, without evaluating text.

    Returns:
        Its exact value and the numbers in it, or None if the text is anything else, is longer than
        400 characters or divides by zero.
    """
    tokens = _tokens(text)
    if tokens is None:
        return None
    numbers = [int(token) for token in tokens if token.isdigit()]
    value = _value_of(tokens)
    return None if value is None else (value, numbers)


def _tokens(text: str) -> list[str] | None:
    text = text.strip()
    if not text or len(text) > MAX_FORMULA_LENGTH:
        return None
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        tokens.append(match.group(1))
        position = match.end()
    return tokens


def _value_of(tokens: list[str]) -> Number | None:
    """Runs the shunting-yard algorithm, with its stacks of values and operators."""
    values: list[Number] = []
    operators: list[str] = []

    def reduce_while(stronger_than: int) -> None:
        while operators and _PRECEDENCE.get(operators[-1], 0) >= stronger_than:
            b, a = values.pop(), values.pop()
            values.append(apply(operators.pop(), a, b))

    operand_expected = True
    try:
        for token in tokens:
            if operand_expected != (token.isdigit() or token == "("):
                return None
            if token.isdigit():
                values.append(int(token))
                operand_expected = False
            elif token == "(":
                operators.append(token)
            elif token == ")":
                reduce_while(1)
                if not operators:
                    return None
                operators.pop()
            else:
                reduce_while(_PRECEDENCE[token])
                operators.append(token)
                operand_expected = True
        reduce_while(1)
    except (ZeroDivisionError, IndexError):
        return None
    return values[0] if not operators and len(values) == 1 and not operand_expected else None
