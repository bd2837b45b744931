"""Thoughts before actions: exactly normalised, sampled as they are scored, and harmless to the target.

The wrong variants are built here too: an end that forgets the tokens it stands for, an end that is not
certain after the last token, and training without the prior of thoughts.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import gfn_agents.language_model as language_model
import gfn_agents.thoughts as thoughts_module
from examples.hypergrid import Grid, HyperGrid
from gfn_agents import GFlowNetAgent, TrainConfig, Trainer
from gfn_agents.batch import scored_batch
from gfn_agents.checkpointing import list_checkpoints
from gfn_agents.exploration import SelfRepellent, Tempered, VisitCounts
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.objectives import OBJECTIVES, squared
from gfn_agents.policy import Policy, TabularPolicy
from gfn_agents.prompts import PromptTemplate
from gfn_agents.scoring import END
from gfn_agents.thoughts import closing_tokens
from gfn_envs.cli import main
from gfn_envs.exact import enumerate_states
from gfn_envs.metrics import total_variation
from gfn_envs.problems import ProblemSet
from gfn_envs.rollout import rollout
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.trajectory import Answer, Step, Thought, load_trajectories, save_trajectories
from tests.test_language_model import byte_tokenizer, gradients, make_model
from tests.test_objectives import BALANCE, graph_of, largest, log_weights, pairs, solved, trajectories_of
from tests.test_prompts import chat_tokenizer, tiny

GAME, PUZZLE = Game24(count=3), Game24Problem((2, 3, 4))
LINE = "numberline by distance"
MODIFIED = ["modified_detailed_balance", "modified_sub_trajectory_balance"]


# -- the distribution over thoughts ----------------------------------------------------------------
def tiny_policy(longest, size=9):
    """Words of a, b and c, with two tokens that hold a line break and two without any text."""
    tokenizer = Tokenizer(
        models.BPE(
            vocab={text: i for i, text in enumerate(["<pad>", "<end>", "Ċ", "a", "b", "c", "aĊ"])}, merges=[("a", "Ċ")]
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")
    torch.manual_seed(3)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=size, initializer_range=0.5, **shape))
    return LanguageModelPolicy(
        model, fast, PromptTemplate(before_thought="b", before_action="c", thought_tokens=longest)
    )


def every_thought(longest):
    return [Thought(tokens) for length in range(longest + 1) for tokens in product((3, 4, 5), repeat=length)]


def total(policy, longest):
    found = every_thought(longest)
    with torch.no_grad():
        return float(policy.thought_log_probs(["abc"] * len(found), found).double().exp().sum())


def test_closing_tokens_are_special_or_break_the_line_or_have_no_text():
    assert tiny_policy(1)._closing.nonzero()[0].tolist() == [0, 1, 2, 6, 7, 8]
    closing = closing_tokens(byte_tokenizer(), 258)
    assert [byte_tokenizer().decode([i]) for i in closing.nonzero()[0]] == ["<pad>", "<end>", "\n", "\r"]


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_the_probabilities_of_all_thoughts_sum_to_one(longest):
    policy = tiny_policy(longest)
    assert total(policy, longest) == pytest.approx(1.0, abs=1e-6)
    policy.packed = False
    assert total(policy, longest) == pytest.approx(1.0, abs=1e-6)


def test_an_end_that_forgets_what_it_stands_for_is_not_normalised():
    policy = tiny_policy(2)
    policy._closing = np.arange(9) == 1  # the end-of-sequence token alone
    assert total(policy, 2) < 0.99


def test_an_end_that_is_not_certain_after_the_last_token_is_not_normalised(monkeypatch):
    monkeypatch.setattr(language_model, "spelled", lambda thought, closing, longest: (*thought.tokens, END))
    assert total(tiny_policy(2), 2) < 0.99


def test_drawn_thoughts_follow_the_probabilities():
    policy, count = tiny_policy(2), 6000
    drawn = [thought.tokens for thought in policy.think(["abc"] * count, np.random.default_rng(0))]
    expected = policy.thought_log_probs(["abc"] * 13, every_thought(2)).detach().exp().numpy()
    frequencies = [drawn.count(thought.tokens) / count for thought in every_thought(2)]
    assert sum(frequencies) == 1
    assert total_variation(np.array(frequencies), expected) < 0.03
    greedy = policy.think(["abc"], np.random.default_rng(0), temperature=0.0)
    assert greedy == policy.think(["abc"], np.random.default_rng(1), temperature=0.0)


@pytest.mark.parametrize(
    "thought", [Thought((3, 3, 3)), Thought((2,)), Thought((3, 1)), Thought((8,)), Thought((10**9,))]
)
def test_a_thought_that_is_none_of_the_policys_is_refused(thought):
    with pytest.raises(ValueError, match=r"at most 2|never do"):
        tiny_policy(2).thought_log_probs(["abc"], [thought])


# -- the language model ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def prompts():
    states = [GAME.reset(Game24Problem(numbers)) for numbers in ((1, 2, 3), (3, 3, 8), (12, 6, 8))]
    states += [GAME.step(state, GAME.actions(state)[0]) for state in states]
    return [GAME.observe(state) for state in states], [GAME.actions(state) for state in states]


THINKING = PromptTemplate(thought_tokens=5)


@pytest.fixture(params=["chat", "gpt2", "few-shot"])
def thinker(request):
    if request.param == "chat":
        return LanguageModelPolicy(tiny(), chat_tokenizer(), replace(THINKING, style="chat"))
    template = replace(THINKING, instructions="Numbers. " * 10) if request.param == "few-shot" else THINKING
    model = make_model("gpt2" if request.param == "gpt2" else "llama")
    return LanguageModelPolicy(model, byte_tokenizer(), template, row_budget=300)


def test_sampled_and_scored_thoughts_agree(thinker, prompts, monkeypatch):
    """Prompts of different length, some of them equal, and thoughts that end at every place."""
    observations = prompts[0] * 10
    sampled, growing, choose = np.zeros(60), np.arange(60), thoughts_module._choose

    def spy(log_probs, rows, draws, temperature):
        nonlocal growing
        chosen = choose(log_probs, rows, draws, temperature)
        sampled[growing] += log_probs[rows, np.where(chosen == END, log_probs.shape[1] - 1, chosen)].numpy()
        growing = growing[chosen != END]
        return chosen

    monkeypatch.setattr(thoughts_module, "_choose", spy)
    thinker._closing[::3] = True  # so that thoughts end early
    drawn = thinker.think(observations, np.random.default_rng(0))
    assert {len(thought.tokens) for thought in drawn} == {0, 1, 2, 3, 4, 5}
    scored = thinker.thought_log_probs(observations, drawn).detach()
    assert scored.dtype == torch.float32
    assert np.allclose(sampled, scored.numpy(), atol=1e-4)
    thinker.packed = False
    assert torch.allclose(thinker.thought_log_probs(observations, drawn).detach(), scored, atol=1e-5)


def test_how_many_grow_side_by_side_changes_nothing(thinker, prompts, monkeypatch):
    together = thinker.think(prompts[0] * 3, np.random.default_rng(0))
    monkeypatch.setattr(thinker._thoughts_at_once, "count", 4)
    assert thinker.think(prompts[0] * 3, np.random.default_rng(0)) == together


def test_packed_equals_padded_in_values_and_gradients(thinker, prompts):
    """In float64, since scores of whole actions are sums of about 100."""
    torch.nn.init.normal_(thinker.flow_head.weight, generator=torch.Generator().manual_seed(0))
    thinker.double()
    observations, actions = prompts
    said = [*thinker.think(observations[1:], np.random.default_rng(0)), Thought()]
    found = []
    for packed in (True, False):
        thinker.packed = packed
        scores = thinker.scores(observations, actions, said, with_flows=True)
        assert torch.allclose(scores.actions, thinker.log_probs(observations, actions, said), atol=1e-9)
        assert torch.allclose(scores.thoughts, thinker.thought_log_probs(observations, said), atol=1e-9)
        assert torch.allclose(scores.flows, thinker.log_flow(observations), atol=1e-9)
        (scores.thoughts.sum() + scores.actions[:, 0].sum() + scores.flows.sum()).backward()
        found.append((scores, gradients(thinker)))
    for first, second in zip(*(scores for scores, _ in found), strict=True):
        assert torch.allclose(first, second, atol=1e-9)
    for name, gradient in found[0][1].items():
        assert torch.allclose(gradient, found[1][1][name], atol=1e-9 * max(1.0, float(gradient.abs().max()))), name


def test_actions_are_conditional_on_thoughts_and_flows_are_not(thinker, prompts):
    observations, actions = prompts
    said = thinker.think(observations, np.random.default_rng(0))
    empty = [Thought()] * len(said)
    torch.nn.init.normal_(thinker.flow_head.weight)
    with torch.no_grad():
        given, _, flows = thinker.scores(observations, actions, said, with_flows=True)
        without, _, same = thinker.scores(observations, actions, empty, with_flows=True)
        assert torch.allclose(flows, same, atol=1e-5)
        assert torch.allclose(without, thinker.log_probs(observations, actions, empty), atol=1e-5)
    assert not torch.allclose(given, without, atol=1e-5)
    legal = torch.isfinite(given)
    assert torch.allclose(torch.where(legal, given.exp(), 0.0).sum(dim=1), torch.ones(len(given)), atol=1e-6)


def test_the_prompt_is_observation_thought_and_action(prompts):
    policy = LanguageModelPolicy(tiny(), chat_tokenizer(), replace(THINKING, examples=(("o", "a"),)))
    thought = Thought(tuple(policy.tokenizer(" hm")["input_ids"]))
    (ids,), _ = policy._tokens(["now"], [["go"]], [thought])
    assert policy.tokenizer.decode(ids) == "o\nAction: a\n\nnow\nThought: hm\nAction:"
    policy.template = replace(policy.template, style="chat")
    (ids,), ((action,),) = policy._tokens(["now"], [["go"]], [thought])
    text = policy.tokenizer.decode((*ids, *action[:-1]))
    assert text.endswith("Thought: hm\nAction: go")
    assert "\nAction: a" in text


@pytest.mark.parametrize("value", [-1, 1.5, True, "4"])
def test_a_number_of_thought_tokens_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="thought_tokens must be a whole number of at least 0"):
        PromptTemplate(thought_tokens=value)


# -- records ---------------------------------------------------------------------------------------
class Talker:
    """Somebody's agent: the first legal action, with a thought that has a text only."""

    def act(self, observations, admissible_actions, rng):
        return [Answer(legal[0].upper(), Thought(text="the first")) for legal in admissible_actions]


