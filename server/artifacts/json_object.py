"""The small JSON files of a checkpoint, as people's editors leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in `path`, which may begin with a byte-order mark.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or holds no JSON object; one sentence that begins with the file's name.
    """
    try:
        value = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} does not hold an object")
    return value
