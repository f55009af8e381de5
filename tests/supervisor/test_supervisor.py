"""The supervisor replaces processes that die, pauses if they keep dying, and charges only tasks that ran."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyxqueue import inflight
from pyxqueue.errors import BrokerUnavailableError, StoreFileError
from pyxqueue.inflight import InFlightTable, Slots
from pyxqueue.model.message import Defer, Fail, Retry, Settlement, evolve
from pyxqueue.model.past import attempts_in
from pyxqueue.protocols import Broker
from pyxqueue.supervisor import supervisor, watchdog
from pyxqueue.supervisor.care import QueueAccess
from pyxqueue.supervisor.duties import DutyLoop, lease_renewer, maintenance
from pyxqueue.supervisor.duties.maintenance import Maintenance
from pyxqueue.supervisor.processes import end_process, fork, kill_group
from pyxqueue.supervisor.supervisor import Supervisor
from pyxqueue.supervisor.watchdog import Watchdog, _read
from pyxqueue.worker.options import WorkerOptions
from tests.support.trees import alive
from tests.support.until import until


class FakeBroker:
    """Notes what a supervisor tells the store."""

    def __init__(self) -> None:
        self.settled: list[Settlement] = []
        self.released: list[tuple[str, list[str]]] = []
        self.away = False
        self.asked: list[str] = []
        """The calls while it could not be reached."""

    def lease_ms(self) -> int:
        return 3000

    def settle(self, settlements: list[Settlement]) -> list[bool]:
        self.settled += settlements
        return [True] * len(settlements)

    def extend(self, extensions: list[object]) -> list[object]:
        return [None] * len(extensions)

    def maintain(self, limit: int) -> int:
        if self.away:
            self.asked.append("maintain")
            raise BrokerUnavailableError("away")
        return -1

    def release(self, consumer: str, started: list[str]) -> int:
        if self.away:
            self.asked.append("release")
            raise BrokerUnavailableError("away")
        self.released.append((consumer, started))
        return 0

    def close(self) -> None:
        pass


Body = Callable[[InFlightTable], int]


class Starter:
    """Forks processes that run a function of the test instead of a worker."""

    def __init__(self, *bodies: Body) -> None:
        self._bodies = list(bodies)
        self.born: list[float] = []
        self.pids: list[int] = []

    def __call__(self, consumer: str, table: InFlightTable, close_inherited: Callable[[], None]) -> int:
        body = self._bodies.pop(0) if len(self._bodies) > 1 else self._bodies[0]
        self.born.append(time.monotonic())
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            end_process(lambda: body(InFlightTable(table.fd)))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.setpgid(pid, pid)
        self.pids.append(pid)
        return pid


def live(_table: InFlightTable) -> int:
    while True:
        signal.pause()


def die(_table: InFlightTable) -> int:
    return 1


def die_busy(table: InFlightTable) -> int:
    slots = Slots(table)
    slots.start(slots.add("ran", "ran", 1, 0.0), 1.0)
    slots.add("waited", "waited", 1, 0.0)
    finished = slots.add("done", "done", 1, 0.0)
    slots.start(finished, 1.0)
    slots.finish(finished)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def overrun(retry_delay: float) -> Body:
    def body(table: InFlightTable) -> int:
        slots = Slots(table)
        # Pinned: neither must be given back while the other one seems to have run for long.
        beside, late = (
            slots.add("beside", "beside", 1, 0.0, pinned=True),
            slots.add("late", "late", 2, 0.0, pinned=True),
        )
        slots.start(beside, 1.0)
        slots.start(late, 1.0)
        slots.limit(late, 2.0, retry_delay)
        return live(table)

    return body


def wait_behind_a_long_task(table: InFlightTable) -> int:
    """Be idle until the supervisor sleeps, then begin a task with another one behind it."""
    slots = Slots(table)
    until(lambda: any(table.memory[inflight._SLEEPER :]), "the supervisor sleeps")
    slots.start(slots.add("long", "long", 1, time.monotonic()), time.monotonic())
    slots.add("waiting", "waiting", 1, time.monotonic())
    slots.wake_supervisor()
    return live(table)


def supervise(
    starter: Starter,
    broker: FakeBroker,
    done: Callable[[], object],
    signals: int = 1,
    *,
    start: Callable[[str, InFlightTable, Callable[[], None]], int] | None = None,
) -> None:
    """Run a supervisor in this thread until `done`, then signal it as an operator would."""

    def connect() -> Broker:
        return broker  # type: ignore[return-value]

    options = WorkerOptions(processes=1, grace=5)
    begin = start or starter
    one = Supervisor(options, begin, [QueueAccess(connect)], name=lambda index: f"w{index}-{len(starter.born)}")

    def stop() -> None:
        until(done, "the test's condition")
        for number in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)
            until(lambda: one._signals > number, "the signal arrived")  # noqa: B023 - runs now

    thread = threading.Thread(target=stop)
    thread.start()
    one.run()
    thread.join()


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


def test_a_process_that_dies_is_replaced(broker: FakeBroker) -> None:
    """Another one starts at once, and its messages are released."""
    starter = Starter(die, live)

    supervise(starter, broker, lambda: len(starter.born) == 2)

    assert broker.released == [("w1-0", []), ("w1-1", [])]
    assert not any(map(alive, starter.pids))


def test_a_process_that_cannot_be_started_now(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    """When the system has no room for it, it is tried again, and the supervisor goes on."""
    starter = Starter(die, live)
    full = [BlockingIOError("no room"), BlockingIOError("no room")]

    def start(consumer: str, table: InFlightTable, close_inherited: Callable[[], None]) -> int:
        if starter.born and full:
            raise full.pop()
        return starter(consumer, table, close_inherited)

    supervise(starter, broker, lambda: len(starter.born) == 2, start=start)

    assert caplog.text.count("a worker process cannot be started now: no room") == 2


def test_processes_that_keep_dying_are_replaced_after_pauses(broker: FakeBroker) -> None:
    """There is no pause after the first death; after that, pauses double."""
    starter = Starter(die)

    supervise(starter, broker, lambda: len(starter.born) == 5)

    pauses = [after - before for before, after in zip(starter.born, starter.born[1:], strict=False)]
    assert pauses[1] >= 0.4
    assert pauses[2] >= 0.8
    assert pauses[3] >= 1.6


def test_a_process_killed_for_a_time_limit_is_replaced_at_once(broker: FakeBroker) -> None:
    """There is never a pause: the processes are sound, only their tasks hang."""
    starter = Starter(overrun(0.0))

    supervise(starter, broker, lambda: len(starter.born) == 9)

    assert len(broker.settled) >= 8


def test_only_what_ran_is_charged(broker: FakeBroker) -> None:
    """Neither what waited nor what was done is charged."""
    starter = Starter(die_busy, live)

    supervise(starter, broker, lambda: len(starter.born) == 2)

    assert broker.released[0] == ("w1-0", ["ran"])


def test_a_worker_wakes_a_supervisor_that_sleeps(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits behind a long task is given back, although the supervisor would have slept for an hour."""
    monkeypatch.setattr(supervisor, "_IDLE", 3_600.0)
    monkeypatch.setattr(lease_renewer, "RENEW_EVERY", 3_600.0)
    monkeypatch.setattr(maintenance, "MAINTAIN_EVERY", 3_600.0)
    monkeypatch.setattr(broker, "lease_ms", lambda: 10**9)

    supervise(Starter(wait_behind_a_long_task), broker, done=lambda: broker.settled)

    assert broker.settled == [Settlement("waiting", Defer())]


