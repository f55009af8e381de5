"""The `Inspector` protocol on Redis."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Struct

from ...batching import adoption_size, batches
from ...clock import deadline_after, is_over
from ...errors import BrokerError, BrokerUnavailableError, ConfigurationError
from ...model.message import ConsumerInfo, Depth, Message, TaskInfo, TaskStatus, Unreadable, check_adoptable
from ...model.places import Place, PlacePage
from ...printable import quoted, sized
from . import commands
from .keys import LIVE, QUEUE_PATTERN, GroupKeys, live_of, meta
from .places import held_by, page
from .reading import entry_fence, message_in, pairs, task_info
from .registration import Registration, confirming, flags
from .results import look
from .steps import Steps, call
from .watch import Notifier

if TYPE_CHECKING:
    from ...model.failed import Dropped, FailedLimits

_PAGE = 256
_HELD = 4_000
"""Tasks in flight whose holders one request returns."""
_SCAN, _MAX_SCANNED = 1_000, 1_000_000
"""Keys that one SCAN looks at, and a whole look for queues."""
ENDED = ("f", "h")
"""The places of ended tasks, as in the value of a task."""
_Position: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^\([0-9]{1,20}-[0-9]{1,20}\Z")]
"""Where a walk over a stream goes on: before that entry, since it goes backwards."""
_ENTRY = re.compile(rb"[0-9]{1,19}-[0-9]{1,19}")


class Found(Struct, frozen=True):
    """An entry found by a walk over the streams."""

    place: str
    entry: str
    task_id: str
    flat: Sequence[bytes]


class RedisInspector:
    """The `Inspector` protocol."""

    def __init__(self, registration: Registration, notifier: Notifier) -> None:
        self._registration = registration
        self._session = registration.session
        self._options = registration.options
        self._notifier = notifier

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return self._session.run(show(self._registration, ids))

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return self._session.run(watch(self._registration, self._notifier, task_id, seen, timeout_ms))

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return self._session.run(cancel(self._registration, ids, force))

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._requeue(ids, rejoins=False)

    def rejoin(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._requeue(ids, rejoins=True)

    def _requeue(self, ids: Sequence[str], *, rejoins: bool) -> Sequence[bool]:
        group = self._options.group
        found = [
            (task_id, info is not None and isinstance(info.message, Unreadable))
            for task_id, info in zip(ids, self.show(ids), strict=True)
        ]
        return self._session.run(
            self._registration.each(
                found,
                lambda keys, batch: commands.requeue(keys, group, batch, rejoins=rejoins),
                run=confirming(self._registration, ids),
            )
        )

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        if self._registration.recent is not None:
            self._registration.recent.forget(ids)
        return self._session.run(flags(self._registration, "delete", ids))

    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        from .dropping import drop_failed  # noqa: PLC0415 - few queues have limits for failed tasks

        return self._session.run(drop_failed(self._registration, limits, count))

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        check_adoptable(tasks)
        self._registration.use([task.message for task in tasks])
        run = confirming(self._registration, (task.id for task in tasks))  # the store that they come from deletes them
        return self._session.run(self._registration.each(tasks, commands.adopt, adoption_size, run=run))

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        position = _positions(cursor)
        if not cursor:
            self._registration.repaired(self._registration.read_classes)
        places = _places(state, self._registration.keys)
        walk = heapq.merge(
            *(self._entries(place, position.get(place, ""), state, count) for place in places),
            key=lambda found: -entry_fence(found.entry),
        )
        page: list[TaskInfo] = []
        found: list[Found] = []
        for one in walk:
            found.append(one)
            if len(found) + len(page) >= count:
                self._take(found, state, position, page)
                if len(page) >= count:
                    return page, msgspec.json.encode(position).decode()
        self._take(found, state, position, page)
        return page, ""

    def _take(
        self, found: list[Found], state: TaskStatus | None, position: dict[str, str], page: list[TaskInfo]
    ) -> None:
        """Show what the walk has found, add what has the wanted state to the page, and move the positions on."""
        for one, shown in zip(found, self.show([one.task_id for one in found]), strict=True):
            position[one.place] = f"({one.entry}"
            info = shown
            if one.place in ENDED and (info is None or not info.status.ended or info.message is None):
                left = task_info(one.task_id, {b"entry": one.entry.encode()}, one.flat)  # what its entry alone says
                info = info if left is None and info is not None and info.status.ended else left
            if info is not None and state in (None, info.status):
                page.append(info)
        found.clear()

    def _entries(self, place: str, end: str, state: TaskStatus | None, count: int) -> Iterator[Found]:
        """The entries of one stream that may be in the wanted state, newest first, from `end` or the newest on."""
        stream = self._registration.keys.places[place]
        end = end or self._registration.repaired(lambda: self._newest(place, state))
        size = min(count, _PAGE)
        while end != "0-0":
            found = self._session.execute("XREVRANGE", stream, end, "-", "COUNT", size)
            for raw, flat in found:
                message = message_in(raw, flat)
                if _may_be(state, place, message, flat):
                    yield Found(place, raw.decode(), message.id, flat)
            if len(found) < size:
                return
            end, size = f"({found[-1][0].decode()}", min(2 * size, _PAGE)

    def _newest(self, place: str, state: TaskStatus | None) -> str:
        """The entry from which on to look for tasks of a state."""
        if state is TaskStatus.STARTED:
            return self._registration.handed_out(place)[0]
        if state is TaskStatus.FAILURE and place == "h":  # mostly there are none
            found = self._session.execute("HGET", self._registration.keys.meta, f"failure:{self._options.group}") or b""
            return found.decode() if _ENTRY.fullmatch(found) else "0"
        return "+"

    def page(self, place: Place, cursor: str, count: int, peek: int) -> PlacePage:
        return self._session.run(page(self._registration, place, cursor, count, peek))

    def consumers(self) -> Sequence[ConsumerInfo]:
        self._registration.repaired(self._registration.read_classes)
        return self._registration.repaired(self._consumers)

    def _consumers(self) -> list[ConsumerInfo]:
        idle: dict[bytes, int] = {}
        held: dict[bytes, list[str]] = {}
        pending = 0
        for place in live_of(self._registration.keys.classes):
            stream = self._registration.keys.places[place]
            known = [pairs(flat) for flat in self._session.execute("XINFO", "CONSUMERS", stream, self._options.group)]
            for one in known:
                name, silent = one[b"name"], int(one[b"idle"])
                idle[name] = min(silent, idle.get(name, silent))
            pending += sum(int(one[b"pending"]) for one in known)
        if pending:
            for owner, task_id in self._held():
                held.setdefault(owner, []).append(task_id)
        return [
            ConsumerInfo(name.decode(errors="backslashreplace"), silent, tuple(held.get(name, ())))
            for name, silent in idle.items()
        ]

    def _held(self) -> Iterator[tuple[bytes, str]]:
        """The consumer and the id of each task in flight."""
        steps = held_by(self._registration, _HELD)
        position: tuple[int, bytes] | None = (0, b"")
        while position is not None:
            found, position = self._session.run(steps(position))
            yield from found

    def queues(self, limit: int) -> tuple[Sequence[str], bool]:
        """The names of at most `limit` queues on the server, and whether these are all. They are found by their meta
        keys; at most a million keys are looked at."""
        found: set[str] = set()
        complete = False
        for keys in self._meta_keys():
            found.update(key[1:].rpartition(b"}:")[0].decode(errors="replace") for key in keys or ())
            complete = keys is None
            if len(found) > limit:
                break
        named = sorted(name for name in found if QUEUE_PATTERN.fullmatch(name))
        return named[:limit], complete and len(named) <= limit

    def _meta_keys(self) -> Iterator[Sequence[bytes] | None]:
        """The keys that look like a queue's meta key, in parts; None at the end if these are all."""
        session, pattern = self._session, meta("*")
        if session.config.is_cluster:
            yield self._scan(pattern)
            yield None
            return
        cursor = 0
        for _ in range(_MAX_SCANNED // _SCAN):
            cursor, keys = session.execute("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN)
            yield keys
            if int(cursor) == 0:
                yield None
                return

    def about(self) -> Mapping[str, str]:
        """Which server it is, and those of its settings that decide whether tasks survive a crash."""
        try:
            facts = self._near("INFO")
        except BrokerUnavailableError:
            raise
        except BrokerError:  # an ACL may forbid it
            return {"server": "unknown: this user may not run INFO"}
        name = str(facts.get("server_name", "redis"))
        version = facts.get(f"{name}_version") or facts.get("redis_version", "of unknown version")
        policy = str(facts.get("maxmemory_policy", "unknown"))
        durability = self._session.config.durability
        return {
            "server": f"{name} {version}",
            "memory": _memory(facts),
            "persistence": self._persistence(bool(facts.get("aof_enabled"))),
            **({} if durability.word == "normal" else {"durability": durability.told}),
            "eviction": policy if policy == "noeviction" else f"{policy}: the server may drop tasks, set noeviction",
        }

    def _persistence(self, append_only: bool) -> str:
        """What a crash of the server loses, by the settings of its append-only file and its snapshots."""

        def setting(name: str) -> str | None:
            try:
                return str(self._near("CONFIG GET", name)[name])
            except BrokerUnavailableError:
                raise
            except (BrokerError, KeyError, TypeError):  # an ACL, or the provider of the server, may forbid it
                return None

        if append_only:
            match setting("appendfsync"):
                case "always":
                    return "append-only file: a crash loses nothing"
                case "everysec":
                    return "append-only file: a crash loses about the last second"
                case _:
                    return "append-only file: a crash loses its last writes"
        match setting("save"):
            case None:
                return "no append-only file; snapshots are not known: this user may not run CONFIG GET"
            case "":
                return "none: a crash or a restart loses everything, set appendonly yes"
            case _:
                return "snapshots only: a crash loses what came after the last one, set appendonly yes"

    def depth(self) -> Depth:
        counts = self._registration.do(commands.depth)
        entries, in_flight, delayed, failed, history, blocked, dependent, due, oldest = counts
        return Depth(
            ready=entries - in_flight,
            in_flight=in_flight,
            delayed=delayed,
            failed=failed,
            history=history,
            oldest_ms=max(0, oldest),
            blocked=blocked,
            dependent=dependent,
            due=due,
        )

    def _near(self, *args: str) -> Any:
        """Run a command that has no key, on the server that has the queue."""
        return self._session.execute_near(meta(self._options.stream_key), *args)

    def groups(self) -> Sequence[str]:
        return list(self._registration.look().streams)

    def remove_group(self, group: str) -> None:
        session, registration = self._session, self._registration
        keys = registration.look().streams.get(group)
        if keys is None:
            raise ConfigurationError(
                f"{quoted(self._options.stream_key)} has no group {quoted(group)}, only {self.groups()}"
            )
        session.run(call(commands.unregister(self._options.stream_key, group)))
        registration.refresh()
        pattern = "".join(f"\\{char}" if char in "*?[]\\" else char for char in keys.prefix) + ":*"
        fixed = {key.encode() for key in keys.own}
        for found in batches([key for key in self._scan(pattern) if key not in fixed]):
            session.execute("DEL", *found)
        notes = session.guard(lambda: list(session.client.hscan_iter(keys.notes, match="waiters:*", count=_SCAN)))
        for ids in batches([name.decode().removeprefix("waiters:") for name, _ in notes]):
            session.run(call(commands.tell(keys, ids)))
        session.execute("DEL", *keys.own)

    def _scan(self, pattern: str) -> list[bytes]:
        """All keys of the server that match."""
        session = self._session
        return session.guard(lambda: list(session.client.scan_iter(match=pattern, count=_SCAN)))


def show(registration: Registration, ids: Sequence[str]) -> Steps[list[TaskInfo | None]]:
    return registration.each(ids, lambda keys, batch: commands.show(keys, registration.options.group, batch))


def watch(
    registration: Registration, notifier: Notifier, task_id: str, seen: TaskInfo | None, timeout_ms: int | None
) -> Steps[TaskInfo | None]:
    deadline, over = deadline_after(timeout_ms), timeout_ms == 0
    with notifier.watching([task_id]) as (inbox, channel):
        while True:
            yield from look(registration, [task_id], channel.name, deadline)  # leaves the channel
            (info,) = yield from show(registration, [task_id])
            if over or info is None or info.differs(seen):
                return info
            yield notifier.sleep(inbox, channel, deadline)
            over = is_over(deadline)  # a last look: what would wake no waiter is seen all the same


def cancel(registration: Registration, ids: Sequence[str], force: bool) -> Steps[list[bool]]:
    return flags(registration, "cancel", ids, registration.options.history, int(force))


def _memory(facts: Mapping[str, Any]) -> str:
    """How much memory the server uses, of how much."""
    used, limit = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
    return f"{sized(used)}, {used / limit:.0%} of its limit of {sized(limit)}" if limit else f"{sized(used)}, no limit"


def _positions(cursor: str) -> dict[str, str]:
    """Where to go on in each place. Raises `ConfigurationError` for what is not a cursor."""
    try:
        found = msgspec.json.decode(cursor, type=dict[str, _Position]) if cursor else {}
        numbers = [tuple(map(int, position[1:].split("-"))) for position in found.values()]
        if not found.keys() <= {*LIVE, "d", *ENDED} or not all(pair > (0, 0) and max(pair) < 2**64 for pair in numbers):
            raise ValueError("it leads nowhere")
    except (ValueError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{quoted(cursor)} is not a cursor that `tasks` has answered") from error
    return found


def _places(state: TaskStatus | None, keys: GroupKeys) -> Sequence[str]:
    """The places where tasks of a state are."""
    match state:
        case None:
            return (*live_of(keys.classes), "d", *ENDED)
        case TaskStatus.PENDING | TaskStatus.RETRY:
            return (*live_of(keys.classes), "d")
        case TaskStatus.STARTED:
            return live_of(keys.classes)
        case TaskStatus.FAILURE:
            return ENDED
        case _:
            return ("h",)


def _may_be(state: TaskStatus | None, place: str, message: Message | Unreadable, flat: Sequence[bytes]) -> bool:
    """Whether an entry may be in the wanted state, as far as it says alone."""
    if state in (TaskStatus.PENDING, TaskStatus.RETRY):
        return (message.attempt > 1) is (state is TaskStatus.RETRY)
    if state is None or place != "h":
        return True
    return pairs(flat).get(b"_state", b"%d" % state) == b"%d" % state
