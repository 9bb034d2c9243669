"""Files that are no configuration at all: told in a line, at once, and never waited for."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from test_config import GOOD, problems, write

from gatekeeper.config import ConfigErrors, load, run_dir
from gatekeeper.errors import ConfigError, PermissionMissing


def test_syntax_errors_of_all_files_come_before_all_else(tmp_path: Path) -> None:
    found = problems(tmp_path, "mode = \nzzz = 1", a="x = 1\nx = 2", b="[[listener", c="ok = 1")
    assert [line[: line.index(" ")] for line in found] == [
        "gatekeeper.toml:1:",
        "a.toml:2:",
        "b.toml:1:",
    ]
    assert all(": not TOML: " in line for line in found)


def test_line_of_what_is_no_utf_8(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes(b'mode = "observe"\n# \xff')
    with pytest.raises(ConfigErrors, match=r"gatekeeper.toml:2: not UTF-8 text"):
        load(path)


def test_byte_order_mark_and_crlf_are_harmless(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(path).hostname == "mail.example.org"
    path.write_bytes(GOOD.replace("993", "x", 1).replace("\n", "\r\n").encode())
    with pytest.raises(ConfigErrors, match=r"gatekeeper.toml:8: "):
        load(path)


def test_deep_nesting_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    assert problems(tmp_path, "x = " + "[" * 5000 + "]" * 5000) == [
        "gatekeeper.toml:0: nested too deeply"
    ]


@pytest.mark.parametrize("line", [".".join("a" * 100_000) + " = 1", f"[{'a . ' * 99}b]"])
def test_deep_keys_are_a_problem_before_they_cost_memory(tmp_path: Path, line: str) -> None:
    assert problems(tmp_path, GOOD + line) == ["gatekeeper.toml:0: nested too deeply"]


def test_more_tables_than_anybody_has_are_not_compared_with_each_other(tmp_path: Path) -> None:
    listener = GOOD[GOOD.index("[[listener]]") : GOOD.index("[backend")]
    many = [listener.replace('"imaps"', f'"l{number}"') for number in range(5000)]
    assert problems(tmp_path, GOOD + "".join(many)) == [
        "gatekeeper.toml:5: listener: 5001 listeners: 256 at most"
    ]
    backends = [f'[backend.b{number}]\naddress = "b:{number + 1}"\n' for number in range(256)]
    assert problems(tmp_path, GOOD + "".join(backends)) == [
        "gatekeeper.toml:11: backend: 257 backends: 256 at most"
    ]


def test_thousands_of_problems_are_counted(tmp_path: Path) -> None:
    text = "".join(f"zzz{number} = 1\n" for number in range(1234)) + GOOD
    with pytest.raises(ConfigErrors) as caught:
        load(write(tmp_path, text))
    assert len(caught.value.problems) == 1234
    assert len(str(caught.value).splitlines()) == 1001
    assert str(caught.value).endswith("\nand 234 more")


def test_absent_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")


def _link_to_itself(place: Path) -> None:
    place.symlink_to(place.name)


@pytest.mark.parametrize(
    ("name", "make", "text"),
    [
        ("conf.d", _link_to_itself, "conf.d: cannot be read: Too many levels of symbolic links"),
        ("conf.d", lambda it: it.symlink_to("gone"), "conf.d: cannot be read: No such file or d"),
        ("conf.d", lambda it: it.write_text(""), "conf.d: cannot be read: Not a directory"),
        ("conf.d/a.toml", _link_to_itself, "a.toml: cannot be read: Too many levels of symboli"),
        ("conf.d/a.toml", lambda it: it.symlink_to("gone"), "a.toml: cannot be read: No such fi"),
        ("conf.d/a.toml", lambda it: it.mkdir(), "a.toml: cannot be read: Is a directory"),
        ("conf.d/a.toml", os.mkfifo, "a.toml: is no regular file"),
        ("conf.d/a.toml", lambda it: it.symlink_to("/dev/zero"), "a.toml: is no regular file"),
        (
            "conf.d/a.toml",
            lambda it: it.write_bytes(b"#" * 2_000_000),
            "has 2000000 octets, and 1048576",
        ),
        ("conf.d/a.toml", lambda it: it.write_bytes(b"x = 1\n\n\0"), "a.toml:3: not TOML: "),
        (
            "conf.d/a.toml",
            lambda it: it.write_bytes("x".encode("utf-16")),
            "a.toml:1: not UTF-8 te",
        ),
        ("gatekeeper.toml", _link_to_itself, "gatekeeper.toml: cannot be read: Too many levels"),
        ("gatekeeper.toml", lambda it: it.mkdir(), "gatekeeper.toml: cannot be read: Is a dire"),
    ],
)
def test_what_is_no_file_is_told_and_nothing_waits(
    tmp_path: Path, name: str, make: Callable[[Path], object], text: str
) -> None:
    path = write(tmp_path, GOOD)
    place = tmp_path / name
    if place == path:
        path.unlink()
    elif place.parent != tmp_path:
        place.parent.mkdir()
    make(place)
    with pytest.raises(ConfigErrors) as caught:
        load(path)
    (told,) = map(str, caught.value.problems)
    assert text in told


def test_a_directory_of_drop_ins_may_be_the_one_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    (tmp_path / "conf.d").symlink_to(".")
    assert load(path).hostname == "mail.example.org"


def test_a_pipe_of_the_shell_is_read(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with open(reader), open(writer, "w") as end:
        end.write(GOOD)
        end.close()
        assert load(Path(f"/dev/fd/{reader}")).hostname == "mail.example.org"


def test_unreadable_file_is_a_missing_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, GOOD)
    monkeypatch.setattr(Path, "read_bytes", refuse)  # the test may run as root, who may read all
    with pytest.raises(PermissionMissing, match="may not be read"):
        load(path)
    assert run_dir(path) == Path("/run/gatekeeper")


def test_drop_ins_that_may_not_be_listed_are_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, GOOD)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(PermissionMissing, match=r"conf.d: may not be read"):
        load(path)
