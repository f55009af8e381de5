"""How requests are answered: `ENTRIES` has, for each route, the right that it needs, its method and its function."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import frozen
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.types import Send

from ..client.queue import TaskQueue
from ..client.result import changes_of
from ..errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    PyxqueueError,
    ResultTimeoutError,
    UnknownScheduleError,
    UnknownTaskError,
    UnknownWorkerError,
)
from ..ids import TaskId
from ..log import get_logger
from ..model.message import Message, Unreadable
from ..model.places import Place
from ..printable import printable, quoted
from . import api, pages
from .access import Action, Rights, cross_site, same_site_path, user_of
from .actions import ACTIONS, Done, Form
from .live import COMMENT, LIFE, sse
from .reading import MAX_ROWS, ROWS, bounded, checked_period, info_of, line
from .redacting import Redactor
from .rendering import html
from .services import Services
from .site import Page, Site, decode, link
from .threads import BusyError
from .values import ErrorView, Filters, GroupRow, TaskList, TaskView, WorkersView

log = get_logger("pyxqueue.dashboard")
audit = get_logger("pyxqueue.dashboard.audit")

MAX_FORM = 65_536
MAX_FIELDS = 1_100
_NO_QUEUE = "This dashboard does not have a queue and a group of these names."
_NOTICE = ("did", "n", "refused", "left")
_AUDITED = 100


class RefusedError(Exception):
    """A request that is refused or cannot be answered."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, dict(headers or {})


@frozen
class Visit:
    """One request of a visitor, whose rights are known."""

    services: Services
    route: str
    request: Request
    rights: Rights

    def query(self, name: str, limit: int = 500) -> str:
        """Return a parameter of the URL, of limited length; empty if it was not given."""
        return self.request.query_params.get(name, "")[:limit]

    def part(self, name: str) -> str:
        """Return a part of the path."""
        return decode(self.request.path_params[name])

    async def queue(self) -> TaskQueue:
        """Return the queue that the path names."""
        known = await self.services.run(self.services.queues.all)
        found = known.get((self.part("queue"), self.part("group")))
        if found is None:
            raise RefusedError(404, _NO_QUEUE)
        return found

    async def read(self, read: Callable[[], Any]) -> Any:
        return await self.services.run(read)

    @property
    def root(self) -> str:
        root: str = self.request.scope["root_path"]
        return root

    @property
    def is_api(self) -> bool:
        below: str = self.request.scope["path"].removeprefix(self.root)
        return self.route.startswith("api_") or (self.route == "missing" and below.startswith("/api/"))

    @property
    def streams(self) -> bool:
        """Whether an answer may be a stream of events."""
        return "wsgi_environ" not in self.request.scope


Handler = Callable[[Visit], Awaitable[Response]]


class Entry(Struct, frozen=True):
    """How a route is answered."""

    needs: Action | None
    """The right that the route needs; None if anybody may use it, because it shows nothing about the queues."""
    handler: Handler
    method: str = "GET"


async def answer(services: Services, route: str, request: Request) -> Response:
    """Answer a request; every error becomes a page, or JSON for the API."""
    visit = Visit(services, route, request, frozenset())
    try:
        entry = ENTRIES[route]
        if request.method != entry.method and not (entry.method == "GET" and request.method == "HEAD"):
            raise RefusedError(405, f"Here only {entry.method} has an effect.", {"allow": entry.method})
        if entry.needs is not None:
            visit = Visit(services, route, request, await services.gate.rights(request))
            if entry.needs not in visit.rights:
                raise RefusedError(403, "You may not see this.")
        return await entry.handler(visit)
    except Exception as error:
        refused = refusal(error)
        if refused.status == 500:
            log.exception("the dashboard could not answer %s %s", request.method, request.url.path)
        return await _error(visit, refused)


