"""Questions made from one declarative sentence, with the words a right reply must hold."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from container.demo.data.clauses import Clause, parse_clause, shorten
from container.demo.data.words import FUNCTION_WORDS, content_words

_PERSON = re.compile(
    r"\b(philosopher|writer|author|novelist|politician|act(?:or|ress)|king|queen|emperor|president|player|scientist|"
    r"physicist|chemist|mathematician|director|filmmaker|poet|lawyer|general|leader|economist|architect|painter|singer|"
    r"anthropologist|essayist|composer|engineer|doctor|teacher|sailor|farmer|judge|priest|soldier|merchant|historian|"
    r"astronaut|inventor|explorer|born)\b"
)
_YEAR = re.compile(r"\b(?:in|since|until|by|during|after) ((?:[A-Z][a-z]+ )?(?:1\d|20)\d\d)\b")
_DAY = re.compile(r"\bon (\d{1,2} [A-Z][a-z]+(?: \d{3,4})?|[A-Z][a-z]+ \d{1,2}(?:, \d{3,4})?)")
_PLACE = re.compile(r"\b(?:in|at|near|from) ((?:the )?[A-Z][a-z]+(?: [A-Z][a-z]+)*)\b")
_COUNT = re.compile(r"\b(\d[\d,.]*|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty) ((?:[a-z]+ )?[a-z]+s)\b")
_LEADING_YEAR = re.compile(r"^(?:In|During|By|Since) ((?:[A-Z][a-z]+ )?(?:1\d|20)\d\d),? (.+)$")

_ABOUT = ("Tell me about {0}.", "What do you know about {0}?", "What can you tell me about {0}?", "Describe {0}.")
_DEFINE = (
    "{wh} {be} {0}?",
    "{wh} {be} {0}?",
    "{wh} {be} {0}?",
    "Do you know {low} {0} {be}?",
    "Explain {low} {0} {be}.",
)
_ABOUT_HELD = ("Give me some information on {0}.", "I want to hear something about {0}.")
_DEFINE_HELD = ("Could you explain to me {low} {0} {be}?", "I would like to know {low} {0} {be}.")
_KEYWORD = ("What about {0}?", "Tell me about {0}.", "What is said about {0}?", "And {0}?", "{0}?", "How about {0}?")
_HAPPENED = ("What happened in {0}?", "Tell me what happened in {0}.", "What took place in {0}?")
_HAPPENED_HELD = ("Which event took place in {0}?",)


@dataclass(frozen=True)
class Question:
    """A question whose whole right reply is `reply`; `gold` are the words that make a reply right."""

    text: str
    reply: str
    gold: str
    kind: str


def questions_about(
    sentence: str, rng: random.Random, topic: str | None = None, held_out_frames: bool = False
) -> list[Question]:
    """Every question the patterns find in `sentence`; `topic` stands for a pronoun subject.

    Args:
        sentence: one sentence, ending in a full stop.
        rng: chooses among wordings.
        topic: the article's title, or None when a pronoun subject cannot be resolved.
        held_out_frames: use the wordings that training never sees, for evaluation.
    """
    frames = _Frames(rng, held_out_frames)
    found: list[tuple[str, str, str]] = []
    leading = _LEADING_YEAR.match(sentence)
    if leading:
        found.append((frames.happened(leading[1]), shorten(leading[2], 4), "year"))
    clause = parse_clause(leading[2] if leading else sentence, topic)
    if clause:
        found += frames.of_clause(clause, leading[1] if leading else None)
    return [Question(text, sentence, gold, kind=kind) for text, gold, kind in found if _is_fair(text, gold)]


def keyword_question(sentence: str, rng: random.Random) -> Question | None:
    """A question that only names one to three consecutive words of the sentence."""
    words = sentence.rstrip(".").split()
    starts = [i for i, word in enumerate(words) if word.lower().strip(",;:()\"'") not in FUNCTION_WORDS]
    if len(starts) < 3:
        return None
    start = rng.choice(starts)
    span = [word.strip(',;:()"') for word in words[start : start + rng.choice((1, 2, 2, 3))]]
    while span and span[-1].lower() in FUNCTION_WORDS:
        span.pop()
    if not span or len(" ".join(span)) < 4:
        return None
    name = " ".join(span)
    if rng.random() < 0.3 and span[0].islower():
        name = f"the {name}"
    return Question(rng.choice(_KEYWORD).format(name), sentence, "", kind="keyword")


def _is_fair(text: str, gold: str) -> bool:
    """Whether the gold words are a real answer: long enough and not already said in the question."""
    return len(gold) > 2 and gold.lower() not in text.lower() and len(text) < 160


class _Frames:
    """Wordings for the parts of a clause; `held_out` picks those kept back from training."""

    def __init__(self, rng: random.Random, held_out: bool) -> None:
        self._rng = rng
        self._held_out = held_out

    def happened(self, when: str) -> str:
        return self._rng.choice(_HAPPENED_HELD if self._held_out else _HAPPENED).format(when)

    def of_clause(self, clause: Clause, year: str | None) -> list[tuple[str, str, str]]:
        found = self._of_copula(clause) if clause.is_copula else self._of_verb(clause)
        found += self._when(clause, year)
        found += self._where(clause)
        found += self._how_many(clause)
        if clause.rest and self._rng.random() < 0.4:
            frame = self._rng.choice(_ABOUT_HELD if self._held_out else _ABOUT)
            found.append((frame.format(clause.subject), shorten(clause.rest, 4), "about"))
        if self._rng.random() < 0.6 and clause.named:
            found += self._subject(clause)
        return found

    def _of_copula(self, clause: Clause) -> list[tuple[str, str, str]]:
        if clause.participle:
            return self._of_passive(clause)
        is_person = clause.named and clause.verb in ("is", "was") and bool(_PERSON.search(clause.rest[:90]))
        who = "Who" if is_person else "What"
        frame = self._rng.choice(_DEFINE_HELD if self._held_out else _DEFINE)
        text = frame.format(clause.subject, wh=who, low=who.lower(), be=clause.verb)
        return [(text, shorten(clause.rest, 5), "define")]

    def _of_passive(self, clause: Clause) -> list[tuple[str, str, str]]:
        participle, preposition, tail = clause.participle, clause.preposition, clause.tail
        be, subject = clause.verb, clause.subject
        if preposition == "by":
            frames = [f"Who {be} {subject} {participle} by?", f"By whom {be} {subject} {participle}?"]
        elif preposition in ("in", "at", "on") and tail[:1].isupper():
            frames = [f"Where {be} {subject} {participle}?"]
        else:
            frames = [f"What {be} {subject} {participle} {preposition}?"]
        return [(self._rng.choice(frames), shorten(tail, 3), "passive")]

    def _of_verb(self, clause: Clause) -> list[tuple[str, str, str]]:
        auxiliary, base = clause.auxiliary, clause.base
        if clause.preposition:
            text = f"What {auxiliary} {clause.subject} {base} {clause.preposition}?"
            return [(text, shorten(clause.tail, 3), "verb")]
        return [(f"What {auxiliary} {clause.subject} {base}?", shorten(clause.rest, 4), "verb")]

    def _subject(self, clause: Clause) -> list[tuple[str, str, str]]:
        rest = shorten(clause.rest, 6)
        who = "Who" if _PERSON.search(clause.rest) or clause.verb in ("wrote", "married", "won") else "What"
        return [(f"{who} {clause.verb} {rest}?", clause.subject, "subject")] if len(rest.split()) > 1 else []

    def _when(self, clause: Clause, year: str | None) -> list[tuple[str, str, str]]:
        dates = [] if year else [match for match in (_YEAR.search(clause.rest), _DAY.search(clause.rest)) if match]
        found = min(dates, key=lambda match: match.start(), default=None)
        if not year and not found:
            return []
        rest = clause.rest[: found.start()].strip(" ,") if found else clause.rest
        opening = self._rng.choice(("When", "When", "In what year") if not self._held_out else ("At what time",))
        return [(f"{opening} {self._ask(clause, rest)}?", year or (found[1] if found else ""), "when")]

    def _where(self, clause: Clause) -> list[tuple[str, str, str]]:
        found = _PLACE.search(clause.rest)
        if not found or self._rng.random() < 0.4:
            return []
        rest = clause.rest[: found.start()].strip(" ,")
        opening = "Where" if not self._held_out else "In which place"
        return [(f"{opening} {self._ask(clause, rest)}?", found[1], "where")] if rest else []

    def _how_many(self, clause: Clause) -> list[tuple[str, str, str]]:
        found = _COUNT.search(clause.rest)
        if not found:
            return []
        if clause.verb in ("has", "have", "had"):
            return [
                (f"How many {found[2]} {clause.auxiliary} {clause.subject} have?", found[1] + " " + found[2], "count")
            ]
        return [(f"How many {found[2]} {clause.verb} {clause.subject}?", found[1] + " " + found[2], "count")] * (
            clause.is_copula and not clause.participle
        )

    def _ask(self, clause: Clause, rest: str) -> str:
        """The clause as a question's body: auxiliary, subject, base form, a few words more."""
        words = " ".join(content_cut(rest))
        if clause.is_copula:
            return f"{clause.verb} {clause.subject} {words}".strip()
        return f"{clause.auxiliary} {clause.subject} {clause.base} {words}".strip()


def content_cut(text: str, limit: int = 6) -> list[str]:
    """The first words of a phrase, ending in a content word."""
    words = re.split(r"[,;:(]", text)[0].split()[:limit]
    while words and words[-1].lower() in FUNCTION_WORDS:
        words.pop()
    return words


def overlap(question: str, sentence: str) -> int:
    """How many content words of the question the sentence holds."""
    return len(content_words(question) & content_words(sentence))
