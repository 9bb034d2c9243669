"""Reads the syntax trees of a package and says where they break the rules of the house.

Nothing is imported: a module that would not even load is still read. Every checker takes modules
and returns offences as text, one line each, empty where all is well.
"""

import ast
import graphlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGE: Final = "gatekeeper"

# Each subject (a module or a package right under `gatekeeper`) and its level. Imports point to
# lower levels; within a level see `CLOSED_LEVELS`. A new subject is given its place here.
LEVELS: Final = {
    "": 0,  # gatekeeper/__init__.py: the version
    "errors": 0,
    "events": 0,
    "findings": 0,
    "verdict": 0,
    "ban": 0,
    "prefix": 0,
    "records": 0,
    "remembered": 0,
    "secret": 0,
    "settings": 0,
    "wire": 1,
    "policy": 1,
    "abc": 2,
    "channel": 2,
    "plain_files": 2,
    "authorities": 2,
    "readiness": 2,
    "store": 3,
    "enforce": 3,
    "tls": 3,
    "upstream": 3,
    "log": 3,
    "account_secret": 3,
    "host": 3,
    "stuck": 3,
    "systemd": 3,
    "dnsbl": 3,
    "envelope": 3,
    "domains_tree": 3,
    "resolver": 3,
    "reverse_dns": 3,
    "unix_sockets": 3,
    "web": 4,
    "probes": 4,
    "ledger": 4,
    "banning": 4,
    "ban_verbs": 4,
    "breaker_watch": 4,
    "clock_watch": 4,
    "guard": 4,
    "pausing": 4,
    "safety_verbs": 4,
    "health": 4,
    "idling": 4,
    "propagation": 4,
    "reconciling": 4,
    "resets": 4,
    "remembering": 4,
    "session": 4,
    "sessions": 4,
    "relay": 4,
    "server": 4,
    "chronicle": 4,
    "tally": 4,
    "control": 4,
    "control_verbs": 4,
    "control_words": 4,
    "account_verbs": 4,
    "explain": 4,
    "explain_ticket": 4,
    "hooks": 4,
    "journal": 4,
    "opinions": 4,
    "lately": 4,
    "series": 4,
    "tickets": 4,
    "messengers": 3,
    "notices": 4,
    "notify": 4,
    "notify_verbs": 4,
    "certificate_watch": 4,
    "backend_watch": 4,
    "simulation": 4,
    "check": 5,
    "config": 5,
    "listening": 5,
    "reloading": 5,
    "inquiries": 5,
    "startup": 5,
    "telling": 5,
    "enforcement": 5,
    "console": 5,
    "overview": 5,
    "status_page": 5,
    "web_routes": 5,
    "metrics": 5,
    "durable": 5,
    "hooking": 5,
    "app": 5,
    "cli": 5,
    "__main__": 5,
}
CLOSED_LEVELS: Final = frozenset({1, 3})  # their subjects never import each other
KERNEL: Final = "kernel"  # apart: stdlib and itself only
# The words of the privileged process's socket and command line, and what the keeper of transparent
# mode, which has the same rights, does in the kernel; and the one who speaks and does them.
KERNEL_DOORS: Final = frozenset(
    f"{PACKAGE}.kernel.{name}" for name in ("protocol", "options", "dial", "rights", "transparent")
)
KERNEL_CALLER: Final = "enforce"

PURE_SUBJECTS: Final = frozenset({"wire", "policy"})
IMPURE_MODULES: Final = frozenset(
    {"asyncio", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "random"}
    | {"secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl"}
    | {"subprocess", "sys", "tempfile", "threading", "time", "trio", "uuid"}
)
IMPURE_BUILTINS: Final = frozenset({"__import__", "breakpoint", "input", "open", "print"})

MAX_FILE_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 50

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, its text and its tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def subject(self) -> str:
        """The part of the name right under the package, empty for the package itself."""
        return subject_of(self.name)


@dataclass(frozen=True)
class Import:
    """What `module` imports in one line of it: `target` is a dotted module name."""

    module: Module
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.module.name}:{self.line}: imports {self.target}"


