"""Keys and values get what is free once every weight is where it is multiplied."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import GPTJConfig, LlamaConfig, MistralConfig

from server.config import Settings
from server.engine.model.runner import PoolShape
from server.engine.parallel.group import Rank
from server.engine.rank import loaded_models

GIB = 2**30
CONFIGS = {
    "chat": LlamaConfig(
        hidden_size=576,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
    ),
    "mistral": MistralConfig(hidden_size=64, num_attention_heads=4, num_key_value_heads=2, sliding_window=512),
    "long": LlamaConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=131072),
    "moderation": GPTJConfig(n_embd=64, n_layer=2, n_head=4, n_positions=256),
}


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens, in order, with models that have a configuration and no weights."""
    happened: list[str] = []

    class Recorder:
        def __init__(self, model: Any, *_: object, **__: object) -> None:
            self._name = model.name
            happened.append(f"packed {self._name}")

        def allocate(self, shape: PoolShape) -> None:
            happened.append(f"allocated {shape.num_slots} for {self._name}")

    def measure() -> int:
        happened.append("measured")
        return 8 * GIB

    def load(folder: Path, *_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(name=folder.name, config=CONFIGS[folder.name])

    monkeypatch.setattr(loaded_models, "ModelRunner", Recorder)
    monkeypatch.setattr(loaded_models, "load_model", load)
    monkeypatch.setattr(loaded_models, "available_bytes", measure)
    return happened


def load(chat: str, **settings: object) -> dict[str, loaded_models.GroupModel]:
    named = Settings.model_validate({"chat_model": chat, "moderation_model": "moderation", **settings})
    return loaded_models.load_models(named, Rank(0, 1, torch.device("cpu")))


def test_what_is_free_is_measured_when_all_weights_and_the_classifiers_cache_are_there(events: list[str]) -> None:
    load("chat", max_running=1000)
    per_token = 30 * 2 * 3 * 64 * 2  # layers, keys and values, key-value heads, values, bytes
    expected = 2 * GIB // per_token // 16 * 16 + 16  # a quarter, in whole blocks
    assert events[:3] == ["packed chat", "packed moderation", "measured"]
    assert events[3:] == ["allocated 1024 for moderation", "measured", f"allocated {expected} for chat"]


def test_a_classifier_of_a_long_window_keeps_no_more_than_its_texts_need(events: list[str]) -> None:
    named = Settings.model_validate({"chat_model": "moderation", "moderation_model": "long"})
    models = loaded_models.load_models(named, Rank(0, 1, torch.device("cpu")))
    assert models["input_moderation"].window == 131072
    assert "allocated 131072 for long" in events


def test_a_window_is_no_longer_than_a_sliding_one_or_than_the_setting(events: list[str]) -> None:
    assert load("mistral")["chat"].window == 512
    assert load("mistral", max_context_tokens=128)["chat"].window == 128
    assert load("chat")["chat"].window == 2048
