"""The guard's own contexts: what they speak, which certificate they show, what they refuse."""

import contextlib
import functools
import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from rig_ends import authority

from gatekeeper.errors import ConfigError
from gatekeeper.settings import CertificatePair, SniSettings, TlsSettings
from gatekeeper.tls import Certificates, ends_at
from gatekeeper.wire.certificate_time import not_after

NAME = "mail.example"
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
RSA, ECDSA = trustme.KeyType.RSA, trustme.KeyType.ECDSA
both_versions = pytest.mark.parametrize("version", [V12, V13], ids=["tls1.2", "tls1.3"])


@functools.cache
def pair(name: str, key_type: trustme.KeyType = ECDSA) -> CertificatePair:
    leaf = authority().issuer.issue_cert(name, key_type=key_type)
    stem = f"tls-{name.replace('*', '_')}-{key_type.name}"
    directory = authority().directory
    made = CertificatePair(directory / f"{stem}.pem", directory / f"{stem}.key")
    made.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    made.private_key.write_bytes(leaf.private_key_pem.bytes())
    return made


def certificates(*pairs: CertificatePair, sni: tuple[SniSettings, ...] = ()) -> Certificates:
    return Certificates(TlsSettings(pairs, sni), "imap")


def context_of(made: Certificates, name: str | None = None) -> ssl.SSLContext:
    context = made.context_for(name)
    assert context is not None
    return context


