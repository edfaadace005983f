"""What the known templates of numbers, units, dates, quotations and names show of their arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from index_builder.documents.outline import raised
from index_builder.documents.wiki.site import (
    DATES,
    FRACTIONS,
    LISTS,
    MEASURES,
    POSITIONS,
    PREFIXES,
    QUOTES,
    RANGES,
    SYMBOLS,
    UNITS,
)

_NAMED = re.compile(r"^\s*([\w ./'’-]{1,40}?)\s*=(.*)$", re.DOTALL)
NUMBER = re.compile(r"^[+\-−–~≈<>]?\s?\d[\d.,' \u00a0\u202f/+⁄eE×^-]*$")
_WHOLE = re.compile(r"^\d{1,4}$")
_ENGLISH_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MUSIC = {"flat": "♭", "b": "♭", "sharp": "♯", "#": "♯", "natural": "♮", "doubleflat": "𝄫", "doublesharp": "𝄪"}
_QUOTED = ("תוכן", "text", "quote", "texte", "текст", "treść", "cita", "testo", "content", "1")
_FRENCH_AND_LIKE = frozenset(["date", "date-", "date", "sport", "datum", "fecha", "dtext", "data", "дата"]) | {
    "date sport"
}


@dataclass(frozen=True)
class Call:
    """A template's name, in lower case with spaces, and its arguments."""

    name: str
    rest: str

    @cached_property
    def positional(self) -> list[str]:
        """The arguments without a name, and those named by their position."""
        found = [part.strip() for part in self.rest.split("|") if not _NAMED.match(part)]
        for number in range(1, 10):
            if str(number) in self.named and len(found) == number - 1:
                found.append(self.named[str(number)])
        return found

    @cached_property
    def named(self) -> dict[str, str]:
        """The arguments with a name."""
        parts = (_NAMED.match(part) for part in self.rest.split("|"))
        return {part.group(1).strip().lower(): part.group(2).strip() for part in parts if part}

    def argument(self, position: int) -> str:
        """An argument by its position from 1; "" when there is none."""
        return self.positional[position - 1] if len(self.positional) >= position else ""


def _measure(call: Call) -> str:
    """`{{convert|5|-|6|km}}` reads "5–6 km", `{{convert|6|ft|4|in}}` "6 ft 4 in", `{{unité|2000|m}}` "2000 m"."""
    arguments = [argument for argument in call.positional if argument]
    if call.name == "val":
        return _value(call, arguments)
    if call.name in ("gaps", "digits"):
        return "".join(arguments)
    text = arguments[0] if arguments else ""
    position = 1
    while (
        position + 1 < len(arguments)
        and arguments[position].lower() in RANGES
        and NUMBER.match(arguments[position + 1])
    ):
        text += RANGES[arguments[position].lower()] + arguments[position + 1]
        position += 2
    if position < len(arguments) and not NUMBER.match(arguments[position]):
        powers = arguments[position + 1 : position + 2] if call.name in _WITH_POWERS else []
        text += _unit(arguments[position], powers)
        if position + 2 < len(arguments) and _is_smaller(arguments[position], arguments[position + 2]):
            text += f" {arguments[position + 1]}{_unit(arguments[position + 2], [])}"
    return f"{text} {call.named['ul'] if 'ul' in call.named else call.named.get('u', '')}".strip()


_WITH_POWERS = frozenset({"unité", "unite", "unité/2", "unidad", "dunité"})


def _unit(unit: str, following: list[str]) -> str:
    """A unit behind its number; French ones have their exponent as the next argument."""
    power = {"2": "²", "3": "³", "-1": "⁻¹", "-2": "⁻²"}.get(following[0] if following else "", "")
    written = UNITS.get(unit.lower(), unit)
    return written if written in ("%", "°", "′", "″") else f" {written}{power}"


def _is_smaller(unit: str, other: str) -> bool:
    """Whether the second unit goes on with the first: feet and inches, pounds and ounces."""
    return (unit.lower(), other.lower()) in _COMPOUND


_COMPOUND = frozenset(
    [("ft", "in"), ("ft", "inch"), ("foot", "in"), ("lb", "oz"), ("st", "lb"), ("mi", "ft"), ("mi", "yd"), ("yd", "ft"),
     ("h", "min"), ("mi", "chain"), ("long ton", "lb")]
)  # fmt: skip


