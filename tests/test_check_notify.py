"""What `check` says of `[notify]`."""

from dataclasses import replace
from pathlib import Path

from guard_bench import SETTINGS

from gatekeeper.check.finding import Severity
from gatekeeper.check.notify import check_notify
from gatekeeper.settings import NotifySettings


def test_what_is_of_no_use_is_an_error(tmp_path: Path) -> None:
    settings = replace(SETTINGS, notify=NotifySettings(exec=tmp_path / "none"))
    [finding] = check_notify(settings)
    assert finding.severity is Severity.ERROR
    assert str(finding).endswith(f"[notify]: exec: {tmp_path}/none: No such file or directory")


def test_nothing_is_said_of_what_works_and_nothing_is_sent(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    hook.chmod(0o755)
    assert list(check_notify(replace(SETTINGS, notify=NotifySettings(exec=hook)))) == []
    assert list(check_notify(SETTINGS)) == []
    assert not (tmp_path / "started").exists()
