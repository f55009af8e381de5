"""A queue with tasks in every place, all of whose texts are hostile."""

from __future__ import annotations

from pyxqueue import TaskQueue
from pyxqueue.model.message import (
    Done,
    Extension,
    Fail,
    Failure,
    Message,
    Progress,
    Record,
    Retry,
    Settlement,
    Suspend,
    TaskStatus,
)
from pyxqueue.model.statistics import BUCKETS, Histogram, StatisticsBatch, TaskCounts

HOSTILE = (
    "<script>window.hacked=1</script><img src=x onerror=window.hacked=2>\"'><svg onload=window.hacked=3> "
    "</title></pre>{{7*7}} javascript:window.hacked=4 \u202egnp.\u2066 \x00\x1b[31m &lt; \ud83d\ude80 "
).replace("\ud83d\ude80", "\N{ROCKET}")
NAME = "shop.orders.charge"
WORKER = "worker-1-16455-0242ac110002-1e9gmXli"


def fill(queue: TaskQueue) -> None:
    """Put tasks into every place."""
    backend = queue.stores.backend
    quoted = HOSTILE.replace("\\", "\\\\").replace('"', '\\"').replace("\x00", "\\u0000").replace("\x1b", "\\u001b")
    body = f'[["{quoted}"],{{"{quoted}":{{"password":"{quoted}"}}}}]'.encode()

    def enqueue(task_id: str, **header: object) -> None:
        headers = {HOSTILE[:40]: HOSTILE}
        backend.enqueue([Message(task_id, NAME, body, headers=headers, **header)])  # type: ignore[arg-type]

    def claim(task_id: str, **header: object) -> str:
        enqueue(task_id, **header)
        (delivery,) = backend.claim(WORKER, 1, 0)
        return delivery.receipt

    for number in range(3):
        failure = Failure("KeyError" if number else HOSTILE, HOSTILE, HOSTILE)
        record = Record(f"failed{number}", TaskStatus.FAILURE, error=failure, worker=WORKER, ran_ms=12)
        backend.settle([Settlement(claim(f"failed{number}"), Fail(HOSTILE), record)])
    value = f'"{quoted}"'.encode()
    record = Record("done", TaskStatus.SUCCESS, value, worker=HOSTILE[:60], ran_ms=900)
    backend.settle([Settlement(claim("done"), Done(), record)])
    backend.settle([Settlement(claim("retried"), Retry(3_600_000))])
    backend.settle([Settlement(claim("waits"), Suspend(event="go"))])
    held = claim("held")
    backend.extend([Extension(held, Progress(47, 100, HOSTILE))])
    enqueue("later", delay_ms=3_600_000)
    queue.limits.set("gpu", concurrency=0)
    enqueue("blocked", gates=("gpu",))
    for number in range(60):
        enqueue(f"ready{number:02}", priority=10 * (number % 3))
    queue.task(name="shop.nightly", cron="0 3 * * *")(lambda: None)
    counts = TaskCounts(
        NAME, {"success": 90, "failure": 9}, Histogram((3,) * BUCKETS, 999), Histogram((1,) * BUCKETS, 99)
    )
    backend.add_statistics(StatisticsBatch("me", 1, [counts, TaskCounts(HOSTILE[:200], {"success": 1})]))  # type: ignore[attr-defined]


PATHS = {
    "overview": "/",
    "workers": "/workers",
    "group": "/q/shop/cg",
    **{
        place: f"/q/shop/cg/{place}"
        for place in ("ready", "in_flight", "delayed", "blocked", "dependent", "failed", "history", "failures")
    },
    **{name: f"/q/shop/cg/{name}" for name in ("statistics", "schedules", "flows", "limits")},
    **{f"task {task}": f"/t/shop/cg/{task}" for task in ("failed0", "done", "held", "later", "ready00", "waits")},
    "flow": "/q/shop/cg/flows/flow",
    "missing": "/t/shop/cg/%3Cscript%3E",
    "filtered": "/q/shop/cg/failed?name=%3Cscript%3E&text=%22%3E%3Cimg+src%3Dx+onerror%3Dalert(1)%3E",
}
"""Every page."""
