"""The routing rule and route that transparent mode needs (docs/transparent.md), through pyroute2.

What has the mark is delivered on this host, whatever its address: one rule that asks a table of our
own, one local default route in that table, for each IP version. Both are known by their protocol
number, so that what is put in is what is taken away, after a crash too. Blocks; needs
CAP_NET_ADMIN, to look at them none. Acts in the network namespace of the calling thread.
"""

import errno
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from gatekeeper.errors import EnforcerError
from gatekeeper.kernel.transparent import MARK

TABLE: Final = 25_993
PRIORITY: Final = 993  # before the main table, which would send replies away, and before most VPNs'
PROTOCOL: Final = 125  # who made it; /etc/iproute2/rt_protos and routing daemons have others
# The mark of a SYN for the connection, of IPv6 too; and for the RST where nobody listens.
ANSWERS: Final = tuple(
    Path("/proc/sys/net", each)
    for each in ("ipv4/tcp_fwmark_accept", "ipv4/fwmark_reflect", "ipv6/fwmark_reflect")
)

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


def answer_marks() -> list[Path]:
    """Have this host answer what has a mark with that mark: accepted connections, and refusals;
    which settings that changed. Raises `EnforcerError`."""
    changed = []
    for path in ANSWERS:
        try:
            if path.exists() and path.read_text().strip() == "0":
                path.write_text("1")
                changed.append(path)
        except OSError as error:
            raise EnforcerError(f"{path}: {error.strerror}") from error
    return changed


def restore(changed: Iterable[Path]) -> None:
    """Undo `answer_marks`. Raises `EnforcerError`."""
    for path in changed:
        try:
            path.write_text("0")
        except OSError as error:
            raise EnforcerError(f"{path}: {error.strerror}") from error


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
