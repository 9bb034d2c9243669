"""What the guard asks of its host; whatever changes a process is done in one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatekeeper import host
from gatekeeper.errors import ConfigError, PermissionMissing
from gatekeeper.prefix import Prefix

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = 65534
_EFFECTIVE = next(
    line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")
)
MAY_RAISE = bool(int(_EFFECTIVE.split()[1], 16) >> 24 & 1)  # CAP_SYS_RESOURCE: hard limits too


def in_a_process(code: str) -> dict[str, object]:
    """Run `code`, which fills the dictionary `found`, elsewhere."""
    whole = (
        f"import json\nfrom gatekeeper import host\nfound = {{}}\n{code}\nprint(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", whole], capture_output=True, text=True, check=True, timeout=30
    )
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_own_addresses_hold_loopback_and_every_interface() -> None:
    own = host.own_addresses()
    assert Prefix.parse("127.0.0.1") in own
    listed = json.loads(
        subprocess.run(["ip", "-j", "addr"], capture_output=True, check=True, timeout=20).stdout
    )
    expected = {Prefix.parse(address["local"]) for link in listed for address in link["addr_info"]}
    assert expected <= own


def test_own_addresses_are_none_where_proc_is_not_mounted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host, "_LOCAL_V4", tmp_path / "none")
    monkeypatch.setattr(host, "_LOCAL_V6", tmp_path / "none")
    assert host.own_addresses() == set()


@as_root
def test_dropped_rights_are_gone_for_good() -> None:
    found = in_a_process("""
import os
host.drop_rights("nobody")
found["uids"], found["gids"], found["groups"] = os.getresuid(), os.getresgid(), os.getgroups()
try:
    os.setuid(0)
    found["again"] = "root"
except PermissionError:
    found["again"] = "no"
import ctypes
found["dumpable"] = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
found["no_new_privs"] = int(status["NoNewPrivs"])
found["capabilities"] = int(status["CapEff"], 16) | int(status["CapPrm"], 16)
""")
    assert found == {
        "uids": [NOBODY] * 3,
        "gids": [NOBODY] * 3,
        "groups": [],
        "again": "no",
        "dumpable": 0,
        "no_new_privs": 1,
        "capabilities": 0,
    }


@as_root
def test_without_root_the_user_stays_and_the_rest_is_done() -> None:
    found = in_a_process("""
import ctypes, os
os.setuid(65534)
host.drop_rights("whoever")
found["uid"] = os.getuid()
found["dumpable"] = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
""")
    assert found == {"uid": NOBODY, "dumpable": 0}


@as_root
def test_an_unknown_user_is_named() -> None:
    with pytest.raises(ConfigError, match="no-such-user"):
        host.drop_rights("no-such-user")


@as_root
@pytest.mark.parametrize(
    ("soft", "hard", "sessions", "expected"),
    [
        (256, 4096, 1000, 2256),  # within the hard limit
        (256, 1024, 1000, 2256 if MAY_RAISE else 1024),
        (3000, 4096, 1000, 3000),  # never lowered
    ],
)
def test_the_descriptor_limit_is_raised(soft: int, hard: int, sessions: int, expected: int) -> None:
    found = in_a_process(f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
found["said"] = host.raise_descriptor_limit({sessions})
found["is"] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
""")
    assert found == {"said": expected, "is": expected}


@as_root
def test_without_root_the_hard_limit_holds() -> None:
    found = in_a_process("""
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024))
os.setuid(65534)
found["said"] = host.raise_descriptor_limit(1000)
found["is"] = resource.getrlimit(resource.RLIMIT_NOFILE)
""")
    assert found == {"said": 1024, "is": [1024, 1024]}


def test_a_directory_is_made_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    host.own_directory(path, "nobody")
    host.own_directory(path, "nobody")
    assert path.stat().st_mode & 0o777 == 0o750
    if os.geteuid() == 0:
        assert path.stat().st_uid == NOBODY


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PermissionMissing, match="file/state"):
        host.own_directory(tmp_path / "file" / "state", "nobody")
    with pytest.raises(ConfigError, match="file: not a directory"):
        host.own_directory(tmp_path / "file", "nobody")
