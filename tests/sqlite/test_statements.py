"""What a statement costs beside its work: it is prepared once."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue.backends.sqlite.driver import Connection, Driver, apsw, standard
from pyxqueue.backends.sqlite.group import CHUNK
from pyxqueue.model.message import Done, Message, Settlement

from .conftest import Open


@pytest.mark.parametrize("driver", [standard(), apsw()], ids=["sqlite3", "apsw"])
def test_no_statement_is_prepared_again(open_store: Open, driver: Driver) -> None:
    """A SQLite that keeps statistics plans some statements again for each value that is bound to them, if it may."""
    # Given
    prepared: list[tuple[object, ...]] = []

    def note(*what: object) -> int:
        """SQLite asks it for each table and column of a statement that it prepares."""
        prepared.append(what)
        return 0

    def connect(uri: str) -> Connection:
        connection: Any = driver.connect(uri)
        connection._raw.set_authorizer(note)
        return connection  # type: ignore[no-any-return]

    backend = open_store(driver=Driver(driver.name, driver.version, connect))

    def once(task_id: str) -> bool:
        backend.enqueue([Message(task_id, "kit.job")])
        (delivery,) = backend.claim("one", 1, 0)
        return backend.settle([Settlement(delivery.receipt, Done())]) == [True]

    assert {once("first"), once("second")} == {True}
    assert prepared
    prepared.clear()
    # When
    assert {once(f"task-{number}") for number in range(9)} == {True}
    # Then
    assert prepared == []


def test_a_claim_of_more_than_one_statement_can_name_lends_each_task(open_store: Open) -> None:
    """The ids of a statement are limited, the tasks of a claim are not."""
    backend = open_store()
    backend.enqueue([Message(f"t{number}", "kit.job") for number in range(CHUNK + 1)])

    assert len(backend.claim("one", 2 * CHUNK, 0)) == CHUNK + 1
    depth = backend.depth()
    assert (depth.ready, depth.in_flight) == (0, CHUNK + 1)