def test_thoughts_are_recorded_and_kept_in_files(tmp_path):
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer(), THINKING)
    rng = np.random.default_rng(0)
    played = rollout(GAME, policy, [PUZZLE] * 3, rng) + rollout(GAME, Talker(), [PUZZLE], rng)
    assert len({step.thought for trajectory in played for step in trajectory.steps}) > 3
    assert [step.thought for step in played[-1].steps] == [Thought(text="the first")] * 2
    save_trajectories(played, tmp_path / "played.jsonl")
    assert load_trajectories(tmp_path / "played.jsonl") == played
    # The same steps without a thought come from the same memory and say nothing of one.
    (silent,) = rollout(GAME, TabularPolicy(states_of(enumerate_states(GAME, PUZZLE))), [PUZZLE], rng)
    assert all(step.thought == Thought() for step in silent.steps)
    assert "thought" not in json.dumps(silent.to_json())


@pytest.mark.parametrize(
    "thought",
    [
        *({"tokens": tokens, "text": ""} for tokens in ([-1], ["1"], [True], 5)),
        *({"tokens": [], "text": text} for text in (5, "x" * 100_001)),
        *({"tokens": [1]}, "hm", [1], 5),
    ],
)
def test_damaged_thoughts_are_refused_with_their_line(thought, tmp_path):
    (tmp_path / "bad.jsonl").write_text(
        json.dumps(
            {"problem_id": "", "log_reward": 0.0, "success": False, "solution": ""}
            | {"steps": [{"observation": "", "admissible_actions": ["a"], "action": "a", "thought": thought}]}
        )
    )
    with pytest.raises(ValueError, match="line 1 is not a trajectory"):
        load_trajectories(tmp_path / "bad.jsonl")


