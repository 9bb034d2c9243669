"""Two hosts and a kernel process between them, for the tests that need root."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .hosts import Hosts
from .namespace import Ns, link
from .xdp_net import Net, made_net


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """A guard host and a world host, linked."""
    with Ns() as guard, Ns() as world:
        link(guard, Hosts.GUARD, world, Hosts.WORLD)
        with Hosts(guard, world) as made:
            yield made


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    """The same, with a bpffs of their own and XDP to be opened on the guard's interface."""
    with made_net(tmp_path) as made:
        yield made
