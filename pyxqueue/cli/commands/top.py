"""``pyxqueue top``: watch a queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import click

from ...client.queue import TaskQueue
from ...errors import PyxqueueError
from ...printable import text_of
from ..output import cut, json_option, print_json, say
from ..screen import Line, draw, is_terminal, key, whole_screen
from ..target import Target, module_argument, pass_target, place_of, target_options
from ..watching import Watched, facts, lines, watch

_GROUPS = 4
"""The most groups that are watched."""
_MEMORY = 30
"""For how many looks the growth of a queue is measured."""


@click.command()
@click.option(
    "--every", type=click.FloatRange(min=0.2, max=3600), default=2.0, show_default=True, help="Seconds between looks."
)
@module_argument
@target_options
@json_option
@pass_target
def top(target: Target, every: float, as_json: bool) -> None:
    """Watch a queue: rates, the slowest tasks, what runs, what is wrong.

    On a terminal it looks again and again until q is pressed; else it prints once. Rates are of the last one to two
    minutes, tasks of the last ten. Workers send what they have counted every 10 seconds.
    """
    queues = target.existing_groups()
    watching = _Watching(target, queues[:_GROUPS], len(queues) - _GROUPS)
    if as_json:
        print_json({"at": place_of(queues[0]), "groups": [facts(one) for one in watching.look()]})
    elif is_terminal():
        live(watching.lines, every)
    else:
        for line, colour in watching.lines():
            say(line, colour=colour)


class _Watching:
    """The groups that are watched, with what was seen of them before."""

    def __init__(self, target: Target, queues: Sequence[TaskQueue], more: int) -> None:
        self._target, self._queues, self._more = target, queues, more
        self._before: list[list[Watched]] = []

    def look(self) -> list[Watched]:
        """Look at each group once."""
        first = self._before[0] if self._before else [None] * len(self._queues)
        several = len(self._queues) > 1
        found = [
            watch(self._target, queue, before, one_of_many=several)
            for queue, before in zip(self._queues, first, strict=True)
        ]
        self._before = [*self._before[1 - _MEMORY :], found]
        return found

    def lines(self) -> list[Line]:
        """Look, and return what is to be shown."""
        found = [(cut(f"{place_of(self._queues[0])}  {time.strftime('%H:%M:%S')}"), "")]
        for one in self.look():
            found += [("", ""), *lines(one)]
        if self._more > 0:
            found += [("", ""), (f"... and {self._more:,} more groups: --group", "")]
        return found


def live(look: Callable[[], list[Line]], every: float) -> None:
    """Draw again and again, until the user presses q or interrupts. A store that is away is waited for."""
    shown: list[Line] = []
    last: Line = ("q quit", "")
    with whole_screen():
        try:
            while True:
                try:
                    shown, last = look(), ("q quit", "")
                except PyxqueueError as error:  # the last look stays on the screen
                    last = (f"q quit  ! {time.strftime('%H:%M:%S')} trying again: {text_of(error)}", "red")
                while (pressed := key(every, draw(shown, last))) == "resized":
                    pass  # drawn again
                if pressed.startswith(("q", "Q", "\x03", "\x04")):
                    return
        except KeyboardInterrupt:
            return
