"""What the files of domains say of a recipient: users, black lists before white ones, checks."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.domains import SILENT, DomainFacts, DomainLists, Domains, Listed
from gatekeeper.policy.mailboxes import canonical_domain
from gatekeeper.policy.name_set import NameSet
from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.policy.strict_paths import read_strictly
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Treatment
from gatekeeper.verdict import Reason

CLIENT = "203.0.113.9"


def names(*held: str) -> NameSet:
    return NameSet.of(held)


def ips(*held: str) -> PrefixSet:
    return PrefixSet(map(Prefix.parse, held))


def domains(everywhere: DomainLists | None = None, **lists: Any) -> Domains:  # noqa: ANN401  fields of any type
    """One domain, example.org, and what speaks for all."""
    return Domains({"example.org": DomainLists(**lists)}, everywhere or DomainLists())


def facts(
    tree: Domains,
    recipient: str = "ann@example.org",
    sender: str | None = "bob@elsewhere.example",
    client: str = CLIENT,
    name: str | None = None,
) -> DomainFacts:
    return tree.facts(client, name, sender, recipient)


def unknown(tree: Domains, local: str, domain: str = "example.org") -> bool:
    return facts(tree, f"{local}@{domain}").unknown_user


# -- users ---------------------------------------------------------------------------------------


def test_without_lists_nothing_is_said() -> None:
    assert facts(Domains()) == SILENT
    assert facts(domains()) == SILENT
    assert facts(Domains(), "", None) == SILENT


def test_who_is_not_valid_is_unknown() -> None:
    tree = domains(valid=names("ann", "bob"))
    assert not unknown(tree, "ANN")
    assert not unknown(tree, '"ann"')
    assert not unknown(tree, "ann+news")
    assert unknown(tree, "eve")
    assert unknown(tree, "eve+ann")
    assert not unknown(tree, "eve", "other.example")


def test_everybody_is_valid() -> None:
    tree = domains(valid=names("*"))
    assert not unknown(tree, "anybody")


def test_invalid_wins() -> None:
    tree = domains(valid=names("*", "eve"), invalid=names("eve"))
    assert unknown(tree, "eve")
    assert unknown(tree, "eve+news")
    assert not unknown(tree, "ann")
    assert unknown(domains(valid=names("ann"), invalid=names("*")), "ann")


def test_a_tag_of_its_own_can_be_invalid_or_valid() -> None:
    tree = domains(valid=names("ann", "lists+a"), invalid=names("ann+spam"))
    assert unknown(tree, "ann+spam")
    assert not unknown(tree, "ann+ham")
    assert not unknown(tree, "lists+a")
    assert unknown(tree, "lists")


@pytest.mark.parametrize(
    "path",
    [
        *("eve%example.org", "example.org!eve", "eve @example.org", "eve(x)@example.org"),
        *("<>eve@example.org", "eve@example.org>", 'eve@"example.org"', "eve@example\\.org"),
    ],
)
def test_no_other_way_to_write_a_user_gets_round_the_lists(path: str) -> None:
    """Postfix takes each for eve@example.org."""
    tree = domains(valid=names("*"), invalid=names("eve"))
    assert facts(tree, path).unknown_user
    assert not facts(Domains(), path).unknown_user, "there are no lists"
    for plain in ("ann@example.org", '"john doe"@example.org', "postmaster", ""):
        assert not facts(tree, plain).unknown_user


@pytest.mark.parametrize(
    "path",
    ["\N{LATIN SMALL LETTER LONG S}teve@example.org", "\N{LATIN SMALL LIGATURE ST}eve@example.org"],
)
def test_letters_that_fold_into_others_get_nobody_round_the_lists(path: str) -> None:
    """Postfix folds what it looks up in its tables, and has a long s and a ligature for theirs."""
    assert facts(domains(valid=names("*"), invalid=names("steve")), path).unknown_user
    assert not facts(domains(valid=names("steve")), path).unknown_user


def test_a_domain_that_folds_into_another_is_that_one_unless_it_has_a_directory() -> None:
    """Postfix takes one for the other; to DNS they are two (RFC 5891)."""
    lists = DomainLists(invalid=names("eve"))
    path = "eve@straße.example"
    assert facts(Domains({"strasse.example": lists}), path).unknown_user
    both = Domains({"strasse.example": lists, "straße.example": DomainLists()})
    assert not facts(both, path).unknown_user


@pytest.mark.parametrize("path", ["eve", "eve+news", "eve@[192.0.2.1]", "ann@[IPv6:2001:db8::1]"])
def test_who_names_no_domain_gets_round_no_list(path: str) -> None:
    """Postfix puts its own domain behind a bare name, and has its own addresses for it."""
    tree = domains(valid=names("ann"), invalid=names("eve"))
    assert facts(tree, path).unknown_user
    assert not facts(Domains(), path).unknown_user, "there are no lists"
    for postmaster in ("postmaster", "Postmaster", "postmaster@[192.0.2.1]"):
        assert not facts(tree, postmaster).unknown_user, "RFC 5321 4.5.1"


@pytest.mark.parametrize(
    "path",
    [
        *("eve%example.org@example.org", "example.org!eve@example.org"),
        *("eve%example.org@mx.example", "example.org!eve@mx.example"),
        '"eve@example.org"@mx.example',
    ],
)
def test_a_route_behind_a_domain_gets_round_no_list(path: str) -> None:
    """Postfix delivers each to eve@example.org where both domains are in `mydestination`."""
    assert facts(domains(valid=names("*"), invalid=names("eve")), path).unknown_user
    assert not facts(Domains(), path).unknown_user, "there are no lists"
    local = path.rpartition("@")[0].strip('"')
    named = Domains(
        {name: DomainLists(valid=names(local)) for name in ("example.org", "mx.example")}
    )
    assert not facts(named, path).unknown_user, "it is there by that very name"


@pytest.mark.parametrize("path", ["eve%bad.example", "<>eve@bad.example", "eve@bad.example(x)"])
def test_no_other_way_to_write_a_sender_gets_round_a_black_list(path: str) -> None:
    tree = domains(black=Listed(domains=names("bad.example")))
    assert facts(tree, sender=path).sender_blacklisted
    assert not facts(domains(valid=names("ann")), sender=path).sender_blacklisted, "none is listed"


def test_the_postmaster_is_there_unless_named_as_invalid() -> None:
    assert not unknown(domains(valid=names("ann")), "Postmaster")
    assert not unknown(domains(invalid=names("*")), "postmaster")
    assert unknown(domains(invalid=names("postmaster")), "postmaster")


def test_global_users_speak_for_every_domain() -> None:
    everywhere = DomainLists(valid=names("abuse"), invalid=names("root"))
    tree = domains(everywhere, valid=names("ann", "root"))
    assert not unknown(tree, "abuse")
    assert unknown(tree, "root")
    assert unknown(tree, "root", "other.example")
    assert not unknown(tree, "eve", "other.example")  # a valid one there makes nobody unknown here
    assert unknown(tree, "eve")


@pytest.mark.parametrize(
    "local", ["a/b", "../../etc/passwd", "..", ".", "a\0b", "\udcff", "x" * 999]
)
def test_names_that_no_list_can_hold_are_in_none(local: str) -> None:
    assert unknown(domains(valid=names("ann")), local)
    assert not unknown(domains(invalid=names("ann")), local)


def test_the_global_directory_is_no_domain_of_its_own() -> None:
    tree = domains(DomainLists(valid=names("ann")))
    assert not unknown(tree, "eve", "_global_")


# -- black and white ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("black", "expected"),
    [
        ({"ips": ips("203.0.113.0/24")}, DomainFacts(client_blacklisted=True)),
        ({"ips": ips("2001:db8::/32")}, SILENT),
        ({"senders": names("bob@elsewhere.example")}, DomainFacts(sender_blacklisted=True)),
        ({"senders": names("eve@elsewhere.example")}, SILENT),
        ({"domains": names("elsewhere.example")}, DomainFacts(sender_blacklisted=True)),
        ({"domains": names("*.elsewhere.example")}, SILENT),
        ({"domains": names("*.example")}, DomainFacts(sender_blacklisted=True)),
        ({"domains": names("example")}, SILENT),
        ({"tld": names("cn")}, DomainFacts(client_blacklisted=True)),
        ({"tld": names("isp.cn")}, DomainFacts(client_blacklisted=True)),
        ({"tld": names("p.cn")}, SILENT),
    ],
)
def test_black_lists(black: dict[str, Any], expected: DomainFacts) -> None:
    for tree in (
        domains(black=Listed(**black)),
        domains(DomainLists(black=Listed(**black))),
        Domains({}, DomainLists(black=Listed(**black))),
    ):
        assert facts(tree, name="Dyn7.ISP.cn.") == expected


def test_lists_of_another_domain_say_nothing() -> None:
    tree = domains(black=Listed(ips=ips(CLIENT), senders=names("bob@elsewhere.example")))
    assert facts(tree, "ann@other.example") == SILENT


def test_an_end_of_a_name_that_is_not_known_has_no_opinion() -> None:
    tree = domains(black=Listed(tld=names("cn")))
    assert facts(tree, name=None) == SILENT
    assert facts(tree, name="") == SILENT


@pytest.mark.parametrize("sender", [None, ""])
def test_of_no_sender_and_the_null_sender_no_list_speaks(sender: str | None) -> None:
    every = Listed(senders=names("", "@", "*"), domains=names("", "*."))
    assert facts(domains(black=every, white=every), sender=sender) == SILENT


def test_senders_are_compared_in_their_one_form() -> None:
    tree = domains(black=Listed(senders=names("bob@bücher.example")))
    assert facts(tree, sender='"BOB"@xn--bcher-kva.example').sender_blacklisted
    assert facts(tree, sender="bob+x@bücher.example").sender_blacklisted


@pytest.mark.parametrize(
    ("white", "client"),
    [
        ({"ips": ips(CLIENT)}, True),
        ({"senders": names("bob@elsewhere.example")}, False),
        ({"domains": names("elsewhere.example")}, False),
        ({"recipients": names("ann@example.org")}, False),
    ],
)
def test_white_lists(white: dict[str, Any], client: bool) -> None:
    expected = DomainFacts(client_whitelisted=client, whitelisted=True)
    for tree in (
        domains(white=Listed(**white)),
        domains(DomainLists(white=Listed(**white))),
        Domains({}, DomainLists(white=Listed(**white))),
    ):
        assert facts(tree) == expected


def test_black_is_not_undone_by_white() -> None:
    listed = Listed(ips=ips(CLIENT), senders=names("bob@elsewhere.example"))
    seen = facts(domains(DomainLists(white=listed), black=listed))
    assert (seen.client_blacklisted, seen.sender_blacklisted) == (True, True)


def test_whom_no_blocklist_is_asked_about() -> None:
    tree = domains(
        DomainLists(white=Listed(ips=ips("203.0.113.0/24", "2001:db8::1"))),
        white=Listed(ips=ips("192.0.2.1")),
    )
    assert tree.exempts(Prefix.parse(CLIENT))
    assert tree.exempts(Prefix.parse("2001:db8::/64"))  # the entity of an address of it
    assert not tree.exempts(Prefix.parse("192.0.2.1"))  # one domain's list is not all domains'


# -- checks --------------------------------------------------------------------------------------


def test_a_domain_has_its_own_checks_or_those_of_all() -> None:
    own = {Reason.UNKNOWN_USER: Treatment.OBSERVE}
    everywhere = DomainLists(checks={Reason.UNKNOWN_USER: Treatment.IGNORE})
    assert facts(domains(checks=own)).checks == own
    assert facts(domains(everywhere, checks=own)).checks == own
    assert facts(domains(everywhere)).checks == everywhere.checks
    assert facts(domains(replace(everywhere, checks=None))).checks == {}


# -- whatever comes ------------------------------------------------------------------------------

FULL = DomainLists(
    valid=names("ann"),
    invalid=names("eve"),
    white=Listed(senders=names("bob@elsewhere.example"), recipients=names("ann@example.org")),
    black=Listed(domains=names("*.bad.example"), tld=names("cn"), ips=ips("192.0.2.0/24")),
)


@given(
    st.text() | st.builds("{}@example.org".format, st.text()),
    st.none() | st.text() | st.builds("bob@{}".format, st.text()),
    st.none() | st.text(),
    st.sampled_from([CLIENT, "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"]),
)
def test_no_name_does_harm(path: str, sender: str | None, name: str | None, client: str) -> None:
    seen = Domains({"example.org": FULL}, FULL).facts(client, name, sender, path)
    called = canonical_domain(name or "").rpartition(".")[2]
    assert seen.client_blacklisted == ("192.0.2." in client or called == "cn")
    if seen.unknown_user and read_strictly(path) is not None:
        of_a_domain = "@" in path and not path.endswith("]")
        of_a_domain = of_a_domain and not {"%", "!", "@"} & set(path.rpartition("@")[0])
        ours = path.lower().endswith(("@example.org", "@example.org."))
        assert ours or "eve" in path.lower() or not of_a_domain
