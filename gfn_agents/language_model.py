"""The policy on a causal language model.

P_F(action | state) is the softmax over the legal actions of the summed token log-probabilities of
the action's text after the prompt, terminator included, so that no action is a prefix of another.
Prompt and action are tokenised separately and joined as ids (`gfn_agents.prompts`). All sequences of
a batch are evaluated as prefix trees (`gfn_agents.prefix_tree`) by one function, for sampling and for
training alike.

log F is a linear head on the hidden state at a prompt's end, read off in the same evaluation.

Memory does not grow with the batch: a trunk that all prompts share is evaluated once, the first rows
keep their activations for the gradient, and each further row is a checkpoint, evaluated once without
keeping them and again when its gradient is due. The gradient is the exact one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from gfn_agents.policy import AdmissibleActions, Observations, Policy
from gfn_agents.prefix_tree import Row, Tokens, build_row, plan_rows, trunk_length
from gfn_agents.prompts import PromptTemplate, PromptTokens

DEFAULT_ROW_BUDGET = 512
FLOW_HEAD_FILE = "flow_head.safetensors"
_PROBE_TOLERANCE = 5e-3
_SMALL_MODEL_PARAMETERS = 50_000_000
_SHORTEST_TRUNK = 64
KeysAndValues = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer, each of shape (1, heads, tokens, size)."""


