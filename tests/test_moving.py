"""Tasks go from one store to another: none is lost, none is in both."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.cli import main
from pyxqueue.client.moving import Moved, move_group
from pyxqueue.clock import wall_clock
from pyxqueue.errors import BrokerUnavailableError, ConfigurationError, TaskStateError
from pyxqueue.model.limits import GateInfo, task_gate
from pyxqueue.model.message import Delivery, Done, Fail, Message, Retry, Settlement, StartStatus, Suspend, TaskStatus
from pyxqueue.model.rates import Pace
from pyxqueue.protocols import Backend, Beginning, Pausing, StoreOptions, limit_pausing_of, limits_of, rates_of
from pyxqueue.stores import find_store
from pyxqueue.testing import FakeClock

from .conftest import Servers
from .support.until import until

HOUR = 3_600_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall_clock())


@pytest.fixture(params=["memory", "sqlite"])
def source(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> Iterator[Backend]:
    opened: Backend
    if request.param == "memory":
        opened = MemoryBackend(MemoryStore(clock), StoreOptions())
    else:
        opened = SQLiteBackend(tmp_path / "source.db", StoreOptions(), clock=clock)
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "redis", "sqlite"])
def target(
    request: pytest.FixtureRequest, clock: FakeClock, stream_key: str, servers: Servers, tmp_path: Path
) -> Iterator[Backend]:
    opened: Backend
    if request.param == "memory":
        opened = MemoryBackend(MemoryStore(clock), StoreOptions())
    elif request.param == "sqlite":
        opened = SQLiteBackend(tmp_path / "target.db", StoreOptions(), clock=clock)
    else:
        opened = find_store(servers("valkey").url, StoreOptions(stream_key)).open()
    yield opened
    opened.close()


def claimed(backend: Backend) -> list[str]:
    """Everything that is ready, in the order in which `claim` returns it."""
    return [delivery.message.id for delivery in backend.claim("reader", 1_000, 0)]


def fail(backend: Backend, task_id: str) -> None:
    backend.enqueue([Message(task_id, "f")])
    [held] = backend.claim("worker", 1, 0)
    backend.settle([Settlement(held.receipt, Fail("no use"))])


def leave(backend: Backend, clock: FakeClock) -> None:
    """Make every worker count as gone."""
    clock.advance(backend.lease_ms() + 1)


def test_all_that_waits_or_failed_is_moved(source: Backend, target: Backend, clock: FakeClock) -> None:
    """Tasks that wait or failed are moved in order and unchanged; ended tasks stay."""
    fail(source, "failed")
    source.enqueue([Message("done", "f")])
    source.settle([Settlement(source.claim("worker", 1, 0)[0].receipt, Done())])
    source.enqueue([Message("again", "f")])
    source.settle([Settlement(source.claim("worker", 1, 0)[0].receipt, Retry())])
    source.enqueue([Message("late", "f", delay_ms=HOUR)])
    source.enqueue([Message(f"t{number:03}", "f", b"%d" % number) for number in range(250)])
    leave(source, clock)

    moved = move_group(source, target)

    assert moved == Moved(waiting=252, failed=1, left=0)
    assert claimed(target) == ["again", *(f"t{number:03}" for number in range(250))]
    depth = target.depth()
    assert (depth.delayed, depth.failed) == (1, 1)
    shown = target.show(["again", "failed", "t007", "done"])
    assert [info and info.status for info in shown] == [
        TaskStatus.STARTED,
        TaskStatus.FAILURE,
        TaskStatus.STARTED,
        None,
    ]
    assert isinstance(again := shown[0] and shown[0].message, Message)
    assert again.attempt == 2
    depth = source.depth()
    assert (depth.ready, depth.delayed, depth.failed, depth.history) == (0, 0, 0, 1)


def test_what_a_dead_worker_held_is_moved(source: Backend, target: Backend, clock: FakeClock) -> None:
    """A task that a dead worker held is released, then moved."""
    source.enqueue([Message("a", "f")])
    source.claim("killed", 1, 0)
    leave(source, clock)

    assert move_group(source, target) == Moved(waiting=1, failed=0, left=0)
    assert claimed(target) == ["a"]


def test_a_worker_in_the_way(source: Backend, target: Backend) -> None:
    """Nothing is moved while a worker serves the source: it could run what is moved."""
    source.enqueue([Message("a", "f")])
    source.claim("bob", 0, 0)

    with pytest.raises(
        TaskStateError, match=r"the source has workers that were last seen: bob \(0.0 s ago\); stop them"
    ):
        move_group(source, target)

    assert (source.depth().ready, target.depth().ready) == (1, 0)


def test_another_task_of_the_same_id(source: Backend, target: Backend, clock: FakeClock) -> None:
    """If the target has another task of the id, the task stays in the source and is counted."""
    source.enqueue([Message("a", "f", b"1"), Message("b", "f", b"1")])
    target.enqueue([Message("a", "f", b"2")])

    moved = move_group(source, target)

    assert moved == Moved(waiting=1, failed=0, left=1)
    left, gone = source.show(["a", "b"])
    assert left is not None
    assert isinstance(left.message, Message)
    assert (left.message.body, gone) == (b"1", None)


def test_a_store_that_ends_with_the_command(tmp_path: Path, stream_key: str) -> None:
    """Nothing is moved into a store in memory, which ends with the command."""
    url = f"sqlite:///{tmp_path}/queue.db"
    queue = TaskQueue(url, stream_key=stream_key)
    queue.task(name="f")(lambda: None)()

    result = CliRunner().invoke(main, ["move", "--queue", stream_key, url, "memory://"])

    assert result.exit_code == 2
    assert "memory:// exists only inside one process" in result.stderr
    assert queue.stores.backend.depth().ready == 1
    queue.close()


def test_one_store_under_two_names(clock: FakeClock) -> None:
    """A move of a store onto itself is refused: it would delete every task."""
    store = MemoryStore(clock)
    source, other = (MemoryBackend(store, StoreOptions()) for _ in range(2))
    source.enqueue([Message("a", "f")])

    with pytest.raises(TaskStateError, match="source and target are the same store"):
        move_group(source, other)

    assert source.depth().ready == 1


class Breaking(MemoryBackend):
    """Its connection breaks at the second deletion, before or after it takes effect."""

    deletions = 0
    done = False

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        self.deletions += 1
        if self.deletions != 2:
            return super().delete(ids)
        if self.done:
            super().delete(ids)
        raise BrokerUnavailableError("cut")


@pytest.mark.parametrize("done", [False, True])
def test_a_move_that_was_cut_is_run_again(target: Backend, clock: FakeClock, *, done: bool) -> None:
    """Each task arrives once, in order, also those that were in both stores."""
    source = Breaking(MemoryStore(clock), StoreOptions())
    source.done = done
    names = [f"t{number:03}" for number in range(250)]
    source.enqueue([Message(name, "f") for name in names])
    with pytest.raises(BrokerUnavailableError):
        move_group(source, target)

    moved = move_group(source, target)

    assert moved.left == 0
    assert claimed(target) == names
    assert source.depth().ready == 0


class Busy(MemoryBackend):
    """A worker claims although all workers seemed to be gone."""

    held: Sequence[Delivery] = ()

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        self.held = self.held or super().claim("late", 1, 0)
        return super().delete(ids)


def test_what_is_taken_meanwhile_is_told(target: Backend, clock: FakeClock) -> None:
    """A task that a worker claims during the move stays with that worker; the result counts it."""
    source = Busy(MemoryStore(clock), StoreOptions())
    source.enqueue([Message("a", "f"), Message("b", "f")])

    moved = move_group(source, target)

    assert moved.waiting == 1
    assert moved.left > 0


def test_the_command_survives_a_kill(servers: Servers, stream_key: str, tmp_path: Path) -> None:
    """`pyxqueue move`, killed in the middle and run again: every task is in the target once, in order, and runs."""
    old, new = f"sqlite:///{tmp_path}/queue.db", servers("valkey").url
    before, after = TaskQueue(old, stream_key=stream_key), TaskQueue(new, stream_key=stream_key)
    other = TaskQueue(old, stream_key=stream_key, consumer_group="other", lease=77)

    @before.task(name="f")
    def f(number: int) -> None: ...

    assert other.stores.backend.lease_ms() == 77_000
    ids = [handle.task_id for handle in f.map([(number,) for number in range(6_000)])]
    command = [sys.executable, "-m", "pyxqueue", "move", "--queue", stream_key, old, new]

    def left() -> int:
        return sum(queue.stores.backend.depth().ready for queue in (before, other))

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        until(lambda: left() < 12_000, "some have been moved")  # they are in the target before they leave the source
        process.send_signal(signal.SIGKILL)
    assert 0 < left() < 12_000

    done = subprocess.run(command, check=True, capture_output=True, text=True)

    assert f"queue {stream_key}, group cg: moved " in done.stdout
    assert f"queue {stream_key}, group other: moved " in done.stdout
    assert before.stores.backend.depth().ready == 0
    delivered = after.stores.backend.claim("reader", 8_000, 0)
    assert [delivery.message.id for delivery in delivered] == ids
    moved = TaskQueue(new, stream_key=stream_key, consumer_group="other")
    assert moved.stores.backend.lease_ms() == 77_000
    assert moved.stores.backend.depth().ready == 6_000
    for queue in (before, after, other, moved):
        queue.close()
    with Redis.from_url(new) as client:
        client.flushdb()


def test_schedules_are_moved(tmp_path: Path, servers: Servers, stream_key: str) -> None:
    """They go on in the other store, paused or not; one whose id is taken there stays."""
    urls = f"sqlite:///{tmp_path}/source.db", servers("valkey").url
    old, new = (TaskQueue(url, stream_key) for url in urls)
    for queue in (old, new):
        task = queue.task(name="jobs.add")(lambda: None)
        queue.schedules.upsert("taken", task, every=60 if queue is old else 3_600)
    daily = old.schedules.upsert("daily", task, cron="30 2 * * *", timezone="Europe/Berlin")
    old.schedules.upsert("paused", task, every=60).pause()

    for _ in range(2):  # the second one, as after an interruption, changes nothing
        assert CliRunner().invoke(main, ["move", "--queue", stream_key, *urls]).exit_code == 0

    assert [one.id for one in old.schedules] == ["taken"]
    assert [(one.id, one.state) for one in new.schedules] == [
        ("daily", "active"),
        ("paused", "paused"),
        ("taken", "active"),
    ]
    assert new.schedules["daily"] == daily
    assert new.schedules["taken"].when == "every 3600 s"
    for queue in (old, new):
        queue.close()


def test_limits_and_pauses_are_moved(source: Backend, target: Backend) -> None:
    """Before the tasks, so that no more of these are ready than the limit says; a number of the target's own stays."""
    here, there = rates_of(source), rates_of(target)
    assert here is not None
    assert there is not None
    assert isinstance(source, Pausing)
    assert isinstance(target, Pausing)
    here.declare({"gpu": 2, "cpu": 4}, replace=True)
    here.set("gpu", 1)
    here.set("gpu/k", 0)
    here.set("own", 3)
    here.declare_rates({"api": Pace(10, 60_000_000, 1)}, replace=True)
    here.set_rate("api", Pace(0, 60_000_000, 1))
    there.set("own", 7)
    source.enqueue([Message(task_id, "job", gates=("gpu/",), v=2) for task_id in "abc"])
    source.pause()

    for moved in (3, 0):  # the second one, as after an interruption, changes nothing
        assert move_group(source, target) == Moved(moved, 0, 0)
        assert {one.name: (one.number, one.declared) for one in there.numbers()} == {
            "cpu": (4, 4), "gpu": (1, 2), "gpu/k": (0, None), "own": (7, None),
        }  # fmt: skip
        assert there.rates() == here.rates()
        assert target.is_paused()
    assert there.gates(10) == [GateInfo("gpu/", 1, 1, 2)]
    target.resume()
    assert [one.message.id for one in target.claim("w", 9, 0)] == ["a"]


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_what_is_ready_is_moved_before_what_waits_for_a_limit(servers: Servers, stream_key: str, kind: str) -> None:
    """It has its token in the target too, although it became ready after the others had begun to wait."""
    target = MemoryBackend(MemoryStore(), StoreOptions())
    url, options = servers("valkey").url, StoreOptions(stream_key)
    source = MemoryBackend(MemoryStore(), options) if kind == "memory" else find_store(url, options).open()
    limits = limits_of(source)
    assert limits is not None
    limits.set("gpu", 1)
    source.enqueue([Message(task_id, "job", gates=("gpu/",), v=2) for task_id in "abcd"])
    source.settle([Settlement(source.claim("w", 1, 0)[0].receipt, Done())])
    source.release("w", ())
    assert source.depth().ready == 1

    assert move_group(source, target) == Moved(3, 0, 0)
    moved = []
    while found := target.claim("w", 9, 0):
        moved.append([one.message.id for one in found])
        target.settle([Settlement(one.receipt, Done()) for one in found])
        target.maintain(9)
    assert moved == [["b"], ["c"], ["d"]]
    source.close()


