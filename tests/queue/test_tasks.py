"""Decorating functions, calling what comes of it, and options."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import fields

from pyxqueue import (
    ArgumentError,
    AsyncResult,
    ConfigurationError,
    DuplicateTaskError,
    SerializationError,
    Task,
    TaskQueue,
)
from pyxqueue.options import TaskOptions
from pyxqueue.testing import drain

TASK_OPTIONS = ", ".join(field.name for field in fields(TaskOptions))


def add(a: int, b: int = 1, *, double: bool = False) -> int:
    """Add two numbers."""
    return (a + b) * (2 if double else 1)


def another(module: str) -> Callable[[], None]:
    def add() -> None: ...

    add.__module__ = module
    add.__qualname__ = "add"
    return add


def test_a_task_is_known_by_its_import_path(queue: TaskQueue) -> None:
    """The task also has the function's docstring and other attributes."""
    task = queue.task(add)

    assert task.name == "tests.queue.test_tasks.add"
    assert task.__doc__ == "Add two numbers."
    assert task.__wrapped__ is add  # type: ignore[attr-defined]
    assert repr(task) == "<Task tests.queue.test_tasks.add>"
    assert repr(queue) == "<TaskQueue 'q' group 'cg', 1 task>"


def test_calling_enqueues_and_answers_a_handle(queue: TaskQueue) -> None:
    """The call returns a handle, and nothing has run yet."""
    task = queue.task(add)

    handles = [task(1), task.enqueue(1, b=2), task(a=1, double=True)]

    assert [handle.state.name for handle in handles] == ["PENDING"] * 3
    assert len({handle.task_id for handle in handles}) == 3
    assert repr(handles[0]) == f"<AsyncResult {task.name} {handles[0].task_id}>"
    drain(queue)
    assert [handle.get() for handle in handles] == [2, 3, 4]


def test_aenqueue_is_for_asyncio(queue: TaskQueue) -> None:
    """`aenqueue` returns the same kind of handle."""
    handle = asyncio.run(queue.task(add).aenqueue(20, 22))

    drain(queue)
    assert handle.get() == 42


def test_call_runs_the_function_here(queue: TaskQueue) -> None:
    """Nothing is enqueued by `call`."""
    assert queue.task(add).call(1, 2, double=True) == 6
    assert queue.task_total() == 0


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"c": 3}, "unexpected keyword argument 'c'"),
    ],
)
def test_a_call_that_does_not_fit_is_refused(
    queue: TaskQueue, args: tuple[Any, ...], kwargs: dict[str, Any], why: str
) -> None:
    """The call raises an error with the task and its signature."""
    task: Any = queue.task(add)

    with pytest.raises(ArgumentError, match=why) as caught:
        task(*args, **kwargs)
    assert str(caught.value).startswith("tests.queue.test_tasks.add(a: 'int', b: 'int' = 1, *, double: 'bool' = False)")
    with pytest.raises(TypeError):
        asyncio.run(task.aenqueue(*args, **kwargs))
    assert queue.task_total() == 0


@pytest.mark.parametrize("args", [(), (1, 2)])
def test_a_plain_signature_is_counted(queue: TaskQueue, args: tuple[Any, ...]) -> None:
    """The fast path for positional arguments accepts and refuses the same calls."""
    task: Any = queue.task(name="one")(lambda a: a)

    with pytest.raises(ArgumentError, match="one"):
        task(*args)


def test_an_argument_that_does_not_travel_is_named(queue: TaskQueue) -> None:
    """The error has the path to the argument."""
    task: Any = queue.task(add)

    with pytest.raises(SerializationError, match=r"cannot enqueue tests.queue.test_tasks.add: kwargs\['b'\]\[2\]"):
        task(1, b=[1, 2, object()])


def test_an_instance_cannot_have_two_tasks_of_one_name(queue: TaskQueue) -> None:
    """The error says where both functions are."""
    queue.task(add)

    with pytest.raises(DuplicateTaskError, match=r"test_tasks.py:\d+; rename .*test_tasks.py:\d+"):
        queue.task(another(add.__module__))


