"""What is put before a text that is asked for, and before one that is found: many encoders were trained so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["query", "passage", "plain"]

_QUERY_NAMES = ("query",)
_PASSAGE_NAMES = ("document", "passage", "corpus")  # as sentence-transformers looks for them
_ASK = "Represent this sentence for searching relevant passages: "
_INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
# Encoders that were trained with prompts which their configuration does not name: what their makers' pages say.
_KNOWN = (
    (r"\be5-(?:small|base|large|mistral|\w+)-?(?:\w+-)*instruct|\be5-mistral", _INSTRUCT, ""),
    (r"\be5-(?:small|base|large)", "query: ", "passage: "),
    (r"\bbge-(?:small|base|large)-en", _ASK, ""),
    (r"\bbge-(?:small|base|large)-zh", "为这个句子生成表示以用于检索相关文章：", ""),
    (r"\bnomic-embed-text", "search_query: ", "search_document: "),
    (r"\bmxbai-embed-(?:large|xsmall)|\bsnowflake-arctic-embed-(?:xs|s|m|l)(?!-v2)", _ASK, ""),
    (r"\bgte-qwen", _INSTRUCT, ""),
)


@dataclass(frozen=True)
class Prompts:
    """The words before a query and before a passage; empty: none."""

    query: str = ""
    passage: str = ""

    def before(self, role: Role) -> str:
        """What stands before a text of this role."""
        return {"query": self.query, "passage": self.passage, "plain": ""}[role]


def prompts_of(name: str, configured: Mapping[str, str | None], default: str | None) -> Prompts:
    """The prompts of an encoder: those of its configuration, else what encoders of its name are known to need.

    Args:
        configured: prompts by name, as its configuration has them.
        default: the name of the one that is used where none is asked for.
    """
    otherwise = configured.get(default) or "" if default else ""
    query, passage = (
        next((found for each in names if (found := configured.get(each))), "")
        for names in (_QUERY_NAMES, _PASSAGE_NAMES)
    )
    if query or passage or otherwise:
        return Prompts(query or otherwise, passage or otherwise)
    for pattern, known_query, known_passage in _KNOWN:
        if re.search(pattern, name.lower()):
            return Prompts(known_query, known_passage)
    return Prompts()
