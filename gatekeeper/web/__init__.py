"""A small HTTP/1.1 server (RFC 9112, h11) for what people and monitors read of a running guard.

How to add a page: write a function that takes a `Request` and returns a `Response`, and put it
under its path in the table that `gatekeeper.web_routes` builds:

    async def hello(request: Request) -> Response:
        return Response.text(f"hello {request.query.get('name', 'you')}\\n")

    routes = {"/hello": Route(hello)}

* A `Route` answers GET and HEAD unless its `methods` say otherwise, and takes no body unless
  `body_octets` says how much. HEAD is answered by the server from the handler's GET.
* `Response.json(data)` and `Response.html(text, policy)` are there besides `Response.text`. Each
  answer has strict headers (`messages.SECURE`); a response's own `headers` win over them.
* A body may be an async generator of octets: it is sent in chunks as they come, which is an event
  stream with `Response.events(generator)`. The generator is closed when the client leaves, when
  `STREAM_S` are over or when the guard ends, so clean up in `finally` and do not await there.
* A handler has `HANDLER_S`. What it raises is this program's fault: the client hears 500 and the
  log where it was. To refuse a request return a `Response` with another status.
* Host is checked before any handler (nobody's web page may reach this server through a name of its
  own), and where a method changes something, Origin as well. There is no CORS.

The server sees connections from this host alone (`[http] bind`), and still bounds each: how many
there are, how long a request's head is, and how long anything may take.
"""

from gatekeeper.web.connection import Site
from gatekeeper.web.messages import Method, Request, Response, Route, Routes
from gatekeeper.web.server import WebServer

__all__ = ["Method", "Request", "Response", "Route", "Routes", "Site", "WebServer"]
