"""Servers of other families, so that the guard is not shaped after Postfix and Dovecot alone.

Exim and GNU Mailutils' imap4d are unpacked from Debian's packages, not installed: Exim conflicts
with Postfix. They differ where it matters: Exim answers without enhanced codes and reads a PROXY
header by its own parser; imap4d never says `[AUTHENTICATIONFAILED]`, sends a bare greeting,
and lists two dozen mechanisms.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

import pytest

from .accounts import ALICE, DOMAIN, PASSWORDS
from .processes import free_ports, greets, start, stop, wait_ready

WAITING = "a message that lies in the mailbox of imap4d"

EXIM = Template("""\
primary_hostname = exim.$domain
exim_path = $exim
exim_user = nobody
exim_group = nogroup
deliver_drop_privilege = true
tls_advertise_hosts =
spool_directory = $base/spool
log_file_path = $base/%slog
pid_file_path = $base/exim.pid
local_interfaces = <; [127.0.0.1]:$plain ; [127.0.0.1]:$haproxy ; [127.0.0.1]:$trusting
daemon_smtp_ports =
tls_on_connect_ports =
host_lookup =
rfc1413_query_timeout = 0s
smtp_enforce_sync = true
keep_environment =
never_users =
hosts_proxy = $${if eq{$$received_port}{$haproxy}{127.0.0.1}{}}
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = accept
auth_advertise_hosts = *
chunking_advertise_hosts = *
domainlist ours = $domain
hostlist relay_from_hosts = $${if eq{$$received_port}{$trusting}{127.0.0.1}{}}
begin acl
acl_rcpt:
  accept authenticated = *
  accept hosts = +relay_from_hosts
  require message = relay not permitted
          domains = +ours
  require verify = recipient
  accept
begin routers
known:
  driver = accept
  domains = +ours
  local_parts = alice:bob:carol
  transport = file
  cannot_route_message = User unknown
begin transports
file:
  driver = appendfile
  file = $base/mail/$${local_part_data}
  user = nobody
  group = nogroup
begin retry
* * F,2h,15m
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = $${if and{{eq{$$auth2}{$user}}{eq{$$auth3}{$password}}}}
  server_set_id = $$auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = $${if and{{eq{$$auth1}{$user}}{eq{$$auth2}{$password}}}}
  server_set_id = $$auth1
""")

IMAP4D = Template("""\
mode daemon;
foreground yes;
pidfile "$base/imap4d.pid";
virtdomain { passwd-dir "$base/passwd"; };
auth { authentication generic; authorization virtdomain; };
tcp-wrappers { enable no; };
logging { syslog no; };
server 127.0.0.1:$port { transcript yes; };
""")


def unpack(package: str, archives: Path, directory: Path) -> dict[str, str]:
    """Unpack a Debian package and its missing libraries into `directory`.

    They are downloaded into `archives` once; the test is skipped where that fails. Returns the
    environment in which the programs find their libraries.
    """
    if not (archives / "complete").exists():
        archives.mkdir(parents=True, exist_ok=True)
        names = [package, *_missing_libraries(package)]
        fetched = subprocess.run(
            ["apt-get", "download", "-qq", *names], cwd=archives, capture_output=True, check=False
        )
        if fetched.returncode:
            pytest.skip(f"cannot download {package}: {fetched.stderr.decode(errors='replace')}")
        (archives / "complete").touch()
    directory.mkdir(parents=True)
    for archive in archives.glob("*.deb"):
        subprocess.run(["dpkg", "-x", archive, directory], check=True)
    libraries = [*directory.glob("usr/lib/*-linux-*"), directory / "usr/lib"]
    return {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}


def _missing_libraries(package: str) -> list[str]:
    """The libraries among the package's dependencies that are not installed."""
    flags = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"]
    listing = subprocess.run(
        ["apt-cache", "depends", "--recurse", *(f"--no-{flag}" for flag in flags), package],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {
        line
        for line in listing.stdout.splitlines()
        if line.startswith("lib") and not line.endswith("-perl")
    }
    status = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    installed = {
        line.split()[0] for line in status.stdout.splitlines() if line.endswith(" installed")
    }
    return sorted(names - installed)


@contextmanager
def exim(base: Path, archives: Path) -> Iterator[dict[str, int]]:
    """Run Exim below `base`; yields its ports, `plain`, `haproxy` and `trusting`, which relays for
    loopback."""
    attempt = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if attempt.returncode:
        pytest.skip(f"Exim needs a mount namespace: {attempt.stderr.decode().strip()}")
    files = base / "files"
    environment = unpack("exim4-daemon-heavy", archives, files)
    ports = dict(zip(("plain", "haproxy", "trusting"), free_ports(3), strict=True))
    program = files / "usr/sbin/exim4"
    program.chmod(0o755)  # a set-user-ID program finds no library in LD_LIBRARY_PATH
    for name in ("spool", "mail"):
        (base / name).mkdir(parents=True)
    subprocess.run(["chown", "nobody:nogroup", base, base / "spool", base / "mail"], check=True)
    # Exim reads a configuration only where root owns it and nobody else may write it.
    configuration = base / "exim.conf"
    configuration.write_text(
        EXIM.substitute(
            base=base, exim=program, domain=DOMAIN, user=ALICE, password=PASSWORDS[ALICE], **ports
        )
    )
    # Debian's Exim looks up its own account; a mount namespace shows one without making it.
    accounts = {
        "passwd": "Debian-exim:x:65534:65534::/:/bin/false",
        "group": "Debian-exim:x:65534:",
    }
    for name, line in accounts.items():
        (base / name).write_text(Path("/etc", name).read_text() + line + "\n")
    inside = 'cd "$0"; for f in passwd group; do mount --bind $f /etc/$f; done; exec "$@"'
    process = start(
        ["unshare", "--mount", "sh", "-c", inside, base, program, "-C", configuration, "-bdf"],
        base / "stderr",
        environment,
    )
    try:
        wait_ready(process, lambda: greets(ports["plain"], b"220 "), base / "stderr")
        yield ports
    finally:
        stop(process)


@contextmanager
def imap4d(base: Path, archives: Path) -> Iterator[int]:
    """Run imap4d below `base`; yields its port."""
    files = base / "files"
    environment = unpack("mailutils-imap4d", archives, files)
    (port,) = free_ports(1)
    (base / "home").mkdir(parents=True)
    (base / "passwd").mkdir()
    inbox = base / "home/INBOX"  # an mbox, refused where others may read it
    inbox.touch(mode=0o600)
    inbox.write_text(f"From {ALICE} Sat Jan  1 00:00:00 2000\nSubject: waiting\n\n{WAITING}\n")
    crypted = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input=PASSWORDS[ALICE],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    name, _, domain = ALICE.partition("@")
    (base / "passwd" / domain).write_text(
        f"{name}:{crypted}:65534:65534::{base / 'home'}:/bin/false\n"
    )
    subprocess.run(["chown", "-R", "nobody:nogroup", base / "home"], check=True)
    configuration = base / "imap4d.conf"
    configuration.write_text(IMAP4D.substitute(base=base, port=port))
    process = start(
        [files / "usr/sbin/imap4d", f"--config-file={configuration}"], base / "log", environment
    )
    try:
        wait_ready(process, lambda: greets(port, b"* OK"), base / "log")
        yield port
    finally:
        stop(process)
