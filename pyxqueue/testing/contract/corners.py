"""The laws at their corners: odd names, empty and huge things, repeats, neighbours, and what comes in between."""

from __future__ import annotations

from attrs import evolve

from ...errors import ConfigurationError
from ...message import Defer, Delivery, Extension, LeaseStatus, Message, Progress, Record, Retry, Settlement
from ...protocols import Backend
from .harness import (
    EVERY_BYTE,
    MINUTE,
    VERDICTS,
    Call,
    Contract,
    Harness,
    all_tasks,
    counts,
    decided,
    done,
    drain,
    extended,
    fail,
    held,
    ids_of,
    info,
    job,
    jobs,
    photo,
    readable,
    settled,
    take,
    take_one,
)
from .laws import law

B1, B2, B3, B4, B5 = law("B1"), law("B2"), law("B3"), law("B4"), law("B5")
B8, B9, B11, B12 = law("B8"), law("B9"), law("B11"), law("B12")
I3, I4, I5, I6 = law("I3"), law("I4"), law("I5"), law("I6")

GROUPS = ("a", "ab", "a.", "A", "a-b")
CONSUMERS = ("a", "a b", "a c", "größe", "A")
"""Each is a name of its own, however alike they are."""


def _run_copies(harness: Harness, backend: Backend, task_id: str, end: str) -> list[Delivery]:
    """Inject a copy under a known id and run all there is; returns what was claimed beside the copy."""
    harness.inject({b"id": task_id.encode(), b"name": b"kit.job", b"body": b"copy"})
    others: list[Delivery] = []
    for turn in range(4):
        for delivery in take(backend, 1, f"consumer {turn}"):
            if readable(delivery, B1).body != b"copy":
                others.append(delivery)
            elif end == "released":
                backend.release(f"consumer {turn}", [delivery.receipt])
            elif end == "lease ended" and not others:
                harness.advance(harness.lease + 1)
            else:
                settlement = Settlement(delivery.receipt, Retry()) if end == "retried" else done(delivery)
                held = backend.extend([Extension(delivery.receipt, Progress(1, None, "copy"))])
                B1.same(held, [LeaseStatus.LOST], "what `extend` says of a copy")
                B1.same(list(backend.settle([settlement])), [False], "whether the settlement of a copy was accepted")
    return others


def _end(backend: Backend, task_id: str) -> Record | None:
    """A task's record, without the time, which the harness may move."""
    (record,) = backend.get([task_id])
    return record and evolve(record, ended_ms=0)


