"""`gatekeeper simulate`: a line out for each line in, at once, whatever the lines hold."""

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from gatekeeper.cli import cli
from gatekeeper.cli.simulation_lines import MAX_LINE_OCTETS

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "simulate.md"
COMMAND: Final = [sys.executable, "-c", "from gatekeeper.cli import main; main()", "simulate"]
CONFIG: Final = """\
hostname = "mail.example.org"
[[listener]]
name = "mx"
protocol = "smtp"
bind = "127.0.0.1:2525"
tls = "none"
backend = "postfix"
[backend.postfix]
address = "127.0.0.1:1"
"""
CONNECT: Final = '{"t":1,"kind":"connect","ip":"192.0.2.7"}'
DAY_S: Final = 86_400.0
QUIET: Final = {"action": "pass", "forwarded": False, "outcome": None, "reason": "none"} | {
    "delay_s": 0.0,
    "ban": None,
}

Line = dict[str, Any]  # JSON at the edge


@pytest.fixture(autouse=True)
def own_garbage() -> Iterator[None]:
    """The command tunes the collector of its process, which here is the tests' own."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


def login(t: float, password: str, *, valid: bool = False, **more: object) -> Line:
    base: Line = {"t": t, "kind": "auth", "ip": "192.0.2.7", "account": "ann@example.org"}
    return base | {"password": password, "protocol": "imap", "valid": valid} | more


def run(text: str | bytes, *args: str) -> Result:
    return CliRunner().invoke(cli, ["simulate", *args], input=text)


def simulated(events: list[Line], *args: str) -> list[Line]:
    """What comes out for `events`, as objects."""
    result = run("".join(json.dumps(event) + "\n" for event in events), *args)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def config(directory: Path, text: str = "") -> str:
    file = directory / "new.toml"
    file.write_text(text + CONFIG if not text.startswith("[") else CONFIG + text)
    return str(file)


def guesses(count: int, start_s: float = 1.0, **more: str) -> list[Line]:
    return [login(start_s + n, f"guess {n}") | more for n in range(count)]


def test_a_decision_carries_other_keys_and_tells_what_the_backend_said() -> None:
    first, second = simulated(
        [
            login(0, "right", valid=True, who="ann", tags=["person", 1, None]),
            login(1, "wrong", id=7),
        ]
    )
    passed = {"action": "pass", "forwarded": True, "reason": "none", "delay_s": 0.0, "ban": None}
    tags = {"who": "ann", "tags": ["person", 1, None]}
    assert first == {"t": 0.0, "outcome": "ok"} | passed | tags
    assert second == {"t": 1.0, "outcome": "fail", "id": 7} | passed


def test_the_examples_work_when_pasted() -> None:
    """That of docs/simulate.md gives what is printed there, that of --help a decision."""
    text = DOCUMENT.read_text(encoding="utf-8")
    command = text.partition("```sh\necho ")[2].partition("```")[0]
    shown = text.partition("```json\n")[2].partition("```")[0]
    event, pipe, words = command.partition(" |\n")
    assert (pipe, words) == (" |\n", "gatekeeper simulate\n")
    assert run(event.strip("'")).stdout == shown

    event, _, words = run("", "--help").stdout.partition("  echo ")[2].partition(" | ")
    assert words.startswith("gatekeeper simulate\n")
    assert simulated([json.loads(event.strip("'"))]) == [{"t": 0.0} | QUIET]


def test_every_kind_is_decided_and_an_outage_scores_nothing() -> None:
    events: list[Line] = [
        {"t": 0, "kind": "outage", "on": True},
        *guesses(40),
        {"t": 50, "kind": "outage", "on": False},
        {"t": 50, "kind": "connect", "ip": "2001:db8::1"},
        {"t": 51, "kind": "rcpt", "ip": "192.0.2.7", "account": None, "recipient": "a@b.c"}
        | {"exists": False},
        {"t": 52, "kind": "rcpt", "ip": "192.0.2.7", "account": "ann", "recipient": "a@b.c"}
        | {"exists": True},
    ]
    decisions = simulated(events)
    assert decisions[0] == {"t": 0.0} | QUIET
    assert {decision["outcome"] for decision in decisions[1:41]} == {"unavailable"}
    assert not any(decision["ban"] for decision in decisions)
    assert decisions[42] == {"t": 50.0} | QUIET
    assert [decision["outcome"] for decision in decisions[43:]] == ["fail", "ok"]


def test_a_ban_has_prefix_and_seconds_and_drops_what_follows() -> None:
    decisions = simulated([*guesses(40), login(60, "right", valid=True)])
    (ban,) = [decision["ban"] for decision in decisions if decision["ban"]]
    assert ban == {"prefix": "192.0.2.7", "seconds": 600.0}
    assert decisions[-1]["action"] == "drop"
    assert not decisions[-1]["forwarded"]


def test_the_same_events_give_the_same_decisions() -> None:
    events = [*guesses(30), *guesses(30, 100.0, ip="2001:db8::9", account="bob")]
    assert simulated(events) == simulated(events)


def test_blank_lines_line_ends_and_a_last_line_without_one_are_fine() -> None:
    result = run(f"\n{CONNECT}\r\n  \t\n\r\n {CONNECT}")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == ""


def test_nothing_in_nothing_out() -> None:
    result = run("")
    assert (result.exit_code, result.output) == (0, "")


def test_a_file_is_read_like_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(CONNECT)
    assert run("", str(file)).stdout == run(CONNECT, "-").stdout != ""
    assert run("", str(tmp_path / "none")).exit_code == 2


@pytest.mark.parametrize(
    "account",
    ["a" * 65_536, "\udfff\ud800a\udc80", "a\r\n{}\n", "\x00\x1b[2J", "\u2028\u0085", "\U0001f4e7"],
    ids=["64 KiB", "surrogates", "lines", "controls", "separators", "astral"],
)
def test_any_account_is_harmless(account: str) -> None:
    """It may be carried through, too, and then stays on its line."""
    result = run(json.dumps(login(1, account, account=account, label=account)) + "\n" + CONNECT)
    assert result.exit_code == 0
    assert result.stdout_bytes.isascii()
    assert len(result.stdout_bytes.splitlines()) == 2
    assert json.loads(result.stdout.splitlines()[0])["label"] == account


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "not JSON: Expecting value (column 1)"),
        (CONNECT + CONNECT, "not JSON: Extra data (column 42)"),
        (CONNECT[:-1], "not JSON: Expecting ',' delimiter"),
        ('{"t":NaN}', "not JSON: NaN is no number"),
        ('{"t":2,"kind":"connect","ip":"::1","x":-Infinity}', "not JSON: -Infinity is no number"),
        ('{"t":2,"kind":"connect","ip":"::1","x":1e999}', "a number is too large"),
        ('{"t":' + "9" * 5000 + "}", "not JSON: "),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "not an object"),
        ("null", "not an object"),
        (b"\xff\xfe", "not UTF-8 (octet 1)"),
        (b'{"x":"\xed\xa0\x80"}', "not UTF-8 (octet 7)"),  # a surrogate is written \ud800
        (CONNECT.encode("utf-16"), "not UTF-8 (octet 1)"),
        ("{}" + " " * MAX_LINE_OCTETS, f"longer than {MAX_LINE_OCTETS} octets"),
        ("{}", "unknown kind None: it is one of auth, rcpt, connect, outage"),
        ('{"t":2,"kind":"auht"}', "unknown kind 'auht'"),
        ('{"t":2,"kind":["auth"]}', "unknown kind ['auth']"),
        ('{"t":0.5,"kind":"outage","on":true}', "t goes back from 1.0 to 0.5"),
        ('{"kind":"outage","on":true}', "t is a number of seconds"),
        ('{"t":"2","kind":"outage","on":true}', "t is a number of seconds"),
        ('{"t":true,"kind":"outage","on":true}', "t is a number of seconds"),
        ('{"t":1e999,"kind":"outage","on":true}', "t is a number of seconds"),
        ('{"t":2,"kind":"outage","on":1}', "on is true or false"),
        ('{"t":2,"kind":"connect"}', "ip is a string that is not empty"),
        ('{"t":2,"kind":"connect","ip":"192.0.2.256"}', "not an IP address: '192.0.2.256'"),
        (json.dumps(login(2, "x", account=None)), "account is a string that is not empty"),
        (json.dumps(login(2, "x") | {"password": 7}), "password is a string"),
        (json.dumps(login(2, "x", protocol="pop3")), "protocol is one of imap, submission"),
        (json.dumps(login(2, "x", protocol="smtp")), "protocol is one of imap, submission"),
        (json.dumps(login(2, "x") | {"valid": None}), "valid is true or false"),
        (json.dumps(login(2, "x", kind="rcpt")), "exists is true or false"),
        (json.dumps(login(2, "x", kind="rcpt", account=7)), "account is a string"),
    ],
    ids=str,
)
def test_a_bad_line_is_told_with_its_number_and_what_was_decided_stands(
    line: str | bytes, why: str
) -> None:
    octets = line if isinstance(line, bytes) else line.encode()
    result = run(CONNECT.encode() + b"\n\n" + octets + b"\n" + CONNECT.encode(), "--summary")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"gatekeeper: line 3: {why}")
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) < 400
    (decision,) = result.stdout.splitlines()
    assert json.loads(decision)["action"] == "pass"


def test_a_bad_line_cannot_play_with_the_terminal() -> None:
    result = run('{"t":0,"kind":"\\u001b[2J\\ud800"}')
    assert result.exit_code == 1
    assert result.stderr.isascii()
    assert "\x1b" not in result.stderr


def test_a_line_as_long_as_can_be_is_read() -> None:
    line = CONNECT + " " * (MAX_LINE_OCTETS - len(CONNECT) - 1) + "\n"
    assert len(run(line + line).stdout.splitlines()) == 2


def test_summary_is_one_more_line_and_a_sentence() -> None:
    """One address was a person's long before somebody guesses from there, one never was."""
    events = [
        login(0, "right", valid=True),
        login(0, "right", valid=True, ip="192.0.2.8"),
        *guesses(40, 5 * DAY_S, account="carol"),
        *guesses(40, 6 * DAY_S, ip="2001:db8::77", account="bob"),
    ]
    *decisions, last = simulated(events, "--summary")
    assert decisions == simulated(events)
    summary = last["summary"]
    assert list(last) == ["summary"]
    assert summary["events"] == len(events) == len(decisions)
    assert summary["forwarded"] == sum(decision["forwarded"] for decision in decisions)
    assert (summary["bans"], summary["banned_addresses"]) == (2, 2)
    assert summary["banned_with_success"] == 1
    counted = {
        (reason, action): count
        for reason, actions in summary["by_reason"].items()
        for action, count in actions.items()
    }
    assert sum(counted.values()) == len(events)
    dropped = sum(decision["action"] == "drop" for decision in decisions)
    assert counted["banned", "drop"] == dropped > 0

    text = "".join(json.dumps(event) + "\n" for event in events)
    said = run(text, "--summary").stderr
    assert said == "would ban 2 addresses, 1 had a successful login\n"


