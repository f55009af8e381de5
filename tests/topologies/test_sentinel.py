"""A queue on the master that Sentinels name."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
import redis
from redis.sentinel import MasterNotFoundError, Sentinel

from pyxqueue import (
    AsyncResult,
    BrokerError,
    BrokerUnavailableError,
    Task,
    TaskQueue,
    Unique,
    UnknownTaskError,
)
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.backends.redis.connect import drop_idle, master_of
from pyxqueue.backends.redis.keys import GroupKeys
from pyxqueue.backends.redis.listening import _Ears
from pyxqueue.backends.redis.looking import MasterLook, NoSentinelError, Sentinels, _Answers
from pyxqueue.backends.redis.recent import Recent
from pyxqueue.testing import drain
from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.support.until import until

from .conftest import KIND
from .servers import MASTER, Watched, ask, follow, follows, watched
from .users import told, users

Job: TypeAlias = Task[[], str]


@pytest.fixture
def masters() -> Iterator[tuple[Server, Server, Server]]:
    """Two servers that take writes, and a Sentinel that names the first of them."""
    with Server(KIND) as first, Server(KIND) as second, Server(KIND, args=("--sentinel",)) as sentinel:
        name(sentinel, first)
        yield first, second, sentinel


def name(sentinel: Server, master: Server) -> None:
    """Have the Sentinel name this server as the master, as after a failover."""
    with suppress(redis.ResponseError):
        ask(sentinel, "SENTINEL", "REMOVE", MASTER)
    ask(sentinel, "SENTINEL", "MONITOR", MASTER, "127.0.0.1", master.port, 1)


def url_of(*sentinels: Server) -> str:
    return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in sentinels)}/{MASTER}"


def length(server: Server) -> int:
    return int(ask(server, "XLEN", "tasks"))


def test_a_url_names_the_sentinels(masters: tuple[Server, Server, Server]) -> None:
    """One of them that does not answer is passed over."""
    first, _, sentinel = masters
    with closing(TaskQueue(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/{MASTER}/3")) as queue:
        handle = queue.task(name="job")(lambda: "done")()
        with redis.Redis(port=first.port, db=3) as client:
            assert client.xlen("tasks") == 1
        drain(queue)

        assert handle.get(5) == "done"


def test_asyncio_finds_the_master(masters: tuple[Server, Server, Server]) -> None:
    """Enqueueing and waiting use connections of asyncio, not threads."""
    first, _, sentinel = masters
    with closing(TaskQueue(url_of(sentinel))) as queue:
        job = queue.task(name="job")(lambda: "done")

        async def main() -> str:
            handle = await job.aenqueue()
            assert length(first) == 1
            await asyncio.to_thread(drain, queue)
            return await handle

        assert asyncio.run(main()) == "done"
        assert type(queue.stores.producer).__name__ == "AsyncRedisProducer"


def test_a_former_master_gets_no_more_writes(
    masters: tuple[Server, Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take them until it learns that it is a replica, and lose them then."""
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 0.0)
    first, second, sentinel = masters
    with closing(TaskQueue(url_of(sentinel))) as queue:
        job = queue.task(name="job")(lambda: None)
        job()
        name(sentinel, second)

        job()

        assert (length(first), length(second)) == (1, 1)


@pytest.mark.parametrize("how", ["call", "asyncio", "unique", "map"])
def test_what_a_failover_has_lost_is_said(
    masters: tuple[Server, Server, Server],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    """It is counted and named in the log, and the error of a wait for it says why it is gone."""
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 0.0)
    _, second, sentinel = masters
    with closing(TaskQueue(url_of(sentinel))) as queue, closing(TaskQueue(second.url)) as there:
        job = queue.task(name="job")(lambda: "done")
        replicated = there.task(name="job")(lambda: "done").with_options(task_id="replicated")()
        job.with_options(task_id=replicated.task_id)()
        lost = LOSSES[how](job)
        name(sentinel, second)

        with pytest.raises(UnknownTaskError, match=r"the failover from \S+ to \S+ has lost it"):
            lost[0].get(5)

        (record,) = [one for one in caplog.records if "failover" in one.message]
        assert f"lost {len(lost)} of the {len(lost) + 1} tasks" in record.message
        assert all(one.task_id in record.message for one in lost)
        with pytest.raises(UnknownTaskError, match="never enqueued"):
            queue.result("another").get(5)
        assert counted(there) == {"job": len(lost)}


