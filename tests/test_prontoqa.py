"""PrOntoQA: English that matches exactly, one truth value, proofs, and what wasted sentences cost."""

import json
import random
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfn_envs.checks import check_task
from gfn_envs.exact import analyse, enumerate_states
from gfn_envs.problems import load_problems
from gfn_envs.task import LOG_REWARD_FLOOR
from gfn_envs.tasks.ontology import fictional_world, read_theory, true_world
from gfn_envs.tasks.prontoqa import PrOntoQA, PrOntoQAProblem, PrOntoQAState
from gfn_envs.tasks.sentences import Claim, Rule, article, parse_query, parse_sentence, plural, singular

TASK = PrOntoQA()
SMALL = PrOntoQA(hops=2, distractors=2, slack=1)
MAX = PrOntoQAProblem(
    "Tumpuses are wumpuses. Each wumpus is not shy. Every rompus is shy. Each tumpus is happy. Max is a tumpus.",
    "True or false: Max is not shy.",
)


def play(task, problem, actions):
    """Returns the state after some actions, each of which must be on offer."""
    state = task.reset(problem)
    for action in actions:
        assert action in task.actions(state)
        state = task.step(state, action)
    return state


PROOF = ["Tumpuses are wumpuses.", "Each wumpus is not shy."]


# -- an oracle written differently: stems of words, sets of literals, no grammar -------------------
def literal(phrase):
    """Returns (affirmed, stem) of 'not a wumpus', 'wumpuses', 'shy'; endings are cut, not inflected."""
    negated = phrase.startswith("not ")
    return not negated, re.sub(r"^(not )?(an? )?", "", phrase).lower().rstrip("seiy")


def oracle(problem):
    """Returns the fact, the implications and the query as literals."""
    *rules, fact = problem.question.removesuffix(".").split(". ")
    pairs = [re.fullmatch(r"(?:Each |Every )?(.+?) (?:is|are) (.+)", rule).groups() for rule in rules]
    implications = {f"{rule}.": (literal(a), literal(b)) for rule, (a, b) in zip(rules, pairs, strict=True)}
    asked = problem.query.removesuffix(".").split(" is ", 1)[1]
    return literal(fact.split(" is ", 1)[1]), implications, literal(asked)


def truth_values(problem):
    """Returns the truth values of the query that follow, by growing the set of literals until it is closed."""
    fact, implications, (sign, asked) = oracle(problem)
    known, before = {fact}, set()
    while known != before:
        before = set(known)
        known |= {b for a, b in implications.values() if a in known}
    return {known_sign == sign for known_sign, stem in known if stem == asked}


tasks = st.builds(
    PrOntoQA,
    hops=st.integers(1, 8),
    distractors=st.integers(0, 20),
    ontology=st.sampled_from(["fictional", "true"]),
    negation=st.booleans(),
    applicable_only=st.booleans(),
)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(tasks, seeds)
def test_generated_problems_follow_for_the_oracle_too(task, seed):
    problem = task.problems().sample(np.random.default_rng(seed))
    theory = read_theory(problem.question, problem.query)
    assert truth_values(problem) == {theory.answer == "True"}
    assert len(theory.rules) == task.max_rules
    assert [len(proof) for proof in theory.proofs(task.hops)] == [task.hops]
    assert task.problem_from_json(json.loads(json.dumps(problem.to_json()))) == problem
    assert task.negation or " not " not in problem.question


@settings(max_examples=60, deadline=None)
@given(tasks, seeds)
def test_random_play_is_judged_as_the_oracle_judges_it(task, seed):
    rng = random.Random(seed)
    problem = task.problems().sample(np.random.default_rng(seed))
    claim, implications, (sign, asked) = oracle(problem)
    proved, unused, state = None, list(implications), task.reset(problem)
    while not state.answer and task.actions(state):
        apply = [rule for rule in unused if implications[rule][0] == claim]
        offered = apply if task.applicable_only else unused
        assert task.actions(state) == (*offered, "Answer: True", "Answer: False")
        action = rng.choice(apply if apply and rng.random() < 0.7 else task.actions(state))
        state = task.step(state, action)
        if action in unused:
            unused.remove(action)
            claim = implications[action][1] if action in apply else claim
            proved = claim[0] == sign if claim[1] == asked else proved
    assert task.success(state) == (state.answer != "" and proved is not None and state.answer == str(proved))
    assert task.details(state)["proof_complete"] == (proved is not None)


