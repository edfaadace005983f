"""Writes the tables of this room from the packages that carry their data: python -m server.chat.text.generate

lookalikes.json  letter or sign to the characters that look like it: Unicode's confusables.txt as confusable-homoglyphs
                 carries it, and the letters that Unicode's own names call a form of a Latin letter
pictures.json    emoji or flag to the words for it: the shortest and most used of the names that the package emoji has
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

from server.chat.text.words import is_word, rank

_ROOM = Path(__file__).parent
_LETTERS, _SIGNS = frozenset(string.ascii_lowercase), "<>/:"
# A Latin letter with something to it: turned, small capital, squared, with a hook ...
_NAMED = re.compile(
    r"(?:(?:NEGATIVE )?(?:SQUARED|CIRCLED)|(?:CROSSED )?NEGATIVE (?:SQUARED|CIRCLED)|PARENTHESIZED|REGIONAL INDICATOR|"
    r"MODIFIER|OUTLINED|FULLWIDTH)?\s*(?:LATIN|SYMBOL|)\s*(?:SUBSCRIPT )?(?:LETTER )?(?:SMALL |CAPITAL )*(?:LETTER )?"
    r"(?:SMALL CAPITAL |CAPITAL |SMALL |TURNED |REVERSED |SIDEWAYS |DOTLESS |SCRIPT |INSULAR |OPEN |LONG |BARRED |"
    r"BLACKLETTER |STRETCHED |CLOSED |INVERTED |BASELINE |SIDEWAYS DIAERESIZED )*(?P<letter>[A-Z])(?: WITH .*| BAR)?"
)


# Where the emoji are that show things, and how many words a name has that a reader would say.
_PICTURES, _MOST_WORDS = ((0x2600, 0x27BF), (0x1F300, 0x1F3FA), (0x1F400, 0x1FAFF)), 3


def main() -> None:
    """Write the files."""
    for name, table in (("lookalikes", _lookalikes()), ("pictures", _pictures())):
        text = json.dumps(table, ensure_ascii=True, indent=0, sort_keys=True)
        (_ROOM / f"{name}.json").write_text(text + "\n", "utf-8")


def _pictures() -> dict[str, str]:
    """Single emoji and flags to their words; faces have none, for they show how something is meant."""
    import emoji

    found: dict[str, str] = {}
    for written, names in emoji.EMOJI_DATA.items():
        picture = written.replace("\ufe0f", "")
        if not _shows_a_thing(picture) or "face" in _name_words(names["en"]):
            continue
        if words := _best_name([names["en"], *names.get("alias", [])]):
            found[picture] = words
    return found


def _shows_a_thing(picture: str) -> bool:
    is_flag = len(picture) == 2 and all(0x1F1E6 <= ord(char) <= 0x1F1FF for char in picture)
    return is_flag or (len(picture) == 1 and any(first <= ord(picture) <= last for first, last in _PICTURES))


def _best_name(names: list[str]) -> str:
    """The name of fewest words, of those the one whose rarest word is used most; empty where none is English."""
    spelt = [words for words in map(_name_words, names) if len(words) <= _MOST_WORDS and all(map(is_word, words))]
    best: list[str] = min(spelt, key=lambda words: (len(words), max(map(rank, words))), default=[])
    return " ".join(best)


def _name_words(name: str) -> list[str]:
    return re.split(r"[_-]", name.strip(":").lower())


def _lookalikes() -> dict[str, str]:
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
