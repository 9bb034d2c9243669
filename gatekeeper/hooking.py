"""The operator's hooks in a running guard: loaded at the start and on reload, left at the end."""

import os
import threading
from collections.abc import Mapping
from typing import Final

import trio

from gatekeeper.abc import Resolver
from gatekeeper.control_words import Arguments, Pieces, Verb, whole
from gatekeeper.errors import ConfigError
from gatekeeper.guard import Guard
from gatekeeper.hooks.health import OnState
from gatekeeper.hooks.judge import HookedJudge
from gatekeeper.hooks.loading import hooks_of
from gatekeeper.settings import Settings

LOAD_S: Final = 8.0  # a reload waits no longer for what files do; its client waits ten


class Hooking(HookedJudge):
    """The judge of the sessions. `reloading` is held by whoever reloads."""

    def __init__(
        self, settings: Settings, guard: Guard, resolver: Resolver, on_state: OnState
    ) -> None:
        """Raises `ConfigError` where a hooks file cannot be used."""
        super().__init__(guard, resolver, on_state, _exit_now)
        self.reloading = trio.Lock()
        self.install(hooks_of(settings), settings.hooks)

    async def reconfigure(self, settings: Settings) -> None:
        """Ask the hooks of these settings from the next Event on. Their files are run in a thread,
        so that no session waits for what they do. Raises `ConfigError`; then the others stay."""
        functions = None
        with trio.move_on_after(LOAD_S):
            functions = await trio.to_thread.run_sync(hooks_of, settings, abandon_on_cancel=True)
        if functions is None:
            names = ", ".join(map(str, settings.hooks.files))
            raise ConfigError(f"{names}: has not ended in {LOAD_S:g} s, when it was run to load it")
        self.install(functions, settings.hooks)


def hook_verbs(judge: HookedJudge) -> Mapping[str, Verb]:
    """What an operator may ask of the hooks, by name."""

    async def do(arguments: Arguments) -> Pieces:
        arguments.done()
        await trio.lowlevel.checkpoint()
        return whole({"hooks": judge.rows()})

    return {"hooks": do}


def end_despite_threads() -> None:
    """End the process at once where a thread that a hook has started would keep it from ending. All
    that has to be written is written by now."""
    others = (thread for thread in threading.enumerate() if not thread.daemon)
    if any(thread is not threading.main_thread() for thread in others):
        _exit_now()


def _exit_now() -> None:
    os._exit(0)
