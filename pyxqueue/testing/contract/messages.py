"""What is in a message: B7 nothing is dropped, B12 the body is opaque."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...model.message import evolve
from .prelude import Backend, Contract, Harness, law, m, s

B7, B12 = law("B7"), law("B12")

JUNK: Mapping[str, Mapping[bytes, bytes]] = {
    "no name": {b"hello": b"world"},
    "bytes in fields that are no text": {b"\xff\x00": b"\x80\r\n", b"": s.EVERY_BYTE},
    "a name that is not text": {b"name": b"\xff\xfe", b"body": b"[[],{}]"},
    "a number that is none": {b"name": b"kit.job", b"attempt": b"many"},
    "headers that are no pairs": {b"name": b"kit.job", b"headers": b"[1,2"},
    "an id that is none": {b"name": b"kit.job", b"id": b"no id\xff"},
    "a newer version": {b"v": b"999", b"name": b"kit.job", b"news": s.EVERY_BYTE},
}


def unreadable(delivery: m.Delivery, fields: Mapping[bytes, bytes], when: str) -> m.Unreadable:
    """B7: the delivery of an entry that is not a message, with every byte of it."""
    __tracebackhide__ = True
    if not isinstance(delivery.message, m.Unreadable):
        raise B7.broken(f"an entry that is not a message was delivered as one {when}")
    B7.same(dict(delivery.message.fields), dict(fields), f"the fields of an unreadable entry {when}")
    return delivery.message


class MessageLaws(Contract):
    """B7 and B12."""

    def test_b7_junk_is_delivered_unreadable(self, harness: Harness) -> None:
        """An entry that is not a message is delivered byte for byte, and does not block those behind it."""
        backend = harness.open()
        s.take(backend)
        for kind, fields in JUNK.items():
            task_id = harness.inject(fields)
            backend.enqueue([s.job("good")])
            junk, good = s.take_exactly(backend, 2, B7)
            found = unreadable(junk, fields, f"({kind})")
            B7.same(found.id, task_id, f"the id of an unreadable entry ({kind})")
            B7.same(found.newer, kind == "a newer version", f"whether it is of a newer version ({kind})")
            B7.same(good.message.id, "good", f"what was claimed behind an unreadable entry ({kind})")
            s.settled(backend, B7, s.fail(junk), s.done(good))
            backend.delete(["good"])

    def test_b7_a_minimal_message_is_readable(self, harness: Harness) -> None:
        """A message with only a name and a body, written by hand, can be read and run."""
        backend = harness.open()
        s.take(backend)
        task_id = harness.inject({b"name": b"kit.job", b"body": b"[[10],{}]"})
        message = s.readable(s.take_one(backend, B7), B7)
        B7.same((message.id, message.name, message.body), (task_id, "kit.job", b"[[10],{}]"), "the message")

    def test_b7_failed_junk_keeps_its_bytes(self, harness: Harness) -> None:
        """An unreadable entry is listed with its bytes and the reason, and a requeue brings it back."""
        backend = harness.open()
        s.take(backend)
        for kind, fields in JUNK.items():
            task_id = harness.inject(fields)
            s.settled(backend, B7, m.Settlement(s.take_one(backend, B7).receipt, m.Fail(f"it has {kind}")))
            found = s.info(backend, task_id, B7)
            B7.same(found.reason, f"it has {kind}", "the reason of a failed unreadable entry")
            message = found.message
            kept = dict(message.fields) if isinstance(message, m.Unreadable) else message
            B7.same(kept, dict(fields), f"the fields of a failed entry ({kind})")
            B7.same(list(backend.requeue([task_id])), [True], f"the requeue of a failed entry ({kind})")
            again = s.take_one(backend, B7)
            unreadable(again, fields, f"after a requeue ({kind})")
            s.settled(backend, B7, s.fail(again))

    def test_b7_junk_survives_every_way_back(self, harness: Harness) -> None:
        """An unreadable entry that is handed back, or whose holder vanished, keeps its bytes."""
        backend = harness.open()
        s.take(backend)
        fields = JUNK["a newer version"]
        harness.inject(fields)
        for verdict in (m.Defer(5_000), m.Defer(), m.Retry()):
            s.settled(backend, B7, m.Settlement(s.take_one(backend, B7).receipt, verdict))
            harness.advance(5_001)
        first = s.take_one(backend, B7)
        unreadable(first, fields, "after it was handed back")
        backend.release("one", [first.receipt])
        unreadable(s.take_one(backend, B7), fields, "after a release")
        harness.advance(harness.lease + 1)
        unreadable(s.take_one(backend, B7), fields, "after its lease had ended")

    def test_b7_failed_messages_are_kept_whole(self, harness: Harness) -> None:
        """A failed message is listed with its body, the record and the reason, and does not run by itself."""
        backend = harness.open()
        delivery = s.claimed(backend, B7)
        s.settled(backend, B7, s.fail(delivery, "it always fails"))
        harness.advance(harness.lease + 1)
        s.claims(backend, B7, [], "what could be claimed after a failure")
        found = s.info(backend, "a", B7)
        body = found.message.body if isinstance(found.message, m.Message) else found.message
        B7.same((body, found.reason), (s.EVERY_BYTE, "it always fails"), "body and reason of a failed message")
        B7.same(found.status, m.TaskStatus.FAILURE, "the status of a failed message")

    def test_b7_the_failed_are_not_capped(self, harness: Harness) -> None:
        """The limit of the history drops nothing that failed."""
        backend = harness.open(history=2)
        backend.enqueue(s.jobs(6))
        s.settled(backend, B7, *(s.fail(delivery) for delivery in s.take(backend)))
        for number in range(3):
            s.settled(backend, B7, s.done(s.claimed(backend, B7, f"end-{number}")))
        s.places(backend, B7, "with a history of 2", failed=6, history=2)
        B7.same(list(backend.requeue([f"t{n:03}" for n in range(6)])), [True] * 6, "the requeue of all six")

    def test_b7_the_failed_outlive_their_records(self, harness: Harness) -> None:
        """A failed message is kept until it is retried or deleted."""
        backend = harness.open()
        s.settled(backend, B7, s.fail(s.claimed(backend, B7), ttl_ms=1_000))
        harness.advance(10 * 3_600_000)
        s.take(backend)
        B7.same(backend.depth().failed, 1, "failed tasks long after the record has ended")
        B7.same(list(backend.requeue(["a"])), [True], "a requeue long after the record has ended")
        B7.same(s.readable(s.take_one(backend, B7), B7).body, s.EVERY_BYTE, "the body after that")

    def test_b7_a_reason_is_kept_whole(self, harness: Harness) -> None:
        """However long it is, and whatever is in it."""
        backend = harness.open()
        for number, reason in enumerate(("\x00 größe \u2028\n'%s' ", "why? " * 10_000, "")):
            s.settled(backend, B7, s.fail(s.claimed(backend, B7, f"a{number}"), reason))
            B7.same(s.info(backend, f"a{number}", B7).reason, reason, "the reason of a failure")

    def test_b12_bytes_survive_every_way(self, harness: Harness) -> None:
        """Body, name and headers are the same after the enqueue, a retry, a deferral, a failure, a lease and a
        release."""
        backend = harness.open()
        backend.enqueue([s.RICH])
        ways: dict[str, Callable[[m.Delivery], object]] = {
            "its enqueue": lambda delivery: self._settle(backend, delivery, m.Retry()),
            "a retry": lambda delivery: self._settle(backend, delivery, m.Defer()),
            "a deferral": lambda delivery: self._settle(backend, delivery, m.Retry(5_000)),
            "a delayed retry": lambda delivery: (backend.settle([s.fail(delivery)]), backend.requeue(["rich"])),
            "a failure and a requeue": lambda delivery: (backend.settle([s.done(delivery)]), backend.requeue(["rich"])),
            "its end and a requeue": lambda delivery: backend.release("one", [delivery.receipt]),
            "a release": lambda _: harness.advance(harness.lease + 1),
            "the end of its lease": lambda _: None,
        }
        expires = s.RICH.expires_ms
        for name, way in ways.items():
            harness.advance(5_001)
            delivery = s.take_one(backend, B12)
            message = self._bare(s.readable(delivery, B12))
            if "requeue" in name and message.expires_ms == 0:  # the store has dropped it (L8)
                expires = 0
            B12.same(message, evolve(s.RICH, expires_ms=expires), f"the message after {name}")
            way(delivery)

    def test_b12_bytes_survive_a_delay(self, harness: Harness) -> None:
        """A delayed message comes out as it went in."""
        backend = harness.open()
        backend.enqueue([evolve(s.RICH, delay_ms=5_000)])
        harness.advance(5_001)
        B12.same(self._bare(s.readable(s.take_one(backend, B12), B12)), s.RICH, "the message after its delay")

    def test_b12_stored_bytes_are_shown_as_they_are(self, harness: Harness) -> None:
        """`show` and `tasks` return the stored bytes of a ready, a failed and an ended task."""
        backend = harness.open()
        backend.enqueue([s.RICH])
        for place in ("ready", "failed", "history"):
            message = s.info(backend, "rich", B12).message
            shown = self._bare(message) if isinstance(message, m.Message) else message
            if place == "history" and isinstance(shown, m.Message):  # it was requeued, which may drop its expiry (L8)
                shown = evolve(shown, expires_ms=shown.expires_ms or s.RICH.expires_ms)
            B12.same(shown, s.RICH, f"the message as it is shown while its place is {place}")
            if place == "ready":
                s.settled(backend, B12, s.fail(s.take_one(backend, B12)))
            elif place == "failed":
                backend.requeue(["rich"])
                s.settled(backend, B12, s.done(s.take_one(backend, B12)))

    def test_b12_result_bytes_are_opaque_too(self, harness: Harness) -> None:
        """The value in a record is read as it was stored, whatever its bytes."""
        backend = harness.open()
        for number, value in enumerate((b"", b"\x00", b"\xff\xfe", b"1e400", s.EVERY_BYTE * 100)):
            delivery = s.claimed(backend, B12, f"a{number}")
            s.settled(backend, B12, s.done(delivery, value=value, serializer="other", seal="00ff"))
            stored = B12.there(backend.wait([f"a{number}"], 0)[0], "the record is missing")
            wanted = s.record(delivery, value=value, serializer="other", seal="00ff")
            seen = evolve(stored, ended_ms=0, ttl_ms=wanted.ttl_ms, fence=wanted.fence)
            B12.same(seen, wanted, "the record")

    def test_b12_bytes_of_any_size_are_kept(self, harness: Harness) -> None:
        """Nothing, one byte and a megabyte go in and come out, as a body and as a result."""
        backend = harness.open()
        for number, body in enumerate((b"", b"\x00", s.EVERY_BYTE * 1_400)):
            delivery = s.claimed(backend, B12, f"a{number}", body=body)
            B12.holds(s.readable(delivery, B12).body == body, f"a body of {len(body)} bytes came out as another")
            s.settled(backend, B12, s.done(delivery, value=body))
            stored = B12.there(backend.wait([f"a{number}"], 0)[0], "the record is missing")
            B12.holds(stored.value == body, f"a result of {len(body)} bytes came out as another")

    def test_b12_text_is_not_normalised(self, harness: Harness) -> None:
        """Two spellings of one letter stay two, in values, keys and what a worker says."""
        backend = harness.open()
        text = {"\u00e9": "e\u0301", "e\u0301": "\u00e9", " k ": " v ", "tab\t": "\r\n"}
        delivery = s.claimed(backend, B12, headers=text)
        B12.same(dict(s.readable(delivery, B12).headers), text, "the headers")
        s.extended(backend, delivery, m.Progress(1, 2, "e\u0301 \x00 "))
        B12.same(s.info(backend, "a", B12).progress, m.Progress(1, 2, "e\u0301 \x00 "), "the progress")

    def test_b12_nothing_is_taken_for_a_number(self, harness: Harness) -> None:
        """What looks like a number, a blank or a marker of another format is text; names differ by case and dots."""
        backend = harness.open()
        texts = ("007", "1e5", "1.10", "null", "", " ", "\x00", "a\x00b", "'\"", "%s", "\\n", "$x", "x" * 70_000)
        headers = {**{text[:300]: text for text in texts}, "k": "1", "K": "2", "k.l": "3", "k/l": "4"}
        whole = s.job("1", serializer="0", headers=headers, parent="007", reply="1e5", seal="00", priority=-(2**40))
        whole = evolve(whole, name="1.10")
        backend.enqueue([whole])
        message = s.readable(s.take_one(backend, B12), B12)
        B12.same(
            evolve(message, enqueued_ms=0, due_ms=0),
            whole,
            "a message full of texts that look like something else",
        )

    def test_b12_no_byte_is_cut_off(self, harness: Harness) -> None:
        """Neither blanks nor marks at the ends of a body are trimmed, nor is anything in it escaped."""
        backend = harness.open()
        bodies = (b" ", b" x \r\n", b"\n", b"x\x00\x00", b"\xef\xbb\xbf{}\n", b"\\\\ '' %% \"\" \\u0041", b"007")
        backend.enqueue([s.job(f"a{number}", body=body) for number, body in enumerate(bodies)])
        seen = tuple(s.readable(delivery, B12).body for delivery in s.take(backend))
        B12.same(seen, bodies, "the bodies")

    @staticmethod
    def _settle(backend: Backend, delivery: m.Delivery, verdict: m.Verdict) -> None:
        s.settled(backend, B12, m.Settlement(delivery.receipt, verdict))

    @staticmethod
    def _bare(message: m.Message) -> m.Message:
        """The message without what the store writes into it."""
        return evolve(message, attempt=1, crashes=0, redelivered=False, deferrals=0, enqueued_ms=0, due_ms=0, past="")
