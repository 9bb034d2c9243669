"""The status page of a guard before Dovecot, in a real browser."""

import base64
import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .accounts import ALICE, PASSWORDS, WRONG
from .chromium import PROGRAM, Tab, chromium
from .conftest import Mail
from .guard_process import Guard, Service, guard
from .line_client import LineClient
from .processes import free_ports

TOKEN = "a-token-of-the-operator"
HOSTILE = '<img src=x onerror="window.hurt=1">\u202e"\'&'  # an account, or a note
SHOWN = HOSTILE.replace("\u202e", "\\u202e")
BANNED = 120  # of 10.9.N.7, on the login ports

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")


@dataclass(frozen=True, slots=True)
class Scene:
    """A guard with a page, and the page in a browser."""

    guard: Guard
    tab: Tab
    url: str

    def open(self) -> Tab:
        """The page anew, as in a tab that has just been opened, with the first answers in it."""
        self.tab.scripts(allowed=True)
        self.tab.open(self.url)
        self.tab.until("!!window.sessionStorage")
        self.tab.value("sessionStorage.clear()")
        self.tab.open(self.url)
        self.tab.until("document.querySelector('#bans td') !== null")
        return self.tab

    def bans(self) -> set[str]:
        """The guard's own list."""
        rows = json.loads(self.guard.command("ban", "list", "-o", "json"))
        return {row["prefix"] for row in rows}


@pytest.fixture(scope="module")
def scene(public: Path, mail: Mail, tls: ssl.SSLContext) -> Iterator[Scene]:
    directory = public / "page"
    directory.mkdir(mode=0o755)
    token = directory / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    (port,) = free_ports(1)
    http = f'[http]\nbind = "127.0.0.1:{port}"\ntoken_file = "{token}"\n'
    http += "[policy]\ntarpit_base = 0\ntarpit_max = 0\n"
    services = [Service("imaps", "imap", "implicit", mail.dovecot.imap, "imap-id")]
    with guard(directory, services, mail.pairs, extra=http) as running:
        log_in(running, tls, ALICE, PASSWORDS[ALICE])
        for number in range(3):
            log_in(running, tls, HOSTILE, f"{WRONG}-{number}")
        ban(running)
        with chromium(directory) as tab:
            yield Scene(running, tab, f"http://127.0.0.1:{port}/")


def log_in(running: Guard, tls: ssl.SSLContext, account: str, password: str) -> None:
    """Try to, from an address that is never banned."""
    credentials = base64.b64encode(f"\0{account}\0{password}".encode())
    with LineClient(running.ports["imaps"], source="127.99.1.1", tls=tls) as client:
        client.line()
        client.send(b"a AUTHENTICATE PLAIN\r\n")
        assert client.line().startswith(b"+")
        client.send(credentials + b"\r\n")
        while not client.line().startswith(b"a "):
            pass


def ban(running: Guard) -> None:
    """Ban many, one of them with a hostile note."""
    prefixes = (running.directory / "prefixes").resolve()
    prefixes.write_text("".join(f"10.9.{number}.7\n" for number in range(BANNED)))
    running.command("import", "list", str(prefixes), "--for", "2h", "--scope", "auth")
    running.command("ban", "add", "192.0.2.9", "--for", "1h", "--reason", HOSTILE)


ROWS = "[...document.querySelectorAll('#bans tbody tr')].map(row => row.innerText)"


def test_a_stranger_can_write_nothing_into_the_page(scene: Scene) -> None:
    tab = scene.open()
    tab.complaints.clear()
    names = tab.until(
        "[...document.querySelectorAll('#accounts tbody button')].map(b => b.textContent)"
    )
    assert SHOWN in names
    tab.type("#query", "onerror")
    tab.until(f"{ROWS}.length === 2")  # of both scopes
    assert SHOWN in tab.value(ROWS)[0]
    tab.value("document.querySelector('#accounts tbody button').click()")
    tab.until("document.querySelector('#explain-text').textContent.length > 1")
    assert tab.value("document.querySelectorAll('img, iframe, script:not([src])').length") == 0
    assert tab.value("window.hurt === undefined")
    assert tab.complaints == []


MAKE_HTML = """(() => {
    try { document.body.innerHTML = "<p>" } catch (error) { return error.message }
})()"""
LOAD_ELSEWHERE = """(() => {
    const image = document.createElement("img");
    image.src = "https://example.org/x";
    document.body.append(image);
    return fetch("https://example.org/").then(() => "reached", () => "kept");
})()"""


