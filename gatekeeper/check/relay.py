"""Whether strangers may send anywhere through a backend: asked as a stranger, through the guard's
own session (`check.stranger`), and never with a message.

A backend that takes the guard for one of its own networks is an open relay as soon as the guard
stands before it. Each backend gets one connection for each protocol, and for each IP version its
listeners serve.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from gatekeeper.abc import Dialler
from gatekeeper.check.finding import Finding, error, warning
from gatekeeper.check.relay_findings import Heard, on_imap, on_smtp
from gatekeeper.check.relay_talk import ImapTalk, SmtpTalk
from gatekeeper.check.stranger import ImapStranger, SmtpStranger, converse, stranger
from gatekeeper.errors import ConfigError
from gatekeeper.events import Client, MailProtocol
from gatekeeper.settings import Announce, BackendSettings, ListenerSettings, Settings

DEADLINE_S: Final = 20.0  # for all; a greeting may be held back, and refusals be slow
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One session to be held."""

    settings: Settings
    listener: ListenerSettings
    client: Client

    @property
    def backend(self) -> BackendSettings:
        """Whom it is with."""
        return self.settings.backends[self.listener.backend]

    @property
    def subject(self) -> str:
        """What its findings are about."""
        return f"backend {self.backend.name}"


def check_relay(
    settings: Settings, unreached: Collection[Finding] = (), dialler: Dialler | None = None
) -> list[Finding]:
    """An error for each backend that relays for strangers, logs everybody in, or does not take what
    the guard announces; a warning where that could not be told.

    Nobody is called of whose addresses none answered: `unreached` is what `check_reach` has found.
    `dialler` calls transparent backends. Takes 20 seconds at most. Runs Trio for itself: not to be
    called inside it.
    """
    silent = Counter(finding.subject for finding in unreached)
    return trio.run(_check_all, settings, silent, dialler)


async def _check_all(
    settings: Settings, silent: Mapping[str, int], dialler: Dialler | None
) -> list[Finding]:
    found: dict[Case, list[Finding]] = {}
    limiter = trio.CapacityLimiter(_AT_ONCE)
    deadline = trio.current_time() + DEADLINE_S

    async def one(case: Case) -> None:
        with trio.move_on_at(deadline):
            async with limiter:
                found[case] = list(await _hold(case, dialler))

    async with trio.open_nursery() as nursery:
        for case in cases(settings):
            if silent.get(case.subject) == len(case.backend.address):
                continue
            if case.backend.announce is Announce.TRANSPARENT and dialler is None:
                text = "relay test: of a transparent backend it takes root and a guard that runs"
                found[case] = [warning(case.subject, text)]
                continue
            slow = f"relay test: not at its end within {DEADLINE_S:g} s"
            found[case] = [warning(case.subject, slow)]
            nursery.start_soon(one, case)
    # What IPv4 and IPv6 have in common is told once.
    return list(dict.fromkeys(finding for some in found.values() for finding in some))


def cases(settings: Settings) -> Iterator[Case]:
    """A session for each backend, protocol and IP version that listeners serve; for one alone
    where the backend is not told who its clients are."""
    seen = set()
    for listener in settings.listeners:
        backend = settings.backends[listener.backend]
        for version in _versions(listener, backend):
            key = (backend.name, listener.protocol, version)
            if key not in seen:
                seen.add(key)
                yield Case(settings, listener, stranger(listener, version))


def _versions(listener: ListenerSettings, backend: BackendSettings) -> list[int]:
    versions = {_version(end.host) for end in listener.bind}
    if backend.announce is Announce.TRANSPARENT:
        versions &= {_version(end.host) for end in backend.address}
    alone = backend.announce is Announce.NONE
    return sorted(versions)[:1] if alone else sorted(versions)


async def _hold(case: Case, dialler: Dialler | None) -> Iterator[Finding]:
    try:
        if case.listener.protocol is MailProtocol.IMAP:
            return await _imap(case, dialler)
        return await _smtp(case, dialler)
    except ConfigError as failure:  # the CA file
        return iter([error(case.subject, str(failure))])


async def _imap(case: Case, dialler: Dialler | None) -> Iterator[Finding]:
    talk = ImapTalk()
    held = await converse(
        case.settings, case.listener, case.client, ImapStranger, talk.run, dialler
    )
    heard = _heard(case, held, [response.raw for response in held.heard])
    return on_imap(heard, held.heard, finished=talk.finished)


async def _smtp(case: Case, dialler: Dialler | None) -> Iterator[Finding]:
    talk = SmtpTalk(
        wants_login=case.listener.protocol is MailProtocol.SUBMISSION,
        brief=case.backend.announce is Announce.NONE,
    )
    held = await converse(
        case.settings, case.listener, case.client, SmtpStranger, talk.run, dialler
    )
    return on_smtp(_heard(case, held, [reply.raw for reply in held.heard]), talk, held.hello)


def _heard(case: Case, held: SmtpStranger | ImapStranger, said: list[bytes]) -> Heard:
    return Heard(
        backend=case.backend,
        protocol=case.listener.protocol,
        stranger=case.client.address,
        guard=held.called_from,
        said=tuple(said),
        detail=held.session.detail,
    )


def _version(host: str) -> int:
    return 6 if ":" in host else 4
