"""Lines survive any cutting of their bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.client.line_buffer import LineBuffer

LINES = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])))


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(LINES, st.lists(st.integers(min_value=0, max_value=10_000)), st.booleans())
def test_lines_are_the_same_however_their_bytes_are_cut(lines, cuts, ended):
    data = "\n".join(lines).encode() + b"\n" * ended
    buffer = LineBuffer()
    found = [line for piece in cut(data, cuts) for line in buffer.feed(piece)] + buffer.flush()
    expected = data.decode().split("\n")
    assert found == (expected if expected[-1] else expected[:-1])


@given(LINES)
def test_separators_that_are_no_line_feed_stay_in_their_line(lines):
    buffer = LineBuffer()
    marked = [f"{line}\u2028\r\x0b" for line in lines]
    assert buffer.feed("".join(f"{line}\n" for line in marked).encode()) == marked
