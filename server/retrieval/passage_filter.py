"""Which passages a search may give."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PassageFilter:
    """What must be true of a passage: of each kind, one of the values; no values of a kind ask for nothing.

    Attributes:
        documents: ids or titles.
        sections: headings; one within them counts, too.
        urls: how the address begins.
        languages: two-letter codes of what is searched.
    """

    documents: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    def takes(self, document_id: str, title: str, section: str, url: str) -> bool:
        """Whether a passage with these may be given, whatever its language."""
        return (
            (not self.documents or document_id in self.documents or title in self.documents)
            and (not self.sections or _is_within(section, self.sections))
            and (not self.urls or url.startswith(self.urls))
        )

    def speaks(self, language: str) -> bool:
        """Whether passages of this language may be given."""
        return not self.languages or language in self.languages


def _is_within(section: str, wanted: tuple[str, ...]) -> bool:
    """Whether a path of headings, "History > Origins", is one of these or has one of them on it."""
    return section in wanted or not set(section.split(" > ")).isdisjoint(wanted)
