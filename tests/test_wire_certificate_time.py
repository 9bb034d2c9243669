"""When certificates end: against OpenSSL's own word, and against cuts and changes of them."""

import contextlib
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.certificate_time import not_after


def made(directory: Path, *options: str) -> bytes:
    """A certificate of OpenSSL's, as DER."""
    path = directory / "c.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(directory / "k.pem"), "-out", str(path), "-subj", "/CN=x"),
            *options,
        ],
        check=True,
        capture_output=True,
    )
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def told(der: bytes) -> float:
    """What OpenSSL says of it."""
    words = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", "-enddate"],
        input=der,
        check=True,
        capture_output=True,
    ).stdout.decode()
    return ssl.cert_time_to_seconds(words.strip().removeprefix("notAfter="))


@pytest.mark.parametrize("days", ["1", "90", "9000", "20000"])
def test_it_is_what_openssl_says(tmp_path: Path, days: str) -> None:
    """The last of them ends beyond 2049, where the form of times is another."""
    der = made(tmp_path, "-days", days)
    assert not_after(der) == told(der)


def test_it_is_read_of_a_certificate_that_has_ended() -> None:
    end = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    begin = datetime(2000, 1, 1, tzinfo=UTC)
    leaf = trustme.CA().issue_cert("x.example", not_before=begin, not_after=end)
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    assert not_after(der) == end.timestamp()


DER = ssl.PEM_cert_to_DER_cert(
    trustme.CA().issue_cert("x.example").cert_chain_pems[0].bytes().decode()
)


@given(st.integers(0, len(DER) - 1))
def test_a_part_of_one_is_none(end: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each place has its own words
        not_after(DER[:end])


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_changed_octet_is_a_time_or_a_value_error(at: int, octet: int) -> None:
    changed = DER[:at] + bytes([octet]) + DER[at + 1 :]
    with contextlib.suppress(ValueError):
        not_after(changed)


@pytest.mark.parametrize(
    "times", [b"\x17\x0d2501010000000", b"\x17\x0b2501010000Z", b"\x02\x01\x05"]
)
def test_other_forms_of_time_are_refused(times: bytes) -> None:
    def element(tag: int, content: bytes) -> bytes:
        return bytes([tag, len(content)]) + content

    validity = element(0x30, b"\x17\x0d250101000000Z" + times)
    inner = element(0x02, b"\x01") + element(0x30, b"") + element(0x30, b"") + validity
    der = element(0x30, element(0x30, inner))
    with pytest.raises(ValueError, match="time"):
        not_after(der)
