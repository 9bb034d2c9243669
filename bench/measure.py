"""Rounds of load against running contenders, each checked before it is measured."""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Final

from bench.proxies import Running
from bench.results import Line, Sample
from bench.scenarios import Scenario, Service
from bench.workshop import BUILD

_LOAD_S: Final = 300.0  # no load of the bench takes a tenth of it; a hung one is a failure
_CHECK_SESSIONS: Final = 3
_CHECK_CONTENT_OCTETS: Final = 1024 * 1024
_SETTLE_S: Final = 1.0  # until 5,000 fresh sessions are quiet


class Wrong(Exception):
    """A contender did not do what it was asked; what it would measure means nothing."""


@dataclass(frozen=True, slots=True)
class Report:
    """The load generator's words."""

    done: int
    refused: int
    failed: int
    failure: str
    resumed: int
    octets: int
    key: str
    tls: str
    wall_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float


def parse_report(line: str) -> Report:
    """One line of JSON. Raises `Wrong` where it is none."""
    try:
        raw = json.loads(line)
        return Report(**{field.name: raw[field.name] for field in fields(Report)})
    except (ValueError, KeyError) as error:
        raise Wrong(f"the load generator said {line!r}") from error


def load(
    scenario: Scenario, port: int, count: int, *, threads: int = 0, password: str = "right"
) -> Report:
    """Run `count` sessions to their end. Raises `Wrong` when the generator gives up or hangs."""
    threads = min(threads or scenario.threads, count)
    command = [str(BUILD / "load"), *scenario.arguments(port, count, threads, password)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LOAD_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"{scenario.name}: no end after {_LOAD_S:.0f} s") from error
    if done.returncode != 0:
        raise Wrong(f"{scenario.name}: {done.stderr.strip()}")
    return parse_report(done.stdout.splitlines()[0])


def check(scenario: Scenario, one: Running) -> None:
    """A wrong password is refused, a right one served, content whole, TLS as the line says.

    The generator and the backend compare every octet and count; here their counts are read.
    Raises `Wrong`.
    """
    port = one.port(scenario.service)
    small = _small(scenario)
    refused = load(small, port, 1, password="wrong")
    _expect(one, scenario, refused.refused == 1, "a wrong password was not refused", refused)
    report = load(small, port, _CHECK_SESSIONS, threads=1)
    _expect(one, scenario, report.done == _CHECK_SESSIONS, "sessions failed", report)
    content = small.octets * _CHECK_SESSIONS
    _expect(one, scenario, report.octets >= content, "content is missing", report)
    _expect(one, scenario, report.tls == "TLSv1.3", "not TLS 1.3", report)
    key = "RSA" if scenario.rsa else "EC"
    _expect(one, scenario, report.key == key, f"the certificate's key is not {key}", report)
    resumed = _CHECK_SESSIONS - 1 if scenario.resume else 0
    _expect(one, scenario, report.resumed == resumed, f"not {resumed} resumed", report)


def _small(scenario: Scenario) -> Scenario:
    values = {field.name: getattr(scenario, field.name) for field in fields(Scenario)}
    values["octets"] = min(scenario.octets, _CHECK_CONTENT_OCTETS)
    return Scenario(**values)


def _expect(one: Running, scenario: Scenario, holds: bool, what: str, report: Report) -> None:
    if not holds:
        raise Wrong(f"{one.contender.name}, {scenario.name}: {what}: {report}")


def measure(scenario: Scenario, one: Running, count: int) -> Sample:
    """One round: CPU per unit over `count` sessions. Raises `Wrong` when one of them failed."""
    before_s = one.cpu_s()
    report = load(scenario, one.port(scenario.service), count)
    spent_s = one.cpu_s() - before_s
    _expect(one, scenario, report.done == count, "sessions failed", report)
    _expect(one, scenario, spent_s > 0, "somebody else did the work", report)
    return Sample(
        figure=spent_s / scenario.units(count) * scenario.scale,
        per_s=count / report.wall_s,
        p50_ms=report.p50_ms,
        p99_ms=report.p99_ms,
    )


def interleave(
    scenario: Scenario, contenders: Sequence[Running], rounds: int, count: int, line: Line
) -> list[str]:
    """Check and warm up each contender, then rounds A B C, B C A, ...; returns the problems.

    A contender that fails is out of this line, whatever it had measured before.
    """
    problems: list[str] = []
    able = []
    for one in contenders:
        try:
            check(scenario, one)
            load(scenario, one.port(scenario.service), max(1, count // 10))
            able.append(one)
        except Wrong as error:
            problems.append(str(error))
    for turn in range(rounds):
        first = turn % max(1, len(able))
        for one in able[first:] + able[:first]:
            try:
                line.add(one.contender.name, measure(scenario, one, count))
            except Wrong as error:
                problems.append(str(error))
                line.samples.pop(one.contender.name, None)
                able = [other for other in able if other is not one]
    return problems


@dataclass(slots=True)
class Held:
    """Sessions in IDLE; `lost` is known when the block has ended."""

    opened: Report
    lost: int = -1


@contextmanager
def hold(scenario: Scenario, one: Running, count: int) -> Iterator[Held]:
    """`count` sessions in IDLE while the block runs. Raises `Wrong` when one did not open."""
    command = [
        str(BUILD / "load"),
        *scenario.arguments(one.port(Service.IMAPS), count, scenario.threads, "right"),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        held = Held(parse_report(process.stdout.readline()))
        try:
            _expect(one, scenario, held.opened.done == count, "sessions failed", held.opened)
            yield held
        finally:
            process.stdin.close()
        held.lost = int(json.loads(process.stdout.readline())["lost"])


def idle_memory(scenario: Scenario, one: Running, count: int) -> Sample:
    """KiB of RSS (and PSS) that each of `count` idle sessions adds. Raises `Wrong`."""
    check(_login_of(scenario), one)
    load(_login_of(scenario), one.port(Service.IMAPS), 200)  # what the first sessions set up
    rss, pss = one.memory_kib()
    with hold(scenario, one, count) as held:
        time.sleep(_SETTLE_S)
        full_rss, full_pss = one.memory_kib()
    if held.lost:
        raise Wrong(f"{one.contender.name}: {held.lost} of {count} idle sessions were lost")
    return Sample(
        figure=(full_rss - rss) / count,
        per_s=count / held.opened.wall_s,
        p50_ms=held.opened.p50_ms,
        p99_ms=held.opened.p99_ms,
        pss=(full_pss - pss) / count,
    )


def _login_of(scenario: Scenario) -> Scenario:
    return Scenario(
        name=scenario.name, title=scenario.title, load="imap-login", service=Service.IMAPS, count=1
    )
