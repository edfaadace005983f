"""A reply as it comes: text to iterate over, and the whole record at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from types import TracebackType

from deploy.client.chat_error import ChatError, from_detail
from deploy.client.line_buffer import LineBuffer
from deploy.client.reply import Reply, read_reply
from deploy.client.retry import RetryPolicy
from deploy.client.transport import Transport

Message = list[str] | ChatError | Reply


class ReplyStream:
    """Iterate once for the pieces of text; then `reply` is the whole record. Leaving early ends the request.

    A failure is retried only as long as no text has been delivered.
    """

    def __init__(
        self,
        transport: Transport,
        body: bytes,
        policy: RetryPolicy,
        on_reply: Callable[[Reply], None],
    ) -> None:
        self._transport = transport
        self._body = body
        self._policy = policy
        self._on_reply = on_reply
        self._reply: Reply | None = None
        self._pieces = self._run()

    @property
    def reply(self) -> Reply:
        """The whole record. Raises ValueError before the text has been read to its end."""
        if self._reply is None:
            raise ValueError("the reply is known when its text has been read to the end")
        return self._reply

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def close(self) -> None:
        """Ends the request; the server stops generating."""
        self._pieces.close()

    def __enter__(self) -> ReplyStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> Generator[str, None, None]:
        num_attempts, delivered = 0, False
        while True:
            try:
                for text in self._attempt():
                    delivered = True
                    yield text
                return
            except ChatError as error:
                num_attempts += 1
                wait_s = self._policy.wait_s(error, num_attempts)
                if delivered or wait_s is None:
                    raise
                self._policy.sleep(wait_s)

    def _attempt(self) -> Iterator[str]:
        failure: ChatError | None = None
        with self._transport.stream(self._body) as pieces:
            for message in _messages(pieces):
                if isinstance(message, list):
                    yield from message
                elif isinstance(message, ChatError):
                    failure = message
                else:
                    self._reply = message
        if self._reply is None:
            raise failure or ChatError("stream_broken", "the stream ended without the whole record")
        self._on_reply(self._reply)


def _messages(pieces: Iterator[bytes]) -> Iterator[Message]:
    buffer = LineBuffer()
    for data in pieces:
        yield from (_read(line) for line in buffer.feed(data) if line.strip())
    yield from (_read(line) for line in buffer.flush() if line.strip())


def _read(line: str) -> Message:
    try:
        message = json.loads(line)
        if "error" in message:
            return from_detail(message["error"])
        if isinstance(message["outputs"], list):
            return [text for text in message["outputs"] if text]  # an empty piece keeps the connection alive
        return read_reply(message)
    except (ValueError, KeyError, TypeError) as error:
        raise ChatError("bad_answer", f"not a line of this server's stream: {line[:200]!r}") from error
