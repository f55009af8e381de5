"""Programs whose clock is wrong, and jumps while they run, as that of their host would."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyxqueue.testing.servers import Server, ServerKind
from tests.processes.app import AHEAD
from tests.support.trees import MORE_PATHS

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
needs_library = pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime: apt install libfaketime")


def ahead_of_monotonic() -> int:
    """Return by how many ns the right clock is ahead of `time.monotonic`, as it is known best: if this process has to
    wait between the two readings, the difference is too small."""
    return max(time.time_ns() - time.monotonic_ns() for _ in range(100))


class Clock:
    """A clock that may be set while programs run."""

    def __init__(self, file: Path, seconds: int = 0) -> None:
        self._file = file
        self.put(seconds)

    def put(self, seconds: int) -> None:
        """Put it ahead of the right one."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self._file)

    @contextmanager
    def of_programs(self, *, library: bool = True) -> Iterator[None]:
        """What is started meanwhile has this clock. Without the library only Python has it, and not its `datetime`."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(AHEAD, str(ahead_of_monotonic()))
            patch.setenv("TEST_CLOCK", str(self._file))
            patch.setenv(MORE_PATHS, str(Path(__file__).parent / "wrong_clock"))
            if library:
                patch.setenv("FAKETIME_TIMESTAMP_FILE", str(self._file))
                patch.setenv("FAKETIME_NO_CACHE", "1")
                patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                patch.setenv("LD_PRELOAD", str(LIBRARY))
            yield

    @contextmanager
    def server(self, kind: ServerKind) -> Iterator[Server]:
        """Start a server that has this clock. (Debian's does not start so.)"""
        with self.of_programs():
            made = Server(kind).start()
        try:
            yield made
        finally:
            made.stop()
