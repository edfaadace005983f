"""The file of API keys of a server that no file reaches: an object in S3, copied at the start and when it changes."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from server.config import ConfigError
from server.web.keys.key_file import read_key_file
from server.web.limits.table import MAX_KEY_FILE_BYTES

SETTING = "OCK_API_KEYS_SOURCE"
LOOK_EVERY_S = 60.0

log = logging.getLogger(__name__)


class KeySource:
    """Copies the object `uri` to `path`, where whoever reads keys finds them. Used by one thread at a time."""

    def __init__(self, uri: str, path: Path, client: Any = None) -> None:
        """`client`: a boto3 S3 client; None makes one from the environment."""
        self._uri = uri
        self._path = path
        self._client = _client() if client is None else client
        self._etag = ""

    def start(self) -> None:
        """Copy the object, and again in a thread whenever it is another.

        Raises:
            ConfigError: it cannot be had, and there is no copy from before.
        """
        try:
            self.bring()
        except ConfigError as error:
            if not self._path.exists():
                raise
            log.warning("keys.source the copy from before is used: %s", error)
        threading.Thread(target=self._watch, daemon=True, name="keys").start()

    def bring(self) -> bool:
        """Copy the object where it is another than before; whether it was.

        Raises:
            ConfigError: it cannot be had, or is no file of keys; the copy stays as it was.
        """
        newer = self._newer()
        if newer is None:
            return False
        content, etag = newer
        draft = self._path.with_name(f".{self._path.name}")
        try:
            draft.unlink(missing_ok=True)
            draft.touch(mode=0o600)
            draft.write_bytes(content)
            read_key_file(draft)
            draft.replace(self._path)
            self._etag = etag  # what could not be copied is asked for again
        except OSError as error:
            raise ConfigError(f"{SETTING}={self._uri!r} cannot be copied: {error}") from error
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        return True

    def _newer(self) -> tuple[bytes, str] | None:
        """The object and its tag, None where it is the one that was copied."""
        from botocore.exceptions import BotoCoreError, ClientError

        place = urlsplit(self._uri)
        unless = {"IfNoneMatch": self._etag} if self._etag else {}
        try:
            found = self._client.get_object(Bucket=place.netloc, Key=place.path.lstrip("/"), **unless)
            content: bytes = found["Body"].read(MAX_KEY_FILE_BYTES + 1)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 304:
                return None
            raise ConfigError(f"{SETTING}={self._uri!r} cannot be read: {error}") from error
        except (BotoCoreError, OSError) as error:
            raise ConfigError(f"{SETTING}={self._uri!r} cannot be read: {error}") from error
        if len(content) > MAX_KEY_FILE_BYTES:
            raise ConfigError(f"{SETTING}={self._uri!r} has more than {MAX_KEY_FILE_BYTES} bytes, which is the most")
        return content, str(found["ETag"])

    def _watch(self) -> None:
        pause, told = threading.Event(), ""
        while not pause.wait(LOOK_EVERY_S):
            try:
                self.bring()
                told = ""
            except ConfigError as error:
                if str(error) != told:
                    log.error("keys.source the keys before it stay: %s", error)
                told = str(error)


def _client() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(connect_timeout=10, read_timeout=10, retries={"mode": "standard"}))