# -- morphology ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("noun", "nouns", "with_article"),
    [
        ("butterfly", "butterflies", "a butterfly"),
        ("wumpus", "wumpuses", "a wumpus"),
        ("impus", "impuses", "an impus"),
        ("lepidopteran", "lepidopterans", "a lepidopteran"),
        ("mammal", "mammals", "a mammal"),
        ("arthropod", "arthropods", "an arthropod"),
        ("insect", "insects", "an insect"),
        ("ungulate", "ungulates", "an ungulate"),
        ("unicorn", "unicorns", "a unicorn"),
        ("painted lady", "painted ladies", "a painted lady"),
        ("Mersenne prime", "Mersenne primes", "a Mersenne prime"),
        ("integer", "integers", "an integer"),
        ("sheep", "sheep", "a sheep"),
        ("wild goose", "wild geese", "a wild goose"),
        ("fox", "foxes", "a fox"),
        ("finch", "finches", "a finch"),
        ("horse", "horses", "a horse"),
        ("house", "houses", "a house"),
        ("tortoise", "tortoises", "a tortoise"),
        ("vertebrate", "vertebrates", "a vertebrate"),
        ("monkey", "monkeys", "a monkey"),
        ("magpie", "magpies", "a magpie"),
        ("kiwi", "kiwis", "a kiwi"),
        ("emu", "emus", "an emu"),
        ("mantis", "mantises", "a mantis"),
    ],
)
def test_nouns(noun, nouns, with_article):
    assert (plural(noun), singular(nouns), f"{article(noun)} {noun}") == (nouns, noun, with_article)
    rule = parse_sentence(f"All {nouns} are not {nouns}.")
    assert (rule.subject, rule.predicate) == (noun, (noun, True, True))


@pytest.mark.parametrize(
    ("sentence", "read"),
    [
        ("Every butterfly is a lepidopteran.", Rule("Every", "butterfly", ("lepidopteran", True, False))),
        ("Vumpuses are not shy.", Rule("", "vumpus", ("shy", False, True))),
        ("Tumpuses are wumpuses.", Rule("", "tumpus", ("wumpus", True, False))),
        ("All cats are not wumpuses.", Rule("All", "cat", ("wumpus", True, True))),
        ("Mersenne primes are prime.", Rule("", "mersenne prime", ("prime", False, False))),
        ("Each Mersenne prime is a prime number.", Rule("Each", "Mersenne prime", ("prime number", True, False))),
        ("Carnivores are carnivorous.", Rule("", "carnivore", ("carnivorous", False, False))),
        ("Sheep are herbivorous.", Rule("", "sheep", ("herbivorous", False, False))),
        ("Max is not an insect.", Claim("Max", ("insect", True, True))),
        ("131071 is prime.", Claim("131071", ("prime", False, False))),
    ],
)
def test_a_sentence_is_read_and_written_back(sentence, read):
    assert parse_sentence(sentence) == read
    assert parse_sentence(sentence).text == sentence


@pytest.mark.parametrize(
    "sentence",
    [
        *("", ".", "Max", "Max is.", "is a cat.", "Max is a cat", "Max is a  cat.", "Max  is a cat.", "max is a cat."),
        *("Max is an cat.", "Max is a insect.", "Each insect is a unicorns and a cat.", "Max was a cat."),
        *("Tumpuses are wumpus.", "Tumpuses are a wumpus.", "Tumpus are wumpuses.", "Each tumpus are shy."),
        *("Butterflys are small.", "Wumpus's are shy.", "S are shy.", "Each  is shy.", "Each is shy.", "All are shy."),
        *("No cat is shy.", "Everything that is shy is happy.", "Max is not not shy.", "Cats are shy and happy."),
        *("Max is a cät.", "Max is a cat\n.", "Max is a cat. Max is a dog.", f"Max is a {'c' * 31}.", "Max is wumpus."),
    ],
)
def test_what_is_outside_the_grammar_is_refused(sentence):
    with pytest.raises(ValueError, match="outside the grammar"):
        parse_sentence(sentence)


