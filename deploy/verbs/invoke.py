"""One question to the endpoint, or to a server at a URL, and its answer."""

from __future__ import annotations

import argparse
import dataclasses
import json

from deploy.client import ChatError, Reply, talking
from deploy.errors import DeployError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `invoke`."""
    parser.add_argument("prompt", help="the question")
    talking.add_arguments(parser)
    parser.add_argument("--stream", action="store_true", help="print the answer as it comes")
    parser.add_argument("--json", action="store_true", help="print the whole record")


def run(arguments: argparse.Namespace) -> int:
    """Prints the answer and, on the last line, the session to go on with."""
    client = talking.client(arguments)
    given = talking.parameters(arguments)
    try:
        if arguments.stream:
            stream = client.stream(arguments.prompt, arguments.session_id, **given)
            for text in stream:
                print(text, end="", flush=True)
            reply, printed = stream.reply, True
        else:
            reply, printed = client.chat(arguments.prompt, arguments.session_id, **given), False
    except ChatError as error:
        raise DeployError(str(error)) from error
    if not arguments.dry_run:
        _show(reply, arguments.json, printed)
    return 0


def _show(reply: Reply, as_json: bool, printed: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(reply), indent=2, ensure_ascii=False))
        return
    print("" if printed else reply.text)
    for line in talking.footnotes(reply):
        print(line)
    print(f"  --session-id {reply.session_id}")
