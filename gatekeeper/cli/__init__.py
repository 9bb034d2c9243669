"""The command line: `gatekeeper run | check | ban | account | explain | who | kick | status | …`.

Commands import what they need when they are called, so that `gatekeeper ban add` in an incident
starts at once. Exit codes are the operator's contract and are given in one place, `Commands`.
"""

import errno
import os
from pathlib import Path
from typing import Any, Final

import click

from gatekeeper import __version__
from gatekeeper.cli.accounts import account
from gatekeeper.cli.ban import ban
from gatekeeper.cli.ban_export import export
from gatekeeper.cli.config import config
from gatekeeper.cli.exits import FAILED, exit_code, say
from gatekeeper.cli.explain import explain
from gatekeeper.cli.hooks import hooks
from gatekeeper.cli.import_bans import crowdsec, fail2ban, list_
from gatekeeper.cli.import_logs import import_
from gatekeeper.cli.man import completion, man
from gatekeeper.cli.notify import notify
from gatekeeper.cli.options import config_option
from gatekeeper.cli.safety import breaker, pause, resume
from gatekeeper.cli.service import kernel_options, reload
from gatekeeper.cli.sessions import kick, status, who
from gatekeeper.cli.simulate import simulate
from gatekeeper.cli.top import top
from gatekeeper.cli.transparent import transparent
from gatekeeper.errors import GatekeeperError

__all__ = ["cli", "main"]

_BUG_ADVICE: Final = "this is a fault of gatekeeper; set GATEKEEPER_TRACE=1 to see where"


class Commands(click.Group):
    """The root of all commands: turns our exceptions into one line each and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  the library's own signature
        """Run the command. Click keeps its own errors: usage is 2, an interrupt is 1."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of a pipe is gone: click ends quietly
            ctx.exit(_told(error))


def _told(error: Exception) -> int:
    """Tell the operator of `error`; the exit code."""
    while isinstance(error, ExceptionGroup):  # Trio's nurseries: the first one caused the rest
        error = error.exceptions[0]
    if isinstance(error, GatekeeperError | OSError):
        for line in str(error).splitlines() or [type(error).__name__]:
            say(line)
        return exit_code(error)
    if os.environ.get("GATEKEEPER_TRACE"):
        raise error
    say(f"{type(error).__name__}: {error}".splitlines()[0])
    say(_BUG_ADVICE)
    return FAILED


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gatekeeper", message="%(prog)s %(version)s")
def cli() -> None:
    """A TLS-terminating SMTP and IMAP auth guard.

    Exit codes: 0 ok, 1 failed, 2 usage, 3 not found or not running, 77 no permission, 78 bad
    configuration.
    """


@cli.command()
@config_option
def run(config: Path) -> None:
    """Run the guard in the foreground.

    SIGHUP reads the configuration again (sessions live on), SIGTERM lets sessions end, then stops.
    """
    from gatekeeper import app
    from gatekeeper.config import load
    from gatekeeper.config.placing import placed
    from gatekeeper.errors import ConfigError

    settings = load(config)
    try:
        code = app.run(settings, config)
    except ConfigError as error:
        raise ConfigError(placed(str(error), config)) from error
    raise click.exceptions.Exit(code)


@cli.command()
@config_option
@click.option("--text-only", is_flag=True, help="Look at the text alone, not at this host.")
@click.option("--dns", "with_dns", is_flag=True, help="Ask each blocklist whether it works, too.")
@click.option("--no-relay-test", is_flag=True, help="Do not ask backends whether they relay.")
def check(config: Path, text_only: bool, with_dns: bool, no_relay_test: bool) -> None:
    """Check the configuration: everything wrong at once.

    First the text: unknown keys, wrong values, contradictions (exit 78). Then what it names on
    this host: certificates, ports, directories, backends, rights (exit 1 where one is an error).

    Each backend is asked, as a stranger would through the guard, whether it takes mail for a
    foreign domain; no mail is sent. In its log the stranger is relay-test.invalid.

    With --dns each list of [[dnsbl]] is asked about 127.0.0.2, which it must name, and 127.0.0.1,
    which it must not.
    """
    from gatekeeper.config import load

    settings = load(config)
    errors = 0
    if not text_only:
        from gatekeeper.check import Severity
        from gatekeeper.check import check as look
        from gatekeeper.config.placing import placed

        findings = look(settings, with_dns=with_dns, relay_test=not no_relay_test)
        if findings:
            click.echo(placed("\n".join(map(str, findings)), config))
        errors += sum(finding.severity is Severity.ERROR for finding in findings)
    if errors:
        say(f"{config}: {errors} error{'s' if errors > 1 else ''}")
        raise click.exceptions.Exit(FAILED)
    click.echo(f"{config}: ok")


cli.add_command(account)
cli.add_command(ban)
cli.add_command(explain)
cli.add_command(who)
cli.add_command(kick)
cli.add_command(pause)
cli.add_command(resume)
cli.add_command(breaker)
cli.add_command(status)
cli.add_command(top)
cli.add_command(notify)
cli.add_command(hooks)
cli.add_command(reload)
cli.add_command(kernel_options)
cli.add_command(import_)
import_.add_command(fail2ban)
import_.add_command(crowdsec)
import_.add_command(list_)
ban.add_command(export)
cli.add_command(config)
cli.add_command(man)
cli.add_command(completion)
cli.add_command(simulate)
cli.add_command(transparent)


def main() -> None:
    """The console script."""
    cli(prog_name="gatekeeper")
