"""`gatekeeper check` asks real servers whether they relay for who comes through the guard."""

from pathlib import Path

from .conftest import Mail
from .guard_process import COMMAND, Service, configuration
from .processes import free_ports, run_tool, wait_until

HELO = "helo=<relay-test.invalid>"


def checked(
    directory: Path, mail: Mail, listening: list[Service], *options: str
) -> dict[str, list[str]]:
    """What is found on each backend, by its name; no guard runs."""
    for name in ("state", "run"):
        (directory / name).mkdir(parents=True)
    ports = dict(zip((one.name for one in listening), free_ports(len(listening)), strict=True))
    file = directory / "gatekeeper.toml"
    file.write_text(configuration(directory, listening, ports, mail.pairs))
    printed = run_tool(COMMAND, "check", "-c", file, *options, expect=None)
    found: dict[str, list[str]] = {one.name: [] for one in listening}
    for line in printed.splitlines():
        severity, subject, *rest = line.split(": ", 2)
        if subject.startswith("backend "):
            found[subject.removeprefix("backend ")].append(f"{severity}: {rest[0]}")
    return found


def test_postfix_relays_for_nobody_it_is_told_of(public: Path, mail: Mail) -> None:
    smtp, imap = mail.postfix, mail.dovecot
    right = [
        Service("xclient", "smtp", "none", smtp.mx, "xclient"),
        Service("v1", "smtp", "none", smtp.mx_haproxy, "proxy-v1"),
        Service("v2", "smtp", "none", smtp.mx_haproxy, "proxy-v2"),
        # It would relay for the guard, but knows that the stranger is another.
        Service("trusting-xclient", "smtp", "none", smtp.trusting, "xclient"),
        Service("trusting-v2", "smtp", "none", smtp.trusting_haproxy, "proxy-v2"),
        Service("submission", "submission", "none", smtp.submission_haproxy, "proxy-v2"),
        Service("imap-id", "imap", "none", imap.imap, "imap-id"),
        Service("imap-v2", "imap", "none", imap.imap_haproxy, "proxy-v2"),
    ]
    untold = Service("untold", "smtp", "none", smtp.mx)
    found = checked(public / "relay-right", mail, [*right, untold])
    assert {name: lines for name, lines in found.items() if lines} == {
        "untold": [
            "warning: announce is none: it takes every client for the guard (127.0.0.1); its"
            " limits and lists by address, and what it allows its networks, are then about all"
            " of them at once"
        ]
    }

    def seen() -> set[str]:
        lines = [line for line in mail.postfix.log().splitlines() if HELO in line]
        return {line.partition("RCPT from ")[2].partition(": 554 5.7.1")[0] for line in lines}

    wait_until(
        lambda: seen() == {"unknown[203.0.113.77]", "unknown[127.0.0.1]"}, "Postfix has refused it"
    )


def test_postfix_that_relays_for_the_guard_is_told_how_to_stop(public: Path, mail: Mail) -> None:
    service = Service("mx", "smtp", "none", mail.postfix.trusting)
    found = checked(public / "relay-wrong", mail, [service])
    (line,) = found["mx"]
    assert line.startswith("error: open relay: everybody, for it takes all clients for the guard")
    assert "may send to <relay-test@example.net> (it said: 250 2.1.5 Ok)" in line
    assert "smtpd_upstream_proxy_protocol = haproxy" in line
    assert "take 127.0.0.1 out of mynetworks" in line
    found = checked(public / "relay-unasked", mail, [service], "--no-relay-test")
    assert not found["mx"]


def test_announcements_that_are_not_taken_are_told(public: Path, mail: Mail) -> None:
    smtp, imap = mail.postfix, mail.dovecot
    wrong = [
        Service("v1", "smtp", "none", smtp.mx, "proxy-v1"),
        Service("xclient", "smtp", "none", smtp.submission_tls, "xclient"),
        Service("imap-v2", "imap", "none", imap.imap, "proxy-v2"),
        Service("ca", "imap", "none", imap.imaps, backend={"tls": "implicit"}),
    ]
    found = checked(public / "relay-untaken", mail, wrong)
    text = {name: "".join(lines) for name, lines in found.items()}
    assert all(
        line.startswith("error: a session through the guard fails") for line in text.values()
    )
    assert "smtpd_upstream_proxy_protocol = haproxy" in text["v1"]
    assert "smtpd_authorized_xclient_hosts = 127.0.0.1" in text["xclient"]
    assert "haproxy_trusted_networks = 127.0.0.1" in text["imap-v2"]
    assert "certificate verify failed" in text["ca"]


def test_exim_is_asked_too(public: Path, mail: Mail, exim_ports: dict[str, int]) -> None:
    listening = [
        Service("told", "smtp", "none", exim_ports["haproxy"], "proxy-v2"),
        Service("open", "smtp", "none", exim_ports["trusting"]),
    ]
    found = checked(public / "relay-exim", mail, listening)
    assert not found["told"]
    (line,) = found["open"]
    assert "open relay" in line
    assert "relay_from_hosts" in line
    assert "mynetworks" not in line
    log = public / "exim/mainlog"
    refused = "H=(relay-test.invalid) [203.0.113.77] F=<> rejected RCPT"
    wait_until(lambda: refused in log.read_text(), "Exim has refused it")
