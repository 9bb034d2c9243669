"""The guard with the operator's hooks around it: their opinions are awaited, then all is judged.

An Event that no hook is about is judged as if there were none. What a hook may see is made without
counting, and its opinion is one among the Rules': modes, bans and the breaker stand behind it.
Clients in `allow` and banned ones are not shown to hooks, for nothing they say would matter.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace

from gatekeeper.abc import Resolver
from gatekeeper.events import AuthAttempt, AuthOutcome, Client, JudgedEvent
from gatekeeper.guard import Guard
from gatekeeper.hooks.containing import ContainedHook, HookFailed, Tasks
from gatekeeper.hooks.function import HookFunction, Manner
from gatekeeper.hooks.health import Health, OnState, State
from gatekeeper.hooks.words import Context
from gatekeeper.policy.facts import Facts
from gatekeeper.settings import HookSettings, OnError
from gatekeeper.verdict import Action, Reason, Verdict


def _wait_on() -> None:
    """Every hook ends."""


class HookedJudge:
    """Implements `gatekeeper.abc.Judge` over a `Guard`. `on_state` hears of hooks that fail, or are
    well again; it must be quick and must not raise."""

    def __init__(
        self,
        guard: Guard,
        resolver: Resolver,
        on_state: OnState,
        on_unending: Callable[[], None] = _wait_on,
    ) -> None:
        """`on_unending` is called when all ends and a hook does not, in spite of its cancellation;
        what it does not end is waited for."""
        self._guard = guard
        self._resolver = resolver
        self._on_state = on_state
        self._settings = HookSettings()
        self._tasks = Tasks(on_unending)
        self._hooks: tuple[ContainedHook, ...] = ()
        self._by_kind: dict[type, tuple[ContainedHook, ...]] = {}

    async def run(self) -> None:
        """Hold what hooks have under way, until cancelled."""
        await self._tasks.run()

    def install(self, functions: Iterable[HookFunction], settings: HookSettings) -> None:
        """Ask these hooks from the next Event on, and no others."""
        for hook in self._hooks:
            sys.modules.pop(hook.function.call.__module__, None)
        self._settings = settings
        self._hooks = tuple(
            ContainedHook(
                each, deadline_s=settings.deadline_s, tasks=self._tasks, on_state=self._on_state
            )
            for each in functions
        )
        kinds = dict.fromkeys(hook.function.event for hook in self._hooks)
        self._by_kind = {
            kind: tuple(hook for hook in self._hooks if hook.function.event is kind)
            for kind in kinds
        }

    async def judge(self, event: JudgedEvent, client: Client) -> Verdict:
        """See `gatekeeper.abc.Judge`. Yields to the scheduler where a hook is asked, for
        `deadline_s` each at most; the verdict itself is made without."""
        hooks = self._by_kind.get(type(event))
        if hooks is None:
            return self._guard.decide(event, client)
        return self._guard.decide(event, client, await self._opinions(hooks, event, client))

    def rows(self) -> list[dict[str, str | int]]:
        """Each hook and how it is, in the order in which they are asked."""
        return [hook.row() for hook in self._hooks]

    def report(self) -> dict[str, object]:
        """What `status` says of all hooks; nothing where there are none."""
        if not self._hooks:
            return {}
        ill = [hook for hook in self._hooks if hook.health.state is not State.OK]
        words = [f"{len(self._hooks) - len(ill)} ok"] if len(ill) < len(self._hooks) else []
        words += [f"{hook.function.label} {hook.health.state.value}" for hook in ill]
        return {"hooks": ", ".join(words)}

    @property
    def healths(self) -> dict[str, Health]:
        """How each hook is doing, by its label."""
        return {hook.function.label: hook.health for hook in self._hooks}

    async def _opinions(
        self, hooks: Iterable[ContainedHook], event: JudgedEvent, client: Client
    ) -> list[Verdict]:
        """What the hooks say, one after another: each sees the tags of those before it. After one
        that closes the others are not asked."""
        facts = self._guard.look(event, client)
        if facts is None:
            return []
        shown, now = _without_secret(event), self._guard.now
        opinions = []
        client.marks.asking = True
        try:
            for hook in hooks:
                asks = hook.manner is Manner.TASK
                context = Context(client, now, facts.tags, self._resolver, asks=asks)
                opinion = await self._opinion(hook, shown, facts, context)
                if context.new_tags:
                    client.marks.tags = facts.tags | context.new_tags
                    facts = facts._replace(tags=client.marks.tags)
                if opinion is not None:
                    opinions.append(opinion)
                    if opinion.action is Action.CLOSE:
                        break
        finally:
            client.marks.asking = False
        return opinions

    async def _opinion(
        self, hook: ContainedHook, event: JudgedEvent, facts: Facts, context: Context
    ) -> Verdict | None:
        """One hook's, or what counts in place of one that there is not."""
        try:
            return await hook.ask(event, facts, context)
        except HookFailed:
            context.new_tags.clear()
        if self._settings.on_error is OnError.PASS:
            return None
        return Verdict(Action.DEFER, Reason.HOOK_FAILED, source=hook.function.label)


def _without_secret(event: JudgedEvent) -> JudgedEvent:
    """The Event as hooks see it: no password is shown to them."""
    match event:
        case AuthAttempt():
            return replace(event, secret=None)
        case AuthOutcome(attempt=attempt):
            return replace(event, attempt=replace(attempt, secret=None))
        case _:
            return event
