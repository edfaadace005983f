"""Pages of other origins that may call: none unless OCK_CORS_ORIGINS names them."""

from __future__ import annotations

from flask import Request, Response

_METHODS = "GET, POST, DELETE, OPTIONS"
_READABLE = "X-Request-Id, Retry-After, X-Amzn-SageMaker-Custom-Attributes"
_REMEMBERED_S = "600"  # how long a browser need not ask again
ANY = "*"


class Origins:
    """The origins that may call."""

    def __init__(self, named: str) -> None:
        """`named`: origins joined by commas, `*`, or nothing."""
        self._named = {each.strip().rstrip("/") for each in named.split(",") if each.strip()}

    def allow(self, request: Request, response: Response) -> None:
        """Tell the browser that it may show `response` to the page that asked, where the page may."""
        origin = request.headers.get("Origin")
        if not self._named or origin is None:
            return
        response.headers.add("Vary", "Origin")
        if not self.allows(origin):
            return
        response.headers["Access-Control-Allow-Origin"] = ANY if ANY in self._named else origin
        response.headers["Access-Control-Expose-Headers"] = _READABLE
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Max-Age"] = _REMEMBERED_S
            asked = request.headers.get("Access-Control-Request-Headers", "Content-Type")
            response.headers["Access-Control-Allow-Headers"] = asked

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin` may call."""
        return ANY in self._named or origin in self._named
