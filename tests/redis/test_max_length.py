"""A bound on the length of a queue on Redis: what a call costs, and a stream that refuses a message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pyxqueue.backends.redis import RedisBackend
from pyxqueue.backends.redis.aio import AsyncRedisProducer
from pyxqueue.model.locks import LockKind, LockTerms, Placement, lock_text
from pyxqueue.model.message import Message
from pyxqueue.protocols import AsyncHasMaxLength

LAST = "18446744073709551615-18446744073709551615"
"""The largest id of an entry: a stream that has had it takes no more."""
LOCK = lock_text(LockKind.FINISHED, b"one")


def jobs(count: int, **header: Any) -> list[Message]:
    return [Message(f"t{number}", "job", b"x", **header) for number in range(count)]


@pytest.mark.parametrize("messages", [jobs(5), jobs(5, priority=60), jobs(5, delay_ms=60_000), jobs(1, lock=LOCK)])
def test_a_bounded_batch_is_one_round_trip(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch, messages: Sequence[Message]
) -> None:
    """The look at the length and the tasks come in one script, whether they have room or not."""
    backend.enqueue([Message("first", "job", priority=60)])
    backend.enqueue_within(messages, LockTerms(), 1)  # from now on the server knows the script
    sent: list[Any] = []
    execute = backend._session.execute

    def counted(*args: Any, **options: Any) -> Any:
        sent.append(args[0])
        return execute(*args, **options)

    monkeypatch.setattr(backend._session, "execute", counted)
    refused, accepted = (backend.enqueue_within(messages, LockTerms(), bound) for bound in (1, 3))

    assert (len(refused.placed), len(accepted.placed)) == (0, min(2, len(messages)))
    assert len(sent) == 2


def test_asyncio_has_an_operation_of_its_own(backend: RedisBackend) -> None:
    """The asyncio side is asked for room without a thread, with the same answer."""

    async def call() -> tuple[list[str], int]:
        producer = backend.asynchronous()
        assert isinstance(producer, AsyncRedisProducer)
        assert isinstance(producer, AsyncHasMaxLength)
        found = await producer.enqueue_within(jobs(5), LockTerms(), 3)
        return [one.id for one in found.placed], found.length

    assert asyncio.run(call()) == (["t0", "t1", "t2"], 3)


def test_a_stream_without_ids_is_made_again(backend: RedisBackend, stream_key: str, client: Any) -> None:
    """Where Redis refuses a message because another program has used the last id, the rest of the batch is stored."""
    backend.lease_ms()
    client.xadd(stream_key, {"name": "job"}, id=LAST)
    client.xdel(stream_key, LAST)

    found = backend.enqueue_within(jobs(5), LockTerms(), 3)

    assert [one.placement for one in found.placed] == [Placement.NEW] * 3
    assert [one.message.id for one in backend.claim("one", 9, 0)] == ["t0", "t1", "t2"]
