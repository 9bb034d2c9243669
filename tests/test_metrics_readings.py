"""A guard that runs, and what a scraper, a balancer and a monitor hear of it."""

import re
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from guard_bench import Bench
from prometheus_client.parser import text_string_to_metric_families
from rig_ends import HOSTNAME
from test_app import BANNED, Run, Running, run  # noqa: F401  its fixture
from trio.testing import MockClock

from gatekeeper.ban import Origin, Scope
from gatekeeper.ledger import Ledger
from gatekeeper.metrics.exposition import Exposition
from gatekeeper.metrics.families import FAMILIES
from gatekeeper.metrics.readings import REST, BanCensus
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

HOOKS = """
def connection_opened(event, facts):
    return None

def auth_attempt(event, facts):
    raise LookupError("a fault of its author")
"""
Samples = dict[tuple[str, ...], float]
PLANTED = "planted-Zq7"


@asynccontextmanager
async def served(start: Run) -> AsyncIterator[Running]:
    """A guard that serves HTTP since a reload."""
    async with start() as guard:
        # The other addresses of its backend are no concern of this test.
        text = re.sub(r'(address = \["[\d.:]+")[^]]*', r"\1", guard.config.read_text())
        guard.config.write_text(f'{text}\n[http]\nbind = "unix:{guard.directory}/http.sock"\n')
        await guard.reload()
        await guard.log.line("reloaded")
        yield guard


async def get(guard: Running, path: str) -> tuple[int, str]:
    """Status and body of one page."""
    stream = await opened(guard.directory / "http.sock")
    async with stream:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        await stream.send_all(request.encode())
        heard = b""
        with trio.fail_after(10):
            while octets := await stream.receive_some():
                heard += octets
    head, _, body = heard.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


async def opened(path: Path) -> trio.SocketStream:
    with trio.fail_after(10):
        while True:
            try:
                return await trio.open_unix_socket(str(path))
            except OSError:
                await trio.lowlevel.checkpoint()


