"""The deliveries that one worker process has in flight, in memory that its supervisor can read.

The worker process writes and the supervisor reads. So the supervisor, which does not run user code, can extend leases
while a task keeps the interpreter busy; and when a worker dies, it knows which deliveries were running and which had
only been claimed.

Both processes can change a delivery that has not started: the worker starts it, the supervisor gives it back if the
worker is stuck on another one. Both take the same lock, so no delivery is both started and given back.
"""

from __future__ import annotations

import fcntl
import mmap
import multiprocessing
import os
import signal
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol, cast

from attrs import frozen

from . import contact
from .errors import ConfigurationError
from .printable import quoted
from .stacks import Stacks

SLOTS = 2048
"""How many deliveries one process can have in flight."""
STUCK = 0.04
"""How many seconds a delivery may wait in a busy worker before all deliveries that wait there are given back."""
_FREE, _WAITING, _PINNED, _RUNNING, _DONE, _TAKEN = range(6)
_HEADER = struct.Struct("<dddI16sHHBH")
_LARGEST_FENCE = 2**128 - 1
_SLOT = 512
_MARKS = 3 * SLOTS
"""The table begins with three bytes per slot: its state, the generation to cancel, and how often to interrupt it."""
_START = _MARKS + SLOTS * _SLOT
"""Behind them: whether the process has started, and its text about that, with its length in front."""
_START_SIZE = 16_384
_SLEEPER = _START + _START_SIZE
"""At the end: the pid of the supervisor while it sleeps, else 0."""
_PID = struct.Struct("<q")
_MAIL = _SLEEPER + _PID.size
"""Behind that: whether there is mail from the supervisor, its length, and the mail."""
_MAIL_HEADER = struct.Struct("<?xxxI")
_MAIL_SIZE = 32_768
_CONTACT = _MAIL + _MAIL_HEADER.size + _MAIL_SIZE
"""And whether the process gets replies from the store."""
_SIZE = _CONTACT + contact.SIZE
_OURS = (_WAITING, _PINNED, _RUNNING, _DONE)
_PATIENCE = 0.05


@frozen
class InFlight:
    """One delivery in the table."""

    slot: int
    generation: int
    """Distinguishes this use of the slot from later ones."""
    task_id: str
    receipt: str
    attempt: int
    fence: int
    running: bool
    waiting: bool
    """It was claimed and has not started."""
    retry_delay_ms: float
    """The delay until the next attempt if the hard time limit kills it, in ms; negative if it then fails."""
    queue: int = 0
    """The number of its queue, among those that the worker serves."""
    since: float = 0.0
    """When it was claimed or, if it runs, started, by `time.monotonic`."""


class Lock(Protocol):
    """The methods of a lock that a table uses. `threading.Lock` and `multiprocessing.Lock` have them."""

    def acquire(self, block: bool = ..., timeout: float = ...) -> bool: ...

    def release(self) -> None: ...

    def __enter__(self) -> bool: ...

    def __exit__(self, *error: object) -> None: ...


class FileLock:
    """A lock for processes that share an open file. The kernel releases it if its holder dies."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._threads = threading.Lock()

    def acquire(self, block: bool = True, timeout: float = -1) -> bool:
        if not self._threads.acquire(block, timeout):
            return False
        if timeout < 0:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
            return True
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:  # the other process has the lock; waiting for a file lock has no timeout
                if time.monotonic() >= deadline:
                    self._threads.release()
                    return False
                time.sleep(timeout / 20)

    def release(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN)
        self._threads.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class Start:
    """The report of a process on its start: the process writes it, the supervisor reads it."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def say(self, text: str, *, done: bool = False) -> None:
        """Write what the process is doing to start, or why it cannot start. `done`: it has started."""
        told = text.encode(errors="backslashreplace")[: _START_SIZE - 3]
        self._memory[_START + 1 : _START + 3 + len(told)] = struct.pack("<H", len(told)) + told
        self._memory[_START] = done

    @property
    def done(self) -> bool:
        return bool(self._memory[_START])

    def text(self) -> str:
        """Return what the process wrote last."""
        (size,) = struct.unpack_from("<H", self._memory, _START + 1)
        return self._memory[_START + 3 : _START + 3 + size].decode(errors="replace")


