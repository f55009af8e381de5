"""Processes that die: from a signal, from their task, with their supervisor, or at a hard time limit."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from pyxqueue import TaskError, TaskStatus
from tests.support.trees import Tree, alive, threads
from tests.support.until import until

from .app import App, Chest, Site
from .conftest import StartTree, on_every_store

pytestmark = on_every_store


def test_the_supervisor_is_killed(site: Site, app: App, start_tree: StartTree) -> None:
    """Its processes and what their tasks started end within 2 s, also a process that holds the interpreter."""
    tree = start_tree("-p", "2")
    app["grandchild"]()
    app["hold_gil"](60)
    until(lambda: len(site.of("start")) == 2, "both run")
    everyone = tree.everyone()
    assert int(site.of("start", None)[0].pid) in everyone
    assert len(everyone) >= 5  # supervisor, watchdog, two workers, the sleeping program

    os.kill(tree.pid, signal.SIGKILL)

    until(lambda: not any(map(alive, everyone)), "all of it is gone", 2)


def test_the_work_of_a_killed_supervisor(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """Another tree does it when the lease has ended; the first time, no crash is charged."""
    tree = start_tree("-p", "1")
    handle = app["gate"](str(gate))
    until(lambda: site.of("start"), "it runs")
    os.kill(tree.pid, signal.SIGKILL)
    tree.wait(5)

    start_tree("-p", "1")
    gate.touch()

    assert handle.get(5) == "through"
    assert len(site.of("start")) == 2
    (info,) = app.queue.stores.backend.show([handle.task_id])
    assert info is not None
    assert (info.message.crashes, info.message.redelivered) == (0, True)  # type: ignore[union-attr] # it is a Message


def kill_with_watchdog(tree: Tree) -> None:
    """Kill a supervisor and the two helpers without threads, its watchdog and log process, before they can act."""
    os.kill(tree.pid, signal.SIGSTOP)
    alone = [pid for pid in tree.everyone() if pid != tree.pid and threads(pid) == 1]
    helpers = [pid for pid in alone if os.getpgid(pid) in {pid, os.getpgid(tree.pid)}]  # a task's are in its worker's
    assert len(helpers) == 2
    for pid in (*helpers, tree.pid):
        os.kill(pid, signal.SIGKILL)


def test_the_supervisor_and_its_watchdog_are_killed(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """The workers end by themselves, with what their tasks started; another tree does the work, once."""
    tree = start_tree("-p", "2")
    handle = app["gate"](str(gate))
    until(lambda: site.of("start", handle.task_id), "it runs")
    everyone = tree.everyone()

    kill_with_watchdog(tree)

    until(lambda: not any(map(alive, everyone)), "all of them have ended")
    gate.touch()
    start_tree("-p", "1")
    assert handle.get(10) == "through"
    (settled,) = until(lambda: site.of("settled", handle.task_id), "it was settled")
    assert settled.more == ["Done", "1"]


def test_running_tasks_may_end_when_both_are_killed(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """They have one lease; what an earlier task left running does not outlive the process."""
    tree = start_tree("-p", "1", lease=30)
    app["grandchild"].with_options(headers={"leave": "1"})().get(10)
    (left,) = site.of("start")
    handle = app["gate"](str(gate))
    until(lambda: site.of("start", handle.task_id), "it runs")
    everyone = [*tree.everyone(), int(left.more[0])]

    kill_with_watchdog(tree)
    until(lambda: "this process exits" in tree.log.read_text(), "the worker has noticed")
    gate.touch()

    assert handle.get(10) == "through"
    assert len(site.of("start", handle.task_id)) == 1
    until(lambda: not any(map(alive, everyone)), "all of them have ended")


def test_what_a_task_started_dies_with_its_process(site: Site, app: App, start_tree: StartTree) -> None:
    """When a worker process is killed, what its task left running is killed too."""
    start_tree("-p", "1")
    app["grandchild"]()
    line = until(lambda: site.of("start"), "it runs")[0]
    child, grandchild = line.pid, int(line.more[0])

    os.kill(child, signal.SIGKILL)

    until(lambda: not alive(child) and not alive(grandchild), "both are gone", 5)


@pytest.mark.parametrize(
    ("how", "ended"),
    [
        ("kill", r"ended by SIGKILL \(out of memory\?\)"),
        ("_exit", "exited with code 3"),
        ("segfault", r"ended by SIGSEGV in string_at \(__init__\.py:\d+\), called by die \(app\.py:\d+\)"),
        ("overflow", r"ended by SIG(SEGV|BUS) in die \(app\.py:\d+\)"),
    ],
)
def test_poison(site: Site, app: App, start_tree: StartTree, how: str, ended: str) -> None:
    """A task that keeps killing its process fails after `max_crashes` + 1 runs, with what is known of the last one; the
    tasks beside it succeed."""
    tree = start_tree("-p", "2", lease=30)
    poison = app["die"](how)
    neighbours = app["work"].map([(0.05, number) for number in range(20)])

    told = (
        rf"WorkerLost: its worker process died 2 times while it ran, .*{ended}; it used \d\d+ MiB of memory at the most"
    )
    with pytest.raises(TaskError, match=told):
        poison.get(20)

    assert tree.log.read_text().count(" in die\n") == (2 if " in " in ended else 0)
    assert [one.get(10) for one in neighbours] == list(range(20))
    assert len(site.of("start", poison.task_id)) == 2
    accepted = Counter(line.task_id for line in site.of("settled") if line.more[1] == "1")
    assert max(accepted.values()) == 1  # a line is missing if its process died right then
    # One that had ended, and was not settled yet when its process died the first time, ran again.
    assert sum(len(site.of("start", one.task_id)) - 1 for one in neighbours) <= 5


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["files", "memory"])
@pytest.mark.parametrize("options", [["-p", "1"], ["-p", "1", "-t", "2"]], ids=["inline", "threads"])
def test_a_task_that_takes_what_its_process_needs(
    app: App, start_tree: StartTree, how: str, options: list[str]
) -> None:
    """It closes all files, or lets nothing be allocated: it ends, and the next tasks run."""
    start_tree(*options, lease=30)
    poison = app["die"](how)

    # SQLite itself tries for ten seconds to lock a file that was closed under it.
    until(lambda: poison.state in {TaskStatus.SUCCESS, TaskStatus.FAILURE}, "it ends", 60)

    assert [one.get(20) for one in app["work"].map([(0.05, number) for number in range(5)])] == list(range(5))


def test_what_killed_its_process_does_not_wait_behind_a_long_task(
    site: Site, app: App, start_tree: StartTree, gate: Path
) -> None:
    """It runs again alone in its process: in the one that is idle, although the other one has free threads too."""
    start_tree("-p", "2", "-t", "2", lease=30)
    long = app["gate"](str(gate))
    until(lambda: site.of("start", long.task_id), "it runs")

    with pytest.raises(TaskError, match="WorkerLost: its worker process died 2 times while it ran"):
        app["die"]("kill").get(40)

    gate.touch()
    assert long.get(20) == "through"


@pytest.mark.parametrize("threads", [[], ["-t", "2"]], ids=["inline", "thread"])
def test_exceptions_that_end_programs(site: Site, app: App, start_tree: StartTree, threads: list[str]) -> None:
    """They fail the task and do not end its process."""
    start_tree("-p", "1", *threads)
    errors = []
    for how in ("exit", "keyboard", "base"):
        with pytest.raises(TaskError) as failed:
            app["die"](how).get(10)
        errors.append(failed.value.error)

    assert errors == ["SystemExit: bye", "KeyboardInterrupt", "tests.processes.app.Strange: base"]
    assert app["work"](0, "still here").get(10) == "still here"
    assert len({line.pid for line in site.of("start")}) == 1


def test_a_hard_limit(site: Site, start_tree: StartTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of a task beyond its limit is killed and replaced. The task is retried as its options say, then it
    fails, with a record that the supervisor seals."""
    monkeypatch.setenv("PYXQUEUE_SEAL_KEYS", "k" * 16)
    start_tree("-p", "1")
    app = site.app()
    with closing(app.queue):
        handle = app["hog"](60)

        with pytest.raises(TaskError, match="beyond its hard time limit"):
            handle.get(20)
        assert handle.state is TaskStatus.FAILURE

    starts = site.of("start", handle.task_id)
    assert [line.attempt for line in starts] == [1, 2]
    assert starts[0].pid != starts[1].pid


