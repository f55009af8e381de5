"""Every example runs as people would run it: worker and client in processes of their own, and no server."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue.options import DEFAULT_GRACE
from pyxqueue.testing.servers import Server

from .conftest import Servers, kinds_to_test
from .running import ROOT, Place

EXAMPLES = ROOT / "examples"
PROMISED = {
    "rpc": ["100kth fib number ends with: 746875"],
    "progress": ["characters: 11"],
    "retries": [
        "flaky needed 3 runs; polite is done",
        "Rejected: no retry will help",
        "pyxqueue.errors.TimeLimitExceeded: the task ran longer than its timeout of 0.2 s",
    ],
    "custom_type": ["Money(amount=Decimal('33.30'), currency='EUR')"],
    "fanout": ["groups: ['count', 'mail']", "mail to ada@example.org", "\n15\n"],
    "webapp": ["{'state': 'SUCCESS', 'result': '200 rows'}"],
    "many": ["500 digests, the first ", "one of two: 64 digits"],
    "flow": ["22 of 22 tasks", "175 words, 10 pages removed"],
    "later": ["not before its time: True", "PENDING, then CANCELLED", "one run: True"],
    "asyncio_client": ["[0, 1, 4]", "30 of 30 pages, the last 841"],
}
"""What the examples that have a worker and a client must print."""
OTHERS = {"incident", "background_task", "demo", "fib"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A copy of the examples, in a folder where nothing says which store to use."""
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__", ".pyxqueue"))
    return Place(folder, None)


@pytest.fixture
def url(servers: Servers) -> Iterator[str]:
    """A private server, to which an example moves by its environment alone."""
    server: Server = servers(kinds_to_test()[0])
    yield server.url
    with Redis.from_url(server.url) as client:
        client.flushall()


def test_no_example_is_overlooked() -> None:
    """A new example is run too."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == PROMISED.keys() | OTHERS


def test_the_page_has_every_example() -> None:
    """Each file and folder stands in the table, and nothing else does."""
    page = (EXAMPLES / "README.md").read_text()
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix == ".py" or (path / "README.md").exists()}

    assert set(re.findall(r"^\| \[([\w.]+)\]\(\1\)", page, re.MULTILINE)) == there | {
        "testing_example",
        "compose",
        "deploy",
    }


@pytest.mark.parametrize("name", PROMISED)
def test_example(name: str, place: Place) -> None:
    """Its client prints what it should while its worker serves, and the queue is the file in their folder."""
    _run(name, place)

    assert (place.folder / ".pyxqueue/queue.db").stat().st_size > 0


@pytest.mark.parametrize("name", ["rpc", "fanout"])
def test_example_on_a_server(name: str, place: Place, url: str) -> None:
    """The same on the store that the environment names, and no file beside it."""
    _run(name, evolve(place, url=url))

    assert not (place.folder / ".pyxqueue").exists()


def _run(name: str, place: Place) -> None:
    with place.worker(f"{name}.py", "worker"):
        output = place.run(f"{name}.py", "test")
        missing = [line for line in PROMISED[name] if line not in output]
        assert not missing, output


def test_the_containers_run_commands_that_work(place: Place, url: str) -> None:
    """The worker's command serves the web application, and the image is built from files that exist."""
    service = (EXAMPLES / "compose/compose.yaml").read_text()
    commands = [json.loads(words) for words in re.findall(r"command: (\[.*\])", service)]
    copied = re.findall(r"^COPY (.*) \S+$", (EXAMPLES / "compose/Dockerfile").read_text(), re.MULTILINE)
    stop = re.search(r"stop_grace_period: (\d+)s", service)

    assert [words[0] for words in commands] == ["valkey-server", "pyxqueue", "python"]
    assert commands[2][1:3] == ["webapp.py", "serve"]
    with evolve(place, url=url).worker("-m", *commands[1]):
        assert PROMISED["webapp"][0] in evolve(place, url=url).run("webapp.py", "test")
    assert [name for line in copied for name in line.split() if not (ROOT / name).exists()] == []
    assert stop is not None
    assert int(stop[1]) > DEFAULT_GRACE


def test_background_task_runs_in_the_worker(place: Place) -> None:
    """What the task prints comes out of the worker, which finishes the task also if it is stopped meanwhile."""
    output = place.folder / "worker.log"
    with place.worker("background_task.py", "worker", output=output):
        place.run("background_task.py", "test")
        place.run("-c", "import background_task as b; b.queue.result(b.queue.get_tasks()[0]['task_id']).get(30)")

    assert "woke up after 0.5 seconds" in output.read_text()


def test_fib_starts_its_own_workers(place: Place) -> None:
    """The second seed's form: start, call, stop, on the default store."""
    assert "100,000th fibonacci ends with: 746875" in place.run("fib.py")

    assert (place.folder / ".pyxqueue/queue.db").stat().st_size > 0


def test_demo_checks_every_answer(place: Place) -> None:
    """It brings its own workers, needs no server, and ends by itself."""
    output = place.run("demo.py", "--workers", "2", "--files", "40")

    assert "the last six 746875" in output
    assert "40 files" in output
    assert "done: 41 tasks, every answer right, everything stopped" in output


def test_demo_on_another_store(place: Place, url: str) -> None:
    """The same on the store at a URL."""
    assert "done: 6 tasks" in place.run("demo.py", "--workers", "1", "--files", "5", "--url", url)


def test_demo_fails_on_a_wrong_answer(place: Place) -> None:
    """A digest that differs between worker and client ends it with a text and a code."""
    sabotage = "import demo, os; demo.digest.function = lambda path: str(os.getpid()); demo.main()"

    with pytest.raises(AssertionError, match=r"ended with 1:(?s:.*)WRONG: the digest of .* is not what it is here"):
        place.run("-c", sabotage, "--workers", "1", "--files", "2")


def test_testing_example(place: Place) -> None:
    """Its tests pass without a server, and with pytest alone, whatever the repository around them sets up."""
    shutil.copy(ROOT / "pyproject.toml", place.folder)
    nowhere = Place(place.folder / "testing_example", "redis://127.0.0.1:1")

    assert "3 passed" in nowhere.run("-m", "pytest", "-q", "-p", "no:valkey", "-p", "no:anyio", "-p", "no:timeout")
