"""Whom `startup.never_banned` names is out of the kernel's reach too, also after a reload."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from gatekeeper.ban import Ban, Scope
from gatekeeper.chronicle import Chronicle
from gatekeeper.enforcement import Enforcement
from gatekeeper.events import MailProtocol
from gatekeeper.guard import Guard
from gatekeeper.health import Health
from gatekeeper.ledger import Ledger
from gatekeeper.log import Log
from gatekeeper.policy.prefix_set import BANNABLE_BITS
from gatekeeper.prefix import Prefix
from gatekeeper.settings import (
    BackendSettings,
    Endpoint,
    ListenerSettings,
    Settings,
    TlsMode,
    TlsSettings,
)
from gatekeeper.startup import Prepared, kernel_options, never_banned
from gatekeeper.verdict import Reason

from .hosts import Hosts

pytestmark = pytest.mark.netns

ONE, TWO = "10.77.0.2", "10.77.0.3"
SOON_S = 10.0  # on a busy host
LISTENER = ListenerSettings(
    "imaps", MailProtocol.IMAP, (Endpoint("0.0.0.0", Hosts.AUTH),), TlsMode.IMPLICIT, "b"
)
SETTINGS = Settings(
    "guard.example",
    TlsSettings(),
    (replace(LISTENER, proxy_protocol_from=(Prefix.parse("198.51.100.0/28"),)),),
    {"b": BackendSettings("b", (Endpoint("192.0.2.9", 143), Endpoint("2001:db8:5::9", 143)))},
    allow=(Prefix.parse("203.0.113.7"), Prefix.parse("2001:db8:aa::/48")),
)


def ban(prefix: Prefix) -> Ban:
    """One the guard would never make: it stands for a guard that was taken over."""
    now = time.time()
    return Ban(prefix, Scope.AUTH, Reason.AUTH_FAILURES, 1, now, now + 600)


def bannable(prefix: Prefix) -> Prefix:
    """The longest prefix a ban can be made for that holds an address of `prefix`."""
    longest = max(BANNABLE_BITS[prefix.version])
    if prefix.length >= longest:
        return prefix.widen(longest)
    return Prefix(prefix.packed, longest)


@asynccontextmanager
async def enforcing(hosts: Hosts) -> AsyncIterator[Enforcement]:
    """An Enforcement whose kernel process was started with what `SETTINGS` say."""
    options = kernel_options(SETTINGS)
    sock, process = hosts.spawn(
        never=tuple(map(str, options.never)), allow=tuple(map(str, options.allow))
    )
    ledger = Ledger(SETTINGS.policy, never_banned(SETTINGS), time.time)
    guard = Guard(SETTINGS, ledger, clock=time.time, account_secret=b"a", password_secret=b"p")
    enforcement = Enforcement(
        SETTINGS,
        Prepared((), (sock, process), ""),
        ledger,
        guard,
        Chronicle(Log(lambda _lines: None)),
        Health(lambda _part, _error: None),
        clock=time.time,
    )
    enforcement.pages.close()
    enforcement.restored.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(enforcement.run)
        yield enforcement
        nursery.cancel_scope.cancel()


async def test_the_kernel_process_refuses_every_one_of_them(hosts: Hosts) -> None:
    async with enforcing(hosts) as enforcement:
        for prefix in sorted(never_banned(SETTINGS)):
            await enforcement.enforcer.apply([ban(bannable(prefix))], time.time())
        assert await enforcement.enforcer.held() == []
        await enforcement.enforcer.apply([ban(Prefix.parse(TWO))], time.time())
        assert [str(one.prefix) for one in await enforcement.enforcer.held()] == [TWO]


async def test_a_balancer_of_a_new_configuration_is_let_in_whatever_is_held(hosts: Hosts) -> None:
    """Its never list is fixed at the start; the allow list it is given with the reload is not."""
    async with enforcing(hosts) as enforcement:
        changes = [ban(Prefix.parse(ONE)), ban(Prefix.parse(TWO))]
        await enforcement.enforcer.apply(changes, time.time())
        assert hosts.dropped(ONE, Hosts.AUTH)
        balanced = replace(LISTENER, proxy_protocol_from=(Prefix.parse(ONE),))
        enforcement.reconfigure(replace(SETTINGS, listeners=(balanced,)))
        with trio.fail_after(SOON_S):
            while not hosts.welcome_at_once(ONE, Hosts.AUTH):
                await enforcement.enforcer.apply([changes[0]], time.time())
                await trio.sleep(0.05)
        assert hosts.dropped(TWO, Hosts.AUTH)
