"""Mailboxes and domains in the one form in which lists and paths are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.mailboxes import (
    Mailbox,
    canonical_domain,
    canonical_local,
    listable,
    read_mailbox,
    without_tag,
)


@pytest.mark.parametrize(
    ("path", "mailbox"),
    [
        ("ann@example.org", Mailbox("ann", "example.org")),
        ("Ann@EXAMPLE.org", Mailbox("ann", "example.org")),
        ("ann@example.org.", Mailbox("ann", "example.org")),
        ("@a.example,@b.example:ann@example.org", Mailbox("ann", "example.org")),
        ('"ann"@example.org', Mailbox("ann", "example.org")),
        (r'"an\n"@example.org', Mailbox("ann", "example.org")),
        ('"ann@home"@example.org', Mailbox("ann@home", "example.org")),
        ("a@b@example.org", Mailbox("a@b", "example.org")),
        ("ann@xn--bcher-kva.example", Mailbox("ann", "bücher.example")),
        ("ann@bücher.example", Mailbox("ann", "bücher.example")),
        ("JOSÉ@example.org", Mailbox("josé", "example.org")),
        ("ann@[192.0.2.1]", Mailbox("ann", "[192.0.2.1]")),
    ],
)
def test_mailboxes(path: str, mailbox: Mailbox) -> None:
    assert read_mailbox(path) == mailbox


@pytest.mark.parametrize(
    "path",
    [
        *("", "postmaster", "@", "ann@", "@example.org", "@a.example:", "ann@..", "ann@."),
        *('"ann@example.org', '"ann"x@example.org', 'a"b"@example.org', r"a\b@example.org"),
        *("ann@a/b", "ann@a\0b", "ann@\udcff.example", "ann@" + "a." * 200),
    ],
)
def test_what_cannot_be_read_has_no_domain(path: str) -> None:
    assert read_mailbox(path) is None


@pytest.mark.parametrize(
    ("domain", "form"),
    [
        ("xn--BCHER-kva.example", "bücher.example"),
        ("Bu\u0308cher.example", "bücher.example"),  # the letter and its dots apart
        ("\uff42\u3002example", "b.example"),  # as an input method may write it
        ("xn--fiqs8s", "中国"),
        ("straße.example", "straße.example"),  # as IDNA of 2008 has it, not as that of 2003
        ("xn--example-.org", "xn--example-.org"),  # stands for ASCII: no A-label
        ("xn--bcher-kva9.example", "xn--bcher-kva9.example"),
        ("xn--.example", "xn--.example"),
        ("_global_", "_global_"),
    ],
)
def test_domains(domain: str, form: str) -> None:
    assert canonical_domain(domain) == form


@given(st.text())
def test_any_text_has_one_form_or_none(text: str) -> None:
    form = canonical_domain(text)
    assert form == "" or listable(form)
    read_mailbox(text)
    canonical_local(text)


@given(st.text(alphabet=st.characters(min_codepoint=0xE0, max_codepoint=0x17F), min_size=1))
def test_a_label_and_u_label_are_one(label: str) -> None:
    form = canonical_domain(f"{label}.example")
    unicode, _, _ = form.partition(".")
    if not unicode or unicode.isascii():
        return
    alabel = "xn--" + unicode.encode("punycode").decode()
    if len(alabel) <= 63:
        assert canonical_domain(f"{alabel.upper()}.EXAMPLE") == form


@pytest.mark.parametrize(
    ("local", "base"),
    [("ann+news", "ann"), ("ann", "ann"), ("+news", "+news"), ("ann+", "ann"), ("a+b+c", "a")],
)
def test_sub_addresses(local: str, base: str) -> None:
    assert without_tag(local) == base


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b", "a\nb", "\udcff"])
def test_names_no_list_can_hold(name: str) -> None:
    assert not listable(name)


def test_a_local_part_that_is_too_long_has_no_form() -> None:
    assert canonical_local("a" * 256) == "a" * 256
    assert canonical_local("a" * 257) == ""
