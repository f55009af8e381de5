"""The deliveries that one worker process has in flight, in memory that its supervisor can read.

The process writes, the supervisor reads. So the supervisor, which runs no user code, can renew leases while a task
keeps the interpreter busy, and it knows after a death what was running and what had only been claimed.

One decision is contended: the process wants to start a delivery, the supervisor wants to hand it back because the
process is stuck on another one. Both take the same lock, so no delivery is both started and handed back.
"""

from __future__ import annotations

import fcntl
import mmap
import multiprocessing
import os
import struct
import tempfile
import threading
import time
from collections.abc import Iterable
from typing import Protocol, cast

from attrs import frozen

from .errors import ConfigurationError
from .printable import quoted

SLOTS = 1024
"""Deliveries that one process can have in flight."""
STUCK = 0.05
"""Seconds a delivery may wait in a worker that is busy with others before all that waits there is handed back."""
_FREE, _WAITING, _PINNED, _RUNNING, _DONE, _TAKEN = range(6)
_HEADER = struct.Struct("<dddI16sHHB")
_LARGEST_FENCE = 2**128 - 1
_SLOT = 512
_MARKS = 3 * SLOTS
"""In front: the state of each slot, the delivery that is to be cancelled, and how often it is to be told."""
_START = _MARKS + SLOTS * _SLOT
"""Behind them: whether the process has started, and what it says about that, with its length in front."""
_START_SIZE = 16_384
_SIZE = _START + _START_SIZE
_OURS = (_WAITING, _PINNED, _RUNNING, _DONE)
_PATIENCE = 0.05


@frozen
class InFlight:
    """One delivery in the table."""

    slot: int
    generation: int
    """Tells this use of the slot from the next one."""
    task_id: str
    receipt: str
    attempt: int
    fence: int
    running: bool
    waiting: bool
    """Claimed, and not started."""
    retry_delay_ms: float
    """What follows if it is killed then: ms until the next attempt, or negative for failure."""


class Lock(Protocol):
    """What a table needs of a lock: `threading.Lock` and `multiprocessing.Lock` have it."""

    def acquire(self, block: bool = ..., timeout: float = ...) -> bool: ...

    def release(self) -> None: ...

    def __enter__(self) -> bool: ...

    def __exit__(self, *error: object) -> None: ...


class FileLock:
    """A lock between processes that only share an open file. The kernel releases it if its holder dies."""

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
            except OSError:  # the other process has it; a file lock cannot be waited for with a limit
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
    """What a process says about its start: the process writes, the supervisor reads."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def say(self, text: str, *, done: bool = False) -> None:
        """What it does now in order to start, or why it cannot; `done`: it can work."""
        told = text.encode(errors="backslashreplace")[: _START_SIZE - 3]
        self._memory[_START + 1 : _START + 3 + len(told)] = struct.pack("<H", len(told)) + told
        self._memory[_START] = done

    @property
    def done(self) -> bool:
        return bool(self._memory[_START])

    def text(self) -> str:
        """What it said last."""
        (size,) = struct.unpack_from("<H", self._memory, _START + 1)
        return self._memory[_START + 3 : _START + 3 + size].decode(errors="replace")


class InFlightTable:
    """A fixed number of slots, in memory that this process may share with another one.

    Its methods are for the supervisor, which reads it; the worker writes through `Slots`.
    """

    def __init__(self, fd: int | None = None, lock: Lock | None = None) -> None:
        """`fd`: an open file made by `shared`; None is memory that only forked processes share. `lock`: None is a lock
        for the threads of this process, or for the processes that have the file."""
        self._fd = fd
        self.memory = mmap.mmap(-1 if fd is None else fd, _SIZE)
        own: Lock = cast(Lock, threading.Lock()) if fd is None else FileLock(fd)
        self.lock = own if lock is None else lock
        self.start = Start(self.memory)

    @classmethod
    def shared(cls) -> InFlightTable:
        """A table that any process can map that is given `fd`."""
        with tempfile.TemporaryFile(prefix="pyxqueue-inflight-") as file:
            file.truncate(_SIZE)
            return cls(os.dup(file.fileno()))

    @classmethod
    def forked(cls) -> InFlightTable:
        """A table for this process and those it forks; its lock, a semaphore, costs next to nothing while free."""
        return cls(lock=cast(Lock, multiprocessing.get_context("fork").Lock()))

    @property
    def fd(self) -> int:
        if self._fd is None:
            raise ConfigurationError("this table is not in a file")
        return self._fd

    def close(self) -> None:
        self.memory.close()
        if self._fd is not None:
            os.close(self._fd)

    def busy(self) -> bool:
        return any(self.memory[:SLOTS])

    def entries(self) -> list[InFlight]:
        """All that is in flight now."""
        states = self.memory[:SLOTS]
        if not any(states):
            return []
        return [self._read(slot, state) for slot, state in enumerate(states) if state in _OURS]

    def _read(self, slot: int, state: int) -> InFlight:
        at = _MARKS + slot * _SLOT
        header = _HEADER.unpack_from(self.memory, at)
        _, _, delay, attempt, fence, id_size, receipt_size, generation = header
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
        )

    def runs(self, entry: InFlight) -> bool:
        """Whether this delivery still runs."""
        now = self._read(entry.slot, self.memory[entry.slot])
        return now.running and now.generation == entry.generation

    def stuck(self, now: float, seconds: float) -> bool:
        """Whether something has waited here for longer than `seconds` while something else runs."""
        states = self.memory[:SLOTS]
        if _WAITING not in states or _RUNNING not in states:
            return False
        waiting = (slot for slot, state in enumerate(states) if state == _WAITING)
        return now - min(self._times(slot)[0] for slot in waiting) > seconds

    def overdue(self, now: float) -> list[InFlight]:
        """What runs beyond its hard time limit."""
        states = self.memory[:SLOTS]
        if _RUNNING not in states:
            return []
        return [
            self._read(slot, state)
            for slot, state in enumerate(states)
            if state == _RUNNING and 0 < self._times(slot)[1] <= now
        ]

    def _times(self, slot: int) -> tuple[float, float]:
        """When it was claimed or, if it runs, started, and when its process is to be killed (0: never).

        By `time.monotonic`, which all processes of a machine share.
        """
        started, deadline = struct.unpack_from("<dd", self.memory, _MARKS + slot * _SLOT)
        return started, deadline

    def take_back(self, slots: Iterable[int]) -> list[InFlight]:
        """Claim unstarted deliveries for handing them back; those that were started in the meantime are left out.

        Also empty if the other process was stopped while it had the lock: the caller must not wait for that.
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

    def ask_cancel(self, entry: InFlight, times: int = 1) -> None:
        """Have the task of this delivery told `times` times to stop; without effect if the slot has another by now."""
        self.memory[2 * SLOTS + entry.slot] = times
        self.memory[SLOTS + entry.slot] = entry.generation


