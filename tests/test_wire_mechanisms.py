"""Which SASL mechanisms a client may hear of."""

from gatekeeper.wire.mechanisms import offered


def test_only_the_allowed_remain_in_the_backends_order() -> None:
    listed = ["gssapi", "LOGIN", "NTLM", "plain", "SCRAM-SHA-256", "EXTERNAL", "PLAIN", "XOAUTH2"]
    assert offered(listed) == ("LOGIN", "PLAIN", "SCRAM-SHA-256", "XOAUTH2")


def test_a_backend_that_can_bind_channels_offers_no_scram() -> None:
    assert offered(["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "PLAIN"]) == ("PLAIN",)


def test_nothing_comes_of_nothing() -> None:
    assert offered(()) == ()
