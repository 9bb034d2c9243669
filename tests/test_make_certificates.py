"""The generator of example certificates makes chains that a strict client trusts."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "certs-example" / "make-certificates"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=30
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificates") / "made"
    made = make("-d", str(path), "-t", "2", "mail.example.org", "*.mx.example.org", "::1")
    assert made.returncode == 0, made.stderr
    return path


def handshake(directory: Path, algorithm: str, name: str) -> str:
    """The cipher's name after a TLS 1.2 handshake in memory, where the key's kind shows in it."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain, key = (directory / f"{part}-{algorithm}.pem" for part in ("fullchain", "privkey"))
    server_context.load_cert_chain(chain, key)
    client_context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    client_context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    for _ in range(8):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    cipher = client.cipher()
    assert not waiting
    assert cipher is not None
    return cipher[0]


@pytest.mark.parametrize("algorithm", ["ecdsa", "rsa"])
@pytest.mark.parametrize("name", ["mail.example.org", "a.mx.example.org", "::1"])
def test_a_strict_client_trusts_both_chains(directory: Path, algorithm: str, name: str) -> None:
    assert algorithm.upper() in handshake(directory, algorithm, name)


def test_a_name_that_was_not_asked_for_is_not_certified(directory: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(directory, "ecdsa", "other.example.org")


def test_no_key_can_sign_later_and_none_can_be_read_by_others(directory: Path) -> None:
    files = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert files == {
        "ca.pem": 0o644,
        "fullchain-ecdsa.pem": 0o644,
        "fullchain-rsa.pem": 0o644,
        "privkey-ecdsa.pem": 0o600,
        "privkey-rsa.pem": 0o600,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [""],
        ["a,DNS:b"],
        ["a\nsubjectAltName=DNS:b"],
        ["a b"],
        ["-x", "a"],
        ["-t", "0", "a"],
        ["-t", "826", "a"],
        ["-t", "1x", "a"],
        ["-t", "", "a"],
    ],
)
def test_other_arguments_are_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    made = make("-d", str(tmp_path / "made"), *arguments)
    assert made.returncode == 2
    assert "usage: make-certificates" in made.stderr
    assert not (tmp_path / "made").exists()


def test_an_address_that_is_none_fails_with_openssl_s_words(tmp_path: Path) -> None:
    made = make("-d", str(tmp_path / "made"), "192.0.2.999")
    assert made.returncode == 1
    assert "192.0.2.999" in made.stderr


@pytest.mark.skipif(not (SCRIPT.parent.parent / ".git").exists(), reason="not a checkout")
@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_no_private_key_is_committed() -> None:
    marker = "-----BEGIN " + "(EC |RSA |ENCRYPTED )?PRIVATE KEY-----"
    found = subprocess.run(
        ["git", "grep", "-lE", "-e", marker],
        cwd=SCRIPT.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")  # 1: no line matches
