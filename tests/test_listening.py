"""Whose the service manager's sockets are, and what is said of those that are nobody's."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from gatekeeper.errors import ConfigError, PermissionMissing
from gatekeeper.events import MailProtocol
from gatekeeper.listening import bound, recognised
from gatekeeper.settings import Endpoint, ListenerSettings, TlsMode
from gatekeeper.systemd import Inherited

DEFER_ACCEPT = (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT)


def listener(name: str, *bind: Endpoint, tls: TlsMode = TlsMode.NONE) -> ListenerSettings:
    return ListenerSettings(name, MailProtocol.IMAP, bind, tls, "b")


@contextlib.contextmanager
def listening(
    host: str = "127.0.0.1", port: int = 0, *, both: bool = False
) -> Iterator[socket.socket]:
    """A socket as a socket unit makes it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, dualstack_ipv6=both) as sock:
        yield sock


def where(sock: socket.socket) -> Endpoint:
    return Endpoint(*sock.getsockname()[:2])


def test_a_socket_belongs_to_who_binds_its_very_address_whatever_its_name() -> None:
    with listening() as first, listening("::1") as second:
        imap = listener("imaps", where(second), tls=TlsMode.IMPLICIT)
        smtp = listener("mx", where(first))
        passed = [Inherited("imaps", first), Inherited("other", second)]
        assert recognised([imap, smtp], passed) == (("mx", first), ("imaps", second))


def test_several_addresses_of_a_listener_are_several_sockets() -> None:
    with listening() as first, listening("::1") as second:
        one = listener("imaps", where(first), where(second))
        passed = [Inherited("unknown", first), Inherited("unknown", second)]
        assert recognised([one], passed) == (("imaps", first), ("imaps", second))


def test_by_name_a_socket_may_have_another_address_but_not_another_port() -> None:
    with listening() as sock:
        everywhere = Endpoint("0.0.0.0", where(sock).port)
        passed = [Inherited("imaps", sock)]
        assert recognised([listener("imaps", everywhere)], passed) == (("imaps", sock),)
        with pytest.raises(ConfigError, match="no listener binds this address, nor this port"):
            recognised([listener("imaps", Endpoint("0.0.0.0", 1))], passed)
        with pytest.raises(ConfigError, match="no listener binds this address, nor this port"):
            recognised([listener("smtp", everywhere)], passed)


def test_everything_that_does_not_fit_is_told_at_once_a_line_each() -> None:
    with listening() as sock, socket.socket(socket.AF_UNIX) as pair:
        missing = listener("smtp", Endpoint("0.0.0.0", 25), Endpoint("::", 25))
        passed = [Inherited("stray", sock), Inherited("pair", pair)]
        with pytest.raises(ConfigError) as told:
            recognised([missing], passed)
        stray = f"stray ({where(sock)})"
    assert str(told.value).splitlines() == [
        f"socket {stray} of the service manager: "
        "no listener binds this address, nor this port under this name",
        "socket pair (AF_UNIX) of the service manager: it is no listening TCP socket",
        *(
            f"smtp: {endpoint}: the service manager passed no socket for it, "
            f"only {stray}, pair (AF_UNIX): start its socket unit, or correct bind"
            for endpoint in missing.bind
        ),
    ]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["UDP", "not bound"])
def test_a_socket_that_does_not_listen_is_of_no_use(kind: socket.SocketKind) -> None:
    with (
        socket.socket(socket.AF_INET, kind) as sock,
        pytest.raises(ConfigError, match="no listening TCP socket"),
    ):
        recognised([listener("imaps", Endpoint("0.0.0.0", 993))], [Inherited("imaps", sock)])


def test_a_socket_of_both_families_is_refused_with_the_remedy() -> None:
    """Its IPv4 clients would have addresses that no ban in nftables matches."""
    with (
        listening("::", both=True) as sock,
        pytest.raises(ConfigError, match="takes IPv4, too: set BindIPv6Only=ipv6-only"),
    ):
        recognised([listener("imaps", where(sock))], [Inherited("imaps", sock)])


def test_passed_sockets_get_what_sessions_need() -> None:
    with listening() as implicit, listening() as explicit:
        listeners = [
            listener("imaps", where(implicit), tls=TlsMode.IMPLICIT),
            listener("imap", where(explicit), tls=TlsMode.STARTTLS),
        ]
        recognised(listeners, [Inherited("", implicit), Inherited("", explicit)])
        assert implicit.getsockopt(*DEFER_ACCEPT) > 0
        assert explicit.getsockopt(*DEFER_ACCEPT) == 0
        for sock in (implicit, explicit):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_without_a_manager_sockets_are_bound_and_a_port_in_use_is_one_line() -> None:
    with listening() as taken:
        free = listener("imaps", Endpoint("127.0.0.1", 0), Endpoint("::1", 0))
        sockets = bound([free])
        assert [(name, sock.getsockname()[0]) for name, sock in sockets] == [
            ("imaps", "127.0.0.1"),
            ("imaps", "::1"),
        ]
        for _, sock in sockets:
            sock.close()
        with pytest.raises(ConfigError, match=rf"^smtp: {where(taken)}: Address already in use$"):
            bound([listener("smtp", where(taken))])


def test_a_port_that_takes_rights_names_both_ways_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gatekeeper.listening.bind", refuse)
    with pytest.raises(PermissionMissing, match="start as root, or the socket units"):
        bound([listener("smtp", Endpoint("0.0.0.0", 25))])
