"""Renders a checkpoint's chat template, in a process of its own that a hostile template cannot hold up for long.

`python -m server.chat.prompt.render_template` reads a JSON object with `template`, `conversations` and `variables` and
prints the rendered texts as a JSON list. Rendering is transformers' own: Jinja in a sandbox whose objects cannot be
changed. `strftime_now(FORMAT)` gives a mark in place of a date, so that each session can have its own.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import _compile_jinja_template

_MAX_BYTES = 2 << 30
_MAX_CPU_S = 5


def main() -> int:
    """Standard input to standard output; status 1 with one line on standard error when the template does not render."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_MAX_CPU_S, _MAX_CPU_S))
    asked = json.load(sys.stdin)
    try:
        rendered = [_render(asked["template"], each, asked["variables"]) for each in asked["conversations"]]
    except (TemplateError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    json.dump(rendered, sys.stdout)
    return 0


def _render(template: str, messages: list[dict[str, str]], variables: dict[str, Any]) -> str | None:
    """The text, None where the template refuses these roles (by `raise_exception`)."""
    compiled = _compile_jinja_template(template)
    try:
        text: str = compiled.render(
            messages=messages, add_generation_prompt=True, strftime_now=lambda form: f"{{{{date:{form}}}}}", **variables
        )
    except TemplateError:
        if any(message["role"] == "system" for message in messages):
            return None
        raise
    return text


if __name__ == "__main__":
    sys.exit(main())
