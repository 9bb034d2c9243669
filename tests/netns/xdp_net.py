"""A guard's host with XDP and the world's, joined, for the tests of XDP on interfaces."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hatch_build
from gatekeeper.kernel import libbpf
from gatekeeper.kernel.element import Element, Network, element
from gatekeeper.kernel.xdp import Xdp, XdpError
from gatekeeper.kernel.xdp_interface import index_of

from .hosts import Hosts
from .namespace import Ns, link
from .xdp_rig import mount_bpffs

AUTH, MX, OTHER = Hosts.AUTH, Hosts.MX, Hosts.OTHER
ONE, TWO = "10.77.0.2", "10.77.0.3"
LONG_S = 600


class Net:
    """A guard's host and the world's, joined; what the tests do on the guard's."""

    def __init__(self, hosts: Hosts, interface: str, pins: Path, mounts: str) -> None:
        self.hosts = hosts
        self.interface = interface
        self.pins = pins
        self.mounts = mounts
        self._opened: list[Xdp] = []

    def open(
        self, *interfaces: str, allow: tuple[Network, ...] = (), ports: tuple[int, ...] = (AUTH,)
    ) -> Xdp:
        """XDP on the guard's host, there to the test's end; on its interface if none is named."""
        names = interfaces or (self.interface,)
        made = self.hosts.guard.run(Xdp.open, names, ports, [MX], allow, self.pins)
        self._opened.append(made)
        return made

    def close(self, xdp: Xdp, detach: bool = False) -> None:
        self._opened.remove(xdp)
        self.hosts.guard.run(xdp.close, detach)

    def pinned(self) -> set[str]:
        return set(self.hosts.guard.run(os.listdir, self.pins))

    def start(self, code: str, *words: str) -> "subprocess.Popen[str]":
        """A Python process on the guard's host."""
        command = [sys.executable, "-c", code, self.interface, str(self.pins), *words]
        return self.hosts.guard.run(
            subprocess.Popen, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self) -> None:
        for each in tuple(self._opened):
            self.close(each)


@contextlib.contextmanager
def made_net(tmp_path: Path, name: str = "bpf") -> Iterator[Net]:
    """Skips the test where XDP cannot be tried. The bpffs is at `name` below `tmp_path`."""
    if trouble := hatch_build.compile_xdp():
        pytest.skip(trouble)
    directory = tmp_path / name
    directory.mkdir(exist_ok=True)
    with Ns() as guard, Ns() as world:
        interface, _ = link(guard, Hosts.GUARD, world, Hosts.WORLD)
        mounts = mount_bpffs(guard, directory)
        with Hosts(guard, world) as hosts:
            made = Net(hosts, interface, directory / "pins", mounts)
            try:
                guard.run(Xdp.open, [], [], [], [], directory / "probe").close(detach=False)
            except XdpError as error:
                if "not permitted" in str(error):
                    pytest.skip(str(error))
                raise
            yield made
            made.end()


def ban(address: str, length: int = 32, scope: str = "auth") -> Element:
    """What is banned, packed."""
    return element(address, length, scope)


def program_ids(interface: str) -> frozenset[int]:
    """What runs on an interface of the calling thread's host."""
    return libbpf.attached(index_of(interface)).program_ids
