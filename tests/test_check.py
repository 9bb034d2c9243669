"""What `check` finds on a host, with real certificates, ports and directories."""

import dataclasses
import datetime
import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from gatekeeper.check import Finding, Severity, check, host, xdp
from gatekeeper.check.backends import check_reach, check_secrecy
from gatekeeper.check.certificates import check_certificates
from gatekeeper.check.host import check_directories, check_kernel, check_ports
from gatekeeper.check.nftables import nf_tables_trouble
from gatekeeper.check.running import check_running
from gatekeeper.check.xdp import check_xdp
from gatekeeper.events import MailProtocol
from gatekeeper.settings import (
    BackendSettings,
    CertificatePair,
    Endpoint,
    EnforceSettings,
    ListenerSettings,
    Settings,
    SniSettings,
    StoreSettings,
    TlsMode,
    TlsSettings,
)

NAME = "mail.example.org"


def a_pair(
    directory: Path, *names: str, days: float = 90, stem: str = "x", chain: bool = True
) -> CertificatePair:
    """A leaf for `names` under a fresh authority, with an intermediate if `chain`."""
    root = trustme.CA()
    issuer = root.create_child_ca()
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    leaf = issuer.issue_cert(*names, not_after=until)
    blobs = leaf.cert_chain_pems if chain else leaf.cert_chain_pems[:1]
    pair = CertificatePair(directory / f"{stem}.pem", directory / f"{stem}.key")
    pair.certificate.write_bytes(b"".join(blob.bytes() for blob in blobs))
    pair.private_key.write_bytes(leaf.private_key_pem.bytes())
    pair.private_key.chmod(0o600)
    return pair


def found(tls: TlsSettings, hostname: str = NAME) -> list[str]:
    return [
        f"{f.severity.value}: {Path(f.subject).name}: {f.text}"
        for f in check_certificates(tls, hostname, time.time())
    ]


def test_good_pair_finds_nothing(tmp_path: Path) -> None:
    assert found(TlsSettings((a_pair(tmp_path, NAME),))) == []


def test_wildcard_is_for_one_label(tmp_path: Path) -> None:
    tls = TlsSettings((a_pair(tmp_path, "*.example.org"),))
    assert found(tls) == []
    assert found(tls, "a.mail.example.org") != []


def test_name_that_is_not_in_the_certificate(tmp_path: Path) -> None:
    pair = a_pair(tmp_path, NAME)
    tls = TlsSettings((pair,), (SniSettings((NAME, "other.example"), (pair,)),))
    assert found(tls) == ['warning: x.pem: is not for the name "other.example"']


def test_pair_that_does_not_match(tmp_path: Path) -> None:
    one, other = a_pair(tmp_path, NAME, stem="a"), a_pair(tmp_path, NAME, stem="b")
    (line,) = found(TlsSettings((CertificatePair(one.certificate, other.private_key),)))
    assert line.startswith("error: tls: ")
    assert "key values mismatch" in line


def test_absent_file(tmp_path: Path) -> None:
    pair = a_pair(tmp_path, NAME)
    pair.private_key.unlink()
    (line,) = found(TlsSettings((pair,)))
    assert "No such file" in line


@pytest.mark.parametrize(
    ("days", "line"),
    [
        (-1, "error: x.pem: clients will refuse it: certificate has expired"),
        (5.01, "warning: x.pem: expires in 5 days: was it renewed?"),
    ],
)
def test_time_running_out(tmp_path: Path, days: float, line: str) -> None:
    assert found(TlsSettings((a_pair(tmp_path, NAME, days=days),))) == [line]


def test_clock_is_an_argument(tmp_path: Path) -> None:
    tls = TlsSettings((a_pair(tmp_path, NAME, days=90),))
    (finding,) = check_certificates(tls, NAME, time.time() + 100 * 86400)
    assert finding == Finding(Severity.ERROR, str(tmp_path / "x.pem"), "has expired")


def test_missing_intermediate(tmp_path: Path) -> None:
    (line,) = found(TlsSettings((a_pair(tmp_path, NAME, chain=False),)))
    assert "holds no intermediate certificate" in line


def test_key_everybody_may_read(tmp_path: Path) -> None:
    pair = a_pair(tmp_path, NAME)
    pair.private_key.chmod(0o644)
    (line,) = found(TlsSettings((pair,)))
    assert line.startswith("warning: x.key: may be read by every user")


def test_name_served_twice(tmp_path: Path) -> None:
    sni = SniSettings((NAME,), (a_pair(tmp_path, NAME),))
    (line,) = found(TlsSettings((), (sni, sni)))
    assert f'"{NAME}" stands twice' in line


@pytest.fixture
def listening() -> Iterator[Endpoint]:
    """An address on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Endpoint(*server.getsockname())


@pytest.fixture
def closed(listening: Endpoint) -> Endpoint:
    """An address on which nobody listens: another of loopback's, same port."""
    return Endpoint("127.0.0.2", listening.port)


