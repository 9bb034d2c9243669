"""Content and its end. The differential tests are the claim against SMTP smuggling: however a
server may read line ends, what the guard forwards ends where the guard said, and nowhere before."""

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.events import Violation, ViolationKind
from gatekeeper.settings import BareNewlines
from gatekeeper.wire.smtp_content import MAX_NEUTRALISED, ChunkContent, DataContent

END = b"\r\n.\r\n"


@dataclass
class Outcome:
    """All steps of one stream put together."""

    forward: bytes = b""
    done: bool = False
    rest: bytes = b""
    neutralised: int = 0
    violation: Violation | None = None
    held: int = field(default=0, compare=False)


def run(chunks: Iterable[bytes], mode: BareNewlines = BareNewlines.NEUTRALISE) -> Outcome:
    content = DataContent(mode)
    outcome = Outcome()
    fed = 0
    remaining = iter(chunks)
    for chunk in remaining:
        step = content.feed(chunk)
        fed += len(chunk)
        outcome.forward += step.forward
        outcome.neutralised += step.neutralised
        outcome.violation = step.violation
        if step.done or step.violation:
            outcome.done = step.done
            outcome.rest = step.rest + b"".join(remaining)
            return outcome
    outcome.held = fed + outcome.neutralised - len(outcome.forward)
    return outcome


def single(octets: bytes) -> list[bytes]:
    return [octets[i : i + 1] for i in range(len(octets))]


# -- models of servers: the lines each sees ------------------------------------------------------


def by(line_end: bytes, *, ignored: bytes = b"") -> Callable[[bytes], list[bytes]]:
    pattern = re.compile(line_end)
    return lambda octets: pattern.split(octets.translate(None, ignored))


def to_nul(read: Callable[[bytes], list[bytes]]) -> Callable[[bytes], list[bytes]]:
    return lambda octets: [line.split(b"\0")[0] for line in read(octets)]


LINE_ENDS = {
    "strict": rb"\r\n",
    "lf, one cr stripped": rb"\r?\n",
    "lf, all crs stripped (Postfix before 3.9)": rb"\r*\n",
    "lf, or bare cr": rb"\r\n|\r|\n",
    "crs and lf, or bare cr": rb"\r+\n|\r|\n",
    "lf and crs behind it": rb"\n\r*",
    "crlf, or bare cr (Cisco)": rb"\r\n|\r",
    "any run": rb"[\r\n]+",
}
SERVERS = {
    f"{name}{', NULs skipped' if nul else ''}": by(line_end, ignored=nul)
    for name, line_end in LINE_ENDS.items()
    for nul in (b"", b"\0")
}
SERVERS |= {f"{name}, to NUL": to_nul(by(line_end)) for name, line_end in LINE_ENDS.items()}
SERVERS["crs ignored"] = by(rb"\n", ignored=b"\r")
SERVERS["crs and NULs ignored"] = by(rb"\n", ignored=b"\r\0")
SERVERS["crs ignored, to NUL"] = to_nul(SERVERS["crs ignored"])


def true_end(octets: bytes) -> int:
    """Where content ends by RFC 5321 4.1.1.4, or -1; DATA's own CRLF comes before it."""
    return (b"\r\n" + octets).find(END) + len(END) - 2 if END in b"\r\n" + octets else -1


def check(octets: bytes, chunks: Iterable[bytes]) -> Outcome:
    outcome = run(chunks)
    end = true_end(octets)
    if outcome.done:
        assert outcome.rest == octets[end:]
        assert outcome.forward.endswith(b".\r\n")
        consumed = octets[:end]
    else:
        assert end < 0 or outcome.violation is not None
        consumed = octets[: len(octets) - outcome.held]
    if outcome.violation is None:
        assert len(outcome.forward) == len(consumed) + outcome.neutralised
        assert outcome.forward.replace(b".", b"") == consumed.replace(b".", b"")
        assert 0 <= outcome.held <= 2
    if outcome.neutralised == 0 and outcome.violation is None:
        assert outcome.forward == consumed
    body = outcome.forward[:-3] if outcome.done else outcome.forward
    for server, lines in SERVERS.items():
        assert b"." not in lines(body), server
    return outcome


