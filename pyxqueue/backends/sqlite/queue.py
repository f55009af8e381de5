"""One queue in a store's file: its groups, looked up and registered inside a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...clock import started_ms
from ...errors import ConfigurationError
from ...printable import quoted
from ...protocols import DEFAULT_LEASE_MS, StoreOptions
from .driver import Connection
from .group import Group, Tickets, count
from .rows import LARGEST, is_number
from .schema import ASKS_ALL, HISTORY, PAUSED, PAUSES_END
from .store import Store, Transaction

_COUNTERS = f"(SELECT ticket FROM counter), (SELECT max(seq) FROM task WHERE seq < {LARGEST // 2})"  # noqa: S608
"""The last ticket, and the largest number of a row. It is larger only if another program has written the row."""
_GROUPS = (
    f"SELECT name, key, lease, registered, finished, next, paused, {_COUNTERS} FROM consumer_group WHERE queue = ?"  # noqa: S608
)
_LAST = f"""SELECT coalesce(max(max(seq, ord, fence)), 0) FROM task WHERE typeof(ord) = 'integer'
    AND typeof(fence) = 'integer' AND max(seq, ord, fence) < {LARGEST // 2}"""  # noqa: S608 - our own words
_LONGEST_LEASE = 10**15
_LONGEST_NAME = 4_096
_REMOVED = "\0removed "
"""The prefix of the names of groups that were removed, and may have tasks left."""
NO_GROUP = -1
"""The key of a group that does not exist: no row has it."""


def is_name(name: object) -> bool:
    """Whether it can be the name of a queue or a group; no caller could ask for another one."""
    return type(name) is str and 0 < len(name) <= _LONGEST_NAME and "\ufffd" not in name


class Groups:
    """The groups of one queue as one transaction sees them."""

    def __init__(self, db: Connection, options: StoreOptions, clock: Callable[[], int]) -> None:
        self.db = db
        queue, self._name = options.stream_key, options.group
        self.now, self._started_ms = clock(), started_ms(clock)
        self._queue = queue
        found = db.execute(_GROUPS, (queue,))
        last, largest = found[0][7:] if found else db.execute(f"SELECT {_COUNTERS}")[0]
        lost = not is_number(last) or not last  # the file is new, or another program has written it
        if lost:
            last = db.execute(_LAST)[0][0]
        self.tickets = Tickets(max(last, largest or 0), lost)
        self._stored: dict[int, tuple[int, int]] = {}
        """By key, how large the history of a group is, and where its new tasks begin, as the file says."""
        self.all: dict[str, Group] = {}
        self.registered: set[str] = set()
        for name, key, lease, registered, history_size, first, paused, *_ in found:
            if is_name(name):
                self._stored[key] = history_size, first
                self.all[name] = self._group(key, lease, history_size, first)
                if is_number(paused, PAUSES_END):
                    self.all[name].paused, self.all[name].asks_all = bool(paused & PAUSED), bool(paused & ASKS_ALL)
                if registered and not name.startswith(_REMOVED):
                    self.registered.add(name)

    def _group(self, key: int, lease: int = DEFAULT_LEASE_MS, history_size: int = 0, first: int = 0) -> Group:
        """The group of a row, which another program may have written."""
        lease = lease if is_number(lease, _LONGEST_LEASE) and lease else DEFAULT_LEASE_MS
        first = first if is_number(first, self.tickets.last + 2) else 0
        group = Group(self.db, self.tickets, key, lease, history_size, first, self.now, self._started_ms)
        if not is_number(history_size):
            group.history_size = count(self.db, key, HISTORY)
        return group

    @property
    def mine(self) -> Group:
        """The handle's group; an empty one if it does not exist."""
        return self.all.get(self._name) or self._group(NO_GROUP)

    def make(self, name: str, *, registered: bool) -> Group:
        """The group, made if need be; not yet one that messages are copied into unless it is `registered`."""
        if name not in self.all:
            largest = "SELECT coalesce(max(key), 0) FROM consumer_group WHERE key < ?"
            self.tickets.last = max(self.tickets.last, self.db.execute(largest, (LARGEST // 2,))[0][0])
            key = self.tickets.next()
            self.db.execute(
                "INSERT INTO consumer_group VALUES (?, ?, ?, ?, 0, 0, ?, 0)",
                (key, self._queue, name, DEFAULT_LEASE_MS, key),
            )
            self.all[name] = self._group(key, first=key)
            self._stored[key] = 0, key
        group = self.all[name]
        if registered and name not in self.registered:
            self.db.execute("UPDATE consumer_group SET registered = 1 WHERE key = ?", (group.key,))
            self.registered.add(name)
        return group

    def set_paused(self, paused: bool) -> bool:
        """Pause the handle's group, or end its pause (L9). Returns whether that is a change."""
        group = self.mine
        changed, group.paused = group.paused is not paused, paused
        if changed:
            self._save_pauses(group)
        return changed

    def set_asks_all(self, asks_all: bool) -> None:
        """Note whether a task name is paused in the handle's group (L9)."""
        if self.mine.asks_all is not asks_all:
            self.mine.asks_all = asks_all
            self._save_pauses(self.mine)

    def _save_pauses(self, group: Group) -> None:
        bits = (PAUSED if group.paused else 0) | (ASKS_ALL if group.asks_all else 0)
        self.db.execute("UPDATE consumer_group SET paused = ? WHERE key = ?", (bits, group.key))

    def copies(self) -> list[Group]:
        """The groups that messages are copied into (B9)."""
        return [group for name, group in self.all.items() if name in self.registered]

    def remove(self, name: str) -> None:
        """Remove the group from the list; `clear` deletes what is in it."""
        if name not in self.registered:
            raise ConfigurationError(
                f"{quoted(self._queue)} has no group {quoted(name)}, only {sorted(self.registered)}"
            )
        key = self.all.pop(name).key
        self.registered.discard(name)
        self.db.execute("DELETE FROM consumer WHERE grp = ?", (key,))
        for table in (
            "lock",
            "gate_limit",
            "gate",
            "gated",
            "rate",
            "flow",
            "fair",
            "dependent",
            "statistic",
            "sender",
            "supervisor",
        ):
            self.db.execute(f"DELETE FROM {table} WHERE grp = ?", (key,))  # noqa: S608 - our own words
        self.db.execute("UPDATE consumer_group SET name = ?, registered = 0 WHERE key = ?", (f"{_REMOVED}{key}", key))

    @property
    def has_removed(self) -> bool:
        """Whether something is left for `clear`."""
        return any(name.startswith(_REMOVED) for name in self.all)

    def clear(self, limit: int) -> int:
        """Delete at most `limit` tasks of groups that were removed, and the groups that have none left."""
        for name in [name for name in self.all if name.startswith(_REMOVED)]:
            key = self.all[name].key
            seqs = self.db.execute("SELECT seq FROM task WHERE grp = ? LIMIT ?", (key, limit))
            if seqs:
                self.tickets.drawn = True  # the numbers of these rows are not used again
                self.db.executemany("DELETE FROM body WHERE seq = ?", seqs)
                for table in ("step", "parent"):
                    self.db.executemany(f"DELETE FROM {table} WHERE seq = ?", seqs)  # noqa: S608 - our own words
                self.db.executemany("DELETE FROM task WHERE seq = ?", seqs)
                return limit
            self.db.execute("DELETE FROM consumer_group WHERE key = ?", (key,))
            del self.all[name]
        return 0

    def close(self) -> None:
        """Write the counters, at the end of the transaction."""
        last = [(self.tickets.last,)]
        if self.tickets.drawn and not self.db.executemany("UPDATE counter SET ticket = ?", last):
            self.db.executemany("INSERT INTO counter VALUES (?)", last)
        for group in self.all.values():
            if (group.history_size, group.next) != self._stored[group.key]:
                self.db.execute(
                    "UPDATE consumer_group SET finished = ?, next = ? WHERE key = ?",
                    (group.history_size, group.next, group.key),
                )


class Queue:
    """One queue of a store, as a handle on one of its groups works with it."""

    def __init__(self, store: Store, options: StoreOptions, clock: Callable[[], int]) -> None:
        self.store = store
        self.options = options
        self.clock = clock
        self._joined = NO_GROUP

    @contextmanager
    def read(self) -> Iterator[Groups]:
        """A step that only reads."""
        with self.store.read() as db:
            yield Groups(db, self.options, self.clock)

    def write(self, *, join: bool = False, takes_in: bool = False) -> Step:
        """A step that writes: all of it, or nothing. `join` registers the handle's group, else it may be missing."""
        return Step(self, self.store.write(takes_in=takes_in), join)

    def clear(self, limit: int) -> int:
        """One step of `Groups.clear`."""
        with self.write() as groups:
            return groups.clear(limit)

    def join(self, groups: Groups) -> None:
        """Register the group, with this handle's lease if this is its first time here."""
        group, lease = groups.make(self.options.group, registered=True), self.options.lease_ms
        if group.key != self._joined and lease is not None and lease != group.lease:
            group.lease = lease
            groups.db.execute("UPDATE consumer_group SET lease = ? WHERE key = ?", (lease, group.key))

    def joined(self, groups: Groups) -> None:
        """The registration is stored."""
        self._joined = groups.mine.key

    def is_joined(self, groups: Groups) -> bool:
        """Whether this handle has registered its group already."""
        return self.options.group in groups.registered and groups.mine.key == self._joined


class Step:
    """A transaction that writes, as a context manager whose value is the groups."""

    __slots__ = ("_groups", "_join", "_queue", "_transaction")

    def __init__(self, queue: Queue, transaction: Transaction, join: bool) -> None:
        self._queue, self._transaction, self._join = queue, transaction, join

    def __enter__(self) -> Groups:
        queue, db = self._queue, self._transaction.__enter__()
        try:
            self._groups = groups = Groups(db, queue.options, queue.clock)
            if self._join:
                queue.join(groups)
        except BaseException as error:
            self._transaction.fail(error)
            raise
        return groups

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                self._groups.close()
            except BaseException as failed:
                self._transaction.fail(failed)
                raise
        self._transaction.__exit__(kind, error, trace)
        if self._join and error is None:
            self._queue.joined(self._groups)