def test_a_lost_call_that_was_less_durable_than_its_queue(
    masters: tuple[Server, Server, Server], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said too, whoever asks."""
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 0.0)
    _, second, sentinel = masters
    with closing(TaskQueue(f"{url_of(sentinel)}?durability=replica")) as queue, closing(TaskQueue(second.url)) as there:
        quick = queue.task(name="job")(lambda: None).with_options(durability="normal")
        lost = quick()
        name(sentinel, second)

        for handle in (queue.result(lost.task_id), lost):
            with pytest.raises(UnknownTaskError, match=r"the failover from \S+ to \S+ has lost it"):
                handle.get(5)

        assert ["lost 1 of the 1 task" in one.message for one in caplog.records] == [True]
        assert counted(there) == {"job": 1}


def counted(queue: TaskQueue) -> dict[str, int]:
    """How many tasks count as lost, by name."""
    return {one.name: one.lost for one in queue.admin.statistics().totals if one.lost}


LOSSES: dict[str, Callable[[Job], list[AsyncResult[str]]]] = {
    "call": lambda job: [job()],
    "asyncio": lambda job: [asyncio.run(asynchronously_called(job))],
    "unique": lambda job: [job.with_options(unique=Unique())()],
    "map": lambda job: job.map([[], []]),
}


async def asynchronously_called(job: Job) -> AsyncResult[str]:
    return await job.aenqueue()


def test_a_loss_is_counted_once(masters: tuple[Server, Server, Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the task was called, and by its name. A store that is full counts it as soon as it has room."""
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 0.0)
    monkeypatch.setattr("pyxqueue.backends.redis.recent._AGAIN", 0.0)
    _, second, sentinel = masters
    with closing(TaskQueue(url_of(sentinel))) as queue, closing(TaskQueue(second.url)) as there:
        job, other = queue.task(name="job")(lambda: None), queue.task(name="other")(lambda: None)
        there.stores.backend.lease_ms()  # registers the group
        for _ in range(2):
            job.with_options(task_id="a")()
        other()
        name(sentinel, second)
        ask(second, "CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(UnknownTaskError, match="the failover"):
            queue.result("a").get(5)
        assert counted(there) == {}

        ask(second, "CONFIG", "SET", "maxmemory", 0)
        for _ in range(3):
            job()

        assert counted(there) == {"job": 1, "other": 1}


def test_a_forked_process_does_not_count_what_its_parent_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It remembers what it has enqueued itself."""
    recent = Recent("q", "redis://h")
    recent.note("old", {"a": "job"})
    monkeypatch.setattr("pyxqueue.backends.redis.recent.os", SimpleNamespace(getpid=lambda: -1))
    recent.note("old", {"b": "job"})

    assert [list(one.tasks) for one in recent._take("new")] == [["b"]]


def test_a_connection_that_still_leads_to_the_former_master() -> None:
    """What it stores is looked for at the new one, and not the other way round."""
    now = [0.0]
    recent = Recent("q", "redis://h", monotonic=lambda: now[0])
    recent.note("old", {"a": "job"})
    assert recent._take("old") == []
    recent.note("new", {"b": "job"})
    assert [list(one.tasks) for one in recent._take("new")] == [["a"]]
    recent.note("old", {"c": "job"})

    assert recent._take("old") == []
    assert [list(one.tasks) for one in recent._take("new")] == [["c"]]
    now[0] = 5.0  # the old one may be the master again
    assert [list(one.tasks) for one in recent._take("old")] == [["b"]]


def test_what_the_program_deletes_is_not_lost(masters: tuple[Server, Server, Server]) -> None:
    """It is not looked for after a failover."""
    with closing(TaskQueue(url_of(masters[2]))) as queue:
        job = queue.task(name="job")(lambda: None)
        kept, deleted = job(), job()
        queue.admin.delete(deleted.task_id)
        backend = queue.stores.backend
        assert isinstance(backend, RedisBackend)
        recent = backend._registration.recent
        assert recent is not None

        assert [list(one.tasks) for one in recent._take("new") if one.tasks] == [[kept.task_id]]


def test_what_is_looked_for_meanwhile() -> None:
    """Of many coroutines that wait, one looks; the others, which find that their tasks are gone, know why."""
    recent = Recent("q", "redis://h")
    recent.note("old", {"a": "job", "b": "job"})
    looking = recent._look_for(recent._take("new"), "new", GroupKeys.of("q", "cg", "q"))
    next(looking)
    assert "from old to new" in recent.why_lost("a")

    with suppress(StopIteration):
        looking.send([0, 1])

    assert "from old to new" in recent.why_lost("a")
    assert not recent.why_lost("b")


def test_what_is_remembered_is_bounded() -> None:
    """By number, and by time: but a failover may take longer than that, and the program may not reach any master."""
    now = [0.0]
    recent = Recent("q", "redis://h", monotonic=lambda: now[0])
    for number in range(30_000):
        recent.note("old", {str(number): "job"})
    assert len(recent._take("new")) == 10_000
    recent.note("new", {"a": "job"})
    now[0] = 60.0
    assert recent._take("new") == []
    recent.note("new", {"b": "job"})
    now[0] = 120.0
    recent.note("newest", {"c": "job"})
    assert recent._take("newest") == []  # since that call, "b" is a minute old

    now[0] = 130.0
    recent.note("newest", {"d": "job"})
    now[0] = 190.0
    assert [list(one.tasks) for one in recent._take("another")] == [["c"], ["d"]]
    recent.note("another", {"e": "job"})
    now[0] = 4_000.0
    assert recent._take("last") == []


def test_a_former_master_gets_no_more_writes_from_asyncio(
    masters: tuple[Server, Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for connections of asyncio."""
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 0.0)
    first, second, sentinel = masters
    with closing(TaskQueue(url_of(sentinel))) as queue:
        job = queue.task(name="job")(lambda: None)

        async def main() -> None:
            await job.aenqueue()
            name(sentinel, second)
            await job.aenqueue()

        asyncio.run(main())
        assert (length(first), length(second)) == (1, 1)