@pytest.mark.parametrize("query", ["Max is shy.", "True or false: Cats are shy.", "true or false: Max is shy.", ""])
def test_what_is_not_a_query_is_refused(query):
    with pytest.raises(ValueError, match="a query is such as"):
        parse_query(query)


# -- rules -----------------------------------------------------------------------------------------
def test_the_state_is_told():
    state = play(TASK, MAX, ["Every rompus is shy.", *PROOF])
    assert TASK.observe(state).splitlines() == [
        MAX.question,
        "True or false: Max is not shy.",
        "Derived: Max is a wumpus. Max is not shy.",
        "Used without effect: Every rompus is shy.",
        "Claim: Max is not shy.",
        "Steps left: 2.",
    ]
    assert TASK.observe(TASK.step(state, "Answer: True")).endswith("Claim: Max is not shy.\nAnswer: True.")
    assert TASK.actions(state) == ("Each tumpus is happy.", "Answer: True", "Answer: False")
    assert TASK.aliases(state) == {"True": "Answer: True", "False": "Answer: False"}


def test_success_needs_the_answer_and_its_proof():
    for proof, answer, told in [
        (PROOF, "True", (True, True, True)),
        (PROOF, "False", (False, False, True)),
        (PROOF[:1], "True", (False, True, False)),
        ([], "False", (False, False, False)),
        (["Each tumpus is happy."], "True", (False, True, False)),
    ]:
        end = play(TASK, MAX, [*proof, f"Answer: {answer}"])
        assert TASK.actions(end) == ()
        assert (TASK.success(end), *TASK.details(end).values()) == told
        assert TASK.log_reward(end) == (0.0 if told[0] else LOG_REWARD_FLOOR)
    assert list(TASK.details(end)) == ["answer_correct", "proof_complete"]


@pytest.mark.parametrize(
    ("rule", "query", "answer"),
    [
        ("Cats are shy.", "Max is shy.", "True"),
        ("Cats are shy.", "Max is not shy.", "False"),
        ("Cats are not shy.", "Max is shy.", "False"),
        ("Cats are not shy.", "Max is not shy.", "True"),
        ("Cats are felines.", "Max is not a feline.", "False"),
        ("Each cat is not a canine.", "Max is a canine.", "False"),
    ],
)
def test_both_polarities(rule, query, answer):
    problem = PrOntoQAProblem(f"{rule} Max is a cat.", f"True or false: {query}")
    TASK.check_problem(problem)
    assert TASK.solve(problem) == (f"{rule} Answer: {answer}",)
    assert TASK.success(play(TASK, problem, [rule, f"Answer: {answer}"]))


def test_a_negated_concept_leads_nowhere():
    task = PrOntoQA(applicable_only=True)
    problem = PrOntoQAProblem(
        "Cats are not dogs. Dogs are loyal. Cats are shy. Max is a cat.", "True or false: Max is shy."
    )
    state = play(task, problem, ["Cats are not dogs."])
    assert task.actions(state) == ("Answer: True", "Answer: False")


def test_a_sentence_that_does_not_apply_is_used_up():
    state = play(TASK, MAX, ["Each wumpus is not shy.", "Tumpuses are wumpuses."])
    assert state.applied == (0,)
    assert "Each wumpus is not shy." not in TASK.actions(state), "it would be needed now"
    with pytest.raises(KeyError):
        TASK.step(state, "Each wumpus is not shy.")
    graph = enumerate_states(TASK, MAX)
    assert graph.best_values()[graph.states.index(state)] == 0


