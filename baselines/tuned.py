"""Options of the trained baselines for each environment, and how they were found.

All were tried on training problems alone: one seed, one thread, 1,000 to 4,096 environment steps, 5 to 35 seconds of
one processor a run. Success and distance to the target (total variation) are exact, over 16 training problems (Game24:
6), of the policy at the end of a run. With one seed only large differences mean something.

The language-model methods were first tried from an early draft of the embedded policy, which had read a lot of Game24,
BlocksWorld and NumberLine and very little of PrOntoQA and BlackJack; success and distance of that draft: Game24 0.74
and 0.32, BlocksWorld 0.80 and 0.25, BlackJack 0.28 and 0.25, PrOntoQA 0.00 and 1.00.

Learning rate. Where the model has read much, the rate of `TrainConfig`, 3e-4, unlearns at first what it knows:

- Game24, after 1,536 steps: gflownet 0.67 and 0.50 with 3e-4 and 8 samples a problem, 0.75 and 0.30 with 1e-4 and 16.
- BlocksWorld (4 steps), after 1,536 steps: gflownet 0.84 and 0.19 with 3e-4, 0.86 and 0.17 with 1e-4, 0.84 and 0.20
  with 1e-4 and 16 samples a problem; reinforce 0.78 and 0.25 with 3e-4, 0.85 and 0.17 with 1e-4; grpo 0.85 and 0.17
  with 1e-4; ppo_clip with 2 updates a batch 0.86 and 0.17 with 1e-4; sft, after 1,028 steps, 0.94 and 0.07 with 1e-4.
- NumberLine, after 2,000 steps with 3e-4: grpo 0.96 and 0.55, sft 0.82 and 0.45; ppo_clip with 4 updates a batch 0.88
  and 0.60, though 0.99 in the last quarter of its own episodes: it seems to be unstable, so 2 updates are the default.
- NumberLine, published start law, all 30 problems, of which 26 are training problems. Chance is 0.61 and 0.58; the
  embedded policy has 0.92 and 0.29, and with 3e-4 gflownet grows sure of short walks: 0.98 and 0.48 after 4,000 steps.
  Smaller rates and larger batches lose less, but nothing without demonstrations came below 0.30: long walks are then
  too rare to learn from. After 20,000 steps with 1e-4, 4 updates a batch and demonstrations in replay (24 a problem, at
  most 8 kept of a solution): 0.99 and 0.24 with 8 samples and 16 demonstrations a problem, 0.996 and 0.20 with 4 and 8;
  after 1,000 steps 0.85 and 0.31, and 0.89 and 0.31. With a warm start of 900 steps 0.99 and 0.25; balance with a flow
  head 0.39.
- ALFWorld (easy), success over 10 games of the validation split, 16 times each, which tells only large differences
  apart: untrained 0.14, gflownet after 3,000 steps 0.12 with 3e-4, 0.17 with 1e-4, and 0.10 with 1e-4 and searching
  demonstrations in replay; grpo with 1e-4 0.10; sft after 2,000 steps with 1e-4 0.04. Chance is 0.006.
- BlackJack, after 2,000 steps with 3e-4: gflownet 0.33 and 0.17, reinforce and grpo 0.34 and 0.63, sft 0.39 and 0.45.

Warm start. In PrOntoQA that draft saw no success, from which no policy gradient can start (as in BlackJack with a
model that had read none of it: reinforce 0.00 after 4,033 steps). So all four objectives first imitate demonstrations,
which count as steps, with the options of sft. After 2,000 steps, 1,000 of them demonstrated: gflownet 0.84 and 0.16,
grpo 0.85 and 0.15; sft, after 1,008 steps with 3e-4: 0.88 and 0.12. From a later policy, which could hardly prove yet,
after 1,200 steps, over 12 problems of the validation split: BlocksWorld (4 steps) 0.82 and 0.18 before training, sft
0.96 and 0.04, gflownet 0.90 and 0.10 without a warm start, 0.95 and 0.05 after 800 demonstrated steps, and the same
after 900 with demonstrations in replay, which off-policy objectives alone can use, as grpo with 900; PrOntoQA (easy)
0.42 and 0.58 before training, sft 0.998 and 0.002, gflownet 0.45 and 0.55 without a warm start, 0.994 and 0.006 after
900 steps. From a policy that proves, as the embedded one does after its twelfth run, a warm start adds nothing:
PrOntoQA (5 hops, paper suite, 40 problems of the validation split) 0.951 with it, 0.948 without.
With few training problems uniformly random actions do harm: after 5,000 steps on 15 problems of BlocksWorld (4 steps;
paper suite, 21 problems of the validation split, two seeds) gflownet has 0.87 and 0.14 with an epsilon of 0.02,
and 0.92 and 0.09 without; grpo, which has none, 0.94 and 0.07. A smaller rate, warm-up, local search, no warm start or
no replay moved these by 0.03 at most. In the quick suite epsilon makes no difference. So nobody takes random actions;
the other figures of gflownet here are with 2 % of them.

Where a solver lists all solutions of a problem, imitating it is nearly the target itself, and hard to beat in so few
steps. A budget should be well above these 900 steps.

PPO and MaskablePPO, success after 4,096 steps (NumberLine 2,048), of MaskablePPO if nothing is said. Rates of 3e-3 were
tried in BlackJack and PrOntoQA with a tokenizer of fewer phrases than the other runs:

- BlackJack: learning rate 1e-3 rather than 3e-3: 0.36 rather than 0.35; with 1e-3, batches of 256: 0.34, 10 epochs:
  0.38; entropy bonus 0.03: 0.34. PPO is the same there, as everything is legal.
- BlocksWorld (4 steps): 10 epochs with 1e-3: 0.15; 4 epochs: 0.07 with 1e-3 and 0.10 with 3e-3; 16 episodes side by
  side and 8 or 10 epochs with 3e-3: 0.03. PPO with the defaults: 0.04. Chance is 0.02: these budgets are short for a
  network that knows nothing.
- PrOntoQA (2 hops, applicable_only): learning rate 1e-3 rather than 3e-3: 0.22 rather than 0.17; width 128: 0.17;
  entropy bonus 0.03: 0.17; 10 epochs: 0.10; 16 episodes side by side and 8 epochs: 0.14. PPO with the defaults: 0.03.
- NumberLine: entropy bonus 0.03 rather than 0.01: 0.90 and 0.91, so the default stays; after 4,096 steps 0.99.
- Game24: see `baselines.ppo`.
- ALFWorld (easy), success in 160 episodes on 40 training games and in 160 on the 10 validation games, where chance is
  0.01: nothing that was tried learned to find what its reward needs, so the defaults stay. MaskablePPO after 16,384
  steps: 0.00 and 0.02; entropy bonus 0.03: 0.01 and 0.02; 0.1: 0.03 and 0.01; 0.03 with rounds of 64 steps, longer
  than a game, and batches of 256: 0.01 and 0.01; 0.03 with 1e-3: 0.02 and 0.01. PPO with 0.03 and with 0.1: 0.00 and
  0.01. MaskablePPO after 65,536 steps: with 0.1 0.00 and 0.03; with rounds of 64 steps, batches of 256, 10 epochs and
  1e-3 0.03 and 0.03.

RecurrentPPO, in NumberLine with a hidden goal on a line of 8 (`gfn bench memory`), success over 16 training problems
after 8,000 steps, with two seeds: the defaults 0.80 and 0.89; 1e-3: 0.78 and 0.77; 10 epochs: 0.80 and 0.82. In the
last eighth of 24,576 steps: the defaults 0.88 and 0.99, width 128 0.81 and 0.89; MaskablePPO, which reads the history
as one text, 0.93 and 0.88. In the last quarter of 4,096 steps in other games: BlocksWorld (4 steps) 0.07 with the
defaults, 0.08 with 1e-3, 0.07 with that and 10 epochs; PrOntoQA (easy) 0.23, 0.27 with 1e-3; BlackJack 0.39, 0.39
with 1e-3; Game24 0.04, 0.02 with 1e-3: what suits MaskablePPO suits it.

Not tuned: harder presets than those named, the policy gradients and sft in Game24 (the rate and
samples of gflownet are taken over), clip ranges, replay, and everything for other models.
"""