@pytest.mark.parametrize(("delay", "verdict"), [(1500.0, Retry(1500)), (-1.0, Fail)])
def test_a_hard_limit(broker: FakeBroker, delay: float, verdict: object) -> None:
    """The late task is settled as its policy says, and what ran beside it is released without a charge."""
    starter = Starter(overrun(delay), live)

    supervise(starter, broker, lambda: len(starter.born) == 2)

    (settlement,) = broker.settled
    assert settlement.receipt == "late"
    if isinstance(settlement.verdict, Retry):
        (past,) = attempts_in(settlement.verdict.past)
        assert (past.type, past.worker) == ("pyxqueue.errors.TimeLimitExceeded", "w1-0")
        assert evolve(settlement.verdict, past="") == verdict
    else:
        assert isinstance(settlement.verdict, Fail)
    assert (settlement.record is None) == isinstance(settlement.verdict, Retry)
    assert broker.released[0] == ("w1-0", [])


def test_tasks_killed_by_a_second_signal_are_not_charged(broker: FakeBroker, tmp_path: Path) -> None:
    """They are given back as if they had not started."""

    def stubborn(table: InFlightTable) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        slots = Slots(table)
        slots.start(slots.add("ran", "ran", 1, 0.0), 1.0)
        ready.touch()
        return live(table)

    ready = tmp_path / "ready"
    starter = Starter(stubborn)

    supervise(starter, broker, ready.exists, signals=2)

    assert broker.released == [("w1-0", [])]


