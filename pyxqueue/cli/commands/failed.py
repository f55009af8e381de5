"""``pyxqueue failed``: list the failed tasks, or count them by kind."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ...client.admin import FailurePage, Place
from ...client.queue import TaskQueue
from ...model.message import TaskInfo
from ..filters import where_given, where_options
from ..looking import address
from ..output import age, cut, cut_front, json_option, moment, page_options, print_json, print_more, say
from ..target import Target, module_argument, pass_target, target_options


@click.command()
@click.option("--by", type=click.Choice(["kind"]), help="Count them by task and type of error.")
@page_options
@where_options
@module_argument
@target_options
@json_option
@pass_target
def failed(target: Target, *, by: str | None, limit: int, after: str, as_json: bool) -> None:
    """List failed tasks with their reasons, newest first.

    With --by kind, it counts the newest 5,000 by task and type of error, the largest group first.
    """
    queue, where = target.existing(), where_given()
    if by is not None:
        if where is not None or after:
            raise click.UsageError("--by counts all failed tasks: leave out --after and options such as --name")
        _print_groups(queue.admin.failures(), limit, address(target, queue), as_json=as_json)
        return
    found, following = _page(queue, limit, after)
    if as_json:
        print_json([_facts(info) for info in found])
    elif found:
        _print_list(found)
    elif where is None:
        say("no task has failed")
    else:
        say("no failed task fits" + (" among those looked at" if following else ""))
    print_more(following)


def _page(queue: TaskQueue, limit: int, after: str) -> tuple[Sequence[TaskInfo], str]:
    where = where_given()
    if where is None:
        plain = queue.admin.failed(after=after, limit=limit)
        return plain.tasks, plain.next
    page = queue.admin.list(Place.FAILED, where=where, after=after, limit=limit)
    return [one.info for one in page.tasks], page.next


def _print_list(found: Sequence[TaskInfo]) -> None:
    """Print two lines for each task: when, what and why, then its id."""
    now = round(time.time() * 1000)
    for info in found:
        facts = _facts(info)
        when = f"{age(max(0, now - info.updated_ms))} ago"
        say(cut(f"{when:>11}  {cut_front(facts['task'], 28)}  {facts['reason']}"))
        attempts = f"  attempt {facts['attempts']}" if facts["attempts"] > 1 else ""
        say(f"{'':11}  {info.id}{attempts}")


def _print_groups(page: FailurePage, limit: int, to: str, *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(page))
        return
    if not page.groups:
        say("no task has failed")
        return
    now = round(time.time() * 1000)
    width = max(len("count"), *(len(f"{group.count:,}") for group in page.groups))
    say(f"{'count':>{width}}  task and error")
    for group in page.groups[:limit]:
        first, last = (age(max(0, now - ms)) for ms in (group.first_ms, group.last_ms))
        say(cut(f"{group.count:>{width},}  {cut_front(group.name or '?', 30)}  {group.text or group.error}"))
        span = f"{last} ago" if group.count == 1 else f"first {first}, last {last} ago"
        say(f"{'':{width}}  {span}, such as {group.example}")
    if len(page.groups) > limit:
        say(f"... and {len(page.groups) - limit:,} more kinds: --limit")
    if not page.complete:
        say(f"... counted in the newest {page.scanned:,} failed tasks only")
    largest = page.groups[0]
    chosen = f"--name {shlex.quote(largest.name)} --error {shlex.quote(largest.error)}"
    say()
    say("this retries the first kind:")
    say(f"pyxqueue retry{to} {chosen}")


def _facts(info: TaskInfo) -> dict[str, Any]:
    message = info.readable
    error = info.record.error if info.record else None
    reason = info.reason or (f"{error.type}: {error.message}" if error else "")
    return {
        "id": info.id,
        "task": message.name if message else "?",
        "attempts": message.attempt if message else 0,
        "when": moment(info.updated_ms) or "?",
        "reason": reason.partition("\n")[0],
    }
