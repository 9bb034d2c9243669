"""`gatekeeper top`: what a frame shows."""

import importlib
import json
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console, RenderableType

from gatekeeper.cli import cli
from gatekeeper.cli.client import Reply
from gatekeeper.cli.top_frame import frame, waiting
from gatekeeper.errors import NotRunning
from gatekeeper.overview import NAMES

module = importlib.import_module("gatekeeper.cli.top")  # its name is the command's, too

WELL: Reply = {
    "status": {
        "version": "0.1.0",
        "mode": "enforce",
        "uptime_s": 93_784.0,
        "sessions": 12,
        "bans": 3,
        "attack_level": "low",
    },
    "listeners": [
        {
            "listener": "imaps",
            "backend": "dovecot",
            "backend_away": "",
            "handshake": 1,
            "greeting": 0,
            "dialogue": 2,
            "relay": 9,
        }
    ],
    "per_minute": {name: number for number, name in enumerate(NAMES, start=101)},
    "dropped": {"dropped4_auth": 7},
    "health": {"kernel": "ok", "store": "ok"},
    "networks": [],
    "accounts": [],
}


def drawn(shown: RenderableType, width: int = 80) -> list[str]:
    console = Console(width=width, no_color=True, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(shown)
    return [line.rstrip() for line in capture.get().splitlines()]


def networks(number: int) -> list[dict[str, Any]]:
    return [
        {
            "network": f"198.51.{each}.0/24",
            "refusals": 9,
            "sources": 2,
            "accounts": 3,
            "reason": "suspect-source",
        }
        for each in range(number)
    ]


def accounts(*names: str) -> list[dict[str, Any]]:
    return [{"account": name, "refusals": 4, "networks": 2} for name in names]


def test_a_quiet_guard() -> None:
    assert drawn(frame(WELL, None)) == [
        "gatekeeper 0.1.0  enforce  up 1d2h  sessions 12  bans 3  attack level low",
        "all is well with its parts; q ends this",
        "",
        "LAST MINUTE                    GOOD  FAILED  REFUSED",
        "logins                          102     103      104",
        "recipients                      105              106",
        "sessions                        101              107",
        "bans made                                        108",
        "packets dropped in the kernel                    109",
        "",
        "LISTENER  HANDSHAKE  GREETING  DIALOGUE  RELAY  BACKEND",
        "imaps             1         0         2      9  dovecot",
        "",
        "WORST NETWORKS (15 min)  REFUSALS  ADDRESSES  ACCOUNTS  MOSTLY",
        "none",
        "",
        "ACCOUNTS UNDER ATTACK  REFUSALS  NETWORKS",
        "none",
    ]


@pytest.mark.parametrize(
    ("change", "alarm"),
    [
        ({"mode": "observe"}, "! observe mode: nothing is refused"),
        ({"paused_for_s": 600}, "! paused for 10m: nothing is refused"),
        ({"breaker": "open, rate: 2 bans"}, "! breaker open, rate: 2 bans"),
        ({"outage": True}, "! the backend refuses everybody: its refusals are not counted"),
    ],
)
def test_what_somebody_should_do_something_about(change: dict[str, object], alarm: str) -> None:
    lines = drawn(frame(WELL | {"status": WELL["status"] | change}, None))
    assert lines[1] == alarm
    assert not [line for line in lines if line.startswith("all is well")]


def test_what_is_broken_is_told() -> None:
    health = {"kernel": "no answer", "store": "ok", "backend dovecot": "refused"}
    [away] = WELL["listeners"]
    reply = WELL | {"health": health, "listeners": [away | {"backend_away": "refused"}]}
    lines = drawn(frame(reply, "no guard answers; trying again"))
    assert lines[1:4] == [
        "! no guard answers; trying again",
        "! kernel: no answer",
        "! backend dovecot: refused",
    ]
    assert any(line.endswith("dovecot: refused") for line in lines[5:])


def test_without_the_kernel_no_drops_are_told() -> None:
    assert not [line for line in drawn(frame(WELL | {"dropped": None}, None)) if "kernel" in line]


@pytest.mark.parametrize("height", [24, 40, 60])
def test_it_fits_the_screen(height: int) -> None:
    many = WELL | {"networks": networks(50), "accounts": accounts(*"abcdefghijklmnopqrstuvwxyz")}
    assert height - 4 <= len(drawn(frame(many, None, height))) <= height


def test_names_of_strangers_change_no_screen() -> None:
    reply = WELL | {"accounts": accounts("\x1b[2Jann\n[red]", "\u202ebob")}
    text = "\n".join(drawn(frame(reply, None)))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]" in text
    assert drawn(waiting("no guard answers on /run/x\x1b")) != []


def test_one_frame_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ask", lambda _path, _verb: WELL)
    result = CliRunner().invoke(cli, ["top"])
    assert result.exit_code == 0
    assert result.output.splitlines() == drawn(frame(WELL, None), module.ONCE_WIDTH)
    as_json = CliRunner().invoke(cli, ["top", "--json"])
    assert json.loads(as_json.output) == WELL


def test_without_a_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_path: object, _verb: str) -> Reply:
        raise NotRunning("no guard answers on /run/x")

    monkeypatch.setattr(module, "ask", gone)
    result = CliRunner().invoke(cli, ["top", "--once"])
    assert (result.exit_code, result.output) == (3, "gatekeeper: no guard answers on /run/x\n")
