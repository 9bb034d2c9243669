"""What `check` finds in the tree of domains."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatekeeper.check import domains as module
from gatekeeper.check.domains import check_domains
from gatekeeper.domains_tree import lists
from gatekeeper.settings import DomainsSettings, Settings, TlsSettings


def found(root: Path | None, user: str = "nobody") -> dict[str, str]:
    """What is wrong, by path below the root."""
    settings = Settings(
        "mx.example", TlsSettings(), (), {}, user=user, domains=DomainsSettings(root)
    )
    findings = list(check_domains(settings))
    assert {finding.severity.value for finding in findings} <= {"warning"}  # the guard serves on
    return {os.path.relpath(one.subject, root or "/"): one.text for one in findings}


@pytest.fixture
def root() -> Iterator[Path]:
    """A tree with nothing wrong, that every user may read."""
    with tempfile.TemporaryDirectory(prefix="domains-") as name:
        tree = Path(name)
        tree.chmod(0o755)
        for place in ("users/valid/ann", "blacklisted/ips/192.0.2.1", "checks/all"):
            path = tree / "example.org" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        yield tree


def test_without_a_root_nothing_is_looked_at() -> None:
    assert found(None) == {}


def test_a_good_tree_is_passed_over(root: Path) -> None:
    assert found(root) == {}


def test_loops_of_links_and_links_that_lead_nowhere(root: Path) -> None:
    (root / "loop.example").symlink_to("loop.example")
    (root / "example.org/whitelisted").symlink_to("whitelisted")
    (root / "example.org/users/invalid").symlink_to("not-there")
    wrong = found(root)
    assert wrong["loop.example"] == "too many levels of symbolic links"
    assert wrong["example.org/whitelisted/ips"] == "too many levels of symbolic links"
    assert wrong["example.org/users/invalid"] == "a link that leads nowhere"


def test_places_that_are_none_of_the_layout(root: Path) -> None:
    (root / "example.org/user").mkdir()
    (root / "example.org/users/vaild").touch()
    (root / "example.org/blacklisted/recipients").touch()
    (root / "example.org/checks/clamav").touch()
    wrong = found(root)
    assert wrong["example.org/user"] == "is none of blacklisted, checks, users, whitelisted"
    assert wrong["example.org/users/vaild"] == "is none of invalid, valid"
    assert wrong["example.org/blacklisted/recipients"] == "is none of domains, ips, senders, tld"
    assert wrong["example.org/checks"].startswith("clamav: there is no such check")


def test_a_name_that_is_no_text_is_shown_all_the_same(root: Path) -> None:
    os.close(os.open(os.fsencode(root / "example.org/users/valid") + b"/\xff", os.O_CREAT))
    os.mkdir(os.fsencode(root) + b"/\xfe")
    wrong = found(root)
    assert wrong["example.org/users/valid"] == "\\udcff: not a name of a user"
    assert wrong["\\udcfe"] == "not the name of a domain"


def test_a_root_that_is_not_there(root: Path) -> None:
    assert found(root / "none") == {".": "no such file or directory"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who alone can look as another user")
def test_rights_are_those_of_the_guards_user(root: Path) -> None:
    (root / "example.org/users").chmod(0o700)
    wrong = found(root)
    assert wrong["example.org/users/valid"] == "permission denied"
    assert os.geteuid() == os.getegid() == 0
    assert found(root, user="root") == {}
    assert found(root, user="no-such-user") == {}  # told by another check


def test_a_list_beyond_its_bound_and_a_directory_of_many_files(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY_FILES", 3)
    for number in range(4):
        (root / f"example.org/users/valid/user{number}").touch()
    assert found(root)["example.org/users/valid"].startswith("5 files are read")
    monkeypatch.setattr(lists, "MAX_NAMES", 4)
    assert found(root) == {"example.org/users/valid": "more than 4 entries"}
