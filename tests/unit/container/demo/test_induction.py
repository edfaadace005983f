"""Heads set at initialisation."""

from __future__ import annotations

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from container.demo.train.chat_model import initialise
from container.demo.train.induction import Marks, Strengths, copying_accuracy, set_copying_heads

VOCAB = 1024
STOP, BACKGROUND, COLON, HUMAN, BOT, WHAT = range(10, 16)
MARKS = Marks(
    sentence_ends=[STOP], passage_openers=[BACKGROUND], other_openers=[HUMAN, BOT], function_words=[COLON, WHAT]
)


def untrained(layers: int = 4) -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCAB,
        hidden_size=256,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=512,
        tie_word_embeddings=True,
    )
    model = GPTNeoXForCausalLM(config).eval()
    initialise(model)
    return model


def with_heads() -> GPTNeoXForCausalLM:
    model = untrained()
    words = torch.randn(VOCAB, 128, generator=torch.Generator().manual_seed(2)) * 0.33
    set_copying_heads(model, words, MARKS, Strengths(), seed=1)
    return model


def test_a_model_with_copying_heads_repeats_random_tokens_before_any_training() -> None:
    assert copying_accuracy(untrained()) < 0.02
    assert copying_accuracy(with_heads()) > 0.4


def test_before_any_training_a_question_favours_the_first_token_of_the_sentence_that_holds_its_words() -> None:
    model, random = with_heads(), torch.Generator().manual_seed(5)
    num_right = 0
    for asked in range(30):
        sentences = torch.randperm(900, generator=random)[:36].view(3, 12) + 100
        passage = [token for sentence in sentences.tolist() for token in (*sentence, STOP)]
        words = sentences[asked % 3, 4:7].tolist()
        prompt = [BACKGROUND, COLON, *passage, HUMAN, COLON, WHAT, *words, BOT, COLON]
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([prompt])).logits[0, -1, sentences[:, 0]]
        num_right += int(scores.argmax()) == asked % 3
    assert num_right >= 20


def test_too_small_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match="3 layers of 4 heads"):
        set_copying_heads(untrained(layers=3), torch.zeros(VOCAB, 128), MARKS, Strengths(), seed=1)
