"""What pages need, read from `queue.admin` in a bounded number of requests to the store."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from attrs import field, frozen

from ..client.explaining import explain
from ..client.finding import PEEK, FailureGroup, FailurePage, Where, seconds_of_age
from ..client.flow_view import FlowView, flow_view
from ..client.limits import paused_tasks
from ..client.queue import TaskQueue, store_of
from ..client.timeline import spans_of
from ..client.views import WorkerInfo, progress_of, waited_of
from ..clock import wall_clock
from ..errors import (
    BrokerUnavailableError,
    ConfigurationError,
    PyxqueueError,
    SealError,
    UnknownTaskError,
)
from ..model.flows import edges_of
from ..model.limits import shown_gate
from ..model.message import Message, Record, TaskInfo, TaskStatus
from ..model.past import Attempt, attempts_in
from ..model.places import Listed, Place
from ..model.rates import PREFIX
from ..printable import counted, quoted
from ..protocols import HasAbout, HasPlaces, Pausing
from .redacting import MAX_TEXT, Redact, Redactor, Shown, binary, unpacked
from .values import (
    NOTHING,
    AttemptRow,
    Editable,
    FailureRow,
    FailureView,
    Filters,
    FlowGraph,
    FlowNode,
    FlowRow,
    FlowsView,
    GroupRow,
    GroupView,
    GroupWorkers,
    LimitRow,
    LimitsView,
    Overview,
    RunRow,
    ScheduleRow,
    SchedulesView,
    StatisticsView,
    StoreRow,
    TaskList,
    TaskRow,
    TaskView,
    WorkerRow,
    WorkersView,
)

T = TypeVar("T")

PERIODS: Mapping[str, int] = {"1h": 60, "8h": 480, "72h": 4_320}
"""The minutes of each period of statistics."""
ROWS, MAX_ROWS = 50, 200
"""How many rows a list has, and how many it may have."""
_EDITABLE = 10_000
"""The most bytes of arguments in a form: each may have six in the request."""
FAILURES = 1_024
"""How many failed tasks are looked at for their groups."""
_SOME = 100
_SCANNED, _SCANNED_TEXT = 768, 256
"""How many tasks are examined for a page of a filtered list: without a search text, and with one."""
_READ = 500_000
"""About how many bytes of arguments are read for a page, to find the secrets that may also be in the texts of
errors."""
_EXAMPLE, _RECORD = 50_000, 10_000
"""The most bytes of the arguments of an example, and about how many its failure has."""
_UNSEEN = "what it says is on the page of the task: the arguments are too large to look for secrets in it here"
_STORES = 3
_FEWER = 5
_KEPT = 60.0
_RUNS = 3
_FEW = 10
_NODES = 200
_LIMITS = 200
_LINE = 200
_NEIGHBOURS = 50
_FLOW = 1_000
"""How many tasks of a flow are looked at."""
_BLANKS = re.compile(r"\s+")


@frozen(eq=False)
class Reading:
    """Reads for pages; `redact` is that of the dashboard."""

    redact: Redact | None = None
    _leases: dict[int, tuple[float, int]] = field(factory=dict, init=False)

    def _lease(self, queue: TaskQueue) -> int:
        """The lease of a group in ms, which is read once a minute."""
        now = time.monotonic()
        read_at, lease = self._leases.get(id(queue), (0.0, 0))
        if not lease or now - read_at > _KEPT:
            lease = queue.stores.backend.lease_ms()
            self._leases[id(queue)] = now, lease
        return lease

    def overview(self, queues: Sequence[TaskQueue], *, stores: bool = False) -> Overview:
        """Return all groups in numbers and, with `stores`, the stores that keep them. The row of a queue that cannot be
        read says why. Raises `BrokerUnavailableError` if no store can be reached."""
        rows: list[GroupRow] = []
        down: BrokerUnavailableError | None = None
        for queue in queues:
            try:
                row = self.full_row(queue)
            except PyxqueueError as error:
                down = error if isinstance(error, BrokerUnavailableError) else down
                row = GroupRow(queue.stream_key, queue.consumer_group, None, error=line(Redactor(), str(error)))
            rows.append(row)
        if down is not None and all(row.depth is None for row in rows):
            raise down
        return Overview(wall_clock(), rows, store_rows(queues) if stores else ())

    def row(self, queue: TaskQueue) -> GroupRow:
        """Return one group in numbers, without its workers and statistics."""
        return row_of_group(queue)

    def full_row(self, queue: TaskQueue) -> GroupRow:
        workers, lease = queue.admin.workers(tasks=0), self._lease(queue)
        return row_of_group(queue, minutes=60, workers=workers, lease=lease)

    def group(self, queue: TaskQueue) -> GroupView:
        """Return one group with its first workers and its most frequent failures."""
        workers, lease = queue.admin.workers(tasks=0), self._lease(queue)
        row, missing = row_of_group(queue, minutes=60, workers=workers, lease=lease), NOTHING
        found: FailurePage | None = None
        if row.depth is None or row.depth.failed:
            found, missing = tried("failures", lambda: queue.admin.failures(_SOME))
        kinds = found.groups[:_FEWER] if found else ()
        infos = shown(queue, [*_examples(kinds), *_held(workers[:_FEW])])
        first = worker_page(queue, workers, lease, limit=_FEW, infos=infos).workers
        newest = found.scanned if found and not found.complete else 0
        return GroupView(wall_clock(), row, first, self._kinds(queue, kinds, infos), newest, missing)

    def tasks(self, queue: TaskQueue, place: Place, filters: Filters, *, raw: bool = True) -> TaskList:
        """Return a page of the tasks of a place. Without the right `raw`, a text is searched only in what the visitor
        can see, here and not in the store: otherwise a visitor could guess a secret letter by letter, also from where a
        page ends."""
        where, limit = where_of(filters), bounded(filters.limit, ROWS, MAX_ROWS)
        if hidden := bool(filters.text) and not raw:
            where, limit = msgspec.structs.replace(where, text=None), _SCANNED_TEXT
        row = self.row(queue)
        if not isinstance(backend := queue.stores.backend, HasPlaces):
            why = f"{type(backend).__name__} does not list the tasks of a place: `pyxqueue tasks` lists them by state"
            return TaskList(wall_clock(), row, place, (), filters, "", 0, {"tasks": why})
        scan = _SCANNED_TEXT if filters.text else _SCANNED
        peek = max(PEEK, _READ // (limit if where.is_all else scan))
        page = queue.admin.list(place, where=where, after=filters.after, limit=limit, peek=peek, scan=scan)
        rows = [self._listed(queue, one) for one in page.tasks]
        if place is Place.IN_FLIGHT and rows:
            holders = {one.name: one for one in queue.admin.workers(tasks=0)}
            rows = [_held_by(holders.get(row.worker), row, one.info) for row, one in zip(rows, page.tasks, strict=True)]
        if hidden:
            rows = [one for one in rows if _shows(one, filters.text)]
        return TaskList(wall_clock(), row, place, rows, filters, page.next, page.scanned)

    def _listed(self, queue: TaskQueue, one: Listed) -> TaskRow:
        redactor = Redactor(self.redact)
        if one.is_whole:
            arguments, note = call_of(queue, redactor, one.info, limit=_LINE)
        else:
            arguments, note = (), f"<{one.body_bytes:,} bytes>"
        text = ", ".join(map(_pair, arguments)) or note
        row = row_of(queue, redactor, one.info, one.body_bytes, text)
        return row if one.is_whole or not row.reason else msgspec.structs.replace(row, reason=_UNSEEN)

    def failures(self, queue: TaskQueue, limit: int = FAILURES) -> FailureView:
        row = self.row(queue)
        found, missing = tried("failures", lambda: queue.admin.failures(limit))
        if found is None:
            return FailureView(wall_clock(), row, (), 0, False, missing)
        kinds = found.groups[:MAX_ROWS]
        rows = self._kinds(queue, kinds, shown(queue, _examples(kinds)))
        return FailureView(wall_clock(), row, rows, found.scanned, found.complete)

    def _kinds(
        self, queue: TaskQueue, kinds: Sequence[FailureGroup], infos: Mapping[str, TaskInfo]
    ) -> list[FailureRow]:
        """Return groups of failures without the secrets that are in the arguments of their examples."""
        return [_kind_row(queue, Redactor(self.redact), one, infos.get(one.example)) for one in kinds]

    def flows(self, queue: TaskQueue) -> FlowsView:
        """Return the flows of the first tasks that wait for others."""
        row = self.row(queue)
        page, missing = tried("flows", lambda: queue.admin.list(Place.DEPENDENT, limit=MAX_ROWS, peek=0))
        by_flow: dict[str, list[str]] = {}
        for one in page.tasks if page else ():
            message = one.info.readable
            if message is not None and message.flow:
                by_flow.setdefault(message.flow, []).append(one.info.id)
        rows = [FlowRow(flow, len(ids), ids[0]) for flow, ids in by_flow.items()]
        return FlowsView(wall_clock(), row, rows, missing)

    def workers(self, queues: Sequence[TaskQueue], after: str = "", limit: int = 50) -> WorkersView:
        """Return the first workers of each group, or of one group those behind a name."""
        groups = []
        for queue in queues:
            try:
                every, lease = queue.admin.workers(tasks=0), self._lease(queue)
                groups.append(worker_page(queue, every, lease, after, limit=limit))
            except BrokerUnavailableError:
                if len(queues) == 1:
                    raise
                groups.append(GroupWorkers(queue.stream_key, queue.consumer_group, (), 0, "", "cannot be reached"))
        return WorkersView(wall_clock(), groups)

    def statistics(self, queue: TaskQueue, period: str) -> StatisticsView:
        found, missing = tried("statistics", lambda: queue.admin.statistics(PERIODS[period]))
        return StatisticsView(wall_clock(), self.row(queue), period, found, missing)

    def schedules(self, queue: TaskQueue) -> SchedulesView:
        found, missing = tried("schedules", lambda: list(queue.schedules))
        rows = [
            ScheduleRow(one.id, one.task, one.when, one.origin, one.state, _ms(one.last), _ms(one.next), one.last_task,
                        one.runs, one.skipped, one.missed, one.errors, line(Redactor(), one.error))
            for one in found or ()
        ]  # fmt: skip
        return SchedulesView(wall_clock(), self.row(queue), rows, missing)

    def limits(self, queue: TaskQueue) -> LimitsView:
        found, missing = tried("limits", lambda: _limit_rows(queue))
        row = self.row(queue)
        return LimitsView(wall_clock(), row, found or (), row.paused_tasks, missing)

    def flow(self, queue: TaskQueue, flow_id: str) -> FlowGraph:
        """Return a flow by its id or that of one of its tasks. Raises `UnknownTaskError`."""
        return _graph(self.row(queue), flow_view(queue.stores.backend, flow_id, _FLOW))

    def task(self, queue: TaskQueue, task_id: str) -> TaskView:
        """Return all about one task. Raises `UnknownTaskError`."""
        return self.task_of(queue, info_of(queue, task_id))

    def task_of(self, queue: TaskQueue, info: TaskInfo) -> TaskView:
        redactor = Redactor(self.redact)
        message, record = info.readable, info.record
        arguments, note = call_of(queue, redactor, info)
        editable = None if redactor.hid else _editable(redactor, info)
        failure = failure_of(queue, info)
        reasons = () if info.status.ended else explain(queue.stores.backend, info, wall_clock(), scan=0).reasons
        headers = [
            redactor.value(name, text, _LINE * 10) for name, text in (message.headers if message else {}).items()
        ]
        row = row_of(queue, redactor, info, len(message.body) if message else 0, ", ".join(map(_pair, arguments)))
        attempts = [_redacted(redactor, one) for one in attempts_in(message.past if message else "")]
        error = line(redactor, f"{failure[0]}: {failure[1]}".strip(": "))
        return TaskView(
            now_ms=wall_clock(),
            queue=queue.stream_key,
            group=queue.consumer_group,
            row=row,
            place=place_of(info),
            arguments=arguments,
            arguments_note=note,
            headers=headers,
            result=_result(redactor, info),
            value_bytes=len(record.value) if record else 0,
            failure_type=redactor.text(failure[0], _LINE),
            failure_message=redactor.text(failure[1], MAX_TEXT),
            traceback=redactor.text(failure[2], MAX_TEXT),
            attempts=[AttemptRow(*msgspec.structs.astuple(one)) for one in attempts],
            spans=spans_of(info, attempts, error, wall_clock()),
            waited=waited_of(info),
            ran=ran_ms(record) / 1000 if ran_ms(record) else None,
            reasons=[line(redactor, reason, 1_000) for reason in reasons],
            parent=message.parent if message else "",
            before=list(message.after[:_NEIGHBOURS]) if message else (),
            after=[edge.successor for edge in edges_of(message)[:_NEIGHBOURS]],
            retry_of=info.retry_of,
            editable=editable,
        )


def info_of(queue: TaskQueue, task_id: str) -> TaskInfo:
    """Return what the store knows about a task. Raises `UnknownTaskError`."""
    (info,) = queue.stores.backend.show([task_id])
    if info is None:
        raise UnknownTaskError(
            f"task {quoted(task_id)} is no longer there: it was deleted, its time in the history is over, or it never "
            f"was in this group"
        )
    return info


def tried(what: str, read: Callable[[], T]) -> tuple[T | None, Mapping[str, str]]:
    """Return what `read` returns, and no faults; or None, and by the name `what` why it failed."""
    try:
        return read(), {}
    except BrokerUnavailableError:
        raise
    except PyxqueueError as error:
        return None, {what: line(Redactor(), str(error), 500)}


def shown(queue: TaskQueue, ids: Sequence[str]) -> Mapping[str, TaskInfo]:
    """Return what the store knows about some tasks, in one request; those that are gone are left out."""
    found = queue.stores.backend.show(ids) if ids else ()
    return {info.id: info for info in found if info is not None}


def _examples(kinds: Sequence[FailureGroup]) -> list[str]:
    """Return the examples of groups of failures whose arguments can be looked through for secrets."""
    chosen, left = list[str](), _READ
    for one in kinds:
        if one.body_bytes <= _EXAMPLE and (left := left - one.body_bytes - _RECORD) >= 0:
            chosen.append(one.example)
    return chosen


def _kind_row(queue: TaskQueue, redactor: Redactor, group: FailureGroup, example: TaskInfo | None) -> FailureRow:
    if example is not None:
        call_of(queue, redactor, example)  # so that it knows the secrets
    text = _UNSEEN if example is None else line(redactor, group.text, 500)
    error = line(redactor, group.error)
    return FailureRow(group.name, error, group.count, group.first_ms, group.last_ms, group.example, text)


def _seconds(name: str, text: str) -> float | None:
    """Return an age in seconds; None for an empty text. Raises `ConfigurationError` for a text that is not an age."""
    age = seconds_of_age(text)
    if text and age is None:
        raise ConfigurationError(f"{name}={quoted(text)} is not a time such as 90, 5m, 2h or 1d")
    return age


def where_of(filters: Filters) -> Where:
    """Return which tasks are wanted. Raises `ConfigurationError`."""
    return Where(
        name=filters.name or None,
        error=filters.error or None,
        text=filters.text or None,
        older=_seconds("older", filters.older),
        newer=_seconds("newer", filters.newer),
    )


def _shows(row: TaskRow, text: str) -> bool:
    """Whether a text can be seen in a row."""
    shown = f"{row.id}\n{row.name}\n{row.arguments}\n{row.error}\n{row.reason}"
    return text.casefold() in shown.casefold()


def _redacted(redactor: Redactor, one: Attempt) -> Attempt:
    texts = {name: line(redactor, getattr(one, name)) for name in ("type", "text", "worker", "host")}
    return msgspec.structs.replace(one, **texts)


def line(redactor: Redactor, text: str, limit: int = _LINE) -> str:
    """Return a text in one line, without secrets."""
    return redactor.text(_BLANKS.sub(" ", text[: 8 * limit]).strip(), limit)


# Stores, groups and workers


def store_rows(queues: Sequence[TaskQueue]) -> list[StoreRow]:
    """Return the facts that the first stores report about themselves."""
    found: dict[object, list[TaskQueue]] = {}
    for queue in queues:
        given = store_of(queue).given
        found.setdefault(given if isinstance(given, str | None) else id(given), []).append(queue)
    rows = []
    for these in list(found.values())[:_STORES]:
        backend = these[0].stores.backend
        with suppress(PyxqueueError):
            if isinstance(backend, HasAbout) and (facts := backend.about()):
                names = list(dict.fromkeys(queue.stream_key for queue in these))
                rows.append(StoreRow(names, {name: line(Redactor(), text, 500) for name, text in facts.items()}))
    return rows


def row_of_group(
    queue: TaskQueue, *, minutes: int = 0, workers: Sequence[WorkerInfo] | None = None, lease: int = 0
) -> GroupRow:
    """Return a group in numbers. `minutes`: with statistics of so many minutes. `workers`: if they were asked for, with
    the lease of the group in ms."""
    backend = queue.stores.backend
    statistics = tried("statistics", lambda: queue.admin.statistics(minutes))[0] if minutes else None
    live = None if workers is None else [one for one in workers if not one.is_silent(lease)]
    silent = Counter[str]()
    for one in workers or ():
        if one.in_flight and one.is_silent(lease):
            silent[line(Redactor(), one.host) or "a host"] += len(one.in_flight)
    return GroupRow(
        queue=queue.stream_key,
        group=queue.consumer_group,
        depth=backend.depth(),
        paused=isinstance(backend, Pausing) and backend.is_paused(),
        paused_tasks=paused_tasks(backend),
        workers=None if live is None else len(live),
        busy=None if live is None else sum(bool(one.in_flight) for one in live),
        statistics=statistics,
        silent=silent,
    )


def worker_page(
    queue: TaskQueue,
    every: Sequence[WorkerInfo],
    lease: int,
    after: str = "",
    *,
    limit: int = 50,
    infos: Mapping[str, TaskInfo] | None = None,
) -> GroupWorkers:
    """Return the first workers of a group behind the name `after`, of those that there are, with what they run.
    `infos`: what is known of that, by id, if it was asked for."""
    behind = [one for one in every if one.name > after]
    chosen = behind[:limit]
    infos = shown(queue, _held(chosen)) if infos is None else infos
    rows = [_worker(queue, one, infos, alive=not one.is_silent(lease)) for one in chosen]
    following = chosen[-1].name if len(behind) > limit else ""
    return GroupWorkers(queue.stream_key, queue.consumer_group, rows, len(every), following)


def _held(workers: Sequence[WorkerInfo]) -> list[str]:
    """Return the tasks of workers that are shown."""
    return [task_id for one in workers for task_id in one.in_flight[:_RUNS]]


def _worker(queue: TaskQueue, worker: WorkerInfo, infos: Mapping[str, TaskInfo], *, alive: bool) -> WorkerRow:
    first = [_run(worker, infos[task_id]) for task_id in worker.in_flight[:_RUNS] if task_id in infos]
    facts = worker.facts
    return WorkerRow(
        name=worker.name,
        queue=queue.stream_key,
        group=queue.consumer_group,
        host=worker.host,
        pid=worker.pid,
        idle_ms=worker.idle_ms,
        in_flight=len(worker.in_flight),
        slots=facts.slots if facts else None,
        draining=facts.draining if facts else False,
        alive=alive,
        started_ms=facts.started_ms if facts else 0,
        versions=f"pyxqueue {facts.pyxqueue}, Python {facts.python}" if facts else "",
        rss=facts.rss if facts else None,
        serves=facts.tasks if facts else (),
        runs=first,
        more=len(worker.in_flight) - len(first),
    )


def _held_by(worker: WorkerInfo | None, row: TaskRow, info: TaskInfo) -> TaskRow:
    """Return the row of a task in flight, with the worker that holds it."""
    if worker is None or not worker.host:
        return row
    where = f"{line(Redactor(), worker.host)}:{worker.pid}"
    began = worker.began(info)
    return msgspec.structs.replace(row, where=where, begun=began != 0, started_ms=began or row.started_ms)


def _run(worker: WorkerInfo, info: TaskInfo) -> RunRow:
    return RunRow(info.id, name_of(info), worker.began(info) or 0, info.progress)


# Tasks


def name_of(info: TaskInfo) -> str:
    return info.readable.name if info.readable else ""


def place_of(info: TaskInfo) -> str:
    """Return the place of a task, as far as the facts from the store tell."""
    if info.status is TaskStatus.STARTED:
        return "in_flight"
    if info.status.ended:
        return "failed" if info.reason and info.message is not None else "history"
    if info.gate:
        return "blocked"
    if info.waits_for or info.event:
        return "dependent"
    return "delayed" if info.readable and info.readable.due_ms > wall_clock() else "ready"


def row_of(queue: TaskQueue, redactor: Redactor, info: TaskInfo, body_bytes: int, arguments: str) -> TaskRow:
    message, record = info.readable, info.record
    kind, text, _ = failure_of(queue, info)
    return TaskRow(
        id=info.id,
        name=name_of(info),
        status=info.status,
        arguments=arguments[:_LINE] + ("…" if len(arguments) > _LINE else ""),
        body_bytes=body_bytes,
        attempt=message.attempt if message else record.attempt if record else 1,
        crashes=message.crashes if message else 0,
        priority=message.priority if message else 0,
        tenant=message.tenant if message else "",
        flow=message.flow if message else "",
        enqueued_ms=message.enqueued_ms if message else 0,
        due_ms=message.due_ms if message else 0,
        since_ms=info.updated_ms,
        started_ms=info.started_ms,
        ended_ms=record.ended_ms if record else 0,
        ran_ms=ran_ms(record),
        worker=info.worker,
        error=line(redactor, kind),
        reason=line(redactor, text or info.reason),
        progress=progress_of(info),
        unreadable="" if info.message is None or message else line(redactor, info.message.reason),  # type: ignore[union-attr] # it is Unreadable
        waits_for=_waits_for(info),
    )


def _waits_for(info: TaskInfo) -> str:
    if info.event:
        return f"the event {info.event}"
    if info.gate:
        return f"the limit {shown_gate(info.gate)}"
    return counted(info.waits_for, "task") if info.waits_for else ""


def ran_ms(record: Record | None) -> int:
    return record.ran_ms if record else 0


def call_of(queue: TaskQueue, redactor: Redactor, info: TaskInfo, limit: int = MAX_TEXT) -> tuple[Sequence[Shown], str]:
    """Return the arguments of a task, or why they cannot be shown."""
    message = info.message
    if message is None:
        return (), "the message is no longer kept"
    if not isinstance(message, Message):
        return (), line(redactor, message.reason)
    if not message.body:
        return (), ""
    try:
        match unpacked(message.serializer, message.body):
            case [list(args), dict(kwargs)] if all(isinstance(key, str) for key in kwargs):
                return redactor.arguments(message.name, args, kwargs, parameters(queue, message.name), limit), ""
            case _:
                return (), f"the body is not a call: {len(message.body):,} bytes"
    except ValueError as error:
        if redactor.hides:
            return (), f"{len(message.body):,} bytes, not shown: {line(redactor, str(error))}"
        return (), f"{line(redactor, str(error))}: {binary(message.body)}"


def _editable(redactor: Redactor, info: TaskInfo) -> Editable | None:
    """Return the arguments of a failed task for a form; None if they are not JSON, too large for it, or may have parts
    that are secret. `redact` may change arguments in place, which cannot be noticed here."""
    message = info.readable
    if info.status is not TaskStatus.FAILURE or message is None or message.flow or redactor.hides:
        return None
    if message.serializer != "json" or len(message.body) > _EDITABLE:
        return None
    try:
        args, kwargs = msgspec.json.decode(message.body or b"[[],{}]", type=tuple[msgspec.Raw, msgspec.Raw])
        return Editable(*(msgspec.json.format(bytes(one), indent=0).decode() for one in (args, kwargs)))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def parameters(queue: TaskQueue, name: str) -> Sequence[str]:
    """Return the names of a task's parameters, if this program has the task."""
    spec = queue.core.registry.get(name)
    return spec.signature.parameters if spec else ()


