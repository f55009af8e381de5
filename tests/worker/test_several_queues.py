"""A worker that serves several queues."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from pyxqueue import current_task
from pyxqueue.errors import BrokerError, BrokerUnavailableError
from pyxqueue.ids import new_id
from pyxqueue.model.message import Delivery, Settlement, StartStatus, TaskStatus
from pyxqueue.protocols import Broker
from pyxqueue.worker.claiming import Claimer
from pyxqueue.worker.executors import Inline, Threads
from pyxqueue.worker.interrupts import ThreadInterrupter
from pyxqueue.worker.serving import QueueParts, ServedQueue
from pyxqueue.worker.several import OneStore, SeveralStores, sources_of
from pyxqueue.worker.turns import ByWeight, Turns
from pyxqueue.worker.worker import Worker
from tests.support.until import PATIENCE, until

from .harness import Bench, beside


class Changed:
    """A broker of which a test replaces some methods."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.away = False
        self.claims: list[int] = []
        self.interrupts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        self.claims.append(wait_ms)
        if self.away:
            raise BrokerUnavailableError("down")
        return self._broker.claim(consumer, limit, wait_ms)

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        if self.away:
            raise BrokerUnavailableError("down")
        return self._broker.settle(settlements)

    def begin(self, receipts: Sequence[str]) -> Sequence[StartStatus]:
        if self.away:
            raise BrokerUnavailableError("down")
        return self._broker.begin(receipts)  # type: ignore[attr-defined,no-any-return] # it is the memory backend

    def interrupt(self) -> None:
        self.interrupts += 1
        self._broker.interrupt()


@pytest.fixture
def mail() -> Bench:
    return Bench()


@pytest.fixture
def images() -> Bench:
    return Bench()


def worker_of(
    *benches: Bench, brokers: Sequence[Any] = (), turns: Turns | None = None, threads: int | None = None
) -> Worker:
    parts = [
        QueueParts(broker or bench.broker, bench.registry, bench.codec, bench.events.append, name)
        for bench, name, broker in zip(
            benches, ("mail", "images", "third"), [*brokers, *[None] * len(benches)], strict=False
        )
    ]
    executor = Inline(ThreadInterrupter()) if threads is None else Threads(threads)
    return Worker(parts, executor, "me", benches[0].table, turns=turns or Turns(), chance=lambda: 0.0)


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    """Run a worker in a thread, and stop it in the end."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


def ended(bench: Bench, task_id: str) -> Callable[[], bool]:
    def look() -> bool:
        (info,) = bench.broker.show([task_id])
        return info is not None and info.status is TaskStatus.SUCCESS

    return look


def test_the_tasks_of_both_are_run(mail: Bench, images: Bench) -> None:
    """Each with the tasks, the codec and the observer of its own queue, also if both have a task of one name."""
    ran: list[str] = []

    def notes(queue: str) -> Callable[..., Any]:
        def job() -> None:
            ran.append(f"{queue} {current_task().id}")

        return job

    mail.task(notes("mail"))
    images.task(notes("images"))
    mail.put("job", task_id="one")
    images.put("job", task_id="two")

    with running(worker_of(mail, images)):
        until(lambda: ended(mail, "one")() and ended(images, "two")(), "both are done")

    assert sorted(ran) == ["images two", "mail one"]
    assert mail.settled() == [("one", "Done", True)]
    assert images.settled() == [("two", "Done", True)]


def test_events_and_the_log_say_which_queue(mail: Bench, images: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The events with the queue's own name, the log with one that the others do not have."""
    images.task(int)
    images.put("int", "x", task_id="two")

    with caplog.at_level(logging.INFO):
        worker_of(mail, images).drain()

    assert {event.queue for event in images.events} == {"tasks"}
    (record,) = caplog.records
    assert record.getMessage().startswith("int two of images, attempt 1: ValueError")
    assert vars(record)["queue"] == "tasks"


def test_a_task_that_only_another_queue_has(mail: Bench, images: Bench) -> None:
    """It is unknown in the queue that it was put on."""
    images.task(len)
    mail.put("len", [], task_id="lost")

    worker_of(mail, images).drain()

    assert mail.settled() == [("lost", "Defer", True)]


def test_the_table_says_of_which_queue_a_delivery_is(mail: Bench, images: Bench) -> None:
    """The supervisor renews and releases each in its own store."""
    found: list[int] = []

    def look() -> None:
        found.extend(entry.queue for entry in mail.table.entries())

    images.task(look)
    images.put("look")

    worker_of(mail, images).drain()

    assert found == [1]


