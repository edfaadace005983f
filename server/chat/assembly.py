"""Puts the collaborators of a turn together, as the settings name them."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server.artifacts.json_object import read_json_object
from server.chat.moderation.audit import AuditLog
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Policy, Role
from server.chat.moderation.policy_file import DEFAULT_POLICY, PolicyError, load_policy
from server.chat.moderation.second_judge import open_second_judge
from server.chat.prompt.choose_format import choose_format
from server.chat.prompt.prompt import PromptBuilder
from server.chat.prompt.tokenizer import ChatTokenizer
from server.chat.records.model_version import model_version
from server.chat.services import Services
from server.chat.store.from_url import DYNAMODB, front_owner, open_store
from server.chat.store.store import Store
from server.chat.store.watch import StoreWatch
from server.chat.turn import Collaborators, TurnService, TurnSettings
from server.chat.turn_gate import TurnGate
from server.chat.turn_search import SearchSettings
from server.config import ConfigError, Settings
from server.engine.client import EngineClient
from server.engine.engine import Engine
from server.engine.replicas import Replicas
from server.engine.signs_of_life import SignsOfLife
from server.engine.signs_of_life import watch as watch_ranks
from server.engine.weights.family import window_of
from server.retrieval.encoder.shared import Encoders
from server.retrieval.from_settings import open_retriever
from server.retrieval.retriever import RetrievalError
from server.wire import INPUT_MODERATION, OUTPUT_MODERATION

log = logging.getLogger(__name__)


def open_services(settings: Settings) -> Services:
    """Open store, index, tokenizers and policy, and begin to connect to the engine group.

    Raises:
        ConfigError, PolicyError, ServiceError, RetrievalError: one sentence on what cannot be opened.
    """
    store = open_store(
        settings.store,
        clock=time.time,
        session_ttl_s=settings.session_ttl_s,
        session_lock_s=settings.session_lock_s,
    )
    owner = front_owner(settings.run_dir, settings.store)
    if settings.store.startswith(DYNAMODB):
        store.live_as(owner)
    encoders = Encoders()  # what searches is also what the second judge was taught on
    retriever = open_retriever(settings, encoders)
    engine = _engine(settings)
    policy = _policy(settings)
    moderator = None if policy is None else _moderator(settings, policy, engine, encoders)
    window = context_window(settings)  # before the tokenizer is read, since this refusal names the setting
    # A turn has up to three tasks under way at once, which may wait; one that ended early may leave some behind.
    executor = ThreadPoolExecutor(4 * settings.threads, thread_name_prefix="turn")
    gate = TurnGate(engine, settings.max_wait_s)
    with_ = Collaborators(
        engine, _prompts(settings, window), store, executor, moderator=moderator, retriever=retriever, gate=gate
    )
    turns = TurnService(with_, _turn_settings(settings, window, owner))
    return Services(
        settings, engine, turns, store=store, policy=policy, moderator=moderator, retriever=retriever,
        gate=gate, store_watch=_watched(store), signs_of_life=_signs_of_life(settings),
    )  # fmt: skip


def _watched(store: Store) -> StoreWatch:
    watch = StoreWatch(store)
    watch.start()
    return watch


def _signs_of_life(settings: Settings) -> list[SignsOfLife]:
    world = settings.tensor_parallel_degree
    groups = [SignsOfLife(settings.group_dir(group), world) for group in range(settings.replicas)]
    watch_ranks(groups)
    return groups


def _engine(settings: Settings) -> Engine:
    clients = [EngineClient(address) for address in settings.engine_addresses]
    return clients[0] if len(clients) == 1 else Replicas(clients)


def _policy(settings: Settings) -> Policy | None:
    if settings.moderation == "off":
        log.warning("moderation.off OCK_MODERATION=off: neither questions nor replies are checked")
        return None
    if not settings.moderation_model:
        if settings.output_moderation_model:
            raise ConfigError(
                f"OCK_OUTPUT_MODERATION_MODEL={settings.output_moderation_model!r} is set and OCK_MODERATION_MODEL is "
                "empty, so nothing would judge questions: set both, or OCK_MODERATION=off"
            )
        log.warning("moderation.off OCK_MODERATION_MODEL is empty: neither questions nor replies are checked")
        return None
    return load_policy(settings.policy or DEFAULT_POLICY)


def _moderator(settings: Settings, policy: Policy, engine: Engine, encoders: Encoders) -> Moderator:
    return Moderator(
        engine,
        policy,
        _classifiers(settings, policy),
        second=open_second_judge(policy, settings.encoder, encoders),
        shows_scores=settings.moderation_scores == "on",
        audit=_audit_log(settings),
    )


def _classifiers(settings: Settings, policy: Policy) -> dict[Role, Classifier]:
    own_output = settings.output_model != settings.moderation_model
    output_name = OUTPUT_MODERATION if own_output else INPUT_MODERATION
    return {
        Role.INPUT: Classifier.of(INPUT_MODERATION, _tokenizer(settings.moderation_model), policy),
        Role.OUTPUT: Classifier.of(output_name, _tokenizer(settings.output_model), policy),
    }


def _audit_log(settings: Settings) -> AuditLog | None:
    if settings.audit_log is None:
        return None
    try:
        return AuditLog(settings.audit_log, settings.audit_text)
    except OSError as error:
        raise ConfigError(f"OCK_AUDIT_LOG={str(settings.audit_log)!r}: {error.strerror}") from error


def reload_policy(services: Services) -> None:
    """Read the policy file again and judge by it from now on; one that cannot be used is logged and changes nothing."""
    if services.moderator is None:
        return
    settings, before = services.settings, services.moderator.policy
    try:
        policy = load_policy(settings.policy or DEFAULT_POLICY)
        if policy.name != before.name:
            raise PolicyError(f"name={policy.name!r}: this server judges by {before.name!r}; start it anew for another")
        second = open_second_judge(policy, settings.encoder, before=services.moderator.second)
        services.moderator.adopt(policy, _classifiers(settings, policy), second)
    except (PolicyError, ConfigError, RetrievalError) as error:
        log.error("policy.reload refused, %s version %d stays: %s", before.name, before.version, error)
        return
    log.info("policy.reload %s version %d, before %d", policy.name, policy.version, before.version)


def _prompts(settings: Settings, window: int) -> PromptBuilder:
    return PromptBuilder(
        _tokenizer(settings.chat_model),
        window,
        settings.passage_tokens,
        chat_format=choose_format(settings.chat_format, Path(settings.chat_model)),
    )


def _turn_settings(settings: Settings, window: int, owner: str) -> TurnSettings:
    return TurnSettings(
        model=model_version(Path(settings.chat_model)),
        owner=owner,
        search=SearchSettings(
            k=settings.search_k,
            window=settings.search_window,
            threshold=settings.search_threshold,
            timeout_s=settings.retrieval_timeout_s,
            rewrite_s=settings.rewrite_timeout_s if settings.rewrite == "on" else 0.0,
        ),
        require_session=settings.require_session,
        judge_before_search=bool(settings.web_search_url),
        session_wait_s=settings.session_wait_s,
        system_prompt=settings.system_prompt,
        # The shortest turn is about eight tokens; older ones cannot be in the prompt.
        max_turns=max(1, window // 8),
        summary_tokens=min(settings.summary_tokens, window // 8) if settings.summaries == "on" else 0,
    )


def _tokenizer(folder: str) -> ChatTokenizer:
    return ChatTokenizer.from_folder(Path(folder))


def context_window(settings: Settings) -> int:
    """Tokens of prompt and reply together: the chat model's own, or fewer when OCK_MAX_CONTEXT_TOKENS says so.

    Raises:
        ConfigError: the model's config.json is missing or names no window.
    """
    path = Path(settings.chat_model) / "config.json"
    try:
        own = window_of(read_json_object(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"OCK_CHAT_MODEL={settings.chat_model!r}: {path} gives no max_position_embeddings") from error
    return min(own, settings.max_context_tokens) if settings.max_context_tokens else own
