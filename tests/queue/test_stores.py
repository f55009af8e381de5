"""Where a queue's store comes from, and what cannot be one."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio
from redis.sentinel import Sentinel

from pyxqueue import (
    AlreadyRunningError,
    BrokerUnavailableError,
    ConfigurationError,
    NotRunningError,
    TaskQueue,
    UnknownTaskError,
)
from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.client.queue import store_of
from pyxqueue.protocols import StoreOptions
from pyxqueue.serializers import JSONSerializer, Seal
from pyxqueue.testing import drain


def test_making_a_queue_connects_to_nothing() -> None:
    """A queue of an unreachable store can be made; its first use raises an error."""
    queue = TaskQueue("redis://127.0.0.1:1/0", stream_key="q")
    task = queue.task(name="work")(lambda: None)

    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1"):
        task()


@pytest.mark.parametrize(
    "store",
    ["redis://127.0.0.1:1/0", Sentinel([("127.0.0.1", 1)]).master_for("main")],
    ids=["server", "sentinel"],
)
def test_trying_again_leaves_the_programs_random_numbers_alone(store: Any) -> None:
    """Retries do not use the generator of `random`, which the program may have seeded."""
    before = random.getstate()

    with pytest.raises(BrokerUnavailableError):
        TaskQueue(store, stream_key="q").task_total()

    assert random.getstate() == before


def test_a_text_is_a_name_or_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text without a scheme is the queue's name on the default store."""
    monkeypatch.setenv("PYXQUEUE_URL", "memory://")
    queue = TaskQueue("mail")

    assert queue.stream_key == "mail"
    assert isinstance(queue.stores.backend, MemoryBackend)
    assert TaskQueue("memory://", stream_key="mail").stream_key == "mail"


