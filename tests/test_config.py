"""What an operator writes becomes Settings, or one complete list of what is wrong."""

import json
from pathlib import Path

import pytest

from gatekeeper.config import ConfigErrors, load, run_dir
from gatekeeper.events import MailProtocol
from gatekeeper.prefix import Prefix
from gatekeeper.settings import (
    AccountSettings,
    Announce,
    BareNewlines,
    Endpoint,
    Mode,
    Settings,
    StoreSettings,
    TlsMode,
    Treatment,
)
from gatekeeper.verdict import Reason

GOOD = """\
hostname = "mail.example.org"
[tls]
certificate = "tls/fullchain.pem"
private_key = "tls/privkey.pem"
[[listener]]
name = "imaps"
protocol = "imap"
bind = ["0.0.0.0:993", "[::]:993"]
tls = "implicit"
backend = "dovecot"
[backend.dovecot]
address = "127.0.0.1:10143"
"""


def write(directory: Path, text: str, **drop_ins: str) -> Path:
    main = directory / "gatekeeper.toml"
    main.write_text(text, encoding="utf-8")
    for name, content in drop_ins.items():
        (directory / "conf.d").mkdir(exist_ok=True)
        (directory / "conf.d" / f"{name}.toml").write_text(content, encoding="utf-8")
    return main


def problems(directory: Path, text: str, **drop_ins: str) -> list[str]:
    """What `load` finds wrong, with file names for paths."""
    with pytest.raises(ConfigErrors) as caught:
        load(write(directory, text, **drop_ins))
    return [
        f"{problem.file.name}:{problem.line}: {problem.text}" for problem in caught.value.problems
    ]


def test_smallest_configuration_has_the_defaults_of_the_records(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD))
    assert settings == Settings(
        hostname="mail.example.org",
        tls=settings.tls,
        listeners=settings.listeners,
        backends=settings.backends,
        store=StoreSettings(Path("/var/lib/gatekeeper/gatekeeper.db")),
        files=(tmp_path / "gatekeeper.toml",),
    )
    (listener,) = settings.listeners
    assert listener.protocol is MailProtocol.IMAP
    assert listener.bind == (Endpoint("0.0.0.0", 993), Endpoint("::", 993))
    assert listener.tls is TlsMode.IMPLICIT
    assert settings.backends["dovecot"].address == (Endpoint("127.0.0.1", 10143),)


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    settings = load(
        write(
            tmp_path,
            """
mode = "observe"
allow = "2001:db8::/32"
user = "mail"
bare_newlines = "reject"
run_dir = "/tmp/run"
trap_accounts = ["Old.Staff@example.org", "admin"]
"""
            + GOOD
            + """
announce = "proxy-v2"
proxy_tlvs = false
tls = "starttls"
tls_ca = "ca.pem"
tls_name = "imap.internal"
connect_timeout = "1500ms"
[enforce]
nft = false
xdp = []
[store]
url = "sqlite:///var/lib/gatekeeper/gatekeeper.db"
[policy]
ban_first = "1h30m"
ban_max = 86400
auth_ban_score = 6
violation_weight = 0
auth_suspect_share = 1
retry_after = "90s"
harvest_defer = 20
[rules]
attack-level = "observe"
banned = "enforce"
[account."News@example.org"]
recipients_day = 20000
[account.backup]
recipients_burst = 3
recipients_10m = 4
[limits]
drain = 0
sessions = 50
""",
        )
    )
    backend = settings.backends["dovecot"]
    assert settings.mode is Mode.OBSERVE
    assert settings.allow == (Prefix.parse("2001:db8::/32"),)
    assert settings.user == "mail"
    assert settings.bare_newlines is BareNewlines.REJECT
    assert (settings.run_dir, backend.tls_ca) == (Path("/tmp/run"), tmp_path / "ca.pem")
    assert (backend.announce, backend.proxy_tlvs) == (Announce.PROXY_V2, False)
    assert (backend.tls_name, backend.connect_timeout_s) == ("imap.internal", 1.5)
    assert settings.enforce.nft is False
    assert settings.store.path == Path("/var/lib/gatekeeper/gatekeeper.db")
    assert (settings.policy.ban_first_s, settings.policy.ban_max_s) == (5400, 86400)
    assert (settings.policy.auth_ban_score, settings.policy.violation_weight) == (6, 0)
    assert (settings.policy.auth_suspect_share, settings.policy.retry_after_s) == (1.0, 90.0)
    assert settings.policy.harvest_defer == 20
    assert settings.rules == {
        Reason.ATTACK_LEVEL: Treatment.OBSERVE,
        Reason.BANNED: Treatment.ENFORCE,
    }
    assert settings.accounts == {
        "news@example.org": AccountSettings(recipients_day=20_000),
        "backup": AccountSettings(recipients_burst=3, recipients_10m=4),
    }
    assert settings.trap_accounts == ("old.staff@example.org", "admin")
    assert (settings.limits.drain_s, settings.limits.sessions) == (0, 50)


