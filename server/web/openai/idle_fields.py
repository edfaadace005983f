"""Fields of OpenAI's, vLLM's and llama.cpp's schemas that this server does not act on.

What would change the answer is refused by name; a value that asks for nothing is taken, and so is what changes nothing
whatever it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.errors import ErrorCode, ServiceError
from server.web.limits.table import MAX_METADATA, MAX_METADATA_CHARS
from server.web.reading.json_reader import printable
from server.web.reading.struct_reader import invalid, printable_value

# Taken whatever they say: who asks, how it is billed, cached or routed, what would only make it faster, and what a
# model without it cannot heed.
HARMLESS = (
    "add_generation_prompt",
    "add_special_tokens",
    "cache_prompt",
    "cache_salt",
    "chat_template_kwargs",
    "id_slot",
    "include_obfuscation",
    "keep_alive",
    "metadata",
    "parallel_tool_calls",
    "prediction",
    "priority",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "provider",
    "reasoning",
    "reasoning_effort",
    "request_id",
    "safety_identifier",
    "service_tier",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "store",
    "stream_options",
    "thinking",
    "usage",
    "user",
    "verbosity",
)
# Taken with these values alone, which ask for nothing; null always asks for nothing.
ASKS_FOR_NOTHING: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "bad_words": ([],),
    "best_of": (1,),
    "chat_template": (),
    "documents": ([],),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1, 0),
    "mirostat": (0,),
    "modalities": (["text"],),
    "moderation": (),
    "prompt_logprobs": (0,),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "stop_token_ids": ([],),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "truncate_prompt_tokens": (),
    "typical_p": (1,),
    "use_beam_search": (False,),
    "web_search_options": (),
}
_NONE: dict[str, tuple[Any, ...]] = {}


def without_idle_fields(
    data: Mapping[str, Any], known: Sequence[str] = (), more: Mapping[str, Sequence[Any]] = _NONE
) -> dict[str, Any]:
    """`data` without the fields above, but for those that the request at hand knows, and without those in `more`, which
    are the request's own.

    Raises:
        ServiceError: UNSUPPORTED_FIELD for one that asks for something.
    """
    _check_metadata(data.get("metadata"))
    if data.get("tool_choice") == "none":
        data = {**data, "tools": None, "functions": None}
    kept = {name: value for name, value in data.items() if name in known or name not in HARMLESS}
    for name, idle in {**ASKS_FOR_NOTHING, **more}.items():
        if name not in known:
            _check_idle(name, kept.pop(name, None), idle)
    return kept


def _check_metadata(given: object) -> None:
    """Refuse more than OpenAI takes of what is only carried along."""
    if not isinstance(given, dict):
        return
    if len(given) > MAX_METADATA:
        raise invalid("metadata", given, f"at most {MAX_METADATA} pairs are legal, found {len(given)}")
    for name, value in given.items():
        num_chars = max(len(name), len(value) if isinstance(value, str) else 0)
        if num_chars > MAX_METADATA_CHARS:
            rule = f"at most {MAX_METADATA_CHARS} characters are legal, found {num_chars}"
            raise invalid(f"metadata.{printable(name)}", value, rule)


def _check_idle(name: str, value: object, idle: Sequence[Any]) -> None:
    if value is None or any(_same(value, each) for each in idle):
        return
    legal = " or ".join([*(printable_value(each) for each in idle), "null"])
    message = f"{name}={printable_value(value)} is not supported; legal is {legal}"
    raise ServiceError(ErrorCode.UNSUPPORTED_FIELD, message, field=name)


def _same(value: object, other: object) -> bool:
    """Equality that tells true from 1, but not 0 from 0.0."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)