@pytest.mark.parametrize(
    ("name", "args", "where"),
    [("hang", ["C"], "hang"), ("hang", ["lock"], "hang"), ("hang", ["regex"], "match"), ("ahang", [], "ahang")],
    ids=["C", "lock", "regex", "loop"],
)
@pytest.mark.parametrize("threads", [[], ["-t", "2"]], ids=["inline", "threads"])
def test_a_task_that_hangs(  # noqa: PLR0917 - fixtures and parameters
    app: App, start_tree: StartTree, name: str, args: list[str], where: str, threads: list[str]
) -> None:
    """The log and the task say in which line, and the next task runs."""
    tree = start_tree("-p", "1", *threads, loop=name == "ahang")

    with pytest.raises(TaskError, match=rf"so its process was killed; it was in {where} \(\w+\.py:\d+\)") as failed:
        app[name](*args).get(20)

    assert re.fullmatch(
        r"(Current thread|Thread) 0x\w+ \(most recent call first\):\n"
        rf"(  File .*\n)*  File .*app\.py\", line \d+ in {name}",
        failed.value.traceback,
    )
    assert f" in {name}\n" in tree.log.read_text()
    assert app["work"](0, "goes on").get(20) == "goes on"


@pytest.mark.parametrize(("slow_to", "made"), [("read in Python", ""), ("read in C", ""), ("", "write")])
def test_a_hard_limit_holds_for_arguments_and_result(
    site: Site, app: App, start_tree: StartTree, slow_to: str, made: str
) -> None:
    """It holds while they are decoded and encoded; the next task runs."""
    start_tree("-p", "1")
    app["work"](0).get(20)

    with pytest.raises(TaskError, match="beyond its hard time limit"):
        app["open_chest"](Chest(slow_to) if slow_to else None, made).get(20)

    assert app["work"](0, "goes on").get(20) == "goes on"
    assert len({line.pid for line in site.of("start")}) == 2, "its process was killed"