def test_interfaces_have_the_names_that_linux_gives(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD + '[enforce]\nxdp = ["eth0", "br0.100"]\n'))
    assert settings.enforce.xdp == ("eth0", "br0.100")
    assert load(write(tmp_path, GOOD)).enforce.xdp == ()


def test_relative_paths_start_at_the_file_that_names_them(tmp_path: Path) -> None:
    drop_in = '[tls]\nprivate_key = "k.pem"'
    (pair,) = load(write(tmp_path, GOOD, tls=drop_in)).tls.pairs
    assert pair.certificate == tmp_path / "tls/fullchain.pem"
    assert pair.private_key == tmp_path / "conf.d/k.pem"


def test_two_pairs_and_names(tmp_path: Path) -> None:
    text = GOOD.replace('"tls/fullchain.pem"', '["ec.pem", "rsa.pem"]')
    text = text.replace('"tls/privkey.pem"', '["ec.key", "rsa.key"]')
    text += '[[tls.sni]]\nnames = ["*.Example.net", "x.test"]\ncertificate="c"\nprivate_key="k"'
    tls = load(write(tmp_path, text)).tls
    assert [pair.private_key.name for pair in tls.pairs] == ["ec.key", "rsa.key"]
    assert tls.sni[0].names == ("*.example.net", "x.test")


def test_drop_ins_merge_in_name_order(tmp_path: Path) -> None:
    settings = load(
        write(
            tmp_path,
            'allow = ["192.0.2.1"]\n' + GOOD,
            a='allow = ["192.0.2.2"]\n[policy]\nban_first = "1m"\nban_max = "2m"',
            b='[policy]\nban_max = "3m"\n[[listener]]\nname = "imaps"\nbind = "127.0.0.1:993"\n'
            '[[listener]]\nname = "mx"\nprotocol = "smtp"\nbind = "127.0.0.1:25"\ntls = "none"\n'
            'backend = "dovecot"',
        )
    )
    assert settings.allow == (Prefix.parse("192.0.2.2"),)
    assert (settings.policy.ban_first_s, settings.policy.ban_max_s) == (60, 180)
    imaps, mx = settings.listeners
    assert imaps.bind == (Endpoint("127.0.0.1", 993),)
    assert imaps.tls is TlsMode.IMPLICIT
    assert mx.name == "mx"
    assert [file.name for file in settings.files] == ["gatekeeper.toml", "a.toml", "b.toml"]


def test_problem_is_in_the_drop_in_that_made_it(tmp_path: Path) -> None:
    drop_in = '[[listener]]\nname = "imaps"\n\nbackend = "dovecto"'
    assert problems(tmp_path, GOOD, x=drop_in) == [
        'x.toml:4: [[listener]] "imaps" backend: there is no [backend.dovecto]: '
        'did you mean "dovecot"?'
    ]


def test_half_a_listener_in_a_drop_in_is_asked_whether_it_is_another_one(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD, x='[[listener]]\nname = "imapz"\nbind = "127.0.0.1:1"\n')
    assert found == [
        'x.toml:1: [[listener]] "imapz" lacks "backend"',
        'x.toml:1: [[listener]] "imapz" lacks "protocol"',
        'x.toml:1: [[listener]] "imapz" lacks "tls"',
        'x.toml:1: [[listener]] "imapz": no other file has it: did you mean "imaps"?',
    ]