def _value(call: Call, arguments: list[str]) -> str:
    """`{{val|1.5|0.2|e=6|u=m}}` reads "1.5±0.2×10^6 m"."""
    text = "±".join(arguments[:2])
    if power := call.named.get("e"):
        text += f"×10^{power}"
    unit = call.named.get("u") or call.named.get("ul") or call.named.get("upl") or ""
    return f"{call.named.get('p', '')}{text}{f' {unit}' if unit else ''}{call.named.get('s', '')}"


def _fraction(call: Call) -> str:
    """`{{frac|1|2}}` reads "1/2", `{{frac|3|1|2}}` "3 1/2", `{{frac|4}}` "1/4"."""
    numbers = [number for number in call.positional if number]
    if len(numbers) >= 3:
        return f"{numbers[0]} {numbers[1]}/{numbers[2]}"
    return "/".join(numbers) if len(numbers) == 2 else f"1/{numbers[0]}" if numbers else ""


def _quote(call: Call) -> str | None:
    """A quotation, and whom it is by; None of what is called alike but names a source."""
    if call.name == "citation" and not (call.positional and call.positional[0] and "title" not in call.named):
        return None
    text = call.argument(1) or next((call.named[name] for name in _QUOTED if call.named.get(name)), "")
    by = call.named.get("author") or call.named.get("sign") or call.named.get("autor") or call.named.get("auteur") or ""
    if call.name == "citation":
        return f"« {text} »"
    if call.name in ('"', "zitat-en", "zitat-fr"):
        return f"„{text}“"
    source = by or (call.argument(2) if call.name in ("quote", "blockquote", "quotation", "cquote", "цитата") else "")
    return f"\n{text}{f' — {source}' if source else ''}\n"


def _list(call: Call) -> str:
    separator = " · " if call.name.startswith("hlist") else ", "
    return separator.join(item for item in call.positional if item)


def _date(call: Call) -> str:
    """Year, month and day, or day, month and year, as they are written in the language of the template's name."""
    parts = [part for part in call.positional if part][:6]
    if len(parts) >= 3 and parts[0].isdigit() and len(parts[0]) <= 2 and not parts[1].isdigit():
        return " ".join(parts[:3])  # 14 juillet 1789
    numbers = [int(part) if _WHOLE.match(part) else None for part in parts[:3]]
    if numbers and numbers[0] is not None and len(parts[0]) >= 3:
        return _year_first(call, numbers, parts)
    if len(numbers) == 3 and None not in numbers:
        return ".".join(parts[:3])
    return " ".join(parts[:3])


def _year_first(call: Call, numbers: list[int | None], parts: list[str]) -> str:
    month = numbers[1] if len(numbers) > 1 else None
    if month is None or not 1 <= month <= 12:
        return " ".join(part for part in reversed(parts[:3]))
    day = numbers[2] if len(numbers) > 2 else None
    if not call.name.isascii() or call.name in _FRENCH_AND_LIKE - {"date"}:
        return "-".join(part.zfill(2) for part in parts[:3])
    name = _ENGLISH_MONTHS[month - 1]
    if day is None:
        return f"{name} {parts[0]}"
    return f"{day} {name} {parts[0]}" if call.named.get("df", "")[:1] == "y" else f"{name} {day}, {parts[0]}"


def _as_of(call: Call) -> str:
    before = "as of" if call.named.get("lc", "")[:1] == "y" else call.named.get("alt", "") or "As of"
    return before if call.named.get("alt") else f"{before} {_date(Call('start date', call.rest))}".strip()


def centuries(call: Call) -> str:
    """`{{s-|XIX|e}}` reads "XIXe siècle", `{{s2-|XIX|e|XX|e}}` "XIXe et XXe siècles"."""
    parts = [part for part in call.positional if part]
    named = ["".join(parts[start : start + 2]) for start in range(0, len(parts), 2)]
    before = "avant J.-C." if call.name.startswith("-") else ""
    word = "siècles" if len(named) > 1 else "siècle"
    return f"{' et '.join(named)} {word} {before}".strip() if "-" in call.name or len(named) > 1 else " ".join(named)


