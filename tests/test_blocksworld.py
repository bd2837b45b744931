"""BlocksWorld: exact distances and plans against plain search, renaming, published files, hostile PDDL."""

import itertools
import json
import math
import re
import sys
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfn_envs.checks import check_task
from gfn_envs.exact import EnumerationLimit, analyse, enumerate_states
from gfn_envs.problems import load_problems, save_problems, split_of
from gfn_envs.tasks import blocksworld_pddl
from gfn_envs.tasks.blocksworld import BlocksWorld, BlocksWorldProblem, shortest_length
from gfn_envs.tasks.blocksworld_pddl import LETTERS, read_pddl
from gfn_envs.tasks.blocksworld_search import ANY, HAND, TABLE, depths, distance, draw_arrangement, make_goal
from gfn_envs.tasks.blocksworld_search import moves as legal_moves
from gfn_envs.tasks.blocksworld_search import place as moved

COLOURS = tuple(LETTERS)
SWAP = BlocksWorldProblem((("red", "blue"), ("orange",)), ("on red blue",))
"""Blue stands on red, and red is wanted on blue: four steps."""


# -- an oracle written differently: STRIPS operators over sets of facts -----------------------------
def operators(blocks):
    """Yields preconditions, added and deleted facts of every ground operator, as in domain.pddl."""
    for x in blocks:
        clear, table, held = f"clear {x}", f"ontable {x}", f"holding {x}"
        yield {clear, table, "handempty"}, {held}, {clear, table, "handempty"}
        yield {held}, {clear, "handempty", table}, {held}
        for y in blocks:
            if x != y:
                on, under = f"on {x} {y}", f"clear {y}"
                yield {under, held}, {"handempty", clear, on}, {under, held}
                yield {on, clear, "handempty"}, {held, under}, {on, clear, "handempty"}


def facts_of(start):
    facts = {"handempty"}
    for stack in start:
        facts |= {f"ontable {stack[0]}", f"clear {stack[-1]}"}
        facts |= {f"on {upper} {lower}" for lower, upper in itertools.pairwise(stack)}
    return frozenset(facts)


def reachable_facts(start):
    """Yields all states layer by layer, as lists of sets of facts."""
    ground = list(operators([block for stack in start for block in stack]))
    seen, layer = set(), {facts_of(start)}
    while layer:
        yield layer
        seen |= layer
        layer = {s - delete | add for s in layer for pre, add, delete in ground if pre <= s} - seen


def searched_length(start, goal):
    return next(depth for depth, layer in enumerate(reachable_facts(start)) if any(set(goal) <= s for s in layer))


@pytest.mark.parametrize(("blocks", "states"), [(3, 22), (4, 125), (5, 866), (6, 7057)])
def test_known_numbers_of_states(blocks, states):
    assert len(depths((TABLE,) * blocks)) == states
    if blocks <= 4:
        start = [(colour,) for colour in COLOURS[:blocks]]
        assert sum(len(layer) for layer in reachable_facts(start)) == states


def test_the_rules_reach_every_state():
    task, problem = BlocksWorld(blocks=3, length=4, slack=6, ending="horizon"), SWAP
    graph = enumerate_states(task, problem, limit=200_000)
    assert len({state.position for state in graph.states}) == 22


# -- distances -------------------------------------------------------------------------------------
def problems(blocks, count, seed):
    """Returns generated problems of every length."""
    rng = np.random.default_rng(seed)
    tasks = [BlocksWorld(blocks=blocks, length=length) for length in range(2, 4 * blocks - 3, 2)]
    return [tasks[i % len(tasks)].problems().sample(rng) for i in range(count)]


def random_goal(start, rng):
    """Returns some facts, of every kind, of some arrangement of the blocks."""
    blocks = sorted(block for stack in start for block in stack)
    wanted = draw_arrangement(len(blocks), rng)
    facts = [f"on {blocks[b]} {blocks[u]}" if u >= 0 else f"ontable {blocks[b]}" for b, u in enumerate(wanted)]
    facts += [f"clear {block}" for b, block in enumerate(blocks) if b not in wanted] + ["handempty"]
    kept = [fact for fact in facts if rng.random() < 0.4]
    return tuple(kept or facts[:1])


