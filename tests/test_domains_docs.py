"""docs/domains.md: its examples do what it says, and it names every list, check and bound."""

import re
import subprocess
from pathlib import Path

from gatekeeper.domains_tree import Tree, lists, tree
from gatekeeper.domains_tree.checks import FILES
from gatekeeper.policy.domains import CHECKS, DomainFacts
from gatekeeper.settings import Treatment
from gatekeeper.verdict import Reason

DOCUMENT = Path(__file__).parent.parent / "docs" / "domains.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def tried(root: Path) -> Tree:
    """The tree after all commands of the document, and the directories they take for granted."""
    for domain in ("example.org", "example.net", "example.com"):
        (root / domain / "checks").mkdir(parents=True)
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
    words = re.sub(r"^(cd|gatekeeper) .*$", "", commands, flags=re.MULTILINE)
    assert words.count("touch") == 3
    subprocess.run(["sh", "-eu", "-c", words], cwd=root, check=True)
    found = Tree(root)
    found.look(at_once=True)
    assert found.troubles == ()
    return found


def facts(found: Tree, recipient: str, sender: str = "a@elsewhere.example") -> DomainFacts:
    return found.domains.facts("203.0.113.9", None, sender, recipient)


def test_the_examples_do_what_they_say(tmp_path: Path) -> None:
    found = tried(tmp_path)
    assert not facts(found, "ann@example.org").unknown_user
    assert facts(found, "eve@example.org").unknown_user
    assert facts(found, "ann@example.org", "a@x.bad.example").sender_blacklisted
    assert not facts(found, "ann@example.org", "a@bad.example").sender_blacklisted
    only = dict.fromkeys(CHECKS, Treatment.IGNORE) | {Reason.UNKNOWN_USER: Treatment.ENFORCE}
    assert facts(found, "ann@example.org").checks == only
    rest = dict.fromkeys(CHECKS, Treatment.ENFORCE) | {Reason.UNKNOWN_RECIPIENTS: Treatment.IGNORE}
    assert facts(found, "ann@example.net").checks == rest
    assert facts(found, "ann@example.com").checks == dict.fromkeys(CHECKS, Treatment.OBSERVE)


def test_every_list_and_every_check_is_told_once() -> None:
    told = re.findall(r"^\| `DOMAIN/(\w+/\w+)` \|", TEXT, re.MULTILINE)
    assert sorted(told) == sorted(kind.path for kind in lists.KINDS)
    checks = TEXT.partition("\n## Checks\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", checks, re.MULTILINE)) == sorted(FILES)


def test_the_bounds_are_the_bounds() -> None:
    told = dict(re.findall(r"^\| ([\w `]+) \| ([\d,]+)(?: MiB)? \| [^|]+ \|$", TEXT, re.MULTILINE))
    assert {name: int(number.replace(",", "")) for name, number in told.items()} == {
        "domains": tree.MAX_DOMAINS,
        "entries of a list": lists.MAX_NAMES,
        "names of all lists": tree.MAX_NAMES_ALL,
        "networks of `ips`": lists.MAX_NETWORKS,
        "octets of a file": lists.MAX_FILE_OCTETS >> 20,
        "octets of a line": lists.MAX_LINE_OCTETS,
    }
