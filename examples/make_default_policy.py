"""Makes the embedded default policy: a small Llama trained from nothing on exact target policies.

For training-split problems the exact flows are known by enumeration, and with them the action
probabilities of the exact sampler at every state. The model learns these probabilities over all
legal actions (cross-entropy), at states that the exact sampler visits. ALFWorld has too many states
to list; there it learns what a planner does, at states of play that strays from the plan. No test or
validation problem is used, neither by the tokenizer nor by the model.

It is made in twelve runs: Game24 and NumberLine, then BlocksWorld, then the other three, each with what came before
repeated; then three times all of them, at last with most time for PrOntoQA. After that it found the rule that applies
nearly always, and whether the answer is true or false it guessed: that is the parity of two negations, and in a mix of
long proofs nothing rewards a half of it. Proofs of one rule alone teach it within minutes, and three more runs of
all carry it over to longer ones; answers after wasted steps need minutes of their own, too:

    python examples/make_default_policy.py --minutes 36 --output /tmp/first
    python examples/make_default_policy.py --minutes 27 --seed 1 --start /tmp/first --output /tmp/second \\
        --learning-rate 1.2e-3 --new BlocksWorld \\
        --shares '{"BlocksWorld": 0.67, "Game24": 0.3, "NumberLine": 0.03}'
    python examples/make_default_policy.py --minutes 42 --seed 2 --start /tmp/second --output /tmp/third \\
        --learning-rate 1.2e-3 --new PrOntoQA BlackJack ALFWorld \\
        --shares '{"Game24": 0.22, "BlocksWorld": 0.2, "NumberLine": 0.02, "PrOntoQA": 0.28, "BlackJack": 0.03,
                  "ALFWorld": 0.25}'
    python examples/make_default_policy.py --minutes 44 --seed 3 --start /tmp/third --output /tmp/fourth \\
        --learning-rate 1e-3 \\
        --shares '{"Game24": 0.24, "BlocksWorld": 0.24, "NumberLine": 0.06, "PrOntoQA": 0.24, "BlackJack": 0.06,
                  "ALFWorld": 0.16}'
    python examples/make_default_policy.py --minutes 18 --seed 4 --start /tmp/fourth --output /tmp/fifth \\
        --learning-rate 9e-4 \\
        --shares '{"Game24": 0.14, "BlocksWorld": 0.46, "NumberLine": 0.12, "PrOntoQA": 0.22, "BlackJack": 0.02,
                  "ALFWorld": 0.04}'
    python examples/make_default_policy.py --minutes 55 --seed 5 --start /tmp/fifth --output /tmp/sixth \\
        --learning-rate 1e-3 \\
        --shares '{"PrOntoQA": 0.55, "BlocksWorld": 0.16, "Game24": 0.12, "ALFWorld": 0.1, "NumberLine": 0.05,
                  "BlackJack": 0.02}'
    python examples/make_default_policy.py --minutes 6 --seed 7 --start /tmp/sixth --output /tmp/seventh \\
        --learning-rate 1e-3 --problems-per-step 16 \\
        --shares '{"PrOntoQA with one rule": 1.0}'
    python examples/make_default_policy.py --minutes 15 --seed 7 --start /tmp/seventh --output /tmp/eighth \\
        --learning-rate 8e-4 \\
        --shares '{"PrOntoQA": 0.42, "PrOntoQA with one rule": 0.1, "BlocksWorld": 0.2, "Game24": 0.13,
                  "NumberLine": 0.06, "ALFWorld": 0.07, "BlackJack": 0.02}'
    python examples/make_default_policy.py --minutes 15 --seed 8 --start /tmp/eighth --output /tmp/ninth \\
        --learning-rate 8e-4 \\
        --shares '{"PrOntoQA": 0.5, "PrOntoQA with one rule": 0.03, "BlocksWorld": 0.2, "Game24": 0.13,
                  "NumberLine": 0.06, "ALFWorld": 0.06, "BlackJack": 0.02}'
    python examples/make_default_policy.py --minutes 10 --seed 9 --start /tmp/ninth --output /tmp/tenth \\
        --learning-rate 8e-4 \\
        --shares '{"PrOntoQA": 0.66, "BlocksWorld": 0.14, "Game24": 0.1, "NumberLine": 0.05, "ALFWorld": 0.04,
                  "BlackJack": 0.01}'
    python examples/make_default_policy.py --minutes 6 --seed 10 --start /tmp/tenth --output /tmp/eleventh \\
        --learning-rate 1e-3 --problems-per-step 16 --later-states 2 \\
        --shares '{"PrOntoQA answers": 1.0}'
    python examples/make_default_policy.py --minutes 17 --seed 11 --start /tmp/eleventh \\
        --learning-rate 8e-4 \\
        --shares '{"PrOntoQA": 0.5, "PrOntoQA answers": 0.08, "BlocksWorld": 0.18, "Game24": 0.12,
                  "NumberLine": 0.07, "ALFWorld": 0.04, "BlackJack": 0.01}'

In these runs a planner that knows where everything is taught ALFWorld. Since then a player that searches does, who is
easier to learn from (`gfn_envs.tasks.alfworld.searcher`); to read the task, "ALFWorld in small rooms" comes first.

The last writes the `from_pretrained` folder gfn_agents/checkpoints/default and its card README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import LlamaConfig, LlamaForCausalLM

from gfn_agents.default_policy import DEFAULT_POLICY_FOLDER
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.pretrained import load_pretrained
from gfn_agents.tokenizer import add_phrases, find_phrases, train_tokenizer
from gfn_envs.exact import enumerate_states
from gfn_envs.problems import GeneratedProblems, ProblemSource
from gfn_envs.rollout import draw_outcome
from gfn_envs.task import Task
from gfn_envs.tasks.alfworld.generator import generate
from gfn_envs.tasks.alfworld.household import TREATMENTS
from gfn_envs.tasks.alfworld.problem import ALFWorldProblem, kind_of
from gfn_envs.tasks.alfworld.searcher import informed_commands, search_policy
from gfn_envs.tasks.alfworld.task import ALFWorld, ALFWorldState
from gfn_envs.tasks.blackjack import BlackJack
from gfn_envs.tasks.blocksworld import BlocksWorld
from gfn_envs.tasks.game24 import Game24
from gfn_envs.tasks.numberline import NumberLine
from gfn_envs.tasks.prontoqa import ANSWERS, PrOntoQA

FIRST_SHARES = {"Game24": 0.97, "NumberLine": 0.03}
FAMILIES: dict[str, tuple[Task[Any, Any], ...]] = {
    "Game24": (Game24(),),
    "NumberLine": (NumberLine(),),
    "BlocksWorld": tuple(BlocksWorld(length=length) for length in (2, 4, 4, 4, 6, 6, 6, 6)),
    "PrOntoQA": (
        *(PrOntoQA(hops=hops) for hops in (1, 2, 3, 4, 5, 5)),
        *(PrOntoQA(hops=hops, slack=0) for hops in (2, 4)),
        PrOntoQA(hops=2, applicable_only=True),
        PrOntoQA(hops=3, ontology="true"),
        *(PrOntoQA(hops=hops, slack=0, ontology="true") for hops in (3, 4, 5)),
    ),
    "PrOntoQA with one rule": (
        PrOntoQA(hops=1, slack=0, negation=False),
        *(PrOntoQA(hops=1, slack=0, distractors=distractors) for distractors in (7, 7, 4)),
    ),
    "PrOntoQA answers": (
        *(PrOntoQA(hops=hops, slack=slack) for hops in (1, 2, 3, 4, 5, 5) for slack in (0, 1, 2, 2, 3)),
        *(PrOntoQA(hops=hops, distractors=4) for hops in (3, 4, 5)),
        *(PrOntoQA(hops=hops, slack=slack, ontology="true") for hops in (3, 5) for slack in (0, 1, 2)),
    ),
    "BlackJack": tuple(BlackJack(**options) for options in BlackJack.difficulties.values()),
    "ALFWorld": (ALFWorld().memoryless(),),
    "ALFWorld in small rooms": (ALFWorld().memoryless(),),
}
"""The tasks of each name, drawn alike."""
_KEPT_PROBLEMS = 2000
_PROBLEMS_READ = 100
"""Problems of each task whose texts decide about new tokens."""
_SEARCHED_STATES = 4
"""States of one ALFWorld problem in a step: they are the longest."""
_KEPT_SEARCHES, _STRAIGHT = 0.1, 0.8
"""In small rooms the share of states with something to look for that is learned from, and of walks straight to it."""


@dataclass(frozen=True)
class Example:
    """A state's texts and the exact sampler's probabilities of its actions."""

    observation: str
    actions: tuple[str, ...]
    probabilities: np.ndarray


@lru_cache(maxsize=_KEPT_PROBLEMS)
def examples_of(task: Task[Any, Any], problem: Any) -> tuple[list[Example], np.ndarray]:
    """Returns the states that the exact sampler visits, the start first, and how often it does."""
    graph = enumerate_states(task, problem)
    policy = graph.target_policy()
    visits = np.zeros(len(graph.states))
    visits[0] = 1.0
    for index, edges in enumerate(graph.edges):
        for probability, outcomes in zip(policy[index], edges, strict=True):
            for chance, child in outcomes:
                visits[child] += visits[index] * probability * chance
    found: dict[tuple[str, tuple[str, ...]], list[Any]] = {}
    for index in map(int, np.flatnonzero(visits > 1e-3)):
        if graph.actions[index]:
            entry = found.setdefault((task.observe(graph.states[index]), graph.actions[index]), [policy[index], 0.0])
            entry[1] += visits[index]
    examples = [Example(observation, actions, entry[0]) for (observation, actions), entry in found.items()]
    return examples, np.array([entry[1] for entry in found.values()])


def searching_examples(task: ALFWorld, problem: Any, count: int, rng: np.random.Generator) -> list[Example]:
    """Returns up to `count` states of play that strays from a searching player's, seldom or nearly always."""
    state, found, strays = task.reset(problem), [], rng.random() ** 2
    while wise := search_policy(task, state):
        found.append(_searched(task, state, wise))
        state = task.step(state, _strayed(found[-1], strays, rng))
    return _some(found, min(count, _SEARCHED_STATES), rng)


