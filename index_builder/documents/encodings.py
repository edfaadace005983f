"""Bytes as text: by their mark, by what the file says as browsers understand it, and else by what they are."""

from __future__ import annotations

import codecs
import re

import webencodings
from charset_normalizer import from_bytes

from index_builder.documents.document import SkippedError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_DETECTED_BYTES = 1 << 18
_FEW_BAD = 0.01  # of the characters: damage in a text, not another encoding
_CANDIDATES = [
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "iso8859_2", "iso8859_5",
    "iso8859_7", "koi8_r", "koi8_u", "shift_jis", "euc_jp", "iso2022_jp", "euc_kr", "gb18030", "big5", "cp866",
    "tis_620",
]  # fmt: skip
# What windows-1252 holds beyond ASCII in texts of Western Europe.
_WESTERN = frozenset("äöüßÄÖÜéèêëàâáãåæçñíìîïóòôõøœúùûýÿÉÈÀÁÂÅÆÇÑÍÓÔÕØŒÚ€‚„…†‡‰‘’“”•–—™©®°±²³µ·«»¡¿§£¥¼½¾º\xa0´×")
_WORD_WESTERN = re.compile(r"[äöüßÄÖÜéèêëàâáãåæçñíìîïóòôõøœúùûýÿÉÈÀÁÂÅÆÇÑÍÓÔÕØŒÚ]")
_RARE = frozenset("ûùëïìòÿýÛÙËÏÌÒÝ")  # among the letters of Western Europe
_OLDER = ("cp850", "cp437", "mac_roman")
_FITS_BADLY, _FITS_WELL = 0.6, 0.85
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,300}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w.:-]{1,40})|<\?xml[^>]{0,100}?encoding\s?=\s?[\"']([\w.:-]{1,40})",
    re.IGNORECASE,
)
_SIGN_IN_WORD = re.compile(r"(?<=[^\W\d_])[±¶¦ˇ¬]|[¶¦ˇ¬](?=[^\W\d_])|±(?=[^\W\d_])")
_HEAD_BYTES = 4096
_WIDE_BYTES = 16


def decoded(content: bytes, name: str, declared: str = "") -> str:
    """`content` as text: by its byte-order mark, else as `declared` if it is, else UTF-8, else by what it holds.

    A declared encoding means what it means to a browser: iso-8859-1 is windows-1252. One that is not known, or that
    the bytes are not in, counts as none.

    Raises:
        SkippedError: the bytes are no text.
    """
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return _without_nul(content.decode(encoding, errors="replace"), name)
    if len(content) >= _WIDE_BYTES and (wide := _wide(content)):  # ASCII with zeros between is UTF-8, too, but no text
        return _without_nul(content.decode(wide, errors="replace"), name)
    known = webencodings.lookup(declared) if declared else None
    if known is not None and (text := _utf8_all_the_same(content)) is not None:
        return _without_nul(text, name)
    for encoding in (known, webencodings.UTF8) if known is not None else (webencodings.UTF8,):
        if (text := _strictly(content, encoding)) is not None:
            return _without_nul(text, name)
    return _without_nul(_detected(content, name, known), name)


def _utf8_all_the_same(content: bytes) -> str | None:
    """A text whose bytes beyond ASCII are UTF-8, as those of no other encoding are by chance; None of another."""
    try:
        return None if content.isascii() else content.decode()
    except UnicodeDecodeError:
        return None


def declared_in_html(content: bytes) -> str:
    """The encoding that a page names in its first bytes; "" when it names none.

    One whose name could be read there is no UTF-16, whatever it says: HTML's standard takes UTF-8 instead.
    """
    found = _META_CHARSET.search(content, 0, _HEAD_BYTES)
    label = (found.group(1) or found.group(2)).decode("ascii", "replace").lower() if found else ""
    return "utf-8" if label.startswith(("utf-16", "utf16", "unicode", "ucs-2", "iso-10646-ucs-2")) else label


def _strictly(content: bytes, encoding: webencodings.Encoding) -> str | None:
    try:
        return str(encoding.codec_info.decode(content, "strict")[0])
    except UnicodeDecodeError:
        return _with_gaps(content, encoding.codec_info.name)


