"""Which format a checkpoint's conversations are written in: the one that is named, or the one that it shows itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from server.artifacts.json_object import read_json_object
from server.chat.prompt.chat_format import OPENCHATKIT, ChatFormat
from server.chat.prompt.formats import CHATML, DOLLY, FORMATS, OPENASSISTANT
from server.chat.prompt.template_format import SpecialTokens, format_of_template
from server.chat.prompt.tokenizer import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, special_tokens
from server.config import ConfigError

log = logging.getLogger(__name__)

AUTO, TEMPLATE = "auto", "template"
TEMPLATE_FILE = "chat_template.jinja"
# Tokens that only one format's models have.
_TELLING_TOKENS = (("<|prompter|>", OPENASSISTANT), ("### Response:", DOLLY), ("<|im_start|>", CHATML))
_OPENCHATKIT_FAMILIES = ("gpt_neox", "gptj")


def choose_format(name: str, folder: Path) -> ChatFormat:
    """The format called `name`; for `auto` the one that the checkpoint in `folder` shows itself.

    Raises:
        ConfigError: a template that is missing or cannot be served, or a checkpoint that shows none.
    """
    chosen = _own_format(folder) if name == AUTO else _from_template(folder) if name == TEMPLATE else FORMATS[name]
    if chosen is None:
        found = "shows no chat format of its own" if name == AUTO else "brings no chat template"
        raise ConfigError(
            f"OCK_CHAT_FORMAT={name!r}: the checkpoint {folder} {found}; legal are {', '.join(FORMATS)}, and "
            f"{TEMPLATE} for one with a chat_template in {TOKENIZER_CONFIG_FILE} or a {TEMPLATE_FILE}"
        )
    log.info(
        "chat.format name=%s chosen=%s", chosen.name, "by the checkpoint" if name == AUTO else "by OCK_CHAT_FORMAT"
    )
    return chosen


def _own_format(folder: Path) -> ChatFormat | None:
    if (from_template := _from_template(folder)) is not None:
        return from_template
    added = _added_tokens(folder)
    for token, chat_format in _TELLING_TOKENS:
        if any(each.strip() == token for each in added):
            return chat_format
    family = _read_json(folder / "config.json").get("model_type")
    return OPENCHATKIT if family in _OPENCHATKIT_FAMILIES else None


def _from_template(folder: Path) -> ChatFormat | None:
    if (template := _template(folder)) is None:
        return None
    bos, eos = special_tokens(folder)
    try:
        return format_of_template(template, SpecialTokens(bos, eos, _added_tokens(folder)))
    except ConfigError as error:
        raise ConfigError(f"{folder}: {error}; set OCK_CHAT_FORMAT to one of {', '.join(FORMATS)}") from error


def _template(folder: Path) -> str | None:
    """The checkpoint's chat template; of several by name, the default one."""
    if (path := folder / TEMPLATE_FILE).is_file():
        return path.read_text("utf-8-sig")
    found = _read_json(folder / TOKENIZER_CONFIG_FILE).get("chat_template")
    if isinstance(found, list):
        found = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}.get("default")
    return found if isinstance(found, str) else None


def _added_tokens(folder: Path) -> tuple[str, ...]:
    """The contents of the tokenizer's special tokens."""
    added = _read_json(folder / TOKENIZER_FILE).get("added_tokens") or []
    return tuple(each["content"] for each in added if each.get("special"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(f"{path.parent}: {error}") from error