# -- training is exact -----------------------------------------------------------------------------
THOUGHTS = (Thought(), Thought((0,), "zero"), Thought((1,), "one"))


def states_of(graph):
    return [(graph.task.observe(s), a) for s, a in zip(graph.states, graph.actions, strict=True) if a]


class ThinkingTable(Policy):
    """Three possible thoughts before each action, every probability a free parameter."""

    thought_tokens = 1

    def __init__(self, graph, seed=None):
        super().__init__()
        states = states_of(graph)
        self.thinking = TabularPolicy([(text, tuple(c.text for c in THOUGHTS)) for text, _ in states])
        self.acting = TabularPolicy([(text + c.text, legal) for text, legal in states for c in THOUGHTS])
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                self.thinking.logits.normal_(generator=generator)
                self.acting.logits.normal_(generator=generator)

    def log_probs(self, observations, admissible_actions, thoughts=None):
        thoughts = thoughts or [Thought()] * len(observations)
        return self.acting.log_probs(
            [o + c.text for o, c in zip(observations, thoughts, strict=True)], admissible_actions
        )

    def log_flow(self, observations):
        return self.thinking.log_flow(observations)

    def flow_parameters(self):
        return [self.thinking.log_flows]

    def thought_table(self, observations):
        return self.thinking.log_probs(observations, [[c.text for c in THOUGHTS]] * len(observations))

    def thought_log_probs(self, observations, thoughts):
        return self.thought_table(observations)[range(len(thoughts)), [THOUGHTS.index(c) for c in thoughts]]

    @torch.no_grad()
    def think(self, observations, rng, temperature=1.0):
        return [THOUGHTS[rng.choice(3, p=row)] for row in self.thought_table(observations).exp().numpy()]

    def given_each_thought(self, text, legal):
        """Probabilities of thoughts, shape (3,), and of actions given each, shape (3, A)."""
        with torch.no_grad():
            actions = self.log_probs([text] * 3, [legal] * 3, THOUGHTS).exp().numpy()
            return self.thought_table([text])[0].exp().numpy(), actions

    def marginal(self, graph):
        """Probabilities of the actions of every state, summed over thoughts."""
        return [
            np.einsum("c,ca->a", *self.given_each_thought(graph.task.observe(state), legal)) if legal else np.zeros(0)
            for state, legal in zip(graph.states, graph.actions, strict=True)
        ]


