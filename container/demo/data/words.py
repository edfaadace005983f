"""Closed word classes of English that the data generators share, and verbs with their base forms."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_LISTS = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))

PRONOUNS: frozenset[str] = frozenset(_LISTS["pronouns"])
FUNCTION_WORDS: frozenset[str] = PRONOUNS | frozenset(_LISTS["function_words"])
_VERB_FORMS: dict[str, str] = _LISTS["verb_forms"]
_REGULAR: frozenset[str] = frozenset(_LISTS["regular_verbs"])


def word_list(name: str) -> tuple[str, ...]:
    """A list of words.toml, such as "months" or "trades"."""
    return tuple(_LISTS[name])


def base_form(verb: str) -> str | None:
    """The base form of a finite verb the generators know, or None for any other word."""
    if verb in _VERB_FORMS:
        return _VERB_FORMS[verb]
    for ending in ("ed", "es", "s"):
        if verb.endswith(ending) and verb[: -len(ending)] in _REGULAR:
            return verb[: -len(ending)]
    return None


def content_words(text: str) -> set[str]:
    """Lower-cased words that are not function words."""
    return set(re.findall(r"[^\W_]+", text.lower())) - FUNCTION_WORDS