def test_the_horizon_ends_an_episode():
    task = PrOntoQA(hops=2, slack=0)
    end = play(task, MAX, [*PROOF, "Every rompus is shy."])
    assert (task.horizon, task.actions(end), task.success(end)) == (3, (), False)
    with pytest.raises(KeyError):
        task.step(end, "Answer: True")


@pytest.mark.parametrize(
    ("hops", "slack", "rules", "steps"),
    [
        (2, 0, "", 3),
        (5, 0, "", 3),
        (8, 2, "Cats are dogs. Each fox is sly. Each owl is odd. ", 5),
        (5, 0, "Each wumpus is a rompus. Rompuses are not shy. ", 4),
        (2, 0, "Each wumpus is a rompus. Rompuses are not shy. ", 3),
        (5, 0, "Each wumpus is a rompus. ", 3),
    ],
    ids=["as many hops", "fewer hops", "slack", "a longer proof", "a proof longer than hops", "a way to nowhere"],
)
def test_there_is_time_for_the_longest_proof_and_the_slack(hops, slack, rules, steps):
    question = "Tumpuses are wumpuses. Each wumpus is not shy. Max is a tumpus."
    problem = PrOntoQAProblem(question.replace("Max", f"{rules}Max"), "True or false: Max is not shy.")
    task = PrOntoQA(hops=hops, slack=slack)
    task.check_problem(problem)
    assert f"\nSteps left: {steps}." in task.observe(task.reset(problem))
    assert f" of {steps} steps" in task.draw(task.reset(problem)).title
    graph = enumerate_states(task, problem)
    assert max(state.used.bit_count() + bool(state.answer) for state in graph.states) == steps


def applies_by_substring(sentence, claim):
    """The wrong variant: the rule's subject is searched for in the claim's text."""
    rule = parse_sentence(sentence)
    return rule.subject in claim


@pytest.mark.parametrize(
    ("sentence", "claim"),
    [
        ("Each number is imaginary.", "3 is a real number."),
        ("Each prime is odd.", "3 is prime."),
        ("Each cat is shy.", "Max is not a cat."),
        ("Every herb is green.", "Max is herbivorous."),
        ("Each lady is kind.", "Max is a painted lady."),
    ],
)
def test_words_are_compared_whole(sentence, claim):
    assert applies_by_substring(sentence, claim)
    noise = "Each tumpus is happy."
    individual = claim.split()[0]
    first = f"Each tumpus is {claim.split(' is ')[1]}"
    problem = PrOntoQAProblem(
        f"{sentence} {first} {noise} {individual} is a tumpus.", f"True or false: {individual} is happy."
    )
    state = play(TASK, problem, [first])
    assert f"Claim: {claim}" in TASK.observe(state)
    assert TASK.step(state, sentence).applied == state.applied


# -- solutions and exact values --------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 3), st.integers(0, 2), st.integers(0, 2), st.booleans(), st.booleans())
def test_solve_is_enumeration(seed, hops, shortcuts, slack, true, applicable_only):
    task = PrOntoQA(
        hops=hops,
        distractors=2,
        shortcuts=min(shortcuts, hops - 1),
        slack=slack,
        ontology="true" if true else "fictional",
        applicable_only=applicable_only,
    )
    problem = task.problems().sample(np.random.default_rng(seed))
    assert enumerate_states(task, problem).solutions == task.solve(problem)


def test_wasted_and_later_sentences_make_no_new_solution():
    problem = PrOntoQAProblem(
        "Cats are felines. Felines are mammals. Mammals are furry. Max is a cat.", "True or false: Max is a feline."
    )
    name = "Cats are felines. Answer: True"
    assert TASK.solve(problem) == (name,)
    for actions in (["Cats are felines."], ["Mammals are furry.", "Cats are felines.", "Felines are mammals."]):
        end = play(TASK, problem, [*actions, "Answer: True"])
        assert (TASK.success(end), TASK.solution(end)) == (True, name)


