"""A program whose children enqueue random flows in chunks, one each, and are killed while they do. Half of them are run
again, under the same id of the flow.

It prints nothing; each child notes in the log the flow that it is about to enqueue, with the seed of it, and that the
store has accepted all of it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import redis

import pyxqueue
from pyxqueue import TaskQueue
from pyxqueue.client import flows
from tests.support.until import until

from .app import append
from .flowing import LEASE, LOG, STREAM, URL, Node, built, nodes_of

MOST = 24
"""How many nodes the flows of these programs have at most."""
CHUNK = 4
"""In so many tasks at once they are stored."""
TRACED = tuple(f"{Path(package.__file__ or '').parent}{os.sep}" for package in (pyxqueue, redis))
"""Of which packages the statements count."""


def graph(seed: int, most: int) -> list[Node]:
    return nodes_of(random.Random(seed), most)


def enqueue(
    queue: TaskQueue, seed: int, most: int, begin: Callable[[], None] = lambda: None, flow_id: str | None = None
) -> None:
    """Enqueue a flow; `begin` is called just before that."""
    queue.stores.backend.lease_ms()  # connects
    flow, _ = built(queue, graph(seed, most), flow_id)
    append(os.environ[LOG], "built", flow.id, 0, os.getpid(), seed)
    begin()
    flow.enqueue()
    sys.settrace(None)
    append(os.environ[LOG], "stored", flow.id, 0, os.getpid())


class Statements:
    """Counts the statements of this thread, and kills the process before one of them."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self._last = last

    def begin(self) -> None:
        sys.settrace(self._trace)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(TRACED):
            return None
        if event == "line":
            self.count += 1
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._trace


def in_child(run: Callable[[], None]) -> int:
    """Run this in a child process, and return its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - it ends the child
            append(os.environ[LOG], "raised", type(error).__name__, 0, os.getpid())
        finally:
            os._exit(0)
    return pid


def at_each_statement(queue: TaskQueue, stride: int, seed: int) -> None:
    """Kill a child before each statement, or one of `stride`, until one gets to the end. All have the same flow."""
    last, killed = 1, True
    while killed:
        flow_id = f"statement-{last}"
        pid = in_child(partial(enqueue, queue, seed, MOST, Statements(last).begin, flow_id))
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status)
        if last % 2 == 0:
            os.waitpid(in_child(partial(enqueue, queue, seed, MOST, flow_id=flow_id)), 0)
        last += stride


def at_random(queue: TaskQueue, count: int, seed: int) -> None:
    """Kill so many children, two of which run at once, at random moments."""
    chance, log = random.Random(seed), Path(os.environ[LOG])
    for number in range(0, count, 2):
        runs = [partial(enqueue, queue, seed + one, 4 * MOST, flow_id=f"random-{one}") for one in (number, number + 1)]
        for pid in [in_child(run) for run in runs]:
            until(lambda: f" {pid} " in log.read_text(), "it begins")  # noqa: B023 - it runs at once
            time.sleep(chance.uniform(0, 0.02))  # the moment of the kill; nothing waits for it
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.waitpid(in_child(runs[0]), 0)


MODES: Mapping[str, Callable[[TaskQueue, int, int], None]] = {"statements": at_each_statement, "random": at_random}

if __name__ == "__main__":
    flows._BATCH = CHUNK
    mode, number, start = sys.argv[1:]
    served = TaskQueue(os.environ[URL], stream_key=os.environ[STREAM], lease=LEASE)
    enqueue(served, 0, MOST if mode == "statements" else 4 * MOST)  # so that no child has to import anything
    MODES[mode](served, int(number), int(start))