def _nihongo(call: Call) -> str:
    """English, then kanji and their reading in brackets."""
    english, kanji, reading = (call.argument(number) for number in (1, 2, 3))
    inside = ", ".join(part for part in (kanji, reading) if part)
    return f"{english} ({inside})" if english and inside else english or inside


def _chinese(call: Call) -> str:
    """What a name is in the scripts and transcriptions of Chinese, Japanese and Korean."""
    labels = {"t": "traditional", "s": "simplified", "c": "Chinese", "p": "pinyin", "w": "Wade–Giles", "j": "Jyutping"}
    found = [f"{label}: {call.named[key]}" for key, label in labels.items() if call.named.get(key)]
    return "; ".join(found) or call.argument(1)


def _ship(call: Call) -> str:
    """`{{USS|Enterprise|CV-6}}` reads "USS Enterprise (CV-6)"."""
    parts = call.positional if call.name == "ship" else [call.name.upper(), *call.positional]
    name = " ".join(part for part in parts[:2] if part)
    return f"{name} ({parts[2]})" if len(parts) > 2 and parts[2] and not parts[2].isdigit() else name


def _ordinal(call: Call) -> str:
    number = call.argument(1)
    tens, last = number[-2:], number[-1:]
    ending = {"1": "st", "2": "nd", "3": "rd"}.get(last, "th") if tens not in ("11", "12", "13") else "th"
    return f"{number}{ending}" if number.isdigit() else number


def _ship_class(call: Call) -> str:
    return f"{call.argument(1)}-class {call.argument(2)}".strip()


def _percentage(call: Call) -> str:
    try:
        return f"{100 * float(call.argument(1)) / float(call.argument(2)):.3g}%"
    except (ValueError, ZeroDivisionError, OverflowError):
        return call.argument(1)


def _link_to_other(call: Call) -> str:
    """A link to an article of another wiki, by the name that is shown here."""
    return (
        call.named.get("lt")
        or call.named.get("texte")
        or call.named.get("fr")
        or call.argument(1)
        or call.named.get("trad", "")
    )


def _interlanguage(call: Call) -> str:
    return call.named.get("lt") or call.named.get("display") or call.argument(1)


def _hours(call: Call) -> str:
    return " ".join(
        f"{number} {unit}" for number, unit in zip(call.positional, ("h", "min", "s"), strict=False) if number
    )


def _years(call: Call) -> str:
    """`{{circa|1400|1410}}` reads "c. 1400 – c. 1410", `{{reign|1400|1410}}` "r. 1400–1410"."""
    before = PREFIXES.get(call.name, "")
    numbers = [number for number in call.positional[:2] if number]
    if call.name in _OF_EACH:
        return " – ".join(f"{before}{number}" for number in numbers)
    return before + "–".join(numbers) if numbers else ""


_OF_EACH = frozenset({"circa", "c.", "ca.", "ca", "circa2"})


def _titled(call: Call) -> str:
    """`{{Mme|Dupont}}` reads "Mme Dupont"."""
    return f"{SYMBOLS[call.name]} {call.argument(1)}".strip()


def _age(call: Call) -> str:
    """`{{age|1990|1|1|2020|6|1}}` reads "30"; up to today is known to nobody."""
    numbers = [int(part) if _WHOLE.match(part) else 0 for part in call.positional[:6]]
    if len(numbers) < 6:
        return ""
    return str(numbers[3] - numbers[0] - (numbers[4:6] < numbers[1:3]))


def _law(call: Call) -> str:
    """`{{§|1|BGB}}` reads "§ 1 BGB"."""
    return f"§ {call.argument(1)} {call.argument(2).upper()}".strip()


def _block_list(call: Call) -> str:
    """A list that is written with bullets, on lines of its own."""
    return f"\n{call.argument(1) or call.named.get('1', '')}\n"


def _height(call: Call) -> str:
    """`{{height|ft=6|in=2}}` reads "6 ft 2 in"."""
    found = [f"{call.named[unit]} {unit}" for unit in ("m", "cm", "ft", "in") if call.named.get(unit)]
    return " ".join(found)


def _marriage(call: Call) -> str:
    """`{{marriage|Ann|1990|2000}}` reads "Ann (m. 1990–2000)"."""
    years = "–".join(part for part in (call.argument(2), call.argument(3)) if part)
    return f"{call.argument(1)} (m. {years})" if years else call.argument(1)


