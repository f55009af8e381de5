"""What the commands ``drain`` and ``stop`` have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import click

from ..client.queue import TaskQueue
from ..client.workers import facts_in
from ..printable import counted, printable
from .arguments import take_one
from .output import Decorated, json_option, print_json, say
from .target import Target, target_options

_LOOK_EVERY = 0.5


def order_options(command: Decorated) -> Decorated:
    """Add what both commands take."""
    words = click.argument("words", metavar="[MODULE[:QUEUE]] WORKER|HOST", nargs=-1, required=True)
    wait = click.option("--wait", is_flag=True, help="Return when these workers have ended.")
    return words(wait(target_options(json_option(command))))


def give(
    target: Target, words: Sequence[str], order: Callable[[TaskQueue, str], Sequence[str]], *, wait: bool, as_json: bool
) -> None:
    """Give an order, and print for whom it is."""
    whom = take_one(target, words, "worker")
    queue = target.existing()
    ordered = order(queue, whom)
    if not as_json:
        say(f"ordered {counted(len(ordered), 'worker')}:")
        for name in ordered:
            say(f"  {printable(name)}")
    if wait:
        while _there(queue, ordered):
            time.sleep(_LOOK_EVERY)
    if as_json:
        print_json({"workers": list(ordered), "ended": wait})
    elif wait:
        say("they have ended")


def _there(queue: TaskQueue, names: Collection[str]) -> bool:
    """Return whether a supervisor still says that it has one of these workers."""
    facts = facts_in(queue.stores.backend)
    return any(name in facts and not facts[name].lost for name in names)
