"""The guard's TLS as scanners and clients see it."""

import re
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from .accounts import ALICE, PASSWORDS
from .certificates import Pair
from .conftest import Mail
from .guard_process import Guard, Service, guard
from .line_client import LineClient
from .processes import run_tool, wait_until

OTHER = "other.example.test"
TLS_1_2 = ssl.TLSVersion.TLSv1_2
TLS_1_3 = ssl.TLSVersion.TLSv1_3


def s_client(running: Guard, *options: str, name: str = "imaps") -> str:
    """What `openssl s_client` prints of a connection, whatever comes of it."""
    return run_tool(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{running.ports[name]}", *options),
        expect=None,
    )


def signature(output: str) -> str:
    """The kind of key that signed, in capitals: OpenSSL 3.0 says ECDSA, RSA-PSS; 3.5 the scheme."""
    found = re.search(r"^Peer signature type: (\S+)$", output, re.MULTILINE)
    assert found, output
    return found[1].upper().replace("_", "-")


@pytest.mark.parametrize("name", ["imaps", "submissions"])
def test_sslscan_finds_only_aead_and_modern_versions(guarded: Guard, name: str) -> None:
    report = run_tool("sslscan", "--no-colour", f"127.0.0.1:{guarded.ports[name]}")
    enabled = dict(re.findall(r"^(SSLv\d|TLSv1\.\d)\s+(enabled|disabled)$", report, re.MULTILINE))
    assert {version for version, state in enabled.items() if state == "enabled"} == {
        "TLSv1.2",
        "TLSv1.3",
    }
    ciphers = re.findall(r"^(?:Accepted|Preferred)\s+\S+\s+\d+ bits\s+(\S+)", report, re.MULTILINE)
    assert ciphers
    weak = [one for one in ciphers if "GCM" not in one and "CHACHA20" not in one]
    assert weak == []
    assert all(one.startswith(("ECDHE-", "TLS_")) for one in ciphers)


def test_old_versions_are_refused(guarded: Guard) -> None:
    for version in ("-tls1", "-tls1_1"):
        output = s_client(guarded, version, "-cipher", "ALL:@SECLEVEL=0")
        assert "alert number 70" in output, output  # protocol_version


def test_ecdsa_is_preferred_and_rsa_is_there_for_those_who_need_it(guarded: Guard) -> None:
    assert signature(s_client(guarded)).startswith("ECDSA")
    output = s_client(guarded, "-tls1_2")
    assert signature(output).startswith("ECDSA")
    assert "Compression: NONE" in output
    output = s_client(guarded, "-sigalgs", "RSA-PSS+SHA256")
    assert signature(output).startswith("RSA-PSS")
    output = s_client(guarded, "-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384")
    assert "Cipher is ECDHE-RSA-AES256-GCM-SHA384" in output


@pytest.mark.parametrize(("name", "ours"), [("imaps", "imap"), ("submissions", "smtp")])
def test_a_foreign_alpn_is_answered_by_the_alert_for_it(
    guarded: Guard, name: str, ours: str
) -> None:
    for foreign in ("http/1.1", "h2,http/1.1", "pop3"):
        output = s_client(guarded, "-alpn", foreign, name=name)
        assert "alert number 120" in output, output  # no_application_protocol, RFC 7301 3.2
    assert f"ALPN protocol: {ours}" in s_client(guarded, "-alpn", f"h2,{ours}", name=name)
    assert "No ALPN negotiated" in s_client(guarded, name=name)


@pytest.mark.parametrize("groups", ["ffdhe8192", "ffdhe2048:X25519"])
def test_no_key_is_agreed_over_a_finite_field(guarded: Guard, groups: str) -> None:
    assert "alert number 40" in s_client(guarded, "-groups", groups)  # handshake_failure


@pytest.mark.parametrize("groups", ["X25519:ffdhe2048", "P-256", "P-521:X25519"])
def test_curves_are_taken_whatever_stands_behind_them(guarded: Guard, groups: str) -> None:
    assert "Cipher is TLS_AES_256_GCM_SHA384" in s_client(guarded, "-groups", groups)


