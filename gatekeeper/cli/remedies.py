"""What a helpdesk may do about a refusal, by the verdict's reason: a few plain sentences each."""

from collections.abc import Mapping
from typing import Final

from gatekeeper.verdict import Reason

_COME_AGAIN: Final = (
    "Nothing, most often: mail programs come again by themselves, and the right password passes",
    "after half a minute. Who types it in by hand waits a minute and tries once more.",
)
_BANNED: Final = (
    "The ban ends by itself. To end it now, see below; find out first which device or program",
    "there still has a wrong password, or the ban comes back.",
)
_BY_FILES: Final = (
    "The domain's files decide this ([domains] root); a change of them is taken at once.",
)

REMEDIES: Final[Mapping[Reason, tuple[str, ...]]] = {
    Reason.AUTH_FAILURES: _BANNED,
    Reason.BANNED: _BANNED,
    Reason.BLOCKED: ("Take the address out of block in the configuration and send SIGHUP.",),
    Reason.SUSPECT_SOURCE: _COME_AGAIN,
    Reason.SUSPECT_NETWORK: _COME_AGAIN,
    Reason.SPRAYED_PASSWORD: (
        "Nothing at once: the right password passes when the mail program comes again. But it is a",
        "password that others try, too: the account should have a better one.",
    ),
    Reason.ACCOUNT_ATTACKED: _COME_AGAIN,
    Reason.ACCOUNT_LANE_LOCKED: (
        "Come again twice, some minutes apart, with the right password: then it passes, and the",
        "place is known. Who is at home somewhere else notices nothing of it.",
    ),
    Reason.ATTACK_LEVEL: _COME_AGAIN,
    Reason.AUTH_LISTED: _COME_AGAIN,
    Reason.FAMILIAR_GUESSING: (
        "The password is wrong, and too many wrong ones came from there before: look for a device",
        "with an old one. The right password passes at once.",
    ),
    Reason.BREAKER_OPEN: (
        "Come again later. For the operator: gatekeeper status says why the breaker is open.",
    ),
    Reason.ACCOUNT_LOCKED: (
        "An operator locked the account and may unlock it; its note says why.",
    ),
    Reason.ACCOUNT_HELD: (
        "Ask whether the account's owner sent this himself. If he did, unlock it; if he did not,",
        "his password is known to somebody: have him change it first.",
    ),
    Reason.RECIPIENT_RATE: (
        "Wait: the allowance comes back by itself. An account that sends lists may have one of its",
        "own: [accounts] in the configuration.",
    ),
    Reason.UNKNOWN_RECIPIENTS: (
        "The sender's server asked for many who do not exist here: it should clean its list.",
        "It may come again; addresses that exist are taken.",
    ),
    Reason.PROTOCOL_ABUSE: (
        "Something there does not speak the mail protocol: it is no mail program.",
    ),
    Reason.DNS_LISTED: (
        "The sender's provider has to ask the list to take the address off. Until then you may put",
        "the address into allow, if you trust it.",
    ),
    Reason.HOOK: (
        "A hook of the operator's decided this; its file says why. A change of it is taken with",
        "gatekeeper reload.",
    ),
    Reason.HOOK_FAILED: (
        "Come again later. For the operator: gatekeeper status says what is wrong with the hook.",
    ),
    Reason.EARLY_TALKER: (
        "The sender's program does not wait to be greeted, as RFC 5321 wants it: spam software",
        "mostly. A real server that does it has to be mended, or put into allow.",
    ),
    Reason.REVERSE_DNS: (
        "Whoever runs the sender's server has to give its address a name in DNS that leads back to",
        "the address. Until then you may put the address into allow.",
    ),
    Reason.HELLO: (
        "The sender's server has to say its own full name in EHLO. Until it is mended you may put",
        "the address into allow.",
    ),
    Reason.SENDER_DOMAIN: (
        "The sender should look at the domain in his address: DNS knows none such.",
    ),
    Reason.SENDER_NULL_MX: (
        "The sender's domain says in DNS that it takes no mail, so nobody could answer him: he has",
        "to write from another, or to mend its MX record.",
    ),
    Reason.SPF_FAIL: (
        "Sent by the owner: his domain's SPF record has to name the server that sends his mail.",
        "Forwarded: the forwarder has to rewrite the sender (SRS), or you put it into allow.",
    ),
    Reason.HOOK: ("A hook of the configuration decided it: its file says why.",),
    Reason.HOOK_FAILED: ("Come again later. For the operator: a hook failed; the log has why.",),
    Reason.UNKNOWN_USER: _BY_FILES,
    Reason.SENDER_BLACKLISTED: _BY_FILES,
    Reason.CLIENT_BLACKLISTED: _BY_FILES,
}
_OTHERWISE: Final = (
    "Look at the address and the account, as below; docs/config.md has each rule.",
)


def remedy(reason: str) -> tuple[str, ...]:
    """The lines for a reason's word; a general one where nothing is to be done about it alone."""
    try:
        return REMEDIES.get(Reason(reason), _OTHERWISE)
    except ValueError:  # of a newer guard
        return _OTHERWISE
