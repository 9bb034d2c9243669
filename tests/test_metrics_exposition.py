"""Readings as text: every family is there, and what stands behind it is what was read."""

from collections.abc import Iterable

import trio
from prometheus_client.parser import text_string_to_metric_families

from gatekeeper.metrics import families as f
from gatekeeper.metrics.exposition import Exposition, Reading
from gatekeeper.metrics.families import FAMILIES, Kind
from gatekeeper.tally import Histogram
from gatekeeper.web import Request
from gatekeeper.web.messages import Method


async def text(*readings: Reading) -> str:
    """What `/metrics` answers for these."""

    async def source() -> Iterable[Reading]:
        await trio.lowlevel.checkpoint()
        return readings

    answer = (
        await Exposition([source]).routes()["/metrics"].handler(Request(Method.GET, "/metrics"))
    )
    assert answer.content_type.startswith("text/plain; version=")
    assert isinstance(answer.body, bytes)
    return answer.body.decode()


async def test_every_family_is_told_of_without_a_value_too() -> None:
    told = await text()
    for name, family in FAMILIES.items():
        assert f"# HELP {name} {family.text}\n" in told
        assert f"# TYPE {name} {family.kind.value}\n" in told
    assert "\nprocess_cpu_seconds_total " in told


async def test_values_stand_behind_their_labels() -> None:
    told = await text(
        Reading(f.SERVING, True),
        Reading(f.LOGINS, 7, ("imap", "imaps", "failure")),
        Reading(f.LOGINS, 1, ("imap", 'a"b\\c\nd', "success")),
    )
    lines = told.splitlines()
    assert "gatekeeper_serving 1.0" in lines
    labels = '{listener="imaps",proto="imap",result="failure"}'
    assert f"gatekeeper_auth_attempts_total{labels} 7.0" in lines
    assert any('listener="a\\"b\\\\c\\nd"' in line for line in lines)


async def test_buckets_add_up() -> None:
    delays = Histogram((1.0, 2.0))
    for value in (0.5, 1.5, 1.5, 9.0):
        delays.add(value)
    parsed = text_string_to_metric_families(await text(Reading(f.DELAY, delays)))
    (family,) = (one for one in parsed if one.name == f.DELAY.name)
    samples = {
        one.name.removeprefix(f.DELAY.name) + one.labels.get("le", ""): one.value
        for one in family.samples
    }
    assert samples == {"_bucket1": 1, "_bucket2": 3, "_bucket+Inf": 4, "_count": 4, "_sum": 12.5}


def test_names_are_as_prometheus_wants_them() -> None:
    for name, family in FAMILIES.items():
        assert name == family.name
        assert name.startswith("gatekeeper_")
        assert name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert len({label.name for label in family.labels}) == len(family.labels)
    bases = [name.removesuffix("_total") for name in FAMILIES]
    assert len(set(bases)) == len(bases)  # OpenMetrics knows a counter by its base alone


def test_a_label_is_a_closed_set_or_the_operators_own_word() -> None:
    labels = {label for family in FAMILIES.values() for label in family.labels}
    opened = {label.name for label in labels if label.values is None}
    assert opened == {
        *("listener", "backend", "zone", "certificate", "counter", "hook"),
        *("version", "python", "openssl"),
    }
    assert all(label.source for label in labels if label.values is None)
    for name in ("address", "account", "user", "ip", "network", "session"):
        assert name not in {label.name for label in labels}
