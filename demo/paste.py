"""What the demo prints when it stays up: lines to paste into another terminal."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from demo.namespaces import ATTACKER, in_user_namespace
from demo.scene import ACCOUNT, Scene

_TOOLS: Final = ("openssl", "curl", "swaks")


def lines(scene: Scene, beside_guard: int | None) -> Iterator[tuple[str, str]]:
    """What to try, as (what it shows, command).

    `beside_guard` is a process in the guard's namespace, this process being in the world's; None
    where there are no namespaces.
    """
    for what, command in _mail(scene, _enter(beside_guard and os.getpid())):
        missing = [tool for tool in _TOOLS if f"{tool} " in command and not shutil.which(tool)]
        yield what + "".join(f" ({tool} is not installed here)" for tool in missing), command
    if beside_guard:
        beside = _enter(beside_guard)
        yield "the bans in the kernel", f"{beside}nft list set inet gatekeeper ban4_auth"
        yield "what it dropped", f"{beside}nft list counters table inet gatekeeper"
    for what in ("top", "ban list", "who", "status"):
        yield f"gatekeeper {what}", f"{_command()} {what} -c {scene.guard.configuration}"
    yield "the guard's log", f"tail -f {scene.guard.log}"


def _mail(scene: Scene, world: str) -> Iterator[tuple[str, str]]:
    ca = scene.guard.configuration.parent / "certificates" / "ca.pem"
    imaps = f"{scene.server}:{scene.ports['imaps']}"
    submission = f"{scene.server}:{scene.ports['submission']}"
    user = ACCOUNT.user
    tls = f"{world}openssl s_client -CAfile {ca} -crlf"
    curl = f"{world}curl -sS --cacert {ca}"
    yield "the certificate, then IMAP by hand", f"{tls} -connect {imaps}"
    yield "submission by hand", f"{tls} -starttls smtp -connect {submission}"
    login = shlex.quote(f"{user}:{ACCOUNT.password}")
    yield "read the first message", f"{curl} -u {login} 'imaps://{imaps}/INBOX;MAILINDEX=1'"
    yield (
        "send one",
        f"{world}swaks --server {submission} -tls --tls-verify --tls-ca-path {ca} --auth PLAIN"
        f" --auth-user {user} --auth-password {ACCOUNT.password} --from {user} --to {user}",
    )
    if world:  # from loopback nobody is ever banned
        guess = f"{curl} -m 30 --interface {ATTACKER} -u {user}:guess$n imaps://{imaps}/"
        yield "guess passwords until the kernel is deaf", f"for n in $(seq 12); do {guess}; done"


def _enter(process: int | None) -> str:
    """What puts a command into the namespace of `process`."""
    if not process:
        return ""
    user = "--user --preserve-credentials " if in_user_namespace() else ""
    return f"nsenter -t {process} {user}--net "


def _command() -> str:
    """The console script beside this interpreter, as seen from here."""
    script, here = Path(sys.executable).with_name("gatekeeper"), Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))
