"""Statistics in Redis: a fixed number of keys, whatever another program has put into them."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.errors import StoreFullError
from pyxqueue.model.statistics import (
    MAX_NAMES,
    MAX_SENDERS,
    MINUTES,
    TENS,
    StatisticsBatch,
    TaskCounts,
    minute_slot,
    ten_slot,
)
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.servers import Server, ServerKind

from ..conftest import kinds_to_test


def batch(number: int, *names: str, sender: str = "one") -> StatisticsBatch:
    return StatisticsBatch(sender, number, [TaskCounts(name, {"success": 1}) for name in names or ("job",)])


def sums(backend: RedisBackend, minutes: int = 60) -> dict[str, int]:
    return {one.name: one.ended["success"] for one in backend.statistics(minutes).totals}


def test_two_keys_however_much_is_counted(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """Many batches of many senders and names make two keys, with a bounded number of fields and members."""
    before = set(client.scan_iter())

    for number in range(2 * MAX_SENDERS + 10):
        backend.add_statistics(batch(number, f"job-{number}", sender=f"sender-{number}"))

    keys = {f"{{{stream_key}}}:cg:{name}".encode() for name in ("statistics", "senders")}
    assert set(client.scan_iter()) - before == keys
    assert client.hlen(f"{{{stream_key}}}:cg:statistics") <= 5
    assert MAX_SENDERS <= client.zcard(f"{{{stream_key}}}:cg:senders") <= 2 * MAX_SENDERS
    assert len(sums(backend)) <= MAX_NAMES + 1
    assert sum(sums(backend).values()) == 2 * MAX_SENDERS + 10


@pytest.mark.parametrize("key", ["statistics", "senders"])
@pytest.mark.parametrize("kind", ["text", "list", "hash", "zset", "stream"])
def test_another_kind_of_value_is_replaced(
    backend: RedisBackend, client: Any, stream_key: str, key: str, kind: str
) -> None:
    """What another program has put at one of the keys is read as nothing, and goes with the next batch."""
    name = f"{{{stream_key}}}:cg:{key}"
    plants = {"text": "SET k x", "list": "RPUSH k x", "hash": "HSET k now x", "zset": "ZADD k 1 x"}
    client.execute_command(*plants.get(kind, "XADD k * a b").replace("k", name, 1).split())

    assert sums(backend) == {}
    assert backend.add_statistics(batch(1)) is True
    assert sums(backend) == {"job": 1}


GARBAGE = [
    b"", b"\xff\xfe", b"x" * 100_000, b"-1\na\t0:1", b"9" * 400, b"1e5\nx\t0:1", b"0", b"17\n\n\n\t\t\n",
    b"17\njob\t0:" + b"9" * 400, b"17\njob\t-1:5 99:1 1234567890123456789:7 0:1e9 :: 0:", b"17\n" + b"a\t0:1\n" * 600,
    b"9" * 400 + b"\njob\t0:1", b"17\n" + b"".join(b"t%d\t0:1\n" % number for number in range(600)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(GARBAGE)))
def test_garbage_in_slots_stops_nobody(backend: RedisBackend, client: Any, stream_key: str, number: int) -> None:
    """Whatever is in the slots: batches are accepted, and looks show at most what a slot can have."""
    key = f"{{{stream_key}}}:cg:statistics"
    slots = [f"m{slot}" for slot in range(MINUTES)] + [f"t{slot}" for slot in range(TENS)] + ["now", "total"]
    client.hset(key, mapping=dict.fromkeys(slots, GARBAGE[number]) | {"junk": "x"})

    for turn in range(3):
        assert backend.add_statistics(batch(turn + 1)) is True
        client.hset(key, "now", f"{60_000 * turn}\njob\t0:1")  # a minute that is over

    assert client.hlen(key) == len(slots) + 1
    assert max(client.hget(key, slot).count(b"\n") for slot in ("total", minute_slot(60_000))) <= MAX_NAMES + 2
    for minutes in (1, 60, 10_000):
        seen = backend.statistics(minutes)
        assert len(seen.totals) <= MAX_NAMES + 1
        assert all(len(one.tasks) <= MAX_NAMES + 1 for one in seen.slices)


def test_a_minute_that_is_over_is_added_to_the_other_slots(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """With the next batch, it is in the rings and in the totals, once, beside what is there of the same time."""
    key = f"{{{stream_key}}}:cg:statistics"
    now = backend.statistics(1).now_ms // 60_000 * 60_000
    start, ten = now - 120_000, (now - 120_000) // 600_000 * 600_000
    client.hset(key, "now", f"{start}\njob\t0:5 24:70")
    client.hset(key, ten_slot(start), f"{ten}\njob\t0:1\nother\t1:2")
    client.hset(key, minute_slot(start), f"{start - 480 * 60_000}\njob\t0:99")

    backend.add_statistics(batch(1))

    assert client.hget(key, ten_slot(start)).decode() == f"{ten}\njob\t0:6 24:70\nother\t1:2"
    assert client.hget(key, minute_slot(start)).decode() == f"{start}\njob\t0:5 24:70"
    assert client.hget(key, "total").decode() == f"{start}\njob\t0:5 24:70"
    assert sums(backend) == {"job": 6}
    assert backend.statistics(1).since_ms == start


def test_a_look_is_one_request(backend: RedisBackend, client: Any) -> None:
    """Reading and adding are one call of a script each, however many minutes or tasks there are."""
    backend.add_statistics(batch(1, *(f"job-{number}" for number in range(MAX_NAMES))))
    backend.statistics(10_000)
    before = client.info("commandstats")["cmdstat_evalsha"]["calls"]

    backend.statistics(10_000)
    backend.statistics(MINUTES)
    backend.add_statistics(batch(2, *(f"job-{number}" for number in range(MAX_NAMES))))

    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before == 3


@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_full_server_takes_no_statistics_and_loses_none(kind: ServerKind) -> None:
    """A batch that is refused for want of memory is counted when it is sent again; looks go on."""
    with Server(kind) as server, Redis.from_url(server.url, protocol=2) as client:
        config = ConnectionConfig.from_url(server.url)
        with closing(RedisBackend(config, StoreOptions("q"))) as backend:
            backend.lease_ms()
            backend.add_statistics(batch(1))
            client.config_set("maxmemory", 1)
            with pytest.raises(StoreFullError):
                backend.add_statistics(batch(2))
            assert sums(backend) == {"job": 1}
            client.config_set("maxmemory", 0)

            assert backend.add_statistics(batch(2)) is True
            assert sums(backend) == {"job": 2}