def test_all_problems_come_at_once_in_order(tmp_path: Path) -> None:
    text = """\
mode = "enforc"
hostnme = "x"
allow = ["192.0.2.0/24",
  "nonsense"]
[[listener]]
name = "imaps"
protocol = "imap"
bind = ["0.0.0.0:993"]
tls = "implicit"
backend = "dovecto"
[[listener]]
protocol = "imap"
bind = ["127.0.0.1:993", "*:25"]
tls = "none"
backend = "dovecot"
[backend.dovecot]
address = "127.0.0.1:993"
"""
    found = problems(tmp_path, text, z='[policy]\nban_first = "20d"\n[store]\nurl = 3')
    assert [line.split(" ")[0] for line in found] == [
        *("gatekeeper.toml:1:", "gatekeeper.toml:2:", "gatekeeper.toml:4:", "gatekeeper.toml:9:"),
        *("gatekeeper.toml:10:", "gatekeeper.toml:11:", "gatekeeper.toml:13:"),
        *("gatekeeper.toml:13:", "gatekeeper.toml:17:", "gatekeeper.toml:17:"),
        *("z.toml:2:", "z.toml:4:"),
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('mode = "enforc"', 'mode: no such choice "enforc": did you mean "enforce"?'),
        ('mode = "x"', 'mode: no such choice "x" (one of enforce, observe)'),
        ("mode = true", "mode: wants a string, not true or false"),
        ('mode = ["observe"]', "mode: wants one value, not a list"),
        ('mode = ""', "mode: is empty"),
        ('hostnam = "x"', 'unknown key "hostnam": did you mean "hostname"?'),
        ("zzz = 1", 'unknown key "zzz"'),
        ('hostname = "a b"', 'hostname: not a host name: "a b"'),
        (f'hostname = "{"a" * 64}.org"', "hostname: not a host name"),
        ('user = "a b"', 'user: takes letters, digits, ".", "_" and "-", at most 64: "a b"'),
        ('allow = [["x"]]', "allow: wants values, not a list"),
        ('allow = "192.0.2.0/33"', "allow: prefix length out of range: '192.0.2.0/33'"),
        ("policy = 1", "policy: wants a table [policy], not one value"),
        ('backend = "x"', "backend: wants tables [backend.NAME], not one value"),
        ('run_dir = "a\\u0000b"', "run_dir: not a path: it holds a NUL"),
        ("policy.ban_first_s = 5", 'unknown key "ban_first_s" in [policy]: did you mean'),
        ('policy.ban_first = "10 m"', '[policy] ban_first: not a duration: "10 m"'),
        ('policy.ban_first = "0s"', "[policy] ban_first: must be more than 0"),
        ('policy.ban_max = "400d"', "[policy] ban_max: longer than a year"),
        ("policy.ban_first = nan", "[policy] ban_first: out of range: nan"),
        ("policy.ban_first = 1979-05-27", "[policy] ban_first: wants a number, not a date"),
        ("policy.auth_ban_score = -1", "[policy] auth_ban_score: out of range: -1"),
        ("policy.auth_ban_score = 2", "[policy] auth_ban_score: auth_tarpit_score is above"),
        ('policy.tarpit_base = "9s"', "[policy] tarpit_base: tarpit_base is above tarpit_max"),
        ("policy.attacked_guesses = 30", "[policy] attacked_guesses: attacked_guesses is above la"),
        ("policy.harvest_ban = 40", "[policy] harvest_ban: harvest_defer is above harvest_ban (50"),
        ('policy.refused_for = "2d"', "[policy] refused_for: refused_for is above repeat_window"),
        ("policy.recipients_burst = 1001", "[policy] recipients_burst: recipients_burst is above"),
        ('policy.harvest_ban_first = "8d"', "[policy] harvest_ban_first: harvest_ban_first is ab"),
        ("policy.auth_suspect_share = 1.5", "[policy] auth_suspect_share: out of range: 1.5 (at m"),
        ("policy.auth_suspect_share = 0", "[policy] auth_suspect_share: must be more than 0"),
        ('policy.retry_after = "13h"', "[policy] retry_after: out of range: 46800 (at most 43200)"),
        ("policy.new_nets_hour = 17", "[policy] new_nets_hour: out of range: 17 (at most 16)"),
        ("policy.sprayed_accounts = 65", "[policy] sprayed_accounts: out of range: 65 (at most 64"),
        ("policy.sprayed_accounts = 0", "[policy] sprayed_accounts: out of range: 0 (from 1 to "),
        ("policy.mx_tarpit_score = 5", 'unknown key "mx_tarpit_score" in [policy]'),
        (
            'rules.attack-leve = "observe"',
            'unknown key "attack-leve" in [rules]: did you mean "att',
        ),
        ('rules.operator = "observe"', 'unknown key "operator" in [rules]'),
        ('rules.banned = "observed"', '[rules] banned: no such choice "observed": did you mean'),
        ('rules = "observe"', "rules: wants a table [rules], not one value"),
        ('trap_accounts = ["a", ""]', "trap_accounts: is empty"),
        ("trap_accounts = [1]", "trap_accounts: wants a string, not a number"),
        ('account."a@b".recipients_dya = 1', 'unknown key "recipients_dya" in [account."a@b"]: di'),
        ("account.a.recipients_10m = 0", "[account.a] recipients_10m: out of range: 0 (from 1 to "),
        ("account.a.recipients_burst = 1001", "[account.a] recipients_burst: recipients_burst is"),
        ('account."".recipients_day = 1', '[account.""]: names no account'),
        ('account."a\\n".recipients_day = 1', '[account."a?"]: holds what no account has: "a?"'),
        ('trap_accounts = "a\\u001b[31m"', 'trap_accounts: holds what no account has: "a?[31m"'),
        ('backend."a/b".address = "127.0.0.1:1"', '[backend."a/b"]: a name takes letters'),
        ('backend."".address = "127.0.0.1:1"', '[backend.""]: has no name'),
        ("limits.sessions = 0x" + "f" * 9000, "[limits] sessions: out of range: so large a num"),
        ("policy.ban_first = " + "9" * 400, "[policy] ban_first: out of range: so large a num"),
        ("policy.ban_first = " + "9" * 5000, "a number of more digits than anything counts"),
        (f'run_dir = "/{"x" * 94}"', "run_dir: has more than 94 octets: a socket in it cannot"),
        (f'enforce.kernel_socket = "/{"x" * 107}"', "[enforce] kernel_socket: a socket's path h"),
        ('hooks = ["a.py", "a.py"]', 'hooks: "a.py" stands twice'),
        ('hooks.files = ["a.py", "a.py"]', '[hooks] files: "a.py" stands twice'),
        ('account = "a"', "account: wants tables [account.NAME], not one value"),
        ("limits.sessions = 1.5", "[limits] sessions: wants a whole number, not a number"),
        ("enforce.syn_rate = -1", "[enforce] syn_rate: out of range: -1 (from 0 to 1000000)"),
        ("enforce.syn_burst = 0", "[enforce] syn_burst: out of range: 0 (from 1 to 1000000)"),
        ("enforce.syn_rate = true", "[enforce] syn_rate: wants a whole number, not true or false"),
        ("limits.sessions = 0", "[limits] sessions: out of range: 0"),
        ("limits.handshake_timeout = true", "[limits] handshake_timeout: wants a number, not true"),
        ('enforce.xdp = ["eth0/1"]', '[enforce] xdp: not an interface name: "eth0/1"'),
        ('enforce.xdp = ["eth0,lo"]', '[enforce] xdp: not an interface name: "eth0,lo"'),
        ('enforce.xdp = [".."]', '[enforce] xdp: not an interface name: ".."'),
        ('enforce.xdp = ["a23456789012345x"]', "[enforce] xdp: not an interface name"),
        ('enforce = {xdp = ["eth0"], nft = false}', "[enforce] xdp: needs nft = true"),
        ('enforce.nft = "yes"', "[enforce] nft: wants true or false, not a string"),
        ('store.url = "sqlite://x"', '[store] url: wants "sqlite:///PATH" or "memory:"'),
        ('store.url = "valkey://h:1/0"', '[store] url: wants "sqlite:///PATH" or "memory:"'),
    ],
)
def test_wrong_line_is_told(tmp_path: Path, line: str, text: str) -> None:
    good = GOOD[: GOOD.index("[backend")] if line.startswith("backend") else GOOD
    if line.startswith("hostname"):
        good = good.partition("\n")[2]
    found = problems(tmp_path, f"{line}\n{good}")
    assert f"gatekeeper.toml:1: {text}" in found[0]
    assert len(found) == 1