class LanguageModelPolicy(Policy):
    """A causal language model as a policy over legal actions.

    Args:
        model: a `transformers` causal language model; it stays in evaluation mode, so that
            sampling and scoring see the same function.
        tokenizer: its tokenizer; must have an end-of-sequence token, which terminates actions.
        template: how observations become prompts; its style "chat" needs a tokenizer with a chat template.
        row_budget: tokens of one prefix-tree row; memory and time grow with its square.
        rows_in_memory: rows of a batch that keep their activations for the gradient; default one,
            and more for small models, where they cost little.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        template: PromptTemplate = PromptTemplate(),
        row_budget: int = DEFAULT_ROW_BUDGET,
        rows_in_memory: int | None = None,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.template = template
        self.model = model.eval()
        self.row_budget = row_budget
        self.rows_in_memory = rows_in_memory or max(1, _SMALL_MODEL_PARAMETERS // model.num_parameters())
        self.flow_head = nn.Linear(model.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.flow_head.weight)
        nn.init.zeros_(self.flow_head.bias)
        self.flow_head.to(model.device, torch.promote_types(model.dtype, torch.float32))
        self.packed = bool(packing_is_exact(model))
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

    def _tokens(
        self, observations: Observations, admissible_actions: AdmissibleActions
    ) -> tuple[list[Tokens], list[list[Tokens]]]:
        prompts = [self._prompt_tokens(observation) for observation in observations]
        return prompts, [[self._action_tokens(action) for action in actions] for actions in admissible_actions]

    # -- the policy ------------------------------------------------------------------------------
    def log_probs(self, observations: Observations, admissible_actions: AdmissibleActions) -> Tensor:
        """Returns log P_F of the legal actions, float32 of shape (B, A), -inf on padding."""
        scores, _ = self._evaluate(*self._tokens(observations, admissible_actions), with_flows=False)
        return scores

    def log_flow(self, observations: Observations) -> Tensor:
        """Returns log F from the flow head on each prompt's last hidden state, float32 of shape (B,)."""
        prompts = [self._prompt_tokens(observation) for observation in observations]
        # An action that is the terminator alone adds no token to a row.
        _, flows = self._evaluate(prompts, [[(self.tokenizer.eos_token_id,)]] * len(prompts), with_flows=True)
        return flows

    def log_probs_and_flows(
        self, observations: Observations, admissible_actions: AdmissibleActions
    ) -> tuple[Tensor, Tensor]:
        """Returns what `log_probs` and `log_flow` return, from one evaluation of the prompts."""
        return self._evaluate(*self._tokens(observations, admissible_actions), with_flows=True)

    def _evaluate(
        self, prompts: Sequence[Tokens], actions: Sequence[Sequence[Tokens]], with_flows: bool
    ) -> tuple[Tensor, Tensor]:
        """Returns log P_F of shape (B, A), -inf on padding, and log F of shape (B,), which is empty without flows."""
        cut, past = self._trunk(prompts) if self.packed else (0, None)
        prompts = [prompt[cut:] for prompt in prompts]
        scores: list[Tensor] = []
        flows: list[Tensor] = []
        rows = plan_rows(prompts, actions, self.row_budget)
        for number, indices in enumerate(rows):
            arguments = ([prompts[i] for i in indices], [actions[i] for i in indices], past, with_flows)
            if number < self.rows_in_memory or not torch.is_grad_enabled():
                totals, heads = self._score(*arguments)
            else:
                totals, heads = checkpoint(self._score, *arguments, use_reentrant=False, preserve_rng_state=False)
            scores += torch.split(totals, [len(actions[i]) for i in indices])
            flows.append(heads)
        padded = torch.nn.utils.rnn.pad_sequence(scores, batch_first=True, padding_value=-torch.inf)
        order = torch.argsort(torch.tensor([i for indices in rows for i in indices], device=padded.device))
        log_f = torch.cat(flows)
        return padded[order].log_softmax(dim=-1), log_f[order] if with_flows else log_f

    def _trunk(self, prompts: Sequence[Tokens]) -> tuple[int, KeysAndValues | None]:
        """Returns the length of the trunk that is worth leaving out of the rows, and its evaluation."""
        length = trunk_length(prompts)
        if len(prompts) == 1 or length < _SHORTEST_TRUNK:
            return 0, None
        return length, evaluate_trunk(self.model, prompts[0][:length])

    def _score(
        self,
        prompts: Sequence[Tokens],
        actions: Sequence[Sequence[Tokens]],
        past: KeysAndValues | None,
        with_flows: bool,
    ) -> tuple[Tensor, Tensor]:
        """Returns the score of every action of every prompt, one after another, and log F of every prompt."""
        head = self.flow_head if with_flows else None
        if self.packed:
            return evaluate_row(self.model, build_row(range(len(prompts)), prompts, actions), past, head)
        sequences = [(prompt, action) for prompt, legal in zip(prompts, actions, strict=True) for action in legal]
        totals, flows = evaluate_padded(self.model, sequences, self.tokenizer.eos_token_id, head)
        firsts = np.cumsum([0, *map(len, actions[:-1])])
        return totals, flows[torch.from_numpy(firsts).to(flows.device)] if with_flows else flows

    # -- files -----------------------------------------------------------------------------------
    def save(self, folder: Path) -> None:
        """Writes model, tokenizer and flow head as a `from_pretrained` folder, without pickle."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_file(self.flow_head.state_dict(), folder / FLOW_HEAD_FILE)

    def load_weights(self, folder: Path) -> None:
        """Reads the weights that `save` wrote into this model."""
        saved, _ = load_pretrained(folder)
        self.model.load_state_dict(saved.state_dict())
        self._load_flow_head(folder)

    def _load_flow_head(self, folder: Path) -> None:
        if (folder / FLOW_HEAD_FILE).is_file():
            self.flow_head.load_state_dict(load_file(folder / FLOW_HEAD_FILE))

    @classmethod
    def load(cls, source: str | Path, device: str = "cpu", **options: Any) -> LanguageModelPolicy:
        """Reads a local folder or a hub name, the flow head where there is one.

        Raises:
            ValueError: there is no such model, or it is no causal language model with a tokenizer.
        """
        model, tokenizer = load_pretrained(source)
        policy = cls(model.to(device), tokenizer, **options)
        policy._load_flow_head(Path(source))
        return policy


def load_pretrained(source: str | Path) -> tuple[Any, Any]:
    """Returns the model in float32 and the tokenizer of a local folder or a hub name.

    Raises:
        ValueError: one sentence that says what is missing.
    """
    folder = Path(source)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ValueError(f"'{source}' is not a model folder: it has no config.json")
    if not folder.is_dir() and (folder.exists() or folder.is_absolute() or str(source).count("/") > 1):
        raise ValueError(f"there is no model folder '{source}'")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"'{source}' cannot be loaded as a causal language model: {reason}") from None
    return model, tokenizer


# -- scoring ---------------------------------------------------------------------------------------
def evaluate_trunk(model: Any, tokens: Tokens) -> KeysAndValues:
    """Returns the keys and values of tokens with which all prompts begin, with their gradient."""
    cache = model(input_ids=torch.tensor([tokens], device=model.device), use_cache=True, logits_to_keep=1)
    return tuple((layer.keys, layer.values) for layer in cache.past_key_values.layers)


def evaluate_row(
    model: Any, row: Row, past: KeysAndValues | None = None, flow_head: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the summed token log-probability of each sequence of a row, and log F of each prompt.

    Args:
        past: an evaluated trunk that comes before the row's tokens.
        flow_head: hidden state -> log F; without it the flows are empty.

    Returns:
        float32 of shape (N,), and of shape (prompts,); float64 if the model is.
    """
    device = model.device
    visible = torch.from_numpy(row.visible).to(device)
    behind = past[0][0].shape[2] if past else 0
    visible = torch.nn.functional.pad(visible, (behind, 0), value=True)
    mask = torch.zeros(visible.shape, dtype=model.dtype, device=device).masked_fill(
        ~visible, torch.finfo(model.dtype).min
    )
    nodes, place = np.unique(row.edge_nodes, return_inverse=True)
    output = model(
        input_ids=torch.from_numpy(row.tokens)[None].to(device),
        position_ids=torch.from_numpy(row.depths)[None].to(device) + behind,
        past_key_values=DynamicCache(past) if past else None,
        attention_mask=mask[None, None],
        logits_to_keep=torch.from_numpy(nodes).to(device),
        output_hidden_states=flow_head is not None,
        use_cache=False,
    )
    logits = _wide(output.logits[0])
    at = torch.from_numpy(place).to(device)
    edges = logits[at, torch.from_numpy(row.edge_tokens).to(device)] - logits.logsumexp(dim=-1)[at]
    totals = edges.new_zeros(len(row.pairs)).index_add(
        0, torch.from_numpy(row.sequence_index).to(device), edges[torch.from_numpy(row.sequence_edges).to(device)]
    )
    if flow_head is None:
        return totals, totals[:0]
    return totals, flow_head(_wide(output.hidden_states[-1][0, torch.from_numpy(row.prompt_ends).to(device)]))[:, 0]


