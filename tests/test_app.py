"""The assembled guard in this process: serving, reloading, draining, and going on when it must."""

import json
import re
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from rig_ends import HOSTNAME, SNI_NAME, Peer, authority
from test_messengers_program import wait_for

from gatekeeper import telling
from gatekeeper.app import App
from gatekeeper.backend_watch import AWAY_AFTER
from gatekeeper.ban import Ban, Scope
from gatekeeper.cli import cli
from gatekeeper.cli.exits import BAD_CONFIGURATION
from gatekeeper.config import load
from gatekeeper.host import own_addresses
from gatekeeper.log import Log
from gatekeeper.policy.domains import DomainLists, Domains, Listed
from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.prefix import Prefix
from gatekeeper.startup import Prepared, Services, never_banned, ports_by_scope
from gatekeeper.store.sqlite import SqliteStore
from gatekeeper.verdict import Reason

LINE_S = 10.0
GREETING = b"220 mx.example ESMTP\r\n"
IMAP_GREETING = b"* OK [CAPABILITY IMAP4rev1] ready\r\n"
BANNED, WELCOME = "192.0.2.66", "192.0.2.1"


class Lines:
    """The log, line by line as it comes."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._token = trio.lowlevel.current_trio_token()
        self._send, self._receive = trio.open_memory_channel[str](1000)

    def write(self, octets: bytes) -> None:
        """Called in a thread."""
        for line in octets.decode().splitlines():
            self.seen.append(line)
            self._token.run_sync_soon(self._send.send_nowait, line)

    async def line(self, event: str) -> str:
        """The next line of `event`."""
        with trio.fail_after(LINE_S):
            async for line in self._receive:
                if line.split()[1] == event:
                    return line
        raise AssertionError("the log has ended")

    def count(self, event: str) -> int:
        """How often `event` came."""
        return sum(line.split()[1] == event for line in self.seen)


@dataclass
class Running:
    """A guard that serves SMTP behind a balancer, and IMAP."""

    directory: Path
    log: Lines
    app: App
    ports: tuple[int, int]
    backend: trio.socket.SocketType
    _ended: trio.Event
    _peers: list[Peer]

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.directory / "gatekeeper.toml"

    async def smtp(self, address: str = WELCOME) -> Peer:
        """A client of port 25, as its balancer names it."""
        client = await self._connect(self.ports[0])
        await client.send(f"PROXY TCP4 {address} 198.51.100.1 4000 25\r\n".encode())
        return client

    async def imap(self, server_name: str = HOSTNAME) -> tuple[Peer, Peer]:
        """A client of port 993 that expects `server_name`, and its backend."""
        client = await self._connect(self.ports[1])
        await client.start_tls_client(server_name=server_name, alpn="imap")
        backend = await self.accept()
        await backend.send(IMAP_GREETING)
        assert (await client.hear_line()).startswith(b"* OK")
        return client, backend

    async def greeted(self) -> tuple[Peer, Peer]:
        """An SMTP client past its greeting, and its backend."""
        client = await self.smtp()
        backend = await self.accept()
        await backend.send(GREETING)
        await client.hear(GREETING)
        return client, backend

    async def accept(self) -> Peer:
        """The guard's next connection to its backend."""
        with trio.fail_after(LINE_S):
            sock, _ = await self.backend.accept()
        return self._keep(Peer("the backend", sock))

    async def stop(self) -> None:
        """Terminate the guard and wait for its end."""
        if not self._ended.is_set() and not self.log.count("draining"):
            signal.raise_signal(signal.SIGTERM)
        with trio.fail_after(LINE_S):
            await self._ended.wait()

    async def reload(self) -> None:
        """Have the configuration read again."""
        signal.raise_signal(signal.SIGHUP)
        await trio.lowlevel.checkpoint()

    async def _connect(self, port: int) -> Peer:
        client = self._keep(Peer("the client", trio.socket.socket()))
        await client.sock.connect(("127.0.0.1", port))
        return client

    def _keep(self, peer: Peer) -> Peer:
        self._peers.append(peer)
        return peer


