"""The pages: functions from values to what a template needs. They know no web framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup
from msgspec import Struct

from ..client.timeline import Span
from ..client.views import progress_text
from ..model.message import Depth, Progress, TaskStatus
from ..model.places import Place
from ..model.statistics import BOUNDS, Histogram, Slice, Statistics, TaskCounts
from ..printable import counted
from . import charts
from .charts import Bar, Node
from .formatting import middle, moment, ms, number, rate, seconds, share
from .site import Page, Site
from .values import (
    ErrorView,
    FailureView,
    Filters,
    FlowGraph,
    FlowsView,
    GroupRow,
    GroupView,
    LimitsView,
    Overview,
    SchedulesView,
    StatisticsView,
    TaskList,
    TaskView,
    WorkersView,
)

_BAD = ("failure",)
_ENDED = ("success", "failure", "cancelled", "expired")
_LONG_MS = 60_000
"""How long a task may wait while every worker is busy before that is shown as a problem."""
_SILENT, _DEADLY = 3, 3
_TURNS = 20
"""How many pages a visitor can go back one by one."""
_RECENT = 5
"""The minutes from which the rate is made."""
PLACES: Mapping[Place, str] = {
    Place.READY: "Ready",
    Place.IN_FLIGHT: "In flight",
    Place.DELAYED: "Delayed",
    Place.BLOCKED: "Blocked",
    Place.DEPENDENT: "Dependent",
    Place.FAILED: "Failed",
    Place.HISTORY: "History",
}
_SEEN = ("ready", "in_flight", "delayed", "blocked", "dependent", "failed", "history")
_ACTS: Mapping[Place, Sequence[tuple[str, str]]] = {
    Place.READY: (("cancel", "Cancel"), ("delete", "Delete")),
    Place.IN_FLIGHT: (("cancel", "Cancel"),),
    Place.DELAYED: (("cancel", "Cancel"), ("delete", "Delete")),
    Place.BLOCKED: (("cancel", "Cancel"), ("delete", "Delete")),
    Place.DEPENDENT: (("cancel", "Cancel"), ("delete", "Delete")),
    Place.FAILED: (("retry", "Retry"), ("delete", "Delete")),
    Place.HISTORY: (("delete", "Delete"),),
}
STATES: Mapping[TaskStatus, tuple[str, str]] = {
    TaskStatus.PENDING: ("waits", "Waiting"),
    TaskStatus.STARTED: ("runs", "Running"),
    TaskStatus.RETRY: ("waits", "Waits to retry"),
    TaskStatus.FAILURE: ("failed", "Failed"),
    TaskStatus.SUCCESS: ("done", "Succeeded"),
    TaskStatus.CANCELLED: ("gone", "Cancelled"),
}
"""The class and the word of each state."""


class Tile(Struct, frozen=True):
    """A number in a row of numbers."""

    name: str
    text: str
    href: str
    live: str
    tone: str = ""


class Card(Struct, frozen=True):
    """A group on the overview."""

    row: GroupRow
    alarm: str
    tiles: Sequence[Tile]
    chart: Markup | None
    rate: str
    failed_share: str


def overview(site: Site, view: Overview) -> Page:
    cards = [_card(site, row) for row in view.groups]
    context = {"view": view, "cards": cards, "verdict": verdict(view.groups)}
    return Page("overview.html", context, "All queues")


def group(site: Site, view: GroupView) -> Page:
    found = view.row.statistics
    context = _of(site, view.row) | {
        "view": view,
        "card": _card(site, view.row),
        "chart": _wide_chart(found),
        "by_time": _by_time(found.slices) if found else (),
    }
    return Page("group.html", context, view.row.queue)


def tasks(site: Site, view: TaskList) -> Page:
    acts = [one for one in _ACTS[view.place] if one[0] in site.may]
    filtered = any(_filters(view.filters).values())
    context = _of(site, view.row) | {
        "view": view,
        "place": view.place,
        "acts": acts,
        "filtered": filtered,
        "newer": _newer(site, view),
        "older": _older(site, view),
        "states": STATES,
        "count": _count(view.row.depth, view.place),
    }
    return Page("tasks.html", context, PLACES[view.place])


def task(site: Site, view: TaskView) -> Page:
    kind, word = STATES[view.row.status]
    ended = view.row.status.ended
    waits = view.place in (Place.READY, Place.DELAYED, Place.BLOCKED, Place.DEPENDENT)
    acts = [("retry", "Retry")] if view.row.status is TaskStatus.FAILURE else []
    acts += [("retry", "Run again")] if view.row.status in (TaskStatus.SUCCESS, TaskStatus.CANCELLED) else []
    acts += [] if ended else [("cancel", "Cancel")]
    acts += [("delete", "Delete")] if ended or waits else []
    context = {
        "view": view,
        "kind": kind,
        "word": word,
        "acts": [one for one in acts if one[0] in site.may],
        "editable": view.editable if "edit" in site.may else None,
        "timeline": timeline(view),
        "chart": drawn(view),
        "bar": _percent(view.row.progress),
        "reasons": view.reasons if waits else (),
        "held": view.reasons[1:] if view.row.status is TaskStatus.STARTED else (),
        "place_name": PLACES[Place(view.place)] if view.place else "",
        "queue": view.queue,
        "group": view.group,
        "tabs": (),
    }
    return Page("task.html", context, view.row.name or "A task that cannot be read")


def failures(site: Site, view: FailureView) -> Page:
    return Page("failures.html", _of(site, view.row) | {"view": view}, "Failures by kind")


def workers(site: Site, view: WorkersView) -> Page:  # noqa: ARG001 - as all pages are called
    hosts: dict[str, int] = {}
    for each in view.groups:
        for worker in each.workers:
            hosts[worker.host or "an unknown host"] = hosts.get(worker.host or "an unknown host", 0) + 1
    context = {"view": view, "hosts": hosts, "percent": _percent, "tabs": ()}
    return Page("workers.html", context, "Workers")


def statistics(site: Site, view: StatisticsView) -> Page:
    found = view.statistics
    recent = sorted(found.recent, key=lambda one: -(one.run.quantile(0.95) or 0)) if found else []
    context = _of(site, view.row) | {
        "view": view,
        "rows": [_measures(one) for one in recent],
        "dropped": any(one.dropped for one in recent),
        "lost": any(one.lost for one in recent),
        "chart": _wide_chart(found),
        "by_time": _by_time(found.slices) if found else (),
        "run": _histogram(recent, run=True),
        "wait": _histogram(recent, run=False),
        "periods": ("1h", "8h", "72h"),
    }
    return Page("statistics.html", context, "Statistics")


def schedules(site: Site, view: SchedulesView) -> Page:
    return Page("schedules.html", _of(site, view.row) | {"view": view}, "Schedules")


def flows(site: Site, view: FlowsView) -> Page:
    return Page("flows.html", _of(site, view.row) | {"view": view}, "Flows")


def flow(site: Site, view: FlowGraph) -> Page:
    nodes = [
        Node(
            one.id,
            (one.name or one.id, _node_text(one.status, one.count, one.states)),
            STATES[one.status][0] if one.status else "many",
            site.url("task", queue=view.row.queue, group=view.row.group, id=one.id) if one.status else "",
            one.before,
        )
        for one in view.nodes
    ]
    context = _of(site, view.row) | {
        "view": view,
        "chart": charts.graph(nodes, f"the tasks of the flow {view.id}"),
        "counts": [(_state(name), count) for name, count in view.states.items()],
        "states": STATES,
    }
    return Page("flow.html", context, "Flow")


def limits(site: Site, view: LimitsView) -> Page:
    return Page("limits.html", _of(site, view.row) | {"view": view}, "Limits and pauses")


def error(site: Site, view: ErrorView) -> Page:  # noqa: ARG001 - as all pages are called
    return Page("error.html", {"view": view}, view.title)


def live_overview(view: Overview) -> Mapping[str, str]:
    """Return the texts about the groups that open pages show, by key."""
    found = {"verdict": verdict(view.groups)}
    for row in view.groups:
        if row.depth is not None:
            numbers = {**_numbers(row, row.depth), "alarm": alarm(row, row.depth)}
            found |= {f"{row.queue}/{row.group}/{name}": text for name, text in numbers.items()}
    return found


def live_task(view: TaskView) -> Mapping[str, str]:
    """Return the texts about a task that an open page shows, by key."""
    progress = view.row.progress
    percent = _percent(progress)
    return {
        "status": STATES[view.row.status][1],
        "progress": progress_text(progress),
        "bar": "" if percent is None else f"{percent:.0f}",
    }


def timeline(view: TaskView) -> Sequence[tuple[str, int, str]]:
    """Return what has happened to a task: words, when (ms), and a detail; in order."""
    row = view.row
    found = [("enqueued", row.enqueued_ms, f"by task {view.parent}" if view.parent else "")]
    if row.due_ms > row.enqueued_ms:
        found.append(("due", row.due_ms, ""))
    for one in view.spans:
        if one.attempt and (one.end_ms > one.start_ms or _is_last(view, one)):
            began = "was claimed" if one.what == "runs" else "began"
            found.append((f"attempt {one.attempt} {began}", one.start_ms, _place(one)))
        if one.attempt and not _is_last(view, one):
            found.append((f"attempt {one.attempt} ended", one.end_ms, f"{one.error} · {_place(one)}"))
    if row.ended_ms:
        found.append((STATES[row.status][1].lower(), row.ended_ms, f"after {ms(row.ran_ms)}" if row.ran_ms else ""))
    return sorted((one for one in found if one[1]), key=lambda one: max(one[1], row.enqueued_ms))


def _is_last(view: TaskView, one: Span) -> bool:
    """Whether a span is that of the run that ended the task, or goes on."""
    return bool(one.attempt) and one is view.spans[-1] and (one.what == "runs" or view.row.ended_ms > 0)


def _place(one: Span) -> str:
    return " · ".join(filter(None, (one.worker, one.host)))


def _card(site: Site, row: GroupRow) -> Card:
    depth = row.depth
    if depth is None:
        return Card(row, "", (), None, "", "")
    texts = _numbers(row, depth)
    names = {"queue": row.queue, "group": row.group}
    tiles = [
        Tile(
            PLACES[place],
            texts[place.value],
            site.url("tasks", **names, place=place.value),
            f"{row.queue}/{row.group}/{place.value}",
            "bad" if place is Place.FAILED and depth.failed else "",
        )
        for place in Place
        if place in (Place.READY, Place.IN_FLIGHT, Place.DELAYED, Place.FAILED, Place.HISTORY) or _count(depth, place)
    ]
    found = row.statistics
    ended, bad = _sums(found.slices if found else ())
    return Card(
        row,
        alarm(row, depth),
        tiles,
        None if found is None else charts.bars(_columns(found.slices[-60:]), label="tasks that ended in each minute"),
        texts["rate"],
        "" if not ended else share(bad, ended),
    )


def alarm(row: GroupRow, depth: Depth) -> str:
    """Return what is wrong with a group, each thing in a line; empty if nothing is."""
    return "\n".join(_wrong(row, depth))


def _wrong(row: GroupRow, depth: Depth) -> Iterator[str]:
    waiting = depth.ready + depth.due
    if waiting and row.workers == 0:
        yield f"{number(waiting)} {'task waits' if waiting == 1 else 'tasks wait'}, and no worker is running"
    elif waiting and row.paused:
        yield f"paused, and {number(waiting)} wait"
    elif depth.ready and depth.oldest_ms > _LONG_MS and row.workers and row.busy == row.workers:
        yield f"every worker is busy, and a task has waited for {ms(depth.oldest_ms)}"
    for host, held in list(row.silent.items())[:_SILENT]:
        yield f"{host} is silent and holds {counted(held, 'task')}"
    if len(row.silent) > _SILENT:
        yield f"{counted(len(row.silent) - _SILENT, 'more host')} silent"
    for name, lost in (row.statistics.losses if row.statistics else ())[:_DEADLY]:
        yield f"a failover has lost {number(lost)} {middle(name)} within an hour"
    for name, times in (row.statistics.deaths if row.statistics else ())[:_DEADLY]:
        yield f"the process of {middle(name)} died {'once' if times == 1 else f'{number(times)} times'} within an hour"


def verdict(rows: Sequence[GroupRow]) -> str:
    """Return a sentence that says how many groups need attention. It says that all is well only if no task has failed
    either."""
    alarms = sum(row.depth is None or bool(alarm(row, row.depth)) for row in rows)
    if alarms:
        return f"{number(alarms)} need{'s' if alarms == 1 else ''} attention"
    return "" if any(row.depth and row.depth.failed for row in rows) else "all is well"


def _filters(filters: Filters) -> dict[str, str]:
    return {name: getattr(filters, name) for name in ("name", "error", "text", "older", "newer")}


def _turn(site: Site, view: TaskList, after: str, was: Sequence[str]) -> str:
    """Return the URL of another page of the same list."""
    names = {"queue": view.row.queue, "group": view.row.group, "place": view.place.value}
    filters = {**_filters(view.filters), "limit": view.filters.limit}
    return site.url("tasks", **names, **filters, after=after, was="\n".join(was[-_TURNS:]))


def _older(site: Site, view: TaskList) -> str:
    """Return the URL of the next page; empty on the last one, which may only be known there."""
    count = _count(view.row.depth, view.place)
    if not view.filters.after and not any(_filters(view.filters).values()) and count == len(view.rows):
        return ""
    was = view.filters.was.split("\n") if view.filters.was else []
    here = [view.filters.after] if view.filters.after else []
    return _turn(site, view, view.next, [*was, *here]) if view.next else ""


def _newer(site: Site, view: TaskList) -> str:
    """Return the URL of the page before; empty on the first one."""
    was = view.filters.was.split("\n") if view.filters.was else []
    return _turn(site, view, was[-1] if was else "", was[:-1]) if view.filters.after else ""


def _numbers(row: GroupRow, depth: Depth) -> dict[str, str]:
    """Return what is shown of a group in numbers, by name."""
    slices = row.statistics.slices[-_RECENT - 1 : -1] if row.statistics else ()
    ended, _ = _sums(slices)
    span = sum(one.length_ms for one in slices) / 1000
    return {
        **{place: number(getattr(depth, place)) for place in _SEEN},
        "oldest": ms(depth.oldest_ms) if depth.oldest_ms else "",
        "workers": number(row.workers),
        "busy": number(row.busy),
        "rate": rate(ended / span) if span else "",
    }


def _count(depth: Depth | None, place: Place) -> int | None:
    return None if depth is None else int(getattr(depth, place.value))


def _sums(slices: Sequence[Slice]) -> tuple[int, int]:
    """Return how many tasks ended, and how many of them without success."""
    counts = [one.ended for each in slices for one in each.tasks]
    return (
        sum(ended.get(outcome, 0) for ended in counts for outcome in _ENDED),
        sum(ended.get(outcome, 0) for ended in counts for outcome in _BAD),
    )


def _wide_chart(found: Statistics | None) -> Markup | None:
    """Return a chart of the tasks that have ended; None if there are none, or that is not known."""
    if found is None or not _sums(found.slices)[0]:
        return None
    return charts.bars(_columns(found.slices), 960, 90, "tasks that ended, by time")


def _columns(slices: Sequence[Slice]) -> list[Bar]:
    columns = []
    for one in slices:
        ended, bad = _sums([one])
        when = moment(one.start_ms)[:16].replace("T", " ")
        columns.append(Bar(max(0, ended - bad), bad, f"{when} UTC: {number(ended)} ended, {number(bad)} badly"))
    return columns


def _by_time(slices: Sequence[Slice]) -> list[tuple[int, int, int]]:
    """Return the numbers of a chart by time, the newest first: when, how many ended, and how many of them without
    success. Times in which nothing ended are left out."""
    found = [(one.start_ms, *_sums([one])) for one in slices]
    return [one for one in reversed(found) if one[1]]


class Measures(Struct, frozen=True):
    """The statistics of the tasks of one name."""

    name: str
    ended: int
    failed: int
    retried: int
    crashed: int
    """How often its process died."""
    dropped: int
    lost: int
    share: str
    run: tuple[str, str]
    wait: tuple[str, str]


def _measures(one: TaskCounts) -> Measures:
    ended = sum(one.ended.get(outcome, 0) for outcome in _ENDED)
    bad = sum(one.ended.get(outcome, 0) for outcome in _BAD)
    return Measures(
        one.name,
        ended,
        bad,
        one.ended.get("retry", 0),
        one.ended.get("crashed", 0),
        one.dropped,
        one.lost,
        share(bad, ended),
        (seconds(one.run.quantile(0.5)), seconds(one.run.quantile(0.95))),
        (seconds(one.wait.quantile(0.5)), seconds(one.wait.quantile(0.95))),
    )


def _histogram(tasks: Sequence[TaskCounts], *, run: bool) -> Markup | None:
    found = [one.run if run else one.wait for one in tasks]
    counts = [sum(each) for each in zip(*(one.counts for one in found or [Histogram()]), strict=True)]
    if not any(counts):
        return None
    names = [f"≤ {seconds(bound)}" for bound in BOUNDS] + [f"> {seconds(BOUNDS[-1])}"]
    return charts.histogram(counts, names, "how long runs took" if run else "how long tasks were ready")


def drawn(view: TaskView) -> Markup | None:
    """The times in which a task waited and ran, on one line."""
    if not view.spans:
        return None
    begin, end = view.spans[0].start_ms, view.spans[-1].end_ms
    if end <= begin:
        return None
    parts = [
        (_kind(view, one), (one.start_ms - begin) / (end - begin), (one.end_ms - begin) / (end - begin), _told(one))
        for one in view.spans
    ]
    return charts.spans(parts)


def _kind(view: TaskView, one: Span) -> str:
    """The class of a span in the chart."""
    if one.what == "ran":
        return STATES[view.row.status][0] if _is_last(view, one) else "bad"
    return {"runs": "run", "delayed": "late"}.get(one.what, "wait")


def _told(one: Span) -> str:
    took = ms(one.end_ms - one.start_ms)
    words = {"delayed": "not due for", "waits": "has waited for", "before": "earlier attempts, and delays, for"}
    said = f"attempt {one.attempt} {one.what} for" if one.attempt else words.get(one.what, "waited for")
    return f"{said} {took}" + (f": {one.error}" if one.error else "")


def _percent(progress: Progress | None) -> float | None:
    """Return how far a task is, from 0 to 100; None if that is not known."""
    if progress is None or not progress.total or progress.total < 0:
        return None
    return min(100.0, max(0.0, 100 * progress.done / progress.total))


def _node_text(status: TaskStatus | None, count: int, states: Mapping[str, int]) -> str:
    if status is not None:
        return STATES[status][1]
    return f"{counted(count, 'task')}: " + ", ".join(f"{number(each)} {_state(name)}" for name, each in states.items())


def _state(name: str) -> str:
    """Return the word for a state in a sentence."""
    return STATES[TaskStatus[name]][1].lower()


def _of(site: Site, row: GroupRow) -> dict[str, object]:
    """Return what every page of a group needs: its names and its tabs."""
    names = {"queue": row.queue, "group": row.group}
    depth = row.depth
    tabs = [("group", "Group", site.url("group", **names), "", "")]
    for place, name in PLACES.items():
        count = _count(depth, place)
        if place in (Place.BLOCKED, Place.DEPENDENT) and not count and not site.here.split("?")[0].endswith(place):
            continue
        url = site.url("tasks", **names, place=place.value)
        tabs.append((f"tasks/{place.value}", name, url, number(count), f"{row.queue}/{row.group}/{place.value}"))
        if place is Place.FAILED:
            tabs.append(("failures", "By kind", site.url("failures", **names), "", ""))
    for route, name in (
        ("statistics", "Statistics"), ("schedules", "Schedules"), ("flows", "Flows"), ("limits", "Limits"),
    ):  # fmt: skip
        tabs.append((route, name, site.url(route, **names), "", ""))
    return {**names, "tabs": tabs, "statistics_known": isinstance(row.statistics, Statistics)}
