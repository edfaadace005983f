"""The prose that a template call carries: most carry none, a few hold words of the sentence around them."""

from __future__ import annotations

import re

# Templates whose first argument is part of the sentence, and those whose second is.
_FIRST = (
    "nowrap|nobr|nobold|quote|blockquote|bquote|cquote|quotation|quote box|small|smaller|big|larger|em|strong|"
    "abbr|abbrlink|tooltip|as of|asof|formatnum|angbr|linktext|pslink|sic|mvar|var|unichar|keypress|key|"
    "noitalic|hlist|visible anchor|vanchor|linkedin|sc|smallcaps|sub|sup|chem2|simplenuclide|nuclide|val|ill|"
    "interlanguage link|indent|center|circa|c.|ca.|floruit|fl.|reign|r.|usd|gbp|eur|inr|us$|a$|£|uss|hms|"
    "nihongo|nihongo2|nihongo3|vr|flag|ipa|resize|large|format price|e|music|mv|marriage"
)
_SECOND = "lang|transl|transliteration|script|color|colour|font color|wikt-lang|langx"
# Template → which positional arguments are kept.
_POSITIONS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(_FIRST.split("|"), (1,)),
    **dict.fromkeys(_SECOND.split("|"), (2,)),
    "ship": (1, 2),
    "oldstyledate": (1, 2),
    "old style date": (1, 2),
    "frac": (1, 2),
    "fraction": (1, 2),
    "sfrac": (1, 2),
}
_PREFIX = {
    "circa": "c. ", "c.": "c. ", "ca.": "c. ", "floruit": "fl. ", "fl.": "fl. ", "reign": "r. ", "r.": "r. ",
    "as of": "As of ", "asof": "As of ", "usd": "$", "us$": "$", "a$": "A$", "gbp": "£", "£": "£", "eur": "€",
    "inr": "₹", "uss": "USS ", "hms": "HMS ",
    "e": "×10^", "mv": "MV ",
}  # fmt: skip
_SYMBOLS = {
    "ndash": "–", "mdash": "—", "spaced ndash": " – ", "snd": " – ", "spnd": " – ", "en dash": "–", "em dash": "—",
    "'": "'", "'s": "'s", "·": " · ", "•": " • ", "dot": " · ", "!": "|", "=": "=", "sp": " ", "nbsp": " ", "pi": "π",
    "times": "×", "shy": "", "zwsp": "", "mdashb": " — ", "snds": " – ", "spaces": " ", "' \"": "' \"", "-\"": "\"",
    "carbon": "C", "hydrogen": "H", "oxygen": "O", "eqm": "⇌",
}  # fmt: skip
_NAMED = re.compile(r"^\s*[\w -]{1,40}=")
_FRACTIONS = frozenset({"frac", "fraction", "sfrac"})
_RANGES = {"-": "–", "to": " to ", "and": " and ", "by": " by ", "x": " × ", "×": " × ", "or": " or ", "–": "–"}


def template_text(inner: str) -> str:
    """The prose of `{{inner}}`, whose own nested templates and links are already plain text; mostly empty."""
    name, bar, rest = inner.partition("|")
    name = name.strip().lower().replace("_", " ")
    if name in _SYMBOLS:
        return _SYMBOLS[name]
    if name.startswith("formatnum:"):
        return name[len("formatnum:") :].strip()
    if not bar:
        return ""
    if name.startswith("lang-"):
        return _argument(rest, 1)
    if name == "chem":
        return rest.replace("|", "")
    if name in ("convert", "cvt"):
        return _measure(rest)
    positions = _POSITIONS.get(name, ())
    found = [text for text in (_argument(rest, position) for position in positions) if text]
    return _PREFIX.get(name, "") + ("/" if name in _FRACTIONS else " ").join(found)


def _argument(rest: str, position: int) -> str:
    arguments = [argument for argument in rest.split("|") if not _NAMED.match(argument)]
    if len(arguments) >= position:
        return arguments[position - 1].strip()
    named = re.search(rf"(?:^|\|)\s*{position}\s*=([^|]*)", rest)
    return named.group(1).strip() if named else ""


def _measure(rest: str) -> str:
    """`{{convert|5|-|6|km}}` reads "5–6 km", `{{convert|6|ft|4|in}}` reads "6 ft 4 in"."""
    arguments = [argument.strip() for argument in rest.split("|") if not _NAMED.match(argument)]
    if len(arguments) >= 4 and arguments[1] in _RANGES:
        return f"{arguments[0]}{_RANGES[arguments[1]]}{arguments[2]} {arguments[3]}"
    pairs = arguments[:2]
    if len(arguments) >= 4 and arguments[1] == "ft" and arguments[3] in ("in", "inch"):
        pairs = arguments[:4]
    return " ".join(pairs)
