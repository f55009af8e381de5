"""The supervisor: replaces what dies, ever more slowly what keeps dying, and charges only what ran."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyxqueue.errors import BrokerUnavailableError, StoreFileError
from pyxqueue.inflight import InFlightTable, Slots
from pyxqueue.model.message import Fail, Retry, Settlement
from pyxqueue.protocols import Broker
from pyxqueue.supervisor.duties import DutyLoop
from pyxqueue.supervisor.duties.maintenance import Maintenance
from pyxqueue.supervisor.processes import end_process
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
        """What it was asked while it was away."""

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
    """Forks processes that do what they are told instead of working."""

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
        # Pinned: none must be handed back while the other seems to have been running for long.
        beside, late = (
            slots.add("beside", "beside", 1, 0.0, pinned=True),
            slots.add("late", "late", 2, 0.0, pinned=True),
        )
        slots.start(beside, 1.0)
        slots.start(late, 1.0)
        slots.limit(late, 2.0, retry_delay)
        return live(table)

    return body


def supervise(starter: Starter, broker: FakeBroker, done: Callable[[], object], signals: int = 1) -> None:
    """Run a supervisor in this thread until `done`, then signal it as an operator would."""

    def connect() -> Broker:
        return broker  # type: ignore[return-value]

    options = WorkerOptions(processes=1, grace=5)
    one = Supervisor(options, starter, connect, name=lambda index: f"w{index}-{len(starter.born)}")

    def stop() -> None:
        until(done, "the test's condition")
        for number in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)
            until(lambda: one._signals > number, "the signal arrived")  # noqa: B023

    thread = threading.Thread(target=stop)
    thread.start()
    one.run()
    thread.join()


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


def test_what_dies_is_replaced(broker: FakeBroker) -> None:
    """At once, and what it held is released."""
    starter = Starter(die, live)

    supervise(starter, broker, lambda: len(starter.born) == 2)

    assert broker.released == [("w1-0", []), ("w1-1", [])]
    assert not any(map(alive, starter.pids))


def test_what_keeps_dying_is_replaced_ever_more_slowly(broker: FakeBroker) -> None:
    """The second time at once, then after pauses that double."""
    starter = Starter(die)

    supervise(starter, broker, lambda: len(starter.born) == 5)

    pauses = [after - before for before, after in zip(starter.born, starter.born[1:], strict=False)]
    assert pauses[1] >= 0.4
    assert pauses[2] >= 0.8
    assert pauses[3] >= 1.6


def test_what_was_killed_for_its_time_limit_is_replaced_at_once(broker: FakeBroker) -> None:
    """However often: the processes are sound, it is the tasks that hang."""
    starter = Starter(overrun(0.0))

    supervise(starter, broker, lambda: len(starter.born) == 9)

    assert len(broker.settled) >= 8


def test_only_what_ran_is_charged(broker: FakeBroker) -> None:
    """Not what waited, and not what was done."""
    starter = Starter(die_busy, live)

    supervise(starter, broker, lambda: len(starter.born) == 2)

    assert broker.released[0] == ("w1-0", ["ran"])


@pytest.mark.parametrize(("delay", "verdict"), [(1500.0, Retry(1500)), (-1.0, Fail)])
def test_a_hard_limit(broker: FakeBroker, delay: float, verdict: object) -> None:
    """The late task is settled as its policy says, and what ran beside it is released without a charge."""
    starter = Starter(overrun(delay), live)

    supervise(starter, broker, lambda: len(starter.born) == 2)

    (settlement,) = broker.settled
    assert settlement.receipt == "late"
    assert settlement.verdict == verdict or isinstance(settlement.verdict, Fail)
    assert (settlement.record is None) == isinstance(settlement.verdict, Retry)
    assert broker.released[0] == ("w1-0", [])


def test_what_is_killed_at_the_end_is_not_charged(broker: FakeBroker, tmp_path: Path) -> None:
    """A second signal kills what runs, and gives it back as if it had never begun."""

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


def test_a_store_that_is_away(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    """What a dead process held then comes back later; the process is replaced all the same."""
    broker.away = True
    starter = Starter(die_busy, live)

    supervise(starter, broker, lambda: len(starter.born) == 2 and "release" in broker.asked)

    assert "the messages of w1-0 could not be released yet, trying again: away" in caplog.text


def test_a_death_while_the_store_is_away_is_told_later(broker: FakeBroker) -> None:
    """With what it was running, as soon as the store is there again."""
    broker.away = True

    def told() -> bool:
        broker.away = broker.away and "release" not in broker.asked
        return bool(broker.released)

    supervise(Starter(die_busy, live), broker, told)

    assert broker.released[0] == ("w1-0", ["ran"])


def test_a_store_that_is_not_there_yet(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    """It is waited for, and that is said once."""
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
    """Trying again is no use: it ends with the store's own words, and leaves no process behind."""

    def lease() -> int:
        raise StoreFileError("this is no queue")

    broker.lease_ms = lease  # type: ignore[method-assign]
    starter = Starter(live)

    with pytest.raises(StoreFileError, match="this is no queue"):
        supervise(starter, broker, lambda: True, signals=0)

    assert not any(map(alive, starter.pids))


