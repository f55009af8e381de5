"""The connections of one process to one file, transactions on them, and how to learn that the file was written.

A connection belongs to one call at a time and goes back to the pool after it. Nothing here waits inside SQLite, whose
own pauses for a lock grow to 100 ms: a short random pause and another try is both faster and fairer.

A task that runs out of time, or is cancelled, is interrupted wherever it is, so also in here: an exception is raised
after any call. What a transaction has is therefore noted in it, in statements without a call between them, so that all
of it happens or nothing; and a transaction that was interrupted gives it back when it is collected.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from attrs import frozen

from ...errors import BrokerError, BrokerUnavailableError, ConfigurationError, StoreFullError
from ...waking import Changed
from . import schema
from .driver import IOERR, PROTOCOL, SCHEMA, Connection, DriverError
from .faults import typed, vanished
from .libraries import Lookout
from .location import Location
from .opening import Opened, Opener, inode_of
from .process import PROCESS, Inode, Judged, has_locked

BUSY_LIMIT = 10.0
"""Seconds to try for a lock before the store counts as unavailable."""
_LONGEST_PAUSE = 0.004
_FORK_PATIENCE = 2 * BUSY_LIMIT


class Patience:
    """Random pauses that double from 0.5 ms, and a limit to all of them.

    They stay short: with eight writers at once the longest wait was a third of that with pauses of up to 20 ms.
    """

    def __init__(self, limit: float, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._end = time.monotonic() + limit
        self._pause = 0.0005

    def over(self) -> bool:
        return time.monotonic() >= self._end

    def pause(self) -> None:
        time.sleep(self._pause * (0.5 + self._chance()))
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause)


@frozen
class Mark:
    """A moment, to find out later whether the file was written since."""

    own: int
    version: tuple[int, int]


class Store:
    """One file, opened when it is first needed. It may be used from any number of threads, and across forks."""

    def __init__(self, location: Location, opener: Opener, busy_limit: float = BUSY_LIMIT) -> None:
        self.location = location
        self.opener = opener
        self._busy_limit = busy_limit
        self._lookout = Lookout(location.path) if opener.driver.name == "apsw" else None
        self._chance = random.Random().random  # noqa: S311 - jitter
        # Guards all below. It is notified when a connection comes back, a fork is over, or something was written.
        self.changed = Changed()
        self._all: list[Opened] = []
        self._idle: list[Opened] = []
        self._lent = 0
        self._mine = threading.local()
        """The last transaction of each thread."""
        self._epoch = 0
        self._forking = False
        self._own = 0
        self.wrote: Callable[[], None] | None = None
        """Called after each write."""
        self._ear: Opened | None = None
        self._listening = threading.Lock()
        self._version = (0, 0)
        weakref.finalize(self, _close_all, self._all)
        PROCESS.add(self)

    # Transactions

    def read(self) -> Transaction:
        """A transaction that only reads: all that it sees is of one moment."""
        return self._transaction("BEGIN")

    def write(self, *, takes_in: bool = False) -> Transaction:
        """A transaction. Once its block has ended, what it wrote survives the death of every process.

        Only one that `takes_in` something new raises `StoreFullError`: any other is worth another try.
        """
        return self._transaction("BEGIN IMMEDIATE", takes_in=takes_in)

    def _transaction(self, begin: str, *, takes_in: bool = False) -> Transaction:
        return Transaction(begin, takes_in, self._begin, self._end, self._fail)

    def _begin(self, transaction: Transaction) -> Connection:
        while True:
            try:
                opened = self._take(transaction)
                if self._lookout is not None:
                    self._lookout.check()
                opened.connection.execute(transaction.first)
                # With this first read, a transaction that only reads takes its lock. If the schema is another one, the
                # file is opened again, which shows whether it still is ours.
                if schema.number(opened.connection) != opened.schema:
                    raise DriverError(SCHEMA, "the schema has changed")
                return opened.connection
            except BaseException as error:
                tried = transaction.opened
                self._undo(transaction, error)
                if isinstance(error, ConfigurationError):
                    self.close()  # what is open must be closed before it is damaged
                if not isinstance(error, DriverError):
                    raise
                if not error.passing or not self._has_patience(transaction):
                    raise self._meant(error, tried, transaction.takes_in) from error

    def _has_patience(self, transaction: Transaction) -> bool:
        """Pause, unless the limit to all pauses of the transaction is reached."""
        if transaction.patience is None:
            transaction.patience = Patience(self._busy_limit, self._chance)
        if transaction.patience.over():
            return False
        transaction.patience.pause()
        return True

    def _end(self, transaction: Transaction) -> None:
        """Commit. Raises `BrokerUnavailableError` if the file is not at its path any longer."""
        opened = transaction.opened
        assert opened is not None
        try:
            self._commit(opened.connection, transaction)
        except BaseException as error:
            self._fail(transaction, error)
            raise
        here = inode_of(self.location.path) == opened.inode
        self._give_back(transaction, keep=here and transaction.epoch == self._epoch)
        if not here:
            raise self._vanished(opened)
        if transaction.first != "BEGIN":
            self._tell()

    def _commit(self, connection: Connection, transaction: Transaction) -> None:
        while True:
            try:
                connection.execute("COMMIT")
                return
            except DriverError as error:  # readers are still there; new ones are kept out
                if not error.busy or not self._has_patience(transaction):
                    raise

    def _fail(self, transaction: Transaction, error: BaseException) -> None:
        """Roll back. Raises the error to raise for one of SQLite."""
        opened = transaction.opened
        self._undo(transaction, error)
        if isinstance(error, DriverError):
            raise self._meant(error, opened, transaction.takes_in) from error

    def _undo(self, transaction: Transaction, error: BaseException) -> None:
        """Roll back, after an error."""
        if transaction.opened is not None:
            with suppress(DriverError):  # SQLite has already rolled back after some errors
                transaction.opened.connection.execute("ROLLBACK")
        keep = isinstance(error, DriverError) and error.busy and transaction.epoch == self._epoch
        self._give_back(transaction, keep=keep)
        if isinstance(error, DriverError) and error.code in (IOERR, PROTOCOL):
            self.close()  # a task may have closed SQLite's files, which it opens again once no connection is left

    def _meant(self, error: DriverError, opened: Opened | None, takes_in: bool) -> BrokerError:
        """The error to raise for one of SQLite."""
        if opened is not None and not error.passing and inode_of(self.location.path) != opened.inode:
            return self._vanished(opened)
        found = typed(error, self.location.path)
        return found if takes_in or not isinstance(found, StoreFullError) else BrokerUnavailableError(str(found))

    def _tell(self) -> None:
        with self.changed:
            self._own += 1
            self.changed.notify_all()
        if self.wrote is not None:
            self.wrote()

    def _vanished(self, opened: Opened) -> BrokerUnavailableError:
        path = self.location.path
        self.close()
        if opened.log is not None and inode_of(f"{path}-wal") == opened.log:
            for name in (f"{path}-wal", f"{path}-shm"):  # else SQLite would apply them to the file that is there now
                with suppress(OSError):
                    os.unlink(name)  # noqa: PTH108 - as everywhere here, a str
        return vanished(path)

    # Connections

    def _take(self, transaction: Transaction) -> Opened:
        """Lend the transaction a connection."""
        self._lend(transaction)
        if transaction.opened is None:
            self._open(transaction)
        assert transaction.opened is not None
        return transaction.opened

    def _lend(self, transaction: Transaction, *, idle: bool = True) -> None:
        """Have the next fork wait for the transaction, and lend it an `idle` connection if there is one."""
        self._end_what_was_left()
        self._mine.last = weakref.ref(transaction)
        with self.changed:
            while self._forking:
                self.changed.wait()
            # From here on without a call.
            self._lent += 1
            transaction.is_lent, transaction.epoch = True, self._epoch
            if idle and self._idle:
                transaction.opened = self._idle[-1]
                del self._idle[-1]

    def _end_what_was_left(self) -> None:
        """End a transaction of this thread that an interrupt has left open, and that the interrupt's traceback keeps: a
        thread has one at a time."""
        last: Callable[[], Transaction | None] | None = getattr(self._mine, "last", None)
        left = None if last is None else last()
        if left is not None and left.is_lent:
            left.fail(GeneratorExit())

    def _open(self, transaction: Transaction) -> None:
        with PROCESS.opening:  # until it is known to be open, no other store may read the file
            transaction.opened = opened = self.opener.open(self.location)
            self._all += (opened,)

    def _give_back(self, transaction: Transaction, *, keep: bool) -> None:
        """Take back the connection of a transaction, if it has one; close it, unless it is to be kept."""
        if transaction.opened is not None and not keep:
            self._discard(transaction.opened)
        with self.changed:
            if transaction.opened is not None and keep:
                self._idle += (transaction.opened,)
            transaction.opened = None
            self._lent -= transaction.is_lent
            transaction.is_lent = False
            if self._forking:
                self.changed.notify_all()

    def _discard(self, opened: Opened) -> None:
        with suppress(DriverError):
            opened.connection.close()
        with self.changed, suppress(ValueError):  # a fork that lost patience has closed it already
            self._all.remove(opened)

    def close(self) -> None:
        """Close the connections that are not in use, and the others when they come back. The store stays usable."""
        self._close_idle()
        with self._listening:
            self._close_ear()

    def _close_idle(self) -> None:
        with self.changed:
            self._epoch += 1
            idle, self._idle = self._idle, []
        for opened in idle:
            self._discard(opened)

    # Forks and other stores of the process

    def before_fork(self) -> None:
        """Let every transaction end, then close all connections. The lock is kept: a copy of it that another thread had
        locked would stay locked for ever."""
        end = time.monotonic() + _FORK_PATIENCE
        if not has_locked(self.changed):
            self.changed.acquire()
        self._forking = True
        while self._lent and time.monotonic() < end:
            with suppress(KeyboardInterrupt):  # Python ignores what such a hook raises, and forks all the same
                self.changed.wait(1.0)
        while self._all:
            with suppress(DriverError):
                self._all.pop().connection.close()
        self._idle.clear()
        self._ear = None
        self._epoch += 1

    def after_fork(self, *, child: bool) -> None:
        if child:
            self._listening = threading.Lock()  # a thread of the parent may have locked it
            self._lent = 0
            self.wrote = None  # its thread is in the parent
        self._forking = False
        if has_locked(self.changed):
            self.changed.notify_all()
            self.changed.release()

    def judged(self, inode: Inode) -> Judged | None:
        found = next((opened for opened in list(self._all) if opened.inode == inode), None)
        return None if found is None else Judged(self.opener.driver.name, found.wal)

    def about(self) -> Opened:
        """An open connection's facts: where the file is and how its journal is kept."""
        transaction = self._transaction("BEGIN")  # which has patience with a lock
        with transaction:
            opened = transaction.opened
        assert opened is not None
        return opened

    # News

    def mark(self) -> Mark:
        """Take a mark before looking; `news` then says whether to look again."""
        with self.changed:
            own = self._own
        return Mark(own, self._poll())

    def news(self, mark: Mark, seconds: float) -> bool:
        """Wait up to `seconds` for a write by this object, then return whether any process has written."""
        with self.changed:
            if self._own == mark.own and seconds > 0:
                self.changed.wait(seconds)
            if self._own != mark.own:
                return True
        return self._poll() != mark.version

    def _poll(self) -> tuple[int, int]:
        """A new value after a commit of any process; the old one while the file is locked."""
        lent = self._transaction("")
        with self._listening:
            try:
                self._lend(lent, idle=False)
                self._version = self._ask(lent)
            except DriverError as error:
                if not error.busy:
                    self._close_ear()
                    self._close_idle()
                    raise typed(error, self.location.path) from error
            finally:
                self._give_back(lent, keep=False)
            return self._version

    def _ask(self, lent: Transaction) -> tuple[int, int]:
        if self._ear is not None and inode_of(self.location.path) != self._ear.inode:
            self._close_ear()
        if self._ear is None:
            self._open(lent)
            self._ear, lent.opened = lent.opened, None
            self._version = (self._version[0] + 1, 0)  # the numbers of two connections cannot be compared
        assert self._ear is not None
        return self._version[0], self._ear.connection.execute("PRAGMA data_version")[0][0]

    def _close_ear(self) -> None:
        ear, self._ear = self._ear, None
        if ear is not None:
            self._discard(ear)


