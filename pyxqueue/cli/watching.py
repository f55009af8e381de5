"""What `top` shows: a group at one moment, with how fast it works, as lines of text and as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from ..client.queue import TaskQueue
from ..client.views import WorkerInfo, progress_text
from ..errors import ConfigurationError
from ..model.statistics import Slice, Statistics, TaskCounts
from ..printable import counted
from .looking import Look, look, paused_lines, running_table, where, workers_line, wrong
from .output import age, cut, cut_front, table
from .target import Target

_MINUTES = 10
"""The minutes for which the slowest tasks are shown."""
_RATE_SLICES = 2
"""The minutes for which rates are computed: the current one, and the one before."""
_SLOWEST = 6
_LONGEST = 10
_DEADLY = 3
_ENDED = ("success", "failure", "cancelled", "expired")
_BLOCKS = "▁▂▃▄▅▆▇█"


@frozen
class Sample:
    """How many tasks had not ended, at a time of this program."""

    at: float
    unfinished: int


@frozen
class Watched:
    """One group at one moment, with its statistics."""

    seen: Look
    statistics: Statistics | None
    """None if the store keeps none."""
    sample: Sample
    grows: float | None = None
    """By how many tasks a second the number of tasks that have not ended grows; None if that is not known yet."""

    @property
    def done_rate(self) -> float | None:
        return None if self.statistics is None else _rate(self.statistics, _ENDED)

    @property
    def failed_rate(self) -> float | None:
        return None if self.statistics is None else _rate(self.statistics, ("failure",))

    @property
    def dropped(self) -> int:
        """How many failed tasks were not kept in the last minutes."""
        return sum(one.dropped for one in self.statistics.recent) if self.statistics else 0

    @property
    def in_rate(self) -> float | None:
        """How many tasks are enqueued a second: as many as end, plus the growth of the others."""
        done = self.done_rate
        return None if done is None or self.grows is None else max(0.0, done + self.grows)


def watch(target: Target, queue: TaskQueue, first: Watched | None = None, *, one_of_many: bool = False) -> Watched:
    """Look at a group. `first`: an earlier look at it, from which on its growth is measured."""
    seen = look(target, queue, _LONGEST, one_of_many=one_of_many)
    try:
        statistics = queue.admin.statistics(_MINUTES)
    except ConfigurationError:  # the store keeps none
        statistics = None
    depth = seen.info.depth
    sample = Sample(time.monotonic(), depth.waiting + depth.in_flight if depth else 0)
    found = Watched(seen, statistics, sample)
    if first is None or sample.at <= first.sample.at:
        return found
    return evolve(found, grows=(sample.unfinished - first.sample.unfinished) / (sample.at - first.sample.at))


def _rate(statistics: Statistics, outcomes: Iterable[str]) -> float:
    """Return how many tasks a second had these outcomes, in the last one to two minutes."""
    last = statistics.slices[-_RATE_SLICES:]
    began = max(last[0].start_ms, statistics.since_ms)
    seconds = max(1.0, (statistics.now_ms - began) / 1000)
    return sum(_ended(one, outcomes) for one in last) / seconds


def _ended(one: Slice, outcomes: Iterable[str]) -> int:
    return sum(task.ended.get(outcome, 0) for task in one.tasks for outcome in outcomes)


# As text


def lines(watched: Watched) -> Iterator[tuple[str, str]]:
    """Yield the lines about a group, each with its colour, which is empty for most."""
    seen = watched.seen
    info, depth = seen.info, seen.info.depth
    yield cut(f"{info.queue} · {info.group}  {_rates(watched)}"), "cyan"
    if depth is not None:
        places = [("ready", depth.ready), ("in flight", depth.in_flight), ("delayed", depth.delayed)]
        places += [(name, number) for name in ("blocked", "dependent") if (number := getattr(depth, name))]
        places.append(("failed", depth.failed))
        places += [("dropped", watched.dropped)] if watched.dropped else []
        oldest = f"  oldest {age(depth.oldest_ms)}" if depth.oldest_ms else ""
        yield cut("  ".join(f"{name} {number:,}" for name, number in places) + oldest), ""
    yield from ((cut(line), "yellow") for line in paused_lines({f"group {info.group}": info}))
    for line in (*wrong(seen), *_lost(watched), *deadly(watched)):
        yield cut(f"! {line}"), "yellow" if seen.workers else "red"
    for block in (_slowest_table(watched), _workers(seen)):
        if block:
            yield "", ""
            yield from ((line, "") for line in block)


def _rates(watched: Watched) -> str:
    if watched.statistics is None:
        return "this store keeps no statistics"
    known = [("in", watched.in_rate), ("done", watched.done_rate), ("failed", watched.failed_rate)]
    rates = "  ".join(f"{name} {per_second(rate)}" for name, rate in known if rate is not None)
    return f"{rates}  {_curve([_ended(one, _ENDED) for one in watched.statistics.slices])}"


def per_second(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 or not rate else f"{rate:.1f}/s" if rate >= 0.1 else f"{rate * 60:.1f}/min"


def _curve(numbers: Sequence[int]) -> str:
    """Return numbers as a row of blocks, the highest for the largest number."""
    most = max(numbers, default=0)
    return "".join(_BLOCKS[number * (len(_BLOCKS) - 1) // most] for number in numbers) if most else ""


def slowest(watched: Watched) -> Sequence[TaskCounts]:
    """Return the tasks that have run in the last minutes, those that take longest first."""
    recent = watched.statistics.recent if watched.statistics else ()
    return sorted((one for one in recent if one.run.count), key=lambda one: -(one.run.quantile(0.95) or 0))


def deadly(watched: Watched) -> Iterator[str]:
    """Yield which tasks have killed their processes in the last minutes."""
    for name, times in (watched.statistics.deaths if watched.statistics else ())[:_DEADLY]:
        died = "once" if times == 1 else f"{times:,} times"
        yield f"the process of {cut_front(name, 30)} died {died} within {_MINUTES} min, while it ran"


def _lost(watched: Watched) -> Iterator[str]:
    """Yield what failovers have lost in the last minutes."""
    for name, number in (watched.statistics.losses if watched.statistics else ())[:_DEADLY]:
        yield f"a failover has lost {number:,} {cut_front(name, 30)} within {_MINUTES} min: the callers' logs say which"


def _slowest_table(watched: Watched) -> list[str]:
    rows = [
        [
            cut_front(one.name, 30),
            one.run.count,
            _seconds(one.run.quantile(0.5)),
            _seconds(one.run.quantile(0.95)),
            _seconds(one.wait.quantile(0.95)),
            f"{_failed_share(one):.0%}",
        ]
        for one in slowest(watched)
    ]
    head = [f"task, {_MINUTES} min", "runs", "p50", "p95", "waited p95", "failed"]
    more = [f"... and {counted(len(rows) - _SLOWEST, 'more task')}: --json"] if len(rows) > _SLOWEST else []
    return [*table(head, rows[:_SLOWEST], {head[0]}), *more] if rows else []


def _failed_share(one: TaskCounts) -> float:
    """Return which part of the runs failed, also those that were tried again."""
    return min(1.0, sum(one.ended.get(outcome, 0) for outcome in ("failure", "retry", "crashed")) / one.run.count)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else age(round(seconds * 1000))


def _workers(seen: Look) -> list[str]:
    if not seen.workers:
        return []
    memory = sum(worker.facts.rss or 0 for worker in seen.workers if worker.facts)
    head = workers_line(seen) + (f", {memory / 1e6:,.0f} MB" if memory else "")
    more = seen.in_flight - len(seen.running)
    rest = [f"... and {more:,} more: pyxqueue tasks{seen.address} --state started"] if more > 0 else []
    return [cut(head), *(running_table(seen.running) if seen.running else ()), *(cut(one) for one in rest)]


# As JSON


def facts(watched: Watched) -> Mapping[str, Any]:
    """Return everything about a group."""
    seen = watched.seen
    info, depth = seen.info, seen.info.depth
    places = ("ready", "in_flight", "delayed", "due", "blocked", "dependent", "failed", "history")
    return {
        "queue": info.queue,
        "group": info.group,
        "paused": info.paused,
        "paused_tasks": list(info.paused_tasks),
        "depth": {name: getattr(depth, name) for name in places} if depth else None,
        "oldest_ms": depth.oldest_ms if depth else None,
        "rates": {"in": watched.in_rate, "done": watched.done_rate, "failed": watched.failed_rate},
        "minutes": _MINUTES,
        "tasks": [_task(one) for one in slowest(watched)],
        "workers": [_worker(one, seen.lease_ms) for one in seen.workers],
        "running": [
            {"id": one.id, "task": one.task, "on": one.on, "for_ms": one.for_ms,
             "begun": one.begun, "progress": progress_text(one.progress) or None}
            for one in seen.running
        ],
        "failures": [{"task": one.name, "error": one.error, "count": one.count} for one in seen.kinds],
        "dropped": watched.dropped,
        "wrong": [*wrong(seen), *_lost(watched), *deadly(watched)],
    }  # fmt: skip


def _task(one: TaskCounts) -> Mapping[str, Any]:
    return {
        "task": one.name,
        "ended": dict(one.ended),
        "runs": one.run.count,
        "p50": one.run.quantile(0.5),
        "p95": one.run.quantile(0.95),
        "waited_p95": one.wait.quantile(0.95),
        "failed_share": _failed_share(one),
        "dropped": one.dropped,
        "lost": one.lost,
    }


def _worker(worker: WorkerInfo, lease_ms: int) -> Mapping[str, Any]:
    told = worker.facts
    return {
        "name": worker.name,
        "on": where(worker),
        "in_flight": len(worker.in_flight),
        "slots": told.slots if told else None,
        "memory": told.rss if told else None,
        "draining": told is not None and told.draining,
        "silent_ms": worker.idle_ms if worker.is_silent(lease_ms) else None,
    }
