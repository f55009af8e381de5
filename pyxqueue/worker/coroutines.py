"""Runs coroutines to their end from plain code, on an event loop that is kept for the next one."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, TypeAlias

Unhandled: TypeAlias = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class CoroutineRunner:
    """Runs coroutines, one at a time on one loop, so that they can share a client, for example.

    A coroutine that starts while another one runs gets a second loop, which is kept too: the first may wait for it in
    plain code, or another thread may run it.
    """

    def __init__(self, unhandled: Unhandled | None = None) -> None:
        """`unhandled`: the exception handler of the loops; None: that of asyncio."""
        self._unhandled = unhandled
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._runners: list[asyncio.Runner] = []
        self._free: list[asyncio.Runner] = []
        self._lock = threading.Lock()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if self._pid != os.getpid():  # this process was forked: the loops belong to its parent
            self._reset()
        with self._lock:
            if not self._free:
                self._runners.append(asyncio.Runner())
                self._runners[-1].get_loop().set_exception_handler(self._unhandled)
                self._free.append(self._runners[-1])
            runner = min(self._free, key=self._runners.index)
            self._free.remove(runner)
        try:
            if loop_runs_here():  # eager mode inside the event loop of a program
                return _in_thread(lambda: _run(runner, coroutine))
            return _run(runner, coroutine)
        finally:
            with self._lock:
                self._free.append(runner)

    def close(self) -> None:
        """Cancel what coroutines left running, and close the loops. A later `run` makes a new loop."""
        with self._lock:
            idle, self._free = self._free, []
            self._runners = [runner for runner in self._runners if runner not in idle]
        for runner in idle:
            if loop_runs_here():
                _in_thread(runner.close)
            else:
                runner.close()


def _run(runner: asyncio.Runner, coroutine: Coroutine[Any, Any, Any]) -> Any:
    loop, context = runner.get_loop(), contextvars.copy_context()

    def start() -> asyncio.Task[Any]:
        task = loop.create_task(coroutine, context=context)
        task.add_done_callback(lambda _: loop.stop())
        return task

    task, interrupts, told = start(), list[BaseException](), loop.get_exception_handler()

    def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or isinstance(error, Exception | asyncio.CancelledError):
            (told or type(loop).default_exception_handler)(loop, context)
        else:
            interrupts.append(error)  # it came inside of a callback
            loop.stop()

    loop.set_exception_handler(on_error)
    try:
        while not task.done() and not interrupts:  # the coroutine may call loop.stop()
            _run_forever(loop)
        if interrupts:
            raise interrupts[0]
        return task.result()
    finally:
        if not task.done():  # something else ended the loop: an interrupt, or a helper that called sys.exit()
            task.cancel()
            if _is_lost(loop, task):
                asyncio._unregister_task(task)  # noqa: SLF001 - documented: the end of the loop would wait for it
                task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - it is replaced
                task = start()
                task.cancel()
        while not task.done():
            with suppress(SystemExit, KeyboardInterrupt):
                _run_forever(loop)
        if not task.cancelled():
            task.exception()  # asyncio must not log it: this error or a worse one is raised
        loop.set_exception_handler(told)


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        if loop.is_running():  # Python 3.13: an interrupt came just when it was to clean up after itself
            getattr(loop, "_run_forever_cleanup", lambda: None)()


def _is_lost(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> bool:
    """Return whether nothing will continue a task that was cancelled: an interrupt that came when the loop had just
    taken the callback that does from its queue has lost it."""
    over = False

    def end() -> None:
        nonlocal over
        over = True
        loop.stop()

    loop.call_soon(end)  # behind all that could continue the task
    while not over:
        with suppress(SystemExit, KeyboardInterrupt):
            _run_forever(loop)
    return not task.done() and getattr(task, "_must_cancel", False)


def loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a thread without a running loop, with the context of this one."""
    future: Future[Any] = Future()

    def body() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            future.set_exception(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(body,), daemon=True)
    thread.start()
    wait([future])
    thread.join()
    return future.result()
