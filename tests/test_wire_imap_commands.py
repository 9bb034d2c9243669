"""What one command means: the allow-list and its refusals. Syntax is in the transcripts."""

import pytest

from gatekeeper.events import Command, StartTls, Violation, ViolationKind
from gatekeeper.wire.imap_commands import VERBS, Head, line_defect, read_command, read_head


@pytest.mark.parametrize("verb", ["SELECT", "APPEND", "ENABLE", "UNAUTHENTICATE", "IDLE", "XYZZY"])
def test_unlisted_verbs_go_to_no_backend(verb: str) -> None:
    head, refused = read_head(f"a {verb} x\r\n".encode(), refuse_login=False)
    assert head == Head(b"a", verb, len(verb) + 3)
    assert refused == Violation(ViolationKind.FORBIDDEN_VERB, b"a BAD Unknown command\r\n")


@pytest.mark.parametrize("verb", VERBS)
def test_listed_verbs_have_arguments_or_none(verb: str) -> None:
    bare, full = f"a {verb}\r\n".encode(), f"a {verb} x\r\n".encode()
    wrong, right = (bare, full) if VERBS[verb] else (full, bare)
    assert read_head(right, refuse_login=False)[1] is None
    refused = Violation(ViolationKind.BAD_SYNTAX, b"a BAD Syntax error\r\n")
    assert read_head(wrong, refuse_login=False)[1] == refused


@pytest.mark.parametrize("verb", VERBS)
def test_only_logins_need_privacy(verb: str) -> None:
    line = f"a {verb}{' x' * VERBS[verb]}\r\n".encode()
    _, refused = read_head(line, refuse_login=True)
    assert (refused is not None) is (verb in {"LOGIN", "AUTHENTICATE"})


def test_replies_repeat_nothing_but_a_sound_tag() -> None:
    _, refused = read_head(b"<script> x\r\n", refuse_login=False)
    assert refused is not None
    assert refused.reply == b"<script> BAD Unknown command\r\n"
    _, refused = read_head(b"(script) x\r\n", refuse_login=False)
    assert refused is not None
    assert refused.reply == b"* BAD Syntax error\r\n"


def test_defect_names_its_kind() -> None:
    kinds = [
        defect and defect.kind
        for defect in (
            line_defect(b"a\r\n", b"t"),
            line_defect(b"a\rb\r\n", b"t"),
            line_defect(b"\0\r\n", b"t"),
        )
    ]
    assert kinds == [None, ViolationKind.BARE_CR, ViolationKind.NUL]


def test_commands_without_arguments_are_named_in_upper_case() -> None:
    assert read_command(Head(b"a", "NOOP", 7), b"a noop\r\n") == Command("NOOP", b"a")
    assert read_command(Head(b"a", "STARTTLS", 11), b"a starttls\r\n") == StartTls(b"a")
