"""GET /: a chat page of plain HTML, CSS and JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask import Blueprint, Response, send_from_directory

from server.web.describe.operation import TEXT, Operation

PAGE_FOLDER = Path(__file__).resolve().parent
PAGE_FILES = {"/": "page.html"} | {
    f"/{name}": name for name in ("page.css", "page.js", "event_stream.js", "memory.js", "turn_view.js", "icon.svg")
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

OPERATIONS = tuple(
    Operation("get", path, "The chat page.", gives={_TYPES[name.rpartition(".")[2]]: [TEXT]})
    for path, name in PAGE_FILES.items()
)


def blueprint() -> Blueprint:
    """The page and its files."""
    routes = Blueprint("page", __name__)
    for path, name in PAGE_FILES.items():
        routes.add_url_rule(path, name.replace(".", "_"), _sender(name))
    return routes


def _sender(name: str) -> Callable[[], Response]:
    def send() -> Response:
        response = send_from_directory(PAGE_FOLDER, name)
        response.headers.update(_HEADERS)
        return response

    return send
