"""The tap on what an IMAP client sends after its login, while the relay passes it on.

Theory of operation
-------------------
UNAUTHENTICATE (RFC 8437) takes a session back to where passwords are tried, behind the guard's
back; COMPRESS (RFC 4978) would hide it. Neither must reach the backend as a command, and the
content of messages must not be touched. Where both sides surely agree on what is a command, the
verb is overwritten at the same length (XNAUTHENTICATE, XOMPRESS): the framing stays, and the
backend itself answers BAD.

*Exact.* The tap cuts the stream into lines and literals, and what it skips unread must be a
literal for every backend. Two kinds are: one that the backend asked for with `+`, and the
non-synchronising one of an APPEND of strict syntax. The `+` counts only if it is a line of the
backend's stream and not of a message in it, so the backend's stream is framed too, from its first
octet (`imap_server_lines`), and `+` lines are due one at a time.

*Wary.* Anything that two servers could read differently ends the exact mode for good: a line
with a bare CR or LF or NUL, a literal refused by the backend, octets sent without awaiting the `+`,
other non-synchronising literals (a server that refuses the command may read them as commands;
Stalwart reads on even behind an unknown verb, in the same line), a literal inside IDLE, a line that
does not end, the word IDLE where it is not the verb. From then on nothing is framed or changed,
but every octet is searched: a backend cannot obey a word that did not pass. A client on whose
stream the word is found is cut off (`violated`). The price is about a millisecond for each MiB
it sends, and that no message with such a word in it can be stored through this session.

For the same reason UNAUTHENTICATE is overwritten wherever it is a word of its own in a line, not
only as the verb. COMPRESS is a word people search for: in a line it is the verb only, in a wary
search it is followed by its one algorithm. No server that reads on in a line has it.

A line is passed on when it is complete, since no server acts earlier. An idle session holds none.
"""

import re
from typing import Final

from gatekeeper.wire.imap_server_lines import ServerLines
from gatekeeper.wire.imap_syntax import Literal, ends_in_one_crlf, literal_at_end

MAX_HELD_OCTETS: Final = 8192  # RFC 7162 4 has clients stay below; longer lines come unheld
NO_LIMIT: Final = 2**32 - 1  # RFC 3501's number; Stalwart misreads what is longer
_TAIL_OCTETS: Final = 64  # more than the longest denied words with the blanks around them
_NOTHING_PENDING: Final = -1

_UNAUTHENTICATE: Final = re.compile(rb"(?i)(?<=\s)UNAUTHENTICATE(?=\s)")
_DENIED: Final = re.compile(
    rb'\s(?:UNAUTHENTICATE\s|COMPRESS\s{1,16}(?:"?DEFLATE|~?\{))'
)  # of upper case
_VERB: Final = re.compile(rb"[ \t]*+(\S++)[ \t]++(?:[Uu][Ii][Dd][ \t]++)?([A-Za-z0-9]++)(?=\s)")
_IDLE: Final = re.compile(rb"\sIDLE(?=\s)")

# A literal that every server takes (RFC 9051 6.3.12): mailbox as an atom or quoted, flags,
# date-time. The second form is the next message of a MULTIAPPEND (RFC 3502).
_OPTIONS: Final = (
    rb'(?: \([^"(){}\0-\x1f]{0,1024}\))?(?: "[^"\\\0-\x1f]{1,64}")? ~?\{[0-9]{1,10}\+\}\r\n'
)
_NEXT_APPEND: Final = re.compile(_OPTIONS)
_APPEND: Final = re.compile(
    rb"[^\0- (){%*\"\\+\x7f-\xff]{1,128} [Aa][Pp][Pp][Ee][Nn][Dd] "
    rb'(?:[^\0- (){%*"\\\x7f-\xff]{1,1024}|"(?:[^"\\\0-\x1f]|\\["\\]){0,1024}")' + _OPTIONS
)


