"""The contenders' configuration files, as text.

The same for all: one worker, TLS 1.2 and 1.3 with the same two certificates, tickets on, PROXY v1
towards the same backend, time-outs that no scenario meets, room for 8,000 sessions. "Default"
leaves the buffers as the program ships them; "tuned" makes them large, for bulk.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.workshop import Certificates

SESSIONS: Final = 8_000  # the largest scenario holds 5,000
WRONG_PASSWORDS: Final = 8  # until the guard that bans does
BANS: Final = "gatekeeper.db"  # in the state directory of the guard that bans


@dataclass(frozen=True, slots=True)
class Backend:
    """The ports of the shared backend; all but `auth` wait for a PROXY header."""

    smtp: int
    imap: int
    auth: int


@dataclass(frozen=True, slots=True)
class Front:
    """The ports one contender listens on."""

    imaps: int
    submissions: int
    submission: int  # STARTTLS; HAProxy cannot


def nginx(front: Front, backend: Backend, tls: Certificates, directory: Path, buffer: str) -> str:
    """nginx mail; `buffer` is an octet count with its suffix, or empty for the default."""
    proxy_buffer = f"proxy_buffer {buffer};" if buffer else ""
    return f"""\
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
user www-data;
worker_processes 1;
worker_rlimit_nofile {SESSIONS * 2 + 1000};
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log warn;
events {{ worker_connections {SESSIONS * 2 + 500}; }}
mail {{
    server_name mail.bench.test;
    auth_http 127.0.0.1:{backend.auth}/;
    ssl_certificate {tls.ecdsa};
    ssl_certificate_key {tls.ecdsa_key};
    ssl_certificate {tls.rsa};
    ssl_certificate_key {tls.rsa_key};
    ssl_protocols TLSv1.2 TLSv1.3;
    proxy_protocol on;
    proxy_smtp_auth on;
    xclient off;
    timeout 35m;
    proxy_timeout 35m;
    smtp_auth plain;
    imap_capabilities IMAP4rev1 LITERAL+ IDLE;
    smtp_capabilities PIPELINING SIZE 8BITMIME ENHANCEDSTATUSCODES;
    {proxy_buffer}
    server {{ listen 127.0.0.1:{front.imaps} ssl backlog=1024; protocol imap; }}
    server {{ listen 127.0.0.1:{front.submissions} ssl backlog=1024; protocol smtp; }}
    server {{ listen 127.0.0.1:{front.submission} backlog=1024; protocol smtp; starttls on; }}
}}
"""


def haproxy(front: Front, backend: Backend, tls: Certificates, buffer_octets: int) -> str:
    """HAProxy in TCP mode; `buffer_octets` 0 leaves the default."""
    bufsize = f"tune.bufsize {buffer_octets}" if buffer_octets else ""
    return f"""\
global
    nbthread 1
    maxconn {SESSIONS}
    ssl-default-bind-options ssl-min-ver TLSv1.2
    {bufsize}
defaults
    mode tcp
    backlog 1024
    timeout connect 5s
    timeout client 35m
    timeout server 35m
frontend imaps
    bind 127.0.0.1:{front.imaps} ssl crt {tls.bundle}
    default_backend imap
frontend submissions
    bind 127.0.0.1:{front.submissions} ssl crt {tls.bundle}
    default_backend smtp
backend imap
    server backend 127.0.0.1:{backend.imap} send-proxy
backend smtp
    server backend 127.0.0.1:{backend.smtp} send-proxy
"""


def gatekeeper(front: Front, backend: Backend, tls: Certificates, directory: Path) -> str:
    """The guard: its whole path, with limits no scenario meets and nothing in the kernel."""
    return f"""\
hostname = "mail.bench.test"
state_dir = "{directory}/state"
run_dir = "{directory}/run"
user = "root"

[tls]
certificate = ["{tls.ecdsa}", "{tls.rsa}"]
private_key = ["{tls.ecdsa_key}", "{tls.rsa_key}"]

[enforce]
nft = false

[store]
url = "memory:"

[limits]
sessions = {SESSIONS}
sessions_per_address = {SESSIONS}
{_listener("imaps", "imap", front.imaps, "implicit")}
{_listener("submissions", "submission", front.submissions, "implicit")}
{_listener("submission", "submission", front.submission, "starttls")}
[backend.imap]
address = "127.0.0.1:{backend.imap}"
announce = "proxy-v1"

[backend.submission]
address = "127.0.0.1:{backend.smtp}"
announce = "proxy-v1"
"""


def banning(host: str, port: int, backend: int, tls: Certificates, directory: Path) -> str:
    """The guard that bans in earnest: the kernel, SQLite, and limits that are the default.

    Eight wrong passwords ban, and are answered at once, or they would take half a minute; the
    answer that bans is never held back anyway. Each goes to the backend, whose word is what the
    time is taken from: strangers are not put off for what the attackers before them did.
    """
    return f"""\
hostname = "mail.bench.test"
state_dir = "{directory}/state"
run_dir = "{directory}/run"
user = "root"

[tls]
certificate = ["{tls.ecdsa}", "{tls.rsa}"]
private_key = ["{tls.ecdsa_key}", "{tls.rsa_key}"]

[enforce]
nft = true

[store]
url = "sqlite://{directory}/state/{BANS}"

[policy]
auth_ban_score = {WRONG_PASSWORDS}
auth_tarpit_score = {WRONG_PASSWORDS}
auth_suspect_share = 1

[rules]
suspect-network = "observe"
account-attacked = "observe"
attack-level = "observe"

[limits]
drain = "1s"

[[listener]]
name = "imaps"
protocol = "imap"
bind = ["{host}:{port}"]
tls = "implicit"
backend = "imap"

[backend.imap]
address = "127.0.0.1:{backend}"
announce = "proxy-v1"
"""


def _listener(name: str, protocol: str, port: int, tls: str) -> str:
    return f"""
[[listener]]
name = "{name}"
protocol = "{protocol}"
bind = ["127.0.0.1:{port}"]
tls = "{tls}"
backend = "{protocol}"
"""
