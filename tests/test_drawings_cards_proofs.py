"""Pictures of BlackJack and PrOntoQA: all on the sheet, all that is known, nothing that is not."""

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from gfn_envs.drawing import HEIGHT, WIDTH, Circle, Label, Line, Rectangle, shortened, text_width
from gfn_envs.rollout import draw_outcome
from gfn_envs.tasks.blackjack import BlackJack, BlackJackProblem, BlackJackState
from gfn_envs.tasks.blackjack_drawing import HIDDEN, PLAYER, card_name
from gfn_envs.tasks.blackjack_odds import BUST, NATURAL
from gfn_envs.tasks.ontology import read_theory
from gfn_envs.tasks.prontoqa import PrOntoQA, PrOntoQAProblem, PrOntoQAState
from gfn_envs.tasks.prontoqa_drawing import MOST_FACTS, RIGHT

BLACKJACK = [
    BlackJack(),
    BlackJack(decks=1, dealer_hits_soft_17=True, doubling=True),
    BlackJack(doubling=True, natural=True),
    BlackJack(decks=6, sab=True),
]
PRONTOQA = [
    PrOntoQA(),
    PrOntoQA(hops=1, distractors=0, slack=0),
    PrOntoQA(hops=8, distractors=20, shortcuts=7, slack=20, ontology="true"),
    PrOntoQA(hops=8, distractors=20, slack=20, applicable_only=True),
    PrOntoQA(hops=3, applicable_only=True, ontology="true"),
]


def chosen(task, state, rng):
    """Returns a random action that ends the game only in one of eight cases where another does not."""
    actions = task.actions(state)
    if isinstance(task, PrOntoQA) and rng.random() < 0.6:  # otherwise few proofs come far
        actions = replace(task, applicable_only=True).actions(state)
    longer = [a for a in actions if a not in ("stick", "double") and not a.startswith("Answer")]
    return str(rng.choice(longer if longer and rng.random() < 0.88 else actions))


def played(task, problem, rng):
    """Returns the states of a random play."""
    states = [task.reset(problem)]
    while task.actions(states[-1]):
        states.append(draw_outcome(task, states[-1], chosen(task, states[-1], rng), rng))
    return states


