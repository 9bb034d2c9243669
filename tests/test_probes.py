"""What a machine that restarts and a machine that balances are told."""

import pytest

from gatekeeper.probes import Probes, Stage
from gatekeeper.web import Request
from gatekeeper.web.messages import Method


class Guard:
    """What the probes look at."""

    def __init__(self) -> None:
        self.troubles: dict[str, str] = {}
        self.away = {"mx": "", "imaps": ""}
        self.stage = Stage.STARTING
        self.probes = Probes(lambda: self.stage, lambda: self.troubles, lambda: self.away)

    async def ask(self, path: str, **query: str) -> tuple[int, str]:
        """Status and text."""
        answer = await self.probes.routes()[path].handler(Request(Method.GET, path, query))
        assert isinstance(answer.body, bytes)
        return answer.status, answer.body.decode()


@pytest.fixture
def guard() -> Guard:
    return Guard()


async def test_it_lives_from_its_start_to_its_end(guard: Guard) -> None:
    for stage in Stage:
        guard.stage = stage
        assert await guard.ask("/healthz") == (200, "ok\n")


async def test_what_is_wrong_is_words_and_no_reason_to_restart(guard: Guard) -> None:
    guard.troubles = {"store": "the disk is full", "kernel": "gone"}
    assert await guard.ask("/healthz") == (
        200,
        "degraded\nstore: the disk is full\nkernel: gone\n",
    )


async def test_it_is_ready_while_it_accepts(guard: Guard) -> None:
    assert await guard.ask("/readyz") == (503, "starting\n")
    guard.stage = Stage.SERVING
    assert await guard.ask("/readyz") == (200, "ready\n")
    guard.stage = Stage.DRAINING
    assert await guard.ask("/readyz") == (503, "draining\n")
    assert await guard.ask("/readyz", listener="mx") == (503, "draining\n")


async def test_without_store_or_kernel_it_is_as_ready_as_with_them(guard: Guard) -> None:
    guard.stage = Stage.SERVING
    guard.troubles = {"store": "the disk is full", "kernel": "gone"}
    assert await guard.ask("/readyz") == (200, "ready\n")


async def test_one_backend_away_is_told_to_who_asks_for_its_listener(guard: Guard) -> None:
    guard.stage = Stage.SERVING
    guard.away["imaps"] = "backend dovecot: connection refused"
    assert await guard.ask("/readyz") == (200, "ready\n")
    assert await guard.ask("/readyz", listener="mx") == (200, "ready\n")
    assert await guard.ask("/readyz", listener="imaps") == (
        503,
        "backend dovecot: connection refused\n",
    )
    guard.away = dict.fromkeys(guard.away, "backend b: timed out")
    assert await guard.ask("/readyz") == (503, "backend b: timed out\n")


async def test_a_listener_that_is_not_there_is_a_slip(guard: Guard) -> None:
    guard.stage = Stage.SERVING
    assert await guard.ask("/readyz", listener="imap") == (404, "There is no such listener\n")