def test_a_pause_of_a_limit_is_moved(source: Backend, target: Backend) -> None:
    """Before the tasks, which wait for it there."""
    here, there = limit_pausing_of(source), limit_pausing_of(target)
    assert here is not None
    assert there is not None
    here.pause("api/k")
    source.enqueue([Message("a", "job", gates=("api/k",), v=2)])

    assert move_group(source, target) == Moved(1, 0, 0)
    assert there.paused() == ["api/k"]
    assert target.claim("w", 1, 0) == []
    there.resume("api/k")
    assert [one.message.id for one in target.claim("w", 1, 0)] == ["a"]


def test_a_pause_of_a_task_name_is_moved(source: Backend, target: Backend) -> None:
    """Before the tasks; one that waits for it in the source does so in the target."""
    here, there = limit_pausing_of(source), limit_pausing_of(target)
    assert here is not None
    assert there is not None
    assert isinstance(source, Beginning)
    assert isinstance(target, Beginning)
    here.pause(task_gate("job"))
    source.enqueue([Message("a", "job"), Message("b", "other")])
    assert list(source.begin([source.claim("w", 1, 0)[0].receipt])) == [StartStatus.LATER]
    source.release("w", ())

    assert move_group(source, target) == Moved(2, 0, 0)
    assert there.paused() == [task_gate("job")]
    statuses = {one.message.id: target.begin([one.receipt])[0] for one in target.claim("w", 9, 0)}
    assert statuses == {"a": StartStatus.LATER, "b": StartStatus.RUN}
    there.resume(task_gate("job"))
    assert [one.message.id for one in target.claim("w", 9, 0)] == ["a"]


