"""The commands that only look."""

from __future__ import annotations

import json
import time
from typing import Any

import click
import msgspec

from ..message import Message, TaskInfo
from ..protocols import HasAbout
from ..queue import TaskQueue
from ..reasons import reason, unknown
from ..views import task_dict, worker_dicts
from .output import duration, json_option, moment, print_json, print_table, printable
from .target import Target, module_argument, pass_target, target_options


@click.command()
@module_argument
@target_options
@json_option
@pass_target
def info(target: Target, as_json: bool) -> None:
    """Say how much stands where, and what the workers do.

    Without --app and --group, every group of the queue is shown; else of the others, how much waits there.
    """
    queues = target.existing_groups()
    groups = [_group(queue) for queue in queues]
    place, others = target.place(queues[0]), target.other_groups(queues)
    broker = queues[0].stores.broker
    store = dict(broker.about()) if isinstance(broker, HasAbout) else {}
    if as_json:
        print_json({"queue": queues[0].stream_key, "at": place, "store": store, "groups": groups, "others": others})
        return
    click.echo(f"queue {queues[0].stream_key} at {place}")
    for name, fact in store.items():
        click.echo(f"{name}: {fact}")
    click.echo()
    rows = [
        [group["group"], *group["depth"].values(), duration(group["oldest_ms"]) if group["oldest_ms"] else "-"]
        for group in groups
    ]
    print_table(["group", *groups[0]["depth"], "oldest"], rows)
    click.echo()
    workers = [
        [
            group["group"], worker["name"], worker["host"] or "?", worker["pid"] or "?", duration(worker["idle_ms"]),
            " ".join(worker["holds"]) or "-",
        ]
        for group in groups
        for worker in group["workers"]
    ]  # fmt: skip
    if workers:
        print_table(["group", "worker", "host", "pid", "silent for", "holds"], workers)
    else:
        click.echo("no workers")
    for name, waiting in others.items():
        click.echo(f"other group {name}: {'?' if waiting is None else waiting} waiting")


def _group(queue: TaskQueue) -> dict[str, Any]:
    inspector = queue.stores.inspector
    depth = inspector.depth()
    consumers = {consumer.name: consumer for consumer in inspector.consumers()}
    live = worker_dicts(list(consumers.values()), queue.stores.broker.lease(), round(time.time() * 1000))
    return {
        "group": queue.consumer_group,
        "depth": {
            "ready": depth.ready,
            "held": depth.held,
            "delayed": depth.delayed,
            "failed": depth.failed,
            "finished": depth.finished,
        },
        "oldest_ms": depth.oldest,
        "workers": [
            {
                "name": name,
                "host": None if found["node_id"] is None else f"{found['node_id']:012x}",
                "pid": found["pid"],
                "idle_ms": consumers[name].idle,
                "holds": list(consumers[name].held),
            }
            for name, found in sorted(live.items())
        ],
    }


@click.command()
@click.argument("task_id", metavar="ID")
@target_options
@json_option
@pass_target
def task(target: Target, task_id: str, as_json: bool) -> None:
    """Say everything that is known about the task ID."""
    queue = target.existing()
    found = queue.stores.inspector.show([task_id])[0]
    if found is None:
        raise unknown(task_id)
    facts = _facts(found, queue)
    if as_json:
        print_json(facts)
        return
    error, traceback = facts["error"], ""
    if error is not None:
        facts["error"], traceback = f"{error['type']}: {error['message']}", error["traceback"]
    width = max(map(len, facts))
    for name, value in facts.items():
        if value not in (None, "", {}):
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            click.echo(f"{name:{width}}  {shown}")
    if traceback:
        click.echo(f"\n{traceback.rstrip()}")


def _facts(info: TaskInfo, queue: TaskQueue) -> dict[str, Any]:
    shown = task_dict(info.id, info, queue.codec)
    call = msgspec.json.decode(shown["data"][b"task"])
    message = info.message if isinstance(info.message, Message) else None
    record = info.record
    return {
        "id": info.id,
        "task": call["task_name"],
        "state": info.status.name,
        "args": call["args"],
        "kwargs": call["kwargs"],
        "unreadable": call.get("unreadable"),
        "attempt": message.attempt if message else record.attempt if record else None,
        "crashes": message.crashes if message else None,
        "priority": message.priority if message else None,
        "headers": dict(message.headers) if message else {},
        "enqueued": moment(message.enqueued) if message else None,
        "due": moment(message.due) if message else None,
        "updated": moment(info.updated),
        "worker": info.worker or None,
        "progress": printable(shown["progress"]),
        "result": printable(shown["info"]["value"]) if record and not record.error else None,
        "result_until": moment(record.finished + record.ttl) if record else None,
        "error": msgspec.to_builtins(record.error) if record and record.error else None,
        "reason": reason(info) or None,
    }
