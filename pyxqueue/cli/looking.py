"""The command that says everything about one task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ..message import Message, TaskInfo
from ..printable import indented, printable
from ..queue import TaskQueue
from ..reasons import reason, unknown
from ..views import task_dict
from .output import json_option, moment, print_json, showable
from .target import Target, pass_target, target_options

_LONGEST = 2_000
"""Characters of one fact, or of a line of a traceback, that are shown."""


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] ID", nargs=-1, required=True)
@target_options
@json_option
@pass_target
def task(target: Target, words: Sequence[str], as_json: bool) -> None:
    """Say everything that is known about the task ID."""
    task_id = target.take_one(words, "id")
    queue = target.existing()
    found = queue.stores.backend.show([task_id])[0]
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
            click.echo(f"{name:{width}}  {printable(shown, _LONGEST)}")
    if traceback:
        click.echo(f"\n{indented(traceback)}")


def _facts(info: TaskInfo, queue: TaskQueue) -> dict[str, Any]:
    shown = task_dict(info.id, info, queue.core.codec)
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
        "started": moment(info.started),
        "updated": moment(info.updated),
        "worker": info.worker or None,
        "progress": showable(shown["progress"]),
        "result": showable(shown["info"]["value"]) if record and not record.error else None,
        "result_until": moment(record.finished + record.ttl) if record else None,
        "error": msgspec.to_builtins(record.error) if record and record.error else None,
        "reason": reason(info) or None,
    }
