"""`/healthz` and `/readyz`: how the guard is, for machines that ask every few seconds.

They are two because they are asked by two. Who restarts programs wants to know whether this one
lives: `/healthz` is 200 as long as the loop answers, for a database that is away is no better after
a restart; what is wrong stands in its text. Who sends connections here wants to know whether they
would be served: `/readyz` is 503 before the first and after the last accept, and while no backend
answers.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from http import HTTPStatus

from gatekeeper.web import Request, Response, Route, Routes


class Stage(Enum):
    """Where in its life the guard is."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Probes:
    """`troubles` gives the parts that fail, each with what is wrong; `away`, for each listener, why
    its backend does not answer, empty where it does."""

    def __init__(
        self,
        stage: Callable[[], Stage],
        troubles: Callable[[], Mapping[str, str]],
        away: Callable[[], Mapping[str, str]],
    ) -> None:
        self._stage = stage
        self._troubles = troubles
        self._away = away

    def routes(self) -> Routes:
        """The two paths."""
        return {"/healthz": Route(self._healthz), "/readyz": Route(self._readyz)}

    async def _healthz(self, _request: Request) -> Response:
        troubles = self._troubles()
        lines = [f"{part}: {why}" for part, why in troubles.items()]
        return Response.text("\n".join(["degraded" if lines else "ok", *lines, ""]))

    async def _readyz(self, request: Request) -> Response:
        """Ready where one of the listeners can serve; of `?listener=NAME` that one."""
        wanted = request.query.get("listener")
        away = self._away()
        if wanted is not None and wanted not in away:
            return Response.text("There is no such listener\n", HTTPStatus.NOT_FOUND)
        stage = self._stage()
        if stage is not Stage.SERVING:
            return _not_ready(stage.value)
        reasons = list(away.values()) if wanted is None else [away[wanted]]
        if all(reasons):
            return _not_ready("\n".join(dict.fromkeys(reasons)))
        return Response.text("ready\n")


def _not_ready(why: str) -> Response:
    return Response.text(f"{why}\n", HTTPStatus.SERVICE_UNAVAILABLE)
