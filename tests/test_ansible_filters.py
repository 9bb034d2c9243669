"""The role's filters: TOML, what takes a restart, and what postconf is told."""

import importlib.util
import os
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent
FILTERS = ROOT / "ansible" / "roles" / "gatekeeper" / "filter_plugins"
MASTER = """\
smtp       inet  n       -       y       -       -       smtpd
submission inet  n       -       y       -       -       smtpd
  -o syslog_name=postfix/own
  -o { smtpd_milters = inet:127.0.0.1:1, inet:127.0.0.1:2 }
  -o smtpd_tls_security_level=encrypt
465        inet  n       -       y       -       -       smtpd
  -o smtpd_tls_wrappermode=yes
2525       inet  n       -       y       -       -       smtpd
smtp       unix  -       -       y       -       -       smtp
"""
PRIVATE = [
    {"address": "127.0.0.1:10025", "ports": [25]},
    {
        "address": "127.0.0.1:10587",
        "ports": [587, 465],
        "fresh": {"smtpd_sasl_auth_enable": "yes"},
    },
]
TAKEN = ["25", "587", "465", "993"]


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FILTERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


config = _load("gatekeeper_config")
postfix = _load("gatekeeper_postfix")

_scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
_keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_keys, inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(_keys, _values, max_size=5))
def test_what_is_written_is_read_back(written: dict[str, Any]) -> None:
    assert tomllib.loads(config.to_toml(written)) == written


def test_tables_are_written_as_people_write_them() -> None:
    written = {
        "backend": {"mx": {"address": "127.0.0.1:10025"}},
        "mode": "observe",
        "listener": [{"name": "smtp", "bind": ["0.0.0.0:25"]}],
    }
    assert config.to_toml(written) == (
        'mode = "observe"\n\n[backend.mx]\naddress = "127.0.0.1:10025"\n\n'
        '[[listener]]\nname = "smtp"\nbind = ["0.0.0.0:25"]\n'
    )


def test_null_is_no_toml() -> None:
    with pytest.raises(TypeError, match="no word for None"):
        config.to_toml({"mode": None})


RELOAD, GUARD, KERNEL = "Reload the guard", "Restart the guard", "Restart the kernel process"
LISTENER = '[[listener]]\nname = "a"\nbind = ["[::]:{port}"]\nbackend = "{backend}"\n{more}'


def _listener(port: int = 25, backend: str = "x", more: str = "") -> str:
    return LISTENER.format(port=port, backend=backend, more=more)


def _backend(announce: str, address: str) -> str:
    return f'[backend.a]\naddress = "{address}:25"\nannounce = "{announce}"'


@pytest.mark.parametrize(
    ("old", "new", "handlers"),
    [
        ('mode = "enforce"', 'mode = "observe"', [RELOAD]),
        ("[policy]\nauth_ban_score = 10", "[policy]\nauth_ban_score = 9", [RELOAD]),
        ("[policy]\nauth_half_life = 10", "[policy]\nauth_half_life = 9", [GUARD]),
        ("", "[limits]\nsessions = 5", [RELOAD]),
        ('hooks = ["/a.py"]', '[hooks]\nfiles = ["/b.py"]', [RELOAD]),
        ("", "[limits]\nrelay_idle = 5", [GUARD]),
        ("", 'state_dir = "/var/lib/other"', [GUARD]),
        ("", "[enforce]\nnft = true", [KERNEL, GUARD]),
        ('allow = ["192.0.2.1", "192.0.2.2"]', 'allow = ["192.0.2.1"]', [KERNEL, RELOAD]),
        (_listener(), _listener(backend="y"), [RELOAD]),
        (_listener(), _listener(port=2525), [KERNEL, GUARD]),
        (_listener(), _listener(more='proxy_protocol_from = "192.0.2.1"'), [KERNEL, RELOAD]),
        (
            _backend("proxy-v2", "192.0.2.1"),
            _backend("proxy-v2", "192.0.2.2"),
            [KERNEL, RELOAD],
        ),
        (
            _backend("transparent", "192.0.2.1"),
            _backend("transparent", "192.0.2.2"),
            [KERNEL, GUARD],
        ),
        ("[listener]", _listener(), [KERNEL, GUARD]),
        ("what is this", "", [KERNEL, GUARD]),
        ("[enforce]\nnft = true", "", [KERNEL, GUARD]),
    ],
)
def test_a_reload_is_enough_unless_it_is_not(old: str, new: str, handlers: list[str]) -> None:
    assert config.handlers_of(old, new) == handlers


def test_what_changes_with_the_next_start_is_what_the_reference_says() -> None:
    reference = (ROOT / "docs" / "config.md").read_text()
    (said,) = (line for line in reference.splitlines() if "change with the next start" in line)
    for key in config.AT_START["policy"]:
        assert f"| `{key}` |" in reference
        assert "half_life" in key or "recipients" in key or f"`{key}`" in said, key


@pytest.mark.parametrize(
    "wrong", ["listener = 1", "[listener]\na = 1", "policy = 1\nbackend = [2]"]
)
def test_what_is_no_configuration_is_left_to_the_check(wrong: str) -> None:
    assert config.handlers_of(_listener(), wrong)


