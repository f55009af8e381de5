"""The command that says how much stands where, and what the workers do."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..errors import BrokerError, BrokerUnavailableError
from ..message import ConsumerInfo, Depth, Message, TaskInfo
from ..protocols import HasAbout, HasQueues, Inspector
from ..queue import TaskQueue
from ..views import worker_dicts
from .output import cut, cut_front, duration, json_option, print_json, print_some, print_table, progress_text
from .target import Target, module_argument, pass_target, target_options

_LISTED = 50
"""Queues, groups and workers that are listed for people."""
_QUEUES = 1_000
_RUNNING = 3
"""Tasks that are listed for one worker."""
_PLACES = ("ready", "held", "delayed", "failed", "finished")
_UNIQUE = 37
"""Characters at the end of a worker's name that make it unlike all others."""


@click.command()
@module_argument
@target_options
@json_option
@pass_target
def info(target: Target, as_json: bool) -> None:
    """Say how much stands where, and what the workers do.

    Without MODULE, --queue and --group, the queues of the store are listed. Of a MODULE, its group is shown, and how
    much waits in others; of a --queue, every group, or the one in --group.
    """
    if not target.names_a_queue and isinstance(target.open().stores.backend, HasQueues):
        _show_store(target, as_json=as_json)
        return
    queues = target.existing_groups()
    groups = [_group(queue) for queue in queues]
    place, others, store = target.place(queues[0]), target.other_groups(queues), _about(queues[0])
    if as_json:
        print_json({"queue": queues[0].stream_key, "at": place, "store": store, "groups": groups, "others": others})
        return
    click.echo(f"queue {queues[0].stream_key} at {place}")
    _print_facts(store)
    _print_depths([{"group": group["group"], **_cells(group)} for group in groups], "groups")
    click.echo()
    workers = [_worker_lines(group["group"], worker) for group in groups for worker in group["workers"]]
    print_some(["\n".join(lines) for lines in workers] or ["no workers"], _LISTED, "workers")
    for name, waiting in others.items():
        click.echo(f"other group {name}: {'?' if waiting is None else waiting} waiting")


def _about(queue: TaskQueue) -> Mapping[str, str]:
    broker = queue.stores.backend
    return dict(broker.about()) if isinstance(broker, HasAbout) else {}


def _print_facts(store: Mapping[str, str]) -> None:
    for name, fact in store.items():
        click.echo(f"{name}: {fact}")
    click.echo()


def _print_depths(rows: Sequence[Mapping[str, Any]], what: str) -> None:
    shown = rows[:_LISTED]
    print_table(list(rows[0]), [list(row.values()) for row in shown], {"queue", "group"})
    if len(rows) > len(shown):
        click.echo(f"... and {len(rows) - len(shown):,} more {what}: --json has all of them")


def _cells(group: Mapping[str, Any]) -> dict[str, Any]:
    """What a line says of a group."""
    return {**group["depth"], "oldest": duration(group["oldest_ms"]) if group["oldest_ms"] else "-"}


# A store


def _show_store(target: Target, *, as_json: bool) -> None:
    """The queues of a store, each group with its depth."""
    any_queue = target.open()
    broker, place = any_queue.stores.backend, target.place(any_queue)
    assert isinstance(broker, HasQueues)
    names, complete = broker.queues(_QUEUES)
    looked_at = names if as_json else names[:_LISTED]
    groups = [{"queue": name, **group} for name in looked_at for group in _groups_of(target, name)]
    if not groups:
        raise click.ClickException(f"there is no queue at {place}: nothing was enqueued, no worker has served one")
    store = _about(any_queue)
    if as_json:
        print_json({"at": place, "store": store, "queues": groups, "complete": complete})
        return
    click.echo(f"queues at {place}")
    _print_facts(store)
    _print_depths([{"queue": group["queue"], "group": group["group"], **_cells(group)} for group in groups], "groups")
    if left := len(names) - len(looked_at):
        click.echo(f"... and {left:,} more queues: --json has them too")
    if not complete:
        click.echo("... and there may be more queues: the look at the store was cut short")
    click.echo(f"\npyxqueue info --queue {groups[0]['queue']} shows the workers of one of them")


def _groups_of(target: Target, name: str) -> list[dict[str, Any]]:
    """How much stands in each group of the queue; unknown where this user may not look."""
    found = []
    try:
        with target.named(name) as any_group:
            groups = any_group.stores.backend.groups()
        for group in groups:
            with target.named(name, group) as queue:
                found.append(_depth(group, queue.stores.backend.depth()))
    except BrokerUnavailableError:
        raise
    except BrokerError:
        return [{"group": "?", "depth": dict.fromkeys(_PLACES, "?"), "oldest_ms": None}]
    return found


def _depth(group: str, depth: Depth) -> dict[str, Any]:
    return {"group": group, "depth": {place: getattr(depth, place) for place in _PLACES}, "oldest_ms": depth.oldest}


# A queue


def _group(queue: TaskQueue) -> dict[str, Any]:
    inspector = queue.stores.backend
    now = round(time.time() * 1000)
    consumers = {consumer.name: consumer for consumer in inspector.consumers()}
    live = worker_dicts(list(consumers.values()), queue.stores.backend.lease(), now)
    running = _running(inspector, [consumers[name] for name in live])
    return {
        **_depth(queue.consumer_group, inspector.depth()),
        "workers": [
            {
                "name": name,
                "host": None if found["node_id"] is None else f"{found['node_id']:012x}",
                "pid": found["pid"],
                "idle_ms": consumers[name].idle,
                "holds": list(consumers[name].held),
                "running": [_run(running[task_id], now) for task_id in consumers[name].held if task_id in running],
            }
            for name, found in sorted(live.items())
        ],
    }


def _running(inspector: Inspector, consumers: Sequence[ConsumerInfo]) -> dict[str, TaskInfo]:
    """The first tasks that each of them holds."""
    ids = [task_id for consumer in consumers for task_id in consumer.held[:_RUNNING]]
    return {info.id: info for info in inspector.show(ids) if info is not None and info.worker}


def _run(info: TaskInfo, now: int) -> dict[str, Any]:
    return {
        "id": info.id,
        "task": info.message.name if isinstance(info.message, Message) else None,
        "for_ms": max(0, now - info.started) if info.started else None,
        "progress": progress_text(info) or None,
    }


def _worker_lines(group: str, worker: Mapping[str, Any]) -> list[str]:
    """A worker, and below it what it runs."""
    name = worker["name"] if worker["host"] is None else worker["name"][:-_UNIQUE]
    silent = f"heard of {duration(worker['idle_ms'])} ago"
    host = "an unknown host" if worker["host"] is None else worker["host"]
    lines = [cut(f"{cut(name, 24)} on {host}, group {cut(group, 16)}, {silent}")]
    for run in worker["running"]:
        since = "?" if run["for_ms"] is None else duration(run["for_ms"])
        progress = f", {run['progress']}" if run["progress"] else ""
        lines.append(cut(f"  {cut(run['id'], 32)}  {cut_front(run['task'] or '?', 20)} for {since}{progress}"))
    if more := len(worker["holds"]) - len(worker["running"]):
        lines.append(f"  ... and {more:,} more")
    return lines if worker["holds"] else [*lines, "  idle"]
