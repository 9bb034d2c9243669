"""`gatekeeper man` and `gatekeeper completion`: what is installed beside the program.

Manual pages are made of the commands' own help and of the reference of the configuration, so they
cannot say what the program does not.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from gatekeeper import __version__

_NOT_ROFF: Final = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
_CODE: Final = re.compile(r"`([^`]+)`")
_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_AS_IT_IS: Final = "\b"  # click's mark for a paragraph whose lines stay
_SHELLS: Final = ("bash", "zsh", "fish")


@click.command()
@click.option(
    "--to",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write all pages below this directory, as man1/*.1 and man5/*.5.",
)
@click.pass_context
def man(ctx: click.Context, directory: Path | None) -> None:
    """Print the manual page of gatekeeper, or write all pages."""
    root = ctx.find_root()
    pages = dict(_pages(root.command))
    if directory is None:
        click.echo(pages["gatekeeper.1"], nl=False)
        return
    for name, page in pages.items():
        path = directory / f"man{name[-1]}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    click.echo(f"{directory}: {len(pages)} pages")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands and options.

    bash: gatekeeper completion bash > /etc/bash_completion.d/gatekeeper
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows the shells we offer"
    script = found(ctx.find_root().command, {}, "gatekeeper", "_GATEKEEPER_COMPLETE").source()
    click.echo(script)


def _pages(root: click.Command) -> Iterator[tuple[str, str]]:
    """Every page by its file's name."""
    for words, command in _commands(root, ("gatekeeper",)):
        yield f"{'-'.join(words)}.1", _command_page(words, command)
    yield "gatekeeper.toml.5", _configuration_page()


def _commands(
    command: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            if not inner.hidden:
                yield from _commands(inner, (*words, name))


def _command_page(words: tuple[str, ...], command: click.Command) -> str:
    name = "-".join(words)
    ctx = click.Context(command, info_name=" ".join(words))
    usage = " ".join(command.collect_usage_pieces(ctx))
    first, _, rest = (command.help or "").partition("\n\n")
    lines = [
        *_heading(name, "1"),
        ".SH NAME",
        f"{_roff(name)} \\- {_roff(_one_line(first).rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_roff(' '.join(words))}",
        _roff(usage),
        ".SH DESCRIPTION",
        _roff(_one_line(first)),
        *_paragraphs(rest),
        *_options(command, ctx),
        *_inner(words, command),
        *_see_also(words),
    ]
    return "\n".join(lines) + "\n"


def _options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    options = (one for one in command.get_params(ctx) if isinstance(one, click.Option))
    records = [one for one in (option.get_help_record(ctx) for option in options) if one]
    if records:
        yield ".SH OPTIONS"
    for flags, text in records:
        yield ".TP"
        yield f".B {_roff(flags)}"
        yield _roff(_one_line(text)) or "\\&"


def _inner(words: tuple[str, ...], command: click.Command) -> Iterator[str]:
    if not isinstance(command, click.Group):
        return
    yield ".SH COMMANDS"
    for name, inner in sorted(command.commands.items()):
        if not inner.hidden:
            yield ".TP"
            yield f".BR {_roff('-'.join((*words, name)))} (1)"
            yield _roff(inner.get_short_help_str(limit=200))


def _see_also(words: tuple[str, ...]) -> Iterator[str]:
    yield ".SH SEE ALSO"
    if len(words) > 1:
        yield f".BR {_roff('-'.join(words[:-1]))} (1),"
    yield ".BR gatekeeper.toml (5),"
    yield ".BR nft (8)"


def _configuration_page() -> str:
    from gatekeeper.config.describing import reference

    lines = [
        *_heading("gatekeeper.toml", "5"),
        ".SH NAME",
        "gatekeeper.toml \\- configuration of gatekeeper",
        ".SH SYNOPSIS",
        ".I /etc/gatekeeper/gatekeeper.toml",
        ".br",
        ".I /etc/gatekeeper/conf.d/*.toml",
        ".SH DESCRIPTION",
        *_from_markdown(reference().partition("\n\n")[2]),
        ".SH SEE ALSO",
        ".BR gatekeeper (1)",
    ]
    return "\n".join(lines) + "\n"


def _from_markdown(text: str) -> Iterator[str]:
    """The Markdown that the reference is written in: headings, tables, lists, code, paragraphs."""
    in_code = blank = False
    headed = True
    for line in text.splitlines():
        if not line and not in_code:
            blank = True
            continue
        if blank and not headed and not line.startswith(("#", "|", "```")):
            yield ".PP"
        blank = headed = False
        if line.startswith("```"):
            yield ".fi" if in_code else ".nf"
            in_code = not in_code
        elif in_code:
            yield _roff(line) or "\\&"
        elif line.startswith("## "):
            yield f".SH {_roff(line[3:].replace('`', ''))}"
            headed = True
            continue
        elif line.startswith("|---"):
            continue
        elif line.startswith("| "):
            yield from _row([cell.strip() for cell in line.strip("|").split("|")])
        else:
            yield _words(line)


def _row(cells: list[str]) -> Iterator[str]:
    """A row of a table as an entry: its first cell, then the others. Headings have no code."""
    if not cells[0].startswith("`") and cells[0] in {"key", "rule", "kind"}:
        return
    name, *details, meaning = cells
    shown = ", default ".join(filter(None, details))
    yield ".TP"
    yield f".B {_words(name)}"
    if shown:
        yield f"{_words(shown)}:"
    yield _words(meaning) or "\\&"


def _words(text: str) -> str:
    return _roff(_CODE.sub(r"\1", _LINK.sub(r"\1", text)))


def _heading(name: str, section: str) -> Iterator[str]:
    yield f'.TH "{_roff(name.upper())}" {section} "" "gatekeeper {__version__}" "gatekeeper"'


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in filter(str.strip, text.split("\n\n")):
        yield ".PP"
        first, _, rest = paragraph.partition("\n")
        if first.strip() == _AS_IT_IS:
            yield ".nf"
            yield from (_roff(line) or "\\&" for line in rest.splitlines())
            yield ".fi"
        else:
            yield _roff(_one_line(paragraph))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _roff(text: str) -> str:
    """Text that roff takes as it is; a dot or an apostrophe at its beginning is no request."""
    shown = "".join(_NOT_ROFF.get(character, character) for character in text)
    return f"\\&{shown}" if shown.startswith((".", "\\(aq")) else shown
