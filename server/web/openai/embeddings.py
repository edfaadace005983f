"""POST /v1/embeddings: texts as vectors of the encoder that searches the index."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from flask import Blueprint, Response, request
from msgspec import Meta

from server.chat.text.visible import is_blank
from server.errors import ErrorCode, ServiceError
from server.retrieval.retriever import Embedder, RetrievalError, embedder_of
from server.web.call.front import Front, current_exchange, work_blueprint
from server.web.describe.operation import JSON, REFUSED, Operation
from server.web.limits.table import MAX_EMBEDDING_CHARS, MAX_EMBEDDING_TEXTS, MAX_NAME_CHARS
from server.web.openai.idle_fields import without_idle_fields
from server.web.openai.request import check_model, refuse_token_ids
from server.web.reading.body import json_response, read_json
from server.web.reading.struct_reader import invalid, read_struct

_Text = Annotated[str, Meta(min_length=1)]


class EmbeddingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to encode. Lists of token ids are refused: they are another model's."""

    input: _Text | Annotated[list[_Text], Meta(min_length=1, max_length=MAX_EMBEDDING_TEXTS)]
    model: (
        Annotated[str, Meta(max_length=MAX_NAME_CHARS, description="The encoder's name, the served model's, or empty.")]
        | None
    ) = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, description="Legal is the encoder's own number alone.")] | None = None

    @property
    def texts(self) -> list[str]:
        """The texts in order."""
        return [self.input] if isinstance(self.input, str) else self.input


class Embedding(msgspec.Struct, frozen=True):
    """One vector of length 1: numbers, or base64 of 32-bit floats in little-endian order."""

    object: Literal["embedding"]
    index: int
    embedding: tuple[float, ...] | str


class EmbeddingUsage(msgspec.Struct, frozen=True):
    """Token counts of the texts, of which no more are read than the encoder's window holds."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, frozen=True):
    """One vector a text, in order."""

    object: Literal["list"]
    data: tuple[Embedding, ...]
    model: str
    usage: EmbeddingUsage


OPERATIONS = (
    Operation(
        "post", "/v1/embeddings", "Texts as vectors of the encoder that searches the index.",
        takes=[EmbeddingRequest], gives={JSON: [EmbeddingList]}, errors=(*REFUSED, 404),
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("embeddings", front, is_side=True)
    settings, embedder = front.services.settings, embedder_of(front.services.retriever)

    @routes.post("/v1/embeddings")
    def embeddings() -> Response:
        if embedder is None:
            raise ServiceError(ErrorCode.NOT_FOUND, "this server has no index, and so no encoder: OCK_INDEX is empty")
        asked = _read(read_json(request, settings.max_body_bytes))
        if asked.model != embedder.encoder_name:
            check_model(asked.model, settings.model_name)
        encoded = _encode(embedder, asked)
        current_exchange().spend(encoded.usage.total_tokens)
        return json_response(encoded)

    return routes


def _read(data: dict[str, Any]) -> EmbeddingRequest:
    refuse_token_ids("input", data.get("input"), " (LangChain: check_embedding_ctx_length=False)")
    asked = read_struct(without_idle_fields(data), EmbeddingRequest)
    for index, text in enumerate(asked.texts):
        if is_blank(text):
            raise invalid(
                "input" if isinstance(asked.input, str) else f"input[{index}]", text, "must hold visible text"
            )
    num_chars = sum(map(len, asked.texts))
    if num_chars > MAX_EMBEDDING_CHARS:
        message = f"input has {num_chars} characters, at most {MAX_EMBEDDING_CHARS} are encoded in one call"
        raise ServiceError(ErrorCode.INVALID_FIELD, message, field="input")
    return asked


def _encode(embedder: Embedder, asked: EmbeddingRequest) -> EmbeddingList:
    if asked.dimensions not in (None, embedder.dimension):
        raise invalid("dimensions", asked.dimensions, f"legal is {embedder.dimension}, the encoder's own number")
    try:
        vectors, num_tokens = embedder.embed(asked.texts)
    except RetrievalError as error:
        raise ServiceError(ErrorCode.RETRIEVAL_UNAVAILABLE, "the encoder cannot be asked now") from error
    as_text = asked.encoding_format == "base64"
    data = tuple(Embedding("embedding", index, _shown(row, as_text)) for index, row in enumerate(vectors))
    return EmbeddingList("list", data, embedder.encoder_name, usage=EmbeddingUsage(num_tokens, num_tokens))


def _shown(vector: Any, as_text: bool) -> tuple[float, ...] | str:
    if as_text:
        return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")
    return tuple(vector.tolist())
