"""The harness of the Redis backend: time is moved by making everything that is stored older."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping
from typing import Any

import fakeredis
import redis
from redis.crc import key_slot

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, RedisResults
from pyxqueue.backends.redis.keys import GroupKeys, live_of, meta, presence_keys
from pyxqueue.backends.redis.reading import entry_fence, read_classes, read_paused
from pyxqueue.model.statistics import MINUTE, minute_slot, ten_slot
from pyxqueue.protocols import StoreOptions

from .left_over import in_redis

_FAKE = fakeredis.FakeServer()


def fake_client() -> fakeredis.FakeRedis:
    """A client of the one fake server of this process, which is empty then.

    A server for each test would stay until the process ends: its interpreter of Lua and its functions hold each other.
    """
    client = fakeredis.FakeRedis(server=_FAKE, protocol=2)
    client.flushall()
    return client


class RedisHarness:
    """A fresh queue on the server that a client knows, or in a cluster; when it is closed, its keys are gone.

    What the harness itself does with the server is done as `admin`, if the backend may not do so much.
    """

    lease = 60_000

    def __init__(self, place: redis.Redis | ConnectionConfig, admin: ConnectionConfig | None = None) -> None:
        self.stream_key = f"kit-{uuid.uuid4().hex}"
        self.config = place if isinstance(place, ConnectionConfig) else ConnectionConfig.from_client(place)
        self.admin = admin or self.config
        self.raw: Any = self.admin.open(timeout=10, retries=0)
        self.opened: list[RedisBackend | RedisResults] = []
        self.others: list[RedisHarness] = []
        self.advanced = 0

    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> RedisBackend:
        options = StoreOptions(self.stream_key, group, self.lease if lease is None else lease, history)
        backend = RedisBackend(self.config, options, reclaim_after=0)
        self.opened.append(backend)
        return backend

    def results(self) -> RedisResults:
        results = RedisResults(self.config, StoreOptions(self.stream_key))
        self.opened.append(results)
        return results

    def another(self) -> RedisHarness:
        other = RedisHarness(self.config, self.admin)
        self.others.append(other)
        if self.config.is_cluster:  # one command claims from both only if they share a slot
            names = (f"{other.stream_key}-{number}" for number in itertools.count())
            wanted = key_slot(self.stream_key.encode())
            other.stream_key = next(name for name in names if key_slot(name.encode()) == wanted)
        return other

    def close(self) -> None:
        for backend in [*self.others, *self.opened]:
            backend.close()
        if left := list(self.raw.scan_iter(match=f"*{self.stream_key}*", count=10_000)):  # later tests look at all keys
            self.raw.execute_command("UNLINK", *left)
        self.raw.close()

    def groups(self) -> list[tuple[str, GroupKeys]]:
        flat = self.raw.execute_command("HGETALL", meta(self.stream_key))
        found = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        names = {key.decode(): value.decode() for key, value in found.items()}
        return [
            (name[6:], GroupKeys.of(self.stream_key, name[6:], stream, read_classes(found.get(b"classes"))))
            for name, stream in names.items()
            if name.startswith("group:")
        ]

    def advance(self, ms: int) -> None:
        run = self.raw.execute_command
        begun = self._now()
        self.advanced += ms
        for group, keys in self.groups():
            for place in live_of(keys.classes):
                stream = keys.places[place]
                for entry, consumer, idle, _count in run("XPENDING", stream, group, "-", "+", 10_000):
                    run("XCLAIM", stream, group, consumer, 0, entry, "IDLE", max(0, int(idle) + ms), "JUSTID")
            self._age_ready(group, keys, ms)
            for task_id in run("ZRANGE", keys.delayed, 0, -1):
                run("ZINCRBY", keys.delayed, -ms, task_id)
            self._age_locks(keys, ms)
            self._age_rates(keys, ms)
            self._age_statistics(keys, ms)
            for name in run("ZRANGE", presence_keys(keys)[0], 0, -1):
                run("ZINCRBY", presence_keys(keys)[0], -ms, name)
            for task_id in run("ZRANGE", keys.expiries, 0, -1):
                run("ZINCRBY", keys.expiries, -ms, task_id)
            for task_id, value in run("HGETALL", keys.dependents).items():
                *counts, due, flow = value.split(b" ", 4) if b" " in value else (value, b"0", b"")
                if int(due) and not task_id.startswith(b"+"):  # how many children a suspended task waits for
                    run("HSET", keys.dependents, task_id, b" ".join([*counts, b"%d" % (int(due) - ms), flow]))
        for key in self._keys_of_tasks():
            self._age_end(key, ms)
            left = int(run("PTTL", key))
            if left > 0:
                run("PEXPIRE", key, max(1, left - ms)) if left > ms else run("DEL", key)
        for _, keys in self.groups():
            self._age_failed(keys, ms)

        while self._now() == begun:  # a delay is counted from the end of the millisecond in which it began
            pass

    def _keys_of_tasks(self) -> list[bytes]:
        kinds = ("task", "record", "result", "window")
        return [
            key for kind in kinds for key in self.raw.scan_iter(match=f"{{{self.stream_key}}}:*:{kind}:*", count=1000)
        ]

    def _age_locks(self, keys: GroupKeys, ms: int) -> None:
        """Make what is noted about debounced tasks older: when they are due, and when their first call was."""
        for name, value in self.raw.hscan_iter(keys.notes, match="unique:*", count=1000):
            holder, *times = value.split(b" ")
            if times:
                self.raw.execute_command(
                    "HSET", keys.notes, name, b" ".join([holder, *(b"%d" % (int(time) - ms) for time in times)])
                )

    def _age_rates(self, keys: GroupKeys, ms: int) -> None:
        """Make what rates have spent earlier, and when gates are looked at."""
        run = self.raw.execute_command
        for name, value in self.raw.hscan_iter(keys.gates, match="spent:*", count=1000):
            spent = "/".join(str(max(0, int(time) - 1000 * ms)) for time in value.split(b"/"))
            run("HSET", keys.gates, name, spent)
        for gate in run("ZRANGE", keys.turns, 0, -1):
            run("ZINCRBY", keys.turns, -ms, gate)

    def _age_statistics(self, keys: GroupKeys, ms: int) -> None:
        """Move the slots back by whole minutes."""
        run, slots = self.raw.execute_command, dict[str, bytes]()
        key, _ = keys.statistics
        for name, text in run("HGETALL", key).items():
            begun, _, lines = text.partition(b"\n")
            start = int(begun) - ms // MINUTE * MINUTE
            moved = {b"m": minute_slot, b"t": ten_slot}.get(name[:1]) if name[1:].isdigit() else None
            slots[moved(start) if moved else name.decode()] = b"%d\n%b" % (start, lines)
        if slots:
            run("DEL", key)
            run("HSET", key, *(part for pair in slots.items() for part in pair))

    def clock(self) -> int:
        """The time in ms, as the store sees it."""
        return self._now() + self.advanced

    def _now(self) -> int:
        """The server's clock in ms."""
        seconds, micros = self.raw.execute_command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def _age_end(self, key: bytes, ms: int) -> None:
        """Make the end of a task, or of a task of another broker, earlier."""
        run = self.raw.execute_command
        if run("TYPE", key) == b"hash":
            if (ended := run("HGET", key, "ended")) is not None:
                run("HSET", key, "ended", int(ended) - ms)
        elif b":task:" in key and len(parts := run("GET", key).split(b" ", 2)) == 3:
            ended = int(parts[1] or parts[0][1:].lstrip(b"+").partition(b"-")[0])
            run("SET", key, b"%b %d %b" % (parts[0], ended - ms, parts[2]), "KEEPTTL")

    def _age_failed(self, keys: GroupKeys, ms: int) -> None:
        """Write the failed messages again under earlier entries: these say when they failed."""
        run = self.raw.execute_command
        failed = run("XRANGE", keys.failed, "-", "+")
        run("DEL", keys.failed)
        for entry, fields in failed:
            time, _, number = entry.partition(b"-")
            moved = b"%d-%b" % (int(time) - ms, number)
            run("XADD", keys.failed, moved, *fields)
            values = dict(zip(fields[::2], fields[1::2], strict=True))
            key = keys.task((values.get(b"_id") or values.get(b"id") or entry).decode(errors="replace"))
            if (known := run("GET", key)) and known.split(b" ")[0].lstrip(b"f+") == entry:  # its end is aged already
                run("SET", key, known.replace(entry, moved, 1), "KEEPTTL")

    def _age_ready(self, group: str, keys: GroupKeys, ms: int) -> None:
        """Write the undelivered messages again, in their order, as if they had become ready earlier."""
        run = self.raw.execute_command
        ready = [
            (entry_fence(entry.decode()), place, entry, dict(zip(fields[::2], fields[1::2], strict=True)))
            for place in live_of(keys.classes)
            for entry, fields in run("XRANGE", keys.places[place], b"(" + self._last(group, keys, place), "+")
        ]
        for _, place, entry, values in sorted(ready, key=lambda one: one[0]):
            for name in (b"enqueued", b"_since"):
                if values.get(name, b"").isdigit():
                    values[name] = b"%d" % (int(values[name]) - ms)
            task_id = values.get(b"_id") or values.get(b"id", b"")
            known = run("GET", keys.task(task_id.decode(errors="replace"))) or b""
            if known.replace(b"+", b"") != place.encode() + entry:
                values[b"_id"] = task_id = entry  # an injected one, which was known by its entry
                known = b""
            run("XDEL", keys.places[place], entry)
            moved = self._add(keys, place, [part for pair in values.items() for part in pair])
            more = "+" if b"+" in known else ""
            run("SET", keys.task(task_id.decode(errors="replace")), f"{place}{more}{moved}")

    def _last(self, group: str, keys: GroupKeys, place: str) -> bytes:
        """The last entry of a stream that the group has handed out."""
        stream = keys.places[place]
        paused = read_paused(self.raw.execute_command("HGET", keys.meta, f"paused:{group}"))
        if paused is not None:
            return paused.get(place, "0-0").encode()  # a class that was first used in the pause
        for flat in self.raw.execute_command("XINFO", "GROUPS", stream):
            info = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
            if info[b"name"] == group.encode():
                return bytes(info[b"last-delivered-id"])
        raise AssertionError(f"{stream} has no group {group}")

    def _add(self, keys: GroupKeys, place: str, fields: list[bytes]) -> str:
        """Add an entry, with an id of the stream of new messages, as the backend does."""
        run = self.raw.execute_command
        if place == "n":
            return str(run("XADD", keys.new, "*", *fields).decode())
        entry = run("XADD", keys.new, "*", "", "")
        run("XDEL", keys.new, entry)
        return str(run("XADD", keys.places[place], entry, *fields).decode())

    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> str:
        keys = dict(self.groups())[group]
        flat = [part for pair in fields.items() for part in pair]
        entry: bytes = self.raw.execute_command("XADD", keys.new, "*", *flat)
        return entry.decode()

    def footprint(self) -> int:
        """Every key but the fixed ones of a group, and every entry that is outstanding."""
        run = self.raw.execute_command
        left = sum(sum(in_redis(run, keys).values()) for _, keys in self.groups())
        for _, keys in self.groups():
            slots, senders = keys.statistics
            supervisors, announcements, orders = presence_keys(keys)
            left += int(run("HLEN", slots)) + int(run("ZCARD", senders)) + int(run("ZCARD", supervisors))
            left += int(run("HLEN", announcements)) + int(run("HLEN", orders))
        return len(self._keys_of_tasks()) + left
