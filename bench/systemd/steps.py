"""What is tried in the machine, each a step that says what it saw or raises `Failed`."""

import json
import time
from collections.abc import Callable
from typing import Any, Final

from bench.systemd.machine import GUARD, Machine

BAD: Final = "198.51.100.66"
GOOD: Final = "198.51.100.7"
CLIENT: Final = "ip netns exec client python3 /opt/bench/client.py"
CONFIGURATION: Final = "/etc/gatekeeper/gatekeeper.toml"
# One unit at a time: of several it is enough for `is-active` that one is.
RUNNING: Final = "systemctl is-active -q gatekeeper && systemctl is-active -q gatekeeper-kernel"
WATCHDOG_S: Final = 30.0

Step = Callable[[Machine], str]


class Failed(Exception):
    """It is not as it should be."""


def demand(condition: bool, what: str) -> None:
    """Raise `Failed` where `condition` does not hold."""
    if not condition:
        raise Failed(what)


def client(machine: Machine, words: str) -> dict[str, Any]:
    """What a program of `inside/client.py` saw."""
    found: dict[str, Any] = json.loads(machine.shell(f"{CLIENT} {words}"))
    return found


def held_s(machine: Machine, address: str) -> float | None:
    """How long the kernel still drops an address, by nftables itself."""
    listed = json.loads(machine.shell("nft -j list set inet gatekeeper ban4_auth"))
    for item in listed["nftables"]:
        for element in item.get("set", {}).get("elem", ()):
            if element["elem"]["val"] == address:
                return float(element["elem"]["expires"])
    return None


