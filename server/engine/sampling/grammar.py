"""Replies that are JSON: which tokens may come next, by the grammar that a JSON schema becomes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from tokenizers import Tokenizer

from server.errors import ErrorCode, ServiceError

MAX_SCHEMA_BYTES = 65536
_NUM_KEPT = 64  # compiled schemas
_COMPACT: Any = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
_ANY_OBJECT = '{"type": "object"}'
# The library's own units. With these neither compiling a schema nor a mask takes more than some tens of milliseconds.
_LIMITS = LLParserLimits(
    initial_lexer_fuel=500_000, step_lexer_fuel=100_000, max_grammar_size=50_000, max_lexer_states=20_000,
    verbose_errors=False,
)  # fmt: skip


class Grammar:
    """How far one reply has come in its grammar."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._mask = allocate_token_bitmask(1, vocab_size)

    @property
    def is_over(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    @property
    def error(self) -> str | None:
        """Why the grammar cannot say what comes next: it is too complex."""
        return self._matcher.get_error() if self._matcher.is_error() else None

    def allowed(self) -> np.ndarray:
        """[vocabulary] bool: what may come next, with tokens that end the reply where it may end."""
        fill_next_token_bitmask(self._matcher, self._mask, 0)
        bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")
        return bits[: self._vocab_size].astype(bool)

    def take(self, token: int) -> None:
        """The reply's next token, which was allowed."""
        self._matcher.consume_token(token)


class Grammars:
    """The grammars of schemas, each compiled once.

    Written as compactly as `json.dumps` does it: a model that is free to write white space may go on with it for ever.
    """

    def __init__(self, tokenizer: Tokenizer, end_tokens: Iterable[int], vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self._end_tokens = sorted(end_tokens)
        self._vocab_size = vocab_size
        self._compiled = lru_cache(_NUM_KEPT)(self._compile)
        self._vocabulary: LLTokenizer | None = None

    def start(self, schema: str) -> Grammar:
        """The grammar of a reply that `schema`, JSON text, is to allow.

        Raises:
            ServiceError: INVALID_FIELD, a schema that is too long, that is none, or that says what is not supported.
        """
        if len(schema.encode()) > MAX_SCHEMA_BYTES:
            raise _invalid(f"it has {len(schema.encode())} bytes; legal are {MAX_SCHEMA_BYTES}.")
        return Grammar(self._compiled(schema).deep_copy(), self._vocab_size)

    def _compile(self, schema: str) -> LLMatcher:
        text = _ANY_OBJECT if schema.strip() in ("", "{}") else schema
        try:
            grammar = LLMatcher.grammar_from_json_schema(text, defaults=_COMPACT)
            matcher = LLMatcher(self._known_tokens(), grammar, log_level=0, limits=_LIMITS)
        except (KeyboardInterrupt, SystemExit, ServiceError):
            raise
        except BaseException as error:  # a Rust panic is no Exception, and no schema may end the group
            raise _invalid(f"{error}; legal is a JSON schema of keywords that can be enforced.") from error
        if matcher.is_error():
            raise _invalid(f"{matcher.get_error()}; legal is a JSON schema of keywords that can be enforced.")
        return matcher

    def _known_tokens(self) -> LLTokenizer:
        """The tokenizer as the library wants it; a third of a second's work, done when the first schema comes."""
        if self._vocabulary is None:
            if not self._end_tokens:
                raise _invalid("this model has no token that ends a reply; legal is none.")
            text = self._tokenizer.to_str()
            try:
                self._vocabulary = LLTokenizer(text, n_vocab=self._vocab_size, eos_token=self._end_tokens)
            except ValueError as error:
                raise _invalid(f"this model's tokenizer is not supported ({error}); legal is none.") from error
        return self._vocabulary


def _invalid(why: str) -> ServiceError:
    return ServiceError(ErrorCode.INVALID_FIELD, f"json_schema: {why}", field="json_schema")
