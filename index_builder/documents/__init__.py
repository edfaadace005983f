"""Sources as documents: MediaWiki dumps, tables of records, folders of files."""

from index_builder.documents.document import Document, ReadReport, Section, SkippedError
from index_builder.documents.source import SourceError, open_source, read_documents

__all__ = ["Document", "ReadReport", "Section", "SkippedError", "SourceError", "open_source", "read_documents"]
