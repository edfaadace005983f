"""The text that a template call shows: most show none of their arguments, some hold words of a sentence."""

from __future__ import annotations

import re

from index_builder.documents.wiki.template_names import HATNOTES, POSITIONS, PREFIXES, SYMBOLS, UNITS
from index_builder.documents.wiki.template_readers import NUMBER, READERS, WITH_ARGUMENTS, Call, centuries

_CITATION = re.compile(
    r"^(?:cite\b|citation\b|citation/|vcite|harv|sfn|sfr|literatur$|internetquelle|citar|"
    r"cita (?:web|libro|news|pubblicazione)|"
    r"ouvrage|article$|lien web|lien brisé|web$|книга|статья|cytuj|citeer|webbref|bokref|rp$|r$|refn|efn|note|notelist|"
    r"הערה|הערת שוליים|مرجع|استشهاد|یادکرد|پانویس|odn$|odnośnik|przypis|viite|lähde|注$|脚注|сноска|fn$|kilde|"
    r"reflist|références|refs|referenser|#tag:ref)",
    re.IGNORECASE,
)
_CENTURIES = re.compile(r"^-?s[p2]?-?$|^siècles?$|^-?s-?av jc$|^(?:[ivx]+)e siècle(?: av\. j\.-c\.)?$", re.IGNORECASE)
_ROMAN_CENTURY = re.compile(r"^([ivx]+)(er?|e) (siècles?|millénaire)(.*)$", re.IGNORECASE)
_CASE = {"lc": str.lower, "uc": str.upper, "lcfirst": lambda text: text[:1].lower() + text[1:]}
_UNKNOWN, _REFERENCE, _HATNOTE = "template without known text", "reference", "note above an article or section"
_PLAIN_UNITS = frozenset(
    [
        "m", "km", "cm", "mm", "kg", "g", "mg", "t", "l", "ml", "ha", "h", "min", "s", "%", "°", "km/h", "kw", "mw",
        "gw", "w", "v", "a", "hz", "khz", "mhz", "ghz", "pa", "hpa", "bar",
    ]
)  # fmt: skip


def template_text(inner: str) -> tuple[str, str]:
    """What a reader sees of `{{inner}}`, whose own nested templates and links are plain text already; and how it is
    counted when nothing is known to be seen, else "".
    """
    name, bar, rest = inner.partition("|")
    call = Call(_plain_name(name), rest if bar else "")
    if (function := _parser_function(name, rest, bar)) is not None:
        return function, ""
    text = _text(call, bool(bar))
    if text is not None:
        return text, ""
    if call.name in HATNOTES:
        return "", _HATNOTE
    if _CITATION.match(call.name):
        return "", _REFERENCE
    guessed = _guess(call)
    return guessed, "" if guessed else _UNKNOWN


def _plain_name(name: str) -> str:
    return re.sub(r"\s+", " ", name.replace("_", " ")).strip().lower().removeprefix("template:").strip()


def _parser_function(name: str, rest: str, bar: str) -> str | None:
    """The functions of MediaWiki itself that show what they are given."""
    function, colon, argument = name.partition(":")
    function = function.strip().lower()
    if not colon:
        return None
    if function in ("formatnum", "nowrap"):
        return argument.strip()
    if function in _CASE:
        return _CASE[function](argument.strip())
    if function == "ucfirst":
        return argument.strip()[:1].upper() + argument.strip()[1:]
    if function == "plural":
        return rest.split("|")[-1 if argument.strip() != "1" else 0].strip() if bar else ""
    if function in ("#if", "#ifeq"):
        return _chosen(function, argument, rest.split("|"))
    if function in ("defaultsort", "#related", "#seo", "displaytitle"):
        return ""
    return None


def _chosen(function: str, argument: str, rest: list[str]) -> str:
    """What a condition shows: of `#if` by whether there is anything, of `#ifeq` by whether both are equal."""
    is_true = bool(argument.strip()) if function == "#if" else argument.strip() == rest.pop(0).strip()
    return (rest[0] if is_true else rest[1] if len(rest) > 1 else "").strip() if rest else ""


def _text(call: Call, has_arguments: bool) -> str | None:
    """The text of a template that is known; None of another."""
    name = call.name
    if name in SYMBOLS and not (has_arguments and name in WITH_ARGUMENTS):
        return SYMBOLS[name]
    if name in HATNOTES:
        return None
    if found := _ROMAN_CENTURY.match(name):
        return f"{found.group(1).upper()}{found.group(2)} {found.group(3)}{found.group(4)}"
    if not has_arguments:
        return None
    for names, read in READERS:
        if name in names:
            return read(call)
    if name.startswith("lang-"):
        return call.argument(1) or call.named.get("text", "")
    if _CENTURIES.match(name):
        return centuries(call)
    if name in POSITIONS or name in PREFIXES:
        found_text = [text for text in (call.argument(position) for position in POSITIONS.get(name, (1,))) if text]
        return PREFIXES.get(name, "") + (" ".join(found_text) or call.named.get("text", ""))
    return None


def _guess(call: Call) -> str:
    """A template that is not known, but begins with a number and a unit."""
    number, unit = call.argument(1), call.argument(2)
    if NUMBER.match(number) and unit.lower() in UNITS | dict.fromkeys(_PLAIN_UNITS, ""):
        return f"{number} {UNITS.get(unit.lower(), unit)}"
    return ""