def thoughtful(trajectories, copies=3, seed=0):
    """The trajectories, each several times with thoughts drawn at random."""
    rng = np.random.default_rng(seed)
    return [
        replace(t, steps=tuple(replace(step, thought=THOUGHTS[rng.integers(3)]) for step in t.steps))
        for t in trajectories
        for _ in range(copies)
    ]


class Marginal:
    """What a thinking table plays, thoughts forgotten."""

    def __init__(self, graph, table):
        known = zip(graph.states, table.marginal(graph), strict=True)
        self.known = {graph.task.observe(state): probabilities for state, probabilities in known}

    def action_probabilities(self, observations, admissible_actions):
        return [self.known[observation] for observation in observations]


def exact_joint(graph, name, beta, reference):
    """p_ref(c) R^beta in closed form: what the residuals of an objective are zero at."""
    objective, policy = OBJECTIVES[name], ThinkingTable(graph)
    flows, chosen = solved(graph, beta, log_weights(graph, objective, Marginal(graph, reference)))
    with torch.no_grad():
        for index, legal in enumerate(graph.actions):
            if not legal:
                continue
            state, text = graph.states[index], graph.task.observe(graph.states[index])
            thoughts, actions = np.ones(3), np.repeat(chosen[index][None], 3, axis=0)
            prior, reference_actions = reference.given_each_thought(text, legal)
            if objective.reference:  # weighs actions by what they lead to, and thoughts by their actions
                actions = reference_actions * chosen[index] / (prior @ reference_actions)
                thoughts = actions.sum(axis=1)
            places = policy.thinking._places, policy.acting._places
            policy.thinking.logits[places[0][text, tuple(c.text for c in THOUGHTS)]] = torch.from_numpy(
                np.log(prior * thoughts)
            )
            for number, c in enumerate(THOUGHTS):
                policy.acting.logits[places[1][text + c.text, legal], : len(legal)] = torch.from_numpy(
                    np.log(actions[number])
                )
            known = beta * graph.task.log_reward_so_far(state) if objective.flows == "forward_looking" else 0.0
            policy.thinking.log_flows[policy.thinking._flow_places[text]] = flows[index] - known
    return policy


