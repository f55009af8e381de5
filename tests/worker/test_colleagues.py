"""A message that this worker cannot serve, and another one can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.calls import Signature
from pyxqueue.codec import Codec
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model.message import Message, TaskStatus
from pyxqueue.model.presence import Announcement, Present, Process
from pyxqueue.policy import MAX_DEFERRALS
from pyxqueue.protocols import StoreOptions
from pyxqueue.serializers import JSONSerializer, MsgpackSerializer
from pyxqueue.worker.colleagues import Colleagues

from .harness import Bench

MINUTE = 60_000
WORKERS = {"worker": Process(8, 5, 1, 1, [])}


def resize(width: int) -> None:
    """The task as this worker has it."""


def resize_to(width: int, height: int) -> None:
    """As the other one has it."""


@pytest.fixture
def bench() -> Bench:
    """With a task that this worker has not, and that was deferred as often as possible."""
    bench = Bench()
    bench.put("theirs", deferrals=MAX_DEFERRALS)
    return bench


def announce(
    bench: Bench,
    *tasks: str,
    keep: int = MINUTE,
    draining: bool = False,
    parameters: Sequence[str] = (),
    serializers: Sequence[str] = ("json",),
    workers: dict[str, Process] = WORKERS,
) -> None:
    said = Announcement("web2", 7, "1", "3", tasks, 0, draining, workers, parameters, serializers)
    bench.broker.announce("supervisor", keep, said.text())


def status(bench: Bench) -> TaskStatus:
    bench.worker().drain()
    (info,) = bench.broker.show(["t1"])
    assert info is not None
    return info.status


def test_it_waits_for_that_worker(bench: Bench) -> None:
    """For as long as that lives, and fails then."""
    for _ in range(20):
        announce(bench, "theirs")
        assert status(bench) is TaskStatus.PENDING
        bench.clock.advance(MINUTE)

    assert status(bench) is TaskStatus.FAILURE


@pytest.mark.parametrize(
    "said", [{"tasks": ["other"]}, {"draining": True}, {"keep": 0}, {"serializers": []}, {"workers": {}}], ids=repr
)
def test_it_fails_if_nobody_takes_it(bench: Bench, said: dict[str, Any]) -> None:
    """Other workers have other tasks, claim no more, are silent, do not read it, or are gone."""
    announce(bench, *said.pop("tasks", ["theirs"]), **said)
    bench.clock.advance(1)

    assert status(bench) is TaskStatus.FAILURE


def parameters_of(function: Callable[..., Any]) -> str:
    return Signature("resize", function).text


@pytest.mark.parametrize(
    ("parameters", "ended"),
    [
        ([parameters_of(resize_to)], TaskStatus.PENDING),
        ([parameters_of(resize)], TaskStatus.FAILURE),
        ([parameters_of(lambda width, /, *, height: None)], TaskStatus.FAILURE),
        ([], TaskStatus.FAILURE),
    ],
    ids=["take them", "the same", "do not take them", "unknown"],
)
def test_other_arguments(parameters: Sequence[str], ended: TaskStatus) -> None:
    """A call that does not fit this worker's function waits for a worker whose function takes it, and for no other."""
    bench = Bench()
    bench.task(resize)
    bench.put("resize", 1, 2, deferrals=MAX_DEFERRALS)
    announce(bench, "resize", parameters=parameters)

    assert status(bench) is ended


@pytest.mark.parametrize(
    ("serializers", "ended"), [(["json", "msgpack"], TaskStatus.PENDING), (["json"], TaskStatus.FAILURE)]
)
def test_another_serializer(serializers: Sequence[str], ended: TaskStatus) -> None:
    """What this worker does not read waits for one that does, also if it has the task with the same parameters."""
    bench = Bench()
    bench.task(resize)
    bench.codec = Codec.of("tasks", [MsgpackSerializer()], None)
    bench.put("resize", 1, deferrals=MAX_DEFERRALS)
    bench.codec = Codec.of("tasks", [JSONSerializer()], None)
    announce(bench, "resize", parameters=[parameters_of(resize)], serializers=serializers)

    assert status(bench) is ended


@pytest.mark.parametrize(
    ("parameters", "ended"), [("(width1)", "FAILURE"), ("(width1,height1)", "PENDING"), ("", "PENDING")]
)
def test_a_task_that_only_another_worker_has(parameters: str, ended: str) -> None:
    """A call waits for that worker if its function takes the arguments, or does not say which it takes."""
    bench = Bench()
    bench.put("resize", 1, 2, deferrals=MAX_DEFERRALS)
    announce(bench, "resize", parameters=[parameters])

    assert status(bench).name == ended


def test_a_call_that_its_own_worker_takes() -> None:
    """It fails for another reason, which no colleague mends."""
    bench = Bench()
    bench.broker.lease_ms()
    bench.task(resize)
    announce(bench, "resize", parameters=[parameters_of(resize)])
    body, serializer, _ = bench.codec.seal_call("resize", "t1", [1], {})

    assert not Colleagues(bench.broker, bench.registry, bench.codec).can_serve(
        Message("t1", "resize", body, serializer)
    )


def test_a_call_that_cannot_be_decoded() -> None:
    """If the task is unknown here, another worker may be able to."""
    bench = Bench()
    bench.broker.lease_ms()
    announce(bench, "resize")
    message = Message("t1", "resize", b"{", "json")
    assert Colleagues(bench.broker, bench.registry, bench.codec).can_serve(message)

    bench.task(resize)

    assert not Colleagues(bench.broker, bench.registry, bench.codec).can_serve(message)


def test_the_store_is_asked_once_in_a_while() -> None:
    """However many tasks there are; and not believed to know of nobody while it cannot be reached."""
    bench, now, asked = Bench(), [0.0], list[float]()

    class Store(MemoryBackend):
        def present(self) -> Sequence[Present]:
            asked.append(now[0])
            if now[0] == 0:
                raise BrokerUnavailableError("away")
            return super().present()

    bench.broker = Store(MemoryStore(bench.clock), StoreOptions("tasks", bench.group))
    bench.broker.lease_ms()
    announce(bench, "theirs")
    colleagues = Colleagues(bench.broker, bench.registry, bench.codec, lambda: now[0])

    def can_serve(name: str) -> bool:
        return colleagues.can_serve(Message("t2", name))

    assert can_serve("other")
    now[0] = 1

    assert [can_serve(name) for name in ("theirs", "other", "theirs")] == [True, False, True]
    assert asked == [0, 1]
    announce(bench, "other")
    now[0] = 11
    assert can_serve("other")
