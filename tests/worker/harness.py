"""A worker on the memory backend, with a clock that only tests move."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from attrs import define, field

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.client.decorator import TaskDecorator
from pyxqueue.client.producing import Producer
from pyxqueue.clock import FakeClock
from pyxqueue.codec import Codec
from pyxqueue.inflight import InFlightTable
from pyxqueue.model.message import Message
from pyxqueue.plugin import Plugin, Plugins
from pyxqueue.protocols import Broker, StoreOptions
from pyxqueue.registry import Registry
from pyxqueue.serializers import JSONSerializer
from pyxqueue.worker.events import Event, Observer, TaskSettled
from pyxqueue.worker.executors import Executor, Inline, Threads
from pyxqueue.worker.interrupts import ThreadInterrupter
from pyxqueue.worker.loop import Loop
from pyxqueue.worker.serving import QueueParts
from pyxqueue.worker.tally import Tally
from pyxqueue.worker.worker import Worker


def refuse(*_: object) -> Any:
    """Tasks of these tests are put on the queue as messages."""
    raise AssertionError


def beside(call: Callable[[], object]) -> Future[object]:
    """Make a call in a daemon thread: one that never ends fails its test alone."""
    ended = Future[object]()

    def run() -> None:
        try:
            ended.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the test sees it
            ended.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return ended


def closed_error() -> BaseException:
    """An exception of which no attribute can be read, ``__class__`` included, and none of its type."""

    class Closed(type):
        def __getattribute__(cls, name: str) -> Any:
            raise SystemExit(3)

    class ClosedError(Exception, metaclass=Closed):
        def __getattribute__(self, name: str) -> Any:
            raise SystemExit(3)

    return ClosedError()


@define
class Bench:
    """The parts a worker is made of."""

    clock: FakeClock = field(factory=FakeClock)
    registry: Registry = field(factory=Registry)
    table: InFlightTable = field(factory=InFlightTable)
    events: list[Event] = field(factory=list)
    codec: Codec = field(factory=lambda: Codec.of("tasks", [JSONSerializer()], None))
    broker: MemoryBackend = field(init=False)
    group: str = "cg"

    def __attrs_post_init__(self) -> None:
        self.broker = self.backend()

    def backend(self) -> MemoryBackend:
        """A store of its own on the same clock."""
        return MemoryBackend(MemoryStore(self.clock), StoreOptions("tasks", self.group))

    def task(self, function: Callable[..., Any], **options: Any) -> None:
        producer = Producer(self.codec, refuse, refuse, self)
        TaskDecorator(self.codec, self.registry, producer, name=function.__name__, **options)(function)

    def put(self, name: str, *args: Any, task_id: str = "t1", **fields: Any) -> None:
        body, serializer, seal = self.codec.seal_call(name, task_id, args, {})
        message = Message(task_id, name, body, serializer, seal=seal, **fields)
        self.broker.enqueue([message])

    def worker(
        self,
        broker: Broker | None = None,
        executor: Executor | None = None,
        loop: Loop | None = None,
        observer: Observer | None = None,
        observed: bool = True,
        *,
        plugins: Sequence[Plugin] = (),
        tally: Tally | None = None,
    ) -> Worker:
        broker = broker or self.broker
        executor = executor or Inline(ThreadInterrupter())
        observer = (observer or self.events.append) if observed else None
        hooks = Plugins(plugins) if plugins else None
        parts = QueueParts(broker, self.registry, self.codec, observer, plugins=hooks, tally=tally)
        return Worker([parts], executor, "me", self.table, loop=loop, chance=lambda: 0.0)

    def threaded(self, threads: int, broker: Broker | None = None) -> Worker:
        return self.worker(broker, executor=Threads(threads))

    def settled(self) -> list[tuple[str, str, bool]]:
        return [
            (event.task_id, type(event.verdict).__name__, event.accepted)
            for event in self.events
            if isinstance(event, TaskSettled)
        ]