def residual(name, policy, trajectories, beta, reference, **options):
    objective = OBJECTIVES[name]
    log_ref, prior = (reference, None) if objective.reference else (None, reference)
    batch = scored_batch(policy, trajectories, beta, objective.flows, False, log_ref, prior, **options)
    with torch.no_grad():
        return largest(objective.terms(batch))


@pytest.mark.parametrize(("name", "place"), pairs(BALANCE, ["hypergrid", LINE, "blackjack"]))
def test_residuals_vanish_at_the_exact_joint_and_only_there(name, place):
    graph, beta = graph_of(place), 0.5
    reference, trajectories = ThinkingTable(graph, seed=1), thoughtful(trajectories_of(place))
    policy = exact_joint(graph, name, beta, reference)
    if not OBJECTIVES[name].reference and graph.task.deterministic:
        assert total_variation(graph.reached(policy.marginal(graph)), graph.target(beta)) < 1e-12
    assert residual(name, policy, trajectories, beta, reference) < 1e-9
    assert residual(name, policy, trajectories, beta, reference, thought_prior=0.0) > 1e-2
    assert residual(name, policy, trajectories, beta, reference, thought_weight=0.5) > 1e-2
    for changed in (policy.thinking.logits, policy.acting.logits):  # of the first state
        with torch.no_grad():
            changed[0, 0] += 0.1
            assert residual(name, policy, trajectories, beta, reference) > 1e-3
            changed[0, 0] -= 0.1


