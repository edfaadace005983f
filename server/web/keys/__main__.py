"""Make an API key: python -m server.web.keys NAME --add keys.jsonl

The key goes to standard output, once: nothing keeps it. Its line, which holds a digest, goes into the file of --add, or
to standard error without one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from server.config import ConfigError
from server.web.keys.key_file import ApiKey, digest_of, key_line, new_secret, read_key_file


def main(argv: Sequence[str] | None = None) -> int:
    """Make one key; the process's exit status."""
    arguments = _parser().parse_args(argv)
    secret = new_secret()
    try:
        line = key_line(_key(arguments, secret))
        if arguments.add is not None:
            _add(arguments.add, line)
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"openchatkit: {error}\n")
        return 1
    sys.stdout.write(f"{secret}\n")
    if arguments.add is None:
        sys.stderr.write(f"{line}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="openchatkit key", description=__doc__, formatter_class=formatter)
    parser.add_argument("name", help="whose key it is")
    parser.add_argument("--role", default="user", help="user (the default) or operator")
    parser.add_argument("--requests-per-minute", type=float)
    parser.add_argument("--tokens-per-minute", type=float)
    parser.add_argument("--concurrent", type=int, help="requests at work at once")
    parser.add_argument("--add", type=Path, metavar="FILE", help="the file that OCK_API_KEYS names; made if need be")
    return parser


def _key(arguments: argparse.Namespace, secret: str) -> ApiKey:
    given = {name: value for name, value in vars(arguments).items() if name in ApiKey.__struct_fields__}
    try:
        return msgspec.convert({**given, "sha256": digest_of(secret)}, ApiKey)
    except msgspec.ValidationError as error:
        raise ConfigError(f"no such key can be made: {error}") from error


def _add(path: Path, line: str) -> None:
    """Append `line` where the file stays readable with it; it is put in place whole, so that no server reads half."""
    before = path.read_text("utf-8") if path.exists() else ""
    text = f"{before}{'' if before.endswith(chr(10)) or not before else chr(10)}{line}\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    try:
        draft.write_text(text, "utf-8")
        read_key_file(draft)
        if path.exists():
            draft.chmod(path.stat().st_mode & 0o777)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
