"""Several processes: the same samples, losses and weights as one; none is left behind when one ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gfn_agents import processes
from gfn_agents.checkpointing import list_checkpoints
from gfn_agents.config import TrainConfig
from gfn_agents.exploration import SelfRepellent, VisitCounts, branch
from gfn_agents.local_search import metropolis
from gfn_agents.logs import read_history
from gfn_agents.policy import TabularPolicy
from gfn_agents.trainer import Trainer
from gfn_envs.exact import enumerate_states
from gfn_envs.problems import ProblemSet
from gfn_envs.rollout import rollout
from gfn_envs.streams import side_by_side
from gfn_envs.tasks.blackjack import BlackJack, BlackJackProblem
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem

LINE = NumberLine(high=3, horizon=5, reward="inverse_distance")
WALKS = tuple(NumberLineProblem(start, target, 0, 3) for start, target in ((0, 2), (1, 3), (3, 1)))
CARDS = BlackJack()
HANDS = tuple(BlackJackProblem(hand, 10) for hand in ((8, 10), (2, 10), (5, 6)))


def table_for(task, problems):
    graphs = [enumerate_states(task, problem) for problem in problems]
    return TabularPolicy(
        [
            (g.task.observe(s), actions)
            for g in graphs
            for s, actions in zip(g.states, g.actions, strict=True)
            if actions
        ]
    )


# -- random streams --------------------------------------------------------------------------------
def own_streams(problems):
    return {problem.id: np.random.default_rng(number) for number, problem in enumerate(problems)}


@pytest.mark.parametrize(("task", "problems"), [(LINE, WALKS), (CARDS, HANDS)], ids=["numberline", "blackjack"])
def test_what_is_played_on_a_problem_does_not_depend_on_what_is_played_beside_it(task, problems):
    policy = table_for(task, problems)
    repeated = [problem for problem in problems for _ in range(20)]
    together = rollout(task, policy, repeated, own_streams(problems))
    streams = own_streams(problems)
    apart = [t for problem in problems for t in rollout(task, policy, [problem] * 20, streams)]
    assert together == apart
    one_for_all = np.random.default_rng(0)
    assert [t for p in problems for t in rollout(task, policy, [p] * 20, one_for_all)] != rollout(
        task, policy, repeated, np.random.default_rng(0)
    )


def test_what_is_searched_on_a_problem_does_not_depend_on_what_is_searched_beside_it():
    policy = table_for(LINE, WALKS)
    played = rollout(LINE, policy, [walk for walk in WALKS for _ in range(10)], np.random.default_rng(0))

    def searched(walks, streams):
        mine = [t for t in played if t.problem_id in {walk.id for walk in walks}]
        grown = branch(LINE, walks, mine, policy, streams, 2)
        return grown + metropolis(LINE, walks, mine, policy, streams, rounds=2).proposed

    streams, apart = own_streams(WALKS), []
    for walk in WALKS:
        apart += searched([walk], streams)
    together = searched(WALKS, own_streams(WALKS))
    assert sorted(map(repr, together)) == sorted(map(repr, apart))


def test_rows_come_from_their_own_streams():
    first, second = np.random.default_rng(1), np.random.default_rng(2)
    drawn = side_by_side([first, second, first]).random((3, 2))
    alone = np.random.default_rng(1).random((2, 2)), np.random.default_rng(2).random((1, 2))
    assert np.array_equal(drawn, [alone[0][0], alone[1][0], alone[0][1]])
    with pytest.raises(ValueError, match="3 streams"):
        side_by_side([first, second, first]).random(2)


def test_visits_gained_in_two_processes_add_up():
    """Counting on top of earlier counts leaves these alone; what was gained is added afterwards."""
    policy = table_for(LINE, WALKS)
    earlier = VisitCounts()
    rollout(LINE, SelfRepellent(policy, earlier, 1.0), WALKS, np.random.default_rng(0))
    before, steps = earlier.to_json(), 0
    parts = [VisitCounts(earlier=earlier) for _ in WALKS]
    for part, walk in zip(parts, WALKS, strict=True):
        played = rollout(LINE, SelfRepellent(policy, part, 1.0), [walk] * 5, np.random.default_rng(1))
        steps += sum(len(trajectory.steps) for trajectory in played)
    assert earlier.to_json() == before
    for part in parts:
        earlier.add(part.gained())
    gained = sum(sum(visits) for visits, _ in earlier.to_json().values()) - sum(sum(v) for v, _ in before.values())
    assert gained == steps
    assert all(sum(visits) == pytest.approx(sum(expected)) for visits, expected in earlier.to_json().values())


# -- one process -----------------------------------------------------------------------------------
def test_alone_everything_is_what_it_is():
    assert (processes.count(), processes.is_main(), processes.gather("x")) == (1, True, ["x"])
    assert processes.share([1, 2, 3]) == [1, 2, 3]


@pytest.mark.parametrize("total", [1, 2, 3, 5, 8])
def test_shares_put_together_are_the_list(monkeypatch, total):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: total)
    shares = []
    for rank in range(total):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        shares.append(processes.share("abcde"))
    assert [item for part in shares for item in part] == list("abcde")
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("variables", "device", "reason"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "auto", "divided among processes by FSDP here, not by DeepSpeed"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "auto", "leave --fsdp_offload_params out"),
        ({"LOCAL_RANK": "1"}, "auto", "process 2 of this machine has no GPU of its own, there are 1"),
        ({"LOCAL_RANK": "0"}, "cuda:0", "the same for every process; use auto"),
    ],
)
def test_launches_that_cannot_work_are_refused(monkeypatch, variables, device, reason):
    for name, value in {"WORLD_SIZE": "2", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ValueError, match=reason) as caught:
        processes.start(device)
    assert "\n" not in str(caught.value)


def test_more_processes_than_problems_are_refused(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 5)
    with pytest.raises(ValueError, match="5 processes need as many problems in a step, and problems_per_step is 4"):
        Trainer(LINE, ProblemSet(WALKS), table_for(LINE, WALKS), TrainConfig())


# -- two processes ---------------------------------------------------------------------------------
EXPLORING = {"branches_per_sample": 1, "local_search": "greedy", "demonstrations_per_problem": 2, "repellence": 1.0}
ON_POLICY = {"replay_per_problem": 0, "epsilon": 0.0}
CASES = {
    "table vargrad": (LINE, WALKS, {}),
    "table everything": (LINE, WALKS, EXPLORING),
    "table detailed_balance": (CARDS, HANDS, {"objective": "detailed_balance"}),
    "table sub_trajectory_balance": (LINE, WALKS, {"objective": "sub_trajectory_balance", "backward": "uniform"}),
    "table grpo": (CARDS, HANDS, {"objective": "grpo", "updates_per_batch": 2, **ON_POLICY}),
    "table ppo_clip": (CARDS, HANDS, {"objective": "ppo_clip", "updates_per_batch": 2, **ON_POLICY}),
    "table one problem": (LINE, WALKS[:1], {}),
    "model vargrad": (None, None, {}),
    "model detailed_balance": (None, None, {"objective": "detailed_balance"}),
    "model grpo": (None, None, {"objective": "grpo", **ON_POLICY}),
    "adapter vargrad": (None, None, {"demonstrations_per_problem": 1}),
    "float32 model vargrad": (None, None, {}),
}


def make_trainer(case, folder=None, **options):
    """Returns a trainer whose steps have three problems, so that two processes have unequal shares."""
    from peft import LoraConfig, get_peft_model

    from gfn_agents.language_model import LanguageModelPolicy
    from tests.test_language_model import byte_tokenizer, make_model

    task, problems, special = CASES[case]
    if task is None:
        task, problems = Game24(count=3), tuple(Game24Problem(n) for n in ((2, 3, 4), (1, 4, 6), (2, 2, 6)))
        # Of the architectures at hand GPT-2 computes in float64 throughout; the norms of Llama are float32.
        model = make_model("llama") if case.startswith("float32") else make_model("gpt2").double()
        if case.startswith("adapter"):
            torch.manual_seed(0)
            model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
        policy = LanguageModelPolicy(model, byte_tokenizer(), row_budget=300)
    else:
        policy = table_for(task, problems)
    sizes = {"steps": 3, "problems_per_step": 3, "samples_per_problem": 4, "learning_rate": 0.01}
    return Trainer(task, ProblemSet(problems), policy, TrainConfig(**{**sizes, **special, **options}), folder)


def train(case):
    """Returns losses, counters and all trained weights of a short run, as JSON values."""
    trainer, losses = make_trainer(case), []
    trainer.run(lambda report: losses.append([report.loss, report.gradient_norm, report.success]))
    return {
        "losses": losses,
        "environment_steps": trainer.environment_steps,
        "replay": sorted(repr(t) for part in trainer.replay._stored.values() for t in part.values()),
        "visits": trainer.visits.to_json(),
        "weights": [x for p in trainer.policy.parameters() if p.requires_grad for x in p.detach().flatten().tolist()],
    }


def train_in_two(folder):
    """What each of two processes does: every case, and the ways in which things go wrong."""
    processes.start("cpu")
    results = {case: train(case) for case in CASES}

    broken = make_trainer("table vargrad", folder)
    with torch.no_grad():
        broken.policy.logits.fill_(torch.nan if processes.is_main() else 0.0)  # seen by one process alone
    broken.rng = np.random.default_rng(1)
    try:
        broken._update(rollout(LINE, table_for(LINE, WALKS), WALKS * 2, np.random.default_rng(0)), None)
    except FloatingPointError as error:
        results["not finite"] = str(error)

    stopped = make_trainer("table vargrad", steps=50)

    def stop_one(report):
        stopped.stop_requested = report.step == 4 and not processes.is_main()

    stopped.run(stop_one)
    results["stopped after"] = stopped.steps_done

    exchange, processes.add_gradients = processes.add_gradients, lambda parameters: None
    results["without exchange"] = train("table vargrad")
    processes.add_gradients = exchange
    Path(folder, f"{'main' if processes.is_main() else 'other'}.json").write_text(json.dumps(results))


def launch(arguments, **variables):
    """Starts two processes as a launcher would, but leaves them to themselves."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", **variables}
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]


