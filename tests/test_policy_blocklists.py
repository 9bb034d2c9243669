"""What lists answer: names, codes, and errors that are no listings."""

import pytest

from gatekeeper.policy.blocklists import (
    ANY_CODE,
    CodeFilter,
    Reading,
    code_name,
    default_codes,
    read_answer,
    reversed_address,
)

ZEN = "zen.spamhaus.org"
DQS = "zen.dq.spamhaus.net"
AUTHBL = "authbl.dq.spamhaus.net"
DNSWL = "list.dnswl.org"
OTHER = "bl.example"


def test_names_are_reversed_octets_and_nibbles() -> None:
    assert reversed_address("192.0.2.99") == "99.2.0.192"
    # The example of RFC 5782 2.4.
    assert reversed_address("2001:db8:1:2:3:4:567:89ab") == (
        "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2"
    )
    assert reversed_address("::ffff:192.0.2.99") == "99.2.0.192"


@pytest.mark.parametrize("zone", [ZEN, DQS, OTHER, DNSWL])
@pytest.mark.parametrize(
    ("record", "word"),
    [
        ("127.255.255.252", "mistyped"),
        ("127.255.255.254", "public resolver"),
        ("127.255.255.255", "too many queries"),
        ("127.255.255.1", "127.255.255.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("203.0.113.80", "outside"),
        ("0.0.0.0", "outside"),
    ],
)
def test_errors_are_no_listings_whatever_stands_beside_them(
    zone: str, record: str, word: str
) -> None:
    for records in ([record], ["127.0.0.2", record], [record, "127.0.0.2"]):
        reading = read_answer(zone, records)
        assert word in reading.error
        assert reading.codes == ()


def test_dnswl_says_in_its_own_way_that_it_is_asked_too_much() -> None:
    assert read_answer(DNSWL, ["127.0.0.255"]).error == "too many queries"
    assert read_answer(OTHER, ["127.0.0.255"]) == Reading(("127.0.0.255",))


def test_special_cases_of_dnswl_speak_for_nobody() -> None:
    """Its entry for tests is one of them, so they are no error."""
    assert read_answer(DNSWL, ["127.0.10.3"]) == Reading()
    assert read_answer(DNSWL, ["127.0.10.0", "127.0.5.2"]) == Reading(("127.0.5.2",))
    assert read_answer(OTHER, ["127.0.10.3"]) == Reading(("127.0.10.3",))


def test_all_codes_of_an_answer_are_read() -> None:
    assert read_answer(ZEN, ["127.0.0.10", "127.0.0.9", "127.0.0.2"]) == Reading(
        ("127.0.0.2", "127.0.0.9", "127.0.0.10")
    )
    assert read_answer(ZEN, []) == Reading()


ZEN_CODES = {
    2: "SBL",
    3: "CSS",
    4: "XBL",
    5: "XBL",
    6: "XBL",
    7: "XBL",
    9: "DROP",
    10: "PBL",
    11: "PBL",
}


@pytest.mark.parametrize("zone", [ZEN, DQS])
def test_zen_counts_code_by_code(zone: str) -> None:
    counts = CodeFilter(default_codes(zone))
    counted = {n for n in range(2, 256) if counts.matches(f"127.0.0.{n}")}
    assert counted == set(ZEN_CODES)
    assert {n: code_name(zone, f"127.0.0.{n}") for n in counted} == ZEN_CODES
    assert not counts.matches("127.0.1.2")
    assert code_name(zone, "127.0.1.2") == ""


def test_who_guesses_passwords_is_on_a_list_of_its_own() -> None:
    counts = CodeFilter(default_codes(AUTHBL))
    assert [n for n in range(256) if counts.matches(f"127.0.0.{n}")] == [20]
    assert code_name(AUTHBL, "127.0.0.20") == "AuthBL"


@pytest.mark.parametrize("zone", [OTHER, DNSWL, "zen.spamhaus.org.example", "notspamhaus.org"])
def test_of_other_lists_every_code_counts_and_has_no_name(zone: str) -> None:
    assert default_codes(zone) == ANY_CODE
    assert CodeFilter(ANY_CODE).matches("127.9.8.7")
    assert code_name(zone, "127.0.0.2") == ""


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("127.0.0.2", ["127.0.0.2"], ["127.0.0.3", "127.0.1.2", "127.1.0.2"]),
        ("127.0.0.4-7", ["127.0.0.4", "127.0.0.7"], ["127.0.0.3", "127.0.0.8"]),
        ("127.0.*.1-3", ["127.0.0.1", "127.0.255.3"], ["127.0.0.0", "127.1.0.2"]),
    ],
)
def test_patterns(pattern: str, inside: list[str], outside: list[str]) -> None:
    counts = CodeFilter((pattern,))
    assert all(map(counts.matches, inside))
    assert not any(map(counts.matches, outside))


def test_a_filter_is_any_of_its_patterns() -> None:
    counts = CodeFilter(("127.0.0.2", "127.0.0.9"))
    assert counts.matches("127.0.0.9")
    assert not counts.matches("127.0.0.4")


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "127.0.0", "127.0.0.2.3", "127.0.0.x", "127.0.0.7-4", "127.0.0.256", "127.0.0.-2"),
        *("127.0.0.2-", "127.0.0.²", "127.0.0.0002", "127.0..2"),
    ],
)
def test_patterns_that_are_none_are_told_how_one_looks(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.4-7"):
        CodeFilter((pattern,))


@pytest.mark.parametrize("pattern", ["10.0.0.2", "*.0.0.2", "126-127.0.0.2"])
def test_codes_outside_127_are_none(pattern: str) -> None:
    with pytest.raises(ValueError, match="first octet is 127"):
        CodeFilter((pattern,))
