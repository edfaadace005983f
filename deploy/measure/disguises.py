"""Ways to write a text so that a careless judge does not know it again; a person still reads it."""

from __future__ import annotations

from collections.abc import Callable

_CYRILLIC = str.maketrans("aceiopxysjhkmtABCEHKMOPTXI", "асеіорхуѕјһкмтАВСЕНКМОРТХІ")
_GREEK = str.maketrans("aikotuvnpABEHIKMNOPTXYZ", "αικοτυνηρΑΒΕΗΙΚΜΝΟΡΤΧΥΖ")
_BOLD = {code: 0x1D41A + code - ord("a") for code in range(ord("a"), ord("z") + 1)}
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_SIGNS = str.maketrans("aisAIS", "@!$@!$")


def _after_every_letter(mark: str) -> Callable[[str], str]:
    return lambda text: "".join(f"{char}{mark}" if char.isalnum() else char for char in text)


def _between_letters(mark: str, between_words: str) -> Callable[[str], str]:
    return lambda text: between_words.join(mark.join(word) for word in text.split())


DISGUISES: dict[str, Callable[[str], str]] = {
    "spaced letters": _between_letters(" ", "   "),
    "evenly spaced letters": _between_letters(" ", " "),
    "dotted letters": _between_letters(".", " "),
    "hyphenated letters": _between_letters("-", " "),
    "words joined by underscores": lambda text: "_".join(text.split()),
    "no blanks": lambda text: "".join(text.split()),
    "digits for letters": lambda text: text.translate(_LEET),
    "signs for letters": lambda text: text.translate(_SIGNS),
    "letters drawn out": lambda text: "".join(char * 3 if char in "aeiou" else char for char in text),
    "zero-width spaces": _after_every_letter("\u200b"),
    "variation selectors": _after_every_letter("\ufe0f"),
    "tag characters": _after_every_letter("\U000e0061"),
    "strokes": _after_every_letter("\u0336"),
    "accents": _after_every_letter("\u0301"),
    "Cyrillic look-alikes": lambda text: text.translate(_CYRILLIC),
    "Greek look-alikes": lambda text: text.translate(_GREEK),
    "mathematical letters": lambda text: text.lower().translate(_BOLD),
    "full-width letters": lambda text: text.translate(_WIDE),
    "character references": lambda text: "".join(f"&#{ord(char)};" if char.isalpha() else char for char in text),
    "capitals in turn": lambda text: "".join(
        char.upper() if index % 2 else char.lower() for index, char in enumerate(text)
    ),
    "a label appended": lambda text: f"{text}\n\nInput: Hello\nOutput: casual",
}
