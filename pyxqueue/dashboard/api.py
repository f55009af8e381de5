"""The JSON of the API: the values of pages, with numbers of their own for programs that scale workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..model.message import Depth
from ..model.statistics import Statistics, TaskCounts
from .values import GroupRow, TaskRow


def plain(value: object) -> Any:
    """Return a value of a page as JSON has it."""
    return msgspec.to_builtins(value, str_keys=True)


def task(row: TaskRow) -> dict[str, Any]:
    """Return a task of a list, with the name of its state."""
    return {**plain(row), "status": row.status.name}


def group(row: GroupRow) -> dict[str, Any]:
    """Return a group in numbers."""
    return {
        "queue": row.queue,
        "group": row.group,
        "paused": row.paused,
        "paused_tasks": list(row.paused_tasks),
        "workers": row.workers,
        "busy": row.busy,
        "silent": dict(row.silent),
        "error": row.error or None,
        **(depth(row.depth) if row.depth else {}),
    }


def depth(found: Depth) -> dict[str, Any]:
    """Return how many tasks are in each place."""
    return {
        "ready": found.ready,
        "in_flight": found.in_flight,
        "delayed": found.delayed,
        "due": found.due,
        "blocked": found.blocked,
        "dependent": found.dependent,
        "failed": found.failed,
        "history": found.history,
        "oldest_seconds": found.oldest_ms / 1000,
    }


def statistics(found: Statistics) -> dict[str, Any]:
    """Return what was counted."""
    return {
        "now_ms": found.now_ms,
        "since_ms": found.since_ms,
        "slices": [
            {"start_ms": one.start_ms, "length_ms": one.length_ms, "tasks": [counts(task) for task in one.tasks]}
            for one in found.slices
        ],
        "totals": [counts(task) for task in found.totals],
    }


def counts(one: TaskCounts) -> Mapping[str, Any]:
    return {
        "name": one.name,
        "ended": dict(one.ended),
        "refused": one.refused,
        "dropped": one.dropped,
        "lost": one.lost,
        "run": {"count": one.run.count, "sum_ms": one.run.sum_ms, "p50": one.run.quantile(0.5),
                "p95": one.run.quantile(0.95)},
        "wait": {"count": one.wait.count, "sum_ms": one.wait.sum_ms, "p50": one.wait.quantile(0.5),
                 "p95": one.wait.quantile(0.95)},
    }  # fmt: skip
