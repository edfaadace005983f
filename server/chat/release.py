"""Which part of a growing reply is worth judging next."""

from __future__ import annotations

import re

# The end of a sentence: its mark, closing quotes or brackets, then white space; or the end of a line.
_BOUNDARY = re.compile(r"[.!?\u3002\uff01\uff1f\u2026][\"'\u201d\u2019)\]]*\s|\n")


def next_to_judge(written: str, num_judged: int, longest_hold: int = 240) -> int:
    """How many characters of `written` to judge next; `num_judged` when there is nothing new worth it.

    Sentences are judged whole; one that runs longer than `longest_hold` characters is cut at a space. What is judged
    always begins at the reply's start, so no sentence is judged without what came before it, and the engine reuses
    the keys and values of the part that it has read already.
    """
    end = num_judged
    for match in _BOUNDARY.finditer(written, num_judged):
        end = match.end()
    if end == num_judged and len(written) - num_judged >= longest_hold:
        end = written.rfind(" ", num_judged) + 1 or len(written)
    return end
