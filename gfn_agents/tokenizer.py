"""The tokenizer of the embedded default policy: short for numbers and operators, lossless for all text.

A byte-level BPE whose pieces never cross a word, a number or a sign, so that ` 24`, ` *` and
` (left:` are one token each while any other text still has tokens. More words and phrases can be
added as tokens later, so that texts of another kind become short and the texts read before keep theirs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import lru_cache
from itertools import chain

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from gfn_agents.default_policy import DEFAULT_POLICY_FOLDER

PAD, END = "<|pad|>", "<|end|>"
_PIECE = r" ?\(?[A-Za-z]+:?| ?-?\d+|\r?\n| ?[^\sA-Za-z\d]|\s+"
_BETWEEN_PARTS = re.compile(r"\n|(?: ?[A-Za-z]+)? ?-?\d+|(?<=\.)")
"""What no phrase crosses: the end of a line or a sentence, a number, and a name before it (`cabinet 3`)."""
_LONGEST_PHRASE = 8
"""Pieces."""


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE tokenizer with at most `vocabulary_size` tokens, trained on texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECE), behavior="isolated"),
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


def find_phrases(problems: Sequence[Collection[str]]) -> list[str]:
    """Returns what is worth a token of its own in texts of one kind, sorted.

    These are the words that come up in more than one problem, and the runs of words and signs that come up in at
    least half of the problems: what their sentences have in common.

    Args:
        problems: for each problem its texts.
    """
    words, runs = Counter[str](), Counter[str]()
    for texts in problems:
        words.update({piece for text in texts for piece in re.findall(_PIECE, text)})
        parts = {part for text in texts for part in _BETWEEN_PARTS.split(text) if part}
        runs.update({run for part in parts for run in _runs(re.findall(_PIECE, part))})
    found = {word for word, count in words.items() if count > 1}
    found |= _whole({run for run, count in runs.items() if count >= max(2, len(problems) / 2)}, problems)
    return sorted(phrase for phrase in found if len(phrase) > 1 and re.search("[A-Za-z]", phrase))


def add_phrases(
    tokenizer: PreTrainedTokenizerFast, phrases: Iterable[str], texts: Collection[str], known: Collection[str]
) -> int:
    """Makes those phrases tokens that are found in texts; returns how many they are.

    Args:
        phrases: what may become a token.
        texts: texts to make short.
        known: texts that keep their tokens; a phrase that would change one of them is left out.
    """
    kept = list(phrases)
    texts_known = sorted(known)
    before = _token_ids(tokenizer, texts_known)
    while True:
        trial = deepcopy(tokenizer)
        first = len(trial)
        trial.add_tokens([_as_token(phrase) for phrase in kept])
        now = _token_ids(trial, texts_known)
        wrong = _used(trial, first, [after for after, ids in zip(now, before, strict=True) if after != ids])
        if not wrong:
            break
        kept = [phrase for phrase in kept if phrase not in wrong]
    used = _used(trial, first, _token_ids(trial, sorted(texts)))
    return int(tokenizer.add_tokens([_as_token(phrase) for phrase in kept if phrase in used]))


def _runs(pieces: Sequence[str]) -> Iterator[str]:
    for start in range(len(pieces)):
        for end in range(start + 2, min(start + _LONGEST_PHRASE, len(pieces)) + 1):
            yield "".join(pieces[start:end])


def _whole(runs: Collection[str], problems: Sequence[Collection[str]]) -> set[str]:
    """Returns the runs that never end within a word, as ` is a` does in ` is agile`."""
    texts = "\n".join(set(chain.from_iterable(problems)))
    return {run for run in runs if not re.search(re.escape(run) + "[A-Za-z]", texts)}


def _as_token(phrase: str) -> AddedToken:
    return AddedToken(phrase, normalized=False, special=False)


def _token_ids(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    # One call for all, as each has an overhead of many texts.
    return tokenizer(texts)["input_ids"] if texts else []


def _used(tokenizer: PreTrainedTokenizerFast, first: int, texts: Iterable[list[int]]) -> set[str]:
    """Returns the tokens numbered `first` or more that texts, given as token ids, have."""
    found = set(chain.from_iterable(texts))
    return {tokenizer.decode([token]) for token in found if token >= first}


@lru_cache(maxsize=1)
def load_default_tokenizer() -> PreTrainedTokenizerFast:
    """Returns the tokenizer of the embedded default policy."""
    return AutoTokenizer.from_pretrained(DEFAULT_POLICY_FOLDER)
