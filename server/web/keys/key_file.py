"""The file of API keys: one JSON object a line, with the digest of a key and never the key itself."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from server.config import ConfigError
from server.own_folder import check_own_place

SETTING = "OCK_API_KEYS"
_SECRET_BYTES = 32  # of chance: nothing that could be guessed, so a fast digest protects it as well as a slow one
_PREFIX = "ock-"

KeyName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Rate = Annotated[float, Meta(gt=0, le=1e12)]


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of the file.

    Attributes:
        name: whose conversations are made with it; also what the log and the engine's fair shares know it by.
        sha256: hexadecimal; a list while an old and a new key are both good.
        role: an operator also reads /metrics, /ping?detail and the conversations of others.
        requests_per_minute, tokens_per_minute: None: as many as come. A minute's worth may come at once.
        concurrent: requests at work at once.
    """

    name: KeyName
    sha256: Digest | Annotated[list[Digest], Meta(min_length=1, max_length=8)]
    role: Literal["user", "operator"] = "user"
    requests_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    concurrent: Annotated[int, Meta(ge=1)] | None = None

    @property
    def digests(self) -> list[str]:
        """Of every secret that is good for it."""
        return [self.sha256] if isinstance(self.sha256, str) else self.sha256


def new_secret() -> str:
    """A key that nobody can guess."""
    return _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def digest_of(secret: str) -> str:
    """What the file holds of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def key_line(key: ApiKey) -> str:
    """The line of the file for `key`."""
    return msgspec.json.encode(key).decode("utf-8")


def read_key_file(path: Path) -> list[ApiKey]:
    """The keys in the file's order. Blank lines and those that begin with `#` are passed over.

    Raises:
        ConfigError: the file cannot be read, somebody else could have written it, it holds no key, a line is not a
            key, or a name or digest is there twice.
    """
    try:
        check_own_place(path, SETTING)
        lines = path.read_text("utf-8").splitlines()
    except ValueError as error:
        raise ConfigError(_said(path, error)) from error
    except OSError as error:
        raise ConfigError(f"{SETTING}={str(path)!r} cannot be read: {error}") from error
    keys = [_key(path, number, line) for number, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]
    if not keys:
        raise ConfigError(f"{SETTING}={str(path)!r} holds no key: `openchatkit key NAME --add FILE` writes one")
    for field, found in (
        ("name", [each.name for each in keys]),
        ("sha256", [d for each in keys for d in each.digests]),
    ):
        repeated = [value for value, count in Counter(found).items() if count > 1]
        if repeated:
            raise ConfigError(f"{SETTING}={str(path)!r}: {field} {repeated[0]!r} stands in it twice; legal is once")
    return keys


def _said(path: Path, error: ValueError) -> str:
    return f"{SETTING}={str(path)!r} cannot be read: {error}" if isinstance(error, UnicodeDecodeError) else str(error)


def _key(path: Path, number: int, line: str) -> ApiKey:
    try:
        return msgspec.json.decode(line, type=ApiKey)
    except msgspec.DecodeError as error:
        legal = ", ".join(ApiKey.__struct_fields__)
        raise ConfigError(
            f"{SETTING}={str(path)!r}, line {number}: {error}; a line is one JSON object with the fields {legal}"
        ) from error
