"""Manual pages, completion, and `gatekeeper config`: made of the program itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gatekeeper.cli import cli
from gatekeeper.config.describing import keys


def said(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, arguments, prog_name="gatekeeper")
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("man")
    said("man", "--to", str(directory))
    return directory


def commands(group: click.Group, name: str = "gatekeeper") -> list[str]:
    found = [name]
    for word, command in group.commands.items():
        inner = f"{name}-{word}"
        found += commands(command, inner) if isinstance(command, click.Group) else [inner]
    return found


def test_every_command_has_a_page_with_its_options(pages: Path) -> None:
    names = {path.name.removesuffix(".1") for path in (pages / "man1").iterdir()}
    assert names == set(commands(cli))
    page = (pages / "man1" / "gatekeeper-ban-add.1").read_text()
    assert "\\-\\-for DURATION" in page
    assert "Ban an address or a network" in page


def test_every_key_is_in_the_page_of_the_configuration(pages: Path) -> None:
    page = (pages / "man5" / "gatekeeper.toml.5").read_text()
    names = [key.name.replace("-", "\\-") for key in keys()]
    assert [name for name in names if f".B {name}\n" not in page] == []


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_the_pages_are_good_roff(pages: Path) -> None:
    files = sorted(map(str, pages.rglob("*.[15]")))
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    # A date would be that of the build, and no two builds the same.
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


def test_one_page_is_printed() -> None:
    assert said("man").startswith('.TH "GATEKEEPER" 1')


def test_completion_works_in_bash(tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(said("completion", "bash"))
    program = tmp_path / "gatekeeper"
    program.write_text(f"#!{sys.executable}\nfrom gatekeeper.cli import main\nmain()\n")
    program.chmod(0o755)
    asked = (
        f"PATH={tmp_path}:$PATH; source {script}; COMP_WORDS=(gatekeeper ban a); COMP_CWORD=2; "
        "_gatekeeper_completion gatekeeper; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", asked], capture_output=True, text=True, check=True
    )
    assert done.stdout == "add\n"