class Mailbox:
    """Messages from the supervisor to a worker process, one letter at a time."""

    SIZE = _MAIL_SIZE
    """Bytes of the largest letter."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def put(self, lines: Iterable[bytes]) -> int:
        """Write as many of the lines as there is room for; none before the process has taken the last letter. Returns
        how many were written."""
        if self._memory[_MAIL]:
            return 0
        letter, count = b"", 0
        for line in lines:
            if len(letter) + len(line) > _MAIL_SIZE:
                break
            letter += line
            count += 1
        if count:
            at = _MAIL + _MAIL_HEADER.size
            self._memory[at : at + len(letter)] = letter
            _MAIL_HEADER.pack_into(self._memory, _MAIL, False, len(letter))
            self._memory[_MAIL] = True
        return count

    def take(self) -> bytes:
        """Return the lines that were put; none are left."""
        if not self._memory[_MAIL]:
            return b""
        _, size = _MAIL_HEADER.unpack_from(self._memory, _MAIL)
        at = _MAIL + _MAIL_HEADER.size
        letter = self._memory[at : at + size]
        self._memory[_MAIL] = False
        return letter


class InFlightTable:
    """A fixed number of slots in memory that this process may share with another one.

    The methods are for the supervisor, which reads the table; the worker writes through `Slots`.
    """

    def __init__(self, fd: int | None = None, lock: Lock | None = None) -> None:
        """`fd`: an open file made by `shared` or `forked`; None uses memory of this process alone. `lock`: None uses a
        lock for the threads of this process or, with `fd`, for the processes that have the file."""
        self._fd = fd
        self.memory = mmap.mmap(-1 if fd is None else fd, _SIZE)
        own: Lock = cast(Lock, threading.Lock()) if fd is None else FileLock(fd)
        self.lock = own if lock is None else lock
        self.start = Start(self.memory)
        self.mail = Mailbox(self.memory)
        self.contact = contact.Contact(self.memory, _CONTACT)
        self.stacks = Stacks(fd, _SIZE)

    @classmethod
    def shared(cls) -> InFlightTable:
        """Make a table that any process with its `fd` can map."""
        return cls(_new_file())

    @classmethod
    def forked(cls) -> InFlightTable:
        """Make a table for this process and its forks. Its lock is a semaphore, which is cheap while it is free."""
        return cls(_new_file(), cast(Lock, multiprocessing.get_context("fork").Lock()))

    @property
    def fd(self) -> int:
        if self._fd is None:
            raise ConfigurationError("this table does not have a file: make it with InFlightTable.shared()")
        return self._fd

    def close(self) -> None:
        self.contact.close()
        self.memory.close()
        if self._fd is not None:
            os.close(self._fd)

    def busy(self) -> bool:
        return any(self.memory[:SLOTS])

    def entries(self) -> list[InFlight]:
        """Return all deliveries that are in flight now."""
        states = self.memory[:SLOTS]
        if not any(states):
            return []
        return [self._read(slot, state) for slot, state in enumerate(states) if state in _OURS]

    def _read(self, slot: int, state: int) -> InFlight:
        at = _MARKS + slot * _SLOT
        header = _HEADER.unpack_from(self.memory, at)
        since, _, delay, attempt, fence, id_size, receipt_size, generation, queue = header
        at += _HEADER.size
        raw = self.memory[at : at + id_size + receipt_size]
        return InFlight(
            slot=slot,
            generation=generation,
            task_id=raw[:id_size].decode(),
            receipt=raw[id_size:].decode(),
            attempt=attempt,
            fence=int.from_bytes(fence, "little"),
            running=state == _RUNNING,
            waiting=state == _WAITING,
            retry_delay_ms=delay,
            queue=queue,
            since=since,
        )

    def runs(self, entry: InFlight) -> bool:
        """Return whether this delivery is still running."""
        now = self._read(entry.slot, self.memory[entry.slot])
        return now.running and now.generation == entry.generation

    def runs_since(self) -> list[tuple[int, float, str]]:
        """Return for each delivery that runs its queue, when it started, by `time.monotonic`, and its task."""
        return [(entry.queue, entry.since, entry.task_id) for entry in self.entries() if entry.running]

    def until_stuck(self, now: float) -> float | None:
        """Return after how many seconds a delivery will have waited here for `STUCK` while another one runs: 0 or less
        if it has. None: none waits behind another one."""
        states = self.memory[:SLOTS]
        if _WAITING not in states or _RUNNING not in states:
            return None
        waiting = (slot for slot, state in enumerate(states) if state == _WAITING)
        return min(self._times(slot)[0] for slot in waiting) + STUCK - now

    def overdue(self, now: float) -> list[InFlight]:
        """Return the deliveries that have run longer than their hard time limit."""
        states = self.memory[:SLOTS]
        if _RUNNING not in states:
            return []
        return [
            self._read(slot, state)
            for slot, state in enumerate(states)
            if state == _RUNNING and 0 < self._times(slot)[1] <= now
        ]

    def _times(self, slot: int) -> tuple[float, float]:
        """Return when the delivery was claimed or, if it runs, started; and when its process must be killed (0: never).

        Both are times of `time.monotonic`, which all processes of a machine share.
        """
        started, deadline = struct.unpack_from("<dd", self.memory, _MARKS + slot * _SLOT)
        return started, deadline

    def take_back(self, slots: Iterable[int]) -> list[InFlight]:
        """Take deliveries that have not started, to give them back. Returns those that were taken.

        Returns an empty list if the worker process does not release the lock, because it was stopped while it had it.
        """
        if not self.lock.acquire(timeout=_PATIENCE):
            return []
        try:
            taken = [slot for slot in slots if self.memory[slot] in (_WAITING, _PINNED)]
            entries = [self._read(slot, _WAITING) for slot in taken]
            for slot in taken:
                self.memory[slot] = _TAKEN
            return entries
        finally:
            self.lock.release()

    def sleep(self, pid: int) -> None:
        """Ask the worker to wake this supervisor, which has that pid, when deliveries wait there. 0: it is awake."""
        _PID.pack_into(self.memory, _SLEEPER, pid)

    def ask_cancel(self, entry: InFlight, times: int = 1) -> None:
        """Ask the worker to interrupt the task of this delivery for the `times`-th time. It has no effect if the slot
        has another delivery now."""
        self.memory[2 * SLOTS + entry.slot] = times
        self.memory[SLOTS + entry.slot] = entry.generation


def _new_file() -> int:
    """Make a file of the size of a table, in memory where the system has such files, and return its descriptor."""
    if sys.platform == "linux":
        fd = os.memfd_create("pyxqueue-inflight")
    else:
        with tempfile.TemporaryFile(prefix="pyxqueue-inflight-") as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, _SIZE)
    return fd


class Slots:
    """The worker's access to its table: it allocates and frees slots, and writes them. A table has only one."""

    def __init__(self, table: InFlightTable) -> None:
        self._memory = table.memory
        self._lock = table.lock
        self._free = list(range(SLOTS - 1, -1, -1))
        self._generations = [0] * SLOTS

    def room(self) -> int:
        return len(self._free)

    def add(  # noqa: PLR0917
        self,
        task_id: str,
        receipt: str,
        attempt: int,
        now: float,
        fence: int = 0,
        queue: int = 0,
        *,
        pinned: bool = False,
    ) -> int:
        """Add a delivery of a queue that was claimed at `now`, by `time.monotonic`, and return its slot. `pinned`: the
        delivery may wait without counting as stuck."""
        raw_id, raw_receipt = task_id.encode(), receipt.encode()
        if len(raw_id) + len(raw_receipt) > _SLOT - _HEADER.size:
            raise ConfigurationError(f"the broker's receipt {quoted(receipt)} is too long: shorten it in the backend")
        slot = self._free.pop()  # in one operation: another thread may free a slot meanwhile
        at = _MARKS + slot * _SLOT
        generation = self._generations[slot] % 255 + 1
        try:
            raw_fence = min(fence, _LARGEST_FENCE).to_bytes(16, "little")
            sizes = len(raw_id), len(raw_receipt)
            header = _HEADER.pack(now, 0.0, -1.0, attempt, raw_fence, *sizes, generation, queue)
        except BaseException:
            self._free.append(slot)
            raise
        self._generations[slot] = generation
        entry = header + raw_id + raw_receipt
        self._memory[at : at + len(entry)] = entry
        self._memory[SLOTS + slot] = 0
        self._memory[slot] = _PINNED if pinned else _WAITING
        return slot

    def wake_supervisor(self) -> None:
        """Wake the supervisor if it sleeps, so that it sees in time what waits here for too long."""
        (pid,) = _PID.unpack_from(self._memory, _SLEEPER)
        if pid and pid == os.getppid():  # else it is dead
            with suppress(OSError):  # this process may have dropped its privileges
                os.kill(pid, signal.SIGCHLD)

    def start(self, slot: int, now: float) -> bool:
        """Mark a delivery as running. Returns False if it was given back meanwhile."""
        with self._lock:
            if self._memory[slot] not in (_WAITING, _PINNED):
                return False
            struct.pack_into("<d", self._memory, _MARKS + slot * _SLOT, now)
            self._memory[slot] = _RUNNING
            return True

    def limit(self, slot: int, deadline: float, retry_delay_ms: float) -> None:
        """Set the time at which the supervisor kills the process if the delivery is still running."""
        struct.pack_into("<dd", self._memory, _MARKS + slot * _SLOT + 8, deadline, retry_delay_ms)

    def postpone(self, slot: int, seconds: float) -> None:
        """Move the deadline of a delivery, if it has one."""
        at = _MARKS + slot * _SLOT + 8
        (deadline,) = struct.unpack_from("<d", self._memory, at)
        if deadline > 0:
            struct.pack_into("<d", self._memory, at, deadline + seconds)

    def finish(self, slot: int) -> None:
        """Mark a delivery as done. It stays in flight until it is settled."""
        self._memory[slot] = _DONE

    def free(self, slot: int) -> None:
        """Free the slot of a delivery that is settled, lost or given back."""
        self._memory[slot] = _FREE
        self._free.append(slot)

    def cancels(self) -> list[tuple[int, int]]:
        """Return the slots whose delivery must be cancelled, and how often its task must be interrupted."""
        marks = self._memory[SLOTS : 2 * SLOTS]
        if not any(marks):
            return []
        return [
            (slot, self._memory[2 * SLOTS + slot])
            for slot, mark in enumerate(marks)
            if mark and mark == self._generations[slot]
        ]
