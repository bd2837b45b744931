import io
import json
import tarfile
import zipfile

import numpy as np
import pytest

from gfn_envs.problems import load_problems, split_of
from gfn_envs.tasks.alfworld import ALFWorld, games
from gfn_envs.tasks.alfworld.archive import problems_file
from gfn_envs.tasks.alfworld.game_file import read_game
from gfn_envs.tasks.alfworld.games import open_games
from tests.test_alfworld import game_text, kitchen, pddl_problem

KITCHENS = {
    "train/pick_and_place_simple-Apple-None-SideTable-1/trial_1": game_text(),
    "train/look_at_obj_in_light-Mug-None-DeskLamp-1/trial_2": game_text("look_at_obj_in_light"),
    "valid_seen/pick_two_obj_and_place-Apple-None-SideTable-1/trial_3": game_text("pick_two_obj_and_place"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and no games of this machine."""
    monkeypatch.setenv("GFN_GYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    games._listed.cache_clear()
    return tmp_path / "cache"


def write_folder(folder, contents=KITCHENS):
    for name, text in contents.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "game.tw-pddl").write_text(text)
    return folder


def write_archive(path, contents=KITCHENS, folder="json_2.1.1/"):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in contents.items():
                archive.writestr(f"{folder}{name}/game.tw-pddl", text)
        return path
    with tarfile.open(path, f"w:{path.suffix[1:].replace('t', '')}" if path.suffix != ".tar" else "w") as archive:
        for name, text in contents.items():
            member = tarfile.TarInfo(f"{folder}{name}/game.tw-pddl")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


# -- reading a game --------------------------------------------------------------------------------
def test_a_game_gives_the_room_in_the_engine_s_names_and_order():
    problem = kitchen()
    assert [receptacle.name for receptacle in problem.receptacles] == [
        "cabinet 2", "cabinet 1", "countertop 1", "fridge 1", "microwave 1", "sidetable 1", "sinkbasin 1",
    ]  # fmt: skip
    assert [receptacle.pose for receptacle in problem.receptacles] == [0, 0, 1, 2, 3, 4, 5]
    assert [receptacle.openable for receptacle in problem.receptacles] == [True, False, False, True, True, False, False]
    assert [thing.name for thing in problem.things] == [
        "apple 2", "apple 1", "desklamp 1", "floorlamp 1", "knife 1", "lettuce 1", "mug 1", "pen 1", "spoon 1",
    ]  # fmt: skip
    assert problem.things[1].cool
    assert problem.things[2].fixed
    assert problem.things[5] == ("lettuce 1", (), 5, False, False, ())
    assert problem.things[6].holding == (8,)
    assert problem.things[7].inside == (0, 5)
    assert (problem.task, problem.target, problem.place) == ("put a apple in sidetable", "apple", "sidetable")
    assert problem.id == "alfworld/train/pick_and_place_simple-kitchen/trial_1"


def test_goals_are_read_in_any_order_of_their_parts():
    goal = """(and (exists (?r - receptacle) (exists (?o - object) (and (inReceptacle ?o ?r)
        (receptacleType ?r CabinetType) (isHot ?o) (objectType ?o MugType) (heatable ?o)))))"""
    problem = read_game(game_text(pddl_problem=pddl_problem(goal)), "g")
    assert (problem.task_type, problem.target, problem.place) == ("pick_heat_then_place_in_recep", "mug", "cabinet")


def test_older_walkthroughs_are_brought_to_the_present_commands():
    problem = read_game(game_text(walkthrough=["put apple 2 in/on sidetable 1", "look"]), "g")
    assert problem.walkthrough == ("move apple 2 to sidetable 1", "look")


PDDL = pddl_problem("(and)")
BROKEN = {
    "cut": (game_text()[:3000], "not a whole JSON file"),
    "deep": ("[" * 100_000, "not a whole JSON file"),
    "list": ("[]", "expected a JSON object with 'pddl_problem' and 'grammar'"),
    "no problem": (game_text(pddl_problem=None), "the game has no text 'pddl_problem'"),
    "no grammar": (game_text(grammar=7), "the game has no text 'grammar'"),
    "no task": (game_text(grammar="hello"), "the grammar has no sentence 'Your task is to: ...'"),
    "walkthrough": (game_text(walkthrough=[1]), "'walkthrough' must be a list of commands"),
    "unsolvable": (game_text(solvable=False), "the game says of itself that it is not solvable"),
    "huge": (" " * (1 << 20) + game_text(), "a game has at most 1048576 characters"),
    "cut PDDL": (game_text(pddl_problem=PDDL[:-9]), "is not one whole list in parentheses"),
    "too many": (game_text(pddl_problem=PDDL + ")"), r"the PDDL problem has a '\)' too many"),
    "nested": (game_text(pddl_problem="(" * 5000), "too large or too deeply nested"),
    "empty": (game_text(pddl_problem=""), "is not one whole list"),
    "domain": (game_text(pddl_problem=PDDL.replace("alfred", "chess")), "the PDDL problem is not of the domain"),
    "word": (game_text(pddl_problem="define"), "the PDDL problem is not of the domain"),
    "no goal": (game_text(pddl_problem=PDDL.replace(":goal", ":aim")), r"one \(:init ..\) and one \(:goal ..\)"),
    "goal": (game_text(pddl_problem=PDDL), "the goal is not that of one of the six task types"),
    "fact": (game_text(pddl_problem=PDDL.replace("(isCool", "(isBlue")), "is not a fact that an"),
    "arguments": (game_text(pddl_problem=PDDL.replace("(isCool", "(isCool x")), "is not a fact"),
    "nested fact": (game_text(pddl_problem=PDDL.replace("(isCool Apple_bar_2)", "(isCool (x))")), "has a list where"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_get_one_clear_sentence(case):
    text, sentence = BROKEN[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        read_game(text, "g")
    assert "\n" not in str(caught.value)


CHANGES = {
    "(cleanable Mug_bar_1)": ("", "the game differs from the rules of ALFWorld: 'cleanable' of a mug"),
    "(canContain FridgeType MugType)": ("", "the game differs from the rules of ALFWorld: whether a mug fits a fridge"),
    "(receptacleAtLocation Fridge_bar_1 loc_bar_3)": (
        "(receptacleAtLocation Fridge_bar_1 loc_bar_3)(receptacleAtLocation Fridge_bar_1 loc_bar_4)",
        "a receptacle is at two poses",
    ),
    "(atLocation agent1 loc_bar_0)": ("(atLocation agent1 loc_bar_1)", "the player must start at one pose"),
    "(inReceptacle Mug_bar_1 Cabinet_bar_2)": ("(inReceptacle Mug_bar_1 Moon_bar_1)", "is not a receptacle with"),
    "(objectType Spoon_bar_1 SpoonType)": ("(objectType Spoon_bar_1 ForkType)", "differs from the rules"),
    "(objectAtLocation Mug_bar_1 loc_bar_1)": (
        "(objectAtLocation Mug_bar_1 loc_bar_1)(objectAtLocation Mug_bar_1 loc_bar_2)",
        "a thing is at two poses",
    ),
    "(receptacleType Fridge_bar_1 FridgeType)": ("", "is not a receptacle; kinds are armchair"),
}  # fmt: skip


@pytest.mark.parametrize("fact", CHANGES)
def test_games_with_other_rules_are_refused(fact):
    text, sentence = CHANGES[fact]
    changed = json.loads(game_text())["pddl_problem"]
    assert fact in changed
    with pytest.raises(ValueError, match=sentence):
        read_game(game_text(pddl_problem=changed.replace(fact, text)), "g")


# -- folders and archives --------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["folder", "games.tar", "games.tar.gz", "games.tgz", "games.tar.xz", "games.zip"])
def test_folders_and_archives_give_the_same_games(name, tmp_path):
    path = write_folder(tmp_path / "json_2.1.1") if name == "folder" else write_archive(tmp_path / name)
    source = ALFWorld(games=str(path)).problems()
    assert [entry.game for entry in source.entries] == sorted(KITCHENS)
    assert list(source) == [read_game(KITCHENS[name], name) for name in sorted(KITCHENS)]
    assert [problem.game for problem in source.split("validation")] == sorted(KITCHENS)[2:]
    assert [problem.game for problem in source.split("valid_seen")] == sorted(KITCHENS)[2:]
    assert len(source.split("train")) == 2
    assert len(source.split("all")) == 3
    with pytest.raises(ValueError, match=r"none of the 3 games of .* is in the split 'test'"):
        source.split("test")
    with pytest.raises(ValueError, match="there is no split 'dev'"):
        source.split("dev")
    assert {source.sample(np.random.default_rng(seed)).game for seed in range(40)} == set(KITCHENS)
    assert len(source.take(2, np.random.default_rng(0))) == 2
    assert source.find("alfworld/" + min(KITCHENS)).task_type == "look_at_obj_in_light"


def test_task_types_narrow_the_games(tmp_path):
    path = str(write_folder(tmp_path))
    source = ALFWorld(games=path, task_types=["look_at_obj_in_light", "pick_two_obj_and_place"]).problems()
    assert {problem.task_type for problem in source} == {"look_at_obj_in_light", "pick_two_obj_and_place"}
    with pytest.raises(ValueError, match=r"none of the 3 games of .* is of the type pick_cool_then_place_in_recep"):
        ALFWorld(games=path, task_types="pick_cool_then_place_in_recep").problems()


def test_a_folder_is_listed_without_opening_a_game(tmp_path):
    write_folder(tmp_path, {**KITCHENS, "train/pick_and_place_simple-Pen-None-Bed-9/trial": "broken"})
    source = ALFWorld(games=str(tmp_path), task_types=["pick_and_place_simple"]).problems()
    assert len(source) == 2
    with pytest.raises(ValueError, match=r"game\.tw-pddl': not a whole JSON file"):
        list(source)


def test_games_that_alfworld_leaves_out_are_left_out(tmp_path):
    extra = {
        "train/pick_and_place_with_movable_recep-Pen-Mug-Desk-1/trial": game_text(),
        "train/pick_and_place_simple-AppleSliced-None-Fridge-1/trial": game_text(),
        "train/pick_and_place_simple-Mug-None-Fridge-1/trial": game_text(solvable=False),
    }
    folder = ALFWorld(games=str(write_folder(tmp_path / "folder", {**KITCHENS, **extra}))).problems()
    archive = ALFWorld(games=str(write_archive(tmp_path / "games.tar", {**KITCHENS, **extra}))).problems()
    assert [problem.game for problem in folder] == [problem.game for problem in archive] == sorted(KITCHENS)
    assert {folder.sample(np.random.default_rng(seed)).game for seed in range(40)} == set(KITCHENS)


def test_games_outside_of_the_official_folders_are_split_by_their_content(tmp_path):
    source = open_games(str(write_folder(tmp_path, {f"mine/game_{i}": game_text() for i in range(4)})))
    problem = next(iter(source))
    assert len(source.split(split_of(problem))) == 4, "one game under four names"
    others = {"train", "validation", "test"} - {split_of(problem)}
    for name in others:
        with pytest.raises(ValueError, match="none of the 4 games"):
            source.split(name)


def test_alfworld_data_is_where_official_games_are(tmp_path, monkeypatch):
    write_folder(tmp_path / "json_2.1.1")
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    for name in ("official", "$ALFWORLD_DATA/json_2.1.1", "json_2.1.1"):
        assert len(ALFWorld(games=name).problems()) == 3
    assert len(ALFWorld(games="json_2.1.1/valid_seen").problems()) == 1


def test_an_archive_is_read_once_and_its_problems_are_kept(tmp_path, cache, monkeypatch):
    path = write_archive(tmp_path / "games.tar.xz")
    first = open_games(str(path))
    (kept,) = (cache / "alfworld").iterdir()
    games._listed.cache_clear()
    monkeypatch.setattr("gfn_envs.tasks.alfworld.archive.read_archive", None)
    assert open_games(str(path)) == first
    kept.write_text("broken")
    games._listed.cache_clear()
    with pytest.raises(ValueError, match="is damaged; remove it, it is made again from"):
        open_games(str(path))


def broken_archive(path, what):
    if what == "dots":
        return write_archive(path, folder="../")
    if what == "absolute":
        return write_archive(path, folder="/tmp/")
    if what == "windows":
        return write_archive(path, folder="..\\up\\")
    if what == "game":
        return write_archive(path, {**KITCHENS, "train/broken/trial": game_text()[:100]})
    if what == "empty":
        return write_archive(path, {})
    if what == "huge":
        return write_archive(path, {"train/a/b": " " * (1 << 20) + game_text()})
    whole = write_archive(path).read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello" * 300, "nothing": b""}[what])
    return path


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".zip"])
@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("dots", "is refused: its member '../.*' points outside of the archive"),
        ("absolute", "is refused: its member '/tmp/.*' points outside of the archive"),
        ("windows", "points outside of the archive"),
        ("game", r"member 'json_2.1.1/train/broken/trial/game.tw-pddl': not a whole JSON file"),
        ("empty", "has no game.tw-pddl that can be played"),
        ("huge", "a game at most 1048576"),
        ("cut", "is not a whole tar or zip archive"),
        ("text", "is not a whole tar or zip archive"),
        ("nothing", "is not a whole tar or zip archive"),
    ],
)
def test_broken_and_unsafe_archives_leave_nothing_behind(what, sentence, suffix, tmp_path, cache):
    (tmp_path / "a").mkdir()
    path = broken_archive(tmp_path / "a" / f"games{suffix}", what)
    with pytest.raises(ValueError, match=sentence):
        problems_file(path)
    assert list(cache.rglob("*")) == []
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", path]


def test_places_without_games_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder or archive of ALFWorld games '.*missing'"):
        open_games(str(tmp_path / "missing"))
    with pytest.raises(ValueError, match=r"has no game\.tw-pddl files below it"):
        open_games(str(tmp_path))
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match="is neither a folder nor one of the archives"):
        open_games(str(tmp_path / "notes.txt"))


def test_one_game_or_one_archive_is_a_problem_file(tmp_path):
    file = write_folder(tmp_path) / min(KITCHENS) / "game.tw-pddl"
    assert [problem.game for problem in load_problems(ALFWorld(), file)] == [min(KITCHENS)]
    assert len(load_problems(ALFWorld(), write_archive(tmp_path / "games.tgz"))) == 3
    file.write_text("{")
    with pytest.raises(ValueError, match=r"game\.tw-pddl': not a whole JSON file"):
        load_problems(ALFWorld(), file)
    (tmp_path / "games.csv").write_text("")
    with pytest.raises(ValueError, match=r"is not a \.jsonl file, a \.tw-pddl game or an archive"):
        load_problems(ALFWorld(), tmp_path / "games.csv")


# -- official games --------------------------------------------------------------------------------
def official_problems(published_data, every):
    """Yields every so-manieth game of the published archive as it comes."""
    path = published_data / "alfworld" / "train_and_valid_seen.tar.xz"
    if not path.is_file():
        pytest.skip(f"no published games at '{path}'")
    with tarfile.open(path, "r|*") as archive:
        files = (member for member in archive if member.name.endswith("game.tw-pddl"))
        for number, member in enumerate(files):
            if number % every == 0:
                yield read_game(archive.extractfile(member).read().decode(), member.name)


def wins(task, problem):
    state = task.reset(problem)
    for command in problem.walkthrough:
        state = task.step(state, command)
    return task.success(state)


def test_a_start_of_the_official_walkthroughs_win(published_data):
    task = ALFWorld()
    problems = [problem for problem, _ in zip(official_problems(published_data, 1), range(150), strict=False)]
    assert [problem.id for problem in problems if not wins(task, problem)] == []
