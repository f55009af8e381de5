"""``pyxqueue info``: show how many tasks are in each place, and what the workers run."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ...client.queue import TaskQueue
from ...client.views import QueueInfo, QueuePage, WorkerInfo
from ...model.message import TaskInfo
from ..output import cut, cut_front, duration, json_option, print_json, print_some, print_table, progress_text, say
from ..target import Target, module_argument, other_groups, pass_target, place_of, target_options

_LISTED = 50
"""The most queues, groups and workers that the text lists."""
_QUEUES = 1_000
"""The most queues that the JSON lists."""
_RUNNING = 3
"""The most tasks that are listed for one worker."""
_PLACES = ("ready", "in_flight", "delayed", "blocked", "dependent", "failed", "history")
_BOOT = len("-0242ac110002-1e9gmXli")
"""How much of a worker's name says which machine and which start."""


@click.command()
@module_argument
@target_options
@json_option
@pass_target
def info(target: Target, as_json: bool) -> None:
    """Show how many tasks are in each place, and what the workers run.

    Without MODULE, --queue and --group, it lists the queues of the store. With MODULE, it shows the group of its queue,
    and how many tasks wait in other groups. With --queue, it shows every group, or the one named by --group.
    """
    if not target.names_a_queue:
        any_queue = target.open()
        page = any_queue.admin.queues(_QUEUES if as_json else _LISTED)
        if page is not None:
            _show_store(page, place_of(any_queue), as_json=as_json)
            return
    queues = target.existing_groups()
    infos = [queue.admin.info() for queue in queues]
    groups = [_group(queue, one) for queue, one in zip(queues, infos, strict=True)]
    place, others, store = place_of(queues[0]), other_groups(queues), dict(infos[0].store)
    if as_json:
        print_json({"queue": queues[0].stream_key, "at": place, "store": store, "groups": groups, "others": others})
        return
    say(f"queue {queues[0].stream_key} at {place}")
    _print_facts(store)
    _print_depths([{"group": group["group"], **_cells(group)} for group in groups])
    _print_paused({f"group {group['group']}": group for group in groups})
    say()
    workers = [_worker_lines(group["group"], worker) for group in groups for worker in group["workers"]]
    print_some(workers or [["no workers"]], _LISTED, "workers")
    for name, waiting in others.items():
        say(f"other group {name}: {'?' if waiting is None else waiting} waiting")


def _print_facts(store: Mapping[str, str]) -> None:
    for name, fact in store.items():
        say(f"{name}: {fact}")
    say()


def _print_depths(rows: Sequence[Mapping[str, Any]]) -> None:
    unused = {name for name in ("blocked", "dependent") if not any(row[name] for row in rows)}
    rows = [{name: cell for name, cell in row.items() if name not in unused} for row in rows]
    shown = rows[:_LISTED]
    print_table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in shown], {"queue", "group"})
    if len(rows) > len(shown):
        say(f"... and {len(rows) - len(shown):,} more groups: --json has all of them")


def _print_paused(groups: Mapping[str, Mapping[str, Any]]) -> None:
    for name, group in groups.items():
        if group["paused"]:
            say(f"{name} is paused: no worker starts a task of it until `pyxqueue resume`")
        for task in group["paused_tasks"]:
            say(f"the task {task} in {name} is paused: no worker starts it until `pyxqueue resume --task {task}`")


def _cells(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a group's row in the table."""
    return {**group["depth"], "oldest": duration(group["oldest_ms"]) if group["oldest_ms"] else "-"}


def _show_store(page: QueuePage, place: str, *, as_json: bool) -> None:
    """Print the queues of a store, each group with its depth."""
    groups = [{"queue": one.queue, **_depth(one)} for one in page.queues]
    if not groups:
        raise click.ClickException(f"there is no queue at {place}: check the store, or enqueue a task first")
    if as_json:
        print_json({"at": place, "store": dict(page.store), "queues": groups, "complete": page.complete})
        return
    say(f"queues at {place}")
    _print_facts(page.store)
    _print_depths([{"queue": group["queue"], "group": group["group"], **_cells(group)} for group in groups])
    _print_paused({f"group {group['group']} of {group['queue']}": group for group in groups})
    if page.more:
        say(f"... and {page.more:,} more queues: --json has them too")
    if not page.complete:
        say("... and there may be more queues: the store was only read in part")
    say()
    say(f"pyxqueue info --queue {shlex.quote(groups[0]['queue'])} shows the workers of one of them")


def _depth(info: QueueInfo) -> dict[str, Any]:
    depth = {place: "?" if info.depth is None else getattr(info.depth, place) for place in _PLACES}
    oldest = info.depth.oldest_ms if info.depth else None
    return {
        "group": info.group,
        "paused": info.paused,
        "paused_tasks": list(info.paused_tasks),
        "depth": depth,
        "oldest_ms": oldest,
    }


def _group(queue: TaskQueue, info: QueueInfo) -> dict[str, Any]:
    now = round(time.time() * 1000)
    return {**_depth(info), "workers": [_worker(worker, now) for worker in queue.admin.workers(tasks=_RUNNING)]}


def _worker(worker: WorkerInfo, now: int) -> dict[str, Any]:
    return {
        "name": worker.name,
        "host": worker.host or None,
        "node": None if worker.node is None else f"{worker.node:012x}",
        "pid": worker.pid,
        "draining": worker.facts is not None and worker.facts.draining,
        "idle_ms": worker.idle_ms,
        "in_flight": list(worker.in_flight),
        "running": [_run(task, now) for task in worker.tasks],
    }


def _run(info: TaskInfo, now: int) -> dict[str, Any]:
    return {
        "id": info.id,
        "task": info.readable.name if info.readable else None,
        "for_ms": max(0, now - info.started_ms) if info.started_ms else None,
        "progress": progress_text(info) or None,
    }


def _worker_lines(group: str, worker: Mapping[str, Any]) -> list[str]:
    """Return the lines about a worker and the tasks it runs."""
    name = worker["name"] if worker["node"] is None else worker["name"][:-_BOOT]
    seen = f"last seen {duration(worker['idle_ms'])} ago"
    host = "an unknown host" if worker["host"] is None else cut(worker["host"], 24)
    seen += ", draining" if worker["draining"] else ""
    lines = [cut(f"{cut(name, 24)} on {host}, group {cut(group, 16)}, {seen}")]
    for run in worker["running"]:
        since = "?" if run["for_ms"] is None else duration(run["for_ms"])
        progress = f", {run['progress']}" if run["progress"] else ""
        lines.append(cut(f"  {cut(run['id'], 32)}  {cut_front(run['task'] or '?', 20)} for {since}{progress}"))
    if more := len(worker["in_flight"]) - len(worker["running"]):
        lines.append(f"  ... and {more:,} more")
    return lines if worker["in_flight"] else [*lines, "  idle"]
