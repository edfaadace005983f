"""How a checkpoint on the model hub is named."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class HubId:
    """A model's name and the revision asked for; None is the default branch."""

    name: str
    revision: str | None

    @property
    def folder_name(self) -> str:
        """A name for its local folder."""
        return re.sub(r"[^\w.-]", "--", self.name if self.revision is None else f"{self.name}@{self.revision}")


def read_hub_id(value: str) -> HubId | None:
    """`owner/name` or `owner/name@revision`; None when `value` is neither."""
    match = _ID.fullmatch(value)
    return HubId(match["name"], match["revision"]) if match and not value.startswith(".") else None
