"""The harness of the Redis backend: time is moved by making everything that is stored older."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fakeredis
import redis
from redis.crc import key_slot

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, RedisResults
from pyxqueue.backends.redis.keys import GroupKeys, live_of, meta, presence_keys
from pyxqueue.backends.redis.reading import read_classes, read_paused
from pyxqueue.model.statistics import MINUTE, minute_slot, ten_slot
from pyxqueue.protocols import StoreOptions

from .left_over import in_redis

_FAKE = fakeredis.FakeServer()
_AGE_GROUP, _AGE_ENDS = (Path(__file__).with_name(f"age_{name}.lua").read_text() for name in ("group", "ends"))
"""They move time in one call each: command by command, it was a third of all commands of the kit."""


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
        return list(self._groups_in(self._meta()))

    def _meta(self) -> Mapping[bytes, bytes]:
        flat = self.raw.execute_command("HGETALL", meta(self.stream_key))
        return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))

    def _groups_in(self, found: Mapping[bytes, bytes]) -> Iterator[tuple[str, GroupKeys]]:
        for key, stream in found.items():
            if key.startswith(b"group:"):
                group, classes = key.decode()[6:], read_classes(found.get(b"classes"))
                yield group, GroupKeys.of(self.stream_key, group, stream.decode(), classes)

    def advance(self, ms: int) -> None:
        begun = self._now()
        self.advanced += ms
        found = self._meta()
        groups = dict(self._groups_in(found))
        for group, keys in groups.items():
            paused = read_paused(found.get(f"paused:{group}".encode()))
            self._age_group(keys, paused, ms)
        failed = [keys.failed for keys in groups.values()]
        prefixes = [keys.task_prefix for keys in groups.values()]
        self._run(_AGE_ENDS, [meta(self.stream_key), *failed], [f"{{{self.stream_key}}}:", ms, *prefixes])

        while self._now() == begun:  # a delay is counted from the end of the millisecond in which it began
            pass

    def _run(self, script: str, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        return self.raw.execute_command("EVAL", script, len(keys), *keys, *args)

    def _age_group(self, keys: GroupKeys, paused: Mapping[str, str] | None, ms: int) -> None:
        """`paused`: where the group stood in its streams when it was paused, if it is."""
        slots, _ = keys.statistics
        fixed = [
            keys.new, keys.delayed, keys.notes, keys.gates, keys.turns, presence_keys(keys)[0], keys.expiries,
            keys.dependents, slots,
        ]  # fmt: skip
        places = live_of(keys.classes)
        # A class that was first used in the pause has no place in it.
        stood = ["" if paused is None else paused.get(place, "0-0") for place in places]
        streams = [keys.places[place] for place in places]
        flat = [part for pair in zip(places, stood, strict=True) for part in pair]
        if self._run(_AGE_GROUP, [*fixed, *streams], [keys.group, ms, keys.task_prefix, *flat]):
            self._age_statistics(keys, ms)

    def _keys_of_tasks(self) -> list[bytes]:
        kinds = ("task", "record", "result", "window")
        return [
            key for kind in kinds for key in self.raw.scan_iter(match=f"{{{self.stream_key}}}:*:{kind}:*", count=1000)
        ]

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