def test_the_browser_refuses_what_the_page_never_does(scene: Scene) -> None:
    tab = scene.open()
    assert "TrustedHTML" in tab.value(MAKE_HTML)
    assert tab.value(LOAD_ELSEWHERE) == "kept"
    forbidden = {
        one["params"]["issue"]["details"]["contentSecurityPolicyIssueDetails"]["violatedDirective"]
        for one in tab.complaints
        if one["params"].get("issue", {}).get("code") == "ContentSecurityPolicyIssue"
    }
    assert forbidden == {"require-trusted-types-for", "img-src", "connect-src"}


CHARTS = "[...document.querySelectorAll('#charts svg')]"
LABELS = f"{CHARTS}.map(one => one.getAttribute('aria-label'))"


def test_what_is_seen_is_what_the_guard_says(scene: Scene) -> None:
    tab = scene.open()
    text = tab.until(
        "document.querySelectorAll('#charts figure').length === 4 && document.body.innerText"
    )
    status = json.loads(scene.guard.command("status", "-o", "json"))
    assert f"{status['bans']} in force" in text
    assert "All parts are well" not in text  # this guard has no kernel, and says so
    assert "switched off" in text or "nft" in text
    tab.until(f"{LABELS}[2] === 'Bans made of the last hour: {BANNED + 2} bans'")
    assert tab.value(LABELS)[0].startswith("Logins of the last hour: 1 good, ")
    tab.value("document.querySelector('[data-span=day]').click()")
    tab.until(f"{LABELS}[0].startsWith('Logins of the last day: 1 good')")


def test_bans_are_found_and_paged_through(scene: Scene) -> None:
    tab = scene.open()
    tab.until(f"{ROWS}.length === 50")
    tab.value("document.querySelector('#more').click()")
    tab.until(f"{ROWS}.length === 100")
    tab.value("document.querySelector('#more').click()")
    tab.until(f"{ROWS}.length === {BANNED + 2}")
    assert tab.value("document.querySelector('#more').hidden")
    tab.type("#query", "10.9.17.")
    tab.until(f"{ROWS}.length === 1")
    row = tab.value(ROWS)[0]
    assert re.search(r"^10\.9\.17\.7\s+auth\s+.*import.*\s1h 5\dm\b", row, re.DOTALL)
    tab.value("document.querySelector('#query').value = ''")
    tab.type("#query", "203.0.113.7")
    tab.until("document.querySelector('#bans-said').textContent === 'No ban matches.'")


def test_a_ban_is_lifted_by_who_has_the_token(scene: Scene) -> None:
    tab = scene.open()
    tab.type("#query", "10.9.30.7")
    tab.until(f"{ROWS}.length === 1")
    buttons = "document.querySelectorAll('#bans td button[aria-label^=lift]')"
    assert tab.value(f"{buttons}.length") == 0
    tab.type("#token", "another-token-it-is")
    tab.until("document.querySelector('#key-said').textContent === 'the token is wrong'")
    assert tab.value(f"{buttons}.length") == 0
    tab.type("#token", TOKEN)
    tab.until(f"{buttons}.length === 1")
    tab.value(f"{buttons}[0].click()")
    assert "10.9.30.7" in scene.bans()  # one click is none
    tab.value(f"{buttons}[0].click()")
    tab.until(
        "document.querySelector('#bans-said').textContent === 'The ban of 10.9.30.7 is lifted.'"
    )
    assert "10.9.30.7" not in scene.bans()
    assert "verb=ban-del what=10.9.30.7 by=status-page result=ok" in scene.guard.log()
    assert TOKEN not in scene.guard.log()
    assert tab.value("location.href") == scene.url
    assert tab.value("JSON.stringify(localStorage) + document.cookie") == "{}"


def test_without_scripts_the_page_says_so(scene: Scene) -> None:
    scene.tab.scripts(allowed=False)
    scene.tab.open(scene.url)
    tree = scene.tab.until("document.querySelector('noscript') && document.body.innerText")
    assert "gatekeeper top" in tree


def test_the_page_says_when_the_guard_is_gone(scene: Scene) -> None:
    tab = scene.open()
    scene.guard.process.terminate()
    tab.value("(real => { Date.now = () => real() + 9000 })(Date.now), 0")  # wait no ten seconds
    said = tab.until(
        "document.body.classList.contains('old') && document.querySelector('#age').textContent"
    )
    assert re.fullmatch(r"the guard does not answer; this is \d+s old", said)
    alarms = tab.value("document.querySelector('#alarms').innerText")
    assert alarms == "the guard does not answer; what is below is old"
