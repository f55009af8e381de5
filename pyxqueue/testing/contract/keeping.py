"""The laws about what is kept with a task: B7 nothing dropped, B10 progress, B11 charges, B12 bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import evolve

from ...message import (
    Defer,
    Delivery,
    Fail,
    Message,
    Progress,
    Retry,
    Settlement,
    TaskStatus,
    Unreadable,
    Verdict,
)
from ...protocols import Backend
from .harness import (
    EVERY_BYTE,
    Contract,
    Harness,
    counts,
    done,
    extended,
    fail,
    held,
    ids_of,
    info,
    job,
    jobs,
    readable,
    record,
    settled,
    take,
    take_exactly,
    take_one,
)
from .laws import law

B7, B10, B11, B12 = law("B7"), law("B10"), law("B11"), law("B12")

RICH = Message(
    "rich",
    "pkg.Klasse.<locals>.größe",
    EVERY_BYTE,
    serializer="other",
    expires_ms=9_999_999_999_999,
    priority=-7,
    headers={"trace": "00-4bf9\n", "größe": "\u2028 ü", "empty": "", "": "no name"},
    parent="the-parent",
    reply="somewhere else",
    seal="00ff",
)
JUNK: Mapping[str, Mapping[bytes, bytes]] = {
    "no name": {b"hello": b"world"},
    "bytes in fields that are no text": {b"\xff\x00": b"\x80\r\n", b"": EVERY_BYTE},
    "a name that is no text": {b"name": b"\xff\xfe", b"body": b"[[],{}]"},
    "a number that is none": {b"name": b"kit.job", b"attempt": b"many"},
    "headers that are no pairs": {b"name": b"kit.job", b"headers": b"[1,2"},
    "an id that is none": {b"name": b"kit.job", b"id": b"no id\xff"},
    "a newer version": {b"v": b"999", b"name": b"kit.job", b"news": EVERY_BYTE},
}


def unreadable(delivery: Delivery, fields: Mapping[bytes, bytes], when: str) -> Unreadable:
    """B7: the delivery of an entry that is no message, with every byte of it."""
    __tracebackhide__ = True
    if not isinstance(delivery.message, Unreadable):
        raise B7.broken(f"an entry that is no message was delivered as one {when}")
    B7.same(dict(delivery.message.fields), dict(fields), f"the fields of an unreadable entry {when}")
    return delivery.message


def charges(delivery: Delivery) -> tuple[int, int, bool]:
    """Attempt, crashes and redelivered."""
    message = readable(delivery, B11)
    return message.attempt, message.crashes, message.redelivered


class KeepLaws(Contract):
    """B7 and B10 to B12."""

    # B7

    def test_b7_junk_is_delivered_unreadable(self, harness: Harness) -> None:
        """What is no message is handed out byte for byte, and stops nothing behind it."""
        backend = harness.open()
        take(backend)
        for kind, fields in JUNK.items():
            task_id = harness.inject(fields)
            backend.enqueue([job("good")])
            junk, good = take_exactly(backend, 2, B7)
            found = unreadable(junk, fields, f"({kind})")
            B7.same(found.id, task_id, f"the id of an unreadable entry ({kind})")
            B7.same(found.newer, kind == "a newer version", f"whether it is of a newer version ({kind})")
            B7.same(good.message.id, "good", f"what was claimed behind an unreadable entry ({kind})")
            settled(backend, B7, fail(junk), done(good))
            backend.delete(["good"])

    def test_b7_a_minimal_message_is_readable(self, harness: Harness) -> None:
        """Somebody who writes only a name and a body by hand gets it run."""
        backend = harness.open()
        take(backend)
        task_id = harness.inject({b"name": b"kit.job", b"body": b"[[10],{}]"})
        message = readable(take_one(backend, B7), B7)
        B7.same((message.id, message.name, message.body), (task_id, "kit.job", b"[[10],{}]"), "the message")

    def test_b7_failed_junk_keeps_its_bytes(self, harness: Harness) -> None:
        """An unreadable entry is listed with its bytes and the reason, and a requeue brings it back."""
        backend = harness.open()
        take(backend)
        for kind, fields in JUNK.items():
            task_id = harness.inject(fields)
            settled(backend, B7, Settlement(take_one(backend, B7).receipt, Fail(f"it has {kind}")))
            found = info(backend, task_id, B7)
            B7.same(found.reason, f"it has {kind}", "the reason of a failed unreadable entry")
            message = found.message
            kept = dict(message.fields) if isinstance(message, Unreadable) else message
            B7.same(kept, dict(fields), f"the fields of a failed entry ({kind})")
            B7.same(list(backend.requeue([task_id])), [True], f"the requeue of a failed entry ({kind})")
            again = take_one(backend, B7)
            unreadable(again, fields, f"after a requeue ({kind})")
            settled(backend, B7, fail(again))

    def test_b7_junk_survives_every_way_back(self, harness: Harness) -> None:
        """An unreadable entry that is handed back, or whose holder vanished, keeps its bytes."""
        backend = harness.open()
        take(backend)
        fields = JUNK["a newer version"]
        harness.inject(fields)
        for verdict in (Defer(5_000), Defer(), Retry()):
            settled(backend, B7, Settlement(take_one(backend, B7).receipt, verdict))
            harness.advance(5_001)
        first = take_one(backend, B7)
        unreadable(first, fields, "after it was handed back")
        backend.release("one", [first.receipt])
        unreadable(take_one(backend, B7), fields, "after a release")
        harness.advance(harness.lease + 1)
        unreadable(take_one(backend, B7), fields, "after its lease had ended")

    def test_b7_failed_messages_are_whole(self, harness: Harness) -> None:
        """A failed message is listed with its body, the record and the reason, and does not run by itself."""
        backend = harness.open()
        delivery = held(backend, B7)
        settled(backend, B7, fail(delivery, "it always fails"))
        harness.advance(harness.lease + 1)
        B7.same(ids_of(take(backend)), [], "what could be claimed after a failure")
        found = info(backend, "a", B7)
        body = found.message.body if isinstance(found.message, Message) else found.message
        B7.same((body, found.reason), (EVERY_BYTE, "it always fails"), "body and reason of a failed message")
        B7.same(found.status, TaskStatus.FAILURE, "the status of a failed message")

    def test_b7_the_failed_are_not_capped(self, harness: Harness) -> None:
        """Neither the limit of the history nor a trim drops what failed."""
        backend = harness.open(history=2)
        backend.enqueue(jobs(6))
        settled(backend, B7, *(fail(delivery) for delivery in take(backend)))
        backend.trim(0)
        B7.same(
            counts(backend), (0, 0, 0, 6, 0), "ready, held, delayed, failed, finished after six failures and a trim"
        )
        B7.same(list(backend.requeue([f"t{n:03}" for n in range(6)])), [True] * 6, "the requeue of all six")

    def test_b7_the_failed_outlive_their_records(self, harness: Harness) -> None:
        """A failed message waits for somebody to look at it, however long that takes."""
        backend = harness.open()
        settled(backend, B7, fail(held(backend, B7), ttl_ms=1_000))
        harness.advance(10 * 3_600_000)
        take(backend)
        B7.same(counts(backend)[3], 1, "failed tasks long after the record has ended")
        B7.same(list(backend.requeue(["a"])), [True], "a requeue long after the record has ended")
        B7.same(readable(take_one(backend, B7), B7).body, EVERY_BYTE, "the body after that")

    # B10

    def test_b10_the_last_progress_can_be_read(self, harness: Harness) -> None:
        """Progress is seen as it was written last; an extension without leaves it as it is."""
        backend = harness.open()
        delivery = held(backend, B10)
        B10.same(info(backend, "a", B10).progress, None, "progress before any was written")
        for progress in (Progress(1, 10, "one"), Progress(0.5, None, "größer \u2028")):
            extended(backend, delivery, progress)
            B10.same(info(backend, "a", B10).progress, progress, "the progress that was written last")
        extended(backend, delivery)
        B10.same(info(backend, "a", B10).progress, progress, "the progress after an extension without one")

    def test_b10_an_old_holder_writes_none(self, harness: Harness) -> None:
        """After another claim only the new holder's progress is stored."""
        backend = harness.open()
        old = held(backend, B10)
        harness.advance(harness.lease + 1)
        new = take_one(backend, B10, "two")
        extended(backend, old, Progress(9))
        B10.same(info(backend, "a", B10).progress, None, "the progress after an old holder wrote one")
        extended(backend, new, Progress(1))
        extended(backend, old, Progress(9))
        B10.same(info(backend, "a", B10).progress, Progress(1), "the new holder's progress")

    def test_b10_none_is_written_after_the_end(self, harness: Harness) -> None:
        """A progress that arrives after the settlement changes nothing."""
        backend = harness.open()
        delivery = held(backend, B10)
        settled(backend, B10, done(delivery, progress=Progress(10, 10)))
        extended(backend, delivery, Progress(3, 10))
        B10.same(info(backend, "a", B10).progress, Progress(10, 10), "the progress after the end")

    def test_b10_it_starts_again_with_every_run(self, harness: Harness) -> None:
        """A retry, a return, a release, the end of a lease and a requeue start without progress."""
        backend = harness.open()
        ways: dict[str, Callable[[Delivery], object]] = {
            "a retry": lambda held_: backend.settle([Settlement(held_.receipt, Retry())]),
            "a return": lambda held_: backend.settle([Settlement(held_.receipt, Defer())]),
            "a release": lambda held_: backend.release("one", [held_.receipt]),
            "the end of a lease": lambda _: harness.advance(harness.lease + 1),
            "a requeue": lambda held_: (backend.settle([done(held_)]), backend.requeue(["a"])),
        }
        backend.enqueue([job("a")])
        for name, way in ways.items():
            delivery = take_one(backend, B10)
            extended(backend, delivery, Progress(5, 10))
            way(delivery)
            take_one(backend, B10)
            B10.same(info(backend, "a", B10).progress, None, f"the progress of the run after {name}")
            backend.release("one", [])

    def test_b10_the_last_value_rides_in_the_record(self, harness: Harness) -> None:
        """The progress in the record stays readable for as long as the record does."""
        backend = harness.open()
        delivery = held(backend, B10)
        extended(backend, delivery, Progress(3, 10))
        settled(backend, B10, done(delivery, progress=Progress(10, 10, "all")))
        stored = B10.there(backend.get(["a"])[0], "there is no record")
        B10.same(stored.progress, Progress(10, 10, "all"), "the progress in the record")
        B10.same(info(backend, "a", B10).progress, Progress(10, 10, "all"), "the progress that is shown with it")

    # B11

    def test_b11_a_retry_is_one_attempt(self, harness: Harness) -> None:
        """A retry counts as an attempt and not as a crash."""
        backend = harness.open()
        delivery = held(backend, B11)
        B11.same(charges(delivery), (1, 0, False), "attempt, crashes, redelivered of the first delivery")
        settled(backend, B11, Settlement(delivery.receipt, Retry()))
        again = take_one(backend, B11)
        B11.same(charges(again), (2, 0, False), "attempt, crashes, redelivered after a retry")
        settled(backend, B11, Settlement(again.receipt, Retry(5_000)))
        harness.advance(5_001)
        B11.same(charges(take_one(backend, B11)), (3, 0, False), "attempt, crashes, redelivered after a delayed retry")

    def test_b11_a_return_costs_nothing(self, harness: Harness) -> None:
        """What is handed back costs neither an attempt nor a crash; only with a delay it counts as deferred."""
        backend = harness.open()
        settled(backend, B11, Settlement(held(backend, B11).receipt, Defer()))
        again = take_one(backend, B11)
        B11.same(charges(again), (1, 0, False), "attempt, crashes, redelivered after a return")
        B11.same(readable(again, B11).deferrals, 0, "how often it was deferred, after it was handed back at once")
        settled(backend, B11, Settlement(again.receipt, Defer(5_000)))
        harness.advance(5_001)
        again = take_one(backend, B11)
        B11.same(charges(again), (1, 0, False), "attempt, crashes, redelivered after a delayed return")
        B11.same(readable(again, B11).deferrals, 1, "how often it was deferred, after it was handed back for later")

    def test_b11_a_release_charges_what_was_started(self, harness: Harness) -> None:
        """Of what a dead process held only what it was running is charged; all of it is ready at once."""
        backend = harness.open()
        backend.enqueue(jobs(4))
        deliveries = take_exactly(backend, 4, B11)
        B11.same(backend.release("one", [deliveries[1].receipt]), 4, "how many a release took back")
        seen = {delivery.message.id: charges(delivery) for delivery in take(backend, consumer="two")}
        calm, guilty = (1, 0, False), (1, 1, True)
        wanted = {"t000": calm, "t001": guilty, "t002": calm, "t003": calm}
        B11.same(seen, wanted, "attempt, crashes, redelivered after a release")

    def test_b11_a_release_touches_no_other_consumer(self, harness: Harness) -> None:
        """A release takes from the one consumer only, and forgets it."""
        backend = harness.open()
        held(backend, B11, "a", "one")
        kept = held(backend, B11, "b", "two")
        B11.same(backend.release("one", [kept.receipt]), 1, "how many a release took back")
        B11.same(counts(backend)[:2], (1, 1), "ready and held after the release of one consumer of two")
        B11.same([consumer.name for consumer in backend.consumers()], ["two"], "the consumers after it")
        B11.same(list(backend.settle([done(kept)])), [True], "the other consumer's settlement")

    def test_b11_a_release_of_nothing_is_nothing(self, harness: Harness) -> None:
        """Receipts that the consumer does not hold any more are charged nothing."""
        backend = harness.open()
        old = held(backend, B11)
        settled(backend, B11, Settlement(old.receipt, Defer()))
        B11.same(backend.release("one", [old.receipt]), 0, "how many a release of a consumer without work took back")
        B11.same(charges(take_one(backend, B11)), (1, 0, False), "attempt, crashes, redelivered after it")

    def test_b11_an_ended_lease_makes_a_redelivered_task_first(self, harness: Harness) -> None:
        """The first end of a lease only raises suspicion; each further one is a crash."""
        backend = harness.open()
        held(backend, B11)
        seen = []
        for _ in range(3):
            harness.advance(harness.lease + 1)
            seen.append(charges(take_one(backend, B11)))
        wanted = [(1, 0, True), (1, 1, True), (1, 2, True)]
        B11.same(seen, wanted, "attempt, crashes, redelivered after one, two, three ended leases")

    def test_b11_a_retry_clears_the_suspicion(self, harness: Harness) -> None:
        """a redelivered task that came to an orderly end of its run is none any more; its crashes stay counted."""
        backend = harness.open()
        held(backend, B11)
        backend.release("one", [])
        delivery = take_one(backend, B11)
        backend.release("one", [delivery.receipt])
        settled(backend, B11, Settlement(take_one(backend, B11).receipt, Retry()))
        B11.same(
            charges(take_one(backend, B11)), (2, 1, False), "attempt, crashes, redelivered after a crash and a retry"
        )

    # B12

    def test_b12_bytes_survive_every_way(self, harness: Harness) -> None:
        """Body, name and headers are the same after the enqueue, a retry, a return, a failure, a lease and a
        release."""
        backend = harness.open()
        backend.enqueue([RICH])
        ways: dict[str, Callable[[Delivery], object]] = {
            "its enqueue": lambda held_: self._settle(backend, held_, Retry()),
            "a retry": lambda held_: self._settle(backend, held_, Defer()),
            "a return": lambda held_: self._settle(backend, held_, Retry(5_000)),
            "a delayed retry": lambda held_: (backend.settle([fail(held_)]), backend.requeue(["rich"])),
            "a failure and a requeue": lambda held_: (backend.settle([done(held_)]), backend.requeue(["rich"])),
            "its end and a requeue": lambda held_: backend.release("one", [held_.receipt]),
            "a release": lambda _: harness.advance(harness.lease + 1),
            "the end of its lease": lambda _: None,
        }
        for name, way in ways.items():
            harness.advance(5_001)
            delivery = take_one(backend, B12)
            B12.same(self._bare(readable(delivery, B12)), RICH, f"the message after {name}")
            way(delivery)

    def test_b12_bytes_survive_a_delay(self, harness: Harness) -> None:
        """A delayed message comes out as it went in."""
        backend = harness.open()
        backend.enqueue([evolve(RICH, delay_ms=5_000)])
        harness.advance(5_001)
        B12.same(self._bare(readable(take_one(backend, B12), B12)), RICH, "the message after its delay")

    def test_b12_stored_bytes_are_shown_as_they_are(self, harness: Harness) -> None:
        """Also who only looks, at a waiting, a failed or a finished task, sees the bytes that went in."""
        backend = harness.open()
        backend.enqueue([RICH])
        for place in ("ready", "failed", "finished"):
            message = info(backend, "rich", B12).message
            shown = self._bare(message) if isinstance(message, Message) else message
            B12.same(shown, RICH, f"the message as it is shown while {place}")
            if place == "ready":
                settled(backend, B12, fail(take_one(backend, B12)))
            elif place == "failed":
                backend.requeue(["rich"])
                settled(backend, B12, done(take_one(backend, B12)))

    def test_b12_result_bytes_are_opaque_too(self, harness: Harness) -> None:
        """The value in a record is read as it was stored, whatever its bytes."""
        backend = harness.open()
        for number, value in enumerate((b"", b"\x00", b"\xff\xfe", b"1e400", EVERY_BYTE * 100)):
            delivery = held(backend, B12, f"a{number}")
            settled(backend, B12, done(delivery, value=value, serializer="other", seal="00ff"))
            stored = B12.there(backend.get([f"a{number}"])[0], "there is no record")
            wanted = record(delivery, value=value, serializer="other", seal="00ff")
            seen = evolve(stored, ended_ms=0, ttl_ms=wanted.ttl_ms, fence=wanted.fence)
            B12.same(seen, wanted, "the record")

    @staticmethod
    def _settle(backend: Backend, delivery: Delivery, verdict: Verdict) -> None:
        settled(backend, B12, Settlement(delivery.receipt, verdict))

    @staticmethod
    def _bare(message: Message) -> Message:
        """The message without what the store writes into it."""
        return evolve(message, attempt=1, crashes=0, redelivered=False, deferrals=0, enqueued_ms=0, due_ms=0)
