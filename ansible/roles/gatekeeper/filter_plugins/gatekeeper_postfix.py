"""Filters of the role: what postconf(1) is to be told.

Theory of operation. `postconf -M` prints master.cf a service a line, `postconf -P` the options of
each. From both follows what is still to be done, as arguments of postconf; nothing, where all is
done. A public service is not written anew but moved: all the operator gave it stays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

_PORTS: Final = {"smtp": "25", "submission": "587", "submissions": "465", "smtps": "465"}
_PROXY: Final = "_upstream_proxy_protocol"
_FRESH: Final = "inet n - y - - smtpd"
# What the guard needs of a service: it ended TLS, and says in a PROXY header who the client is.
_NEEDED: Final = {
    "smtpd": {
        "smtpd_upstream_proxy_protocol": "haproxy",
        "smtpd_tls_security_level": "none",
        "smtpd_tls_wrappermode": "no",
        "smtpd_tls_auth_only": "no",
        "smtpd_sasl_security_options": "noanonymous",  # many forbid PLAIN where they see no TLS
    },
    "postscreen": {
        "postscreen_upstream_proxy_protocol": "haproxy",
        "postscreen_tls_security_level": "none",
    },
}


def public(services: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Those of `services`, lines of `postconf -M`, that are on ports the guard has `taken`."""
    return [line for line in services if _port(line) in taken]


def moved(
    services: Sequence[str],
    options: Sequence[str],
    private: Sequence[Mapping[str, Any]],
    taken: Sequence[str],
) -> list[list[str]]:
    """What moves the services of `taken` ports to the addresses of `private`.

    Each of these has its `address`, the `ports` it takes over, first come first served, and the
    options of a service that is made `fresh` where none had these ports. Raises `ValueError` where
    an address is another service's already.
    """
    there = dict(_parse(line) for line in options)
    steps: list[list[str]] = []
    for each in private:
        ports = [str(port) for port in each["ports"] if str(port) in taken]
        if ports:
            sources = [line for port in ports for line in public(services, [port])]
            steps += _moved(services, there, each, sources)
    return steps + [["-MX", _name(line)] for line in public(services, taken)]


def moved_back(
    services: Sequence[str], before: Sequence[str], private: Sequence[str]
) -> list[list[str]]:
    """What puts the lines `before` back, and removes the services at `private` addresses."""
    names = {_name(line) for line in services}
    back = [["-M", f"{_name(line)}={line}"] for line in before if _name(line) not in names]
    gone = [["-MX", f"{address}/inet"] for address in private if f"{address}/inet" in names]
    return back + gone


def _moved(
    services: Sequence[str],
    there: Mapping[str, str],
    private: Mapping[str, Any],
    sources: Sequence[str],
) -> Iterator[list[str]]:
    name = f"{private['address']}/inet"
    source = name if name in map(_name, services) else (_name(sources[0]) if sources else "")
    line = next((line for line in services if _name(line) == source), f"new {_FRESH}")
    needed = _NEEDED.get(_program(line), {})
    if not needed:
        raise ValueError(f"{source} of Postfix is {_program(line)}, which takes no PROXY header")
    proxy = {key: value for key, value in needed.items() if key.endswith(_PROXY)}
    if source != name:
        # In one step with what marks it as the guard's: a run that is broken off is no riddle.
        said = "".join(f" -o {key}={value}" for key, value in proxy.items())
        yield ["-M", f"{name}={private['address']} {line.split(None, 1)[1]}{said}"]
    elif any(there.get(f"{name}/{key}") != value for key, value in proxy.items()):
        raise ValueError(f"{name} of Postfix is not the guard's: give the guard another address")
    fresh = {} if source else private.get("fresh", {})
    for key, value in {**fresh, **needed}.items():
        if there.get(f"{source}/{key}") != value and not (source != name and key in proxy):
            yield ["-P", f"{name}/{key}={value}"]


def _name(line: str) -> str:
    service, kind = line.split()[:2]
    return f"{service}/{kind}"


def _program(line: str) -> str:
    return line.split()[7]


def _port(line: str) -> str:
    """Of an inet service, whatever address it is on; else nothing."""
    service, kind = line.split()[:2]
    port = service.rpartition(":")[2]
    return _PORTS.get(port, port) if kind == "inet" else ""


def _parse(line: str) -> tuple[str, str]:
    key, _, value = line.partition(" = ")
    return key, value


class FilterModule:
    """How Ansible finds them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function of each."""
        return {
            "gatekeeper_postfix_moved": moved,
            "gatekeeper_postfix_moved_back": moved_back,
            "gatekeeper_postfix_public": public,
        }