def refusal(error: Exception) -> RefusedError:
    """Return the response to a request that raised an error."""
    soon = {"retry-after": "5"}
    match error:
        case RefusedError():
            return error
        case BusyError():
            return RefusedError(503, "The dashboard is busy: the store answers slowly. Try again soon.", soon)
        case BrokerUnavailableError():
            text = line(Redactor(), str(error), 500)
            return RefusedError(503, text[:1].upper() + text[1:], soon)
        case BrokerError():
            return RefusedError(
                503, f"The store does not answer as it should: {line(Redactor(), str(error), 500)}", soon
            )
        case UnknownTaskError() | UnknownScheduleError() | UnknownWorkerError():
            return RefusedError(404, line(Redactor(), str(error), 500))
        case ConfigurationError():
            return RefusedError(400, line(Redactor(), str(error), 500))
        case PyxqueueError():
            return RefusedError(409, line(Redactor(), str(error), 500))
        case ClientDisconnect():
            return RefusedError(400, "The request ended early.")
    return RefusedError(500, "Something went wrong here. The log of the dashboard says what.")


TITLES = {400: "This is not understood", 403: "Not allowed", 404: "Not found", 405: "Not in this way",
          409: "Nothing was changed", 413: "Too large", 415: "This is not understood", 500: "Something went wrong",
          503: "Not available now"}  # fmt: skip


async def _error(visit: Visit, refused: RefusedError) -> Response:
    if visit.is_api:
        return JSONResponse({"error": refused.text}, refused.status, refused.headers)
    view = ErrorView(refused.status, TITLES.get(refused.status, "Error"), refused.text)
    site = _site(visit, ())
    body = html(visit.services.templates, pages.error(site, view), site)
    return HTMLResponse(body, refused.status, refused.headers)


def _site(visit: Visit, queues: Sequence[tuple[str, str]], events: str = "") -> Site:
    services, request = visit.services, visit.request
    query = [(name, value) for name, value in parse_qsl(request.url.query, max_num_fields=50, separator="&")
             if name not in _NOTICE] if len(request.url.query) < 4_096 else []  # fmt: skip
    path = request.url.path.removeprefix(visit.root) or "/"
    return Site(
        root=visit.root,
        route=visit.route,
        here=path + (f"?{urlencode(query)}" if query else ""),
        title=services.title,
        badge=services.badge,
        links=services.links,
        refresh=services.refresh,
        events=events if visit.streams else "",
        may=frozenset(str(right) for right in visit.rights) - {"read"},
        user=user_of(request),
        queues=queues,
        notice=_notice(visit),
        version=services.version,
        asset=lambda name: link(visit.root, "static", hash=services.assets[name].hash, name=name),
    )


DID = frozenset({"retried", "cancelled", "deleted", "paused", "resumed", "set", "reset", "enqueued", "ordered"})


def _notice(visit: Visit) -> str:
    """Return what the last action did. Only numbers come from the URL, so that no link can make the page say
    something else."""
    if (did := visit.query("did")) not in DID:
        return ""
    numbers = [
        bounded(visit.query(name), 0, 10**9) if visit.query(name) not in ("", "0") else 0 for name in _NOTICE[1:]
    ]
    return Done(numbers[0], did, refusals=numbers[1], left=bool(numbers[2])).text


async def _page(visit: Visit, page: Callable[[Site], Page], events: str = "") -> Response:
    names = list(await visit.services.run(visit.services.queues.all))
    site = _site(visit, names, events)
    return HTMLResponse(html(visit.services.templates, page(site), site))


# Pages


async def overview(visit: Visit) -> Response:
    queues = await visit.read(visit.services.queues.all)
    view = await visit.read(lambda: visit.services.reading.overview(list(queues.values()), stores=True))
    return await _page(visit, lambda site: pages.overview(site, view), link(visit.root, "events"))


async def group(visit: Visit) -> Response:
    queue = await visit.queue()
    view = await visit.read(lambda: visit.services.reading.group(queue))
    return await _page(visit, lambda site: pages.group(site, view), link(visit.root, "events"))


async def workers(visit: Visit) -> Response:
    view = await _workers(visit)
    return await _page(visit, lambda site: pages.workers(site, view))