class Transaction:
    """One transaction of a store, as a context manager whose value is the connection. Its block runs once.

    A lock can be missing at the begin, which is tried again, and at the end, where COMMIT is: in between, the
    transaction has every lock that it needs. Raises `BrokerUnavailableError` if the file stays locked beyond the
    limit, else what `typed` returns.
    """

    # A class, not a generator: it is entered with every call.
    __slots__ = (
        "__weakref__",
        "_begin",
        "_end",
        "_fail",
        "epoch",
        "first",
        "is_lent",
        "opened",
        "patience",
        "takes_in",
    )

    def __init__(
        self,
        first: str,
        takes_in: bool,
        begin: Callable[[Transaction], Connection],
        end: Callable[[Transaction], None],
        fail: Callable[[Transaction, BaseException], None],
    ) -> None:
        self.first, self.takes_in = first, takes_in
        self._begin, self._end, self._fail = begin, end, fail
        self.opened: Opened | None = None
        """The connection while the transaction lasts."""
        self.is_lent = False
        """Whether a fork waits for it."""
        self.epoch = 0
        """The one in which the connection was taken."""
        self.patience: Patience | None = None
        """From the first lock that was missing on."""

    def __enter__(self) -> Connection:
        return self._begin(self)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            self._end(self)
        else:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End it after an error in its block, and raise another error if that is one of SQLite."""
        self._fail(self, error)

    def __del__(self) -> None:
        if getattr(self, "is_lent", False):  # an interrupt came before or behind its block, or in `__init__`
            self.fail(GeneratorExit())


def _close_all(opened: list[Opened]) -> None:
    while opened:
        with suppress(DriverError):
            opened.pop().connection.close()
