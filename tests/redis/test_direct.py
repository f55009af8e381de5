"""The client for single commands keeps what redis-py's own client keeps: replies are not mixed up, forks
are noticed, and only what may be repeated is repeated."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import hiredis
import pytest
from redis import Redis
from redis.connection import Connection
from redis.credentials import UsernamePasswordCredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from pyxqueue import TaskQueue
from pyxqueue.backends.redis import ConnectionConfig, direct
from pyxqueue.backends.redis.direct import DirectClient
from pyxqueue.testing import drain


@pytest.fixture
def client(redis_url: str) -> Iterator[DirectClient]:
    opened = opened_at(redis_url, retries=3)
    yield opened
    opened.close()


def opened_at(redis_url: str, retries: int) -> DirectClient:
    opened = ConnectionConfig.from_url(redis_url).open(timeout=5, retries=retries)
    assert isinstance(opened, DirectClient)
    return opened


def number_of(client: DirectClient) -> int:
    """The server's number of the connection that is used next."""
    return int(client.execute_command("CLIENT", "ID"))


def cut(redis_url: str, number: int) -> None:
    with Redis.from_url(redis_url) as other:
        other.execute_command("CLIENT", "KILL", "ID", number)


def test_a_command_that_is_cut_short_leaves_no_reply_behind(
    client: DirectClient, stream_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.execute_command("SET", stream_key, "old")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.execute_command("GET", stream_key)
    assert client.execute_command("ECHO", "mine") == b"mine"


def test_an_error_reply_keeps_the_connection(client: DirectClient) -> None:
    number = number_of(client)
    with pytest.raises(ResponseError, match="wrong number"):
        client.execute_command("GET")
    assert number_of(client) == number


def test_a_command_may_have_two_words(client: DirectClient) -> None:
    assert client.execute_command("CONFIG GET", "maxmemory-policy").keys() == {"maxmemory-policy"}
    assert client.execute_command("CLIENT ID") == number_of(client)


def test_a_cut_connection_costs_one_repeat(client: DirectClient, redis_url: str) -> None:
    cut(redis_url, number_of(client))
    assert client.execute_command("ECHO", "x") == b"x"


def test_without_retries_no_command_is_sent_twice(redis_url: str, stream_key: str) -> None:
    client = opened_at(redis_url, retries=0)
    cut(redis_url, number_of(client))
    with pytest.raises(RedisConnectionError):
        client.execute_command("INCR", stream_key)
    assert client.execute_command("GET", stream_key) is None
    client.close()


def test_a_connection_that_was_closed_while_it_was_idle_is_noticed_before_use(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_LOOK_AFTER", 0.0)
    client = opened_at(redis_url, retries=0)
    cut(redis_url, number_of(client))
    assert client.execute_command("ECHO", "x") == b"x"
    client.close()


def test_a_connection_that_the_pool_no_longer_owns_connects_again(
    client: DirectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = number_of(client)
    monkeypatch.setattr(client._pool, "owns_connection", lambda _: False)
    assert number_of(client) != number


def test_each_thread_has_a_connection_of_its_own(client: DirectClient) -> None:
    both, numbers = threading.Barrier(2), set()

    def use() -> None:
        connection = client._take()
        both.wait(20)
        client._give_back(connection)
        both.wait(20)
        numbers.add(id(connection))

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_connects_for_itself(client: DirectClient) -> None:
    number = number_of(client)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writer, b"%d" % number_of(client))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    theirs = int(os.read(reader, 100))
    os.close(reader)
    assert theirs != number
    assert number_of(client) == number


def test_a_login_that_is_renewed_meanwhile_is_left_to_redis_py(redis_url: str) -> None:
    given = Redis.from_url(redis_url)
    assert DirectClient.serves(given)
    renewed = Redis(credential_provider=UsernamePasswordCredentialProvider("default", "x"))
    assert not DirectClient.serves(renewed)


def test_no_number_is_packed(redis_url: str, stream_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """hiredis does not survive a signal handler that raises while it packs an int, such as a time limit or Ctrl-C."""
    # Given
    numbers: list[tuple[Any, ...]] = []

    def pack(words: tuple[Any, ...]) -> bytes:
        if any(type(word) is int for word in words) and words[0] not in {b"SELECT", b"HSCAN"}:  # redis-py writes these
            numbers.append(words)
        packed: bytes = hiredis.pack_command(words)
        return packed

    monkeypatch.setattr(direct, "pack_command", pack)
    monkeypatch.setattr("redis.connection.hiredis", SimpleNamespace(**vars(hiredis) | {"pack_command": pack}))
    queue = TaskQueue(redis_url, stream_key)

    @queue.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    # When
    first = add(1, 2)
    later = add.with_options(delay=60)(3, 4)
    many = add.map([(number, number) for number in range(30)])
    drain(queue)
    results = [handle.get(20) for handle in (first, *many)]
    queue.admin.info()
    shown = queue.admin.tasks()
    later.cancel()
    queue.close()
    # Then
    assert (results, len(shown.tasks)) == ([3, *range(0, 60, 2)], 32)
    assert numbers == []
