"""POST /v1/completions: a text continued as it stands, without roles, passages or memory."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET, Meta

from server.chat.records.turn_records import Source, TextPiece, TurnRequest, TurnResult
from server.chat.text.visible import is_blank
from server.web.call.errors import ErrorBody
from server.web.call.front import Front, current_exchange, work_blueprint
from server.web.describe.operation import EVENT, JSON, REFUSED, Operation
from server.web.invocations.parameters import check_window
from server.web.invocations.stream_format import SSE, SSE_KEEP_ALIVE, sse_event
from server.web.invocations.turn_request import turn_request
from server.web.invocations.turn_stream import stream_turns
from server.web.limits.table import MAX_CHOICES, MAX_PROMPTS, MAX_QUESTION_CHARS
from server.web.openai.choices import answer_choices, choices
from server.web.openai.chunk_stream import DONE, SSE_TYPE, Envelope
from server.web.openai.idle_fields import ASKS_FOR_NOTHING, without_idle_fields
from server.web.openai.logprobs import TextLogprobs, text_logprobs
from server.web.openai.request import SamplingFields, check_model, check_tokens, refuse_token_ids
from server.web.openai.response import (
    CompletionUsage,
    Extension,
    FinishReason,
    UsageSoFar,
    extension,
    finish_reason,
    summed_usage,
)
from server.web.reading.body import json_response, read_json
from server.web.reading.struct_reader import invalid, read_struct

_Prompt = Annotated[str, Meta(min_length=1, max_length=MAX_QUESTION_CHARS)]


class CompletionRequest(SamplingFields, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A text to continue, or several. Lists of token ids are refused: they are another model's."""

    prompt: _Prompt | Annotated[list[_Prompt], Meta(min_length=1, max_length=MAX_PROMPTS)]
    logprobs: Annotated[int, Meta(ge=0, le=20, description="Alternatives a token.")] | None = None
    echo: Annotated[bool, Meta(description="true: the answer begins with the prompt.")] | None = None
    best_of: int | None = None

    @property
    def prompts(self) -> list[str]:
        """The texts in order."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class CompletionChoice(msgspec.Struct, frozen=True):
    """One continuation; of the stream of one, a piece."""

    index: int
    text: str
    finish_reason: FinishReason | None = None
    logprobs: TextLogprobs | None = None


class Completion(msgspec.Struct, frozen=True):
    """The continuations, or in a stream a piece of one."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: tuple[CompletionChoice, ...]
    usage: CompletionUsage | msgspec.UnsetType | None = UNSET
    openchatkit: Extension | msgspec.UnsetType = UNSET
    system_fingerprint: None = None


OPERATIONS = (
    Operation(
        "post", "/v1/completions", "Continue texts as they stand.",
        takes=[CompletionRequest], gives={JSON: [Completion], SSE: [Completion, ErrorBody, EVENT]},
        errors=(*REFUSED, 404, 504), idle_fields={"CompletionRequest": ASKS_FOR_NOTHING},
    ),
)  # fmt: skip
_FIELDS = tuple(field.encode_name for field in msgspec.structs.fields(CompletionRequest))


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = work_blueprint("completions", front)

    @routes.post("/v1/completions")
    def completions() -> Response:
        asked = _read(front, read_json(request, front.services.settings.max_body_bytes))
        exchange = current_exchange()
        turns = [each for prompt in asked.prompts for each in choices(_turn(front, asked, prompt), asked.n or 1)]
        turns = [msgspec.structs.replace(each, request_id=exchange.turn_id(i)) for i, each in enumerate(turns)]
        envelope = Envelope(
            f"cmpl-{exchange.request_id}", front.services.settings.model_name, int(time.time()), num_choices=len(turns),
            with_usage=asked.with_usage, with_usage_so_far=asked.with_usage_so_far,
        )  # fmt: skip
        shown = _TextFormat(exchange.request_id, envelope, _echoed(asked))
        if asked.stream:
            return stream_turns(front, exchange, turns, stream_format=shown)
        return json_response(shown.whole(answer_choices(front, exchange, turns)))

    return routes


