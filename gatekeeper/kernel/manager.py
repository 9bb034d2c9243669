"""The service manager, who wants to hear that the process serves (sd_notify(3)).

The socket is connected before the process is confined: afterwards there is no way to make one.
"""

import contextlib
import os
import socket


class Manager:
    """Who started the process; nobody is told where NOTIFY_SOCKET names none."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        address = os.environ.pop("NOTIFY_SOCKET", "")
        if not address:
            return
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError:  # it is not worth ending for
            sock.close()
        else:
            self._socket = sock

    def ready(self) -> None:
        """The table is loaded and questions are answered. Said once by each child, which has the
        socket from its parent. Never raises."""
        if self._socket is not None:
            with self._socket, contextlib.suppress(OSError):
                self._socket.send(b"READY=1")
            self._socket = None
