"""See it work: ``make demo``.

Starts worker processes on a queue in a file of its own, has them do two real jobs, checks every result against one
computed here, and stops everything again. The exit code is 0 only if all results were right. With ``--url`` it does the
same on another store.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pyxqueue import AsyncResult, PyxqueueError, TaskQueue

queue = TaskQueue(stream_key="demo")
PATIENCE = 120
"""Seconds to wait for one answer before something is taken to be wrong."""


@queue.task
def fib(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


@queue.task
def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def library_files(limit: int | None) -> list[str]:
    """Every file of the running Python's standard library, without caches and installed packages."""
    top = Path(sysconfig.get_path("stdlib"))
    left_out = {"__pycache__", "site-packages", "dist-packages"}
    found: list[str] = []
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(set(folders) - left_out)
        found += (str(path) for name in sorted(names) if (path := Path(folder, name)).is_file())
    return found[:limit]


def show_progress(items: Sequence[AsyncResult[str]], label: str) -> Iterable[AsyncResult[str]]:
    """The items, with a bar in a terminal and a line per quarter elsewhere."""
    try:
        from rich.progress import track  # noqa: PLC0415 - an extra, which need not be installed
    except ImportError:
        return plain_progress(items, label)
    return track(items, label) if sys.stdout.isatty() else plain_progress(items, label)


def plain_progress(items: Sequence[AsyncResult[str]], label: str) -> Iterator[AsyncResult[str]]:
    quarter = -(-len(items) // 4)
    for done, item in enumerate(items, 1):
        yield item
        if done % quarter == 0 or done == len(items):
            print(f"{label}: {done:,} of {len(items):,}", flush=True)


def check(right: bool, what: str) -> None:
    if not right:
        sys.exit(f"WRONG: {what}")


def run_fib(n: int) -> None:
    started = time.perf_counter()
    number = fib(n).get(PATIENCE)
    seconds = time.perf_counter() - started
    check(number == fib.call(n), f"fib({n:,}) from the worker is not what it is here")
    digits = int(math.log10(number)) + 1
    print(f"fib({n:,}) came back whole in {seconds:.2f} s: {digits:,} digits, the last six {number % 1_000_000:06d}")


def run_digests(limit: int | None) -> int:
    paths = library_files(limit)
    expected = [digest.call(path) for path in paths]
    megabytes = sum(Path(path).stat().st_size for path in paths) / 1e6

    started = time.perf_counter()
    handles = digest.map([(path,) for path in paths])
    answers = [handle.get(PATIENCE) for handle in show_progress(handles, "hashing the standard library")]
    seconds = time.perf_counter() - started

    for path, answer, wanted in zip(paths, answers, expected, strict=True):
        check(answer == wanted, f"the digest of {path} from the worker is not what it is here")
    print(
        f"{len(paths):,} files, {megabytes:.1f} MB, one task each, all digests right: {seconds:.2f} s, "
        f"{len(paths) / seconds:,.0f} tasks/s"
    )
    return len(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="worker processes (one per CPU)")
    parser.add_argument("--files", type=int, help="hash only so many files")
    parser.add_argument("--url", help="the store (a new SQLite file)")
    options = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="pyxqueue-demo-") as folder:
        # Where this program and the workers find the queue.
        os.environ["PYXQUEUE_URL"] = options.url or f"sqlite:///{folder}/queue.db"
        print(f"the queue is at {os.environ['PYXQUEUE_URL']}, {options.workers} worker processes")
        queue.start(options.workers)
        try:
            run_fib(100_000)
            files = run_digests(options.files)
        except PyxqueueError as error:
            sys.exit(f"WRONG: {error}")
        finally:
            queue.shutdown()
            queue.close()
    print(f"done: {1 + files:,} tasks, every answer right, everything stopped, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