def configuration(directory: Path, ports: tuple[int, int], backend: int) -> str:
    return f"""
hostname = "{HOSTNAME}"
run_dir = "{directory}"
state_dir = "{directory}"

[tls]
certificate = "{directory}/tls.pem"
private_key = "{directory}/tls.key"

[[listener]]
name = "mx"
protocol = "smtp"
bind = "127.0.0.1:{ports[0]}"
tls = "starttls"
backend = "b"
proxy_protocol_from = ["127.0.0.1", "203.0.113.9"]

[[listener]]
name = "imaps"
protocol = "imap"
bind = "127.0.0.1:{ports[1]}"
tls = "implicit"
backend = "b"

[backend.b]
address = ["127.0.0.1:{backend}", "198.51.100.25:143", "mail.internal.example:143"]

[enforce]
nft = false

[store]
url = "sqlite://{directory}/bans.db"

[limits]
drain = "20s"

[rules]
early-talker = "ignore"  # its clients come through a balancer, and nobody waits for them
reverse-dns = "ignore"
"""


def show(directory: Path, name: str) -> None:
    """Put the certificate of `name` where the configuration says."""
    pair = authority().pair(name)
    shutil.copy(pair.certificate, directory / "tls.pem")
    shutil.copy(pair.private_key, directory / "tls.key")


