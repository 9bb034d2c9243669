"""What the operator's files say of the domains he receives mail for, as one frozen snapshot.

The layout is in docs/domains.md. A question costs some look-ups, whatever the lists hold; what a
list does not know it says nothing of. The order is fixed: black lists speak before white ones.

Nothing here is learnt from mail: a snapshot is replaced as a whole, by whoever reads the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gatekeeper.policy.domain_names import is_address_literal
from gatekeeper.policy.mailboxes import Mailbox, canonical_domain, read_mailbox, without_tag
from gatekeeper.policy.name_set import NameSet
from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.policy.strict_paths import read_strictly
from gatekeeper.prefix import Prefix, pack_address
from gatekeeper.settings import Treatment
from gatekeeper.verdict import Reason

EVERYBODY: Final = "*"
BELOW: Final = "*."  # in front of a domain: all below it
# RFC 5321 4.5.1: whoever takes mail for a domain takes that for its postmaster.
POSTMASTER: Final = "postmaster"
_ROUTING: Final = frozenset("%!@")  # in a local part

# The Rules a domain may switch: those that judge mail to it. Bans and what concerns the operator's
# own senders are no matter of one domain.
CHECKS: Final = (
    Reason.UNKNOWN_USER,
    Reason.SENDER_BLACKLISTED,
    Reason.CLIENT_BLACKLISTED,
    Reason.UNKNOWN_RECIPIENTS,
)
_NO_CHECKS: Final[Mapping[Reason, Treatment]] = {}


@dataclass(frozen=True, slots=True)
class Listed:
    """A white or a black list: senders and recipients as mailboxes, `domains` of senders."""

    senders: NameSet = field(default_factory=NameSet)
    domains: NameSet = field(default_factory=NameSet)
    recipients: NameSet = field(default_factory=NameSet)  # of white lists alone
    tld: NameSet = field(default_factory=NameSet)  # of black lists alone
    ips: PrefixSet = field(default_factory=PrefixSet)

    def has_client(self, address: Prefix, reverse_name: str) -> bool:
        """Whether the client's address, or the end of its name, is listed."""
        return self.ips.overlaps(address) or (
            bool(self.tld and reverse_name) and _ends(self.tld, reverse_name)
        )

    def has_sender(self, sender: Mailbox) -> bool:
        """Whether a sender is listed, by his mailbox or by his domain."""
        if _mailbox_listed(self.senders, sender):
            return True
        domains = self.domains
        return bool(domains) and (
            sender.domain in domains or _ends(domains, sender.domain, BELOW, whole=False)
        )

    @property
    def names_senders(self) -> bool:
        """Whether any sender is listed."""
        return bool(self.senders or self.domains)

    def has_recipient(self, recipient: Mailbox) -> bool:
        """Whether a recipient is listed."""
        return _mailbox_listed(self.recipients, recipient)


NOBODY: Final = Listed()
NO_NAMES: Final = NameSet()


@dataclass(frozen=True, slots=True)
class DomainLists:
    """One domain's files. `valid` that holds nothing says nothing."""

    valid: NameSet = NO_NAMES
    invalid: NameSet = NO_NAMES
    white: Listed = NOBODY
    black: Listed = NOBODY
    checks: Mapping[Reason, Treatment] | None = None  # None: as `_global_` has it


NO_LISTS: Final = DomainLists()


class DomainFacts(NamedTuple):
    """What the files say of one recipient, his sender and the client."""

    client_blacklisted: bool = False
    sender_blacklisted: bool = False
    unknown_user: bool = False
    client_whitelisted: bool = False
    whitelisted: bool = False  # client, sender or recipient
    checks: Mapping[Reason, Treatment] = _NO_CHECKS  # of Rules that are milder for this domain


SILENT: Final = DomainFacts()


