"""What an operator or another program does to a server: the workers serve again, and no task waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
from attrs import evolve, frozen
from redis import Redis
from redis.exceptions import RedisError

from pyxqueue import UnknownTaskError
from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.processes.app import Site
from tests.processes.conftest import StartTree
from tests.support.trees import Tree
from tests.support.until import until

from .storm import Storm, storm

Vandalize: TypeAlias = Callable[[ServerKind, str], float]
LASTS = 3.0
"""Seconds for which a fault lasts that does not pass at once."""
LINES = 5
"""How many lines the log may get in a second."""
SPIN = """
local function now() local time = redis.call('TIME'); return time[1] * 1000 + time[2] / 1000 end
local over = now() + tonumber(ARGV[1])
while now() < over do end
"""


@frozen
class Scene:
    """A server, a client of it, and the name of the queue."""

    server: Server
    client: Any
    queue: str

    @property
    def keys(self) -> list[str]:
        """The keys of the queue that the server has."""
        return sorted(key.decode() for key in self.client.scan_iter(f"*{self.queue}*"))

    def flushall(self) -> None:
        self.client.flushall()

    def stream_deleted(self) -> None:
        self.client.delete(self.queue)

    def stream_trimmed(self) -> None:
        self.client.xtrim(self.queue, maxlen=0)

    def group_destroyed(self) -> None:
        self.client.xgroup_destroy(self.queue, "cg")

    def wrong_types(self) -> None:
        """Each key is a text for a while, then it is gone."""
        keys = self.keys
        for key in keys:
            self.client.set(key, "not ours")
        time.sleep(LASTS)  # the fault itself, as below
        self.client.delete(*keys)

    def scripts_flushed(self) -> None:
        over = threading.Event()

        def flush() -> None:
            with Redis(port=self.server.port) as client:
                while not over.wait(0.01):
                    client.script_flush()

        thread = threading.Thread(target=flush)
        thread.start()
        time.sleep(LASTS)
        over.set()
        thread.join()

    def busy(self) -> None:
        """A script runs for so long, and the server tells everybody that it is busy."""
        self.client.config_set("lua-time-limit", 100)
        self.client.eval(SPIN, 0, int(LASTS * 1000))

    def loading(self) -> None:
        """The server restarts, and takes its time to read its data."""
        with self.client.pipeline() as pipe:
            for number in range(3_000):
                pipe.set(f"ballast-{number}", "x" * 1000)
            pipe.execute()
        self.client.config_set("key-load-delay", 1_000)
        with suppress(RedisError):  # Redis 6.2 has no such option, and looks at its clients less often
            self.client.config_set("loading-process-events-interval-bytes", 1024)
        with suppress(RedisError):
            self.client.execute_command("DEBUG", "RELOAD")
        self.client.config_set("key-load-delay", 0)

    def misconf(self) -> None:
        """A snapshot fails, so the server takes no more writes."""
        file = self.server.folder / "dump.rdb"
        file.mkdir()
        self.client.config_set("save", "3600 1")
        self.client.bgsave()
        until(lambda: self.client.info("persistence")["rdb_last_bgsave_status"] == "err", "the snapshot has failed")
        time.sleep(LASTS)
        file.rmdir()
        self.client.bgsave()
        until(lambda: self.client.info("persistence")["rdb_last_bgsave_status"] == "ok", "it works again")


LOSES_THE_GROUP = {"flushall", "stream_deleted", "group_destroyed", "wrong_types"}
LOSES_MESSAGES = {"stream_deleted", "stream_trimmed"}
FAULTS = [name for name, member in vars(Scene).items() if callable(member) and not name.startswith("_")]


def entries(tree: Tree) -> int:
    """How many entries the log has; a traceback belongs to its entry."""
    return sum(line[:1].isdigit() for line in tree.log.read_text().splitlines())


def at_end(one: Storm, task_id: str) -> bool:
    """True if a caller that waits for the task would learn something: its end, or that the store does not know it."""
    try:
        return one.app.queue.result(task_id).state.ended
    except UnknownTaskError:
        return True


def rage(one: Storm, tree: Tree, scene: Scene, fault: str) -> tuple[float, float]:
    """Let a fault happen while two tasks run, three are ready and one is delayed. Returns how long it took until new
    work was done, and how many lines the log got in each second."""
    tasks = one.enqueue(2, 1, 1)
    until(lambda: len(one.log.of("start")) == 2, "two run, and two slots are free")
    tasks += one.enqueue(3, 0, 0.01) + one.enqueue(1, 0, 0.01, delay=1)
    before, begun = entries(tree), time.monotonic()
    getattr(scene, fault)()
    healed = time.monotonic()
    (probe,) = one.enqueue(1, 0, 0)
    until(lambda: any(line.task_id == probe for line in one.log.of("end")), f"new work is done; {one}")
    back = time.monotonic() - healed
    until(lambda: all(at_end(one, task_id) for task_id in tasks), f"no task waits for ever; {one}")
    seconds = time.monotonic() - begun
    return back, (entries(tree) - before) / max(2, seconds)


@pytest.fixture
def vandalize(site: Site, start_tree: StartTree, caplog: pytest.LogCaptureFixture) -> Vandalize:
    """Does all of it on a server of this kind. Returns how many seconds it took until new work was done."""

    def on(kind: ServerKind, fault: str) -> float:
        with (
            Server(kind, args=enabled(kind)) as server,
            Redis(port=server.port, protocol=2, socket_timeout=60) as client,
            storm(evolve(site, url=server.url, lease=5), seed=1) as one,
        ):
            tree = start_tree("-p", "1", "-t", "4", url=server.url, lease=5)
            back, lines = rage(one, tree, Scene(server, client, site.stream), fault)
            assert tree.stop() == 0
            print(f"{kind} {fault}: back after {back:.2f} s, {lines:.1f} lines a second")  # noqa: T201 - as elsewhere
            assert lines <= LINES, tree.log.read_text()
            assert fault not in LOSES_THE_GROUP or "had lost the group" in tree.log.read_text() + caplog.text
            counted = one.app.queue.admin.statistics()
            assert (counted.remade > 0) is (fault in LOSES_THE_GROUP)
            assert (counted.gone > 0) is (fault in LOSES_MESSAGES)
        return back

    return on


def enabled(kind: ServerKind) -> list[str]:
    """Newer servers have to be told that they may be debugged."""
    return [] if kind == "redis62" else ["--enable-debug-command", "yes"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_vandal(vandalize: Vandalize, fault: str) -> None:
    """New work is done, and what was there before has an end, or is known to be lost."""
    vandalize("valkey", fault)


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", kinds_to_test())
def test_vandals_on_each_server(vandalize: Vandalize, kind: ServerKind, fault: str) -> None:
    """The workers serve again at once, or at their next look for work."""
    assert vandalize(kind, fault) <= 3  # a wait for work may last two of them
