"""The control socket: what `gatekeeper ban`, `who`, `kick` and `status` talk to.

A Unix stream socket; one JSON object a line is a request, one a line its reply, any number of
them on a connection. The socket's mode (owner and group only) is the right to use it; who asked is
logged by the peer's user id (SO_PEERCRED, unix(7)). `gatekeeper.control_verbs` says what each verb
does; this file is the socket and the lines.
"""

import contextlib
import json
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import trio

from gatekeeper import unix_sockets
from gatekeeper.control_verbs import Control
from gatekeeper.control_words import Code, Pieces, Refusal
from gatekeeper.log import Log

__all__ = ["SOCKET_NAME", "Control", "serve"]

SOCKET_NAME: Final = unix_sockets.CONTROL_NAME
MAX_REQUEST_OCTETS: Final = 64 * 1024  # far above any request; a bound on what a client can park
MAX_CLIENTS: Final = 16  # operators and their scripts
DEADLINE_S: Final = 5.0  # for a request to come in whole, and for each piece of a reply to go out
_RECEIVE_OCTETS: Final = 16 * 1024
_CHANGING: Final = frozenset(
    {"kick", "ban-add", "ban-del", "account-lock", "account-unlock", "familiar-add"}
    | {"pause", "resume", "breaker-reset", "ban-flush", "ban-add-many"}
)  # verbs worth a line in the log
_SUBJECTS: Final = ("prefix", "selector", "account", "scope")
_UCRED: Final = struct.Struct("3i")  # pid, uid, gid


async def serve(
    path: Path,
    control: Control,
    log: Log,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on a socket at `path` until cancelled; then the socket's file is removed.

    Replaces the file of a guard that is gone. Raises `PermissionMissing` where the file cannot be
    made, and `OSError` with EADDRINUSE where another guard answers there.
    """
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(unix_sockets.listen_at(path)))
    inode = unix_sockets.inode_of(path)
    clients = trio.CapacityLimiter(MAX_CLIENTS)

    async def client(stream: trio.SocketStream) -> None:
        await _serve_client(stream, control, log, clients)

    task_status.started()
    try:
        await trio.serve_listeners(client, [listener])
    finally:
        unix_sockets.remove(path, inode)


async def _serve_client(
    stream: trio.SocketStream, control: Control, log: Log, clients: trio.CapacityLimiter
) -> None:
    """One client's requests until it leaves, is too slow or is one too many."""
    async with stream:
        with contextlib.suppress(trio.BrokenResourceError, trio.TooSlowError):
            try:
                clients.acquire_on_behalf_of_nowait(stream)
            except trio.WouldBlock:
                await _send(stream, _refused(Code.FAILED, "too many clients"))
                return
            try:
                await _converse(stream, control, log)
            finally:
                clients.release_on_behalf_of(stream)


async def _converse(stream: trio.SocketStream, control: Control, log: Log) -> None:
    lines = _Lines(stream)
    uid = _peer_uid(stream)
    while True:
        with trio.fail_after(DEADLINE_S):
            line = await lines.next()
        if line is None:
            return
        if len(line) > MAX_REQUEST_OCTETS:
            await _send(stream, _refused(Code.BAD_REQUEST, "the request is too long"))
            return
        await _send(stream, await _answer(line, control, log, uid))


async def _answer(line: bytes, control: Control, log: Log, uid: int) -> Pieces:
    """The reply to `line`, a refusal included. Logs what changes something."""
    request: Mapping[str, object] = {}
    try:
        request = _read(line)
        pieces = await control.answer(request)
    except Refusal as refusal:
        _log(log.warning, request, uid, refusal.code.value)
        return _refused(refusal.code, refusal.text)
    _log(log.event, request, uid, "ok")
    return pieces


def _read(line: bytes) -> Mapping[str, object]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise Refusal(Code.BAD_REQUEST, "the request is no JSON") from None
    if not isinstance(request, dict):
        raise Refusal(Code.BAD_REQUEST, "the request is no JSON object")
    return request


def _log(put: Callable[..., None], request: Mapping[str, object], uid: int, result: str) -> None:
    if request.get("verb") in _CHANGING:
        put("control", verb=request["verb"], what=_subject(request), uid=uid, result=result,
            note=request.get("note", ""))  # fmt: skip


def _subject(request: Mapping[str, object]) -> object:
    """What a request is about, in a word."""
    rows = request.get("rows")
    if isinstance(rows, list):
        return f"{len(rows)} rows"
    return next((request[key] for key in _SUBJECTS if key in request), "")


def _refused(code: Code, text: str) -> Pieces:
    return iter((json.dumps({"ok": False, "code": code.value, "error": text}),))


async def _send(stream: trio.SocketStream, pieces: Pieces) -> None:
    for piece in pieces:
        with trio.fail_after(DEADLINE_S):
            await stream.send_all(piece.encode())
    with trio.fail_after(DEADLINE_S):
        await stream.send_all(b"\n")


class _Lines:
    """Lines of a stream, bounded, each octet searched once."""

    __slots__ = ("_buffer", "_searched", "_stream")

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._searched = 0

    async def next(self) -> bytes | None:
        """The next line without its end, None at the end of the stream; longer than
        `MAX_REQUEST_OCTETS` where none ended in time."""
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if self._searched > MAX_REQUEST_OCTETS:
                return bytes(self._buffer)
            octets = await self._stream.receive_some(_RECEIVE_OCTETS)
            if not octets:
                return None
            self._buffer += octets
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line


def _peer_uid(stream: trio.SocketStream) -> int:
    octets = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(octets)[1]
    return uid