@dataclass(frozen=True, slots=True)
class Domains:
    """All domains by their one form, and `_global_`, which speaks for every recipient."""

    by_name: Mapping[str, DomainLists] = field(default_factory=dict)
    everywhere: DomainLists = NO_LISTS

    def facts(
        self, address: str, reverse_name: str | None, reverse_path: str | None, forward_path: str
    ) -> DomainFacts:
        """What is to be known of a recipient. `reverse_name` is None where it is not known, and
        `reverse_path` where there is none; of the null sender (RFC 5321 4.5.5) no list speaks.

        Where servers might read different ones in a path, or each puts a domain of its own to it,
        the recipient is unknown. The sender is on every black list of senders in the first case: he
        would be looked up here under another name than the one the backend goes by.
        """
        recipient = read_mailbox(forward_path)
        own = NO_LISTS if recipient is None else self._of_domain(recipient.domain)
        both = (self.everywhere,) if own is NO_LISTS else (self.everywhere, own)
        packed = pack_address(address)
        client = Prefix(packed, len(packed) * 8)
        name = canonical_domain(reverse_name) if reverse_name else ""
        sender = read_mailbox(reverse_path) if reverse_path else None
        hidden = bool(reverse_path) and read_strictly(reverse_path or "") is None
        white_client = any(lists.white.has_client(client, "") for lists in both)
        return DomainFacts(
            client_blacklisted=any(lists.black.has_client(client, name) for lists in both),
            sender_blacklisted=any(
                lists.black.names_senders
                and (hidden or (sender is not None and lists.black.has_sender(sender)))
                for lists in both
            ),
            unknown_user=(bool(self.by_name) and _of_no_domain(forward_path))
            or (bool(self.by_name) and recipient is not None and _is_routed(recipient, own))
            or (recipient is not None and self._unknown(recipient.local, own)),
            client_whitelisted=white_client,
            whitelisted=white_client
            or (sender is not None and any(lists.white.has_sender(sender) for lists in both))
            or (recipient is not None and any(one.white.has_recipient(recipient) for one in both)),
            checks=own.checks if own.checks is not None else self.everywhere.checks or _NO_CHECKS,
        )

    def exempts(self, entity: Prefix) -> bool:
        """Whether the client is on `_global_`'s white list, whomever it writes to: an address of
        it, where `entity` is a /64."""
        return self.everywhere.white.ips.overlaps(entity)

    def _of_domain(self, domain: str) -> DomainLists:
        """The lists of a domain in its one form; where it has none, those of the one that its
        letters fold into, for Postfix takes it for that one."""
        found = self.by_name.get(domain)
        if found is None and not domain.isascii():
            found = self.by_name.get(domain.casefold())
        return NO_LISTS if found is None else found

    def _unknown(self, local: str, own: DomainLists) -> bool:
        """Whether the domain has no such user. Invalid wins, and a list of valid ones speaks of
        those it does not name only where the domain itself has one."""
        everywhere = self.everywhere
        if local in own.invalid or local in everywhere.invalid:
            return True
        if local == POSTMASTER:
            return False
        names = (local, without_tag(local), EVERYBODY)
        if any(name in own.invalid or name in everywhere.invalid for name in names):
            return True
        if not own.valid:
            return False
        return not any(name in own.valid or name in everywhere.valid for name in names)


def _of_no_domain(forward_path: str) -> bool:
    """Whether no domain is named that all servers read alike. A bare name and one at an address in
    brackets are of a domain that each server has for it; that of the postmaster is taken as such
    (RFC 5321 4.5.1)."""
    recipient = read_strictly(forward_path)
    if recipient is None:
        return True
    local, domain = recipient
    here = not domain or is_address_literal(domain)
    return here and bool(local) and local.lower() != POSTMASTER


def _is_routed(recipient: Mailbox, own: DomainLists) -> bool:
    """Whether a server may find another recipient in the local part: Postfix, of `a%b@c`, `b!a@c`
    and `"a@b"@c`, where c is its own, `a@b`. Who has such a name has to be listed by it."""
    return not _ROUTING.isdisjoint(recipient.local) and recipient.local not in own.valid


def _mailbox_listed(names: NameSet, mailbox: Mailbox) -> bool:
    if not names:
        return False
    local, domain = mailbox
    return str(mailbox) in names or f"{without_tag(local)}@{domain}" in names


def _ends(names: NameSet, domain: str, mark: str = "", *, whole: bool = True) -> bool:
    """Whether an end of `domain`, label by label and the whole of it first, is among `names` with
    `mark` before it."""
    rest = domain if whole else domain.partition(".")[2]
    while rest:
        if mark + rest in names:
            return True
        rest = rest.partition(".")[2]
    return False
