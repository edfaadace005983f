"""The judges of a policy file beside its model: each a table `[[judges]]`."""

from __future__ import annotations

import re
from typing import Any

from server.chat.moderation.personal_data import FINDERS
from server.chat.moderation.policy import Action, JudgeKind, JudgeRule, Role

_MESSAGE = "Unfortunately I am unable to provide any information about this topic"
_KEYS = {"name", "kind", "label", "roles", "action", "message", "words", "patterns", "finds", "regions"}
_OF_KIND = {
    JudgeKind.WORDS: {"words", "patterns"},
    JudgeKind.PERSONAL_DATA: {"finds", "regions"},
    JudgeKind.INJECTION: set[str](),
}
_ROLES = {
    JudgeKind.WORDS: (Role.INPUT, Role.OUTPUT),
    JudgeKind.PERSONAL_DATA: (Role.INPUT, Role.OUTPUT),
    JudgeKind.INJECTION: (Role.PASSAGE,),
}


def judge_rule(raw: dict[str, Any]) -> JudgeRule:
    """One checked table. Raises ValueError or KeyError with the key and what is legal."""
    kind = JudgeKind(_one_of(raw["kind"], "judges.kind", JudgeKind))
    others = set[str]().union(*(keys for each, keys in _OF_KIND.items() if each is not kind))
    unknown = sorted(set(raw) - (_KEYS - others))
    if unknown:
        raise ValueError(f"judges.{unknown[0]} is unknown for kind={kind.value!r}")
    rule = JudgeRule(
        name=_text(raw.get("name", kind.value), "judges.name"),
        kind=kind,
        label=_text(raw.get("label", kind.value), "judges.label"),
        roles=tuple(Role(_one_of(each, "judges.roles", Role)) for each in raw.get("roles", _ROLES[kind])),
        action=Action(_one_of(raw.get("action", "block"), "judges.action", list(Action)[1:])),
        message=_text(raw.get("message", _MESSAGE), "judges.message"),
        words=tuple(_text(each, "judges.words") for each in raw.get("words", [])),
        patterns=tuple(_pattern(each) for each in raw.get("patterns", [])),
        finds=tuple(_one_of(each, "judges.finds", FINDERS) for each in raw.get("finds", FINDERS)),
        regions=tuple(_text(each, "judges.regions") for each in raw.get("regions", [])),
    )
    if rule.action is Action.MASK and kind is not JudgeKind.PERSONAL_DATA:
        raise ValueError(f"judges.action='mask': only kind={JudgeKind.PERSONAL_DATA.value!r} knows what to mask")
    if kind is JudgeKind.WORDS and not (rule.words or rule.patterns):
        raise ValueError(f"judges.words and judges.patterns are both empty for name={rule.name!r}")
    return rule


def _one_of(value: object, key: str, legal: Any) -> str:
    names = [str(each) for each in legal]
    if value not in names:
        raise ValueError(f"{key}={value!r}: legal are {', '.join(names)}")
    return str(value)


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key}={value!r}: a non-empty string is needed")
    return value


def _pattern(value: object) -> str:
    text = _text(value, "judges.patterns")
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"judges.patterns={text!r}: no regular expression: {error}") from error
    return text
