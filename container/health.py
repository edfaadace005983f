"""HEALTHCHECK of the image, with the standard library alone: status 0 when /ping answers 200."""

import os
import sys
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException

TIMEOUT_S = 4.0


def port(environ: Mapping[str, str]) -> int:
    """Where the server listens: OCK_PORT unless Kubernetes wrote it, else what SageMaker says, else 8080."""
    named = [environ.get(name, "") for name in ("OCK_PORT", "SAGEMAKER_BIND_TO_PORT")]
    return next((int(value) for value in named if value.isdigit()), 8080)


def is_healthy(host: str, number: int) -> bool:
    """Whether /ping answers 200 at `host` (an empty one is every address, so also loopback)."""
    place = f"[{host}]" if ":" in host else host or "127.0.0.1"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{place}:{number}/ping", timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(0 if is_healthy(os.environ.get("OCK_HOST", ""), port(os.environ)) else 1)
