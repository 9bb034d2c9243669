"""Hooks files: what is wrong with one is told in one line, with its path and its line in it."""

import os
import sys
from pathlib import Path

import pytest
from hooks_rig import OWNERS, write

from gatekeeper.errors import ConfigError
from gatekeeper.events import MailAttempt, RcptAttempt
from gatekeeper.hooks.function import EVENTS, Manner
from gatekeeper.hooks.loading import MAX_FILE_OCTETS, HooksError, load_files, owners_of
from gatekeeper.settings import Settings, TlsSettings

GOOD = """
    from dataclasses import dataclass
    from gatekeeper.hooks import quick

    @dataclass
    class Seen:
        count: int = 0

    def mail(event, facts):
        pass

    @quick
    def rcpt(event, facts, context):
        pass

    async def helo(event, facts, *more):
        pass
"""


def test_hooks_are_found_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "hooks.py", GOOD)
    found = {hook.label: hook for hook in load_files([path], OWNERS)}
    assert list(found) == ["hooks.py:helo", "hooks.py:mail", "hooks.py:rcpt"]
    assert found["hooks.py:mail"].event is MailAttempt
    assert found["hooks.py:rcpt"].event is RcptAttempt
    assert [hook.manner for hook in found.values()] == [Manner.TASK, Manner.THREAD, Manner.QUICK]
    assert [hook.takes_context for hook in found.values()] == [True, False, True]


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir(mode=0o755)
        paths.append(write(tmp_path / name / "hooks.py", "def mail(event, facts): pass"))
    assert [hook.label for hook in load_files(paths, OWNERS)] == [f"{path}:mail" for path in paths]


WRONG = {
    "def mail(event, facts):\n    return (": (2, "syntax error: '(' was never closed"),
    "x = 1\nimport nowhere_at_all\n": (2, "ModuleNotFoundError: No module named 'nowhere_at_all'"),
    "x = 1\n\nraise SystemExit('no\\nmore')\n": (3, "SystemExit: no more"),
    "def mail():\n    pass\nmail(1)": (3, "TypeError: mail() takes 0 positional arguments"),
    "x = 1\n": (0, "has none of the functions connection_opened, helo, mail, rcpt, auth_attempt"),
    "import email as mail\n": (0, "mail is module, not a function"),
    "\ndef mail(event):\n    pass\n": (2, "mail is called with (event, facts, context); it takes"),
    "def rcpt(a, b, c, d):\n    pass\n": (1, "rcpt is called with (event, facts, context); it"),
    "def mail(event, facts):\n    yield\n": (1, "mail yields; a hook returns its answer"),
    "async def mail(e, f):\n    yield\n": (1, "mail yields; a hook returns its answer"),
    "from gatekeeper.hooks import quick\n@quick\nasync def mail(e, f):\n    pass\n": (
        2,
        "mail: quick is for plain functions, not async ones",
    ),
    "\0": (0, "syntax error: source code string cannot contain null bytes"),
    "'\\N{nothing}'": (1, "syntax error: (unicode error)"),
    "def f(): f()\nf()": (1, "RecursionError: maximum recursion depth exceeded"),
    f"x = {'(' * 1000}{')' * 1000}": (1, "syntax error: too many nested parentheses"),
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: repr(text)[:40])
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "hooks.py", text)
    modules = set(sys.modules)
    line, why = WRONG[text]
    with pytest.raises(HooksError) as caught:
        load_files([path], OWNERS)
    place = f"{path}:{line}" if line else f"{path}"
    assert str(caught.value).startswith(f"{place}: {why}")
    assert "\n" not in str(caught.value)
    assert {name for name in sys.modules if "gatekeeper_hooks" in name} <= modules


def test_octets_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "hooks.py"
    path.write_bytes(b"x = 'caf\xe9'\n")
    path.chmod(0o644)
    with pytest.raises(HooksError, match=r"syntax error: .*unicode error"):
        load_files([path], OWNERS)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    for make, why in (
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (os.mkfifo, "is no regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: write(path, "#" * MAX_FILE_OCTETS * 2), "is longer than 1024 KiB"),
    ):
        path = tmp_path / f"{why[:5]}.py"
        make(path)
        with pytest.raises(HooksError) as caught:
            load_files([path], OWNERS)
        assert str(caught.value) == f"{path}: {why}"


def test_a_file_is_not_trusted_that_others_may_write(tmp_path: Path) -> None:
    path = write(tmp_path / "hooks.py", "def mail(event, facts): pass")
    for mode in (0o664, 0o646):
        path.chmod(mode)
        with pytest.raises(HooksError, match=rf"may be written by others \(mode 0{mode:o}\)"):
            load_files([path], OWNERS)
    path.chmod(0o600)
    tmp_path.chmod(0o777)
    with pytest.raises(HooksError, match=f"lies in {tmp_path}, which others may write"):
        load_files([path], OWNERS)
    tmp_path.chmod(0o1777)
    assert load_files([path], OWNERS), "whose names only their owners may change"


def test_a_link_to_a_file_that_others_may_write_is_followed(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    path = write(tmp_path / "open" / "hooks.py", "def mail(event, facts): pass")
    (tmp_path / "open").chmod(0o777)
    link = tmp_path / "link.py"
    link.symlink_to(path)
    with pytest.raises(HooksError, match="open, which others may write"):
        load_files([link], OWNERS)


def test_a_file_of_somebody_else_is_not_trusted(tmp_path: Path) -> None:
    path = write(tmp_path / "hooks.py", "def mail(event, facts): pass")
    with pytest.raises(HooksError, match=r"belongs to uid \d+; it must belong to uid 4242"):
        load_files([path], {4242})


def test_neither_the_guards_user_nor_strangers_may_own_hooks(tmp_path: Path) -> None:
    def settings(user: str) -> Settings:
        file = write(tmp_path / "gatekeeper.toml", "")
        return Settings("h", TlsSettings(), (), {}, user=user, files=(file,))

    assert owners_of(settings("nobody")) == {0, os.geteuid()}
    assert 0 in owners_of(settings("root"))
    assert owners_of(settings("there is none")) == {0, os.geteuid()}


def test_every_name_is_told_where_there_is_none_of_them() -> None:
    assert list(EVENTS) == [
        *("connection_opened", "helo", "mail", "rcpt"),
        *("auth_attempt", "auth_outcome", "message_end"),
    ]


def test_every_file_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    good, broken, gone = (tmp_path / name for name in ("good.py", "broken.py", "gone.py"))
    good.write_text("def mail(event, facts):\n    pass\n")
    broken.write_text("def mail(:\n")
    before = set(sys.modules)
    with pytest.raises(ConfigError) as caught:
        load_files([broken, good, gone], OWNERS)
    assert str(caught.value).splitlines() == [
        f"{broken}:1: syntax error: invalid syntax",
        f"{gone}: No such file or directory",
    ]
    assert set(sys.modules) == before
