"""What GET /metrics tells Prometheus."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from server.chat.records.phases import DECODE
from server.chat.records.turn_records import Judgement, TurnResult
from server.chat.services import Services
from server.web.call.collectors import EngineCollector, RankCollector
from server.web.limits.concurrency import ConcurrencyLimit

_PHASE_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300)
_TOKEN_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 480)
RETRIEVAL_WARNING = "retrieval"  # how the warning of a turn begins that had to do without passages


class Metrics:
    """Counts and times of one front, in a registry of its own."""

    def __init__(self, services: Services, concurrency: ConcurrencyLimit) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("ock_requests", "Requests ended.", ["route", "status", "code"], registry=registry)
        self._seconds = Histogram(
            "ock_request_seconds", "From a request's first line to its last byte.", ["route"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._first_text = Histogram(
            "ock_first_text_seconds", "From a streaming request's first line to its first text.", ["route"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._phases = Histogram(
            "ock_phase_seconds", "Phases of a turn: door, claim, judge, search, first_token, decode, store.", ["phase"],
            buckets=_PHASE_SECONDS, registry=registry,
        )  # fmt: skip
        self._between = Histogram(
            "ock_between_tokens_seconds", "Mean time between the tokens of a reply.",
            buckets=_TOKEN_SECONDS, registry=registry,
        )  # fmt: skip
        self._turns = Counter("ock_turns", "Turns answered.", ["finish_reason"], registry=registry)
        self._tokens = Counter("ock_tokens", "Tokens of answered turns.", ["kind"], registry=registry)
        self._key_requests = Counter(
            "ock_key_requests", "Requests ended, by the key's name.", ["key"], registry=registry
        )
        self._key_tokens = Counter("ock_key_tokens", "Tokens used, by the key's name.", ["key"], registry=registry)
        self._moderation = Counter(
            "ock_moderation_decisions", "Texts judged.", ["role", "label", "decision"], registry=registry
        )
        self._retrieval_failures = Counter(
            "ock_retrieval_failures", "Searches that failed, in turns and on /search.", registry=registry
        )
        # What each turn counts, without a look at its words again.
        self._phase = cache(self._phases.labels)
        self._token_kind = cache(self._tokens.labels)
        self._requests_of, self._seconds_of = cache(self._requests.labels), cache(self._seconds.labels)
        _constant(registry, "ock_moderation_enabled", "1 when texts are judged.", value=services.moderator is not None)
        _constant(registry, "ock_retrieval_enabled", "1 when there is an index.", value=services.retriever is not None)
        Gauge("ock_admitted", "Requests at work.", registry=registry).set_function(lambda: concurrency.num_inside)
        _constant(registry, "ock_admission_limit", "Requests that may be at work at once.", value=concurrency.limit)
        registry.register(EngineCollector(services))
        registry.register(RankCollector())
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """What is counted, and its media type: OpenMetrics where `accept` asks for it, else Prometheus's text."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def phase(self, name: str, seconds: float) -> None:
        """A phase of a turn is over."""
        self._phase(name).observe(seconds)

    def request_ended(self, route: str, status: int, code: str, seconds: float) -> None:
        """One request is over; `code` is the error's word or empty."""
        self._requests_of(route, str(status), code).inc()
        self._seconds_of(route).observe(seconds)

    def key_used(self, key: str, num_tokens: int) -> None:
        """One request of a key is over. Names are those of the file of keys, so there are few."""
        self._key_requests.labels(key).inc()
        self._key_tokens.labels(key).inc(num_tokens)

    def first_text(self, route: str, seconds: float) -> None:
        """A stream sent its first text."""
        self._first_text.labels(route).observe(seconds)

    def turn_ended(self, result: TurnResult) -> None:
        """One turn was answered."""
        self._turns.labels(result.finish_reason).inc()
        self._token_kind("prompt").inc(result.usage.prompt_tokens)
        self._token_kind("cached").inc(result.usage.cached_tokens)
        self._token_kind("completion").inc(result.usage.completion_tokens)
        for each in result.phases:
            self.phase(each.name, each.seconds)
            if each.name == DECODE and result.usage.completion_tokens > 1:
                self._between.observe(each.seconds / (result.usage.completion_tokens - 1))
        for role, judgement in result.moderation.items():
            self.judged(role, judgement)
        if any(warning.startswith(RETRIEVAL_WARNING) for warning in result.warnings):
            self.retrieval_failed()

    def judged(self, role: str, judgement: Judgement) -> None:
        """One text was judged."""
        self._moderation.labels(role, judgement.label, "block" if judgement.blocked else "allow").inc()

    def retrieval_failed(self) -> None:
        """One search failed."""
        self._retrieval_failures.inc()


def _constant(registry: CollectorRegistry, name: str, text: str, value: float) -> None:
    Gauge(name, text, registry=registry).set(value)
