"""The values that pages show: read from the store in a bounded number of requests, decoded and redacted, not escaped.

Times in ms are of the store's clock, 0 if they are not known. `missing` has a sentence for each part that this store,
or this release of it, cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from ..client.timeline import Span
from ..model.message import Depth, Progress, TaskStatus
from ..model.places import Place
from ..model.statistics import Statistics
from .redacting import Shown

NOTHING: Mapping[str, str] = {}


class GroupRow(Struct, frozen=True):
    """One group of a queue in numbers."""

    queue: str
    group: str
    depth: Depth | None
    """None if it cannot be read; `error` says why."""
    paused: bool = False
    paused_tasks: Sequence[str] = ()
    workers: int | None = None
    """How many worker processes are alive; None if that was not asked."""
    busy: int | None = None
    """How many of them hold a task."""
    statistics: Statistics | None = None
    """Of the last 60 minutes."""
    error: str = ""
    silent: Mapping[str, int] = {}
    """Hosts that give no sign of life, with how many tasks their workers hold."""


class StoreRow(Struct, frozen=True):
    """A store."""

    queues: Sequence[str]
    """The queues in it."""
    facts: Mapping[str, str]
    """The facts that it reports about itself, by name."""


class Overview(Struct, frozen=True):
    """All groups of the dashboard."""

    now_ms: int
    groups: Sequence[GroupRow]
    stores: Sequence[StoreRow] = ()
    missing: Mapping[str, str] = NOTHING


class RunRow(Struct, frozen=True):
    """A task that a worker holds."""

    id: str
    name: str
    since_ms: int
    progress: Progress | None


class WorkerRow(Struct, frozen=True):
    """A worker process."""

    name: str
    queue: str
    group: str
    host: str
    pid: int | None
    idle_ms: int
    """Since it last used the store."""
    in_flight: int
    slots: int | None
    draining: bool
    alive: bool
    started_ms: int
    versions: str
    rss: int | None
    serves: Sequence[str]
    runs: Sequence[RunRow]
    more: int
    """How many further tasks it holds."""


class FailureRow(Struct, frozen=True):
    """Failed tasks with the same name and the same type of error."""

    name: str
    error: str
    count: int
    first_ms: int
    last_ms: int
    example: str
    """The id of one of them."""
    text: str
    """The message of its error."""


class GroupView(Struct, frozen=True):
    now_ms: int
    row: GroupRow
    workers: Sequence[WorkerRow]
    failures: Sequence[FailureRow]
    newest: int
    """How many of the newest failed tasks were counted; 0 if all were."""
    missing: Mapping[str, str] = NOTHING


class Filters(Struct, frozen=True):
    """What a list is limited to, as the visitor wrote it."""

    name: str = ""
    error: str = ""
    text: str = ""
    older: str = ""
    newer: str = ""
    after: str = ""
    limit: str = ""
    was: str = ""
    """The cursors of the pages before this one, except the first; one per line."""


class TaskRow(Struct, frozen=True):
    """A task in a list."""

    id: str
    name: str
    status: TaskStatus
    arguments: str
    body_bytes: int
    attempt: int
    crashes: int
    priority: int
    tenant: str
    flow: str
    enqueued_ms: int
    due_ms: int
    since_ms: int
    """When it came to its place."""
    started_ms: int
    ended_ms: int
    ran_ms: int
    worker: str
    error: str
    """The type of its failure."""
    reason: str
    """Why it failed, or why it waits, in one line."""
    progress: Progress | None
    unreadable: str
    """Why its message cannot be read; empty if it can."""
    waits_for: str
    where: str = ""
    """The host and the pid of its worker, in the list of tasks in flight."""
    begun: bool = True
    """Whether its worker runs it, as far as that is known there."""


class TaskList(Struct, frozen=True):
    """The tasks of one place."""

    now_ms: int
    row: GroupRow
    place: Place
    rows: Sequence[TaskRow]
    filters: Filters
    next: str
    scanned: int
    missing: Mapping[str, str] = NOTHING


class AttemptRow(Struct, frozen=True):
    """An earlier attempt that did not end the task."""

    attempt: int
    type: str
    text: str
    when_ms: int
    worker: str
    host: str
    ran_ms: int
    """How long it ran; 0 if that is not known."""


class Editable(Struct, frozen=True):
    """The arguments of a failed task as they can be changed: all of them, as JSON."""

    args: str
    kwargs: str


class TaskView(Struct, frozen=True):
    """All about one task."""

    now_ms: int
    queue: str
    group: str
    row: TaskRow
    place: str
    """The name of its place; empty if it is not known."""
    arguments: Sequence[Shown]
    arguments_note: str
    """Why there are no arguments; empty if there are, or could be."""
    headers: Sequence[Shown]
    result: Shown | None
    value_bytes: int
    failure_type: str
    failure_message: str
    traceback: str
    attempts: Sequence[AttemptRow]
    spans: Sequence[Span]
    waited: float | None
    ran: float | None
    reasons: Sequence[str]
    parent: str
    before: Sequence[str]
    after: Sequence[str]
    retry_of: str = ""
    """The id of the failed task that it runs instead of."""
    editable: Editable | None = None
    """None if it cannot be changed here."""
    missing: Mapping[str, str] = NOTHING


class FailureView(Struct, frozen=True):
    now_ms: int
    row: GroupRow
    groups: Sequence[FailureRow]
    scanned: int
    complete: bool
    missing: Mapping[str, str] = NOTHING


class GroupWorkers(Struct, frozen=True):
    """A page of the workers of one group."""

    queue: str
    group: str
    workers: Sequence[WorkerRow]
    total: int
    next: str
    error: str = ""


class WorkersView(Struct, frozen=True):
    now_ms: int
    groups: Sequence[GroupWorkers]
    missing: Mapping[str, str] = NOTHING


class StatisticsView(Struct, frozen=True):
    now_ms: int
    row: GroupRow
    period: str
    statistics: Statistics | None
    missing: Mapping[str, str] = NOTHING


class ScheduleRow(Struct, frozen=True):
    id: str
    task: str
    when: str
    origin: str
    state: str
    last_ms: int
    next_ms: int
    last_task: str
    runs: int
    skipped: int
    missed: int
    errors: int
    error: str


class SchedulesView(Struct, frozen=True):
    now_ms: int
    row: GroupRow
    schedules: Sequence[ScheduleRow]
    missing: Mapping[str, str] = NOTHING


class FlowRow(Struct, frozen=True):
    """A flow with tasks that wait for others."""

    id: str
    waiting: int
    """How many were seen."""
    example: str


class FlowsView(Struct, frozen=True):
    now_ms: int
    row: GroupRow
    flows: Sequence[FlowRow]
    missing: Mapping[str, str] = NOTHING


class FlowNode(Struct, frozen=True):
    """A task of a flow, or many whose ids follow each other."""

    id: str
    name: str
    status: TaskStatus | None
    """None for many."""
    count: int
    states: Mapping[str, int]
    before: Sequence[str]


class FlowGraph(Struct, frozen=True):
    now_ms: int
    row: GroupRow
    id: str
    nodes: Sequence[FlowNode]
    states: Mapping[str, int]
    complete: bool
    missing: Mapping[str, str] = NOTHING


class LimitRow(Struct, frozen=True):
    """A limit, or one key of it."""

    name: str
    key: str
    kind: str
    """``"concurrency"`` or ``"rate"``."""
    code: str
    """What the code says."""
    set: str
    """What was set in the store, which counts more than the code; empty if nothing was."""
    used: int | None
    waiting: int | None
    paused: bool


class LimitsView(Struct, frozen=True):
    now_ms: int
    row: GroupRow
    limits: Sequence[LimitRow]
    paused_tasks: Sequence[str]
    missing: Mapping[str, str] = NOTHING


class ErrorView(Struct, frozen=True):
    status: int
    title: str
    text: str