def train_table(name, place, **options):
    """Trains on all trajectories with many thoughts, with L-BFGS; returns the table and its reference."""
    graph, objective = graph_of(place), OBJECTIVES[name]
    policy, reference, chosen = (
        ThinkingTable(graph),
        ThinkingTable(graph, seed=1),
        thoughtful(trajectories_of(place), 12),
    )
    log_ref, prior = (reference, None) if objective.reference else (None, reference)
    optimizer = torch.optim.LBFGS(
        policy.parameters(), max_iter=400, tolerance_grad=1e-8, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        batch = scored_batch(policy, chosen, 1.0, objective.flows, False, log_ref, prior, **options)
        loss = objective.terms(batch).loss(squared)
        loss.backward()
        return loss

    optimizer.step(closure)
    return policy, reference


def first_thoughts(graph, *tables):
    with torch.no_grad():
        return [table.thought_table([graph.task.observe(graph.states[0])])[0].exp() for table in tables]


@pytest.mark.parametrize(("name", "place"), [*pairs(BALANCE, [LINE]), *pairs(MODIFIED, ["hypergrid"])])
def test_training_with_the_prior_reaches_the_exact_target_over_solutions(name, place):
    graph, (policy, reference) = graph_of(place), train_table(name, place)
    target = graph.target()
    if OBJECTIVES[name].reference:
        target = graph.reached(reference.marginal(graph)) * np.exp(graph.log_rewards)
    assert total_variation(graph.reached(policy.marginal(graph)), target / target.sum()) < 1e-3
    thoughts, prior = first_thoughts(graph, policy, reference)
    assert torch.allclose(thoughts, prior, atol=1e-3) != OBJECTIVES[name].reference


def test_without_the_prior_thoughts_become_noise_and_long_trajectories_too_likely():
    """Three thoughts a step, all alike, count as three ways: the target that is reached is 3^steps R."""
    graph, (policy, reference) = graph_of(LINE), train_table("trajectory_balance", LINE, thought_prior=0.0)
    thoughts, prior = first_thoughts(graph, policy, reference)
    assert torch.allclose(thoughts, torch.full((3,), 1 / 3).double(), atol=1e-3)
    assert (prior - 1 / 3).abs().max() > 0.05
    steps = np.zeros(len(graph.states))
    for index, edges in enumerate(graph.edges):
        steps[[child for outcomes in edges for _, child in outcomes]] = steps[index] + 1
    wrong = graph.target() * 3.0**steps
    reached = graph.reached(policy.marginal(graph))
    assert total_variation(reached, wrong / wrong.sum()) < 1e-3
    assert total_variation(reached, graph.target()) > 0.1


@pytest.mark.slow
def test_the_trainer_holds_thoughts_to_the_policy_at_its_start():
    """From its own samples: with the prior thoughts stay, without it they become noise."""
    for prior in (1.0, 0.0):
        graph = enumerate_states(HyperGrid(dimensions=1, side=3), Grid(1, 3))
        policy = ThinkingTable(graph, seed=1)
        (before,) = first_thoughts(graph, policy)
        config = TrainConfig(
            steps=150,
            problems_per_step=1,
            samples_per_problem=32,
            objective="trajectory_balance",
            regression="squared",
            learning_rate=0.2,
            flow_learning_rate=0.5,
            max_grad_norm=100.0,
            epsilon=0.3,
            replay_per_problem=0,
            thought_prior=prior,
        )
        trainer = Trainer(graph.task, ProblemSet((graph.problem,)), policy, config)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(trainer.optimizer, 0.97)
        trainer.run(lambda report, scheduler=scheduler: scheduler.step())
        (after,) = first_thoughts(graph, policy)
        noise = torch.full((3,), 1 / 3).double()
        assert (before - noise).abs().max() > 0.05
        assert torch.allclose(after, before if prior else noise, atol=0.02)
        assert (trainer.reference is None) != bool(prior)
        distance = total_variation(graph.reached(policy.marginal(graph)), graph.target())
        assert distance < 0.01 if prior else distance > 0.1


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_thoughts(name):
    task, problem = HyperGrid(side=3), Grid(2, 3)
    policy = ThinkingTable(enumerate_states(task, problem), seed=0)
    config = TrainConfig(
        steps=20, samples_per_problem=16, objective=name, learning_rate=0.05, flow_learning_rate=0.1, epsilon=0.0,
        replay_per_problem=0, regression="squared",
    )  # fmt: skip
    reports = []
    trainer = Trainer(task, ProblemSet((problem,)), policy, config)
    trainer.run(reports.append)
    assert policy.thinking.logits.grad.abs().max() > 0
    if OBJECTIVES[name].policy_gradient:
        assert trainer.reference is None
    else:
        assert np.mean([r.loss for r in reports[-3:]]) < np.mean([r.loss for r in reports[:3]])


@pytest.mark.slow
def test_the_gradient_through_a_language_model_does_not_depend_on_rows():
    """One evaluation of thoughts, actions and flows, cut into rows that are evaluated again, or padded."""
    model = make_model("llama").double()
    policy = LanguageModelPolicy(model, byte_tokenizer(), THINKING, row_budget=10_000)
    played, found = rollout(GAME, policy, [PUZZLE] * 4, np.random.default_rng(0)), []
    reference = LanguageModelPolicy(make_model("qwen2").double(), byte_tokenizer(), THINKING)
    for change in ({}, {"row_budget": 90, "rows_in_memory": 1}, {"packed": False}):
        vars(policy).update(change)
        policy.zero_grad()
        batch = scored_batch(policy, played, 1.0, "head", thought_reference=reference)
        OBJECTIVES["detailed_balance"].loss(batch, TrainConfig(regression="squared")).backward()
        found.append(torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]))
    for gradient in found[1:]:
        assert float((gradient - found[0]).norm() / found[0].norm()) < 1e-6


# -- runs ------------------------------------------------------------------------------------------
def small_trainer(folder=None, **options):
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer(), THINKING, row_budget=300)
    config = TrainConfig(
        **{"steps": 4, "problems_per_step": 2, "samples_per_problem": 3, "checkpoint_every": 2, "replay_per_problem": 2}
        | {"demonstrations_per_problem": 2, "temperature": 1.2, **options}
    )
    return Trainer(
        GAME, ProblemSet((PUZZLE, Game24Problem((1, 4, 6)), Game24Problem((2, 2, 6)))), policy, config, folder
    )


