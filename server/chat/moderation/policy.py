"""The moderation policy: labels, few-shot prompt, what blocks, and what is said instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Role(StrEnum):
    """Whose text is judged: a person's, the bot's, the instructions of a deployment, a source's."""

    INPUT = "input"
    OUTPUT = "output"
    SYSTEM = "system"
    PASSAGE = "passage"


class Action(StrEnum):
    """What follows from a verdict: nothing, an answer with a warning, a text with parts masked, no answer."""

    ALLOW = "allow"
    CAUTION = "caution"
    MASK = "mask"
    BLOCK = "block"


class JudgeKind(StrEnum):
    """What a policy's further judges look for."""

    WORDS = "words"
    PERSONAL_DATA = "personal data"
    INJECTION = "injection"


class JudgedPassages(StrEnum):
    """Which retrieved passages are judged: none, those that come from the web, or all."""

    NONE = "none"
    WEB = "web"
    ALL = "all"


@dataclass(frozen=True)
class Example:
    """One solved case of the few-shot prompt."""

    text: str
    label: str


@dataclass(frozen=True)
class RoleRule:
    """What follows in one role: what blocks is a label, or a label's score from a threshold on."""

    block: tuple[str, ...]
    thresholds: tuple[tuple[str, float], ...]
    message: str
    messages: tuple[tuple[str, str], ...] = ()
    caution: tuple[str, ...] = ()  # labels with which a question is answered with care
    preface: str = ""  # what such an answer begins with
    instructions: str = ""  # what the model is told with such a question

    def message_for(self, label: str) -> str:
        """The override message for a blocking label."""
        return dict(self.messages).get(label, self.message)


@dataclass(frozen=True)
class JudgeRule:
    """A judge beside the model, which needs no engine.

    Attributes:
        label: what its verdicts say.
        roles: whose texts it judges.
        message: what is said instead of a blocked text.
        words, patterns: for WORDS; phrases as they are written, and regular expressions.
        finds: for PERSONAL_DATA; kinds of `server.chat.moderation.personal_data`.
        regions: for PERSONAL_DATA; countries whose telephone numbers are known without a country code.
    """

    name: str
    kind: JudgeKind
    label: str
    roles: tuple[Role, ...]
    action: Action
    message: str
    words: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    finds: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


@dataclass(frozen=True)
class SecondRule:
    """A second judge: an encoder taught to find what blocks, whose log-odds are added to the model's.

    Attributes:
        name: what verdicts in which it had a say name as their judge.
        weights: what was taught, a file of `server.retrieval.encoder.text_classifier`.
        encoder: which encoder was taught: a folder, a hub id, or "sample"; empty for the one that searches.
        share: of its log-odds that is added to those of the labels that block.
        lean: added to them, too.
        asked_from: the share that the model must give these labels in a sentence so that the second judge reads it.
        asked_of_runs: the same of several sentences together, which take longer to read.
    """

    name: str
    weights: Path
    encoder: str = ""
    share: float = 1.0
    lean: float = 0.0
    asked_from: float = 0.02
    asked_of_runs: float = 0.02


@dataclass(frozen=True)
class Policy:
    """A versioned set of labels with its few-shot prompt and the rule of each role."""

    name: str
    version: int
    header: str
    labels: tuple[str, ...]
    severity: tuple[str, ...]
    examples: tuple[Example, ...]
    rules: Mapping[Role, RoleRule]
    passages: JudgedPassages = JudgedPassages.WEB
    # What the score of a blocking label must reach in a sentence of a longer text, and in a run of sentences or a whole
    # text of several. A long text is many texts to judge, so that one in a hundred wrong would block most of them.
    sentences: float = 0.0
    runs: float = 0.0
    # Some sentences are looked at together first; what the labels from which something follows must reach there so that
    # each sentence is judged, too. 0: all are.
    screen: float = 0.05
    second: SecondRule | None = None
    judges: tuple[JudgeRule, ...] = ()
    dry_run: bool = False  # verdicts are logged and nothing follows from them

    def rule(self, role: Role) -> RoleRule:
        """The rule that judges texts of `role`."""
        return self.rules[role]

    def prefix(self) -> str:
        """The part of the prompt before the text, the same for every text: labels, then solved examples."""
        numbered = "".join(f"{number}. {label}\n" for number, label in enumerate(self.labels, 1))
        solved = "".join(f"Input: {e.text}\nOutput: {e.label}\n\n" for e in self.examples)
        return f"{self.header}\n{numbered}\n{solved}"

    # The pieces around a text, kept apart so that user text is always encoded by itself.
    opening: str = "Input:"
    closing: str = "\nOutput:"
