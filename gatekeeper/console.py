"""What the control socket answers, put together: the verbs of every part, and `status`."""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gatekeeper import __version__
from gatekeeper.account_verbs import AccountVerbs
from gatekeeper.ban_verbs import BanVerbs
from gatekeeper.control import Control
from gatekeeper.control_words import Verb
from gatekeeper.enforcement import Enforcement
from gatekeeper.explain import Explain
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.notify import Herald
from gatekeeper.notify_verbs import notify_verbs
from gatekeeper.pausing import Pause
from gatekeeper.reloading import reload_verb
from gatekeeper.safety_verbs import SafetyVerbs
from gatekeeper.sessions import SessionTable
from gatekeeper.settings import Settings


@dataclass(frozen=True, slots=True)
class Console:
    """The operator's view of one guard. `settings` are those in force; `live` is what `status` says
    of the parts that come and go. `reload` is as `reload_verb` has it."""

    table: SessionTable
    ledger: Ledger
    guard: Guard
    enforcement: Enforcement
    pause: Pause
    settings: Callable[[], Settings]
    live: Callable[[], Mapping[str, object]]
    reload: Callable[[], Awaitable[str]]
    started_at: float
    herald: Herald

    def control(self, more: Mapping[str, Verb]) -> Control:
        """The verbs, and `more` of what lies above the console."""
        enforcer = self.enforcement.enforcer
        accounts = AccountVerbs(self.guard, self.table)
        explain = Explain(self.guard, self.ledger, enforcer, accounts)
        safety = SafetyVerbs(self.guard, self.ledger, enforcer, self.pause)
        bans = BanVerbs(self.ledger, lambda: self.settings().policy.ban_max_s)
        return Control(
            bans=self.ledger,
            enforcer=enforcer,
            sessions=self.table,
            status=self.status,
            more={
                **accounts.verbs(),
                **explain.verbs(),
                **safety.verbs(),
                **bans.verbs(),
                **reload_verb(self.reload),
                **notify_verbs(self.herald),
                **more,
            },
        )

    def status(self) -> dict[str, object]:
        """How it is, for people and scripts alike: names stay."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(self.guard.now - self.started_at, 1),
            "mode": self.settings().mode.value,
            **self.pause.report(),
            "sessions": len(self.table),
            "bans": len(self.ledger),
            **self.guard.report(),
            "notices": self.herald.report(),
            **self.live(),
            **self.enforcement.report(),
        }

    def line(self) -> str:
        """How it is, in a line: what `systemctl status` shows."""
        live = self.live()
        state = "paused" if self.pause.active else self.settings().mode.value
        ill = [
            f"; {name}: {live[key]}"
            for name, key in (("kernel", "enforcer_health"), ("store", "store_health"))
            if live[key] != "ok"
        ]
        counts = f"{_many(len(self.table), 'session')}, {_many(len(self.ledger), 'ban')}"
        return f"{state}: {counts}{''.join(ill)}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
