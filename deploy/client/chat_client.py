"""A conversation with the server, wherever it runs."""

from __future__ import annotations

import json
from typing import Any

from deploy.client.chat_error import ChatError
from deploy.client.http_transport import HttpTransport
from deploy.client.reply import Reply, read_reply
from deploy.client.reply_stream import ReplyStream
from deploy.client.retry import RetryPolicy, post_with_retries
from deploy.client.transport import Transport

TIMEOUT_S = 70.0  # SageMaker gives up after 60 s; a little more, so that its own answer is the one that counts


class ChatClient:
    """Talks to `url`, or to the SageMaker endpoint `endpoint_name`, and remembers the session.

    One client is one conversation at a time, for one thread.

    Attributes:
        session_id: the conversation that the next question belongs to; None starts a new one.
    """

    def __init__(
        self,
        url: str | None = None,
        endpoint_name: str | None = None,
        *,
        region: str | None = None,
        transport: Transport | None = None,
        retry: RetryPolicy | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Exactly one of `url`, `endpoint_name` and `transport` is given. `region` goes with `endpoint_name`."""
        given = [each for each in (url, endpoint_name, transport) if each is not None]
        if len(given) != 1:
            raise ValueError(f"one of url, endpoint_name and transport is needed, {len(given)} were given")
        self._transport = transport or _transport(url, endpoint_name, region, timeout_s=timeout_s)
        self._retry = retry or RetryPolicy()
        self.session_id: str | None = None

    def chat(self, prompt: str, session_id: str | None = None, **parameters: Any) -> Reply:
        """The answer to `prompt` in the remembered session, or in `session_id`, which is then remembered.

        `parameters` are those of POST /invocations: temperature, max_new_tokens, no_retrieval and so on.

        Raises:
            ChatError: refused, failed, or not answered after the retries.
        """
        reply = self._read(self._post(self._body(prompt, session_id, parameters, stream=False)))
        self.session_id = reply.session_id
        return reply

    def stream(self, prompt: str, session_id: str | None = None, **parameters: Any) -> ReplyStream:
        """The answer to `prompt` as it comes; its text raises ChatError as `chat` does."""
        body = self._body(prompt, session_id, parameters, stream=True)
        return ReplyStream(self._transport, body, self._retry, on_reply=self._remember)

    def new_session(self) -> None:
        """The next question starts a new conversation; the server keeps the old one."""
        self.session_id = None

    def history(self, session_id: str | None = None) -> list[dict[str, Any]]:
        """The stored turns of a session, oldest first. Raises ChatError "session_not_found"."""
        page = self._act("history", session_id)
        turns: list[dict[str, Any]] = page.get("turns", [])
        while (after := page.get("next_after")) is not None:
            page = self._act("history", session_id, after=after)
            turns += page.get("turns", [])
        return turns

    def forget(self, session_id: str | None = None) -> None:
        """Erases a session from the server's store. Raises ChatError "session_not_found"."""
        self._act("delete", session_id)
        self.session_id = None

    def _act(self, action: str, session_id: str | None, **more: int) -> dict[str, Any]:
        chosen = session_id or self.session_id
        if chosen is None:
            raise ValueError("no session is remembered; give session_id")
        answer: dict[str, Any] = _json(self._post(_encode({"action": action, "session_id": chosen, **more})))
        return answer

    def _body(self, prompt: str, session_id: str | None, parameters: dict[str, Any], stream: bool) -> bytes:
        """Stable fields first: prefix-aware routing goes by the first bytes of the body."""
        chosen = session_id or self.session_id
        given = {"session_id": chosen, **parameters} if chosen else parameters
        return _encode({"parameters": given, "stream": stream, "inputs": prompt})

    def _post(self, body: bytes) -> bytes:
        return post_with_retries(self._transport, body, self._retry)

    def _read(self, answer: bytes) -> Reply:
        try:
            return read_reply(_json(answer))
        except (KeyError, TypeError) as error:
            raise ChatError("bad_answer", f"not an answer of this server: {answer[:200]!r}") from error

    def _remember(self, reply: Reply) -> None:
        self.session_id = reply.session_id


def _transport(url: str | None, endpoint_name: str | None, region: str | None, timeout_s: float) -> Transport:
    if url is not None:
        return HttpTransport(url, timeout_s)
    assert endpoint_name is not None
    from deploy.aws.api import LiveAws  # boto3 only where it is used
    from deploy.client.sagemaker_transport import SageMakerTransport

    name, _, component = endpoint_name.partition("/")
    return SageMakerTransport(LiveAws(region).client("sagemaker-runtime"), name, component or None)


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _json(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError as error:
        raise ChatError("bad_answer", f"the answer is not JSON: {answer[:200]!r}") from error