def test_an_observing_configuration_decides_nothing_and_tells_what_it_would_have(
    tmp_path: Path,
) -> None:
    file = config(tmp_path, 'mode = "observe"\n')
    *decisions, last = simulated(guesses(40), "--summary", "--config", file)
    assert {decision["action"] for decision in decisions} == {"pass"}
    assert all(decision["forwarded"] for decision in decisions)
    summary = last["summary"]
    assert (summary["bans"], summary["banned_addresses"]) == (0, 0)
    assert (summary["would_ban_addresses"], summary["would_ban_with_success"]) == (1, 0)
    assert summary["would_have"]["auth-failures"] > 0
    text = "".join(json.dumps(event) + "\n" for event in guesses(40))
    said = run(text, "--summary", "-c", file).stderr
    assert said == "would ban 1 address, 0 had a successful login\n"


def test_policy_rules_traps_and_allowed_addresses_are_the_configurations(tmp_path: Path) -> None:
    top = 'allow = "192.0.2.8"\ntrap_accounts = "Trap@example.org"\n'
    file = config(tmp_path, top)
    with Path(file).open("a") as end:
        end.write('[rules]\nauth-failures = "observe"\n[account.news]\nrecipients_burst = 2\n')
    trapped, allowed = simulated(
        [
            login(0, "x", account="trap@EXAMPLE.org", ip="198.51.100.1"),
            login(1, "x", account="trap@EXAMPLE.org", ip="192.0.2.8"),
        ],
        "-c",
        file,
    )
    assert (trapped["action"], trapped["reason"]) == ("decoy", "trap-account")
    assert (allowed["action"], allowed["forwarded"]) == ("pass", True)
    assert not any(decision["ban"] for decision in simulated(guesses(60), "-c", file))

    rcpt = {"kind": "rcpt", "ip": "192.0.2.7", "recipient": "a@b.c", "exists": True}
    sent = simulated(
        [login(0, "x", account="NEWS", valid=True)]
        + [rcpt | {"t": 1 + n / 100, "account": "news"} for n in range(4)],
        *("-c", file),
    )
    assert [decision["action"] for decision in sent[1:]] == ["pass", "pass", "defer", "defer"]


