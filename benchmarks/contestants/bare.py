"""No framework: loops around redis-py that ask of Redis what pyxqueue asks, with the same guarantees.

It is the floor: what is left between it and pyxqueue is pyxqueue's own work. Redis does the same writes for both.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from redis import Redis

from .base import Offer, echo, processes, server_url

STREAM, HISTORY, GROUP, PREFIX = "{bare}", "{bare}:history", "bare", "{bare}:task:"
KEPT, TTL_MS, BATCH = 10_000, 86_400_000, 256

ENQUEUE = """
for item = 1, #KEYS - 1 do
  local task, at = KEYS[1 + item], item * 2 - 1
  if redis.call('EXISTS', task) == 0 then
    local entry = redis.call('XADD', KEYS[1], '*', 'v', '1', 'id', ARGV[at], 'name', 'echo', 'body', ARGV[at + 1])
    redis.call('HSET', task, 'at', 'live', 'e', entry)
  end
end
"""
SETTLE = """
local accepted = 0
for item = 1, #KEYS - 2 do
  local task, at = KEYS[2 + item], 4 + (item - 1) * 3
  local entry, id, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], entry, entry, 1)[1]
  if held and held[2] == ARGV[2] then
    local fields = redis.call('XRANGE', KEYS[1], entry, entry)[1][2]
    redis.call('XACK', KEYS[1], ARGV[1], entry)
    redis.call('XDEL', KEYS[1], entry)
    local kept = redis.call('XADD', KEYS[2], 'MAXLEN', 10000, '*', unpack(fields))
    local channel = redis.call('HGET', task, 'w')
    redis.call('HSET', task, 'at', 'history', 'e', kept, 'state', '5', 'value', value, 'worker', ARGV[2])
    redis.call('PEXPIRE', task, ARGV[3])
    if channel then redis.call('PUBLISH', channel, id) end
    accepted = accepted + 1
  end
end
return accepted
"""
LOOK = """
local value = redis.call('HGET', KEYS[1], 'value')
if not value then redis.call('HSET', KEYS[1], 'w', ARGV[1]) end
return value
"""


class Entry:
    workers = "2 processes, 1 task at a time"
    offers: frozenset[Offer] = frozenset()
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task stays claimed, nothing returns it",
        "may run twice": "no",
        "late result": "refused by the server",
        "enqueued twice": "runs once",
        "result kept": "1 day",
        "from": "contestants/bare.py",
    }
    _pids: list[int]

    def prepare(self) -> None:
        self._redis = _client()
        self._enqueue = self._redis.script_load(ENQUEUE)
        self._look = self._redis.script_load(LOOK)
        self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        self._listener: Any = None

    def enqueue_one(self, value: object) -> object:
        return self._send([value])[0]

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:  # noqa: ARG002 - it has only one
        for start in range(0, len(values), BATCH):
            self._send(values[start : start + BATCH])

    def _send(self, values: Sequence[Any]) -> list[str]:
        ids = [f"{time.time_ns() // 1_000_000:013d}-{os.urandom(8).hex()}" for _ in values]
        args: list[Any] = []
        for task_id, value in zip(ids, values, strict=True):
            args += (task_id, msgspec.json.encode([[value], {}]))
        keys = [PREFIX + task_id for task_id in ids]
        self._redis.execute_command("EVALSHA", self._enqueue, 1 + len(ids), STREAM, *keys, *args)
        return ids

    def start_workers(self) -> None:
        self._pids = []
        for number in range(processes()):
            pid = os.fork()
            if pid == 0:
                _serve(f"worker-{number}-{os.getpid()}")
            self._pids.append(pid)

    def stop_workers(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def completed(self, enqueued: int) -> int:
        return enqueued - int(self._redis.xlen(STREAM))

    def call_and_wait(self, value: object) -> object:
        if self._listener is None:
            self._listener = self._redis.pubsub(ignore_subscribe_messages=True)
            self._listener.subscribe("{bare}:wake")
        (task_id,) = self._send([value])
        while (found := self._redis.execute_command("EVALSHA", self._look, 1, PREFIX + task_id, "{bare}:wake")) is None:
            self._listener.get_message(timeout=1)
        return msgspec.json.decode(found)


def _client() -> Redis:
    client = Redis.from_url(server_url(), protocol=2)
    client.set_response_callback("XREADGROUP", lambda reply, **_options: reply)
    return client


def _serve(name: str) -> None:
    client = _client()
    settle = client.script_load(SETTLE)
    while True:
        read = ("XREADGROUP", "GROUP", GROUP, name, "COUNT", BATCH, "BLOCK", 1000, "STREAMS", STREAM, ">")
        for _stream, entries in client.execute_command(*read) or ():
            keys: list[Any] = [STREAM, HISTORY]
            args: list[Any] = [GROUP, name, TTL_MS]
            for entry, flat in entries:
                fields = dict(zip(flat[::2], flat[1::2], strict=True))
                positional, named = msgspec.json.decode(fields[b"body"])
                keys.append(PREFIX.encode() + fields[b"id"])
                args += (entry, fields[b"id"], msgspec.json.encode(echo(*positional, **named)))
            client.execute_command("EVALSHA", settle, len(keys), *keys, *args)
