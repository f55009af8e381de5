"""The command that carries tasks to another store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..errors import ConfigurationError
from ..moving import move_group
from ..printable import quoted
from ..protocols import Backend, StoreOptions, in_one_process
from ..stores import absolute, find_store
from ..urls import shown
from .output import json_option, print_json
from .target import NO_LIMIT


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--queue", "queue", default="tasks", envvar="PYXQUEUE_QUEUE", show_default=True, help="The queue's name.")
@json_option
def move(source: str, target: str, queue: str, as_json: bool) -> None:
    """Carry what waits, is delayed or failed from the store at the URL SRC to the one at DST, in every group.

    Stop the workers of SRC and its producers first. A move that was interrupted is run again: nothing is moved twice,
    as long as that happens within an hour. Results stay where they are.
    """
    with _opened(source, StoreOptions(queue)) as any_group:
        groups = any_group.groups()
    if not groups:
        raise click.ClickException(
            f"there is no queue {quoted(queue)} at {shown(absolute(source))}; --queue names another one"
        )
    found = [_move(source, target, queue, group) for group in groups]
    if as_json:
        print_json({"queue": queue, "groups": found})
    else:
        for one in found:
            click.echo(
                "queue {queue}, group {group}: moved {waiting} waiting, {failed} failed".format(queue=queue, **one)
            )
    left = sum(int(one["left"]) for one in found)
    if left:
        click.echo(f"{left} stayed: a worker has them, they came meanwhile, or others of their ids are there", err=True)
        click.get_current_context().exit(1)


def _move(source: str, target: str, queue: str, group: str) -> dict[str, str | int]:
    with _opened(source, StoreOptions(queue, group, history=NO_LIMIT)) as old:
        # The group keeps its lease, unless it is there already and has one.
        with _opened(target, StoreOptions(queue, group)) as other:
            lease = None if group in other.groups() else old.lease()
        with _opened(target, StoreOptions(queue, group, lease, history=NO_LIMIT)) as new:
            moved = move_group(old, new)
    return {"group": group, "waiting": moved.waiting, "failed": moved.failed, "left": moved.left}


@contextmanager
def _opened(url: str, options: StoreOptions) -> Iterator[Backend]:
    backend = find_store(url, options).open()
    try:
        if in_one_process(backend):
            raise ConfigurationError(
                f"{shown(absolute(url))} ends with this command: tasks cannot be moved from or to it"
            )
        yield backend
    finally:
        backend.close()
