"""Whether process 1 holds a port; here this process plays it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatekeeper.check.manager import held_by_manager
from gatekeeper.settings import Endpoint

SELF = Path("/proc/self")


@pytest.fixture(params=["127.0.0.1", "::1", "0.0.0.0", "::"])
def listening(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as sock:
        yield Endpoint(*sock.getsockname()[:2])


def test_who_listens_there_holds_it(listening: Endpoint) -> None:
    assert held_by_manager(listening, SELF)


def test_who_listens_elsewhere_does_not(listening: Endpoint) -> None:
    other = "127.0.0.2" if "." in listening.host else "::2"
    assert not held_by_manager(Endpoint(other, listening.port), SELF)
    assert not held_by_manager(Endpoint(listening.host, 1), SELF)


def test_a_connection_is_no_listener(listening: Endpoint) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listening.host, listening.host)
    with socket.create_connection((host, listening.port)) as client:
        assert not held_by_manager(Endpoint(*client.getsockname()[:2]), SELF)


def test_a_port_of_somebody_else_is_not_the_managers(listening: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "fd").mkdir()
    (tmp_path / "fd" / "3").symlink_to("socket:[1]")
    assert not held_by_manager(listening, tmp_path)


def test_a_manager_that_may_not_be_looked_at_holds_nothing(
    listening: Endpoint, tmp_path: Path
) -> None:
    assert not held_by_manager(listening, tmp_path / "none")
