"""`[domains]`: where the tree is."""

from pathlib import Path

from test_config import GOOD, problems, write

from gatekeeper.config import load
from gatekeeper.settings import DomainsSettings


def test_no_tree_is_read_where_none_is_named(tmp_path: Path) -> None:
    assert load(write(tmp_path, GOOD)).domains == DomainsSettings(None)


def test_a_relative_root_starts_at_the_configuration(tmp_path: Path) -> None:
    settings = load(write(tmp_path, f'{GOOD}\n[domains]\nroot = "domains"\n'))
    assert settings.domains.root == tmp_path / "domains"


def test_mistakes_are_told(tmp_path: Path) -> None:
    found = "\n".join(problems(tmp_path, f'{GOOD}\n[domains]\nroot = 7\nrot = "x"\n'))
    assert "[domains] root: wants a string, not a number" in found
    assert 'unknown key "rot" in [domains]: did you mean "root"?' in found
