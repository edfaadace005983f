"""The retriever that the settings name."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from server.config import Settings
from server.retrieval.composite import Composite
from server.retrieval.encoder.shared import Encoders, SharedEncoder
from server.retrieval.guarded import Guarded
from server.retrieval.retriever import RetrievalError, Retriever

log = logging.getLogger(__name__)

GROUP = "openchatkit.retrievers"
Opener = Callable[[Settings], Retriever]
_COMPOSITE_SHARE = 0.8  # of the time a turn waits: when one member hangs, the others' passages still come in time


def open_retriever(settings: Settings, encoders: Encoders | None = None) -> Retriever | None:
    """What OCK_RETRIEVERS names: "index", "web", or entry points of the group `openchatkit.retrievers`, each a
    function from Settings to a Retriever. Without it, what OCK_INDEX and OCK_WEB_SEARCH_URL set up; None when neither
    does. Several are fused into one. Whatever a retriever does, its search ends in time, with passages or a
    RetrievalError. `encoders` are those that the process has opened.

    Raises:
        RetrievalError: a name, index or encoder that cannot be opened; the start stops with its sentence.
    """
    names = _names(settings)
    members: dict[str, Retriever] = {}
    try:
        for name in names:
            members[name] = _opener(name, encoders or Encoders())(settings)
    except BaseException:
        for member in members.values():
            member.close()
        raise
    if not members:
        return None
    if len(members) == 1:
        return Guarded(*members.popitem(), settings.retrieval_timeout_s, settings.threads)
    return Composite(members, _COMPOSITE_SHARE * settings.retrieval_timeout_s, settings.threads)


def _names(settings: Settings) -> list[str]:
    if settings.retrievers:
        return list(dict.fromkeys(name.strip() for name in settings.retrievers.split(",") if name.strip()))
    set_up = {"index": settings.index, "web": settings.web_search_url}
    return [name for name, value in set_up.items() if value]


def _opener(name: str, encoders: Encoders) -> Opener:
    own: dict[str, Opener] = {"index": partial(_open_index, encoders), "web": _open_web}
    if name in own:
        return own[name]
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        others = ", ".join(sorted(entry_points(group=GROUP).names))
        raise RetrievalError(f"OCK_RETRIEVERS names {name!r}; legal are index, web{', ' if others else ''}{others}")
    opener: Opener = found[0].load()
    log.info("retriever.plugin name=%s from=%s", name, found[0].value)
    return opener


def _open_index(encoders: Encoders, settings: Settings) -> Retriever:
    from server.retrieval.encoder.reranker import Reranker
    from server.retrieval.index.files import local_index
    from server.retrieval.index.manifest import read_manifest
    from server.retrieval.index.renewed import RenewedIndex
    from server.retrieval.index.retriever import IndexRetriever
    from server.retrieval.index.small_talk import SmallTalk
    from server.retrieval.reranked import Reranked

    if not settings.index:
        raise RetrievalError(
            "OCK_RETRIEVERS names 'index', but OCK_INDEX is empty; legal are a folder and an s3:// prefix"
        )

    def find() -> Path:
        return local_index(settings.index, settings.artifact_dir, deadline_s=settings.start_timeout_s)

    folder = find()
    encoder = SharedEncoder(
        encoders.open(
            settings.encoder or read_manifest(folder).encoder.name,
            settings.encoder_device,
            settings.encoder_threads,
            precision="auto",
        )
    )

    small_talk = SmallTalk(encoder)

    def opened(folder: Path) -> IndexRetriever:
        floor = read_manifest(folder).score_floor if settings.score_floor is None else settings.score_floor
        return IndexRetriever(folder, encoder, floor, timeout_s=settings.retrieval_timeout_s, small_talk=small_talk)

    reranker = Reranker(settings.reranker, settings.encoder_device) if settings.reranker else None
    index = RenewedIndex(find, opened, settings.index_poll_s, cache=settings.artifact_dir)
    return index if reranker is None else Reranked(index, reranker)


def _open_web(settings: Settings) -> Retriever:
    from server.retrieval.result_cache import ResultCache
    from server.retrieval.web.search import ResultFields, WebSearch, WebSearchPlan

    plan = WebSearchPlan(
        url=settings.web_search_url,
        host=settings.web_search_host or urlsplit(settings.web_search_url).hostname or "",
        key=settings.web_search_key.get_secret_value(),
        key_header=settings.web_search_key_header,
        fields=ResultFields(
            settings.web_search_results,
            settings.web_search_title,
            settings.web_search_text,
            url=settings.web_search_link,
        ),
        timeout_s=settings.web_search_timeout_s,
    )
    return WebSearch(plan, ResultCache(settings.web_search_cache, settings.web_search_cache_s, time.monotonic))
