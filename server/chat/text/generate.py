"""Writes the table of this room from the package that carries its data: python -m server.chat.text.generate

lookalikes.json  letter or sign to the characters that look like it: Unicode's confusables.txt as confusable-homoglyphs
                 carries it, and the letters that Unicode's own names call a form of a Latin letter
"""

from __future__ import annotations

import json
import re
import string
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

_ROOM = Path(__file__).parent
_LETTERS, _SIGNS = frozenset(string.ascii_lowercase), "<>/:"
# A Latin letter with something to it: turned, small capital, squared, with a hook ...
_NAMED = re.compile(
    r"(?:(?:NEGATIVE )?(?:SQUARED|CIRCLED)|(?:CROSSED )?NEGATIVE (?:SQUARED|CIRCLED)|PARENTHESIZED|REGIONAL INDICATOR|"
    r"MODIFIER|OUTLINED|FULLWIDTH)?\s*(?:LATIN|SYMBOL|)\s*(?:SUBSCRIPT )?(?:LETTER )?(?:SMALL |CAPITAL )*(?:LETTER )?"
    r"(?:SMALL CAPITAL |CAPITAL |SMALL |TURNED |REVERSED |SIDEWAYS |DOTLESS |SCRIPT |INSULAR |OPEN |LONG |BARRED |"
    r"BLACKLETTER |STRETCHED |CLOSED |INVERTED |BASELINE |SIDEWAYS DIAERESIZED )*(?P<letter>[A-Z])(?: WITH .*| BAR)?"
)


def main() -> None:
    """Write the file."""
    table = json.dumps(_table(), ensure_ascii=True, indent=0, sort_keys=True)
    (_ROOM / "lookalikes.json").write_text(table + "\n", "utf-8")


def _table() -> dict[str, str]:
    """Letter or sign to all characters beyond ASCII that look like it, in the order of their codes."""
    alike: dict[str, list[str]] = defaultdict(list)
    classes = _classes()
    for char in map(chr, range(0x80, sys.maxunicode + 1)):
        forms = (
            char,
            char.upper(),
            char.lower(),
        )  # a letter looks like what its other case looks like, if nothing else
        found = _by_name(char) or next(filter(None, (_by_class(form, classes) for form in forms)), None)
        if found and unicodedata.category(char) not in ("Mn", "Me"):
            alike[found].append(char)
    return {found: "".join(chars) for found, chars in alike.items()}


def _by_name(char: str) -> str | None:
    match = _NAMED.fullmatch(unicodedata.name(char, ""))
    return match["letter"].lower() if match else None


def _by_class(char: str, classes: Mapping[str, frozenset[str]]) -> str | None:
    """The one letter or sign among what looks like `char`; of l and I, which look alike, the one it is named for."""
    alike = classes.get(char, frozenset())
    letters = {each.lower() for each in alike} & _LETTERS
    letters = letters or {named for named in map(_by_name, alike) if named}
    if len(letters) > 1 and letters <= {"i", "l"}:
        name = unicodedata.name(char, "").replace(" WITH", "").split()
        return "i" if char.isupper() or {"I", "IOTA", "YI"} & set(name) else "l"
    signs = [sign for sign in _SIGNS if sign in alike]
    return min(letters) if letters else signs[0] if len(signs) == 1 else None


def _classes() -> dict[str, frozenset[str]]:
    """Every confusable character with all that look like it, themselves and through others."""
    parent: dict[str, str] = {}

    def root(char: str) -> str:
        while parent.setdefault(char, char) != char:
            parent[char] = parent[parent[char]]
            char = parent[char]
        return char

    for char, other in _pairs():
        parent[root(char)] = root(other)
    members: dict[str, set[str]] = defaultdict(set)
    for char in list(parent):
        members[root(char)].add(char)
    return {char: frozenset(each) for each in members.values() for char in each}


def _pairs() -> Iterator[tuple[str, str]]:
    import confusable_homoglyphs  # type: ignore[import-not-found, import-untyped, unused-ignore]

    path = Path(confusable_homoglyphs.__file__).with_name("confusables.json")
    for char, others in json.loads(path.read_text("utf-8")).items():
        for other in others:
            left, right = _bare(char), _bare(other["c"])
            if len(left) == len(right) == 1 and char not in "|1" and other["c"] not in "|1":
                yield left, right


def _bare(text: str) -> str:
    """`text` without marks and format characters: an o with a stroke looks like an o."""
    return "".join(char for char in text if unicodedata.category(char) not in ("Mn", "Me", "Cf"))


if __name__ == "__main__":
    main()