def small_room_examples(task: ALFWorld, problem: Any, count: int, rng: np.random.Generator) -> list[Example]:
    """Returns up to `count` states of the game in a part of its room, nearly all with nothing to look for.

    What is to be taken and where it is to be brought is then a matter of reading the task, and texts are short.
    """
    problem = small_room(problem, int(rng.integers(1, 7)), rng)
    state, found, strays = task.reset(problem), [], 0.25 * rng.random() ** 2
    while wise := search_policy(task, state):
        example = _searched(task, state, wise)
        known = bool(informed_commands(state))
        if known or rng.random() < _KEPT_SEARCHES:
            found.append(example)
        if not known and rng.random() < _STRAIGHT:
            example = _searched(task, state, search_policy(task, state, luck=1.0))
        state = task.step(state, _strayed(example, strays, rng))
    return _some(found, count, rng)


def small_room(problem: ALFWorldProblem, others: int, rng: np.random.Generator) -> ALFWorldProblem:
    """Returns a game in a part of its room: the receptacles that its goal needs, and so many others."""
    kinds = [kind_of(receptacle.name) for receptacle in problem.receptacles]
    treatment = TREATMENTS.get(problem.task_type.split("_")[1])  # "clean" of pick_clean_then_place_in_recep
    wanted = [thing for thing in problem.things if kind_of(thing.name) in (problem.target, problem.place)]
    kept = {number for thing in wanted for number in thing.inside}
    kept |= {number for number, kind in enumerate(kinds) if kind == treatment}
    if places := [number for number, kind in enumerate(kinds) if kind == problem.place]:  # not of a lamp
        kept.add(places[rng.integers(len(places))])
    kept |= set(map(int, rng.permutation([number for number in range(len(kinds)) if number not in kept])[:others]))
    numbers = {old: new for new, old in enumerate(sorted(kept))}
    poses = {pose: new for new, pose in enumerate(dict.fromkeys(problem.receptacles[old].pose for old in numbers))}
    smaller = replace(
        problem,
        receptacles=tuple(row._replace(pose=poses[row.pose]) for row in map(problem.receptacles.__getitem__, numbers)),
        things=tuple(
            thing._replace(
                inside=tuple(numbers[n] for n in thing.inside if n in numbers), near=poses.get(thing.near, -1)
            )
            for thing in problem.things
            if set(thing.inside) & set(numbers)
        ),
        walkthrough=(),
    )
    return replace(smaller, game=f"{problem.game}/{smaller.content_hash[:16]}")


