"""What `check` finds in hooks files."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hooks_rig import write

from gatekeeper.check.hooks import check_hooks
from gatekeeper.settings import HookSettings, Settings, TlsSettings

GOOD = "def mail(event, facts): pass"


def found(*files: Path) -> list[str]:
    settings = Settings("h", TlsSettings(), (), {}, user="nobody", hooks=HookSettings(files))
    return [str(finding) for finding in check_hooks(settings)]


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="hooks-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_nothing_is_found_where_nothing_is_wrong(public: Path) -> None:
    assert found() == []
    assert found(write(public / "hooks.py", GOOD)) == []


def test_every_file_is_named_with_its_line(public: Path) -> None:
    files = [
        write(public / "one.py", "def mail(event, facts):\n  return (\n"),
        write(public / "two.py", GOOD),
        write(public / "three.py", "\n\ndef mail(): pass"),
        public / "four.py",
    ]
    assert found(*files) == [
        f"error: {files[0]}:2: syntax error: '(' was never closed",
        f"error: {files[2]}:3: mail is called with (event, facts, context); it takes ()",
        f"error: {files[3]}: No such file or directory",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it takes on the guard's rights")
def test_a_file_that_the_guards_user_cannot_read_or_could_write(public: Path) -> None:
    path = write(public / "hooks.py", GOOD)
    path.chmod(0o600)
    assert found(path) == [f"error: {path}: Permission denied"]
    path.chmod(0o644)
    os.chown(path, 65534, -1)  # nobody
    assert found(path)[0].startswith(f"error: {path}: belongs to uid 65534; it must belong to root")
    assert os.geteuid() == 0
