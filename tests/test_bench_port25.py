"""The bench of port 25: its clients, its backend, its resolver and its configuration."""

from pathlib import Path

import pytest
import trio

from bench import port25
from bench.dns_answers import Manner, dns_answers
from bench.mailbox import Mailbox
from bench.port25_clients import address, run
from gatekeeper.config import load
from gatekeeper.errors import ResolverError
from gatekeeper.policy.blocklists import reversed_address
from gatekeeper.records import Question, RecordType
from gatekeeper.resolver.stub import StubResolver
from gatekeeper.settings import Endpoint

CLIENTS = 20


def test_every_client_delivers_its_message_and_is_counted_once() -> None:
    sources = [address(18, number) for number in range(CLIENTS)]
    with Mailbox.running() as box:
        crowd = run(box.port, sources, 1e6, message=True)
        assert (box.connections, box.messages) == (CLIENTS, CLIENTS)
        run(box.port, sources, 1e6, message=False)
        assert (box.connections, box.messages) == (2 * CLIENTS, CLIENTS)
    assert (crowd.served, crowd.refused, crowd.failed) == (CLIENTS, 0, 0)
    assert len(crowd.greeted_s) == len(crowd.held_s) == CLIENTS


def test_addresses_are_distinct_and_of_the_benchmark_network() -> None:
    assert address(19, 0) == "198.19.0.0"
    assert address(18, 65_535) == "198.18.255.255"
    assert len({address(18, number) for number in range(65_536)}) == 65_536


def ask(manner: Manner, name: str) -> tuple[str, ...] | str:
    async def asking(port: int) -> tuple[str, ...] | str:
        stub = StubResolver([Endpoint("127.0.0.1", port)], 0.2)
        try:
            return (await stub.resolve(Question(name, RecordType.A))).records
        except ResolverError as error:
            return str(error)

    with dns_answers(manner) as running:
        return trio.run(asking, running.port)


def test_a_sound_resolver_lists_the_upper_half_in_blocklists_alone() -> None:
    listed, friend = (reversed_address(address(network, 300)) for network in (19, 18))
    assert ask(Manner.SOUND, f"{listed}.zen.spamhaus.org") == ("127.0.0.2",)
    assert ask(Manner.SOUND, f"{listed}.list.dnswl.org") == ()
    assert ask(Manner.SOUND, f"{friend}.zen.spamhaus.org") == ()
    assert ask(Manner.SOUND, "bench.test") == ("192.0.2.25",)


@pytest.mark.parametrize(
    ("manner", "why"),
    [
        (Manner.SILENT, "no answer in time"),
        (Manner.REFUSING, "REFUSED"),
        (Manner.FAILING, "SERVFAIL"),
        (Manner.UNREACHABLE, "Connection refused"),
    ],
)
def test_a_dead_resolver_is_dead_in_its_manner(manner: Manner, why: str) -> None:
    assert ask(manner, "bench.test") == why


def test_the_guards_differ_in_their_lists_alone(tmp_path: Path) -> None:
    loaded = []
    for lists in (port25.NO_NAMES, port25.NO_NAMES + port25.LISTS):
        file = tmp_path / "gatekeeper.toml"
        file.write_text(port25.configuration(tmp_path, 2525, 2626, 5353, lists))
        loaded.append(load(file))
    without, with_lists = loaded
    assert without.dnsbl == ()
    assert {one.zone for one in with_lists.dnsbl} == {
        "zen.spamhaus.org",
        "bl.spamcop.net",
        "list.dnswl.org",
    }
    assert with_lists.dns.deadline_s == port25.DEADLINE_S
    assert without.policy == with_lists.policy
    assert without.rules == with_lists.rules
