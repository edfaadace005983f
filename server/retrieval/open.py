"""The retriever that the settings name."""

from __future__ import annotations

from pathlib import Path

from server.config import Settings
from server.retrieval.encoder import Encoder
from server.retrieval.index_retriever import IndexRetriever
from server.retrieval.manifest import read_manifest
from server.retrieval.retriever import Retriever


def open_retriever(settings: Settings) -> Retriever | None:
    """What OCK_INDEX names, opened; None when nothing is set.

    Raises:
        RetrievalError: an index or encoder that cannot be opened; the start stops with its sentence.
    """
    if not settings.index:
        return None
    folder = Path(settings.index)
    encoder = Encoder(settings.encoder or read_manifest(folder).encoder.name, settings.encoder_device)
    return IndexRetriever(folder, encoder, settings.score_floor, settings.retrieval_timeout_s)
