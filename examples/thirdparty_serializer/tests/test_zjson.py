from __future__ import annotations

import zlib
from typing import Any

import pytest
import pyxqueue_zjson
from hypothesis import strategies as st
from pyxqueue_zjson import ZJSONSerializer

from pyxqueue import SerializationError, TaskQueue
from pyxqueue.testing import SerializerContract, drain

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes()
VALUES = st.recursive(
    LEAVES, lambda parts: st.lists(parts) | st.tuples(parts, parts) | st.dictionaries(st.text(), parts), max_leaves=10
)


class TestZJSON(SerializerContract):
    serializer = ZJSONSerializer()
    values = VALUES | LEAVES.map(lambda value: [value] * 300)
    hostile = (b"z", b"j", b"x1", b"zz", b"z" + zlib.compress(b"[" * 100_000), b"z" + zlib.compress(b"1") + b"more")


def test_what_is_long_gets_short() -> None:
    """Repetitive data shrinks, and what is short is left alone."""
    serializer = ZJSONSerializer()

    assert serializer.dumps([1, 2]) == b"j[1,2]"
    assert len(serializer.dumps(["the same text"] * 1_000)) < 500


def test_what_grows_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb is not unpacked to its end."""
    monkeypatch.setattr(pyxqueue_zjson, "LONGEST", 1_000)

    with pytest.raises(SerializationError, match="too long"):
        ZJSONSerializer().loads(b"z" + zlib.compress(b'"' + b"a" * 2_000 + b'"'))


def test_a_queue_finds_it_by_its_name() -> None:
    """The entry point leads here, and both ways of a task are written with it."""
    queue = TaskQueue("memory://", serializer="zjson", eager=False)

    @queue.task
    def twice(text: str) -> str:
        return 2 * text

    handle = twice("ha" * 5_000)

    assert drain(queue) == 1
    assert handle.get(timeout=0) == "ha" * 10_000
    (info,) = queue.stores.backend.show([handle.task_id])
    message: Any = info and info.message
    assert message.serializer == "zjson"
    assert len(message.body) < 500
    queue.close()
