"""The log says which task a line is about, whoever logs it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace

from pyxqueue import EagerSession, TaskLogFilter, TaskQueue, eager_mode
from pyxqueue.cli.logs import JSONFormatter
from pyxqueue.model.message import Done, Returned
from pyxqueue.worker.events import TaskSettled, done, log_settled
from pyxqueue.worker.logs import log_successes
from tests.running import Place

LOGGER = logging.getLogger("tests.shop")


class Kept(logging.Handler):
    """Keeps the lines that it formats."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(TaskLogFilter())
        self.lines = list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    LOGGER.addHandler(handler)
    yield handler
    LOGGER.removeHandler(handler)


@pytest.fixture
def eager() -> Iterator[EagerSession]:
    with eager_mode() as session:
        yield session


@pytest.mark.usefixtures("eager")
def test_a_line_that_is_logged_in_a_task_names_it(kept: Kept) -> None:
    """In the fields of JSON."""
    kept.setFormatter(JSONFormatter())

    handle = TaskQueue("shop").task(name="sell")(lambda: LOGGER.warning("sold"))()

    (line,) = map(json.loads, kept.lines)
    assert line.pop("worker")
    assert {name: line[name] for name in ("message", "task_id", "task_name", "attempt", "queue")} == {
        "message": "sold",
        "task_id": handle.task_id,
        "task_name": "sell",
        "attempt": 1,
        "queue": "shop",
    }
    assert "trace_id" not in line


def test_a_format_can_name_the_fields_also_outside_of_a_task(kept: Kept) -> None:
    """They are empty there, and JSON does not have them."""
    kept.setFormatter(logging.Formatter("[%(task_id)s %(trace_id)s] %(message)s"))
    LOGGER.warning("hello")
    kept.setFormatter(JSONFormatter())
    LOGGER.warning("hello", extra={"note": ""})

    text, line = kept.lines
    assert text == "[ ] hello"
    assert {"task_id", "queue", "trace_id"}.isdisjoint(json.loads(line))
    assert json.loads(line)["note"] == ""


@pytest.mark.usefixtures("eager")
def test_what_a_record_says_itself_stays(kept: Kept) -> None:
    """A line about another task keeps the id of that one."""
    kept.setFormatter(logging.Formatter("%(task_id)s"))

    TaskQueue("shop").task(name="sell")(lambda: LOGGER.warning("sold", extra={"task_id": "another"}))()

    assert kept.lines == ["another"]


def test_the_trace_is_named_where_there_is_one(kept: Kept) -> None:
    """By the ids of the span that is current where the line is logged."""
    kept.setFormatter(logging.Formatter("%(trace_id)s %(span_id)s"))
    span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))

    with trace.use_span(span):
        LOGGER.warning("sold")

    assert kept.lines == [f"{1:032x} {2:016x}"]


@pytest.fixture
def restored() -> Iterator[None]:
    level, filters = done.level, done.filters[:]
    yield
    done.setLevel(level)
    done.filters[:] = filters


@pytest.mark.usefixtures("restored")
def test_successes_can_be_logged_at_level_info(caplog: pytest.LogCaptureFixture) -> None:
    """With the fields of the task."""
    log_successes()
    log_successes()

    with caplog.at_level(logging.INFO):
        log_settled(TaskSettled("id-1", "shop.sell", 2, "w", Returned(b"1"), Done(), True, 0.5, "shop"))

    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("INFO", "done shop.sell id-1 in 0.500 s, attempt 2")
    assert (vars(record)["queue"], vars(record)["worker"]) == ("shop", "w")


NO_FORK = "import pyxqueue.supervisor.launch as launch; launch.fork_is_safe = lambda: False\n"


@pytest.mark.parametrize(("before", "threads"), [("", "1"), ("", "2"), (NO_FORK, "1")])
def test_a_worker_logs_each_success_and_what_tasks_log(tmp_path: Path, before: str, threads: str) -> None:
    """`--log-tasks` with `--log-format json`, also in workers that are started as new interpreters."""
    place, output = Place(tmp_path, None), tmp_path / "log"
    (tmp_path / "shop.py").write_text(
        "import logging\n"
        "from pyxqueue import TaskQueue\n"
        "queue = TaskQueue('shop')\n"
        "@queue.task\n"
        "def sell(): logging.getLogger('mine').info('sold')\n"
        "if __name__ == '__main__':\n"
        "    from shop import sell\n"
        "    handle = sell()\n"
        "    handle.get(timeout=60)\n"
        "    print(handle.task_id)\n"
    )
    (tmp_path / "main.py").write_text(f"{before}from pyxqueue.cli import main\nmain()\n")
    options = ("-p", "1", "-t", threads, "--log-tasks", "--log-format", "json")

    with place.worker("main.py", "worker", "shop", *options, output=output):
        task_id = place.run("shop.py").strip()

    lines = [json.loads(line) for line in output.read_text().splitlines()]
    mine, success = (
        next(line for line in lines if line["logger"] == name) for name in ("mine", "pyxqueue.worker.done")
    )
    assert success["level"] == "info"
    for line in (mine, success):
        assert (line["task_id"], line["task_name"], line["attempt"], line["queue"]) == (task_id, "shop.sell", 1, "shop")
        assert line["worker"] == success["worker"]
