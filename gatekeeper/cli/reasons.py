"""What the stable words of verdicts and locks mean, in one plain sentence each."""

from collections.abc import Mapping
from typing import Any, Final

from gatekeeper.verdict import Reason

WHY: Final[Mapping[Reason, str]] = {
    Reason.NONE: "no rule had anything against it",
    Reason.AUTH_FAILURES: "too many wrong passwords came from this address",
    Reason.UNKNOWN_RECIPIENTS: "it asks for recipients who do not exist, more than for others",
    Reason.PROTOCOL_ABUSE: "it sent too much that is not the mail protocol",
    Reason.BANNED: "a ban was in force, so the connection was closed",
    Reason.TARPIT: "it has failed before, so the answer was held back for some seconds",
    Reason.OPERATOR: "an operator did it by hand",
    Reason.HELD_BY_KERNEL: "the kernel held this ban when the guard came and knew nothing of it",
    Reason.BLOCKED: "block in the configuration names it",
    Reason.SYN_FLOOD: "it opened connections faster than [enforce] syn_rate lets an address",
    Reason.IMPORTED: "an operator imported it from a list or another program; its note says which",
    Reason.TOO_MANY_CONNECTIONS: "it, or the network around it (/24, IPv6 /48), held too many"
    " connections at once",
    Reason.BACKEND_UNAVAILABLE: "the mail server did not answer; that is held against nobody",
    Reason.REPEATED_PASSWORD: "the mail server refused this very password a moment ago; it counts"
    " once, and the server is not asked again so soon",
    Reason.TRAP_ACCOUNT: "nobody has this account, so only guessers try it (trap_accounts)",
    Reason.ACCOUNT_LOCKED: "an operator has locked this account",
    Reason.FAMILIAR_GUESSING: "more wrong passwords came from here within an hour than people"
    " mistype; right ones pass",
    Reason.SUSPECT_SOURCE: "the address is close to a ban, so strangers there are told to come"
    " again",
    Reason.SUSPECT_NETWORK: "guesses come from all over its network, so strangers there are told"
    " to come again",
    Reason.AUTH_LISTED: "lists of those who guess passwords name this address, so strangers there"
    " are told to come again",
    Reason.SPRAYED_PASSWORD: "this password has failed on several accounts",
    Reason.ACCOUNT_ATTACKED: "strangers guess at this account, so strangers are told to come again",
    Reason.ACCOUNT_LANE_LOCKED: "strangers guess at this account without end, so a stranger needs"
    " the right password twice, some time apart",
    Reason.ATTACK_LEVEL: "strangers guess everywhere, so strangers are told to come again",
    Reason.BREAKER_OPEN: "a rule would have banned it, but the breaker is open: bans had begun to"
    " look like a mistake, so no rule makes any",
    Reason.EARLY_TALKER: "it spoke before it was greeted, as no mail server does",
    Reason.REVERSE_DNS: "DNS has no name for this address, or none that leads back to it; whoever"
    " runs it can mend that, or you put the address in allow",
    Reason.DNS_LISTED: "blocklists name this address, so port 25 takes no mail from it; who is"
    " wrongly listed has to ask the list, or you put the address in allow",
    Reason.HELLO: "its EHLO was no name of its own: none at all, one of ours, another's address or"
    " a word without a dot; or it did not greet before MAIL",
    Reason.SENDER_DOMAIN: "DNS knows no such domain as the sender's, so no answer could reach him",
    Reason.SENDER_NULL_MX: "the sender's domain says that it takes no mail (a null MX), so no"
    " answer could reach him",
    Reason.SPF_FAIL: "the SPF record of the sender's domain says that this address may not send for"
    " it: forged, or forwarded by a server that keeps the sender",
    Reason.RECIPIENT_RATE: "it has had the recipients an address or an account may have for now",
    Reason.ACCOUNT_HELD: "the account behaves like a stolen one, so it may not send",
    Reason.UNKNOWN_USER: "the files of the recipient's domain name no such user ([domains])",
    Reason.SENDER_BLACKLISTED: "the files of the recipient's domain, or of _global_, have the"
    " sender in blacklisted/",
    Reason.CLIENT_BLACKLISTED: "the files of the recipient's domain, or of _global_, have the"
    " client's address or the end of its name in blacklisted/",
    Reason.HOOK: "a hook of yours said so (hooks in the configuration)",
    Reason.HOOK_FAILED: "a hook of yours failed or took too long, and [hooks] on_error puts off",
}
HELD_BECAUSE: Final = {
    "new-networks": "it logged in from several networks it was never seen in within an hour",
    "new-network-burst": "many recipients right after its first login from a new network",
}
SCOPES: Final = {"auth": "the login ports", "mx": "port 25"}
ORIGINS: Final = {
    "rule": "by a rule",
    "operator": "by an operator",
    "import": "imported",
    "kernel-only": "in the kernel alone; this guard did not make it",
}
_STANDING: Final = {
    "familiar": "at home",
    "semi-familiar": "half known",
    "stranger": "stranger",
    "": "",
}
_KNOWLEDGE: Final = {
    "right": ", right password",
    "former": ", former password",
    "wrong": ", not its password",
    "unknown": "",
    "": "",
}
_WHAT: Final = {
    "login": "login",
    "login: success": "logged in",
    "login: failure": "wrong password",
    "recipient": "recipient",
    "recipient: unknown": "unknown recipient",
    "recipient: relay-denied": "relaying denied",
}


def why(reason: str) -> str:
    """The sentence for a reason's word; the word of a newer guard explains itself."""
    try:
        return WHY[Reason(reason)]
    except ValueError:
        return reason


def what(line: Mapping[str, Any]) -> str:
    """What a line of a timeline tells of: `imaps: wrong password`."""
    happened = str(line["what"])
    tags = f", tagged {' '.join(line['tags'])}" if line.get("tags") else ""
    return f"{line['listener']}: {_WHAT.get(happened, happened.removeprefix('violation: '))}{tags}"


def rule(line: Mapping[str, Any]) -> str:
    """Whose opinion it was: a rule's name, and which hook."""
    return " ".join(filter(None, (str(line["reason"]), str(line.get("hook", "")))))


def whose(line: Mapping[str, Any]) -> str:
    """How the account knows the place and the password: `stranger, not its password`."""
    standing, knowledge = str(line["standing"]), str(line["knowledge"])
    return _STANDING.get(standing, standing) + _KNOWLEDGE.get(knowledge, f", {knowledge}")


def done(line: Mapping[str, Any]) -> str:
    """What was done about it."""
    late = f", {line['delay_s']:g}s late" if line["delay_s"] else ""
    right = line["what"] == "login: success"
    match line["action"]:
        case "pass" | "delay" if str(line["what"]).startswith("violation"):
            return "refused" + late
        case "pass" | "delay":
            return ("let in" if right else "passed on") + late
        case "defer" if line.get("reason") == Reason.BREAKER_OPEN.value:
            return "not banned" + late
        case "defer":
            return "told to come again" + late
        case "decoy" | "reject":
            return ("refused, though right" if right else "refused here") + late
        case "close":
            return "banned" if line["ban"] else "closed"
        case action:
            return str(action) + late
