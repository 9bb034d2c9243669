"""The key of accounts: made once, read back, never replaced."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gatekeeper.account_secret import FILE_NAME, OCTETS, account_secret
from gatekeeper.errors import StoreError


def test_it_is_made_and_read_back(tmp_path: Path) -> None:
    made = account_secret(tmp_path)
    assert len(made) == OCTETS
    assert account_secret(tmp_path) == made
    assert (tmp_path / FILE_NAME).read_bytes() == made


def test_it_is_the_owners_alone_and_leaves_nothing_else(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        account_secret(tmp_path)
    finally:
        os.umask(previous)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_each_directory_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert account_secret(tmp_path) != account_secret(tmp_path / "other")


def test_without_a_directory_each_process_has_its_own() -> None:
    first, second = account_secret(None), account_secret(None)
    assert len(first) == len(second) == OCTETS
    assert first != second


def test_those_who_make_it_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(account_secret, [tmp_path] * 40))
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("octets", [0, 1, OCTETS - 1, OCTETS + 1, 1 << 16])
def test_another_length_is_refused_and_left_alone(tmp_path: Path, octets: int) -> None:
    path = tmp_path / FILE_NAME
    path.touch(0o600)
    path.write_bytes(b"k" * octets)
    with pytest.raises(StoreError, match=f"^{path}: .*{OCTETS} octets") as caught:
        account_secret(tmp_path)
    assert path.read_bytes() == b"k" * octets
    assert "kkk" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o700 | 0o001])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    account_secret(tmp_path)
    (tmp_path / FILE_NAME).chmod(mode)
    with pytest.raises(StoreError, match=f"{FILE_NAME}: its mode is {mode:04o}"):
        account_secret(tmp_path)


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_one_that_only_its_owner_can_read_is_taken(tmp_path: Path, mode: int) -> None:
    made = account_secret(tmp_path)
    (tmp_path / FILE_NAME).chmod(mode)
    assert account_secret(tmp_path) == made


def test_a_link_to_a_key_kept_elsewhere_is_taken(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    made = account_secret(tmp_path)
    (tmp_path / "state" / FILE_NAME).symlink_to(tmp_path / FILE_NAME)
    assert account_secret(tmp_path / "state") == made


@pytest.mark.parametrize("kind", ["directory", "fifo", "dangling"])
def test_what_is_no_file_is_a_store_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / FILE_NAME
    match kind:
        case "directory":
            path.mkdir(0o700)
        case "fifo":
            os.mkfifo(path, 0o600)
        case _:
            path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=f"^{path}: "):
        account_secret(tmp_path)


@pytest.mark.parametrize("directory", ["/proc", "/nonexistent/gatekeeper"])
def test_where_it_cannot_be_made_is_a_store_error(directory: str) -> None:
    """/proc takes no new files, not even from root."""
    with pytest.raises(StoreError, match=f"^{directory}/{FILE_NAME}: "):
        account_secret(Path(directory))
