"""What GET /metrics tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from server.chat.records.turn_records import Judgement, TurnResult
from server.chat.services import Services
from server.web.limits.concurrency import ConcurrencyLimit

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
        self._turns = Counter("ock_turns", "Turns answered.", ["finish_reason"], registry=registry)
        self._tokens = Counter("ock_tokens", "Tokens of answered turns.", ["kind"], registry=registry)
        self._moderation = Counter(
            "ock_moderation_decisions", "Texts judged.", ["role", "label", "decision"], registry=registry
        )
        self._retrieval_failures = Counter(
            "ock_retrieval_failures", "Searches that failed, in turns and on /search.", registry=registry
        )
        _constant(registry, "ock_moderation_enabled", "1 when texts are judged.", services.moderator is not None)
        _constant(registry, "ock_retrieval_enabled", "1 when there is an index.", services.retriever is not None)
        Gauge("ock_admitted", "Requests at work.", registry=registry).set_function(lambda: concurrency.num_inside)
        _constant(registry, "ock_admission_limit", "Requests that may be at work at once.", concurrency.limit)
        registry.register(_EngineCollector(services))

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self._registry)

    def request_ended(self, route: str, status: int, code: str, seconds: float) -> None:
        """One request is over; `code` is the error's word or empty."""
        self._requests.labels(route, str(status), code).inc()
        self._seconds.labels(route).observe(seconds)

    def first_text(self, route: str, seconds: float) -> None:
        """A stream sent its first text."""
        self._first_text.labels(route).observe(seconds)

    def turn_ended(self, result: TurnResult) -> None:
        """One turn was answered."""
        self._turns.labels(result.finish_reason).inc()
        self._tokens.labels("prompt").inc(result.usage.prompt_tokens)
        self._tokens.labels("cached").inc(result.usage.cached_tokens)
        self._tokens.labels("completion").inc(result.usage.completion_tokens)
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


class _EngineCollector(Collector):
    """The engine group's last status, read when Prometheus asks."""

    _GAUGES = (
        ("running", "num_running", "Sequences in the running batch."),
        ("waiting", "num_waiting", "Requests in the queue."),
        ("waiting_tokens", "num_waiting_tokens", "Prompt tokens in the queue."),
        ("step_seconds", "step_seconds", "Duration of the last step."),
    )
    _COUNTERS = (
        ("steps", "steps", "Forward passes of the group."),
        ("preemptions", "preemptions", "Sequences that lost their blocks."),
        ("generated_tokens", "generated_tokens", "Tokens decoded."),
        ("prefilled_tokens", "prefilled_tokens", "Prompt tokens computed."),
        ("cached_tokens", "cached_tokens", "Prompt tokens whose keys and values were reused."),
    )

    def __init__(self, services: Services) -> None:
        self._engine = services.engine

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        engine = self._engine
        yield GaugeMetricFamily("ock_engine_ready", "1 while the group serves.", value=float(engine.ready))
        status = engine.status
        if status is None:
            return
        yield GaugeMetricFamily("ock_engine_status_age_seconds", "Since the last status.", value=engine.status_age_s)
        for name, attribute, text in self._GAUGES:
            yield GaugeMetricFamily(f"ock_engine_{name}", text, value=getattr(status, attribute))
        for name, attribute, text in self._COUNTERS:
            yield CounterMetricFamily(f"ock_engine_{name}", text, value=getattr(status, attribute))
        yield _by_model("ock_engine_free_blocks", "Blocks nobody holds.", status.free_blocks)
        yield _by_model("ock_engine_total_blocks", "Blocks of keys and values.", status.total_blocks)


def _by_model(name: str, text: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["model"])
    for model, value in values.items():
        family.add_metric([model], value)
    return family