def _searched(task: ALFWorld, state: ALFWorldState, wise: dict[str, float]) -> Example:
    actions = task.actions(state)
    return Example(task.observe(state), actions, np.array([wise.get(action, 0.0) for action in actions]))


def _strayed(example: Example, strays: float, rng: np.random.Generator) -> str:
    """Returns an action as the example has it, or with the probability `strays` any."""
    return str(rng.choice(example.actions, p=None if rng.random() < strays else example.probabilities))


def _some(examples: list[Example], count: int, rng: np.random.Generator) -> list[Example]:
    return [examples[i] for i in rng.choice(len(examples), size=min(count, len(examples)), replace=False)]


def answer_examples(task: PrOntoQA, problem: Any, count: int, rng: np.random.Generator) -> list[Example]:
    """Returns up to `count` states in which a proof is complete and the time is wasted but for the answer."""
    start, solution = task.reset(problem), task.solve(problem)[0]
    rules = [action for action in task.actions(start) if action not in ANSWERS]
    proof = sorted((rule for rule in rules if rule in solution), key=solution.index)
    others = [rule for rule in rules if rule not in proof]
    answer = next(answer for answer in ANSWERS if solution.endswith(answer))
    found = []
    for _ in range(count):
        state, left = start, list(proof)
        for waste in rng.permutation([False] * len(proof) + [True] * task.slack):
            if not waste:
                state = task.step(state, left.pop(0))
                continue
            idle = [r for r in others if r in task.actions(state) and task.step(state, r).applied == state.applied]
            if idle:
                state = task.step(state, idle[rng.integers(len(idle))])
        actions = task.actions(state)
        if all(not task.actions(task.step(state, action)) for action in actions):  # else nothing was left to waste
            right = np.array([float(action == answer) for action in actions])
            found.append(Example(task.observe(state), actions, right))
    return found


