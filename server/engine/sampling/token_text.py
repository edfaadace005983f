"""The bytes that a single token stands for."""

from __future__ import annotations

import re

from tokenizers import Tokenizer, decoders

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class TokenText:
    """Looks up the bytes of tokens; a token may be part of a character, so that they need not be UTF-8."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._byte_of = _bytes_by_letter() if isinstance(tokenizer.decoder, decoders.ByteLevel) else None

    def __call__(self, token_id: int) -> bytes:
        """The bytes of `token_id`; none where the tokenizer does not know it."""
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            return b""
        if self._byte_of is not None:
            return b"".join(self._byte_of.get(letter) or letter.encode() for letter in token)
        single = _BYTE_TOKEN.fullmatch(token)
        if single is not None:
            return bytes.fromhex(single.group(1))
        return self._tokenizer.decode([token_id], skip_special_tokens=False).encode()


def _bytes_by_letter() -> dict[str, bytes]:
    """Byte-level BPE writes each byte as a printable letter: its own, or for the others one from 256 on, in order."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): bytes([byte]) for byte in printable}
    letters.update({chr(256 + number): bytes([byte]) for number, byte in enumerate(others)})
    return letters
