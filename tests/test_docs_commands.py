"""Every `gatekeeper …` command in the documents is there, with its options; so are their links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gatekeeper.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"```(?:sh|console)\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`(gatekeeper [a-z][^`\n]*)`")
_END = re.compile(r"[|;&<>]|\s#|\s{2,}\[|…|\$\(")  # where the shell's words begin, or a comment


def commands(text: str) -> Iterator[str]:
    """The command lines of one document."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:^|[ ;|&(])(?:sudo |\$ )?(?:\S*/)?(gatekeeper [a-z].*)", line)
            if found and not line.lstrip().startswith(("#", "systemctl", "journalctl", "install")):
                yield found[1]
    yield from _INLINE.findall(text)


def wrong(line: str) -> str:
    """What is wrong with a command line; empty where nothing is."""
    words = shlex.split(_END.split(line)[0].replace("'", ""))[1:]
    command: click.Command = cli
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z][a-z0-9-]*", words[0]):
        name = words.pop(0)
        known = command.commands.get(name)
        if known is None:
            return f"no such command: {name}"
        command = known
    options = {"--help", "-h", "--version"}
    options |= {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    unknown = [
        word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options
    ]
    return f"no such option: {unknown[0]}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_there(page: Path) -> None:
    found = list(commands(page.read_text(encoding="utf-8")))
    assert [f"{line}: {why}" for line in found if (why := wrong(line))] == []


def test_there_are_many() -> None:
    found = [line for page in PAGES for line in commands(page.read_text(encoding="utf-8"))]
    assert len(found) > 120


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("gatekeeper ban list -o json | jq", ""),
        ("gatekeeper pause --for 1h --reason 'why it is'", ""),
        ("gatekeeper bans", "no such command: bans"),
        ("gatekeeper ban lst", "no such command: lst"),
        ("gatekeeper ban list --json  # all", "no such option: --json"),
    ],
)
def test_what_is_wrong_is_found(line: str, why: str) -> None:
    assert wrong(line) == why


def test_links_lead_somewhere() -> None:
    broken = []
    for page in [*PAGES, ROOT / "ansible" / "README.md"]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            if "://" in path or target.startswith("mailto:"):
                continue
            there = (page.parent / path).resolve() if path else page
            lost = anchor and there.suffix == ".md" and anchor not in anchors(there)
            if not there.exists() or lost:
                broken.append(f"{page.name}: {target}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """What headings are called in a link."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", one).replace("`", "") for one in headings)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in plain}