def test_the_same_function_may_come_again(queue: TaskQueue) -> None:
    """A module that is loaded twice declares its tasks twice without an error."""
    queue.task(add)

    assert queue.task(add).name == "tests.queue.test_tasks.add"
    assert len(queue.core.registry) == 1


def test_a_repl_may_define_a_task_again(queue: TaskQueue) -> None:
    """In a REPL the newest definition counts."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for value in (1, 2):
        exec(compile(f"def work(): return {value}", "<stdin>", "exec"), space)
        space["work"].__module__ = "__main__"
        task = queue.task(name="work")(space["work"])

    handle = task()
    drain(queue)
    assert handle.get() == 2


def test_a_task_on_another_queue_takes_its_function(queue: TaskQueue) -> None:
    """A task is not decorated again, or a call would enqueue twice; its `function` is."""
    task: Any = queue.task(add)
    other = TaskQueue("memory://", stream_key="other")

    with pytest.raises(ConfigurationError, match=r"is a task already; for another queue, decorate its .function"):
        other.task(task)
    assert other.task(task.function).name == task.name


def test_attributes_of_the_function_do_not_harm(queue: TaskQueue) -> None:
    """Attributes that other decorators have set may have the names of a task's own."""

    def work() -> int:
        return 1

    work.name = "mine"  # type: ignore[attr-defined]
    work.colour = "red"  # type: ignore[attr-defined]
    task: Any = queue.task(name="work")(work)

    assert (task.name, task.colour) == ("work", "red")


@pytest.mark.parametrize("function", [lambda: None, functools.partial(add, 1)], ids=["lambda", "partial"])
def test_what_has_no_name_needs_one(queue: TaskQueue, function: Any) -> None:
    """A lambda and a partial need `name=`, because no worker could find them."""
    with pytest.raises(ConfigurationError, match="name"):
        queue.task(function)
    assert queue.task(name="given")(function).name == "given"


@pytest.mark.parametrize("name", ["", "two words", "x" * 201, "a:b"])
def test_a_name_has_rules(queue: TaskQueue, name: str) -> None:
    """The name is written into headers and logs."""
    with pytest.raises(ConfigurationError, match="is not valid"):
        queue.task(name=name)(add)


def test_only_functions_are_tasks(queue: TaskQueue) -> None:
    """Anything else is refused, such as an option given by position."""
    with pytest.raises(ConfigurationError, match="decorates functions, not 3"):
        queue.task(3)  # type: ignore[call-overload]


def numbers() -> Iterator[int]:
    yield 1


async def later_numbers() -> AsyncIterator[int]:
    yield 1


class Shop:
    def sell(self, thing: str) -> None: ...

    @staticmethod
    def price(thing: str) -> int:
        return len(thing)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (numbers, "is a generator, but a task has one result: return a list"),
        (later_numbers, "is a generator"),
        (Shop.sell, "is a method, and a worker does not have an object to call it on"),
    ],
)
def test_functions_that_would_run_in_vain(queue: TaskQueue, function: Any, why: str) -> None:
    """They are refused at the decorator, also under a name of their own."""
    with pytest.raises(ConfigurationError, match=why):
        queue.task(name="given")(function)


def with_self(self: int) -> int:
    return self


def test_a_parameter_may_be_called_self(queue: TaskQueue) -> None:
    """The first parameter of a function may be called `self`; it is an argument like any other."""

    def inside(self: int) -> int:
        return self

    handles = [queue.task(with_self)(1), queue.task(inside)(2)]
    drain(queue)
    assert [handle.get() for handle in handles] == [1, 2]