async def _workers(visit: Visit) -> WorkersView:
    known = await visit.read(visit.services.queues.all)
    chosen = list(known.values())
    if visit.query("queue"):
        chosen = [queue for name, queue in known.items() if name == (visit.query("queue"), visit.query("group"))]
        if not chosen:
            raise RefusedError(404, _NO_QUEUE)
    after, limit = visit.query("after"), bounded(visit.query("limit"), ROWS, MAX_ROWS)
    view: WorkersView = await visit.read(lambda: visit.services.reading.workers(chosen, after, limit))
    return view


async def tasks(visit: Visit) -> Response:
    view = await _tasks(visit)
    return await _page(visit, lambda site: pages.tasks(site, view))


async def _tasks(visit: Visit) -> TaskList:
    if (name := visit.part("place")) not in frozenset(Place):
        raise RefusedError(404, "There is no such page.")
    queue, filters = await visit.queue(), Filters(*(visit.query(name, 4_000) for name in Filters.__struct_fields__))
    raw = Action.RAW in visit.rights
    view: TaskList = await visit.read(lambda: visit.services.reading.tasks(queue, Place(name), filters, raw=raw))
    return view


async def failures(visit: Visit) -> Response:
    queue = await visit.queue()
    view = await visit.read(lambda: visit.services.reading.failures(queue))
    return await _page(visit, lambda site: pages.failures(site, view))


async def flows(visit: Visit) -> Response:
    queue = await visit.queue()
    view = await visit.read(lambda: visit.services.reading.flows(queue))
    return await _page(visit, lambda site: pages.flows(site, view))


async def task(visit: Visit) -> Response:
    queue, task_id = await visit.queue(), visit.part("id")
    view = await visit.read(lambda: visit.services.reading.task(queue, task_id))
    names = {"queue": queue.stream_key, "group": queue.consumer_group, "id": task_id}
    events = "" if view.row.status.ended else link(visit.root, "task_events", **names)
    return await _page(visit, lambda site: pages.task(site, view), events)


async def statistics(visit: Visit) -> Response:
    queue, period = await visit.queue(), checked_period(visit.query("period"))
    view = await visit.read(lambda: visit.services.reading.statistics(queue, period))
    return await _page(visit, lambda site: pages.statistics(site, view))


async def schedules(visit: Visit) -> Response:
    queue = await visit.queue()
    view = await visit.read(lambda: visit.services.reading.schedules(queue))
    return await _page(visit, lambda site: pages.schedules(site, view))


async def limits(visit: Visit) -> Response:
    queue = await visit.queue()
    view = await visit.read(lambda: visit.services.reading.limits(queue))
    return await _page(visit, lambda site: pages.limits(site, view))


async def flow(visit: Visit) -> Response:
    queue, flow_id = await visit.queue(), visit.part("id")
    view = await visit.read(lambda: visit.services.reading.flow(queue, flow_id))
    return await _page(visit, lambda site: pages.flow(site, view))


async def find(visit: Visit) -> Response:
    """Lead to the task with an id, in the first group that knows it."""
    task_id = visit.query("id").strip()
    known = await visit.read(visit.services.queues.all)
    for (name, group_name), queue in known.items():
        if task_id and await visit.read(partial(_knows, queue, task_id)):
            return RedirectResponse(link(visit.root, "task", queue=name, group=group_name, id=task_id), 303)
    raise RefusedError(404, f"No queue of this dashboard knows a task with the id {quoted(task_id)}.")


def _knows(queue: TaskQueue, task_id: str) -> bool:
    return queue.stores.backend.show([task_id])[0] is not None


# Bytes


