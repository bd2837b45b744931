"""Cost of one training step and of sampling beside the way Flow of Reasoning (arXiv 2406.05673) computes both.

    python benchmarks/training_step.py [--model default|smollm2|FOLDER|random] [--device cpu] [--part 2]

Its way: every step of every trajectory is a prompt of its own, with its few-shot examples; the prompt followed by
each candidate action is one sequence; the sequences of a step are one right-padded batch, forward and backward.
When sampling, each candidate is one forward pass. Here: one prefix tree, the examples before it computed once.

Both get the same model with an adapter (LoRA), and the same states: a group of 8 random trajectories of 4 steps on
one BlocksWorld problem, after a prompt with 4 worked examples. CPU seconds on one thread (on a GPU: seconds), one
run each in a process of its own. The usual way is measured on `--part` of its 32 batches and scaled by tokens; it is
spared the second forward pass, or the memory, that a loss over a whole trajectory costs it. A small case first shows
that both give the same loss and gradient.

On two busy cores (AMD EPYC, float32), with 50 sequences after the worked examples:

    model                        update: tree, usual way, ratio      sampling: tree, usual way, ratio
    smollm2 (1,619 tokens)       26.7 s   1,174 s   44               12.7 s   525 s   41
    default policy               0.42 s   17.9 s    42               0.25 s   6.9 s   28
    peak of memory (smollm2)     4.0 GB   5.4 GB                     0.2 GB   0.7 GB
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from baselines.random_legal import RandomLegalAgent
from gfn_agents.batch import scored_batch
from gfn_agents.config import TrainConfig
from gfn_agents.default_policy import DEFAULT_POLICY_FOLDER
from gfn_agents.few_shot import few_shot
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.model_options import ModelOptions
from gfn_agents.objectives import OBJECTIVES
from gfn_agents.prefix_tree import Tokens
from gfn_agents.prompts import PromptTemplate
from gfn_agents.scoring import score_padded
from gfn_envs.making import make_text_env
from gfn_envs.rollout import rollout
from gfn_envs.trajectory import Trajectory

GROUP, STEPS, SHOTS = 8, 4, 4
Sequences = list[tuple[Tokens, Tokens]]


@dataclass(frozen=True)
class Cost:
    """What one way of one thing costs, and of how much.

    Attributes:
        seconds: of the whole group.
        tokens: evaluated in them, those evaluated twice counted twice.
        peak: bytes in use at most, above what is in use at the start.
        sequences: a prompt with an action is one.
        examples: tokens of what all prompts share.
    """

    seconds: float
    tokens: int
    peak: int
    sequences: int
    examples: int


# -- the case --------------------------------------------------------------------------------------
def load_policy(model: str, options: ModelOptions) -> LanguageModelPolicy:
    """Returns the policy with an adapter; "random" has the shape of SmolLM2-135M and the default tokenizer."""
    if model != "random":
        return LanguageModelPolicy.load(model, options)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    return LanguageModelPolicy(
        LlamaForCausalLM(shape).to(options.device), AutoTokenizer.from_pretrained(DEFAULT_POLICY_FOLDER)
    )


def play(shots: int = SHOTS, seed: int = 0) -> tuple[PromptTemplate, list[Trajectory]]:
    """Returns the prompt with worked examples, and a group of random trajectories on one problem."""
    env = make_text_env("gfn_envs/BlocksWorld-v0", {"blocks": 4, "length": STEPS})
    rng = np.random.default_rng(seed)
    template = PromptTemplate(examples=few_shot(env.task, env.problems, shots, rng))
    problem = env.problems.sample(rng)
    group = rollout(env.task, RandomLegalAgent(), [problem] * (4 * GROUP), rng)
    whole = [trajectory for trajectory in group if len(trajectory.steps) == STEPS]
    return template, whole[:GROUP]


# -- both ways -------------------------------------------------------------------------------------
def tree_update(policy: LanguageModelPolicy, group: Sequence[Trajectory]) -> Tensor:
    """Returns the loss, after its gradient."""
    loss = OBJECTIVES["vargrad"].loss(scored_batch(policy, group, beta=1.0), TrainConfig(regression="squared"))
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def tree_sampling(policy: LanguageModelPolicy, group: Sequence[Trajectory]) -> None:
    """Computes the probabilities of the actions at every step, from which `act` samples."""
    for place in range(STEPS):
        distinct = dict.fromkeys((t.steps[place].observation, t.steps[place].admissible_actions) for t in group)
        policy.action_probabilities(*map(list, zip(*distinct, strict=True)))


def batches(policy: LanguageModelPolicy, group: Sequence[Trajectory]) -> list[Sequences]:
    """Returns the sequences of each step of each trajectory."""
    found = []
    for step in (step for trajectory in group for step in trajectory.steps):
        (prompt,), (actions,) = policy._tokens([step.observation], [step.admissible_actions])
        found.append([(prompt, action) for action in actions])
    return found


def usual_update(policy: LanguageModelPolicy, group: Sequence[Trajectory]) -> Tensor:
    """Returns the loss (VarGrad) after its gradient, every activation kept: for the small case."""
    log_probs = [score_padded(policy.model, batch, 0).log_softmax(dim=0) for batch in batches(policy, group)]
    steps = [step for trajectory in group for step in trajectory.steps]
    taken = [p[step.admissible_actions.index(step.action)] for p, step in zip(log_probs, steps, strict=True)]
    rewards = torch.tensor([trajectory.log_reward for trajectory in group]).to(taken[0])
    residuals = torch.stack(taken).view(len(group), STEPS).sum(dim=1) - rewards
    loss = (residuals - residuals.mean()).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def usual_update_of(policy: LanguageModelPolicy, part: Sequence[Sequences]) -> None:
    """Evaluates some batches, forward and backward, one after another."""
    for batch in part:
        score_padded(policy.model, batch, 0).log_softmax(dim=0)[0].backward()  # type: ignore[no-untyped-call]


@torch.no_grad()
def usual_sampling_of(policy: LanguageModelPolicy, part: Sequence[Sequences]) -> None:
    """Evaluates each sequence of some batches in a forward pass of its own."""
    for sequence in (sequence for batch in part for sequence in batch):
        score_padded(policy.model, [sequence], 0)


# -- measuring -------------------------------------------------------------------------------------
def measure(model: str, options: ModelOptions, way: str, part: int) -> Cost:
    """Returns what one way costs in this process, scaled to the whole group."""
    torch.set_num_threads(1)
    template, group = play()
    policy = load_policy(model, options)
    policy.template = template
    whole = batches(policy, group)
    chosen = whole[:: max(1, len(whole) // part)][:part]
    scale = 1.0
    if way.startswith("usual"):
        scale = padded_tokens(whole) / padded_tokens(chosen)
    works: dict[str, Callable[[], Any]] = {
        "tree update": lambda: tree_update(policy, group),
        "tree sampling": lambda: tree_sampling(policy, group),
        "usual update": lambda: usual_update_of(policy, chosen),
        "usual sampling": lambda: usual_sampling_of(policy, chosen),
    }
    score_padded(policy.model, [((1, 2), (3,))], 0).sum().backward()  # type: ignore[no-untyped-call]
    count = _count_tokens(policy)
    start = _start_peak(policy.device)
    started = _clock(policy.device)
    works[way]()
    seconds = scale * (_clock(policy.device) - started)
    peak = _peak(policy.device) - start
    return Cost(seconds, int(scale * count[0]), peak, sum(map(len, whole)), len(policy._opening))


def padded_tokens(part: Sequence[Sequences]) -> int:
    """Returns the tokens of right-padded batches."""
    return sum(len(batch) * max(len(prompt) + len(action) for prompt, action in batch) for batch in part)


def _count_tokens(policy: LanguageModelPolicy) -> list[int]:
    count = [0]

    def add(module: Any, arguments: Any, options: dict[str, Any]) -> None:
        count[0] += options["input_ids"].numel()

    policy.model.register_forward_pre_hook(add, with_kwargs=True)
    return count


def _clock(device: torch.device) -> float:
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def _start_peak(device: torch.device) -> int:
    """Starts to watch the peak of memory, and returns what is in use."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: the peak starts from here
    return _peak(device)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


