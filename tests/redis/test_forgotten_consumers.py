"""Consumers that are gone are forgotten, but not with what they hold: Redis would drop it with them."""

from __future__ import annotations

from pyxqueue.backends.redis import RedisBackend, commands
from pyxqueue.model.message import Message

TASKS = [("usual", 0), ("urgent", 60)]
HOLDERS = ["one", "two"]


def test_a_consumer_that_holds_something_is_kept(backend: RedisBackend) -> None:
    """It may have been handed something between the look at it and this."""
    backend.enqueue([Message(task_id, "job", b"[[],{}]", "json", priority=priority) for task_id, priority in TASKS])
    for holder in HOLDERS:
        backend.claim(holder, 1, 0)
    backend._registration.do(lambda keys: commands.retire(keys, "cg", HOLDERS))

    found = {consumer.name: consumer.in_flight for consumer in backend.consumers()}

    assert {name: found[name] for name in HOLDERS} == {"one": ("urgent",), "two": ("usual",)}


def test_a_consumer_that_holds_nothing_is_forgotten(backend: RedisBackend) -> None:
    """Also one that has ended tasks before."""
    backend.claim("one", 1, 0)
    assert [consumer.name for consumer in backend.consumers()] == ["one"]

    assert backend._registration.do(lambda keys: commands.retire(keys, "cg", ["one"])) == 1

    assert backend.consumers() == []