@pytest.mark.parametrize(("hops", "proofs"), [(1, 1), (2, 2), (3, 3), (4, 5), (8, 34)])
def test_shortcuts_make_fibonacci_many_proofs(hops, proofs):
    task = PrOntoQA(hops=hops, shortcuts=hops - 1)
    for ontology in ("fictional", "true"):
        task = PrOntoQA(hops=hops, shortcuts=hops - 1, ontology=ontology)
        problem = task.problems().sample(np.random.default_rng(hops))
        assert len(task.solve(problem)) == proofs
        assert truth_values(problem) == {read_theory(problem.question, problem.query).answer == "True"}


def chance(task, problem):
    """Returns the random player's success: an independent recursion over the oracle's sentences, no states."""
    fact, implications, (_, asked) = oracle(problem)

    @cache
    def value(claim, unused, proved, left):
        if left == 0:
            return Fraction(0)
        offered = [r for r in unused if implications[r][0] == claim] if task.applicable_only else unused
        total = Fraction(proved)  # of the two answers, one is right
        for rule in offered:
            before, after = implications[rule]
            now = after if before == claim else claim
            total += value(now, unused - {rule}, proved or now[1] == asked, left - 1)
        return total / (len(offered) + 2)

    return value(fact, frozenset(implications), False, longest_proof(task, problem) + 1 + task.slack)


def longest_proof(task, problem):
    """Returns the most rules of a proof, at most task.hops, from the oracle's sentences: all walks, tried."""
    fact, implications, (_, asked) = oracle(problem)
    claims, longest = {fact}, 0
    for rules in range(1, task.hops + 1):
        claims = {after for before, after in implications.values() if before in claims}
        longest = rules if any(now[1] == asked for now in claims) else longest
        claims = {now for now in claims if now[1] != asked}
    return longest


@pytest.mark.parametrize("applicable_only", [False, True])
def test_chance_of_small_problems_is_that_of_the_recursion(applicable_only):
    task = PrOntoQA(hops=2, distractors=2, shortcuts=1, slack=1, applicable_only=applicable_only)
    for problem in task.problems().take(5, np.random.default_rng(0)):
        exact = analyse(task, problem)
        assert exact.chance == pytest.approx(float(chance(task, problem)), abs=1e-12)
        assert (exact.optimum, exact.n_solutions) == (1, 2)


def test_chance_by_hand():
    problem = PrOntoQAProblem("Cats are shy. Max is a cat.", "True or false: Max is shy.")
    for task in (PrOntoQA(hops=1), PrOntoQA(hops=1, slack=0, applicable_only=True)):
        assert analyse(task, problem).chance == pytest.approx(1 / 6), "the rule (1 of 3), then the answer (1 of 2)"


@pytest.mark.parametrize(
    "task",
    [
        SMALL,
        PrOntoQA(hops=2, distractors=2, shortcuts=1, slack=2),
        PrOntoQA(hops=3, distractors=3, applicable_only=True, ontology="true", shortcuts=2),
        PrOntoQA(hops=1, distractors=0, slack=0, negation=False),
    ],
    ids=str,
)
def test_the_contract_holds(task):
    checks = check_task(task, task.problems().take(3, np.random.default_rng(1)))
    assert [check for check in checks if not check.passed or check.reason] == []


def test_the_contract_holds_for_the_largest_sizes():
    task = PrOntoQA(hops=8, distractors=20, shortcuts=7, slack=20)
    checks = check_task(task, task.problems().take(2, np.random.default_rng(1)), limit=100)
    assert [check for check in checks if not check.passed] == []


@dataclass(frozen=True)
class NoParents(PrOntoQA):
    """Says that states contain their history, which is false: the order of wasted sentences is lost."""

    def parents(self, state):
        return None


@dataclass(frozen=True)
class UnreachableParents(PrOntoQA):
    """Counts states in which a rule that applies to the given fact was wasted before any was applied."""

    def parents(self, state):
        edges = super().parents(state)
        if len(state.applied) == 1 and not state.answer and len(edges) < state.used.bit_count():
            sentence = read_theory(state.problem.question, state.problem.query).sentences[state.applied[0]]
            return (*edges, (PrOntoQAState(state.problem, (), state.used ^ 1 << state.applied[0]), sentence))
        return edges


