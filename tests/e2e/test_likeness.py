"""A refusal that the backend never heard of cannot be told from one of its own: before a Dovecot
and a Postfix that hold failures back as they do by default, only for another time than the guard
takes for granted: what is the same has been learnt. Both protocols are asked at the same time.
"""

import itertools
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
import trio
from rig import Rig, guard

from gatekeeper.events import AuthAttempt, AuthOutcome, AuthResult, JudgedEvent, MailProtocol
from gatekeeper.settings import Announce, BackendSettings, Endpoint, TlsMode
from gatekeeper.upstream import Backend
from gatekeeper.verdict import Action, Reason, Verdict

from .certificates import Authority
from .dovecot import dovecot
from .postfix import postfix

FAILURE_DELAY = "1s"  # Dovecot's own is 2 s, which the guard assumes as long as it knows nothing
SPRAYED = "sprayed-pw-Ck4Ty8"
WARM_UP = 16
COMPARED = 24  # all apart is a z of 5.9
# Dovecot lets failures out at ticks of half a second: clients are spread over many of them.
SPREAD_S = 6.0
CALM_LOOKS = 3
MAX_Z = 4.0  # of two samples alike, one pair in 16,000 differs by more

Ports = dict[MailProtocol, int]


@pytest.fixture(scope="module")
def backends(public: Path) -> Iterator[Ports]:
    """The ports of Dovecot and Postfix that want a PROXY header."""
    authority = Authority.make(public / "slow-pki")
    pair = authority.issue("slow", "localhost")
    with ExitStack() as stack:
        imap = stack.enter_context(
            dovecot(public / "slow-dovecot", pair, failure_delay=FAILURE_DELAY)
        )
        smtp = stack.enter_context(
            postfix(public / "slow-postfix", pair, lmtp=imap.lmtp, auth=imap.auth)
        )
        yield {
            MailProtocol.IMAP: imap.imap_haproxy,
            MailProtocol.SUBMISSION: smtp.submission_haproxy,
        }


def decide(event: JudgedEvent) -> Verdict | None:
    """Refuse the sprayed password before the backend sees it."""
    if not isinstance(event, AuthAttempt) or event.secret is None:
        return None
    if SPRAYED.encode() not in event.secret.declassify():
        return None
    return Verdict(Action.DECOY, Reason.SPRAYED_PASSWORD)


def put_before(rig: Rig, port: int) -> None:
    """Put the rig's guard before a real backend."""
    settings = BackendSettings("real", (Endpoint("127.0.0.1", port),), announce=Announce.PROXY_V2)
    rig.service = replace(rig.service, backend=Backend(settings))
    rig.judge.decide = decide


def b64(text: str) -> bytes:
    return b64encode(text.encode())


def lines(exchange: str, authcid: str, password: str) -> list[bytes]:
    """What a client says in an exchange, line by line; each is answered by one line."""
    whole = b64(f"\0{authcid}\0{password}")
    bearer = b64(f"user={authcid}\1auth=Bearer {password}\1\1")
    kvsep = b64(f"n,a={authcid},\1auth=Bearer {password}\1\1")
    verb, _, mechanism = exchange.partition(" ")
    begin = b"a AUTHENTICATE " if verb == "imap" else b"AUTH "
    return {
        "login command": [f"a LOGIN {authcid} {password}".encode()],
        "plain": [begin + b"PLAIN " + whole],
        "plain, asked for": [begin + b"PLAIN", whole],
        "login": [begin + b"LOGIN", b64(authcid), b64(password)],
        "xoauth2": [begin + b"XOAUTH2 " + bearer, b""],
        "oauthbearer": [begin + b"OAUTHBEARER " + kvsep, b"AQ=="],
    }[mechanism]


MECHANISMS = ("plain", "plain, asked for", "login", "xoauth2", "oauthbearer")


@dataclass(frozen=True, slots=True)
class Heard:
    """What a client was answered, line by line, and how long it waited for each line."""

    answers: tuple[bytes, ...]
    latencies_s: tuple[float, ...]


_numbers = itertools.count(1)


async def guess(rig: Rig, exchange: str, *passwords: str) -> Heard:
    """Guesses at an account, from an address of its own, over one connection."""
    number = next(_numbers)
    talk = await rig.connect(f"127.20.{number // 250}.{1 + number % 250}")
    client = talk.client
    await client.start_tls_client()
    await client.hear_line()
    if not exchange.startswith("imap"):
        await client.send(b"EHLO client.example.test\r\n")
        while not (await client.hear_line()).startswith(b"250 "):
            pass
    answers, latencies_s = [], []
    for password in passwords:
        for line in lines(exchange, f"user{number}@example.test", password):
            before = trio.current_time()
            await client.send(line + b"\r\n")
            answers.append(await client.hear_line())
            latencies_s.append(trio.current_time() - before)
    client.close()
    return Heard(tuple(answers), tuple(latencies_s))


