"""Files the configuration names are read, or refused at once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gatekeeper.plain_files import LARGEST_OCTETS, read_plain


def test_a_file_is_read_through_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * LARGEST_OCTETS)
    (tmp_path / "link").symlink_to("file")
    assert read_plain(tmp_path / "link") == b"x" * LARGEST_OCTETS


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkfifo, "is no regular file"),  # opened as usual it would be waited for
        (lambda it: it.symlink_to("/dev/zero"), "is no regular file"),
        (lambda it: it.mkdir(), "Is a directory"),
        (lambda it: it.symlink_to("it"), "Too many levels of symbolic links"),
        (lambda it: it.symlink_to("gone"), "No such file or directory"),
        (lambda it: it.write_bytes(b"x" * (LARGEST_OCTETS + 1)), "has more than 4 MiB"),
    ],
)
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    make(tmp_path / "it")
    with pytest.raises(OSError, match=why) as caught:
        read_plain(tmp_path / "it")
    assert caught.value.strerror == why
