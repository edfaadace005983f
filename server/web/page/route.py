"""GET /: a chat page of plain HTML, CSS and JavaScript."""

from __future__ import annotations

import html
import mimetypes
from pathlib import Path

from flask import Blueprint, Response

from server.config import Settings
from server.web.describe.operation import TEXT, Operation

PAGE_FOLDER = Path(__file__).resolve().parent / "files"
TITLE = "OpenChatKit"  # what the page's files say; OCK_PAGE_TITLE takes its place
_PAGE, _LOGO = "page.html", "icon.svg"
PAGE_FILES = {"/": _PAGE, "/logo": _LOGO} | {
    f"/{path.name}": path.name for path in sorted(PAGE_FOLDER.iterdir()) if path.name != _PAGE
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def _media_type(path: str, name: str) -> str:
    return "image/*" if path == "/logo" else _TYPES[Path(name).suffix]


OPERATIONS = tuple(
    Operation("get", path, "The chat page.", gives={_media_type(path, name): [TEXT]})
    for path, name in PAGE_FILES.items()
)


def blueprint(settings: Settings) -> Blueprint:
    """The page and its files, with the title and logo that the settings name."""
    routes = Blueprint("page", __name__)
    for path, name in PAGE_FILES.items():
        routes.add_url_rule(path, path.strip("/").replace(".", "_") or "index", _Sender(path, name, settings))
    return routes


class _Sender:
    """Sends one file, read once."""

    def __init__(self, path: str, name: str, settings: Settings) -> None:
        file = settings.page_logo if path == "/logo" and settings.page_logo else PAGE_FOLDER / name
        self._body = file.read_bytes()
        self._type = _TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if name == _PAGE:
            self._body = self._body.replace(TITLE.encode(), html.escape(settings.page_title).encode())

    def __call__(self) -> Response:
        kind = f"{self._type}; charset=utf-8" if self._type.startswith("text/") else self._type
        return Response(self._body, content_type=kind, headers=_HEADERS)