# Links to other languages' articles and the like, which may name what is shown behind the target.
_SHOWN_SECOND = frozenset(
    ["не переведено", "не переведено 5", "нп", "нп1", "нп2", "нп3", "нп4", "нп5", "iw", "resize", "url", "font"]
)
_SHOWN_THIRD = frozenset(["le", "link-en", "link-ja", "link-de", "link-fr", "link-ru"])

READERS = (
    (_OF_EACH | {"reign", "r.", "floruit", "fl."}, _years),
    (frozenset({"m.", "mme", "mlle", "mm.", "mgr", "dr", "me", "pr"}), _titled),
    (frozenset({"height"}), _height),
    (frozenset({"age"}), _age),
    (frozenset({"§", "§§"}), _law),
    (frozenset({"plainlist", "flatlist", "startplainlist"}), _block_list),
    (frozenset({"sup", "exp", "exposant", "superscript"}), lambda call: raised(call.argument(1))),
    (frozenset({"fchim", "formule chimique"}), lambda call: call.rest.replace("|", "")),
    (frozenset({"incise"}), lambda call: f" – {call.argument(1)} – "),
    (frozenset({"ac", "a.c."}), lambda call: f"{call.argument(1)} a. C."),
    (frozenset({"dc", "d.c."}), lambda call: f"{call.argument(1)} d. C."),
    (_SHOWN_SECOND, lambda call: call.argument(2) or call.argument(1)),
    (_SHOWN_THIRD, lambda call: call.argument(3) or call.argument(1)),
    (frozenset({"וקישור שפה", "קישור שפה"}), lambda call: call.argument(3) or call.argument(2)),
    (frozenset({"وإو", "واو"}), lambda call: call.named.get("نص") or call.named.get("عر") or call.argument(1)),
    (frozenset({"marriage", "married"}), _marriage),
    (frozenset({"pourcentage", "porcentaje", "prozent"}), lambda call: f"{call.argument(1)} %"),
    (MEASURES, _measure),
    (FRACTIONS, _fraction),
    (QUOTES, _quote),
    (LISTS, _list),
    (DATES, _date),
    (frozenset({"as of", "asof", "update after"}), _as_of),
    (frozenset({"nihongo", "nihongo3", "japonais", "нихонго"}), _nihongo),
    (frozenset({"zh", "lang-zh", "zh-cn", "cjkv", "chinois"}), _chinese),
    (frozenset({"uss", "hms", "ss", "rms", "mv", "hmas", "hmcs", "usns", "ship"}), _ship),
    (frozenset({"sclass", "sclass-", "sclass2"}), _ship_class),
    (frozenset({"ordinal"}), _ordinal),
    (frozenset({"percentage", "percent", "pct"}), _percentage),
    (frozenset({"lien", "link-interwiki", "ilink"}), _link_to_other),
    (frozenset({"ill", "illm", "interlanguage link"}), _interlanguage),
    (frozenset({"heure", "heures", "duration", "durée", "durata"}), _hours),
    (frozenset({"chem"}), lambda call: call.rest.replace("|", "")),
    (frozenset({"music"}), lambda call: _MUSIC.get(call.argument(1), call.argument(1))),
    (frozenset({"keypress", "key press", "key"}), lambda call: "+".join(part for part in call.positional if part)),
    (frozenset({"1er", "1re"}), lambda call: f"{call.name} {call.argument(1)}".strip()),
    (frozenset({"sqrt", "radic"}), lambda call: f"√{call.argument(1)}"),
    (frozenset({"読み仮名", "ruby", "ルビ", "ふりがな"}), lambda call: f"{call.argument(1)}（{call.argument(2)}）"),
    (frozenset({"siglo"}), lambda call: f"siglo {call.argument(1)}" + (" a. C." if call.argument(2) == "a" else "")),
    (frozenset({"tsl"}), lambda call: call.argument(3) or call.argument(2)),
    (frozenset({"höhe"}), lambda call: f"{call.argument(1)} m"),
    (frozenset({"lang", "langue"}), lambda call: call.argument(2) or call.named.get("text", "")),
)  # fmt: skip
WITH_ARGUMENTS = frozenset().union(*(names for names, _ in READERS), POSITIONS, PREFIXES)