def test_a_function_kept_in_a_class_is_a_function(queue: TaskQueue) -> None:
    """A function of a class and a bound method are tasks; only a method without an object is refused."""
    task, bound = queue.task(Shop.price), queue.task(Shop().sell)

    handles: list[Any] = [task("tea"), bound("tea")]
    drain(queue)
    assert [handle.get() for handle in handles] == [3, None]
    assert task.name == "tests.queue.test_tasks.Shop.price"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"retries": -1}, "retries"),
        ({"backoff": -1}, "backoff"),
        ({"jitter": 2}, "jitter"),
        ({"max_crashes": -1}, "max_crashes"),
        ({"timeout": 0}, "timeout"),
        ({"hard_timeout": -1}, "hard_timeout"),
        ({"result_ttl": 0}, "result_ttl"),
        ({"retries": "many"}, "many|str"),
        ({"retry_on": "ValueError"}, "'ValueError' is not an exception type"),
        ({"give_up_on": (int,)}, "<class 'int'> is not an exception type"),
        (
            {"bogus": 1, "other": 2},
            f"unknown option bogus, other; the options are {TASK_OPTIONS}$",
        ),
        ({"max_retries": 3}, rf"unknown option max_retries \(max_retries: retries=\); the options are {TASK_OPTIONS}$"),
        (
            {"timeuot": 3},
            rf"unknown option timeuot \(timeuot: did you mean timeout=\?\); the options are {TASK_OPTIONS}$",
        ),
    ],
)
def test_options_are_checked(queue: TaskQueue, options: dict[str, Any], why: str) -> None:
    """The decorator refuses a wrong option, and the error names the task."""
    with pytest.raises(ConfigurationError, match=why) as caught:
        queue.task(name="work", **options)(add)
    assert str(caught.value).startswith("@queue.task(work...): ")


@pytest.mark.parametrize(
    ("options", "runs"),
    [({}, 3), ({"retry_on": KeyError}, 1), ({"retry_on": (KeyError, ValueError)}, 3), ({"give_up_on": ValueError}, 1)],
)
def test_exceptions_decide_about_retries(options: dict[str, Any], runs: int) -> None:
    """`retry_on` and `give_up_on` decide whether an exception is retried."""
    queue = TaskQueue("q", eager=True)
    seen = []

    @queue.task(retries=2, **options)
    def fail() -> None:
        seen.append(1)
        raise ValueError

    with pytest.raises(Exception, match="ValueError"):
        fail().get()
    assert len(seen) == runs


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"delay": -1}, "delay=-1 must be a number of seconds"),
        ({"delay": float("nan")}, "delay=nan"),
        ({"delay": float("inf")}, "delay=inf"),
        ({"delay": "60"}, "delay='60' must be a number of seconds"),
        ({"eta": datetime(2030, 1, 1)}, "eta= needs a time zone"),
        ({"eta": "tomorrow"}, "eta='tomorrow' must be a datetime"),
        ({"eta": datetime(2030, 1, 1, tzinfo=UTC), "delay": 1}, "give either delay= or eta="),
        ({"task_id": ""}, "task id '' is not valid"),
        ({"task_id": "x" * 65}, "is not valid"),
        ({"task_id": "a b"}, "is not valid"),
        ({"task_id": "ä"}, "is not valid"),
        ({"task_id": b"a"}, "task id b'a' is not valid: use 1 to 64 characters"),
        ({"task_id": 7}, "task id 7 is not valid"),
        ({"headers": {"n": 1}}, "headers= must map texts to texts"),
        ({"headers": "text"}, "must map texts to texts"),
        ({"headers": {"n": "\ud800"}}, "must map texts to texts"),
    ],
)
def test_options_of_a_call_are_checked(queue: TaskQueue, options: dict[str, Any], why: str) -> None:
    """`with_options` refuses a wrong option, and the error names the task."""
    task = queue.task(add)

    with pytest.raises(ConfigurationError, match=why) as caught:
        task.with_options(**options)
    assert str(caught.value).startswith("tests.queue.test_tasks.add.with_options: ")


def test_options_of_a_call_are_for_that_call(queue: TaskQueue) -> None:
    """`with_options` does not change the task itself."""
    task = queue.task(add)
    now = datetime.now(UTC)
    handles = [
        task.with_options(delay=60)(1),
        task.with_options(eta=now + timedelta(hours=1))(1),
        task.with_options(task_id="A-z_0.9" + "x" * 57, headers={"tenant": "ada"})(1),
        task(1),
    ]
    messages: list[Any] = [queue.stores.backend.show([handle.task_id])[0].message for handle in handles]  # type: ignore[union-attr]

    assert handles[2].task_id == "A-z_0.9" + "x" * 57
    assert messages[0].due_ms - messages[0].enqueued_ms == 60_000
    assert 0 < messages[1].due_ms - messages[1].enqueued_ms <= 3_600_000
    assert messages[2].headers == {"tenant": "ada"}
    assert (messages[3].due_ms, messages[3].headers) == (0, {})


