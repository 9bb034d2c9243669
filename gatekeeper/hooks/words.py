"""What the author of a hook writes with: answers, the context of a call, and `quick`."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from gatekeeper.abc import Resolver
from gatekeeper.events import Client
from gatekeeper.records import Question, RecordType
from gatekeeper.verdict import Action, Reason, Verdict

F = TypeVar("F", bound=Callable[..., Any])

MAX_TAGS: Final = 16  # of one session: they stand in its log line
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}")  # bare in a log line
_QUICK: Final = "gatekeeper_quick"


def delay(seconds: float) -> Verdict:
    """Let the Event pass, so many seconds later; `containing.MAX_DELAY_S` at most."""
    return Verdict(Action.DELAY, Reason.HOOK, delay_s=seconds)


def defer(text: str = "") -> Verdict:
    """Not now: a temporary failure, after which mail programs and servers come again."""
    return Verdict(Action.DEFER, Reason.HOOK, text=text)


def refuse(text: str = "", *, ban: bool = False, ban_s: float | None = None) -> Verdict:
    """No, for good. `ban` bans the address as well, a first time for `ban_s` seconds, or for what
    the policy has."""
    return Verdict(Action.REJECT, Reason.HOOK, ban=ban, ban_first_s=ban_s, text=text)


def close(text: str = "", *, ban: bool = False, ban_s: float | None = None) -> Verdict:
    """No, and the session ends. `ban` and `ban_s` as `refuse` has them."""
    return Verdict(Action.CLOSE, Reason.HOOK, ban=ban, ban_first_s=ban_s, text=text)


def quick(function: F) -> F:
    """Have a plain function called without a thread, because it only computes: it must neither
    wait nor read files. One that takes long all the same is given a thread."""
    setattr(function, _QUICK, True)
    return function


def is_quick(function: object) -> bool:
    """Whether `quick` was said of it."""
    return getattr(function, _QUICK, False) is True


class Context:
    """What a call may ask and note, besides its Event and Facts. It is good for this call alone."""

    __slots__ = ("_asks", "_resolver", "client", "new_tags", "now", "tags")

    def __init__(
        self, client: Client, now: float, tags: frozenset[str], resolver: Resolver, *, asks: bool
    ) -> None:
        """`now` is Unix time by a clock that never goes back, `tags` are the session's so far;
        `asks` says that the call may wait for answers."""
        self.client = client
        self.now = now
        self.tags = tags
        self.new_tags: set[str] = set()
        self._resolver = resolver
        self._asks = asks

    def tag(self, name: str) -> None:
        """Note `name` for the rest of the session: later hooks see it in `facts.tags`, and its log
        lines have it. Letters, digits and `._:+-`, 64 at most; `MAX_TAGS` in a session. Raises
        `ValueError`."""
        if not _TAG.fullmatch(name):
            raise ValueError("a tag takes letters, digits and ._:+-, 64 at most")
        if name in self.tags or name in self.new_tags:
            return
        if len(self.tags) + len(self.new_tags) >= MAX_TAGS:
            raise ValueError(f"more than {MAX_TAGS} tags in one session")
        self.new_tags.add(name)

    def resolve(self, name: str, type_: str = "A") -> Awaitable[list[str]]:
        """To be awaited, in an `async def`: the records of `name` as text, none where there are
        none; `type_` is A, AAAA, PTR, MX or TXT. All answers are remembered for their time.

        Raises `ResolverError` where DNS gives no answer in time, `ValueError` for another type.
        """
        if not self._asks:
            raise TypeError("context.resolve is for async hooks: write async def")
        return self._resolve(Question(name.lower().rstrip("."), RecordType(type_.upper())))

    async def _resolve(self, question: Question) -> list[str]:
        answer = await self._resolver.resolve(question)
        return list(answer.records)