def evaluate_padded(
    model: Any, sequences: Sequence[tuple[Tokens, Tokens]], padding: int, flow_head: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the same numbers from one right-padded batch of prompt + action, log F of each sequence's prompt."""
    device = model.device
    input_ids, attention_mask = _right_padded([prompt + action for prompt, action in sequences], padding, device)
    output = model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        output_hidden_states=flow_head is not None,
        use_cache=False,
    )
    logits = _wide(output.logits[:, :-1])
    picked = logits.gather(-1, input_ids[:, 1:, None]).squeeze(-1) - logits.logsumexp(dim=-1)
    position = torch.arange(1, input_ids.shape[1], device=device)
    starts = torch.tensor([len(prompt) for prompt, _ in sequences], device=device)
    ends = torch.tensor([len(prompt) + len(action) for prompt, action in sequences], device=device)
    scored = (position >= starts[:, None]) & (position < ends[:, None])
    totals = torch.where(scored, picked, 0.0).sum(dim=1)
    if flow_head is None:
        return totals, totals[:0]
    hidden = output.hidden_states[-1][torch.arange(len(sequences), device=device), starts - 1]
    return totals, flow_head(_wide(hidden))[:, 0]


def score_row(model: Any, row: Row, past: KeysAndValues | None = None) -> Tensor:
    """Returns what `evaluate_row` says of the sequences, shape (N,)."""
    return evaluate_row(model, row, past)[0]


def score_padded(model: Any, sequences: Sequence[tuple[Tokens, Tokens]], padding: int) -> Tensor:
    """Returns what `evaluate_padded` says of the sequences, shape (N,)."""
    return evaluate_padded(model, sequences, padding)[0]


def _wide(values: Tensor) -> Tensor:
    """Returns values in at least float32, in which sums and flows are computed whatever the model's type."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _right_padded(rows: Sequence[Tokens], padding: int, device: torch.device) -> tuple[Tensor, Tensor]:
    length = max(map(len, rows))
    input_ids = torch.full((len(rows), length), padding)
    attention_mask = torch.zeros((len(rows), length), dtype=torch.long)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = torch.tensor(row)
        attention_mask[index, : len(row)] = 1
    return input_ids.to(device), attention_mask.to(device)


@torch.no_grad()
def packing_is_exact(model: Any) -> bool:
    """Says whether a small prefix tree gives this model the values that padded sequences give.

    A probe instead of a list of architectures: it is right for models that nobody has listed yet.
    """
    size = model.config.get_text_config().vocab_size
    trunk, first, second, third = (tuple((7 * i + start) % size for i in range(5)) for start in (2, 3, 5, 11))
    prompts, actions = [first, first[:2] + second], [[second, second[:3] + third], [third]]
    pairs = [(trunk + prompts[i], action) for i in (0, 1) for action in actions[i]]
    expected = score_padded(model, pairs, 0)
    whole = build_row([0, 1], [trunk + prompt for prompt in prompts], actions)
    try:
        packed = score_row(model, whole)
        after_trunk = score_row(model, build_row([0, 1], prompts, actions), evaluate_trunk(model, trunk))
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False
    return all(torch.allclose(found, expected, atol=_PROBE_TOLERANCE) for found in (packed, after_trunk))
