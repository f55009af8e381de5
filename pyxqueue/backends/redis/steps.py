"""What an operation asks for while it runs: commands of the server, or to sleep until a waiter is told something.

What producers do is written as generators, here called steps: they yield a request, are sent the reply, and return the
result. They do no I/O, so that the same steps run in the caller's thread (`Session.run`) and on an event loop (`aio`).
In `broker`, `results` and `inspector`, a function with the name of an operation is its steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct
from redis.exceptions import NoScriptError

from ...clock import is_over, seconds_left
from ...errors import BrokerError
from ...waking import Bell
from .commands import Command
from .scripts import script

T = TypeVar("T")

RECHECK = 30.0
"""Seconds after which a waiter looks again by itself: a store that has lost its data tells nobody."""
MAX_FOLLOWING = 16
"""The most calls that follow from a reply: supervisors do the rest. Each may admit 256 tasks (`admit`), and who makes
them has other work."""


class Execute(Struct, frozen=True):
    """Run one command of Redis; its reply is sent back."""

    args: Sequence[Any]
    seconds: float | None = None
    """What the caller has left; None: without a limit."""


class Together(Struct, frozen=True):
    """Run commands one after the other on one connection, to the node that has a key. Their replies are sent back, with
    errors of the driver among them; but that of the first command is raised."""

    key: str
    commands: Sequence[Sequence[Any]]


class Master(Struct, frozen=True):
    """Send back which server has a key, as far as the client knows; an empty text if it does not."""

    key: str


News: TypeAlias = Mapping[str | None, bytes]
"""Ids to look at, each with the value of the task if that was published, else empty. The id None stands for all."""


class Inbox:
    """The news for one waiter: each id once, however often it is published, with what was published last."""

    def __init__(self) -> None:
        self._news: dict[str | None, bytes] = {}
        self._ring: Callable[[], object] = lambda: None

    def put(self, task_id: str | None, value: bytes = b"") -> None:
        """Called in the listening thread with an id to look at, or None for all."""
        is_known, self._news[task_id] = task_id in self._news, value
        if not is_known:
            self._ring()

    def listen(self, ring: Callable[[], object]) -> bool:
        """Have `ring` called with the next new id; returns whether there are ids already."""
        self._ring = ring
        return bool(self._news)

    def take(self, deadline: float | None) -> News:
        """The news. At the deadline, and if there are none after a while: look at all."""
        news = dict(self._news.popitem() for _ in range(len(self._news)))
        return news if news and not is_over(deadline) else {None: b""}


class Sleep(Struct, frozen=True, eq=False):
    """Wait until there is an id in the inbox, until the deadline, or for `RECHECK`; what `Inbox.take` returns is sent
    back."""

    inbox: Inbox
    deadline: float | None

    @property
    def seconds(self) -> float:
        left = seconds_left(self.deadline)
        return RECHECK if left is None else min(RECHECK, left)

    def sleep(self) -> News:
        bell = Bell()
        if not self.inbox.listen(bell.ring):
            bell.wait(self.seconds)
        return self.inbox.take(self.deadline)

    async def asleep(self) -> News:
        loop, bell = asyncio.get_running_loop(), asyncio.Event()

        def ring() -> None:
            with suppress(RuntimeError):  # the loop was closed during the wait
                loop.call_soon_threadsafe(bell.set)

        if not self.inbox.listen(ring):
            # Not `wait_for`: that of Python 3.11 loses a cancellation that comes with the ring.
            with suppress(TimeoutError):
                async with asyncio.timeout(self.seconds):
                    await bell.wait()
        return self.inbox.take(self.deadline)


Request: TypeAlias = Execute | Together | Master | Sleep
Steps: TypeAlias = Generator[Request, Any, T]


def _reply(command: Command[Any], seconds: float | None = None) -> Steps[Any]:
    known = script(command.script)
    args = (len(command.keys), *command.keys, *command.args)
    reply, is_known = None, True
    try:
        reply = yield Execute(("EVALSHA", known.sha, *args), seconds)
    except NoScriptError:
        is_known = False  # it must not be the context of a later error
    if not is_known:
        reply = yield Execute(("EVAL", known.text, *args), seconds)
    return reply


def _follow(command: Command[Any], reply: Any) -> Steps[None]:
    """Make the calls that follow from a reply. What stops them does not matter to its result."""
    with suppress(BrokerError):
        for _ in range(MAX_FOLLOWING):
            following = command.then and command.then(reply)
            if following is None:
                break
            command, reply = following, (yield from _reply(following))


def call(command: Command[T], seconds: float | None = None) -> Steps[T]:
    """One script call, and those that follow from its reply. If the server does not have the script, it is sent."""
    reply = yield from _reply(command, seconds)
    result = command.parse(reply)
    yield from _follow(command, reply)
    return result


def call_together(command: Command[T], key: str, more: Sequence[Sequence[Any]]) -> Steps[tuple[T, Sequence[Any]]]:
    """`call` with other commands after it on the same connection, all of them about this key. Returns the replies to
    these too."""
    known = script(command.script)
    args = (len(command.keys), *command.keys, *command.args)
    replies: Sequence[Any] = ()
    with suppress(NoScriptError):
        replies = yield Together(key, [("EVALSHA", known.sha, *args), *more])
    if not replies:
        replies = yield Together(key, [("EVAL", known.text, *args), *more])
    result = command.parse(replies[0])
    yield from _follow(command, replies[0])
    return result, replies[1:]