def test_an_id_is_enqueued_once(queue: TaskQueue) -> None:
    """A second call under it changes nothing, and its handle is that of the first."""
    task = queue.task(add).with_options(task_id="order-7")
    first, second = task(1), task(2)

    assert drain(queue) == 1
    assert first == second
    assert second.get() == 2


def connected(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the function its first argument, as decorators do that open a connection."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(10, *args, **kwargs)

    return wrapper


def for_tenant(function: Callable[..., Any]) -> Callable[..., Any]:
    """Takes an argument that the function does not have."""

    @functools.wraps(function)
    def wrapper(tenant: int, *args: Any, **kwargs: Any) -> Any:
        return tenant * function(*args, **kwargs)

    return wrapper


def signed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Has a signature of its own, which `functools.wraps` hands on to whatever wraps it."""
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return function


@pytest.mark.parametrize("inner", [lambda function: function, signed], ids=["plain", "signed"])
def test_a_call_fits_what_is_called(queue: TaskQueue, inner: Callable[..., Any]) -> None:
    """The signature that counts is that of the outermost decorator."""
    one = queue.task(name="one")(connected(inner(lambda first, second: (first, second))))
    two = queue.task(name="two")(for_tenant(inner(lambda number=1: number)))

    handles = [one(1), one(second=2), two(3), two(3, 4), two(tenant=5, number=6)]
    drain(queue)
    assert [handle.get() for handle in handles] == [(10, 1), (10, 2), 3, 12, 30]
    with pytest.raises(ArgumentError, match=r"two\(tenant, .*\) does not take these arguments: missing a required"):
        two()


class Wrapped:
    """A decorator that is a class, as caches are."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, tenant: int, *args: Any) -> Any:
        return tenant * self.function(*args)


@pytest.mark.parametrize("inner", [lambda function: function, signed], ids=["plain", "signed"])
def test_a_call_fits_an_object_that_is_called(queue: TaskQueue, inner: Callable[..., Any]) -> None:
    """The signature that counts is that of `__call__`, whatever the object wraps."""
    task: Any = queue.task(name="one")(Wrapped(inner(lambda number: number)))

    handle = task(2, 3)
    drain(queue)
    assert handle.get() == 6
    with pytest.raises(ArgumentError, match="missing a required argument: 'tenant'"):
        task()


def test_a_function_without_a_signature_takes_anything(queue: TaskQueue) -> None:
    """A function without a signature gets its arguments unchecked; Python checks them when it runs."""
    task: Any = queue.task(name="largest")(max)

    handles = [task(1, 2), task([1, 3])]
    drain(queue)
    assert [handle.get() for handle in handles] == [2, 3]


def test_a_method_with_an_object_keeps_its_signature(queue: TaskQueue) -> None:
    """The object is not counted as an argument."""
    task: Any = queue.task(Shop().sell)

    with pytest.raises(ArgumentError, match=r"sell\(thing: 'str'\) -> 'None' does not take these arguments: too many"):
        task("tea", "coffee")


def amap(task: Task[..., Any], calls: Any, **more: Any) -> list[AsyncResult[Any]]:
    return asyncio.run(task.amap(calls, **more))


def map_(task: Task[..., Any], calls: Any, **more: Any) -> list[AsyncResult[Any]]:
    return task.map(calls, **more)


maps = pytest.mark.parametrize("mapped", [map_, amap], ids=["map", "amap"])


@maps
def test_map_takes_named_arguments(queue: TaskQueue, mapped: Any) -> None:
    """Those of one call come as a mapping, those of all calls as arguments of `map`."""
    handles = mapped(queue.task(add), [{"a": 1}, (2,), {"a": 3, "double": False}], b=10, double=True)
    drain(queue)

    assert [handle.get() for handle in handles] == [22, 24, 13]


@maps
def test_map_takes_ids(queue: TaskQueue, mapped: Any) -> None:
    """Each call has an id, so that a second run of the program enqueues nothing."""
    task = queue.task(add)
    for _ in range(2):
        handles = mapped(task, [(n,) for n in range(3)], task_ids=(f"order-{n}" for n in range(3)))

    assert [handle.task_id for handle in handles] == ["order-0", "order-1", "order-2"]
    assert drain(queue) == 3


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        (["a"], "has fewer ids than there are calls"),
        (["a", "b", "c"], "has more ids than there are calls: 'c' is left over"),
        (["a", "b c"], "task id 'b c' is not valid"),
        ("ab", "task_ids='ab' must be a list with one id for each call"),
    ],
)
def test_map_needs_as_many_ids(queue: TaskQueue, ids: Any, why: str) -> None:
    """An id that is missing, left over or not valid is an error, and no call of the list is enqueued."""
    with pytest.raises(ConfigurationError, match=why):
        queue.task(add).map([(1,), (2,)], task_ids=ids)
    assert queue.task_total() == 0


