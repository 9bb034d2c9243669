"""Dovecot 2.3 from a directory of its own: IMAP, LMTP for Postfix's deliveries, and its AUTH.

Facts behind the settings: the anvil penalty would make each login after a failure wait seconds;
bearer tokens are checked locally (HS256), so no HTTP is needed; `login_trusted_networks` lets the
guard tell the client's address by IMAP ID.
"""

import base64
import hashlib
import hmac
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

from .accounts import PASSWORDS, TOKEN_KEY
from .certificates import Pair
from .processes import free_ports, greets, start, stop, wait_ready

CONFIGURATION = Template("""\
base_dir = $base/run
state_dir = $base/state
instance_name = gk-$imap
log_path = $base/log
auth_verbose = yes
login_log_format_elements = user=<%u> method=%m rip=%r rport=%{rport} %c %k
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <$certificate
ssl_key = <$private_key
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2
auth_failure_delay = 0
first_valid_uid = 1
first_valid_gid = 1
mail_uid = mail
mail_gid = mail
mail_location = maildir:$base/mail/%u
haproxy_trusted_networks = 127.0.0.0/8
haproxy_timeout = 3s
login_trusted_networks = 127.0.0.0/8
default_vsz_limit = 512M
mail_max_userip_connections = 10000
namespace inbox {
  inbox = yes
}
passdb {
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = $base/etc/oauth2.conf.ext
}
passdb {
  driver = passwd-file
  mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
  args = scheme=PLAIN username_format=%u $base/etc/passwd
}
userdb {
  driver = static
  args = uid=mail gid=mail home=$base/mail/%u allow_all_users=yes
}
service imap-login {
  service_count = 0
  process_min_avail = 1
  chroot =
  inet_listener imap {
    port = $imap
  }
  inet_listener imaps {
    port = $imaps
    ssl = yes
  }
  inet_listener imap_haproxy {
    port = $imap_haproxy
    haproxy = yes
  }
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = $auth
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = $lmtp
  }
}
protocol lmtp {
  postmaster_address = postmaster@example.test
}
""")

TOKENS = Template("""\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$base/etc/jwtkeys/
username_attribute = email
""")

PORTS = ("imap", "imap_haproxy", "imaps", "lmtp", "auth")


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running Dovecot; the ports are on 127.0.0.1.

    `imap` (STARTTLS offered) believes the address in a client's ID, `imap_haproxy` wants a PROXY
    header, `imaps` is implicit TLS.
    """

    base: Path
    imap: int
    imap_haproxy: int
    imaps: int
    lmtp: int
    auth: int

    def log(self) -> str:
        """All it has logged so far."""
        return (self.base / "log").read_text(errors="replace")

    def messages(self, address: str, marker: bytes) -> list[bytes]:
        """The whole messages in a mailbox that contain `marker`, as they lie on disk."""
        files = [
            file
            for part in ("new", "cur")
            for file in (self.base / "mail" / address / part).glob("*")
        ]
        return [content for file in files if marker in (content := file.read_bytes())]


@contextmanager
def dovecot(base: Path, pair: Pair) -> Iterator[Dovecot]:
    """Run Dovecot below `base`."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    _write_configuration(base, pair, ports)
    process = start(["/usr/sbin/dovecot", "-F", "-c", base / "etc/dovecot.conf"], base / "stderr")
    try:
        wait_ready(process, lambda: greets(ports["imap"], b"* OK "), base / "stderr")
        yield Dovecot(base, **ports)
    finally:
        stop(process)


def bearer_token(address: str, key: bytes = TOKEN_KEY) -> str:
    """A JSON web token for `address` that Dovecot accepts (RFC 7519, HS256)."""

    def encode(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    claims = {"sub": address, "email": address, "iat": 1_600_000_000, "exp": 4_000_000_000}
    header = {"alg": "HS256", "typ": "JWT"}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{encode(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def _write_configuration(base: Path, pair: Pair, ports: dict[str, int]) -> None:
    keys = base / "etc/jwtkeys/default/HS256"
    for directory in (keys, base / "run", base / "state", base / "mail"):
        directory.mkdir(parents=True)
    subprocess.run(["chown", "mail:mail", base / "mail"], check=True)
    (keys / "default").write_bytes(base64.b64encode(TOKEN_KEY))
    (base / "etc/oauth2.conf.ext").write_text(TOKENS.substitute(base=base))
    users = "".join(
        f"{address}:{{PLAIN}}{password}::::::\n" for address, password in PASSWORDS.items()
    )
    (base / "etc/passwd").write_text(users)
    (base / "etc/dovecot.conf").write_text(
        CONFIGURATION.substitute(
            base=base, certificate=pair.certificate, private_key=pair.private_key, **ports
        )
    )
