"""The tokenizer of the embedded default policy: short for numbers and operators, lossless for all text.

A byte-level BPE whose pieces never cross a word, a number or a sign, so that ` 24`, ` *` and
` (left:` are one token each while any other text still has tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

DEFAULT_POLICY_FOLDER = Path(__file__).parent / "checkpoints" / "default"
PAD, END = "<|pad|>", "<|end|>"
_PIECE = Regex(r" ?\(?[A-Za-z]+:?| ?-?\d+|\r?\n| ?[^\sA-Za-z\d]|\s+")


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE tokenizer with at most `vocabulary_size` tokens, trained on texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECE, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)


@lru_cache(maxsize=1)
def load_default_tokenizer() -> PreTrainedTokenizerFast:
    """Returns the tokenizer of the embedded default policy."""
    return AutoTokenizer.from_pretrained(DEFAULT_POLICY_FOLDER)
