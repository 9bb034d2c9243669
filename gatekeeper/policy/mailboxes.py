"""Mailboxes and domains in the one form in which lists and paths are compared.

Nothing here decides what is valid: the backend has the last word on that. A path that cannot be
read belongs to no domain, and a name that no list can hold (`listable`) is in none.

Domains (RFC 5890): case does not count, an A-label is the U-label it stands for, a dot at the end
is none. Labels are mapped as UTS 46 does for what people type: NFKC and lower case. What is no true
A-label stays as it is, so that it equals nothing but itself.

Local parts (RFC 5321 4.1.2, 2.4): case does not count, which the RFC leaves to the host, and no
common server counts it. Letters are folded as Postfix folds what it looks up (Unicode 3.13, full
case folding): a long s is an s to it. A quoted string is the text it quotes.
"""

import unicodedata
from typing import Final, NamedTuple

MAX_DOMAIN_CHARACTERS: Final = 253  # RFC 1035 2.3.4, in text
MAX_LABEL_CHARACTERS: Final = 63
MAX_LOCAL_CHARACTERS: Final = 256  # RFC 5321 4.5.3.1.1 has 64 octets; some lists of mail have more
TAG_BEGINS: Final = "+"  # of a sub-address (RFC 5233)
_ACE: Final = "xn--"
_DOTS: Final = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})  # as UTS 46 has it


class Mailbox(NamedTuple):
    """A local part and a domain, both in their one form."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def read_mailbox(path: str) -> Mailbox | None:
    """The mailbox of a forward-path or reverse-path, brackets taken off; None where it has none.

    A source route is passed over (RFC 5321 C). `postmaster` without a domain has none.
    """
    if path.startswith("@"):
        path = path.partition(":")[2]
    if path.startswith('"'):
        local, rest = _unquoted(path)
        if not rest.startswith("@"):
            return None
        domain = rest[1:]
    else:
        local, _, domain = path.rpartition("@")
        if '"' in local or "\\" in local:
            return None
    name = canonical_domain(domain)
    if not local or not name:
        return None
    return Mailbox(canonical_local(local), name)


def _unquoted(path: str) -> tuple[str, str]:
    """The text of the quoted string that `path` begins with, and what follows it."""
    text: list[str] = []
    escaped = False
    for at, character in enumerate(path[1:], 1):
        if escaped or character not in '"\\':
            text.append(character)
            escaped = False
        elif character == '"':
            return "".join(text), path[at + 1 :]
        else:
            escaped = True
    return "", ""


def canonical_local(local: str) -> str:
    """A local part in its one form; empty where it is too long for any."""
    if len(local) > MAX_LOCAL_CHARACTERS:
        return ""
    return local.lower() if local.isascii() else unicodedata.normalize("NFC", local.casefold())


def without_tag(local: str) -> str:
    """`ann` of `ann+news`; the whole where there is no tag, or nothing before it."""
    base = local.partition(TAG_BEGINS)[0]
    return base or local


def canonical_domain(domain: str) -> str:
    """A domain in its one form; empty where it is none that a list could hold."""
    if len(domain) > MAX_DOMAIN_CHARACTERS + 1:
        return ""
    if domain.isascii():
        name = domain.lower().removesuffix(".")
        if _ACE not in name:
            return name if listable(name) else ""
    else:
        name = unicodedata.normalize("NFKC", domain.translate(_DOTS)).lower().removesuffix(".")
    name = ".".join(map(_u_label, name.split(".")))
    return name if listable(name) else ""


def _u_label(label: str) -> str:
    """What an A-label stands for (RFC 5890 2.3.2.1); any other label as it is."""
    if not label.startswith(_ACE) or len(label) > MAX_LABEL_CHARACTERS:
        return label
    try:
        found = label[len(_ACE) :].encode("ascii").decode("punycode")
        usual = unicodedata.normalize("NFKC", found).lower()
        true = not found.isascii() and usual == found
        return found if true and _ACE + found.encode("punycode").decode("ascii") == label else label
    except (UnicodeError, ValueError, OverflowError):
        return label


def listable(name: str) -> bool:
    """Whether a list can hold `name`: it could be that of a file, and it is text of one line. NUL
    is not printable, nor are surrogates, which stand for octets that are no UTF-8."""
    return name.isprintable() and "/" not in name and name not in {"", ".", ".."}