def test_lengths_agree_with_plain_search_on_generated_problems():
    for problem in [*problems(3, 15, 0), *problems(4, 35, 1)]:
        assert problem.length == searched_length(problem.start, problem.goal), problem.id


def test_lengths_agree_with_plain_search_on_goals_of_every_kind():
    rng, lengths = np.random.default_rng(2), Counter()
    for problem in problems(4, 120, 3):
        goal = random_goal(problem.start, rng)
        expected = searched_length(problem.start, goal)
        lengths[expected] += 1
        if expected == 0:
            with pytest.raises(ValueError, match="nothing to do"):
                BlocksWorldProblem(problem.start, goal)
        else:
            assert BlocksWorldProblem(problem.start, goal).length == expected, (problem.start, goal)
    assert min(lengths[1], lengths[3]) > 0, "goals that end with a block in the hand must be among them"


def test_distances_are_exact_from_every_state():
    rng = np.random.default_rng(4)
    states = depths((TABLE,) * 4)
    for _ in range(20):
        wanted = draw_arrangement(4, rng)
        under = tuple(u if rng.random() < 0.6 else ANY for u in wanted)
        clear = frozenset(b for b in range(4) if b not in wanted and rng.random() < 0.4)
        goal = make_goal(under, clear, hand_empty=bool(rng.random() < 0.2))
        for state in states:  # zero at the goal, and one nearer neighbour everywhere else: the distance, no other
            near = [distance(moved(state, m.block, m.target), goal) for m in legal_moves(state)]
            told = distance(state, goal)
            assert all(abs(told - other) <= 1 for other in near)
            assert told == 0 or min(near) == told - 1


def test_twelve_blocks():
    rng = np.random.default_rng(5)
    for _ in range(20):
        state, wanted = draw_arrangement(12, rng), draw_arrangement(12, rng)
        goal = make_goal(tuple(u if u >= 0 else ANY for u in wanted))
        for left in reversed(range(distance(state, goal))):
            after = [moved(state, m.block, m.target) for m in legal_moves(state)]
            assert all(distance(other, goal) >= left for other in after)
            state = next(other for other in after if distance(other, goal) == left)
        assert all(u in (ANY, here) for u, here in zip(goal.under, state, strict=True))


# -- plans -----------------------------------------------------------------------------------------
def walk(task, problem, plan):
    state = task.reset(problem)
    for action in plan:
        state = task.step(state, action)
    return state


@pytest.mark.parametrize("ending", ["goal", "horizon"])
@pytest.mark.parametrize("slack", [0, 1, 2])
def test_solve_is_enumeration(ending, slack):
    small = [p for p in problems(3, 8, 6) if p.length <= 6] + [p for p in problems(4, 12, 7) if p.length <= 4]
    clear = BlocksWorldProblem((("red", "blue"), ("orange",)), ("clear red",))
    for problem in [*small, SWAP, clear]:
        task = BlocksWorld(length=problem.length, slack=slack, ending=ending)
        graph = enumerate_states(task, problem)
        assert task.solve(problem) == graph.solutions, problem.id
        assert task.count_plans(problem) == len(graph.solutions)
        simple = 0
        for end in (graph.states[index] for index in graph.terminals if graph.successes[index]):
            positions = [walk(task, problem, end.plan[:n]).position for n in range(len(end.plan) + 1)]
            simple += len(set(positions)) == len(positions)
        assert task.count_plans(problem, revisits=False) == simple


def test_shortest_plans_of_a_swap():
    assert BlocksWorld().solve(SWAP) == (
        "(unstack blue red) (put-down blue) (pick-up red) (stack red blue)",
        "(unstack blue red) (stack blue orange) (pick-up red) (stack red blue)",
    )
    analysis = analyse(BlocksWorld(), SWAP)
    assert (analysis.n_solutions, analysis.optimum) == (2, 1.0)
    by_hand = 1 / 2 * (1 / 3 * 1 / 3 * 1 / 3 + 1 / 3 * 1 / 2 * 1 / 2)
    assert analysis.chance == pytest.approx(by_hand, abs=1e-12)


