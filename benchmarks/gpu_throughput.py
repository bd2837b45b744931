"""How well a GPU is used: tokens and trajectories per second, share of the matrix-product peak, memory, precision.

    python -m benchmarks.gpu_throughput [--shape 0.5B 7B] [--problems 16] [--dtype bfloat16] [--device cuda]

Randomly initialised models of the shape of Qwen2 with an adapter (LoRA) of rank 16 take one update of VarGrad on
groups of 8 trajectories of BlocksWorld, 4 steps each, after a prompt with 4 worked examples, and the sampling that
belongs to it. The peak is what a large matrix product of the same type reaches on the same device. A token that is
evaluated again for its gradient counts once as a token and twice as work, and work is products with weights: attention,
a small part of it, is left out. Last, log-probabilities in the given type
are compared with those of the same weights in float32.

`--shape tiny --device cpu --problems 1` shows that the script runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from benchmarks.training_step import play, tree_sampling, tree_update
from gfn_agents.batch import scored_batch
from gfn_agents.default_policy import DEFAULT_POLICY_FOLDER
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.tree_attention import leave_flex, takes_block_masks, use_flex
from gfn_envs.trajectory import Trajectory

# hidden size, inner size, layers, heads, heads of keys and values, vocabulary
SHAPES = {
    "tiny": (64, 128, 2, 4, 2, 4096),
    "0.5B": (896, 4864, 24, 14, 2, 151936),
    "7B": (3584, 18944, 28, 28, 4, 152064),
}


def make_policy(shape: str, dtype: torch.dtype, device: torch.device) -> LanguageModelPolicy:
    """Returns a policy on a random model with an adapter that changes something."""
    hidden, inner, layers, heads, pairs, vocabulary = SHAPES[shape]
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=pairs,
        tie_word_embeddings=shape != "7B",
        dtype=dtype,
    )
    torch.manual_seed(0)
    with device:
        model = Qwen2ForCausalLM(config).to(dtype)
    adapter = LoraConfig(
        task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear", init_lora_weights=False
    )
    adapted = get_peft_model(model, adapter)
    return LanguageModelPolicy(adapted, AutoTokenizer.from_pretrained(DEFAULT_POLICY_FOLDER))


def peak(dtype: torch.dtype, device: torch.device, size: int) -> float:
    """Returns the operations per second of a matrix product, the best of five."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / min(seconds(lambda: left @ right, device) for _ in range(5))


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Returns how long some work takes until the device has done it."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    started = now()
    work()
    return now() - started


def operations(policy: LanguageModelPolicy, work: Callable[[], Any]) -> float:
    """Returns the floating-point operations of some work's products with weights."""
    flex = takes_block_masks(policy.model)
    if flex:
        leave_flex(policy.model)  # the counter does not know it, and attention is not counted
    with FlopCounterMode(display=False) as counter:
        work()
    if flex:
        use_flex(policy.model)
    counts = counter.get_flop_counts()["Global"]
    return float(sum(counts.get(product, 0) for product in (torch.ops.aten.mm, torch.ops.aten.addmm)))


def tokens_of(policy: LanguageModelPolicy, work: Callable[[], Any]) -> int:
    """Returns how many tokens some work evaluates."""
    count = 0

    def add(module: Any, arguments: Any, options: dict[str, Any]) -> None:
        nonlocal count
        count += options["input_ids"].numel()

    hook = policy.model.register_forward_pre_hook(add, with_kwargs=True)
    work()
    hook.remove()
    return count


def scored(policy: LanguageModelPolicy, group: list[Trajectory]) -> None:
    """Evaluates what an update does, once."""
    scored_batch(policy, group, beta=1.0)


def report(shape: str, dtype: torch.dtype, device: torch.device, groups: list[list[Trajectory]]) -> None:
    """Prints what an update and its sampling cost, and how near the type comes to float32."""
    policy = make_policy(shape, dtype, device)
    policy.template = play()[0]
    group = [trajectory for trajectories in groups for trajectory in trajectories]
    best = peak(dtype, device, 8192 if device.type == "cuda" else 256)
    print(f"{shape}: row budget {policy.row_budget}, peak {best / 1e12:.2f} TFLOP/s in {dtype}")
    ways = {"update": (tree_update, scored), "sampling": (tree_sampling, tree_sampling)}
    for name, (way, alone) in ways.items():

        def work(way: Callable[..., Any] = way) -> Any:
            policy.forget()  # as after an update
            return way(policy, group)

        work()  # kernels are chosen, and compiled, at the first time
        policy.forget()
        with torch.no_grad():
            distinct = tokens_of(policy, lambda alone=alone: alone(policy, group))  # type: ignore[misc]
        policy.forget()
        work_done = operations(policy, work)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        spent = seconds(work, device)
        memory = f", peak {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB" if device.type == "cuda" else ""
        print(
            f"  {name}: {spent:.3f} s, {distinct / spent:,.0f} tokens/s, {len(group) / spent:,.1f} trajectories/s, "
            f"{100 * work_done / spent / best:.0f} % of the peak{memory}"
        )
    steps = [step for trajectory in group[:8] for step in trajectory.steps]
    asked = [step.observation for step in steps], [step.admissible_actions for step in steps]
    with torch.no_grad():
        found = policy.log_probs(*asked)
        policy.model.float()
        exact = policy.log_probs(*asked)
    legal = torch.isfinite(exact)
    print(f"  log-probabilities differ from float32 by at most {float((found - exact)[legal].abs().max()):.1e}")


def main() -> None:
    """Prints three lines a shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="+", default=["0.5B", "7B"], choices=list(SHAPES))
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--device", default="cuda")
    chosen = parser.parse_args()
    groups = [play(seed=seed)[1] for seed in range(chosen.problems)]
    for shape in chosen.shape:
        report(shape, getattr(torch, chosen.dtype), torch.device(chosen.device), groups)


if __name__ == "__main__":
    main()
