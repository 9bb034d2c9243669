"""A message about a file says where the configuration names it."""

from pathlib import Path

import pytest

from gatekeeper.config.placing import placed

TEXT = """\
state_dir = "/state"
hooks = ["hooks.py",
  "more hooks.py"]
[tls]
certificate = "/tls/x.pem"
private_key = "/tls/x.pem.key"
[backend.b]
address = "/not/a/file"
tls_ca = "/tls/x.pem"
[http]
token_file = "conf.d/../token"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "g.toml"
    file.write_text(TEXT)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.toml").write_text('[notify]\nexec = "../page"\n')
    return file


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("/tls/x.pem: No such file", "g.toml:5, DIR/g.toml:9"),
        ("/tls/x.pem.key: No such file", "g.toml:6"),
        ("/tls/x.pem with /tls/x.pem.key: key values mismatch", "g.toml:6"),
        ("DIR/hooks.py:7: syntax error", "g.toml:2"),
        ("error: DIR/more hooks.py: Permission denied", "g.toml:3"),
        ("[http] token_file: DIR/conf.d/../token: Is a directory", "g.toml:11"),
        ("[notify] exec: DIR/conf.d/../page: may not be executed", "conf.d/a.toml:2"),
        ("/state: Read-only file system", "g.toml:1"),
        ("/state/gatekeeper.db: it is of the state", ""),
        ("/not/a/file: what only looks like one", ""),
        ("listeners changed: that takes a restart", ""),
        ("DIR/g.toml:5: [tls] certificate: /tls/x.pem is told already", ""),
    ],
)
def test_a_line_that_names_a_file_gets_its_place(path: Path, line: str, place: str) -> None:
    line = line.replace("DIR", str(path.parent))
    told = f" (named in DIR/{place})".replace("DIR", str(path.parent)) if place else ""
    assert placed(f"{line}\nanother line", path) == f"{line}{told}\nanother line"


def test_what_cannot_be_read_leaves_the_message_alone(path: Path) -> None:
    path.write_bytes(b"\0\xff")
    assert placed("/tls/x.pem: gone", path) == "/tls/x.pem: gone"
    path.unlink()
    assert placed("/tls/x.pem: gone", path) == "/tls/x.pem: gone"
