"""The tree followed while the guard runs: a look every few seconds, in a thread."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from gatekeeper.domains_tree.tree import Tree, Trouble
from gatekeeper.policy.domains import Domains

LOOK_S: Final = 5.0  # from one look to the next; a change is taken at the second one that sees it
LOOK_SHARE: Final = 0.05  # of one core, at most, is what looks may take of a large tree

Take = Callable[[Domains | None], None]
Say = Callable[[str, str], None]


class DomainsFollower:
    """Hands over a snapshot whenever it is another.

    `take` gets it, None where no tree is configured; `say(path, why)` hears once of each part that
    is of no use, and with an empty `why` once it is mended. Both must be quick and must not raise.
    """

    def __init__(self, root: Path | None, take: Take, say: Say) -> None:
        self.looked = trio.Event()  # the tree was read once, or there is none
        self._take = take
        self._say = say
        self._told: dict[Trouble, None] = {}
        self._tree: Tree | None = None
        self._read = False  # whether the tree of now was looked at
        self._at_once = True
        self._wake = trio.Event()
        self.reconfigure(root)

    def reconfigure(self, root: Path | None) -> None:
        """Look at `root` at once and take changes as they are: the operator says that they are
        made. Where it is another one than before the old snapshot holds until it is read."""
        if root is None:
            self._tree = None
            self._take(None)
            self._tell(())
            self.looked.set()
        elif self._tree is None or self._tree.root != root:
            self._tree, self._read = Tree(root), False
        self._at_once = True
        self._wake.set()

    @property
    def count(self) -> int | None:
        """How many domains are read; None where there is no tree."""
        return None if self._tree is None else len(self._tree)

    @property
    def troubles(self) -> int:
        """How many parts are of no use."""
        return len(self._told)

    def report(self) -> dict[str, object]:
        """What `status` tells; empty where there is no tree."""
        tree = self._tree
        if tree is None:
            return {}
        return {"domains": {"read": len(tree), "names": tree.users, "troubles": len(self._told)}}

    async def run(self) -> None:
        """Follow the tree until cancelled. A look that is under way then ends by itself."""
        while True:
            self._wake = trio.Event()
            took_s = await self._look()
            with trio.move_on_after(max(LOOK_S, took_s / LOOK_SHARE)):
                await self._wake.wait()

    async def _look(self) -> float:
        tree, at_once = self._tree, self._at_once
        if tree is None:
            return 0.0
        started = trio.current_time()
        self._at_once = False
        look = partial(tree.look, at_once=at_once)
        changed = await trio.to_thread.run_sync(look, abandon_on_cancel=True)
        if tree is self._tree:
            if changed or not self._read:
                self._read = True
                self._take(tree.domains)
            self._tell(tree.troubles)
            self.looked.set()
        return trio.current_time() - started

    def _tell(self, troubles: tuple[Trouble, ...]) -> None:
        now = dict.fromkeys(troubles)
        wrong = {trouble.path for trouble in now}
        for trouble in now:
            if trouble not in self._told:
                self._say(*trouble)
        for path in dict.fromkeys(trouble.path for trouble in self._told):
            if path not in wrong:
                self._say(path, "")
        self._told = now
