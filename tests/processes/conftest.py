"""Starts trees of workers, which end with the test."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from attrs import evolve
from redis import Redis

from tests.conftest import Servers
from tests.support.trees import Tree
from tests.support.until import until

from .app import App, Site

StartTree: TypeAlias = Callable[..., Tree]

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # they read /proc


on_every_store = pytest.mark.parametrize("site", ["redis", "sqlite"], indirect=True)


@pytest.fixture
def site(request: pytest.FixtureRequest, servers: Servers, stream_key: str, tmp_path: Path) -> Site:
    """A queue on the shared Valkey, or a file of its own, with a lease of one second."""
    on_file = getattr(request, "param", "redis") == "sqlite"
    url = f"sqlite:///{tmp_path}/queue.db" if on_file else servers("valkey").url
    return Site(url, stream_key, str(tmp_path / "log"), lease=1)


@pytest.fixture
def app(site: Site) -> Iterator[App]:
    made = site.app()
    yield made
    made.queue.close()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that does not exist yet; the task of the same name waits for it."""
    return tmp_path / "gate"


@pytest.fixture
def start_tree(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartTree]:
    """Start workers on the test's site; keyword arguments replace parts of the site."""
    with ExitStack() as stack:

        def start(*options: str, ready: bool = True, **changes: object) -> Tree:
            there = evolve(site, **changes)  # type: ignore[arg-type]
            number = len(list(tmp_path.glob("tree-*.log"))) + 1
            log = tmp_path / f"tree-{number}.log"
            before, listening = (waiting(there), listeners(there)) if ready else (set(), 0)
            tree = stack.enter_context(Tree("tests.processes.app_worker", there.environment(), log, *options))
            if ready:
                count = int(options[options.index("-p") + 1])
                until(lambda: tree.ended() or len(waiting(there) - before) >= count, "the workers wait for work")
                if there.url.startswith("redis://"):
                    until(lambda: tree.ended() or listeners(there) > listening, "the supervisor has reached the store")
                assert not tree.ended(), log.read_text()
            return tree

        yield start


def kill_host(tree: Tree, site: Site) -> None:
    """Kill the only tree of a site at once, as with its host: nobody is left who could release what it held."""
    tree.signal_all(signal.SIGSTOP)
    tree.signal_all(signal.SIGKILL)
    until(lambda: not listeners(site), "the server has noticed it")


def waiting(site: Site) -> set[str]:
    """Return the consumers that wait for work there, as far as the store knows."""
    if site.url.startswith("redis://"):
        return claiming(site.url)
    queue = site.queue()
    names = {consumer.name for consumer in queue.stores.backend.consumers()}
    queue.close()
    return names


def listeners(site: Site) -> int:
    """Return the number of supervisors that have reached the server; 0 in a file, of which none can be seen."""
    if not site.url.startswith("redis://"):
        return 0
    with Redis.from_url(site.url, protocol=2) as client:
        ((_, count),) = client.pubsub_numsub(f"{{{site.stream}}}:{site.group}:delayed")
    return int(count)


def claiming(url: str) -> set[str]:
    """Return the server's connections that wait for work."""
    with Redis.from_url(url, protocol=2) as client:
        clients: list[dict[str, str]] = client.client_list()
    return {one["id"] for one in clients if one["cmd"] == "xreadgroup" and "b" in one["flags"]}
