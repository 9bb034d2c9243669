"""The verb `explain`: why an address or an account is treated as it is, and how to undo it.

The answer is one JSON object of facts, with instants in Unix time; `cli/explain.py` puts it in
words. Nothing in it is secret to an operator: it holds no password and nothing made of one.
"""

from collections.abc import Mapping
from typing import Any

import trio

from gatekeeper.abc import Enforcer
from gatekeeper.account_verbs import AccountVerbs, Row
from gatekeeper.ban import Ban, Scope
from gatekeeper.control_verbs import ENFORCER_DEADLINE_S, ban_row
from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, Verb, whole
from gatekeeper.errors import EnforcerError
from gatekeeper.guard import Guard
from gatekeeper.journal import Entry
from gatekeeper.ledger import Ledger
from gatekeeper.policy.keys import Place, parent_prefix, place, source_prefix
from gatekeeper.prefix import Prefix, entity


class Explain:
    """The verb, over a guard's parts."""

    def __init__(
        self, guard: Guard, ledger: Ledger, enforcer: Enforcer, accounts: AccountVerbs
    ) -> None:
        self._guard = guard
        self._ledger = ledger
        self._enforcer = enforcer
        self._accounts = accounts

    def verbs(self) -> Mapping[str, Verb]:
        """By name."""
        return {"explain": self._do_explain}

    async def _do_explain(self, arguments: Arguments) -> Pieces:
        what = arguments.text("what")
        arguments.done()
        try:
            where = entity(what.partition("/")[0])
        except ValueError:
            return whole({"account": self._account(what)})
        return whole({"address": await self._address(where)})

    # -- an account -------------------------------------------------------------------------

    def _account(self, name: str) -> Row:
        key = self._guard.evidence.logins.account_key(name)
        timeline = self._guard.journal.of(lambda entry: entry.account == key)
        known = self._guard.evidence.logins.accounts.get(key) is not None
        if not known and not timeline and not self._accounts.locks_of(key):
            raise Refusal(Code.NOT_FOUND, f"nothing is known of {name}")
        row = self._accounts.describe(key)
        undo = [f"gatekeeper account unlock {name}"] if row["locks"] or row["guesses"] else []
        return row | {
            "account": name,
            "known": known,
            "undo": undo,
            "timeline": [self._line(entry) for entry in timeline],
            **self._climate(),
        }

    # -- an address -------------------------------------------------------------------------

    async def _address(self, where: Prefix) -> Row:
        spot, now = place(where), self._guard.now
        timeline = self._guard.journal.of(lambda entry: entry.source == spot.source)
        bans = [await self._ban(where, scope) for scope in Scope]
        found = [ban for ban in bans if ban is not None]
        logins = self._guard.evidence.logins
        return {
            "address": str(where),
            "bans": found,
            "undo": [f"gatekeeper ban del {where}"] if any(b["remaining_s"] for b in found) else [],
            "scopes": {scope.value: self._scope(spot, scope, now) for scope in Scope},
            "accounts_at_home": logins.sources.accounts(spot.source, now),
            "last_login_s": logins.sources.last_s(spot.source, now),
            "spared": logins.spared(spot, now),
            "never_banned": self._ledger.exempt(where),
            "recipients": self._guard.evidence.harvest.known(spot.source, now)._asdict(),
            "timeline": [self._line(entry) for entry in timeline],
            **self._climate(),
        }

    def _scope(self, spot: Place, scope: Scope, now: float) -> Row:
        evidence = self._guard.evidence
        settings = evidence.logins.settings
        if scope is Scope.MX:
            score = evidence.mx_scores.sources.value(spot.source, now)
            return {"score": round(score, 2), "ban_score": settings.mx_ban_score, "networks": []}
        scores = evidence.logins.scores
        networks = [
            {
                "prefix": str(parent_prefix(parent)),
                "score": round(scores.networks.value(parent, now), 2),
                "suspect_score": round(evidence.logins.suspect_score(spot, parent, now), 2),
            }
            for parent in spot.parents
        ]
        return {
            "score": round(scores.sources.value(spot.source, now), 2),
            "ban_score": evidence.logins.ban_score(spot, now),
            "suspect_score": evidence.logins.ban_score(spot, now) * settings.auth_suspect_share,
            "networks": networks,
        }

    async def _ban(self, where: Prefix, scope: Scope) -> dict[str, Any] | None:
        ban = self._ledger.find(where, scope) or self._ledger.latest(where, scope)
        if ban is None:
            return None
        row: dict[str, Any] = ban_row(ban, self._guard.now, None)
        row["kernel_s"] = await self._kernel_s(ban)
        return row

    async def _kernel_s(self, ban: Ban) -> float | str | None:
        try:
            with trio.fail_after(ENFORCER_DEADLINE_S):
                return await self._enforcer.remaining_s(ban.prefix, ban.scope)
        except EnforcerError as error:
            return str(error)
        except trio.TooSlowError:
            return "no answer"

    # -- both -------------------------------------------------------------------------------

    def _climate(self) -> Row:
        """What goes on as a whole."""
        logins, now = self._guard.evidence.logins, self._guard.now
        guesses, strangers = logins.level.figures(now)
        return {
            "attack_level": {
                "high": logins.level.high(now),
                "guesses": round(guesses, 1),
                "strangers_logins": round(strangers, 1),
            },
            "learned": logins.familiarity.learned,
            "outage": logins.outages.outage(now),
        }

    def _line(self, entry: Entry) -> Row:
        verdict = entry.verdict
        return {
            "at": round(entry.at, 3),
            "address": str(source_prefix(entry.source)),
            "account": entry.name,
            "listener": entry.listener,
            "what": entry.what,
            "action": verdict.action.name.lower(),
            "reason": verdict.reason.value,
            "delay_s": verdict.delay_s,
            "ban": verdict.ban,
            "weight": round(entry.weight, 2),
            "score": round(entry.score, 2),
            "ban_score": entry.ban_score,
            "standing": entry.standing,
            "knowledge": entry.knowledge,
        }
