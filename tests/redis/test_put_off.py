"""Delayed tasks that another program puts off while `maintain` is about to make them ready."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue.backends.redis import RedisBackend
from pyxqueue.backends.redis.registration import flags
from pyxqueue.model.message import Message
from tests.support.until import until


def test_an_id_that_is_put_off_between_the_look_and_the_act_stays_delayed(
    backend: RedisBackend, client: Any, stream_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The act looks at the due time again: the task does not start early."""
    delayed = f"{{{stream_key}}}:cg:delayed"
    put_off = list[list[str]]()

    def put_off_first(registration: Any, verb: str, ids: list[str]) -> Any:
        if ids:
            put_off.append(ids)
            client.zincrby(delayed, 60_000, "a")
        return flags(registration, verb, ids)

    monkeypatch.setattr("pyxqueue.backends.redis.broker.flags", put_off_first)
    backend.enqueue([Message("a", "job", b"[[],{}]", "json", delay_ms=1)])
    until(lambda: backend.maintain(10) is not None and put_off, "it was due at a look")

    assert put_off == [["a"]]
    depth = backend.depth()
    assert (depth.ready, depth.delayed) == (0, 1)
    assert not backend.claim("w", 1, 0)
