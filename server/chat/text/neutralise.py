"""Taking the force out of tags that somebody wrote, visibly and reversibly.

A backslash is put after the bracket of a role tag or special token, `<\\human>`, after the first sign of another tag,
`[\\INST]`, and before a `Background:` that begins a line. It stands for itself in every other place. Neutralising what
is neutral already adds a second backslash, and `restore` takes one away, so nothing is lost whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from server.chat.text.folding import Folded, fold, folded_text

MARK = "\\"
_NEVER = "(?!)"  # the pattern of no word


@dataclass(frozen=True)
class Markup:
    """What a format is written with, and texts must not imitate.

    Attributes:
        roles: of speakers, whose tags are names in angle brackets.
        tokens: names of special tokens in angle brackets; anything in `<|...|>` counts as one, too.
        labels: words that begin a line of the format's own, with a colon.
        literals: tags of any other form, of two characters or more.
    """

    roles: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    literals: tuple[str, ...] = ()


class Neutraliser:
    """Breaks the tags of one format."""

    def __init__(self, markup: Markup) -> None:
        role, token, label = (
            "|".join(map(_spaced, words)) or _NEVER for words in (markup.roles, markup.tokens, markup.labels)
        )
        literals = (_literal(number, tag) for number, tag in enumerate(markup.literals))
        # Over folded text, where `mark` is where backslashes stand or would stand.
        self._forged = re.compile(
            rf"<(?P<tag>\\*)\s*(?:/\s*)?"
            rf"(?:(?:{role})(?![a-z0-9])|(?:{token})\s*(?:/\s*)?>|\|\s*[a-z0-9_ ]{{1,40}}\|\s*>)"
            rf"|(?<!\\)(?P<line>\\*)(?:{label})\s*:" + "".join(literals)
        )

    def neutralise(self, text: str) -> str:
        """`text` with every imitation of structure broken; `restore` gives `text` back."""
        pieces, done = [], 0
        for place in self._places(text):
            pieces += [text[done:place], MARK]
            done = place
        return "".join(pieces) + text[done:]

    def restore(self, text: str) -> str:
        """`text` as it was before `neutralise`; any other text as it is."""
        pieces, done = [], 0
        for place in self._places(text):
            if text.startswith(MARK, place):
                pieces.append(text[done:place])
                done = place + len(MARK)
        return "".join(pieces) + text[done:]

    def _places(self, text: str) -> Iterator[int]:
        """Where in `text` a mark belongs, or stands; the same places but for the marks themselves."""
        if self._forged.search(folded_text(text)) is None:
            return  # as in nearly every text; the way back to its characters is not needed
        folded = fold(text)
        for match in self._forged.finditer(folded.text):
            if match["line"] is None:  # behind the first sign of a tag
                yield folded.ends[match.start()]
            elif _begins_line(folded, match.start()):
                yield folded.starts[match.start()]


def _begins_line(folded: Folded, place: int) -> bool:
    while place > 0 and folded.text[place - 1] == " ":
        place -= 1
    return place == 0 or folded.text[place - 1] == "\n"


def _spaced(word: str) -> str:
    """A pattern for `word`, also with white space between its letters."""
    return r"\s*".join(map(re.escape, word))


def _literal(number: int, tag: str) -> str:
    """One more branch of the pattern, for `tag` as folding leaves it."""
    plain = "".join(fold(tag).text.split())
    first, rest = plain[0], plain[1:]
    return rf"|{re.escape(first)}(?P<literal{number}>\\*)\s*{_spaced(rest)}"
