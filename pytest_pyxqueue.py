"""The pytest plugin of pyxqueue: the fixture `pyxqueue_eager`.

It stands beside the package, because pytest loads it in every project where pyxqueue is installed: importing it costs
nothing, and the package is imported by the tests that use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyxqueue import EagerSession


@pytest.fixture
def pyxqueue_eager() -> Iterator[EagerSession]:
    """Run every task in the test's own process, as it is enqueued, without a store.

    `advance(seconds)` moves the clock and runs what becomes due. After ``pyxqueue_eager.propagate = True`` a failing
    task raises its own exception in the test.
    """
    from pyxqueue import eager_mode  # noqa: PLC0415 - not before a test wants it

    with eager_mode() as session:
        yield session
