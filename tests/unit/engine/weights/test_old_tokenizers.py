"""A checkpoint whose tokenizer has an older form gets a tokenizer.json when it is packaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from server.engine.package.packager import PackageError, write_tokenizer

TEXT = "Abraham Lincoln was born in a log cabin."


def test_vocabulary_and_merges_become_a_tokenizer_json(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator([TEXT] * 20, vocab_size=400, special_tokens=["<|endoftext|>"])
    trained.save_model(str(source))
    (source / "config.json").write_text(json.dumps({"model_type": "gptj"}))
    (source / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    write_tokenizer(source, out)
    written = Tokenizer.from_file(str(out / "tokenizer.json"))
    assert written.encode(TEXT, add_special_tokens=False).ids == trained.encode(TEXT).ids


def test_a_checkpoint_without_any_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gptj"}))
    with pytest.raises(PackageError, match=r"no tokenizer.json, and none can be made"):
        write_tokenizer(tmp_path, tmp_path)
