"""What is published in a cluster stays in the shard of its queue, and nothing that is waited for is missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest
import redis

from pyxqueue import BrokerUnavailableError
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, steps
from pyxqueue.backends.redis.subscribing import Subscription
from pyxqueue.model.message import Message, Record
from pyxqueue.model.presence import OrderKind
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.contract.laws import law
from pyxqueue.testing.contract.steps import claimed, done, settled
from pyxqueue.testing.servers import Server
from tests.conftest import kinds_to_test
from tests.support.hearing import hear
from tests.support.until import until

from .conftest import KIND
from .servers import Nodes, ask, cluster, info
from .test_cluster import name_on

R2 = law("R2")
_LONGEST = 30_000
"""After so many ms a wait looks once more, and ends. One that is told ends long before."""


@pytest.fixture(autouse=True)
def only_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that is told nothing goes on: it does not look again by itself."""
    monkeypatch.setattr(steps, "RECHECK", 3_600)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=[] if kind in (KIND, "redis62") else pytest.mark.soak) for kind in kinds_to_test()
    ],
)
def each(request: pytest.FixtureRequest) -> Iterator[Nodes]:
    """A cluster of each kind of server; Redis 6.2 has no shard channels."""
    with cluster(request.param, masters=2) as nodes:
        yield nodes


@contextmanager
def backend_of(nodes: Nodes, name: str, login: str = "") -> Iterator[RedisBackend]:
    url = nodes.url.replace("://", f"://{login}")
    with closing(RedisBackend(ConnectionConfig.from_url(url), StoreOptions(name), reclaim_after=0)) as backend:
        yield backend


def waits(backend: RedisBackend, way: str) -> Sequence[Record | None]:
    async def wait() -> Sequence[Record | None]:
        return await backend.asynchronous().wait(["a"], _LONGEST)

    return backend.wait(["a"], _LONGEST) if way == "thread" else asyncio.run(wait())


def listeners(node: Server, name: str) -> list[str]:
    """The channels of a queue on which somebody listens there, by shard or not."""
    return [
        channel
        for command in (("CHANNELS",) if node.kind == "redis62" else ("SHARDCHANNELS", "CHANNELS"))
        for channel in ask(node, "PUBSUB", command, f"{{{name}}}:*")
    ]


@contextmanager
def waiting(
    nodes: Nodes, backend: RedisBackend, way: str = "thread", channels: int | None = None
) -> Iterator[Future[Sequence[Record | None]]]:
    """A wait for the task `a` that has looked, and listens."""
    name = backend.options.stream_key
    owner = nodes.owner(name)
    with ThreadPoolExecutor(1) as threads:
        wait = threads.submit(waits, backend, way)
        expected = channels or (1 if owner.kind == "redis62" else 2)
        until(lambda: len(listeners(owner, name)) == expected, "it listens")
        yield wait
        (record,) = wait.result(_LONGEST / 3_000)
        assert record is not None


@contextmanager
def heard_on(node: Server, publisher: Server) -> Iterator[Callable[[], list[bytes]]]:
    """What one node publishes on any channel, as a client of another hears it; called, it returns all that was."""
    with redis.Redis(port=node.port, protocol=2) as client, client.pubsub(ignore_subscribe_messages=True) as ears:
        ears.psubscribe("*")
        until(client.pubsub_numpat, "it listens")

        def heard() -> list[bytes]:
            ask(publisher, "PUBLISH", "end", "end")  # it comes after all others
            found: list[bytes] = []
            while b"end" not in found:
                if one := ears.get_message(timeout=5):
                    found.append(one["data"])
            return found[:-1]

        yield heard


@pytest.mark.parametrize("way", ["thread", "asyncio"])
def test_a_wait_is_told(each: Nodes, stream_key: str, way: str) -> None:
    """Other nodes hear nothing of it, except where the servers have no shard channels."""
    with backend_of(each, stream_key) as backend:
        delivery = claimed(backend, R2)
        owner = each.owner(stream_key)
        (other,) = [one for one in each.masters if one is not owner]
        with heard_on(other, owner) as heard:
            with waiting(each, backend, way):
                settled(backend, R2, done(delivery))
            assert bool(heard()) == (other.kind == "redis62")


def test_a_supervisor_is_told(each: Nodes, stream_key: str) -> None:
    """Of what is due first, of an order, and after a move of the slot; other nodes hear nothing of it."""
    with backend_of(each, stream_key) as backend:
        backend.announce("me", 60_000, "here")
        backend.maintain(1)
        ears, owner = backend.wakeups(), each.owner(stream_key)
        (other,) = [one for one in each.masters if one is not owner]
        assert ears.listen() > 0
        assert hear(ears) == 0
        with heard_on(other, owner) as heard:
            backend.enqueue([Message("a", "job", delay_ms=900_000)])
            assert hear(ears) == 900_000
            assert backend.give_order("me", OrderKind.DRAIN)
            assert hear(ears) == 0
            assert ears.orders == 1
            assert len(heard()) == (2 if other.kind == "redis62" else 0)

        each.move(stream_key, other)
        if other.kind != "redis62":
            assert hear(ears) == 0
            assert ears.fileno() == -1
            ears._next_open = 0.0
            assert ears.listen() > 0
            assert hear(ears) == 0
        backend.enqueue([Message("b", "job", delay_ms=800_000)])
        assert hear(ears) == 800_000


