"""Changes that are pushed to open pages: one look at the store per refresh for all of them, none while nobody
listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from attrs import define, field

from ..errors import PyxqueueError
from ..log import get_logger
from .threads import BusyError

log = get_logger("pyxqueue.dashboard")

Texts = Mapping[str, str]
"""By key, the text that pages show now."""
LOST = "lost"
"""The key whose text says that the store cannot be reached; empty if it can."""
LIFE = 30.0
"""How long a stream lasts, in seconds. The browser then opens the next one; so a server that waits for its connections
to end can stop."""
_QUIET = 15.0


@define(eq=False)
class Hub:
    """Looks at the queues every `every` seconds while somebody listens, and sends all listeners what has changed."""

    look: Callable[[], Awaitable[Texts]]
    every: float
    life: float = LIFE
    looks: int = field(default=0, init=False)
    """How often it has looked."""
    _listeners: int = field(default=0, init=False)
    _latest: Texts = field(factory=dict, init=False)
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    async def changes(self) -> AsyncGenerator[Texts]:
        """Yield the texts that have changed since the last time, at first all of them; an empty mapping when it is time
        for a sign of life. It ends after `life` seconds, or when the hub is closed."""
        self._begin()
        seen: Texts = {}
        until = asyncio.get_running_loop().time() + self.life
        try:
            while not self._closed:
                news, latest = self._news, self._latest
                changed = {key: text for key, text in latest.items() if seen.get(key) != text}
                if changed:
                    seen = latest
                    yield changed
                    continue
                left = until - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                try:  # not with `wait_for`: that of Python 3.11 loses a cancellation that comes with the news
                    async with asyncio.timeout(min(left, _QUIET)):
                        await news.wait()
                except TimeoutError:
                    yield {}
        finally:
            self._end()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._news.set()
        self._stop()

    def _begin(self) -> None:
        if self._listeners == 0:
            self._latest, self._news = {}, asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._work())
        self._listeners += 1

    def _end(self) -> None:
        self._listeners -= 1
        if self._listeners == 0:
            self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _work(self) -> None:
        while True:
            self.looks += 1
            try:
                self._tell({**await self.look(), LOST: ""})
            except (PyxqueueError, BusyError) as error:
                self._tell({**self._latest, LOST: str(error) or "the dashboard is busy"})
            except Exception:  # the streams go on, and the next look may succeed
                log.exception("the dashboard could not look at the queues")
                self._tell({**self._latest, LOST: "the queues cannot be read: see the log of the dashboard"})
            await asyncio.sleep(self.every)

    def _tell(self, texts: Texts) -> None:
        self._latest = texts
        news, self._news = self._news, asyncio.Event()
        news.set()


def sse(event: str, data: object) -> bytes:
    """Return an event of a stream. JSON has no line breaks, so nothing in it can begin another event."""
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()


COMMENT = b": \n\n"
"""A comment in the stream, sent as a sign of life."""
