"""Turns the artifact settings into local folders that hold what will be read from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from container.artifacts.folders import check_encoder, check_index, check_model, read_encoder_name
from container.refusal import Refusal
from server.config import ConfigError, Settings
from server.retrieval.encoder.source import SAMPLE, encoder_path
from server.retrieval.retriever import RetrievalError
from server.web.keys.key_file import read_key_file

Fetch = Callable[[str, str], Path]
"""(setting's name, its value) -> an absolute local folder. Raises Refusal."""

_MODEL_FIELDS = ("chat_model", "moderation_model", "output_moderation_model")


def resolve(settings: Settings, fetch: Fetch, fetch_index: Fetch) -> Settings:
    """`settings` with every artifact as an absolute local folder that has been looked into.

    Args:
        fetch: brings a model or an encoder.
        fetch_index: brings one index, the newest where several versions are named.

    Raises:
        Refusal: an artifact is missing, cannot be fetched, or does not hold what is needed.
    """
    if not settings.chat_model:
        raise Refusal("OCK_CHAT_MODEL is not set: name a folder, an s3:// prefix or a hub id")
    local: dict[str, str] = {}
    for field in _MODEL_FIELDS:
        if value := getattr(settings, field):
            folder = fetch(_name(field), value)
            check_model(_name(field), folder, settings.tensor_parallel_degree)
            local[field] = str(folder)
    if settings.index:
        local["index"] = str(_index(settings.index, fetch_index))
    if encoder := settings.encoder or _named_encoder(local.get("index")):
        local["encoder"] = str(_encoder(encoder, fetch))
    if settings.policy is not None and not settings.policy.is_file():
        raise Refusal(f"OCK_POLICY={settings.policy}: no such file")
    if settings.api_keys is not None:
        _check_keys(settings.api_keys)
    return settings.model_copy(update=local)


def _check_keys(path: Path) -> None:
    try:
        read_key_file(path)
    except ConfigError as error:
        raise Refusal(str(error)) from error


def _index(value: str, fetch_index: Fetch) -> Path:
    folder = fetch_index("OCK_INDEX", value)
    check_index("OCK_INDEX", folder)
    return folder


def _named_encoder(index: str | None) -> str:
    """The encoder that the index was built with, or nothing."""
    return read_encoder_name("OCK_INDEX", Path(index)) if index else ""


def _encoder(value: str, fetch: Fetch) -> Path:
    try:
        folder = Path(encoder_path(value)) if value == SAMPLE else fetch("OCK_ENCODER", value)
    except RetrievalError as error:
        raise Refusal(f"OCK_ENCODER={value}: {error}") from error
    check_encoder("OCK_ENCODER", folder)
    return folder


def as_environ(settings: Settings) -> dict[str, str]:
    """The resolved artifact settings, as the children read them."""
    fields = (*_MODEL_FIELDS, "index", "encoder")
    return {_name(field): str(getattr(settings, field)) for field in fields}


def _name(field: str) -> str:
    return f"OCK_{field.upper()}"