def plays(task, count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield played(task, task.problems().sample(rng), rng)


def aces():
    """Returns the hands of aces up to the one above 21."""
    problem = BlackJackProblem((1, 1), 2)
    value = [(n + 10, True) if n <= 11 else (n, False) for n in range(23)]
    return [BlackJackState(problem, (1,) * n, *value[n]) for n in range(2, 23)]


def ends():
    """Returns an end with every result of the dealer, for both stakes."""
    problem = BlackJackProblem((1, 10), 1)
    results = (BUST, *range(17, 22), NATURAL)
    return [
        BlackJackState(problem, (1, 9, 10), 20, False, doubled, end) for end in results for doubled in (False, True)
    ]


def long_chain():
    """Returns a task and the states of a proof of the longest words that goes on far beyond its end."""
    task = PrOntoQA(hops=8, distractors=20, shortcuts=7, slack=20)
    words = [f"{'e' * 28}{chr(97 + i)}m" for i in range(26)]
    rules = [f"Every {a} is an {b}." for a, b in pairwise(words)]
    question = " ".join([*rules, f"Every {words[7]} is not {'a' * 30}.", f"{'M' + 'a' * 29} is an {words[0]}."])
    problem = task.problem_from_json({"question": question, "query": f"True or false: {'M' + 'a' * 29} is {'a' * 30}."})
    states = [task.reset(problem)]
    for rule in rules:
        states.append(task.step(states[-1], rule))
    return task, states


EVERY = [(task, 60) for task in BLACKJACK] + [(task, 25) for task in PRONTOQA]


def states_of(task, count):
    """Yields random states and the extreme ones."""
    for states in plays(task, count):
        yield from states
    if isinstance(task, BlackJack) and task.decks == 6:
        yield from [*aces(), *ends()]
    if task == PRONTOQA[0]:
        yield task.step(task.reset(task.problems().sample(np.random.default_rng(1))), "Answer: False")


def labels(drawing):
    return [shape for shape in drawing.shapes if isinstance(shape, Label)]


def texts(drawing):
    return [label.text for label in labels(drawing)]


def box(shape):
    """Returns left, top, right and bottom of a shape, generously."""
    if isinstance(shape, Rectangle):
        edge = shape.thickness / 2 if shape.outline else 0
        return shape.x - edge, shape.y - edge, shape.x + shape.width + edge, shape.y + shape.height + edge
    if isinstance(shape, Circle):
        edge = shape.radius + (shape.thickness / 2 if shape.outline else 0)
        return shape.x - edge, shape.y - edge, shape.x + edge, shape.y + edge
    if isinstance(shape, Line):
        edge = 3 + shape.thickness if shape.arrow else shape.thickness / 2
        xs, ys = sorted((shape.x1, shape.x2)), sorted((shape.y1, shape.y2))
        return xs[0] - edge, ys[0] - edge, xs[1] + edge, ys[1] + edge
    width = text_width(shape.text, shape.size)
    left = shape.x - {"start": 0, "middle": 0.5, "end": 1}[shape.anchor] * width
    return left, shape.y - 0.5 * shape.size, left + width, shape.y + 0.5 * shape.size


# -- both games ------------------------------------------------------------------------------------
def check_on_sheet(drawing):
    for shape in drawing.shapes:
        left, top, right, bottom = box(shape)
        assert min(left, top) >= 0, shape
        assert right <= WIDTH, shape
        assert bottom <= HEIGHT, shape
    boxes = [(box(label), label) for label in labels(drawing)]
    for number, ((left, top, right, bottom), label) in enumerate(boxes):
        for (other_left, other_top, other_right, other_bottom), other in boxes[:number]:
            apart = right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top
            assert apart, f"{other} and {label} overlap"
    words = "".join([drawing.title, *texts(drawing)])
    assert words.isascii()
    assert drawing.title.endswith(".")


@pytest.mark.parametrize(("task", "count"), EVERY, ids=str)
def test_everything_lies_on_the_sheet_and_no_text_on_another(task, count):
    for state in states_of(task, count):
        check_on_sheet(task.draw(state))


def test_a_long_chain_of_long_words_lies_on_the_sheet():
    task, states = long_chain()
    for state in states:
        check_on_sheet(task.draw(state))
    drawing = task.draw(states[-1])
    assert "13 more rules, then: " in " ".join(texts(drawing))
    assert (
        sum(isinstance(s, Rectangle) and s.x + s.width < RIGHT and s.radius == 5 for s in drawing.shapes) == MOST_FACTS
    )


@pytest.mark.parametrize(("task", "count"), EVERY, ids=str)
def test_drawings_are_values(task, count):
    for state in states_of(task, count // 5):
        drawing, again = task.draw(state), task.draw(pickle.loads(pickle.dumps(state)))
        assert drawing == again
        assert hash(drawing) == hash(again)


@pytest.mark.parametrize(("task", "count"), EVERY, ids=str)
def test_each_step_changes_picture_and_title(task, count):
    for states in plays(task, count):
        drawings = [task.draw(state) for state in states]
        for before, after in pairwise(drawings):
            assert before.shapes != after.shapes
            assert before.title != after.title


# -- BlackJack -------------------------------------------------------------------------------------
def row(drawing, players):
    """Returns the corner labels of the player's or the dealer's cards, from left to right."""
    corners = [label for label in labels(drawing) if label.bold and label.anchor == "start" and label.size <= 17]
    return [label.text for label in corners if (label.y > PLAYER) == players]


@pytest.mark.parametrize("task", BLACKJACK, ids=str)
def test_every_card_that_is_known_appears(task):
    for state in states_of(task, 60):
        drawing, known = task.draw(state), state.hand or state.problem.player
        assert row(drawing, players=True) == [card_name(card) for card in known]
        assert row(drawing, players=False) == [card_name(state.problem.dealer)]
        further = [text for text in texts(drawing) if "further cards" in text]
        if state.hand:
            assert not further
        else:
            told = int(further[0].split()[1])
            assert told + sum(known) + 10 * state.usable == state.total
        assert str(state.total) in texts(drawing)
        assert ("an ace counts 11" in texts(drawing)) == state.usable
        assert ("stake 2, doubled" in texts(drawing)) == state.doubled


@pytest.mark.parametrize("task", BLACKJACK, ids=str)
def test_a_running_game_shows_nothing_of_what_is_to_come(task):
    silent = replace(task, reward="gym", doubling=not task.doubling)  # options of which no observation speaks
    seen = {}
    for state in states_of(task, 60):
        if not task.actions(state):
            continue
        drawing = task.draw(state)
        assert seen.setdefault((state.problem, task.observe(state)), drawing) == drawing
        assert silent.draw(state) == drawing
        assert texts(drawing).count(HIDDEN) == 1
        numbers = [label.text for label in labels(drawing) if label.size > 40]
        inked = [card_name(card) for card in (state.problem.dealer, *(state.hand or state.problem.player))]
        assert set(numbers) <= {*inked, str(state.total)}


@pytest.mark.parametrize("task", BLACKJACK, ids=str)
def test_the_end_of_a_game_says_so(task):
    for state in states_of(task, 60):
        verdicts = [text for text in texts(task.draw(state)) if text.startswith(("You win", "You lose", "A draw"))]
        assert len(verdicts) == (not task.actions(state))
        if verdicts:
            payoff = task.payoff(state)
            word = "You win" if payoff > 0 else "You lose" if payoff < 0 else "A draw"
            assert verdicts[0].startswith(word)
            assert not payoff or verdicts[0].endswith(f"({payoff:+g})")
            assert ("over 21" in verdicts[0]) == (state.total > 21)
            result = {BUST: "bust", NATURAL: "natural"}.get(state.dealer, str(state.dealer))
            assert (result in texts(task.draw(state))) == (state.dealer is not None)


def test_titles_of_blackjack():
    task = BlackJack(decks=6, sab=True, doubling=True)
    problem = BlackJackProblem((1, 10), 6)
    start = task.reset(problem)
    assert task.draw(start).title == "BlackJack: you hold A 10, total 21 with a usable ace; the dealer shows 6."
    end = start._replace(dealer=BUST)
    assert task.draw(end).title.endswith("; the dealer is bust; you win 1.")
    doubled = BlackJackState(problem, (1, 10, 10), 21, False, True, 21)
    assert task.draw(doubled).title == "BlackJack: you hold A 10 10, total 21; the dealer has 21; a draw."


# -- PrOntoQA --------------------------------------------------------------------------------------
def theory_of(state):
    return read_theory(state.problem.question, state.problem.query)


def is_shown(text, shown):
    """Says whether a text is among those shown, whole or shortened."""
    return any(text == one or (one.endswith("...") and shortened(text, len(one)) == one) for one in shown)


def column(drawing, right):
    """Returns the texts of a column from top to bottom, without the foot."""
    found = sorted((label.y, label.text) for label in labels(drawing) if (label.x >= RIGHT) == right)
    return [text for y, text in found if y < HEIGHT - 50]


@pytest.mark.parametrize("task", PRONTOQA, ids=str)
def test_every_derived_fact_and_the_query_appear(task):
    for state in states_of(task, 25):
        theory, drawing = theory_of(state), task.draw(state)
        proof = [theory.start.text]
        for rule in state.applied:
            proof += [theory.sentences[rule], theory.claims[rule]]
        shown = column(drawing, right=False)[1:]
        assert len(shown) == len(proof)
        assert all(is_shown(text, [one]) for text, one in zip(proof, shown, strict=True))
        assert f"{theory.query.text[:-1]}?" in texts(drawing)


@pytest.mark.parametrize("task", PRONTOQA, ids=str)
def test_every_other_sentence_is_listed_or_counted(task):
    for state in states_of(task, 25):
        theory, shown = theory_of(state), column(task.draw(state), right=True)[2:]
        free = [text for i, text in enumerate(theory.sentences) if not state.used >> i & 1]
        wasted = [
            theory.sentences[i] for i in range(len(theory.rules)) if state.used >> i & 1 and i not in state.applied
        ]
        assert shown[0] == f"Not yet used ({len(free)})"
        headings = [place for place, text in enumerate(shown) if text == f"Used without effect ({len(wasted)})"]
        assert len(headings) == bool(wasted)
        middle = headings[0] if headings else len(shown)
        for sentences, listed in ((free, shown[1:middle]), (wasted, shown[middle + 1 :])):
            more = int(listed.pop().split()[2]) if listed and listed[-1].startswith("... and ") else 0
            assert len(listed) + more == len(sentences)
            assert all(is_shown(text, [one]) for text, one in zip(sentences, listed, strict=False))


@pytest.mark.parametrize("task", PRONTOQA, ids=str)
def test_the_end_of_a_proof_says_so(task):
    for state in states_of(task, 25):
        drawing, details = task.draw(state), task.details(state)
        verdicts = [text for text in texts(drawing) if text.startswith(("Answer ", "No answer"))]
        assert len(verdicts) == (not task.actions(state))
        arrows = [s for s in drawing.shapes if isinstance(s, Line) and s.arrow and s.x2 > RIGHT - 9]
        assert len(arrows) == details["proof_complete"]
        if verdicts:
            assert verdicts[0].startswith(f"Answer {state.answer}: " if state.answer else "No answer")
            assert ("right" in verdicts[0]) == details["answer_correct"]
            assert ("not proven" in verdicts[0]) == (details["answer_correct"] and not details["proof_complete"])
            assert verdicts[0].endswith("right, proven") == task.success(state)


def test_titles_of_prontoqa():
    task = PrOntoQA()
    question = "Tumpuses are wumpuses. Each wumpus is not shy. Max is a tumpus."
    problem = PrOntoQAProblem(question, "True or false: Max is shy.")
    start = "PrOntoQA after 0 of 5 steps, to decide whether Max is shy: Max is a tumpus."
    assert task.draw(task.reset(problem)).title == start
    end = PrOntoQAState(problem, (0, 1), 3, "False")
    assert task.draw(end).title.endswith(
        "3 of 5 steps, to decide whether Max is shy: Max is not shy; answer False: right, proven."
    )