def test_a_client_cannot_renegotiate(guarded: Guard) -> None:
    arguments = ["openssl", "s_client", "-tls1_2", "-connect"]
    with subprocess.Popen(
        [*arguments, f"127.0.0.1:{guarded.ports['imaps']}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while not process.stdout.readline().startswith(b"* OK"):
            assert process.poll() is None  # the greeting must not get into the new handshake
        process.stdin.write(b"R\n")
        process.stdin.flush()
        output = process.stdout.read()
    assert b"RENEGOTIATING" in output
    assert b"no renegotiation" in output


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_sessions_are_resumed(guarded: Guard, mail: Mail, version: ssl.TLSVersion) -> None:
    context = mail.authority.client_context()
    context.minimum_version = context.maximum_version = version
    with LineClient(guarded.ports["imaps"], tls=context) as client:
        client.line()  # in TLS 1.3 the ticket comes with the first data
        assert isinstance(client.sock, ssl.SSLSocket)
        session = client.sock.session
    with LineClient(guarded.ports["imaps"]) as raw:
        raw.sock = context.wrap_socket(raw.sock, server_hostname="localhost", session=session)
        assert raw.line().startswith(b"* OK")
        assert isinstance(raw.sock, ssl.SSLSocket)
        assert raw.sock.session_reused


@pytest.fixture(scope="module")
def own_pair(mail: Mail) -> Pair:
    """A pair that tests renew."""
    return mail.authority.issue("renewed", "localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def named(public: Path, mail: Mail, own_pair: Pair) -> Iterator[Guard]:
    """A guard with a second name."""
    pairs = (
        mail.authority.issue("other", OTHER),
        mail.authority.issue("other-rsa", OTHER, key_type=trustme.KeyType.RSA),
    )
    certificates = ", ".join(f'"{pair.certificate}"' for pair in pairs)
    keys = ", ".join(f'"{pair.private_key}"' for pair in pairs)
    extra = (
        f'[[tls.sni]]\nnames = ["{OTHER}"]\n'
        f"certificate = [{certificates}]\nprivate_key = [{keys}]\n"
    )
    services = [Service("imaps", "imap", "implicit", mail.dovecot.imap_haproxy, "proxy-v2")]
    with guard(public / "named", services, (own_pair,), extra=extra) as running:
        yield running


def served(running: Guard, mail: Mail, name: str) -> x509.Certificate:
    """The certificate served to a client that asks for `name`."""
    context = mail.authority.client_context()
    context.check_hostname = False
    with LineClient(running.ports["imaps"], tls=context, name=name) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        der = client.sock.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def names(certificate: x509.Certificate) -> list[str]:
    """The host names in it."""
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def test_each_name_gets_its_certificate(named: Guard, mail: Mail) -> None:
    assert names(served(named, mail, OTHER)) == [OTHER]
    assert names(served(named, mail, OTHER.upper())) == [OTHER]
    assert names(served(named, mail, "localhost")) == ["localhost"]
    assert names(served(named, mail, "unknown.example.test")) == ["localhost"]
    output = s_client(named, "-servername", OTHER, "-sigalgs", "RSA-PSS+SHA256")
    assert signature(output).startswith("RSA")


def test_sighup_serves_the_renewed_pair_and_never_half_of_one(
    named: Guard, mail: Mail, own_pair: Pair, tls: ssl.SSLContext
) -> None:
    old = served(named, mail, "localhost")
    fresh = mail.authority.issue("fresh", "localhost", "127.0.0.1")
    with LineClient(named.ports["imaps"], tls=tls) as client:
        client.line()
        assert b"a OK" in client.ask(f"a LOGIN {ALICE} {PASSWORDS[ALICE]}".encode())

        own_pair.certificate.write_bytes(fresh.certificate.read_bytes())
        named.signal(signal.SIGHUP)
        wait_until(lambda: "reload-failed" in named.log(), "the reload is refused", 5)
        assert served(named, mail, "localhost") == old

        own_pair.private_key.write_bytes(fresh.private_key.read_bytes())
        named.signal(signal.SIGHUP)
        wait_until(lambda: " reloaded" in named.log(), "the reload is done", 5)
        renewed = served(named, mail, "localhost")
        assert renewed != old
        assert b"b OK" in client.ask(b"b NOOP")  # sessions live on
