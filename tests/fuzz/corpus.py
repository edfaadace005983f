"""Writes the corpus: for each parser a few files that it reads. `python -m tests.fuzz.corpus`"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import msgspec
from gguf import GGUFWriter

from index_builder.documents.files import KINDS
from server import wire
from server.engine.weights.manifest import Manifest, encode_manifest
from server.retrieval.index.manifest import encode_manifest as encode_index_manifest
from server.web.keys.key_file import ApiKey, digest_of, key_line
from tests import ROOT
from tests.aws.store_places import a_turn
from tests.fuzz.parsers import CORPUS
from tests.unit.index_builder.documents.test_reader_fuzz import SEEDS
from tests.unit.index_builder.dumps import dump, page
from tests.unit.index_builder.manifests import made_up_manifest

_SAMPLING = wire.Sampling(stop=("x",), logit_bias=((1, 0.5),), seed=1, json_schema='{"type": "object"}')
_ENDS = wire.Finished("r", "stop", 3, 2, 1)
_WORDS = {"<|endoftext|>": 0, "a": 1, "b": 2}
_TOKENIZER = {
    "model": {"type": "BPE", "vocab": _WORDS, "merges": []},
    "added_tokens": [
        {"id": 0, "content": "<|endoftext|>", "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    ],
}
_CONFIGS = (
    {"model_type": "gpt_neox", "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 3, "rotary_pct": 0.25},
    {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
    {"model_type": "gptj", "n_embd": 64, "n_head": 4, "rotary_dim": 8, "vocab_size": 3},
)
_MARKUP = "'''Albedo''' is {{convert|3|km|mi}} of [[light|sun light]].<ref>x</ref>\n== A ==\n"
_MARKUP += "{|\n! a\n|-\n| 1\n|}\n<math>x^2</math>"


def main() -> None:
    """Write it all anew."""
    for name, contents in _corpus().items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (folder / str(number)).write_bytes(content)


def _corpus() -> dict[str, list[bytes]]:
    row = {"id": 1, "title": "A", "text": "Some text.", "url": "http://x/"}
    enterprise = {
        "name": "A",
        "identifier": 1,
        "namespace": {"identifier": 0},
        "article_body": {"html": "<p>Some text.</p>"},
    }
    return {
        "body": [
            b'{"inputs": "a\\ud83d\\ude00", "parameters": {"n": [1, 2.5e3, true, null, {}]}}',
            b'{"a": {"b": [[]]}}',
        ],
        "frame_to_engine": [
            wire.encode(wire.Generate("r", (1, 2), _SAMPLING, deadline_s=1.5, caller="c")),
            wire.encode(wire.Score("r", "m", (1,), (2,), (3,), ((4,), (5, 6)), parts=((7,),))),
            wire.encode(wire.Cancel("r")),
            wire.encode(wire.Hello()),
        ],
        "frame_from_engine": [
            wire.encode(_ENDS),
            wire.encode(wire.Piece("r", "text", 1, (wire.TokenLogprobs(wire.Alternative(1, b"a", -0.5)),))),
            wire.encode(wire.Scored("r", (((-1.0, -2.0),),), 3, 1)),
            wire.encode(wire.Welcome({"chat": wire.ModelShape(8, 9, "/m")}, 2, "bfloat16", 4)),
        ],
        "stored_turn": [msgspec.json.encode(a_turn(1))],
        "fetch_journal": [b'\n["n", 1, "e", null]\n'],
        "index_manifest": [encode_index_manifest(made_up_manifest({}, recall=0.99))],
        "package_manifest": [
            encode_manifest(Manifest("s", "r", "0", (), "bfloat16", 2, files={"rank-0.safetensors": "0"}))
        ],
        "checkpoint": [
            b"\n---\n".join(json.dumps(each).encode() for each in (config, _TOKENIZER, {"eos_token_id": [0]}))
            for config in _CONFIGS
        ],
        "gguf": [_gguf()],
        "policy": [path.read_bytes() for path in sorted((ROOT / "server/chat/moderation/policies").glob("*.toml"))],
        "key_file": [
            (key_line(ApiKey("alice", digest_of("a"), tokens_per_minute=9)) + "\n").encode(),
            (key_line(ApiKey("bob", digest_of("b"))) + "\n").encode(),
        ],
        "endpoint": [(ROOT / "deploy/endpoint.example.toml").read_bytes()],
        "dump": [dump(page("Albedo", _MARKUP), page("B", "#REDIRECT [[Albedo]]", 2))],
        "records": [json.dumps(row).encode() + b"\n", json.dumps(enterprise).encode() + b"\n"],
        "document": [bytes([sorted(KINDS).index(ending)]) + content for ending, content in SEEDS.items()],
    }


def _gguf() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        writer = GGUFWriter(path, "llama")
        writer.add_name("tiny")
        writer.add_context_length(8)
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(["a", "b"])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


if __name__ == "__main__":
    main()