def test_limits_and_a_pause_need_a_store_that_keeps_them() -> None:
    """Its tasks would start; so they stay where they are."""

    class Plain(MemoryBackend):
        pause = None  # type: ignore[assignment] # it cannot

        def limits(self) -> None:  # type: ignore[override] # it has none
            return None

    source, target = (kind(MemoryStore(), StoreOptions()) for kind in (MemoryBackend, Plain))
    source.enqueue([Message("a", "job", gates=("gpu/",), v=2)])
    with pytest.raises(ConfigurationError, match="cannot keep limits"):
        move_group(source, target)
    source.pause()
    with pytest.raises(ConfigurationError, match="cannot pause a queue"):
        move_group(source, target)
    assert [task.id for task in source.tasks()[0]] == ["a"]


def test_a_task_with_a_rate_is_moved(source: Backend, target: Backend) -> None:
    """It keeps its rate."""
    source.enqueue([Message("a", "job", gates=("rate:api/",), v=2)])

    assert move_group(source, target) == Moved(1, 0, 0)
    assert target.claim("w", 1, 0)[0].must_begin


def test_a_flow_is_not_moved(source: Backend, target: Backend) -> None:
    """A task that others wait for stays with them."""
    source.enqueue([Message("a", "job", flow="the-flow", successors=("f:b",), v=2)])

    with pytest.raises(ConfigurationError, match="task a is part of the flow the-flow"):
        move_group(source, target)
    assert source.show(["a"]) != [None]


