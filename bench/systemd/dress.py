"""What the machine is besides the guard: a configuration, a backend, a network with a client."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.systemd.machine import inside

UNITS: Final = (
    *("gatekeeper.service", "gatekeeper-kernel.service", "gatekeeper-kernel.socket"),
    *("gatekeeper-smtp.socket", "gatekeeper-imaps.socket"),
    *("bench-net.service", "bench-sink.service"),
)
CONFIGURATION: Final = """\
hostname = "mx.example"

[tls]
certificate = "tls/cert.pem"
private_key = "tls/key.pem"

[enforce]
kernel_socket = "/run/gatekeeper-kernel/socket"
syn_rate = 0  # all clients of the bench have one address

[dns]
deadline = "0.1s"  # nobody answers in here

[policy]
greet_wait = "0s"  # the load is to be a load
mx_connections_per_address = 1000
mx_connections_per_network = 1000

[limits]
drain = "5s"

[[listener]]
name = "smtp"
protocol = "smtp"
bind = ["0.0.0.0:25", "[::]:25"]
tls = "starttls"
backend = "smtp"

[[listener]]
name = "imaps"
protocol = "imap"
bind = ["0.0.0.0:993", "[::]:993"]
tls = "implicit"
backend = "imap"

[backend.smtp]
address = "127.0.0.1:10025"
announce = "proxy-v1"

[backend.imap]
address = "127.0.0.1:10143"
announce = "proxy-v1"
"""
_NET: Final = """\
[Unit]
Description=bench: a client beside this host
Before=gatekeeper-kernel.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -e -c '\\
  ip netns add client; \\
  ip link add up0 type veth peer name eth0 netns client; \\
  ip addr add 198.51.100.1/24 dev up0; ip link set up0 up; \\
  for last in 7 66; do ip -n client addr add 198.51.100.$$last/24 dev eth0; done; \\
  ip -n client link set eth0 up'
[Install]
WantedBy=multi-user.target
"""
_SINK: Final = """\
[Unit]
Description=bench: the backend
[Service]
ExecStart=/usr/bin/python3 /opt/bench/sink.py
[Install]
WantedBy=multi-user.target
"""
# From the first moment of a boot on somebody who is banned knocks, and somebody who is not.
_KNOCK: Final = """\
[Unit]
Description=bench: a client from the start, %i
After=bench-net.service
[Service]
ExecStart=/usr/sbin/ip netns exec client /usr/bin/python3 /opt/bench/client.py knock %i 15
StandardOutput=truncate:/var/lib/knock-%i
[Install]
WantedBy=multi-user.target
"""


def dress(tree: Path) -> None:
    """Give the tree all this, and have it started at each boot."""
    units = tree / "etc/systemd/system"
    for name, text in (("net", _NET), ("sink", _SINK), ("knock@", _KNOCK)):
        (units / f"bench-{name}.service").write_text(text)
    shutil.copytree(Path(__file__).parent / "inside", tree / "opt/bench", dirs_exist_ok=True)
    if "gatekeeper:" not in (tree / "etc/passwd").read_text():
        nologin = "/usr/sbin/nologin"
        inside(tree, "useradd", "--system", "--no-create-home", "--shell", nologin, "gatekeeper")
    for left in ("var/lib/gatekeeper", "var/spool/sink"):  # of the last time
        shutil.rmtree(tree / left, ignore_errors=True)
    _configure(tree)
    inside(tree, "systemctl", "enable", *UNITS)


def _configure(tree: Path) -> None:
    home = tree / "etc/gatekeeper"
    (home / "tls").mkdir(parents=True, exist_ok=True)
    (home / "gatekeeper.toml").write_text(CONFIGURATION)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "30", "-subj", "/CN=mx.example"),
            *("-addext", "subjectAltName=DNS:mx.example"),
            *("-keyout", home / "tls/key.pem", "-out", home / "tls/cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    inside(tree, "chown", "-R", "root:gatekeeper", "/etc/gatekeeper")
    inside(tree, "chmod", "-R", "u=rwX,g=rX,o=", "/etc/gatekeeper")
