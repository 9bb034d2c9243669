"""Tagging: small signs are noted as they come, and together they decide at RCPT.

No sign refuses anybody by itself. Each is a tag of the session: it stands in its log lines and in
`gatekeeper explain`, so that an operator sees what decent senders get before he acts on it.
"""

import re

from gatekeeper.hooks import (
    Context,
    Facts,
    HelloAttempt,
    MailAttempt,
    RcptAttempt,
    ResolverError,
    Scope,
    Verdict,
    defer,
    delay,
    quick,
)

# Names that providers give to customers' lines: the address is in them, or a word for such lines.
_LINE = re.compile(
    r"\d+[-.]\d+[-.]\d+[-.]\d+|\b(?:dyn|dynamic|dsl|pool|cable|dhcp)\b", re.IGNORECASE
)


@quick
def helo(event: HelloAttempt, facts: Facts, context: Context) -> None:
    """Note what the name in EHLO looks like."""
    if facts.scope is not Scope.MX:
        return
    if event.domain.startswith("["):
        context.tag("helo.address")
    elif _LINE.search(event.domain):
        context.tag("helo.line")
    if _LINE.search(context.client.reverse_name or ""):
        context.tag("name.line")


async def mail(event: MailAttempt, facts: Facts, context: Context) -> None:
    """Note a sender whose domain takes no mail."""
    domain = event.reverse_path.rpartition("@")[2]
    if facts.scope is not Scope.MX or not domain:
        return
    try:
        if not await context.resolve(domain, "MX"):
            context.tag("sender.no-mx")
    except ResolverError:
        pass  # no answer is no sign


@quick
def rcpt(event: RcptAttempt, facts: Facts) -> Verdict | None:
    """One sign costs some seconds, three are put off."""
    match len(facts.tags):
        case 0:
            return None
        case 1 | 2:
            return delay(3.0)
        case _:
            return defer("4.7.1 Please have your mail server set up properly, or try again later")