Run = Callable[[], AbstractAsyncContextManager[Running]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A guard in this process; its end is awaited."""

    @asynccontextmanager
    async def running() -> AsyncIterator[Running]:
        log, peers, ended = Lines(), list[Peer](), trio.Event()
        monkeypatch.setattr(telling, "stderr_log", lambda: Log(log.write))
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        for sock in listening:
            sock.setblocking(False)
        ports = (listening[0].getsockname()[1], listening[1].getsockname()[1])
        with socket.create_server(("127.0.0.1", 0)) as backend:
            show(tmp_path, HOSTNAME)
            path = tmp_path / "gatekeeper.toml"
            path.write_text(configuration(tmp_path, ports, backend.getsockname()[1]))
            settings = load(path)
            named = tuple(zip(("mx", "imaps"), listening, strict=True))
            app = App(settings, path, Services(settings), Prepared(named, None, "test"))

            async def main() -> None:
                await app.main()
                ended.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(main)
                await log.line("started")
                made = Running(
                    tmp_path, log, app, ports, trio.socket.from_stdlib_socket(backend), ended, peers
                )
                yield made
                for peer in peers:
                    peer.close()
                await made.stop()

    return running


# -- serving -------------------------------------------------------------------------------------


async def test_it_serves_every_listener(run: Run) -> None:
    async with run() as guard:
        client, backend = await guard.greeted()
        await client.send(b"NOOP\r\n")
        await backend.hear(b"NOOP\r\n")
        imap, imap_backend = await guard.imap()
        await imap.send(b"a1 NOOP\r\n")
        await imap_backend.hear(b"a1 NOOP\r\n")
    assert guard.log.count("stopped") == 1


async def test_the_end_of_a_session_is_logged(run: Run) -> None:
    async with run() as guard:
        client, backend = await guard.greeted()
        await client.send(b"QUIT\r\n")
        await backend.hear(b"QUIT\r\n")
        await backend.send(b"221 bye\r\n")
        await client.hear(b"221 bye\r\n")
        line = await guard.log.line("session")
        assert f"rip={WELCOME} rport=4000" in line
        assert "end=logout" in line


# -- reloading -----------------------------------------------------------------------------------


async def test_a_reload_shows_the_new_certificate_to_new_sessions(run: Run) -> None:
    async with run() as guard:
        old, backend = await guard.imap(HOSTNAME)
        show(guard.directory, SNI_NAME)
        await guard.reload()
        await guard.log.line("reloaded")
        await guard.imap(SNI_NAME)
        await old.send(b"a1 NOOP\r\n")  # and the old session lives on
        await backend.hear(b"a1 NOOP\r\n")


async def test_a_reload_keeps_what_is_known_of_the_backends_refusals(run: Run) -> None:
    async with run() as guard:
        before = guard.app._services
        await guard.reload()
        await guard.log.line("reloaded")
        assert guard.app._services is not before
        assert guard.app._services.likenesses == before.likenesses


async def test_a_half_renewed_pair_keeps_the_old_one(run: Run) -> None:
    async with run() as guard:
        shutil.copy(authority().pair(SNI_NAME).certificate, guard.directory / "tls.pem")
        await guard.reload()
        assert "mismatch" in await guard.log.line("reload-failed")
        await guard.imap(HOSTNAME)


async def test_a_reload_names_who_is_told_that_a_backend_is_away(run: Run) -> None:
    async with run() as guard:
        told = guard.directory / "told"
        hook = guard.directory / "hook"
        hook.write_text(f"#!/bin/sh\ncat > {told}.new && mv {told}.new {told}\n")
        hook.chmod(0o755)
        text = re.sub(r"address = .*", 'address = "127.0.0.1:1"', guard.config.read_text())
        guard.config.write_text(f'{text}\n[notify]\nexec = "{hook}"\n')
        await guard.reload()
        await guard.log.line("reloaded")
        for _ in range(AWAY_AFTER):
            client = await guard.smtp()
            assert (await client.hear_line()).startswith(b"421 4.3.2 ")
        assert "state=away name=b why=" in await guard.log.line("backend")
        with trio.fail_after(LINE_S):
            await trio.to_thread.run_sync(wait_for, told, abandon_on_cancel=True)
        notice = json.loads(told.read_text())
        assert (notice["kind"], notice["subject"], notice["over"]) == ("backend", "b", False)
        assert notice["host"] == HOSTNAME
        hook.unlink()
        await guard.reload()
        assert "[notify] exec: " in await guard.log.line("reload-failed")


@pytest.mark.parametrize("broken", ["hostname = [", "nonsense = 1\n", "\0", None])
async def test_a_broken_configuration_keeps_the_old_one(run: Run, broken: str | None) -> None:
    async with run() as guard:
        if broken is None:
            guard.config.unlink()
        else:
            guard.config.write_text(broken)
        await guard.reload()
        await guard.log.line("reload-failed")
        await guard.imap(HOSTNAME)
        assert guard.log.count("reloaded") == 0


async def test_a_configuration_that_is_no_text_keeps_the_old_one(run: Run) -> None:
    async with run() as guard:
        guard.config.write_bytes(b"\xff\xfe\x80")
        await guard.reload()
        await guard.log.line("reload-failed")
        await guard.imap(HOSTNAME)


async def test_each_thing_wrong_is_a_line(run: Run) -> None:
    async with run() as guard:
        text = guard.config.read_text()
        guard.config.write_text("one_wrong = 1\nother_wrong = 2\n" + text)
        await guard.reload()
        lines = [await guard.log.line("reload-failed") for _ in range(2)]
        assert "one_wrong" in lines[0]
        assert "other_wrong" in lines[1]


async def test_changed_listeners_want_a_restart(run: Run) -> None:
    async with run() as guard:
        text = guard.config.read_text()
        guard.config.write_text(text.replace(f":{guard.ports[1]}", ":9930"))
        await guard.reload()
        assert "restart" in await guard.log.line("reload-failed")
        guard.config.write_text(text)
        await guard.reload()
        await guard.log.line("reloaded")


async def test_the_reload_command_ends_when_the_configuration_is_in_force(run: Run) -> None:
    async with run() as guard:
        show(guard.directory, SNI_NAME)
        assert (await command(guard, "reload")) == (0, f"{guard.config}: in force\n")
        await guard.imap(SNI_NAME)


async def test_the_reload_command_tells_everything_wrong_and_that_the_old_one_stays(
    run: Run,
) -> None:
    async with run() as guard:
        text = guard.config.read_text()
        guard.config.write_text("one_wrong = 1\nother_wrong = 2\n" + text)
        code, said = await command(guard, "reload")
        lines = said.splitlines()
        assert code == BAD_CONFIGURATION
        assert f"{guard.config}:1: unknown key" in lines[0]
        assert f"{guard.config}:2: unknown key" in lines[1]
        assert lines[2:] == ["gatekeeper: the guard goes on with the old configuration"]
        await guard.imap(HOSTNAME)


async def test_another_kernel_process_wants_a_restart(run: Run) -> None:
    async with run() as guard:
        text = guard.config.read_text()
        guard.config.write_text(text.replace("nft = false", 'kernel_socket = "/run/other"'))
        code, said = await command(guard, "reload")
        assert code == BAD_CONFIGURATION
        assert "[enforce] kernel_socket changed: that takes a restart" in said


async def command(guard: Running, *words: str) -> tuple[int, str]:
    """What a command of the operator ends with and says."""
    arguments = [*words, "-c", str(guard.config)]
    result = await trio.to_thread.run_sync(CliRunner().invoke, cli, arguments)
    return result.exit_code, result.output


# -- the service manager -------------------------------------------------------------------------


async def test_the_service_manager_hears_of_the_start_of_reloads_and_of_the_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        told = trio.socket.from_stdlib_socket(manager)
        heard: list[str] = []

        async def listen() -> None:
            while True:
                heard.extend((await told.recv(4096)).decode().splitlines())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            async with run() as guard:
                await guard.greeted()
                await command(guard, "reload")
            nursery.cancel_scope.cancel()
    notices = [line for line in heard if not line.startswith(("STATUS=", "WATCHDOG="))]
    assert notices[:2] == ["READY=1", "RELOADING=1"]
    assert notices[2].startswith("MONOTONIC_USEC=")
    assert notices[3:] == ["READY=1", "STOPPING=1", f"EXTEND_TIMEOUT_USEC={35 * 1_000_000}"]
    assert "STATUS=enforce: 0 sessions, 0 bans; kernel: test" in heard


# -- draining ------------------------------------------------------------------------------------


async def test_quiet_sessions_end_at_once_with_a_word(run: Run) -> None:
    async with run() as guard:
        client, _ = await guard.greeted()
        imap, _ = await guard.imap()
        started = time.monotonic()
        await guard.stop()
        assert time.monotonic() - started < 3
        assert (await client.hear_line()).startswith(b"421 ")
        await client.hear_end()
        assert (await imap.hear_line()).startswith(b"* BYE")
        assert await imap.hear_until_end() == b""
    assert "sessions=2" in next(line for line in guard.log.seen if " draining " in line)
    assert sum("end=shutdown" in line for line in guard.log.seen) == 2


async def test_mail_under_way_is_finished(run: Run) -> None:
    async with run() as guard:
        client, backend = await guard.greeted()
        for command, reply in (
            (b"EHLO c.example\r\n", b"250 mx.example\r\n"),
            (b"MAIL FROM:<a@b.example>\r\n", b"250 ok\r\n"),
            (b"RCPT TO:<c@d.example>\r\n", b"250 ok\r\n"),
            (b"DATA\r\n", b"354 go on\r\n"),
        ):
            await client.send(command)
            await backend.hear(command)
            await backend.send(reply)
            while (await client.hear_line())[3:4] == b"-":
                pass
        await client.send(b"Subject: half\r\n")
        await backend.hear(b"Subject: half\r\n")
        signal.raise_signal(signal.SIGTERM)
        await guard.log.line("draining")
        with pytest.raises(OSError, match=r"(?i)refused"):
            await guard.smtp()
        await client.send(b"\r\nbody\r\n.\r\n")
        await backend.hear(b"\r\nbody\r\n.\r\n")
        await backend.send(b"250 queued\r\n")
        await client.hear(b"250 queued\r\n")
        assert (await client.hear_line()).startswith(b"421 ")
        await guard.stop()
    assert guard.log.seen[-1].endswith("cut=0")


# -- bans ----------------------------------------------------------------------------------------


def ban_of(prefix: str) -> Ban:
    now = time.time()
    return Ban(Prefix.parse(prefix), Scope.MX, Reason.UNKNOWN_RECIPIENTS, 1, now, now + 600)


async def test_bans_are_restored_and_enforced(run: Run, tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "bans.db", 1e6)
    await store.record([ban_of(BANNED), ban_of("203.0.113.9")], time.time())
    await store.aclose()
    async with run() as guard:
        assert "bans=1" in guard.log.seen[0]  # a balancer is never banned, whatever the Store says
        client = await guard.smtp(BANNED)
        assert (await client.hear_until_end()).startswith((b"421 ", b"554 "))
        await guard.greeted()


async def test_a_ban_ends_sessions_and_outlives_the_guard(run: Run, tmp_path: Path) -> None:
    async with run() as guard:
        client, _ = await guard.greeted()
        guard.app._ledger.ban(Prefix.parse(WELCOME), Scope.MX, Reason.OPERATOR, seconds=600)
        await client.hear_reset()
        assert f"prefix={WELCOME}" in await guard.log.line("ban")
    store = await SqliteStore.open(tmp_path / "bans.db", 1e6)
    assert [str(ban.prefix) for ban in await store.load(time.time())] == [WELCOME]
    await store.aclose()


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, -1.7e9, 2.4e9])
async def test_a_clock_that_jumps_ends_no_ban_prolongs_none_and_loses_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """An hour on, an hour back, to the seventies and to the next century."""
    really, jumped = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: really() + sum(jumped))
    before = really()
    past = Ban(Prefix.parse("203.0.113.200"), Scope.MX, Reason.OPERATOR, 3, before - 90, before - 9)
    store = await SqliteStore.open(tmp_path / "bans.db", 1e6)
    await store.record([past], before)
    await store.aclose()
    async with run() as guard:
        guard.app._ledger.ban(Prefix.parse(BANNED), Scope.MX, Reason.OPERATOR, seconds=600)
        await guard.log.line("ban")
        jumped.append(jump_s)
        (mine,) = guard.app._ledger.bans()
        left_s = guard.app._ledger.remaining_s(mine.prefix, Scope.MX)
        assert left_s == pytest.approx(600, abs=30)
        client = await guard.smtp(BANNED)
        assert (await client.hear_until_end()).startswith((b"421 ", b"554 "))
        guard.app._ledger.ban(Prefix.parse("203.0.113.201"), Scope.MX, Reason.OPERATOR, seconds=60)
        await guard.log.line("ban")
        code, said = await command(guard, "ban", "list", "-o", "json")
        left = {row["prefix"]: row["remaining_s"] for row in json.loads(said)}
        assert code == 0
        assert left[BANNED] == pytest.approx(600, abs=30)
        assert guard.app._enforcement.reconciler.repaired.total() == 0
    store = await SqliteStore.open(tmp_path / "bans.db", 1e6)
    kept = {str(ban.prefix): ban for ban in await store.load(really())}
    await store.aclose()
    assert kept.keys() == {BANNED, "203.0.113.200", "203.0.113.201"}
    assert kept[BANNED].until == pytest.approx(before + 600, abs=30)


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, None])
async def test_without_its_store_it_serves_and_says_so_once(
    run: Run, tmp_path: Path, content: bytes | None
) -> None:
    if content is None:
        (tmp_path / "bans.db").mkdir()
    else:
        (tmp_path / "bans.db").write_bytes(content)
    async with run() as guard:
        await guard.greeted()
        guard.app._ledger.ban(Prefix.parse(BANNED), Scope.MX, Reason.OPERATOR, seconds=600)
        await guard.log.line("ban")
        assert "bans.db" in str(guard.app._live()["store_health"])
    assert guard.log.count("health") == 1


# -- what is worked out of the settings ----------------------------------------------------------


def test_who_is_never_banned_and_which_ports_bans_speak_of(tmp_path: Path) -> None:
    path = tmp_path / "gatekeeper.toml"
    text = 'allow = ["192.0.2.0/24"]\n' + configuration(tmp_path, (25, 993), 10143)
    path.write_text(text)
    settings = load(path)
    never = never_banned(settings)
    for prefix in ("127.0.0.0/8", "::1", "192.0.2.0/24", "198.51.100.25", "203.0.113.9"):
        assert Prefix.parse(prefix) in never
    assert own_addresses() <= never
    assert ports_by_scope(settings) == ([993], [25])


async def test_lists_are_not_asked_about_whom_all_domains_welcome(run: Run) -> None:
    async with run() as guard:
        client, other = Prefix.parse("203.0.113.77"), Prefix.parse("203.0.113.78")
        assert not guard.app._exempt(client)
        white = Listed(ips=PrefixSet([client]))
        guard.app._take_domains(Domains({"example.org": DomainLists(white=white)}))
        assert not guard.app._exempt(client)  # one domain does not speak for all
        guard.app._take_domains(Domains({}, DomainLists(white=white)))
        assert guard.app._exempt(client)
        assert not guard.app._exempt(other)
        guard.app._take_domains(None)
        assert not guard.app._exempt(client)
