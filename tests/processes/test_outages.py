"""A store that dies, loses its data or is full, and replies that are lost."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue import StoreFullError, UnknownTaskError
from pyxqueue.model.message import Message
from pyxqueue.testing.servers import Server
from tests.support.proxy import Proxy
from tests.support.until import until

from .app import SILENCE, App, Site
from .conftest import StartTree, claiming


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the test's own; its arguments are the fixture's parameter."""
    with Server("valkey", args=getattr(request, "param", ())) as one:
        yield one


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as one:
        yield one


@pytest.fixture
def site(server: Server, site: Site) -> Site:
    return evolve(site, url=server.url)


APPENDING = [("--appendonly", "yes", "--appendfsync", "everysec"), ("--appendonly", "yes", "--appendfsync", "always")]


@pytest.mark.parametrize("server", APPENDING, indirect=True, ids=["everysec", "always"])
def test_a_store_that_dies_and_comes_back(server: Server, site: Site, app: App, start_tree: StartTree) -> None:
    """Nothing is lost, and workers and waiters go on by themselves."""
    handles = app["work"].map([(0.05, number) for number in range(100)])
    with ThreadPoolExecutor(100) as threads:
        waits = [threads.submit(handle.get, 40) for handle in handles]
        until(lambda: _marks(site) == 100, "everybody waits")
        start_tree("-p", "2")
        for done in (10, 40):
            until(lambda: len(site.of("end")) >= done, "some are done")  # noqa: B023 - runs now
            server.kill()
            server.restart()
        assert [wait.result() for wait in waits] == list(range(100))

    accepted = Counter(line.task_id for line in site.of("settled") if line.more[1] == "1")
    assert max(accepted.values()) == 1
    assert app.queue.stores.backend.depth().history == 100


def test_a_store_that_forgets_everything(server: Server, site: Site, app: App, start_tree: StartTree) -> None:
    """Workers create their group again and run new tasks; a caller that waits for a lost task gets an error."""
    start_tree("-p", "2")
    lost = app["work"](0, 1)
    assert lost.get(10) == 1
    with Redis.from_url(site.url) as client:
        client.flushall()

    assert app["work"](0, 2).get(10) == 2
    with pytest.raises(UnknownTaskError):
        lost.state  # noqa: B018


