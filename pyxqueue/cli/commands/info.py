"""``pyxqueue info``: show how many tasks are in each place, and what the workers run."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ...client.queue import TaskQueue
from ...client.views import QueueInfo, QueuePage, WorkerInfo, progress_of, progress_text
from ...model.message import TaskInfo
from ..looking import Look, look, paused_lines, running_table, workers_line, wrong
from ..output import age, json_option, print_json, print_table, say, say_wrapped
from ..target import Target, module_argument, other_groups, pass_target, place_of, target_options

_LISTED = 50
"""The most queues and groups that the text lists."""
_QUEUES = 1_000
"""The most queues that the JSON lists."""
_RUNNING = 3
"""The most tasks that are listed for one worker, and for one of several groups."""
_PLACES = ("ready", "in_flight", "delayed", "blocked", "dependent", "failed", "history")
_LONGEST = 10
"""The tasks that are listed for one group: those that have run longest."""


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
    if as_json:
        _print_json(queues)
        return
    several = len(queues) > 1
    seen = [look(target, queue, _RUNNING if several else _LONGEST, one_of_many=several) for queue in queues]
    say(f"queue {queues[0].stream_key} at {place_of(queues[0])}")
    _print_facts(seen[0].info.store)
    _print_depths([{"group": one.info.group, **_cells(_depth(one.info))} for one in seen])
    _print_paused({f"group {one.info.group}": one.info for one in seen})
    for one in seen[:_LISTED]:
        _print_work(one, f"group {one.info.group}: " if several else "")
    for name, waiting in other_groups(queues).items():
        say(f"other group {name}: {'?' if waiting is None else f'{waiting:,}'} waiting")


def _print_work(seen: Look, group: str) -> None:
    """Print the workers of a group, what has run longest, and what is wrong."""
    say()
    if seen.workers:
        say_wrapped(f"{group}{workers_line(seen)}")
        group = ""
    if seen.running:
        for line in running_table(seen.running):
            say(line)
        if (more := seen.in_flight - len(seen.running)) > 0:
            say(f"... and {more:,} more: pyxqueue tasks{seen.address} --state started")
    for line in wrong(seen):
        say_wrapped(f"! {group}{line}", "  ", colour="yellow" if seen.workers else "red")


def _print_json(queues: Sequence[TaskQueue]) -> None:
    infos = [queue.admin.info() for queue in queues]
    groups = [_group(queue, one) for queue, one in zip(queues, infos, strict=True)]
    print_json(
        {
            "queue": queues[0].stream_key,
            "at": place_of(queues[0]),
            "store": dict(infos[0].store),
            "groups": groups,
            "others": other_groups(queues),
        }
    )


def _print_facts(store: Mapping[str, str]) -> None:
    for name, fact in store.items():
        line = f"{name}: {fact}"
        if " " in fact:
            say_wrapped(line, "  ")
        else:  # a path stays on one line, to be copied
            say(line)
    say()


def _print_depths(rows: Sequence[Mapping[str, Any]]) -> None:
    unused = {name for name in ("blocked", "dependent") if not any(row[name] for row in rows)}
    rows = [{name: cell for name, cell in row.items() if name not in unused} for row in rows]
    shown = rows[:_LISTED]
    print_table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in shown], {"queue", "group"})
    if len(rows) > len(shown):
        say(f"... and {len(rows) - len(shown):,} more groups: --json has all of them")


def _print_paused(groups: Mapping[str, QueueInfo]) -> None:
    for line in paused_lines(groups):
        say(line, colour="yellow")


def _cells(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a group's row in the table."""
    return {**group["depth"], "oldest": age(group["oldest_ms"]) if group["oldest_ms"] else "-"}


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
    _print_paused({f"group {one.group} of {one.queue}": one for one in page.queues})
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
        "running": [_run(worker, task, now) for task in worker.tasks],
    }


def _run(worker: WorkerInfo, info: TaskInfo, now: int) -> dict[str, Any]:
    since = worker.began(info)
    return {
        "id": info.id,
        "task": info.readable.name if info.readable else None,
        "for_ms": max(0, now - since) if since else None,
        "begun": since != 0,
        "progress": progress_text(progress_of(info)) or None,
    }
