"""The server behind a SageMaker endpoint: boto3's runtime client, its errors turned back into the server's own.

SageMaker answers 424 ModelError for every error of the container and carries the container's status and body inside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    EventStreamError,
    ReadTimeoutError,
)

from deploy.client.chat_error import ChatError, from_answer
from deploy.client.transport import API_KEY_VARIABLE

# Refused by SageMaker before the container saw anything.
_NOT_DELIVERED = {"ThrottlingException", "ServiceUnavailable", "ModelNotReadyException"}
_JSON = "application/json"


class SageMakerTransport:
    """Calls InvokeEndpoint and InvokeEndpointWithResponseStream of `endpoint_name` through `client`."""

    def __init__(self, client: Any, endpoint_name: str, component: str | None = None) -> None:
        """`component`: the inference component that serves the model, where the endpoint does not."""
        self._client = client
        self._call = {"EndpointName": endpoint_name, "ContentType": _JSON}
        if component is not None:
            self._call["InferenceComponentName"] = component
        if key := os.environ.get(API_KEY_VARIABLE, ""):
            self._call["CustomAttributes"] = f"api_key={key}"  # SageMaker passes on no header of the client's

    def post(self, body: bytes) -> bytes:
        """The answer to `body`."""
        with _translated():
            answer = self._client.invoke_endpoint(**self._call, Accept=_JSON, Body=body)
            data: bytes = answer["Body"].read()
            return data

    @contextmanager
    def stream(self, body: bytes) -> Iterator[Iterator[bytes]]:
        """The payload parts as they come."""
        with _translated():
            answer = self._client.invoke_endpoint_with_response_stream(
                **self._call, Accept="application/jsonlines", Body=body
            )
            events = answer["Body"]
            try:
                yield (event["PayloadPart"]["Bytes"] for event in events if "PayloadPart" in event)
            finally:
                events.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except EventStreamError as error:
        raise ChatError("stream_broken", _stream_words(error)) from error
    except ClientError as error:
        raise _from_client_error(error) from error
    except (EndpointConnectionError, ConnectTimeoutError) as error:
        raise ChatError("unreachable", str(error), retryable=True) from error
    except ReadTimeoutError as error:
        raise ChatError("timeout", str(error)) from error
    except BotoCoreError as error:
        raise ChatError("connection_lost", str(error)) from error


def _from_client_error(error: ClientError) -> ChatError:
    answer: dict[str, Any] = dict(error.response)
    code, message = str(answer["Error"]["Code"]), str(answer["Error"].get("Message", ""))
    if code == "ModelError" and "OriginalStatusCode" in answer:
        return from_answer(int(answer["OriginalStatusCode"]), str(answer.get("OriginalMessage", "")))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return ChatError(code, message, status=status, retryable=code in _NOT_DELIVERED)


def _stream_words(error: EventStreamError) -> str:
    answer: dict[str, Any] = dict(error.response)
    reason = answer.get("ErrorCode") or answer["Error"].get("Code", "")
    return f"SageMaker ended the stream: {reason} {answer['Error'].get('Message', '')}".strip()
