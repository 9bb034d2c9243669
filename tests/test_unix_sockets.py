"""Whose socket file is replaced, and whose is not."""

import socket
import stat
from pathlib import Path

import pytest

from gatekeeper.unix_sockets import (
    LONGEST_PATH_OCTETS,
    MODE,
    answers,
    inode_of,
    listen_at,
    remove,
)


def test_owner_and_group_may_connect(tmp_path: Path) -> None:
    with listen_at(tmp_path / "s"):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == MODE == 0o660


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen_at(path).close()
    assert path.exists()
    with listen_at(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_one_that_answers_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listen_at(path) as first:
        with pytest.raises(OSError, match="another guard answers"):
            listen_at(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            first.accept()[0].close()


def test_who_answers_is_seen_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert not answers(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert not answers(path)
        server.listen(0)
        assert [answers(path) for _ in range(3)] == [True] * 3, "with a full backlog, too"
    assert not answers(path)
    assert path.is_socket()


def test_a_plain_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        listen_at(path)
    assert path.read_text() == "mine"


def test_the_file_of_a_later_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listen_at(path):
        ours = inode_of(path)
        path.rename(tmp_path / "moved")  # its inode stays taken
        with listen_at(path):
            remove(path, ours)
            assert path.exists()
            remove(path, inode_of(path))
            assert not path.exists()


def test_the_longest_path_is_the_kernels(tmp_path: Path) -> None:
    """Longer ones are refused by `config` already."""
    fits = tmp_path / ("s" * (LONGEST_PATH_OCTETS - len(str(tmp_path)) - 1))
    listen_at(fits).close()
    with pytest.raises(OSError, match="too long"):
        listen_at(fits.with_name(fits.name + "s"))
