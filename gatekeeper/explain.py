"""The verb `explain`: why an address, a network or an account is treated as it is, or what a ticket
stands for, and how to undo it.

The answer is one JSON object of facts, with instants in Unix time; `cli/explain.py` puts it in
words. Nothing in it is secret to an operator: it holds no password and nothing made of one. Its
length is bounded, whatever happened: a timeline is cut in the middle.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import trio

from gatekeeper.abc import Enforcer, HeldBan
from gatekeeper.account_verbs import AccountVerbs, Row
from gatekeeper.ban import Scope
from gatekeeper.control_verbs import ENFORCER_DEADLINE_S, ban_row, kernel_row
from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, Verb, whole
from gatekeeper.errors import EnforcerError
from gatekeeper.explain_ticket import forgotten, in_a_shell, ticket_row
from gatekeeper.guard import Guard
from gatekeeper.journal import MAX_NAME_CHARACTERS, Entry
from gatekeeper.ledger import Ledger
from gatekeeper.policy.keys import Place, parent_key, parent_prefix, place, source_prefix
from gatekeeper.policy.levels import LEVEL_FLOOR, LEVEL_PER_LOGIN
from gatekeeper.policy.prefix_set import BANNABLE_BITS
from gatekeeper.policy.rules import RULE_NAMES
from gatekeeper.prefix import ENTITY_V4_BITS, ENTITY_V6_BITS, Prefix
from gatekeeper.settings import Treatment
from gatekeeper.wire.ticket import read_ticket

MAX_TIMELINE: Final = 300  # lines, about 100 KB and 3 ms of the loop
OLDEST_LINES: Final = 50  # of them: how it began; the rest is how it ended
FAINT: Final = 0.05  # a score below it is shown as none
_ENTITY_BITS: Final = {4: ENTITY_V4_BITS, 6: ENTITY_V6_BITS}
_NETWORK_BITS: Final = {4: (24,), 6: (56, 48)}  # what networks have scores or bans


class Explain:
    """The verb, over a guard's parts. `clock` gives the system's Unix time, for people to read."""

    def __init__(
        self,
        guard: Guard,
        ledger: Ledger,
        enforcer: Enforcer,
        accounts: AccountVerbs,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._guard = guard
        self._ledger = ledger
        self._enforcer = enforcer
        self._accounts = accounts
        self._clock = clock

    def verbs(self) -> Mapping[str, Verb]:
        """By name."""
        return {"explain": self._do_explain}

    async def _do_explain(self, arguments: Arguments) -> Pieces:
        what = arguments.text("what")
        arguments.done()
        try:
            prefix = Prefix.parse(what)
        except ValueError:
            return whole(self._named(what))
        bits = _ENTITY_BITS[prefix.version]
        if prefix.length >= bits:
            return whole({"address": await self._address(prefix.widen(bits))})
        if prefix.length in _NETWORK_BITS[prefix.version]:
            return whole({"network": await self._network(prefix)})
        lengths = " or ".join(f"/{length}" for length in _NETWORK_BITS[prefix.version])
        raise Refusal(Code.BAD_REQUEST, f"{what}: an address is explained, or its {lengths}")

    # -- a ticket, an account ---------------------------------------------------------------

    def _named(self, what: str) -> dict[str, object]:
        """Of what is no address: a ticket that is known, else an account."""
        written = read_ticket(what)
        if written is None:
            return {"account": self._account(what)}
        ticket, surely = written
        told = self._guard.tickets.find(ticket)
        if told is not None:
            line = self._line(told.entry)
            row = ticket_row(told, line, self._ledger, self._accounts, self._clock())
            return {"ticket": row}
        if not surely:
            with contextlib.suppress(Refusal):
                return {"account": self._account(what)}
        raise Refusal(Code.NOT_FOUND, forgotten(ticket))

    def _account(self, name: str) -> Row:
        key = self._accounts.key_of(name)
        short = self._accounts.name_of(key).lower()[:MAX_NAME_CHARACTERS]

        def concerns(entry: Entry) -> bool:  # of recipients the journal knows the name alone
            return entry.account == key or (not entry.account and entry.name.lower() == short)

        timeline = self._guard.journal.of(concerns)
        if not timeline and not self._accounts.is_known(key):
            raise Refusal(Code.NOT_FOUND, f"nothing is known of {name}")
        row = self._accounts.describe(key)
        if not self._accounts.is_known(key):
            row["account"] = timeline[-1].name
        if row["locks"] or row["guesses"]:
            row["undo"] = [f"gatekeeper account unlock {in_a_shell(str(row['account']), key)}"]
        else:
            row["undo"] = []
        return row | self._timeline(timeline) | self._climate()

    # -- an address, a network --------------------------------------------------------------

    async def _address(self, where: Prefix) -> Row:
        spot, now = place(where), self._guard.now
        timeline = self._guard.journal.of(lambda entry: entry.source == spot.source)
        around = where.widen(min(BANNABLE_BITS[where.version]))
        bans, kernel = await self._bans((where, around))
        neighbourhood = self._guard.evidence.logins.neighbourhood
        harvested = self._guard.evidence.harvest.known(spot.source, now)
        networks = [self._score_of_network(spot, parent, now) for parent in spot.parents]
        row: Row = {
            "address": str(where),
            "bans": bans,
            "kernel": kernel,
            "never_banned": self._ledger.exempt(where),
            "blocked": self._ledger.blocked(where),
            "scopes": {scope.value: self._scope(spot, scope, now) for scope in Scope},
            "networks": networks,
            "accounts_at_home": neighbourhood.accounts(spot, now),
            "last_login_s": neighbourhood.sources.last_s(spot.source, now),  # since the start
            "spared": neighbourhood.spared(spot, now),
            "slow": self._guard.evidence.logins.pace.allows(spot.source, now),
            "unknown_recipients": harvested.unknown,
            "mostly_unknown": harvested.mostly_unknown,
            "undo": _ban_dels(bans),
        }
        scores = (self._guard.score(where, scope) for scope in Scope)
        known = bans or timeline or row["never_banned"] or row["blocked"] or harvested.unknown
        known = known or row["accounts_at_home"] or max(scores) >= FAINT
        if not known and not any(map(_is_marked, networks)):
            raise Refusal(Code.NOT_FOUND, f"nothing is known of {where}")
        return row | self._timeline(timeline) | self._climate()

    async def _network(self, where: Prefix) -> Row:
        spot, now = place(where), self._guard.now
        shift = _ENTITY_BITS[where.version] - where.length
        inside = spot.source >> shift
        timeline = self._guard.journal.of(lambda entry: entry.source >> shift == inside)
        bannable = where.length in BANNABLE_BITS[where.version]
        bans, kernel = await self._bans((where,) if bannable else ())
        score = self._score_of_network(spot, parent_key(where), now)
        if not (bans or timeline or _is_marked(score)):
            raise Refusal(Code.NOT_FOUND, f"nothing is known of {where}")
        row: Row = {
            "network": str(where),
            "bans": bans,
            "kernel": kernel,
            "never_banned": self._ledger.exempt(where),
            "networks": [score],
            "undo": _ban_dels(bans),
        }
        return row | self._timeline(timeline) | self._climate()

    def _scope(self, spot: Place, scope: Scope, now: float) -> Row:
        evidence, settings = self._guard.evidence, self._guard.evidence.logins.settings
        if scope is Scope.MX:
            score = evidence.mx_scores.sources.value(spot.source, now)
            return {"score": round(score, 2), "ban_score": settings.mx_ban_score}
        neighbourhood = evidence.logins.neighbourhood
        ban_score = neighbourhood.ban_score(spot, now)
        return {
            "score": round(neighbourhood.scores.sources.value(spot.source, now), 2),
            "ban_score": ban_score,
            "suspect_score": round(ban_score * settings.auth_suspect_share, 2),
        }

    def _score_of_network(self, spot: Place, parent: int, now: float) -> dict[str, str | float]:
        neighbourhood = self._guard.evidence.logins.neighbourhood
        return {
            "prefix": str(parent_prefix(parent)),
            "score": round(neighbourhood.scores.networks.value(parent, now), 2),
            "suspect_score": round(neighbourhood.suspect_score(spot, parent, now), 2),
        }

    async def _bans(self, prefixes: Iterable[Prefix]) -> tuple[list[Row], str]:
        """The last ban of each prefix and scope, in force or past, and what the kernel alone holds;
        then how it is with the kernel."""
        keys = [(prefix, scope) for prefix in prefixes for scope in Scope]
        held, kernel = await self._held(keys)
        now, rows = self._ledger.now, []
        for key in keys:
            ban, one = self._ledger.latest(*key), held.get(key)
            if ban is not None:
                rows.append(ban_row(ban, now, one, self._clock() - now))
            elif one is not None:
                rows.append(kernel_row(one))
        return rows, kernel

    async def _held(
        self, keys: list[tuple[Prefix, Scope]]
    ) -> tuple[dict[tuple[Prefix, Scope], HeldBan], str]:
        held = {}
        try:
            with trio.fail_after(ENFORCER_DEADLINE_S):
                for key in keys:
                    left_s = await self._enforcer.remaining_s(*key)
                    if left_s is not None:
                        held[key] = HeldBan(*key, left_s)
        except EnforcerError as error:
            return held, str(error) or type(error).__name__
        except trio.TooSlowError:
            return held, f"no answer within {ENFORCER_DEADLINE_S:g} s"
        return held, "ok"

    # -- all --------------------------------------------------------------------------------

    def _climate(self) -> Row:
        """What goes on as a whole."""
        logins, now = self._guard.evidence.logins, self._guard.now
        guesses, strangers = logins.level.figures(now)
        rules = {name: self._guard.treatment(name) for name in RULE_NAMES}
        doing = {
            done: [name.value for name, own in rules.items() if own is done] for done in Treatment
        }
        return {
            "now": round(self._clock(), 3),
            "attack_level": {
                "high": logins.level.high(now),
                "guesses": round(guesses, 1),
                "strangers_logins": round(strangers, 1),
                "high_from": round(LEVEL_FLOOR + LEVEL_PER_LOGIN * strangers, 1),
            },
            "learned": logins.familiarity.learned,
            "outage": logins.outages.outage(now),
            "paused": self._guard.suspended,
            **self._guard.banning.report(now),
            "only_watching": doing[Treatment.OBSERVE],
            "ignored": doing[Treatment.IGNORE],
            "rules": len(rules),
        }

    def _timeline(self, entries: list[Entry]) -> Row:
        cut = max(0, len(entries) - MAX_TIMELINE)
        if cut:
            entries = entries[:OLDEST_LINES] + entries[OLDEST_LINES + cut :]
        return {
            "timeline": [self._line(entry) for entry in entries],
            "left_out": cut,  # after the first `OLDEST_LINES`
        }

    def _line(self, entry: Entry) -> Row:
        verdict = entry.verdict
        return {
            "at": self._accounts.unix(entry.at),
            "address": str(source_prefix(entry.source)),
            "account": entry.name,
            "listener": entry.listener,
            "what": entry.what,
            "action": verdict.action.name.lower(),
            "reason": verdict.reason.value,
            "delay_s": round(verdict.delay_s, 1),
            "ban": verdict.ban,
            "weight": round(entry.weight, 2),
            "score": round(entry.score, 2),
            "ban_score": entry.ban_score,
            "standing": "" if entry.standing is None else entry.standing.value,
            "knowledge": "" if entry.knowledge is None else entry.knowledge.value,
            "hook": verdict.source,
            "tags": list(entry.tags),
        }


def _is_marked(network: Mapping[str, str | float]) -> bool:
    return float(network["score"]) >= FAINT


def _ban_dels(bans: list[Row]) -> list[str]:
    """The commands that lift what is in force; one does it in both scopes."""
    prefixes = dict.fromkeys(ban["prefix"] for ban in bans if ban["remaining_s"] or ban["kernel_s"])
    return [f"gatekeeper ban del {prefix}" for prefix in prefixes]