def test_what_an_operator_did_not_write_gives_way(tmp_path: Path) -> None:
    drop_in = '[policy]\nban_max = "30m"\nrepeat_window = 0\nrecipients_day = 100'
    policy = load(write(tmp_path, GOOD, x=drop_in)).policy
    assert (policy.ban_max_s, policy.repeat_window_s, policy.recipients_day) == (1800, 0, 100)


def test_an_account_has_one_spelling_and_is_no_trap(tmp_path: Path) -> None:
    text = (
        'trap_accounts = "OLD"\n[account.old]\nrecipients_day = 1\n'
        '[account."a@b"]\n[account."A@b"]\nrecipients_day = 2\n'
    )
    assert problems(tmp_path, GOOD, x=text) == [
        "x.toml:2: [account.old]: is one of trap_accounts, which nobody has",
        'x.toml:5: [account."A@b"]: is there in another spelling: case does not count',
    ]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('name = "imaps"', "", '5: [[listener]] lacks "name"'),
        ('name = "imaps"', 'name = "a b"', "6: [[listener]] name: takes letters"),
        ('"[::]:993"', '"::1:993"', '8: [[listener]] "imaps" bind: an IPv6 address stands in br'),
        ('"[::]:993"', '"[::ffff:10.1.1.1]:995"', 'bind: write "10.1.1.1:995" for IPv4'),
        ('"[::]:993"', '"localhost:993"', 'bind: not an IP address: "localhost:993"'),
        ('"[::]:993"', '"*:994"', 'bind: write "0.0.0.0:994" for IPv4 and "[::]:994" for IPv6'),
        ('"[::]:993"', '":994"', 'bind: write "0.0.0.0:994"'),
        ('"[::]:993"', '"[::]:0"', 'bind: port out of range: "[::]:0"'),
        ('"[::]:993"', '"[::]:65536"', "bind: port out of range"),
        ('"[::]:993"', '"[::]:²"', "bind: wants ADDRESS:PORT"),
        ('"[::]:993"', '"127.0.0.1"', "bind: wants ADDRESS:PORT, not"),
        ('"[::]:993"', "993", "bind: wants a string, not a number"),
        ('"[::]:993"', '"0.0.0.0:993"', "bind: 0.0.0.0:993 collides with 0.0.0.0:993 of listener"),
        ('"[::]:993"', '"127.0.0.1:993"', "bind: 127.0.0.1:993 collides with 0.0.0.0:993"),
        ('["0.0.0.0:993", "[::]:993"]', "[]", '"imaps" bind: the list is empty'),
        ('tls = "implicit"', 'tls = "start-tls"', 'no such choice "start-tls": did you mean "star'),
        ('tls = "implicit"', "", '[[listener]] "imaps" lacks "tls"'),
        ('backend = "dovecot"', "", '[[listener]] "imaps" lacks "backend"'),
        ('certificate = "tls/fullchain.pem"\n', "", '2: [tls] lacks "certificate"'),
        ('"tls/privkey.pem"', '["a", "b"]', "4: [tls] private_key: 2 for 1 in certificate"),
        ('"127.0.0.1:10143"', '"127.0.0.1"', "[backend.dovecot] address: wants ADDRESS:PORT"),
        ('"127.0.0.1:10143"', '"127.0.0:10143"', "[backend.dovecot] address: not an IP address"),
        ('"127.0.0.1:10143"', '"0.0.0.0:1"', "[backend.dovecot] address: not an address to conn"),
        ('"127.0.0.1:10143"', '"[::]:1"', "[backend.dovecot] address: not an address to connect"),
        ('"127.0.0.1:10143"', '"a_b c:1"', "[backend.dovecot] address: not a host"),
        ('"127.0.0.1:10143"', '"127.0.0.1:993"', 'is listener "imaps" itself: a loop'),
        ('"127.0.0.1:10143"', '"h:1"\nannounce = "xclient"', "announces by XCLIENT"),
        ('"127.0.0.1:10143"', '"h:1"\nannounce = "transparent"', "takes numeric addresses only"),
        (
            '"127.0.0.1:10143"',
            '"127.0.0.1:1"\nannounce = "transparent"\n[enforce]\nnft = false',
            'announce: "transparent" needs the kernel process',
        ),
        ('"127.0.0.1:10143"', '"h:1"\ntls_ca = "x"', "[backend.dovecot] tls_ca: has no use with"),
        ('"127.0.0.1:10143"', '"h:1"\nproxy_tlvs = true', 'is for announce = "proxy-v2" only'),
        (
            "[backend.dovecot]",
            "[[backend.dovecot]]",
            "[backend] dovecot: wants a table [backend.NA",
        ),
        ("[[listener]]", "[listener]", "5: listener: wants tables [[listener]], not a table"),
        ("[backend.dovecot]", "[backend]\nx = 1\n[backend.dovecot]", "[backend] x: wants a table"),
    ],
)
def test_wrong_part_is_told_once(tmp_path: Path, old: str, new: str, text: str) -> None:
    assert GOOD.count(old) == 1
    found = problems(tmp_path, GOOD.replace(old, new))
    assert len(found) == 1
    assert text in found[0]


