"""`gatekeeper explain TICKET`, over a real control socket: what a helpdesk reads."""

import re
from pathlib import Path

import pytest
from control_rig import Rig, served
from guard_bench import MX_PEER, client

from gatekeeper.ban import Scope
from gatekeeper.cli.remedies import REMEDIES, remedy
from gatekeeper.events import AuthResult, ClientListed, Listing, RcptAttempt
from gatekeeper.policy.domains import DomainLists, Domains
from gatekeeper.policy.name_set import NameSet
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.verdict import Action, Reason, Verdict
from gatekeeper.wire.ticket import COUNT, spell

ATTACKER = client()
LISTED = ClientListed((Listing("zen.example", ("127.0.0.2",), 1.0),))


async def explained(rig: Rig, what: str) -> list[str]:
    """What the command prints."""
    result = await rig.run("explain", what)
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


async def put_off(rig: Rig, account: str = "ann") -> Verdict:
    """Guess until strangers are told to come again."""
    for number in range(30):
        verdict = await rig.login(ATTACKER, f"guess {number}", account)
        if verdict.action is Action.DEFER:
            return verdict
    raise AssertionError("a guesser is put off")


def unknown(rig: Rig) -> str:
    """A ticket nobody was given."""
    return next(
        ticket for ticket in map(spell, range(COUNT)) if not rig.bench.guard.tickets.find(ticket)
    )