def test_a_connection_that_was_in_use_when_another_became_the_master(masters: tuple[Server, Server, Server]) -> None:
    """In asyncio it is not used again for the former one."""
    _, second, sentinel = masters

    async def main() -> int:
        client = ConnectionConfig.from_url(url_of(sentinel)).open_async(timeout=5, retries=0)
        pool = client._client.connection_pool  # type: ignore[attr-defined] # of the kind that follows Sentinels
        connection = await pool.get_connection()
        name(sentinel, second)
        await pool.get_master_address()
        await pool.release(connection)
        again = await pool.get_connection()
        await pool.release(again)
        await client.aclose()
        return int(again.port)

    assert asyncio.run(main()) == second.port


def test_work_goes_on_while_no_sentinel_answers(
    masters: tuple[Server, Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection to the master that is open is used."""
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 0.0)
    first, _, sentinel = masters
    with closing(TaskQueue(url_of(sentinel))) as queue:
        job = queue.task(name="job")(lambda: None)
        job()
        sentinel.kill()

        job()

        assert length(first) == 2


def test_each_attempt_asks_the_sentinels_once(
    masters: tuple[Server, Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that has to connect is tried four times, and so are the Sentinels, not four times for each."""
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 3_600.0)
    asked = count_questions(monkeypatch)
    client = ConnectionConfig.from_url(url_of(masters[2])).open(timeout=5, retries=3)
    assert client.execute_command("XLEN", "tasks") == 0
    masters[2].kill()
    drop_idle(client)
    asked.clear()

    with pytest.raises(MasterNotFoundError):
        client.execute_command("XLEN", "tasks")

    assert len(asked) == 4
    client.close()


def test_a_new_connection_is_tried_again(
    masters: tuple[Server, Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first connection, for which no Sentinel names the master, is made when it does."""
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 3_600.0)
    asked = count_questions(monkeypatch, failures=3)
    client = ConnectionConfig.from_url(url_of(masters[2])).open(timeout=5, retries=3)

    assert client.execute_command("XLEN", "tasks") == 0
    drop_idle(client)
    assert client.execute_command("XLEN", "tasks") == 0

    assert len(asked) == 5
    client.close()


def count_questions(monkeypatch: pytest.MonkeyPatch, failures: int = 0) -> list[str]:
    """Note the questions to the Sentinels, all together; the first ones fail."""
    asked: list[str] = []
    discover = Sentinels.discover_master

    def noted(self: Sentinels, service_name: str) -> tuple[str, int]:
        asked.append(service_name)
        if len(asked) <= failures:
            raise MasterNotFoundError("not yet")
        return discover(self, service_name)

    monkeypatch.setattr(Sentinels, "discover_master", noted)
    return asked


def test_a_silent_sentinel_is_passed_over_soon(masters: tuple[Server, Server, Server]) -> None:
    """Its clients wait for a second, however long a command may take."""
    config = ConnectionConfig.from_url(url_of(masters[2]))
    client: Any = config.open(timeout=30, retries=3)
    aclient: Any = config.open_async(timeout=30, retries=3)

    for one in (client, aclient):
        for sentinel in one._pool.sentinel_manager.sentinels:
            settings = sentinel.connection_pool.connection_kwargs
            assert (settings["socket_timeout"], settings["socket_connect_timeout"]) == (1.0, 1.0)
    client.close()


def test_one_thread_waits_for_the_sentinels(
    masters: tuple[Server, Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others use their connections to the master meanwhile."""
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 0.0)
    client: Any = ConnectionConfig.from_url(url_of(masters[2])).open(timeout=5, retries=3)
    assert client.execute_command("XLEN", "tasks") == 0
    asking, answered, asked = threading.Event(), threading.Event(), list[str]()
    discover = Sentinels.discover_master

    def slow(self: Sentinels, service_name: str) -> tuple[str, int]:
        asked.append(service_name)
        if len(asked) == 1:
            asking.set()
            assert answered.wait(20)
        return discover(self, service_name)

    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as threads:
        threads.submit(client.execute_command, "XLEN", "tasks").result(20)
        patch.setattr(Sentinels, "discover_master", slow)
        waiting = threads.submit(lambda: client.master)
        assert asking.wait(20)

        assert client.execute_command("XLEN", "tasks") == 0

        assert len(asked) == 1
        answered.set()
        waiting.result(20)
    client.close()


def test_when_the_sentinels_are_asked() -> None:
    """A second after an answer, ten seconds after none, and by one at a time."""
    now = [0.0]
    look = MasterLook(lambda: now[0])
    due = []
    for seconds in (0.9, 1.0, 5.0):
        now[0] = seconds
        due.append(look.is_due())
    assert due == [False, True, False]

    look.asked(in_vain=False)
    now[0] = 6.0
    assert look.is_due()
    look.asked(in_vain=True)
    now[0] = 15.9
    assert not look.is_due()
    now[0] = 16.0
    assert look.is_due()


def test_a_sentinel_that_has_not_heard_of_the_failover() -> None:
    """It names the old master with the old epoch, for a while; a later epoch says that it is the master again."""
    now = [0.0]
    look = MasterLook(lambda: now[0])
    old, new = ("h", 1), ("h", 2)
    assert [look.named(old, 3), look.named(new, 3), look.named(old, 3), look.named(new, 4)] == [old, new, new, new]
    assert look.named(old, 5) == old
    assert look.named(new, 5) == old
    now[0] = 61.0  # its epochs may have begun anew
    assert look.named(new, 1) == new


@pytest.mark.parametrize(
    ("down", "address", "wanted"),
    [
        (False, [b"h", b"1"], ("h", 1)),
        (False, [b"h", b"2"], ("h", 2)),
        (True, [b"h", b"1"], None),
        (True, [b"h", b"2"], ("h", 2)),
        (True, None, None),
    ],
)
def test_what_a_sentinel_answers(down: bool, address: list[bytes] | None, wanted: tuple[str, int] | None) -> None:
    """One that thinks the old master to be down names none, unless a replica was promoted already."""
    state = {"ip": "h", "port": 1, "is_master": True, "is_sdown": down, "is_odown": False, "num-other-sentinels": 2}

    assert _Answers(1, None, MasterLook()).read(state, address) == wanted
    assert _Answers(3, None, MasterLook()).read(state, address) is None
    assert _Answers(1, None, MasterLook()).read(None, address) is None


def test_the_sentinels_are_asked_again_soon_if_they_only_know_no_master(
    masters: tuple[Server, Server, Server],
) -> None:
    """The failover is still to come. If none of them answers, that is another error."""
    sentinel = masters[2]
    ask(sentinel, "SENTINEL", "REMOVE", MASTER)
    client: Any = ConnectionConfig.from_url(url_of(sentinel)).open(timeout=5, retries=0)
    with pytest.raises(MasterNotFoundError) as raised:
        client.execute_command("XLEN", "tasks")
    assert not isinstance(raised.value, NoSentinelError)
    client._look._next = 0.0
    assert client.master == ""
    assert client._look._next - time.monotonic() <= 1.0

    sentinel.kill()
    with pytest.raises(NoSentinelError):
        client.execute_command("XLEN", "tasks")
    client._look._next = 0.0
    assert client.master == ""
    assert client._look._next - time.monotonic() > 5.0
    client.close()


def test_all_clients_leave_the_old_master_together(
    masters: tuple[Server, Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them asks, in a thread or in asyncio, and the others follow without a question of their own."""
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 3_600.0)
    first, second, sentinel = masters

    async def main() -> None:
        config = ConnectionConfig.from_url(url_of(sentinel))
        asks, other = config.open(timeout=5, retries=0), config.open(timeout=5, retries=0)
        aclient = config.open_async(timeout=5, retries=0)
        for client in (asks, other):
            client.execute_command("INCR", "key")
        await aclient.execute_command("INCR", "key")
        name(sentinel, second)
        asks._look._next = 0.0  # type: ignore[attr-defined] # of the kind that follows Sentinels
        for client in (asks, other):
            client.execute_command("INCR", "key")
        await aclient.execute_command("INCR", "key")
        assert {master_of(asks, ""), master_of(other, ""), aclient.master_of("")} == {f"127.0.0.1:{second.port}"}
        for client in (asks, other):
            client.close()
        await aclient.aclose()

    asyncio.run(main())
    assert [int(ask(server, "GET", "key")) for server in (first, second)] == [3, 3]


def test_a_wait_hears_of_the_new_master(masters: tuple[Server, Server, Server]) -> None:
    """It subscribes there, although the old one still answers."""
    first, second, sentinel = masters
    with closing(TaskQueue(url_of(sentinel))) as queue, ThreadPoolExecutor(1) as threads:
        job = queue.task(name="job")(lambda: "done")
        waiting = threads.submit(lambda: job().get(60))
        until(lambda: ask(first, "PUBSUB", "CHANNELS"), "it listens")
        ask(second, "REPLICAOF", "127.0.0.1", first.port)
        until(lambda: ask(first, "WAIT", 1, 100) == 1, "it has the task")
        ask(second, "REPLICAOF", "NO", "ONE")
        name(sentinel, second)

        until(lambda: ask(second, "PUBSUB", "CHANNELS"), "it listens there")

        drain(queue)
        assert waiting.result(20) == "done"


def test_ears_for_other_connections() -> None:
    """A driver that has connected again by itself has another socket, on which nobody would wait."""
    with closing(socket.socket()) as bell, closing(socket.socket()) as old, closing(socket.socket()) as new:
        ears = _Ears(bell, [old])
        assert ears.hear([old])
        assert not ears.hear([new])
        assert not ears.hear([])
        old.close()
        assert not ears.hear([old])


@pytest.mark.parametrize("how", ["killed", "ordered"])
def test_a_failover(pair: Watched, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer, a worker and a wait go on with the new master, and lose nothing that the replica had.

    The client asks the Sentinels before each command. Asking once a second, it could have a call accepted by the old
    master after the order, which loses it.
    """
    monkeypatch.setattr("pyxqueue.backends.redis.looking._EVERY", 0.0)
    with closing(TaskQueue(pair.url)) as queue:
        job = queue.task(name="job")(lambda: "done")
        before = [job() for _ in range(20)]
        got: list[object] = []
        waiting = threading.Thread(target=lambda: got.extend(handle.get(60) for handle in before))
        waiting.start()
        old = pair.master
        until(lambda: length(pair.replica) == 20, "the replica has the tasks")
        if how == "killed":
            old.kill()
        else:
            ask(pair.sentinels[0], "SENTINEL", "FAILOVER", MASTER)
        until(lambda: pair.master is not old, "the replica was promoted")

        after = until(lambda: kept(job, pair.master), "a call reaches the new master")
        until(lambda: drained(queue), "the worker goes on")
        waiting.join()

        assert got == ["done"] * 20
        assert after is not None
        assert after.get(30) == "done"
        assert until(lambda: answered(job, queue), "a call from asyncio reaches it too") == "done"


def answered(job: Job, queue: TaskQueue) -> str | None:
    with suppress(BrokerUnavailableError):  # a Sentinel may doubt the new master for a moment
        return asyncio.run(asynchronously(job, queue))
    return None


def called(job: Job) -> AsyncResult[str] | None:
    with suppress(BrokerUnavailableError):
        return job()
    return None


def kept(job: Job, master: Server) -> AsyncResult[str] | None:
    """Call the task, and return the handle if this server has it then."""
    before = length(master)
    handle = called(job)
    return handle if length(master) > before else None


def accepted(job: Job, count: int) -> list[AsyncResult[str]]:
    """Call until so many calls were accepted."""
    found = list[AsyncResult[str]]()
    while len(found) < count:
        handle = until(lambda: called(job), "a call is accepted")
        assert handle is not None
        found.append(handle)
    return found


def drained(queue: TaskQueue) -> bool:
    with suppress(BrokerError):
        drain(queue)
        return queue.admin.info().depth.waiting == 0  # type: ignore[union-attr]  # the queue can be read
    return False


async def asynchronously(job: Job, queue: TaskQueue) -> str:
    handle = await job.aenqueue()
    await asyncio.to_thread(drain, queue)
    return await handle


@pytest.mark.parametrize(
    "client",
    ["redis+sentinel://127.0.0.1:1/main/0", Sentinel([("127.0.0.1", 1)]).master_for("main")],
    ids=["url", "client"],
)
def test_nothing_connects_before_it_is_used(client: object) -> None:
    """A queue can be made where no Sentinel runs."""
    queue = TaskQueue(client)

    with pytest.raises(BrokerUnavailableError, match="sentinel service 'main'"):
        queue.task(name="job")(lambda: None)()


def test_logins(masters: tuple[Server, Server, Server]) -> None:
    """The login in the URL is that of the master; the Sentinels have their own."""
    first, _, sentinel = masters
    ask(first, "ACL", "SETUSER", "shop", "on", ">s@cret", "allkeys", "allchannels", "+@all")
    ask(first, "CONFIG", "SET", "requirepass", "another")
    ask(sentinel, "ACL", "SETUSER", "look", "on", ">l/ook", "allchannels", "+@all")
    place = f"127.0.0.1:{sentinel.port}/{MASTER}?sentinel_username=look&sentinel_password=l%2Fook"
    with closing(TaskQueue(f"redis+sentinel://shop:s%40cret@{place}")) as queue:
        assert queue.task(name="job")(lambda: None)().task_id
    with closing(TaskQueue(f"redis+sentinel://shop:wr0ng@{place}")) as queue:
        with pytest.raises(BrokerError) as raised:
            queue.task(name="job")(lambda: None)()
        assert "wr0ng" not in str(raised.value)


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_five_failovers(kind: ServerKind) -> None:
    """The master is killed five times, and comes back as a replica. With a replica that must have each write, no call
    that returned is lost."""
    args = (
        "--min-replicas-to-write",
        "1",
        "--min-replicas-max-lag",
        "1",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    )
    with watched(kind, sentinels=3, args=args) as pair, closing(TaskQueue(pair.url)) as queue:
        job = queue.task(name="job")(lambda: "done")
        handles: list[AsyncResult[str]] = []
        for _ in range(5):
            pair.wait_replicated()
            handles += accepted(job, 200)
            old = pair.master
            old.kill()
            until(lambda old=old: pair.master is not old, "the replica was promoted")  # type: ignore[misc]
            old.restart()
            until(lambda: follows(pair.replica), "one follows the other", 120)
        until(lambda: drained(queue), "all is done", 60)
        assert [handle.get(30) for handle in handles] == ["done"] * 1_000


@pytest.mark.soak
@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("kind", kinds_to_test())
def test_five_failovers_of_durable_calls(kind: ServerKind, replicas: int) -> None:
    """The master is killed, or a failover is ordered, in turns; it comes back as a replica. Of the calls that waited
    for the replicas, in threads and in asyncio, none that returned is lost."""
    with (
        watched(kind, sentinels=3, replicas=replicas) as pair,
        closing(TaskQueue(f"{pair.url}?durability=replica")) as queue,
    ):
        job = queue.task(name="job")(lambda: "done")
        handles: list[AsyncResult[str]] = []
        for number in range(5):
            pair.wait_replicated()
            handles += accepted(job, 100)
            handles += asyncio.run(acalled(job, 100))
            old = pair.master
            if number % 2:
                until(lambda old=old: is_left(pair, old), "the failover that was ordered", 60)  # type: ignore[misc]
            else:
                old.kill()
                until(lambda old=old: pair.master is not old, "the replica was promoted", 60)  # type: ignore[misc]
            handles += asyncio.run(acalled(job, 20)) if number % 2 else []
            if not number % 2:
                old.restart()
                follow(old, pair.master)  # it is empty, and no Sentinel must take it for the master
            until(lambda: all(map(follows, pair.replicas)), "the others follow it", 120)
        until(lambda: drained(queue), "all is done", 60)
        assert [handle.get(30) for handle in handles] == ["done"] * len(handles)


async def acalled(job: Job, times: int) -> list[AsyncResult[str]]:
    """Call the task in asyncio, each time until that is accepted."""
    handles: list[AsyncResult[str]] = []
    deadline = time.monotonic() + 120
    while len(handles) < times:
        with suppress(BrokerUnavailableError):
            handles.append(await job.aenqueue())
        assert time.monotonic() < deadline, "not within 120 s: the calls are accepted"
    return handles


def is_left(pair: Watched, old: Server) -> bool:
    """Whether another server is the master; if not, order it, again if the Sentinel took no replica for a good one."""
    if pair.master is old:
        with suppress(redis.ResponseError):
            ask(pair.sentinels[0], "SENTINEL", "FAILOVER", MASTER)
    return pair.master is not old


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_how_soon_everybody_is_back(kind: ServerKind, stream_key: str, tmp_path: Path) -> None:
    """The master is killed, hangs, or a failover is ordered: calls, waits and workers go on after the promotion."""
    with watched(kind, sentinels=3) as pair, users(pair.url, stream_key, tmp_path) as running:
        times = {how: list[dict[str, float]]() for how in ("killed", "hangs", "ordered")}
        for how in [*times, *times]:
            pair.wait_replicated()
            old = pair.master
            if how == "ordered":
                until(lambda old=old: is_left(pair, old), "the failover that was ordered", 60)  # type: ignore[misc]
            else:
                old.kill() if how == "killed" else old.pause()
                until(lambda old=old: pair.master is not old, "the replica was promoted", 60)  # type: ignore[misc]
            times[how].append(running.back(time.monotonic()))
            if how == "killed":
                old.restart()
            elif how == "hangs":
                old.resume()
            until(lambda: follows(pair.replica), "the other one follows it", 120)
        for how, found in times.items():
            # Each command that the hung server already has takes its five seconds.
            told(f"Sentinel, {kind}, the master {how}", found, limit=15 if how == "hangs" else 5)