def test_the_models_find_what_smugglers_send() -> None:
    """A model that finds nothing proves nothing."""
    smuggled = {
        b"a\n.\n": 15, b"a\n.\r\n": 15, b"a\r.\r": 6, b"a\r\n.\r\r\n": 9, b"a\r\n\0.\r\n": 8,
        b"a\r\n.\0\r\n": 16,
    }  # fmt: skip
    for octets, least in smuggled.items():
        fooled = [server for server, lines in SERVERS.items() if b"." in lines(octets + b"QUIT")]
        assert len(fooled) >= least, (octets, fooled)


def test_every_short_stream_is_safe_and_comes_out_the_same_octet_by_octet() -> None:
    for size in range(7):
        for letters in itertools.product(b"\r\n.\0a", repeat=size):
            octets = bytes(letters)
            outcome = check(octets, [octets])
            if outcome.violation is None:
                assert run(single(octets)) == outcome
            else:
                assert run(single(octets)).violation == outcome.violation


PIECES = st.sampled_from([b"\r", b"\n", b".", b"\0", b"a", b"\r\n", b"\r\n.", b"\n.", b".\r"])


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=14).map(b"".join), st.lists(st.integers(0, 30), max_size=6))
def test_every_cut_is_safe_and_comes_out_the_same(octets: bytes, at: list[int]) -> None:
    edges = [0, *sorted(min(i, len(octets)) for i in at), len(octets)]
    parts = [octets[a:b] for a, b in itertools.pairwise(edges)]
    whole = check(octets, [octets])
    cut = check(octets, parts)
    assert cut.violation == whole.violation
    if whole.violation is None:
        assert cut == whole


# -- single facts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets", [b"x" * 70, b"a.b\r\n..\r\n.x\r\n", b"bare\nlines.\n.x", b"x.x."]
)
def test_clean_content_is_the_same_object(octets: bytes) -> None:
    assert DataContent(BareNewlines.NEUTRALISE).feed(octets).forward is octets


def test_rest_is_what_stands_behind_the_end() -> None:
    step = DataContent(BareNewlines.NEUTRALISE).feed(b"a\r\n.\r\nQUIT\r\n")
    assert (step.forward, step.done, step.rest) == (b"a\r\n.\r\n", True, b"QUIT\r\n")


@pytest.mark.parametrize(
    "octets", [b"\n.\n", b"a\r.b\r\n.\r.", b"\n.\r\n", b"\r\n.\r\r\n", b".\rx"]
)
def test_reject_refuses_what_would_be_neutralised(octets: bytes) -> None:
    assert run([octets]).neutralised == 1
    for chunks in ([octets], single(octets)):
        refused = run(chunks, BareNewlines.REJECT).violation
        assert refused is not None
        assert (refused.kind, refused.fatal) == (ViolationKind.SMUGGLING, True)
        assert refused.reply.startswith(b"550 5.5.2 ")


def test_reject_lets_clean_content_pass() -> None:
    octets = b"a\nbare\rbut far from dots.\r\n..\r\n.\r\n"
    assert run([octets], BareNewlines.REJECT).forward == octets


@pytest.mark.parametrize("octets", [b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n\0.\0", b"\n\0\0.\n"])
@pytest.mark.parametrize("mode", list(BareNewlines))
def test_a_nul_beside_a_lone_dot_is_refused(octets: bytes, mode: BareNewlines) -> None:
    refused = run([octets], mode).violation
    assert refused is not None
    assert refused.fatal
    assert refused.reply.startswith(b"550 5.6.0 ")


def test_a_stream_of_lone_dots_is_refused_after_a_while() -> None:
    most = b"\n." * MAX_NEUTRALISED + b"\n"
    assert run([most]).neutralised == MAX_NEUTRALISED
    for chunks in ([most + b".\n"], [most, b".\n"]):
        refused = run(chunks).violation
        assert refused is not None
        assert refused.fatal


@pytest.mark.parametrize("size_octets", [0, 1, 5, 11])
def test_a_chunk_is_counted_to_the_octet_in_every_cut(size_octets: int) -> None:
    stream = b"ab\r\n.\r\nNOOP\r\n"
    for at in range(len(stream) + 1):
        chunk = ChunkContent(size_octets)
        step = chunk.feed(stream[:at])
        forward = step.forward
        rest = step.rest + stream[at:]
        if not step.done:
            step = chunk.feed(stream[at:])
            forward += step.forward
            rest = step.rest
        assert step.done
        assert (forward, rest) == (stream[:size_octets], stream[size_octets:])


def test_a_chunk_is_not_copied() -> None:
    octets = b"x" * 100
    chunk = ChunkContent(200)
    assert chunk.feed(octets).forward is octets
    assert chunk.feed(octets).forward is octets