def _attachment(data: bytes, name: str) -> Response:
    kept = "".join(one if one.isascii() and (one.isalnum() or one in "_-") else "_" for one in name)
    headers = {"content-disposition": f'attachment; filename="{kept}.bin"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


async def task_body(visit: Visit) -> Response:
    queue, task_id = await visit.queue(), visit.part("id")
    info = await visit.read(lambda: info_of(queue, task_id))
    match info.message:
        case Message(body=body):
            return _attachment(body, f"{task_id}-arguments")
        case Unreadable(fields=fields):
            return _attachment(b"\n".join(key + b": " + value for key, value in fields.items()), f"{task_id}-message")
    raise RefusedError(404, "The message of this task is no longer kept.")


async def task_result(visit: Visit) -> Response:
    queue, task_id = await visit.queue(), visit.part("id")
    info = await visit.read(lambda: info_of(queue, task_id))
    if info.record is None:
        raise RefusedError(404, "This task has no result, or it is no longer kept.")
    return _attachment(info.record.value, f"{task_id}-result")


async def static(visit: Visit) -> Response:
    asset = visit.services.assets.get(visit.part("name"))
    if asset is None or asset.hash != visit.part("hash"):
        raise RefusedError(404, "There is no such file.")
    headers = {"cache-control": "private, max-age=31536000, immutable"}
    return Response(asset.data, media_type=asset.kind, headers=headers)


# Events


class Events(StreamingResponse):
    """A stream of events. Its source ends when the browser goes away."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        super().__init__(source, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        self._source: Any = source

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._source):
            await super().stream_response(send)


def _streams(visit: Visit) -> None:
    if not visit.streams:
        raise RefusedError(404, "There are no streams of events under WSGI.")


async def events(visit: Visit) -> Response:
    _streams(visit)
    return Events(_changes(visit))


async def _changes(visit: Visit) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    async with aclosing(visit.services.hub.changes()) as changes:
        async for texts in changes:
            yield sse("change", texts) if texts else COMMENT


async def task_events(visit: Visit) -> Response:
    _streams(visit)
    queue, task_id = await visit.queue(), visit.part("id")
    await visit.read(lambda: info_of(queue, task_id))
    return Events(_task_changes(visit, queue, task_id))


async def _task_changes(visit: Visit, queue: TaskQueue, task_id: str) -> AsyncIterator[bytes]:
    """Yield what has changed of a task, as soon as its status or its progress does, until it has ended."""
    yield b"retry: 2000\n\n"
    seen: Mapping[str, str] = {}
    try:
        async with aclosing(changes_of(queue.result(task_id), LIFE)) as changes:
            async for info in changes:
                view = await visit.read(partial(visit.services.reading.task_of, queue, info))
                texts = pages.live_task(view)
                if changed := {key: text for key, text in texts.items() if seen.get(key) != text}:
                    yield sse("change", changed)
                seen = texts
        yield sse("end", {})
    except ResultTimeoutError:
        return
    except UnknownTaskError:
        yield sse("end", {})
    except (PyxqueueError, BusyError) as error:
        yield sse("change", {"lost": line(Redactor(), str(error)) or "the dashboard is busy"})


# Actions


async def _form(request: Request) -> Form:
    """Return the fields of a form, or of a JSON object. Raises `RefusedError` for too much of it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise RefusedError(413, f"A request has at most {MAX_FORM:,} bytes.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    fields: dict[str, list[str]] = {}
    try:
        if kind == "application/x-www-form-urlencoded":
            for name, value in parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS):
                fields.setdefault(name, []).append(value)
        elif kind == "application/json":
            for name, value in _json_fields(json.loads(body or b"{}")):
                fields.setdefault(name, []).append(value)
        elif body:
            raise RefusedError(415, "Send a form (application/x-www-form-urlencoded) or JSON.")
    except (ValueError, RecursionError):
        raise RefusedError(400, "The fields of the request cannot be read.") from None
    return Form(fields)


def _json_fields(given: object) -> list[tuple[str, str]]:
    if not isinstance(given, dict):
        raise ValueError("not an object")  # noqa: TRY004 - it is caught with the others
    pairs = []
    for name, value in given.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, bool | None):
                pairs.append((name, "1" if one else ""))
            elif isinstance(one, str | int | float):
                pairs.append((name, str(one)))
            else:
                raise ValueError("a field is not a text or a number")  # noqa: TRY004 - as above
    return pairs


