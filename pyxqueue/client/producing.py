"""The producer of a queue: it enqueues calls as messages and returns their handles."""

# ruff: noqa: PLC0415 - limits and unique tasks are imported by the first task that has them

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..calls import Call
from ..clock import milliseconds
from ..codec import Codec, schedule_seal_id
from ..context import running_task
from ..errors import ConfigurationError
from ..ids import new_id
from ..model.message import FLOW_VERSION, NO_HEADERS, WIRE_VERSION, Message, evolve
from ..options import CallOptions
from ..printable import quoted
from ..protocols import Beginning
from ..registry import TaskSpec
from ..stores import OpenStore
from .reader import Reader
from .result import AsyncResult

if TYPE_CHECKING:
    from ..options.fairness import Fairness
    from ..options.uniqueness import Guard
    from ..plugin import Plugins
    from ..worker.events import Observer
    from .bounding import Bound
    from .unique import Rounds, Stored


class Producer(Struct, frozen=True, eq=False):
    """Enqueues calls of the tasks of one queue, and makes their handles."""

    codec: Codec
    stores: Callable[[], OpenStore]
    check: Callable[[TaskSpec], None]
    """Raises `ConfigurationError` for a task that no worker can import."""
    queue: object
    """The queue itself; handles are pickled by its name."""
    fairness: Fairness | None = None
    """Whose share of the workers a call takes; None if the queue is not fair."""
    observer: Observer | None = None
    """Called for each call that returned the handle of another task."""
    plugins: Plugins | None = None
    """They add headers to messages."""
    bound: Bound | None = None
    """How long the queue may become; None if it has no `max_length`."""
    _declared: dict[str, object] = {}
    """By name, the backends in which the limits of tasks are declared."""

    def enqueue(
        self,
        task: TaskSpec,
        calls: Sequence[Call],
        options: CallOptions,
        task_ids: Sequence[str] | None = None,
        guard: Guard | None = None,
    ) -> list[AsyncResult[Any]]:
        """Enqueue calls of a task and return their handles.

        `task_ids`: an id for each call, instead of new ids; `guard`: what makes equal calls one.
        """
        self.check(task)
        if task.options.limits:
            self.declare(task)
        if guard is not None:
            return self._enqueue_unique(task, self._rounds(task, calls, options, task_ids, guard), options, guard)
        messages, stores = self._messages(task, calls, options, task_ids), self.stores()
        place = self._place(stores, task, options)
        accepted = place.backend.enqueue(messages) if self.bound is None else self.bound.accept(place, messages)
        return self._handles(messages, stores, _created(accepted, options, task_ids))

    async def aenqueue(
        self,
        task: TaskSpec,
        calls: Sequence[Call],
        options: CallOptions,
        task_ids: Sequence[str] | None = None,
        guard: Guard | None = None,
    ) -> list[AsyncResult[Any]]:
        """`enqueue` for asyncio."""
        self.check(task)
        if task.options.limits:
            await asyncio.to_thread(self.declare, task)
        if guard is not None:
            rounds = self._rounds(task, calls, options, task_ids, guard)
            return await self._aenqueue_unique(task, rounds, options, guard)
        messages, stores = self._messages(task, calls, options, task_ids), self.stores()
        place = self._place(stores, task, options)
        if self.bound is None:
            accepted = await place.producer.enqueue(messages)
        else:
            accepted = await self.bound.aaccept(place, messages)
        return self._handles(messages, stores, _created(accepted, options, task_ids))

    def declare(self, task: TaskSpec) -> None:
        """Store the numbers of the limits of a task that have none yet, once in this process. Raises
        `ConfigurationError` if the store cannot keep limits."""
        from ..options.limits import Declared

        backend = self.stores().backend
        if self._declared.get(task.name) is not backend:
            if keep := Declared.by([(task.name, task.options.limits)]).keeper(backend):
                keep(False)
            self._declared[task.name] = backend

    def _enqueue_unique(
        self, task: TaskSpec, rounds: Rounds, options: CallOptions, guard: Guard
    ) -> list[AsyncResult[Any]]:
        from .unique import enqueue_unique

        stores = self.stores()
        place = self._place(stores, task, options)
        return self._placed(task, enqueue_unique(place, rounds, guard, self.bound), stores, guard)

    async def _aenqueue_unique(
        self, task: TaskSpec, rounds: Rounds, options: CallOptions, guard: Guard
    ) -> list[AsyncResult[Any]]:
        from .unique import async_enqueue_unique

        stores = self.stores()
        place = self._place(stores, task, options)
        return self._placed(task, await async_enqueue_unique(place, rounds, guard, self.bound), stores, guard)

    def _rounds(
        self,
        task: TaskSpec,
        calls: Sequence[Call],
        options: CallOptions,
        task_ids: Sequence[str] | None,
        guard: Guard,
    ) -> Rounds:
        from .unique import rounds_of

        given = task_ids if options.task_id is None else [options.task_id] * len(calls)

        def make(call: Call, task_id: str) -> Message:
            return self._message(task, call, options, task_id, self.headers(task.name, options, task_id, len(calls)))

        ids = [new_id() for _ in calls] if given is None else given
        return rounds_of(task, calls, make, ids, guard, are_new=given is None)

    def _placed(
        self, task: TaskSpec, found: Sequence[Stored], stores: OpenStore, guard: Guard
    ) -> list[AsyncResult[Any]]:
        reader, reason = self._reader(stores), type(guard).__name__.lower()
        if self.observer is not None:
            from ..worker.events import CallConflicted, tell

            for one in found:
                if one.conflicted:
                    tell(self.observer, CallConflicted(one.id, task.name, reason, self.codec.queue))
        return [AsyncResult(reader, one.id, task.name, one.created) for one in found]

    def template(self, task: TaskSpec, call: Call, options: CallOptions, schedule_id: str) -> Message:
        """Return the call of a schedule: it has the id of the schedule, and a seal that no task's message has.

        Raises `ArgumentError` for arguments that the function does not take.
        """
        task.signature.check(*call)
        message = self._message(task, call, options, schedule_seal_id(schedule_id), _given_headers(options))
        return evolve(message, id=schedule_id, parent="", expires_ms=message.lifetime_ms, lifetime_ms=0)

    def handle(self, task_id: str, task_name: str | None = None) -> AsyncResult[Any]:
        """Return the handle of a task that was enqueued before, by this program or another."""
        return AsyncResult(self._reader(self.stores()), task_id, task_name)

    def message(self, task: TaskSpec, call: Call, options: CallOptions, task_id: str) -> Message:
        """Return the message of a call, for others to enqueue. Raises what `enqueue` raises for it."""
        self.check(task)
        if task.options.limits:
            self.declare(task)
        self._place(self.stores(), task, options)  # it may refuse the call
        return self._message(task, call, options, task_id, self.headers(task.name, options, task_id))

    def headers(self, name: str, options: CallOptions, task_id: str, count: int = 1) -> Mapping[str, str]:
        """Return the headers of a message of the task `name`, one of `count` that are enqueued together: those of the
        call, and those of plugins."""
        given = _given_headers(options)
        if self.plugins is None or not self.plugins.have_headers:
            return given
        from ..plugin import Outgoing

        return self.plugins.with_headers(given, Outgoing(task_id, name, self.codec.queue, count))

    def _reader(self, stores: OpenStore) -> Reader:
        return Reader(stores.backend, stores.producer, self.codec, self.queue)

    def _messages(
        self, task: TaskSpec, calls: Sequence[Call], options: CallOptions, task_ids: Sequence[str] | None
    ) -> list[Message]:
        if self.plugins is None or not self.plugins.have_headers:
            given = _given_headers(options)
            if task_ids is None:
                return [self._message(task, call, options, options.task_id or new_id(), given) for call in calls]
            return [self._message(task, call, options, one, given) for call, one in zip(calls, task_ids, strict=True)]
        ids = [options.task_id or new_id() for _ in calls] if task_ids is None else task_ids
        return [
            self._message(task, call, options, one, self.headers(task.name, options, one, len(calls)))
            for call, one in zip(calls, ids, strict=True)
        ]

    def _message(
        self, task: TaskSpec, call: Call, options: CallOptions, task_id: str, headers: Mapping[str, str]
    ) -> Message:
        body, serializer, seal = self.codec.seal_call(task.name, task_id, *call, headers)
        delay = _delay_ms(options)
        lifetime = _lifetime_ms(task, options, delay)
        gates = _gates(task, call) if task.options.limits else ()
        tenant, share = ("", 0) if self.fairness is None else self.fairness.header(task.signature, call)
        return Message(
            id=task_id,
            name=task.name,
            body=body,
            serializer=serializer,
            seal=seal,
            delay_ms=delay,
            lifetime_ms=lifetime,
            priority=task.options.priority if options.priority is None else options.priority,
            headers=headers,
            parent=running_task(),
            gates=gates,
            share=share,
            tenant=tenant,
            v=FLOW_VERSION if gates or lifetime or share else WIRE_VERSION,
        )

    def _place(self, stores: OpenStore, task: TaskSpec, options: CallOptions) -> OpenStore:
        """Return the store for calls of this durability. Raises `ConfigurationError` if a store does not know that, or
        if the call expires or has a share, and it does not know these."""
        backend, expires = stores.backend, options.expires is not None or task.options.expires is not None
        if expires and not isinstance(backend, Beginning):
            raise ConfigurationError(f"{type(backend).__name__} does not support expires=: leave it out")
        if self.fairness is not None:
            from ..options.fairness import check_fair_lines

            check_fair_lines(backend)
        return stores if options.durability is None else stores.durable(options.durability)

    def _handles(
        self, messages: Sequence[Message], stores: OpenStore, created: Sequence[bool] | None
    ) -> list[AsyncResult[Any]]:
        reader = self._reader(stores)
        if created is None:
            return [AsyncResult(reader, message.id, message.name, True) for message in messages]
        pairs = zip(messages, created, strict=True)
        return [AsyncResult(reader, message.id, message.name, new) for message, new in pairs]


