"""Queries and passages are encoded as the encoder was trained: with the prompts of its configuration or its kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer

from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.prompts import Prompts, prompts_of
from server.retrieval.encoder.source import encoder_path
from server.retrieval.retriever import RetrievalError


@pytest.mark.parametrize(
    ("name", "query", "passage"),
    [
        ("intfloat/e5-base-v2", "query: ", "passage: "),
        ("intfloat/multilingual-e5-large", "query: ", "passage: "),
        ("BAAI/bge-small-en-v1.5", "Represent this sentence for searching relevant passages: ", ""),
        ("nomic-ai/nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("thenlper/gte-base", "", ""),
        ("facebook/contriever-msmarco", "", ""),
        ("sentence-transformers/all-MiniLM-L6-v2", "", ""),
    ],
)
def test_encoders_that_say_nothing_are_known_by_their_name(name: str, query: str, passage: str) -> None:
    assert prompts_of(name, {"query": "", "document": ""}, None) == Prompts(query, passage)


def test_the_configuration_counts_more_than_the_name() -> None:
    assert prompts_of("e5-base", {"query": "Q: ", "passage": "P: "}, None) == Prompts("Q: ", "P: ")
    assert prompts_of("x", {"query": "Q: ", "all": "A: "}, "all") == Prompts("Q: ", "A: ")
    assert prompts_of("multilingual-e5-large-instruct", {}, None).query.startswith("Instruct: ")


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample encoder with prompts in its configuration."""
    folder = tmp_path_factory.mktemp("prompted") / "encoder"
    model = SentenceTransformer(encoder_path("sample"), device="cpu")
    model.prompts = {"query": "query: ", "document": "passage: "}
    model.save(str(folder))
    return folder


def test_each_role_is_encoded_with_its_prompt(prompted: Path) -> None:
    encoder, bare = Encoder(str(prompted), "cpu"), Encoder("sample", "cpu")
    for role, prompt in (("query", "query: "), ("passage", "passage: "), ("plain", "")):
        found = encoder.encode(["Owls fly at night."], role=role)  # type: ignore[arg-type]
        assert np.allclose(found, bare.encode([f"{prompt}Owls fly at night."]), atol=1e-5)
    assert np.allclose(
        encoder.encode(["Owls."], role="query")[0],
        SentenceTransformer(str(prompted), device="cpu").encode("Owls.", prompt_name="query"),
        atol=1e-5,
    )


def test_an_index_that_was_built_with_other_prompts_is_refused(prompted: Path, index_folder: Path) -> None:
    from server.retrieval.index.retriever import IndexRetriever

    with pytest.raises(
        RetrievalError, match=r"puts 'query: ' before queries .* was built with '' and '': build it again"
    ):
        IndexRetriever(index_folder, Encoder(str(prompted), "cpu"), 0.3, 60)


def test_static_embeddings_are_encoded(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(Path(encoder_path("sample")) / "tokenizer.json"))
    tokenizer.no_padding()
    torch.manual_seed(0)
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16), Normalize()], device="cpu")
    model.save(str(tmp_path / "static"))
    encoder = Encoder(str(tmp_path / "static"), "cpu")
    texts = ["Owls fly.", "A much longer text about mice and owls.", "Fish"]
    assert encoder.dimension == 16
    assert np.allclose(encoder.encode(texts), model.encode(texts), atol=1e-6)


def test_a_packaged_encoder_is_known_by_what_it_was_made_from(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    SentenceTransformer(encoder_path("sample"), device="cpu").save(str(folder))
    (folder / "manifest.json").write_text('{"encoder": {"name": "intfloat/e5-small-v2", "revision": "x"}}')
    assert Encoder(str(folder), "cpu").prompts == Prompts("query: ", "passage: ")
