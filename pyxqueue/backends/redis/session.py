"""The connections of one backend. A session runs commands and steps, and raises our errors instead of the driver's."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ...errors import BrokerError, PyxqueueError
from .cluster import ClusterClient
from .connect import Client, ConnectionConfig, as_text, execute_together, master_of
from .faults import has_died, is_of_connections, translate
from .sharing import Link, join, leave
from .steps import Execute, Sleep, Steps, Together

T = TypeVar("T")

REPLY_TIMEOUT = 5.0
"""Seconds until a command that does not block counts as lost."""
_PATIENCES = (1.0, 2.5, REPLY_TIMEOUT)
"""How many seconds to wait for a reply: the first of these that is not less than the time the caller has left."""


def first_of(replies: list[Any]) -> list[Any]:
    """Return the replies to commands that were executed together. Raises the error of the first."""
    if isinstance(replies[0], Exception):
        raise replies[0]
    return replies


class Session:
    """Connections to one server, opened at first use. Threads may share it."""

    def __init__(self, config: ConnectionConfig) -> None:
        self.config = config
        self._link: Link | None = None

    @property
    def link(self) -> Link:
        """What this process shares with its other queues on the same server."""
        link = self._link
        if link is None or link.pid != os.getpid():
            link = self._link = join(self.config, self)
        return link

    @property
    def client(self) -> Client:
        """The client for everything that does not block; its commands may be repeated without harm."""
        return self.link.client(REPLY_TIMEOUT)

    def run(self, steps: Steps[T], execute: Callable[..., Any] | None = None) -> T:
        """Take the steps in this thread. `execute`: runs single commands instead of that of this session."""
        execute = execute or self.execute
        try:
            request = next(steps)
            while True:
                try:
                    if isinstance(request, Execute):
                        reply = execute(*request.args, seconds=request.seconds)
                    elif isinstance(request, Sleep):
                        reply = request.sleep()
                    elif isinstance(request, Together):
                        reply = self.execute_together(request)
                    else:
                        reply = self.master_of(request.key)
                except (BrokerError, NoScriptError) as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            steps.close()

    def execute(self, *args: Any, seconds: float | None = None) -> Any:
        """Run a command that may be repeated without harm: if its connection has died, once more on a new one.

        `seconds`: what the caller has left, which is about how long to wait for the reply; None for as long as usual.
        """
        words, patience = as_text(args), REPLY_TIMEOUT
        if seconds is not None:
            patience = next((one for one in _PATIENCES if seconds <= one), REPLY_TIMEOUT)
        try:
            return self.link.client(patience).execute_command(*words)
        except NoScriptError:
            raise
        except Exception as error:  # noqa: BLE001 - not all that the driver raises is a RedisError
            failed = error
        return self._again(failed, lambda: self.link.client(patience).execute_command(*words))

    def execute_together(self, request: Together) -> list[Any]:
        """`execute` for several commands on one connection; all of them are repeated."""
        commands = [as_text(command) for command in request.commands]
        try:
            return first_of(execute_together(self.client, request.key, commands))
        except NoScriptError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            failed = error
        return self._again(failed, lambda: first_of(execute_together(self.client, request.key, commands)))

    def _again(self, failed: Exception, action: Callable[[], T]) -> T:
        """Do once more what failed because its connection had died. Raises our error for any other."""
        if isinstance(failed, RedisTimeoutError) and has_died(failed):
            self.link.drop_idle()
            try:
                return action()
            except NoScriptError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                failed = error
        raise self.fault(failed)  # not in the handler: the driver's error would become its context

    def master_of(self, key: str) -> str:
        """Which server has a key, as far as is known; empty if it is not."""
        return self.guard(lambda: master_of(self.client, key))

    def execute_near(self, key: str, *args: Any) -> Any:
        """Run a command that has no key, on the node of a cluster that has this key."""
        client = self.client
        if not isinstance(client, ClusterClient):
            return self.execute(*args)
        return self.guard(lambda: client.execute_near(key, *as_text(args)))

    def guard(self, action: Callable[[], T]) -> T:
        """Call the driver, and raise our errors instead of its own."""
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - as above
            ours = self.fault(error)
        raise ours

    def fault(self, error: Exception) -> Exception:
        """Our error for one of the driver, as `translate` has it. Other connections that may be as bad are closed."""
        if isinstance(error, PyxqueueError):
            return error
        if is_of_connections(error):
            self.link.drop_idle()
        return translate(error, self.config)

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None and link.pid == os.getpid():
            leave(link, self)