def a_client(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = authority().client_context("imap")
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


@dataclass
class Handshake:
    """A handshake in memory, no socket involved."""

    client: ssl.SSLObject
    server: ssl.SSLObject
    to_client: ssl.MemoryBIO
    to_server: ssl.MemoryBIO

    @classmethod
    def of(
        cls,
        server: ssl.SSLContext,
        client: ssl.SSLContext,
        *,
        name: str = NAME,
        session: ssl.SSLSession | None = None,
    ) -> "Handshake":
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        made = cls(
            client.wrap_bio(to_client, to_server, server_hostname=name, session=session),
            server.wrap_bio(to_server, to_client, server_side=True),
            to_client,
            to_server,
        )
        for _ in range(4):
            for end in (made.client, made.server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        made.server.write(b"* OK\r\n")
        assert made.client.read(100) == b"* OK\r\n"
        return made

    @property
    def names(self) -> set[str]:
        found = self.client.getpeercert()
        assert found is not None
        return {str(entry[1]) for entry in found["subjectAltName"]}


def shown(made: Handshake) -> str:
    """The kind of the server's key: an elliptic curve's has OID 1.2.840.10045.2.1."""
    certificate = made.client.getpeercert(binary_form=True)
    assert certificate is not None
    return "ECDSA" if bytes.fromhex("2a8648ce3d0201") in certificate else "RSA"


# -- which certificate ---------------------------------------------------------------------------


@both_versions
@pytest.mark.parametrize("order", [(ECDSA, RSA), (RSA, ECDSA)])
def test_of_both_kinds_ecdsa_is_preferred(
    version: ssl.TLSVersion, order: tuple[trustme.KeyType, ...]
) -> None:
    server = context_of(certificates(*(pair(NAME, kind) for kind in order)))
    assert shown(Handshake.of(server, a_client(version))) == "ECDSA"


@both_versions
def test_a_certificate_of_one_kind_serves_everybody(version: ssl.TLSVersion) -> None:
    for kind in (RSA, ECDSA):
        server = context_of(certificates(pair(NAME, kind)))
        assert shown(Handshake.of(server, a_client(version))) == kind.name


def test_a_client_that_knows_rsa_only_gets_rsa() -> None:
    server = context_of(certificates(pair(NAME, ECDSA), pair(NAME, RSA)))
    client = a_client(V12)
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert shown(Handshake.of(server, client)) == "RSA"


def test_a_tls_1_3_client_that_verifies_rsa_only_gets_rsa(tmp_path: Path) -> None:
    made = certificates(pair(NAME, ECDSA), pair(NAME, RSA))
    with accepting(context_of(made)) as port:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3"]
        command += ["-sigalgs", "rsa_pss_rsae_sha256", "-servername", NAME]
        done = subprocess.run(
            command, input=b"", capture_output=True, cwd=tmp_path, timeout=20, check=False
        )
    # OpenSSL 3.0 names the key's kind, 3.5 the scheme.
    assert re.search(rb"Peer signature type: (RSA-PSS|rsa_pss_rsae_sha256)\n", done.stdout)


# -- what is spoken ------------------------------------------------------------------------------


@both_versions
def test_versions_and_alpn(version: ssl.TLSVersion) -> None:
    made = Handshake.of(context_of(certificates(pair(NAME))), a_client(version))
    assert made.server.version() == {V12: "TLSv1.2", V13: "TLSv1.3"}[version]
    assert made.client.selected_alpn_protocol() == "imap"
    assert made.server.compression() is None


def test_older_versions_are_refused() -> None:
    context = context_of(certificates(pair(NAME)))
    assert context.minimum_version is V12


def test_every_cipher_is_aead_with_forward_secrecy() -> None:
    ciphers = context_of(certificates(pair(NAME))).get_ciphers()
    assert ciphers
    for cipher in ciphers:
        assert cipher["aead"]
        assert cipher["kea"] in {"kx-ecdhe", "kx-any"}  # of TLS 1.3, which has nothing else
        assert "CBC" not in cipher["name"]


@pytest.mark.parametrize(
    "cipher", ["ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"]
)
def test_weak_ciphers_meet_no_agreement(cipher: str) -> None:
    client = a_client(V12)
    client.set_ciphers(f"{cipher}:@SECLEVEL=1")
    with pytest.raises(ssl.SSLError, match=r"(?i)no.shared.cipher"):
        Handshake.of(context_of(certificates(pair(NAME, RSA), pair(NAME, ECDSA))), client)


def test_the_server_chooses_the_cipher() -> None:
    client = a_client(V12)
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    made = Handshake.of(context_of(certificates(pair(NAME))), client)
    cipher = made.server.cipher()
    assert cipher is not None
    assert cipher[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_renegotiation_and_compression_are_off() -> None:
    options = context_of(certificates(pair(NAME))).options
    assert options & ssl.OP_NO_RENEGOTIATION
    assert options & ssl.OP_NO_COMPRESSION


def test_a_client_that_renegotiates_is_refused(tmp_path: Path) -> None:
    with accepting(context_of(certificates(pair(NAME)))) as port:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2"]
        done = subprocess.run(
            command, input=b"R\n", capture_output=True, cwd=tmp_path, timeout=20, check=False
        )
    assert b"no renegotiation" in done.stderr.lower()


@contextlib.contextmanager
def accepting(context: ssl.SSLContext) -> Iterator[int]:
    """A server in a thread that shakes hands with one client and reads until it leaves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                sock, _ = listener.accept()
                sock.settimeout(10)
                with context.wrap_socket(sock, server_side=True) as tls:
                    while tls.recv(1000):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


# -- resumption ----------------------------------------------------------------------------------


@both_versions
def test_a_session_is_resumed_from_its_ticket(version: ssl.TLSVersion) -> None:
    server, client = context_of(certificates(pair(NAME))), a_client(version)
    first = Handshake.of(server, client)
    assert not first.client.session_reused
    assert first.client.session is not None
    assert first.client.session.has_ticket
    again = Handshake.of(server, client, session=first.client.session)
    assert again.client.session_reused


def test_one_ticket_is_sent_a_handshake() -> None:
    assert context_of(certificates(pair(NAME))).num_tickets == 1


# -- server names --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def named() -> Certificates:
    sni = (
        SniSettings(("Exact.example.org.", "other.example.org"), (pair("exact.example.org"),)),
        SniSettings(("*.example.org",), (pair("*.example.org"),)),
    )
    return certificates(pair("default.example"), sni=sni)


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        (None, "default.example"),
        ("", "default.example"),
        ("unknown.example", "default.example"),
        ("exact.example.org", "exact.example.org"),
        ("other.example.org", "exact.example.org"),
        ("third.example.org", "*.example.org"),
        ("deep.third.example.org", "default.example"),
        ("example.org", "default.example"),
        ("org", "default.example"),
    ],
)
def test_the_server_name_chooses(named: Certificates, asked: str | None, served: str) -> None:
    client = a_client()
    client.check_hostname = False
    assert Handshake.of(context_of(named, asked), client).names == {served}


def test_without_any_certificate_there_is_no_context() -> None:
    assert certificates().context_for("mail.example") is None


# -- what cannot be used -------------------------------------------------------------------------


def test_a_mismatched_pair_names_its_files() -> None:
    mixed = CertificatePair(pair("a.example").certificate, pair("b.example").private_key)
    with pytest.raises(ConfigError, match="mismatch") as caught:
        certificates(mixed)
    assert str(mixed.certificate) in str(caught.value)
    assert str(mixed.private_key) in str(caught.value)


@pytest.mark.parametrize("missing", ["certificate", "private_key"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    good = pair(NAME)
    gone = tmp_path / "gone.pem"
    bad = CertificatePair(
        gone if missing == "certificate" else good.certificate,
        gone if missing == "private_key" else good.private_key,
    )
    with pytest.raises(ConfigError, match=r"gone\.pem.*No such file"):
        certificates(bad)


def test_an_encrypted_key_is_refused_without_asking(tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:x", "-in"]
    subprocess.run([*command, pair(NAME).private_key, "-out", locked], check=True, timeout=20)
    with pytest.raises(ConfigError, match=r"locked\.key.*encrypted"):
        certificates(CertificatePair(pair(NAME).certificate, locked))


def test_the_first_certificate_of_a_file_ends_it(tmp_path: Path) -> None:
    whole = pair(NAME).certificate.read_text()
    first = ssl.PEM_cert_to_DER_cert(whole[: whole.index(ssl.PEM_FOOTER)] + ssl.PEM_FOOTER)
    chain = tmp_path / "chain.pem"
    chain.write_text(f"Bag Attributes: é\n{whole}\n{'x' * 100}")
    assert ends_at(chain) == ends_at(pair(NAME).certificate) == not_after(first)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b"", "cannot be told"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be told"),
    ],
)
def test_a_file_without_a_certificate_has_no_end(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "bad.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"bad\.pem.*{why}"):
        ends_at(file)


@pytest.mark.parametrize("content", [b"", b"not PEM\n", os.urandom(500)])
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.pem"):
        certificates(CertificatePair(bad, pair(NAME).private_key))


def test_one_bad_pair_of_a_server_name_fails_the_whole() -> None:
    mixed = CertificatePair(pair("a.example").certificate, pair("b.example").private_key)
    with pytest.raises(ConfigError, match="mismatch"):
        certificates(pair(NAME), sni=(SniSettings(("x.example",), (mixed,)),))