def test_the_default_store_is_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the store in one line, without the password."""
    monkeypatch.setenv("PYXQUEUE_URL", "redis://user:secret@127.0.0.1:1/0?password=secret")

    with caplog.at_level(logging.INFO, "pyxqueue"), pytest.raises(BrokerUnavailableError):
        TaskQueue("mail").task_total()

    assert caplog.messages == ["queue mail uses redis://127.0.0.1:1/0"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:6379", "PYXQUEUE_URL is not a URL: set it to one such as redis://127.0.0.1:6379/0"),
        (
            "ftp://host",
            r"no backend for ftp:// is installed; installed are files, memory, redis, redis\+cluster, ",
        ),
    ],
)
def test_a_bad_url_in_the_environment(monkeypatch: pytest.MonkeyPatch, url: str, why: str) -> None:
    """The error is raised when the queue is used."""
    monkeypatch.setenv("PYXQUEUE_URL", url)

    with pytest.raises(ConfigurationError, match=why):
        TaskQueue("q").task_total()


@pytest.mark.parametrize("text", ["", "localhost:6379", "/var/lib/jobs.db", "jobs/mail"])
def test_a_forgotten_scheme_is_no_name(text: str) -> None:
    """A host or a path without a scheme is refused; as a name it would be a queue in a local file."""
    with pytest.raises(ConfigurationError, match=r"neither a queue's name nor a URL: give a URL such as redis://"):
        TaskQueue(text)


@pytest.mark.parametrize("store", [5, object(), {"host": "localhost"}])
def test_what_is_no_store(store: Any) -> None:
    """The error gives an example of a URL."""
    with pytest.raises(ConfigurationError, match="is not a client of a known store: give a redis"):
        TaskQueue(store).task_total()


def test_an_asyncio_client_is_no_store() -> None:
    """The error says what to give instead."""
    with pytest.raises(ConfigurationError, match="asyncio"):
        TaskQueue(redis.asyncio.Redis()).task_total()


def test_an_option_that_is_gone() -> None:
    """For an option of 0.1.1 the error says what to do instead."""
    options: dict[str, Any] = {"gc_interval": 60}

    with pytest.raises(
        ConfigurationError, match="gc_interval no longer exists, leave it out: the history is cut to queue_size"
    ):
        TaskQueue("q", **options)


def test_an_option_that_never_was() -> None:
    """The error names the option, and lists those that exist."""
    options: dict[str, Any] = {"bogus": 1, "ttl": 2}

    with pytest.raises(
        ConfigurationError, match=r"TaskQueue got an unknown option bogus, ttl; the options are store, .*, results$"
    ):
        TaskQueue("q", **options)


def test_a_client_says_where_to_connect() -> None:
    """A client of any kind is taken, here a fake one that decodes what it reads."""
    client = fakeredis.FakeRedis(decode_responses=True)
    queue = TaskQueue(client, stream_key="q")
    handle = queue.task(name="work")(lambda: b"\xff")()
    drain(queue)

    assert handle.get(timeout=0) == b"\xff"
    queue.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda client: TaskQueue(client, "mail"),
        lambda client: TaskQueue(client, stream_key="mail"),
        lambda client: TaskQueue(client=client, stream_key="mail"),
        lambda client: TaskQueue(store=client, stream_key="mail"),
    ],
)
@pytest.mark.parametrize("kind", ["client", "url"])
def test_the_ways_to_name_a_store_and_a_queue(make: Callable[[Any], TaskQueue], kind: str) -> None:
    """Arguments by position and by name mean the same, and nothing is connected yet."""
    store = redis.Redis(port=1) if kind == "client" else "redis://127.0.0.1:1/0"

    queue = make(store)

    assert (store_of(queue).given, queue.stream_key) == (store, "mail")


def test_a_client_alone_has_the_queue_of_the_seeds() -> None:
    """Its stream is called tasks."""
    assert TaskQueue(redis.Redis(port=1)).stream_key == TaskQueue(client=redis.Redis(port=1)).stream_key == "tasks"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: TaskQueue("redis://db", client=redis.Redis()), "give either a store or client="),
        (lambda: TaskQueue("mail", "other"), "has two names"),
        (lambda: TaskQueue(client="mail", stream_key="other"), "has two names"),
        (lambda: TaskQueue(client=redis.Redis(), broker=MemoryBackend(MemoryStore(), StoreOptions())), "give either"),
    ],
)
def test_a_store_is_named_once(make: Callable[[], TaskQueue], why: str) -> None:
    """Two arguments that name the store, or two that name the queue, are refused."""
    with pytest.raises(ConfigurationError, match=why):
        make()


def test_a_queue_can_be_closed_and_used_again() -> None:
    """It opens its store again; closing twice does no harm."""
    closed = []

    class Backend(MemoryBackend):
        def close(self) -> None:
            closed.append(self)

    backend = Backend(MemoryStore(), StoreOptions("q"))
    queue = TaskQueue(stream_key="q", broker=backend)
    handle = queue.task(name="work")(lambda: None)()
    queue.close()
    queue.close()

    assert closed == [backend]
    assert queue.result(handle.task_id).state.name == "PENDING"


def test_two_stores() -> None:
    """The messages are in one store, the results in the other."""
    tasks, results = MemoryStore(), MemoryStore()
    queue = TaskQueue(
        stream_key="q",
        broker=MemoryBackend(tasks, StoreOptions("q")),
        results=MemoryResults(results, StoreOptions("q")),
    )

    def work(n: int) -> int:
        return 10 // n

    task = queue.task(name="work")(work)
    good, bad = task(5), task(0)
    drain(queue)

    assert good.get(timeout=0) == 2
    with pytest.raises(Exception, match="ZeroDivisionError"):
        bad.get(timeout=0)
    assert queue.get_task(good.task_id)["info"]["value"] == 2
    assert queue.get_task(bad.task_id)["info"]["value"].startswith("ZeroDivisionError")
    assert [one["info"]["value"] for one in queue.get_tasks() if one["task_id"] == good.task_id] == [2]
    good.forget()
    with pytest.raises(UnknownTaskError):
        queue.result("unknown").get(timeout=0)


def test_one_store_or_the_other() -> None:
    """A store and `broker=` beside it are refused."""
    with pytest.raises(ConfigurationError, match="give either a store, or broker= and results="):
        TaskQueue("memory://", broker=MemoryBackend(MemoryStore(), StoreOptions()))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"broker": "redis://db"},
            r"^broker is a text: give a URL as the first argument, TaskQueue\('redis://\.\.\.'\)",
        ),
        (
            {"broker": object()},
            r"^broker: a object is not a Backend: it lacks adopt, cancel, claim, .*pyxqueue.protocols",
        ),
        (
            {"broker": MemoryBackend(MemoryStore(), StoreOptions()), "results": 3},
            "results: a int is not a ResultStore",
        ),
        ({"serializer": object()}, "is not a Serializer: it lacks dumps, loads, name, trusted"),
        ({"serializer": None}, "None is not a serializer: leave it out for 'json', or give a name"),
        ({"serializer": JSONSerializer}, r"serializer is the class JSONSerializer: make one, JSONSerializer\(...\)"),
        ({"accept": [object()]}, "is not a Serializer"),
        ({"accept": [None]}, "None is not a serializer"),
        ({"accept": None}, r"accept=None is not a list of serializers: write accept=\['msgpack'\]"),
        ({"accept": "json"}, "accept='json' is not a list"),
    ],
)
def test_parts_are_whole(settings: dict[str, Any], why: str) -> None:
    """An incomplete broker or serializer is refused where it is given, not at the first call."""
    with pytest.raises(ConfigurationError, match=why):
        TaskQueue(**settings)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"seal": "a secret key of mine"}, r"^seal: a str is not a Seal: write seal=Seal\(key\)$"),
        ({"observer": 5}, "observer=5 is not a function: give one that takes an event"),
        ({"eager": "no"}, "eager='no' must be True or False"),
        ({"propagate": 1}, "propagate=1 must be True or False"),
        ({"max_payload": None}, "max_payload=None must be a whole number, 0 or more"),
        ({"max_result": True}, "max_result=True must be"),
        ({"timeout": None}, "timeout=None must be"),
        ({"queue_size": 1.5}, "queue_size=1.5 must be"),
        ({"failed_ttl": 0}, "failed_ttl=0 must be a number of seconds, more than 0"),
        ({"failed_ttl": -1.5}, "failed_ttl=-1.5 must be"),
        ({"failed_ttl": float("nan")}, "failed_ttl=nan must be"),
        ({"failed_ttl": "1d"}, "failed_ttl='1d' must be"),
        ({"failed_ttl": True}, "failed_ttl=True must be"),
        ({"failed_ttl": timedelta(0)}, "failed_ttl=.* must be"),
        ({"max_failed": -1}, "max_failed=-1 must be a whole number, 0 or more"),
        ({"max_failed": 1.5}, "max_failed=1.5 must be"),
        ({"max_failed": True}, "max_failed=True must be"),
    ],
)
def test_options_are_of_their_kind(settings: dict[str, Any], why: str) -> None:
    """The error comes from the constructor, and says what to give."""
    with pytest.raises(ConfigurationError, match=why):
        TaskQueue("q", **settings)


@pytest.mark.parametrize("name", [5, b"job", ["job"], "", "a b"])
def test_a_name_of_a_task_that_is_not_valid(name: Any) -> None:
    """It is refused when the task is defined."""
    with pytest.raises(ConfigurationError, match=r"task name .* is not valid: use 1 to 200 letters"):
        TaskQueue("q").task(name=name)(print)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (None, "needs at least one key: give a text or bytes"),
        (5, "needs at least one key"),
        ([None], "key 1 of the seal is a NoneType that is not valid"),
        (["long enough to be a key", 5], "key 2 of the seal is a int"),
        ("\ud800", "key 1 of the seal is a str that is not valid"),
    ],
)
def test_keys_of_a_seal_are_texts_or_bytes(keys: Any, why: str) -> None:
    """The error does not show the key."""
    with pytest.raises(ConfigurationError, match=why):
        Seal(keys)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"lease": 0}, "lease=0 must be more than 0 seconds"),
        ({"lease": -1}, "lease=-1 must be"),
        ({"lease": float("nan")}, "lease=nan is not a number of seconds"),
        ({"lease": float("inf")}, "lease=inf is not"),
        ({"lease": 1e300}, r"lease=1e\+300 must be more than 0 seconds, and less than 1e\+10"),
        ({"lease": "soon"}, "lease='soon' is not"),
        ({"lease": [1]}, "lease=a list is not"),
    ],
)
def test_a_lease_is_a_number_of_seconds(settings: dict[str, Any], text: str) -> None:
    """A lease is more than 0 and finite."""
    with pytest.raises(ConfigurationError, match=text):
        TaskQueue("q", **settings)


@pytest.mark.parametrize("name", ["", None, 3, b"q", "\ud800"])
def test_a_group_has_a_name(name: Any) -> None:
    """The name is one that every store can keep."""
    with pytest.raises(ConfigurationError, match=r"consumer_group=.* is not valid: give a text"):
        TaskQueue("q", consumer_group=name)


@pytest.mark.parametrize("name", ["", 3, b"q", "\ud800"])
def test_a_queue_has_a_name(name: Any) -> None:
    """The rules are those of groups."""
    with pytest.raises(ConfigurationError, match=r"stream_key=.* is not valid: give a text"):
        TaskQueue("memory://", stream_key=name)


@pytest.mark.parametrize("task_id", ["\ud800", b"\xff", "a\0b", "x" * 100_000])
def test_what_is_no_id_is_an_unknown_one(tmp_path: Path, task_id: str | bytes) -> None:
    """The error is that of an unknown id, also for a text that the store cannot look up."""
    with closing(TaskQueue(f"sqlite:///{tmp_path}/queue.db")) as queue:
        with pytest.raises(UnknownTaskError):
            queue.get_task(task_id)
        with pytest.raises(UnknownTaskError):
            queue.result(task_id).get(timeout=0)


@pytest.mark.parametrize(("given", "variable", "ms"), [(None, None, 30_000), (None, "7.5", 7_500), (2, "7.5", 2_000)])
def test_the_lease_is_stored(
    monkeypatch: pytest.MonkeyPatch, given: float | None, variable: str | None, ms: int
) -> None:
    """The lease is that given in code, else that of the environment, else 30 s."""
    if variable is not None:
        monkeypatch.setenv("PYXQUEUE_LEASE", variable)

    assert TaskQueue("memory://", lease=given).stores.backend.lease_ms() == ms


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan", "inf"])
def test_a_bad_lease_in_the_environment(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The error names the variable."""
    monkeypatch.setenv("PYXQUEUE_LEASE", text)

    with pytest.raises(ConfigurationError, match=f"^PYXQUEUE_LEASE='{text}' "):
        TaskQueue("q")
    TaskQueue("q", lease=5)


