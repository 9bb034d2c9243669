"""Clients of port 25 for benches: new ones at a steady pace, each from an address of its own.

They come as a balancer tells of them (PROXY protocol version 1), for a guard asks nobody about
clients of its own host. `python -m bench.port25_clients` is a process of its own, so that its work
is not the bench's.
"""

import argparse
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Final

_AT_ONCE: Final = 400
_PATIENCE_S: Final = 30.0
_MESSAGE: Final = (
    b"EHLO client.bench.test\r\n",
    b"MAIL FROM:<a@%s.bench.test>\r\n",  # the client's own domain
    b"RCPT TO:<b@bench.test>\r\n",
    b"DATA\r\n",
    b"Subject: x\r\n\r\nx\r\n.\r\n",
)
_QUIT: Final = b"QUIT\r\n"


@dataclass
class Crowd:
    """What became of all clients; `greeted_s` is from connect to the first line of each that was
    greeted or refused, `held_s` to the end of its session."""

    wall_s: float = 0.0
    served: int = 0
    refused: int = 0
    failed: int = 0
    greeted_s: list[float] = field(default_factory=list)
    held_s: list[float] = field(default_factory=list)


@dataclass
class _Client:
    sock: socket.socket
    since: float
    script: list[bytes]
    heard: bytes = b""
    greeted: bool = False
    welcome: bool = False


def address(network: int, number: int) -> str:
    """Client `number` of 198.`network`.0.0/16, which has 65,536."""
    return f"198.{network}.{number >> 8 & 255}.{number & 255}"


def run(port: int, sources: list[str], per_s: float, *, message: bool) -> Crowd:
    """One connection of each source in turn, `per_s` of them a second or as many as can be; each
    delivers a `message`, or says QUIT when it is greeted."""
    crowd = Crowd()
    script = [*(_MESSAGE if message else ()), _QUIT]
    waiting = iter(sources)
    with selectors.DefaultSelector() as selector:
        started = time.monotonic()
        pace = (started + number / per_s for number in count())
        _until_all_are_gone(selector, port, waiting, pace, script, crowd)
        crowd.wall_s = time.monotonic() - started
    return crowd


def _until_all_are_gone(
    selector: selectors.BaseSelector,
    port: int,
    waiting: Iterator[str],
    pace: Iterator[float],
    script: list[bytes],
    crowd: Crowd,
) -> None:
    source, due = next(waiting, None), next(pace)
    while source is not None or selector.get_map():
        now = time.monotonic()
        while source is not None and due <= now and len(selector.get_map()) < _AT_ONCE:
            client = _Client(_connect(port, source), time.monotonic(), _of(source, script))
            selector.register(client.sock, selectors.EVENT_READ, client)
            source, due = next(waiting, None), next(pace)
        wait_s = max(0.0, due - now) if source is not None else _PATIENCE_S
        events = selector.select(min(wait_s, _PATIENCE_S))
        for key, _ in events:
            client = key.data
            if not _go_on(client, crowd):
                selector.unregister(client.sock)
                client.sock.close()
        if not events and source is None:
            raise TimeoutError(f"{len(selector.get_map())} clients hear nothing")


def _of(source: str, script: list[bytes]) -> list[bytes]:
    domain = source.replace(".", "-").encode()
    return [line.replace(b"%s", domain) for line in script]


def _connect(port: int, source: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(f"PROXY TCP4 {source} 192.0.2.25 40000 25\r\n".encode())
    sock.setblocking(False)
    return sock


def _go_on(client: _Client, crowd: Crowd) -> bool:
    """Hear a client's server and answer it; False when its session is over."""
    try:
        octets = client.sock.recv(4096)
    except BlockingIOError:
        return True
    except OSError:
        octets = b""
    client.heard += octets
    if not octets:
        crowd.held_s.append(time.monotonic() - client.since)
        crowd.served += client.welcome and not client.script
        crowd.refused += client.greeted and not client.welcome
        crowd.failed += not client.greeted or (client.welcome and bool(client.script))
        return False
    if not client.heard.endswith(b"\n"):
        return True
    last = client.heard.splitlines()[-1]
    if last[3:4] == b"-":
        return True
    client.heard = b""
    if not client.greeted:
        client.greeted = True
        client.welcome = last.startswith(b"220")
        crowd.greeted_s.append(time.monotonic() - client.since)
    if client.welcome and client.script and last[:1] in {b"2", b"3"}:
        client.sock.sendall(client.script.pop(0))
    return True


def in_a_process(
    port: int, network: int, first: int, clients: int, per_s: float, *, message: bool = False
) -> Crowd:
    """As `run`, of clients `first` and on of a network, by another process."""
    words = [str(port), str(network), str(first), str(clients), str(per_s)]
    command = [sys.executable, "-m", "bench.port25_clients", *words]
    done = subprocess.run(
        [*command, *(("--message",) if message else ())],
        check=True,
        capture_output=True,
        text=True,
    )
    return Crowd(**json.loads(done.stdout))


def main() -> int:
    """Exit code 0 when all clients have come to an end."""
    parser = argparse.ArgumentParser(prog="python -m bench.port25_clients", description=__doc__)
    for name in ("port", "network", "first", "clients"):
        parser.add_argument(name, type=int)
    parser.add_argument("per_s", type=float)
    parser.add_argument("--message", action="store_true")
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.clients)
    sources = [address(options.network, number) for number in numbers]
    crowd = run(options.port, sources, options.per_s, message=options.message)
    print(json.dumps(asdict(crowd)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
