"""How the processes of this server log: the level of our own loggers, as lines for people or as JSON."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

from server.config import Settings

OURS = ("server", "container", "index_builder")
_OTHERS_LEVEL = logging.WARNING  # libraries log addresses with questions and keys in them at DEBUG
_LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record; `key=value` words of its message stay in the message."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(said).decode("utf-8", "replace")


def set_up_logging(settings: Settings, line: str = _LINE) -> None:
    """Log to stderr: our loggers from OCK_LOG_LEVEL on, everybody else's from WARNING."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else logging.Formatter(line))
    logging.basicConfig(level=_OTHERS_LEVEL, handlers=[handler])
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log_level)