@pytest.mark.parametrize("way", ["thread", "asyncio"])
def test_a_slot_that_moves(each: Nodes, stream_key: str, way: str) -> None:
    """The wait listens at the new owner then, and looks again for what it has missed."""
    with backend_of(each, stream_key) as backend:
        delivery = claimed(backend, R2)
        here = each.owner(stream_key)
        (there,) = [one for one in each.masters if one is not here]
        with waiting(each, backend, way):
            each.move(stream_key, there)
            if there.kind != "redis62":
                until(lambda: ask(there, "PUBSUB", "SHARDCHANNELS", f"{{{stream_key}}}:*"), "it listens there")
            settled(backend, R2, done(delivery))


@pytest.mark.parametrize("older", ["waits", "ends it"])
def test_an_older_program(each: Nodes, stream_key: str, monkeypatch: pytest.MonkeyPatch, older: str) -> None:
    """It knows no shard channels; the wait is told all the same, whichever of the two programs is older."""
    with backend_of(each, stream_key) as backend:
        delivery = claimed(backend, R2)
        with monkeypatch.context() as patch:
            if older == "waits":
                patch.setattr(Subscription, "subscribe", lambda self, channel: self._pubsub.subscribe(channel))
            else:
                patch.setattr("pyxqueue.backends.redis.scripts._for_clusters", dict)
            with waiting(each, backend, channels=1 if older == "waits" else None):
                settled(backend, R2, done(delivery))


@pytest.mark.parametrize("forbidden", ["spublish", "ssubscribe"])
def test_a_login_without_the_right(nodes: Nodes, stream_key: str, forbidden: str) -> None:
    """The wait is told by way of all nodes."""
    for one in nodes.masters:
        ask(one, "ACL", "SETUSER", "half", "on", ">x", "~*", "&*", "+@all", f"-{forbidden}")
    with backend_of(nodes, stream_key, "half:x@") as backend:
        delivery = claimed(backend, R2)
        with waiting(nodes, backend, channels=1 if forbidden == "ssubscribe" else None):
            settled(backend, R2, done(delivery))


@pytest.mark.parametrize("rights", [[], ["-spublish", "-ssubscribe", "-sunsubscribe"]], ids=["all", "none"])
def test_one_of_two_channels_is_left(each: Nodes, stream_key: str, rights: Sequence[str]) -> None:
    """The connection stays for the other one, also where there are no shard channels, or a login may not use them."""
    old = each.masters[0].kind == "redis62"
    for one in each.masters:
        ask(one, "ACL", "SETUSER", "plain", "reset", "on", ">x", "~*", "&*", "+@all", *([] if old else rights))
    client = ConnectionConfig.from_url(each.url.replace("://", "://plain:x@")).open(timeout=5, retries=0)
    names = f"{{{stream_key}}}:one", f"{{{stream_key}}}:two"
    with closing(client), closing(Subscription(client, names[0])) as subscription:
        for name in names:
            subscription.subscribe(name)
        subscription.unsubscribe(names[0])

        found = [subscription.get_message(timeout=5) for _ in range(3)]

        assert [one["type"] for one in found] == ["subscribe", "subscribe", "unsubscribe"]


RIGHTS = ("spublish", "ssubscribe", "sunsubscribe")


@pytest.mark.parametrize("forbidden", [*([one] for one in RIGHTS), RIGHTS, ()], ids=" ".join)
def test_doctor_says_that_a_login_has_no_right_to_shard_channels(
    each: Nodes, stream_key: str, forbidden: Sequence[str]
) -> None:
    """Each command that it may not run; Redis 6.2 has none of them, and nothing is wrong with that."""
    old = each.masters[0].kind == "redis62"
    for one in each.masters:
        rights = ["+@all", *([] if old else [f"-{word}" for word in forbidden])]
        ask(one, "ACL", "SETUSER", "part", "reset", "on", ">x", "~*", "&*", *rights)
    with backend_of(each, stream_key, "part:x@") as backend:
        backend.lease_ms()
        findings = list(backend.diagnose())

    said = [one.text for one in findings if one.topic == "shard channels"]
    words = ", ".join(word.upper() for word in forbidden)
    assert [text.partition(":")[0] for text in said] == (
        [f"this user may not run {words}"] if words and not old else []
    )
    assert next(one for one in findings if one.topic == "rights").level == "ok"


def test_a_node_that_is_away(stream_key: str) -> None:
    """Waits for queues on other nodes are told meanwhile; those on its own listen again when it is back."""
    args = ("--cluster-require-full-coverage", "no", "--appendonly", "yes", "--appendfsync", "always")
    with cluster(KIND, args=args) as nodes, ExitStack() as stack:
        away, stays = nodes.masters[:2]  # redis-py would ask the first one for a table of commands
        names = name_on(nodes, away, f"{stream_key}-a"), name_on(nodes, stays, f"{stream_key}-b")  # tried in this order
        lost, kept = [stack.enter_context(backend_of(nodes, name)) for name in names]
        first, second = claimed(lost, R2), claimed(kept, R2)
        with ThreadPoolExecutor(1) as threads:
            other = threads.submit(waits, lost, "thread")
            until(lambda: len(listeners(away, names[0])) == 2, "it listens")
            with waiting(nodes, kept):
                before = subscriber(stays)
                away.kill()
                until(lambda: subscriber(stays) not in ("", before), "it listens on a new connection")
                settled(kept, R2, done(second))
            away.restart()
            until(lambda: listeners(away, names[0]), "it listens there again")
            until(lambda: all("cluster_state:ok" in info(node) for node in nodes.masters), "the cluster is whole")
            settled(lost, R2, done(first))
            with suppress(BrokerUnavailableError):  # it has looked again before the cluster was whole
                assert other.result(_LONGEST / 3_000)


def subscriber(node: Server) -> str:
    """The number of the only connection that listens there; empty if none does."""
    return str(ask(node, "CLIENT", "LIST", "TYPE", "pubsub")).partition(" ")[0]
