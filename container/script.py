"""The command `openchatkit`: serve, check, plan, bench and version of the server; `deploy VERB`; `index VERB`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_EXTRAS = {"deploy": "server,cpu", "index": "index,cpu"}  # what a verb may need beyond the small base


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    part = argv[0] if argv and argv[0] in ("deploy", "index") else "serve"
    try:
        return _run(part, argv)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("container", "deploy", "index_builder", "server"):
            raise
        extras = _EXTRAS.get(part, "server,cpu")
        sys.stderr.write(f"openchatkit: {error.name} is not installed: pip install 'openchatkit-server[{extras}]'\n")
        return 2


def _run(part: str, argv: list[str]) -> int:
    if part == "deploy":
        from deploy.__main__ import main as deploy

        return deploy(argv[1:])
    if part == "index":
        from index_builder.__main__ import main as index

        return index(argv[1:])
    from container.cli import main as serve

    return serve(argv)