def test_a_hard_limit_and_the_other_tasks_of_the_process(
    site: Site, app: App, start_tree: StartTree, gate: Path
) -> None:
    """They run again, uncharged."""
    start_tree("-p", "1", "-t", "4")
    bystander = app["gate"](str(gate))
    until(lambda: site.of("start"), "the bystander runs")

    with pytest.raises(TaskError, match="beyond its hard time limit"):
        app["hog"](60).get(20)
    gate.touch()

    assert bystander.get(10) == "through"
    (info,) = app.queue.stores.backend.show([bystander.task_id])
    assert info is not None
    assert (info.message.attempt, info.message.crashes, info.message.redelivered) == (1, 0, False)  # type: ignore[union-attr]


@pytest.mark.parametrize(("options", "name"), [([], "limited"), (["-t", "2"], "limited"), ([], "alimited")])
def test_a_soft_limit(app: App, start_tree: StartTree, options: list[str], name: str) -> None:
    """An error with the limit is raised inside the task: inline, in a thread and on the event loop."""
    start_tree("-p", "1", *options, loop=name == "alimited")

    with pytest.raises(TaskError, match=r"TimeLimitExceeded: the task ran longer than its timeout of 0\.3 s"):
        app[name](30).get(10)

    assert app["work"](0, 1).get(10) == 1


def test_a_task_that_meddles_with_its_process(site: Site, app: App, start_tree: StartTree) -> None:
    """The next task has its time limit all the same, and the process stops on a signal."""
    tree = start_tree("-p", "1")
    assert app["meddle"]().get(20) is None

    with pytest.raises(TaskError, match="TimeLimitExceeded"):
        app["limited"](60).get(20)
    os.kill(tree.pid, signal.SIGTERM)

    assert tree.wait(20) == 0
    assert "task meddle has changed the handler of SIGALRM, the handler of SIGTERM" in tree.log.read_text()
    assert "ended with 99" not in tree.log.read_text()


def test_a_task_may_outlive_its_soft_limit(site: Site, app: App, start_tree: StartTree) -> None:
    """It is interrupted at the limit and half way from there to the hard limit, and may still return."""
    start_tree("-p", "1")

    assert app["hog"](0.9).get(10) == "done"
    assert [line.more for line in site.of("caught")] == [["TimeLimitExceeded"]] * 2
