"""What a page knows of the place at which it is shown: the routes, the visitor's rights, and how links are built.

Nothing here needs a web framework.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote, urlencode

from msgspec import Struct

ROUTES: Mapping[str, str] = {
    "overview": "/",
    "workers": "/workers",
    "find": "/find",
    "events": "/events",
    "static": "/static/{hash}/{name}",
    "metrics": "/metrics",
    "livez": "/livez",
    "readyz": "/readyz",
    "group": "/q/{queue}/{group}",
    "failures": "/q/{queue}/{group}/failures",
    "statistics": "/q/{queue}/{group}/statistics",
    "schedules": "/q/{queue}/{group}/schedules",
    "limits": "/q/{queue}/{group}/limits",
    "flows": "/q/{queue}/{group}/flows",
    "flow": "/q/{queue}/{group}/flows/{id}",
    "do": "/q/{queue}/{group}/do/{action}",
    "tasks": "/q/{queue}/{group}/{place}",
    "task": "/t/{queue}/{group}/{id}",
    "task_body": "/t/{queue}/{group}/{id}/body",
    "task_result": "/t/{queue}/{group}/{id}/result",
    "task_events": "/t/{queue}/{group}/{id}/events",
    "api_queues": "/api/v1/queues",
    "api_workers": "/api/v1/workers",
    "api_group": "/api/v1/queues/{queue}/{group}",
    "api_failures": "/api/v1/queues/{queue}/{group}/failures",
    "api_statistics": "/api/v1/queues/{queue}/{group}/statistics",
    "api_schedules": "/api/v1/queues/{queue}/{group}/schedules",
    "api_limits": "/api/v1/queues/{queue}/{group}/limits",
    "api_do": "/api/v1/queues/{queue}/{group}/do/{action}",
    "api_task": "/api/v1/queues/{queue}/{group}/tasks/{id}",
    "api_tasks": "/api/v1/queues/{queue}/{group}/{place}",
}
"""The paths of the routes by name. If two match, the first one is used."""

_PARAMETER = re.compile(r"\{(\w+)\}")
_PLAIN = re.compile(r"[^A-Za-z0-9_.:@-]")
_ENCODED = re.compile(r"((?:~[0-9A-F]{2})+)")


def encode(text: str) -> str:
    """Return a text as one segment of a path: ``~`` and two digits for a byte that has a meaning in a path, since
    servers decode percent signs before they look for slashes."""
    if set(text) <= {"."}:  # a browser would take it for a folder
        return "".join("~2E" for _ in text) or "~"
    return _PLAIN.sub(lambda found: "".join(f"~{byte:02X}" for byte in found[0].encode("utf-8", "replace")), text)


def decode(segment: str) -> str:
    """Undo `encode`. A segment that it did not make is returned as it is."""
    if segment == "~":
        return ""
    return _ENCODED.sub(lambda found: bytes.fromhex(found[0].replace("~", "")).decode("utf-8", "replace"), segment)


class Page(Struct, frozen=True):
    """A page to be rendered: the name of a template, and its variables."""

    template: str
    context: Mapping[str, object]
    title: str = ""


class Site(Struct, frozen=True):
    """One request, as a page sees it."""

    root: str
    """The path below which the dashboard is mounted, without a slash at its end."""
    route: str
    """The name of the route that is shown."""
    here: str
    """The path and the query of this page below `root`, to come back to after an action."""
    title: str
    badge: str
    links: Sequence[tuple[str, str]]
    """Links of the application: labels and URLs."""
    refresh: int
    """How often the numbers are looked at again, in seconds."""
    events: str
    """The URL of the stream of changes of this page; empty if it has none."""
    may: frozenset[str]
    """The actions that this visitor may do."""
    user: str
    """The name of the visitor; empty if it is not known."""
    queues: Sequence[tuple[str, str]]
    """All queues of the dashboard with their groups."""
    notice: str
    """What the last action did, in one line; empty if there was none."""
    version: str
    asset: Callable[[str], str]
    """Returns the URL of a file in ``static/``, with its hash."""

    def url(self, route: str, /, **values: object) -> str:
        """Return the URL of a route. Parameters that are not part of the path become the query; None and "" are left
        out."""
        return link(self.root, route, **values)


def link(root: str, route: str, /, **values: object) -> str:
    """Return the URL of a route below `root`, as `Site.url` does."""
    path = _PARAMETER.sub(lambda found: encode(str(values.pop(found[1]))), ROUTES[route])
    query = {name: value for name, value in values.items() if value is not None and value != ""}
    return f"{quote(root)}{path}" + (f"?{urlencode(query, doseq=True, errors='replace')}" if query else "")
