"""Configuration: the operator's files as `Settings`, or everything wrong with them at once."""

from pathlib import Path
from typing import Final

from gatekeeper.config.building import build
from gatekeeper.config.checking import check_together
from gatekeeper.config.reading import Problem, read
from gatekeeper.config.sections import Section
from gatekeeper.errors import ConfigError
from gatekeeper.settings import Settings

MOST_LINES: Final = 1000  # that are told: nobody reads more, and a log has better to keep

__all__ = ["ConfigErrors", "Problem", "load", "run_dir"]


class ConfigErrors(ConfigError):
    """All that is wrong with a configuration, in the order of its files and lines."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:MOST_LINES]]
        if len(self.problems) > MOST_LINES:
            lines.append(f"and {len(self.problems) - MOST_LINES} more")
        super().__init__("\n".join(lines))


def load(path: Path) -> Settings:
    """The settings in `path` and `conf.d/*.toml` beside it.

    Raises `ConfigErrors` with every problem found: first of all files that are no TOML, and only
    when all can be read, of what they say. Raises `PermissionMissing` where a file may not be
    read. Looks at no file the configuration names; that is `gatekeeper.check`'s work.
    """
    problems: list[Problem] = []
    tree, files = read(path, problems)
    if not problems:
        top = Section(tree, "", problems)
        settings = build(top, files)
        check_together(settings, top)
        if not problems:
            return settings
    order = {file: index for index, file in enumerate(files)}
    last = len(order)  # the directory of drop-in files
    raise ConfigErrors(
        sorted(set(problems), key=lambda p: (order.get(p.file, last), p.line, p.text))
    )


def run_dir(path: Path) -> Path:
    """The `run_dir` of a configuration whose other keys may be wrong; the default where it does
    not say or cannot be read. It lets a client find the guard it talks to."""
    from gatekeeper.config import values
    from gatekeeper.errors import PermissionMissing

    default = Settings.__dataclass_fields__["run_dir"].default
    assert isinstance(default, Path)
    try:
        tree, _ = read(path, [])
    except PermissionMissing:
        return default
    return Section(tree, "", []).take("run_dir", values.path, default)
