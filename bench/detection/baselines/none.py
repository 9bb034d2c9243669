"""No guard at all: what the backend would see by itself."""

from bench.detection.baselines.log_reader import LogReader, Service
from bench.detection.seam import Event


class Nobody(LogReader):
    """Forwards everything and forgets it."""

    def banned(self, now: float, ip: str, service: Service) -> bool:
        """Never."""
        return False

    def failed(self, now: float, ip: str, service: Service, event: Event) -> float | None:
        """No one reads the log."""
        return None
