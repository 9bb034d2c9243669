"""Options that several commands share."""

from pathlib import Path
from typing import Any, Final

import click

from gatekeeper.cli.client import SOCKET_NAME

DEFAULT_CONFIG: Final = Path("/etc/gatekeeper/gatekeeper.toml")

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The configuration file; conf.d/*.toml beside it is read too.",
)
output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print.",
)
_socket_option = click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="The guard's control socket, instead of the one in the configuration's run_dir.",
)


def guard_options(command: Any) -> Any:  # noqa: ANN401  a decorator of whatever click decorates
    """`--config` and `--socket`: which guard to talk to."""
    return config_option(_socket_option(command))


def socket_path(config: Path, socket: Path | None) -> Path:
    """The control socket these options mean."""
    if socket is not None:
        return socket
    from gatekeeper.config import run_dir

    return run_dir(config) / SOCKET_NAME


class Duration(click.ParamType[float]):
    """`10m`, `4h`, `7d`, `1h30m`: seconds."""

    name = "duration"

    def convert(
        self,
        value: Any,  # noqa: ANN401  the library's own signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Seconds of `value`; a usage error where it is none."""
        from gatekeeper.config.durations import parse_duration

        try:
            seconds = parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0:
            self.fail("must be more than 0", param, ctx)
        return seconds


class Network(click.ParamType[str]):
    """`IP` or `IP/LEN`, in its shortest form."""

    name = "ip[/len]"

    def convert(
        self,
        value: Any,  # noqa: ANN401  the library's own signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """The prefix in its usual spelling; a usage error where it is none."""
        from gatekeeper.prefix import Prefix

        try:
            return str(Prefix.parse(str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)