def _with_gaps(content: bytes, encoding: str) -> str | None:
    """A text in which few bytes are damaged, or undefined in windows-1252; None when it is of another encoding."""
    if encoding not in ("utf-8", "cp1252") or len(content) < 200:
        return None
    text = content.decode(encoding, errors="replace")
    beyond = sum(character > "\x7f" for character in text)
    bad = text.count("\ufffd")
    return text if bad <= _FEW_BAD * len(text) and bad * 10 <= beyond else None


def _detected(content: bytes, name: str, known: webencodings.Encoding | None) -> str:
    """The text by its own look; windows-1252, which every byte is something in, when nothing else is likely."""
    if wide := _wide(content):
        return content.decode(wide, errors="replace")
    if b"\0" in content or len(_CONTROL.findall(content[:_DETECTED_BYTES].decode("latin-1"))) * 20 > len(content):
        raise SkippedError("no text of a known encoding", name, "it holds control characters as no text does")
    western = _western(content)
    if known is not None and known.name != "utf-8":
        return str(known.codec_info.decode(content, "replace")[0])
    if not _looks_western(western):
        best = from_bytes(content[:_DETECTED_BYTES], cp_isolation=_CANDIDATES).best()
        if best is not None:
            text = content.decode(best.encoding, errors="replace")
            return content.decode("iso8859_2", errors="replace") if _is_latin2(best.encoding, text) else text
    return western


def _western(content: bytes) -> str:
    """The text in windows-1252, or in what DOS and older Macs wrote where that alone puts letters into its words."""
    usual = content.decode("cp1252", errors="replace")
    fit = _fit(usual[:_DETECTED_BYTES])
    if fit > _FITS_BADLY and "\ufffd" not in usual:  # five bytes are nothing in windows-1252
        return usual
    others = [content.decode(encoding, errors="replace") for encoding in _OLDER]
    best = max(others, key=lambda text: _fit(text[:_DETECTED_BYTES]))
    return best if _fit(best[:_DETECTED_BYTES]) >= max(_FITS_WELL, fit) and _looks_western(best) else usual


def _fit(text: str) -> float:
    """Which share of the characters beyond ASCII stand where a text of Western Europe has such: letters in words, in
    the case of their neighbours, all else outside of them."""
    num_beyond, num_good = 0, 0.0
    for place, character in enumerate(text):
        if character > "\x7f":
            before, after = text[max(0, place - 1) : place], text[place + 1 : place + 2]
            num_beyond += 1
            if character.isalpha():
                is_odd = before.islower() if character.isupper() else before.isupper() and after.isupper()
                num_good += 0.0 if is_odd or character not in _WESTERN else 0.9 if character in _RARE else 1.0
            else:
                num_good += character in "’\xad" or (
                    character != "\ufffd" and not (before.isalpha() and after.islower())
                )
                num_good -= character in "‚„" and before.isalpha()  # they open what is quoted
    return num_good / num_beyond if num_beyond else 1.0


def _looks_western(text: str) -> bool:
    """Whether what lies beyond ASCII is what Western texts hold there, and little of all."""
    beyond = [character for character in text if character > "\x7f"]
    letters = sum(character.isalpha() and character <= "\x7f" for character in text)
    has_words = letters >= len(beyond) / 2  # if not, what looks like boxes are letters of another script
    usual = sum(character in _WESTERN or (has_words and "─" <= character <= "▟") for character in beyond)
    return usual >= 0.95 * len(beyond) and len(_WORD_WESTERN.findall(text)) <= 0.35 * max(1, letters)


def _is_latin2(encoding: str, text: str) -> bool:
    """Whether signs stand within words where ISO 8859-2 has the letters ą, ś and ź, in which windows-1250 differs."""
    return encoding == "cp1250" and len(_SIGN_IN_WORD.findall(text)) > 0


def _wide(content: bytes) -> str:
    """UTF-16 without a mark: every other byte of most texts is zero."""
    head = content[:_HEAD_BYTES]
    if len(head) < 4:
        return ""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd > 0.4 * len(head) / 2 and even * 10 <= odd:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * len(head) / 2 and odd * 10 <= even else ""


def _without_nul(text: str, name: str) -> str:
    if "\0" in text:
        raise SkippedError("no text of a known encoding", name, "it holds NUL characters")
    return text