@pytest.mark.slow
def test_a_resumed_run_equals_an_unbroken_one_bit_by_bit(tmp_path):
    unbroken, losses, resumed = small_trainer(tmp_path / "unbroken"), [], []
    unbroken.run(lambda report: losses.append(report.loss))
    small_trainer(tmp_path / "broken", steps=2).run()
    second = small_trainer(tmp_path / "broken")
    second.load_checkpoint(list_checkpoints(tmp_path / "broken")[-1])
    second.run(lambda report: resumed.append(report.loss))
    assert resumed == losses[2:]
    for name, tensor in unbroken.policy.state_dict().items():
        assert torch.equal(tensor, second.policy.state_dict()[name]), name


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"local_search": "metropolis"}, "local_search=greedy or none"),
        ({"repellence": 1.0}, "repellence=0"),
        ({"branches_per_sample": 1, "branch_at": "entropy"}, "branch_at=uniform"),
        ({"distance_every": 1}, "distance_every=0"),
    ],
)
def test_what_needs_the_probability_of_an_action_is_refused_in_one_sentence(options, remedy):
    with pytest.raises(ValueError, match=f"a sum over all thoughts, .*; set {remedy}") as caught:
        small_trainer(**options)
    assert "\n" not in str(caught.value)


def test_the_rest_of_exploration_goes_with_thoughts():
    small_trainer(steps=1, local_search="greedy", branches_per_sample=1).run()
    small_trainer(steps=1, objective="relative_trajectory_balance").run()


def test_a_reference_that_does_not_think_is_refused():
    trainer = small_trainer()
    silent = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
    with pytest.raises(ValueError, match="the reference must think as the policy does"):
        Trainer(GAME, trainer.problems, trainer.policy, trainer.config, reference=silent)


def test_the_probability_of_an_action_without_its_thought_is_refused(prompts):
    policy = small_trainer().policy
    with pytest.raises(ValueError, match="a sum over all thoughts"):
        policy.action_probabilities(*prompts)
    with pytest.raises(ValueError, match="a sum over all thoughts"):
        SelfRepellent(Tempered(policy), VisitCounts(), 1.0).act(*prompts, np.random.default_rng(0))
    with pytest.raises(ValueError, match="a sum over all thoughts"):
        enumerate_states(GAME, PUZZLE).policy_of(policy)


def test_an_agent_folder_from_before_thoughts_still_loads(tmp_path):
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
    agent = GFlowNetAgent("gfn_envs/Game24-v0", policy, {"count": 2, "solvable": False, "high": 8})
    agent.save(tmp_path / "agent")
    described = json.loads((tmp_path / "agent" / "agent.json").read_text())
    for part, new in (
        ("template", ("thought_tokens", "before_thought")),
        ("config", ("thought_weight", "thought_prior")),
    ):
        for name in new:
            del described[part][name]
    (tmp_path / "agent" / "agent.json").write_text(json.dumps(described))
    loaded = GFlowNetAgent.load(tmp_path / "agent")
    assert (loaded.template, loaded.config) == (agent.template, agent.config)


@pytest.mark.slow
def test_the_default_policy_thinks_from_the_command_line(tmp_path, capsys):
    run, shown = tmp_path / "run", tmp_path / "shown"
    words = ["train", "gfn_envs/Game24-v0", "--thought-tokens", "4", "--output", str(run), "--json"]
    words += ["--steps", "2", "--problems-per-step", "1", "--samples-per-problem", "2", "--checkpoint-every", "1"]
    main(words)
    assert json.loads(capsys.readouterr().out)["steps"] == 2
    assert json.loads((run / "agent.json").read_text())["template"]["thought_tokens"] == 4
    assert (run / "reference" / "config.json").is_file()
    evaluation = ["evaluate", str(run), "gfn_envs/Game24-v0", "--limit", "1", "--samples", "2", "--json"]
    main([*evaluation, "--output", str(shown)])
    capsys.readouterr()
    steps = [step for trajectory in load_trajectories(shown / "trajectories.jsonl") for step in trajectory.steps]
    assert all(isinstance(step, Step) and len(step.thought.tokens) <= 4 for step in steps)
    assert any(step.thought.text for step in steps)
    for refused, reason in (
        ([*evaluation, "--exact"], "none without its thoughts"),
        ([*words[:2], "--thought-tokens", "-1", "--output", str(tmp_path / "never")], "--thought-tokens"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(refused)
        printed = capsys.readouterr()
        assert stop.value.code not in (0, None)
        assert reason in printed.err
        assert "Traceback" not in printed.err
    assert not (tmp_path / "never").exists()