def _read(front: Front, data: dict[str, Any]) -> CompletionRequest:
    refuse_token_ids("prompt", data.get("prompt"))
    asked = read_struct(without_idle_fields(data, _FIELDS), CompletionRequest)
    check_model(asked.model, front.services.settings.model_name)
    check_tokens("max_tokens", asked.max_tokens)
    check_window(asked.max_tokens, front.services, "max_tokens")
    num_each = asked.n or 1
    if asked.best_of not in (None, num_each):
        raise invalid("best_of", asked.best_of, f"legal is n, which is {num_each}")
    if len(asked.prompts) * num_each > max(MAX_PROMPTS, MAX_CHOICES):
        raise invalid("n", asked.n, f"{len(asked.prompts)} prompts of {num_each} each; at most {MAX_PROMPTS} are legal")
    for index, prompt in enumerate(asked.prompts):
        if is_blank(prompt):
            raise invalid("prompt" if isinstance(asked.prompt, str) else f"prompt[{index}]", prompt, "must hold text")
    return asked


def _turn(front: Front, asked: CompletionRequest, prompt: str) -> TurnRequest:
    return turn_request(
        front.services,
        current_exchange().turn_id(),
        prompt,
        parameters=asked.in_our_words(asked.max_tokens, front.services.max_context_tokens),
        streams=bool(asked.stream),
        sampled={"logprobs": asked.logprobs},
        history=(),
        retrieval=False,
        as_written=True,
    )


def _echoed(asked: CompletionRequest) -> tuple[str, ...]:
    """What each choice begins with."""
    return tuple(prompt if asked.echo else "" for prompt in asked.prompts for _ in range(asked.n or 1))


@dataclass(frozen=True)
class _TextFormat:
    """The answer, whole or as a stream."""

    request_id: str
    envelope: Envelope
    echoed: tuple[str, ...]
    content_type = SSE_TYPE
    keep_alive = SSE_KEEP_ALIVE
    _results: list[TurnResult] = field(default_factory=list)
    _so_far: UsageSoFar = field(default_factory=UsageSoFar)

    def whole(self, results: list[TurnResult]) -> Completion:
        """All continuations at once."""
        found = tuple(self._choice(index, each, each.outputs) for index, each in enumerate(results))
        return self._message(found, summed_usage(results), extension(results[0], self.request_id))

    def opening(self) -> bytes:
        """The prompts, where they are echoed."""
        said = enumerate(self.echoed)
        return b"".join(sse_event(self._message((CompletionChoice(index, text),))) for index, text in said if text)

    def text(self, piece: TextPiece, choice: int) -> bytes:
        """A piece of a continuation."""
        self._so_far.note(choice, piece.prompt_tokens, piece.completion_tokens)
        return sse_event(self._message((CompletionChoice(choice, piece.text),), self._usage_so_far))

    def sources(self, sources: tuple[Source, ...]) -> bytes:
        """Nothing."""
        return b""

    def result(self, result: TurnResult, choice: int) -> bytes:
        """The end of a continuation."""
        self._results.append(result)
        self._so_far.note(choice, result.usage.prompt_tokens, result.usage.completion_tokens)
        last = CompletionChoice(choice, "", finish_reason(result), logprobs=self._logprobs(choice, result))
        return sse_event(self._message((last,), self._usage_so_far, extension(result, self.request_id)))

    def error(self, body: ErrorBody) -> bytes:
        """The error, which OpenAI's clients raise."""
        return sse_event(body)

    def closing(self) -> bytes:
        """The usage where it was asked for, and the end mark."""
        if not (self.envelope.with_usage and self._results):
            return DONE
        return sse_event(self._message((), summed_usage(self._results))) + DONE

    @property
    def _usage_so_far(self) -> CompletionUsage | None:
        return self._so_far.usage if self.envelope.with_usage_so_far else None

    def _choice(self, index: int, result: TurnResult, text: str) -> CompletionChoice:
        logprobs = self._logprobs(index, result)
        return CompletionChoice(index, self.echoed[index] + text, finish_reason(result), logprobs=logprobs)

    def _logprobs(self, index: int, result: TurnResult) -> TextLogprobs | None:
        return text_logprobs(result, len(self.echoed[index]))

    def _message(
        self,
        found: tuple[CompletionChoice, ...],
        usage: CompletionUsage | msgspec.UnsetType | None = UNSET,
        ours: Extension | msgspec.UnsetType = UNSET,
    ) -> Completion:
        envelope = self.envelope
        return Completion(
            envelope.id,
            "text_completion",
            envelope.created,
            model=envelope.model,
            choices=found,
            usage=usage or UNSET,
            openchatkit=ours,
        )