def test_many_plans_are_counted_at_once_but_not_listed():
    start = tuple((colour,) for colour in COLOURS)
    pairs = tuple(f"on {COLOURS[i]} {COLOURS[i + 1]}" for i in range(0, 12, 2))
    assert BlocksWorld(blocks=12, length=12).count_plans(BlocksWorldProblem(start, pairs)) == math.factorial(6)
    task = BlocksWorld(slack=30, ending="horizon")
    assert task.count_plans(SWAP) > 10**9
    with pytest.raises(EnumerationLimit, match="use less slack"):
        task.solve(SWAP)


# -- the contract ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "task",
    [
        BlocksWorld(),
        BlocksWorld(slack=1),
        BlocksWorld(blocks=3, length=4, slack=2, ending="horizon"),
        BlocksWorld(blocks=8, length=14),
        BlocksWorld(blocks=12, length=28),
    ],
    ids=str,
)
def test_the_contract(task):
    family, rng = task.problems(), np.random.default_rng(0)
    failed = [c for c in check_task(task, [family.sample(rng) for _ in range(3)], limit=5_000) if not c.passed]
    assert not failed


def test_an_episode_is_over_at_the_goal_or_after_its_steps():
    plan = ["unstack the blue block from on top of the red block", "put down the blue block"]
    plan += ["pick up the red block", "stack the red block on top of the blue block"]
    for task, over in [(BlocksWorld(slack=2), True), (BlocksWorld(slack=2, ending="horizon"), False)]:
        state = walk(task, SWAP, plan)
        assert (task.success(state), not task.actions(state)) == (True, over)
        if over:
            with pytest.raises(KeyError):
                task.step(state, "pick up the orange block")
    state = walk(BlocksWorld(), SWAP, ["pick up the orange block", "put down the orange block"] * 2)
    assert not BlocksWorld().actions(state)
    assert BlocksWorld().log_reward(state) == math.log(1e-4)
    assert not BlocksWorld(ending="horizon").success(state)


def test_goal_states_are_passed_through_with_the_ending_horizon():
    task = BlocksWorld(blocks=3, length=2, slack=2, ending="horizon")
    problem = BlocksWorldProblem((("red",), ("blue",), ("orange",)), ("on red blue",))
    assert "(pick-up red) (stack red blue) (pick-up orange) (put-down orange)" in task.solve(problem)
    assert "(pick-up red) (stack red blue) (pick-up orange) (stack orange red)" in task.solve(problem)


# -- texts -----------------------------------------------------------------------------------------
def test_texts_are_those_of_the_literature():
    task = BlocksWorld()
    problem = BlocksWorldProblem((("blue", "red"), ("orange", "yellow")), ("on orange red",))
    state = task.reset(problem)
    assert task.observe(state) == (
        "Goal: the orange block is on top of the red block.\n"
        "State: the red block is clear, the yellow block is clear, the hand is empty, the red block is on top of the "
        "blue block, the yellow block is on top of the orange block, the blue block is on the table and the orange "
        "block is on the table.\nSteps left: 4."
    )
    assert task.actions(state) == (
        "unstack the red block from on top of the blue block",
        "unstack the yellow block from on top of the orange block",
    )
    state = task.step(state, "unstack the yellow block from on top of the orange block")
    assert task.actions(state) == (
        "put down the yellow block",
        "stack the yellow block on top of the red block",
        "stack the yellow block on top of the orange block",
    )
    assert "the yellow block is in the hand, the hand is holding the yellow block, " in task.observe(state)
    assert "Steps left: 3; the goal must hold after the last one." in BlocksWorld(ending="horizon").observe(state)


