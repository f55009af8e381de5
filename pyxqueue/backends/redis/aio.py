"""The asyncio side: the same commands as the synchronous one, run on a redis.asyncio client.

Wake-ups still come through the one listening thread of the process, which hands them to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ...batching import batches
from ...clock import deadline_after, is_over, seconds_left
from ...errors import BrokerUnavailableError
from ...model.message import Message, Record, TaskInfo
from ...model.wire import message_size
from ...protocols import StoreOptions
from . import commands
from .commands import Command, Unknown
from .connect import ConnectionConfig
from .keys import GroupKeys
from .reading import Groups
from .scripts import SCRIPTS
from .session import REPLY_TIMEOUT, Session, StaleGroups, has_died, is_of_connections, translate
from .waiting import Notifier, is_enough, until_look

T = TypeVar("T")

_LEAST_PATIENCE = 1.0
"""Seconds that the store has for its answer, also to a caller who has less left."""


class AsyncClient(Protocol):
    """What we use of a redis.asyncio client."""

    connection_pool: Any

    async def execute_command(self, *args: Any) -> Any: ...

    async def aclose(self, close_connection_pool: bool) -> None: ...


class AsyncRedisProducer:
    """What producers await, on Redis. Each event loop has a client of its own, for all queues on that server."""

    def __init__(self, config: ConnectionConfig, options: StoreOptions, session: Session, notifier: Notifier) -> None:
        self._config = config
        self._options = options
        self._session = session
        self._notifier = notifier

    async def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        answers: list[bool] = []
        for batch in batches(messages, message_size):
            answers += await self._repaired(lambda: self._enqueue(batch))  # noqa: B023 - runs before the next
        return answers

    async def _enqueue(self, batch: Sequence[Message]) -> list[bool]:
        groups = self._session.few(await self._groups())
        answers = await self._run(commands.enqueue(self._options.stream_key, groups, batch))
        if answers is None:
            raise StaleGroups("the list of groups has changed")
        return answers

    async def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return await self._batched(ids, lambda keys, batch: commands.show(keys, self._options.group, batch))

    async def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        first: list[commands.Arg] = [self._options.group, self._options.history, int(force)]
        return await self._batched(ids, lambda keys, batch: commands.flags("cancel", keys, first, batch))

    async def forget(self, ids: Sequence[str]) -> None:
        await self._batched(ids, lambda keys, batch: commands.flags("forget", keys, [self._options.group], batch))

    async def wait(
        self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None
    ) -> Sequence[Record | None]:
        deadline = deadline_after(timeout_ms)
        found = dict(zip(ids, await self._look(ids, deadline), strict=True))
        if timeout_ms != 0 and not is_enough(found.values(), least):
            missing = [task_id for task_id, record in found.items() if record is None]
            async with self._watching(missing, deadline) as woken:
                look = missing
                while True:
                    found.update(zip(look, await self._look(look, deadline), strict=True))
                    if is_enough(found.values(), least) or not (news := await woken()):
                        break
                    look = [i for i, record in found.items() if record is None and (None in news or i in news)]
        return [None if isinstance(record := found[task_id], Unknown) else record for task_id in ids]

    async def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        deadline = deadline_after(timeout_ms)
        async with self._watching([task_id], deadline) as woken:
            while True:
                await self._look([task_id], deadline)
                (info,) = await self.show([task_id])
                if info is None or info.differs(seen):
                    return info
                if not await woken():
                    return (await self.show([task_id]))[0]

    async def _look(self, ids: Sequence[str], deadline: float | None) -> list[Record | Unknown | None]:
        left = seconds_left(deadline)
        try:
            async with asyncio.timeout(None if left is None else max(_LEAST_PATIENCE, left)):
                return await self._batched(ids, lambda keys, batch: commands.get(keys, batch, self._notifier.channel))
        except TimeoutError as error:
            self._session.link.drop_idle()
            raise BrokerUnavailableError(f"the store at {self._config.url} did not answer in time") from error

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
    ) -> AsyncIterator[Callable[[], Awaitable[Collection[str | None]]]]:
        """Yields a wait for which of `ids` to look at next, None among them for all; nothing once `deadline` has
        passed."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        news: set[str | None] = set()

        def notify(task_id: str | None) -> None:
            if task_id in news:  # told already, and not looked at yet
                return
            news.add(task_id)
            with suppress(RuntimeError):  # the loop was closed under the wait
                loop.call_soon_threadsafe(event.set)

        async def woken() -> Collection[str | None]:
            while not news:  # what was seen already may still set it
                event.clear()
                try:
                    await asyncio.wait_for(event.wait(), until_look(deadline))
                except TimeoutError:
                    return () if is_over(deadline) else (None,)
            told = {news.pop() for _ in range(len(news))}
            return () if is_over(deadline) else told

        with self._notifier.watching(ids, notify):
            while not self._notifier.subscribed(0) and await woken():
                pass  # the first wake-up is the subscription itself
            yield woken

    async def _groups(self) -> Groups:
        """The groups are read once per process, by the synchronous session in a thread."""
        known = self._session.known_groups
        return await asyncio.to_thread(lambda: self._session.groups) if known is None else known

    async def _run(self, command: Command[T]) -> T:
        try:
            try:
                reply = await self._call(command)
            except RedisTimeoutError as error:
                if not has_died(error):
                    raise
                self._session.link.drop_idle()
                reply = await self._call(command)
        except Exception as error:  # noqa: BLE001 - whatever the driver raises, ours is raised instead
            if is_of_connections(error):
                self._session.link.drop_idle()
            translated = translate(error, self._config)
        else:
            return command.parse(reply)
        raise translated

    async def _call(self, command: Command[Any]) -> Any:
        script = SCRIPTS[command.script]
        client = await self._client()
        call = (len(command.keys), *command.keys, *command.args)
        try:
            return await client.execute_command("EVALSHA", script.sha, *call)
        except NoScriptError:
            return await client.execute_command("EVAL", script.text, *call)

    async def _repaired(self, action: Callable[[], Awaitable[T]]) -> T:
        for _ in range(3):
            try:
                return await action()
            except StaleGroups:
                self._session.refresh()
        return await action()

    async def _client(self) -> AsyncClient:
        link = self._session.link
        loop, clients = asyncio.get_running_loop(), link.loops
        if (life := clients.get(loop)) is None:
            for old in [one for one in clients if one.is_closed()]:
                del clients[old]
            life = clients[loop] = _Life(
                self._config.open_async(timeout=REPLY_TIMEOUT, retries=3), lambda: clients.pop(loop, None)
            )
            life.drops = link.drops
            await life.begin()
        if life.drops != link.drops:
            life.drops = link.drops
            with suppress(OSError, RedisError):  # of a connection that is closed all the same
                await life.client.connection_pool.disconnect(inuse_connections=False)
        return life.client


class _Life:
    """Closes a client with its event loop: what ends a loop first ends the asynchronous generators it has seen. Where
    it is dropped before, it closes the client too."""

    def __init__(self, client: AsyncClient, ended: Callable[[], object]) -> None:
        self.client = client
        self.drops = 0
        """Those of the link that it has followed."""
        self._generator = _until_ended(client, ended)

    async def begin(self) -> None:
        await anext(self._generator)


async def _until_ended(client: AsyncClient, ended: Callable[[], object]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        ended()
        await client.aclose(close_connection_pool=True)