def finish(started):
    """Returns the exit status and the two outputs of each process."""
    try:
        said = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(started, said, strict=True)]


@pytest.fixture(scope="module")
def in_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    code = "import sys; from pathlib import Path; from tests.test_processes import train_in_two"
    for status, _, errors in finish(launch(["-c", f"{code}; train_in_two(Path(sys.argv[1]))", str(folder)])):
        assert status == 0, errors
    return folder, *(json.loads((folder / f"{name}.json").read_text()) for name in ("main", "other"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_does(case, in_two):
    _, main, other = in_two
    alone = train(case)
    assert main[case] == other[case]
    if case.startswith("float32"):  # Adam magnifies what rounding makes of gradients that are nearly zero
        assert np.allclose(np.array(main[case]["losses"])[:, 0], np.array(alone["losses"])[:, 0], rtol=1e-5, atol=0)
    else:
        for name in ("losses", "weights"):
            assert np.allclose(main[case][name], alone[name], rtol=0, atol=1e-10), name
    assert main[case]["environment_steps"] == alone["environment_steps"]
    assert main[case]["replay"] == alone["replay"]
    assert main[case]["visits"].keys() == alone["visits"].keys()


@pytest.mark.slow
def test_without_the_exchange_of_gradients_two_processes_part(in_two):
    _, main, other = in_two
    assert main["without exchange"]["weights"] != other["without exchange"]["weights"]


@pytest.mark.slow
def test_what_one_process_meets_all_know(in_two):
    folder, main, other = in_two
    assert main["stopped after"] == other["stopped after"] == 4
    assert main["not finite"] == other["not finite"]
    assert "failed-batch-000001.jsonl" in main["not finite"]
    assert (folder / "failed-batch-000001.jsonl").read_text().count("\n") == 12, "what both processes had"


# -- how processes end -----------------------------------------------------------------------------
def command(folder, *options):
    small = ["--problems-per-step", "2", "--samples-per-problem", "2", "--checkpoint-every", "1"]
    run = ["-m", "gfn_agents.cli", "train", "gfn_envs/NumberLine-v0", "--output", str(folder), "--device", "cpu"]
    return [*run, *small, *options]


WHO_IS_LEFT = (
    "import atexit, runpy, sys",
    "from pathlib import Path",
    "def say(): print('at last', *(path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')))",
    "atexit.register(say)",
    "runpy.run_module('gfn_agents.cli', run_name='__main__')",
)
"""Runs the command and prints the threads that there are at its end; they are listed by Linux alone."""


def assert_no_thread_exchanges(out):
    """One that is slow to let go of its last tensor would abort a program that has done its work."""
    (threads,) = (line for line in out.splitlines() if line.startswith("at last"))
    if Path("/proc/self/task").is_dir():
        assert "python" in threads
        assert "gloo" not in threads


@pytest.mark.slow
@pytest.mark.parametrize("sharded", ["false", "true"])
def test_a_killed_process_ends_the_other_which_says_how_to_go_on(tmp_path, sharded, gfn):
    """Without a launcher that would end it; two new processes or one go on as one that never stopped."""
    folder, variables = tmp_path / "run", {"ACCELERATE_USE_FSDP": sharded, "FSDP_CPU_RAM_EFFICIENT_LOADING": sharded}
    started = launch(command(folder, "--steps", "1000"), **variables)
    deadline = time.monotonic() + 200
    while len(read_history(folder)) < 3 and time.monotonic() < deadline and started[0].poll() is None:
        time.sleep(0.1)
    os.kill(started[1].pid, signal.SIGKILL)
    (status, _, errors), (killed, *_) = finish(started)
    assert (status, killed) == (1, -signal.SIGKILL)
    said = "error: another process of this run has ended or cannot be reached; go on with the same command and --resume"
    assert f"{said} --output {folder}" in errors
    assert "Traceback" not in errors

    done = int(list_checkpoints(folder)[-1].name.removeprefix("step-"))
    assert done >= 2
    shutil.copytree(folder, tmp_path / "again")
    resumed = command(folder, "--steps", str(done + 2), "--resume")[2:]
    for status, out, errors in finish(launch(["-c", "\n".join(WHO_IS_LEFT), *resumed], **variables)):
        assert status == 0, errors
        assert_no_thread_exchanges(out)
    status, _, errors = gfn(*command(tmp_path / "again", "--steps", str(done + 2), "--resume")[2:])
    assert status == 0, errors
    two, one = read_history(folder), read_history(tmp_path / "again")
    assert [row["step"] for row in two] == [row["step"] for row in one] == list(range(1, done + 3))
    assert np.allclose([row["loss"] for row in two], [row["loss"] for row in one], atol=1e-4)
