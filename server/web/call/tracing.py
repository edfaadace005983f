"""OpenTelemetry: one span a call and one a phase of its turns, sent when the call is over. An extra: "otel"."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from server.chat.records.turn_records import TurnResult
from server.config import ConfigError, Settings

_TRACEPARENT = re.compile(r"00-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")


@dataclass(frozen=True)
class EndedCall:
    """What a span is made from."""

    name: str
    traceparent: str
    began_at: float  # seconds since the epoch
    attributes: dict[str, Any]
    results: Sequence[TurnResult]


class Tracer:
    """Makes spans after the fact, so that nothing is measured twice."""

    def __init__(self, provider: Any) -> None:
        """`provider`: an opentelemetry TracerProvider."""
        self._tracer = provider.get_tracer("openchatkit")

    def ended(self, call: EndedCall) -> None:
        """Send the spans of a call; none of a text."""
        from opentelemetry import trace

        parent = trace.set_span_in_context(trace.NonRecordingSpan(_context(call.traceparent)))
        whole = self._tracer.start_span(
            call.name, context=parent, kind=trace.SpanKind.SERVER, start_time=_ns(call.began_at),
            attributes=call.attributes,
        )  # fmt: skip
        inside = trace.set_span_in_context(whole)
        for phase in (phase for result in call.results for phase in result.phases):
            span = self._tracer.start_span(phase.name, context=inside, start_time=_ns(phase.began_at))
            span.end(_ns(phase.began_at + phase.seconds))
        whole.end(_ns(time.time()))


def open_tracer(settings: Settings) -> Tracer | None:
    """A tracer that sends to OCK_OTLP_ENDPOINT; None without one.

    Raises:
        ConfigError: the extra is not installed.
    """
    if not settings.otlp_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            f"OCK_OTLP_ENDPOINT={settings.otlp_endpoint!r} needs the extra otel: pip install 'openchatkit-server[otel]'"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": settings.model_name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.otlp_endpoint)))
    return Tracer(provider)


def trace_id(traceparent: str) -> str:
    """The trace that a W3C header names; a dash where it names none."""
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    return found["trace"] if found else "-"


def _context(traceparent: str) -> Any:
    from opentelemetry import trace

    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None:
        return trace.INVALID_SPAN_CONTEXT
    flags = trace.TraceFlags(int(found["flags"], 16))
    return trace.SpanContext(int(found["trace"], 16), int(found["span"], 16), is_remote=True, trace_flags=flags)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
