"""A cross-encoder decides which of the passages found come first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from server.config import Settings
from server.retrieval.encoder.reranker import Reranker
from server.retrieval.from_settings import open_retriever
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.query import Exchange, Query
from server.retrieval.reranked import Reranked
from server.retrieval.retriever import RetrievalError


class Lengths(Reranker):
    """Likes long texts, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def scores(self, question: str, texts: object) -> np.ndarray:
        assert isinstance(texts, list)
        self.asked.append((question, len(texts)))
        return np.array([len(text) / 10_000 for text in texts], dtype=np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder without training, small enough to make."""
    folder = tmp_path_factory.mktemp("cross-encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "who", "built", "the", "lighthouse", "fox", "bread"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=512, num_labels=1,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_the_cross_encoder_s_order_counts(retriever: IndexRetriever) -> None:
    reranker = Lengths()
    reranked = Reranked(retriever, reranker)
    found = reranked.search(Query("Tell me about the lighthouse keepers", k=3))
    assert len(found) == 3
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    many = retriever.search(Query("Tell me about the lighthouse keepers", k=16))
    longest = max(many, key=lambda each: len(f"{each.title}. {each.text}"))
    assert found[0].text == longest.text
    assert reranker.asked == [("Tell me about the lighthouse keepers", len(many))]


def test_a_follow_up_is_read_with_what_it_is_about(retriever: IndexRetriever) -> None:
    reranker = Lengths()
    Reranked(retriever, reranker).search(Query("How high is it?", earlier=[Exchange("?", ("Lighthouse of Norrby",))]))
    assert reranker.asked[0][0] == "Lighthouse of Norrby How high is it?"


def test_a_cross_encoder_in_a_folder_scores_pairs(folder: Path) -> None:
    reranker = Reranker(str(folder), "cpu")
    scores = reranker.scores("who built the lighthouse", ["the fox", "the bread", "the lighthouse"])
    assert scores.shape == (3,)
    assert len(set(scores.tolist())) == 3
    assert ((scores > 0) & (scores < 1)).all()
    assert reranker.scores("who", []).shape == (0,)


def test_the_setting_opens_it_and_a_bad_one_stops_the_start(index_folder: Path, folder: Path) -> None:
    retriever = open_retriever(Settings(index=str(index_folder), encoder="sample", reranker=str(folder)))
    assert retriever is not None
    assert len(retriever.search(Query("Who built the Lighthouse of Norrby?", k=2))) == 2
    retriever.close()
    with pytest.raises(RetrievalError, match="no such folder"):
        open_retriever(Settings(index=str(index_folder), encoder="sample", reranker="/no/reranker"))
