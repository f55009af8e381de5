"""The programs of the two documents this project comes from, word for word, as their readers would run them.

Only the port of `redis.Redis()` is put in, so that they find the private server of the test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue.testing.servers import Server

from .conftest import Servers, kinds_to_test
from .running import Place

SEEDS = Path(__file__).parent / "seeds"


@pytest.fixture
def server(servers: Servers) -> Iterator[Server]:
    one = servers(kinds_to_test()[0])
    yield one
    with Redis.from_url(one.url) as client:
        client.flushall()


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Place:
    for program in SEEDS.glob("*.py.txt"):
        source = program.read_text().replace("redis.Redis()", f"redis.Redis(port={server.port})")
        (tmp_path / program.name.removesuffix(".txt")).write_text(source)
    return Place(tmp_path, server.url)


def last_task(place: Place, program: str, expression: str) -> str:
    """What an expression about the last enqueued task says; the program's module is `m`, the task's id `i`."""
    find = f"import importlib; m = importlib.import_module({program!r}); i = m.queue.get_tasks(count=1)[0]['task_id']"
    return place.run("-c", f"{find}; print(repr({expression}))").strip()


def test_background_task(place: Place) -> None:
    """The task sleeps in the worker, and its caller does not wait."""
    output = place.folder / "worker.log"
    with place.worker("background-task.py", "worker", output=output):
        place.run("background-task.py", "test")
        last_task(place, "background-task", "m.queue.result(i).get(30)")

    assert "going to sleep for 2 seconds" in output.read_text()
    assert "woke up after 2 seconds" in output.read_text()


def test_rpc(place: Place) -> None:
    """The whole number comes back; turning it into text is what needs the interpreter's option."""
    with place.worker("rpc.py", "worker"):
        output = place.run("rpc.py", "test", options=["-X", "int_max_str_digits=0"])

    assert output == "100kth fib number starts ends with: 537501\n"


def test_progress(place: Place, server: Server) -> None:
    """While the task runs, its progress can be asked for with nothing but its id."""
    place = evolve(place, more={"PYXQUEUE_LEASE": "1"})  # the worker learns of the cancellation with a renewal
    with place.worker("progress.py", "worker"):
        place.run("progress.py", "test")
        steps = last_task(place, "progress", "[next(p.done for p in m.queue.result(i).watch(30)) for _ in range(2)]")
        last_task(place, "progress", "m.queue.admin.cancel(i)")

    assert all(0 <= step < 100 for step in ast.literal_eval(steps))


def test_get_task(place: Place) -> None:
    """The dict has the keys, state numbers and JSON call of the document; the id may be text or bytes."""
    place.run("-c", "import rpc; rpc.fib(3)")

    waiting = ast.literal_eval(last_task(place, "rpc", "m.queue.get_task(i.encode())"))
    with place.worker("rpc.py", "worker"):
        last_task(place, "rpc", "m.queue.result(i).get(30)")
        ended = ast.literal_eval(last_task(place, "rpc", "m.queue.get_task(i)"))

    assert waiting["task_id"] == ended["task_id"].encode()
    assert waiting["data"] == ended["data"] == {b"task": b'{"task_name": "rpc.fib", "args": [3], "kwargs": {}}'}
    assert (waiting["info"]["state"], waiting["info"]["value"], waiting["info"]["worker"]) == (1, None, None)
    assert (ended["info"]["state"], ended["info"]["value"]) == (5, 3)
    assert ended["info"]["worker"].startswith("worker-")
    assert ended["info"]["update_time"] >= waiting["info"]["update_time"] > 1_700_000_000


SECOND = "from pyxqueue import TaskQueue\n\n"
AROUND = """
if __name__ == "__main__":
    queue.start(2)
    {calls}
    queue.shutdown()
"""


def second_seed() -> tuple[str, str]:
    """The second document's program: what defines the queue and its task, and what calls it."""
    source = (SEEDS / "second.txt").read_text()
    definitions, mark, calls = source.partition("# Calculate 100,000th")
    return SECOND + definitions, mark + calls


def test_second_seed_with_workers_of_its_own(place: Place) -> None:
    """Started and stopped around the document's lines, in the same program."""
    definitions, calls = second_seed()
    (place.folder / "second.py").write_text(definitions + AROUND.format(calls=calls.strip().replace("\n", "\n    ")))

    output = place.run("second.py", options=["-X", "int_max_str_digits=0"])

    assert output == "100,000th fibonacci ends with: 537501\n"


def test_second_seed_with_a_separate_worker(place: Place) -> None:
    """The document's lines as they are, served by a worker that imported only the definitions."""
    definitions, calls = second_seed()
    (place.folder / "tasks.py").write_text(definitions)
    (place.folder / "client.py").write_text(f"from tasks import *\n{calls}")

    with place.worker("-c", "import tasks; tasks.queue.run(1)"):
        output = place.run("client.py", options=["-X", "int_max_str_digits=0"])

    assert output == "100,000th fibonacci ends with: 537501\n"
