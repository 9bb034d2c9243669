"""Where XDP's pins may be."""

import os
from pathlib import Path

import pytest

from gatekeeper.kernel.hardening import needs
from gatekeeper.kernel.options import Options
from gatekeeper.kernel.xdp_pins import on_bpffs, present, remove_stale

LINES = {
    "root": "21 1 254:0 / / rw - ext4 /dev/root rw",
    "sys": "22 21 0:20 / /sys rw - sysfs sysfs rw",
    "bpf": "23 22 0:21 / /sys/fs/bpf rw,relatime shared:7 - bpf bpf rw,mode=700",
    "over": "24 23 0:22 / /sys/fs/bpf rw - tmpfs tmpfs rw",
    "odd": "25 21 0:23 / /run/b\\040x rw - bpf bpf rw",
}
PINS = "/sys/fs/bpf/gatekeeper"


@pytest.mark.parametrize(
    ("lines", "directory", "answer"),
    [
        (("root", "sys", "bpf"), PINS, True),
        (("root", "sys"), PINS, False),
        (("root", "sys", "bpf", "over"), PINS, False),
        (("root", "sys", "over", "bpf"), PINS, True),
        (("root", "sys", "bpf"), "/sys/fs/bpf-not/gatekeeper", False),
        (("root", "sys", "bpf"), "/var/gatekeeper", False),
        (("root", "odd"), "/run/b x/gatekeeper", True),
    ],
)
def test_what_is_mounted_on_top_counts(
    tmp_path: Path, lines: tuple[str, ...], directory: str, answer: bool
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("".join(LINES[name] + "\n" for name in lines))
    assert on_bpffs(Path(directory), mounts) is answer


def test_who_may_not_look_into_the_bpffs_finds_nothing(tmp_path: Path) -> None:
    """A kernel process that is not root: /sys/fs/bpf is root's, with mode 0700."""
    pins = tmp_path / "bpf" / "gatekeeper"
    pins.mkdir(parents=True)
    assert present(pins)
    root = os.geteuid() == 0
    pins.parent.chmod(0o600)
    try:
        if root:
            os.seteuid(65534)
        assert not present(pins)
        assert not needs(Options(), pins).removes_pins
        assert remove_stale(pins) is False
    finally:
        if root:
            os.seteuid(0)
        pins.parent.chmod(0o700)
