"""Every parser of bytes that come from outside, and what it may say of those it cannot read."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

CORPUS = ROOT / "tests/data/fuzz"
_NOWHERE = Path("fuzzed")

Read = Callable[[bytes, Path], object]


@dataclass(frozen=True)
class Parser:
    """One parser.

    Attributes:
        read: bytes, and a folder of its own to put them where a file is asked for.
        refusals: what it raises of what it cannot read; anything else is a fault.
    """

    read: Read
    refusals: tuple[type[Exception], ...] = ()


def _in_file(name: str, read: Callable[[Path], object]) -> Read:
    def in_file(content: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(content)
        return read(path)

    return in_file


def _request() -> Parser:
    """A head and a body as the reception takes them, whole or byte by byte, and as gunicorn reads them then."""
    from gunicorn.config import Config
    from gunicorn.http.errors import NoMoreData, ParseException
    from gunicorn.http.parser import RequestParser

    from server.web.reception.front_worker import HeldRequest, check_framing
    from server.web.reception.incoming import Incoming, Unacceptable

    config = Config()

    def taken(pieces: list[bytes]) -> Incoming | None:
        incoming = Incoming(0.0, max_body_bytes=4096)
        is_whole = any(incoming.take(piece) for piece in pieces)
        return incoming if is_whole or incoming.take_end() else None

    def read(content: bytes, _: Path) -> None:
        incoming = taken([content])
        if incoming is None:
            return
        slow = taken([content[at : at + 1] for at in range(len(content))])
        assert slow is not None
        assert slow.framing == incoming.framing
        held, parser = HeldRequest(), RequestParser(config, [], ("127.0.0.1", 1))
        request, _rest = incoming.split()
        assert incoming.is_cut or request == slow.split()[0]
        parser.unreader = held
        held.hold(request)
        found = next(parser, None)
        if found is not None:
            check_framing(found, incoming.framing)
            found.body.read()
            assert incoming.is_cut or (parser.finish_body() and held.is_used_up), "they end elsewhere"

    return Parser(read, (Unacceptable, ParseException, NoMoreData))


def _body() -> Parser:
    from server.errors import ServiceError
    from server.web.reading.json_reader import read_object

    return Parser(lambda content, _: read_object(content), (ServiceError,))


def _frame_to_engine() -> Parser:
    import msgspec

    from server import wire

    return Parser(lambda content, _: wire.decode_to_engine(content), (ValueError, msgspec.MsgspecError))


def _frame_from_engine() -> Parser:
    import msgspec

    from server import wire

    return Parser(lambda content, _: wire.decode_from_engine(content), (ValueError, msgspec.MsgspecError))


def _stored_turn() -> Parser:
    from server.chat.store.rows import Row, RowState, read_record

    def read(content: bytes, _: Path) -> object:
        record = content.decode("utf-8", "replace")
        return read_record(Row("s", 1, RowState.DONE, session_created_at=0.0, record=record))

    return Parser(read)


def _fetch_journal() -> Parser:
    from server.artifacts.fetch_journal import FetchJournal
    from server.artifacts.listing import RemoteFile

    file = RemoteFile("b", "k", "n", num_bytes=1, etag="e")
    return Parser(_in_file(".fetched.jsonl", lambda path: FetchJournal(path.parent).has(file)))


def _index_manifest() -> Parser:
    from server.retrieval.index.manifest import read_manifest
    from server.retrieval.retriever import RetrievalError

    return Parser(_in_file("manifest.json", lambda path: read_manifest(path.parent)), (RetrievalError,))


def _package_manifest() -> Parser:
    from server.engine.weights.manifest import read_manifest
    from server.engine.weights.sources import WeightsError

    return Parser(_in_file("manifest.json", lambda path: read_manifest(path.parent)), (WeightsError,))


def _checkpoint() -> Parser:
    """config.json, tokenizer.json and generation_config.json, parted by lines of three dashes."""
    from container.artifacts.folders import check_model
    from container.refusal import Refusal

    def read(content: bytes, folder: Path) -> None:
        parts = content.split(b"\n---\n")
        for number, name in enumerate(("config.json", "tokenizer.json", "generation_config.json")):
            (folder / name).write_bytes(parts[number] if number < len(parts) else b"{}")
        (folder / "model.safetensors").touch()
        check_model("OCK_CHAT_MODEL", folder, 2)

    return Parser(read, (Refusal,))


def _gguf() -> Parser:
    from server.engine.package.gguf import check_reader
    from server.engine.weights.sources import WeightsError

    return Parser(_in_file("m.gguf", check_reader), (WeightsError,))


def _policy() -> Parser:
    from server.chat.moderation.policy_file import PolicyError, load_policy

    return Parser(_in_file("policy.toml", load_policy), (PolicyError,))


def _key_file() -> Parser:
    from server.config import ConfigError
    from server.web.keys.key_file import read_key_file

    return Parser(_in_file("keys.jsonl", read_key_file), (ConfigError,))


def _endpoint() -> Parser:
    from deploy.errors import DeployError
    from deploy.specification.endpoint_file import read

    return Parser(_in_file("endpoint.toml", read), (DeployError,))


def _dump() -> Parser:
    from index_builder.documents.document import ReadReport, SkippedError
    from index_builder.documents.wiki.mediawiki import pages_of, parse_page

    def read(content: bytes, _: Path) -> None:
        for page in pages_of(iter([content[:100], content[100:]]), _NOWHERE, ReadReport()):
            try:
                parse_page(page)
            except SkippedError:
                continue

    return Parser(read)


def _records() -> Parser:
    from index_builder.documents.document import ReadReport, SkippedError
    from index_builder.documents.records import Columns, json_records, parse_record

    def read(content: bytes, _: Path) -> None:
        for record in json_records(iter([content]), "f.jsonl", Columns(), ReadReport()):
            try:
                parse_record(record)
            except SkippedError:
                continue

    return Parser(read, (SkippedError,))


def _document() -> Parser:
    """A document of the kind that its first line names; where that is none, its first byte chooses."""
    from index_builder.documents.document import SkippedError
    from index_builder.documents.files import KINDS, RawFile, parse_file

    endings = sorted(KINDS)

    def read(content: bytes, _: Path) -> object:
        ending, _, content = content.partition(b"\n")
        named = ending.decode("latin-1")
        kind = named if named in KINDS else endings[sum(ending[:1]) % len(endings)]
        return parse_file(RawFile(Path(f"f{kind}"), f"f{kind}", content))

    return Parser(read, (SkippedError,))


# Each brings what it needs when it is asked for: a guided run watches every line of it, and of nothing else.
PARSERS: dict[str, Callable[[], Parser]] = {
    "request": _request,
    "body": _body,
    "frame_to_engine": _frame_to_engine,
    "frame_from_engine": _frame_from_engine,
    "stored_turn": _stored_turn,
    "fetch_journal": _fetch_journal,
    "index_manifest": _index_manifest,
    "package_manifest": _package_manifest,
    "checkpoint": _checkpoint,
    "gguf": _gguf,
    "policy": _policy,
    "key_file": _key_file,
    "endpoint": _endpoint,
    "dump": _dump,
    "records": _records,
    "document": _document,
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