def failure_of(queue: TaskQueue, info: TaskInfo) -> tuple[str, str, str]:
    """Return the type, the message and the traceback of a failure; empty texts if it did not fail."""
    record = info.record
    if record is None or record.error is None:
        return "", "", ""
    try:
        queue.core.codec.check_end(record)
    except SealError as error:
        return "SealError", f"not trusted: {error}", ""
    return record.error.type, record.error.message, record.error.traceback


def _result(redactor: Redactor, info: TaskInfo) -> Shown | None:
    record = info.record
    if record is None or info.status is not TaskStatus.SUCCESS:
        return None
    if not record.value:
        return Shown("result", "None")
    try:
        return redactor.value("result", unpacked(record.serializer, record.value))
    except ValueError as error:
        return Shown("result", f"{line(redactor, str(error))}: {binary(record.value)}")


def _pair(one: Shown) -> str:
    return one.value if one.name.startswith("args[") else f"{one.name}={one.value}"


# Flows and limits


def _graph(row: GroupRow, found: FlowView) -> FlowGraph:
    nodes = []
    for one, before in [*found.before.items(), *((one, ()) for one in found.tasks if one not in found.before)][:_NODES]:
        info = found.tasks.get(one)
        states: Counter[TaskStatus] = Counter(found.many.get(one, {}))
        count = 1 if info is not None else states.total()
        nodes.append(
            FlowNode(one, name_of(info) if info else "", info.status if info else None, count,
                     {status.name: number for status, number in states.items()}, list(before))
        )  # fmt: skip
    complete = found.complete and len(nodes) >= len(found.before)
    states_by_name = {status.name: number for status, number in found.states.items()}
    return FlowGraph(wall_clock(), row, found.id, nodes, states_by_name, complete)