def test_aliases():
    task = BlocksWorld()
    state = task.step(task.reset(SWAP), "pick up the orange block")
    aliases = task.aliases(state)
    for text in ("(stack orange blue)", "stack orange blue", "(stack c b)", "stack c b"):
        assert aliases[text] == "stack the orange block on top of the blue block"
    assert aliases["(put-down orange)"] == aliases["put down orange"] == "put down the orange block"
    assert "stack orange red" not in aliases


def test_pictures():
    task = BlocksWorld()
    problem = BlocksWorldProblem((("red", "blue"), ("orange",)), ("on red blue", "ontable blue"))
    state = task.step(task.reset(problem), "pick up the orange block")
    lines = task.render_text(state).splitlines()
    assert [line.split() for line in lines[:3]] == [["State", "Goal"], ["blue", "red"], ["red", "blue"]]
    assert "Hand: orange" in lines
    assert "..." in task.render_text(task.reset(SWAP)), "what blue stands on is left open"


# -- renaming --------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.permutations(COLOURS))
def test_renaming_blocks_keeps_canonical_name_and_split(seed, count, names):
    rng = np.random.default_rng(seed)
    start = stacks_of(draw_arrangement(count, rng), COLOURS)
    goal = random_goal(start, rng)
    if set(goal) <= facts_of(start):
        return
    problem = BlocksWorldProblem(start, goal)
    new = dict(zip(COLOURS, names, strict=True))
    stacks = [[new[block] for block in stack] for stack in start]
    order = rng.permutation(len(stacks))
    renamed = BlocksWorldProblem(
        [stacks[i] for i in order], [" ".join(new.get(w, w) for w in fact.split()) for fact in reversed(goal)]
    )
    assert renamed.canonical == problem.canonical
    assert renamed.length == problem.length
    assert split_of(renamed) == split_of(problem)


def stacks_of(below, names):
    """Returns the stacks of an arrangement of numbered blocks."""
    stacks = [[b] for b, under in enumerate(below) if under == TABLE]
    for stack in stacks:
        for block in stack:
            stack += [b for b, under in enumerate(below) if under == block]
    return tuple(tuple(names[b] for b in stack) for stack in stacks)


def test_canonical_names_are_exactly_the_classes_of_renaming():
    arrangements = [state for state in depths((TABLE,) * 4) if HAND not in state]
    assert len(arrangements) == 73
    classes = {}
    for start, wanted in itertools.product(arrangements, repeat=2):
        goal = [f"on {COLOURS[b]} {COLOURS[u]}" for b, u in enumerate(wanted) if u >= 0]
        stacks = stacks_of(start, COLOURS)
        if set(goal) <= facts_of(stacks):
            continue
        images = []
        for names in itertools.permutations(range(4)):
            images.append(tuple(sorted((names[b], names[u] if u >= 0 else u) for b, u in enumerate(start))))
            images[-1] += tuple(sorted((names[b], names[u]) for b, u in enumerate(wanted) if u >= 0))
        classes.setdefault(min(images), set()).add(BlocksWorldProblem(stacks, goal).canonical)
    assert all(len(names) == 1 for names in classes.values())
    assert len(set.union(*classes.values())) == len(classes)


# -- generated problems ----------------------------------------------------------------------------
def test_arrangements_are_drawn_uniformly():
    rng = np.random.default_rng(8)
    counts = Counter(draw_arrangement(3, rng) for _ in range(13_000))
    assert len(counts) == 13
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 40, "chi-square, 12 degrees of freedom"


def test_generated_problems_are_uniform_over_all_pairs_of_their_length():
    arrangements = [state for state in depths((TABLE,) * 3) if HAND not in state]
    expected = set()
    for start, wanted in itertools.product(arrangements, repeat=2):
        goal = tuple(f"on {COLOURS[b]} {COLOURS[u]}" for b, u in enumerate(wanted) if u >= 0)
        stacks = stacks_of(start, COLOURS)
        if goal and searched_length(stacks, goal) == 4:
            expected.add(BlocksWorldProblem(stacks, goal).id)
    family, rng = BlocksWorld(blocks=3, length=4).problems(), np.random.default_rng(9)
    counts = Counter(family.sample(rng).id for _ in range(100 * len(expected)))
    assert set(counts) == expected
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 90, "chi-square, 35 degrees of freedom"


