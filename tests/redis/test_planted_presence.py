"""Keys of supervisors in whose place another program has put something: workers announce themselves and go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeAlias

import pytest

from pyxqueue import TaskQueue
from pyxqueue.backends.redis import RedisBackend
from pyxqueue.errors import UnknownWorkerError
from pyxqueue.model.presence import Announcement, Order, OrderKind, Process
from pyxqueue.testing import drain

KEYS = ("supervisors", "announcements", "orders")
KEEP = 60_000
Plant: TypeAlias = Callable[[Any, str], object]

PLANTS: dict[str, Plant] = {
    "text": lambda client, key: client.set(key, "x" * (1 << 20)),
    "list": lambda client, key: client.rpush(key, "x"),
    "set": lambda client, key: client.sadd(key, "x"),
    "hash": lambda client, key: client.hset(key, mapping={"s": "x", "\x1b[2J": "9" * 1_000}),
    "sorted set": lambda client, key: client.zadd(key, {"s": float("inf"), "\x1b[2J": -5, "x": 1e300}),
    "stream": lambda client, key: client.xadd(key, {"s": "x"}),
}


def text(host: str) -> str:
    return Announcement(host, 7, "1", "3", ["job"], 0, False, {"w": Process(8, 1, 1, None, [])}).text()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS.keys())
def test_a_planted_key_stops_nobody(redis_url: str, stream_key: str, client: Any, key: str, plant: Plant) -> None:
    """Looks and orders find nobody, or the error is ours; the next announcement makes it right."""
    place = f"{{{stream_key}}}:cg:{key}"
    with closing(TaskQueue(redis_url, stream_key=stream_key)) as queue:
        handle = queue.task(name="other")(lambda: "done")()
        backend = queue.stores.backend
        assert isinstance(backend, RedisBackend)
        backend.claim("nobody", 0, 0)
        client.delete(place)
        plant(client, place)

        backend.present()
        backend.give_order("s", OrderKind.DRAIN)
        backend.leave("stranger")
        queue.admin.workers()
        with pytest.raises(UnknownWorkerError):
            queue.admin.drain("web1")
        drain(queue)
        backend.announce("s", KEEP, text("web1"))

        assert [one.text for one in backend.present() if one.name == "s"] == [text("web1")]
        assert backend.give_order("s", OrderKind.STOP)
        order = backend.announce("s", KEEP, text("web1"))
        assert isinstance(order, Order)
        assert order.kind is OrderKind.STOP
        assert handle.get(5) == "done"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "60000",
        "60000 {",
        "-5 x",
        "9" * 400 + " x",
        "60000 " + "x" * (1 << 20),
        "60000 \x1b[2J",
        b"60000 \xff\xfe",
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_planted_announcement(backend: RedisBackend, stream_key: str, client: Any, value: Any) -> None:
    """It is read as it is or left out, and gets no order that nobody would take; the next one replaces it."""
    backend.claim("nobody", 0, 0)
    backend.announce("s", KEEP, text("web1"))
    client.hset(f"{{{stream_key}}}:cg:announcements", "s", value)

    assert len(backend.present()) <= 1
    backend.give_order("s", OrderKind.DRAIN)
    backend.announce("s", KEEP, text("web2"))

    assert [one.text for one in backend.present()] == [text("web2")]


@pytest.mark.parametrize("value", ["", "x", "-1 drain", "9" * 16 + " drain", "1 fly", "1 drain now", b"\xff"])
def test_a_planted_order(backend: RedisBackend, stream_key: str, client: Any, value: Any) -> None:
    """What is no order is none, and the next order arrives."""
    backend.claim("nobody", 0, 0)
    backend.announce("s", KEEP, text("web1"))
    client.hset(f"{{{stream_key}}}:cg:orders", "s", value)

    assert backend.announce("s", KEEP, text("web1")) is None
    assert backend.give_order("s", OrderKind.DRAIN)
    order = backend.announce("s", KEEP, text("web1"))
    assert isinstance(order, Order)
    assert order.kind is OrderKind.DRAIN
