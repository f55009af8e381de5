"""The headers that plugins add to what a program enqueues."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from pyxqueue import ConfigurationError, Outgoing, PayloadTooLargeError, Plugin, TaskQueue, Unique, current_task
from pyxqueue.model.message import TICK_HEADER, Message


class Stamping(Plugin):
    """Adds a header, and notes what is enqueued."""

    def __init__(self, **headers: Any) -> None:
        self.calls: list[Outgoing] = []
        self.added = headers or {"stamp": "yes"}

    def headers(self, call: Outgoing, /) -> Mapping[str, str]:
        self.calls.append(call)
        return self.added


def queue_with(*plugins: Plugin, **options: Any) -> TaskQueue:
    return TaskQueue("memory://", stream_key="shop", plugins=plugins, **options)


def headers_of(queue: TaskQueue, task_id: str) -> Mapping[str, str]:
    (info,) = queue.stores.backend.show([task_id])
    assert info is not None
    assert isinstance(info.message, Message)
    return info.message.headers


def test_every_way_to_enqueue() -> None:
    """A call, one for asyncio, a unique one, those of a map and of a flow, a triggered schedule; each by its id."""
    plugin = Stamping()
    queue = queue_with(plugin)

    @queue.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    ids = [add(1, 2).task_id, asyncio.run(add.aenqueue(1, 2)).task_id, add.with_options(unique=Unique())(5, 5).task_id]
    ids += [handle.task_id for handle in add.map([(1, 2), (3, 4)])]
    with queue.flow() as flow:
        flow.add(add, flow.add(add, 1, 2), 3)
    ids += [handle.task_id for handle in flow.result()]
    queue.schedules.upsert("beat", add, 1, 2, every=60)
    ids.append(queue.schedules["beat"].trigger().task_id)

    assert [headers_of(queue, task_id)["stamp"] for task_id in ids] == ["yes"] * len(ids)
    assert {call.id for call in plugin.calls} == set(ids)
    assert [call.count for call in plugin.calls][:5] == [1, 1, 1, 2, 2]
    assert {(call.task, call.queue) for call in plugin.calls} == {("add", "shop")}


def test_follow_ups_of_a_task() -> None:
    """What a task enqueues, and what it waits for with `gather`."""
    plugin = Stamping()
    queue = queue_with(plugin, eager=True)

    @queue.task(name="leaf")
    def leaf() -> str:
        return current_task().headers["stamp"]

    @queue.task(name="root")
    def root() -> list[str]:
        later.append(leaf())
        return current_task().gather("both", [leaf.of(), leaf.of()])

    later: list[Any] = []
    assert root().get() == ["yes", "yes"]
    assert later[0].get() == "yes"


def test_a_schedule_does_not_carry_them() -> None:
    """Its ticks come later, from other processes; and an equal one would look changed each time."""
    plugin = Stamping()
    queue = queue_with(plugin)

    @queue.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    queue.schedules.upsert("beat", add.with_options(headers={"own": "1"}), 1, 2, every=60)

    assert plugin.calls == []
    assert set(headers_of(queue, queue.schedules["beat"].trigger().task_id)) == {"own", "stamp", TICK_HEADER}


def test_the_headers_of_the_call_win() -> None:
    """Then those of the last plugin."""
    queue = queue_with(Stamping(a="1", b="1", c="1"), Stamping(b="2", c="2"))

    @queue.task(name="job")
    def job() -> None: ...

    handle = job.with_options(headers={"c": "own"})()

    assert headers_of(queue, handle.task_id) == {"a": "1", "b": "2", "c": "own"}


@pytest.mark.parametrize(
    "wrong",
    [{"pyxqueue-tick": "1"}, {"number": 1}, {"half": "\ud800"}, None, ["a"]],
    ids=["ours", "a number", "a surrogate", "none", "a list"],
)
def test_headers_that_are_not_valid(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    """They are logged and left out, those of the other plugins are not."""

    class Wrong(Plugin):
        def headers(self, call: Outgoing, /) -> Mapping[str, str]:
            return wrong  # type: ignore[no-any-return]  # what is tested

    queue = queue_with(Wrong(), Stamping())

    @queue.task(name="job")
    def job() -> None: ...

    assert headers_of(queue, job().task_id) == {"stamp": "yes"}
    assert "the plugin Wrong raised an error in headers()" in caplog.text


def test_they_count_for_the_limits() -> None:
    """A call whose headers are too large is refused, whoever added them."""
    queue = queue_with(Stamping(big="x" * 3_000), max_payload=2_000)

    @queue.task(name="job")
    def job() -> None: ...

    with pytest.raises(PayloadTooLargeError):
        job()


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        (Stamping(), "is not a list"),
        ([Stamping], "the class Stamping is not a Plugin"),
        ([print], "is not a Plugin"),
        (None, "is not a list"),
    ],
)
def test_what_is_not_a_plugin(plugins: Any, words: str) -> None:
    """It is refused with what to write instead."""
    with pytest.raises(ConfigurationError, match=words):
        TaskQueue("memory://", plugins=plugins)
