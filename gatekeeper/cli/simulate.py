"""`gatekeeper simulate`: the policy over a stream of events, in virtual time."""

import gc
import sys
from pathlib import Path
from typing import BinaryIO, Final

import click

_GC_THRESHOLD: Final = 20_000  # as in a running guard: little of what an event makes is cyclic


@click.command()
@click.argument("file", metavar="[FILE|-]", type=click.File("rb"), default="-")
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help="Judge by this configuration file, instead of by the defaults.",
)
@click.option("--summary", is_flag=True, help="End with one line of totals.")
def simulate(file: BinaryIO, config: Path | None, summary: bool) -> None:
    """Try the policy: a decision for each event of FILE or standard input.

    Events are JSON, one object a line, in the order of t, which is seconds. Other keys are carried
    through. The backend's word (valid, exists) is heard only where the policy asks for it.

    \b
    {"t": 0, "kind": "auth", "ip": "192.0.2.7", "account": "ann",
     "password": "x", "protocol": "imap", "valid": false}   or "submission"
    {"t": 1, "kind": "rcpt", "ip": "192.0.2.7", "account": null,
     "recipient": "bob@example.org", "exists": true}        null: port 25
    {"t": 2, "kind": "connect", "ip": "192.0.2.7"}
    {"t": 3, "kind": "outage", "on": true}                  until "on": false

    A decision's action is pass, delay, defer, reject, decoy or drop. An example:

    \b
    echo '{"t": 0, "kind": "connect", "ip": "192.0.2.7"}' | gatekeeper simulate
    """
    from gatekeeper.cli.simulation_lines import decide, encoded
    from gatekeeper.cli.simulation_totals import Totals
    from gatekeeper.simulation import DEFAULTS, Simulation

    settings = DEFAULTS
    if config is not None:
        from gatekeeper.config import load

        settings = load(config)
    totals = Totals()
    simulation = Simulation(settings, on_verdict=totals.note_verdict)
    out = sys.stdout.buffer
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 20)
    decide(file, out, simulation.feed, totals if summary else None)
    if summary:
        out.write(encoded({"summary": totals.record(simulation.guard.would_have)}))
        out.flush()
        click.echo(totals.sentence(), err=True)
