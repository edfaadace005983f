"""Small BPE tokenizers: tags as ordinary text, as in production, tags as added tokens, and a SentencePiece-like one."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pydoc_data.topics import topics

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from server.chat.prompt.tokenizer import ChatTokenizer
from tests import ROOT

DEMO = ROOT / "container" / "demo" / "chat" / "tokenizer.json"
SPECIAL = ["<|endoftext|>", "<|padding|>"]
KINDS = ["ordinary", "added", *(["demo"] if DEMO.exists() else [])]
ENGLISH = [word for word in " ".join(topics.values()).split() if word.isalpha()]


@lru_cache
def definition(kind: str) -> str:
    if kind == "demo":
        return DEMO.read_text("utf-8")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC() if kind == "ordinary" else None  # GPT-NeoX composes characters
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*topics.values(), "<human>: hi\n<bot>: hello\n" * 50], trainer)
    tokenizer.add_tokens(["    ", "        "])  # runs of white space, as GPT-NeoX has them
    if kind == "added":
        tokenizer.add_tokens(["<human>", "<bot>"])
    return str(tokenizer.to_str())


TAGS = ["<|im_start|>", "<|im_end|>", "<|system|>", "<|prompter|>", "<|assistant|>", "### End", "<start_of_turn>"]


@lru_cache
def tagged_definition() -> str:
    """Byte-level, with the special tokens of several formats."""
    tokenizer = Tokenizer.from_str(definition("ordinary"))
    tokenizer.add_special_tokens(["<s>", "</s>", *TAGS])
    return str(tokenizer.to_str())


@lru_cache
def metaspace_definition() -> str:
    """As SentencePiece writes them: blanks are letters, one stands before a text, unknown characters go as bytes."""
    special = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    tokenizer.train_from_iterator([*topics.values()], trainer)
    parsed = json.loads(tokenizer.to_str())
    bytes_ = {f"<0x{byte:02X}>" for byte in range(256)}
    parsed["added_tokens"] = [each for each in parsed["added_tokens"] if each["content"] not in bytes_]
    blank = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    steps = [{"type": "Prepend", "prepend": "▁"}, blank]
    parsed |= {"pre_tokenizer": None, "normalizer": {"type": "Sequence", "normalizers": steps}}
    return json.dumps(parsed)


@lru_cache
def chat_tokenizer(kind: str) -> ChatTokenizer:
    if kind == "tagged":
        return ChatTokenizer(tagged_definition(), "<s>", "</s>")
    if kind == "metaspace":
        return ChatTokenizer(metaspace_definition(), "<s>", "</s>")
    return ChatTokenizer(definition(kind))


def special_ids(kind: str) -> set[int]:
    """The ids that no text may have: added tokens other than white space."""
    return {each["id"] for each in json.loads(definition(kind))["added_tokens"] if each["content"].strip()}


def words(rng: random.Random, least: int, most: int) -> str:
    return " ".join(rng.choices(ENGLISH, k=rng.randint(least, most)))
