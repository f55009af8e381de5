"""What is left of a task that expired while it was in flight, and whose message another program has deleted."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from pyxqueue.backends.redis import RedisBackend
from pyxqueue.model.message import FLOW_VERSION, Done, Fail, Message, Record, Retry, Settlement, TaskStatus
from tests.support.redis_harness import RedisHarness
from tests.support.until import until


@pytest.mark.parametrize("verdict", [Done(), Fail("broken"), Retry()], ids=str)
def test_nothing_is_left_of_its_expiry(
    backend: RedisBackend, client: Any, stream_key: str, *, verdict: Done | Fail | Retry
) -> None:
    backend.enqueue([Message("a", "job", lifetime_ms=30, v=FLOW_VERSION)])
    (held,) = backend.claim("w", 1, 0)
    expiries = f"{{{stream_key}}}:cg:expiries"

    def is_noticed() -> bool:
        backend.maintain(256)
        return bool(client.zrange(expiries, 0, -1, withscores=True) == [(b"a", float("inf"))])

    until(is_noticed, "it has expired in flight")
    client.xdel(stream_key, held.receipt[1:].split("|")[0])
    record = Record("a", TaskStatus.SUCCESS, b"null") if isinstance(verdict, Done) else None
    assert backend.settle([Settlement(held.receipt, verdict, record)]) == [True]
    assert client.exists(expiries) == 0


def test_an_expiry_takes_no_place_in_a_look(client: Any) -> None:
    """A look for one due task takes one, although a task has expired in flight, for which there is a look too."""
    with closing(RedisHarness(client)) as harness:
        backend = harness.open()
        backend.enqueue([Message("a", "job", lifetime_ms=1_000, v=FLOW_VERSION)])
        backend.claim("w", 1, 0)
        backend.enqueue([Message("b", "job", delay_ms=2_000)])
        harness.advance(5_000)

        backend.maintain(1)

        assert (backend.depth().delayed, backend.depth().ready) == (0, 1)
