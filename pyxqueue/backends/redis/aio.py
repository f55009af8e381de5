"""The asyncio side: the steps of the other modules, taken on an event loop with a redis.asyncio client.

Wake-ups still come through the one listening thread of the process, which hands them to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ...errors import BrokerError, BrokerUnavailableError
from ...model.locks import LockTerms, Placed
from ...model.message import Message, Record, TaskInfo
from ...protocols import TakenIn
from . import broker, inspector, locking, results
from .connect_async import AsyncClient
from .faults import has_died
from .registration import Registration
from .session import REPLY_TIMEOUT, first_of
from .steps import Execute, Sleep, Steps, Together
from .watch import Notifier

T = TypeVar("T")

_LEAST_PATIENCE = 1.0
"""The fewest seconds to wait for a reply, even if the caller has less left."""


class _ClosingError(RedisConnectionError):
    """Raised for a `CancelledError` that is not meant for this task. Tasks that wait until a connection is closed, as
    redis-py lets several do, wait for one future, which is cancelled with the first of them that is cancelled."""


class AsyncRedisProducer:
    """The `AsyncProducer` of a Redis backend. Each event loop has one client for all queues on a server."""

    def __init__(self, registration: Registration, notifier: Notifier) -> None:
        self._registration = registration
        self._session = registration.session
        self._notifier = notifier

    async def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return await self._run(broker.enqueue(self._registration, messages))

    async def enqueue_unique(self, messages: Sequence[Message], terms: LockTerms) -> Sequence[Placed]:
        return await self._run(locking.enqueue_unique(self._registration, messages, terms))

    async def enqueue_within(self, messages: Sequence[Message], terms: LockTerms, max_length: int) -> TakenIn:
        return await self._run(locking.enqueue_within(self._registration, messages, terms, max_length))

    async def wait(
        self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None
    ) -> Sequence[Record | None]:
        return await self._run(results.wait(self._registration, self._notifier, ids, timeout_ms, least))

    async def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        steps = inspector.watch(self._registration, self._notifier, task_id, seen, timeout_ms)
        return await self._run(steps)

    async def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return await self._run(inspector.show(self._registration, ids))

    async def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return await self._run(inspector.cancel(self._registration, ids, force))

    async def forget(self, ids: Sequence[str]) -> None:
        await self._run(results.forget(self._registration, ids))

    async def _run(self, steps: Steps[T]) -> T:
        """`Session.run` on the event loop."""
        try:
            request = next(steps)
            while True:
                try:
                    if isinstance(request, Execute | Together):
                        reply = await self._execute(request)
                    elif isinstance(request, Sleep):
                        reply = await request.asleep()
                    else:
                        reply = (await self._client()).master_of(request.key)
                except (BrokerError, NoScriptError) as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            steps.close()

    async def _execute(self, request: Execute | Together) -> Any:
        """`Session.execute` on the event loop, and `Session.execute_together`."""
        left = request.seconds if isinstance(request, Execute) else None
        try:
            async with asyncio.timeout(None if left is None else max(_LEAST_PATIENCE, left)):
                try:
                    return await self._send(request)
                except _ClosingError:
                    pass
                except RedisTimeoutError as error:
                    if not has_died(error):
                        raise
                self._session.link.drop_idle()
                return await self._send(request)
        except NoScriptError:
            raise
        except TimeoutError as error:
            self._session.link.drop_idle()
            raise BrokerUnavailableError(f"the store at {self._session.config.url} did not answer in time") from error
        except Exception as error:  # noqa: BLE001 - not all that the driver raises is a RedisError
            ours = self._session.fault(error)
        raise ours  # as in `Session.execute`

    async def _send(self, request: Execute | Together) -> Any:
        try:
            client = await self._client()
            if isinstance(request, Together):
                return first_of(await client.execute_together(request.key, request.commands))
            return await client.execute_command(*request.args)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise _ClosingError("the connection was closed by another task") from error

    async def _client(self) -> AsyncClient:
        link = self._session.link
        loop, clients = asyncio.get_running_loop(), link.loops
        if (life := clients.get(loop)) is None:
            for old in list(clients):  # loops in other threads come and go meanwhile
                if old.is_closed():
                    clients.pop(old, None)
            client = self._session.config.open_async(timeout=REPLY_TIMEOUT, retries=3)
            life = clients[loop] = _Life(client, lambda: clients.pop(loop, None))
            life.drops = link.drops
            await life.begin()
        if life.drops != link.drops:
            life.drops = link.drops
            await life.client.drop_idle()
        return life.client


class _Life:
    """Closes a client when its event loop ends: a loop that is shut down first closes its asynchronous generators. If
    this object is collected before, the client is closed too."""

    def __init__(self, client: AsyncClient, ended: Callable[[], object]) -> None:
        self.client = client
        self.drops = 0
        """The link's `drops` when idle connections were last closed here."""
        self._generator = _until_ended(client, ended)

    async def begin(self) -> None:
        await anext(self._generator)


async def _until_ended(client: AsyncClient, ended: Callable[[], object]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        ended()
        await client.aclose()
