"""`[notify]`: whom it names, and what is wrong with it."""

from pathlib import Path

import pytest
from test_config import GOOD, problems, write

from gatekeeper.config import load
from gatekeeper.config.showing import show
from gatekeeper.errors import ConfigError
from gatekeeper.messengers import messengers
from gatekeeper.secret import Secret
from gatekeeper.settings import NotifySettings

URL = "https://hooks.example:8443/services/s3cr3t?x=1"


def hook(directory: Path) -> Path:
    path = directory / "hook.sh"
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_nobody_is_told_unless_it_is_asked_for(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD)).notify
    assert settings == NotifySettings()
    assert messengers(settings) == ()


def test_both_may_be_named_and_nothing_secret_is_shown(tmp_path: Path) -> None:
    hook(tmp_path)
    (tmp_path / "token").write_text("Bearer s3cr3t\n")
    text = f'{GOOD}\n[notify]\nexec = "hook.sh"\nwebhook = "{URL}"\ndeadline = "3s"\n'
    path = write(tmp_path, text + 'webhook_authorization = "token"\n')
    settings = load(path)
    notify = settings.notify
    assert (notify.exec, notify.deadline_s) == (tmp_path / "hook.sh", 3.0)
    assert notify.webhook is not None
    assert notify.webhook.declassify().decode() == URL
    assert [each.name for each in messengers(notify)] == ["exec", "webhook"]
    assert "s3cr3t" not in repr(settings)
    shown = show(settings, changed=True)
    assert "s3cr3t" not in shown
    assert 'webhook = "https://hooks.example:8443/hidden"' in shown
    path.write_text(shown)
    assert show(load(path), changed=True) == shown


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('webhook = "http://hooks.example/s3cr3t"', 'wants "https://HOST/PATH"'),
        ('webhook = "https://"', 'wants "https://HOST/PATH"'),
        ('webhook = "https://ann:s3cr3t@hooks.example/"', "without a user name"),
        ('webhook = "https://hooks.example:99999/s3cr3t"', 'wants "https://HOST/PATH"'),
        ('webhook = "https://hooks.example/s3cr3t\\r\\nX: y"', "without spaces"),
        ('webhook = "https://hooks.example/#s3cr3t"', 'wants "https://HOST/PATH"'),
        ('webhook_ca = "ca.pem"', "[notify] webhook_ca: there is no webhook"),
        ('deadline = "0s"', "must be more than 0"),
        ('webhok = "https://hooks.example/"', 'did you mean "webhook"?'),
    ],
)
def test_what_is_no_setting_is_told_without_a_secret(tmp_path: Path, line: str, said: str) -> None:
    found = problems(tmp_path, f"{GOOD}\n[notify]\n{line}\n")
    assert len(found) == 1
    assert said in found[0]
    assert "[notify]" in found[0]
    assert "s3cr3t" not in found[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", "No such file or directory"),
        ("hook.sh --loud", "No such file or directory; arguments are not taken, write a script"),
        ("two", "it may not be executed: chmod +x"),
        ("", "is no regular file"),
    ],
)
def test_a_program_that_cannot_be_started_is_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "two").write_text("x")
    with pytest.raises(ConfigError) as raised:
        messengers(NotifySettings(exec=tmp_path / name))
    assert str(raised.value) == f"[notify] exec: {tmp_path / name}: {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory"),
        ("Bearer s3cr3t\nX: y\n", "wants one line of printable ASCII"),
        ("\n", "wants one line of printable ASCII"),
        ("s3cr3t" * 10_000, "wants one line of printable ASCII"),
        ("Bearer s3cr3t\x00", "wants one line of printable ASCII"),
    ],
)
def test_a_secret_that_is_none_is_told_but_not_shown(
    tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        messengers(NotifySettings(webhook=Secret(URL.encode()), webhook_authorization=path))
    assert str(raised.value) == f"[notify] webhook_authorization: {path}: {said}"