# -- the small case --------------------------------------------------------------------------------
def differences() -> tuple[float, float]:
    """Returns by how much loss and gradient of both ways differ, relatively, on a small model in float64."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(DEFAULT_POLICY_FOLDER)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).double()
    template, group = play(shots=1)
    policy = LanguageModelPolicy(model, tokenizer, template, row_budget=100, rows_in_memory=1)
    found = []
    for way in (tree_update, usual_update):
        policy.zero_grad()
        loss = way(policy, group)
        found.append((loss, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])))
    (loss, gradient), (usual_loss, usual_gradient) = found
    return (
        float((loss - usual_loss).abs() / usual_loss),
        float((gradient - usual_gradient).norm() / usual_gradient.norm()),
    )


def main() -> None:
    """Prints the small case, then one line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--part", type=int, default=2, help="batches of the usual way that are measured")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("small case: loss and gradient differ relatively by {:.0e} and {:.0e}".format(*differences()), flush=True)
    options = ModelOptions(dtype=chosen.dtype, device=chosen.device, use_peft=chosen.model != "random")
    spawn = multiprocessing.get_context("spawn")
    for thing in ("update", "sampling"):
        costs = {}
        for way in ("tree", "usual"):
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                work = process.submit(measure, chosen.model, options, f"{way} {thing}", chosen.part)
                cost = costs[way] = work.result()
            print(
                f"{thing}, {way} way: {cost.seconds:.2f} s, {cost.tokens:,} tokens, peak {cost.peak / 1e6:,.0f} MB",
                flush=True,
            )
        times = costs["usual"].seconds / costs["tree"].seconds
        what = f"{cost.sequences} sequences after {cost.examples} tokens of examples"
        print(f"{thing}: {times:.1f} times less time ({what})", flush=True)


if __name__ == "__main__":
    main()
