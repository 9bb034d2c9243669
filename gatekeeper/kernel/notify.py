"""Word to the service manager that the process serves (sd_notify(3)).

The socket is connected before the process is confined: afterwards there is no way to make one.
"""

import contextlib
import os
import socket


class Notice:
    """Where to say it; nowhere, if nobody asks in NOTIFY_SOCKET."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        address = os.environ.pop("NOTIFY_SOCKET", "")
        if not address:
            return
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError:  # it is the manager's loss
            sock.close()
        else:
            self._socket = sock

    def ready(self) -> None:
        """The table is loaded and questions are answered. Never raises."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(b"READY=1")