def some_settings(directory: Path, bind: Endpoint, *backend: Endpoint) -> Settings:
    listener = ListenerSettings("imaps", MailProtocol.IMAP, (bind,), TlsMode.IMPLICIT, "dovecot")
    return Settings(
        hostname=NAME,
        tls=TlsSettings(),
        listeners=(listener,),
        backends={"dovecot": BackendSettings("dovecot", backend)},
        run_dir=directory,
        user="nobody",
    )


def test_port_in_use_is_an_error_unless_a_guard_runs(
    tmp_path: Path, listening: Endpoint, closed: Endpoint
) -> None:
    settings = some_settings(tmp_path, listening)
    (finding,) = check_ports(settings, running=False)
    assert str(finding) == f"error: listener imaps: {listening}: Address already in use"
    assert list(check_ports(settings, running=True)) == []
    assert list(check_ports(some_settings(tmp_path, closed), running=False)) == []


def test_address_of_another_host(tmp_path: Path) -> None:
    (finding,) = check_ports(some_settings(tmp_path, Endpoint("192.0.2.1", 993)), running=True)
    assert "Cannot assign requested address" in finding.text


def test_backend_that_does_not_answer_is_a_warning(
    tmp_path: Path, listening: Endpoint, closed: Endpoint
) -> None:
    findings = check_reach(some_settings(tmp_path, listening, listening, closed))
    text = f"{closed} does not answer: Connection refused"
    assert findings == [Finding(Severity.WARNING, "backend dovecot", text)]


def test_name_that_does_not_resolve_is_a_warning(
    tmp_path: Path, closed: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)  # no name server is asked by a test
    (finding,) = check_reach(some_settings(tmp_path, closed, Endpoint("no-such.invalid", 25)))
    text = "no-such.invalid:25 does not answer: Name or service not known"
    assert finding == Finding(Severity.WARNING, "backend dovecot", text)


def test_passwords_in_the_clear_are_told(tmp_path: Path) -> None:
    far = Endpoint("192.0.2.7", 143)
    settings = some_settings(tmp_path, far, far, Endpoint("localhost", 143))
    (backend,) = check_secrecy(settings)
    assert backend.text == "passwords go in the clear to 192.0.2.7:143: tls is none"
    listener = dataclasses.replace(settings.listeners[0], tls=TlsMode.NONE)
    findings = list(check_secrecy(dataclasses.replace(settings, listeners=(listener,))))
    assert findings[0].text == "passwords come in the clear on 192.0.2.7:143: tls is none"
    mx = dataclasses.replace(listener, protocol=MailProtocol.SMTP)
    assert list(check_secrecy(dataclasses.replace(settings, listeners=(mx,)))) == []


def test_backend_nobody_uses(tmp_path: Path, closed: Endpoint) -> None:
    settings = some_settings(tmp_path, closed, closed)
    settings.backends["spare"] = BackendSettings("spare", (closed,))
    assert [f"{f.subject}: {f.text}" for f in check_secrecy(settings)] == [
        "backend spare: no listener uses it"
    ]


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user, whoever runs the test: root may write everywhere."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    def access(path: Path, mode: int) -> bool:
        return bool(path.stat().st_mode & 0o200)

    monkeypatch.setattr(os, "access", access)


@pytest.mark.usefixtures("ordinary")
def test_directory_that_may_not_be_written(tmp_path: Path, closed: Endpoint) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    settings = dataclasses.replace(
        some_settings(locked, closed), store=StoreSettings(locked / "state" / "x.db")
    )
    assert [str(finding) for finding in check_directories(settings)] == [
        f"error: run_dir: {locked} may not be written by this user",
        f"warning: [store] url: {locked}/state is not there; systemd makes it when the service "
        "starts",
    ]
    assert list(check_directories(some_settings(tmp_path / "new", closed))) == []


def test_directory_that_is_none(tmp_path: Path, closed: Endpoint) -> None:
    file = tmp_path / "file"
    file.touch()
    (finding,) = check_directories(some_settings(file, closed))
    assert str(finding) == f"error: run_dir: {file} is no directory"


def test_account_that_is_not_there(
    tmp_path: Path, closed: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    settings = dataclasses.replace(some_settings(tmp_path, closed), user="nobody-here")
    (finding,) = check_directories(settings)
    assert str(finding) == 'error: user: there is no account "nobody-here" on this host'


def test_ports_of_the_service_manager_are_free_for_the_guard(
    tmp_path: Path, listening: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "held_by_manager", listening.__eq__)
    assert list(check_ports(some_settings(tmp_path, listening), running=False)) == []


def test_the_socket_of_a_kernel_process_that_is_a_unit_is_looked_for(
    tmp_path: Path, closed: Endpoint
) -> None:
    path = tmp_path / "socket"
    settings = dataclasses.replace(
        some_settings(tmp_path, closed), enforce=EnforceSettings(kernel_socket=path)
    )
    (finding,) = check_kernel(settings)
    assert finding.severity is Severity.WARNING
    assert f"{path} is no socket: start gatekeeper-kernel.socket" in finding.text
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(path))
        assert list(check_kernel(settings)) == []


