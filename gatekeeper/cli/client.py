"""The client's end of the control socket: plain blocking sockets, for a quick start."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from gatekeeper.cli.exits import FAILED, NOT_FOUND, USAGE, say
from gatekeeper.errors import GatekeeperError, NotRunning, PermissionMissing

SOCKET_NAME: Final = "control.sock"  # as the server's; importing it from there would load Trio
TIMEOUT_S: Final = 10.0  # above the server's own deadlines: it answers, if only to refuse
MAX_REPLY_OCTETS: Final = 1 << 30  # a list of some million bans
MAX_ROW_CHARACTERS: Final = 1 << 20  # far above any row
_RECEIVE_OCTETS: Final = 256 * 1024
_EXITS: Final = {"not-found": NOT_FOUND, "bad-request": USAGE}

Reply = dict[str, Any]  # JSON at the edge


def ask(path: Path, verb: str, **arguments: object) -> Reply:
    """The reply of the guard behind `path`.

    A refusal is said and ends the command with its exit code. Raises `NotRunning`,
    `PermissionMissing`, or `GatekeeperError` where the guard does not answer in time.
    """
    return _accepted(exchange(path, {"verb": verb} | arguments))


def _accepted(reply: Reply) -> Reply:
    """A reply that is no refusal; one that is ends the command."""
    if reply.get("ok") is not True:
        say(str(reply.get("error", "refused")))
        raise click.exceptions.Exit(_EXITS.get(str(reply.get("code")), FAILED))
    return reply


def ask_rows(path: Path, verb: str, name: str, **arguments: object) -> Iterator[Reply]:
    """The reply without its list `name`, then the rows of that list as they come: a million of
    them never stand in memory. Says, ends and raises as `ask` does.
    """
    with _asked(path, {"verb": verb} | arguments) as sock:
        start = f', "{name}": ['
        text = ""
        while start not in text:
            text += _receive(sock)
            if text.endswith("\n") and start not in text:
                yield _accepted(json.loads(text))
                return
        head, _, text = text.partition(start)
        yield _accepted(json.loads(head + "}"))
        yield from _rows(sock, text)


def _rows(sock: socket.socket, text: str) -> Iterator[Reply]:
    """The objects of a JSON list that goes on behind `text`, up to the end of its line."""
    decoder = json.JSONDecoder()
    at = 0
    while not text.startswith("]", at):
        try:
            row, end = decoder.raw_decode(text, at)
        except ValueError:  # not all of it is here
            if len(text) - at > MAX_ROW_CHARACTERS:
                raise
            text, at = text[at:] + _receive(sock), 0
            continue
        yield row
        at = end
        while not text.startswith(("]", ", "), at):
            text, at = text[at:] + _receive(sock), 0
        at += len(", ") if text.startswith(", ", at) else 0


def _receive(sock: socket.socket) -> str:
    octets = sock.recv(_RECEIVE_OCTETS)
    if not octets:
        raise ValueError("the reply is not complete")
    return octets.decode("ascii")  # as json.dumps writes it


def exchange(path: Path, request: dict[str, object]) -> Reply:
    """Send one request and read its reply. Raises as `ask` does."""
    with _asked(path, request) as sock:
        reply = json.loads(_receive_line(sock))
    if not isinstance(reply, dict):
        raise GatekeeperError(f"no guard speaks on {path}")
    return reply


@contextmanager
def _asked(path: Path, request: dict[str, object]) -> Iterator[socket.socket]:
    """A socket to the guard on which `request` was sent. Raises as `ask` does, also in the block,
    for which `ValueError` means a reply that makes no sense."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect(str(path))
            sock.sendall(json.dumps(request).encode() + b"\n")
            yield sock
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise NotRunning(f"no guard answers on {path}") from error
    except PermissionError as error:
        raise PermissionMissing(f"{path}: this user may not talk to the guard") from error
    except TimeoutError as error:
        raise GatekeeperError(f"the guard did not answer within {TIMEOUT_S:g} s") from error
    except (OSError, ValueError) as error:
        raise GatekeeperError(f"the guard on {path} broke off: {error}") from error


def _receive_line(sock: socket.socket) -> bytearray:
    line = bytearray()
    while not line.endswith(b"\n"):
        octets = sock.recv(_RECEIVE_OCTETS)
        if not octets or len(line) > MAX_REPLY_OCTETS:
            raise ValueError("the reply is not complete")
        line += octets
    return line