@pytest.mark.parametrize(("blocks", "length"), [(3, 4), (4, 6), (6, 20), (7, 14), (9, 18)])
def test_generated_problems_have_the_length_asked_for(blocks, length):
    family = BlocksWorld(blocks=blocks, length=length).problems()
    for part in (family, family.split("train")):
        drawn = [part.sample(np.random.default_rng(seed)) for seed in (1, 1, 2)]
        assert drawn[0] == drawn[1]
        for problem in drawn:
            assert problem.length == shortest_length(problem) == length
            assert sum(map(len, problem.start)) == blocks


def test_problems_survive_json_lines(tmp_path):
    kept = [*problems(4, 6, 10), SWAP]
    save_problems(kept, tmp_path / "p.jsonl")
    assert load_problems(BlocksWorld(length=12), tmp_path / "p.jsonl").problems == tuple(kept)


# -- files -----------------------------------------------------------------------------------------
PDDL = """(define (problem BW-rand-3)
(:domain blocksworld-4ops)
(:objects a b c )
(:init
(handempty)
(ontable a)
(on b a)
(ontable c)
(clear b)
(clear c)
)
(:goal
(and
(on a b))
)
)
"""


@pytest.fixture
def pddl_library():
    return pytest.importorskip("pddl", reason="needs gfn-gym[pddl]")


def write_list(folder, plan, length=4, name="somebody/else/one.pddl", text=PDDL):
    (folder / "pddl").mkdir(exist_ok=True)
    (folder / "pddl" / "one.pddl").write_text(text)
    (folder / "list.json").write_text(json.dumps([[name, plan, length]]))
    return folder / "list.json"


PLAN = "(unstack blue red)\n(put-down blue)\n(pick-up red)\n(stack red blue)\n"


@pytest.mark.usefixtures("pddl_library")
def test_a_list_and_a_pddl_file_load(tmp_path):
    path = write_list(tmp_path, PLAN)
    assert load_problems(BlocksWorld(), path).problems == (SWAP,)
    assert load_problems(BlocksWorld(), tmp_path / "pddl" / "one.pddl").problems == (SWAP,)
    write_list(tmp_path, PLAN.replace("blue", "b").replace("red", "a"), name="one.pddl")
    assert load_problems(BlocksWorld(), path).problems == (SWAP,)
    coloured = re.sub(r"(?<=[ (])([abc])(?=[ )])", lambda name: blocksworld_pddl.COLOURS[name[1]], PDDL)
    assert "(on blue red)" in coloured
    write_list(tmp_path, PLAN, text=coloured)
    assert load_problems(BlocksWorld(), path).problems == (SWAP,)


@pytest.mark.usefixtures("pddl_library")
def test_a_longer_plan_needs_slack(tmp_path):
    longer = "(pick-up orange)\n(put-down orange)\n" + PLAN
    path = write_list(tmp_path, longer, length=6)
    with pytest.raises(ValueError, match=r"entry 1: the plan has 6 steps and the shortest 4; pass slack=2"):
        load_problems(BlocksWorld(), path)
    assert load_problems(BlocksWorld(slack=2), path).problems == (SWAP,)


@pytest.mark.usefixtures("pddl_library")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"plan": "(unstack blue orange)"}, r"entry 1: the plan's '\(unstack blue orange\)' is not legal"),
        ({"plan": "(unstack blue red)"}, "does not reach the goal"),
        ({"plan": ""}, "does not reach the goal"),
        ({"plan": PLAN, "length": 3}, "more than its length 3"),
        ({"plan": PLAN, "length": "4"}, r"expected \[pddl path, plan, length\]"),
        ({"plan": 4}, r"expected \[pddl path, plan, length\]"),
        ({"plan": PLAN, "name": "two.pddl"}, "there is no 'two.pddl'"),
        ({"plan": PLAN, "name": ".."}, r"there is no '\.\.'"),
        ({"plan": PLAN, "text": "("}, r"one\.pddl': not a PDDL problem"),
    ],
    ids=str,
)
def test_wrong_lists_get_one_sentence(tmp_path, arguments, sentence):
    path = write_list(tmp_path, **arguments)
    with pytest.raises(ValueError, match=sentence):
        load_problems(BlocksWorld(), path)


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", "[" * 10_000, "1" * 5000], ids=range(6))
def test_what_is_no_list_gets_one_sentence(tmp_path, text):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ValueError, match=r"list\.json"):
        load_problems(BlocksWorld(), tmp_path / "list.json")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=r"not a \.jsonl, \.json or \.pddl file"):
        load_problems(BlocksWorld(), tmp_path / "list.txt")