def test_imap_id_is_not_for_smtp(tmp_path: Path) -> None:
    text = GOOD.replace('"imap"', '"submission"') + 'announce = "imap-id"'
    assert "announces by IMAP ID" in problems(tmp_path, text)[0]


def test_a_kernel_process_that_is_a_unit_is_no_part_of_transparent_mode(tmp_path: Path) -> None:
    enforce = '[enforce]\nkernel_socket = "/run/gatekeeper-kernel/socket"\n'
    settings = load(write(tmp_path, f"{GOOD}{enforce}syn_rate = 0\n"))
    assert settings.enforce.kernel_socket == Path("/run/gatekeeper-kernel/socket")
    assert settings.enforce.syn_rate == 0, "no meter"
    assert problems(tmp_path, f'{GOOD}announce = "transparent"\n{enforce}') == [
        'gatekeeper.toml:13: [backend.dovecot] announce: "transparent" needs a guard that is '
        "started as root: no [enforce] kernel_socket"
    ]
    assert problems(tmp_path, f"{GOOD}{enforce}nft = false\n") == [
        "gatekeeper.toml:14: [enforce] kernel_socket: needs nft = true"
    ]


@pytest.mark.parametrize(("key", "most"), [("allow", 400), ("block", 900)])
def test_lists_fit_one_packet_to_the_kernel_process(tmp_path: Path, key: str, most: int) -> None:
    many = [f"2001:db8:{number:x}:ffff:ffff:ffff:ffff:ffff" for number in range(most + 1)]
    (told,) = problems(tmp_path, f"{key} = {json.dumps(many)}\n{GOOD}")
    assert told.startswith(f"gatekeeper.toml:1: {key}: {most + 1} networks: {most} at most")
    settings = load(write(tmp_path, f"{key} = {json.dumps(many[1:])}\n{GOOD}"))
    assert len(getattr(settings, key)) == most


