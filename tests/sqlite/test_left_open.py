"""Transactions that an interrupt leaves open, since it came just before or behind their block."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import pyxqueue
from pyxqueue import TimeLimitExceeded
from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.driver import apsw
from pyxqueue.protocols import StoreOptions
from pyxqueue.worker.failures import let_go

_INTERRUPTED = """
def interrupted(store):
    transaction = store.write()
    transaction.__enter__()
    raise TimeLimitExceeded
"""
"""As a signal handler does that runs behind the begin of a block, and before the block has begun."""


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SQLiteBackend]:
    driver = apsw()
    assert driver is not None
    with closing(SQLiteBackend(tmp_path / "queue.db", StoreOptions(), driver=driver)) as backend:
        backend._store._busy_limit = 0.5
        yield backend


@pytest.fixture
def interrupted() -> Callable[..., None]:
    """A function of the package, as the traceback tells."""
    names = {"TimeLimitExceeded": TimeLimitExceeded}
    file = os.path.join(Path(pyxqueue.__file__).parent, "backends", "x.py")  # noqa: PTH118 - a text
    exec(compile(_INTERRUPTED, file, "exec"), names)
    function: Callable[..., None] = names["interrupted"]  # type: ignore[assignment] # `exec` has put it there
    return function


def test_a_thread_ends_what_it_has_left(backend: SQLiteBackend, interrupted: Callable[..., None]) -> None:
    """The task that was interrupted may go on to write, although the traceback keeps the transaction."""
    with pytest.raises(TimeLimitExceeded) as raised:
        interrupted(backend._store)

    assert backend.lease_ms() > 0
    assert raised.value.__traceback__ is not None


@pytest.mark.parametrize("chained", [False, True], ids=["alone", "behind another error"])
def test_other_threads_write_once_the_run_is_over(
    backend: SQLiteBackend, interrupted: Callable[..., None], chained: bool
) -> None:
    """Its settlement does not wait for a lock that the error of the task keeps."""

    def run() -> None:
        try:
            interrupted(backend._store)
        except TimeLimitExceeded as error:
            if chained:
                raise ValueError("another") from error
            raise

    with pytest.raises((TimeLimitExceeded, ValueError)) as raised:
        run()

    let_go(raised.value)

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(backend.lease_ms).result(20) > 0