class Slots:
    """The worker's hand on its table, of which there is one: which slots are free, and what is in the others."""

    def __init__(self, table: InFlightTable) -> None:
        self._memory = table.memory
        self._lock = table.lock
        self._free = list(range(SLOTS - 1, -1, -1))
        self._generations = [0] * SLOTS

    def room(self) -> int:
        return len(self._free)

    def add(self, task_id: str, receipt: str, attempt: int, now: float, fence: int = 0, *, pinned: bool = False) -> int:
        """Note a delivery that was claimed at `now`, by `time.monotonic`, and return its slot. `pinned`: it may wait
        here without counting as stuck."""
        raw_id, raw_receipt = task_id.encode(), receipt.encode()
        if len(raw_id) + len(raw_receipt) > _SLOT - _HEADER.size:
            raise ConfigurationError(f"the broker's receipt {quoted(receipt)} is too long")
        slot = self._free.pop()  # at once: another thread may free one meanwhile
        at = _MARKS + slot * _SLOT
        generation = self._generations[slot] % 255 + 1
        try:
            raw_fence = min(fence, _LARGEST_FENCE).to_bytes(16, "little")
            sizes = len(raw_id), len(raw_receipt)
            _HEADER.pack_into(self._memory, at, now, 0.0, -1.0, attempt, raw_fence, *sizes, generation)
        except BaseException:
            self._free.append(slot)
            raise
        self._generations[slot] = generation
        at += _HEADER.size
        self._memory[at : at + len(raw_id) + len(raw_receipt)] = raw_id + raw_receipt
        self._memory[SLOTS + slot] = 0
        self._memory[slot] = _PINNED if pinned else _WAITING
        return slot

    def start(self, slot: int, now: float) -> bool:
        """Mark it as running; False if it was handed back in the meantime."""
        with self._lock:
            if self._memory[slot] not in (_WAITING, _PINNED):
                return False
            struct.pack_into("<d", self._memory, _MARKS + slot * _SLOT, now)
            self._memory[slot] = _RUNNING
            return True

    def limit(self, slot: int, deadline: float, retry_delay_ms: float) -> None:
        """Have the process killed at `deadline` if this is still running then."""
        struct.pack_into("<dd", self._memory, _MARKS + slot * _SLOT + 8, deadline, retry_delay_ms)

    def postpone(self, slot: int, seconds: float) -> None:
        """Move the deadline, if it has one."""
        at = _MARKS + slot * _SLOT + 8
        (deadline,) = struct.unpack_from("<d", self._memory, at)
        if deadline > 0:
            struct.pack_into("<d", self._memory, at, deadline + seconds)

    def finish(self, slot: int) -> None:
        """It ran; it stays in flight until it is settled."""
        self._memory[slot] = _DONE

    def free(self, slot: int) -> None:
        """It is settled, lost or handed back."""
        self._memory[slot] = _FREE
        self._free.append(slot)

    def cancels(self) -> list[tuple[int, int]]:
        """The slots whose present delivery is to be cancelled, and how often its task is to be told."""
        marks = self._memory[SLOTS : 2 * SLOTS]
        if not any(marks):
            return []
        return [
            (slot, self._memory[2 * SLOTS + slot])
            for slot, mark in enumerate(marks)
            if mark and mark == self._generations[slot]
        ]
