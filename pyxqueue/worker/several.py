"""Claims from several queues in turns.

Queues that share a store are claimed from in one request, and one wait is for all of them (`HasSharedClaims`). If the
queues are on several stores, a thread for each store claims there, so that a store that does not reply holds up no
other. The worker's own thread decides which queue is asked, and for how many messages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Protocol

from attrs import define, field

from ..errors import BrokerError, BrokerUnavailableError
from ..model.message import Delivery
from ..protocols import HasSharedClaims, SharedClaims
from .events import log
from .serving import Claimed, Claims, OneQueue, ServedQueue
from .turns import Order

_LOOK_EVERY = 0.1
"""Seconds between two looks at a queue that had no work, on another store, while there is work elsewhere."""
_PATIENCE = 0.1
"""How many seconds the worker waits for a store that is to reply at once."""
_PATIENCE_WITH_LATE = 2.0
"""And for one whose last reply came later than that, and had work: the worker would get none of it otherwise."""
_REFUSED_FOR = 5.0
"""Seconds until a queue is asked again that a store has refused to claim from."""
_LONGEST_PAUSE = 2.0
"""The longest pause in seconds until a store that failed is asked again."""


class Source(Protocol):
    """The queues that are claimed from with one request."""

    queues: Sequence[ServedQueue]

    def claim(self, consumer: str, limit: int, wait_ms: int, asked: Sequence[ServedQueue]) -> Claimed: ...

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


@define(eq=False)
class Alone:
    """A queue that no other one can be claimed with."""

    queues: Sequence[ServedQueue]

    def claim(self, consumer: str, limit: int, wait_ms: int, asked: Sequence[ServedQueue]) -> Claimed:
        (queue,) = asked
        return [(queue, queue.broker.claim(consumer, limit, wait_ms))]

    def interrupt(self) -> None:
        self.queues[0].broker.interrupt()

    def close(self) -> None:
        """The broker is closed by others."""


@define(eq=False)
class Together:
    """Queues that share a store."""

    queues: Sequence[ServedQueue]
    shared: SharedClaims

    def claim(self, consumer: str, limit: int, wait_ms: int, asked: Sequence[ServedQueue]) -> Claimed:
        order = [self.queues.index(queue) for queue in asked]
        return list(zip(asked, self.shared.claim(consumer, limit, wait_ms, order), strict=True))

    def interrupt(self) -> None:
        self.shared.interrupt()

    def close(self) -> None:
        self.shared.close()


def sources_of(queues: Sequence[ServedQueue]) -> list[Source]:
    """Put the queues together that can be claimed from together."""
    by_key: dict[Hashable, list[ServedQueue]] = {}
    for queue in queues:
        broker = queue.broker
        key = broker.claim_key() if isinstance(broker, HasSharedClaims) else None
        by_key.setdefault(queue if key is None else (type(broker), key), []).append(queue)
    sources: list[Source] = []
    for found in by_key.values():
        first = found[0].broker
        if len(found) > 1 and isinstance(first, HasSharedClaims):
            sources.append(Together(found, first.shared_claims([queue.broker for queue in found])))
        else:
            sources.append(Alone(found))
    return sources


def claims_of(
    order: Order,
    queues: Sequence[ServedQueue],
    backoff: Callable[[int, float], float],
    inside: Callable[[str], AbstractContextManager[None]],
) -> Claims:
    """Return what a worker of these queues claims from. `inside` enters what plugins have where a store is asked."""
    if len(queues) == 1:
        return OneQueue(queues[0])
    sources = sources_of(queues)
    if len(sources) == 1:
        return OneStore(queues, order, sources[0])
    return SeveralStores(queues, order, sources, backoff, inside)


@define(eq=False)
class OneStore:
    """Claims from several queues of one store in turns, in the thread that calls.

    Queues that lately had no work are asked together with the one whose turn it is, in the same request; if none had,
    the request waits on all.
    """

    queues: Sequence[ServedQueue]
    order: Order
    source: Source
    _quiet: set[int] = field(factory=set, init=False)
    """The queues in which the last claim found nothing."""
    _refused: dict[int, float] = field(factory=dict, init=False)
    """When a queue is asked again that the store refuses to claim from, by `time.monotonic`."""

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Claimed:
        while True:
            order = self._order()
            turn = next((number for number in order if number not in self._quiet), None)
            asked = [self.queues[number] for number in order if number == turn or number in self._quiet]
            try:
                found = self.source.claim(consumer, limit, wait_ms if turn is None else 0, asked)
            except BrokerUnavailableError:
                raise
            except BrokerError as error:
                found, turn = self._one_by_one(consumer, limit, asked, error), -1
            for queue, deliveries in found:
                self.order.claimed(queue.number, len(deliveries))
                (self._quiet.discard if deliveries else self._quiet.add)(queue.number)
            if turn is None or any(deliveries for _, deliveries in found):
                return found

    def _order(self) -> Sequence[int]:
        order = self.order.next()
        if not self._refused:
            return order
        now = time.monotonic()
        return [number for number in order if now >= self._refused.get(number, 0.0)] or order

    def _one_by_one(self, consumer: str, limit: int, asked: Sequence[ServedQueue], refusal: BrokerError) -> Claimed:
        """Claim from each queue alone, because the store has refused to claim from all. Those that it refuses again are
        left out for a while. Raises the error if it refuses all queues."""
        found: list[tuple[ServedQueue, Sequence[Delivery]]] = []
        for queue in asked:
            try:
                deliveries = queue.broker.claim(consumer, limit, 0) if limit else ()
            except BrokerUnavailableError:
                raise
            except BrokerError as error:
                if queue.number not in self._refused:
                    log.error("%s cannot claim from %s now: %s", consumer, queue.name, error)
                self._refused[queue.number], refusal = time.monotonic() + _REFUSED_FOR, error
            else:
                if self._refused.pop(queue.number, None) is not None:
                    log.warning("%s claims from %s again", consumer, queue.name)
                found.append((queue, deliveries))
                limit -= len(deliveries)
        if len(self._refused) == len(self.queues):
            raise refusal
        return found

    def interrupt(self) -> None:
        self.source.interrupt()

    def close(self) -> None:
        self.source.close()


class _Feeder:
    """Claims from one source in a thread of its own, when it is asked to.

    What comes when the worker does not look for work is given back at once: its lease is not extended before it is
    noted as in flight, and the tasks that run meanwhile may take long.
    """

    def __init__(
        self,
        source: Source,
        changed: threading.Condition,
        is_awaited: Callable[[], bool],
        backoff: Callable[[int, float], float],
        inside: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        """`is_awaited`: whether the worker looks for work now."""
        self.source = source
        self._is_awaited = is_awaited
        self._inside = inside
        self.queues = source.queues
        self.pending = False
        """Whether a request is under way."""
        self.waits = False
        """Whether it is one that waits for work."""
        self.retry_at = 0.0
        """When it may be asked again after a failure, by `time.monotonic`."""
        self.was_late = False
        """Whether the last request had work that was given back."""
        self._changed = changed
        self._backoff = backoff
        self._failures = 0
        self._closed = False
        self._found: Claimed = ()
        self._error: BaseException | None = None
        """Why its thread has ended, if it broke."""
        self._request: Callable[[], Claimed] | None = None
        self._thread: threading.Thread | None = None

    def ask(self, consumer: str, limit: int, wait_ms: int, asked: Sequence[ServedQueue]) -> None:
        """Begin a request. The caller has the lock of `changed`, here and below."""
        self._request = partial(self.source.claim, consumer, limit, wait_ms, asked)
        self.pending, self.waits = True, wait_ms > 0
        self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(consumer,), name="pyxqueue-claim", daemon=True)
            self._thread.start()

    def take(self) -> Claimed:
        """Return what came of the last request, once. Raises the error that has ended the thread."""
        if self._error is not None:
            raise self._error
        found, self._found = self._found, ()
        return found

    def is_free(self, now: float) -> bool:
        """Return whether a request may begin."""
        return not self.pending and now >= self.retry_at

    def close(self) -> None:
        """Let the thread end after the request that is under way."""
        self._closed = True
        self._changed.notify_all()

    def _run(self, consumer: str) -> None:
        try:
            with self._inside("claim"):
                self._serve(consumer)
        except BaseException as error:  # noqa: BLE001 - raised in the thread of the worker, which it ends
            with self._changed:
                self._error, self.pending, self.waits = error, False, False
                self._changed.notify_all()

    def _serve(self, consumer: str) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._request or self._closed)
                request, self._request = self._request, None
            if request is None:
                return self.source.close()
            found = self._claim(request, consumer)
            with self._changed:
                self.was_late = any(deliveries for _, deliveries in found) and not self._is_awaited()
                late, self._found = (found, ()) if self.was_late else ((), found)
                self.pending = self.waits = False
                self._changed.notify_all()
            for queue, deliveries in late:
                if deliveries:
                    queue.give_back(deliveries)

    def _claim(self, request: Callable[[], Claimed], consumer: str) -> Claimed:
        names = ", ".join(queue.name for queue in self.queues)
        try:
            found = request()
        except BrokerError as error:
            self._failures += 1
            self.retry_at = time.monotonic() + self._backoff(self._failures, _LONGEST_PAUSE)
            if self._failures == 1:
                log.warning("%s waits for the store of %s: %s", consumer, names, error)
            return ()
        if self._failures:
            log.warning("%s: the store of %s is back", consumer, names)
            self._failures = 0
        return found


@define(eq=False)
class SeveralStores:
    """Claims from queues on several stores in turns; each store has a thread of its own for it.

    While there is work, one store is asked at a time, and only for what can start now. If there is none, all wait at
    once, and the first that has work ends the waits of the others.
    """

    queues: Sequence[ServedQueue]
    order: Order
    sources: Sequence[Source]
    backoff: Callable[[int, float], float]
    """Returns how many seconds to wait for a store, from the number of failures in a row and the longest pause."""
    inside: Callable[[str], AbstractContextManager[None]] = lambda _role: nullcontext()
    """Enters what plugins have where a store is asked."""
    _changed: threading.Condition = field(factory=threading.Condition, init=False)
    _feeders: Sequence[_Feeder] = field(init=False)
    _look_at: dict[int, float] = field(factory=dict, init=False)
    """When a queue that had no work is looked at again, although there is work elsewhere."""
    _interrupted: bool = field(default=False, init=False)
    _looks: bool = field(default=False, init=False)
    """Whether the worker looks for work now."""

    def __attrs_post_init__(self) -> None:
        self._feeders = [
            _Feeder(source, self._changed, lambda: self._looks, self.backoff, self.inside) for source in self.sources
        ]

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Claimed:
        with self._changed:
            self._looks = True
            try:
                found = self._collect() or self._look(consumer, limit) or self._wait(consumer, limit, wait_ms)
                if (found or self._interrupted) and any(feeder.waits for feeder in self._feeders):
                    found = [*found, *self._recall()]
            finally:
                self._interrupted = self._looks = False
            return found

    def interrupt(self) -> None:
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            for feeder in self._feeders:
                feeder.close()

    def _collect(self) -> Claimed:
        """Return what the feeders have found, and note which queues had no work."""
        found = [batch for feeder in self._feeders for batch in feeder.take()]
        now = time.monotonic()
        for queue, deliveries in found:
            self.order.claimed(queue.number, len(deliveries))
            self._look_at[queue.number] = 0.0 if deliveries else now + _LOOK_EVERY
        return [(queue, deliveries) for queue, deliveries in found if deliveries]

    def _look(self, consumer: str, limit: int) -> Claimed:
        """Ask the queues in turns until one has work. One whose store does not reply at once is passed over."""
        looked: set[int] = set()
        while (turn := self._turn(looked)) is not None:
            feeder, asked = turn
            looked.update(queue.number for queue in asked)
            feeder.ask(consumer, limit, 0, asked)
            patience = _PATIENCE_WITH_LATE if feeder.was_late else _PATIENCE
            self._changed.wait_for(lambda: not feeder.pending or self._interrupted, patience)  # noqa: B023 - called here
            if found := self._collect():
                return found
        return ()

    def _turn(self, looked: set[int]) -> tuple[_Feeder, Sequence[ServedQueue]] | None:
        """Return the next store to ask, and the queues: the one whose turn it is, and with it those that had no work
        lately."""
        now, order = time.monotonic(), self.order.next()
        quiet = {number for number in order if now < self._look_at.get(number, 0.0)}
        free = {queue.number: feeder for feeder in self._feeders if feeder.is_free(now) for queue in feeder.queues}
        for number in order:
            if number in free and number not in looked and number not in quiet:
                own = {queue.number for queue in free[number].queues}
                asked = [one for one in order if one in own and (one == number or one in quiet)]
                return free[number], [self.queues[one] for one in asked]
        return None

    def _wait(self, consumer: str, limit: int, wait_ms: int) -> Claimed:
        """Let all stores wait for work, until one has some."""
        end = time.monotonic() + wait_ms / 1000
        while (left := end - time.monotonic()) > 0 and not self._interrupted:
            now = time.monotonic()
            for feeder in self._feeders:
                if feeder.is_free(now):
                    order = [self.queues[number] for number in self.order.next()]
                    asked = [queue for queue in order if queue in feeder.queues]
                    feeder.ask(consumer, limit, max(1, round(left * 1000)), asked)
            retries = [feeder.retry_at - now for feeder in self._feeders if not feeder.pending]
            self._changed.wait(min([left, *retries]))
            if found := self._collect():
                return found
        return ()

    def _recall(self) -> Claimed:
        """End the waits that are under way, so that they claim nothing while the tasks run that were found. Returns
        what they had claimed."""
        waiting = [feeder for feeder in self._feeders if feeder.waits]
        for feeder in waiting:  # in threads: a store that hangs must not hold up this one
            threading.Thread(target=feeder.source.interrupt, name="pyxqueue-interrupt", daemon=True).start()
        self._changed.wait_for(lambda: not any(feeder.pending for feeder in waiting), _PATIENCE)
        for feeder in waiting:
            feeder.waits = False  # one that hangs is not waited for again
        return self._collect()
