"""Refusals in the words of an operator's hook, in place of the guard's.

The kind of answer stays what the session made it: the reply code in SMTP, the tag, the condition
and its code in IMAP. Only the text behind them changes.
"""

import re
from typing import Final

_SMTP: Final = re.compile(rb"([2-5])[0-9]{2} ")
_ENHANCED: Final = re.compile(rb"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?: +|$)")  # RFC 3463 2
_CODE_BY_HABIT: Final = re.compile(
    rb"[245][0-9]{2}(?:[ -]|$)"
)  # `550 5.7.1 …`: it is there already
_IMAP: Final = re.compile(rb"[^ ]+ (?:NO|BAD|BYE) (?:\[[^\]]*\] )?")  # RFC 9051 7.1


def smtp_words(reply: bytes, text: str) -> bytes:
    """`reply`, of one line with its CRLF, saying `text`, which is printable and short.

    An enhanced status code at the beginning of `text` is taken where its class is that of the reply
    code (RFC 2034 4); else the reply keeps its own. Without other words it keeps those, too.
    """
    head = _SMTP.match(reply)
    assert head is not None, "a reply of the guard's own"
    old_status, old_words = _parted(reply[head.end() :].removesuffix(b"\r\n"))
    status, words = _parted(_plain(text))
    if status[:1] != head[1]:
        status = old_status
    return b"%b%b%b\r\n" % (head[0], status and status + b" ", words or old_words)


def imap_words(line: bytes, text: str) -> bytes:
    """`line`, one response with its CRLF, saying `text`, which is printable and short. A status
    code of SMTP's at its beginning is left out."""
    head = _IMAP.match(line)
    assert head is not None, "a response of the guard's own"
    words = _parted(_plain(text))[1]
    if not words:
        return line
    if words.startswith(b"[") and not head[0].endswith(b"] "):
        words = b"- " + words  # else it would be a response code
    return b"%b%b\r\n" % (head[0], words)


def _plain(text: str) -> bytes:
    octets = text.encode("ascii", "replace").strip()
    habit = _CODE_BY_HABIT.match(octets)
    return octets[habit.end() :].lstrip() if habit else octets


def _parted(words: bytes) -> tuple[bytes, bytes]:
    """An enhanced status code and what follows it; empty where there is none."""
    found = _ENHANCED.match(words)
    return (found[0].rstrip(), words[found.end() :]) if found else (b"", words)
