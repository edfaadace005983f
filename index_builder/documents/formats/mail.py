"""Mails, and web pages saved as such: subject, text, and the files attached that can be read."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage

from index_builder.documents.document import SkippedError
from index_builder.documents.encodings import decoded
from index_builder.documents.formats.html_page import read_html_file
from index_builder.documents.formats.text import read_text
from index_builder.documents.outline import Outline, one_line

ReadAttachment = Callable[[bytes, str, Outline], bool]
"""Adds a file's content by the kind its name tells; False for one of another kind."""
_FIELDS = {"from": "from", "to": "to", "cc": "cc", "date": "date"}
_MAX_DEPTH = 5
_MAIL = "message/rfc822"
MAILBOX = ".mbox"
_MAIL_BEGINS = re.compile(rb"(?:\A|(?<=\n))From [^\n]{1,500}\d{4}[^\n]{0,20}\n")
_FROM_ESCAPED = re.compile(rb"^>(>*From )", re.MULTILINE)


def mails_of(content: Iterator[bytes]) -> Iterator[bytes]:
    """The mails of a mailbox that comes in blocks; each begins behind a line with "From " before it."""
    waiting = b""
    for block in content:
        *whole, waiting = _MAIL_BEGINS.split(waiting + block)
        yield from (_FROM_ESCAPED.sub(rb"\1", mail) for mail in whole if mail.strip())
    if waiting.strip():
        yield _FROM_ESCAPED.sub(rb"\1", waiting)


def read_mail_file(content: bytes, name: str, outline: Outline, read_attachment: ReadAttachment) -> str:
    """Add a mail's text and attachments; its subject.

    Raises:
        SkippedError: the bytes are no mail.
    """
    mail = email.message_from_bytes(content, policy=email.policy.default)
    if not isinstance(mail, EmailMessage) or not mail.keys():
        raise SkippedError("broken mail", name, "it has no header")
    for header, field in _FIELDS.items():
        outline.add_field(field, [_header(mail, header)])
    _read_parts(mail, name, outline, read_attachment=read_attachment)
    return _header(mail, "subject")


def _read_parts(
    mail: EmailMessage, name: str, outline: Outline, read_attachment: ReadAttachment, depth: int = 0
) -> None:
    """Add a mail that lies so many mails deep in another."""
    body = _best_body(mail)
    if body is not None:
        text = Outline()
        _read_body(body, name, text)
        outline.absorb(text)
    for level, part in _files(mail):
        if part is body:
            continue
        if level > _MAX_DEPTH or depth > _MAX_DEPTH:
            outline.drop("attachment of another kind")
        elif part.get_content_maintype() == "text" and not part.get_filename():
            _read_text_part(part, name, outline)
        elif part.get_content_type() == _MAIL:
            _read_inner_mail(part, name, outline, read_attachment=read_attachment, depth=depth + 1)
        else:
            _read_file(part, name, outline, read_attachment=read_attachment)


def _read_inner_mail(
    part: EmailMessage, name: str, outline: Outline, read_attachment: ReadAttachment, depth: int
) -> None:
    """Add a mail that is attached to another, under its subject."""
    messages = part.get_payload()
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, EmailMessage):
            inner = Outline()
            _read_parts(message, name, inner, read_attachment=read_attachment, depth=depth)
            outline.absorb(inner, _header(message, "subject"))


def _read_text_part(part: EmailMessage, name: str, outline: Outline) -> None:
    """Add text that stands behind the body, below what is attached."""
    inner = Outline()
    _read_body(part, name, inner)
    outline.absorb(inner)


def _best_body(mail: EmailMessage) -> EmailMessage | None:
    try:
        found = mail.get_body(preferencelist=("plain", "html"))
    except (KeyError, ValueError, AttributeError):
        return None
    if isinstance(found, EmailMessage) and found.get_content_type() == "text/plain" and not _payload(found).strip():
        found = mail.get_body(preferencelist=("html",)) or found
    return found if isinstance(found, EmailMessage) else None


def _read_body(body: EmailMessage, name: str, outline: Outline) -> None:
    charset = str(body.get_content_charset() or "")
    if body.get_content_type() == "text/html":
        content = _payload(body)
        read_html_file(decoded(content, name, charset).encode() if charset else content, name, outline)
    else:
        read_text(decoded(_payload(body), name, charset), outline)


def _files(mail: EmailMessage) -> list[tuple[int, EmailMessage]]:
    """The parts that are files, and how deep each lies; the alternatives of a body are none."""
    found: list[tuple[int, EmailMessage]] = []
    stack: list[tuple[int, object, bool]] = [(0, mail, True)]  # depth, part, whether it is a form of the body
    while stack:
        depth, part, is_form = stack.pop()
        if not isinstance(part, EmailMessage):
            continue
        if depth and part.get_content_type() == _MAIL:
            found.append((depth, part))
        elif part.is_multipart() and depth < 50:
            inner = part.get_payload()
            assert isinstance(inner, list)
            is_form = part.get_content_subtype() in ("alternative", "related")
            stack.extend((depth + 1, each, is_form) for each in reversed(inner))
        elif depth and (part.get_filename() or part.get_content_maintype() != "text" or not is_form):
            found.append((depth, part))
    return found


def _read_file(part: EmailMessage, name: str, outline: Outline, read_attachment: ReadAttachment) -> None:
    """Add a file that is attached, under its name."""
    file_name = one_line(str(part.get_filename() or ""))
    inner = Outline()
    try:
        if read_attachment(_payload(part), f"{name}, {file_name or part.get_content_type()}", inner):
            outline.absorb(inner, file_name)
        else:
            outline.drop("image" if part.get_content_maintype() == "image" else "attachment of another kind")
    except SkippedError as skipped:
        outline.leave_out(skipped)


def _payload(part: EmailMessage) -> bytes:
    try:
        found = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError):
        return b""
    return found if isinstance(found, bytes) else b""


def _header(mail: EmailMessage, name: str) -> str:
    try:
        return one_line(str(mail.get(name) or ""))
    except (ValueError, TypeError, LookupError, AttributeError, IndexError):  # headers that break the rules of mail
        return ""
