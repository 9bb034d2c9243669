"""The fake Dialler passes the contract of the real one."""

import socket
from collections.abc import Iterator

import pytest
from contracts.dialler import DiallerContract, Line
from fake_dialler import FakeDialler

from gatekeeper.settings import Endpoint


class TestFakeDialler(DiallerContract):
    @pytest.fixture
    def line(self) -> Iterator[Line]:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            refusing = Endpoint(*gone.getsockname())
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield Line(listener, refusing, "127.0.0.9")

    @pytest.fixture
    def dialler(self, line: Line) -> FakeDialler:
        return FakeDialler((line.target, line.refusing))
