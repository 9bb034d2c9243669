"""The demo's backend, a process of its own: an SMTP sink and an IMAP server over the same mail.

    python -m demo.backend        accounts as JSON {user: password} on the first line of stdin

It listens on ports of the system's choice on 127.0.0.1, prints them as one JSON object, and ends
when stdin does, so that it never outlives the demo. Its log, on stderr, has a line for each wrong
password it was asked about. It is a part of the demo and no mail server: plain text, PROXY headers
believed from everybody, messages gone when it ends.
"""

import functools
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from demo.imap_server import ImapSession
from demo.mailbox import Accounts
from demo.smtp_sink import SmtpSession
from demo.wire import Hangup, Wire

SERVICES: Final = ("imap", "submission", "mx")
SESSIONS_MAX: Final = 500  # far more than a reader opens by hand
SESSION_MAX_S: Final = 3600.0


async def serve(
    accounts: Accounts, *, task_status: trio.TaskStatus[dict[str, int]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; starts with the ports of `SERVICES` on 127.0.0.1."""
    limit = trio.Semaphore(SESSIONS_MAX)
    ports = {}
    async with trio.open_nursery() as nursery:
        for name in SERVICES:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            ports[name] = int(listener.socket.getsockname()[1])
            handler = functools.partial(_hold, name, accounts, limit)
            nursery.start_soon(trio.serve_listeners, handler, [listener])
        task_status.started(ports)


async def _hold(
    service: str, accounts: Accounts, limit: trio.Semaphore, stream: trio.SocketStream
) -> None:
    async with stream, limit:
        try:
            with trio.move_on_after(SESSION_MAX_S):
                wire = Wire(stream)
                client = await wire.client_address()
                await _conversation(service, wire, accounts, client)()
        except* Hangup:  # a group where it came out of the nursery of IDLE
            pass


def _conversation(
    service: str, wire: Wire, accounts: Accounts, client: str
) -> Callable[[], Awaitable[None]]:
    if service == "imap":
        return ImapSession(wire, accounts, client).run
    return SmtpSession(wire, accounts, client, submission=service == "submission").run


def refusal(client: str, user: str) -> str:
    """The line of the log for a wrong password."""
    return f"refused {client} {json.dumps(user)}\n"


def _log_refused(client: str, user: str) -> None:
    sys.stderr.write(refusal(client, user))
    sys.stderr.flush()


async def _main() -> None:
    accounts = Accounts(json.loads(sys.stdin.readline()), _log_refused)
    async with trio.open_nursery() as nursery:
        ports = await nursery.start(serve, accounts)
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        await trio.lowlevel.wait_readable(sys.stdin)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_main)
