"""A byte-level BPE tokenizer in which chosen words are one token each, so that each has one meaning of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from tokenizers import Tokenizer, normalizers

from container.demo.data.tokenizer import train_tokenizer
from container.demo.data.word_vectors import minilm_words

MODERATION_VOCAB = 12288
_TRAINED_VOCAB = 1800
_NUM_RELATED = 1500


def word_tokenizer(texts: list[str]) -> Tokenizer:
    """Train on `texts` and frequent words, then give a token to every word of the texts, to the words nearest to those
    in meaning, and to frequent words as long as there is room. Upper case is read as lower case.
    """
    frequent, related = minilm_words(most=6000, related_to=texts, num_related=_NUM_RELATED)
    own = sorted({word for text in texts for word in re.findall(r"[a-z]+", text.lower())})
    lowered = [text.lower() for text in texts] + [f" {word}" for word in frequent]
    trained = train_tokenizer(lowered, _TRAINED_VOCAB)
    trained.normalizer = normalizers.Lowercase()
    return with_words(trained, [*own, *related, *frequent], MODERATION_VOCAB)


def with_words(tokenizer: Tokenizer, words: Iterable[str], vocab_size: int) -> Tokenizer:
    """The tokenizer with further merges that join each word, after a space, into one token, up to `vocab_size` tokens.

    Words are joined from the left: the new pairs all start at a word's beginning and so never touch other words.
    """
    state = json.loads(tokenizer.to_str())
    vocab, merges = state["model"]["vocab"], state["model"]["merges"]
    for word in words:
        pieces = tokenizer.encode(f" {word}", add_special_tokens=False).tokens
        for count in range(2, len(pieces) + 1):
            joined = "".join(pieces[:count])
            if joined not in vocab and len(vocab) < vocab_size:
                vocab[joined] = len(vocab)
                merges.append(["".join(pieces[: count - 1]), pieces[count - 1]])
    return Tokenizer.from_str(json.dumps(state))
