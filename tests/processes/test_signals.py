"""Signals to a supervisor: running tasks may end, the others are given back, and none is charged."""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from pyxqueue import TaskStatus
from pyxqueue.model.message import Message
from tests.support.trees import Tree, alive, run_program
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, on_every_store
from .stopping import ROUNDS, calls, is_over

pytestmark = on_every_store

BOTH = [signal.SIGTERM, signal.SIGINT]


def message_of(app: App, task_id: str) -> Message:
    (info,) = app.queue.stores.backend.show([task_id])
    assert info is not None
    assert isinstance(info.message, Message)
    return info.message


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_while_idle(start_tree: StartTree, number: signal.Signals) -> None:
    """Idle workers end with exit code 0, long before their grace is over. A signal ends a claim that waits: law B2."""
    tree = start_tree("-p", "2", lease=30)
    everyone = tree.everyone()

    tree.signal(number)

    assert tree.wait(10) == 0
    assert not any(map(alive, everyone))


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_while_busy(site: Site, app: App, start_tree: StartTree, gate: Path, number: signal.Signals) -> None:
    """The running task ends and is settled; the next one stays in the queue, uncharged."""
    tree = start_tree("-p", "1")
    running = app["gate"](str(gate))
    until(lambda: site.of("start"), "it runs")
    tree.signal(number)
    until(lambda: "stopping" in tree.log.read_text(), "the signal was seen")
    waiting = app["gate"](str(gate))

    gate.touch()

    assert tree.wait(10) == 0
    assert running.get(1) == "through"
    assert waiting.state is TaskStatus.PENDING
    assert (message_of(app, waiting.task_id).attempt, message_of(app, waiting.task_id).crashes) == (1, 0)


def again_and_again(site: Site, app: App, start_tree: StartTree, rounds: int, patience: float) -> None:
    output = run_program("tests.processes.stopping", {**site.environment(), ROUNDS: str(rounds)}, patience)

    assert output == ["0 0"] * rounds
    depth = app.queue.stores.backend.depth()
    assert (depth.in_flight, depth.delayed, depth.failed) == (0, 0, 0)
    tree = start_tree("-p", "1")
    until(partial(is_over, app.queue), "what was left is done")
    tree.stop()
    starts = site.of("start")
    assert set(Counter(line.task_id for line in starts).values()) == {1}
    assert len(starts) == sum(map(calls, range(rounds)))
    messages = [message_of(app, line.task_id) for line in starts]
    assert {(message.attempt, message.crashes) for message in messages} == {(1, 0)}


def test_signals_again_and_again(site: Site, app: App, start_tree: StartTree) -> None:
    """Workers are stopped with no, half and all slots busy, and with a backlog: every task runs once, uncharged."""
    again_and_again(site, app, start_tree, rounds=12, patience=50)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_two_hundred_signals(site: Site, app: App, start_tree: StartTree) -> None:
    """The same two hundred times."""
    again_and_again(site, app, start_tree, rounds=200, patience=500)


@pytest.mark.parametrize("number", BOTH)
def test_a_second_signal(site: Site, app: App, start_tree: StartTree, gate: Path, number: signal.Signals) -> None:
    """Running tasks are given back at once, uncharged, and other workers run them."""
    tree = start_tree("-p", "1")
    handle = app["gate"](str(gate))
    until(lambda: site.of("start"), "it runs")
    tree.signal(number)
    until(lambda: "stopping" in tree.log.read_text(), "the first signal was seen")
    tree.signal(number)

    assert tree.wait(5) == 0
    message = message_of(app, handle.task_id)
    assert (handle.state, message.attempt, message.crashes, message.redelivered) == (TaskStatus.PENDING, 1, 0, False)

    gate.touch()
    start_tree("-p", "1")
    assert handle.get(10) == "through"


def test_the_end_of_the_grace_period(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """A task that still runs then is given back, uncharged."""
    tree = start_tree("-p", "1", "--grace", "0.3")
    handle = app["gate"](str(gate))
    until(lambda: site.of("start"), "it runs")

    assert tree.stop(5) == 0
    message = message_of(app, handle.task_id)
    assert (handle.state, message.attempt, message.crashes) == (TaskStatus.PENDING, 1, 0)


def test_a_signal_while_starting(start_tree: StartTree) -> None:
    """A signal that comes before the processes are ready stops them all the same."""

    def begun(tree: Tree) -> bool:
        return "pid of the supervisor" in tree.log.read_text()

    for _ in range(3):
        tree = start_tree("-p", "4", ready=False)
        until(partial(begun, tree), "the supervisor begins")
        assert tree.stop(5) == 0


def test_a_signal_while_the_store_is_away(site: Site, start_tree: StartTree) -> None:
    """Workers that never reached their store end with exit code 0."""
    tree = start_tree("-p", "2", ready=False, url="redis://127.0.0.1:9")
    until(lambda: "waits for the store" in tree.log.read_text(), "they try")

    assert tree.stop(5) == 0
