"""Good logins in log lines: the forms servers write, and what strangers write into them."""

import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.log_stamps import Stamp
from gatekeeper.wire.login_lines import MAX_LINE_OCTETS, Login, Skipped, read_login

STAMP: Final = Stamp(None, 11, 25, 13, 0, 1, None)
TAIL: Final = "lip=192.0.2.1, mpid=28508, TLS, session=<nkM0exphSKZ/AAAB>"
ANN: Final = Login("ann@example.org", "198.51.100.7", STAMP)


def login(name: str = "ann@example.org", rip: str = "198.51.100.7", tail: str = TAIL) -> str:
    return f"Login: user=<{name}>, method=PLAIN, rip={rip}, {tail}"


def syslog(text: str, tag: str = "dovecot") -> bytes:
    return f"Nov 25 13:00:01 mail {tag}: {text}\n".encode()


def dovecot(name: str = "ann@example.org", rip: str = "198.51.100.7", tail: str = TAIL) -> bytes:
    return syslog(f"imap-login: {login(name, rip, tail)}")


def postfix(
    client: str = "host.example.net[198.51.100.7]",
    name: str = "ann@example.org",
    tag: str = "postfix/submission/smtpd[123]",
) -> bytes:
    return syslog(f"4ABC12: client={client}, sasl_method=PLAIN, sasl_username={name}", tag)


@pytest.mark.parametrize(
    "line",
    [
        f"Nov 25 13:00:01 mail dovecot: imap-login: {login()}",
        f"Nov 25 13:00:01 mail.example.org dovecot[71]: imap-login: {login()}",
        f"Nov 25 13:00:01 mail dovecot-b: imap-login: {login()}",
        f"Nov 25 13:00:01 mail dovecot: pop3-login: {login()}",
        f"Nov 25 13:00:01 mail dovecot: submission-login: {login()}",
        f"Nov 25 13:00:01 mail dovecot: managesieve-login: {login()}",
        f"Nov 25 13:00:01 mail dovecot: imap-login: Logged in{login()[5:]}",  # Dovecot 2.4
        f"Nov 25 13:00:01 imap-login: Info: {login()}",  # its own log file
        f"Nov 25 13:00:01 mail dovecot: imap-login: {login(tail='lip=192.0.2.1')}\r\n",
        "Nov 25 13:00:01 mail dovecot: imap-login: "
        "Login: user=<ann@example.org>, method=PLAIN, rip=198.51.100.7",
    ],
)
def test_each_form_of_dovecots_login_is_read(line: str) -> None:
    assert read_login(line.encode()) == ANN


@pytest.mark.parametrize(
    ("stamp", "read"),
    [
        ("2026-11-25T13:00:01.123456+01:00", Stamp(2026, 11, 25, 13, 0, 1, 3600)),
        ("2026-11-25T13:00:01+0100", Stamp(2026, 11, 25, 13, 0, 1, 3600)),
        ("2026-11-25 13:00:01", Stamp(2026, 11, 25, 13, 0, 1, None)),
    ],
)
def test_other_stamps_are_read(stamp: str, read: Stamp) -> None:
    line = f"{stamp} mail dovecot[9]: imap-login: {login()}".encode()
    assert read_login(line) == Login(ANN.authcid, ANN.address, read)


@pytest.mark.parametrize("rip", ["2001:db8::7", "::ffff:198.51.100.7", "192.0.2.255"])
def test_addresses_of_both_families_are_read(rip: str) -> None:
    assert read_login(dovecot(rip=rip)) == Login("ann@example.org", rip, STAMP)


@pytest.mark.parametrize("name", ["ann", "tür@example.org", "u><v", 'back\\"q', "a, rip=1", "a b"])
def test_a_name_may_hold_what_its_server_lets_it(name: str) -> None:
    assert read_login(dovecot(name)) == Login(name, "198.51.100.7", STAMP)


def test_postfix_tells_of_logins_too() -> None:
    assert read_login(postfix()) == ANN
    assert read_login(postfix("unknown[198.51.100.7]:52011", tag="postfix/smtps/smtpd[7]")) == ANN
    six = read_login(postfix("unknown[2001:db8::7]"))
    assert six == Login("ann@example.org", "2001:db8::7", STAMP)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"\xff\xfe\x00",
        b"Nov 25 13:00:01 mail sshd[1]: Accepted password for ann",
        syslog(f"lmtp: {login()}"),
        syslog(f"lmtp-login: {login()}"),
        syslog("imap-login: Disconnected (auth failed, 3 attempts in 9 secs): user=<ann>"),
        syslog("imap-login: Disconnected: Login: user=<ann>, method=PLAIN, rip=6.6.6.6"),
        syslog("imap(ann)<1><x>: Info: Disconnected: Logged out"),
        syslog("4ABC12: client=host.example.net[198.51.100.7]", "postfix/smtpd[1]"),
        login().encode(),  # no stamp, no service
    ],
)
def test_other_lines_are_passed_over(line: bytes) -> None:
    assert read_login(line) is Skipped.OTHER


FORGED: Final = "Login: user=<victim>, method=PLAIN, rip=6.6.6.6, lip=192.0.2.1, session=<x"


