"""PDF files made for tests: lines of text on pages, in Helvetica."""

from __future__ import annotations

import io

from pypdf import PdfReader, PdfWriter


def pdf(*pages: list[str], title: str = "") -> bytes:
    """A PDF whose pages hold these lines."""
    return _pages([_content(lines) for lines in pages], title)


def _pages(contents: list[str], title: str = "") -> bytes:
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    numbers = []
    for content in contents:
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {len(objects)} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        numbers.append(len(objects))
    kids = " ".join(f"{number} 0 R" for number in numbers)
    objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(numbers)} >>"
    objects.append(f"<< /Title ({title}) >>")
    return _file(objects)


def pdf_in_columns(title: str, rows: list[tuple[str, str]]) -> bytes:
    """A page whose two columns are written line by line, as programs that print tables of text do."""
    return _pages([f"BT /F1 9 Tf 40 760 Td ({title}) Tj 0 -30 Td {''.join(map(_in_two_columns, rows))}ET"])


def _in_two_columns(row: tuple[str, str]) -> str:
    return f"({row[0]}) Tj 270 0 Td ({row[1]}) Tj -270 -12 Td "


def scanned(num_pages: int) -> bytes:
    """A PDF whose pages are pictures."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    picture = "<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8"
    objects.append(f"{picture} /Length 1 >>\nstream\nx\nendstream")
    objects.append("<< /Length 6 >>\nstream\n/P1 Do\nendstream")
    first = len(objects) + 1
    resources = "/Resources << /XObject << /P1 3 0 R >> >>"
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R {resources} >>"
    objects += [page] * num_pages
    kids = " ".join(f"{number} 0 R" for number in range(first, first + num_pages))
    objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {num_pages} >>"
    objects.append("<< /Title () >>")
    return _file(objects)


def encrypted(content: bytes, user_password: str) -> bytes:
    """The same file, which opens with this password only; everyone may open it when that is empty."""
    writer = PdfWriter(PdfReader(io.BytesIO(content)))
    writer.encrypt(user_password, "owner's own", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _content(lines: list[str]) -> str:
    shown = "".join(f"({line}) Tj 0 -14 Td " for line in lines)
    return f"BT /F1 11 Tf 40 760 Td {shown}ET"


def _file(objects: list[str]) -> bytes:
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>"
    return bytes(out) + f"trailer\n{trailer}\nstartxref\n{start}\n%%EOF\n".encode()