@pytest.mark.usefixtures("pddl_library")
@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("(on a b))\n)\n)", "", "not a PDDL problem"),
        ("define (problem", "define (domain", "not a PDDL problem"),
        ("(clear c)", "(clean c)", r"'\(clean c\)' in the start is no fact of BlocksWorld"),
        ("(clear c)", "(clear c a)", r"'\(clear c a\)' in the start is no fact"),
        ("(clear c)", "", r"do not describe one arrangement of the blocks; see \(clear orange\)"),
        ("(clear c)", "(clear c) (clear a)", r"see \(clear red\)"),
        ("(clear c)", "(clear c) (not (clear a))", "the start may have facts only"),
        ("(ontable c)", "(on c b)", "do not describe one arrangement"),
        ("(ontable c)", "(on c a)", "do not describe one arrangement"),
        ("(ontable c)", "(on c d)", "the start names 'd', which is not among the objects"),
        ("(ontable c)", "(on a b)", "do not describe one arrangement"),
        ("(handempty)", "", "the hand must be empty"),
        ("(handempty)", "(handempty) (holding c)", "the hand must be empty"),
        ("(on a b))", "(on a d))", "the goal names 'd', which is not among the objects"),
        ("(on a b))", "(on a b) (on b a))", "would be above itself"),
        ("(on a b))", "(on a a))", "would be above itself"),
        ("(on a b))", "(on a b) (on a c))", "contradicts another of its facts"),
        ("(on a b))", "(on a b) (clear b))", "contradicts another of its facts"),
        ("(on a b))", "(on a b) (ontable a))", "contradicts another of its facts"),
        ("(on a b))", "(or (on a b)))", "not a PDDL problem .*disjunctive"),
        ("(on a b))", "(not (on a b)))", "the goal may have facts only"),
        ("(on a b))", "(holding a))", "a goal has the facts on, ontable, clear, handempty"),
        ("(on a b))", ")", "'goal' must be a list of facts"),
        ("(on a b))", "(on b a))", "nothing to do"),
        ("(on a b))", "(and " * 5000 + ")" * 5001, "parentheses nest"),
        ("a b c ", "a b c z", "objects must be the letters a to l or colours, got 'z'"),
        ("a b c ", "a b c red", "two objects are the red block"),
        ("a b c ", "a b c d", "do not describe one arrangement"),
        ("(:objects a b c )", "", "not among the objects"),
        (")", ") " + "; x" * 20_000, "too many"),
    ],
)
def test_malformed_and_foreign_pddl_gets_one_sentence(old, new, sentence):
    assert old in PDDL
    with pytest.raises(ValueError, match=sentence) as error:
        BlocksWorldProblem(**read_pddl(PDDL.replace(old, new, 1)))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.usefixtures("pddl_library")
def test_goals_of_every_kind_are_read():
    text = PDDL.replace("(on a b))", "(and (on A b)) (ontable B) (clear a) (handempty)) ; so it is")
    read = BlocksWorldProblem(**read_pddl(text))
    assert read.goal == ("on red blue", "ontable blue", "clear red", "handempty")
    assert read.id == "blocksworld/ab-c:a-on-b+b-on-table+a-clear+hand-empty"


