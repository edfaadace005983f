"""A policy as an operator writes it: TOML, read and checked, every error with its key."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

from server.chat.moderation.judge_rules import judge_rule
from server.chat.moderation.policy import Example, JudgedPassages, Policy, Role, RoleRule, SecondRule

DEFAULT_POLICY = Path(__file__).with_name("policies") / "openchatkit.toml"
_BLOCKS_BY_DEFAULT = "needs intervention"
_SECOND_KEYS = {"name", "weights", "encoder", "share", "lean", "asked_from", "asked_of_runs"}
_RULE_KEYS = {"block", "thresholds", "message", "messages", "caution", "preface", "instructions"}


class PolicyError(ValueError):
    """A policy file that cannot be used; the sentence names the file, the key and what is legal."""


def load_policy(path: Path = DEFAULT_POLICY) -> Policy:
    """Read and check a policy file.

    Raises:
        PolicyError: the file is missing, not TOML, or a key is absent, unknown or of the wrong kind.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"policy {path}: {error}") from error
    try:
        return _checked(raw, path.parent)
    except (KeyError, TypeError, ValueError) as error:
        detail = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise PolicyError(f"policy {path}: {detail}") from error


_KEYS = {
    "name",
    "version",
    "header",
    "labels",
    "severity",
    "examples",
    "passages",
    "judges",
    "dry_run",
    "sentences",
    "runs",
    "screen",
    "second",
    *Role,
}


def _checked(raw: dict[str, Any], folder: Path) -> Policy:
    unknown = sorted(set(raw) - _KEYS)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; legal keys are {', '.join(sorted(_KEYS))}")
    labels = tuple(_text(label, "labels") for label in raw["labels"])
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ValueError(f"labels={list(labels)!r}: at least two different labels are needed")
    severity = tuple(raw.get("severity", labels))
    if sorted(severity) != sorted(labels):
        raise ValueError(f"severity={list(severity)!r} must name every label once: {list(labels)!r}")
    return Policy(
        name=_text(raw["name"], "name"),
        version=int(raw["version"]),
        header=_text(raw["header"], "header"),
        labels=labels,
        severity=severity,
        examples=tuple(_example(example, labels) for example in raw["examples"]),
        rules=_rules(raw, labels, severity),
        passages=_judged_passages(raw.get("passages", JudgedPassages.WEB.value)),
        sentences=_share(raw.get("sentences", 0.0), "sentences"),
        runs=_share(raw.get("runs", 0.0), "runs"),
        screen=_share(raw.get("screen", Policy.screen), "screen"),
        second=_second(raw["second"], folder) if "second" in raw else None,
        judges=tuple(judge_rule(each) for each in raw.get("judges", [])),
        dry_run=_flag(raw.get("dry_run", False), "dry_run"),
    )


def _rules(raw: dict[str, Any], labels: tuple[str, ...], severity: tuple[str, ...]) -> dict[Role, RoleRule]:
    """A rule for each role. Instructions that the file does not mention are blocked for the most severe label alone,
    since an operator's are no question; passages as questions are.
    """
    rules = {role: _role_rule(raw[role], role, labels) for role in (Role.INPUT, Role.OUTPUT)}
    rules[Role.SYSTEM] = RoleRule((severity[-1],), (), rules[Role.INPUT].message_for(severity[-1]))
    rules[Role.PASSAGE] = rules[Role.INPUT]
    return rules | {role: _role_rule(raw[role], role, labels) for role in (Role.SYSTEM, Role.PASSAGE) if role in raw}


def _second(raw: dict[str, Any], folder: Path) -> SecondRule:
    """The table of the second judge; its file is looked for beside the policy's."""
    unknown = sorted(set(raw) - _SECOND_KEYS)
    if unknown:
        raise ValueError(f"second.{unknown[0]} is unknown; legal are {', '.join(sorted(_SECOND_KEYS))}")
    asked_from = _share(raw.get("asked_from", SecondRule.asked_from), "second.asked_from")
    return SecondRule(
        name=_text(raw.get("name", "model and sentence vectors"), "second.name"),
        weights=folder / _text(raw["weights"], "second.weights"),
        encoder=_text(raw["encoder"], "second.encoder") if "encoder" in raw else SecondRule.encoder,
        share=_number(raw.get("share", SecondRule.share), "second.share"),
        lean=_number(raw.get("lean", SecondRule.lean), "second.lean"),
        asked_from=asked_from,
        asked_of_runs=_share(raw.get("asked_of_runs", asked_from), "second.asked_of_runs"),
    )


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key}={value!r}: a finite number is needed")
    return float(value)


def _judged_passages(value: object) -> JudgedPassages:
    named = {True: "all", False: "none"}.get(value, value) if isinstance(value, bool) else value
    if named not in list(JudgedPassages):
        raise ValueError(f"passages={value!r}: legal are {', '.join(JudgedPassages)}, true for all and false for none")
    return JudgedPassages(str(named))


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key}={value!r}: a non-empty string is needed")
    return value


def _example(raw: dict[str, Any], labels: tuple[str, ...]) -> Example:
    return Example(_text(raw["text"], "examples.text"), _label(raw["label"], "examples.label", labels))


def _label(value: object, key: str, labels: tuple[str, ...]) -> str:
    if value not in labels:
        raise ValueError(f"{key}={value!r} is not one of the labels {list(labels)!r}")
    return str(value)


def _role_rule(raw: dict[str, Any], key: str, labels: tuple[str, ...]) -> RoleRule:
    unknown = sorted(set(raw) - _RULE_KEYS)
    if unknown:
        raise ValueError(f"{key}.{unknown[0]} is unknown; legal are {', '.join(sorted(_RULE_KEYS))}")
    thresholds = raw.get("thresholds", {})
    for label, threshold in thresholds.items():
        _label(label, f"{key}.thresholds", labels)
        if not isinstance(threshold, int | float) or not 0 < threshold <= 1:
            raise ValueError(f"{key}.thresholds.{label}={threshold!r}: a number above 0 and at most 1 is needed")
    return RoleRule(
        block=_blocking(raw, key, labels),
        thresholds=tuple((label, float(value)) for label, value in thresholds.items()),
        message=_text(raw["message"], f"{key}.message"),
        messages=tuple(
            (_label(label, f"{key}.messages", labels), text) for label, text in raw.get("messages", {}).items()
        ),
        caution=tuple(_label(label, f"{key}.caution", labels) for label in raw.get("caution", [])),
        preface=str(raw.get("preface", "")),
        instructions=str(raw.get("instructions", "")),
    )


def _share(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{key}={value!r}: a number from 0 to 1 is needed")
    return float(value)


def _flag(value: object, key: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{key}={value!r}: true or false is needed")
    return value


def _blocking(raw: dict[str, Any], key: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels that block. A role whose rule names none must not pass everything for want of a line."""
    if "block" not in raw and "thresholds" not in raw:
        if _BLOCKS_BY_DEFAULT not in labels:
            raise ValueError(
                f"{key} has neither block nor thresholds, and {_BLOCKS_BY_DEFAULT!r}, which blocks where nothing is "
                f"named, is not one of the labels {list(labels)!r}; name in {key}.block what blocks"
            )
        return (_BLOCKS_BY_DEFAULT,)
    if not raw.get("block") and not raw.get("thresholds"):
        raise ValueError(f"{key} blocks nothing: name a label in {key}.block, or set OCK_MODERATION=off")
    return tuple(_label(label, f"{key}.block", labels) for label in raw.get("block", []))
