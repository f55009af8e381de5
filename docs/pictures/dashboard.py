"""Take the pictures of the dashboard that the documentation shows, in docs/_static.

Run it from the repository: ``python docs/pictures/dashboard.py``. It fills two queues in memory, serves their dashboard
on a free port of this machine, and looks at it with Chromium, which must be installed.
"""

from __future__ import annotations

import random
import shutil
import socket
import sys
import threading
from pathlib import Path

import uvicorn
from playwright.sync_api import sync_playwright

from pyxqueue import TaskQueue
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.clock import wall_clock
from pyxqueue.dashboard import Access, Dashboard
from pyxqueue.model.message import Done, Extension, Fail, Failure, Progress, Record, Settlement, TaskStatus
from pyxqueue.model.statistics import BUCKETS, MINUTE, Histogram, StatisticsBatch, TaskCounts
from pyxqueue.protocols import StoreOptions

STATIC = Path(__file__).parent.parent / "_static"
PICTURES = {
    "dashboard-overview": ("/", "light", 400),
    "dashboard-failed": ("/q/shop/cg/failures", "light", 360),
    "dashboard-task": ("/t/shop/cg/resize-0", "dark", 780),
    "dashboard-statistics": ("/q/shop/cg/statistics", "light", 900),
}
WORKER = "worker-1-16455-0242ac110002-1e9gmXli"
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/images.py", line 41, in resize
    image = Image.open(path)
FileNotFoundError: [Errno 2] No such file or directory: '/srv/images/0.jpeg'"""


def shop(chance: random.Random) -> TaskQueue:
    """A busy queue, some of whose tasks have failed, with an hour behind it."""
    ago = [0]
    store = MemoryStore(lambda: wall_clock() - ago[0])
    backend = MemoryBackend(store, StoreOptions("shop"))
    queue = TaskQueue(broker=backend, stream_key="shop")
    backend.claim(WORKER, 1, 0)  # so that the group is there
    for minute in range(60):
        ago[0] = (59 - minute) * MINUTE
        backend.add_statistics(StatisticsBatch("pictures", minute + 1, _counts(chance)))

    @queue.task(name="shop.orders.charge")
    def charge(order: int, amount: float, card_number: str = "") -> None: ...

    @queue.task(name="shop.images.resize")
    def resize(path: str, width: int = 800) -> None: ...

    @queue.task(name="shop.reports.monthly")
    def report(month: str) -> None: ...

    ago[0] = 4 * MINUTE
    for number in range(40):
        charge(1000 + number, 19.9, card_number="4111 1111 1111 1111")
    for delivery in backend.claim(WORKER, 40, 0):
        record = Record(
            delivery.message.id, TaskStatus.SUCCESS, b'"paid"', worker=WORKER, ran_ms=chance.randint(3, 900)
        )
        backend.settle([Settlement(delivery.receipt, Done(), record)])
    ago[0] = 192_000
    for number in range(9):
        resize.with_options(task_id=f"resize-{number}")(f"/srv/images/{number}.jpeg", width=1200)
    ago[0] = 190_012
    failing = backend.claim(WORKER, 9, 0)
    ago[0] = 190_000
    for number, delivery in enumerate(failing):
        text = f"[Errno 2] No such file or directory: '/srv/images/{number}.jpeg'"
        failure = Failure("FileNotFoundError", text, TRACEBACK)
        record = Record(delivery.message.id, TaskStatus.FAILURE, error=failure, worker=WORKER, ran_ms=12)
        backend.settle([Settlement(delivery.receipt, Fail(text), record)])
    ago[0] = 0
    report("2026-10")
    for delivery in backend.claim(WORKER, 1, 0):
        backend.extend([Extension(delivery.receipt, Progress(47, 100, "customers"))])
    for number in range(1_253):
        charge(5000 + number, 9.5)
    for number in range(12):
        resize.with_options(delay=60 * number + 30)(f"/srv/images/{number}.png")
    return queue


def _counts(chance: random.Random) -> list[TaskCounts]:
    fast, slow = [200, 310, 140, 60, 20, 9, 3, 1], [0, 0, 3, 12, 40, 22, 9, 4, 2]
    charged, resized = chance.randint(300, 700), chance.randint(30, 90)
    bad = chance.choice([0, 0, 0, 0, 0, 3, 40])
    return [
        TaskCounts("shop.orders.charge", {"success": charged - bad, "failure": bad}, *_times(charged, fast, slow)),
        TaskCounts("shop.images.resize", {"success": resized}, *_times(resized, slow, fast)),
    ]


def _times(count: int, run: list[int], wait: list[int]) -> tuple[Histogram, Histogram]:
    """So many runs and waits, spread as these weights are."""

    def spread(weights: list[int]) -> Histogram:
        parts = [count * weight // sum(weights) for weight in weights]
        parts[0] += count - sum(parts)
        return Histogram((*parts, *[0] * (BUCKETS - len(parts))), 40 * count)

    return spread(run), spread(wait)


def main() -> None:
    """Take all pictures."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("Chromium is not installed")
    queue = shop(random.Random(7))  # noqa: S311 - a picture
    mail = TaskQueue("memory://pictures-mail", "mail")
    mail.task(name="mail.send")(len).map([(f"{name}@example.org",) for name in ("ada", "grace", "alan")])
    app = Dashboard([queue, mail], access=Access.ALL, title="Shop", badge="production")
    with socket.socket() as listening, sync_playwright() as playwright:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name, (path, scheme, height) in PICTURES.items():
            page = browser.new_page(color_scheme=scheme, viewport={"width": 1160, "height": height})  # type: ignore[arg-type]
            page.goto(f"http://127.0.0.1:{listening.getsockname()[1]}{path}", wait_until="load")
            page.screenshot(path=STATIC / f"{name}.png")
            page.close()
        browser.close()
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
