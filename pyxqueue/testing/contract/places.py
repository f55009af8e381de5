"""`page`: I8 pages."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigurationError
from ...model.places import Listed, Place
from ...protocols import HasPlaces, HasSteps, LimitStore, limits_of
from .base import needs
from .prelude import Backend, Contract, Harness, law, m, s

I8 = law("I8")
PEEK = 1_000


def walk(backend: Any, place: Place, count: int = 100, peek: int = PEEK) -> list[Listed]:
    """All pages of a place."""
    found: list[Listed] = []
    cursor, turns = "", 0
    while True:
        page = backend.page(place, cursor, count, peek)
        I8.holds(len(page.tasks) <= count, f"a page of {count} had {len(page.tasks)} tasks")
        found += page.tasks
        cursor, turns = page.next, turns + 1
        if not cursor:
            return found
        I8.holds(turns < 10_000, "the pages did not end")


def ids(backend: Any, place: Place, count: int = 100) -> list[str]:
    return [one.info.id for one in walk(backend, place, count)]


class PlaceLaws(Contract):
    """I8."""

    @needs(HasPlaces)
    def test_i8_each_task_is_in_the_pages_of_its_place(self, harness: Harness) -> None:
        """However small the pages are, and nowhere else."""
        backend = harness.open()
        self._in_every_place(backend)
        wanted = {
            Place.READY: ["back", "ready"],
            Place.IN_FLIGHT: ["held"],
            Place.DELAYED: ["delayed"],
            Place.FAILED: ["failed"],
            Place.HISTORY: ["cancelled", "done"],
            Place.BLOCKED: [],
            Place.DEPENDENT: [],
        }
        for count in (100, 2, 1):
            I8.same({place: ids(backend, place, count) for place in Place}, wanted, f"the pages of {count}")

    @needs(HasPlaces)
    def test_i8_ready_tasks_by_class_and_age(self, harness: Harness) -> None:
        """The higher class first; in each class what came back, then what is new, each the oldest first."""
        backend = harness.open()
        backend.enqueue([s.job(f"n{number}", priority=number) for number in (0, 100, -100, 10, -10)])
        retried = s.take(backend)
        backend.enqueue([s.job(f"m{number}", priority=number) for number in (0, 100, -100, 10, -10)])
        s.settled(backend, I8, *(s.retry(one) for one in retried))
        wanted = [f"{kind}{number}" for number in (100, 10, 0, -10, -100) for kind in "nm"]
        for count in (100, 3, 1):
            I8.same(ids(backend, Place.READY, count), wanted, f"ready tasks of all classes in pages of {count}")

    @needs(HasPlaces)
    def test_i8_ready_tasks_in_fair_lines(self, harness: Harness) -> None:
        """They are ready, so they are in its pages."""
        backend = harness.open()
        backend.enqueue([s.job(f"t{number}", tenant=f"x{number % 2}", share=1_000) for number in range(7)])
        for count in (100, 2):
            I8.same(sorted(ids(backend, Place.READY, count)), [f"t{number}" for number in range(7)], "the fair line")

    @needs(HasPlaces)
    def test_i8_delayed_tasks_by_their_time(self, harness: Harness) -> None:
        """The one that is due first comes first, and those of one moment each come once."""
        backend = harness.open()
        backend.enqueue([s.job(f"d{number}", delay_ms=100_000 - number * 10_000) for number in range(5)])
        backend.enqueue([s.job(f"e{number}", delay_ms=200_000) for number in range(9)])
        wanted = ["d4", "d3", "d2", "d1", "d0"]
        for count in (100, 4, 1):
            seen = ids(backend, Place.DELAYED, count)
            I8.same(seen[:5], wanted, "the first delayed tasks")
            I8.same(sorted(seen[5:]), [f"e{number}" for number in range(9)], "the tasks of one moment")

    @needs(HasPlaces)
    def test_i8_the_newest_end_first(self, harness: Harness) -> None:
        """Of failed and of ended tasks."""
        backend = harness.open()
        for number in range(5):
            s.settled(backend, I8, s.fail(s.claimed(backend, I8, f"f{number}")))
            s.settled(backend, I8, s.done(s.claimed(backend, I8, f"h{number}")))
            harness.advance(10)
        for count in (100, 2):
            I8.same(ids(backend, Place.FAILED, count), ["f4", "f3", "f2", "f1", "f0"], "failed tasks")
            I8.same(ids(backend, Place.HISTORY, count), ["h4", "h3", "h2", "h1", "h0"], "ended tasks")

    @needs(HasPlaces)
    def test_i8_a_task_is_what_show_says(self, harness: Harness) -> None:
        """In every place."""
        backend = harness.open()
        self._in_every_place(backend)
        listed = [one.info for place in Place for one in walk(backend, place)]
        I8.same(listed, backend.show([info.id for info in listed]), "what the pages and `show` say")

    @needs(HasPlaces)
    def test_i8_large_values_are_cut(self, harness: Harness) -> None:
        """Arguments, results, and a message that cannot be read; each with its true size."""
        backend = harness.open()
        body = b"x" * 5_000
        s.settled(backend, I8, s.done(s.claimed(backend, I8, "done", body=body), value=b"y" * 7_000))
        backend.enqueue([s.job("large", body=body)])
        harness.inject({b"name": b"\xff\x00", b"other": b"z" * 9_000})
        found = {one.info.id: one for place in (Place.READY, Place.HISTORY) for one in walk(backend, place, peek=10)}
        I8.same((_body(found["large"]), found["large"].body_bytes), (body[:10], 5_000), "the arguments of a ready task")
        record = I8.there(found["done"].info.record, "the record of a task in the history is missing")
        I8.same((record.value, found["done"].value_bytes), (b"y" * 10, 7_000), "a result")
        I8.same((_body(found["done"]), found["done"].body_bytes), (body[:10], 5_000), "the arguments of an ended task")
        odd = next(one for one in found.values() if isinstance(one.info.message, m.Unreadable))
        I8.holds(odd.body_bytes >= 9_000, f"a message that cannot be read counts with {odd.body_bytes} bytes")
        assert isinstance(odd.info.message, m.Unreadable)
        kept = sum(len(value) for value in odd.info.message.fields.values())
        I8.holds(kept <= 4 * PEEK, f"{kept} bytes of a message that cannot be read are in the page")

    @needs(HasPlaces)
    def test_i8_what_comes_and_goes(self, harness: Harness) -> None:
        """It hides no other task and shows none twice."""
        backend: Any = harness.open()
        backend.enqueue([s.job(f"r{number:02}") for number in range(10)])
        backend.enqueue([s.job(f"d{number:02}", delay_ms=100_000 + number * 1_000) for number in range(10)])
        for place, kind in ((Place.READY, "r"), (Place.DELAYED, "d")):
            first = backend.page(place, "", 4, PEEK)
            seen = [one.info.id for one in first.tasks]
            backend.cancel([seen[-1], f"{kind}07"])
            backend.enqueue(
                [s.job(f"{kind}x{number}", delay_ms=(kind == "d") * (50_000 + number)) for number in range(3)]
            )
            cursor = first.next
            while cursor:
                page = backend.page(place, cursor, 2, PEEK)
                seen += [one.info.id for one in page.tasks]
                cursor = page.next
            old = [one for one in seen if not one.startswith(f"{kind}x")]
            I8.same(
                old, [f"{kind}{number:02}" for number in range(10) if number != 7], f"the {place} tasks that stayed"
            )
            I8.same(len(set(seen)), len(seen), f"how often {seen} are shown")

    @needs(HasPlaces)
    def test_i8_a_class_that_comes_into_use(self, harness: Harness) -> None:
        """A task of the first one with a priority hides no other that is ready, and shows none twice."""
        backend: Any = harness.open()
        backend.enqueue(s.jobs(9))
        first = backend.page(Place.READY, "", 4, PEEK)
        backend.enqueue([s.job("high", priority=100)])
        seen, cursor = [one.info.id for one in first.tasks], first.next
        while cursor:
            page = backend.page(Place.READY, cursor, 2, PEEK)
            seen += [one.info.id for one in page.tasks]
            cursor = page.next
        I8.same([one for one in seen if one != "high"], [job.id for job in s.jobs(9)], "the tasks without a priority")

    @needs(HasSteps)
    @needs(HasPlaces)
    def test_i8_dependent_tasks_that_go(self, harness: Harness) -> None:
        """They hide no other."""
        backend: Any = harness.open()
        names = [f"t{number}" for number in range(9)]
        for name in names:
            delivery = s.claimed(backend, I8, name)
            s.settled(backend, I8, m.Settlement(delivery.receipt, m.Suspend(event="go")))
        first = backend.page(Place.DEPENDENT, "", 4, PEEK)
        seen, cursor = [one.info.id for one in first.tasks], first.next
        backend.cancel(seen[:2])
        while cursor:
            page = backend.page(Place.DEPENDENT, cursor, 2, PEEK)
            seen += [one.info.id for one in page.tasks]
            cursor = page.next
        I8.same(sorted(seen), names, "the tasks that wait for an event")

    @needs(HasPlaces)
    def test_i8_blocked_tasks(self, harness: Harness) -> None:
        """Each with the gate in whose line it waits."""
        backend = harness.open()
        limits: LimitStore | None = limits_of(backend)
        if limits is None:
            return
        limits.set("gpu", 1)
        backend.enqueue([s.job(f"t{number}", gates=("gpu",)) for number in range(6)])
        for count in (100, 2):
            found = walk(backend, Place.BLOCKED, count)
            I8.same(sorted(one.info.id for one in found), [f"t{number}" for number in range(1, 6)], "blocked tasks")
            I8.same({one.info.gate for one in found}, {"gpu"}, "their gates")

    @needs(HasSteps)
    @needs(HasPlaces)
    def test_i8_dependent_tasks(self, harness: Harness) -> None:
        """Those that wait for an event."""
        backend = harness.open()
        for number in range(7):
            delivery = s.claimed(backend, I8, f"t{number}")
            s.settled(backend, I8, m.Settlement(delivery.receipt, m.Suspend(event="go")))
        for count in (100, 3, 1):
            I8.same(
                sorted(ids(backend, Place.DEPENDENT, count)), [f"t{number}" for number in range(7)], "those that wait"
            )

    @needs(HasPlaces)
    def test_i8_a_made_up_cursor_is_refused(self, harness: Harness) -> None:
        """It raises `ConfigurationError`."""
        backend: Any = harness.open()
        s.take(backend)
        for cursor in ("no cursor", "\x00", "\udcff", "9" * 5_000, "[" * 100_000, "0|", "99|1-1", "99.MS0x", "{}"):
            try:
                backend.page(Place.READY, cursor, 10, PEEK)
            except ConfigurationError:
                continue
            raise I8.broken(f"the cursor {cursor[:50]!r} was accepted")

    @needs(HasPlaces)
    def test_i8_a_thousand(self, harness: Harness) -> None:
        """The pages go on until each task was shown."""
        backend = harness.open()
        s.many(backend, I8)
        I8.same(sorted(ids(backend, Place.READY)), sorted(s.NAMES), f"the ids of {s.MANY} ready tasks")

    @needs(HasPlaces)
    def test_i8_another_group(self, harness: Harness) -> None:
        """Each group has pages of its own."""
        one, other = harness.open(), harness.open("other")
        one.enqueue(s.jobs(3))
        s.take(other)
        I8.same((len(ids(one, Place.READY)), ids(other, Place.READY)), (3, []), "the ready tasks of two groups")

    def _in_every_place(self, backend: Backend) -> None:
        s.settled(backend, I8, s.done(s.claimed(backend, I8, "done")))
        s.settled(backend, I8, s.fail(s.claimed(backend, I8, "failed")))
        backend.enqueue([s.job("cancelled")])
        backend.cancel(["cancelled"])
        back = s.claimed(backend, I8, "back")
        s.claimed(backend, I8, "held")
        s.settled(backend, I8, s.retry(back))
        backend.enqueue([s.job("ready"), s.job("delayed", delay_ms=100_000)])


def _body(one: Listed) -> bytes:
    message = one.info.message
    assert isinstance(message, m.Message)
    return message.body
