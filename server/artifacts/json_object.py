"""The small JSON files of a checkpoint, as people's editors leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MARK = "\ufeff"


def read_json_object(path: Path, *, may_have_mark: bool = True) -> dict[str, Any]:
    """The object in `path`.

    Args:
        may_have_mark: whether a byte-order mark at its beginning is read over; where others must read the file too that
            stop at one, it is refused.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or holds no JSON object; one sentence that begins with the file's name.
    """
    try:
        text = path.read_text("utf-8")
        value = json.loads(text.removeprefix(_MARK))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} cannot be read ({error})") from error
    if text.startswith(_MARK) and not may_have_mark:
        raise ValueError(f"{path.name} begins with a byte-order mark: save it as UTF-8 without one")
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} does not hold an object")
    return value