def test_the_first_certificate_is_the_default() -> None:
    certificates = [{"name": "a.example"}, {"name": "b", "names": ["b.example", "*.b.example"]}]
    tls = config.tls_of(certificates, "/etc/gatekeeper/tls")
    assert tls["private_key"] == "/etc/gatekeeper/tls/a.example/privkey.pem"
    assert tls["sni"] == [
        {
            "names": ["b.example", "*.b.example"],
            "certificate": "/etc/gatekeeper/tls/b/fullchain.pem",
            "private_key": "/etc/gatekeeper/tls/b/privkey.pem",
        }
    ]


def test_a_drop_in_without_settings_is_no_file() -> None:
    files = config.files_of({"mode": "observe"}, {"10-a": {"limits": {"sessions": 5}}, "20-b": {}})
    assert sorted(files) == ["conf.d/10-a.toml", "gatekeeper.toml"]


def test_only_other_addresses_than_the_units_take_a_drop_in() -> None:
    units = str(ROOT / "systemd")
    as_shipped = {"name": "imaps", "bind": ["[::]:993", "0.0.0.0:993"]}
    moved = {"name": "smtp", "bind": ["192.0.2.1:25"]}
    unknown = {"name": "imap", "bind": ["0.0.0.0:143"]}
    assert config.elsewhere([as_shipped, moved, unknown], units) == [moved]


@pytest.fixture
def postconf(tmp_path: Path) -> "Postconf":
    """Postfix's own program on a configuration of its own."""
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")
    (tmp_path / "master.cf").write_text(MASTER)
    return Postconf(tmp_path)


class Postconf:
    """postconf(1), as the role calls it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *arguments: str) -> list[str]:
        """The lines it prints; it may have nothing to complain of."""
        for file in self.directory.iterdir():
            os.utime(file, (0, 0))  # one that has just changed is waited for
        command = ["postconf", "-c", str(self.directory), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert not done.stderr
        return done.stdout.splitlines()

    def move(self) -> list[list[str]]:
        """Do what `moved` says, and say what it was."""
        steps: list[list[str]] = postfix.moved(self("-M"), self("-P"), PRIVATE, TAKEN)
        for step in steps:
            self(*step)
        return steps


def test_services_move_with_all_they_have(postconf: Postconf) -> None:
    before = postfix.public(postconf("-M"), TAKEN)
    assert postconf.move()
    names = [" ".join(line.split()[:2]) for line in postconf("-M")]
    assert names == ["2525 inet", "smtp unix", "127.0.0.1:10025 inet", "127.0.0.1:10587 inet"]
    options = [line.removeprefix("127.0.0.1:10587/inet/") for line in postconf("-P")]
    assert set(options) >= {
        "smtpd_milters = inet:127.0.0.1:1, inet:127.0.0.1:2",
        "smtpd_tls_security_level = none",
        "smtpd_upstream_proxy_protocol = haproxy",
        "smtpd_sasl_security_options = noanonymous",
        "syslog_name = postfix/own",
    }
    assert "smtpd_sasl_auth_enable = yes" not in options  # the operator's own service: not fresh

    assert postconf.move() == []
    for step in postfix.moved_back(postconf("-M"), before, ["127.0.0.1:10025", "127.0.0.1:10587"]):
        postconf(*step)
    assert sorted(postfix.public(postconf("-M"), TAKEN)) == sorted(before)
    assert len(postconf("-M")) == 5


def test_submission_is_made_where_there_was_none(postconf: Postconf) -> None:
    for name in ("submission/inet", "465/inet"):
        postconf("-MX", name)
    postconf.move()
    assert "127.0.0.1:10587/inet/smtpd_sasl_auth_enable = yes" in postconf("-P")
    assert postconf.move() == []


def test_postscreen_is_told_in_its_own_words(postconf: Postconf) -> None:
    postconf("-M", "smtp/inet=smtp inet n - y - 1 postscreen")
    postconf.move()
    options = postconf("-P")
    assert "127.0.0.1:10025/inet/postscreen_upstream_proxy_protocol = haproxy" in options
    assert not any("10025/inet/smtpd" in line for line in options)


def test_ports_the_guard_does_not_take_stay(postconf: Postconf) -> None:
    assert postfix.moved(postconf("-M"), postconf("-P"), PRIVATE, ["993"]) == []


def test_a_run_that_broke_off_is_taken_up_again(postconf: Postconf) -> None:
    steps = postfix.moved(postconf("-M"), postconf("-P"), PRIVATE, TAKEN)
    postconf(*steps[0])
    assert steps[1:] == postfix.moved(postconf("-M"), postconf("-P"), PRIVATE, TAKEN)


def test_what_is_somebody_elses_is_left_alone(postconf: Postconf) -> None:
    postconf("-M", "127.0.0.1:10025/inet=127.0.0.1:10025 inet n - n - - smtpd")
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:10025/inet of Postfix is not the guard's"):
        postfix.moved(postconf("-M"), postconf("-P"), PRIVATE, TAKEN)


def test_a_program_that_takes_no_proxy_header_is_not_moved(postconf: Postconf) -> None:
    postconf("-M", "smtp/inet=smtp inet n - n - - spawn argv=/bin/true")
    with pytest.raises(ValueError, match="is spawn, which takes no PROXY header"):
        postfix.moved(postconf("-M"), postconf("-P"), PRIVATE, TAKEN)
