"""The tree of files about domains, on a real file system."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatekeeper.domains_tree import Tree, Trouble, lists, tree
from gatekeeper.policy.domains import CHECKS, DomainFacts
from gatekeeper.settings import Treatment
from gatekeeper.verdict import Reason

CLIENT = "203.0.113.9"


def write(root: Path, *places: str, lines: Iterable[str] = (), old: bool = True) -> None:
    """Files below `root`; `old` ones were made long before any look."""
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def looked(root: Path) -> Tree:
    found = Tree(root)
    found.look(at_once=True)
    return found


def facts(
    found: Tree,
    recipient: str = "ann@example.org",
    sender: str = "bob@elsewhere.example",
    client: str = CLIENT,
) -> DomainFacts:
    return found.domains.facts(client, "host.isp.cn", sender, recipient)


def unknown(found: Tree, recipient: str) -> bool:
    return facts(found, recipient).unknown_user


@pytest.fixture(autouse=True)
def _nothing_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "FRESH_S", 0.0)


# -- the layout -----------------------------------------------------------------------------------


def test_users_as_files_of_a_directory(tmp_path: Path) -> None:
    write(tmp_path, "Example.ORG/users/valid/ann", "Example.ORG/users/valid/Bob")
    write(tmp_path, "Example.ORG/users/invalid/bob", "Example.ORG/users/valid/.keep")
    found = looked(tmp_path)
    assert [unknown(found, f"{name}@example.org") for name in ("ann", "bob", "eve", ".keep")] == [
        False,
        True,
        True,
        True,
    ]
    assert found.troubles == ()
    assert (len(found), found.users) == (1, 3)


def test_users_as_lines_of_a_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        "example.org/users/valid",
        lines=["# people", "ann", "", "  bob  ", "josé", '"john doe"'],
    )
    found = looked(tmp_path)
    for name in ("ann", "bob", "JOSÉ", '"john doe"'):
        assert not unknown(found, f"{name}@example.org"), name
    assert unknown(found, "people@example.org")


def test_everybody_is_a_file_called_star(tmp_path: Path) -> None:
    write(tmp_path, "example.org/users/valid/*", "example.org/users/invalid/eve")
    found = looked(tmp_path)
    assert not unknown(found, "anybody@example.org")
    assert unknown(found, "eve@example.org")


def test_a_domain_may_be_written_either_way(tmp_path: Path) -> None:
    write(tmp_path, "xn--bcher-kva.example/users/valid/ann", "中国/users/valid/ann")
    found = looked(tmp_path)
    for domain in ("bücher.example", "xn--bcher-kva.example", "中国", "xn--fiqs8s"):
        assert unknown(found, f"eve@{domain}"), domain


@pytest.mark.parametrize(
    ("place", "entry", "expected"),
    [
        ("whitelisted/senders", "Bob@Elsewhere.example", DomainFacts(whitelisted=True)),
        ("whitelisted/domains", "elsewhere.example", DomainFacts(whitelisted=True)),
        ("whitelisted/recipients", "ann@example.org", DomainFacts(whitelisted=True)),
        ("whitelisted/ips", CLIENT, DomainFacts(client_whitelisted=True, whitelisted=True)),
        ("blacklisted/ips", CLIENT, DomainFacts(client_blacklisted=True)),
        ("blacklisted/tld", "cn", DomainFacts(client_blacklisted=True)),
        ("blacklisted/tld", "*.cn", DomainFacts(client_blacklisted=True)),
        ("blacklisted/senders", "bob@elsewhere.example", DomainFacts(sender_blacklisted=True)),
        ("blacklisted/domains", "*.example", DomainFacts(sender_blacklisted=True)),
    ],
)
@pytest.mark.parametrize("domain", ["example.org", "_global_"])
def test_each_list_as_directory_and_as_file(
    tmp_path: Path, domain: str, place: str, entry: str, expected: DomainFacts
) -> None:
    write(tmp_path / "directory", f"{domain}/{place}/{entry}")
    write(tmp_path / "file", f"{domain}/{place}", lines=[entry])
    for root in ("directory", "file"):
        found = looked(tmp_path / root)
        assert facts(found) == expected
        assert found.troubles == ()


def test_networks_and_leading_dots_are_for_files(tmp_path: Path) -> None:
    write(tmp_path, "example.org/blacklisted/ips", lines=["203.0.113.0/24", "2001:db8::/32"])
    write(tmp_path, "example.org/blacklisted/tld", lines=[".ru"])
    found = looked(tmp_path)
    assert facts(found).client_blacklisted
    assert facts(found, client="2001:db8::7").client_blacklisted
    assert not facts(found, client="192.0.2.1").client_blacklisted


def test_a_recipient_of_a_domain_needs_no_domain(tmp_path: Path) -> None:
    write(tmp_path, "example.org/whitelisted/recipients/ann")
    write(tmp_path, "_global_/whitelisted/recipients/bob")
    found = looked(tmp_path)
    assert facts(found).whitelisted
    assert not facts(found, "ann@other.example").whitelisted
    assert found.troubles == (
        Trouble(f"{tmp_path}/_global_/whitelisted/recipients", "bob: not an address of mail"),
    )


# -- checks ---------------------------------------------------------------------------------------

ON, OFF, WATCHED = Treatment.ENFORCE, Treatment.IGNORE, Treatment.OBSERVE


@pytest.mark.parametrize(
    ("files", "user", "others"),
    [
        ({"all": ""}, ON, ON),
        ({"all": "observe"}, WATCHED, WATCHED),
        ({"unknown-user": ""}, ON, OFF),  # as in ms-lite: these and no others
        ({"unknown-user": "observe\n"}, WATCHED, OFF),
        ({"unknown-user": "ignore"}, OFF, ON),
        ({"unknown-user": "ignore", "all": "enforce"}, OFF, ON),
        ({"unknown-user": "enforce", "all": "ignore"}, ON, OFF),
    ],
)
def test_checks(tmp_path: Path, files: dict[str, str], user: Treatment, others: Treatment) -> None:
    write(tmp_path, "example.org/checks/x")
    (tmp_path / "example.org/checks/x").unlink()
    for name, word in files.items():
        (tmp_path / "example.org/checks" / name).write_text(word)
    found = looked(tmp_path)
    expected = dict.fromkeys(CHECKS, others) | {Reason.UNKNOWN_USER: user}
    assert facts(found).checks == expected
    assert found.troubles == ()


def test_checks_that_do_not_exist_are_named_and_change_nothing(tmp_path: Path) -> None:
    write(tmp_path, "example.org/checks/clamav")
    write(tmp_path, "example.org/checks/unknown-user", lines=["perhaps"])
    found = looked(tmp_path)
    assert facts(found).checks == {}
    whys = [trouble.why for trouble in found.troubles]
    assert [why.partition(":")[0] for why in whys] == ["clamav", "unknown-user"]


# -- what is wrong --------------------------------------------------------------------------------


def whys(found: Tree, root: Path) -> dict[str, str]:
    return {os.path.relpath(trouble.path, root): trouble.why for trouble in found.troubles}


def test_loops_of_links_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    write(tmp_path, "example.org/users/valid/ann", "other.example/users/valid/ann")
    (tmp_path / "example.org/blacklisted").symlink_to("blacklisted")
    (tmp_path / "loop.example").symlink_to("loop.example")
    (tmp_path / "example.org/users/valid/up").symlink_to("../../..")
    (tmp_path / "self.example").symlink_to(".")
    found = looked(tmp_path)
    assert unknown(found, "eve@example.org")
    assert not unknown(found, "up@example.org")  # its name counts, not what it points to
    assert not unknown(found, "eve@self.example")
    wrong = whys(found, tmp_path)
    assert wrong["loop.example"] == "too many levels of symbolic links"
    assert wrong["example.org/blacklisted/ips"] == "too many levels of symbolic links"


def test_lists_and_domains_may_be_links(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere", lines=["ann"])
    (tmp_path / "root/example.org/users").mkdir(parents=True)
    (tmp_path / "root/example.org/users/valid").symlink_to("../../../elsewhere")
    (tmp_path / "root/example.net").symlink_to("example.org")
    found = looked(tmp_path / "root")
    assert unknown(found, "eve@example.org")
    assert unknown(found, "eve@example.net")


def test_strange_names_are_named_and_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path, "example.org/users/valid/ann")
    os.close(os.open(os.fsencode(tmp_path) + b"/example.org/users/valid/\xff", os.O_CREAT))
    write(tmp_path, "example.org/users/invalid", lines=["../../etc/passwd", "a/b", "..", "x\0y"])
    write(tmp_path, "example.org/blacklisted/ips/300.1.1.1", "not a domain/users/valid/ann")
    write(tmp_path, "README")
    found = looked(tmp_path)
    assert unknown(found, "\udcff@example.org")
    assert unknown(found, "eve@example.org")
    assert found.users == 1
    wrong = whys(found, tmp_path)
    assert wrong["README"].startswith("no directory")
    assert wrong["not a domain"] == "not the name of a domain"
    assert "not a name of a user" in wrong["example.org/users/valid"]
    assert wrong["example.org/users/invalid"] == "line 4: not a name of a user"
    assert wrong["example.org/blacklisted/ips"] == "300.1.1.1: not an address or a network"


def test_one_domain_in_two_spellings_is_named(tmp_path: Path) -> None:
    write(tmp_path, "EXAMPLE.org/users/valid/ann", "example.org/users/valid/bob")
    found = looked(tmp_path)
    assert whys(found, tmp_path) == {
        "example.org": "the same domain as EXAMPLE.org, which is taken"
    }
    assert not unknown(found, "ann@example.org")


def test_a_fifo_a_device_and_a_file_too_large_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, "example.org/users/x", "example.org/blacklisted/x")
    os.mkfifo(tmp_path / "example.org/users/valid")
    (tmp_path / "example.org/users/invalid").symlink_to("/dev/zero")
    with (tmp_path / "example.org/blacklisted/ips").open("wb") as sparse:
        sparse.truncate(lists.MAX_FILE_OCTETS + 1)
    with (tmp_path / "example.org/blacklisted/senders").open("wb") as sparse:
        sparse.truncate(lists.MAX_LINE_OCTETS + 1)
    found = looked(tmp_path)
    wrong = whys(found, tmp_path)
    assert wrong["example.org/users/valid"] == "neither a file nor a directory"
    assert wrong["example.org/users/invalid"] == "neither a file nor a directory"
    assert "octets" in wrong["example.org/blacklisted/ips"]
    assert "line 1 has more than" in wrong["example.org/blacklisted/senders"]
    assert facts(found) == DomainFacts()


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MAX_NAMES", 3)
    monkeypatch.setattr(lists, "MAX_NETWORKS", 1)
    monkeypatch.setattr(tree, "MAX_NAMES_ALL", 5)
    monkeypatch.setattr(tree, "MAX_DOMAINS", 3)
    write(tmp_path, "a.example/users/valid", lines=["a", "b", "c", "d"])
    write(tmp_path, "b.example/users/valid", lines=["a", "b", "c"])
    write(tmp_path, "b.example/blacklisted/ips", lines=["192.0.2.1", "192.0.2.2"])
    write(tmp_path, "c.example/users/valid", lines=["a", "b", "c"])
    write(tmp_path, "d.example/users/valid", lines=["a"])
    found = looked(tmp_path)
    wrong = whys(found, tmp_path)
    assert wrong == {
        "a.example/users/valid": "more than 3 entries",
        "b.example/blacklisted/ips": "more than 1 networks",
        "c.example/users/valid": "with it all lists would hold more than 5 names",
        "d.example": "more than 3 domains",
    }
    assert [unknown(found, f"eve@{name}.example") for name in "abcd"] == [False, True, False, False]


def test_an_empty_list_of_valid_users_refuses_nobody_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "example.org/users/valid").mkdir(parents=True)
    found = looked(tmp_path)
    assert not unknown(found, "ann@example.org")
    assert "says nothing" in whys(found, tmp_path)["example.org/users/valid"]


def test_a_root_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = looked(tmp_path / "none")
    assert found.troubles == (Trouble(str(tmp_path / "none"), "no such file or directory"),)
    assert facts(found) == DomainFacts()


NAMES = st.text(
    st.characters(blacklist_characters="/\0", codec="utf-8"), min_size=1, max_size=30
).filter(lambda name: name not in {".", ".."})


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, max_size=5), NAMES, st.binary(max_size=200))
def test_no_name_and_no_octets_do_harm(
    tmp_path: Path, users: list[str], domain: str, octets: bytes
) -> None:
    root = tmp_path / str(time.monotonic_ns())
    try:
        write(root, *(f"{domain}/users/valid/{user}" for user in users))
        for place in ("users/invalid", "blacklisted/ips", "whitelisted/domains", "checks/all"):
            write(root, f"{domain}/{place}")
            (root / domain / place).write_bytes(octets)
    except OSError:  # longer than the file system takes
        return
    found = looked(root)
    found.domains.facts(CLIENT, domain, f"{domain}@{domain}", f"{domain}@{domain}")
    assert all(trouble.why for trouble in found.troubles)


# -- changes --------------------------------------------------------------------------------------


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.example/users/valid/ann", "b.example/users/valid/ann")
    found = looked(tmp_path)
    read: list[str] = []

    def noted(path: str, kind: lists.Kind, domain: str) -> lists.Contents:
        read.append(os.path.relpath(path, tmp_path))
        return lists.read_list(path, kind, domain)

    monkeypatch.setattr(tree, "read_list", noted)
    assert not found.look(at_once=True)
    write(tmp_path, "b.example/users/valid/bob")
    assert found.look(at_once=True)
    assert read == ["b.example/users/valid"]
    assert not unknown(found, "bob@b.example")


def test_a_change_is_taken_when_two_looks_see_the_same(tmp_path: Path) -> None:
    write(tmp_path, "example.org/users/valid", lines=["ann", "bob"])
    found = looked(tmp_path)
    write(tmp_path, "example.org/users/valid", lines=["ann"])  # half written
    assert not found.look(at_once=False)
    assert not unknown(found, "bob@example.org")
    write(tmp_path, "example.org/users/valid", lines=["ann", "bob", "eve"])
    assert not found.look(at_once=False)
    assert found.look(at_once=False)
    assert not unknown(found, "eve@example.org")


def test_what_never_rests_is_taken_at_last(tmp_path: Path) -> None:
    write(tmp_path, "example.org/users/valid", lines=["ann"])
    found = looked(tmp_path)
    for count in range(tree.UNSETTLED_LOOKS):
        write(tmp_path, "example.org/users/valid", lines=["ann", *map(str, range(count + 1))])
        assert not found.look(at_once=False)
    write(tmp_path, "example.org/users/valid", lines=["bob"])
    assert found.look(at_once=False)
    assert not unknown(found, "bob@example.org")


def test_what_was_changed_within_the_clocks_grain_is_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "FRESH_S", 3600.0)
    now_ns, stamp = time.time_ns(), tree._stamp
    monkeypatch.setattr(
        tree,
        "_stamp",
        lambda path: stamp(path)._replace(changed_ns=now_ns, modified_ns=now_ns),
    )
    write(tmp_path, "example.org/users/valid", lines=["ann"])
    found = looked(tmp_path)
    with (tmp_path / "example.org/users/valid").open("r+b") as file:
        file.write(b"bob")  # as long, and at the same instant by a clock that coarse
    found.look(at_once=False)
    assert not unknown(found, "bob@example.org")


def test_domains_and_lists_come_and_go(tmp_path: Path) -> None:
    write(tmp_path, "a.example/users/valid/ann")
    found = looked(tmp_path)
    write(tmp_path, "b.example/users/valid/ann")
    found.look(at_once=True)
    assert (len(found), unknown(found, "eve@b.example")) == (2, True)
    os.rename(tmp_path / "a.example/users", tmp_path / "a.example/.users")
    found.look(at_once=True)
    assert not unknown(found, "eve@a.example")
    os.rename(tmp_path / "a.example", tmp_path / ".a.example")
    found.look(at_once=True)
    assert (len(found), found.users, found.troubles) == (1, 1, ())


def test_the_last_good_list_stays_where_the_new_one_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, "example.org/users/valid", lines=["ann"])
    found = looked(tmp_path)
    os.rename(tmp_path / "example.org/users/valid", tmp_path / "example.org/users/.old")
    (tmp_path / "example.org/users/valid").symlink_to("valid")
    write(tmp_path, "example.org/users/invalid", lines=["bob"])
    found.look(at_once=True)
    assert not unknown(found, "ann@example.org")
    assert unknown(found, "eve@example.org")
    assert unknown(found, "bob@example.org")  # the rest of the domain is followed
    assert "example.org/users/valid" in whys(found, tmp_path)
    os.rename(tmp_path / "example.org/users/.old", tmp_path / "example.org/users/valid")
    found.look(at_once=True)
    assert found.troubles == ()


def test_all_stays_where_the_root_is_gone_for_a_while(tmp_path: Path) -> None:
    write(tmp_path, "root/example.org/users/valid/ann")
    found = looked(tmp_path / "root")
    os.rename(tmp_path / "root", tmp_path / "away")
    for _ in range(3):
        found.look(at_once=False)
    assert unknown(found, "eve@example.org")
    assert [trouble.path for trouble in found.troubles] == [str(tmp_path / "root")]


# -- size -----------------------------------------------------------------------------------------


def test_a_hundred_thousand_users_of_a_domain(tmp_path: Path) -> None:
    """`python -m bench.domains` does the same with a million."""
    many = 100_000
    write(tmp_path, "example.org/users/valid", lines=(f"user{n}" for n in range(many)))
    found = looked(tmp_path)
    assert found.users == many
    for number in (0, 1, many // 2, many - 1):
        assert not unknown(found, f"user{number}@example.org")
    assert unknown(found, f"user{many}@example.org")