@pytest.mark.parametrize(
    ("text", "eager"),
    [
        ("1", True),
        ("true", True),
        ("YES", True),
        ("on", True),
        ("0", False),
        ("No", False),
        ("off", False),
        ("", False),
    ],
)
def test_eager_by_environment(monkeypatch: pytest.MonkeyPatch, text: str, eager: bool) -> None:
    """The variable makes queues eager unless the code says otherwise."""
    monkeypatch.setenv("PYXQUEUE_EAGER", text)

    assert (TaskQueue("q").eager is not None) is eager
    assert TaskQueue("q", eager=False).eager is None
    assert TaskQueue("q", eager=True).eager is not None


def test_eager_by_a_word_that_is_not_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unclear value is an error, so that a typo does not mean a real store."""
    monkeypatch.setenv("PYXQUEUE_EAGER", "ture")

    with pytest.raises(ConfigurationError, match="PYXQUEUE_EAGER='ture' is not a truth value: use 1 or 0"):
        TaskQueue("q")


@pytest.mark.parametrize("method", ["run", "start"])
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"store": "memory://"},
            "a memory:// store exists only inside one process, so worker processes cannot share it",
        ),
        (
            {"eager": True},
            r"an eager queue runs its tasks when they are called, without workers",
        ),
    ],
)
def test_a_store_of_one_process_has_no_workers(method: str, settings: dict[str, Any], why: str) -> None:
    """A memory store and an eager queue refuse workers, which could not see their tasks."""
    with pytest.raises(ConfigurationError, match=why):
        getattr(TaskQueue(**settings), method)(1)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"nworkers": -1}, "processes=-1 must be a whole number, 1 or more"),
        ({"nworkers": "2"}, "processes='2' must be a whole number"),
        ({"threads": 0}, "threads=0 must be a whole number"),
        ({"concurrency": -1}, "concurrency=-1 must be"),
        ({"grace": -1}, "grace=-1 must be a number of seconds"),
        ({"grace": "soon"}, "grace='soon' must be a number of seconds"),
    ],
)
def test_numbers_of_workers_are_checked(settings: dict[str, Any], why: str) -> None:
    """A wrong number is refused before a process is started."""
    with pytest.raises(ConfigurationError, match=f"the options for workers are not valid: {why}"):
        TaskQueue("redis://127.0.0.1:1/0").start(**settings)


def test_run_needs_the_main_thread(tmp_path: Path) -> None:
    """Signals reach the main thread alone."""
    queue = TaskQueue(f"sqlite:///{tmp_path}/queue.db")
    with ThreadPoolExecutor() as pool, pytest.raises(ConfigurationError, match=r"queue\.run.. needs the main thread"):
        pool.submit(queue.run, 1).result()


def test_shutdown_belongs_to_start() -> None:
    """Without `start`, `shutdown` raises an error."""
    with pytest.raises(NotRunningError, match="this program has not started workers"):
        TaskQueue("q").shutdown()


def test_workers_run_once() -> None:
    """A second `run` or `start` of the same queue is a mistake."""
    queue = TaskQueue("redis://127.0.0.1:1/0")
    queue._workers.running = True

    with pytest.raises(AlreadyRunningError, match="already has workers"):
        queue.start(1)