def test_a_store_that_is_down(mail: Bench, images: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The other queue is served meanwhile, and both when it is back. The log names the queue, once."""
    away = Changed(mail.broker)
    away.away = True
    mail.task(len)
    images.task(len)
    mail.put("len", [], task_id="one")
    images.put("len", [], task_id="two")

    with caplog.at_level(logging.WARNING), running(worker_of(mail, images, brokers=[away])):
        until(ended(images, "two"), "the other queue is served")
        until(lambda: len(away.claims) > 2, "it was asked again")
        away.away = False
        until(ended(mail, "one"), "both are served")

    assert [record.getMessage() for record in caplog.records] == [
        "me waits for the store of mail: down",
        "me: the store of mail is back",
    ]


def test_a_store_that_does_not_reply(mail: Bench, images: Bench) -> None:
    """It holds up no other."""
    reply = threading.Event()

    class Silent(Changed):
        def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
            reply.wait()
            return super().claim(consumer, limit, wait_ms)

    mail.task(len)
    images.task(len)
    mail.put("len", [], task_id="one")
    for number in range(3):
        images.put("len", [], task_id=f"two{number}")

    with running(worker_of(mail, images, brokers=[Silent(mail.broker)])):
        for number in range(3):
            until(ended(images, f"two{number}"), "the other queue is served")
        reply.set()
        until(ended(mail, "one"), "both are served")


def test_an_unexpected_error_of_one_store(mail: Bench, images: Bench) -> None:
    """The worker ends as broken: it would only seem to serve that queue."""

    class Odd(Changed):
        def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
            raise ArithmeticError

    worker = worker_of(mail, images, brokers=[Odd(mail.broker)])

    with pytest.raises(RuntimeError, match="a thread of me broke"):
        beside(worker.run).result(PATIENCE)


def test_what_comes_late_is_given_back(mail: Bench, images: Bench) -> None:
    """Messages that a slow store hands out while a task of another one runs do not wait for its end: nobody would
    extend their leases."""
    reply, go = threading.Event(), threading.Event()

    class Slow(Changed):
        def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
            reply.wait()
            return super().claim(consumer, limit, wait_ms)

    def hold() -> None:
        reply.set()
        go.wait()

    slow = Slow(mail.broker)
    mail.task(len)
    images.task(hold)
    mail.put("len", [], task_id="late")
    images.put("hold", task_id="long")

    with running(worker_of(mail, images, brokers=[slow])):
        until(lambda: slow.claims and mail.broker.depth().ready == 1, "it is ready again, while the other task runs")
        assert not ended(images, "long")()
        go.set()
        until(ended(mail, "late"), "it is claimed again")

    assert mail.broker.show(["late"])[0].message.deferrals == 0  # type: ignore[union-attr] # it is there, and readable


def test_more_than_there_are_slots(mail: Bench, images: Bench) -> None:
    """Two stores were asked at the same time for as many as there was room for: what is too much is given back."""
    worker = worker_of(mail, images)
    worker._jobs.slots._free[1:] = []
    for bench in (mail, images):
        bench.task(len)
        bench.put("len", [], task_id="one")
    claims = worker._claimer.claims
    assert isinstance(claims, SeveralStores)
    batches = [*claims.claim("me", 1, 0), *claims.claim("me", 1, 0)]

    jobs, _ = worker._claimer._noted(batches)

    assert [job.delivery.message.id for job in jobs] == ["one"]
    assert [bench.broker.depth().ready for bench in (mail, images)] == [0, 1]
    claims.close()


def test_a_slow_store_is_waited_for_when_it_had_work(mail: Bench, images: Bench) -> None:
    """Or all that it hands out would come late while another store has work."""
    busy = threading.Event()

    class Slow(Changed):
        def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
            time.sleep(0.3)
            busy.wait(0.5)  # a task runs, if the worker does not wait for this reply
            return super().claim(consumer, limit, wait_ms)

    def work() -> None:
        busy.set()
        time.sleep(0.05)
        busy.clear()
        if not ended(mail, "late")():
            images.put("work", task_id=new_id())

    mail.task(len)
    images.task(work)
    mail.put("len", [], task_id="late")
    images.put("work")

    with running(worker_of(mail, images, brokers=[Slow(mail.broker)])):
        until(ended(mail, "late"), "it has run although the other queue always has work")


def test_what_cannot_be_settled_holds_up_no_other_queue(mail: Bench, images: Bench) -> None:
    """A store that goes down while its task runs keeps the outcome of that one waiting, and of no other."""
    store = Changed(mail.broker)

    def leave() -> None:
        store.away = True

    mail.task(leave)
    images.task(len)
    mail.put("leave", task_id="one")
    worker = worker_of(mail, images, brokers=[store])

    with running(worker):
        until(lambda: store.away, "the task has run")
        images.put("len", [], task_id="two")
        until(ended(images, "two"), "the other queue is served")
        images.put("len", [], task_id="suspect", redelivered=True)
        until(ended(images, "suspect"), "one that must run alone does not wait for it either")
        store.away = False
        until(ended(mail, "one"), "it is settled")


def test_a_task_that_must_not_start_without_its_store(mail: Bench, images: Bench) -> None:
    """One with an end to its waiting is left to its lease when the store is down, and holds up no other queue."""
    store = Changed(mail.broker)
    mail.task(len)
    images.task(len)
    mail.put("len", [], task_id="one", lifetime_ms=5_000)
    (held,) = mail.broker.claim("me", 1, 0)
    worker = worker_of(mail, images, brokers=[store])
    job = worker._jobs.add(held, mail.registry.get("len"), 0.0)
    store.away = True

    worker._queues[0].runner.run(job, worker.executor)

    assert not len(worker._jobs)
    assert not mail.events


def test_one_wait_ends_when_another_queue_has_work(mail: Bench, images: Bench) -> None:
    """So that it claims nothing while the task runs; no store is polled."""
    first, second = Changed(mail.broker), Changed(images.broker)
    images.task(len)

    with running(worker_of(mail, images, brokers=[first, second])):
        until(lambda: first.claims and second.claims and first.claims[-1] and second.claims[-1], "both wait")
        images.put("len", [], task_id="two")
        until(ended(images, "two"), "it is done")
        until(lambda: first.interrupts, "the wait of the other has ended")


def test_a_worker_that_stops_gives_back_by_queue(mail: Bench, images: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was claimed of each and has not started is ready again in its own store."""
    worker = worker_of(mail, images)
    for bench in (mail, images):
        bench.task(len)
        bench.put("len", [], task_id="one")
    monkeypatch.setattr(Claimer, "_submit", lambda *_: None)  # nothing starts
    worker._claimer.claim(1, 0)
    worker._claimer.claim(1, 0)
    assert mail.broker.depth().in_flight == images.broker.depth().in_flight == 1

    worker._claimer.give_back()

    assert mail.broker.depth().ready == images.broker.depth().ready == 1
    assert not mail.table.entries()


def test_progress_of_both(mail: Bench, images: Bench) -> None:
    """Each is stored with its own queue, while the task runs."""
    go = threading.Event()

    def report() -> None:
        current_task().progress(3)
        go.wait()

    for bench in (mail, images):
        bench.task(report)
        bench.put("report", task_id="one")

    def stored(bench: Bench) -> bool:
        (info,) = bench.broker.show(["one"])
        return info is not None and info.progress is not None and info.progress.done == 3

    with running(worker_of(mail, images, threads=2)):
        until(lambda: stored(mail) and stored(images), "both are stored")
        go.set()


class Shared:
    """A store that notes which queues it was asked for, with one request each time."""

    def __init__(self, benches: Sequence[Bench]) -> None:
        self.benches = benches
        self.asked: list[tuple[list[int], bool]] = []

    def claim(self, consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> list[Sequence[Delivery]]:
        self.asked.append((list(order), wait_ms > 0))
        found: list[Sequence[Delivery]] = []
        for number in order:
            found.append(self.benches[number].broker.claim(consumer, limit - sum(map(len, found)), 0))
        return found

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


class Sharing(Changed):
    """A broker of such a store."""

    def __init__(self, broker: Broker, shared: Shared) -> None:
        super().__init__(broker)
        self._shared = shared

    def claim_key(self) -> str:
        return "here"

    def shared_claims(self, brokers: Sequence[Any]) -> Shared:
        assert len(brokers) == len(self._shared.benches)
        return self._shared


def of_one_store(benches: Sequence[Bench], turns: Turns) -> tuple[Worker, Shared]:
    shared = Shared(benches)
    for bench in benches:
        bench.task(len)
    return worker_of(*benches, brokers=[Sharing(bench.broker, shared) for bench in benches], turns=turns), shared


def test_idle_queues_cost_no_request(mail: Bench, images: Bench) -> None:
    """One request asks the queue that has work together with those that had none, and one wait is for all."""
    worker, shared = of_one_store([mail, images, Bench()], Turns())
    for number in range(3):
        mail.put("len", [], task_id=str(number))

    while worker._claimer.claim(1, 10):
        pass

    assert [(sorted(asked), waits) for asked, waits in shared.asked] == [
        ([0], False),
        ([1], False),
        ([1, 2], False),
        ([0, 1, 2], False),
        ([0, 1, 2], False),
        ([0, 1, 2], False),
        ([0, 1, 2], True),
    ]


def test_a_queue_that_the_store_refuses(
    mail: Bench, images: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another program has put something else at one of its keys: the others are served, and the log says so
    once."""
    worker, shared = of_one_store([mail, images], Turns())
    broken, claim = worker._queues[0].broker, shared.claim

    def refuse(consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> list[Sequence[Delivery]]:
        if 0 in order:
            raise BrokerError("WRONGTYPE")
        return claim(consumer, limit, wait_ms, order)

    def refuse_alone(*_: object) -> Sequence[Delivery]:
        raise BrokerError("WRONGTYPE")

    monkeypatch.setattr(shared, "claim", refuse)
    monkeypatch.setattr(broken, "claim", refuse_alone)
    for number in range(3):
        images.put("len", [], task_id=str(number))

    for _ in range(3):
        worker._claimer.claim(1, 0)
    worker._queues[1].settling.settle_here()

    assert ended(images, "2")()
    assert caplog.messages == ["me cannot claim from mail now: WRONGTYPE"]
    assert not worker._claimer.claim(1, 10)


def test_a_store_that_refuses_all(mail: Bench, images: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error."""
    worker, shared = of_one_store([mail, images], Turns())

    def refuse(*_: object) -> Any:
        raise BrokerError("NOPERM")

    for store in (shared, *(queue.broker for queue in worker._queues)):
        monkeypatch.setattr(store, "claim", refuse)

    with pytest.raises(BrokerError, match="NOPERM"):
        worker._claimer.claim(1, 0)
    with pytest.raises(BrokerError, match="NOPERM"):
        worker._claimer.claim(1, 0)


def test_busy_queues_are_asked_in_turns(mail: Bench, images: Bench) -> None:
    """Only the one whose turn it is, so that nothing has to be put back."""
    worker, shared = of_one_store([mail, images], Turns())
    for number in range(4):
        mail.put("len", [], task_id=str(number))
        images.put("len", [], task_id=str(number))

    for _ in range(6):
        worker._claimer.claim(1, 0)

    assert [asked for asked, _ in shared.asked] == [[0], [1]] * 3


def test_a_queue_that_gets_work_while_another_is_busy(mail: Bench, images: Bench) -> None:
    """It is next, although the other one has more."""
    worker, _ = of_one_store([mail, images], Turns())
    for number in range(9):
        mail.put("len", [], task_id=str(number))
    for _ in range(4):
        worker._claimer.claim(1, 0)
    images.put("len", [], task_id="late")

    worker._claimer.claim(1, 0)
    worker._claimer.claim(1, 0)
    worker._queues[1].settling.settle_here()

    assert ended(images, "late")()


def test_strict_turns_of_one_store(mail: Bench, images: Bench) -> None:
    """The first queue is served as long as it has work."""
    worker, _ = of_one_store([mail, images], Turns(strict=True))
    images.put("len", [], task_id="later")
    for number in range(5):
        mail.put("len", [], task_id=str(number))

    for _ in range(5):
        worker._claimer.claim(1, 0)

    assert not mail.broker.depth().ready
    assert images.broker.depth().ready == 1


def served(bench: Bench, number: int) -> ServedQueue:
    worker = worker_of(bench)
    worker._queues[0].number = number
    return worker._queues[0]


def test_queues_of_several_stores(mail: Bench, images: Bench) -> None:
    """Those that share a store are one source."""
    shared = Shared([mail, images])
    queues = [served(mail, 0), served(images, 1), served(Bench(), 2)]
    for queue, bench in zip(queues, (mail, images), strict=False):
        queue.broker = Sharing(bench.broker, shared)

    assert [[queue.number for queue in source.queues] for source in sources_of(queues)] == [[0, 1], [2]]


def test_two_stores_one_after_the_other(mail: Bench, images: Bench) -> None:
    """While there is work, each is asked only when its turn has come, and for what can start."""
    first, second = Changed(mail.broker), Changed(images.broker)
    for bench in (mail, images):
        bench.task(len)
        for number in range(3):
            bench.put("len", [], task_id=str(number))
    worker = worker_of(mail, images, brokers=[first, second])

    for _ in range(4):
        worker._claimer.claim(1, 0)

    assert first.claims == second.claims == [0, 0]


def test_an_interrupt_ends_the_wait_for_all(mail: Bench, images: Bench) -> None:
    """As when a worker is told to stop."""
    first, second = Changed(mail.broker), Changed(images.broker)
    queues = [served(mail, 0), served(images, 1)]
    queues[0].broker, queues[1].broker = first, second
    claims = SeveralStores(queues, ByWeight([1, 1]), sources_of(queues), lambda *_: 0.0)
    thread = threading.Thread(target=claims.claim, args=("me", 1, 600_000))
    thread.start()
    until(lambda: all(one.claims and one.claims[-1] for one in (first, second)), "both wait")

    claims.interrupt()
    thread.join()
    claims.close()

    assert first.interrupts == second.interrupts == 1


def test_several_queues_of_one_store(mail: Bench, images: Bench) -> None:
    """Without threads: the caller's own thread claims."""
    worker, _ = of_one_store([mail, images], Turns())

    assert isinstance(worker._claimer.claims, OneStore)