@pytest.mark.parametrize(
    ("task_type", "rule"),
    [(NoParents, "histories merge only with parents"), (UnreachableParents, "parents are the incoming edges")],
)
def test_wrong_parents_are_found(task_type, rule):
    checks = check_task(task_type(hops=2, distractors=3), [MAX])
    assert [check.name for check in checks if not check.passed] == [rule]


# -- problems --------------------------------------------------------------------------------------
def test_the_same_seed_gives_the_same_problem():
    one, two = (TASK.problems().sample(np.random.default_rng(5)) for _ in range(2))
    assert (one, one.id) == (two, two.id)
    assert list(one.to_json()) == ["question", "query"], "neither answer nor proof is stored"


def test_answers_are_balanced_and_the_surface_does_not_tell():
    rng = np.random.default_rng(0)
    problems = [TASK.problems().sample(rng) for _ in range(300)]
    true = [read_theory(p.question, p.query).answer == "True" for p in problems]
    assert 110 < sum(true) < 190
    for problem in problems:
        _, implications, (_, asked) = oracle(problem)
        signs = {sign for _, (sign, stem) in implications.values() if stem == asked}
        assert signs == {True, False}, "a concept off the chain has the opposite property"


@pytest.mark.parametrize(
    "world", [true_world(), fictional_world(np.random.default_rng(0), negation=True)], ids=["true", "fictional"]
)
def test_a_world_says_no_property_twice_on_the_way_up(world):
    for concept in {*world.above, *world.above.values()}:
        lineage = world.lineage(concept)
        said = [t.predicate.name for t in world.traits if t.subject in lineage]
        assert len(set(said)) == len(said), concept
    assert {t.subject for t in world.traits} <= {*world.above, *world.above.values(), "amoeba"}


def renamed(text):
    names = {
        "tumpus": "fox",
        "wumpus": "painted lady",
        "rompus": "impus",
        "shy": "carnivorous",
        "happy": "red",
        "Max": "7",
    }
    for old, new in names.items():
        text = text.replace(f"{old[:1].upper()}{old[1:]}es", plural(new).capitalize()).replace(f"{old}es", plural(new))
        text = re.sub(rf"\ban? {old}\b", f"{article(new)} {new}", text)
        text = re.sub(rf"\b{old}\b", new, text)
    return text


def test_canonical_does_not_depend_on_order_wording_and_names():
    *rules, fact = MAX.question.split(". ")
    shuffled = PrOntoQAProblem(". ".join([fact.removesuffix("."), *reversed(rules)]) + ".", MAX.query)
    reworded = PrOntoQAProblem(MAX.question.replace("Every rompus is", "Rompuses are"), MAX.query)
    other_names = PrOntoQAProblem(renamed(MAX.question), renamed(MAX.query))
    assert other_names.question.startswith(
        "Foxes are painted ladies. Each painted lady is not carnivorous. Every impus"
    )
    variants = [shuffled, reworded, other_names]
    assert {p.canonical for p in variants} == {MAX.canonical}
    assert len({p.id for p in (*variants, MAX)}) == 4
    for problem in (
        PrOntoQAProblem(MAX.question, "True or false: Max is shy."),
        PrOntoQAProblem(MAX.question, "True or false: Max is happy."),
        PrOntoQAProblem(MAX.question.replace("Every rompus is shy", "Every rompus is happy"), MAX.query),
        PrOntoQAProblem(MAX.question.replace("is not shy", "is shy"), MAX.query),
    ):
        assert problem.canonical != MAX.canonical


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hops": 0}, "hops must be an integer from 1 to 8, got 0"),
        ({"hops": 9}, "hops must be an integer"),
        ({"hops": 2.0}, "hops must be an integer"),
        ({"distractors": True}, "distractors must be an integer"),
        ({"slack": -1}, "slack must be an integer"),
        ({"hops": 2, "shortcuts": 2}, "2 hops has 1 shortcuts, got shortcuts=2"),
        ({"ontology": "false"}, "ontology must be one of"),
        ({"negation": 1}, "negation must be True or False"),
    ],
    ids=str,
)
def test_wrong_options_get_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        PrOntoQA(**options)