def test_stopping_while_the_store_is_away(broker: FakeBroker) -> None:
    """It was silent before: asking it about each process that ends would only use up the time there is to stop."""
    broker.away = True
    starter = Starter(live)

    supervise(starter, broker, lambda: len(broker.asked) > 1)

    assert "release" not in broker.asked
    assert not any(map(alive, starter.pids))


def test_no_duty_is_tried_while_stopping_without_a_store(broker: FakeBroker) -> None:
    """Each request would take as long as its time-out: the grace of what runs comes first."""
    one = Supervisor(WorkerOptions(processes=1), Starter(live), lambda: broker, name=str)  # type: ignore[arg-type,return-value]
    one._duties = DutyLoop([Maintenance(broker)], monotonic=itertools.count(0, 10).__next__)  # type: ignore[arg-type]
    broker.away = True
    one._do_duties([])
    one._do_duties([])
    assert broker.asked == ["maintain"] * 2

    one._deadline = time.monotonic()
    one._do_duties([])

    assert broker.asked == ["maintain"] * 2


def test_the_parent_has_gone(broker: FakeBroker) -> None:
    """The end of the connection to it is a signal to stop."""
    here, there = socket.socketpair()
    starter = Starter(live)

    def connect() -> Broker:
        return broker  # type: ignore[return-value]

    one = Supervisor(WorkerOptions(processes=1), starter, connect, name=lambda index: f"w{index}", parent=here.fileno())
    there.shutdown(socket.SHUT_RDWR)
    with here, there:
        one.run()

    assert not any(map(alive, starter.pids))


def test_a_watchdog_that_was_killed_is_replaced(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    """At once, with a word in the log."""
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

    one = Supervisor(WorkerOptions(processes=1, grace=5), starter, connect, name=lambda index: f"w{index}")
    thread = threading.Thread(target=stop)
    thread.start()
    one.run()
    thread.join()

    assert "the watchdog process was killed" in caplog.text
    assert not any(map(alive, starter.pids))


def test_the_watchdog_reads_to_the_end() -> None:
    """It knows who is left when its pipe breaks off, and nobody after a goodbye."""
    assert _read(["+1\n", "+2\n", "-1\n", "+3\n"]) == {2, 3}
    assert _read(["+1\n", "bye\n"]) == set()


def test_the_watchdog_kills_when_its_pipe_closes() -> None:
    """Whole process groups."""
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


def test_the_watchdog_spares_after_a_goodbye() -> None:
    """An orderly end kills nobody."""
    watchdog = Watchdog.start()
    watchdog.add(os.getpid())

    watchdog.stop()

    assert not alive(watchdog.pid)  # and this process still is


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only PID 1 adopts, and no test is that")
def test_orphans_are_reaped(broker: FakeBroker, tmp_path: Path) -> None:
    """Where the supervisor is the process that adopts them, as PID 1 of a container is."""

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
