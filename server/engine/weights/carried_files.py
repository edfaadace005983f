"""What a package has of its checkpoint besides the tensors. No torch here: `package --dry-run` lists them."""

from __future__ import annotations

CARRIED_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
)
