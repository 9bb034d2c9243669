"""The routing rule and route that transparent mode needs (docs/transparent.md), through pyroute2.

What has the mark is delivered on this host, whatever its address: one rule that asks a table of our
own, one local default route in that table, for each IP version. Both are known by their protocol
number, so that what is put in is what is taken away, after a crash too. Blocks; needs
CAP_NET_ADMIN, to look at them none. Acts in the network namespace of the calling thread.
"""

import errno
import socket
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from gatekeeper.errors import EnforcerError
from gatekeeper.kernel.transparent import MARK

TABLE: Final = 25_993
PRIORITY: Final = 993  # before the main table, which would send replies away, and before most VPNs'
PROTOCOL: Final = 125  # who made it; /etc/iproute2/rt_protos and routing daemons have others
ACCEPT_MARKS: Final = Path("/proc/sys/net/ipv4/tcp_fwmark_accept")  # of IPv6 connections too

FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_RULE: Final = {
    "priority": PRIORITY,
    "fwmark": MARK,
    "fwmask": 0xFFFF_FFFF,
    "table": TABLE,
    "protocol": PROTOCOL,
}
_ROUTE: Final = {
    "dst": "default",
    "type": "local",
    "scope": "host",
    "table": TABLE,
    "proto": PROTOCOL,
}
# The kernel makes a table with its first route; and it may have been started without IPv6.
_NONE: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.EAFNOSUPPORT, errno.EOPNOTSUPP})


def set_up(versions: Collection[int]) -> None:
    """Put in what is missing for these IP versions. Raises `EnforcerError`."""
    try:
        with IPRoute() as route:
            for version in versions:
                family = FAMILIES[version]
                if not any(_rules(route, family)):
                    route.rule("add", family=family, **_RULE)
                route.route("replace", family=family, oif=_loopback(route), **_ROUTE)
    except (NetlinkError, OSError) as error:
        raise _refused(error) from error


def take_down() -> bool:
    """Take away what `set_up` put in; whether there was anything. Raises `EnforcerError`."""
    found = False
    try:
        with IPRoute() as route:
            for family in FAMILIES.values():
                for _ in list(_rules(route, family)):
                    route.rule("del", family=family, **_RULE)
                    found = True
                for _ in list(_routes(route, family)):
                    route.route("del", family=family, oif=_loopback(route), **_ROUTE)
                    found = True
    except (NetlinkError, OSError) as error:
        raise _refused(error) from error
    return found


def missing(versions: Collection[int]) -> list[str]:
    """What is not there, in words for the operator. Raises `EnforcerError`."""
    found = []
    try:
        with IPRoute() as route:
            for version in versions:
                family = FAMILIES[version]
                if not any(_rules(route, family)):
                    found.append(f"ip -{version} rule: fwmark {MARK:#x} lookup {TABLE}")
                if not any(_routes(route, family)):
                    found.append(f"ip -{version} route: local default dev lo table {TABLE}")
    except (NetlinkError, OSError) as error:
        raise _refused(error) from error
    return found


def interface_to(address: str) -> list[str]:
    """The interface that leads to `address`, if there is a way. Raises `EnforcerError`."""
    try:
        with IPRoute() as route:
            way = route.route("get", dst=address)[0]
            return [
                each.get_attr("IFLA_IFNAME")
                for each in route.link("get", index=way.get_attr("RTA_OIF"))
            ]
    except NetlinkError as error:
        if error.code in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            return []
        raise _refused(error) from error


def accept_marks(*, on: bool) -> bool:
    """Whether accepted connections have the mark of their SYN, from now on; whether that is a
    change. Raises `EnforcerError`."""
    wanted = "1" if on else "0"
    try:
        if ACCEPT_MARKS.read_text().strip() == wanted:
            return False
        ACCEPT_MARKS.write_text(wanted)
    except OSError as error:
        raise EnforcerError(f"{ACCEPT_MARKS}: {error.strerror}") from error
    return True


def _rules(route: Any, family: int) -> Iterator[object]:  # noqa: ANN401  untyped library
    """Our rules of a family, by all that makes them ours."""
    for rule in _dumped(route.get_rules, family=family):
        ours = (
            rule.get_attr("FRA_PROTOCOL") == PROTOCOL
            and rule.get_attr("FRA_TABLE") == TABLE
            and rule.get_attr("FRA_FWMARK") == MARK
        )
        if ours:
            yield rule


def _routes(route: Any, family: int) -> Iterator[object]:  # noqa: ANN401  untyped library
    """Our routes of a family."""
    for each in _dumped(route.get_routes, family=family, table=TABLE):
        if each["proto"] == PROTOCOL and each.get_attr("RTA_TABLE") == TABLE:
            yield each


def _dumped(dump: Callable[..., Any], **of: int) -> list[Any]:
    try:
        return list(dump(**of))
    except NetlinkError as error:
        if error.code in _NONE:
            return []
        raise


def _loopback(route: Any) -> int:  # noqa: ANN401  untyped library
    return int(route.link_lookup(ifname="lo")[0])


def _refused(error: Exception) -> EnforcerError:
    text = error.args[1] if isinstance(error, NetlinkError) and len(error.args) > 1 else str(error)
    return EnforcerError(f"routing rules: {text}")
