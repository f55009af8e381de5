"""Worker processes that serve two queues: on one server, or on a server and in a file."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import frozen

from pyxqueue import TaskStatus
from pyxqueue.model.message import Message
from pyxqueue.testing.servers import Server
from tests.support.trees import Tree
from tests.support.until import until

from .app import SECOND_URL, App, Site

pytestmark = pytest.mark.parametrize("second_store", ["same", "sqlite"])


@frozen
class Pair:
    """The two queues as the test uses them, and how their workers are started."""

    site: Site
    first: App
    second: App
    folder: Path
    second_url: str
    stack: ExitStack

    def start(self, *options: str) -> Tree:
        log = self.folder / "tree.log"
        environment = {**self.site.environment(), SECOND_URL: self.second_url}
        module = "tests.processes.app_two"
        tree = Tree(f"{module}:first", environment, log, f"{module}:second", *options)
        return self.stack.enter_context(tree)

    @property
    def apps(self) -> tuple[App, App]:
        return self.first, self.second


@pytest.fixture
def pair(site: Site, second_store: str, tmp_path: Path) -> Iterator[Pair]:
    url = site.url if second_store == "same" else f"sqlite:///{tmp_path}/second.db"
    with ExitStack() as stack:
        first, second = site.app(), site.second(url).app()
        stack.callback(first.queue.close)
        stack.callback(second.queue.close)
        yield Pair(site, first, second, tmp_path, url, stack)


def message_of(app: App, task_id: str) -> Message:
    (info,) = app.queue.stores.backend.show([task_id])
    assert info is not None
    assert isinstance(info.message, Message)
    return info.message


def test_the_tasks_of_both_are_run(pair: Pair) -> None:
    """By the same process; each result is in its own store."""
    pair.start("-p", "1")
    handles = [app["work"](0, number) for number in range(20) for app in pair.apps]

    assert [handle.get(20) for handle in handles] == [number for number in range(20) for _ in pair.apps]
    assert len({line.pid for line in pair.site.of("start")}) == 1


def test_a_process_that_dies(pair: Pair, tmp_path: Path) -> None:
    """What it had of both queues is released at once; what was running is charged, and the log names its queue."""
    tree = pair.start("-p", "1", "-t", "2")
    gate = tmp_path / "gate"
    handles = [app["gate"](str(gate)) for app in pair.apps]
    until(lambda: len(pair.site.of("start")) == 2, "both run")

    os.kill(pair.site.of("start")[0].pid, signal.SIGKILL)
    until(lambda: len(pair.site.of("start")) == 3, "one of them runs again, alone")
    gate.touch()

    assert [handle.get(20) for handle in handles] == ["through"] * 2
    assert len(pair.site.of("start")) == 4
    for app, handle in zip(pair.apps, handles, strict=True):
        assert message_of(app, handle.task_id).crashes == 1
        assert f"{handle.task_id} of {app.queue.stream_key}" in tree.log.read_text()


def test_a_signal_while_busy(pair: Pair, tmp_path: Path) -> None:
    """Running tasks may end; after the grace period they are given back to their own queues, uncharged."""
    tree = pair.start("-p", "1", "-t", "2", "--grace", "0.1")
    handles = [app["gate"](str(tmp_path / "never")) for app in pair.apps]
    until(lambda: len(pair.site.of("start")) == 2, "both run")

    assert tree.stop() == 0

    for app, handle in zip(pair.apps, handles, strict=True):
        assert handle.state is TaskStatus.PENDING
        assert message_of(app, handle.task_id).crashes == 0


def test_leases_of_both_are_renewed(pair: Pair) -> None:
    """Longer than the lease: no other process gets what is running."""
    pair.start("-p", "1", "-t", "2")
    handles = [app["work"](2.5) for app in pair.apps]

    assert [handle.get(30) for handle in handles] == [None, None]
    assert len(pair.site.of("start")) == 2


def test_cancellation_reaches_tasks_of_both(pair: Pair) -> None:
    """Each through its own store."""
    pair.start("-p", "1", "-t", "2")
    handles = [app["patient"]() for app in pair.apps]
    until(lambda: len(pair.site.of("start")) == 2, "both run")

    for handle in handles:
        handle.cancel()

    until(lambda: all(handle.state is TaskStatus.CANCELLED for handle in handles), "both are cancelled")


def test_a_hard_time_limit(pair: Pair) -> None:
    """The process is killed; its task is retried in its own queue, then fails there."""
    pair.start("-p", "1")
    handle = pair.second["hog"](60)

    until(lambda: handle.state is TaskStatus.FAILURE, "it has failed", 20)

    assert len(pair.site.of("start", handle.task_id)) == 2


def test_a_server_that_dies(second_store: str, tmp_path: Path) -> None:
    """The queue in the file is served meanwhile, leases included; the other one again when the server is back."""
    if second_store == "same":
        return
    with Server("valkey", args=["--appendonly", "yes"]) as server, ExitStack() as stack:
        site = Site(server.url, "first", str(tmp_path / "log"), lease=1)
        url = f"sqlite:///{tmp_path}/second.db"
        pair = Pair(site, site.app(), site.second(url).app(), tmp_path, url, stack)
        pair.start("-p", "1")
        assert [app["work"](0, 1).get(20) for app in pair.apps] == [1, 1]
        server.kill()

        assert pair.second["work"](2.5, 2).get(20) == 2
        assert len(site.of("start")) == 3

        server.restart()
        until(lambda: answers(pair.first), "the first queue is served again", 20)


def answers(app: App) -> bool:
    return bool(app["work"](0, 3).get(20) == 3)