@pytest.mark.parametrize(
    ("effective", "may"),
    [
        ("0000000000001000", True),
        ("000001ffffffffff", True),
        ("0000000000000000", False),
        ("ffffffffffffefff", False),
        ("nonsense", False),
    ],
)
def test_right_to_the_network_is_read_from_the_kernel(
    tmp_path: Path, closed: Endpoint, effective: str, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapEff:\t{effective}\n")
    monkeypatch.setattr(host, "_library_is_there", lambda name: True)
    findings = list(check_kernel(some_settings(tmp_path, closed), status))
    assert bool(findings) != may
    assert all("bans then hold in the guard alone" in finding.text for finding in findings)


def test_library_that_is_not_installed(
    tmp_path: Path, closed: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_LIBRARY", "libno-such-thing.so.1")
    (finding,) = check_kernel(some_settings(tmp_path, closed))
    assert finding.text.startswith("libno-such-thing.so.1 is not installed")


def test_this_kernel_has_nf_tables() -> None:
    assert nf_tables_trouble() == ""


def test_a_kernel_without_nf_tables_is_named() -> None:
    header = struct.pack("=IHHII", 36, 2, 0, 1, 0)

    def no_subsystem(packet: bytes) -> bytes:
        return header + struct.pack("=i", -errno.EINVAL) + packet[:16]

    def no_nfnetlink(packet: bytes) -> bytes:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    assert nf_tables_trouble(no_subsystem) == "this kernel has no nf_tables (Invalid argument)"
    assert nf_tables_trouble(no_nfnetlink) == (
        "this kernel has no nfnetlink (Protocol not supported)"
    )


def test_what_the_running_guard_says_of_itself() -> None:
    well = {"enforcer_health": "ok", "store_health": "ok"}
    assert list(check_running(well)) == []
    (finding,) = check_running(well | {"enforcer_health": "kernel process: set is full"})
    assert "enforcer: kernel process: set is full; bans hold in the guard" in finding.text


def test_nft_switched_off_says_what_is_left(tmp_path: Path, closed: Endpoint) -> None:
    settings = dataclasses.replace(
        some_settings(tmp_path, closed), enforce=EnforceSettings(nft=False)
    )
    (finding,) = check_kernel(settings)
    assert "bans then hold in the guard alone" in finding.text


def xdp_findings(directory: Path, closed: Endpoint, *interfaces: str) -> list[str]:
    settings = some_settings(directory, closed)
    settings = dataclasses.replace(settings, enforce=EnforceSettings(xdp=interfaces))
    program, mounts = directory / "x.bpf.o", directory / "mounts"
    return [finding.text for finding in check_xdp(settings, program, mounts)]


def test_xdp_is_not_looked_at_where_it_is_not_asked_for(tmp_path: Path, closed: Endpoint) -> None:
    assert xdp_findings(tmp_path, closed) == []


def test_xdp_says_each_thing_that_is_missing(
    tmp_path: Path, closed: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent, not_built = xdp_findings(tmp_path, closed, "lo", "nope0")
    assert absent.startswith('there is no interface "nope0"; nftables drops')
    assert not_built.startswith("XDP object was not built (clang); nftables drops")
    (tmp_path / "x.bpf.o").touch()
    monkeypatch.setattr(xdp, "_LIBRARY", "libno-such-thing.so.1")
    (not_installed,) = xdp_findings(tmp_path, closed, "lo")
    assert not_installed.startswith("libno-such-thing.so.1 is not installed (libbpf1)")


@pytest.mark.parametrize(
    ("mounts", "mounted"),
    [
        ("bpf /sys/fs/bpf bpf rw,mode=700 0 0\n", True),
        ("sysfs /sys sysfs rw 0 0\nbpf /run/bpf bpf rw 0 0\n", False),
    ],
)
def test_xdp_needs_rights_and_a_bpffs(
    tmp_path: Path, closed: Endpoint, mounts: str, mounted: bool
) -> None:
    (tmp_path / "x.bpf.o").touch()
    (tmp_path / "mounts").write_text(mounts)
    findings = xdp_findings(tmp_path, closed, "lo")
    if any("bpf(2) is not permitted" in finding for finding in findings):
        pytest.skip("bpf(2) is not permitted here")
    assert [finding for finding in findings if "no bpffs is mounted" in finding] == findings
    assert bool(findings) != mounted


def test_everything_errors_first(tmp_path: Path, listening: Endpoint, closed: Endpoint) -> None:
    settings = some_settings(tmp_path, listening, closed)
    pair = a_pair(tmp_path, "other.example")
    findings = check(dataclasses.replace(settings, tls=TlsSettings((pair,))))
    severities = [finding.severity for finding in findings]
    assert severities == sorted(severities, key=lambda severity: severity.value)
    subjects = {finding.subject for finding in findings}
    assert {"listener imaps", "backend dovecot", str(pair.certificate)} <= subjects


def test_running_guard_holds_its_own_ports(
    tmp_path: Path, listening: Endpoint, closed: Endpoint
) -> None:
    with socket.socket(socket.AF_UNIX) as guard:
        guard.bind(str(tmp_path / "control.sock"))
        guard.listen()
        findings = check(some_settings(tmp_path, listening, closed))
    assert all(finding.severity is Severity.WARNING for finding in findings)