@pytest.mark.parametrize(
    "line",
    [
        # A failed login, a mailbox or a folder by the name of a good login's line.
        syslog(f"imap-login: Disconnected (auth failed): user=<imap-login: {FORGED}>, rip=6.6.6.6"),
        syslog(f"imap(imap-login: {FORGED}>)<1><x>: Disconnected"),
        syslog(f"imap(x): imap-login: {FORGED}>"),
        f"Nov 25 13:00:01 imap(x): imap-login: Info: {FORGED}>".encode(),
        syslog(f"4ABC12: reject: RCPT from unknown[6.6.6.6]: <imap-login: {FORGED}>", "postfix/x"),
        # Other programs that log what they are told.
        syslog(f"imap-login: {FORGED}>", "roundcube"),
        syslog(f"dovecot: imap-login: {FORGED}>", "webmail"),
        syslog("x, sasl_username=victim", "postfix/cleanup[1]"),
        syslog(
            "4ABC12: client=x.example[6.6.6.6], sasl_method=PLAIN, sasl_username=victim", "webmail"
        ),
    ],
)
def test_a_good_login_within_another_line_is_none(line: bytes) -> None:
    assert read_login(line) is Skipped.OTHER


@pytest.mark.parametrize(
    "name",
    [
        "victim>, method=PLAIN, rip=6.6.6.6, lip=192.0.2.1, session=<x",
        "victim>, method=plain, rip=6.6.6.6, lip=192.0.2.1, TLS",  # Dovecot makes names lower case
        "victim>, method=",
        "x>, method=PLAIN, rip=6.6.6.6, user=<victim",
    ],
)
def test_a_name_with_the_end_of_a_name_is_nobodys(name: str) -> None:
    """As a real Dovecot writes it that lets such names in: neither the victim nor its owner."""
    assert read_login(dovecot(name)) is Skipped.UNREADABLE


@pytest.mark.parametrize("name", ["victim>, rip=6.6.6.6, x", "victim>, rip=6.6.6.6, session=<x"])
def test_a_name_with_an_address_is_a_name(name: str) -> None:
    assert read_login(dovecot(name)) == Login(name, "198.51.100.7", STAMP)


@pytest.mark.parametrize("name", ["victim>, rip=6.6.6.6, x", "victim>, rip=6.6.6.6, session=<x"])
def test_it_is_none_where_the_log_has_no_addresses(name: str) -> None:
    """`login_log_format_elements` without `rip=%r`: the only address is the name's own."""
    line = syslog(f"imap-login: Login: user=<{name}>, method=PLAIN, lip=192.0.2.1, TLS")
    assert read_login(line) is Skipped.UNREADABLE


@pytest.mark.parametrize(
    "line",
    [
        dovecot("q" * 80 + "..."),  # cut by Dovecot
        dovecot("a?b"),  # not printed by Dovecot
        dovecot(""),
        dovecot("a\x1b[2J"),
        dovecot("n" * 2_000),
        dovecot(rip="localhost"),
        dovecot(rip=""),
        dovecot(rip="1.2.3.4.5"),
        dovecot(rip="fe80::1%eth0"),
        dovecot().replace(b"ann@", b"\xe4nn@"),
        dovecot(tail="x" * MAX_LINE_OCTETS),
        syslog("imap-login: Login: user=<ann>, rip=198.51.100.7"),
        syslog("imap-login: Login: user=<ann"),
        postfix(name="ann, sasl_sender=victim"),
        postfix(name="victim, sasl_sender="),
        postfix(name=""),
        postfix("unknown[1.2.3]"),
    ],
)
def test_logins_that_are_not_surely_somebodys_are_unreadable(line: bytes) -> None:
    assert read_login(line) is Skipped.UNREADABLE


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=120))
def test_no_name_is_taken_for_another(name: str) -> None:
    read = read_login(dovecot(name))
    assert read is Skipped.UNREADABLE or read == Login(name, "198.51.100.7", STAMP)


PIECES: Final = st.sampled_from(
    [
        *("victim", "PLAIN", "6.6.6.6", ">", "<", ", ", ":", "?", "...", "\\"),
        *("method=", "rip=", "lip=", "user=<", "session=<", "Login: ", "imap-login: ", "dovecot: "),
        ">, method=PLAIN, rip=6.6.6.6",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_name_of_the_lines_own_words_is_taken_for_another(name: str) -> None:
    read = read_login(dovecot(name))
    assert read is Skipped.UNREADABLE or read == Login(name, "198.51.100.7", STAMP)


@given(st.binary(max_size=300))
def test_any_octets_are_read_without_an_error(octets: bytes) -> None:
    for head in (b"", b"Nov 25 13:00:01 ", dovecot()[:60], postfix()[:90]):
        read_login(head + octets)


@pytest.mark.parametrize(
    "filler",
    [
        b">, method=",
        b">, method=PLAIN, rip=",
        b", rip=1",
        b"<",
        b"A",
        b"a.",
        b"mail dovecot[1",
        b":",
    ],
)
@pytest.mark.parametrize("start", [0, 16, 21, 34, 60])
def test_hostile_lines_take_no_more_time_than_long_ones(filler: bytes, start: int) -> None:
    """1.3 MB of lines at 64 KiB: quadratic work would be minutes, this is well below a second."""
    head = dovecot()[:start]
    line = (head + b"-login: " + filler * (MAX_LINE_OCTETS // len(filler)))[:MAX_LINE_OCTETS]
    before = time.process_time()
    for _ in range(20):
        read_login(line)
    assert time.process_time() - before < 2.0