@pytest.mark.parametrize(
    ("question", "query", "sentence"),
    [
        ("Cats are shy. Max is a cat.", "Max is shy?", "a query is such as"),
        ("Cats are shy and happy. Max is a cat.", "True or false: Max is shy.", "'Cats are shy and happy.' is outside"),
        ("Cats are shy.", "True or false: Max is shy.", "exactly one fact about Max must be given, got: none"),
        ("Cats are shy. Rex is a cat.", "True or false: Max is shy.", "exactly one fact about Max"),
        ("Cats are shy. Max is a cat. Max is a dog.", "True or false: Max is shy.", "Max is a cat. Max is a dog."),
        ("Cats are shy. Cats are shy. Max is a cat.", "True or false: Max is shy.", "given more than once"),
        ("Cats are dogs. Dogs are cats. Cats are shy. Max is a cat.", "True or false: Max is shy.", "in a circle"),
        ("Cats are cats. Cats are shy. Max is a cat.", "True or false: Max is shy.", "in a circle"),
        ("Cats are shy. Max is a cat.", "True or false: Max is happy.", "neither it nor its negation can be derived"),
        ("Cats are shy. Each cat is not shy. Max is a cat.", "True or false: Max is shy.", "both it and its negation"),
        ("Cats are shy. Max is a cat.", "True or false: Max is not a cat.", "nothing to derive"),
        ("Cats are b. B is a cat. A b is a c.", "True or false: B is b.", "outside the grammar"),
        (["Cats are shy."], "True or false: Max is shy.", "'question' must be a text"),
        ("Cats are shy. Max is a cat.", None, "'query' must be a text, got 'None'"),
    ],
    ids=str,
)
def test_wrong_problems_get_one_sentence(question, query, sentence):
    with pytest.raises(ValueError, match=sentence):
        TASK.problem_from_json({"question": question, "query": query})


def test_problems_that_exceed_the_options_name_the_option():
    problem = PrOntoQA(hops=3, distractors=4).problems().sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"has 7 rules.*pass distractors=4 for such problems"):
        PrOntoQA(hops=3, distractors=1).check_problem(problem)
    with pytest.raises(ValueError, match="shortest proof has 3 rules, more than hops=2; pass hops=3"):
        PrOntoQA(hops=2).check_problem(problem)
    with pytest.raises(ValueError, match="have the fields"):
        TASK.problem_from_json({"question": MAX.question})
    with pytest.raises(ValueError, match="unknown field 'answer'"):
        TASK.problem_from_json({**MAX.to_json(), "answer": "True"})


# -- published files -------------------------------------------------------------------------------
EXAMPLE = {"question": MAX.question, "query": MAX.query, "chain_of_thought": [], "answer": "True"}


def write(folder, value):
    path = folder / "problems.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ([], "must hold a JSON object"),
        ({}, "has no problems"),
        ({"example1": {}}, "example 'example1': there is no 'test_example'"),
        ({"example1": 3}, "there is no 'test_example'"),
        ({"a": {"test_example": {"query": "", "answer": "True"}}}, "example 'a': 'test_example' has no 'question'"),
        ({"a": {"test_example": {**EXAMPLE, "answer": "False"}}}, "given as 'False', the rules prove 'True'"),
        ({"a": {"test_example": {**EXAMPLE, "answer": True}}}, "the rules prove 'True'"),
        ({"a": {"test_example": {**EXAMPLE, "query": 3}}}, "example 'a': 'query' must be a text"),
        ({"a": {"test_example": {**EXAMPLE, "question": "Hello."}}}, "example 'a': 'Hello.' is outside the grammar"),
    ],
    ids=str,
)
def test_wrong_files_get_one_sentence(tmp_path, content, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        load_problems(TASK, write(tmp_path, content))
    assert "\n" not in str(error.value)


def test_a_file_is_read(tmp_path):
    example = {**EXAMPLE, "question": f"  {MAX.question}\n"}
    assert load_problems(TASK, write(tmp_path, {"one": {"test_example": example}})).problems == (MAX,)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(MAX.question) | st.just(MAX.query),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["test_example", "question", "query", "answer"]) | st.text(), inner, max_size=4
        )
    ),
    max_leaves=8,
)
WORDS = "Each Every All Cats cat cats is are not a an shy Max True or false: dogs . ' ous s é 7 - \n"
words = st.sampled_from(WORDS.split(" "))
near_sentences = st.lists(words, max_size=12).map(" ".join)


