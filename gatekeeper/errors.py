"""The one exception tree.

Exceptions are for our own faults and for the outside world failing; bytes from a peer never
raise, they become a `Violation` event. Every adapter translates library errors here, once.

    GatekeeperError
    ├── ConfigError            what the operator wrote cannot be used (exit 78)
    ├── PermissionMissing      a right or capability is not there (exit 77)
    ├── NotRunning             no guard answers on the control socket (exit 3)
    ├── ChannelError           a socket of a session is of no more use
    │   ├── PeerClosed         orderly end where more was owed
    │   ├── PeerBroken         reset, TLS failure, or an end without close_notify mid-message
    │   └── DeadlineExceeded   the peer was too slow for this phase
    ├── BackendUnavailable     no backend could be reached, or it broke its protocol
    ├── ResolverError          DNS gave no answer
    │   ├── ResolverSilent     no server said anything
    │   └── ResolverOverloaded it was not asked: too many questions are under way
    ├── EnforcerError          the kernel process or the kernel refused
    ├── DeliveryError          a notice could not be handed over
    ├── WebUnavailable         the HTTP server has no socket to listen on
    └── StoreError             durable state could not be read or written
"""


class GatekeeperError(Exception):
    """Root of everything this package raises on purpose."""


class ConfigError(GatekeeperError):
    """The configuration, or a file it names, cannot be used."""


class PermissionMissing(GatekeeperError):
    """A right the work needs is not held."""


class NotRunning(GatekeeperError):
    """No guard answers where it should."""


class ChannelError(GatekeeperError):
    """A session's socket is of no more use."""


class PeerClosed(ChannelError):
    """The peer ended the stream in order, where more was owed."""


class PeerBroken(ChannelError):
    """The peer reset the connection or broke TLS."""


class DeadlineExceeded(ChannelError):
    """The peer was too slow for this phase of the session."""


class BackendUnavailable(GatekeeperError):
    """No backend could be reached, or the backend broke its own protocol.

    `farewell` is what it said last, fit to be passed on to the client; usually nothing.
    """

    def __init__(self, text: str, farewell: bytes = b"") -> None:
        super().__init__(text)
        self.farewell = farewell


class ResolverError(GatekeeperError):
    """DNS gave no answer: a server's failure, or none that answered in time.

    The text never holds the name that was asked for: it may hold a key.
    """


class ResolverSilent(ResolverError):
    """All servers were asked and none said anything in its time: they may not run."""


class ResolverOverloaded(ResolverError):
    """Nobody was asked, because too much is being asked or nobody answers anything: it says nothing
    of the name."""


class EnforcerError(GatekeeperError):
    """The kernel process, or the kernel itself, refused or is gone."""


class EnforcerFull(EnforcerError):
    """There is no room for a ban of this set; others may have."""


class DeliveryError(GatekeeperError):
    """The operator's program or web service did not take a notice. The text holds no secret."""


class WebUnavailable(GatekeeperError):
    """The HTTP server has no socket to listen on. Mail goes on without it."""


class StoreError(GatekeeperError):
    """Durable state could not be read or written."""
