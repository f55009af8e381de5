"""`Dashboard`, the application: its routes, and how a request is answered."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from ..client.queue import TaskQueue
from ..errors import ConfigurationError
from ..printable import quoted
from .access import Gate, Rule, with_headers
from .handlers import answer
from .reading import Reading
from .redacting import Redact
from .rendering import assets, environment
from .services import Queues, Services
from .site import ROUTES

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class Dashboard:
    """The dashboard of some queues, an ASGI application. It can be mounted below any path, and needs no start-up.

    Parameters:

    * `queues`: a `TaskQueue`, several, or a function that returns them, which is called at most once a minute.
    * `access`: what visitors may do: `Access.ALL`, `Access.READ`, `Access.NONE`, a set of actions such as
      ``{"retry", "pause"}``, or a function of the request that returns one of these. There is no default: the pages
      show arguments and tracebacks.
    * `redact`: a function of the name of a task and its arguments by parameter that returns those to show. Values with
      the name of a secret, such as ``password``, are hidden in any case.
    * `title`, and `badge`: a word beside it, such as ``production``.
    * `refresh`: how often numbers on open pages are updated, in seconds (1 to 60).
    * `base_links`: links of the application to show on each page: pairs of a label and a URL.
    """

    def __init__(
        self,
        queues: TaskQueue | Iterable[TaskQueue] | Callable[[], Iterable[TaskQueue]],
        *,
        access: Rule,
        redact: Redact | None = None,
        title: str = "",
        badge: str = "",
        refresh: int = 2,
        base_links: Iterable[tuple[str, str]] = (),
    ) -> None:
        if not isinstance(refresh, int) or not 1 <= refresh <= 60:
            raise ConfigurationError(f"refresh={quoted(refresh)} must be a whole number of seconds from 1 to 60")
        if redact is not None and not callable(redact):
            raise ConfigurationError(f"redact={quoted(redact)} must be a function of a task's name and its arguments")
        self._services = Services(
            gate=Gate(access),
            queues=Queues.of(queues),
            reading=Reading(redact),
            title=title or "pyxqueue",
            badge=badge,
            refresh=refresh,
            links=checked_links(base_links),
            assets=assets(),
            templates=environment(),
        )
        every = [*ROUTES.items(), ("missing", "/{rest:path}")]
        self._router = Router(
            [Route(path, _Endpoint(self._services, name)) for name, path in every], redirect_slashes=False
        )

    def __repr__(self) -> str:
        return f"<Dashboard {quoted(self._services.title)}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            root = scope.get("root_path", "").rstrip("/")
            path = scope["path"]
            below = path.removeprefix(root)
            scope = {**scope, "root_path": root, "path": f"{root}/{below.strip('/')}"}
            await self._router(scope, receive, with_headers(send))
        else:
            raise RuntimeError(f"a dashboard does not speak {scope['type']}")

    def wsgi(self) -> WSGIApplication:
        """Return the dashboard as a WSGI application, for Flask and Django; open pages then do not change by
        themselves. It needs the extra ``dashboard-wsgi``."""
        return Wsgi(self)

    async def aclose(self) -> None:
        """End the streams of open pages, and the threads. A process can also end without calling it."""
        self.close()

    def close(self) -> None:
        """`aclose`, to be called from a plain function in the thread of the event loop."""
        self._services.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


class _Endpoint:
    """The application of one route."""

    def __init__(self, services: Services, name: str) -> None:
        self._services, self._name = services, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await answer(self._services, self._name, Request(scope, receive))
        await response(scope, receive, send)


class Wsgi:
    """A dashboard for servers of WSGI. Its event loop begins with the first request: a server forks before that."""

    def __init__(self, dashboard: Dashboard) -> None:
        try:
            import a2wsgi  # noqa: F401, PLC0415 - only WSGI needs it
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                'a dashboard under WSGI needs a2wsgi: pip install "pyxqueue[dashboard-wsgi]"', name="a2wsgi"
            ) from error
        self._dashboard = dashboard
        self._made: tuple[int, WSGIApplication] | None = None
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                from a2wsgi import ASGIMiddleware  # noqa: PLC0415 - as above

                self._made = os.getpid(), cast("WSGIApplication", ASGIMiddleware(cast(Any, self._dashboard)))
        return self._made[1](environ, start_response)


def checked_links(given: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return links. Raises `ConfigurationError` for one that is not a pair, or that runs code in the browser."""
    links = []
    for one in given:
        if not (isinstance(one, tuple | list) and len(one) == 2 and all(isinstance(part, str) for part in one)):
            raise ConfigurationError(f"base_links= takes pairs of a label and a URL, not {quoted(one)}")
        label, url = one
        if not url.startswith(("/", "https://", "http://")):
            raise ConfigurationError(f"the link {quoted(label)} must begin with / or https://")
        links.append((label, url))
    return links
