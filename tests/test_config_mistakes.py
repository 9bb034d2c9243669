"""Every key of the reference, written wrongly in every way: one line each, where it stands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gatekeeper.config import ConfigErrors, load
from gatekeeper.config.describing import Key, keys

# Every section, and every key of it that must be there, or that others need.
WRITTEN = {
    "Top level": {"hostname": '"mail.example.org"'},
    "[tls]": {"certificate": '"c.pem"', "private_key": '"k.pem"'},
    "[[tls.sni]]": {"names": '["a.example"]', "certificate": '"c.pem"', "private_key": '"k.pem"'},
    "[[listener]]": {
        "name": '"imaps"',
        "protocol": '"imap"',
        "bind": '"127.0.0.1:993"',
        "tls": '"implicit"',
        "backend": '"dovecot"',
    },
    "[backend.dovecot]": {"address": '"127.0.0.1:10143"', "tls": '"starttls"'}
    | {"announce": '"proxy-v2"'},
    "[enforce]": {},
    "[store]": {},
    "[dns]": {},
    "[[dnsbl]]": {"zone": '"zen.example.org"'},
    "[domains]": {},
    "[http]": {"bind": '"127.0.0.1:9099"'},
    "[hooks]": {"files": '"hooks.py"'},
    "[notify]": {"exec": '"page"', "webhook": '"https://example.org/x"'},
    "[policy]": {},
    "[rules]": {},
    "[account.news]": {},
    "[limits]": {},
}
REQUIRED = {("[[tls.sni]]", "names"), ("[[dnsbl]]", "zone"), ("[backend.dovecot]", "address")}
REQUIRED |= {(title, key) for title in ("[tls]", "[[tls.sni]]") for key in WRITTEN["[tls]"]}
REQUIRED |= {("[[listener]]", key) for key in WRITTEN["[[listener]]"]}

# TOML that no key takes, and what only some kinds do not.
NOBODY_TAKES = ["1979-05-27", "[[]]", "[{}]", "nan", "-inf", '"\\u0000\\u001b[31m\\n"']
BUT_NUMBERS = ["0.5", "7", "0x" + "f" * 9000, "9" * 400]
BUT_SWITCHES = ["true", "false"]
NO_NUMBERS = ['""', '"so much"', '"1x"', "[1]", "-1", "1e300", "0x" + "f" * 9000]
NO_WORDS = ['""', '"no such word"', "[]", '["enforce"]']


def section_of(key: Key) -> str:
    """The heading that stands for the key's section in `WRITTEN`."""
    named = {"[backend.NAME]": "[backend.dovecot]", "[account.NAME]": "[account.news]"}
    return named.get(key.section, key.section)


def wrong_values(key: Key) -> Iterator[str]:
    yield from NOBODY_TAKES
    yield "{ x = 1 }"
    kind = key.kind
    if kind in {"number", "duration"}:
        yield from [*NO_NUMBERS, *BUT_SWITCHES]
        return
    yield from BUT_NUMBERS
    if kind == "`true` or `false`":
        yield from [*NO_WORDS, '"true"']
        return
    yield from BUT_SWITCHES
    yield '""'
    if "`" in kind and " or " in kind and "list" not in kind:
        yield from NO_WORDS


def text_with(title: str, name: str, line: str) -> tuple[str, int]:
    """The configuration with `line` in place of the key `name`, and the number of that line."""
    lines: list[str] = []
    at = 0
    for heading, written in WRITTEN.items():
        if heading != "Top level":
            lines.append(heading)
        if heading == title:
            lines.append(line)
            at = len(lines)
        lines += [
            f"{key} = {value}" for key, value in written.items() if (title, name) != (heading, key)
        ]
    return "\n".join(lines), at


def told(path: Path, text: str) -> list[str]:
    """What is wrong with `text`, each without the directory."""
    path.write_text(text, encoding="utf-8")
    try:
        load(path)
    except ConfigErrors as errors:
        return [line.removeprefix(f"{path.parent}/") for line in str(errors).splitlines()]
    return []


KEYS = [pytest.param(key, id=key.dotted) for key in keys()]


def test_what_is_written_here_is_good_and_has_every_section(tmp_path: Path) -> None:
    text, _ = text_with("Top level", "", "")
    assert told(tmp_path / "g.toml", text) == []
    assert {section_of(key) for key in keys()} == set(WRITTEN)


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_is_one_line_at_its_place(tmp_path: Path, key: Key) -> None:
    title = section_of(key)
    for value in wrong_values(key):
        text, line = text_with(title, key.name, f"{key.name} = {value}")
        found = told(tmp_path / "g.toml", text)
        assert len(found) == 1, (value[:40], found)
        assert found[0].startswith(f"g.toml:{line}: "), (value[:40], found)
        assert key.name in found[0], (value[:40], found)
        assert found[0].isprintable()
        assert len(found[0]) < 400


@pytest.mark.parametrize("key", KEYS)
def test_a_slip_of_the_pen_is_one_line_with_the_right_word(tmp_path: Path, key: Key) -> None:
    """Two letters change places; the key itself is there as well where it must be."""
    title = section_of(key)
    slip = f"{key.name[:-2]}{key.name[-1]}{key.name[-2]}"
    if slip == key.name or len(slip) < 3:
        slip = f"{key.name}x"
    text, line = text_with(title, "", f"{slip} = 1")
    assert told(tmp_path / "g.toml", text) == [
        f'g.toml:{line}: unknown key "{slip}"'
        f'{"" if title == "Top level" else f" in {shown(title)}"}: did you mean "{key.name}"?'
    ]


def shown(title: str) -> str:
    return f'{title} "imaps"' if title == "[[listener]]" else title


@pytest.mark.parametrize(("title", "name"), sorted(REQUIRED))
def test_a_key_that_must_be_there_is_missed_by_name(tmp_path: Path, title: str, name: str) -> None:
    text, line = text_with(title, name, "")
    assert told(tmp_path / "g.toml", text) == [
        f'g.toml:{line - 1}: {shown(title) if name != "name" else title} lacks "{name}"'
    ]


def test_everything_at_once_is_a_line_each_in_order(tmp_path: Path) -> None:
    lines: list[str] = []
    wanted: list[int] = []
    for title, written in WRITTEN.items():
        if title != "Top level":
            lines.append(title)
        lines += [f"{key} = {value}" for key, value in written.items()]
        for key in keys():
            if section_of(key) == title and key.name not in written:
                lines.append(f"{key.name} = 1979-05-27")
                wanted.append(len(lines))
    found = told(tmp_path / "g.toml", "\n".join(lines))
    assert [int(one.split(":")[1]) for one in found] == wanted
    assert len(wanted) > 100
