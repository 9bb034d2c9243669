"""Servers and guards that the end-to-end tests share: each is started once."""

import itertools
import os
import shutil
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from .accounts import WRONG
from .certificates import Authority, Pair
from .dovecot import Dovecot, dovecot
from .guard_process import Guard, Service, guard
from .other_servers import exim, imap4d
from .postfix import Postfix, postfix
from .processes import public_directory, wait_until

PROGRAMS = ("dovecot", "postfix", "swaks", "curl", "msmtp", "mbsync", "gsasl", "hydra", "sslscan")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this directory."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@dataclass(frozen=True, slots=True)
class Mail:
    """The two servers that hold the mailboxes, and what their clients trust."""

    postfix: Postfix
    dovecot: Dovecot
    authority: Authority
    pairs: tuple[Pair, Pair]  # ECDSA, RSA

    def settled(self, address: str, marker: bytes) -> list[bytes]:
        """The messages with `marker` in a mailbox once Postfix has delivered all it took."""
        wait_until(self.postfix.is_idle, "Postfix has delivered all mail: see its log")
        return self.dovecot.messages(address, marker)

    def delivered(self, address: str, marker: bytes) -> bytes:
        """The one message with `marker`, waited for."""
        wait_until(lambda: self.dovecot.messages(address, marker), f"{marker!r} is delivered")
        (message,) = self.settled(address, marker)
        return message


@pytest.fixture(scope="session")
def public() -> Iterator[Path]:
    """A directory every server's user may enter."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the servers and the guard drop their rights themselves")
    missing = [name for name in PROGRAMS if not shutil.which(name, path=_PATH)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with public_directory("e2e") as path:
        yield path


_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


@pytest.fixture(scope="session")
def mail(public: Path) -> Iterator[Mail]:
    """Postfix delivering into Dovecot."""
    authority = Authority.make(public / "pki")
    names = ("localhost", "127.0.0.1", "guard.example.test")
    ecdsa = authority.issue("ecdsa", *names)
    rsa = authority.issue("rsa", *names, key_type=trustme.KeyType.RSA)
    with ExitStack() as stack:
        imap = stack.enter_context(dovecot(public / "dovecot", ecdsa))
        smtp = stack.enter_context(
            postfix(public / "postfix", ecdsa, lmtp=imap.lmtp, auth=imap.auth)
        )
        yield Mail(smtp, imap, authority, (ecdsa, rsa))


@pytest.fixture(scope="session")
def tls(mail: Mail) -> ssl.SSLContext:
    """A client's context that verifies the guard."""
    return mail.authority.client_context()


def services(mail: Mail) -> list[Service]:
    """Every way a listener may announce its clients, and TLS on both legs."""
    smtp, imap = mail.postfix, mail.dovecot
    verified = {"tls_ca": str(mail.authority.file), "tls_name": "localhost"}
    return [
        Service("mx", "smtp", "starttls", smtp.mx, "xclient"),
        Service("mx-v2", "smtp", "starttls", smtp.mx_haproxy, "proxy-v2"),
        Service("mx-v1", "smtp", "starttls", smtp.mx_haproxy, "proxy-v1"),
        Service("submission", "submission", "starttls", smtp.submission_haproxy, "proxy-v2"),
        Service("submissions", "submission", "implicit", smtp.submission_haproxy, "proxy-v1"),
        Service("submissions-xclient", "submission", "implicit", smtp.submission, "xclient"),
        Service(
            "submission-tls",
            "submission",
            "starttls",
            smtp.submission_tls,
            backend={"tls": "starttls", **verified},
        ),
        Service("imap", "imap", "starttls", imap.imap, "imap-id"),
        Service("imaps", "imap", "implicit", imap.imap_haproxy, "proxy-v2"),
        Service("imaps-v1", "imap", "implicit", imap.imap_haproxy, "proxy-v1"),
        Service("imaps-id", "imap", "implicit", imap.imap, "imap-id"),
        Service(
            "imaps-tls", "imap", "implicit", imap.imaps, backend={"tls": "implicit", **verified}
        ),
    ]


@pytest.fixture(scope="session")
def guarded(public: Path, mail: Mail) -> Iterator[Guard]:
    """A guard before Postfix and Dovecot, without the kernel, for sessions that go well."""
    # Tests of refusals share loopback addresses: no test may wait because another one failed.
    patient = "[policy]\ntarpit_base = 0\ntarpit_max = 0\n"
    with guard(public / "guarded", services(mail), mail.pairs, extra=patient) as running:
        yield running


_sources = itertools.count(1)


@pytest.fixture
def source() -> str:
    """An address on loopback that no other test uses."""
    number = next(_sources)
    return f"127.{10 + number // 250}.7.{1 + number % 250}"


_wrongs = itertools.count(1)


@pytest.fixture
def wrong() -> str:
    """A wrong password that no other test uses: one the server has refused the guard answers."""
    return f"{WRONG}-{next(_wrongs)}"


_markers = itertools.count(1)


@pytest.fixture
def marker() -> bytes:
    """Words that are in the messages of one test alone."""
    return b"marker-%d-of-this-test" % next(_markers)


@pytest.fixture(scope="session")
def archives(request: pytest.FixtureRequest) -> Path:
    """Where packages downloaded for the tests are kept between runs."""
    cache = request.config.cache
    assert cache is not None
    return cache.mkdir("debian")


@pytest.fixture(scope="session")
def exim_ports(public: Path, archives: Path) -> Iterator[dict[str, int]]:
    """Exim's ports, by the names of `exim`; it keeps mail in `public`/exim/mail."""
    with exim(public / "exim", archives / "exim") as ports:
        yield ports


@pytest.fixture(scope="session")
def imap4d_port(public: Path, archives: Path) -> Iterator[int]:
    """imap4d's port."""
    with imap4d(public / "imap4d", archives / "imap4d") as port:
        yield port
