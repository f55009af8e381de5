"""Tasks, handles and queues are pickled by name, as functions are."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from pyxqueue import TaskQueue
from tests.running import Place

queue = TaskQueue("memory://", stream_key="pickled")


@queue.task
def add(a: int, b: int = 1) -> int:
    return a + b


def _double(n: int) -> int:
    return 2 * n


double = queue.task(name="double")(_double)


class Shop:
    @staticmethod
    @queue.task
    def price(thing: str) -> int:
        return len(thing)


def loaded(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("value", [add, double, Shop.price, queue], ids=["task", "renamed", "in a class", "queue"])
def test_what_a_module_has_is_found_there(value: Any) -> None:
    """Loading returns the same object, and copying it does too."""
    assert loaded(value) is value


def test_the_options_of_a_call_come_along() -> None:
    """A task with options of a call is pickled as the task of the module and the options."""
    later = loaded(add.with_options(delay=60, headers={"a": "b"}))

    assert later is not add
    assert later.call_options == add.with_options(delay=60, headers={"a": "b"}).call_options
    assert later.function is add.function
    assert loaded(add.with_options()) is add


def test_a_handle_comes_back_as_one_of_its_task() -> None:
    """The handle is on the queue of the process that loads it."""
    handle = add(1)

    other = loaded(handle)
    assert other == handle
    assert repr(other) == repr(handle)
    assert other.state.name == "PENDING"


def test_a_copy_is_the_thing_itself() -> None:
    """Copying returns the object itself, as with functions, also one that cannot be pickled."""
    inside = TaskQueue("memory://")
    task = inside.task(name="one")(lambda: 1)

    for value in (task, task(), inside):
        assert copy.copy(value) is value
        assert copy.deepcopy([value])[0] is value


def test_what_no_module_has_says_what_to_do() -> None:
    """A task, a handle and a queue that were made inside a function cannot be pickled."""
    inside = TaskQueue("memory://")
    task = inside.task(name="one")(lambda: 1)

    for value in (task, task(), inside, task.with_options(delay=1)):
        with pytest.raises(pickle.PicklingError, match="not at the top level of a module, where"):
            pickle.dumps(value)


def test_what_has_gone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading fails with an error if the module of that program no longer has the object."""
    data = pickle.dumps(add)
    monkeypatch.delattr("tests.queue.test_pickling.add")

    with pytest.raises(pickle.UnpicklingError, match="does not have 'add' here"):
        pickle.loads(data)


PROGRAM = """
import multiprocessing
from pyxqueue import TaskQueue

print("loaded as", __name__)
queue = TaskQueue("pool")

@queue.task
def add(a, b=1):
    return a + b

if __name__ == "__main__":
    with multiprocessing.get_context(METHOD).Pool(2) as pool:
        handles = pool.map(add, range(4))
    from pyxqueue.testing import drain
    drain(queue)
    print([handle.get(timeout=10) for handle in handles])
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_maps_a_task(tmp_path: Path, method: str) -> None:
    """A script can map a task in a pool, whose children do not load it again under another name."""
    (tmp_path / "shop.py").write_text(PROGRAM.replace("METHOD", repr(method)))

    lines = Place(tmp_path, None).run("shop.py").splitlines()

    assert lines[-1] == "[1, 2, 3, 4]"
    assert "loaded as shop" not in lines