async def _perform(visit: Visit) -> tuple[Form, Done]:
    """Do the action in the path if the visitor has the right, and log it."""
    name = visit.part("action")
    if name not in ACTIONS:
        raise RefusedError(404, "There is no such action.")
    needs, act = ACTIONS[name]
    if why := cross_site(visit.request):
        _audit(visit, name, "refused", [why])
        raise RefusedError(403, f"This request was refused: {why}.")
    if needs not in visit.rights:
        _audit(visit, name, "refused", [f"the visitor may not {needs}"])
        raise RefusedError(403, f"You may not do this: it needs the right {needs}.")
    queue, form = await visit.queue(), await _form(visit.request)
    if form.flag("all") and form.one("text") and Action.RAW not in visit.rights:
        _audit(visit, name, "refused", ["the visitor may not look into what is hidden"])
        raise RefusedError(403, "To choose tasks by a text needs the right raw: it is found in what is hidden, too.")
    done = await visit.read(lambda: act(queue, form))
    _audit(visit, name, f"{done.what} {done.count}", done.targets)
    return form, done


def _audit(visit: Visit, action: str, outcome: str, targets: Sequence[TaskId]) -> None:
    client = visit.request.client
    shown = ", ".join(map(str, targets[:_AUDITED])) + (", …" if len(targets) > _AUDITED else "")
    audit.info(
        "%s by %s from %s on %s/%s: %s [%s]",
        action,
        user_of(visit.request) or "-",
        client.host if client else "-",
        visit.part("queue"),
        visit.part("group"),
        outcome,
        printable(shown, 8_000),
        extra={"action": action, "user": user_of(visit.request), "targets": list(map(str, targets[:_AUDITED]))},
    )


async def do(visit: Visit) -> Response:
    form, done = await _perform(visit)
    if done.refusals and not done.count:
        raise RefusedError(409, " · ".join(done.refused))
    facts = {"did": done.what, "n": done.count, "refused": done.refusals or None, "left": 1 if done.left else None}
    back = same_site_path(form.one("back"))
    query = urlencode({name: value for name, value in facts.items() if value is not None})
    where = f"{visit.root}{back}"
    if done.task:
        names = {name: visit.part(name) for name in ("queue", "group")}
        where = link(visit.root, "task", **names, id=done.task)
    return RedirectResponse(f"{where}{'&' if urlsplit(where).query else '?'}{query}", 303)


async def api_do(visit: Visit) -> Response:
    _, done = await _perform(visit)
    return JSONResponse(
        {"done": done.count, "refused": done.refusals, "reasons": list(done.refused), "left": done.left}
        | ({"task": done.task} if done.task else {}),
        409 if done.refusals and not done.count else 200,
    )


# The API


async def api_queues(visit: Visit) -> Response:
    queues = await visit.read(visit.services.queues.all)
    view = await visit.read(lambda: visit.services.reading.overview(list(queues.values())))
    return JSONResponse({"now_ms": view.now_ms, "queues": [api.group(row) for row in view.groups]})


async def api_group(visit: Visit) -> Response:
    queue = await visit.queue()
    row: GroupRow = await visit.read(lambda: visit.services.reading.full_row(queue))
    return JSONResponse(api.group(row))


async def api_workers(visit: Visit) -> Response:
    return JSONResponse(api.plain(await _workers(visit)))


async def api_task(visit: Visit) -> Response:
    queue, task_id = await visit.queue(), visit.part("id")
    view: TaskView = await visit.read(lambda: visit.services.reading.task(queue, task_id))
    return JSONResponse({**api.plain(view), "row": api.task(view.row)})


async def api_tasks(visit: Visit) -> Response:
    view = await _tasks(visit)
    return JSONResponse(
        {"now_ms": view.now_ms, "tasks": list(map(api.task, view.rows)), "next": view.next, "scanned": view.scanned,
         "missing": dict(view.missing)}
    )  # fmt: skip


