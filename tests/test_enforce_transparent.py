"""The guard's side of transparent mode: targets by number."""

import socket

import pytest
import trio

from gatekeeper.enforce.transparent import KernelDialler, endpoint, targets
from gatekeeper.errors import EnforcerError
from gatekeeper.settings import Endpoint

V4, V6 = Endpoint("192.0.2.7", 143), Endpoint("2001:db8::7", 143)


def test_targets_keep_their_order_and_come_once() -> None:
    known = targets([V6, V4, V6])
    assert [endpoint(each) for each in known] == [V6, V4]


async def test_a_target_is_asked_for_by_its_number() -> None:
    asked = []

    async def ask(number: int, source: str, port: int) -> socket.socket:
        await trio.lowlevel.checkpoint()
        asked.append((number, source, port))
        return socket.socket()

    dialler = KernelDialler(ask, targets([V4, V6]))
    (await dialler.dial(V6, "2001:db8::9", 4000)).close()
    (await dialler.dial(V4, "192.0.2.9", 4001)).close()
    assert asked == [(1, "2001:db8::9", 4000), (0, "192.0.2.9", 4001)]
    with pytest.raises(EnforcerError, match="restart"):
        await dialler.dial(Endpoint("192.0.2.7", 144), "192.0.2.9", 4000)
    assert len(asked) == 2
