"""What a reload replaces, and what it leaves as it was."""

from dataclasses import replace
from pathlib import Path

import pytest
from rig_ends import HOSTNAME, authority

from gatekeeper import host
from gatekeeper.errors import ConfigError
from gatekeeper.events import MailProtocol
from gatekeeper.prefix import Prefix
from gatekeeper.settings import (
    Announce,
    BackendSettings,
    CertificatePair,
    Endpoint,
    HttpSettings,
    ListenerSettings,
    NotifySettings,
    Settings,
    TlsMode,
    TlsSettings,
)
from gatekeeper.startup import Services

PROTOCOLS = (MailProtocol.IMAP, MailProtocol.SUBMISSION, MailProtocol.SUBMISSION)
BACKEND = BackendSettings("b", (Endpoint("192.0.2.1", 143),))


@pytest.fixture
def settings() -> Settings:
    """Three listeners before one backend, two of them of one protocol."""
    listeners = tuple(
        ListenerSettings(
            f"l{number}", protocol, (Endpoint("127.0.0.1", number),), TlsMode.IMPLICIT, "b"
        )
        for number, protocol in enumerate(PROTOCOLS, 1)
    )
    pair = authority().pair(HOSTNAME)
    return Settings(HOSTNAME, TlsSettings((pair,)), listeners, {"b": BACKEND}, state_dir=Path("."))


def test_what_refusals_look_like_is_shared_by_backend_and_protocol(settings: Settings) -> None:
    likenesses = Services(settings).likenesses
    assert set(likenesses) == {(BACKEND, MailProtocol.IMAP), (BACKEND, MailProtocol.SUBMISSION)}
    assert len(set(likenesses.values())) == 2


def test_a_reload_keeps_what_was_learnt_of_a_backend_that_is_the_same(settings: Settings) -> None:
    before = Services(settings)
    assert Services(replace(settings), before).likenesses == before.likenesses


@pytest.mark.parametrize(
    "changed",
    [
        replace(BACKEND, address=(Endpoint("192.0.2.2", 143),)),
        replace(BACKEND, announce=Announce.PROXY_V2),
    ],
    ids=["elsewhere", "told of clients"],
)
def test_a_reload_forgets_what_was_learnt_of_another_backend(
    settings: Settings, changed: BackendSettings
) -> None:
    before = Services(settings)
    other = replace(settings, backends={"b": changed})
    after = Services(other, before).likenesses
    assert not set(after.values()) & set(before.likenesses.values())
    assert {protocol for _, protocol in after} == set(PROTOCOLS)


def test_everything_that_cannot_be_used_is_told_at_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "own_addresses", lambda: {Prefix.parse("192.0.2.1")})
    good = authority().pair(HOSTNAME)
    swapped = CertificatePair(good.private_key, good.certificate)
    gone = CertificatePair(tmp_path / "gone.pem", tmp_path / "gone.key")
    everywhere = replace(settings.listeners[0], bind=(Endpoint("0.0.0.0", 143),))
    other = (Endpoint("192.0.2.3", 143),)
    ca = tmp_path / "no-ca"
    untrusted = replace(BACKEND, name="u", address=other, tls=TlsMode.IMPLICIT, tls_ca=ca)
    broken = replace(
        settings,
        tls=TlsSettings((swapped, gone)),
        listeners=(everywhere,),
        backends={"b": BACKEND, "u": untrusted},
        notify=NotifySettings(exec=tmp_path / "no-program"),
        http=HttpSettings(token_file=tmp_path / "no-token"),
    )
    with pytest.raises(ConfigError) as caught:
        Services(broken)
    absent = "No such file or directory"
    assert str(caught.value).splitlines() == [
        '[backend.b] address: 192.0.2.1:143 is listener "l1" itself: a loop',
        f"{good.private_key}: there is no certificate in it (PEM)",
        f"{good.certificate}: there is no private key in it (PEM)",
        f"{gone.certificate}: {absent}",
        f"{gone.private_key}: {absent}",
        f"[notify] exec: {tmp_path}/no-program: {absent}",
        f"[http] token_file: {tmp_path}/no-token: {absent}",
        f"[backend.u] tls_ca: {tmp_path}/no-ca: not usable as CA file: {absent}",
    ]
