"""The contract every Dialler passes; see `gatekeeper.abc.Dialler`."""

import os
import select
import socket
from dataclasses import dataclass
from typing import Final

import pytest

from gatekeeper.abc import Dialler
from gatekeeper.errors import EnforcerError
from gatekeeper.settings import Endpoint

ANSWER_S: Final = 10.0  # real time: what a busy host may take for a handshake


@dataclass(frozen=True, slots=True)
class Line:
    """A backend that listens, one of the same host that refuses, and a client's address."""

    listener: socket.socket
    refusing: Endpoint
    source: str

    @property
    def target(self) -> Endpoint:
        """Where the listener is."""
        host, port = self.listener.getsockname()[:2]
        return Endpoint(host, port)

    def caller(self) -> tuple[str, int]:
        """Whom the backend sees in the next connection; it answers with `hello`."""
        self.listener.settimeout(ANSWER_S)
        connection, (host, port, *_) = self.listener.accept()
        with connection:
            connection.sendall(b"hello")
        return host, port


def outcome(sock: socket.socket) -> int:
    """The errno with which the connect ended, 0 for a connection."""
    assert select.select([], [sock], [], ANSWER_S)[1], "neither connected nor refused"
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


class DiallerContract:
    """Subclasses give the fixtures `dialler` and `line`."""

    async def test_the_backend_sees_the_clients_address_and_port(
        self, dialler: Dialler, line: Line
    ) -> None:
        with await dialler.dial(line.target, line.source, 40_001) as sock:
            assert not sock.getblocking()
            assert outcome(sock) == 0
            assert line.caller() == (line.source, 40_001)
            sock.settimeout(ANSWER_S)
            assert sock.recv(5, socket.MSG_WAITALL) == b"hello"

    async def test_a_port_that_is_taken_is_replaced(self, dialler: Dialler, line: Line) -> None:
        with await dialler.dial(line.target, line.source, 40_002) as one:
            assert outcome(one) == 0
            assert line.caller() == (line.source, 40_002)
            with await dialler.dial(line.target, line.source, 40_002) as other:
                assert outcome(other) == 0
                host, port = line.caller()
        assert host == line.source
        assert port != 40_002

    async def test_a_refusal_is_told_in_either_way(self, dialler: Dialler, line: Line) -> None:
        """On this host it may be known before the answer, on another only after it."""
        refused = ""
        try:
            with await dialler.dial(line.refusing, line.source, 40_003) as sock:
                refused = os.strerror(outcome(sock))
        except EnforcerError as error:
            refused = str(error)
        assert "refused" in refused

    async def test_an_unknown_target_is_an_error(self, dialler: Dialler, line: Line) -> None:
        with pytest.raises(EnforcerError, match="restart"):
            await dialler.dial(Endpoint(line.target.host, 9), line.source, 40_004)