def visited_examples(task: Task[Any, Any], problem: Any, count: int, rng: np.random.Generator) -> list[Example]:
    """Returns the start and `count` later states, drawn by how often the exact sampler visits them."""
    examples, visits = examples_of(task, problem)
    later = visits[1:] / max(visits[1:].sum(), 1e-9)
    chosen = rng.choice(len(later), size=min(count, len(later)), replace=False, p=later) if len(later) else []
    return [examples[0], *(examples[1 + int(i)] for i in chosen)]


_DRAW: dict[str, Callable[..., list[Example]]] = {
    "ALFWorld": searching_examples,
    "ALFWorld in small rooms": small_room_examples,
    "PrOntoQA answers": answer_examples,
}
"""How the states of a problem are drawn, where not by the exact sampler's visits."""


class Batches(IterableDataset[dict[str, tuple[Example, str]]]):
    """Examples of training problems without end, by observation, each with the name of its environment."""

    def __init__(self, shares: dict[str, float], problems: int, later_states: int, seed: int) -> None:
        self.names, self.shares = list(shares), np.array(list(shares.values())) / sum(shares.values())
        self.sources = {name: [(task, training_problems(task)) for task in FAMILIES[name]] for name in shares}
        self.problems, self.later_states, self.seed = problems, later_states, seed

    def __iter__(self) -> Iterator[dict[str, tuple[Example, str]]]:
        rng = np.random.default_rng(self.seed)
        while True:
            examples: dict[str, tuple[Example, str]] = {}
            for name in rng.choice(self.names, size=self.problems, p=self.shares):
                task, source = self.sources[name][rng.integers(len(self.sources[name]))]
                draw = _DRAW.get(str(name), visited_examples)
                for example in draw(task, source.sample(rng), self.later_states, rng):
                    examples[example.observation] = example, str(name)
            yield examples


def training_problems(task: Task[Any, Any]) -> ProblemSource[Any]:
    """Returns the training split; of ALFWorld that of all games that can be drawn, not only of the shipped ones."""
    family = GeneratedProblems(generate) if isinstance(task, ALFWorld) else task.problems()
    return family.split("train")


def tokenizer_texts(task: Task[Any, Any], problem: Any, rng: np.random.Generator) -> list[str]:
    """Returns prompts and actions along random play."""
    texts, state = [], task.reset(problem)
    while actions := task.actions(state):
        texts += [f"{task.observe(state)}\nAction:", *(f" {action}" for action in actions)]
        state = draw_outcome(task, state, actions[rng.integers(len(actions))], rng)
    return texts


def new_model(texts: list[str], hidden: int, layers: int) -> tuple[Any, Any]:
    """Returns a model with random weights and a tokenizer made from texts."""
    tokenizer = train_tokenizer(texts, vocabulary_size=640)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 32,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return model, tokenizer


def extended_model(folder: Path, names: list[str], new: list[str], rng: np.random.Generator) -> tuple[Any, Any]:
    """Returns a saved model with tokens for the texts of new environments; those of the others keep theirs."""
    model, tokenizer = load_pretrained(folder)
    if not new:
        return model, tokenizer

    def texts_of(name: str) -> list[set[str]]:
        drawn = [
            (task, problem) for task in FAMILIES[name] for problem in training_problems(task).take(_PROBLEMS_READ, rng)
        ]
        return [set(tokenizer_texts(task, problem, rng)) for task, problem in drawn]

    known: set[str] = set().union(*(text for name in names if name not in new for text in texts_of(name)))
    for name in new:
        texts = texts_of(name)
        read = set().union(*texts)
        added = add_phrases(tokenizer, find_phrases(texts), read, known)
        known |= read
        print(f"{added} tokens for {name}", flush=True)
    before = len(model.get_input_embeddings().weight)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight[before:] = torch.randn(len(weight) - before, weight.shape[1]) * weight[:before].std()
    return model, tokenizer


