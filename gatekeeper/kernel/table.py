"""The table `inet gatekeeper`: loaded, filled, and brought back when somebody takes it away.

Theory of operation. What the table should be is known here alone (`nft.Contents`). After a load the
kernel's own description of it is remembered: which sets there are and how many rules. Whoever
changes the table later, a firewall that is loaded anew or an operator, changes that description, or
the table is gone; then it is loaded again. Elements are not part of it: `watch` reports those.
"""

import sys
from dataclasses import replace
from typing import Final

from gatekeeper.kernel import nft
from gatekeeper.kernel.element import Network
from gatekeeper.kernel.never import NeverList
from gatekeeper.kernel.nfnetlink import Nfnetlink, TableGone
from gatekeeper.kernel.options import Options

_DELETE: Final = "delete table inet gatekeeper\n"

Shape = tuple[frozenset[str], int]  # names of the sets, number of the rules


class Table:
    """Construction loads it; what it holds from an earlier life stays. Raises `nft.NftError` and
    `KernelRefused`.

    `generation` counts tables: another number means that all bans of the one before are gone.
    """

    def __init__(self, options: Options, never: NeverList, link: Nfnetlink) -> None:
        self.generation = 0
        self._link = link
        self._never = never
        self._contents = nft.Contents(
            options.ports_auth,
            options.ports_mx,
            syn_rate=options.syn_rate,
            syn_burst=options.syn_burst,
        )
        self._configure(options.allow, options.block)
        self._load()
        self._shape = self._look()

    @property
    def allow(self) -> tuple[Network, ...]:
        """Who is never dropped now."""
        return tuple(self._contents.allow)

    def configure(self, allow: tuple[Network, ...], block: tuple[Network, ...]) -> None:
        """Replace both lists. Raises `nft.NftError`; then the old ones are in force."""
        before = self._contents
        self._configure(allow, block)
        self._change(before)

    def suspend(self, on: bool) -> None:
        """Let everybody through and keep what is held, or end that. Raises `nft.NftError`."""
        before = self._contents
        if on != before.suspended:
            self._contents = replace(before, suspended=on)
            self._change(before)

    def mend(self) -> bool:
        """Bring the table back where it is not as it was loaded; whether it was not. Raises
        `nft.NftError` and `KernelRefused`."""
        found = self._look()
        if found == self._shape:
            return False
        if found is None:
            _say("the table was removed by somebody; loading it again")
            self.generation += 1
        else:
            _say("the table was changed by somebody; loading it again")
        self._load()
        self._shape = self._look()
        return True

    def _configure(self, allow: tuple[Network, ...], block: tuple[Network, ...]) -> None:
        spared = tuple(each for each in block if self._never.touches(each.packed, each.length))
        if spared:
            _say(f"not blocked, since never banned: {', '.join(map(str, spared))}")
        self._contents = replace(
            self._contents,
            allow=allow + self._never.networks,
            block=tuple(each for each in block if each not in spared),
        )

    def _change(self, before: nft.Contents) -> None:
        gone = self._look() is None
        try:
            nft.load(self._contents)
        except nft.NftError:
            self._contents = before
            raise
        self.generation += gone
        self._shape = self._look()

    def _load(self) -> None:
        try:
            nft.load(self._contents)
        except nft.NftError as error:
            if self._look() is None:
                raise
            # Another version's sets may differ from ours. Its bans go; the guard has them too.
            _say(f"replacing a table that is not ours: {error}")
            nft.run(_DELETE)
            nft.load(self._contents)
            self.generation += 1

    def _look(self) -> Shape | None:
        """What the kernel has; None where the table is gone."""
        try:
            self._link.check()
            return frozenset(self._link.set_names()), self._link.rules()
        except TableGone:
            return None


def _say(text: str) -> None:
    sys.stderr.write(f"gatekeeper.kernel: {text}\n")
