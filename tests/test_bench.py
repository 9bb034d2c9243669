"""The bench's pure half: configurations, command lines, statistics, and what the report says."""

import json
import shutil
import socket
import string
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import ban, configs, endurance, report
from bench.configs import Backend, Front
from bench.measure import Wrong, parse_report
from bench.proxies import CONTENDERS
from bench.results import GUARD, OTHERS, BanLine, Line, Results, Sample
from bench.scenarios import IDLE, SCENARIOS, Service
from bench.workshop import BENCH, Certificates, free_ports
from gatekeeper.config import load
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Treatment
from gatekeeper.verdict import Reason

FRONT = Front(imaps=1993, submissions=1465, submission=1587)
BACKEND = Backend(smtp=2025, imap=2143, auth=2080)
TLS = Certificates(
    ecdsa=Path("/b/ecdsa.pem"),
    ecdsa_key=Path("/b/ecdsa.key"),
    rsa=Path("/b/rsa.pem"),
    rsa_key=Path("/b/rsa.key"),
    bundle=Path("/b/bundle.pem"),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def _line(**figures: list[float]) -> Line:
    line = Line("login", "IMAP login", "µs", 1.25)
    for name, values in figures.items():
        for value in values:
            line.add(name.replace("_", "-"), Sample(value, per_s=100.0, p50_ms=1.0, p99_ms=2.0))
    return line


def _results(*lines: Line) -> Results:
    return Results(machine={"kernel": "6.1"}, rounds=3, quick=False, lines=list(lines))


# ---- configurations ----


def test_the_guards_configuration_is_one_that_it_accepts(tmp_path: Path) -> None:
    file = tmp_path / "gatekeeper.conf"
    file.write_text(configs.gatekeeper(FRONT, BACKEND, TLS, tmp_path))
    settings = load(file)
    assert [bind.port for one in settings.listeners for bind in one.bind] == [1993, 1465, 1587]
    assert [pair.certificate.name for pair in settings.tls.pairs] == ["ecdsa.pem", "rsa.pem"]
    assert settings.store.path is None
    assert not settings.enforce.nft
    assert settings.limits.sessions_per_address >= IDLE.count


def test_every_contender_announces_the_client_in_the_same_way(tmp_path: Path) -> None:
    assert "proxy_protocol on;" in configs.nginx(FRONT, BACKEND, TLS, tmp_path, "")
    assert configs.haproxy(FRONT, BACKEND, TLS, 0).count("send-proxy") == 2
    assert configs.gatekeeper(FRONT, BACKEND, TLS, tmp_path).count('"proxy-v1"') == 2


def test_buffers_are_left_alone_unless_tuned(tmp_path: Path) -> None:
    assert "proxy_buffer" not in configs.nginx(FRONT, BACKEND, TLS, tmp_path, "")
    assert "proxy_buffer 128k;" in configs.nginx(FRONT, BACKEND, TLS, tmp_path, "128k")
    assert "tune.bufsize" not in configs.haproxy(FRONT, BACKEND, TLS, 0)
    assert "tune.bufsize 131072" in configs.haproxy(FRONT, BACKEND, TLS, 131072)


def test_every_contender_runs_one_worker(tmp_path: Path) -> None:
    assert "worker_processes 1;" in configs.nginx(FRONT, BACKEND, TLS, tmp_path, "")
    assert "nbthread 1" in configs.haproxy(FRONT, BACKEND, TLS, 0)


def test_there_is_one_guard_and_both_others_default_and_tuned() -> None:
    assert [one.name for one in CONTENDERS] == [GUARD, *OTHERS]


# ---- scenarios ----


def test_a_resumed_login_asks_the_load_for_resumption() -> None:
    words = BY_NAME["login-resumed"].arguments(1993, 10, 2, "right")
    assert words[0] == "imap-login"
    assert "--resume" in words
    assert "--starttls" not in words
    assert words[words.index("--port") + 1] == "1993"


def test_starttls_goes_to_the_starttls_port_with_its_flag() -> None:
    scenario = BY_NAME["submission-starttls"]
    assert scenario.service is Service.SUBMISSION
    assert "--starttls" in scenario.arguments(1587, 1, 1, "right")


def test_bulk_counts_gibibytes_and_the_rest_counts_sessions() -> None:
    assert BY_NAME["fetch"].units(16) == pytest.approx(1.0)
    assert BY_NAME["login"].units(16) == 16


def test_the_goals_are_those_of_the_issue() -> None:
    goals = {scenario.name: scenario.target for scenario in (*SCENARIOS, IDLE)}
    assert goals["login"] == goals["login-resumed"] == 1.25
    assert goals["submission"] == 1.3
    assert goals["fetch"] == 0.75
    assert goals["append"] == goals["data"] == 1.0
    assert goals["idle"] == 0.8


# ---- the load generator's words ----


def test_a_report_of_the_load_is_read() -> None:
    text = (
        '{"done": 3, "refused": 0, "failed": 1, "failure": "connect", "resumed": 2, "octets": 5,'
        ' "key": "EC", "tls": "TLSv1.3", "wall_s": 0.5, "p50_ms": 1, "p90_ms": 2, "p99_ms": 3}'
    )
    assert parse_report(text).failed == 1


@pytest.mark.parametrize("text", ["", "load: no thread", "{}", '{"done": 1}'])
def test_anything_else_of_the_load_is_wrong(text: str) -> None:
    with pytest.raises(Wrong):
        parse_report(text)


# ---- statistics ----


def test_the_figure_is_the_median_and_the_ratio_that_of_medians() -> None:
    line = _line(gatekeeper=[10, 90, 12], nginx=[8, 10, 400])
    assert line.figure("gatekeeper") == 12
    assert line.ratio("gatekeeper", "nginx") == pytest.approx(1.2)


def test_the_spread_is_relative_to_the_median() -> None:
    assert _line(nginx=[9, 10, 12]).spread("nginx") == pytest.approx(0.3)


def test_what_was_not_measured_has_no_figure_and_no_ratio() -> None:
    line = _line(gatekeeper=[10])
    assert line.figure("haproxy") is None
    assert line.ratio("gatekeeper", "haproxy") is None
    assert line.spread("haproxy") is None


def test_results_survive_their_file() -> None:
    results = _results(_line(gatekeeper=[1, 2], nginx_tuned=[3]))
    results.problems.append("one")
    assert Results.from_json(results.to_json()) == results


# ---- the report ----


def test_a_goal_reached_is_bold_and_one_missed_is_said() -> None:
    assert "**1.20**" in report.table(_results(_line(gatekeeper=[12], nginx=[10])))
    assert "1.30 (missed)" in report.table(_results(_line(gatekeeper=[13], nginx=[10])))


def test_the_table_has_every_contender_and_a_dash_where_nothing_was_measured() -> None:
    rows = report.table(_results(_line(gatekeeper=[100], haproxy=[200]))).splitlines()
    cells = [cell.strip() for cell in rows[2].split("|")[1:-1]]
    assert cells == [
        "IMAP login",
        "µs",
        "100",
        "-",
        "-",
        "200",
        "-",
        "-",
        "≤ 1.25",
        "-",
        "0.50",
        "-",
    ]


def test_the_page_names_the_machine_the_method_and_every_problem() -> None:
    results = _results(_line(gatekeeper=[12], nginx=[10]))
    assert "No session of any contender failed." in report.document(results)
    results.problems.append("nginx, login: sessions failed")
    page = report.document(results)
    assert "* nginx, login: sessions failed" in page
    assert "No session of any contender failed." not in page
    assert "| kernel | 6.1 |" in page
    assert "./run bench" in page


def test_growth_is_counted_from_the_settled_size_to_the_end() -> None:
    words = endurance.soak_words([50_000, 60_000, 60_100, 60_200], 1000)
    assert "4,000 sessions" in words
    assert "+200 KiB" in words
    assert "+102.4 octets a session" in words


# ---- from the failed login to the kernel ----


def test_the_guard_that_bans_uses_kernel_and_database_and_puts_nobody_off(tmp_path: Path) -> None:
    file = tmp_path / "gatekeeper.conf"
    file.write_text(configs.banning("192.0.2.25", 993, 143, TLS, tmp_path))
    settings = load(file)
    assert settings.enforce.nft
    assert settings.store.path == tmp_path / "state" / configs.BANS
    policy = settings.policy
    assert policy.auth_ban_score == policy.auth_tarpit_score == configs.WRONG_PASSWORDS
    assert policy.auth_suspect_share == 1
    assert set(settings.rules) == {
        Reason.SUSPECT_NETWORK,
        Reason.ACCOUNT_ATTACKED,
        Reason.ATTACK_LEVEL,
    }
    assert set(settings.rules.values()) == {Treatment.OBSERVE}


def test_bans_held_before_are_different_in_force_and_not_the_attackers() -> None:
    now = 1_700_000_000.0
    bans = ban.preloaded(ban.GOAL_HELD, now)
    prefixes = {one.prefix for one in bans}
    assert len(prefixes) == ban.GOAL_HELD
    assert all(one.since < now < one.until - 3600 for one in bans)
    assert prefixes.isdisjoint(Prefix.parse(source) for source in ban.attackers(ban.COUNT))


def test_every_ban_has_an_attacker_of_its_own_as_far_as_the_network_goes() -> None:
    assert ban.attackers(2) == ["203.0.113.1", "203.0.113.2"]
    assert len(set(ban.attackers(254))) == 254
    with pytest.raises(ValueError, match="254"):
        ban.attackers(255)


def test_the_goal_for_bans_is_that_of_the_issue() -> None:
    assert (ban.GOAL_HELD, ban.GOAL_MS) == (100_000, 5.0)
    assert ban.GOAL_HELD in ban.HELD
    assert min(ban.COUNT, ban.QUICK_COUNT) >= 30


def test_a_share_of_the_delays_is_one_that_was_measured() -> None:
    line = BanLine(0, None, delays_ms=[3.0, 1.0, 2.0, 10.0])
    assert line.median_ms == 2.5
    assert line.delay_ms(0.5) == 2.0
    assert line.delay_ms(0.9) == line.delay_ms(1) == 10.0
    assert line.delay_ms(0) == 1.0


def test_the_bans_are_told_with_goal_and_restore_and_survive_their_file() -> None:
    results = _results(_line(gatekeeper=[1]))
    results.bans = [
        BanLine(0, None, delays_ms=[0.5, 0.7, 0.9], served_s=0.3, restored_s=0.3),
        BanLine(
            100_000,
            5.0,
            delays_ms=[1.0, 1.25, 9.5],
            served_s=1.4,
            restored_s=4.0,
            logins_ms=[2.0, 21.0],
        ),
    ]
    page = report.document(results)
    assert "| 0 | 3 | 0.70 | 0.90 | 0.90 | - |" in page
    assert "| 100,000 | 3 | **1.25** | 9.50 | 9.50 | median < 5 ms |" in page
    assert "With no bans in its database the guard serves 0.3 s after its start." in page
    assert "holds all of them after 4.0 s; of 2 logins meanwhile the slowest took 21 ms." in page
    assert Results.from_json(results.to_json()) == results


def test_a_missed_goal_for_bans_is_said() -> None:
    results = _results()
    results.bans = [BanLine(100_000, 5.0, delays_ms=[5.0, 5.0, 6.0])]
    assert "| 5.00 (missed) |" in report.bans(results)


def test_bans_that_could_not_be_measured_say_why() -> None:
    results = _results()
    results.no_bans = "network namespaces and nftables need root"
    assert "not measured: network namespaces and nftables need root." in report.document(results)


def test_without_bans_the_report_is_silent_about_them() -> None:
    results = _results(_line(gatekeeper=[1]))
    assert report.bans(results) == ""
    assert "From the failed login" not in report.document(results)


def test_a_run_written_before_bans_were_measured_is_still_read() -> None:
    raw = json.loads(_results(_line(gatekeeper=[1])).to_json())
    del raw["bans"], raw["no_bans"]
    assert Results.from_json(json.dumps(raw)) == _results(_line(gatekeeper=[1]))


# ---- the backend ----


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[socket.socket]:
    """A session with the real backend, behind its 354."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    program = tmp_path / "backend"
    sources = [str(BENCH / source) for source in ("backend.c", "service.c", "pattern.c")]
    subprocess.run(["gcc", "-std=c11", "-o", str(program), *sources], check=True)
    (port,) = free_ports(1)
    command = [str(program), f"smtp:{port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with socket.create_connection(("127.0.0.1", port), timeout=10) as session:
            session.sendall(b"DATA\r\n")
            _receive_until(session, b"354 go on\r\n")
            yield session
        process.stdin.close()


def _receive_until(session: socket.socket, end: bytes) -> bytes:
    got = b""
    while not got.endswith(end):
        octets = session.recv(4096)
        assert octets, got
        got += octets
    return got


def _content(lines: int) -> bytes:
    """What `pattern.c` describes, made once more: two dots begin each 64th line."""
    alphabet = (string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/").encode()
    rows = [
        bytes(alphabet[(at * 7 + column * 11) % 64] for column in range(76)) for at in range(64)
    ]
    rows[0] = b".." + rows[0][2:]
    return b"".join(rows[at % 64] + b"\r\n" for at in range(lines))


def test_the_backend_counts_the_octets_of_a_message(smtp: socket.socket) -> None:
    smtp.sendall(_content(130) + b".\r\n")
    assert _receive_until(smtp, b"\r\n") == b"250 2.0.0 octets taken: 10140\r\n"


def test_the_backend_takes_a_message_octet_by_octet(smtp: socket.socket) -> None:
    smtp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in _content(66) + b".\r\n":
        smtp.send(bytes([octet]))
    assert _receive_until(smtp, b"\r\n") == b"250 2.0.0 octets taken: 5148\r\n"


@pytest.mark.parametrize(
    "changed",
    [
        _content(3).replace(b"..", b".", 1),
        _content(3)[:-81] + b"x" + _content(3)[-79:],
        bytes(156),
    ],
    ids=["a dot lost", "an octet changed", "only NUL"],
)
def test_the_backend_notices_content_that_was_changed(smtp: socket.socket, changed: bytes) -> None:
    smtp.sendall(changed + b"\r\n.\r\n")
    assert _receive_until(smtp, b"\r\n").startswith(b"554 ")
