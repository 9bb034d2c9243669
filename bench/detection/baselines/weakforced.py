"""weakforced with the configuration it ships, asked by Dovecot before each login.

Distinct failed passwords in the last hour, six windows of ten minutes: more than 50 from an
address refuse it, more than 3 from an address for one login delay it by three seconds. What Dovecot
tells it is a hash of name and password, cut to 12 bits: one password tried on two names is two.
The real one estimates with HyperLogLog; this one counts exactly.
"""

import hashlib
from collections import deque
from typing import Final

from bench.detection.seam import Decision, Event, decided

WINDOWS: Final = 6
WINDOW_S: Final = 600.0
PASSWORDS_PER_ADDRESS: Final = 50
PASSWORDS_PER_LOGIN: Final = 3
DELAY_S: Final = 3.0
HASH_BITS: Final = 12  # auth_policy_hash_truncate


class Weakforced:
    """See `seam.Policy`. Recipients are none of its business."""

    def __init__(self) -> None:
        self._windows: deque[dict[str, set[int]]] = deque(maxlen=WINDOWS)
        self._window = -1
        self._outage = False

    def feed(self, event: Event, /) -> Decision:
        """`allow` before the backend, `report` after it."""
        match event["kind"]:
            case "auth":
                return self._login(event)
            case "outage":
                self._outage = event["on"]
                return decided(event, "pass")
            case "connect":
                return decided(event, "pass")
            case "rcpt":
                outcome = "ok" if event["exists"] else "fail"
                return decided(event, "pass", "unavailable" if self._outage else outcome)
            case kind:
                raise ValueError(f"unknown kind of event: {kind!r}")

    def _login(self, event: Event) -> Decision:
        self._advance(int(event["t"] // WINDOW_S))
        ip, login = event["ip"], f"{event['ip']}:{event['account']}"
        if self._distinct(ip) > PASSWORDS_PER_ADDRESS:
            return decided(event, "reject", reason="passwords of an address")
        slow = self._distinct(login) > PASSWORDS_PER_LOGIN
        outcome = "unavailable" if self._outage else "ok" if event["valid"] else "fail"
        if outcome == "fail":
            self._report((ip, login), event["account"], event["password"])
        delay_s = DELAY_S if slow else 0.0
        return decided(event, "delay" if slow else "pass", outcome, delay_s=delay_s)

    def _advance(self, window: int) -> None:
        for _ in range(min(window - self._window, WINDOWS)):
            self._windows.append({})
        self._window = window

    def _distinct(self, key: str) -> int:
        found = [window[key] for window in self._windows if key in window]
        return len(set().union(*found)) if found else 0

    def _report(self, keys: tuple[str, str], account: str, password: str) -> None:
        text = f"{account}\0{password}".encode("utf-8", "surrogatepass")
        short = int.from_bytes(hashlib.sha256(text).digest()[:2], "big") >> (16 - HASH_BITS)
        for key in keys:
            self._windows[-1].setdefault(key, set()).add(short)
