"""The commands that change what is in a queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click

from ..message import Message, TaskInfo, TaskStatus
from ..printable import quoted
from ..protocols import Inspector
from ..reasons import unknown
from .output import cut, json_option, moment, print_json, print_table
from .target import Target, module_argument, pass_target, target_options

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_PAGE = 256
_WAITING = (TaskStatus.PENDING, TaskStatus.RETRY)
_FINISHED = (TaskStatus.SUCCESS, TaskStatus.CANCELLED)


def yes_option(command: Decorated) -> Decorated:
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def ids_or_all(command: Decorated) -> Decorated:
    command = click.option("--all", "everything", is_flag=True, help="All that failed.")(command)
    return click.argument("ids", metavar="[MODULE[:QUEUE]] [ID]...", nargs=-1)(command)


@click.group()
def failed() -> None:
    """List, retry or delete the tasks that failed for good."""


@failed.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many, newest first.")
@module_argument
@target_options
@json_option
@pass_target
def list_failed(target: Target, limit: int, as_json: bool) -> None:
    """List the failed tasks, the newest first."""
    found, more = target.existing().stores.backend.tasks(TaskStatus.FAILURE, "", limit)
    rows = [_failure(info) for info in found]
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("no task has failed")
        return
    print_table(list(rows[0]), [[*list(row.values())[:-1], cut(row["reason"])] for row in rows])
    if more:
        click.echo(f"... and more: these are the newest {limit}", err=True)


def _failure(info: TaskInfo) -> dict[str, Any]:
    message = info.message if isinstance(info.message, Message) else None
    error = info.record.error if info.record else None
    reason = info.reason or (f"{error.type}: {error.message}" if error else "")
    return {
        "id": info.id,
        "task": message.name if message else "?",
        "attempts": message.attempt if message else 0,
        "when": moment(info.updated) or "?",
        "reason": reason.partition("\n")[0],
    }


@failed.command("retry")
@ids_or_all
@target_options
@pass_target
def retry_failed(target: Target, ids: Sequence[str], everything: bool) -> None:
    """Run failed tasks again, from their first attempt."""
    ids = _chosen(target, ids, everything=everything)
    inspector = target.existing().stores.backend
    _apply(inspector, ids, inspector.requeue, "retried")


@failed.command("delete")
@ids_or_all
@yes_option
@target_options
@pass_target
def delete_failed(target: Target, ids: Sequence[str], everything: bool, yes: bool) -> None:
    """Delete failed tasks, with what is known about them."""
    ids = _chosen(target, ids, everything=everything)
    queue = target.existing()
    inspector = queue.stores.backend
    number = len(ids) or inspector.depth().failed
    _confirm(f"Of {queue.stream_key}, group {queue.consumer_group}, delete {number} failed?", yes=yes)
    _apply(inspector, ids, inspector.delete, "deleted")


def _chosen(target: Target, words: Sequence[str], *, everything: bool) -> Sequence[str]:
    """The ids among the words; none is all."""
    ids = target.take_module(words, everything=everything)
    if everything and ids:
        raise click.UsageError(f"say which: either IDs, or --all; there is no module {quoted(ids[0])}")
    if not ids and not everything:
        raise click.UsageError(f"say which: either IDs, or --all{target.taken(words, ids)}")
    return ids


def _apply(
    inspector: Inspector, ids: Sequence[str], act: Callable[[Sequence[str]], Sequence[bool]], participle: str
) -> None:
    """Do it to the failed tasks with these ids, or, if there are none, to all that failed; say to how many."""
    if not ids:
        click.echo(f"{participle}: {_to_all(inspector, [TaskStatus.FAILURE], act)}")
        return
    refused = {}
    for task_id, info in zip(ids, inspector.show(ids), strict=True):
        if info is None:
            refused[task_id] = str(unknown(task_id))
        elif info.status is not TaskStatus.FAILURE:
            refused[task_id] = f"task {task_id} has not failed: it is {info.status.name}"
    wanted = [task_id for task_id in ids if task_id not in refused]
    for task_id, done in zip(wanted, act(wanted), strict=True):
        if not done:
            refused[task_id] = f"task {task_id} was not {participle}: its message is gone, or it has just changed"
    _report(len(ids) - len(refused), participle, list(refused.values()))


def _report(number: int, participle: str, refusals: Sequence[str]) -> None:
    """Say what was done, and what was not; the program then ends with 1."""
    if number or not refusals:
        click.echo(f"{participle}: {number}")
    for refusal in refusals:
        click.echo(refusal, err=True)
    if refusals:
        click.get_current_context().exit(1)


def _to_all(inspector: Inspector, states: Sequence[TaskStatus], act: Callable[[Sequence[str]], Sequence[bool]]) -> int:
    return sum(sum(act(page)) for state in states for page in _pages(inspector, state))


def _pages(inspector: Inspector, state: TaskStatus) -> Iterator[list[str]]:
    cursor = ""
    while True:
        found, cursor = inspector.tasks(state, cursor, _PAGE)
        yield [info.id for info in found]
        if not cursor:
            return


@click.command()
@click.argument("ids", metavar="[MODULE[:QUEUE]] ID...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Kill the process of a running one.")
@target_options
@pass_target
def cancel(target: Target, ids: Sequence[str], force: bool) -> None:
    """Cancel tasks: a waiting one ends at once, a running one is interrupted by its worker."""
    words, ids = ids, target.take_module(ids)
    if not ids:
        raise click.UsageError(f"say which: IDs{target.taken(words, ids)}")
    inspector = target.existing().stores.backend
    refusals = []
    for task_id, done in zip(ids, inspector.cancel(ids, force), strict=True):
        if not done:
            info = inspector.show([task_id])[0]
            refusals.append(str(unknown(task_id)) if info is None else f"task {task_id} has ended: {info.status.name}")
    _report(len(ids) - len(refusals), "cancelled", refusals)


@click.command()
@click.option("--waiting", is_flag=True, help="The tasks that wait, delayed ones too.  [default]")
@click.option("--failed", "with_failed", is_flag=True, help="The tasks that failed.")
@click.option("--finished", is_flag=True, help="The tasks that succeeded or were cancelled, with their results.")
@click.option("--all", "everything", is_flag=True, help="All three.")
@yes_option
@module_argument
@target_options
@pass_target
def purge(target: Target, *, waiting: bool, with_failed: bool, finished: bool, everything: bool, yes: bool) -> None:
    """Delete tasks. Those that a worker holds stay; `cancel` ends them."""
    waiting = waiting or not (with_failed or finished)
    queue = target.existing()
    inspector = queue.stores.backend
    depth = inspector.depth()
    numbers: list[str] = []
    states: list[TaskStatus] = []
    for chosen, name, number, those in (
        (waiting, "waiting", depth.ready + depth.delayed, _WAITING),
        (with_failed, "failed", depth.failed, (TaskStatus.FAILURE,)),
        (finished, "finished", depth.finished, _FINISHED),
    ):
        if chosen or everything:
            numbers.append(f"{number} {name}")
            states += those
    _confirm(f"Of {queue.stream_key}, group {queue.consumer_group}, delete {', '.join(numbers)}?", yes=yes)
    click.echo(f"deleted: {_to_all(inspector, states, inspector.delete)}")


@click.group()
def groups() -> None:
    """List or remove the consumer groups, each of which gets every task."""


@groups.command("list")
@module_argument
@target_options
@json_option
@pass_target
def list_groups(target: Target, as_json: bool) -> None:
    """List the groups of the queue."""
    found = target.groups(target.open())
    if as_json:
        print_json(list(found))
    else:
        click.echo("\n".join(found))


@groups.command("remove")
@click.argument("words", metavar="[MODULE[:QUEUE]] NAME", nargs=-1, required=True)
@yes_option
@target_options
@pass_target
def remove_group(target: Target, words: Sequence[str], yes: bool) -> None:
    """Delete the group NAME with all its tasks.

    Stop its workers first: one that still runs makes the group anew.
    """
    name = target.take_one(words, "name")
    queue = target.open()
    if name not in (there := target.groups(queue)):
        raise click.ClickException(
            f"the queue {quoted(queue.stream_key)} has no group {quoted(name)}, only {', '.join(there)}"
        )
    _confirm(f"Delete the group {name} of {queue.stream_key}, with all its tasks and results?", yes=yes)
    queue.stores.backend.remove_group(name)
    click.echo(f"group {name} removed")


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True)
