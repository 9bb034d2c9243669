"""What `check` finds in settings that load: loops, everybody as a network, ports of one's own."""

import dataclasses
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatekeeper import host as own_host
from gatekeeper.check import check
from gatekeeper.check.backends import check_loops, check_openness, check_trust
from gatekeeper.check.host import check_directories, check_web
from gatekeeper.events import MailProtocol
from gatekeeper.prefix import Prefix
from gatekeeper.settings import (
    BackendSettings,
    Endpoint,
    HttpSettings,
    ListenerSettings,
    Settings,
    TlsMode,
    TlsSettings,
    WebBind,
)

NAME = "mail.example.org"


@pytest.fixture
def listening() -> Iterator[Endpoint]:
    """An address on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Endpoint(*server.getsockname())


def some_settings(run_dir: Path) -> Settings:
    bind, backend = Endpoint("127.0.0.1", 1), Endpoint("127.0.0.2", 1)
    listener = ListenerSettings("imaps", MailProtocol.IMAP, (bind,), TlsMode.IMPLICIT, "b")
    return Settings(
        hostname=NAME,
        tls=TlsSettings(),
        listeners=(listener,),
        backends={"b": BackendSettings("b", (backend,))},
        run_dir=run_dir,
        user="nobody",
    )


def looped(host: str, port: int = 993) -> list[str]:
    backend = BackendSettings("b", (Endpoint(host, port),))
    listener = ListenerSettings(
        "imaps", MailProtocol.IMAP, (Endpoint("0.0.0.0", 993),), TlsMode.IMPLICIT, "b"
    )
    settings = Settings(NAME, TlsSettings(), (listener,), {"b": backend})
    return [str(finding) for finding in check_loops(settings)]


def test_a_backend_that_is_the_guard_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an address of this host, where the listener has all, and by names for one."""
    own = Prefix.parse("192.0.2.9")
    monkeypatch.setattr(own_host, "own_addresses", lambda: {own})
    names = {"me.example": [(2, 1, 6, "", ("192.0.2.9", 993))], "other.example": []}
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *_, **__: names[name])
    end = 'is listener "imaps" itself: a loop'
    at = "error: [backend.b] address:"
    assert looped("192.0.2.9") == [f"{at} 192.0.2.9:993 {end}"]
    assert looped("localhost") == [f"{at} localhost:993 {end}"]
    assert looped("me.example") == [f"{at} me.example:993: 192.0.2.9:993 {end}"]
    assert looped("192.0.2.9", 143) == looped("192.0.2.8") == looped("other.example") == []


def test_networks_that_are_everybody(tmp_path: Path) -> None:
    everybody = (Prefix.parse("0.0.0.0/0"), Prefix.parse("::/0"), Prefix.parse("192.0.2.0/24"))
    settings = some_settings(tmp_path)
    trusting = dataclasses.replace(settings.listeners[0], proxy_protocol_from=everybody)
    settings = dataclasses.replace(settings, allow=everybody[:1], listeners=(trusting,))
    assert [str(finding) for finding in check_openness(settings)] == [
        "warning: allow: 0.0.0.0/0 is everybody: nobody of them is ever banned",
        *(
            f"warning: listener imaps: {each} is everybody: any client may claim any address"
            " (proxy_protocol_from)"
            for each in ("0.0.0.0/0", "::/0")
        ),
    ]


def served(bind: WebBind, tmp_path: Path, *, running: bool = False) -> list[str]:
    settings = some_settings(tmp_path / "run")
    settings = dataclasses.replace(settings, http=HttpSettings(bind))
    return [str(finding) for finding in check_web(settings, running)]


def test_where_metrics_are_to_be_served(tmp_path: Path, listening: Endpoint) -> None:
    at, instead = "warning: [http] bind:", "nothing is served there"
    assert served(listening, tmp_path) == [f"{at} {listening}: Address already in use; {instead}"]
    assert served(listening, tmp_path, running=True) == []
    assert served(Endpoint("127.0.0.2", listening.port), tmp_path) == []
    assert served(tmp_path / "run" / "http.sock", tmp_path) == [], "run makes its directory"


def test_a_socket_for_metrics_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    instead = "nothing is served there"
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name, why in {
        "file": "it is there, and no socket",
        "none/socket": "it cannot be made there by the guard's user",
        "loop/socket": "it cannot be made there by the guard's user",
    }.items():
        path = tmp_path / name
        assert served(path, tmp_path) == [f"warning: [http] bind: {path}: {why}; {instead}"]


def test_an_account_that_keeps_all_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    settings = dataclasses.replace(some_settings(tmp_path), user="root")
    (finding,) = check_directories(settings)
    assert str(finding).startswith("warning: user: the guard keeps all of root's rights: ")


def test_a_file_of_authorities_that_cannot_be_used_is_told_once(tmp_path: Path) -> None:
    settings = some_settings(tmp_path)
    backend = dataclasses.replace(
        settings.backends["b"], tls=TlsMode.IMPLICIT, tls_ca=tmp_path / "ca.pem"
    )
    settings = dataclasses.replace(settings, backends={"b": backend})
    told = f"{tmp_path}/ca.pem: not usable as CA file: No such file or directory"
    (finding,) = check_trust(settings)
    assert str(finding) == f"error: [backend.b] tls_ca: {told}"
    assert [each.text for each in check(settings, relay_test=False)].count(told) == 1
    (tmp_path / "ca.pem").write_text("no certificate")
    (finding,) = check_trust(settings)
    assert finding.text.endswith("not usable as CA file: no certificate in it")