async def guesses(rig: Rig, exchanges: list[tuple[str, str]], spread_s: float) -> list[Heard]:
    """What the guesses hear that begin evenly over `spread_s`."""
    heard: dict[int, Heard] = {}

    async def one(number: int, exchange: str, password: str) -> None:
        await trio.sleep(spread_s * number / len(exchanges))
        heard[number] = await guess(rig, exchange, password)

    async with trio.open_nursery() as nursery:
        for number, (exchange, password) in enumerate(exchanges):
            nursery.start_soon(one, number, exchange, password)
    return [heard[number] for number in range(len(exchanges))]


def wrong(number: int) -> str:
    return f"wrong-pw-{number}"


async def on_both(backends: Ports, ask: Callable[[Rig, MailProtocol], Awaitable[None]]) -> None:
    """Run `ask` with a guard before each of the backends, at the same time."""

    async def on_one(protocol: MailProtocol) -> None:
        async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
            put_before(rig, backends[protocol])
            await ask(rig, protocol)

    async with trio.open_nursery() as nursery:
        for protocol in backends:
            nursery.start_soon(on_one, protocol)


async def test_every_octet_of_a_local_refusal_is_the_backends(backends: Ports) -> None:
    every = {
        MailProtocol.IMAP: ["imap login command", *(f"imap {name}" for name in MECHANISMS)],
        MailProtocol.SUBMISSION: [f"smtp {name}" for name in MECHANISMS],
    }

    async def ask(rig: Rig, protocol: MailProtocol) -> None:
        exchanges = every[protocol]
        real = await guesses(rig, [(name, wrong(n)) for n in range(2) for name in exchanges], 0)
        seen = len(rig.judge.heard(AuthOutcome))
        local = await guesses(rig, [(name, SPRAYED) for name in exchanges], 0)
        assert len(rig.judge.heard(AuthOutcome)) == seen == 2 * len(exchanges)
        for name, one, two, three in zip(
            exchanges, real, real[len(exchanges) :], local, strict=False
        ):
            assert one.answers == two.answers == three.answers, name
            assert len(set(one.answers)) == len(lines(name, "", "")), name

    await on_both(backends, ask)


async def test_local_refusals_take_as_long_as_the_backends(backends: Ports) -> None:
    exchange_of = {MailProtocol.IMAP: "imap login command", MailProtocol.SUBMISSION: "smtp login"}

    async def ask(rig: Rig, protocol: MailProtocol) -> None:
        exchange = exchange_of[protocol]
        await guesses(rig, [(exchange, wrong(number)) for number in range(WARM_UP)], SPREAD_S / 2)
        mixed = [(exchange, SPRAYED)] * COMPARED
        mixed += [(exchange, wrong(number)) for number in range(COMPARED)]
        Random(1).shuffle(mixed)
        heard = await guesses(rig, mixed, SPREAD_S)
        results = [outcome.result for outcome in rig.judge.heard(AuthOutcome)]
        assert results == [AuthResult.FAILURE] * (WARM_UP + COMPARED)
        local, real = (
            sorted(
                one.latencies_s[-1]
                for one, (_, password) in zip(heard, mixed, strict=True)
                if (password == SPRAYED) is is_local
            )
            for is_local in (True, False)
        )
        compare(local, real, exchange)

    await on_both(backends, ask)


def compare(local: list[float], real: list[float], exchange: str) -> None:
    """Two sorted samples of latencies must be alike."""
    median = COMPARED // 2
    told = f"{exchange}: local {local[0]:.3f} {local[median]:.3f} {local[-1]:.3f}, "
    told += f"real {real[0]:.3f} {real[median]:.3f} {real[-1]:.3f}, z {z_score(local, real):.2f}"
    assert abs(z_score(local, real)) < MAX_Z, told
    # The extremes too: a constant amid the others would have passed so far.
    spread_s = real[-1] - real[0]
    assert abs(local[0] - real[0]) < spread_s / 3 + 0.1, told
    assert abs(local[-1] - real[-1]) < spread_s / 3 + 0.1, told


async def test_a_client_that_asks_again_at_once_stays_in_step_with_the_backend(
    backends: Ports,
) -> None:
    """Its failures all come at the same tick, so any other latency would tell."""
    exchange_of = {MailProtocol.IMAP: "imap login command", MailProtocol.SUBMISSION: "smtp plain"}

    async def ask(rig: Rig, protocol: MailProtocol) -> None:
        for again in range(CALM_LOOKS):  # a busy machine blurs the tick itself: look again
            wrongs = map(wrong, range(5 * again, 5 * again + 5))
            heard = await guess(rig, exchange_of[protocol], *wrongs, *[SPRAYED] * 3)
            real, local = heard.latencies_s[1:5], heard.latencies_s[5:]
            if max(real) - min(real) < 0.2:
                break
        else:
            pytest.skip(f"the machine is too busy for a look at tenths: {heard.latencies_s}")
        for latency_s in local:
            assert min(real) - 0.2 < latency_s < max(real) + 0.2, heard.latencies_s

    await on_both(backends, ask)


def z_score(first: list[float], second: list[float]) -> float:
    """How far two samples are apart (Mann and Whitney), in standard deviations."""
    wins = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
    count = len(first) * len(second)
    return float((wins - count / 2) / (count * (len(first) + len(second) + 1) / 12) ** 0.5)
