"""Traces through real workers, whose spans are written to a file when the provider is flushed, and only then."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.conftest import Servers, kinds_to_test
from tests.running import WITH_TELEMETRY, Place
from tests.support.until import until

if sys.platform != "linux":
    pytest.skip("it forks", allow_module_level=True)

TASKS = 10

EXPORT = """
import json, os, threading
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class ToFile(SpanExporter):
    def export(self, spans):
        lines = [json.dumps({
            "name": one.name, "trace": one.context.trace_id, "id": one.context.span_id, "pid": os.getpid(),
            "parent": one.parent and one.parent.span_id, "links": [link.context.span_id for link in one.links],
            "outcome": one.attributes.get("pyxqueue.outcome"),
        }) for one in spans]
        with open("spans", "a") as file:
            file.write("".join(line + "\\n" for line in lines))
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ToFile(), schedule_delay_millis=3_600_000))  # only if flushed
"""
APP = """
import time
from pathlib import Path
from export import provider
from pyxqueue import TaskQueue
from pyxqueue.plugins.otel import OpenTelemetry

queue = TaskQueue(stream_key={name!r}, plugins=[OpenTelemetry(tracer_provider=provider)])


@queue.task(name="plain")
def plain(n): return n


@queue.task(name="coroutine")
async def coroutine(n): return n


@queue.task(name="stuck")
def stuck():
    Path("stuck").touch()
    time.sleep(600)
"""
CALL = """
import sys
from app import {task}, provider
with provider.get_tracer("test").start_as_current_span("request"):
    handles = [{task}(n) for n in range({tasks})]
for handle in handles: handle.get(timeout=60)
provider.force_flush()
"""
NO_FORK = "import pyxqueue.supervisor.launch as launch; launch.fork_is_safe = lambda: False"


@frozen
class Traced(Place):
    """A folder with an application whose spans go to a file in it."""

    @property
    def spans(self) -> list[dict[str, Any]]:
        path = self.folder / "spans"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["name"] == name]

    def call(self, task: str, tasks: int = TASKS) -> None:
        """Call a task so many times, in a process of its own, and wait for the results."""
        (self.folder / "call.py").write_text(CALL.format(task=task, tasks=tasks))
        self.run("call.py")


@pytest.fixture(params=["sqlite", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers, stream_key: str) -> Traced:
    url = servers(kinds_to_test()[0]).url if request.param == "server" else f"sqlite:///{tmp_path}/queue.db"
    (tmp_path / "export.py").write_text(EXPORT)
    (tmp_path / "app.py").write_text(APP.format(name=stream_key))
    (tmp_path / "main.py").write_text("from pyxqueue.cli import main\nmain()\n")
    (tmp_path / "nofork.py").write_text(f"{NO_FORK}\nfrom pyxqueue.cli import main\nmain()\n")
    return Traced(tmp_path, url, WITH_TELEMETRY)


@pytest.mark.parametrize(
    ("program", "task", "options"),
    [
        pytest.param("main.py", "plain", (), id="inline"),
        pytest.param("main.py", "plain", ("-t", "3"), id="threads"),
        pytest.param("main.py", "coroutine", (), id="loop"),
        pytest.param("nofork.py", "plain", (), id="not forked"),
    ],
)
def test_each_task_has_a_span_when_its_worker_has_stopped(
    place: Traced, program: str, task: str, options: tuple[str, ...]
) -> None:
    """The provider was made before the fork, and the processes of workers end without exit handlers."""
    with place.worker(program, "worker", "app", "-p", "1", *options):
        place.call(task)

    runs, (request,) = place.named(f"process {task}"), place.named("request")
    created = {span["id"] for span in place.named(f"create {task}")}
    assert (len(runs), len(created)) == (TASKS, TASKS)
    assert {span["outcome"] for span in runs} == {"success"}
    assert {span["parent"] for span in runs} == {link for span in runs for link in span["links"]} == created
    assert {span["trace"] for span in runs} == {request["trace"]}
    assert len({span["pid"] for span in runs} | {request["pid"]}) == 2


def test_what_ran_is_exported_although_a_running_task_is_cut_off(place: Traced) -> None:
    """Its process is killed at the end of the grace, and has flushed shortly before."""
    with place.worker("main.py", "worker", "app", "-p", "1", "-t", "2", "--grace", "3"):
        place.call("plain")
        (place.folder / "go.py").write_text("from app import stuck; stuck()")
        place.run("go.py")
        until((place.folder / "stuck").exists, "the task runs")

    assert (len(place.named("process plain")), place.named("process stuck")) == (TASKS, [])


INSTRUMENTED = """
from redis import Redis
from redis.connection import AbstractConnection
from opentelemetry.context import get_value
from export import provider

send = AbstractConnection.send_packed_command

def traced(self, *args, **options):
    if get_value("suppress_instrumentation"):
        return send(self, *args, **options)
    with provider.get_tracer("redis").start_as_current_span("redis"):
        return send(self, *args, **options)

AbstractConnection.send_packed_command = traced
from app import *


@queue.task(name="asking")
def asking():
    import os
    Redis.from_url(os.environ["PYXQUEUE_URL"]).ping()
"""


@pytest.mark.parametrize("place", ["server"], indirect=True)
@pytest.mark.parametrize("options", [(), ("-t", "2")], ids=["inline", "threads"])
def test_our_own_calls_of_the_store_make_no_spans(place: Traced, options: tuple[str, ...]) -> None:
    """Also where all that goes over a connection is instrumented; what a task sends is part of its trace."""
    (place.folder / "instrumented.py").write_text(INSTRUMENTED)
    (place.folder / "call.py").write_text("from instrumented import asking; asking().get(timeout=60)")

    with place.worker("main.py", "worker", "instrumented", "-p", "1", *options):
        place.run("call.py")

    (process,) = place.named("process asking")
    sent = [span for span in place.named("redis") if span["pid"] == process["pid"]]
    assert {span["parent"] for span in sent} == {process["id"]}
