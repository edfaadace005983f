"""The judges beside the model: they read a text as it is written and as it looks, and need no engine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from server.chat.moderation import personal_data
from server.chat.moderation.policy import Action, JudgeKind, JudgeRule, Role
from server.chat.records.turn_records import Judgement
from server.chat.text.lookalikes import readings

# Orders to the model in a text that should only inform it.
_INJECTIONS = (
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:previous|prior|above|earlier|preceding|all|any|your)\b"
    r".{0,40}\b(?:instructions?|prompts?|rules?|directions?|guidelines?|context|messages?|training)\b",
    r"\b(?:reveal|repeat|print|show|output|leak)\b.{0,30}\b(?:(?:system|initial|hidden) prompt|instructions)\b",
    r"\byou are (?:now|no longer)\b.{0,60}\b(?:assistant|ai|bot|model|unrestricted|dan|developer mode|bound)\b",
    r"\b(?:from now on|starting now),? (?:you|respond|reply|answer|act|always)\b",
    r"\b(?:new|updated|real|hidden) (?:system )?(?:instructions?|prompt)\s*:",
    r"\b(?:do not|don.t|never) (?:tell|inform|mention|reveal)\b.{0,30}\b(?:the )?user\b",
    r"\b(?:note|message|instructions?) (?:to|for) (?:the |any |all )?(?:ai|llms?|(?:language )?models?|bots?)\b",
    r"<\|?(?:im_start|system|endoftext|human|bot)\|?>",
    r"\b(?:jailbreak|developer|dan|god) mode\b",
)


class Judge:
    """One judge of a policy. Thread-safe."""

    def __init__(self, rule: JudgeRule) -> None:
        self.rule = rule
        patterns = _INJECTIONS if rule.kind is JudgeKind.INJECTION else _patterns(rule)
        self._pattern = re.compile("|".join(f"(?:{each})" for each in patterns) or "(?!)", re.IGNORECASE)

    def verdict(self, text: str) -> Judgement | None:
        """What follows from `text`; None for nothing."""
        if not self._finds(text):
            return None
        blocked = self.rule.action is Action.BLOCK
        return Judgement(
            label=self.rule.label,
            scores={},
            log_probs={},
            blocked=blocked,
            message=self.rule.message if blocked else "",
            judge=self.rule.name,
            caution=self.rule.action is Action.CAUTION,
        )

    def masked(self, text: str) -> str:
        """`text` without what this judge masks."""
        return personal_data.mask(text, self.masks(text))

    def masks(self, text: str) -> list[personal_data.Found]:
        """What this judge masks in `text`."""
        if self.rule.action is not Action.MASK:
            return []
        return personal_data.find(text, self.rule.finds, self.rule.regions)

    def _finds(self, text: str) -> bool:
        if self.rule.kind is JudgeKind.PERSONAL_DATA:
            return any(personal_data.find(each, self.rule.finds, self.rule.regions) for each in readings(text)[:2])
        return any(self._pattern.search(each) for each in readings(text))


class Judges:
    """All judges of a policy that need no engine."""

    def __init__(self, rules: Iterable[JudgeRule]) -> None:
        self._judges = tuple(map(Judge, rules))

    def verdicts(self, text: str, role: Role) -> list[Judgement]:
        """What the judges of `role` find in `text`."""
        found = (each.verdict(text) for each in self._judges if role in each.rule.roles)
        return [each for each in found if each is not None]

    def masked(self, text: str, role: Role) -> str:
        """`text` as it may be judged, prompted, stored and shown: without what a judge of `role` masks."""
        for each in self._judges:
            if role in each.rule.roles:
                text = each.masked(text)
        return text

    def masks(self, role: Role) -> bool:
        """Whether a judge of `role` masks anything."""
        return any(each.rule.action is Action.MASK and role in each.rule.roles for each in self._judges)

    def uncut(self, text: str, end: int, role: Role) -> int:
        """The last place up to `end` at which `text` parts nothing that a judge of `role` masks."""
        for each in self._judges:
            if role in each.rule.roles:
                end = min([end, *(found.start for found in each.masks(text) if found.start < end < found.end)])
        return end


def _patterns(rule: JudgeRule) -> Sequence[str]:
    """A word stands for itself, however many blanks part its words."""
    words = (r"(?<!\w)" + r"\s+".join(map(re.escape, word.split())) + r"(?!\w)" for word in rule.words)
    return (*words, *rule.patterns)