def card(parameters: int, steps: int, arguments: argparse.Namespace, divergences: dict[str, float]) -> str:
    """Returns the text that lies beside the policy: what it is, and what data, seed and time made it."""
    before = ""
    if arguments.start:
        before = (arguments.start / "README.md").read_text(encoding="utf-8") + "\n## Continued"
    shares = ", ".join(f"{name} {share:.0%}" for name, share in arguments.shares.items())
    measured = ", ".join(f"{name} {value:.3f}" for name, value in divergences.items())
    return f"""{before or "# The embedded default policy"}

A Llama of {parameters:,} parameters with a byte-level vocabulary of its own, trained from nothing.

- Data: the exact target policies of problems of the training split, by enumeration, and for ALFWorld shortest plans
  ({shares}). The tasks are those of `FAMILIES` in the script. No validation or test problem was used, neither for the
  tokenizer nor for the model.
- Loss: cross-entropy to the exact sampler's action probabilities over all legal actions (target R^1, failures 1e-4).
- Run: {steps} steps in {arguments.minutes:g} minutes, seed {arguments.seed}, threads {arguments.threads}, learning rate
  {arguments.learning_rate:g}. Mean Kullback-Leibler divergence from the exact policy at the end, nats a state:
  {measured}.
"""


def main() -> None:
    """Trains until the time is used up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--problems-per-step", type=int, default=4)
    parser.add_argument("--later-states", type=int, default=6)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--start", type=Path, help="continue from the policy in this folder")
    parser.add_argument(
        "--new", nargs="*", choices=FAMILIES, default=[], help="environments that the policy of --start has not read"
    )
    parser.add_argument("--shares", type=json.loads, default=FIRST_SHARES, help="shares of the environments, as JSON")
    parser.add_argument("--output", type=Path, default=DEFAULT_POLICY_FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)

    batches = Batches(arguments.shares, arguments.problems_per_step, arguments.later_states, arguments.seed)
    if arguments.start:
        model, tokenizer = extended_model(arguments.start, list(arguments.shares), arguments.new, rng)
    else:
        drawn = [
            (task, p) for family in batches.sources.values() for task, source in family for p in source.take(2000, rng)
        ]
        texts = [text for task, problem in drawn for text in tokenizer_texts(task, problem, rng)]
        model, tokenizer = new_model(texts, arguments.hidden, arguments.layers)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens", flush=True)
    policy = LanguageModelPolicy(model, tokenizer, rows_in_memory=64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    # A process of its own, as to list all states takes as long as to learn from a few of them.
    loader = iter(DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=16))
    started, steps = time.time(), 0
    divergences: dict[str, list[float]] = {name: [] for name in arguments.shares}
    while (progress := (time.time() - started) / (60 * arguments.minutes)) < 1:
        rate = (
            arguments.learning_rate
            * min(1.0, (steps + 1) / 100)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = list(next(loader).values())
        log_probs = policy.log_probs([e.observation for e, _ in batch], [e.actions for e, _ in batch])
        loss = torch.zeros(())
        for row, (example, name) in zip(log_probs, batch, strict=True):
            target = torch.from_numpy(example.probabilities).float()
            divergence = (target * (target.clamp_min(1e-9).log() - row[: len(target)])).sum()
            divergences[name].append(float(divergence.detach()))
            loss = loss + divergence / len(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
        if steps % 25 == 0:
            recent = "  ".join(f"{name} {np.mean(values[-200:]):.3f}" for name, values in divergences.items() if values)
            print(f"step {steps}  minutes {progress * arguments.minutes:.1f}  divergence: {recent}", flush=True)
        if steps % 200 == 0:
            policy.save(arguments.output)
    policy.save(arguments.output)
    last = {name: float(np.mean(values[-1000:])) for name, values in divergences.items() if values}
    text = card(model.num_parameters(), steps, arguments, last)
    (arguments.output / "README.md").write_text(text, encoding="utf-8")
    print(f"{steps} steps in {arguments.minutes} minutes; divergence {last}")


if __name__ == "__main__":
    main()
