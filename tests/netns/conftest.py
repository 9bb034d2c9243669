"""Two hosts and a kernel process between them, for the tests that need root."""

import os
from collections.abc import Iterator

import pytest

from .hosts import Hosts
from .namespace import Ns, link


@pytest.fixture(autouse=True)
def _root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root: the kernel's part is not tested")


@pytest.fixture
def hosts(_root_only: None) -> Iterator[Hosts]:
    """A guard host and a world host, linked."""
    with Ns() as guard, Ns() as world:
        link(guard, Hosts.GUARD, world, Hosts.WORLD)
        with Hosts(guard, world) as made:
            yield made