def test_what_is_cut_off_is_logged_once(
    broker: FakeBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the process has not ended at the next look."""

    def stubborn(table: InFlightTable) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        slots = Slots(table)
        slots.start(slots.add("ran", "ran", 1, 0.0), time.monotonic() - 60)
        ready.touch()
        return live(table)

    def kill_at_last(pid: int) -> None:
        killed.append(pid)
        if len(killed) > 2:
            kill_group(pid)

    killed: list[int] = []
    ready = tmp_path / "ready"
    monkeypatch.setattr(supervisor, "kill_group", kill_at_last)
    monkeypatch.setattr(supervisor, "_IDLE", 0.01)

    supervise(Starter(stubborn), broker, ready.exists, signals=2)

    assert len(killed) > 2
    (line,) = [one.getMessage() for one in caplog.records if "grace period is over" in one.getMessage()]
    found = re.fullmatch(r"the grace period is over: killed w1-0, which was running ran for (\d+\.\d) s", line)
    assert found is not None, line
    assert float(found[1]) >= 60


def test_a_store_that_cannot_be_reached(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    """The messages of a dead process are released later; the process is replaced at once."""
    broker.away = True
    starter = Starter(die_busy, live)

    supervise(starter, broker, lambda: len(starter.born) == 2 and "release" in broker.asked)

    assert "the messages of w1-0 could not be released yet, trying again: away" in caplog.text


def test_a_death_while_the_store_is_away_is_reported_later(broker: FakeBroker) -> None:
    """The store is told what the process was running as soon as it can be reached."""
    broker.away = True

    def told() -> bool:
        broker.away = broker.away and "release" not in broker.asked
        return bool(broker.released)

    supervise(Starter(die_busy, live), broker, told)

    assert broker.released[0] == ("w1-0", ["ran"])


def test_a_store_that_starts_late(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    """The supervisor waits for it, and logs that once."""
    times = []

    def lease() -> int:
        times.append(time.monotonic())
        if len(times) < 4:
            raise BrokerUnavailableError("not yet")
        return 3000

    broker.lease_ms = lease  # type: ignore[method-assign]

    supervise(Starter(live), broker, lambda: len(times) == 4)

    assert caplog.text.count("waiting for the store: not yet") == 1


def test_a_store_that_refuses(broker: FakeBroker) -> None:
    """The supervisor ends with the store's error, and leaves no process behind."""

    def lease() -> int:
        raise StoreFileError("this is not a queue")

    broker.lease_ms = lease  # type: ignore[method-assign]
    starter = Starter(live)

    with pytest.raises(StoreFileError, match="this is not a queue"):
        supervise(starter, broker, lambda: True, signals=0)

    assert not any(map(alive, starter.pids))


def test_stopping_while_the_store_is_away(broker: FakeBroker) -> None:
    """It makes no request for each process that ends: each would use up a part of the grace period."""
    broker.away = True
    starter = Starter(live)

    supervise(starter, broker, lambda: len(broker.asked) > 1)

    assert "release" not in broker.asked
    assert not any(map(alive, starter.pids))


def test_no_duty_is_tried_while_stopping_without_a_store(broker: FakeBroker) -> None:
    """A request would wait until it times out, and use up the grace period of running tasks."""
    known: Any = broker
    access = QueueAccess(lambda: known)
    one = Supervisor(WorkerOptions(processes=1), Starter(live), [access], name=str)
    one._cares[0].duties = DutyLoop([Maintenance(broker)], monotonic=itertools.count(0, 10).__next__)  # type: ignore[arg-type]
    broker.away = True
    one._do_duties([])
    one._do_duties([])
    assert broker.asked == ["maintain"] * 2

    one._deadline = time.monotonic()
    one._do_duties([])

    assert broker.asked == ["maintain"] * 2


def test_the_end_of_the_parent(broker: FakeBroker) -> None:
    """When the connection to it closes, the supervisor stops."""
    here, there = socket.socketpair()
    starter = Starter(live)

    def connect() -> Broker:
        return broker  # type: ignore[return-value]

    one = Supervisor(
        WorkerOptions(processes=1),
        starter,
        [QueueAccess(connect)],
        name=lambda index: f"w{index}",
        parent=here.fileno(),
    )
    there.shutdown(socket.SHUT_RDWR)
    with here, there:
        one.run()

    assert not any(map(alive, starter.pids))


def test_a_watchdog_that_was_killed_is_replaced(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    """Another one starts at once, and the log says so."""
    starter = Starter(live)
    watchdogs: list[Watchdog] = []

    def replaced() -> bool:
        if not watchdogs and starter.pids:
            watchdogs.append(one._children.watchdog)
            os.kill(watchdogs[0].pid, signal.SIGKILL)
        return bool(watchdogs) and one._children.watchdog is not watchdogs[0]

    def connect() -> Broker:
        return broker  # type: ignore[return-value]

    def stop() -> None:
        until(replaced, "there is another watchdog")
        os.kill(os.getpid(), signal.SIGTERM)

    one = Supervisor(
        WorkerOptions(processes=1, grace=5), starter, [QueueAccess(connect)], name=lambda index: f"w{index}"
    )
    thread = threading.Thread(target=stop)
    thread.start()
    one.run()
    thread.join()

    assert "the watchdog process was killed" in caplog.text
    assert not any(map(alive, starter.pids))


@pytest.mark.parametrize("times", [2, 1_000_000], ids=["later", "never"])
def test_a_watchdog_that_cannot_be_started_now(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """When the system has no room for another one, it is tried again, and the supervisor goes on and ends as ever."""
    starter, failures = Starter(live), list[OSError]()
    monkeypatch.setattr(supervisor, "_IDLE", 0.01)
    first: list[int] = []

    def start() -> int:
        if first and len(failures) < times:
            failures.append(BlockingIOError("no room"))
            raise failures[-1]
        return fork()

    def done() -> bool:
        if starter.pids and not first:
            first.append(one._children.watchdog.pid)
            os.kill(first[0], signal.SIGKILL)
        return len(failures) >= 2 and (times > 2 or one._children.watchdog.pid not in (0, first[0]))

    def stop() -> None:
        until(done, "it was tried again")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(watchdog, "fork", start)
    known: Any = broker
    one = Supervisor(WorkerOptions(processes=1, grace=5), starter, [QueueAccess(lambda: known)], name=str)
    thread = threading.Thread(target=stop)
    thread.start()
    one.run()
    thread.join()

    assert caplog.text.count("the watchdog process cannot be started now, and is tried again: no room") == 1
    assert broker.released == [("1", [])]
    assert not any(map(alive, starter.pids))


def test_the_watchdog_reads_to_the_end() -> None:
    """It returns the pids that are left when its pipe closes, and none after a goodbye."""
    assert _read(["+1\n", "+2\n", "-1\n", "+3\n"]) == {2, 3}
    assert _read(["+1\n", "bye\n"]) == set()


def test_the_watchdog_kills_when_its_pipe_closes() -> None:
    """It kills whole process groups."""
    watchdog = Watchdog.start()
    pid = os.fork()
    if pid == 0:
        os.close(watchdog.pipe)
        os.setpgid(0, 0)
        end_process(lambda: live(InFlightTable()))
    os.setpgid(pid, pid)
    watchdog.add(pid)

    os.close(watchdog.pipe)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    os.waitpid(watchdog.pid, 0)


def test_the_watchdog_kills_none_after_a_goodbye() -> None:
    """That is how a supervisor ends that has stopped its workers."""
    watchdog = Watchdog.start()
    watchdog.add(os.getpid())

    watchdog.stop()

    assert not alive(watchdog.pid)  # and this process still is


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only PID 1 adopts, and no test is that")
def test_orphans_are_reaped(broker: FakeBroker, tmp_path: Path) -> None:
    """A supervisor that adopts orphans, as PID 1 of a container does, waits for them."""

    def leave_an_orphan(_table: InFlightTable) -> int:
        if os.fork() == 0:
            if (orphan := os.fork()) == 0:
                os.setsid()  # it outlives the process group of the worker
                os._exit(3)
            (tmp_path / "part").write_text(str(orphan))
            (tmp_path / "part").rename(tmp_path / "orphan")
            os._exit(0)
        return live(InFlightTable())

    def gone() -> bool:
        there = tmp_path / "orphan"
        return there.exists() and not Path(f"/proc/{there.read_text()}").exists()

    libc = ctypes.CDLL(None)
    assert libc.prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
    try:
        supervise(Starter(leave_an_orphan), broker, gone)
    finally:
        libc.prctl(36, 0, 0, 0, 0)

    assert broker.released == [("w1-0", [])]
