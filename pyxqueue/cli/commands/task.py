"""``pyxqueue task``: show one task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from ...client.views import TaskDetails
from ...model.locks import LockKind, lock_of
from ...model.message import TaskStatus
from ...printable import indented
from ..arguments import take_one
from ..output import age, bar, json_option, moment, print_json, print_table, say, showable
from ..target import Target, pass_target, target_options

_HELD = {
    LockKind.FINISHED: "until it has finished",
    LockKind.STARTED: "until it has started",
    LockKind.DEBOUNCE: "debounced until it is due",
    LockKind.WINDOW: "for a time",
}
_ATTEMPTS = ("attempt", "ended", "ran", "error", "where")


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] ID", nargs=-1, required=True)
@target_options
@json_option
@pass_target
def task(target: Target, words: Sequence[str], as_json: bool) -> None:
    """Show everything that the store knows about the task ID."""
    task_id = take_one(target, words, "id")
    admin = target.existing().admin
    details = admin.task(task_id)
    facts = _facts(details)
    if details.state in (TaskStatus.PENDING, TaskStatus.RETRY):
        facts["waits_for"] = list(admin.explain(task_id).reasons)
    if as_json:
        print_json(facts)
        return
    facts["progress"] = bar(details.progress)
    facts["waited"], facts["ran"] = (
        None if seconds is None else age(round(seconds * 1000)) for seconds in (details.waited, details.ran)
    )
    for counter in ("crashes", "priority"):
        facts[counter] = facts[counter] or None
    attempts = facts.pop("attempts")
    waits_for = facts.pop("waits_for", ())
    lock = lock_of(details.info.readable)
    facts["lock"] = f"{_HELD[lock.kind]}, {lock.name}" if lock else None
    error, traceback = facts["error"], ""
    if error is not None:
        facts["error"], traceback = f"{error['type']}: {error['message']}", error["traceback"]
        if facts["reason"] == facts["error"]:
            facts["reason"] = None
    width = max(map(len, [*facts, "waits for"]))
    for name, value in facts.items():
        if value not in (None, "", {}):
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            say(f"{name:{width}}  {shown}")
    for number, one in enumerate(waits_for):
        say(f"{'' if number else 'waits for':{width}}  {one}")
    if attempts:
        say()
        print_table(_ATTEMPTS, list(map(_row, attempts)), elastic=("error", "where"))
    if traceback:
        say()
        for line in indented(traceback).split("\n"):
            say(line)


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    """The cells of an earlier attempt."""
    ran = "?" if one["ran"] is None else age(round(one["ran"] * 1000))
    ended = (one["when"] or "?")[:19].replace("T", " ")
    return one["attempt"], ended, ran, f"{one['type']}: {one['text']}", one["host"] or one["worker"]


def _facts(task: TaskDetails) -> dict[str, Any]:
    info, record = task.info, task.info.record
    message = info.readable
    lock = lock_of(message)
    return {
        "id": task.id,
        "task": task.name,
        "state": task.state.name,
        "args": task.args,
        "kwargs": task.kwargs,
        "unreadable": task.unreadable or None,
        "attempt": message.attempt if message else record.attempt if record else None,
        "crashes": message.crashes if message else None,
        "priority": message.priority if message else None,
        "headers": dict(message.headers) if message else {},
        "retry_of": info.retry_of or None,
        "lock": f"{lock.kind.name.lower()} {lock.name}" if lock else None,
        "enqueued": moment(message.enqueued_ms) if message else None,
        "due": moment(message.due_ms) if message else None,
        "expires": moment(message.expires_ms) if message else None,
        "started": moment(info.started_ms),
        "attempts": [
            {
                "attempt": one.attempt,
                "type": one.type,
                "text": one.text,
                "when": moment(one.when_ms),
                "ran": one.ran_ms / 1000 if one.ran_ms else None,
                "worker": one.worker,
                "host": one.host or None,
            }
            for one in task.attempts
        ],
        "waited": task.waited,
        "ran": task.ran,
        "updated": moment(max(info.updated_ms, info.started_ms, message.enqueued_ms if message else 0)),
        "worker": info.worker or None,
        "progress": msgspec.to_builtins(task.progress),
        "result": showable(task.result),
        "result_until": moment(record.ended_ms + record.ttl_ms) if record else None,
        "error": msgspec.to_builtins(record.error) if record and record.error else None,
        "reason": task.reason or None,
    }