def test_a_task_with_steps_is_not_moved() -> None:
    """Elsewhere it would do again what it has done, or wait for an event that has come."""
    for keep in ("step", "event", "wait"):
        source = MemoryBackend(MemoryStore(), StoreOptions())
        source.enqueue([Message("a", "job")])
        (held,) = source.claim("one", 1, 0)
        match keep:
            case "step":
                source.save_steps(held.receipt, {"step:charge": b"1"})
                source.settle([Settlement(held.receipt, Fail("no"))])
            case "event":
                source.send_event("a", "approved", b"1")
                source.settle([Settlement(held.receipt, Retry())])
            case _:
                source.settle([Settlement(held.receipt, Suspend(event="approved"))])
        source.release("one", [])

        with pytest.raises(ConfigurationError, match="task a has steps or events, which cannot be moved"):
            move_group(source, MemoryBackend(MemoryStore(), StoreOptions()))
        assert source.show(["a"]) != [None]


def test_a_task_with_a_rate_needs_a_store_with_rates() -> None:
    """It would run there at any pace; so it stays where it is."""

    class Plain(MemoryBackend):
        def limits(self) -> None:  # type: ignore[override] # it has none
            return None

    source = MemoryBackend(MemoryStore(), StoreOptions())
    source.enqueue([Message("a", "job", gates=("rate:api/",), v=2)])

    with pytest.raises(ConfigurationError, match="cannot keep rates"):
        move_group(source, Plain(MemoryStore(), StoreOptions()))
    assert [task.id for task in source.tasks()[0]] == ["a"]