def _given_headers(options: CallOptions) -> Mapping[str, str]:
    return NO_HEADERS if options.headers is None else dict(options.headers)


def _gates(task: TaskSpec, call: Call) -> tuple[str, ...]:
    from ..options.limits import gates_for

    return gates_for(task.options.limits, task.name, task.signature, call)


def _created(accepted: Sequence[bool], options: CallOptions, task_ids: Sequence[str] | None) -> Sequence[bool] | None:
    """Return which calls have created their tasks; None for all of them. A new id that is known already was stored by
    this call, whose reply was lost at first (B1)."""
    return None if task_ids is None and options.task_id is None else accepted


def _lifetime_ms(task: TaskSpec, options: CallOptions, delay: int) -> int:
    """Return the ms after which a call expires, 0 for never. Raises `ConfigurationError` if it could never start."""
    expires = task.options.expires if options.expires is None else options.expires
    if expires is None:
        return 0
    seconds = (expires - datetime.now(UTC)).total_seconds() if isinstance(expires, datetime) else expires
    lifetime = milliseconds(seconds)
    if lifetime <= delay:
        raise ConfigurationError(
            f"{task.name}: expires={quoted(expires)} is not after the delay of {delay / 1000:g} s, so the task could "
            f"never start: give a later expiry"
        )
    return lifetime


def _delay_ms(options: CallOptions) -> int:
    if options.eta is not None:
        return max(0, milliseconds((options.eta - datetime.now(UTC)).total_seconds()))
    return 0 if options.delay is None else milliseconds(options.delay)
