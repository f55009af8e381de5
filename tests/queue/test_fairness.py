"""Fair queues for applications: `fair_by`, `weights`, and what people see of them."""

from __future__ import annotations

import pytest

from pyxqueue import ConfigurationError, TaskQueue
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.client.moving import move_group
from pyxqueue.model.message import FLOW_VERSION, WIRE_VERSION, Message
from pyxqueue.protocols import StoreOptions


class WithoutFairLines(MemoryBackend):
    def fair_lines(self) -> None:  # type: ignore[override] # it has none
        return None


def opened(**options: object) -> TaskQueue:
    return TaskQueue("memory://", stream_key="fair", **options)  # type: ignore[arg-type] # also wrong ones


def header(queue: TaskQueue, task_id: str) -> tuple[str, int, int]:
    message = queue.admin.task(task_id).info.readable
    assert message is not None
    return message.tenant, message.share, message.v


def test_the_argument_names_the_tenant() -> None:
    """By position, by name, by default, and among the named arguments that a function takes without listing them."""
    queue = opened(fair_by="tenant", weights={"gold": 4, 7: 0.5})

    @queue.task(name="render")
    def render(page: int, tenant: object = "gold") -> None: ...

    @queue.task(name="any")
    def anything(**named: object) -> None: ...

    handles = [render(1), render(1, 7), render(1, tenant="a b"), anything(tenant="gold"), anything()]
    ids = [handle.task_id for handle in handles]

    assert [header(queue, one)[:2] for one in ids] == [
        ("gold", 250),
        ("7", 2_000),
        ("a%20b", 1_000),
        ("gold", 250),
        ("", 1_000),
    ]


def test_a_task_without_that_parameter_has_the_empty_tenant() -> None:
    """It shares the workers with all others of its kind."""
    queue = opened(fair_by="tenant", weights={"": 2})

    @queue.task(name="sweep")
    def sweep() -> None: ...

    assert header(queue, sweep().task_id) == ("", 500, FLOW_VERSION)


def test_a_queue_that_is_not_fair_writes_as_before() -> None:
    """Its messages have the first wire version and no share."""
    queue = opened()

    @queue.task(name="plain")
    def plain(tenant: str) -> None: ...

    assert header(queue, plain("a").task_id) == ("", 0, WIRE_VERSION)


def test_a_function_makes_the_weight() -> None:
    """It gets the argument itself; what is no weight is refused with the call."""
    weights: dict[object, object] = {1: 1_000, 2: 0.001, 3: 0, 4: "4", 5: float("nan"), 6: True}
    queue = opened(fair_by="number", weights=lambda number: weights[number])

    @queue.task(name="job")
    def job(number: int) -> None: ...

    assert [header(queue, job(number).task_id)[1] for number in (1, 2)] == [1, 1_000_000]
    for number in (3, 4, 5, 6):
        with pytest.raises(ConfigurationError, match=rf"weights\({number}\) is .* not a weight"):
            job(number)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": {"a": 2}}, "weights= needs fair_by="),
        ({"fair_by": 7}, "must be the name of a parameter"),
        ({"fair_by": "a tenant"}, "must be the name of a parameter"),
        ({"fair_by": ""}, "must be the name of a parameter"),
        ({"fair_by": "a", "weights": [1]}, "must be a mapping"),
        ({"fair_by": "a", "weights": {"x": 0}}, r"weights\['x'\] is 0, not a weight"),
        ({"fair_by": "a", "weights": {"x": -1}}, "from 0.001 to 1000"),
        ({"fair_by": "a", "weights": {"x": float("inf")}}, "not a weight"),
        ({"fair_by": "a", "weights": {"x": "2"}}, "not a weight"),
        ({"fair_by": "a", "weights": {"x": True}}, "not a weight"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], said: str) -> None:
    """When the queue is made."""
    with pytest.raises(ConfigurationError, match=said):
        opened(**options)


def test_a_store_without_fair_lines_says_so() -> None:
    """The first call is refused, and so is a move of tasks with shares to it."""
    plain = WithoutFairLines(MemoryStore(), StoreOptions())
    queue = TaskQueue(broker=plain, fair_by="tenant")

    @queue.task(name="one")
    def one(tenant: str) -> None: ...

    with pytest.raises(ConfigurationError, match="does not have fair lines, which fair_by= needs"):
        one("a")
    source = MemoryBackend(MemoryStore(), StoreOptions())
    source.enqueue([Message("a", "one", share=1_000, v=FLOW_VERSION)])
    with pytest.raises(ConfigurationError, match="does not have fair lines"):
        move_group(source, plain)
    assert source.depth().ready == 1


def test_explain_says_where_it_stands() -> None:
    """How many are before it in the line, and how many of its tenant stand there."""
    queue = opened(fair_by="tenant")

    @queue.task(name="one")
    def one(tenant: str) -> None: ...

    one.map([("a",)] * 5)
    mine = one("b")
    nobody = one("")

    told = str(queue.admin.explain(mine.task_id))
    assert "ready, in the fair line with 1 before it; the tenant b has 1 task there" in told
    assert "the tenant (none) has 1 task there" in str(queue.admin.explain(nobody.task_id))


def test_eager_mode_takes_turns() -> None:
    """What has waited, here for the end of a pause, runs in shares."""
    queue = TaskQueue(stream_key="fair", fair_by="tenant", weights={"b": 2}, eager=True)
    ran: list[str] = []

    @queue.task(name="one")
    def one(tenant: str) -> None:
        ran.append(tenant)

    queue.admin.pause()
    one.map([("a",)] * 6)
    one.map([("b",)] * 4)
    queue.admin.resume()

    assert sorted(ran) == ["a"] * 6 + ["b"] * 4
    assert ran[:6].count("b") == 4
