"""A conversation at the terminal, its answers as they come. /new starts another, /quit or Ctrl-D ends."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from deploy.cli import say
from deploy.client import ChatClient, ChatError, talking


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `chat`."""
    talking.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Reads questions line by line until the end of the input."""
    client = talking.client(arguments)
    client.session_id = arguments.session_id
    given = talking.parameters(arguments)
    while (line := _ask()) is not None:
        if line == "/new":
            client.new_session()
        elif line == "/quit":
            break
        elif line:
            _answer(client, line, given, quiet=arguments.dry_run)
    if client.session_id:
        say(f"go on with: --session-id {client.session_id}")
    return 0


def _ask() -> str | None:
    """The next line, None at the end of the input."""
    print("> ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.strip() if line else None


def _answer(client: ChatClient, prompt: str, parameters: dict[str, Any], quiet: bool) -> None:
    """Prints the answer; an error is told and the conversation goes on. Ctrl-C ends this answer alone."""
    try:
        with client.stream(prompt, **parameters) as stream:
            for text in stream:
                print(text, end="", flush=True)
            if not quiet:
                print()
                for line in talking.footnotes(stream.reply):
                    print(line)
    except ChatError as error:
        print(file=sys.stderr)
        say(f"error: {error}")
    except KeyboardInterrupt:
        print()
