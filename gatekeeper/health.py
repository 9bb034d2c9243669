"""How the parts of the guard are: told when it changes, once, however many notice it."""

from collections.abc import Callable

from gatekeeper.errors import GatekeeperError

Say = Callable[[str, GatekeeperError | None], None]
OnHealth = Callable[[GatekeeperError | None], None]


class Health:
    """The state of each part. `say(part, error)` hears the first error of a part, and None when
    nobody who uses it has one any more."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._failing: dict[str, dict[int, str]] = {}

    def of(self, part: str) -> OnHealth:
        """For one more user of `part`: to be called with its error, and with None once it works."""
        failing = self._failing.setdefault(part, {})
        user = object()

        def note(error: GatekeeperError | None) -> None:
            before = bool(failing)
            if error is None:
                failing.pop(id(user), None)
            else:
                failing[id(user)] = str(error)
            if bool(failing) != before:
                self._say(part, error)

        return note

    def state(self, part: str) -> str:
        """`ok`, or what is wrong."""
        return next(iter(self._failing.get(part, {}).values()), "ok")
