"""The clock of a server jumps by an hour, there and back: nobody takes over the work of the living."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.processes.app import Site
from tests.processes.conftest import StartTree
from tests.support.until import until

from .storm import storm

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
HOUR = 3_600
LEASE = 5


class Clock:
    """That of a server, which may be put ahead while it runs."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.put(0)

    def put(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self._file)

    @contextmanager
    def server(self, kind: ServerKind) -> Iterator[Server]:
        """Start a server that has this clock."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FAKETIME_TIMESTAMP_FILE", str(self._file))
            patch.setenv("FAKETIME_NO_CACHE", "1")
            patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            patch.setenv("LD_PRELOAD", str(LIBRARY))
            made = Server(kind).start()
        try:
            yield made
        finally:
            made.stop()


def ahead(server: Server) -> int:
    """By how many seconds the clock of the server is ahead of ours."""
    with Redis(port=server.port) as client:
        return int(client.time()[0]) - int(time.time())


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime: apt install libfaketime")
@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["ahead", "behind"])
@pytest.mark.parametrize("kind", [kind for kind in kinds_to_test() if kind != "path"])
def test_the_clock_of_a_server_jumps(
    site: Site, start_tree: StartTree, tmp_path: Path, kind: ServerKind, seconds: int
) -> None:
    """Twenty tasks run meanwhile; none is run again, and new work is done. (Debian's server does not start so.)"""
    clock = Clock(tmp_path / "offset")
    with clock.server(kind) as server, storm(evolve(site, url=server.url, lease=LEASE), seed=1) as one:
        trees = [start_tree("-p", "2", "-t", "6", url=server.url, lease=LEASE) for _ in range(2)]
        one.enqueue(20, 15, 17)
        until(lambda: len(one.log.of("start")) == 20, "all run")
        for offset in (seconds, 0):
            clock.put(offset)
            until(lambda: abs(ahead(server) - offset) < 3, "the clock has jumped")  # noqa: B023 - at once
            time.sleep(LEASE)  # so long the clock is wrong
        one.enqueue(20, 0, 0.01)
        one.drain(60)
        assert [tree.stop() for tree in trees] == [0, 0]
        assert one.judge().extra_runs == {}
