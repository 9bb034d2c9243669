"""EHLO and MAIL on port 25, completed with what their domains say.

Theory of operation. All of it is one Event's own, so nothing is remembered here; what DNS answers
is, in the shared Resolver. A sender's domain and its SPF are asked at the same time, until both
have answered or the deadline is over. Whatever a Rule ignores is not asked. Who is exempt is not
looked at, nor is a sender on the login ports: who may send there is the backend's to say, by the
account, and mail programs call themselves what they like (RFC 6409).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import trio

from gatekeeper.abc import Resolver
from gatekeeper.envelope.spf import SpfChecks
from gatekeeper.errors import ResolverError
from gatekeeper.events import Client, HelloAttempt, JudgedEvent, MailAttempt, MailProtocol
from gatekeeper.findings import SenderDomain, SpfResult
from gatekeeper.policy.domain_names import dns_name, is_address_literal
from gatekeeper.policy.hello import hello_fault
from gatekeeper.policy.rules import treatment
from gatekeeper.policy.sender_records import by_addresses, by_mx
from gatekeeper.policy.strict_paths import read_strictly
from gatekeeper.prefix import Prefix
from gatekeeper.records import Question, RecordType
from gatekeeper.settings import Settings, Treatment
from gatekeeper.verdict import Reason

MAX_ASKED: Final = 200  # senders at once: with 4 questions each they leave room for other questions
# Of them; more of a client wait until some of its own are done. So who names domains with slow
# servers takes no others' turn, and to let his next senders by unasked would be a way round it all.
MAX_OF_CLIENT: Final = 10


class EnvelopeScreen:
    """Completes EHLO and MAIL (`gatekeeper.abc.Screen.complete`)."""

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        *,
        exempt: Callable[[Prefix], bool],
        is_ours: Callable[[str], bool],
    ) -> None:
        """Nothing is asked about clients that are `exempt`. `is_ours` is asked for domains in their
        one form (`policy.mailboxes`), and says of which none but us may speak as its own."""
        self.spf = SpfChecks(resolver)
        self.senders = 0  # asked about
        self.unanswered = 0  # of them, not in time
        self.unasked = 0  # too many at once
        self._asked_now = 0
        self._turns: dict[Prefix, trio.CapacityLimiter] = {}  # of clients that have or want one
        self._resolver = resolver
        self._exempt = exempt
        self._is_ours = is_ours
        self.reconfigure(settings)

    def reconfigure(self, settings: Settings) -> None:
        """Ask by these settings from the next Event on."""
        self._deadline_s = settings.dns.deadline_s
        self._hello, self._domain, self._spf = (
            treatment(rule, settings) is not Treatment.IGNORE
            for rule in (Reason.HELLO, Reason.SENDER_DOMAIN, Reason.SPF_FAIL)
        )

    async def complete(self, event: JudgedEvent, client: Client) -> JudgedEvent:
        """See `Screen.complete`."""
        if client.protocol is not MailProtocol.SMTP:
            return event
        if isinstance(event, HelloAttempt):
            return self._completed_hello(event, client)
        if isinstance(event, MailAttempt) and (self._domain or self._spf):
            return await self._completed_mail(event, client)
        return event

    @property
    def clients(self) -> int:
        """How many have senders that are asked about, or wait for that."""
        return len(self._turns)

    def report(self) -> dict[str, int]:
        """What `status` tells."""
        return {
            "asked": self.senders,
            "unanswered": self.unanswered,
            "unasked": self.unasked,
            "spf_evaluated": self.spf.evaluated,
            "spf_faults": self.spf.faults,
            "spf_stuck": self.spf.stuck,
        }

    def _completed_hello(self, event: HelloAttempt, client: Client) -> HelloAttempt:
        if not self._hello or self._exempt(client.entity):
            return event
        fault = hello_fault(event.domain, client.address, client.local_address, self._is_ours)
        return event if fault is None else replace(event, fault=fault)

    async def _completed_mail(self, event: MailAttempt, client: Client) -> MailAttempt:
        who = client.entity
        if self._exempt(who):
            return event
        turn = self._turns.get(who)
        if turn is None:
            turn = self._turns[who] = trio.CapacityLimiter(MAX_OF_CLIENT)
        try:
            async with turn:
                return await self._asked_in_turn(event, client)
        finally:
            left = turn.statistics()
            if not left.borrowed_tokens and not left.tasks_waiting:
                self._turns.pop(who, None)

    async def _asked_in_turn(self, event: MailAttempt, client: Client) -> MailAttempt:
        if self._asked_now >= MAX_ASKED:
            self.unasked += 1
            return event
        self.senders += 1
        self._asked_now += 1
        try:
            return await self._asked(event, client)
        finally:
            self._asked_now -= 1

    async def _asked(self, event: MailAttempt, client: Client) -> MailAttempt:
        sender = read_strictly(event.reverse_path)
        if sender is None:
            return replace(event, domain=SenderDomain.UNREADABLE)
        deadline = trio.current_time() + self._deadline_s
        domain: SenderDomain | None = None
        result: SpfResult | None = None

        async def ask_spf() -> None:
            nonlocal result
            result = await self.spf.check(client.address, sender, event.hello, deadline)

        with trio.move_on_at(deadline) as patience:
            async with trio.open_nursery() as nursery:
                if self._spf:
                    nursery.start_soon(ask_spf)
                if self._domain:
                    domain = await self._ask_domain(sender.domain)
        self.unanswered += patience.cancelled_caught
        if domain is None and result is None:
            return event
        return replace(event, domain=domain, spf=result)

    async def _ask_domain(self, domain: str) -> SenderDomain | None:
        if not domain or is_address_literal(domain):
            return None  # the null sender; `root`; an address, which needs no DNS
        name = dns_name(domain)
        if not name:
            return SenderDomain.MISSING  # DNS cannot have it
        try:
            found = by_mx(await self._records(name, RecordType.MX))
            if found is None and await self._records(name, RecordType.A):
                found = SenderDomain.FOUND
            return found or by_addresses(await self._records(name, RecordType.AAAA))
        except ResolverError:
            return None

    async def _records(self, name: str, type_: RecordType) -> tuple[str, ...]:
        answer = self._resolver.known(Question(name, type_))
        return (answer or await self._resolver.resolve(Question(name, type_))).records
