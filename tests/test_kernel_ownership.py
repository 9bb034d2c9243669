"""Who could change what runs as root is told apart from who could not."""

import os
from pathlib import Path

import pytest

from gatekeeper.kernel.ownership import changeable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs files of root's and of others'")
NOBODY = 65_534


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of root's, where only root may write."""
    package = tmp_path / "site" / "gatekeeper"
    (package / "kernel" / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "kernel/main.py", "kernel/__pycache__/main.pyc"):
        (package / name).touch()
    for path in (package.parent, *package.parent.rglob("*")):
        path.chmod(0o755)
    if path_above := changeable(package.parent.parent / "nothing"):
        pytest.skip(f"{path_above} is not root's alone")
    return package


def test_roots_own_is_well(package: Path) -> None:
    assert changeable(package) is None


@pytest.mark.parametrize(
    "name", ["..", ".", "__init__.py", "kernel", "kernel/main.py", "kernel/__pycache__/main.pyc"]
)
def test_what_others_may_write_is_named(package: Path, name: str) -> None:
    path = Path(os.path.normpath(package / name))
    path.chmod(0o757)
    assert changeable(package) == path
    path.chmod(0o755)
    os.chown(path, -1, NOBODY)
    assert changeable(package) is None
    path.chmod(0o775)
    assert changeable(package) == path
    path.chmod(0o755)
    os.chown(path, NOBODY, 0)
    assert changeable(package) == path


def test_roots_group_and_sticky_directories_are_well(package: Path) -> None:
    (package / "kernel" / "main.py").chmod(0o664)
    package.parent.chmod(0o1777)
    assert changeable(package) is None


def test_what_is_not_run_here_is_no_matter(package: Path) -> None:
    (package / "app.py").touch()
    (package / "app.py").chmod(0o666)
    assert changeable(package) is None
