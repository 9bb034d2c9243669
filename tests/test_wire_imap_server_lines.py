"""Continuations and tagged responses are told from what only looks like them."""

from itertools import accumulate, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.wire.imap_server_lines import MAX_PARTIAL_OCTETS, ServerLines

RESPONSES = (
    b"* 1 FETCH (BODY[] {18}\r\n+ forged\r\na OK x\r\n FLAGS () X {7}\r\na NO\r\n+)\r\n",
    b"b NO text {9}\r\n",
    b"* OK text {9}\r\n",
    b"+ go {9}\r\n",
    b"* LIST () NIL {0}\r\n\r\n",
    b"* X {2}\r\n" + b"\r\n" + b" {3}\r\n+ \n\r\n",
    b"* 2 EXISTS\r\n",
    b"c OK done\r\n",
)
STREAM = b"".join(RESPONSES)
ANSWERS = [b"b NO text {9}\r", b"+ go {9}\r", b"c OK done\r"]


@settings(max_examples=200)
@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_answers_are_the_same_in_any_cut(at: list[int]) -> None:
    lines = ServerLines()
    edges = [0, *sorted(at), len(STREAM)]
    found = [a for x, y in pairwise(edges) for a in lines.feed(STREAM[x:y], wanted=True)]
    assert found == ANSWERS


def test_answers_octet_by_octet() -> None:
    lines = ServerLines()
    found = [a for i in range(len(STREAM)) for a in lines.feed(STREAM[i : i + 1], wanted=True)]
    assert found == ANSWERS


def test_between_lines_is_where_a_response_begins_and_nowhere_else() -> None:
    lines = ServerLines()
    starts = [0] if lines.between_lines else []
    for i in range(len(STREAM)):
        lines.feed(STREAM[i : i + 1], wanted=False)
        if lines.between_lines:
            starts.append(i + 1)
    assert starts == list(accumulate(map(len, RESPONSES), initial=0))


def test_framing_is_kept_while_nothing_is_wanted() -> None:
    lines = ServerLines()
    assert lines.feed(STREAM + b"* 1 FETCH (BODY[] {4}\r\n", wanted=False) == []
    assert lines.feed(memoryview(b"a\r\n+)\r\nd OK\r\n"), wanted=True) == [b"d OK\r"]


def test_long_line_is_not_kept() -> None:
    lines = ServerLines()
    for _ in range(100):
        lines.feed(b"* SEARCH " + b"1 " * 1000, wanted=False)
        assert len(lines._partial) <= MAX_PARTIAL_OCTETS
    assert lines.feed(b" {4}\r\n+ x\n\r\n+ y\r\n", wanted=True) == [b"+ y\r"]