@maps
def test_map_streams_an_iterator(queue: TaskQueue, mapped: Any) -> None:
    """At most one batch of calls is taken from the iterator before it is enqueued."""
    ahead = []

    def numbers() -> Iterator[tuple[int, ...]]:
        for number in range(1000):
            ahead.append(number - queue.task_total())
            yield (number,)

    handles = mapped(queue.task(add), numbers())

    assert len(handles) == queue.task_total() == 1000
    assert max(ahead) == 255


def test_what_an_iterator_gave_before_an_error_is_enqueued(queue: TaskQueue) -> None:
    """A note on the error says how many calls were enqueued."""
    task = queue.task(add)

    with pytest.raises(ArgumentError) as caught:
        task.map((n, n) if n < 300 else () for n in range(1000))
    assert queue.task_total() == 256
    assert caught.value.__notes__[0].startswith(f"256 calls of {task.name} were enqueued before, up to ")


def test_map_enqueues_many(queue: TaskQueue) -> None:
    """`map` takes any iterable of sequences, and returns the handles in order."""
    task = queue.task(add)

    handles: list[AsyncResult[int]] = task.map((n, n) for n in range(5))
    drain(queue)

    assert [handle.get() for handle in handles] == [0, 2, 4, 6, 8]
    assert task.map([]) == []


@pytest.mark.parametrize("calls", [["ab"], [b"ab"], [1], "ab", 3, {"a": 1}])
def test_map_takes_sequences_of_arguments(queue: TaskQueue, calls: Any) -> None:
    """A text is refused, because it is a sequence that is never meant as one."""
    with pytest.raises(ArgumentError, match=r"add.map\(\) takes sequences of arguments"):
        queue.task(add).map(calls)


@pytest.mark.parametrize("bad", [(), (1, 2, 3), (object(),)])
def test_map_enqueues_all_or_nothing(queue: TaskQueue, bad: tuple[Any, ...]) -> None:
    """If one call of a list does not fit, none is enqueued."""
    with pytest.raises((ArgumentError, SerializationError)):
        queue.task(add).map([(1,), bad])
    assert queue.task_total() == 0


def test_map_needs_an_id_for_each(queue: TaskQueue) -> None:
    """A `task_id` of `with_options` cannot be that of many calls."""
    with pytest.raises(ConfigurationError, match="cannot share one task_id=: give map\\(\\) task_ids="):
        queue.task(add).with_options(task_id="one").map([(1,), (2,)])


def test_a_decorator_with_options_keeps_the_type(queue: TaskQueue) -> None:
    """The decorator makes a `Task` with and without parentheses."""

    @queue.task(retries=2, timeout=5)
    def work() -> None: ...

    assert isinstance(work, Task)
    assert work.options.retries == 2
    assert work.options.hard_limit == 15
    assert isinstance(queue.task(add), Task)
    assert queue.task(add).options.hard_limit is None
    assert queue.task(name="hard", hard_timeout=3)(add).options.hard_limit == 3
