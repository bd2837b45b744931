"""Hostile input: whatever an agent writes and whatever a problem file holds is accepted or refused, never worse.

Accepted means that the text named a legal action, or that the file's problems can be played; refused
means an invalid action that changes nothing, or one sentence. A crash, a hang or a message of a
megabyte is a bug. Hypothesis picks seeds and hostile pieces, so that what fails is found again.
"""

import json
import sys
import tracemalloc
from copy import deepcopy
from functools import reduce
from operator import getitem
from random import Random

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfn_envs import actions
from gfn_envs.cli import main
from gfn_envs.env import text_spaces
from gfn_envs.problems import load_problems, save_problems, split_of
from gfn_envs.tasks import TASKS

EXAMPLES, TEXTS = 200, 50
"""Examples for every environment, and texts in each: 10,000 together."""
FILE_EXAMPLES = 300
LONGEST_SENTENCE = 500
DEEP = "[" * 1000 + "]" * 1000
seeds = st.integers(0, 2**64 - 1)


def fuzz(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


# -- actions ---------------------------------------------------------------------------------------
MARKS = (
    "%s",
    r"\boxed{%s}",
    r"\boxed{\boxed{%s}}",
    r"\boxed{%s",
    "<answer>%s</answer>",
    "<answer><answer>%s</answer>",
    "<action>%s<action>",
    "<ANSWER>%s</answer></answer>",
    '{"action": "%s"}',
    '{"action": ["%s"]}',
    '{"a": {"action": "%s"',
    '{"action": %s}',
    "\nAction: %s",
    "action:action: %s\n",
    "```json\n%s\n```",
)
SCRAPS = (
    *(" ", "\n", "\t", "\r", "\0", "\x1b[31m", "\ud800", "\udfff", "\u202e", "\u2028", "\ufeff", "\xa0", "é", "ß", "İ"),
    *("４", "１２", "٤", "²", "½", "🂡", "Ａｃｔｉｏｎ"),
    *("{", "}", "[", "]", "(", ")", "<", ">", "/", "\\", '"', ":", ",", "=", "+", "-", "*", "1e400", "NaN", "null"),
    *("9" * 5000, "1" * 3000 + "." + "1" * 3000, "[" * 2000, '{"action":' * 500, "\\boxed{" * 500, "<answer>" * 500),
    *("action", '"action"', "Answer: True", "answer", "boxed", "left:", "(left: 24)", "True", "hit", "stick", "24"),
)


def hostile_text(legal, pieces, random):
    """Returns a text of up to 100,000 characters, made of legal actions, their parts, marks and scraps."""
    action = random.choice(legal)
    sources = (lambda: random.choice(SCRAPS), lambda: random.choice(pieces), lambda: random.choice(action.split()))
    kind = random.randrange(8)
    if kind == 0:
        text = respelled(action, random)
    elif kind == 1:
        start = random.randrange(len(action))
        text = action[:start] + random.choice(sources)() + action[start + random.randrange(3) :]
    else:
        text = random.choice(["", " ", "\n"]).join(random.choice(sources)() for _ in range(random.randrange(8)))
    for _ in range(random.randrange(3)):
        text = random.choice(MARKS).replace("%s", text)
    if random.randrange(40) == 0:
        text *= random.randrange(1, 100_000 // (len(text) or 1) + 2)
    return text[:100_000]


def respelled(action, random):
    spellings = (
        action.upper,
        action.title,
        lambda: "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in action),
        lambda: action.replace(" ", "\u2003\n"),
        lambda: action + "\0",
        lambda: action[::-1],
        lambda: action,
    )
    return random.choice(spellings)()


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
@fuzz(EXAMPLES)
@given(seed=seeds, pieces=st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_any_text_is_a_legal_action_or_changes_nothing(name, seed, pieces):
    random, env = Random(seed), environment(name)
    over = True
    for _ in range(TEXTS):
        if over:
            observation, info = env.reset(seed=random.randrange(2**32))
        legal, before = info["admissible_actions"], env.get_state().state
        text = hostile_text(legal, pieces, random)
        told = observation
        observation, _, terminated, truncated, info = env.step(text)
        over = terminated or truncated
        if info["invalid_action"]:
            assert info["parsed_action"] is None, text[:200]
            failed = env.task.fail(before)  # the same state, but in ALFWorld, where it costs a step
            assert env.get_state().state == failed, text[:200]
            assert observation == (told if failed == before else env.task.observe(failed)), text[:200]
            assert over == (info["terminal_cause"] in ("step_limit", "failed"))
        else:
            assert info["parsed_action"] in legal, text[:200]


def environment(name, made={}):  # noqa: B006  # one environment for all examples: making it is slower than the texts
    if name not in made:
        made[name] = gym.make(f"gfn_envs/{name}-v0").unwrapped
    return made[name]


ADVERSARIAL = [
    *("{", "}", "[", '{"', '{"action":', '{"action":"', '{"action":{', '{"action":"a"}', '{"a":1,', "{\\", "\\boxed{"),
    *("\\boxed{a", "\\boxed", "<answer>", "<answer", "</answer>", "<action>a", "<", "action:", "action :", "action"),
    *(" ", "\n", "\t\n", "\nAction:", " action", "\u2003", "9", "1.", "-", '"', "\\", "\0", "ß", "\ud800", "a "),
]


@pytest.mark.parametrize("piece", ADVERSARIAL, ids=ascii)
@pytest.mark.parametrize("frame", ["%s", '{"action": %s}', '{"action": "%s', r"\boxed{%s", "<answer>%s", "action: %s"])
def test_reading_takes_linear_time(monkeypatch, piece, frame):
    """Without the bound on the length, a pattern that takes quadratic time would need hours for these texts."""
    monkeypatch.setattr(actions, "MAX_TEXT_LENGTH", 10**9)
    text = frame.replace("%s", piece * (1_000_000 // len(piece)))
    assert actions.read_action(text, ("pick up a", "put down b")) is None


@pytest.mark.parametrize("name", TASKS)
def test_texts_of_a_megabyte_are_refused_unread(name):
    env = environment(name)
    for piece in ADVERSARIAL:
        _, info = env.reset(seed=0)
        text = piece * (1_000_000 // len(piece)) + info["admissible_actions"][0]
        assert env.step(text)[4]["invalid_action"]


def test_reading_needs_little_memory():
    texts = [piece * (actions.MAX_TEXT_LENGTH // len(piece)) for piece in ADVERSARIAL]
    peaks = []
    tracemalloc.start()
    try:
        for text in [*texts, "x" * 50_000_000]:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            actions.read_action(text, ("pick up a", "put down b"))
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert max(peaks) < 500 * actions.MAX_TEXT_LENGTH
    assert peaks[-1] < 1000


# -- problem files ---------------------------------------------------------------------------------
PDDL_PROBLEM = """(define (problem swap)
  (:domain blocksworld-4ops)
  (:objects a b c) ; three blocks
  (:init (handempty) (ontable a) (on b a) (ontable c) (clear b) (clear c))
  (:goal (and (on a b))))
"""
PDDL_DOMAIN = """(define (domain blocksworld-4ops)
  (:requirements :strips)
  (:predicates (clear ?x) (ontable ?x) (handempty) (holding ?x) (on ?x ?y))
  (:action pick-up :parameters (?x)
    :precondition (and (clear ?x) (ontable ?x) (handempty))
    :effect (and (holding ?x) (not (clear ?x)) (not (ontable ?x)) (not (handempty)))))
"""
PLAN = "(unstack b a)\n(put-down b)\n(pick-up a)\n(stack a b)\n"
PUZZLES = "Rank,Puzzles,Solved rate\n1,1 1 4 6,99.20%\n2,1 1 11 11,96.41%\n3,4 6 6 8,40.00%\n"


def drawn(name, count=3):
    """Returns the JSON fields of some problems of a game."""
    rng, family = np.random.default_rng(0), TASKS[name]()().problems()
    return [family.sample(rng).to_json() for _ in range(count)]


def examples():
    """Returns a file of PrOntoQA as published."""
    asked = [{**fields, "answer": answer_of(fields)} for fields in drawn("PrOntoQA", 2)]
    return {f"example{i}": {"in_context_example0": fields, "test_example": fields} for i, fields in enumerate(asked)}


def answer_of(fields):
    task = TASKS["PrOntoQA"]()()
    return task.solve(task.problem_from_json(fields))[0].rpartition("Answer: ")[2]


def json_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


FORMATS = {
    **{f"{name}.jsonl": (name, json_lines([{**row, "weight": 2} for row in drawn(name)])) for name in TASKS},
    "puzzles.csv": ("Game24", PUZZLES),
    "problem.pddl": ("BlocksWorld", PDDL_PROBLEM),
    "domain.pddl": ("BlocksWorld", PDDL_DOMAIN),
    "list.json": ("BlocksWorld", json.dumps([["somebody/else/one.pddl", PLAN, 4]] * 2)),
    "examples.json": ("PrOntoQA", json.dumps(examples())),
}
"""A game and a valid text for every format; a domain is a valid file, but no problem."""
JSON_FORMATS = [name for name in FORMATS if ".json" in name]
each_format = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("pddl", reason="needs gfn-gym[pddl]")
    path = tmp_path_factory.mktemp("files")
    (path / "pddl").mkdir()
    (path / "pddl" / "one.pddl").write_text(PDDL_PROBLEM)
    return path


def accept_or_refuse(folder, name, content):
    """Writes a file and loads it; returns the problems, or None if it is refused in the one form of refusals."""
    path = folder / name
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    task = TASKS[FORMATS[name][0]]()()
    try:
        problems = load_problems(task, path)
    except (ValueError, OSError) as error:
        assert_one_sentence(error, path)
        return None
    assert_playable(task, problems, folder / "again.jsonl")
    return problems


def assert_one_sentence(error, path):
    text = str(error)
    assert type(error) is ValueError or isinstance(error, OSError), repr(error)
    assert text.isprintable(), text
    assert 0 < len(text) < LONGEST_SENTENCE, text
    assert path.name in text or "one.pddl" in text, text


def assert_playable(task, problems, again):
    """What was accepted is a set of problems like any other."""
    observations, _ = text_spaces(task)
    assert sum(problems.weights) == pytest.approx(1)
    for problem in problems:
        state = task.reset(problem)
        assert 0 < len(task.actions(state)) <= task.max_actions
        assert observations.contains(task.observe(state))
        assert split_of(problem) in ("train", "validation", "test")
    save_problems(problems, again)
    assert load_problems(task, again).problems == problems.problems


@each_format
def test_valid_files_are_accepted(folder, name):
    assert (accept_or_refuse(folder, name, FORMATS[name][1]) is None) == (name == "domain.pddl")


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "domain.pddl"])
def test_files_as_windows_writes_them_are_accepted(folder, name):
    text = FORMATS[name][1]
    plain = accept_or_refuse(folder, name, text)
    assert accept_or_refuse(folder, name, text.replace("\n", "\r\n")) == plain
    assert accept_or_refuse(folder, name, "\ufeff" + text) == plain


INSERTED = (
    *(b"\0", b"\xff\xfe", b"\xc3", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\n", b"\xe2\x80\xa8", b"\xed\xa0\x80"),
    *(b"\x1b[31m", b"x" * 1000, "４ é ß".encode()),
    *(b"(", b")", b"[", b"]", b"{", b"}", b'"', b"'", b",", b":", b";", b"\\", b"\\u0000", b"\\ud800", b"\\n", b"-"),
    *(b"0", b"9" * 30, b"9" * 5000, b"1e400", b"1e99999999", b"NaN", b"Infinity", b"null", b"true", b"(and ", b"(not "),
    *(b"..", b"../../", b"/etc/passwd", b"[" * 1000, b"(" * 1000),
)


def damaged(content, random):
    """Returns the bytes with up to four damages of the kinds that files suffer."""
    for _ in range(random.choice([1, 1, 2, 4])):
        start = random.randrange(len(content) + 1)
        end = min(len(content), start + random.choice([1, 1, 2, 5, 20, 1000]))
        before, cut, after = content[:start], content[start:end], content[end:]
        lines = content.splitlines(keepends=True) or [b""]
        damages = (
            before + bytes(byte ^ 1 << random.randrange(8) for byte in cut[:1]) + cut[1:] + after,
            before + random.randbytes(len(cut)) + after,
            before + random.choice(INSERTED) + after,
            before + random.choice(INSERTED) + cut + after,
            before + after,
            before,
            before + cut + cut + after,
            content + random.choice(lines) * random.randrange(1, 20),
            b"".join(random.sample(lines, len(lines))),
        )
        content = random.choice(damages)
    return content


@pytest.mark.slow
@each_format
@fuzz(FILE_EXAMPLES)
@given(seed=seeds)
def test_damaged_files_are_accepted_or_refused(folder, name, seed):
    accept_or_refuse(folder, name, damaged(FORMATS[name][1].encode(), Random(seed)))


RAW = {
    "<deep>": DEEP,
    "<deeper>": "[" * 100_000,
    "<object>": '{"a":' * 900 + "1" + "}" * 900,
    "<1e400>": "1e400",
    "<digits>": "9" * 4000,
    "<more digits>": "9" * 5000,
    "<zeros>": "0." + "0" * 5000 + "1",
    "<surrogate>": r'"\ud800"',
}
"""What the module json does not write, by the text that stands for it."""
SWAPPED = (
    *(None, True, False, 0, -1, 1, 2.5, 10**20, float("nan"), float("-inf"), *RAW),
    *("", " ", "0", "4", "-1", "x", "\0", "a\nb", "\x1b[31m", "1e999999999", "1/0", "９/２", "é" * 255, "x" * 1000),
    *("..", "/", "../../../etc/passwd", "/etc/passwd", "C:\\one.pddl", "x/../one.pddl", "pddl/one.pddl", "list.json"),
    *([], {}, [[]], [None], ["red"], [["red"]], {"action": 1}, [1] * 3000, ["a b c"] * 3000, list(range(12))),
)


def places(value, path=()):
    """Yields the path of every value in a JSON document."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def swapped(document, random):
    """Returns the text of a JSON document with up to three values of it swapped, removed or renamed."""
    holder = [json.loads(json.dumps(document))]
    for _ in range(random.choice([1, 1, 2, 3])):
        path = random.choice(list(places(holder[0])))
        parent, key = holder, 0
        for step in path:
            parent, key = parent[key], step
        kind = random.randrange(6)
        if kind == 0 and path:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[random.choice(["", "weight", "target", "length", "x" * 1000, "a\nb", "\ud800"])] = parent.pop(key)
        elif kind == 2 and isinstance(parent, list):
            parent.insert(key, parent[key])
        else:
            parent[key] = deepcopy(random.choice(SWAPPED))
    text = json.dumps(holder[0])
    for stands_for_it, raw in RAW.items():
        text = text.replace(json.dumps(stands_for_it), raw)
    return text


@pytest.mark.slow
@pytest.mark.parametrize("name", JSON_FORMATS)
@fuzz(FILE_EXAMPLES)
@given(seed=seeds)
def test_json_of_other_types_is_accepted_or_refused(folder, name, seed):
    random, text = Random(seed), FORMATS[name][1]
    if name.endswith(".jsonl"):
        lines = text.splitlines()
        index = random.randrange(len(lines))
        text = "\n".join([*lines[:index], swapped(json.loads(lines[index]), random), *lines[index + 1 :]])
    else:
        text = swapped(json.loads(text), random)
    accept_or_refuse(folder, name, text)


@each_format
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"\0" * 100, b"\xff\xfe\x00\x80", bytes(range(256)) * 4, b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"),
        *("\ufeff", '"', "null", "[]", "{}", "1e400", DEEP, "[" * 100_000, '{"a":' * 100_000, "(" * 100_000),
        *("x" * 5_000_000, "1 " * 2_500_000, '"' + "x" * 5_000_000 + '"', "[" + "1," * 2_000_000 + "1]"),
        *("Puzzles\n" + "1 " * 60_000, 'Puzzles\n"1 1', "(define (problem x)" * 2000, "; \n" * 16_000),
        *('{"start": ' + "[" * 900 + "]" * 900 + "}", '[["one.pddl", "' + "\\n(pick-up a)" * 300_000 + '", 9]]'),
    ],
    ids=lambda content: ascii(content[:12]),
)
def test_what_is_no_problem_file_gets_one_sentence(folder, name, content):
    assert accept_or_refuse(folder, name, content) is None


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_nesting_near_the_limit_of_recursion_gets_one_sentence(folder, name):
    """What json can just still read may be too deep for what reads it afterwards."""
    document = json.loads(FORMATS[name][1].splitlines()[0])
    paths = [path for path in places(document) if path]
    for number, depth in enumerate(range(sys.getrecursionlimit() - 200, sys.getrecursionlimit() + 1)):
        *above, key = paths[number % len(paths)]
        copy = deepcopy(document)
        parent = reduce(getitem, above, copy)
        parent[key] = "<here>"
        accept_or_refuse(folder, name, json.dumps(copy).replace('"<here>"', "[" * depth + "]" * depth))


@each_format
def test_a_folder_in_place_of_a_file_gets_one_sentence(folder, name):
    path = folder / "folders" / name
    path.mkdir(parents=True)
    with pytest.raises(ValueError, match="there is no problem file") as error:
        load_problems(TASKS[FORMATS[name][0]]()(), path)
    assert_one_sentence(error.value, path)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", "", "\0", "é" * 255, "x" * 5000, "C:\\x", "pddl"], ids=ascii
)
def test_lists_reach_no_file_that_is_not_beside_them(folder, name):
    """The authors' folders are dropped, so that only the last part of a path is looked up."""
    path = folder / "list.json"
    path.write_text(json.dumps([[name, PLAN, 4]]))
    with pytest.raises(ValueError, match=r"list\.json' entry 1: there is no '") as error:
        load_problems(TASKS["BlocksWorld"]()(), path)
    assert_one_sentence(error.value, path)


@pytest.mark.parametrize("weights", [(1e308, 1e308), (1e308, 5e-324), (10**400, 1)], ids=str)
def test_weights_beyond_floating_point_get_one_sentence(folder, weights):
    rows = [{**row, "weight": weight} for row, weight in zip(drawn("Game24"), weights, strict=False)]
    assert accept_or_refuse(folder, "Game24.jsonl", json_lines(rows)) is None


# -- through the command ---------------------------------------------------------------------------
@each_format
@pytest.mark.parametrize("content", ["", b"\xff\xfe\x00", '{"start": "\\ud800\\u001b"}\n', DEEP], ids=ascii)
def test_the_command_refuses_with_one_sentence(folder, capsys, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SystemExit) as stop:
        main(["analyse", f"gfn_envs/{FORMATS[name][0]}-v0", "--problems", str(path), "--json"])
    captured = capsys.readouterr()
    assert stop.value.code == 1
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert name in captured.err
