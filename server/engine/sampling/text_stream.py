"""Reply tokens to text, as they come: whole characters only, special tokens never shown, cut at a stop string."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

_REPLACEMENT = "\ufffd"  # what a decoder writes for bytes that are no character


class TextStream:
    """The text of one reply.

    Text that may be the beginning of a stop string is held back until it is clear that it is not.
    """

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._undecoded: list[int] = []  # tokens whose text is not there yet
        self._held = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        """The text that `token_id` makes certain; may be empty. Sets `stopped` when a stop string is complete."""
        assert not self.stopped, "no token follows a stop string"
        self._undecoded.append(token_id)
        text = self._decode(token_id)
        if not text:
            return ""
        self._undecoded.clear()
        return self._release(self._held + text)

    def finish(self) -> str:
        """The rest when the reply ends for another reason; half a character at its end is dropped."""
        if self.stopped:
            return ""
        rest = self._release(self._held + self._whole_text().rstrip(_REPLACEMENT))
        held, self._held = self._held, ""
        return rest if self.stopped else rest + held

    def _decode(self, token_id: int) -> str | None:
        try:
            return self._decoder.step(self._tokenizer, token_id)
        except Exception:  # noqa: BLE001
            # The library raises a bare Exception where single bytes (of Llama's and Mistral's tokenizers, say) are no
            # character, and what came before would be read otherwise with this token. Begin anew behind it.
            self._decoder = DecodeStream(skip_special_tokens=True)
            return self._whole_text()

    def _whole_text(self) -> str:
        return self._tokenizer.decode(self._undecoded, skip_special_tokens=True)

    def _release(self, text: str) -> str:
        cut = min((at for at in (text.find(stop) for stop in self._stop) if at >= 0), default=None)
        if cut is not None:
            self.stopped, self._held = True, ""
            return text[:cut]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
