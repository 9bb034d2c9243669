"""Postfix from a directory of its own, as Debian ships it: open to SMTP smuggling.

Facts behind the settings: there is no syslog, so the log needs the `postlog` service; there is no
DNS; freshly written files make every Postfix program wait a second, so they are back-dated;
loopback must not be in `mynetworks`, or everybody could relay; what came after 3.7 against
smuggling (Debian 13) is switched off. Of a second domain it takes everybody's mail, for Carol.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

from .accounts import CAROL, DOMAIN, PASSWORDS, SECOND_DOMAIN
from .certificates import Pair
from .processes import free_ports, greets, start, stop, wait_ready

MASTER = "/usr/lib/postfix/sbin/master"

MAIN_CF = Template("""\
compatibility_level = 3.6
config_directory = $base/etc
queue_directory = $base/spool
data_directory = $base/data
maillog_file = $base/log/mail.log
maillog_file_prefixes = $base
myhostname = mx.$domain
mydomain = $domain
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = all
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
smtp_dns_support_level = disabled
disable_dns_lookups = yes
smtpd_peername_lookup = no
default_transport = discard:
relay_transport = discard:
virtual_mailbox_domains = $domain
virtual_mailbox_maps = texthash:$base/etc/vmailbox
virtual_alias_domains = $second
virtual_alias_maps = texthash:$base/etc/valias
virtual_transport = lmtp:inet:127.0.0.1:$lmtp
smtpd_reject_unlisted_recipient = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions =
smtpd_forbid_bare_newline = no
smtpd_forbid_unauth_pipelining = no
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:$auth
smtpd_sasl_security_options = noanonymous
smtpd_tls_security_level = none
smtpd_tls_cert_file = $certificate
smtpd_tls_key_file = $private_key
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_upstream_proxy_timeout = 3s
default_process_limit = 200
message_size_limit = 26214400
in_flow_delay = 0
""")

AUTH = "-o smtpd_sasl_auth_enable=yes -o smtpd_client_restrictions=permit_sasl_authenticated,reject"
HAPROXY = "-o smtpd_upstream_proxy_protocol=haproxy"
XCLIENT = "-o smtpd_authorized_xclient_hosts=127.0.0.0/8"
STARTTLS = "-o smtpd_tls_security_level=may"
# What Debian has by default: loopback may send anywhere.
TRUSTING = (
    "-o mynetworks=127.0.0.0/8"
    " -o smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination"
)

SMTPD = {
    "mx": XCLIENT,
    "mx_haproxy": HAPROXY,
    "trusting": f"{TRUSTING} {XCLIENT}",
    "trusting_haproxy": f"{TRUSTING} {HAPROXY}",
    "submission": f"{AUTH} {XCLIENT}",
    "submission_haproxy": f"{AUTH} {HAPROXY}",
    "submission_tls": f"{AUTH} {STARTTLS}",
}

SERVICES = """\
pickup     unix  n - n 60 1 pickup
cleanup    unix  n - n - 0 cleanup
qmgr       unix  n - n 300 1 qmgr
tlsmgr     unix  - - n 1000? 1 tlsmgr
rewrite    unix  - - n - - trivial-rewrite
bounce     unix  - - n - 0 bounce
defer      unix  - - n - 0 bounce
trace      unix  - - n - 0 bounce
verify     unix  - - n - 1 verify
flush      unix  n - n 1000? 0 flush
proxymap   unix  - - n - - proxymap
proxywrite unix  - - n - 1 proxymap
smtp       unix  - - n - - smtp
relay      unix  - - n - - smtp
showq      unix  n - n - - showq
error      unix  - - n - - error
retry      unix  - - n - - error
discard    unix  - - n - - discard
lmtp       unix  - - n - - lmtp
anvil      unix  - - n - 1 anvil
scache     unix  - - n - 1 scache
postlog    unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix; the ports are on 127.0.0.1.

    `mx` and `submission` believe XCLIENT from loopback, the `_haproxy` ports want a PROXY header,
    `submission_tls` offers STARTTLS. All submission ports want AUTH before MAIL. The `trusting`
    ports relay for loopback.
    """

    base: Path
    mx: int
    mx_haproxy: int
    trusting: int
    trusting_haproxy: int
    submission: int
    submission_haproxy: int
    submission_tls: int

    def log(self) -> str:
        """All it has logged so far."""
        file = self.base / "log/mail.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def is_idle(self) -> bool:
        """Whether no accepted message still waits for its delivery."""
        queues = ("maildrop", "incoming", "active", "deferred")
        return not any(
            path.is_file() for queue in queues for path in (self.base / "spool" / queue).rglob("*")
        )


@contextmanager
def postfix(base: Path, pair: Pair, *, lmtp: int, auth: int) -> Iterator[Postfix]:
    """Run Postfix below `base`; it delivers to `lmtp` and asks Dovecot's `auth` port."""
    ports = dict(zip(SMTPD, free_ports(len(SMTPD)), strict=True))
    _write_configuration(base, pair, ports, lmtp=lmtp, auth=auth)
    # `check` also makes the queue's directories with their owners.
    subprocess.run(["/usr/sbin/postfix", "-c", base / "etc", "check"], check=True)
    # Its smtpd processes are told where the configuration is by the environment only.
    process = start(
        [MASTER, "-c", base / "etc"], base / "log/master.log", {"MAIL_CONFIG": str(base / "etc")}
    )
    try:
        wait_ready(process, lambda: greets(ports["mx"], b"220 "), base / "log/master.log")
        yield Postfix(base, **ports)
    finally:
        stop(process)


def _write_configuration(
    base: Path, pair: Pair, ports: dict[str, int], *, lmtp: int, auth: int
) -> None:
    etc = base / "etc"
    for name in ("etc", "spool", "data", "log"):
        (base / name).mkdir(parents=True)
    subprocess.run(["chown", "postfix", base / "data"], check=True)
    main = MAIN_CF.substitute(
        base=base,
        domain=DOMAIN,
        second=SECOND_DOMAIN,
        lmtp=lmtp,
        auth=auth,
        certificate=pair.certificate,
        private_key=pair.private_key,
    )
    (etc / "main.cf").write_text(main)
    listeners = "".join(
        f"127.0.0.1:{ports[name]} inet n - n - - smtpd\n  -o syslog_name=postfix/{name} {options}\n"
        for name, options in SMTPD.items()
    )
    (etc / "master.cf").write_text(listeners + SERVICES)
    (etc / "valias").write_text(f"@{SECOND_DOMAIN} {CAROL}\n")
    (etc / "vmailbox").write_text("".join(f"{address} x\n" for address in PASSWORDS))
    for file in etc.iterdir():
        os.utime(file, (1_000_000_000, 1_000_000_000))
