"""Real clients through the guard: what is sent by SMTP is read by IMAP, octet for octet."""

import imaplib
import re
import smtplib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from .accounts import ALICE, BOB, CAROL, PASSWORDS, WRONG
from .conftest import Mail
from .dovecot import bearer_token
from .guard_process import Guard
from .line_client import LineClient, plain, smtp_login, smtp_over_tls
from .processes import run_tool, wait_until

BODY = (
    "line one\r\n..two dots\r\n.\u00fcml\u00e4ut\r\n\r\n  spaces  \r\n".encode()
    + b"x" * 900
    + b"\r\n"
)


def message(marker: bytes) -> bytes:
    """A message whose body is not all ASCII, has dots to stuff and a long line."""
    return b"Subject: " + marker + b"\r\nFrom: <a@example.test>\r\n\r\n" + BODY


def body(fetched: bytes) -> bytes:
    """What follows the header, with network line ends."""
    return fetched.replace(b"\r\n", b"\n").partition(b"\n\n")[2].replace(b"\n", b"\r\n")


def fetch_body(client: imaplib.IMAP4, marker: bytes) -> bytes:
    """The body of the one message whose subject is `marker`."""
    client.select("INBOX")
    _, (found,) = client.search(None, "SUBJECT", marker.decode())
    assert isinstance(found, bytes)
    (number,) = found.split()
    _, (part, _) = client.fetch(number.decode(), "(BODY.PEEK[TEXT])")
    assert isinstance(part, tuple)
    return part[1]


@pytest.mark.parametrize("name", ["submission", "submission-tls"])
def test_smtplib_by_starttls_and_imaplib(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, marker: bytes, name: str
) -> None:
    with smtplib.SMTP("localhost", guarded.ports[name], timeout=10) as client:
        client.starttls(context=tls)
        client.login(ALICE, PASSWORDS[ALICE])
        client.sendmail(ALICE, [BOB, CAROL], message(marker), ["BODY=8BITMIME"])
    mail.delivered(BOB, marker)
    mail.delivered(CAROL, marker)
    with imaplib.IMAP4("localhost", guarded.ports["imap"], timeout=10) as reader:
        reader.starttls(tls)
        reader.login(BOB, PASSWORDS[BOB])
        assert fetch_body(reader, marker) == BODY


@pytest.mark.parametrize("name", ["submissions", "submissions-xclient"])
@pytest.mark.parametrize("reads", ["imaps", "imaps-id", "imaps-tls", "imaps-v1"])
def test_smtplib_and_imaplib_by_implicit_tls(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, marker: bytes, name: str, reads: str
) -> None:
    with smtplib.SMTP_SSL("localhost", guarded.ports[name], context=tls, timeout=10) as client:
        client.login(BOB, PASSWORDS[BOB])
        client.sendmail(BOB, [ALICE], message(marker), ["BODY=8BITMIME"])
    mail.delivered(ALICE, marker)
    with imaplib.IMAP4_SSL(
        "localhost", guarded.ports[reads], ssl_context=tls, timeout=10
    ) as reader:
        reader.login(ALICE, PASSWORDS[ALICE])
        assert fetch_body(reader, marker) == BODY


def test_wrong_passwords_are_refused_as_the_servers_do(guarded: Guard, tls: ssl.SSLContext) -> None:
    with smtplib.SMTP_SSL("localhost", guarded.ports["submissions"], context=tls) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login(ALICE, WRONG)
        assert refused.value.smtp_code == 535
    with imaplib.IMAP4_SSL("localhost", guarded.ports["imaps"], ssl_context=tls) as reader:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            reader.login(ALICE, WRONG)
        reader.login(ALICE, PASSWORDS[ALICE])  # a second try in the same session


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize(
    ("name", "how"), [("submission", "--tls"), ("submissions", "--tls-on-connect")]
)
def test_swaks(
    guarded: Guard, mail: Mail, marker: bytes, mechanism: str, name: str, how: str
) -> None:
    def swaks(password: str, expect: int) -> str:
        return run_tool(
            *("swaks", "-s", "localhost", "-p", str(guarded.ports[name]), how, "--tls-verify"),
            *("--tls-ca-path", mail.authority.file, "-a", mechanism, "-au", ALICE, "-ap", password),
            *("-f", ALICE, "-t", BOB, "--body", marker.decode(), "--helo", "client.example.test"),
            expect=expect,
        )

    if mechanism == "CRAM-MD5":  # its transcripts can be guessed offline: the guard hides it
        assert "CRAM-MD5" not in swaks(PASSWORDS[ALICE], 28)
        return
    swaks(PASSWORDS[ALICE], 0)
    mail.delivered(BOB, marker)
    swaks(WRONG, 28)  # swaks' own status for a refused AUTH


