"""``pyxqueue flow``: show a flow as a tree, or retry what has failed of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from ...client.flow_view import FlowView
from ...model.message import TaskInfo
from ...printable import counted
from ..arguments import take_one
from ..output import json_option, print_json, say
from ..target import Target, pass_target, target_options

_WIDEST = 60
"""The widest indent of a tree, in columns."""


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] ID", nargs=-1, required=True)
@click.option("--retry", is_flag=True, help="First retry its failed tasks; those behind them wait for them again.")
@target_options
@json_option
@pass_target
def flow(target: Target, words: Sequence[str], retry: bool, as_json: bool) -> None:
    """Show the flow ID, or that of the task ID, as a tree: below each task are those that it waits for."""
    given = take_one(target, words, "id")
    admin = target.existing().admin
    retried = admin.retry_flow(given) if retry else 0
    found = admin.flow(given)
    if as_json:
        print_json({
            "id": found.id,
            "complete": found.complete,
            "tasks": [_facts(found, info) for info in found.tasks.values()],
            "many": {
                one: {state.name: number for state, number in states.items()} for one, states in found.many.items()
            },
        })  # fmt: skip
        return
    if retry:
        say(f"retried {counted(retried, 'task')}")
    states = found.states
    ended = sum(count for state, count in states.items() if state.ended)
    more = "" if found.complete else ", and more that were not looked at"
    say(f"flow {found.id or '-'}: tasks {states.total():,}, ended {ended:,}{more}")
    for line in _tree(found):
        say(line)


def _facts(found: FlowView, info: TaskInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "task": info.readable.name if info.readable else None,
        "state": info.status.name,
        "waits_for": info.waits_for,
        "after": list(found.before.get(info.id, ())),
    }


def _line(found: FlowView, task_id: str) -> str:
    if task_id in found.many:
        states = ", ".join(f"{count:,} {state.name}" for state, count in sorted(found.many[task_id].items()))
        return f"{task_id}  {states}"
    info = found.tasks.get(task_id)
    if info is None:
        return f"{task_id}  unknown"
    name = info.readable.name if info.readable else "?"
    waits = f", waits for {info.waits_for:,}" if info.waits_for else ""
    doomed = ", fails without being run" if info.readable and info.readable.doomed and not info.status.ended else ""
    return f"{name} {task_id}  {info.status.name}{waits}{doomed}"


def _tree(found: FlowView) -> Iterator[str]:
    """The lines of a flow. What is too deep below a task follows it as a tree of its own."""
    shown, roots = set[str](), [*reversed(found.ends)]
    while roots:
        root, deeper = roots.pop(), list[str]()
        yield _line(found, root)
        yield from _below(found, root, "", shown, deeper)
        roots += reversed(deeper)


def _below(found: FlowView, task_id: str, indent: str, shown: set[str], deeper: list[str]) -> Iterator[str]:
    """The lines of what a task waits for. What was shown before is not shown again with what is below it; what is too
    deep is added to `deeper`."""
    before = found.before.get(task_id, ())
    for number, one in enumerate(before, 1):
        last = number == len(before)
        has_more = bool(found.before.get(one))
        again, too_deep = one in shown and has_more, has_more and len(indent) >= _WIDEST
        note = ", as above" if again else ", goes on below" if too_deep else ""
        yield f"{indent}{'└─ ' if last else '├─ '}{_line(found, one)}{note}"
        if again:
            continue
        shown.add(one)
        if too_deep:
            deeper.append(one)
        else:
            yield from _below(found, one, f"{indent}{'   ' if last else '│  '}", shown, deeper)
