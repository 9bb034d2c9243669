"""The kernel process and who started it: a datagram socket that plays the service manager."""

import os
import socket
from pathlib import Path

import pytest

from gatekeeper.kernel.manager import Manager


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_it_says_that_it_serves(
    abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"@gatekeeper-{tmp_path.name}-kernel" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if abstract else address)
        listening.settimeout(1)
        manager = Manager()
        assert "NOTIFY_SOCKET" not in os.environ, "no child inherits it"
        manager.ready()
        assert listening.recv(100) == b"READY=1"


def test_without_a_manager_or_with_one_that_is_gone_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Manager().ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    Manager().ready()
