"""The privileged process's command line: what the guard writes is what the process reads."""

import argparse

import pytest

from gatekeeper.kernel.element import network
from gatekeeper.kernel.options import Options, Target, add_to, arguments, read


def parsed(argv: list[str]) -> Options:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_to(parser)
    return read(parser.parse_args(argv))


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(
            ports_auth=(143, 993),
            ports_mx=(25,),
            never=(network("10.0.0.0/8"), network("2001:db8::1")),
            allow=(network("192.0.2.0/24"),),
            block=(network("198.51.100.0/24"), network("::/0")),
            syn_rate=25,
            syn_burst=7,
            xdp=("eth0", "wan.100"),
            dial=(Target(bytes([192, 0, 2, 1]), 10143), Target(bytes(15) + b"\1", 25)),
        ),
    ],
)
def test_what_is_written_is_what_is_read(options: Options) -> None:
    assert parsed(arguments(options)) == options


@pytest.mark.parametrize(
    "argument",
    [
        "--ports-auth=0",
        "--ports-auth=65536",
        "--ports-mx=smtp",
        "--never=mail.example",
        "--block=10.0.0.0/33",
        "--syn-rate=-1",
        "--syn-burst=many",
        "--xdp=../eth0",
        "--xdp=a b",
        "--xdp=..",
        "--xdp=interface0123456",
        "--dial=192.0.2.1:25",
        "--dial=192.0.2.1@0",
    ],
)
def test_nonsense_is_a_usage_error(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parsed([argument])
    assert exit_.value.code == 2
    assert argument.partition("=")[0] in capsys.readouterr().err


def test_a_port_belongs_to_one_scope() -> None:
    with pytest.raises(ValueError, match="one scope"):
        parsed(["--ports-auth=25,993", "--ports-mx=25"])