async def api_failures(visit: Visit) -> Response:
    queue = await visit.queue()
    view = await visit.read(lambda: visit.services.reading.failures(queue))
    return JSONResponse(
        {"now_ms": view.now_ms, "groups": api.plain(view.groups), "scanned": view.scanned, "complete": view.complete,
         "missing": dict(view.missing)}
    )  # fmt: skip


async def api_statistics(visit: Visit) -> Response:
    queue, period = await visit.queue(), checked_period(visit.query("period"))
    view = await visit.read(lambda: visit.services.reading.statistics(queue, period))
    if view.statistics is None:
        raise RefusedError(404, " ".join(view.missing.values()))
    return JSONResponse(api.statistics(view.statistics))


async def api_schedules(visit: Visit) -> Response:
    queue = await visit.queue()
    view = await visit.read(lambda: visit.services.reading.schedules(queue))
    return JSONResponse({"schedules": api.plain(view.schedules), "missing": dict(view.missing)})


async def api_limits(visit: Visit) -> Response:
    queue = await visit.queue()
    view = await visit.read(lambda: visit.services.reading.limits(queue))
    return JSONResponse(
        {"limits": api.plain(view.limits), "paused_tasks": list(view.paused_tasks), "missing": dict(view.missing)}
    )


# Monitoring


async def livez(_visit: Visit) -> Response:
    """Answer as long as this process does."""
    return PlainTextResponse("ok\n")


async def readyz(visit: Visit) -> Response:
    """Answer whether all stores can be read."""
    queues = await visit.read(visit.services.queues.all)
    await visit.read(lambda: [queue.stores.backend.lease_ms() for queue in queues.values()])
    return PlainTextResponse("ok\n")


async def metrics(visit: Visit) -> Response:
    """Answer with metrics for Prometheus, if its package is installed."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - it may be missing

        from ..plugins.prometheus import QueueCollector  # noqa: PLC0415 - as above
    except ModuleNotFoundError:
        raise RefusedError(404, "Metrics need the package prometheus-client.") from None
    queues = await visit.read(visit.services.queues.all)

    def scrape() -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(QueueCollector(list(queues.values())))
        return generate_latest(registry)

    return Response(await visit.read(scrape), media_type="text/plain; version=0.0.4; charset=utf-8")


async def missing(_visit: Visit) -> Response:
    raise RefusedError(404, "There is no such page.")


_READ = Action.READ
ENTRIES: Mapping[str, Entry] = {
    "overview": Entry(_READ, overview),
    "workers": Entry(_READ, workers),
    "find": Entry(_READ, find),
    "events": Entry(_READ, events),
    "static": Entry(None, static),
    "metrics": Entry(_READ, metrics),
    "livez": Entry(None, livez),
    "readyz": Entry(None, readyz),
    "group": Entry(_READ, group),
    "tasks": Entry(_READ, tasks),
    "failures": Entry(_READ, failures),
    "flows": Entry(_READ, flows),
    "statistics": Entry(_READ, statistics),
    "schedules": Entry(_READ, schedules),
    "limits": Entry(_READ, limits),
    "flow": Entry(_READ, flow),
    "do": Entry(_READ, do, "POST"),
    "task": Entry(_READ, task),
    "task_body": Entry(Action.RAW, task_body),
    "task_result": Entry(Action.RAW, task_result),
    "task_events": Entry(_READ, task_events),
    "api_queues": Entry(_READ, api_queues),
    "api_workers": Entry(_READ, api_workers),
    "api_group": Entry(_READ, api_group),
    "api_tasks": Entry(_READ, api_tasks),
    "api_failures": Entry(_READ, api_failures),
    "api_statistics": Entry(_READ, api_statistics),
    "api_schedules": Entry(_READ, api_schedules),
    "api_limits": Entry(_READ, api_limits),
    "api_do": Entry(_READ, api_do, "POST"),
    "api_task": Entry(_READ, api_task),
    "missing": Entry(None, missing),
}
"""The entries, by the name of their route."""
