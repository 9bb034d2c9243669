"""From what a stranger heard of a backend to what the operator has to know, and to change."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from gatekeeper.check.finding import Finding, error, warning
from gatekeeper.check.relay_advice import Server, mend_announcing, mend_relaying, which
from gatekeeper.check.relay_forms import PLAIN, Says, addresses_seen, is_comparison
from gatekeeper.check.relay_talk import SmtpTalk
from gatekeeper.events import MailProtocol
from gatekeeper.settings import Announce, BackendSettings
from gatekeeper.wire.imap_responses import Response, Status
from gatekeeper.wire.smtp_capabilities import read_ehlo
from gatekeeper.wire.smtp_replies import Reply

_SHOWN_OCTETS: Final = 120  # of a reply
_PROXY: Final = frozenset({Announce.PROXY_V1, Announce.PROXY_V2})


@dataclass(frozen=True, slots=True)
class Heard:
    """A session with a backend. `guard` is this host as the backend sees it, empty where there was
    no connection; `said` is all it said, `detail` why the session failed, if it did."""

    backend: BackendSettings
    protocol: MailProtocol
    stranger: str
    guard: str
    said: tuple[bytes, ...]
    detail: str

    @property
    def announce(self) -> Announce:
        """How the backend is told of clients."""
        return self.backend.announce

    @property
    def server(self) -> Server | None:
        """What it seems to be."""
        return which(self.said)

    @property
    def subject(self) -> str:
        """What the findings are about."""
        return f"backend {self.backend.name}"


def on_imap(heard: Heard, responses: Iterable[Response], *, finished: bool) -> Iterator[Finding]:
    """The findings about an IMAP server."""
    if any(response.status is Status.PREAUTH for response in responses):
        text = "greets with PREAUTH: it takes whoever comes through the guard for logged in"
        yield error(heard.subject, f"{text}, so no session is let through")
    elif not finished:
        yield _failed(heard)
    elif heard.announce is Announce.NONE:
        yield _unannounced(heard, "its limits and penalties by address")


def on_smtp(heard: Heard, talk: SmtpTalk, hello: Reply | None) -> Iterator[Finding]:
    """The findings about an SMTP server that answered EHLO with `hello`."""
    if not talk.answers:
        yield _failed(heard, talk.refusal)
        return
    relaying = list(_on_relaying(heard, talk))
    yield from relaying
    if heard.announce is not Announce.NONE:
        yield from _on_trust(heard, talk, hello)
    elif not relaying:
        yield _unannounced(
            heard, "its limits and lists by address, and what it allows its networks,"
        )


def _on_relaying(heard: Heard, talk: SmtpTalk) -> Iterator[Finding]:
    for question, reply in talk.answers:
        if talk.says(reply) is Says.OPEN and not is_comparison(question):
            sender = f" from <{question.sender}>" if question.sender else ""
            advice = mend_relaying(heard.server, heard.announce, heard.protocol, heard.guard)
            text = f"open relay: {_who(heard)} may send{sender} to <{question.path}>"
            yield error(heard.subject, f"{text} (it said: {_shown(reply.raw)}); {advice}")
            return
    elsewhere = [talk.says(reply) for asked, reply in talk.answers if not asked.about_own_name]
    reply = talk.answers[0][1]
    if Says.CLOSED not in elsewhere:
        text = f"relay test: it refuses <{PLAIN.path}>, but perhaps not for being no relay"
        yield warning(heard.subject, f"{text} (it said: {_shown(reply.raw)})")


def _on_trust(heard: Heard, talk: SmtpTalk, hello: Reply | None) -> Iterator[Finding]:
    """Whether the backend believes what it is told, and no more."""
    seen = addresses_seen(hello, (reply for _, reply in talk.answers))
    if heard.guard in seen and heard.stranger not in seen:
        text = (
            f"sees {heard.guard} for its client, not whom it is told of by {heard.announce.value}"
        )
        yield error(heard.subject, _with(text, _advice(heard)))
    if hello is not None and read_ehlo(hello).xclient:
        text = f"offers XCLIENT to a stranger ({heard.stranger}), who may then be anybody"
        yield error(heard.subject, f"{text}; Postfix: smtpd_authorized_xclient_hosts is too wide")


def _unannounced(heard: Heard, what: str) -> Finding:
    text = f"announce is none: it takes every client for the guard ({heard.guard})"
    return warning(heard.subject, f"{text}; {what} are then about all of them at once")


def _failed(heard: Heard, refusal: Reply | None = None) -> Finding:
    """Of a session that came to no end. Where the backend refuses in its own words it may be busy,
    or know that a documentation address is nobody's; all else keeps the guard from serving."""
    if heard.detail or refusal is None:
        last = heard.said[-1] if heard.said else b""
        why = heard.detail or "it ends"
        make = error
    else:
        last, why, make = refusal.raw, "it is refused", warning
    said = f" (it said: {_shown(last)})" if last else ""
    text = f"a session through the guard fails: {why}{said}"
    return make(heard.subject, _with(text, _advice(heard)))


def _advice(heard: Heard) -> str:
    if not heard.guard:
        return ""
    may_await = heard.announce not in _PROXY and not (heard.detail and heard.said)
    question = "does it await a PROXY header on this port?" if may_await else ""
    settings = mend_announcing(heard.server, heard.announce, heard.guard)
    return "; ".join(filter(None, (settings, question)))


def _with(text: str, advice: str) -> str:
    return f"{text}; {advice}" if advice else text


def _who(heard: Heard) -> str:
    if heard.announce is Announce.NONE:
        return f"everybody, for it takes all clients for the guard ({heard.guard}),"
    return f"a stranger ({heard.stranger}, told by {heard.announce.value})"


def _shown(raw: bytes) -> str:
    """The first line of a reply, fit for a terminal."""
    line = raw.partition(b"\r\n")[0][:_SHOWN_OCTETS]
    return "".join(one if one.isprintable() else "?" for one in line.decode("utf-8", "replace"))
