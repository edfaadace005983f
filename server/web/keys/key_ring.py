"""The keys that are good now: read at the start, and again when the file changes."""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.config import ConfigError
from server.web.keys.key_file import ApiKey, digest_of, read_key_file
from server.web.keys.share import Share

LOOK_EVERY_S = 1.0
_Stamp = tuple[int, int, int] | None

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Whose key a call was made with."""

    key: ApiKey
    share: Share


class KeyRing:
    """The keys of the file `path`. Thread-safe."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError when the file cannot be used."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._next_look = clock() + LOOK_EVERY_S
        self._stamp = _stamp(path)
        self._shares: dict[str, Share] = {}
        self._adopt(read_key_file(path))

    @property
    def has_several(self) -> bool:
        """Whether there is anybody to share with."""
        return len(self._shares) > 1

    def find(self, secret: str) -> Holder | None:
        """Whose key `secret` is. Takes as long for a key that is nearly right as for any other."""
        self._look()
        digest, found = digest_of(secret), None
        for known, holder in self._holders:
            if hmac.compare_digest(known, digest):
                found = holder
        return found

    def reload(self) -> None:
        """Read the file again; one that cannot be used is logged and changes nothing."""
        with self._lock:
            self._reload()

    def _look(self) -> None:
        """Read the file again where it is another than before; asked at most once a second."""
        if self._clock() < self._next_look:
            return
        with self._lock:
            if self._clock() >= self._next_look:
                self._next_look = self._clock() + LOOK_EVERY_S
                if _stamp(self._path) != self._stamp:
                    self._reload()

    def _reload(self) -> None:
        self._stamp = _stamp(self._path)
        try:
            self._adopt(read_key_file(self._path))
        except ConfigError as error:
            log.error("keys.reload refused, the %d keys before it stay: %s", len(self._shares), error)
            return
        log.info("keys.reload keys=%d", len(self._shares))

    def _adopt(self, keys: list[ApiKey]) -> None:
        shares = {key.name: self._share(key) for key in keys}
        self._holders = [(digest, Holder(key, shares[key.name])) for key in keys for digest in key.digests]
        self._shares = shares

    def _share(self, key: ApiKey) -> Share:
        share = self._shares.get(key.name)
        if share is None:
            return Share(key, self._clock)
        share.adopt(key)
        return share


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
