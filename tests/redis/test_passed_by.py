"""Messages that another program made the group skip: they become ready, also if one in flight is in front of them."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Any

import pytest

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, inspector, reclaiming
from pyxqueue.errors import BrokerError
from pyxqueue.model.message import Done, Message, Settlement, TaskStatus
from pyxqueue.protocols import StoreOptions

LAST = "18446744073709551615-18446744073709551615"
MANY = 600


def run_all(backend: RedisBackend, count: int) -> list[str]:
    """Claim and settle until there are `count`; nothing is in flight then but what was before."""
    ran: list[str] = []
    for _ in range(count + 5):
        found = backend.claim("w", 100, 0)
        backend.settle([Settlement(one.receipt, Done()) for one in found])
        ran += [one.message.id for one in found]
    return ran


@pytest.mark.parametrize("way", ["XGROUP SETID", "XCLAIM LASTID"])
@pytest.mark.parametrize("to", ["99999999999999-0", LAST])
def test_a_group_ahead_of_its_stream_is_set_back(
    backend: RedisBackend, stream_key: str, client: Any, way: str, to: str
) -> None:
    """Otherwise it would never get a message again."""
    backend.enqueue([Message("held", "job")])
    (held,) = backend.claim("busy", 1, 0)
    entry = held.receipt.partition("|")[0][1:]
    backend.enqueue([Message("before", "job")])
    if way == "XGROUP SETID":
        client.execute_command("XGROUP", "SETID", stream_key, "cg", to)
    else:
        client.execute_command("XCLAIM", stream_key, "cg", "busy", 0, entry, "LASTID", to)
    backend.enqueue([Message("after", "job")])

    assert run_all(backend, 2) == ["before", "after"]
    backend.enqueue([Message("later", "job")])
    assert [one.message.id for one in backend.claim("w", 5, 0)] == ["later"]
    assert backend.settle([Settlement(held.receipt, Done())]) == [True]


def test_skipped_messages_do_not_wait_for_one_in_flight(backend: RedisBackend, stream_key: str, client: Any) -> None:
    """However many there are, each comes once."""
    ids = [f"m{number}" for number in range(MANY)]
    backend.enqueue([Message("held", "job")])
    (held,) = backend.claim("busy", 1, 0)
    backend.enqueue([Message(one, "job") for one in ids])
    client.execute_command("XGROUP", "SETID", stream_key, "cg", "$")

    assert sorted(run_all(backend, MANY // 100 + 10)) == sorted(ids)
    assert backend.settle([Settlement(held.receipt, Done())]) == [True]


def test_many_messages_without_a_holder_come_back_without_a_pause(redis_url: str, stream_key: str, client: Any) -> None:
    """There is no pause between two batches."""
    options = StoreOptions(stream_key, lease_ms=60_000)
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), options, reclaim_after=1)) as backend:
        backend.enqueue([Message(f"m{number}", "job") for number in range(MANY)])
        client.execute_command("XGROUP", "SETID", stream_key, "cg", "$")
        until_in_touch(backend)

        assert len(run_all(backend, MANY // 100 + 10)) == MANY


def until_in_touch(backend: RedisBackend) -> None:
    reclaimer = backend._broker._reclaimer
    while reclaimer.health.unbroken_ms() < 1:
        reclaimer._next_scan = float("inf")  # in touch, without a look
        backend.claim("w", 1, 0)
    reclaimer._next_scan = 0.0


def test_many_consumers_are_forgotten_in_one_step(
    backend: RedisBackend, stream_key: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that hold something are kept."""
    backend.enqueue([Message("one", "job")])
    for number in range(300):
        client.execute_command("XGROUP", "CREATECONSUMER", stream_key, "cg", f"c{number}")
    (held,) = backend.claim("c7", 1, 0)
    monkeypatch.setattr(reclaiming, "_FORGET_CONSUMER_AFTER", -1)
    before = client.info("commandstats")["cmdstat_evalsha"]["calls"]

    for _ in range(2):
        backend.maintain(1)

    assert [consumer.name for consumer in backend.consumers()] == ["c7"]
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before < 20
    assert backend.settle([Settlement(held.receipt, Done())]) == [True]


def test_the_last_possible_entry_can_be_looked_at(
    backend: RedisBackend, stream_key: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis refuses to look beyond it."""
    monkeypatch.setattr(inspector, "_PAGE", 1)
    client.xadd(stream_key, {"name": "job"}, id=LAST)
    assert backend.depth().ready == 1

    (held,) = backend.claim("w", 1, 0)

    assert (backend.depth().ready, backend.depth().in_flight) == (0, 1)
    assert [consumer.in_flight for consumer in backend.consumers()] == [(LAST,)]
    assert [info.id for info in backend.tasks(TaskStatus.STARTED)[0]] == [LAST]
    assert backend.settle([Settlement(held.receipt, Done())]) == [True]


@pytest.mark.parametrize("groups", [["cg"], ["cg", "second"]], ids=len)
def test_a_stream_whose_ids_are_used_up_recovers_when_it_is_empty(
    redis_url: str, stream_key: str, client: Any, groups: list[str]
) -> None:
    """The entry with the last id runs, and so does what is enqueued once the stream is empty."""
    with ExitStack() as stack:
        backends = [
            stack.enter_context(
                closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, group)))
            )
            for group in groups
        ]
        for backend in backends:
            backend.lease_ms()
        client.xadd(stream_key, {"name": "job"}, id=LAST)
        with pytest.raises(BrokerError, match="ID"):
            backends[0].enqueue([Message("one", "job")])

        (planted,) = backends[0].claim("w", 5, 0)
        with pytest.raises(BrokerError, match="ID"):
            backends[0].enqueue([Message("one", "job")])
        assert backends[0].settle([Settlement(planted.receipt, Done())]) == [True]

        assert backends[0].enqueue([Message("one", "job")]) == [True]
        for backend in backends:
            (delivery,) = backend.claim("w", 5, 0)
            assert delivery.message.id == "one"
            assert backend.settle([Settlement(delivery.receipt, Done())]) == [True]