def _limit_rows(queue: TaskQueue) -> list[LimitRow]:
    limits = queue.limits
    numbers = {one.name: one for one in limits.list()}
    rates = {one.name: one for one in limits.rates()}
    paused = set(limits.paused())
    gates = {shown_gate(one.name): one for one in limits.gates(_LIMITS)}
    rows = []
    names = [("concurrency", name) for name in {*numbers, *(one for one in gates if not one.startswith(PREFIX))}]
    names += [
        ("rate", name) for name in {*rates, *(one.removeprefix(PREFIX) for one in gates if one.startswith(PREFIX))}
    ]
    for kind, name in sorted(names, key=lambda one: (one[1], one[0]))[:_LIMITS]:
        limit, _, key = name.partition("/")
        gate = gates.get(name if kind == "concurrency" else PREFIX + name)
        code, value = _numbers(numbers.get(name)) if kind == "concurrency" else _paces(rates.get(name))
        rows.append(
            LimitRow(limit, key, kind, code, value, gate.used if gate else None, gate.waiting if gate else None,
                     name in paused)
        )  # fmt: skip
    return rows


def _numbers(found: Any) -> tuple[str, str]:
    if found is None:
        return "", ""
    code = "" if found.declared is None else str(found.declared)
    return code, "" if found.number in (None, found.declared) else str(found.number)


def _paces(found: Any) -> tuple[str, str]:
    if found is None:
        return "", ""
    code = "" if found.declared is None else str(found.declared)
    return code, "" if found.pace in (None, found.declared) else str(found.pace)


def _ms(moment: datetime | None) -> int:
    return 0 if moment is None else round(moment.timestamp() * 1000)


def checked_period(text: str) -> str:
    """Return a period; the shortest for any text that is not one."""
    return text if text in PERIODS else next(iter(PERIODS))


def bounded(text: str, default: int, most: int) -> int:
    """Return the number in a parameter, at least 1 and at most `most`; `default` for what is not a number."""
    return min(most, max(1, int(text))) if text.isascii() and text.isdigit() and len(text) < 10 else default