def refusal(read, *arguments):
    """Returns the sentence of a refusal, nothing where the input is read; any other error is a failure."""
    try:
        read(*arguments)
    except ValueError as error:
        return str(error)
    return ""


@settings(max_examples=100, deadline=None)
@given(value=json_values | st.fixed_dictionaries({"a": st.fixed_dictionaries({"test_example": json_values})}))
def test_hostile_json_is_read_or_refused(tmp_path_factory, value):
    path = write(tmp_path_factory.mktemp("fuzz"), value)
    assert "\n" not in refusal(load_problems, TASK, path)


@settings(max_examples=300, deadline=None)
@given(near_sentences | st.text(max_size=40))
def test_hostile_text_is_read_or_refused(text):
    sentence = text.replace(" .", ".") + "."
    assert "\n" not in refusal(parse_sentence, sentence)
    problem = {"question": f"{sentence} {MAX.question}", "query": MAX.query}
    assert "\n" not in refusal(TASK.problem_from_json, problem)


@pytest.fixture(scope="module")
def published(published_data):
    return published_data / "prontoqa" / "345hop_train.json"


def test_published_sentences_are_read_and_written_back(published):
    examples = [e for group in json.loads(published.read_text()).values() for e in group.values()]
    assert len(examples) == 180
    for example in examples:
        for sentence in (*example["question"].replace(". ", ".|").split("|"), *example["chain_of_thought"]):
            assert parse_sentence(sentence).text == sentence
        assert read_theory(example["question"], example["query"]).answer == example["answer"]


def test_published_chains_of_thought_are_legal_proofs(published):
    examples = [group["test_example"] for group in json.loads(published.read_text()).values()]
    problems = load_problems(TASK, published)
    assert len(problems) == 20
    for task in (TASK, PrOntoQA(applicable_only=True)):
        for problem, example in zip(problems, examples, strict=True):
            state, (fact, *lines) = task.reset(problem), example["chain_of_thought"]
            assert f"\nClaim: {fact}\n" in task.observe(state)
            for rule, claim in zip(lines[::2], lines[1::2], strict=True):
                assert rule in task.actions(state)
                state = task.step(state, rule)
                assert f"\nClaim: {claim}\n" in task.observe(state)
            end = task.step(state, f"Answer: {example['answer']}")
            assert task.success(end)
            assert task.solve(problem) == (task.solution(end),)


def test_published_problems_have_exact_values(published):
    problems = list(load_problems(TASK, published))
    first = analyse(TASK, problems[0])
    assert (first.optimum, first.n_solutions, first.n_states) == (1, 1, 1693)
    assert chance(TASK, problems[0]) == Fraction(13, 9504)
    assert first.chance == pytest.approx(13 / 9504, abs=1e-12)
    assert float(np.mean([float(chance(TASK, p)) for p in problems])) == pytest.approx(0.000539, abs=5e-7)
    easy = PrOntoQA(applicable_only=True)
    exact = [analyse(easy, problem) for problem in problems]
    assert {a.optimum for a in exact} == {1}
    assert [a.chance for a in exact] == pytest.approx([float(chance(easy, p)) for p in problems], abs=1e-12)
