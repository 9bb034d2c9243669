"""docs/config.md tells every key there is, and its true default."""

import dataclasses
import re
from pathlib import Path
from typing import TypeAlias

import pytest

from gatekeeper.config import load
from gatekeeper.config.durations import parse_duration
from gatekeeper.policy.rules import RULE_NAMES
from gatekeeper.settings import (
    AccountSettings,
    BackendSettings,
    DnsblSettings,
    DnsSettings,
    DomainsSettings,
    EnforceSettings,
    HookSettings,
    HttpSettings,
    LimitSettings,
    ListenerSettings,
    NotifySettings,
    PolicySettings,
    Settings,
    SniSettings,
    TlsSettings,
)

Names: TypeAlias = dict[str, list[str]]

DOCUMENT = Path(__file__).parent.parent / "docs" / "config.md"
PAIR: Names = {"pairs": ["certificate", "private_key"]}

NOT_TOP_LEVEL = ["tls", "listeners", "backends", "enforce", "store", "policy", "limits", "files"]
NOT_TOP_LEVEL += ["rules", "accounts", "dns", "dnsbl", "domains", "http", "notify", "hooks"]

# Section of the document, record, and the fields whose keys have other names.
SECTIONS: list[tuple[str, type, Names]] = [
    ("Top level", Settings, {name: [] for name in NOT_TOP_LEVEL}),
    ("`[tls]`", TlsSettings, PAIR | {"sni": []}),
    ("`[[tls.sni]]`", SniSettings, PAIR),
    ("`[[listener]]`", ListenerSettings, {}),
    ("`[backend.NAME]`", BackendSettings, {"name": []}),
    ("`[enforce]`", EnforceSettings, {}),
    ("`[dns]`", DnsSettings, {}),
    ("`[[dnsbl]]`", DnsblSettings, {}),
    ("`[domains]`", DomainsSettings, {}),
    ("`[http]`", HttpSettings, {}),
    ("`[hooks]`", HookSettings, {}),
    ("`[notify]`", NotifySettings, {}),
    ("`[policy]`", PolicySettings, {}),
    ("`[account.NAME]`", AccountSettings, {}),
    ("`[limits]`", LimitSettings, {}),
]


def body(section: str) -> str:
    """What stands under a section's heading."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]


def rows(section: str) -> dict[str, tuple[str, str]]:
    """The documented keys of a section: kind and default by key."""
    found = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) ?\| ", body(section), re.MULTILINE)
    return {key: (kind, default.strip("` ")) for key, kind, default in found}


@pytest.mark.parametrize(("section", "record", "renamed"), SECTIONS, ids=lambda x: str(x)[:20])
def test_documented_keys_are_the_keys(section: str, record: type, renamed: Names) -> None:
    keys: list[str] = []
    for field in dataclasses.fields(record):
        keys += renamed.get(field.name, [field.name.removesuffix("_s")])
    assert sorted(rows(section)) == sorted(keys)


def test_store_has_its_url() -> None:
    assert list(rows("`[store]`")) == ["url"]


def test_every_rule_is_told_once_in_the_order_they_have() -> None:
    told = re.findall(r"^\| `([\w-]+)` \| \S", body("`[rules]`"), re.MULTILINE)
    assert told == [rule.value for rule in RULE_NAMES]


@pytest.mark.parametrize("record", [PolicySettings(), LimitSettings()])
def test_every_number_has_a_meaning(record: PolicySettings | LimitSettings) -> None:
    title = "`[policy]`" if isinstance(record, PolicySettings) else "`[limits]`"
    silent = re.findall(r"^\| `(\w+)` \|[^|]*\|[^|]*\| *\|$", body(title), re.MULTILINE)
    assert silent == []


@pytest.mark.parametrize(
    ("section", "record"), [("`[policy]`", PolicySettings()), ("`[limits]`", LimitSettings())]
)
def test_documented_numbers_are_the_defaults(
    section: str, record: PolicySettings | LimitSettings
) -> None:
    for field in dataclasses.fields(record):
        key = field.name.removesuffix("_s")
        kind, default = rows(section)[key]
        figure = parse_duration(default) if kind == "duration" else float(default)
        assert figure == getattr(record, field.name), key
        assert (kind == "duration") == field.name.endswith("_s"), key


def test_example_loads(tmp_path: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    path = tmp_path / "gatekeeper.toml"
    path.write_text(text.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    settings = load(path)
    assert settings.hostname == "mail.example.org"
    assert settings.store.path == Path("/var/lib/gatekeeper/gatekeeper.db")
