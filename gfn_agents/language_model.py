"""The policy on a causal language model.

P_F(action | state) is the softmax over the legal actions of the summed token log-probabilities of
the action's text after the prompt, terminator included, so that no action is a prefix of another.
Where the template lets it think, a thought comes between prompt and action (`gfn_agents.thoughts`).
Prompt and action are tokenised separately and joined as ids (`gfn_agents.prompts`). All sequences of
a batch are evaluated as prefix trees (`gfn_agents.prefix_tree`) by one function, for sampling and for
training alike.

log F is a linear head on the hidden state at a prompt's end, read off in the same evaluation.

Memory does not grow with the batch: a trunk that all prompts share is evaluated once, the first rows
keep their activations for the gradient, and each further row is a checkpoint, evaluated once without
keeping them and again when its gradient is due. The gradient is the exact one. Without gradient the
trunk that the template gives all its prompts, and the scores of what was asked, are kept for as long as
the weights stay what they are. Where memory runs out all the same, rows become shorter.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gfn_agents.memory import AtOnce, default_row_budget, default_rows_in_memory, warn_of_less, within_memory
from gfn_agents.model_options import ModelOptions
from gfn_agents.policy import AdmissibleActions, Observations, Policy, Scores
from gfn_agents.prefix_tree import Tokens, build_row, plan_rows, trunk_length
from gfn_agents.pretrained import (
    WithoutAdapter,
    decoder_layers,
    has_adapter,
    load_pretrained,
    load_weights,
    locate,
    save_pretrained,
)
from gfn_agents.prompts import PromptTemplate, PromptTokens
from gfn_agents.scoring import (
    KeysAndValues,
    check_context,
    evaluate_padded,
    evaluate_row,
    evaluate_trunk,
    packing_is_exact,
)
from gfn_agents.sharding import SecondPass, clip_gradients, is_sharded, shard
from gfn_agents.thoughts import closing_tokens, draw_thoughts, spelled
from gfn_agents.tree_attention import can_use_flex, use_flex
from gfn_agents.weights_cache import WeightsCache
from gfn_envs.trajectory import Thought

FLOW_HEAD_FILE = "flow_head.safetensors"
_SHORTEST_TRUNK = 64
_MOST_ANSWERS = 1 << 16
Asked = tuple[Tokens, tuple[Tokens, ...]]
"""A prompt and what may continue it."""


class LanguageModelPolicy(Policy):
    """A causal language model as a policy over legal actions.

    Args:
        model: a `transformers` causal language model; it stays in evaluation mode, so that
            sampling and scoring see the same function.
        tokenizer: its tokenizer; must have an end-of-sequence token, which terminates actions.
        template: how observations become prompts; its style "chat" needs a tokenizer with a chat template.
        row_budget: tokens of one prefix-tree row; by default what the device's memory allows. It is halved, with a
            warning, where memory runs out.
        rows_in_memory: rows of a batch that keep their activations for the gradient; by default what memory allows,
            and one where rows are padded batches, whose size differs.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        template: PromptTemplate = PromptTemplate(),
        row_budget: int | None = None,
        rows_in_memory: int | None = None,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.model = model.eval()
        self.template = template
        self.flow_head = nn.Linear(model.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.flow_head.weight)
        nn.init.zeros_(self.flow_head.bias)
        self.flow_head.to(model.device, torch.promote_types(model.dtype, torch.float32))
        self._trunks: WeightsCache[Tokens, KeysAndValues] = WeightsCache(capacity=1)
        self._answers: WeightsCache[Asked, Tensor] = WeightsCache(_MOST_ANSWERS)
        self._second_pass = SecondPass()
        self._one_prompt_a_row = False
        self._thoughts_at_once = AtOnce("thoughts_at_once", 64, "use fewer thought_tokens or worked examples")
        if can_use_flex(model):
            use_flex(model)
        if self.device.type == "cuda":
            # Nearly every row has a length of its own, and cuDNN plans its attention anew for each: half a second.
            torch.backends.cuda.enable_cudnn_sdp(False)
        self.packed = bool(packing_is_exact(model))
        self.rows_in_memory = rows_in_memory or (default_rows_in_memory(model, row_budget) if self.packed else 1)
        self.row_budget = row_budget or default_row_budget(model, self.rows_in_memory)
        if not self.packed:
            warnings.warn(
                f"{type(model).__name__} cannot be evaluated as a prefix tree exactly; "
                "using padded batches, which is slower",
                stacklevel=2,
            )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self.model.device)

    def flow_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters of the flow head."""
        return list(self.flow_head.parameters())

    # -- text to tokens --------------------------------------------------------------------------
    @property
    def template(self) -> PromptTemplate:
        """How observations become prompts."""
        return self._template

    @template.setter
    def template(self, template: PromptTemplate) -> None:
        tokens = PromptTokens(self.tokenizer, template)
        self._template = template
        self._prompt_tokens = lru_cache(maxsize=1 << 15)(tokens.prompt)
        self._action_tokens = lru_cache(maxsize=1 << 16)(tokens.action)
        self._after_thought = tokens.after_thought
        self._opening = tokens.opening()

    @property
    def thought_tokens(self) -> int:
        """Most tokens of a thought, as the template says."""
        return self.template.thought_tokens

    def _tokens(
        self,
        observations: Observations,
        admissible_actions: AdmissibleActions,
        thoughts: Sequence[Thought] | None = None,
    ) -> tuple[list[Tokens], list[list[Tokens]]]:
        said = [()] * len(observations) if thoughts is None else [thought.tokens for thought in thoughts]
        prompts = [
            self._prompt_tokens(observation) + thought + self._after_thought
            for observation, thought in zip(observations, said, strict=True)
        ]
        return prompts, [[self._action_tokens(action) for action in actions] for actions in admissible_actions]

    # -- the policy ------------------------------------------------------------------------------
    def log_probs(
        self,
        observations: Observations,
        admissible_actions: AdmissibleActions,
        thoughts: Sequence[Thought] | None = None,
    ) -> Tensor:
        """Returns log P_F of the legal actions given the thoughts, float32 of shape (B, A), -inf on padding."""
        return _normalised(self._scores(*self._tokens(observations, admissible_actions, thoughts)))

    def log_flow(self, observations: Observations) -> Tensor:
        """Returns log F from the flow head on each prompt's last hidden state, float32 of shape (B,)."""
        prompts = [self._prompt_tokens(observation) for observation in observations]
        # An action that is the terminator alone adds no token to a row.
        _, flows = self._evaluate(prompts, [[(self.tokenizer.eos_token_id,)]] * len(prompts), with_flows=True)
        return flows

    def scores(
        self,
        observations: Observations,
        admissible_actions: AdmissibleActions,
        thoughts: Sequence[Thought],
        with_flows: bool = False,
    ) -> Scores:
        """Returns actions, thoughts and log F from one evaluation, in which prompts share their prefixes."""
        if not self.thought_tokens:
            totals, flows = self._evaluate(*self._tokens(observations, admissible_actions), with_flows)
            actions = _normalised(totals)
            return Scores(actions, actions.new_zeros(len(actions)), flows)
        prompts, actions_after = self._tokens(observations, admissible_actions, thoughts)
        starts, said = self._thinking(observations, thoughts)
        totals, flows = self._evaluate(prompts + starts, actions_after + said, with_flows)
        count = len(prompts)
        return Scores(_normalised(totals[:count]), torch.cat(totals[count:]), flows[count:])

    # -- thoughts --------------------------------------------------------------------------------
    @cached_property
    def _closing(self) -> np.ndarray:
        return closing_tokens(self.tokenizer, self.model.config.get_text_config().vocab_size)

    @property
    def _closing_ids(self) -> Tensor:
        return torch.from_numpy(self._closing.nonzero()[0]).to(self.device)

    def think(self, observations: Observations, rng: np.random.Generator, temperature: float = 1.0) -> list[Thought]:
        """Samples one thought for each observation; with temperature 1 from the probabilities that are scored."""
        if not self.thought_tokens:
            return super().think(observations, rng, temperature)
        prompts = [self._prompt_tokens(observation) for observation in observations]
        with torch.no_grad():
            cut = self._cut(prompts)
            past = self._past(prompts[0][:cut])
        own, draws = [prompt[cut:] for prompt in prompts], rng.random((len(prompts), self.thought_tokens))

        def draw() -> list[Tokens]:
            at_once = self._thoughts_at_once.count
            return draw_thoughts(self.model, own, self._closing_ids, draws, temperature, past, at_once)

        drawn = within_memory(draw, self._thoughts_at_once)
        return [Thought(tokens, self.tokenizer.decode(tokens).strip()) for tokens in drawn]

    def thought_log_probs(self, observations: Observations, thoughts: Sequence[Thought]) -> Tensor:
        """Returns the log-probability of one thought for each observation, float32 of shape (B,).

        Raises:
            ValueError: this policy has no such thought: it is too long, or holds a token that ends thoughts.
        """
        if not self.thought_tokens:
            return super().thought_log_probs(observations, thoughts)
        return torch.cat(self._scores(*self._thinking(observations, thoughts)))

    def _thinking(
        self, observations: Observations, thoughts: Sequence[Thought]
    ) -> tuple[list[Tokens], list[list[Tokens]]]:
        """Returns the prompts before the thoughts, and what continues each: its thought."""
        prompts = [self._prompt_tokens(observation) for observation in observations]
        return prompts, [[spelled(thought, self._closing, self.thought_tokens)] for thought in thoughts]

    def _evaluate(
        self, prompts: Sequence[Tokens], actions: Sequence[Sequence[Tokens]], with_flows: bool
    ) -> tuple[list[Tensor], Tensor]:
        """Returns the score of each prompt's actions, and log F of shape (B,), which is empty without flows."""
        asked = zip(prompts, actions, strict=True)
        longest = max((len(prompt) + max(map(len, legal), default=0) for prompt, legal in asked), default=0)
        check_context(self.model, longest)
        return within_memory(lambda: self._evaluate_rows(prompts, actions, with_flows), self)

    def _scores(self, prompts: Sequence[Tokens], actions: Sequence[Sequence[Tokens]]) -> list[Tensor]:
        """Returns the score of each prompt's actions; without gradient what is known is not evaluated again."""
        if torch.is_grad_enabled():
            return self._evaluate(prompts, actions, with_flows=False)[0]
        asked = [(prompt, tuple(legal)) for prompt, legal in zip(prompts, actions, strict=True)]

        def evaluate(new: list[Asked]) -> list[Tensor]:
            return self._evaluate([prompt for prompt, _ in new], [legal for _, legal in new], with_flows=False)[0]

        return self._answers.get(self.model, asked, evaluate)

    def _evaluate_rows(
        self, prompts: Sequence[Tokens], actions: Sequence[Sequence[Tokens]], with_flows: bool
    ) -> tuple[list[Tensor], Tensor]:
        cut = self._cut(prompts)
        trunk, prompts = prompts[0][:cut], [prompt[cut:] for prompt in prompts]
        rows = plan_rows(prompts, actions, self.row_budget)
        if len(prompts) > 1 or len(prompts[0]) + sum(map(len, actions[0])) >= self.row_budget:
            self._one_prompt_a_row = len(rows) == len(prompts)  # of a single short one it says nothing
        past = self._past(trunk)
        scores: list[Tensor] = []
        flows: list[Tensor] = []
        for number, indices in enumerate(rows):
            arguments = ([prompts[i] for i in indices], [actions[i] for i in indices], past, with_flows)
            if torch.is_grad_enabled() and self._sharded:
                totals, heads = self._second_pass.first(partial(self._score, *arguments))
            elif number < self.rows_in_memory or not torch.is_grad_enabled():
                totals, heads = self._score(*arguments)
            else:
                totals, heads = checkpoint(self._score, *arguments, use_reentrant=False, preserve_rng_state=False)
            scores += torch.split(totals, [len(actions[i]) for i in indices])
            flows.append(heads)
        order = np.argsort([i for indices in rows for i in indices]).tolist()
        log_f = torch.cat(flows)
        return [scores[place] for place in order], log_f[order] if with_flows else log_f

    def forget(self) -> None:
        """Forgets the trunk and the scores that are kept until the weights change.

        To be called by who writes to the weights' `.data`, which PyTorch does not count as a change.
        """
        self._trunks.clear()
        self._answers.clear()

    def use_less_memory(self) -> None:
        """Halves the row budget, or the rows that keep their activations where each row has one prompt already.

        Raises:
            RuntimeError: there is nothing to halve, or the model is divided among processes, which are no longer at
                the same place.
        """
        if self._sharded:
            raise RuntimeError(
                "memory ran out in one of the processes among which the model is divided; use more of them, use_peft, "
                "dtype='bfloat16' with it, gradient_checkpointing or a smaller model, and go on with resume"
            )
        if not self._one_prompt_a_row:
            name, before = "row_budget", self.row_budget
            self.row_budget = now = max(1, before // 2)
        elif self.rows_in_memory > 1:
            name, before = "rows_in_memory", self.rows_in_memory
            self.rows_in_memory = now = before // 2
        else:
            raise RuntimeError(
                "memory ran out although each row holds one prompt with its actions and no more; use fewer worked "
                "examples, dtype='bfloat16' with use_peft, gradient_checkpointing, load_in_4bit or a smaller model"
            )
        warn_of_less(name, before, now)

    # -- what comes before all rows --------------------------------------------------------------
    def _cut(self, prompts: Sequence[Tokens]) -> int:
        """Returns the length of the trunk that is worth leaving out of the rows."""
        if not self.packed or (torch.is_grad_enabled() and self._sharded):
            return 0  # a divided model's rows are evaluated each by itself when its gradient is due
        shared = trunk_length(prompts)
        kept = 0 if torch.is_grad_enabled() else self._kept(prompts[0][:shared])
        return shared if len(prompts) > 1 and shared - kept >= _SHORTEST_TRUNK else kept

    def _kept(self, trunk: Tokens) -> int:
        """Returns how much of a trunk the template gives all its prompts, 0 if that is not worth keeping."""
        length = min(len(trunk), len(self._opening))
        return length if length >= _SHORTEST_TRUNK and trunk[:length] == self._opening[:length] else 0

    def _past(self, trunk: Tokens) -> KeysAndValues | None:
        """Returns the evaluation of a trunk, which is not repeated without gradient while the weights stay the same."""
        if torch.is_grad_enabled():
            self.forget()  # what comes next is an update
            return evaluate_trunk(self.model, trunk) if trunk else None
        kept = self._kept(trunk)
        past = None
        if kept:
            (past,) = self._trunks.get(self.model, [trunk[:kept]], lambda _: [evaluate_trunk(self.model, trunk[:kept])])
        return evaluate_trunk(self.model, trunk[kept:], past) if len(trunk) > kept else past

    def _score(
        self,
        prompts: Sequence[Tokens],
        actions: Sequence[Sequence[Tokens]],
        past: KeysAndValues | None,
        with_flows: bool,
    ) -> tuple[Tensor, Tensor]:
        """Returns the score of every action of every prompt, one after another, and log F of every prompt."""
        head = self.flow_head if with_flows else None
        closing = self._closing_ids if self.thought_tokens else None
        if self.packed:
            return evaluate_row(self.model, build_row(range(len(prompts)), prompts, actions), past, head, closing)
        sequences = [(prompt, action) for prompt, legal in zip(prompts, actions, strict=True) for action in legal]
        totals, flows = evaluate_padded(self.model, sequences, self.tokenizer.eos_token_id, head, closing)
        firsts = np.cumsum([0, *map(len, actions[:-1])])
        return totals, flows[torch.from_numpy(firsts).to(flows.device)] if with_flows else flows

    # -- many processes --------------------------------------------------------------------------
    @property
    def _sharded(self) -> bool:
        return is_sharded(self.model.whole if isinstance(self.model, WithoutAdapter) else self.model)

    def shard(self) -> None:
        """Divides the model among the processes of the run; each has the flow head."""
        if not self._sharded:
            shard(self.model, decoder_layers(self.model), files_hold_all=not has_adapter(self.model))

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a loss that comes from this policy's scores to that of its weights."""
        super().backward(loss)
        self._second_pass.run()

    def clip_gradients(self, largest: float) -> float:
        """Scales the gradients to a norm of at most `largest`; returns the norm from before."""
        return clip_gradients(self.parameters(), largest) if self._sharded else super().clip_gradients(largest)

    # -- files -----------------------------------------------------------------------------------
    def save(self, folder: Path) -> None:
        """Writes model (or its adapter), tokenizer and flow head as a `from_pretrained` folder, without pickle."""
        save_pretrained(self.model, self.tokenizer, folder)
        save_file(self.flow_head.state_dict(), folder / FLOW_HEAD_FILE)

    def load_weights(self, folder: Path) -> None:
        """Reads the weights that `save` wrote into this model."""
        load_weights(self.model, folder)
        self._load_flow_head(folder)

    def _load_flow_head(self, folder: Path) -> None:
        if (folder / FLOW_HEAD_FILE).is_file():
            try:
                self.flow_head.load_state_dict(load_file(folder / FLOW_HEAD_FILE))
            except SafetensorError as error:
                raise ValueError(f"'{folder / FLOW_HEAD_FILE}' is damaged: {error}") from None

    @classmethod
    def load(
        cls, source: str | Path, options: ModelOptions = ModelOptions(), seed: int = 0, **arguments: Any
    ) -> LanguageModelPolicy:
        """Reads a model (`load_pretrained` says from where), and the flow head where there is one.

        Args:
            source: folder, hub name, GGUF file, "default" or "smollm2".
            options: type, device, adapter.
            seed: of a new adapter.
            arguments: of the policy.

        Raises:
            ValueError: there is no such model, or it is no causal language model with a tokenizer.
        """
        policy = cls(*load_pretrained(source, options, seed), **arguments)
        policy._load_flow_head(Path(locate(source)))
        return policy

    def frozen_reference(self) -> Policy:
        """Returns the policy as it is now, frozen; of one with an adapter the model without it, which is not copied."""
        if not has_adapter(self.model):
            return super().frozen_reference()
        return copy.deepcopy(self, {id(self.model): WithoutAdapter(self.model)}).requires_grad_(False)


def _normalised(totals: Sequence[Tensor]) -> Tensor:
    """Returns the log-softmax of each prompt's scores, shape (B, A), -inf on padding."""
    padded = torch.nn.utils.rnn.pad_sequence(list(totals), batch_first=True, padding_value=-torch.inf)
    return padded.log_softmax(dim=-1)
