"""`gatekeeper top`: what is going on, drawn anew every second or two.

Theory of operation. One question a frame on the control socket (`overview`), one frame of text made
of the answer by pure functions, and rich's Live to put it on the screen. Keys are read from the
terminal without echo; what a stranger named is escaped before it is drawn.
"""

import contextlib
import json
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from gatekeeper.cli.client import ask
from gatekeeper.cli.options import guard_options, socket_path
from gatekeeper.errors import GatekeeperError, NotRunning

_QUIT: Final = frozenset({"q", "Q", "\x1b", "\x03", "\x04"})
ONCE_WIDTH: Final = 100  # of a frame that is not drawn on a terminal

Reply = dict[str, Any]  # JSON at the edge


@click.command()
@guard_options
@click.option(
    "--every",
    type=click.FloatRange(0.5, 60),
    default=2.0,
    show_default=True,
    help="Seconds from one look to the next.",
)
@click.option("--once", is_flag=True, help="Print one frame as plain text.")
@click.option("--json", "as_json", is_flag=True, help="Print what a frame is made of.")
def top(config: Path, socket: Path | None, every: float, once: bool, as_json: bool) -> None:
    """Watch the guard: sessions, logins, bans, the worst networks, accounts under attack.

    q ends it. It goes on while the guard is restarted.
    """
    path = socket_path(config, socket)
    if as_json:
        click.echo(json.dumps(_asked(path), indent=2))
    elif once or not sys.stdout.isatty():
        _print_once(_asked(path))
    else:
        _watch(path, every)


def _asked(path: Path) -> Reply:
    return ask(path, "overview")


def _print_once(reply: Reply) -> None:
    from rich.console import Console

    from gatekeeper.cli.top_frame import frame

    console = Console(width=ONCE_WIDTH, no_color=True, highlight=False, markup=False)
    with console.capture() as drawn:
        console.print(frame(reply, None))
    click.echo("\n".join(map(str.rstrip, drawn.get().splitlines())))


def _watch(path: Path, every_s: float) -> None:
    """Draw until a key ends it. The last answer stays on the screen while none comes."""
    from rich.console import Console
    from rich.live import Live

    from gatekeeper.cli.top_frame import frame, waiting

    console = Console(highlight=False, markup=False)
    reply: Reply | None = None
    with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            trouble = None
            try:
                reply = _asked(path)
            except NotRunning as error:
                trouble = f"{error}; trying again"
            except GatekeeperError as error:
                trouble = str(error)
            height = console.size.height
            shown = waiting(trouble) if reply is None else frame(reply, trouble, height)
            live.update(shown, refresh=True)
            if _key_within(every_s) in _QUIT:
                return


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Have keys come one by one and unseen; the terminal is as before afterwards."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    except KeyboardInterrupt:
        pass
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _key_within(seconds: float) -> str:
    """The next key, empty where none comes in time."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return ""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return sys.stdin.read(1) if ready else ""
