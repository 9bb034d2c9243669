"""Hooks files, loaded: each is run once, in a module of its own; its hooks are found by name."""

import contextlib
import importlib.util
import inspect
import itertools
import os
import pwd
import sys
import traceback
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Final, NoReturn

from gatekeeper.errors import ConfigError
from gatekeeper.hooks.answers import one_line
from gatekeeper.hooks.function import EVENTS, HookFunction, Manner
from gatekeeper.hooks.ownership import distrust
from gatekeeper.hooks.words import is_quick
from gatekeeper.settings import Settings

MAX_FILE_OCTETS: Final = 1024 * 1024  # a program, not its data
_PREFIX: Final = "gatekeeper_hooks_"
_generation: Final = itertools.count(1)


class HooksError(ConfigError):
    """A hooks file cannot be used: one line with its path, the line in it where there is one, and
    why."""

    def __init__(self, path: Path, line: int, why: str) -> None:
        self.path = path
        self.line = line  # 0 where no line is at fault
        self.why = one_line(why)
        super().__init__(f"{path}:{line}: {self.why}" if line else f"{path}: {self.why}")


def hooks_of(settings: Settings) -> tuple[HookFunction, ...]:
    """The hooks of the configured files. Raises `HooksError`."""
    return load_files(settings.hooks.files, owners_of(settings)) if settings.hooks.files else ()


def owners_of(settings: Settings) -> frozenset[int]:
    """The uids that may own hooks files: root's, that of whoever owns the configuration, and this
    process's; but not that of the guard's own user."""
    owners = {os.geteuid()}
    with contextlib.suppress(OSError, IndexError):
        owners.add(settings.files[0].stat().st_uid)
    with contextlib.suppress(KeyError):
        owners.discard(pwd.getpwnam(settings.user).pw_uid)
    return frozenset(owners | {0})


def load_files(paths: Sequence[Path], owners: Collection[int]) -> tuple[HookFunction, ...]:
    """The hooks of these files, in their order; they are run for it, so this may take a while.

    Raises `HooksError` for a file that cannot be used, or where it is several `ConfigError` with a
    line for each; nothing of the others is kept then.
    """
    names = [path.name for path in paths]
    modules: list[str] = []
    hooks: list[HookFunction] = []
    failures: list[HooksError] = []
    try:
        for path in paths:
            shown = path.name if names.count(path.name) == 1 else str(path)
            try:
                hooks += _hooks(path, shown, _run(path, owners, modules))
            except HooksError as error:
                failures.append(error)
        if len(failures) > 1:
            raise ConfigError("\n".join(map(str, failures)))
        if failures:
            raise failures[0]
    except BaseException:
        for name in modules:
            sys.modules.pop(name, None)
        raise
    return tuple(hooks)


def _run(path: Path, owners: Collection[int], modules: list[str]) -> ModuleType:
    """The module of a file, run. Its name is noted in `modules`: it stays in `sys.modules`, where
    dataclasses and pickles look for it."""
    source = _read(path, owners)
    name = f"{_PREFIX}{next(_generation)}_{path.stem}"
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    assert spec is not None, "a spec without a loader needs none"
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    try:
        code = compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise HooksError(path, error.lineno or 0, f"syntax error: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise HooksError(path, 0, f"is no Python: {error}") from None
    sys.modules[name] = module
    modules.append(name)
    try:
        exec(code, module.__dict__)  # noqa: S102  what this is for; `_read` has seen who wrote it
    except BaseException as error:  # noqa: ASYNC103  SystemExit too: no file ends the guard
        _blame(path, error)
    return module


def _blame(path: Path, error: BaseException) -> NoReturn:
    """Tell of what a file raised while it was run, at the last line of its own."""
    raise HooksError(path, line_of(path, error), last_line(error)) from None


def line_of(path: Path, error: BaseException) -> int:
    """The last line of a file that an exception came through, 0 where it came through none."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def last_line(error: BaseException) -> str:
    """The last line of an exception's traceback: its class and its text."""
    try:
        return one_line(traceback.format_exception_only(error)[-1])
    except Exception:  # an exception of the operator's own that cannot be printed
        return type(error).__name__


def _read(path: Path, owners: Collection[int]) -> bytes:
    """A file's octets, where it can be trusted: seen and read through one descriptor."""
    try:
        # A pipe in its place must not be waited for.
        with open(path, "rb", opener=_open_at_once) as file:
            why = distrust(path, os.fstat(file.fileno()), owners)
            if why:
                raise HooksError(path, 0, why)
            source = file.read(MAX_FILE_OCTETS + 1)
    except OSError as error:
        raise HooksError(path, 0, error.strerror or type(error).__name__) from None
    if len(source) > MAX_FILE_OCTETS:
        raise HooksError(path, 0, f"is longer than {MAX_FILE_OCTETS // 1024} KiB")
    return source


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _hooks(path: Path, shown: str, module: ModuleType) -> Iterator[HookFunction]:
    found = [name for name in EVENTS if name in module.__dict__]
    if not found:
        raise HooksError(path, 0, f"has none of the functions {', '.join(EVENTS)}")
    for name in found:
        function = module.__dict__[name]
        if not isinstance(function, FunctionType):
            raise HooksError(path, 0, f"{name} is {type(function).__name__}, not a function")
        line = function.__code__.co_firstlineno
        yield HookFunction(
            label=f"{shown}:{name}",
            path=path,
            call=function,
            event=EVENTS[name],
            manner=_manner(path, line, name, function),
            takes_context=_takes_context(path, line, name, function),
        )


def _manner(path: Path, line: int, name: str, function: FunctionType) -> Manner:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise HooksError(path, line, f"{name} yields; a hook returns its answer")
    if not inspect.iscoroutinefunction(function):
        return Manner.QUICK if is_quick(function) else Manner.THREAD
    if is_quick(function):
        raise HooksError(path, line, f"{name}: quick is for plain functions, not async ones")
    return Manner.TASK


def _takes_context(path: Path, line: int, name: str, function: FunctionType) -> bool:
    """Whether it takes three arguments; two are enough."""
    signature = inspect.signature(function)
    for count in (3, 2):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 3
    wants = f"it takes {signature}"
    raise HooksError(path, line, f"{name} is called with (event, facts, context); {wants}")
