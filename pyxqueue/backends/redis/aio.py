"""The asyncio side: the same commands as the synchronous one, run on a redis.asyncio client.

Wake-ups still come through the one listening thread of the process, which hands them to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from redis.exceptions import NoScriptError, RedisError

from ...clock import deadline_after, is_over, seconds_left
from ...errors import BrokerUnavailableError
from ...message import Message, Record, TaskInfo
from ...protocols import StoreOptions
from ...wire import message_size
from . import commands
from .commands import UNKNOWN, Command, Unknown, batches
from .connect import Recipe
from .keys import GroupKeys
from .reading import Groups
from .scripts import SCRIPTS
from .session import REPLY_TIMEOUT, Session, StaleGroups, translate
from .waiting import Outage, Waker, until_look

T = TypeVar("T")

_LEAST_PATIENCE = 1.0
"""Seconds that the store has for its answer, also to a caller who has less left."""


class AsyncClient(Protocol):
    """What we use of a redis.asyncio client."""

    async def execute_command(self, *args: Any) -> Any: ...

    async def aclose(self, close_connection_pool: bool) -> None: ...


class AsyncRedisProducer:
    """What producers await, on Redis. Each event loop gets a client of its own."""

    def __init__(self, recipe: Recipe, options: StoreOptions, session: Session, waker: Waker) -> None:
        self._recipe = recipe
        self._options = options
        self._session = session
        self._waker = waker
        self._clients: dict[asyncio.AbstractEventLoop, _Life] = {}

    async def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        answers: list[bool] = []
        for batch in batches(messages, message_size):
            answers += await self._repaired(lambda: self._enqueue(batch))  # noqa: B023 - runs before the next
        return answers

    async def _enqueue(self, batch: Sequence[Message]) -> list[bool]:
        groups = await self._groups()
        answers = await self._run(commands.enqueue(self._options.stream_key, groups, batch))
        if answers is None:
            raise StaleGroups("the list of groups has changed")
        return answers

    async def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return await self._batched(ids, lambda keys, batch: commands.show(keys, self._options.group, batch))

    async def wait(self, ids: Sequence[str], timeout: int | None) -> Sequence[Record | None]:
        deadline = deadline_after(timeout)
        found = await self._look(ids, deadline)
        if timeout != 0 and _may_change(found):
            async with self._watching(ids, deadline) as woken:
                found = await self._await(ids, deadline, woken)
        return [None if isinstance(record, Unknown) else record for record in found]

    async def _await(
        self, ids: Sequence[str], deadline: float | None, woken: Callable[[float], Awaitable[bool]]
    ) -> list[Record | Unknown | None]:
        """Look until every record is there, or one never comes, or the time is over."""
        found: list[Record | Unknown | None] = [None] * len(ids)
        outage = Outage()
        while True:
            try:
                found = await self._look(ids, deadline)
                outage.ended()
            except BrokerUnavailableError:
                if is_over(deadline) or not outage.is_bearable():
                    raise
            if not (_may_change(found) and await woken(outage.pause(until_look(deadline)))):
                return found

    async def watch(self, task_id: str, seen: TaskInfo | None, timeout: int | None) -> TaskInfo | None:
        deadline = deadline_after(timeout)
        async with self._watching([task_id], deadline) as woken:
            while True:
                await self._look([task_id], deadline)
                (info,) = await self.show([task_id])
                if info is None or info.differs(seen):
                    return info
                if not await woken(until_look(deadline)):
                    return (await self.show([task_id]))[0]

    async def _look(self, ids: Sequence[str], deadline: float | None) -> list[Record | Unknown | None]:
        left = seconds_left(deadline)
        try:
            async with asyncio.timeout(None if left is None else max(_LEAST_PATIENCE, left)):
                return await self._batched(ids, lambda keys, batch: commands.get(keys, batch, self._waker.channel))
        except TimeoutError as error:
            raise BrokerUnavailableError(f"the store at {self._recipe.url} did not answer in time") from error

    async def _batched(
        self, ids: Sequence[str], build: Callable[[GroupKeys, Sequence[str]], Command[list[T]]]
    ) -> list[T]:
        """Run one command per batch of `ids`, against the group's keys, and put the answers together."""

        async def once(batch: Sequence[str]) -> list[T]:
            keys = (await self._groups()).streams[self._options.group]
            return await self._run(build(keys, batch))

        answers: list[T] = []
        for batch in batches(ids):
            answers += await self._repaired(lambda: once(batch))  # noqa: B023 - runs before the next
        return answers

    @asynccontextmanager
    async def _watching(
        self, ids: Sequence[str], deadline: float | None
    ) -> AsyncIterator[Callable[[float], Awaitable[bool]]]:
        """Yields a wait, of some seconds at most, for the next look at `ids`; False once `deadline` has passed."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def notify(_task_id: str | None) -> None:
            loop.call_soon_threadsafe(event.set)

        async def woken(seconds: float) -> bool:
            try:
                await asyncio.wait_for(event.wait(), seconds)
            except TimeoutError:
                return not is_over(deadline)
            event.clear()
            return True

        with self._waker.watching(ids, notify):
            while not self._waker.subscribed(0) and await woken(until_look(deadline)):
                pass  # the first wake-up is the subscription itself
            yield woken

    async def _groups(self) -> Groups:
        """The groups are read once per process, by the synchronous session in a thread."""
        known = self._session.known_groups
        return await asyncio.to_thread(lambda: self._session.groups) if known is None else known

    async def _run(self, command: Command[T]) -> T:
        script = SCRIPTS[command.script]
        client = await self._client()
        call = (len(command.keys), *command.keys, *command.args)
        try:
            try:
                reply = await client.execute_command("EVALSHA", script.sha, *call)
            except NoScriptError:
                reply = await client.execute_command("EVAL", script.text, *call)
        except RedisError as error:
            raise translate(error, self._recipe.url) from error
        return command.parse(reply)

    async def _repaired(self, action: Callable[[], Awaitable[T]]) -> T:
        for _ in range(3):
            try:
                return await action()
            except StaleGroups:
                self._session.refresh()
        return await action()

    async def _client(self) -> AsyncClient:
        loop = asyncio.get_running_loop()
        if (life := self._clients.get(loop)) is None:
            for old in [one for one in self._clients if one.is_closed()]:
                del self._clients[old]
            life = self._clients[loop] = _Life(
                self._recipe.open_async(timeout=REPLY_TIMEOUT, retries=3), lambda: self._clients.pop(loop, None)
            )
            await life.begin()
        return life.client


def _may_change(found: Sequence[Record | Unknown | None]) -> bool:
    return None in found and UNKNOWN not in found


class _Life:
    """Closes a client with its event loop: what ends a loop first ends the asynchronous generators it has seen."""

    def __init__(self, client: AsyncClient, ended: Callable[[], object]) -> None:
        self.client = client
        self._ended = ended
        self._generator = self._last()

    async def begin(self) -> None:
        await anext(self._generator)

    async def _last(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._ended()
            await self.client.aclose(close_connection_pool=True)
