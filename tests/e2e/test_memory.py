"""What the guard learns of accounts outlives it, and tells nobody who reads the database."""

import datetime
import stat
from pathlib import Path

from .accounts import ALICE, BOB, PASSWORDS
from .conftest import Mail
from .guard_process import Guard, Service, guard
from .line_client import LineClient

SEEDED = "198.51.100.77"


def login(running: Guard, mail: Mail, account: str, source: str) -> bytes:
    client = LineClient(running.ports["imaps"], source=source, tls=mail.authority.client_context())
    with client.sock:
        assert client.line().startswith(b"* OK ")
        return client.ask(f"a LOGIN {account} {PASSWORDS[account]}".encode())


def test_familiar_nets_outlive_the_guard(
    public: Path, mail: Mail, source: str, tmp_path: Path
) -> None:
    base = public / tmp_path.name
    service = Service("imaps", "imap", "implicit", mail.dovecot.imap_haproxy, "proxy-v2")
    net = source.rpartition(".")[0] + ".0/24"
    log = tmp_path / "mail.log"
    at = datetime.datetime.now(datetime.UTC).isoformat()
    log.write_text(
        f"{at} mx dovecot: imap-login: Login: user=<{BOB}>, method=PLAIN, rip={SEEDED},"
        " lip=192.0.2.1, mpid=1, TLS, session=<x>\n"
    )

    with guard(base, [service], mail.pairs) as first:
        assert b"a OK " in login(first, mail, ALICE, source)
        assert net in first.command("account", "show", ALICE)
        first.command("import", "dovecot-log", str(log))
        assert "198.51.100.0/24" in first.command("account", "show", BOB)
    with guard(base, [service], mail.pairs) as second:
        assert net in second.command("account", "show", ALICE)
        assert "198.51.100.0/24" in second.command("account", "show", BOB)

    state = base / "state"
    assert stat.S_IMODE((state / "account.key").stat().st_mode) == 0o600
    kept = b"".join(path.read_bytes() for path in state.glob("gatekeeper.db*"))
    assert b"198.51.100.0/24" in kept
    assert ALICE.encode() not in kept
    assert PASSWORDS[ALICE].encode() not in kept
    assert (state / "account.key").read_bytes() not in kept