def test_listener_with_tls_needs_a_certificate(tmp_path: Path) -> None:
    text = GOOD.replace("[tls]", "").replace("certificate =", "#").replace("private_key =", "#")
    assert problems(tmp_path, text) == [
        'gatekeeper.toml:9: [[listener]] "imaps" tls: needs a certificate: [tls] has none'
    ]


def test_two_listeners_of_one_name_in_one_file_are_refused(tmp_path: Path) -> None:
    listener = GOOD[GOOD.index("[[listener]]") : GOOD.index("[backend")]
    found = problems(tmp_path, GOOD + listener.replace(":993", ":143"))
    assert found == [
        'gatekeeper.toml:13: a second [[listener]] named "imaps": the first is in line 5'
    ]


def test_nothing_to_guard_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, "") == [
        "gatekeeper.toml:1: no [[listener]]: there is nothing to guard"
    ]


def test_hostname_is_the_hosts_own_by_default(tmp_path: Path) -> None:
    assert load(write(tmp_path, GOOD.partition("\n")[2])).hostname


def test_the_database_lies_in_the_state_directory_unless_told_otherwise(tmp_path: Path) -> None:
    moved = load(write(tmp_path, 'state_dir = "/srv/guard"\n' + GOOD))
    assert moved.store.path == Path("/srv/guard/gatekeeper.db")
    assert load(write(tmp_path, GOOD + '[store]\nurl = "memory:"\n')).store.path is None


def test_run_dir_is_found_in_a_broken_configuration(tmp_path: Path) -> None:
    assert run_dir(write(tmp_path, 'run_dir = "/x"\nzzz = 1\n')) == Path("/x")
    assert run_dir(write(tmp_path, "run_dir = 5")) == Path("/run/gatekeeper")
    assert run_dir(tmp_path / "none.toml") == Path("/run/gatekeeper")
