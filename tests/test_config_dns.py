"""`[dns]` and `[[dnsbl]]`: what operators write, what is wrong with it, and keys nobody sees."""

from pathlib import Path

import pytest
from test_config import GOOD, problems, write

from gatekeeper.config import load
from gatekeeper.settings import AskedOn, DnsblSettings, DnsSettings, Endpoint, ListKind, Treatment

KEY = "abcdefghijklmnopqrstuvwxyz"


def test_all_of_it_is_read(tmp_path: Path) -> None:
    settings = load(
        write(
            tmp_path,
            f"""{GOOD}
[dns]
servers = ["127.0.0.53", "127.0.0.1:5353", "::1", "[2001:db8::53]:5353"]
deadline = "1500ms"
[policy]
dnsbl_reject_score = 2.5
[[dnsbl]]
zone = "ZEN.spamhaus.org."
[[dnsbl]]
zone = "list.dnswl.org"
kind = "allow"
codes = ["127.0.*.1-3"]
weight = 10
policy = "observe"
[[dnsbl]]
zone = "zen.dq.spamhaus.net"
key = "{KEY}"
[[dnsbl]]
zone = "authbl.dq.spamhaus.net"
key = "{KEY}"
on = "auth"
""",
        )
    )
    hosts = (("127.0.0.53", 53), ("127.0.0.1", 5353), ("::1", 53), ("2001:db8::53", 5353))
    assert settings.dns == DnsSettings(tuple(Endpoint(*one) for one in hosts), 1.5)
    assert settings.policy.dnsbl_reject_score == 2.5
    zen, dnswl, dqs, authbl = settings.dnsbl
    assert authbl.on is AskedOn.AUTH
    assert zen == DnsblSettings("zen.spamhaus.org")
    assert dnswl == DnsblSettings(
        "list.dnswl.org", ListKind.ALLOW, ("127.0.*.1-3",), 10.0, policy=Treatment.OBSERVE
    )
    assert dqs.key is not None
    assert dqs.key.declassify() == KEY.encode()
    assert dqs.shown == "KEY.zen.dq.spamhaus.net"
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("", '[[dnsbl]] lacks "zone"'),
        ('zone = "no zone"', "zone: not the name of a zone"),
        ('zone = "a..example"', "zone: not the name of a zone"),
        ('zone = "' + "x." * 62 + 'example"', "zone: not the name of a zone"),
        ('zone = "bl.example"\ncodes = "10.0.0.2"', "first octet is 127"),
        ('zone = "bl.example"\ncodes = ["127.0.0"]', "wants a code like 127.0.0.2"),
        ('zone = "bl.example"\nweight = 0', "must be more than 0"),
        ('zone = "bl.example"\nweight = -1', "out of range"),
        ('zone = "bl.example"\nkind = "deny"', 'no such choice "deny"'),
        ('zone = "bl.example"\npolicy = "reject"', 'no such choice "reject"'),
        ('zone = "bl.example"\ncode = "127.0.0.2"', 'did you mean "codes"?'),
        ('zone = "zen.dq.spamhaus.net"', "is asked with a key"),
        ('zone = "authbl.spamhaus.net"', 'write on = "auth"'),
    ],
)
def test_what_is_wrong_with_a_list_is_told_where_it_stands(
    tmp_path: Path, lines: str, told: str
) -> None:
    [problem] = problems(tmp_path, f"{GOOD}[[dnsbl]]\n{lines}\n")
    where, _, text = problem.partition(": ")
    assert int(where.split(":")[1]) > GOOD.count("\n")
    assert told in text


@pytest.mark.parametrize(
    "lines",
    [
        f'zone = "{KEY}.zen.dq.spamhaus.net"',
        f'zone = "{KEY}..zen.dq.spamhaus.net"',
        f'zone = "zen.dq.spamhaus.net"\nkey = "{KEY} "',
        f'zone = "zen.dq.spamhaus.net"\nkey = "{KEY}.zen"',
        f'zone = "zen.dq.spamhaus.net"\nkey = ["{KEY}"]',
    ],
)
def test_a_key_is_not_repeated_whatever_is_wrong(tmp_path: Path, lines: str) -> None:
    found = problems(tmp_path, f"{GOOD}[[dnsbl]]\n{lines}\n")
    assert found
    assert KEY not in " ".join(found)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('servers = "localhost"', "wants ADDRESS:PORT"),
        ('servers = "resolver.example:53"', "not an IP address"),
        ('servers = "127.0.0.1:0"', "port out of range"),
        ("deadline = 0", "must be more than 0"),
        ('deadline = "soon"', "not a duration"),
        ("timeout = 2", 'unknown key "timeout"'),
    ],
)
def test_what_is_wrong_with_the_resolver(tmp_path: Path, line: str, told: str) -> None:
    [problem] = problems(tmp_path, f"{GOOD}[dns]\n{line}\n")
    assert told in problem
