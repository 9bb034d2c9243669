"""`[http]`: where pages are served, and where never."""

from pathlib import Path

import pytest
from test_config import GOOD, problems, write

from gatekeeper.config import load
from gatekeeper.settings import Endpoint, HttpSettings


def bound(tmp_path: Path, bind: str) -> str:
    return f'{GOOD}\n[http]\nbind = "{bind}"\n'


def test_nothing_is_served_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert load(write(tmp_path, GOOD)).http == HttpSettings(None)


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("127.0.0.1:9465", Endpoint("127.0.0.1", 9465)),
        ("127.1.2.3:80", Endpoint("127.1.2.3", 80)),
        ("[::1]:9465", Endpoint("::1", 9465)),
        ("unix:/run/gatekeeper/http.sock", Path("/run/gatekeeper/http.sock")),
    ],
)
def test_loopback_and_unix_sockets_are_taken(
    tmp_path: Path, bind: str, expected: Endpoint | Path
) -> None:
    assert load(write(tmp_path, bound(tmp_path, bind))).http.bind == expected


def test_a_relative_socket_starts_at_the_configuration(tmp_path: Path) -> None:
    assert load(write(tmp_path, bound(tmp_path, "unix:h.sock"))).http.bind == tmp_path / "h.sock"


@pytest.mark.parametrize(
    ("bind", "said"),
    [
        ("0.0.0.0:9465", '"0.0.0.0:9465" is not loopback, and no password is asked here: write'),
        ("192.0.2.1:9465", 'write "127.0.0.1:9465", and let a proxy that asks for one'),
        ("[::]:9465", "is not loopback"),
        ("[7f00::1]:9465", "is not loopback"),  # it begins with octet 127, too
        ("localhost:9465", "not an IP address"),
        (":9465", 'write "0.0.0.0:9465" for IPv4'),
        ("127.0.0.1", "wants ADDRESS:PORT"),
        ("unix:", "wants ADDRESS:PORT"),
        ("unix:/" + "x" * 107, "a socket's path has at most 107 octets"),
    ],
)
def test_other_places_are_refused_in_words(tmp_path: Path, bind: str, said: str) -> None:
    found = problems(tmp_path, bound(tmp_path, bind))
    assert len(found) == 1
    assert "[http] bind: " in found[0]
    assert said in found[0]


@pytest.mark.parametrize("listener", ["127.0.0.1:9993", "0.0.0.0:9993"])
def test_a_port_is_served_once(tmp_path: Path, listener: str) -> None:
    text = bound(tmp_path, "127.0.0.1:9993").replace("0.0.0.0:993", listener)
    assert f'[http] bind: 127.0.0.1:9993 collides with {listener} of listener "imaps"' in "\n".join(
        problems(tmp_path, text)
    )


def test_the_control_socket_is_not_replaced(tmp_path: Path) -> None:
    found = problems(tmp_path, bound(tmp_path, "unix:/run/gatekeeper/control.sock"))
    assert "[http] bind: that is the control socket" in "\n".join(found)
