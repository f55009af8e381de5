"""`run_workers` refuses what one set of workers cannot serve, in words that say what to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pyxqueue import AlreadyRunningError, ConfigurationError, TaskQueue, run_workers
from pyxqueue.client.local_workers import parts_of
from pyxqueue.client.queue import workers_of
from pyxqueue.client.several import turns_of
from pyxqueue.worker.turns import Turns

URL = "redis://127.0.0.1:1/0"

first = TaskQueue(URL, stream_key="first")
second = TaskQueue(URL, stream_key="second")


def refused(queues: Sequence[Any], why: str, error: type[Exception] = ConfigurationError, **options: Any) -> None:
    with pytest.raises(error, match=why):
        run_workers(queues, 1, **options)


def test_no_queue() -> None:
    refused([], "no queue was given")


def test_what_is_not_a_queue() -> None:
    refused([first, "second"], "'second' is not a TaskQueue: give run_workers the queues themselves")


def test_the_same_queue_twice() -> None:
    refused([first, second, first], "'first' .* was given twice: name each queue once")


@pytest.mark.parametrize("same", [lambda: TaskQueue(URL, stream_key="first"), lambda: TaskQueue(URL, "first", lease=5)])
def test_two_objects_for_one_queue(same: Callable[[], TaskQueue]) -> None:
    """Their workers would take each other's tasks."""
    refused([first, same()], "are the same queue in the same store with the same group")


def test_two_groups_of_one_queue() -> None:
    """They are separate queues."""
    other = TaskQueue(URL, stream_key="first", consumer_group="eu")
    refused([first, other], "weights", weights=[1])


def test_a_queue_in_memory() -> None:
    refused([first, TaskQueue("memory://", stream_key="m")], "a memory:// store exists only inside one process")


def test_an_eager_queue() -> None:
    refused([first, TaskQueue(URL, stream_key="e", eager=True)], "an eager queue runs its tasks when they are called")


def test_a_queue_with_workers() -> None:
    """Which one is said."""
    busy = TaskQueue(URL, stream_key="busy")
    busy._workers.running = True

    refused([first, busy], "'busy' .* already has workers", AlreadyRunningError)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"order": "random"}, "order='random' is not known"),
        ({"weights": [1, 2, 3]}, "there are 3 weights for 2 queues: give one for each queue"),
        ({"weights": [1, 0]}, "the weight 0 is not a number above 0"),
        ({"weights": [1, float("inf")]}, "the weight inf is not a number above 0"),
        ({"weights": [True, 1]}, "the weight True is not a number above 0"),
        ({"weights": ["1", "2"]}, "the weight '1' is not a number above 0"),
        ({"weights": [1, 2], "order": "strict"}, "weights do not apply in strict order"),
        ({"threads": 0}, "the options for workers are not valid"),
    ],
)
def test_options(options: dict[str, Any], why: str) -> None:
    refused([first, second], why, **options)


def test_turns() -> None:
    """As they were asked for."""
    assert turns_of("fair", None, 2) == Turns()
    assert turns_of("fair", (3, 1), 2) == Turns(weights=(3, 1))
    assert turns_of("strict", None, 2) == Turns(strict=True)


def test_it_needs_the_main_thread() -> None:
    """Signals reach the main thread alone. The queues can be run after that."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            run_workers([first, second], 1)
        except ConfigurationError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert "needs the main thread" in str(errors[0])
    assert not workers_of(first).running


def test_a_new_interpreter_finds_all_of_them() -> None:
    """With the modules of their tasks."""
    for queue in (first, second):
        if not len(queue.core.registry):
            queue.task(name=f"{queue.stream_key}.length")(test_turns)

    command = parts_of([workers_of(first), workers_of(second)]).reimport

    assert command is not None
    at = command.index("--app")
    assert command[at : at + 4] == ["--app", f"{__name__}:first", "--also", f"{__name__}:second"]


@pytest.mark.parametrize(
    ("places", "names"),
    [
        ([("a", "cg"), ("b", "cg")], ["a", "b"]),
        ([("a", "cg"), ("a", "eu")], ["a group cg", "a group eu"]),
        ([("a", "cg"), ("a", "cg")], ["a group cg, number 1", "a group cg, number 2"]),
    ],
)
def test_names_in_the_log(places: Sequence[tuple[str, str]], names: Sequence[str]) -> None:
    """No two queues have the same."""
    queues = [TaskQueue(URL, stream_key=name, consumer_group=group) for name, group in places]

    assert [one.name for one in parts_of(list(map(workers_of, queues))).queues] == names
