"""What an operation asks for while it runs: a command of the server, or to sleep until a waiter is told something.

What producers do is written as generators, here called steps: they yield a request, are sent the reply, and return the
result. They do no I/O, so that the same steps run in the caller's thread (`Session.run`) and on an event loop (`aio`).
In `broker`, `results` and `inspector`, a function with the name of an operation is its steps.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

from attrs import frozen
from redis.exceptions import NoScriptError

from ...clock import is_over, seconds_left
from .commands import Command
from .scripts import SCRIPTS

T = TypeVar("T")

RECHECK = 30.0
"""Seconds after which a waiter looks again by itself: a store that has lost its data tells nobody."""


@frozen
class Execute:
    """Run one command of Redis; its reply is sent back."""

    args: Sequence[Any]
    seconds: float | None = None
    """What the caller has left; None: without a limit."""


class Inbox:
    """The ids that one waiter is to look at: each once, however often it is published."""

    def __init__(self) -> None:
        self._ids: set[str | None] = set()
        self._ring: Callable[[], object] = lambda: None

    def put(self, task_id: str | None) -> None:
        """Called in the listening thread with an id to look at, or None for all."""
        if task_id not in self._ids:  # else it is in there already
            self._ids.add(task_id)
            self._ring()

    def listen(self, ring: Callable[[], object]) -> bool:
        """Have `ring` called with the next new id; returns whether there are ids already."""
        self._ring = ring
        return bool(self._ids)

    def take(self, deadline: float | None) -> Collection[str | None]:
        """The ids to look at. None stands for all: at the deadline, and if there are none after a while."""
        ids = {self._ids.pop() for _ in range(len(self._ids))}
        return ids if ids and not is_over(deadline) else (None,)


@frozen
class Sleep:
    """Wait until there is an id in the inbox, until the deadline, or for `RECHECK`; what `Inbox.take` returns is sent
    back."""

    inbox: Inbox
    deadline: float | None

    @property
    def seconds(self) -> float:
        left = seconds_left(self.deadline)
        return RECHECK if left is None else min(RECHECK, left)

    def sleep(self) -> Collection[str | None]:
        bell = threading.Event()
        if not self.inbox.listen(bell.set):
            bell.wait(self.seconds)
        return self.inbox.take(self.deadline)

    async def asleep(self) -> Collection[str | None]:
        loop, bell = asyncio.get_running_loop(), asyncio.Event()

        def ring() -> None:
            with suppress(RuntimeError):  # the loop was closed during the wait
                loop.call_soon_threadsafe(bell.set)

        if not self.inbox.listen(ring):
            with suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), self.seconds)
        return self.inbox.take(self.deadline)


Request: TypeAlias = Execute | Sleep
Steps: TypeAlias = Generator[Request, Any, T]


def call(command: Command[T], seconds: float | None = None) -> Steps[T]:
    """One script call. If the server does not have the script, it is sent."""
    script = SCRIPTS[command.script]
    args = (len(command.keys), *command.keys, *command.args)
    try:
        return command.parse((yield Execute(("EVALSHA", script.sha, *args), seconds)))
    except NoScriptError:
        pass  # so that it is not the context of a later error
    return command.parse((yield Execute(("EVAL", script.text, *args), seconds)))