class ImapTap:
    """Watches one session's octets, both ways; small, because idle sessions are many.

    `idle` is whether the client sits in IDLE (RFC 2177), from the command on; in a wary session
    nobody knows, and it is false. `idle_turns` counts its beginnings and ends, so that one who
    looks seldom misses no new IDLE. `logout` is whether the client has said LOGOUT, and stands
    still in a wary session. `violated` tells the relay to close: a denied command came where it
    could not be overwritten, and was not passed on.
    """

    __slots__ = (
        "_appending",
        "_continued",
        "_held",
        "_idle_tag",
        "_literal_left",
        "_non_sync_octets",
        "_pending_octets",
        "_plus_due",
        "_server",
        "_tag",
        "_tail",
        "idle",
        "idle_turns",
        "logout",
        "violated",
    )

    def __init__(self, non_sync_octets: int = NO_LIMIT) -> None:
        """`non_sync_octets` is the longest non-synchronising literal the backend takes (RFC 7888):
        4096 where it announces LITERAL-, 0 where neither that nor LITERAL+."""
        self._non_sync_octets = non_sync_octets
        self.idle = False
        self.idle_turns = 0
        self.logout = False
        self.violated = False
        self._server = ServerLines()
        self._held = b""  # an unfinished line
        self._literal_left = 0  # octets of the current literal still to come
        self._continued = False  # the current line goes on behind a literal
        self._appending = False  # that literal was one of an APPEND of strict syntax
        self._tag = b""  # of the command with a literal pending
        self._pending_octets = _NOTHING_PENDING  # of a synchronising literal not yet asked for
        self._plus_due = 0  # continuations owed for IDLE
        self._idle_tag = b""
        self._tail: bytes | None = None  # the octets passed last, once the session is wary

    @property
    def pending_sync(self) -> bool:
        """Whether `server_octets` has to be shown the backend's octets: all of them, before the
        client is, for as long as this is true."""
        return self._tail is None

    @property
    def between_server_lines(self) -> bool:
        """Whether the backend's stream surely stands at the start of a line."""
        return self._tail is None and self._server.between_lines

    def feed(self, octets: bytes) -> bytes:
        """What of the client's octets, and of those held before, goes to the backend now.

        The same object where nothing is held or changed; empty for good once `violated`.
        """
        if self._literal_left >= len(octets):
            self._literal_left -= len(octets)
            return octets
        if self.violated:
            return b""
        if self._tail is not None:
            return self._search(octets)
        data = self._held + octets if self._held else octets
        self._held = b""
        return self._frame(data)

    def server_octets(self, octets: bytes | memoryview) -> None:
        """See what the backend sent next."""
        if self._tail is not None:
            return
        pending = self._pending_octets != _NOTHING_PENDING
        wanted = pending or self.idle or self._plus_due > 0
        for answer in self._server.feed(octets, wanted=wanted):
            self._hear(answer)

    # -- exact ------------------------------------------------------------------------------

    def _frame(self, data: bytes) -> bytes:
        """Pass lines and literals on; from where they become unclear, the wary search does."""
        passed: list[bytes] = []
        start = at = 0  # data[start:at] goes on unchanged
        while at < len(data):
            if self._literal_left:
                skipped = min(self._literal_left, len(data) - at)
                self._literal_left -= skipped
                at += skipped
                continue
            lf = data.find(b"\n", at)
            if lf < 0 and len(data) - at <= MAX_HELD_OCTETS and not self._is_pending:
                self._held = data[at:]
                break
            line = data[at : lf + 1]
            changed = self._line(line) if lf >= 0 and not self._is_pending else None
            if changed is None:
                return self._grow_wary(passed, data, start, at)
            if changed is not line:
                passed += (data[start:at], changed)
                start = lf + 1
            at = lf + 1
        if not passed:
            return data if at == len(data) else data[:at]
        return b"".join((*passed, data[start:at]))

    @property
    def _is_pending(self) -> bool:
        return self._pending_octets != _NOTHING_PENDING

    def _line(self, line: bytes) -> bytes | None:
        """A whole line as it goes on; None where servers could read it differently."""
        if not ends_in_one_crlf(line) or b"\0" in line:
            return None
        literal = literal_at_end(line)
        continued, self._continued = self._continued, literal is not None
        upper = line.upper()
        overwritten = line
        if b"UNAUTHENTICATE" in upper:
            overwritten = _UNAUTHENTICATE.sub(b"XNAUTHENTICATE", line)
        changed = overwritten if continued else self._command(overwritten, upper)
        if literal is not None and not self._literal(line, literal, continued=continued):
            return None
        return changed

    def _command(self, line: bytes, upper: bytes) -> bytes | None:
        """Note what a command is; None where it leaves unclear what `+` will be for."""
        if self.idle and upper == b"DONE\r\n":
            self.idle = False
            self.idle_turns += 1
            return line
        found = _VERB.match(line)
        verb = found[2].upper() if found else b""
        self._tag = found[1] if found else b""
        is_idle = verb == b"IDLE"
        if b"IDLE" in upper and len(_IDLE.findall(upper)) != is_idle:
            return None
        if is_idle:
            self._idle_tag = self._tag
            self.idle = True
            self.idle_turns += 1
            self._plus_due += 1
        elif verb == b"LOGOUT":
            self.logout = True
        elif verb == b"COMPRESS" and found is not None:
            return line[: found.start(2)] + b"XOMPRESS" + line[found.end(2) :]
        return line

    def _literal(self, line: bytes, literal: Literal, *, continued: bool) -> bool:
        """Take a literal's announcement; false where it is not one to every server."""
        size_octets = literal.size_octets
        if self.idle or size_octets > NO_LIMIT:
            return False
        appending = self._appending if continued else True
        self._appending = False
        if literal.synchronising:
            self._pending_octets = size_octets
            return True
        form = _NEXT_APPEND if continued else _APPEND
        if size_octets > self._non_sync_octets or not (appending and form.fullmatch(line)):
            return False
        self._literal_left = size_octets
        self._appending = True
        return True

    def _hear(self, answer: bytes) -> None:
        """A continuation or a tagged response of the backend."""
        tag = answer.partition(b" ")[0].rstrip(b"\r")
        if tag == b"+":
            if self._plus_due:
                self._plus_due -= 1
            elif self._is_pending:
                self._literal_left = self._pending_octets
                self._pending_octets = _NOTHING_PENDING
            else:
                self._grow_wary([], b"", 0, 0)
        elif (self._is_pending and tag == self._tag) or (self.idle and tag == self._idle_tag):
            self._grow_wary([], b"", 0, 0)

    # -- wary -------------------------------------------------------------------------------

    def _grow_wary(self, passed: list[bytes], data: bytes, start: int, at: int) -> bytes:
        """Leave the exact mode: search from `data[at:]` on."""
        before = b"".join((*passed, data[start:at]))
        held, self._held = self._held, b""
        self._literal_left = 0
        self._pending_octets = _NOTHING_PENDING
        if self.idle:
            self.idle = False
            self.idle_turns += 1
        self._tail = (b"\n" + before)[-_TAIL_OCTETS:]
        rest = self._search(data[at:])
        self._held = held
        return b"" if self.violated else before + rest

    def _search(self, octets: bytes) -> bytes:
        """Pass octets on, unless a denied word is among them or ends in them."""
        assert self._tail is not None, "only wary sessions are searched"
        octets, self._held = self._held + octets, b""
        stream = self._tail + octets
        upper = stream.upper()
        rare = b"UNAUTHENTICATE" in upper or b"COMPRESS" in upper
        if rare and _DENIED.search(upper):
            self.violated = True
            return b""
        self._tail = stream[-_TAIL_OCTETS:]
        return octets
