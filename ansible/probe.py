"""A mail program that shows whether the ports of a host are guarded.

    probe.py HOST OWN-ADDRESS GUESSERS-ADDRESS DOMAIN

It logs in as ann, sends mail through 25, 587 and 465, reads it through 993, and then guesses
passwords from a second address until it is shut out. It says what it saw, a line each, and ends
with 1 at the first thing that is not so. Certificates are not looked at.
`ansible/test` makes such a host.
"""

import imaplib
import smtplib
import socket
import ssl
import sys
import time
from email.message import EmailMessage
from typing import Final

ACCOUNT: Final = "ann"
PASSWORD: Final = "sesame"  # noqa: S105  # of a machine that lives for minutes
GUESSES: Final = 40
TRIES: Final = 5  # Postfix may still be starting
WAIT_S: Final = 20.0


def main(host: str, own: str, guesser: str, domain: str) -> None:
    """Try everything; `own` and `guesser` are addresses of this machine."""
    context = _any_certificate()
    to = f"{ACCOUNT}@{domain}"

    _mail_from_outside(host, own, to, context)
    _mail_of_ann(host, own, to, context)
    _mailbox(host, own, context)
    _attack(host, own, guesser)


def _mail_from_outside(host: str, own: str, to: str, context: ssl.SSLContext) -> None:
    with smtplib.SMTP(host, 25, source_address=(own, 0), timeout=WAIT_S) as mx:
        mx.starttls(context=context)
        mx.sendmail("bea@example.net", [to], _message("mx", to))
        said("port 25: took a message for this domain")
        refused = mx.sendmail("bea@example.net", [to, "x@example.com"], _message("relay", to))
        check("port 25: relayed nothing", list(refused) == ["x@example.com"], refused)
        check("port 25: offers no AUTH", not mx.has_extn("auth"), mx.esmtp_features)


def _mail_of_ann(host: str, own: str, to: str, context: ssl.SSLContext) -> None:
    with _patient(host, own) as submission:
        submission.starttls(context=context)
        submission.login(ACCOUNT, PASSWORD)
        submission.sendmail(to, [to], _message("submission", to))
        said("port 587: logged in, took a message")
    with smtplib.SMTP_SSL(
        host, 465, source_address=(own, 0), timeout=WAIT_S, context=context
    ) as submissions:
        submissions.login(ACCOUNT, PASSWORD)
        submissions.sendmail(to, [to], _message("submissions", to))
        said("port 465: logged in, took a message")


def _patient(host: str, own: str) -> smtplib.SMTP:
    """A session with port 587; comes again where it is asked to (421), as mail programs do."""
    for _ in range(TRIES):
        try:
            return smtplib.SMTP(host, 587, source_address=(own, 0), timeout=WAIT_S)
        except smtplib.SMTPConnectError as error:
            said(f"port 587: asked to come again: {error}")
            time.sleep(2.0)
    sys.exit(f"  NOT SO: port 587: served within {TRIES} tries")


def _mailbox(host: str, own: str, context: ssl.SSLContext) -> None:
    found: dict[str, str] = {}
    until = time.monotonic() + WAIT_S
    while len(found) < 4 and time.monotonic() < until:
        found = _read(host, context)
        time.sleep(0.2)
    check("port 993: logged in, all messages are there", len(found) == 4, sorted(found))
    named = [f"[{own}]" in received for received in found.values()]
    check("Postfix knew the client's address each time", all(named), found)


def _attack(host: str, own: str, guesser: str) -> None:
    for port in (110, 143, 995):
        check(f"port {port}: closed", not _opens(host, port, own), port)
    outcomes = _guess(host, guesser)
    shut_out = len(outcomes) < GUESSES
    check(f"port 587: {len(outcomes)} wrong passwords, then shut out", shut_out, outcomes)
    check("port 993: shut out as well", not _greets(host, guesser), guesser)
    check("port 993: the other address is served", _greets(host, own), own)


def said(text: str) -> None:
    """One thing that was seen."""
    sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()


def check(text: str, seen: bool, otherwise: object) -> None:
    """Say `text` where it was `seen`; else end with what was."""
    if not seen:
        sys.exit(f"  NOT SO: {text}: {otherwise}")
    said(text)


def _message(subject: str, to: str) -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "bea@example.net", to, subject
    message.set_content("Hello.")
    return message.as_bytes()


def _read(host: str, context: ssl.SSLContext) -> dict[str, str]:
    """The `Received` lines of each message by its subject; all are left where they are."""
    found = {}
    with imaplib.IMAP4_SSL(host, 993, ssl_context=context, timeout=WAIT_S) as imap:
        imap.login(ACCOUNT, PASSWORD)
        imap.select()
        for number in imap.search(None, "ALL")[1][0].split():
            part = imap.fetch(number, "(BODY.PEEK[HEADER.FIELDS (SUBJECT RECEIVED)])")[1][0]
            assert isinstance(part, tuple)
            header = part[1].decode()
            found[header.rsplit("Subject: ", 1)[1].strip()] = header
    return found


def _guess(host: str, source: str) -> list[str]:
    """What became of wrong passwords from `source`, until it could not say one."""
    outcomes = []
    for number in range(GUESSES):
        try:
            with smtplib.SMTP(host, 587, source_address=(source, 0), timeout=WAIT_S) as submission:
                submission.starttls(context=_any_certificate())
                _refused(submission, f"user{number}", f"guess{number}")
                outcomes.append("refused")
        except (OSError, smtplib.SMTPException):
            break
    return outcomes


def _refused(submission: smtplib.SMTP, account: str, password: str) -> None:
    try:
        submission.login(account, password)
    except smtplib.SMTPAuthenticationError:
        return
    raise AssertionError("a wrong password was right")


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _greets(host: str, source: str) -> bool:
    try:
        with (
            socket.create_connection((host, 993), 3.0, source_address=(source, 0)) as raw,
            _any_certificate().wrap_socket(raw) as tls,
        ):
            return tls.recv(100).startswith(b"* OK")
    except OSError:
        return False


def _opens(host: str, port: int, source: str) -> bool:
    try:
        with socket.create_connection((host, port), 3.0, source_address=(source, 0)):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main(*sys.argv[1:])