def boots(machine: Machine) -> str:
    """Everything starts by itself, with no more rights than it should have."""
    took_s = machine.wait_for(RUNNING)
    version = machine.shell("systemctl --version | head -n 1")
    rights = {}
    for unit in ("gatekeeper", "gatekeeper-kernel"):
        status = machine.shell(f"cat /proc/$(systemctl show -P MainPID {unit})/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        rights[unit] = (fields["CapEff"], fields["NoNewPrivs"], fields["Seccomp"])
    demand(rights["gatekeeper"] == (f"{0:016x}", "1", "2"), f"rights of the guard: {rights}")
    demand(rights["gatekeeper-kernel"] == (f"{1 << 12:016x}", "1", "2"), f"rights: {rights}")
    said = machine.shell("journalctl -b -u gatekeeper-kernel -o cat --no-pager")
    demand("Landlock" not in said, f"no Landlock: {said}")
    exposed = machine.shell(
        "for unit in gatekeeper gatekeeper-kernel; do systemd-analyze security $unit.service"
        " | sed -n 's/.*level for \\([^:]*\\): \\([0-9.]*\\).*/\\1 \\2/p'; done"
    )
    return f"{version}; active after {took_s:.1f} s; exposure: {', '.join(exposed.splitlines())}"


def bans(machine: Machine) -> str:
    """Guessing ends in a ban of the kernel's, which others do not notice."""
    seen = client(machine, f"guess {BAD} 16")
    left_s = held_s(machine, BAD)
    demand(left_s is not None, f"no ban: {seen}")
    demand(client(machine, f"log-in {GOOD}")["answer"] == "a OK done", "the others log in")
    return f"guesses ended so: {seen}; the kernel drops {BAD} for {left_s:.0f} s; {GOOD} logs in"


def reloads(machine: Machine) -> str:
    """`systemctl reload` waits, fails where it should, and says why."""
    begun = time.monotonic()
    machine.run("systemctl", "reload", "gatekeeper")
    took_s = time.monotonic() - begun
    machine.shell(f"sed -i '1i mood = 1' {CONFIGURATION}")
    failed = machine.shell("systemctl reload gatekeeper; echo $?", check=False)
    machine.shell(f"sed -i 1d {CONFIGURATION}")
    why = machine.shell(
        "journalctl -b -u gatekeeper -o cat --no-pager | grep 'unknown key' | tail -1"
    )
    demand(failed.endswith("1"), f"a bad configuration was taken: {failed}")
    demand("gatekeeper.toml:1: unknown key" in why, f"it does not say why: {why}")
    demand(machine.shell(RUNNING + " && echo yes") == "yes", "the guard goes on")
    return f"a good one in {took_s:.2f} s; a bad one fails: {why.removeprefix('gatekeeper: ')}"


def kernel_dies(machine: Machine) -> str:
    """A kernel process that is killed comes again, and its bans were never away."""
    before = machine.shell("systemctl show -P NRestarts gatekeeper-kernel")
    machine.shell("kill -KILL $(systemctl show -P MainPID gatekeeper-kernel)")
    demand(held_s(machine, BAD) is not None, "the ban went with the process")
    took_s = machine.wait_for(
        f'test "$(systemctl show -P NRestarts gatekeeper-kernel)" != {before} && {RUNNING}'
        f" && {GUARD} status | grep -q 'enforcer_health *ok'"
    )
    return f"the guard asks its successor after {took_s:.1f} s; the ban stayed"


def bans_meanwhile(machine: Machine) -> str:
    """What is banned while there is no kernel process is in the kernel once there is one."""
    machine.shell("systemctl stop gatekeeper-kernel.socket gatekeeper-kernel.service")
    machine.shell(f"{GUARD} ban add 203.0.113.9 --for 1h")
    demand(held_s(machine, "203.0.113.9") is None, "somebody else applied it")
    shown = machine.shell("systemctl show -P StatusText gatekeeper")
    machine.shell("systemctl start gatekeeper-kernel")
    begun = time.monotonic()
    while held_s(machine, "203.0.113.9") is None:
        demand(time.monotonic() - begun < 30, "the ban never came")
    took_s = time.monotonic() - begun
    machine.shell(f"{GUARD} ban del 203.0.113.9")
    return f"meanwhile `{shown}`; in the kernel {took_s:.1f} s after its start"


def restarts(machine: Machine) -> str:
    """Restarts under load: every client is answered, every acknowledged message is there."""
    machine.shell(f"{CLIENT} load {GOOD} 20 >/tmp/load 2>&1 & echo started")
    for _ in range(4):
        time.sleep(2)
        machine.run("systemctl", "restart", "gatekeeper")
    machine.wait_for("! pgrep -f '[c]lient.py'", 120)
    seen = json.loads(machine.shell("cat /tmp/load"))
    spool = set(machine.shell("ls /var/spool/sink").split())
    lost = set(seen["acknowledged"]) - spool
    demand(not lost, f"acknowledged and not there: {lost}")
    refused = {what: count for what, count in seen["seen"].items() if what.startswith("no answer")}
    demand(not refused, f"clients without an answer: {refused}")
    demand(len(seen["acknowledged"]) > 100, f"too little happened: {seen['seen']}")
    return (
        f"4 restarts: {seen['seen']}; {len(seen['acknowledged'])} messages acknowledged, "
        f"0 of them lost; the longest session took {seen['longest_s']} s"
    )


def watchdog(machine: Machine) -> str:
    """A guard that shows no sign of life is killed and started; who waits is answered."""
    pid = machine.shell("systemctl show -P MainPID gatekeeper")
    machine.shell(f"kill -STOP {pid}")
    begun = time.monotonic()
    answer = client(machine, f"log-in {GOOD}")["answer"]
    took_s = time.monotonic() - begun
    demand(answer == "a OK done", f"the client was answered {answer}")
    said = machine.shell(
        "journalctl -b -u gatekeeper -o cat --no-pager | grep -c 'Watchdog timeout'"
    )
    demand(said == "1", "systemd saw no time-out")
    return f"stopped by SIGSTOP; a client that came then logged in after {took_s:.0f} s"


def reboot(machine: Machine) -> str:
    """Bans are in force again before the first client of a boot is served."""
    before_s = held_s(machine, BAD)
    demand(before_s is not None, "there is a ban to be kept")
    machine.shell(f"systemctl enable bench-knock@{BAD} bench-knock@{GOOD}")
    machine.reboot()
    machine.wait_for(RUNNING)
    after_s = held_s(machine, BAD)
    demand(after_s is not None, "the kernel has no ban after the reboot")
    machine.wait_for(f"! systemctl is-active -q bench-knock@{BAD} bench-knock@{GOOD}", 60)
    seen = {who: json.loads(machine.shell(f"cat /var/lib/knock-{who}")) for who in (BAD, GOOD)}
    machine.shell(f"systemctl disable bench-knock@{BAD} bench-knock@{GOOD}")
    demand("greeted" not in seen[BAD], f"the banned one was greeted: {seen}")
    demand(seen[GOOD].get("greeted", 0) > 0, f"the other one was not: {seen}")
    return (
        f"{before_s:.0f} s left before, {after_s:.0f} s after; who knocked from the start: {seen}"
    )


def bad_start(machine: Machine) -> str:
    """A guard that cannot start closes its ports, and says why; mended, it starts."""
    machine.shell(f"sed -i '1i mood = 1' {CONFIGURATION}")
    machine.shell("systemctl restart gatekeeper", check=False)
    status = machine.shell("systemctl show -P ExecMainStatus gatekeeper")
    demand(status == "78", f"it ended with {status}")
    seen = client(machine, f"knock {GOOD} 25")
    ports = machine.shell("systemctl is-active gatekeeper-imaps.socket", check=False)
    demand(ports == "failed" and "ConnectionRefusedError" in seen, f"ports {ports}, {seen}")
    machine.shell(f"sed -i 1d {CONFIGURATION}")
    machine.shell("systemctl reset-failed 'gatekeeper*' && systemctl start gatekeeper")
    demand(client(machine, f"log-in {GOOD}")["answer"] == "a OK done", "it serves again")
    return f"exit code {status}; clients were answered {seen}; mended, it serves again"


def upgrade(machine: Machine) -> str:
    """Another release in place of this one, both services one after the other: bans stay."""
    before_s = held_s(machine, BAD)
    demand(before_s is not None, "there is a ban to be kept")
    home = "/opt/gatekeeper"
    machine.shell(f"rm -rf {home}/next && cp -a $(readlink -f {home}/current) {home}/next")
    machine.shell(f"ln -sfn next {home}/current")
    pids = {}
    for unit in ("gatekeeper-kernel", "gatekeeper"):
        machine.run("systemctl", "restart", unit)
        demand(held_s(machine, BAD) is not None, f"no ban after the restart of {unit}")
        pids[unit] = machine.shell(f"systemctl show -P MainPID {unit}")
    opened = machine.shell(f"tr '\\0' ' ' </proc/{pids['gatekeeper-kernel']}/cmdline")
    demand(f"{home}/bench/" not in opened, f"the kernel process is the old one: {opened}")
    machine.wait_for(f"{RUNNING} && {GUARD} status | grep -q 'enforcer_health *ok'")
    demand(client(machine, f"log-in {GOOD}")["answer"] == "a OK done", "it serves")
    after_s = held_s(machine, BAD)
    demand(after_s is not None, "the ban went later")
    return f"{before_s:.0f} s left before, {after_s:.0f} s after; {GOOD} logs in"


def stops(machine: Machine) -> str:
    """Whoever stops the guard alone has it started by the next client; with its ports, nobody is
    answered, and the kernel goes on dropping who is banned."""
    machine.run("systemctl", "stop", "gatekeeper")
    answer = client(machine, f"log-in {GOOD}")["answer"]
    demand(answer == "a OK done", f"a client found the ports open and was answered {answer}")
    machine.shell("systemctl stop 'gatekeeper-*.socket' gatekeeper")
    seen = client(machine, f"knock {GOOD} 3")
    demand(set(seen) == {"ConnectionRefusedError"}, f"ports are open: {seen}")
    kernel = machine.shell("systemctl is-active gatekeeper-kernel", check=False)
    demand(held_s(machine, BAD) is not None, "the ban went with the guard")
    machine.shell("systemctl start 'gatekeeper-*.socket' --all; systemctl start gatekeeper")
    machine.wait_for(f"{RUNNING} && {GUARD} status | grep -q 'enforcer_health *ok'")
    demand(client(machine, f"log-in {GOOD}")["answer"] == "a OK done", "it serves again")
    return f"the guard alone: the next client has it started; with its ports: {seen}, {kernel=}"


STEPS: Final[tuple[Step, ...]] = (
    *(boots, bans, reloads, kernel_dies, bans_meanwhile),
    *(restarts, watchdog, reboot, upgrade, stops, bad_start),
)
