"""The ways a text can be read: as it is written, and as its look-alikes and invisible characters make it look."""

from __future__ import annotations

import re
import unicodedata

from server.chat.text.folding import fold

# Whatever a renderer may take for the end of a line, and runs of other white space.
_BLANK = re.compile(r"[\s\x0b\x0c\x1c-\x1f\x85\u2028\u2029]+")
# Letters that `fold`, which looks for tags, does not know; in both cases, since capitals have look-alikes of their own.
_LETTERS = {
    **dict.fromkeys("АΑᎪꓮᗅᴀ", "A"),
    **dict.fromkeys("ВΒᏴꓐᗷʙ", "B"),
    **dict.fromkeys("СϹᏟꓚ", "C"),
    **dict.fromkeys("ᎠꓓᗞĐᴅ", "D"),
    **dict.fromkeys("ЕΕᎬꓰᴇ", "E"),
    **dict.fromkeys("ϜꓝҒꜰ", "F"),
    **dict.fromkeys("ԌᏀꓖ", "G"),
    **dict.fromkeys("НΗᎻꓧĦ", "H"),
    **dict.fromkeys("ІΙꓲ", "I"),
    **dict.fromkeys("ЈͿᎫꓙᴊ", "J"),
    **dict.fromkeys("КΚᏦꓗ", "K"),
    **dict.fromkeys("ᏞԼꓡŁʟ", "L"),
    **dict.fromkeys("МΜᎷꓟ", "M"),
    **dict.fromkeys("ΝꓠИ", "N"),
    **dict.fromkeys("ОΟՕꓳØ", "O"),
    **dict.fromkeys("РΡᏢꓑᴘ", "P"),
    **dict.fromkeys("Ԛ", "Q"),
    **dict.fromkeys("ᎡꓣᖇЯ", "R"),
    **dict.fromkeys("ЅᏚꓢՏ", "S"),
    **dict.fromkeys("ТΤᎢꓔŦ", "T"),
    **dict.fromkeys("Սꓴ", "U"),
    **dict.fromkeys("ᏙѴꓦ", "V"),
    **dict.fromkeys("ԜᎳꓪ", "W"),
    **dict.fromkeys("ХΧꓫ", "X"),
    **dict.fromkeys("УΥҮꓬ", "Y"),
    **dict.fromkeys("ΖᏃꓜᴢ", "Z"),
    **dict.fromkeys("đɖ", "d"),
    **dict.fromkeys("ɘǝ", "e"),
    **dict.fromkeys("ƒꞙғϝ", "f"),
    **dict.fromkeys("ћђħ", "h"),
    **dict.fromkeys("іıɩιɪ", "i"),
    **dict.fromkeys("јϳȷ", "j"),
    **dict.fromkeys("ӏӀłɭⱡ", "l"),
    **dict.fromkeys("пи", "n"),
    **dict.fromkeys("σ", "o"),
    **dict.fromkeys("ԛգ", "q"),
    **dict.fromkeys("ŧ", "t"),
    **dict.fromkeys("νѵᴠ", "v"),
    **dict.fromkeys("ԝѡաᴡωɯш", "w"),
    **dict.fromkeys("уγүʏყ", "y"),
    **dict.fromkeys("ʐżƶ", "z"),
}
# Letters in filled circles and squares, and those that flags are made of.
_PICTURED = {first + offset: chr(65 + offset) for first in (0x1F150, 0x1F170, 0x1F1E6) for offset in range(26)}
_SEEN_AS = str.maketrans({**_LETTERS, **{chr(code): letter for code, letter in _PICTURED.items()}})


def readings(text: str) -> list[str]:
    """`text` on one line, as it is written; then as it looks, where that is something else."""
    written, seen = plain(text), _seen(text)
    return [written] if seen in ("", written) else [written, seen]


def plain(text: str) -> str:
    """`text` on one line: compatibility forms folded, format characters gone."""
    folded = unicodedata.normalize("NFKC", text)
    visible = "".join(char for char in folded if unicodedata.category(char) != "Cf")
    return _one_line(visible)


def _seen(text: str) -> str:
    """`text` on one line in plain letters: accents and all that cannot be seen gone, the case of its letters kept."""
    known = text.translate(_SEEN_AS)
    folded = fold(known)
    cased = (
        char.upper() if known[start].isupper() else char for char, start in zip(folded.text, folded.starts, strict=True)
    )
    return _one_line("".join(cased))


def _one_line(text: str) -> str:
    return _BLANK.sub(" ", text).strip()
