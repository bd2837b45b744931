"""BlocksWorld's shortest plans against a planner that shares nothing with it: pyperplan, which reads PDDL.

Its blind breadth-first search is optimal where every action costs the same. It sees a domain written
here and either a problem written here or the published file itself, so that our distances, our
generator and our reader of PDDL are all on one side of the comparison and none on the other.
"""

import itertools

import numpy as np
import pytest

from gfn_envs.actions import read_action
from gfn_envs.problems import load_problems
from gfn_envs.tasks.blocksworld import BlocksWorld, BlocksWorldProblem, shortest_length
from gfn_envs.tasks.blocksworld_pddl import LETTERS, read_list

planner = pytest.importorskip("pyperplan.planner")

DOMAIN = """
(define (domain blocksworld-4ops)
  (:requirements :strips)
  (:predicates (clear ?x) (ontable ?x) (handempty) (holding ?x) (on ?x ?y))
  (:action pick-up
    :parameters (?x)
    :precondition (and (clear ?x) (ontable ?x) (handempty))
    :effect (and (holding ?x) (not (clear ?x)) (not (ontable ?x)) (not (handempty))))
  (:action put-down
    :parameters (?x)
    :precondition (holding ?x)
    :effect (and (clear ?x) (ontable ?x) (handempty) (not (holding ?x))))
  (:action stack
    :parameters (?x ?y)
    :precondition (and (holding ?x) (clear ?y))
    :effect (and (on ?x ?y) (clear ?x) (handempty) (not (holding ?x)) (not (clear ?y))))
  (:action unstack
    :parameters (?x ?y)
    :precondition (and (on ?x ?y) (clear ?x) (handempty))
    :effect (and (holding ?x) (clear ?y) (not (on ?x ?y)) (not (clear ?x)) (not (handempty)))))
"""
FAMILIES = [(4, length) for length in (2, 4, 6, 8, 10, 12)] + [(5, length) for length in (2, 6, 10, 16)]
PER_FAMILY = 5
OTHER_GOALS = [
    BlocksWorldProblem((("red", "blue"), ("orange",)), ("clear red",)),
    BlocksWorldProblem((("red", "blue", "orange"),), ("clear red", "on blue orange")),
    BlocksWorldProblem((("red", "blue", "orange"),), ("clear red", "ontable blue", "handempty")),
    BlocksWorldProblem((("red", "blue", "orange", "yellow"),), ("clear red",)),
]
"""Goals that no generated problem has; the first and the last are reached with a block in the hand."""


def letters(facts):
    """Returns facts as PDDL, colours as their letters."""
    return " ".join(f"({' '.join(LETTERS.get(word, word) for word in fact.split())})" for fact in facts)


def pddl(problem):
    """Returns a problem as PDDL."""
    facts = ["handempty"]
    for stack in problem.start:
        facts += [f"ontable {stack[0]}", f"clear {stack[-1]}"]
        facts += [f"on {upper} {lower}" for lower, upper in itertools.pairwise(stack)]
    objects = " ".join(LETTERS[block] for stack in problem.start for block in stack)
    return (
        f"(define (problem generated) (:domain blocksworld-4ops) (:objects {objects})\n"
        f"(:init {letters(facts)})\n(:goal (and {letters(problem.goal)})))\n"
    )


@pytest.fixture
def shortest_plan(tmp_path):
    """Returns a function from a PDDL problem to a shortest plan, as published ones are written."""
    domain, file = tmp_path / "domain.pddl", tmp_path / "problem.pddl"
    domain.write_text(DOMAIN)

    def plan(text):
        file.write_text(text)
        return [step.name for step in planner.search_plan(str(domain), str(file), planner.SEARCHES["bfs"], None)]

    return plan


def assert_reaches_the_goal(task, problem, plan):
    state = task.reset(problem)
    for step in plan:
        state = task.step(state, read_action(step, task.actions(state), task.aliases(state)))
    assert task.success(state), problem.id


@pytest.mark.parametrize(("blocks", "length"), FAMILIES)
def test_the_planner_agrees_on_generated_problems(shortest_plan, blocks, length):
    task, rng = BlocksWorld(blocks=blocks, length=length), np.random.default_rng([blocks, length])
    for _ in range(PER_FAMILY):
        problem = task.problems().sample(rng)
        plan = shortest_plan(pddl(problem))
        assert len(plan) == shortest_length(problem) == problem.length == length, problem.id
        assert_reaches_the_goal(task, problem, plan)


@pytest.mark.parametrize("problem", OTHER_GOALS, ids=lambda problem: problem.id)
def test_the_planner_agrees_on_goals_of_every_kind(shortest_plan, problem):
    plan = shortest_plan(pddl(problem))
    assert len(plan) == problem.length
    assert_reaches_the_goal(BlocksWorld(length=problem.length), problem, plan)


@pytest.mark.parametrize(("length", "blocks"), [(2, 4), (4, 4), (6, 4), (8, 5)])
def test_the_planner_agrees_on_published_problems(published_data, shortest_plan, length, blocks):
    pytest.importorskip("pddl")
    path = published_data / "blocksworld" / f"step_{length}.json"
    if not path.is_file():
        pytest.skip(f"no published list '{path}'")
    task = BlocksWorld(blocks=blocks, length=length)
    for problem, entry in zip(load_problems(task, path), read_list(path), strict=True):
        plan = shortest_plan(entry.file.read_text())
        assert len(plan) == problem.length == length, entry.file.name
        assert_reaches_the_goal(task, problem, plan)