def test_curl_sends_fetches_and_appends(
    guarded: Guard, mail: Mail, marker: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "message"
    file.write_bytes(message(marker))
    user = f"{CAROL}:{PASSWORDS[CAROL]}"
    curl = ("curl", "-sS", "--cacert", mail.authority.file)
    run_tool(
        *(*curl, "--user", user, "--mail-from", CAROL, "--mail-rcpt", CAROL, "-T", file),
        f"smtps://localhost:{guarded.ports['submissions']}/client.example.test",
    )
    mail.delivered(CAROL, marker)
    appended = file.read_bytes().replace(marker, marker + b"-appended")
    file.write_bytes(appended)
    inbox = f"imaps://localhost:{guarded.ports['imaps']}/INBOX"
    run_tool(*curl, "--user", user, inbox, "-T", file)
    found = run_tool(*curl, "--user", user, f"{inbox}?SUBJECT%20{marker.decode()}-appended")
    (number,) = re.findall(r"\d+", found)
    output = tmp_path / "fetched"
    run_tool(*curl, "--user", user, f"{inbox};MAILINDEX={number}", "-o", output)
    assert output.read_bytes() == appended
    run_tool(*curl, "--user", f"{CAROL}:{WRONG}", inbox, expect=67)


def test_curl_with_a_bearer_token(guarded: Guard, mail: Mail) -> None:
    port = guarded.ports["imaps"]
    curl = ("curl", "-sS", "--cacert", mail.authority.file, "--user", f"{ALICE}:")
    for mechanism in ("XOAUTH2", "OAUTHBEARER"):
        arguments = (*curl, f"imaps://localhost:{port}/", "--login-options", f"AUTH={mechanism}")
        listing = run_tool(*arguments, "--oauth2-bearer", bearer_token(ALICE))
        assert "INBOX" in listing
        forged = bearer_token(ALICE, key=b"another key")
        run_tool(*arguments, "--oauth2-bearer", forged, expect=67)


def test_msmtp(guarded: Guard, mail: Mail, marker: bytes, tmp_path: Path) -> None:
    rc = tmp_path / "msmtprc"
    account = (
        "account {name}\nhost localhost\nport {port}\ntls on\ntls_starttls {starttls}\n"
        f"tls_trust_file {mail.authority.file}\nauth {{auth}}\nuser {ALICE}\n"
        f"password {PASSWORDS[ALICE]}\nfrom {ALICE}\n"
    )
    ports = guarded.ports
    rc.write_text(
        account.format(name="a", port=ports["submission"], starttls="on", auth="plain")
        # No SCRAM: that of msmtp 1.8.28 (Debian 13) fails by itself; gsasl covers it.
        + account.format(name="b", port=ports["submissions"], starttls="off", auth="login")
    )
    rc.chmod(0o600)
    for name in ("a", "b"):
        words = marker + b"-" + name.encode()
        run_tool("msmtp", "-C", rc, "-a", name, BOB, stdin=message(words))
        mail.delivered(BOB, words)


def test_mbsync_fetches_and_uploads(
    guarded: Guard, mail: Mail, marker: bytes, tmp_path: Path
) -> None:
    with LineClient(mail.postfix.mx) as client:  # past the guard: only the reading is at stake
        client.reply()
        for command in (b"EHLO x", b"MAIL FROM:<>", b"RCPT TO:<" + CAROL.encode() + b">", b"DATA"):
            client.command(command)
        client.send(message(marker) + b".\r\n")
        assert client.reply().startswith(b"250")
    mail.delivered(CAROL, marker)
    rc = mbsync_configuration(tmp_path, mail.authority.file, guarded.ports["imaps"], CAROL)
    run_tool("mbsync", "-c", rc, "-a")
    local = tmp_path / "local/INBOX"
    fetched = [file for file in (local / "new").iterdir() if marker in file.read_bytes()]
    assert len(fetched) == 1
    (local / "cur/mine:2,").write_bytes(message(marker + b"-uploaded").replace(b"\r\n", b"\n"))
    run_tool("mbsync", "-c", rc, "-a")
    assert len(mail.dovecot.messages(CAROL, marker + b"-uploaded")) == 1


def mbsync_configuration(
    directory: Path, authority: Path, port: int, address: str, host: str = "localhost"
) -> Path:
    """A configuration that keeps the INBOX of `address` and `directory`/local alike."""
    (directory / "local").mkdir()
    rc = directory / "mbsyncrc"
    rc.write_text(
        f"IMAPAccount a\nHost {host}\nPort {port}\nUser {address}\nPass {PASSWORDS[address]}\n"
        f"SSLType IMAPS\nCertificateFile {authority}\nTimeout 20\n\n"
        "IMAPStore far\nAccount a\n\n"
        f"MaildirStore near\nPath {directory}/local/\nInbox {directory}/local/INBOX\n\n"
        "Channel inbox\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\n"
        f"SyncState {directory}/state-\n"
    )
    return rc


def test_gsasl_by_scram(guarded: Guard, mail: Mail) -> None:
    for how, name in (("--imap", "imap"), ("--smtp", "submission")):
        for password, expect in ((PASSWORDS[BOB], 0), (WRONG, 1)):
            run_tool(
                *(
                    "gsasl",
                    "--no-cb",
                    "--starttls",
                    how,
                    "-m",
                    "SCRAM-SHA-256",
                    "-a",
                    BOB,
                    "-p",
                    password,
                ),
                f"--x509-ca-file={mail.authority.file}",
                f"--connect=localhost:{guarded.ports[name]}",
                expect=expect,
            )


def smtp_names_it(guarded: Guard, mail: Mail, name: str, source: str) -> None:
    context = mail.authority.client_context()
    if name.startswith("submissions"):
        client = LineClient(guarded.ports[name], source=source, tls=context)
        client.reply()
    else:
        client = smtp_over_tls(guarded.ports[name], context, source)
    with client:
        if name.startswith("mx"):
            client.command(b"EHLO client.example.test")
            client.command(b"MAIL FROM:<a@b.example>")
            client.command(b"RCPT TO:<nobody-here@example.test>")
            logged = f"RCPT from unknown[{source}]"
        else:
            assert smtp_login(client, ALICE, PASSWORDS[ALICE]).startswith(b"235")
            client.command(b"MAIL FROM:<a@b.example>")
            client.command(b"RCPT TO:<nobody-here@example.test>")
            logged = f"RCPT from unknown[{source}]"
        client.command(b"QUIT")
    wait_until(lambda: logged in mail.postfix.log(), f"Postfix logs {logged}", 5)


def imap_names_it(guarded: Guard, mail: Mail, name: str, source: str) -> None:
    context = mail.authority.client_context()
    with LineClient(guarded.ports[name], source=source, tls=context) as client:
        client.line()
        login = b"a AUTHENTICATE PLAIN " + plain(ALICE, PASSWORDS[ALICE])
        assert b"a OK" in client.ask(login)
        client.ask(b"b LOGOUT")
    logged = f"user=<{ALICE}>, method=PLAIN, rip={source}, "
    wait_until(lambda: logged in mail.dovecot.log(), f"Dovecot logs {logged}", 5)


Names = Callable[[Guard, Mail, str, str], None]


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (smtp_names_it, "mx"),
        (smtp_names_it, "mx-v1"),
        (smtp_names_it, "mx-v2"),
        (smtp_names_it, "submission"),
        (smtp_names_it, "submissions"),
        (smtp_names_it, "submissions-xclient"),
        (imap_names_it, "imaps"),
        (imap_names_it, "imaps-v1"),
        (imap_names_it, "imaps-id"),
    ],
)
def test_the_server_logs_the_clients_own_address(
    guarded: Guard, mail: Mail, source: str, check: Names, name: str
) -> None:
    check(guarded, mail, name, source)


def test_a_client_cannot_give_itself_another_address(
    guarded: Guard, mail: Mail, tls: ssl.SSLContext, source: str
) -> None:
    forged = b"192.0.2.123"
    with LineClient(guarded.ports["imaps-id"], source=source, tls=tls) as client:
        client.line()
        client.ask(b'a ID ("name" "x" "x-originating-ip" "' + forged + b'")')
        client.ask(f"b LOGIN {ALICE} {PASSWORDS[ALICE]}".encode())
    with smtp_over_tls(guarded.ports["mx"], tls, source) as smtp:
        assert b"XCLIENT" not in smtp.command(b"EHLO x")
        assert smtp.command(b"XCLIENT ADDR=" + forged)[:1] == b"5"
    wait_until(lambda: f"rip={source}" in mail.dovecot.log(), "Dovecot logs the login", 5)
    assert forged.decode() not in mail.dovecot.log() + mail.postfix.log()
