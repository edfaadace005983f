"""Every parser of bytes that come from outside, and what it may say of those it cannot read."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from container.artifacts.folders import check_model
from container.refusal import Refusal
from deploy.errors import DeployError
from deploy.specification import endpoint_file
from index_builder.documents.document import ReadReport, SkippedError
from index_builder.documents.files import KINDS, RawFile, parse_file
from index_builder.documents.records import Columns, json_records, parse_record
from index_builder.documents.wiki.mediawiki import pages_of, parse_page
from server import wire
from server.artifacts.fetch_journal import FetchJournal
from server.artifacts.listing import RemoteFile
from server.chat.moderation.policy_file import PolicyError, load_policy
from server.chat.records.turn_records import Turn
from server.chat.store.rows import Row, RowState, read_record
from server.engine.package import gguf
from server.engine.weights import manifest as package
from server.engine.weights.sources import WeightsError
from server.errors import ServiceError
from server.retrieval.index import manifest as index
from server.retrieval.retriever import RetrievalError
from server.web.reading.json_reader import read_object
from tests import ROOT

CORPUS = ROOT / "tests/data/fuzz"
_NOWHERE = Path("fuzzed")
_ENDINGS = sorted(KINDS)


@dataclass(frozen=True)
class Parser:
    """One parser.

    Attributes:
        read: bytes, and a folder of its own to put them where a file is asked for.
        refusals: what it raises of what it cannot read; anything else is a fault.
    """

    read: Callable[[bytes, Path], object]
    refusals: tuple[type[Exception], ...]


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def in_file(content: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(content)
        return read(path)

    return in_file


def _checkpoint(content: bytes, folder: Path) -> None:
    """config.json, tokenizer.json and generation_config.json, parted by lines of three dashes."""
    parts = content.split(b"\n---\n")
    for number, name in enumerate(("config.json", "tokenizer.json", "generation_config.json")):
        (folder / name).write_bytes(parts[number] if number < len(parts) else b"{}")
    (folder / "model.safetensors").touch()
    check_model("OCK_CHAT_MODEL", folder, 2)


def _dump(content: bytes, _: Path) -> None:
    for page in pages_of(iter([content[:100], content[100:]]), _NOWHERE, ReadReport()):
        try:
            parse_page(page)
        except SkippedError:
            continue


def _records(content: bytes, _: Path) -> None:
    for record in json_records(iter([content]), "f.jsonl", Columns(), ReadReport()):
        try:
            parse_record(record)
        except SkippedError:
            continue


def _document(content: bytes, _: Path) -> object:
    """A document of a kind that its first byte chooses."""
    ending = _ENDINGS[content[0] % len(_ENDINGS)] if content else ".txt"
    return parse_file(RawFile(Path(f"f{ending}"), f"f{ending}", content[1:]))


def _gguf(path: Path) -> object:
    return gguf.check_reader(path)


def _stored_turn(content: bytes, _: Path) -> Turn | None:
    return read_record(Row("s", 1, RowState.DONE, session_created_at=0.0, record=content.decode("utf-8", "replace")))


def _journal(path: Path) -> bool:
    return FetchJournal(path.parent).has(RemoteFile("b", "k", "n", num_bytes=1, etag="e"))


PARSERS: dict[str, Parser] = {
    "body": Parser(lambda content, _: read_object(content), (ServiceError,)),
    "frame_to_engine": Parser(lambda content, _: wire.decode_to_engine(content), (ValueError, msgspec.MsgspecError)),
    "frame_from_engine": Parser(
        lambda content, _: wire.decode_from_engine(content), (ValueError, msgspec.MsgspecError)
    ),
    "stored_turn": Parser(_stored_turn, ()),
    "fetch_journal": Parser(_in_file(".fetched.jsonl", _journal), ()),
    "index_manifest": Parser(
        _in_file("manifest.json", lambda path: index.read_manifest(path.parent)), (RetrievalError,)
    ),
    "package_manifest": Parser(
        _in_file("manifest.json", lambda path: package.read_manifest(path.parent)), (WeightsError,)
    ),
    "checkpoint": Parser(_checkpoint, (Refusal,)),
    "gguf": Parser(_in_file("m.gguf", _gguf), (WeightsError,)),
    "policy": Parser(_in_file("policy.toml", load_policy), (PolicyError,)),
    "endpoint": Parser(_in_file("endpoint.toml", endpoint_file.read), (DeployError,)),
    "dump": Parser(_dump, ()),
    "records": Parser(_records, (SkippedError,)),
    "document": Parser(_document, (SkippedError,)),
}


def seeds(name: str) -> list[bytes]:
    """The parser's corpus: files that it reads, by name."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def fault(parser: Parser, content: bytes, folder: Path) -> Exception | None:
    """What the parser raised that it must not."""
    try:
        parser.read(content, folder)
    except parser.refusals:
        return None
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return error
    return None


def digest(content: bytes) -> str:
    """A short name for a finding."""
    return f"{zlib.crc32(content):08x}"