def test_a_bad_configuration_is_told_as_elsewhere(tmp_path: Path) -> None:
    result = run(CONNECT, "-c", config(tmp_path, "[policy]\nauth_ban_scor = 3\n"))
    assert result.exit_code == 78
    assert result.stdout == ""
    assert 'new.toml:11: unknown key "auth_ban_scor" in [policy]: did you mean' in result.stderr
    assert run(CONNECT, "-c", str(tmp_path / "none.toml")).exit_code == 78


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe) as running:
        yield running
        running.kill()


def ask(process: "subprocess.Popen[bytes]", line: str) -> Line:
    """The decision on one line; the next line is not written before it is there."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line.encode() + b"\n")
    decision: Line = json.loads(process.stdout.readline())
    return decision


def test_each_decision_comes_before_the_next_event(process: "subprocess.Popen[bytes]") -> None:
    for number in range(50):
        assert ask(process, json.dumps(login(number, f"{number}", id=number)))["id"] == number


def test_it_ends_quietly_when_nobody_reads(process: "subprocess.Popen[bytes]") -> None:
    ask(process, CONNECT)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.write(CONNECT.encode() + b"\n")
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 1


def test_it_ends_quietly_at_an_interrupt(process: "subprocess.Popen[bytes]") -> None:
    ask(process, CONNECT)
    os.kill(process.pid, signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.read().split() == [b"Aborted!"]
    assert process.wait() == 1
