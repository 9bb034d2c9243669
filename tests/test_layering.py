"""The rules of the house, read from the syntax trees; and proof that each can be broken."""

from collections.abc import Callable
from pathlib import Path

import layering
import pytest
from layering import Module, read_modules

ROOT = Path(__file__).parent.parent / layering.PACKAGE
MODULES = read_modules(ROOT)


def planted(tmp_path: Path, files: dict[str, str]) -> list[Module]:
    """A package of these files, path to text."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_modules(tmp_path)


# -- the package -----------------------------------------------------------------------------------


def test_the_package_is_read() -> None:
    names = {module.name for module in MODULES}
    assert {"gatekeeper", "gatekeeper.events", "gatekeeper.wire.sasl"} <= names


def test_every_subject_has_a_level() -> None:
    assert layering.unplaced_subjects(MODULES) == []


def test_every_subject_is_in_the_architecture() -> None:
    text = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("| level | modules |") : text.index("## Bounds")]
    subjects = set(layering.LEVELS) - {"", "__main__"}
    named = {one for one in subjects if f"`{one}`" in table or f"`{one}/`" in table}
    assert subjects - named == set()


def test_imports_point_to_lower_levels() -> None:
    assert layering.upward_imports(MODULES) == []


def test_no_modules_import_in_a_circle() -> None:
    assert layering.import_cycles(MODULES) == []


def test_wire_and_policy_are_pure() -> None:
    assert layering.impurities(MODULES) == []


def test_files_and_functions_are_short() -> None:
    assert layering.overlong(MODULES) == []


def test_public_names_have_docstrings() -> None:
    assert layering.undocumented(MODULES) == []


# -- planted offences ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line", "target"),
    [
        ("events.py", "from gatekeeper.wire import sasl", "gatekeeper.wire"),
        ("events.py", "import gatekeeper.wire.sasl", "gatekeeper.wire.sasl"),
        ("events.py", "def f():\n    from gatekeeper.abc import Store", "gatekeeper.abc"),
        ("wire/sasl.py", "from gatekeeper.policy.counters import decay", "gatekeeper.policy"),
        ("policy/rules.py", "from gatekeeper.abc import Judge", "gatekeeper.abc"),
        ("channel.py", "from gatekeeper.tls import contexts", "gatekeeper.tls"),
        ("store/sqlite.py", "from gatekeeper.enforce.memory import x", "gatekeeper.enforce.memory"),
        ("tls.py", "from gatekeeper.upstream import connect", "gatekeeper.upstream"),
        ("ledger.py", "from gatekeeper.config import read", "gatekeeper.config"),
        ("kernel/nft.py", "from gatekeeper.prefix import Prefix", "gatekeeper.prefix"),
        ("kernel/nft.py", "from gatekeeper import __version__", "gatekeeper"),
        ("kernel/nft.py", "import trio", "trio"),
        ("cli/main.py", "from gatekeeper.kernel.nft import load", "gatekeeper.kernel.nft"),
        ("tls.py", "from gatekeeper.kernel.protocol import encode", "gatekeeper.kernel.protocol"),
        ("wire/sasl.py", "from . import framing", "."),
        ("wire/sasl.py", "from ..policy import rules", "..policy"),
        ("events.py", "from gatekeeper.unheard_of import x", "gatekeeper.unheard_of"),
    ],
)
def test_an_upward_import_is_caught(tmp_path: Path, name: str, line: str, target: str) -> None:
    (offence,) = layering.upward_imports(planted(tmp_path, {name: f"{line}\n"}))
    assert f"imports {target}" in offence


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ban.py", "from gatekeeper.prefix import Prefix"),
        ("wire/sasl.py", "from gatekeeper.wire.framing import Segment"),
        ("wire/sasl.py", "from gatekeeper.events import Violation"),
        ("store/sqlite.py", "from gatekeeper.store.rows import Row"),
        ("session/smtp.py", "from gatekeeper.relay import Relay"),
        ("app.py", "from gatekeeper.config import read"),
        ("enforce/kernel_client.py", "from gatekeeper.kernel.protocol import encode"),
        ("kernel/main.py", "from gatekeeper.kernel import nft"),
        ("kernel/main.py", "import socket"),
        ("tls.py", "import ssl"),
    ],
)
def test_a_downward_import_is_not(tmp_path: Path, name: str, line: str) -> None:
    assert layering.upward_imports(planted(tmp_path, {name: f"{line}\n"})) == []


def test_a_new_subject_is_caught(tmp_path: Path) -> None:
    modules = planted(tmp_path, {"learner/bayes.py": "", "wire/sasl.py": "", "kernel/nft.py": ""})
    assert layering.unplaced_subjects(modules) == ["gatekeeper.learner.bayes"]


def test_a_circle_is_caught(tmp_path: Path) -> None:
    files = {
        "wire/__init__.py": "",
        "wire/smtp.py": "from gatekeeper.wire import imap\n",
        "wire/imap.py": "def f():\n    import gatekeeper.wire.smtp\n",
    }
    (offence,) = layering.import_cycles(planted(tmp_path, files))
    assert "gatekeeper.wire.smtp imports gatekeeper.wire.imap" in offence


@pytest.mark.parametrize(
    "text",
    [
        "import time\n",
        "from os import path\n",
        "import os.path as p\n",
        "def f():\n    import socket\n",
        "from logging import getLogger\n",
        "x = open('/etc/passwd')\n",
        "def f():\n    print(1)\n",
        "async def f():\n    pass\n",
    ],
)
@pytest.mark.parametrize("name", ["wire/sasl.py", "policy/rules.py"])
def test_an_impurity_is_caught(tmp_path: Path, name: str, text: str) -> None:
    assert len(layering.impurities(planted(tmp_path, {name: text}))) == 1
    assert layering.impurities(planted(tmp_path / "other", {"tls.py": text})) == []


def test_the_ceilings_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    tall = "def f():\n" + "    pass\n" * (layering.MAX_FUNCTION_LINES - 1)
    long = "# line\n" * layering.MAX_FILE_LINES
    files = {"tall.py": tall, "taller.py": tall + "    pass\n", "long.py": long}
    files |= {"longer.py": long + "# line\n", "inner.py": f"class C:\n    async {indented(tall)}"}
    offences = layering.overlong(planted(tmp_path, files))
    assert offences == ["gatekeeper.longer: 401 lines", "gatekeeper.taller:1: f has 51 lines"]


def indented(text: str) -> str:
    return text.replace("\n    ", "\n        ")


@pytest.mark.parametrize(
    ("text", "offences"),
    [
        ("", 1),
        ('"""M."""\ndef f(): ...\n', 1),
        ('"""M."""\nasync def f(): ...\n', 1),
        ('"""M."""\nclass C: ...\n', 1),
        ('"""M."""\nclass C:\n    """C."""\n    def f(self): ...\n', 1),
        ('"""M."""\ndef _f(): ...\nclass _C:\n    def f(self): ...\n', 0),
        ('"""M."""\nclass C:\n    """C."""\n    def __len__(self): ...\n', 0),
        ('"""M."""\ndef f():\n    """F."""\n    def g(): ...\n', 0),
    ],
)
def test_a_missing_docstring_is_caught(tmp_path: Path, text: str, offences: int) -> None:
    assert len(layering.undocumented(planted(tmp_path, {"m.py": text}))) == offences


@pytest.mark.parametrize(
    "check",
    [
        layering.unplaced_subjects,
        layering.upward_imports,
        layering.import_cycles,
        layering.impurities,
        layering.overlong,
        layering.undocumented,
    ],
)
def test_nothing_is_wrong_with_nothing(check: Callable[[list[Module]], list[str]]) -> None:
    assert check([]) == []
