"""Turns errors of the driver into those of pyxqueue.

Errors are told apart by class name and text together: redis-py strips the code from errors it recognises, and Redis
6.2 wraps an error raised inside a script so that it recognises nothing and the code stands somewhere in the text.
"""

from __future__ import annotations

import errno

from redis.exceptions import ClusterError, RedisClusterException
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ...errors import BrokerError, BrokerUnavailableError, StoreFullError
from .connect import ConnectionConfig

_PASSING = (
    "READONLY", "ReadOnlyError", "UNBLOCKED", "LOADING", "MASTERDOWN", "MasterDownError", "CLUSTERDOWN", "TRYAGAIN",
    "ClusterDownError", "TryAgainError", "MISCONF", "NOREPLICAS", "BUSY ", "MOVED", "MovedError", "ASK ", "AskError",
    "No master found",
)  # fmt: skip


class StaleGroups(BrokerUnavailableError):  # noqa: N818 - a signal between two modules
    """The stream or the consumer group is gone, or the list of groups has changed: register, then repeat."""


_NO_SERVER = (RedisConnectionError, RedisTimeoutError, RedisClusterException, ClusterError, OSError)


def translate(error: Exception, config: ConnectionConfig) -> Exception:
    """Our error for one that the driver has raised, which is its cause if it may be shown. To be raised outside of the
    handler: there the driver's error would become its context."""
    text = f"{type(error).__name__}: {error}"
    redacted = config.redacted(error)
    told, where = redacted.text, config.url
    ours: Exception
    if "NOGROUP" in text or "no longer exists" in text or "no such key" in text.lower():
        ours = StaleGroups(told)
    elif "OOM " in text or "OutOfMemoryError" in text:
        ours = StoreFullError(f"the store at {where} is out of memory: raise its maxmemory or delete tasks ({told})")
    elif isinstance(error, _NO_SERVER) or any(mark in text for mark in _PASSING):
        hint = "is it running, and is the address right?" if "onnect" in text else "it may recover by itself"
        ours = BrokerUnavailableError(f"the store at {where} does not serve now ({told}); {hint}")
    else:
        ours = BrokerError(f"the store at {where} refused: {told}")
    ours.__cause__ = redacted.cause
    return ours


def is_of_connections(error: Exception) -> bool:
    """Whether the other open connections will probably fail too: they lead to a server that was the master before a
    failover, or through a firewall that has forgotten them."""
    return isinstance(error, RedisTimeoutError) or "READONLY" in str(error) or type(error).__name__ == "ReadOnlyError"


def has_died(error: BaseException) -> bool:
    """Whether the kernel has given up an open connection because nothing was acknowledged. The driver raises the same
    error for a server that does not answer, to which a command is not sent again."""
    found: BaseException | None = error
    while found is not None and "connecting" not in str(found):
        if isinstance(found, OSError) and found.errno == errno.ETIMEDOUT:
            return True
        found = found.__cause__ or found.__context__
    return False
