"""Two hosts and a kernel process between them, for the tests that need root."""

from collections.abc import Iterator

import pytest

from .hosts import Hosts
from .namespace import Ns, link


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """A guard host and a world host, linked."""
    with Ns() as guard, Ns() as world:
        link(guard, Hosts.GUARD, world, Hosts.WORLD)
        with Hosts(guard, world) as made:
            yield made
