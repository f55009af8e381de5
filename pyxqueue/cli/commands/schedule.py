"""``pyxqueue schedule``: list, pause, resume, trigger and delete the schedules of a queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click

from ...client.schedules import ScheduleHandle
from ...errors import UnknownScheduleError
from ...printable import quoted
from ..arguments import take_ids
from ..output import cut, json_option, print_json, print_table, say
from ..target import Target, module_argument, pass_target, target_options

_words = click.argument("words", metavar="[MODULE[:QUEUE]] ID...", nargs=-1, required=True)


class _Group(click.Group):
    """A group whose error says where the module belongs, to a user who puts it first."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            commands = ", ".join(self.list_commands(ctx))
            raise click.UsageError(
                f"{quoted(args[0])} is not a command of schedule: give {commands} first, then the module, as in "
                f"`pyxqueue schedule list {args[0]}`",
                ctx,
            )
        return super().resolve_command(ctx, args)


@click.group(cls=_Group)
def schedule() -> None:
    """List and change the schedules of the queue: tasks that run by themselves."""


@schedule.command("list")
@module_argument
@target_options
@json_option
@pass_target
def list_schedules(target: Target, as_json: bool) -> None:
    """List the schedules, with their last and next ticks and what they have counted."""
    found = list(target.existing().schedules)
    if as_json:
        print_json([_facts(one) for one in found])
    elif not found:
        say("the queue has no schedules")
    else:
        head = ["id", "when", "state", "last", "next", "runs", "skipped", "missed", "errors"]
        print_table(head, [_row(one) for one in found])
    for one in found if not as_json else ():
        if one.error:
            say(f"{one.id}: {one.error}", err=True)


@schedule.command()
@_words
@target_options
@json_option
@pass_target
def pause(target: Target, words: Sequence[str], as_json: bool) -> None:
    """Let schedules tick no more until `resume`, also after a deploy."""
    _change(target, words, "paused", lambda one: one.pause(), as_json=as_json)


@schedule.command()
@_words
@target_options
@json_option
@pass_target
def resume(target: Target, words: Sequence[str], as_json: bool) -> None:
    """Let schedules tick again. The ticks of the pause are not made up for."""
    _change(target, words, "resumed", lambda one: one.resume(), as_json=as_json)


@schedule.command()
@_words
@target_options
@json_option
@pass_target
def trigger(target: Target, words: Sequence[str], as_json: bool) -> None:
    """Enqueue the tasks of schedules now, beside their ticks, and print the ids of the tasks."""
    _change(target, words, "triggered", lambda one: one.trigger().task_id, as_json=as_json)


@schedule.command()
@_words
@target_options
@json_option
@pass_target
def delete(target: Target, words: Sequence[str], as_json: bool) -> None:
    """Delete schedules. One that the code of running workers declares comes back within a minute: pause it instead."""
    _change(target, words, "deleted", lambda one: one.delete(), as_json=as_json)


def _change(
    target: Target, words: Sequence[str], participle: str, act: Callable[[ScheduleHandle], Any], *, as_json: bool
) -> None:
    """Act on each schedule, and print what was done. If one is not known, exit with code 1 after the others."""
    ids = take_ids(target, words, "schedules")
    schedules, done, unknown = target.existing().schedules, list[dict[str, Any]](), list[str]()
    for one in dict.fromkeys(ids):
        try:
            result = act(schedules[one])
        except UnknownScheduleError as error:
            unknown.append(one)
            say(str(error), err=True)
        else:
            done.append({"id": one, **({"task_id": result} if isinstance(result, str) else {})})
    if as_json:
        print_json({participle: done, "unknown": unknown})
    else:
        for fact in done:
            say(f"{participle}: {' '.join(fact.values())}")
    if unknown:
        click.get_current_context().exit(1)


def _facts(one: ScheduleHandle) -> dict[str, Any]:
    return {
        "id": one.id,
        "task": one.task,
        "cron": one.cron,
        "timezone": one.timezone,
        "every": None if one.every is None else one.every.total_seconds(),
        "missed_policy": one.missed_policy.policy,
        "overlap": one.overlap,
        "origin": one.origin,
        "state": one.state,
        "last": _text(one.last),
        "next": _text(one.next),
        "last_task": one.last_task or None,
        "runs": one.runs,
        "skipped": one.skipped,
        "missed": one.missed,
        "errors": one.errors,
        "error": one.error or None,
    }


def _row(one: ScheduleHandle) -> list[object]:
    last, following = _text(one.last), _text(one.next)
    return [
        one.id, cut(one.when), one.state, last or "-", following or "-", one.runs, one.skipped, one.missed, one.errors,
    ]  # fmt: skip


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
