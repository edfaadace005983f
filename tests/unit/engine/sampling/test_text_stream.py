"""Reply tokens become text: whole characters, no special tokens, cut at stop strings wherever tokens divide them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from server.engine.sampling.text_stream import TextStream


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["Hello there, how are you? <human> says hello.\n<bot>: fine"] * 8, trainer)
    tokenizer.add_tokens([AddedToken("<tag>", special=False, normalized=False)])
    return tokenizer


TOKENIZER = _tokenizer()
token_ids = st.lists(st.integers(0, TOKENIZER.get_vocab_size() - 1), max_size=60)


def stream(ids: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    text = TextStream(TOKENIZER, stop)
    pieces = []
    for token_id in ids:
        pieces.append(text.push(token_id))
        if text.stopped:
            break
    pieces.append(text.finish())
    return pieces, text.stopped


@given(st.text(max_size=40))
def test_pieces_of_any_text_joined_equal_the_text(text: str) -> None:
    pieces, stopped = stream(TOKENIZER.encode(text).ids)
    assert "".join(pieces) == TOKENIZER.decode(TOKENIZER.encode(text).ids)
    assert not stopped


@given(token_ids)
def test_pieces_of_any_tokens_joined_equal_the_whole_without_a_half_character_at_its_end(ids: list[int]) -> None:
    pieces, _ = stream(ids)
    assert "".join(pieces).rstrip("\ufffd") == TOKENIZER.decode(ids, skip_special_tokens=True).rstrip("\ufffd")


@given(st.text(alphabet="ab<human>\n日", max_size=30), st.text(alphabet="ab日", max_size=8))
def test_nothing_of_a_stop_string_or_after_it_is_shown_wherever_tokens_divide_it(before: str, after: str) -> None:
    text = f"{before}\n<human>{after}"
    pieces, stopped = stream(TOKENIZER.encode(text).ids, ("\n<human>", "<human>"))
    joined = "".join(pieces)
    assert stopped
    assert joined == text[: min(text.index("<human>"), text.index("\n<human>"))]


@given(token_ids, st.lists(st.text(alphabet="abhuman<>\n", min_size=1, max_size=8), max_size=3))
def test_no_piece_ever_completes_a_stop_string(ids: list[int], stop: list[str]) -> None:
    pieces, stopped = stream(ids, tuple(stop))
    joined = "".join(pieces)
    assert not any(each in joined for each in stop)
    assert stopped or joined.rstrip("\ufffd") == TOKENIZER.decode(ids).rstrip("\ufffd")


def test_special_tokens_are_never_shown() -> None:
    end = TOKENIZER.token_to_id("<|endoftext|>")
    pieces, _ = stream([end, *TOKENIZER.encode("Hello").ids, end])
    assert "".join(pieces) == "Hello"


def test_a_character_of_several_tokens_comes_whole() -> None:
    ids = TOKENIZER.encode("日").ids
    assert len(ids) == 3
    text = TextStream(TOKENIZER, ())
    assert [text.push(each) for each in ids] == ["", "", "日"]


def test_half_a_character_at_the_end_is_dropped() -> None:
    text = TextStream(TOKENIZER, ())
    assert text.push(TOKENIZER.encode("日").ids[0]) == ""
    assert text.finish() == ""


def test_text_that_only_begins_like_a_stop_string_comes_with_what_follows() -> None:
    text = TextStream(TOKENIZER, ("<human>",))
    pieces = [text.push(each) for each in TOKENIZER.encode("a <hum").ids]
    assert "<" not in "".join(pieces)
    assert "".join(pieces) + text.finish() == "a <hum"


def test_no_token_may_follow_a_stop() -> None:
    text = TextStream(TOKENIZER, ("H",))
    text.push(TOKENIZER.encode("H").ids[0])
    with pytest.raises(AssertionError):
        text.push(1)


def _byte_fallback() -> Tokenizer:
    """As Llama's and Mistral's tokenizers: bytes that no piece covers are tokens of their own."""
    vocab = {"<unk>": 0, **{f"<0x{byte:02X}>": 1 + byte for byte in range(256)}}
    for piece in ("\u2581", "\u2581a", "a", "bc", "\u65e5", "\u2581Hello"):
        vocab[piece] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


FALLBACK = _byte_fallback()


@given(st.lists(st.one_of(st.integers(1, FALLBACK.get_vocab_size() - 1), st.integers(257, 262)), max_size=12))
def test_bytes_that_are_no_character_end_nothing(ids: list[int]) -> None:
    text = TextStream(FALLBACK, ("Hello",))
    pieces = []
    for token_id in ids:
        if not text.stopped:
            pieces.append(text.push(token_id))
    pieces.append(text.finish())
    assert "Hello" not in "".join(pieces)


def test_words_behind_an_invalid_sequence_of_bytes_are_shown() -> None:
    text = TextStream(FALLBACK, ())
    ids = [FALLBACK.token_to_id(token) for token in ("\u2581a", "<0x0A>", "<0xF0>", "bc", "a", "\u65e5")]
    joined = "".join(text.push(each) for each in ids) + text.finish()
    assert joined.startswith("a")
    assert joined.endswith("bca\u65e5")
