"""Subject, verb and rest of a plain declarative sentence, found by scanning its first words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from container.demo.data.words import FUNCTION_WORDS, PRONOUNS, base_form

_COPULAS = ("is", "was", "are", "were")
_PAST = re.compile(
    r".*ed$|had|became|won|wrote|made|led|began|gave|took|held|built|bought|sold|left|lost|found|met|ran|said"
)
_PASSIVE = re.compile(
    r"^((?:\w+ly |also |first |often |usually )?(?:\w+ed|born|built|written|made|known|found|held|won|led|given|taken|"
    r"shot|seen|set|sold|sent|spoken|called)) (by|in|on|at|from|to|as|for|into|with|of) (.+)$"
)
_PREPOSITIONAL = re.compile(r"^(of|in|at|on|to|from|as|by|with|for) (.+)$")
_BRACKETS = re.compile(r" \([^()]*\)")
_APPOSITION = re.compile(r"^([^,]{2,60}), [^,]{1,70}, (?=is |was |are |were )")
_SUBJECT_BREAKERS = FUNCTION_WORDS - frozenset(["the", "a", "an", "of", "and", "in", "for", "de"]) - PRONOUNS
_STOPPED = re.compile(r"[,;:(]| which | who | that | and | but ")


@dataclass(frozen=True)
class Clause:
    """A sentence cut in three. `named` is true when the subject is a name; participle, preposition and tail describe
    what follows the verb ("was founded | by | his brother"), empty when nothing of that shape does.
    """

    subject: str
    verb: str
    rest: str
    base: str
    named: bool
    participle: str = ""
    preposition: str = ""
    tail: str = ""

    @property
    def is_copula(self) -> bool:
        """Whether the verb is a form of "be"."""
        return self.verb in _COPULAS

    @property
    def auxiliary(self) -> str:
        """The form of "do" that a question with the base form needs."""
        if _PAST.fullmatch(self.verb):
            return "did"
        return "do" if self.verb == self.base else "does"


def parse_clause(sentence: str, topic: str | None) -> Clause | None:
    """Cut `sentence`, or None when its opening is not a plain subject and a known verb.

    A pronoun subject is replaced by `topic`; without a topic such a sentence is refused.
    """
    text = _APPOSITION.sub(r"\1 ", _BRACKETS.sub("", sentence)).rstrip(".").strip()
    words = text.split()
    for position, word in enumerate(words[1:9], 1):
        base = "be" if word in _COPULAS else base_form(word)
        if base and position + 1 < len(words) and not _is_perfect(base, words[position + 1]):
            subject = _subject(words[:position], topic)
            return _clause(subject, word, " ".join(words[position + 1 :]), base=base) if subject else None
    return None


def _is_perfect(base: str, following: str) -> bool:
    """Whether "has" or "had" is an auxiliary ("has developed") rather than the verb."""
    return base == "have" and (following in ("been", "become", "also", "had", "not") or following.endswith("ed"))


def shorten(text: str, limit: int) -> str:
    """The first words of a phrase, up to the next comma, relative clause or conjunction."""
    return " ".join(_STOPPED.split(text)[0].split()[:limit]).strip(" .\"'")


def _clause(subject: str, verb: str, rest: str, base: str) -> Clause:
    named = subject[0].isupper() and not subject.startswith(("The ", "A ", "An "))
    subject = subject if named else subject[0].lower() + subject[1:]
    if verb in _COPULAS:
        passive = _PASSIVE.match(rest)
        parts = (passive[1], passive[2], passive[3]) if passive else ("", "", "")
    else:
        prepositional = _PREPOSITIONAL.match(rest)
        parts = ("", prepositional[1], prepositional[2]) if prepositional else ("", "", "")
    return Clause(subject, verb, rest, base, named, *parts)


def _subject(words: list[str], topic: str | None) -> str | None:
    lowered = [word.lower().strip('"') for word in words]
    if len(words) == 1 and lowered[0] in ("he", "she", "it", "they"):
        return topic
    if lowered[0] in PRONOUNS | _SUBJECT_BREAKERS or lowered[0] in ("in", "of", "for", "and"):
        return None
    if set(lowered) & (_SUBJECT_BREAKERS | PRONOUNS) or any(word.endswith((",", ";", ":")) for word in words):
        return None
    return " ".join(words) if len(words) <= 6 else None