def read_modules(root: Path) -> list[Module]:
    """Every module under `root`, the directory of the package."""
    modules = []
    for path in sorted(root.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(root).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        text = path.read_text(encoding="utf-8")
        modules.append(Module(".".join(parts), text, ast.parse(text, str(path))))
    return modules


def subject_of(name: str) -> str:
    """`wire` for `gatekeeper.wire.sasl`."""
    return name.partition(".")[2].partition(".")[0]


def imports_of(module: Module, known: frozenset[str]) -> Iterator[Import]:
    """Every import of `module`, late ones and those for types included.

    `from gatekeeper.wire import sasl` imports the module `gatekeeper.wire.sasl` where that is
    `known`. A relative import keeps its dots: no rule allows one.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(module, node.lineno, inner if inner in known else base)


def unplaced_subjects(modules: Iterable[Module]) -> list[str]:
    """Subjects that `LEVELS` does not place."""
    return sorted({m.name for m in modules if m.subject not in LEVELS and m.subject != KERNEL})


def upward_imports(modules: Iterable[Module]) -> list[str]:
    """Imports of our own modules that do not point downward."""
    modules = list(modules)
    known = frozenset(module.name for module in modules)
    return [
        str(import_)
        for module in modules
        for import_ in imports_of(module, known)
        if not _import_allowed(import_)
    ]


def _import_allowed(import_: Import) -> bool:
    top = import_.target.partition(".")[0]
    importer, imported = import_.module.subject, subject_of(import_.target)
    if importer == KERNEL:
        return top in sys.stdlib_module_names or (top == PACKAGE and imported == KERNEL)
    if top != PACKAGE:
        return top != ""
    if imported == KERNEL:
        return import_.target in KERNEL_DOORS and importer == KERNEL_CALLER
    if importer not in LEVELS or imported not in LEVELS:
        return False
    if LEVELS[importer] == LEVELS[imported]:
        return importer == imported or LEVELS[importer] not in CLOSED_LEVELS
    return LEVELS[importer] > LEVELS[imported]


def import_cycles(modules: Iterable[Module]) -> list[str]:
    """The first circle of modules that import each other, if there is one."""
    modules = list(modules)
    known = frozenset(module.name for module in modules)
    graph = {
        module.name: {i.target for i in imports_of(module, known) if i.target in known}
        for module in modules
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" imports ".join(reversed(error.args[1]))]
    return []


def impurities(modules: Iterable[Module]) -> list[str]:
    """I/O, clocks, randomness and logging where bytes go in and records come out."""
    offences = []
    for module in modules:
        if module.subject in PURE_SUBJECTS:
            offences += [
                str(import_)
                for import_ in imports_of(module, frozenset())
                if import_.target.partition(".")[0] in IMPURE_MODULES
            ]
            offences += [
                f"{module.name}:{node.lineno}: {ast.unparse(node).splitlines()[0]}"
                for node in ast.walk(module.tree)
                if isinstance(node, ast.AsyncFunctionDef | ast.Call) and _is_impure(node)
            ]
    return offences


def _is_impure(node: ast.AsyncFunctionDef | ast.Call) -> bool:
    if isinstance(node, ast.AsyncFunctionDef):
        return True
    return isinstance(node.func, ast.Name) and node.func.id in IMPURE_BUILTINS


def overlong(modules: Iterable[Module]) -> list[str]:
    """Files and functions over their ceilings; a function counts from `def`, docstring included."""
    offences = []
    for module in modules:
        lines = len(module.text.splitlines())
        if lines > MAX_FILE_LINES:
            offences.append(f"{module.name}: {lines} lines")
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    offences.append(f"{module.name}:{node.lineno}: {node.name} has {lines} lines")
    return offences


def undocumented(modules: Iterable[Module]) -> list[str]:
    """Modules, and their public classes, functions and methods, without a docstring."""
    offences = []
    for module in modules:
        if not ast.get_docstring(module.tree):
            offences.append(f"{module.name}: the module")
        offences += [
            f"{module.name}:{node.lineno}: {node.name}"
            for node in _public(module.tree)
            if not ast.get_docstring(node)
        ]
    return offences


def _public(scope: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | Function]:
    """Public definitions of a module, and those of its public classes."""
    for node in scope.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)