def test_a_store_that_comes_back_empty(server: Server, site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """A caller that waits for a lost task gets an error, and the workers run new tasks."""
    start_tree("-p", "1")
    handle = app["gate"](str(gate))
    with ThreadPoolExecutor(1) as threads:
        wait = threads.submit(handle.get)
        until(lambda: site.of("start"), "it runs")
        until(lambda: _waits(site.url), "the waiter listens")
        server.kill()
        server.restart()
        with pytest.raises(UnknownTaskError):
            wait.result(20)
    gate.touch()

    assert app["work"](0, 2).get(20) == 2
    (settled,) = until(lambda: site.of("settled", handle.task_id), "it was settled")
    assert settled.more == ["Done", "0"]


def _waits(url: str) -> bool:
    with Redis.from_url(url, protocol=2) as client:
        return bool(client.pubsub_channels("*:wake:*"))


def test_a_lost_reply_to_an_enqueue(proxy: Proxy, site: Site) -> None:
    """The request is sent again, and enqueues one message."""
    app = evolve(site, url=proxy.url).app()
    app["short"]()
    proxy.lose_reply_of(lambda said: b"EVALSHA" in said)

    app["short"]()

    assert proxy.lost.is_set()
    assert app.queue.stores.backend.depth().ready == 2
    app.queue.close()


def test_a_lost_reply_to_a_claim(proxy: Proxy, site: Site, start_tree: StartTree) -> None:
    """No worker knows that it holds the message: it is claimed again when the lease ends, and runs once."""
    start_tree("-p", "1", url=proxy.url)
    app = site.app()
    proxy.lose_reply_of(lambda said: b"XREADGROUP" in said)

    handle = app["work"](0, "back")

    assert handle.get(10) == "back"
    assert proxy.lost.is_set()
    assert len(site.of("start")) == 1
    app.queue.close()


def test_a_lost_reply_to_a_settlement(proxy: Proxy, site: Site, start_tree: StartTree) -> None:
    """The repeat is refused; the task is completed once and does not run again."""
    start_tree("-p", "1", url=proxy.url)
    app = site.app()
    assert app["work"](0).get(10) is None
    proxy.lose_reply_of(lambda said: b"EVALSHA" in said and b"ending" in said)

    handle = app["work"](0, "ending")

    assert handle.get(10) == "ending"
    until(lambda: len(site.of("settled")) == 2, "it was settled")
    assert proxy.lost.is_set()
    assert len(site.of("start", handle.task_id)) == 1
    depth = app.queue.stores.backend.depth()
    assert (depth.ready, depth.in_flight, depth.history) == (0, 0, 2)
    app.queue.close()


def test_a_waiter_whose_subscription_is_cut(proxy: Proxy, site: Site, start_tree: StartTree, gate: Path) -> None:
    """It subscribes again and looks for the result, so it does not miss a task that ended meanwhile."""
    start_tree("-p", "1")
    app = evolve(site, url=proxy.url).app()
    handle = app["gate"](str(gate))
    with ThreadPoolExecutor(1) as threads:
        wait = threads.submit(handle.get)
        until(lambda: _waits(site.url), "the waiter listens")
        proxy.closed = True
        proxy.cut_all()
        gate.touch()
        until(lambda: site.of("settled"), "it has ended, and the call to the waiter was lost")
        proxy.closed = False
        assert wait.result(10) == "through"
    app.queue.close()


def test_a_process_whose_connections_hang(
    proxy: Proxy, site: Site, app: App, start_tree: StartTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its supervisor, which reaches the store, kills and replaces it, and what it was running runs again, uncharged."""
    monkeypatch.setenv(SILENCE, "1")
    gate = Path(f"{site.log}.gate")
    tree = start_tree("-p", "1", "-t", "2", url=proxy.url, lease=30)
    handle = app["gate"](str(gate))
    (first,) = until(lambda: site.of("start"), "it runs")

    assert proxy.swallow(first.pid) > 0

    until(lambda: len(site.of("start")) == 2, "it runs again")
    gate.touch()
    assert handle.get(10) == "through"
    assert site.of("start")[1].pid != first.pid
    (info,) = app.queue.stores.backend.show([handle.task_id])
    assert info is not None
    assert isinstance(info.message, Message)
    assert (info.message.attempt, info.message.crashes) == (1, 0)
    assert "the store has not answered" in tree.log.read_text()
    assert tree.stop() == 0


@pytest.mark.parametrize("server", [("--maxmemory-policy", "noeviction")], indirect=True)
def test_a_full_store(server: Server, site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """Producers get an error, running tasks are completed and recorded, and with room again all goes on."""
    start_tree("-p", "2")
    running = app["gate"](str(gate))
    until(lambda: site.of("start"), "it runs")
    with Redis.from_url(site.url) as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
        with pytest.raises(StoreFullError):
            app["short"]()
        gate.touch()
        until(lambda: site.of("settled"), "it was settled")
        assert site.of("settled")[0].more == ["Done", "1"]
        client.config_set("maxmemory", 0)

    assert running.get(10) == "through"
    assert app["work"](0, "room again").get(10) == "room again"
    until(lambda: len(claiming(site.url)) == 2, "both wait for work again")


@pytest.mark.parametrize("server", [("--maxmemory-policy", "noeviction")], indirect=True)
def test_workers_start_in_a_full_store(server: Server, site: Site, app: App, start_tree: StartTree) -> None:
    """New workers, and the replacement of one that died, run what is there; a new client gets the results."""
    handles = app["work"].map([(0, number) for number in range(20)])
    with Redis.from_url(site.url) as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
        with pytest.raises(StoreFullError):
            app["short"]()
        start_tree("-p", "2")

        other = site.app()
        assert [other.queue.result(handle.task_id).get(20) for handle in handles] == list(range(20))

        before = claiming(site.url)
        victim = next(iter(other.queue.get_workers().values()))["pid"]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(claiming(site.url)) == 2 and claiming(site.url) != before, "another one waits for work")
    other.queue.close()


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), True),
        (("--maxmemory", "100mb", "--maxmemory-policy", "noeviction"), False),
    ],
    indirect=["server"],
)
def test_a_store_that_may_drop_tasks(site: Site, app: App, start_tree: StartTree, said: bool) -> None:
    """Workers say so when they start, and work."""
    tree = start_tree("-p", "1")

    assert app["work"](0, 1).get(10) == 1
    assert tree.stop() == 0
    assert ("allkeys-lru: the server may drop tasks when its memory is full" in tree.log.read_text()) is said


def _marks(site: Site) -> int:
    """Return how many tasks have a caller that waits."""
    with Redis.from_url(site.url) as client:
        return sum(field.startswith(b"waiters:") for key in client.scan_iter("*:notes") for field in client.hkeys(key))