async def test_a_login_that_was_put_off_is_told_with_what_to_do(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        ticket = (await put_off(rig)).ticket
        lines = await explained(rig, f"(REF {ticket.upper()})")
    assert lines[0].startswith(f"{ticket}: ann was told to come again at ")
    assert lines[1].startswith("  suspect-source: the address is close to a ban")
    assert "client       203.0.113.9 on the login ports" in lines
    assert "asked for    test: login; told to come again" in lines
    assert "account      ann" in lines
    assert "whose        stranger" in lines
    (score,) = [line for line in lines if line.startswith("score  ")]
    assert re.fullmatch(r"score        [67](\.\d)? of 10 then", score)
    assert lines[lines.index("What to do") + 1].startswith("  Nothing, most often: mail programs")
    assert "To undo it" not in lines
    assert lines[-2:] == ["  gatekeeper explain 203.0.113.9", "  gatekeeper explain ann"]


async def test_what_is_still_in_force_is_told_with_its_end(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        ticket = (await put_off(rig)).ticket
        network = Prefix.parse("203.0.113.0/24")
        rig.bench.ledger.ban(network, Scope.AUTH, Reason.OPERATOR, seconds=600)
        logins = rig.bench.guard.evidence.logins
        key = logins.account_key("ann")
        logins.lock(AccountLock(key, LockKind.OPERATOR, rig.bench.now, None, "stolen phone"))
        lines = await explained(rig, ticket)
    assert "  203.0.113.0/24 is banned for 10m more: operator." in lines
    assert (
        "  The account has a lock (operator) until somebody unlocks it:"
        " no login at all: stolen phone." in lines
    )
    at = lines.index("To undo it")
    assert lines[at + 1 : at + 3] == [
        "  gatekeeper ban del 203.0.113.0/24",
        "  gatekeeper account unlock ann",
    ]


async def test_a_bounce_is_told_by_its_recipient_and_its_sender(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        rig.bench.guard.domains = Domains({"example.org": DomainLists(invalid=NameSet.of(["ann"]))})
        event = RcptAttempt("ann@example.org", "", "bob@example.net")
        verdict = await rig.bench.guard.judge(event, MX_PEER)
        lines = await explained(rig, verdict.ticket)
    assert lines[0].startswith(f"{verdict.ticket}: 203.0.113.9 was refused at ")
    assert "client       203.0.113.9 on port 25" in lines
    assert "recipient    ann@example.org" in lines
    assert "sender       bob@example.net" in lines
    assert lines[-1] == "  gatekeeper explain 203.0.113.9"


async def test_a_listed_client_is_told_by_which_list(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        verdict = await rig.bench.guard.judge(LISTED, MX_PEER)
        lines = await explained(rig, f"ref={verdict.ticket}")
    assert lines[1].startswith("  dns-listed: ")
    assert any("zen.example" in line for line in lines)
    assert "  The sender's provider has to ask the list to take the address off." in "\n".join(
        lines
    )


async def test_a_blocked_client_is_told_so(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        ticket = (await put_off(rig)).ticket
        rig.bench.ledger.block((Prefix.parse("203.0.113.0/24"),))
        lines = await explained(rig, ticket)
    assert "  block in the configuration names the address now." in lines


@pytest.mark.parametrize("written", ["{}", "(ref {})", "ref={}"])
async def test_a_forgotten_ticket_is_looked_up_in_the_log(tmp_path: Path, written: str) -> None:
    async with served(tmp_path) as rig:
        ticket = unknown(rig)
        result = await rig.run("explain", written.format(ticket))
    assert result.exit_code == 3
    assert result.stderr == (
        f"gatekeeper: ticket {ticket} is not known here: the guard keeps the last ones in memory,"
        " since its start; older ones are lines of its log:"
        f" journalctl -u gatekeeper -g ref={ticket}\n"
    )


async def test_an_account_whose_name_could_be_a_ticket_is_explained(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        name = unknown(rig)
        await rig.login(ATTACKER, "right", name)
        assert (await explained(rig, name))[0].startswith(f"{name} is not locked")
        result = await rig.run("explain", f"ref={name}")
    assert result.exit_code == 3, "it is asked for as a ticket"


async def test_a_hostile_name_is_escaped_and_named_by_its_key(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        ticket = (await put_off(rig, "$(reboot)\x1b[2J'")).ticket
        lines = await explained(rig, ticket)
    assert "\x1b" not in "\n".join(lines)
    assert lines[-1].startswith("  gatekeeper explain '#")


async def test_no_ticket_tells_a_password(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        ticket = (await put_off(rig)).ticket
        for output in ("text", "json"):
            result = await rig.run("explain", ticket, "-o", output)
            assert "guess " not in result.stdout
            assert ticket in result.stdout


async def test_a_banned_login_says_how_long(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        rig.bench.ledger.ban(ATTACKER.entity, Scope.AUTH, Reason.AUTH_FAILURES, seconds=60)
        verdict = await rig.bench.outcome(ATTACKER, "x", result=AuthResult.FAILURE)
        lines = await explained(rig, verdict.ticket)
    assert " was hung up on at " in lines[0]
    assert "  203.0.113.9 is banned for 1m more: auth-failures." in lines


async def test_what_a_hook_refused_names_the_hook_and_its_words(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        opinion = Verdict(Action.REJECT, Reason.HOOK, text="not from there", source="hooks.py:rcpt")
        event = RcptAttempt("ann@example.org", "", "bob@example.net")
        verdict = rig.bench.guard.decide(event, MX_PEER, [opinion])
        lines = await explained(rig, verdict.ticket)
    assert "hook         hooks.py:rcpt: not from there" in lines


def test_every_rule_has_a_remedy_and_a_newer_guards_has_one_too() -> None:
    no_rules = {
        Reason.NONE,
        Reason.TARPIT,  # a delay alone
        Reason.TRAP_ACCOUNT,  # these two are told in the backend's words: no ticket
        Reason.REPEATED_PASSWORD,
        Reason.OPERATOR,  # of bans, not of verdicts
        Reason.HELD_BY_KERNEL,
        Reason.SYN_FLOOD,
        Reason.IMPORTED,
        Reason.TOO_MANY_CONNECTIONS,
        Reason.BACKEND_UNAVAILABLE,
    }
    assert set(Reason) - no_rules <= set(REMEDIES)
    assert remedy("quite-new") == remedy("none")