from __future__ import annotations

from typing import Any

POLICY_METHODS = ("gflownet", "reinforce", "grpo", "ppo_clip")


def _alike(**options: Any) -> dict[str, dict[str, Any]]:
    """Returns the same options for all objectives on the language-model policy."""
    return dict.fromkeys(POLICY_METHODS, options)


def _each_ppo(**options: Any) -> dict[str, dict[str, Any]]:
    """Returns the same options for PPO without masks, with masks, and with a memory."""
    return dict.fromkeys(("ppo", "maskable_ppo", "recurrent_ppo"), options)


EVERYWHERE: dict[str, dict[str, Any]] = {"ppo_clip": {"updates_per_batch": 2}}
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    "Game24": {**_alike(learning_rate=1e-4, samples_per_problem=16), "sft": {"learning_rate": 1e-4}},
    "BlocksWorld": {
        **_alike(learning_rate=1e-4, warm_start=900),
        "gflownet": {
            "learning_rate": 1e-4,
            "warm_start": 900,
            "samples_per_problem": 4,
            "demonstrations_per_problem": 4,
        },
        "sft": {"learning_rate": 1e-4},
        **_each_ppo(learning_rate=1e-3, n_epochs=10),
    },
    "NumberLine": {
        "gflownet": {
            "learning_rate": 1e-4,
            "samples_per_problem": 4,
            "updates_per_batch": 4,
            "demonstrations_per_problem": 8,
            "replay_per_problem": 24,
            "replay_per_solution": 8,
        },
    },
    "PrOntoQA": {**_alike(learning_rate=1e-4, warm_start=900), **_each_ppo(learning_rate=1e-3)},
    "BlackJack": _each_ppo(learning_rate=1e-3),
    "ALFWorld": {**_alike(learning_rate=1e-4), "sft": {"learning_rate": 1e-4}},
}
"""By the environment's name without namespace and version, and by method."""


def tuned(method: str, env_id: str) -> dict[str, Any]:
    """Returns the options of a method in an environment: those of everywhere, and over them those tuned for it."""
    name = env_id.rsplit("/", 1)[-1].rsplit("-v", 1)[0]
    return {**EVERYWHERE.get(method, {}), **TUNED.get(name, {}).get(method, {})}