def read(text: str) -> Samples:
    """Values by name and labels' values, in the order of the labels' names."""
    return {
        (one.name, *(one.labels[label] for label in sorted(one.labels))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def samples(guard: Running) -> Samples:
    status, text = await get(guard, "/metrics")
    assert status == 200
    return read(text)


async def test_a_login_and_a_refusal_are_seen(run: Run) -> None:  # noqa: F811
    async with served(run) as guard:
        before = await samples(guard)
        assert before["gatekeeper_auth_attempts_total", "imaps", "imap", "success"] == 0
        for word, reply in (("OK", "success"), ("NO [AUTHENTICATIONFAILED]", "failure")):
            client, backend = await guard.imap()
            await client.send(f"a1 LOGIN {PLANTED} {PLANTED}{reply}\r\n".encode())
            await backend.hear_line()
            await backend.send(f"a1 {word} done\r\n".encode())
            assert (await client.hear_line()).startswith(b"a1")
        now = await samples(guard)
        for result in ("success", "failure"):
            assert now["gatekeeper_auth_attempts_total", "imaps", "imap", result] == 1
        assert now["gatekeeper_connections", "imaps", "relay"] == 1
        assert now["gatekeeper_connections", "imaps", "dialogue"] == 1
        assert now["gatekeeper_sessions_begun_total", "imaps"] == 2
        assert now["gatekeeper_backend_up", "b"] == 1
        assert now["gatekeeper_backend_connect_seconds_count", "b"] == 2
        text = (await get(guard, "/metrics"))[1]
        for secret in (PLANTED, "127.0.0.1"):
            assert secret not in text


async def test_bans_are_seen(run: Run) -> None:  # noqa: F811
    async with served(run) as guard:
        guard.app._ledger.ban(Prefix.parse(BANNED), Scope.MX, Reason.PROTOCOL_ABUSE)
        guard.app._ledger.ban(
            Prefix.parse("2001:db8::/64"), Scope.AUTH, Reason.OPERATOR, origin=Origin.OPERATOR
        )
        now = await samples(guard)
        assert now["gatekeeper_bans_active", "ipv4", "rule", "mx"] == 1
        assert now["gatekeeper_bans_active", "ipv6", "operator", "auth"] == 1
        assert now["gatekeeper_bans_total", "protocol-abuse", "mx"] == 1
        guard.app._ledger.lift(Prefix.parse(BANNED), Scope.MX)
        later = await samples(guard)
        assert later["gatekeeper_bans_lifted_total", "mx"] == 1


async def test_every_label_is_what_it_may_be(run: Run) -> None:  # noqa: F811
    async with served(run) as guard:
        guard.app._ledger.ban(Prefix.parse(BANNED), Scope.MX, Reason.PROTOCOL_ABUSE)
        client = await guard.smtp(BANNED)
        await client.hear_until_end()
        text = (await get(guard, "/metrics"))[1]
    ours = {
        one.name: family
        for one in text_string_to_metric_families(text)
        for name, family in FAMILIES.items()
        if one.name == name.removesuffix("_total") and one.samples
    }
    assert len(ours) > 30
    for one in text_string_to_metric_families(text):
        if one.name not in ours:
            continue
        may_be = {label.name: label.values for label in ours[one.name].labels}
        for sample in one.samples:
            assert set(sample.labels) - {"le"} == set(may_be)
            for label, value in sample.labels.items():
                allowed = may_be.get(label)
                assert allowed is None or value in allowed, (one.name, label, value)


async def test_the_certificate_in_use_is_told_and_not_the_one_on_disk(run: Run) -> None:  # noqa: F811
    async with served(run) as guard:
        now = await samples(guard)
        name = "gatekeeper_cert_not_after_seconds", f"{guard.directory}/tls.pem"
        client, _ = await guard.imap(HOSTNAME)
        assert isinstance(client.stream, trio.SSLStream)
        seen = client.stream.getpeercert()
        assert now[name] == ssl.cert_time_to_seconds(seen["notAfter"])
        (guard.directory / "tls.pem").write_text("half a renewal")
        await guard.reload()
        await guard.log.line("reload-failed")
        later = await samples(guard)
        assert later[name] == now[name]
        assert later["gatekeeper_last_reload_successful",] == 0
        assert later["gatekeeper_reloads_total", "failed"] == 1
        assert abs(later["gatekeeper_last_reload_seconds", "failed"] - time.time()) < 60


async def test_a_backend_that_is_away_is_told_to_who_sends_clients(run: Run) -> None:  # noqa: F811
    async with served(run) as guard:
        assert await get(guard, "/readyz") == (200, "ready\n")
        guard.backend.close()
        client = await guard._connect(guard.ports[1])
        await client.start_tls_client(server_name=HOSTNAME, alpn="imap")
        assert (await client.hear_line()).startswith(b"* BYE")
        status, why = await get(guard, "/readyz")
        assert (status, why.startswith("backend b: ")) == (503, True)
        now = await samples(guard)
        assert now["gatekeeper_backend_up", "b"] == 0
        assert now["gatekeeper_backend_connect_failures_total", "b"] == 1
        status, why = await get(guard, "/healthz")
        assert (status, why.startswith("degraded\nbackend b: ")) == (200, True)


async def test_what_the_operator_has_not_switched_on_is_not_missed(run: Run) -> None:  # noqa: F811
    async with served(run) as guard:
        assert await get(guard, "/healthz") == (200, "ok\n")  # [enforce] nft = false
        now = await samples(guard)
        assert ("gatekeeper_kernel_up",) not in now
        assert ("gatekeeper_domains",) not in now
        assert now["gatekeeper_store_up",] == 1


async def test_a_hook_that_fails_is_seen(run: Run) -> None:  # noqa: F811
    async with served(run) as guard:
        file = guard.directory / "rules.py"
        file.write_text(HOOKS)
        guard.config.write_text(f'hooks = ["{file}"]\n{guard.config.read_text()}')
        await guard.reload()
        await guard.log.line("reloaded")
        right, wrong = "rules.py:connection_opened", "rules.py:auth_attempt"
        before = await samples(guard)
        assert before["gatekeeper_hook_up", wrong] == 1
        assert before["gatekeeper_hook_faults_total", "raised", wrong] == 0
        client, backend = await guard.imap()
        await client.send(b"a1 LOGIN zoe guess\r\n")
        await backend.hear_line()
        now = await samples(guard)
        assert now["gatekeeper_hook_up", wrong] == 0
        assert now["gatekeeper_hook_up", right] == 1
        assert now["gatekeeper_hook_calls_total", right] == 1
        assert now["gatekeeper_hook_faults_total", "raised", wrong] == 1


async def test_a_fault_of_a_page_is_told_in_the_log(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(_self: object) -> bytes:
        await trio.lowlevel.checkpoint()
        raise LookupError(PLANTED)

    monkeypatch.setattr(Exposition, "text", broken)
    async with served(run) as guard:
        assert await get(guard, "/metrics") == (500, "A fault of this program\n")
        line = await guard.log.line("http-fault")
        assert "path=/metrics error=LookupError at=" in line
        assert PLANTED not in line
        assert await get(guard, "/healthz") == (200, "ok\n")


async def test_a_draining_guard_says_so_to_the_end(run: Run) -> None:  # noqa: F811
    async with served(run) as guard:
        client, backend = await guard.imap()
        await client.send(b"a1 LOGIN zoe guess\r\n")  # what is under way is not cut
        await backend.hear_line()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guard.stop)
            await guard.log.line("draining")
            assert await get(guard, "/readyz") == (503, "draining\n")
            assert (await samples(guard))["gatekeeper_serving",] == 0
            await backend.send(b"a1 OK done\r\n")
    assert not (guard.directory / "http.sock").exists()


class SlowLedger:
    """A Ledger whose walk takes some seconds."""

    def __init__(self, ledger: Ledger, clock: MockClock, seconds: float) -> None:
        self._ledger = ledger
        self._clock = clock
        self._seconds = seconds
        self.walks = 0

    def census(self, size: int) -> Iterator[Counter[tuple[Origin, int, Scope]]]:
        """See `Ledger.census`."""
        self.walks += 1
        yield from self._ledger.census(size)
        self._clock.jump(self._seconds)


async def test_bans_are_counted_again_no_more_often_than_it_costs(
    autojump_clock: MockClock,
) -> None:
    ledger = Bench().ledger
    census = BanCensus(ledger)

    async def total() -> float:
        values = [one.value for one in await census.read()]
        return sum(value for value in values if isinstance(value, int))

    assert await total() == 0
    ledger.ban(Prefix.parse("192.0.2.1"), Scope.AUTH, Reason.OPERATOR)
    assert await total() == 1  # the last walk took no time
    for number in range(1, 250):
        ledger.ban(Prefix.parse(f"198.51.100.{number}"), Scope.MX, Reason.OPERATOR)

    slow = SlowLedger(ledger, autojump_clock, 0.5)
    census._ledger = slow  # type: ignore[assignment]  # a Ledger of a million
    assert await total() == 250
    assert slow.walks == 1
    await trio.sleep(0.5 * REST - 1)
    assert await total() == 250
    assert slow.walks == 1
    await trio.sleep(2)
    assert await total() == 250
    assert slow.walks == 2
