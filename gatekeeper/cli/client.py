"""The client's end of the control socket: plain blocking sockets, for a quick start."""

import json
import socket
from pathlib import Path
from typing import Any, Final

import click

from gatekeeper.cli.exits import FAILED, NOT_FOUND, USAGE, say
from gatekeeper.errors import GatekeeperError, NotRunning, PermissionMissing

SOCKET_NAME: Final = "control.sock"  # as the server's; importing it from there would load Trio
TIMEOUT_S: Final = 10.0  # above the server's own deadlines: it answers, if only to refuse
MAX_REPLY_OCTETS: Final = 1 << 30  # a list of some million bans
_RECEIVE_OCTETS: Final = 256 * 1024
_EXITS: Final = {"not-found": NOT_FOUND, "bad-request": USAGE}

Reply = dict[str, Any]  # JSON at the edge


def ask(path: Path, verb: str, **arguments: object) -> Reply:
    """The reply of the guard behind `path`.

    A refusal is said and ends the command with its exit code. Raises `NotRunning`,
    `PermissionMissing`, or `GatekeeperError` where the guard does not answer in time.
    """
    reply = exchange(path, {"verb": verb} | arguments)
    if reply.get("ok") is not True:
        say(str(reply.get("error", "refused")))
        raise click.exceptions.Exit(_EXITS.get(str(reply.get("code")), FAILED))
    return reply


def exchange(path: Path, request: dict[str, object]) -> Reply:
    """Send one request and read its reply. Raises as `ask` does."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect(str(path))
            sock.sendall(json.dumps(request).encode() + b"\n")
            reply = json.loads(_receive_line(sock))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise NotRunning(f"no guard answers on {path}") from error
    except PermissionError as error:
        raise PermissionMissing(f"{path}: this user may not talk to the guard") from error
    except TimeoutError as error:
        raise GatekeeperError(f"the guard did not answer within {TIMEOUT_S:g} s") from error
    except (OSError, ValueError) as error:
        raise GatekeeperError(f"the guard on {path} broke off: {error}") from error
    if not isinstance(reply, dict):
        raise GatekeeperError(f"no guard speaks on {path}")
    return reply


def _receive_line(sock: socket.socket) -> bytearray:
    line = bytearray()
    while not line.endswith(b"\n"):
        octets = sock.recv(_RECEIVE_OCTETS)
        if not octets or len(line) > MAX_REPLY_OCTETS:
            raise ValueError("the reply is not complete")
        line += octets
    return line
