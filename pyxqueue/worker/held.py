"""What one worker process holds, in memory that its supervisor can read.

The process writes, the supervisor reads; that is how the supervisor, which runs no user code, renews leases while a
task keeps the interpreter busy, and how it knows after a death what was running and what merely waited.

One decision is contended: the process wants to start a message, the supervisor wants to hand it back because the
process is stuck on another one. Both take the same lock, so a message is never started and handed back.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from ..errors import ConfigurationError

SLOTS = 1024
"""Deliveries one process can hold."""
_FREE, _HELD, _RUNNING, _DONE, _TAKEN = range(5)
_HEADER = struct.Struct("<dddIHHB")
_SLOT = 512
_SIZE = 2 * SLOTS + SLOTS * _SLOT


@frozen
class Holding:
    """One delivery in the table."""

    slot: int
    generation: int
    """Tells this use of the slot from the next one."""
    task_id: str
    receipt: str
    attempt: int
    running: bool
    waiting: bool
    """Claimed, and not started."""
    started: float
    """When it was started (`time.monotonic`, which all processes of a machine share)."""
    deadline: float
    """When its process is to be killed (`time.monotonic`), 0 for never."""
    retry_delay: float
    """What follows if it is killed then: ms until the next attempt, or negative for burial."""


class HeldTable:
    """A fixed number of slots, in anonymous shared memory or in a file that a child process maps too."""

    def __init__(self, fd: int | None = None) -> None:
        """`fd`: an open file made by `shared`; None is private to this process (its threads share it)."""
        self._fd = fd
        self._memory = mmap.mmap(-1 if fd is None else fd, _SIZE)
        self._mutex = threading.Lock()
        self._free = list(range(SLOTS - 1, -1, -1))
        self._generations = [0] * SLOTS

    @classmethod
    def shared(cls) -> HeldTable:
        """A table that child processes can map, through `fd`."""
        with tempfile.TemporaryFile(prefix="pyxqueue-held-") as file:
            file.truncate(_SIZE)
            return cls(os.dup(file.fileno()))

    @property
    def fd(self) -> int:
        if self._fd is None:
            raise ConfigurationError("this table is private to its process")
        return self._fd

    def close(self) -> None:
        self._memory.close()
        if self._fd is not None:
            os.close(self._fd)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex:
            if self._fd is None:
                yield
                return
            fcntl.lockf(self._fd, fcntl.LOCK_EX)  # the kernel releases it if we die
            try:
                yield
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)

    # The process that holds the deliveries

    def room(self) -> int:
        return len(self._free)

    def hold(self, task_id: str, receipt: str, attempt: int) -> int:
        """Note a delivery that was claimed; answers its slot."""
        slot = self._free.pop()
        raw_id, raw_receipt = task_id.encode(), receipt.encode()
        if len(raw_id) + len(raw_receipt) > _SLOT - _HEADER.size:
            self._free.append(slot)
            raise ConfigurationError(f"the broker's receipt {receipt!r} is too long")
        at = 2 * SLOTS + slot * _SLOT
        generation = self._generations[slot] % 255 + 1
        self._generations[slot] = generation
        _HEADER.pack_into(self._memory, at, 0.0, 0.0, -1.0, attempt, len(raw_id), len(raw_receipt), generation)
        at += _HEADER.size
        self._memory[at : at + len(raw_id) + len(raw_receipt)] = raw_id + raw_receipt
        self._memory[SLOTS + slot] = 0
        self._memory[slot] = _HELD
        return slot

    def start(self, slot: int, now: float) -> bool:
        """Mark it as running; False if it was handed back in the meantime."""
        with self._locked():
            if self._memory[slot] != _HELD:
                return False
            struct.pack_into("<d", self._memory, 2 * SLOTS + slot * _SLOT, now)
            self._memory[slot] = _RUNNING
            return True

    def limit(self, slot: int, deadline: float, retry_delay: float) -> None:
        """Have the process killed at `deadline` if this is still running then."""
        struct.pack_into("<dd", self._memory, 2 * SLOTS + slot * _SLOT + 8, deadline, retry_delay)

    def finish(self, slot: int) -> None:
        """It ran; it stays held until it is settled."""
        self._memory[slot] = _DONE

    def free(self, slot: int) -> None:
        """It is settled, lost or handed back."""
        self._memory[slot] = _FREE
        self._free.append(slot)

    def cancels(self) -> list[int]:
        """Slots whose present delivery somebody asked to cancel."""
        marks = self._memory[SLOTS : 2 * SLOTS]
        if not any(marks):
            return []
        return [slot for slot, mark in enumerate(marks) if mark and mark == self._generations[slot]]

    # Whoever keeps the leases

    def busy(self) -> bool:
        return any(self._memory[:SLOTS])

    def holdings(self) -> list[Holding]:
        """All that is held now."""
        states = self._memory[:SLOTS]
        if not any(states):
            return []
        return [self._read(slot, state) for slot, state in enumerate(states) if state in (_HELD, _RUNNING, _DONE)]

    def _read(self, slot: int, state: int) -> Holding:
        at = 2 * SLOTS + slot * _SLOT
        header = _HEADER.unpack_from(self._memory, at)
        started, deadline, delay, attempt, id_size, receipt_size, generation = header
        at += _HEADER.size
        raw = self._memory[at : at + id_size + receipt_size]
        return Holding(
            slot=slot,
            generation=generation,
            task_id=raw[:id_size].decode(),
            receipt=raw[id_size:].decode(),
            attempt=attempt,
            running=state == _RUNNING,
            waiting=state == _HELD,
            started=started,
            deadline=deadline,
            retry_delay=delay,
        )

    def take_back(self, slot: int) -> Holding | None:
        """Claim an unstarted delivery for handing it back; None if it was started in the meantime."""
        with self._locked():
            if self._memory[slot] != _HELD:
                return None
            self._memory[slot] = _TAKEN
            return self._read(slot, _HELD)

    def ask_cancel(self, holding: Holding) -> None:
        """Have this delivery cancelled; without effect if its slot has another one by now."""
        self._memory[SLOTS + holding.slot] = holding.generation