class BrokerCorners(Contract):
    """B1 to B12."""

    def test_b1_ids_are_compared_whole(self, harness: Harness) -> None:
        """Two ids are one only if every character is the same."""
        backend = harness.open()
        ids = ["a", "A", "a.", "-a", ".a", "a.tmp", "x" * 63 + "1", "x" * 63 + "2", "..", "1", "01", "1000", "1e3"]
        B1.same(list(backend.enqueue([job(task_id) for task_id in ids])), [True] * len(ids), f"the enqueue of {ids}")
        B1.same(ids_of(take(backend)), ids, "what could be claimed of them")

    def test_b1_a_repeat_spoils_no_neighbour(self, harness: Harness) -> None:
        """What is new in a batch is accepted, whatever else is in it."""
        backend = harness.open()
        backend.enqueue([job("b")])
        answers = list(backend.enqueue([job("b"), job("a"), job("b"), job("c")]))
        B1.same(answers, [False, True, False, True], "the answers for a batch with repeats in it")

    def test_b1_a_foreign_copy_of_what_waits_changes_nothing(self, harness: Harness) -> None:
        """An entry that another program wrote under a known id: whatever becomes of it, the task runs once, as it was
        accepted."""
        backend = harness.open()
        take(backend)
        for number, end in enumerate(("settled", "retried", "released", "lease ended")):
            for place in ("ready", "delayed", "held"):
                task_id = f"{place}{number}"
                delay = MINUTE if place == "delayed" else 0
                backend.enqueue([job(task_id, body=b"accepted", delay_ms=delay)])
                own = take(backend) if place == "held" else []
                runs = [*own, *_run_copies(harness, backend, task_id, end if place != "held" else "settled")]
                harness.advance(delay + 1)
                runs += [] if runs else take(backend)
                B1.same([readable(run, B1).body for run in runs], [b"accepted"], f"what ran of a {place} task")
                settled(backend, B1, done(runs[0]))

    def test_b1_a_foreign_copy_of_what_ended_changes_nothing(self, harness: Harness) -> None:
        """An entry that another program wrote under the id of a task that ended not long ago: its end stays."""
        backend = harness.open()
        for number, end in enumerate(("settled", "retried", "released", "lease ended")):
            for place in ("finished", "failed"):
                own = held(backend, B1, f"{place}{number}")
                settled(backend, B1, done(own) if place == "finished" else fail(own))
                ended = [_end(backend, own.message.id), counts(backend)]
                B1.same(_run_copies(harness, backend, own.message.id, end), [], "what ran beside a copy")
                B1.same([_end(backend, own.message.id), counts(backend)], ended, f"the end of a {place} task")

    def test_b1_a_repeat_with_other_contents_is_refused(self, harness: Harness) -> None:
        """The id decides: another body or name under it replaces nothing."""
        backend = harness.open()
        backend.enqueue([job("a"), job("late", delay_ms=10_000)])
        before = photo(backend)
        repeats = [Message(task_id, "kit.other", b"other", headers={"k": "v"}) for task_id in ("a", "late")]
        B1.same(list(backend.enqueue(repeats)), [False, False], "repeats with other contents counted as new")
        B1.same(photo(backend), before, "repeats with other contents changed something")

    def test_b2_threads_may_share_a_handle(self, harness: Harness) -> None:
        """Two threads that claim with one handle get every message exactly once."""
        backend = harness.open()
        backend.enqueue(jobs(60))
        calls = [Call(lambda name=name: drain(backend, 3, name)) for name in ("one", "two")]  # type: ignore[misc]
        seen = [i for call in calls for i in ids_of(call.answer(self.patience, B2, "claim does not answer"))]
        B2.same(sorted(seen), [message.id for message in jobs(60)], "what two threads got with one handle")

    def test_b2_an_interrupt_ends_one_wait(self, harness: Harness) -> None:
        """After an interrupted claim the next ones wait as long as those before it."""
        backend = harness.open()
        take(backend)
        for turn in ("first", "second"):
            calls = (Call(lambda: backend.claim("one", 1, 60 * MINUTE)) for _ in range(10))
            call = next((call for call in calls if call.waits()), None)
            if call is None and turn == "first":
                return  # it cuts its waits so short that this cannot be seen
            call = B2.there(call, "no claim waits any more after an interrupt")
            backend.interrupt()
            B2.same(list(call.answer(self.patience, B2, "an interrupted claim went on waiting")), [], "its answer")

    def test_b3_the_stored_lease_is_everybodys(self, harness: Harness) -> None:
        """A handle that was open before the group's lease was replaced claims with the new one."""
        first, second = harness.open(), harness.open(lease=harness.lease * 4)
        B3.same(first.lease_ms(), harness.lease, "the lease")
        B3.same(second.lease_ms(), harness.lease * 4, "the lease after it was replaced")
        B3.same(first.lease_ms(), harness.lease * 4, "what the handle that was open before says it is then")
        for task_id, holder, other in (("a", first, second), ("b", second, first)):
            delivery = held(holder, B3, task_id)
            harness.advance(harness.lease * 2)
            B3.same(ids_of(take(other, consumer="two")), [], "claimed before the stored lease had ended")
            settled(holder, B3, done(delivery))

    def test_b3_an_extension_is_a_whole_lease(self, harness: Harness) -> None:
        """The lease starts again with it, and is not shorter than the first."""
        backend, other = harness.open(), harness.open()
        delivery = held(backend, B3)
        harness.advance(harness.lease // 2)
        extended(backend, delivery)
        harness.advance(harness.lease * 4 // 5)
        B3.same(ids_of(take(other, consumer="two")), [], "claimed before a whole lease had gone by since the extension")

    def test_b4_refused_in_a_later_life(self, harness: Harness) -> None:
        """After its task was deleted and enqueued again, an old holder's receipt is worth nothing."""
        backend = harness.open()
        old = held(backend, B4)
        backend.release("one", [])
        backend.delete(["a"])
        if not any(backend.enqueue([job("a")])):
            return  # whether the id of a deleted task is still known is left open
        take_one(backend, B4)
        before = photo(backend)
        B4.same(list(backend.settle([done(old)])), [False], "the settlement of a holder from before a deletion")
        B4.same(photo(backend), before, "a refused settlement changed something")

    def test_b5_every_verdict_takes_its_follow_ups(self, harness: Harness) -> None:
        """Follow-ups are enqueued with a retry or a failure as with an end, each once."""
        backend = harness.open()
        for number, verdict in enumerate(VERDICTS):
            delivery, name = held(backend, B5, f"a{number}"), f"next{number}"
            then = [job(name, body=b"first"), job(name, body=b"second")]
            settled(backend, B5, decided(delivery, verdict, then))
            message = B5.there(backend.show([name])[0], f"the follow-up of {verdict} is not known").message
            body = message.body if isinstance(message, Message) else message
            B5.same(body, b"first", f"the body of a follow-up that {verdict} asked for twice")
            take(backend)
            backend.release("one", [])
            backend.delete([f"a{number}", name])

    def test_b5_the_store_stamps_the_record(self, harness: Harness) -> None:
        """When it was stored is the store's to say, whatever a worker's clock has written into the record."""
        backend = harness.open()
        settled(backend, B5, done(held(backend, B5, "a")), done(held(backend, B5, "b"), ended_ms=5))
        a, b = (B5.there(record, "there is no record").ended_ms for record in backend.get(["a", "b"]))
        B5.holds(0 <= b - a < MINUTE, f"two tasks that ended together are stamped {a} and {b}")

    def test_b5_nothing_is_a_fine_batch(self, harness: Harness) -> None:
        """An empty batch is answered with nothing, and changes nothing."""
        backend = harness.open()
        held(backend, B5)
        before = photo(backend)
        answers = [list(backend.enqueue([])), list(backend.settle([])), list(backend.extend([]))]
        B5.same(answers, [[], [], []], "the answers for empty batches")
        B5.same(photo(backend), before, "an empty batch changed something")

    def test_b5_who_sees_the_record_sees_all(self, harness: Harness) -> None:
        """Whoever is woken by the end of a task finds it ended, and its follow-up ready."""
        backend, watcher = harness.open(), harness.open()
        delivery = held(backend, B5)
        call = Call(lambda: (watcher.wait(["a"], None), counts(watcher)))
        B5.holds(call.waits(), "wait answered while no record was there")
        settled(backend, B5, done(delivery, then=[job("next")]))
        _, seen = call.answer(self.patience, B5, "wait was not woken by a settlement")
        B5.same(seen, (1, 0, 0, 0, 1), "ready, held, delayed, failed, finished once the record could be read")

    def test_b8_no_task_is_nowhere(self, harness: Harness) -> None:
        """While delayed messages become ready, each can be seen all the time."""
        backend, watcher = harness.open(), harness.open()
        ids = [message.id for message in jobs(40)]
        backend.enqueue(jobs(40, delay_ms=10_000))
        harness.advance(10_001)
        call = Call(lambda: [backend.promote(1) for _ in ids])
        for _ in range(1_000):
            missing = [task_id for task_id, task in zip(ids, watcher.show(ids), strict=True) if task is None]
            B8.same(missing, [], "what could not be seen while it became ready")
            if not call.waits(0.001):
                break
        call.answer(self.patience, B8, "promote does not answer")
        B8.same(counts(backend)[:3], (40, 0, 0), "ready, held, delayed after it")

    def test_b8_a_limit_of_nothing_is_none(self, harness: Harness) -> None:
        """`promote` with a limit of 0 moves nothing."""
        backend = harness.open()
        backend.enqueue([job("a", delay_ms=10_000)])
        harness.advance(10_001)
        backend.promote(0)
        B8.same(counts(backend)[:3], (0, 0, 1), "ready, held, delayed after a promotion of none")

    def test_b9_names_are_compared_whole(self, harness: Harness) -> None:
        """Groups whose names are alike are different ones: each has its copy, and only the one that is meant goes."""
        groups = {name: harness.open(name) for name in GROUPS}
        for backend in groups.values():
            take(backend)
        groups["a"].enqueue([job("x")])
        B9.same(sorted(groups["a"].groups()), sorted(GROUPS), "the groups")
        groups["ab"].remove_group("a")
        B9.same(sorted(groups["ab"].groups()), sorted({*GROUPS} - {"a"}), "the groups after one was removed")
        for name in GROUPS[1:]:
            B9.same(ids_of(take(groups[name])), ["x"], f"what could be claimed in {name!r}")

    def test_b9_an_unknown_group_is_not_removed(self, harness: Harness) -> None:
        """A misspelt name is told, not taken for done."""
        backend = harness.open()
        take(backend)
        try:
            backend.remove_group("no such group")
        except ConfigurationError:
            return
        raise B9.broken("the removal of a group that is not there was taken for done")

    def test_b11_consumers_are_told_apart(self, harness: Harness) -> None:
        """Spaces and other letters are part of a consumer's name, for who is listed and for who is released."""
        backend = harness.open()
        backend.enqueue(jobs(len(CONSUMERS)))
        held_by = {name: ids_of(take(backend, 1, name)) for name in CONSUMERS}
        seen = {consumer.name: list(consumer.in_flight) for consumer in backend.consumers()}
        B11.same(seen, held_by, "who holds what")
        B11.same(backend.release("a b", []), 1, "how many were released from one of five")
        B11.same(counts(backend)[:2], (1, 4), "ready and held after it")

    def test_b11_what_was_started_is_charged_once(self, harness: Harness) -> None:
        """Naming a receipt twice is one crash; naming one of an earlier claim is none."""
        backend = harness.open()
        delivery = held(backend, B11)
        backend.release("one", [delivery.receipt, delivery.receipt])
        again = take_one(backend, B11)
        B11.same(readable(again, B11).crashes, 1, "the crashes after a release that named the receipt twice")
        backend.release("one", [delivery.receipt])
        last = readable(take_one(backend, B11), B11)
        B11.same(last.crashes, 1, "the crashes after a release that named the receipt of an earlier claim")

    def test_b11_a_return_leaves_the_suspicion(self, harness: Harness) -> None:
        """What was handed back unrun is as redelivered as before."""
        backend = harness.open()
        held(backend, B11)
        harness.advance(harness.lease + 1)
        redelivered = take_one(backend, B11)
        settled(backend, B11, Settlement(redelivered.receipt, Defer()))
        again = readable(take_one(backend, B11), B11)
        B11.same(
            (again.redelivered, again.crashes),
            (True, 0),
            "redelivered and crashes after a redelivered task was handed back",
        )

    def test_b11_a_retry_is_the_same_message(self, harness: Harness) -> None:
        """It was enqueued when it was enqueued, however often it is run."""
        backend = harness.open()
        first = held(backend, B11)
        harness.advance(10_000)
        settled(backend, B11, Settlement(first.receipt, Retry()))
        again = readable(take_one(backend, B11), B11)
        wanted = evolve(readable(first, B11), attempt=2)
        B11.same(again, wanted, "the message after a retry")

    def test_b12_of_any_size(self, harness: Harness) -> None:
        """Nothing, one byte and a megabyte go in and come out, as a body and as a result."""
        backend = harness.open()
        for number, body in enumerate((b"", b"\x00", EVERY_BYTE * 1_400)):
            delivery = held(backend, B12, f"a{number}", body=body)
            B12.holds(readable(delivery, B12).body == body, f"a body of {len(body)} bytes came out as another")
            settled(backend, B12, done(delivery, value=body))
            stored = B12.there(backend.get([f"a{number}"])[0], "there is no record")
            B12.holds(stored.value == body, f"a result of {len(body)} bytes came out as another")

    def test_b12_text_is_not_made_equal(self, harness: Harness) -> None:
        """Two spellings of one letter stay two, in values, keys and what a worker says."""
        backend = harness.open()
        text = {"\u00e9": "e\u0301", "e\u0301": "\u00e9", " k ": " v ", "tab\t": "\r\n"}
        delivery = held(backend, B12, headers=text)
        B12.same(dict(readable(delivery, B12).headers), text, "the headers")
        extended(backend, delivery, Progress(1, 2, "e\u0301 \x00 "))
        B12.same(info(backend, "a", B12).progress, Progress(1, 2, "e\u0301 \x00 "), "the progress")


class InspectorCorners(Contract):
    """I3 to I6."""

    def test_i3_answers_keep_the_order(self, harness: Harness) -> None:
        """Of several ids each has its own answer, at its own place."""
        backend = harness.open()
        settled(backend, I3, done(held(backend, I3, "done")))
        backend.enqueue([job("a"), job("b")])
        ids = ["done", "a", "unknown", "b", "a"]
        I3.same(list(backend.cancel(ids)), [False, True, False, True, False], f"the cancellation of {ids}")

    def test_i4_pages_stand_what_comes_and_goes(self, harness: Harness) -> None:
        """Tasks that come, end or are deleted between two pages hide no other task and show none twice."""
        backend = harness.open()
        backend.enqueue(jobs(8))
        first, cursor = backend.tasks(None, "", 3)
        backend.enqueue(jobs(2, "new"))
        backend.delete([first[-1].id, "t000"])
        seen, turns = [task.id for task in first], 0
        while cursor and turns < 100:
            page, cursor = backend.tasks(None, cursor, 2)
            seen += [task.id for task in page]
            turns += 1
        wanted = [f"t{number:03}" for number in range(7, 0, -1)]
        I4.same([i for i in seen if not i.startswith("new")], wanted, "the tasks that were there all the time")
        I4.same(len(set(seen)), len(seen), f"how many of {seen} are listed once")

    def test_i5_answers_keep_the_order(self, harness: Harness) -> None:
        """Of several ids each has its own answer, at its own place."""
        backend = harness.open()
        held(backend, I5, "held")
        backend.enqueue([job("a"), job("b")])
        ids = ["held", "a", "unknown", "b", "a"]
        I5.same(list(backend.delete(ids)), [False, True, False, True, False], f"the deletion of {ids}")

    def test_i5_no_ids_no_answers(self, harness: Harness) -> None:
        """Every operation of administration takes an empty list for what it is."""
        backend = harness.open()
        settled(backend, I5, done(held(backend, I5)))
        before = photo(backend)
        operations = (backend.show, backend.requeue, backend.cancel, backend.delete)
        I5.same([list(operation([])) for operation in operations], [[]] * 4, "the answers for no ids")
        I5.same(photo(backend), before, "an operation on no ids changed something")

    def test_i6_a_deletion_wakes(self, harness: Harness) -> None:
        """`watch` answers None when its task is deleted: nothing more will come."""
        backend, admin = harness.open(), harness.open()
        backend.enqueue([job("a")])
        seen = info(backend, "a", I6)
        call = Call(lambda: backend.watch("a", seen, None))
        I6.holds(call.waits(), "watch answered though nothing differs")
        admin.delete(["a"])
        I6.same(call.answer(self.patience, I6, "watch was not woken by the deletion"), None, "what watch answered")

    def test_i4_every_page_is_in_one_order(self, harness: Harness) -> None:
        """Newest first holds over places: what was put back last comes before what was enqueued after it."""
        backend = harness.open()
        backend.enqueue(jobs(3))
        deliveries = take(backend)
        harness.advance(10)
        for delivery in (deliveries[2], deliveries[0]):
            settled(backend, I4, done(delivery))
            harness.advance(10)
        backend.enqueue([job("late")])
        wanted = ["late", "t000", "t002"]
        seen = [task.id for task in all_tasks(backend, count=1) if task.id != "t001"]
        I4.same(seen, wanted, "the ready, the finished last and the finished first")
