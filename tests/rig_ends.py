"""The two ends of `rig`: the certificates of a run of tests, and a peer that a test plays."""

import atexit
import functools
import shutil
import socket
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio
import trustme
from ticket_mask import MASK, masked

from gatekeeper.sessions import Session
from gatekeeper.settings import CertificatePair, SniSettings, TlsSettings
from gatekeeper.tls import Certificates

QUIET_S: Final = 0.004  # real
SILENCE_S: Final = 0.1  # virtual, so it passes only when nobody has anything to do
PATIENCE_S: Final = 2000.0  # virtual; longer than every limit of the guard
HOSTNAME: Final = "guard.example"
SNI_NAME: Final = "other.example"


def raise_fault(_session: Session, error: Exception) -> None:
    """What tests make of a fault the guard would contain: they fail."""
    raise error


@dataclass(frozen=True)
class Authority:
    """One authority for all tests: the guard's pairs, the backend's pair, and who trusts them."""

    directory: Path
    issuer: trustme.CA

    @property
    def file(self) -> Path:
        """The authority's own certificate."""
        return self.directory / "ca.pem"

    @functools.cache  # noqa: B019  # one authority lives as long as the tests
    def pair(self, name: str) -> CertificatePair:
        """A certificate for `name` and its key."""
        leaf = self.issuer.issue_cert(name)
        found = CertificatePair(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        found.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        found.private_key.write_bytes(leaf.private_key_pem.bytes())
        return found

    def client_context(self, alpn: str | None = None) -> ssl.SSLContext:
        """A client that trusts this authority."""
        context = ssl.create_default_context(cafile=str(self.file))
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        return context

    def server_context(self, name: str) -> ssl.SSLContext:
        """A server known as `name`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair = self.pair(name)
        context.load_cert_chain(pair.certificate, pair.private_key)
        return context


@functools.cache
def authority() -> Authority:
    """The authority of this run of tests."""
    directory = Path(tempfile.mkdtemp(prefix="gatekeeper-rig-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    made = Authority(directory, trustme.CA())
    made.issuer.cert_pem.write_to_path(str(made.file))
    return made


@functools.cache
def certificates(alpn: str) -> Certificates:
    """The guard's contexts: `HOSTNAME` by default, `SNI_NAME` to who asks for it."""
    own, other = authority().pair(HOSTNAME), authority().pair(SNI_NAME)
    return Certificates(TlsSettings((own,), (SniSettings((SNI_NAME,), (other,)),)), alpn)


class Peer:
    """One end as a test plays it, plain or TLS."""

    def __init__(self, name: str, sock: trio.socket.SocketType) -> None:
        self.name = name
        self.sock = sock
        self.plain = trio.SocketStream(sock)
        self.stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = self.plain
        self._buffer = b""

    async def send(self, octets: bytes) -> None:
        """Send `octets` in one segment."""
        await self.stream.send_all(octets)

    async def hear(self, expected: bytes) -> None:
        """Hear exactly `expected` next, where `(ref *****)` stands for any ticket; what comes
        behind it is heard later."""
        got = self._buffer
        ticketed = MASK in expected
        while len(got) < len(expected) and (ticketed or expected.startswith(got)):
            more = await self._receive()
            if not more:
                raise AssertionError(f"{self.name} heard the end after {got!r}, not {expected!r}")
            got += more
        heard = got[: len(expected)]
        assert (masked(heard) if ticketed else heard) == expected, f"{self.name} heard {got!r}"
        self._buffer = got[len(expected) :]

    async def hear_some(self) -> bytes:
        """What is there next, in whatever portion it comes."""
        got, self._buffer = self._buffer or await self._receive(), b""
        return got

    async def hear_line(self) -> bytes:
        """The next line with its CRLF."""
        while (end := self._buffer.find(b"\n") + 1) == 0:
            more = await self._receive()
            assert more, f"{self.name} heard the end after {self._buffer!r}"
            self._buffer += more
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    async def hear_end(self) -> None:
        """Hear the orderly end of the stream and nothing before it."""
        got = self._buffer or await self._receive()
        assert got == b"", f"{self.name} heard {got!r} and no end"

    async def hear_reset(self) -> None:
        """Hear a reset and nothing before it."""
        try:
            got = self._buffer or await self._receive()
        except trio.BrokenResourceError:
            return
        raise AssertionError(f"{self.name} heard {got!r} and no reset")

    async def hear_until_end(self) -> bytes:
        """All that is left to hear, up to the end or a reset."""
        got, self._buffer = self._buffer, b""
        try:
            while more := await self._receive():
                got += more
        except trio.BrokenResourceError:
            pass
        return got

    async def hear_nothing(self) -> None:
        """Nothing is said while everybody waits."""
        assert self._buffer == b"", f"{self.name} heard {self._buffer!r}"
        with trio.move_on_after(SILENCE_S):
            raise AssertionError(f"{self.name} heard {await self.stream.receive_some()!r}")

    async def start_tls_client(
        self, *, server_name: str = HOSTNAME, alpn: str | None = None
    ) -> None:
        """Shake hands as a client that verifies `server_name`."""
        context = authority().client_context(alpn)
        await self._wrap(trio.SSLStream(self.plain, context, server_hostname=server_name))

    async def start_tls_server(self, name: str) -> None:
        """Shake hands as the server `name`."""
        context = authority().server_context(name)
        await self._wrap(trio.SSLStream(self.plain, context, server_side=True))

    async def fail_tls_server(self, name: str) -> None:
        """Shake hands as the server `name` with somebody who does not believe it."""
        try:
            await self.start_tls_server(name)
            got = await self.hear_some()  # in TLS 1.3 the alert comes behind the handshake
        except trio.BrokenResourceError:
            return
        raise AssertionError(f"{self.name} shook hands and heard {got!r}")

    async def _wrap(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        assert self._buffer == b"", f"{self.name} heard {self._buffer!r} before TLS"
        with trio.fail_after(PATIENCE_S):
            await stream.do_handshake()
        self.stream = stream

    async def end(self) -> None:
        """Say that nothing more comes: close_notify is left out, as many clients do."""
        await self.plain.send_eof()

    def reset(self) -> None:
        """Be gone without a word."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self) -> None:
        """Let the socket go."""
        self.sock.close()

    async def _receive(self) -> bytes:
        with trio.fail_after(PATIENCE_S):
            return bytes(await self.stream.receive_some())
