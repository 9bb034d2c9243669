"""A program of the operator's, started for each notice.

It gets the notice on its standard input, nothing of this process's environment, and no descriptor:
what it writes is thrown away. One that takes too long is killed with all that it has started.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio

from gatekeeper.errors import DeliveryError

KILLED_S: Final = 2.0  # for a killed process to be gone; one in an uninterruptible wait is left
ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


class Program:
    """Implements `gatekeeper.abc.Messenger`."""

    name = "exec"

    def __init__(self, path: Path, deadline_s: float) -> None:
        self._path = path
        self._deadline_s = deadline_s

    async def send(self, body: bytes, *, patient: bool = True) -> None:
        """See `Messenger.send`. Success is an exit status of 0; nothing is tried again, since the
        program may have done half of its work."""
        try:
            process = await trio.lowlevel.open_process(
                [str(self._path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(ENVIRONMENT),
                cwd="/",
                start_new_session=True,  # to be killed as a whole
            )
        except OSError as error:
            raise DeliveryError(f"{self._path}: {error.strerror or error}") from error
        try:
            with trio.fail_after(self._deadline_s):
                status = await _converse(process, body)
        except trio.TooSlowError:
            raise DeliveryError(f"it took longer than {self._deadline_s:g} s") from None
        finally:
            await _end(process)  # noqa: ASYNC102  shielded, with a time-out, itself
        if status:
            raise DeliveryError(f"it was killed by signal {-status}" if status < 0
                                else f"it ended with status {status}")  # fmt: skip


async def _converse(process: trio.Process, body: bytes) -> int:
    assert process.stdin is not None, "it was opened with a pipe"
    async with process.stdin:
        with contextlib.suppress(trio.BrokenResourceError):  # it need not read
            await process.stdin.send_all(body)
    return await process.wait()


async def _end(process: trio.Process) -> None:
    """Nothing of the process is left, however it went."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the number is its own
    with trio.move_on_after(KILLED_S, shield=True):
        await process.wait()
