"""What starting the kernel process says when it does not start."""

import sys
from pathlib import Path

import pytest

from gatekeeper.enforce import spawn
from gatekeeper.enforce.spawn import spawn_kernel
from gatekeeper.errors import EnforcerError, PermissionMissing
from gatekeeper.kernel.options import Options


def instead_of_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Have a shell script where the interpreter is looked for."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_missing_rights_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    instead_of_python(monkeypatch, tmp_path, "exit 77")
    with pytest.raises(PermissionMissing):
        spawn_kernel(Options((993,), (25,)))


def test_a_process_that_fails_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    instead_of_python(monkeypatch, tmp_path, "exit 1")
    with pytest.raises(EnforcerError):
        spawn_kernel(Options((993,), (25,)))


def test_a_program_that_is_not_there_raises(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    with pytest.raises(EnforcerError):
        spawn_kernel(Options((993,), (25,)))


def test_a_process_that_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(spawn, "START_TIMEOUT_S", 0.05)
    instead_of_python(monkeypatch, tmp_path, "exec sleep 60")
    with pytest.raises(EnforcerError, match="timed out"):
        spawn_kernel(Options((993,), (25,)))