@pytest.mark.usefixtures("pddl_library")
@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(PDDL)),
            st.integers(0, 12),
            st.sampled_from(["", "(", ")", " a", "b ", "on", ":", "?x", "and", "=", "not ", "\0", "é", "1", "- "])
            | st.text(max_size=6),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_mutated_pddl_is_read_or_refused_with_a_value_error(edits):
    text = PDDL
    for position, removed, inserted in edits:
        text = text[:position] + inserted + text[position + removed :]
    with suppress(ValueError):
        BlocksWorldProblem(**read_pddl(text))


def test_a_missing_library_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pddl.parser.problem", None)
    blocksworld_pddl._parser.cache_clear()
    (tmp_path / "one.pddl").write_text(PDDL)
    with pytest.raises(ImportError) as error:
        load_problems(BlocksWorld(), tmp_path / "one.pddl")
    assert str(error.value) == 'BlocksWorld PDDL files need an optional dependency: pip install "gfn-gym[pddl]".'


@pytest.mark.usefixtures("pddl_library")
@pytest.mark.parametrize(("length", "blocks"), [(2, 4), (4, 4), (6, 4), (8, 5)])
def test_published_plans_are_legal_and_shortest(published_data, length, blocks):
    path = published_data / "blocksworld" / f"step_{length}.json"
    if not path.is_file():
        pytest.skip(f"no published list '{path}'")
    task = BlocksWorld(length=length, blocks=blocks)
    loaded = load_problems(task, path)
    entries = json.loads(path.read_text())
    assert len(loaded) == len(entries) == 15
    for problem, (_, plan, told) in zip(loaded, entries, strict=True):
        assert problem.length == told == length == searched_length(problem.start, problem.goal)
        named = re.sub(r"\b[a-l]\b", lambda letter: blocksworld_pddl.COLOURS[letter[0]], " ".join(plan.split()))
        assert named in task.solve(problem)


# -- wrong input -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"blocks": 1}, "blocks must be an integer from 2 to 12"),
        ({"blocks": 13}, "blocks must be an integer from 2 to 12"),
        ({"blocks": 4.0}, "blocks must be an integer"),
        ({"length": 0}, "length must be an integer from 1 to 48"),
        ({"slack": -1}, "slack must be an integer from 0"),
        ({"ending": "x"}, "ending must be one of"),
    ],
    ids=str,
)
def test_wrong_options_get_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        BlocksWorld(**options)


@pytest.mark.parametrize("options", [{"length": 5}, {"length": 14}, {"blocks": 12, "length": 46}], ids=str)
def test_lengths_that_no_generated_problem_has_get_one_sentence(options):
    with pytest.raises(ValueError, match="an even length from 2 to"):
        BlocksWorld(**options).problems()


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ({"goal": []}, "'goal' must be a list of facts"),
        ({"goal": "on red blue"}, "'goal' must be a list of facts"),
        ({"goal": [["on", "red", "blue"]]}, "'goal' must be a list of facts"),
        ({"goal": ["on red"]}, "a goal has the facts"),
        ({"goal": [""]}, "a goal has the facts"),
        ({"goal": ["on red pink"]}, "names 'pink', which is not among the blocks"),
        ({"start": [["red", "pink"]]}, "blocks are named red, blue"),
        ({"start": [["red", "red"]]}, "the red block stands in two places"),
        ({"start": [[]]}, "'start' must be a list of stacks"),
        ({"start": 5}, "'start' must be a list of stacks"),
        ({"start": [[["red"]]]}, "blocks are named"),
        ({"length": 6}, "the shortest plan has 4 steps, not 6"),
        ({"length": True}, "'length' must be a positive integer"),
        ({"start": [["red", "blue"], ["orange"], ["yellow"], ["white"]]}, "pass blocks=5"),
        ({"start": [["red", "blue", "orange", "yellow"]]}, "pass length=8"),
        ({"colour": 1}, "unknown field"),
    ],
    ids=str,
)
def test_wrong_problems_get_one_sentence(problem, sentence):
    data = {"start": [["red", "blue"], ["orange"]], "goal": ["on red blue"], **problem}
    with pytest.raises(ValueError, match=sentence):
        BlocksWorld(length=4).problem_from_json(data)
