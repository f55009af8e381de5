"""The settings of a queue, from its arguments and from environment variables."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from typing_extensions import get_protocol_members

from ..clock import Seconds, in_seconds, milliseconds
from ..errors import ConfigurationError
from ..options import MAX_SECONDS
from ..printable import quoted
from ..protocols import Backend, ResultStore, Serializer, StoreOptions
from ..serializers import JSONSerializer, MsgpackSerializer, PickleSerializer, Seal
from ..serializers.tags import is_encodable
from ..stores import known_schemes

if TYPE_CHECKING:
    from ..model.failed import FailedLimits

LEASE_VARIABLE = "PYXQUEUE_LEASE"
SEAL_VARIABLE = "PYXQUEUE_SEAL_KEYS"
EAGER_VARIABLE = "PYXQUEUE_EAGER"
STATISTICS_VARIABLE = "PYXQUEUE_STATISTICS"
SERIALIZER_GROUP = "pyxqueue.serializers"
"""The entry point group for serializers of other packages. An entry is a function that makes a serializer."""
NO_LIMIT = 2**31
"""The history limit of a queue that the command line opens: only the application knows its limit, and a smaller one
would cut the history."""
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_SERIALIZERS: dict[str, Callable[[], Serializer]] = {
    "json": JSONSerializer,
    "msgpack": MsgpackSerializer,
    "pickle": PickleSerializer,
}


def find_serializers(serializer: str | Serializer, accept: Iterable[str | Serializer]) -> list[Serializer]:
    """Return the serializer of a queue, and the others that it reads. Raises `ConfigurationError`."""
    if isinstance(accept, str | bytes) or not isinstance(accept, Iterable):
        raise ConfigurationError(
            f"accept={quoted(accept)} is not a list of serializers: write accept=['msgpack'], or leave it out"
        )
    return [find_serializer(one) for one in (serializer, *accept)]


def find_serializer(given: str | Serializer) -> Serializer:
    """Return the serializer of a name: one of pyxqueue or of an installed package. Raises `ConfigurationError`."""
    if given is None:
        raise ConfigurationError("None is not a serializer: leave it out for 'json', or give a name or a Serializer")
    if not isinstance(given, str):
        check_complete(serializer=(given, Serializer))
        return given
    if given in _SERIALIZERS:
        return _SERIALIZERS[given]()
    for entry in entry_points(group=SERIALIZER_GROUP, name=given):
        make: Callable[[], Serializer] = entry.load()
        return make()
    names = ", ".join([*_SERIALIZERS, *sorted(entry_points(group=SERIALIZER_GROUP).names)])
    raise ConfigurationError(
        f"the serializer {quoted(given)} is not installed: give a Serializer object, or one of {names}"
    )


def store_and_name(store: Any, stream_key: str | None, client: Any) -> tuple[Any, str | None]:
    """Return the store and the queue's name from the arguments of `TaskQueue`. A text without a scheme is the name of a
    queue in the default store. Raises `ConfigurationError`."""
    if client is not None:
        if store is not None:
            raise ConfigurationError("give either a store or client=, not both: they are names for the same argument")
        store = client
    if not isinstance(store, str) or "://" in store:
        return store, stream_key
    # The text may be a misspelt URL with a password, so it is not shown.
    if not store or "/" in store or re.search(r":.*@|:\d+$", store) or store.partition(":")[0] in known_schemes():
        raise ConfigurationError(
            "the first argument of TaskQueue is neither a queue's name nor a URL: give a URL such as "
            "redis://localhost:6379/0 or sqlite:///jobs.db, or give the name as stream_key="
        )
    if stream_key is not None:
        raise ConfigurationError(
            f"TaskQueue({quoted(store)}, stream_key={quoted(stream_key)}) has two names, since a text without a scheme "
            f"is the name of a queue in the default store: give one of them"
        )
    return None, store


def seal_of_environment() -> Seal | None:
    """Return a seal with the keys in ``PYXQUEUE_SEAL_KEYS``, or None if it is not set. Raises `ConfigurationError`."""
    keys = os.environ.get(SEAL_VARIABLE)
    try:
        return None if keys is None else Seal.from_env(keys)
    except ConfigurationError as error:
        raise ConfigurationError(f"{SEAL_VARIABLE}: {error}") from None


def lease_ms(given: Seconds | None) -> int | None:
    """Return the lease in ms: `given` in seconds, else ``PYXQUEUE_LEASE``, else None. Raises `ConfigurationError`."""
    text = os.environ.get(LEASE_VARIABLE)
    if given is None and not text:
        return None
    name, value = (LEASE_VARIABLE, text) if given is None else ("lease", in_seconds(given))
    try:
        ms = round(float(value or 0) * 1000)
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(f"{name}={quoted(value)} is not a number of seconds") from None
    if not 0 < ms < MAX_SECONDS * 1000:
        raise ConfigurationError(f"{name}={quoted(value)} must be more than 0 seconds, and less than {MAX_SECONDS:g}")
    return ms


def eager_by_environment() -> bool:
    """Return whether ``PYXQUEUE_EAGER`` asks for eager mode. Raises `ConfigurationError` if it is not a truth value."""
    return _switch(EAGER_VARIABLE, default=False)


def statistics_by_environment() -> bool:
    """Return whether ``PYXQUEUE_STATISTICS`` lets workers count what becomes of tasks, as they do if it is not set.
    Raises `ConfigurationError` if it is not a truth value."""
    return _switch(STATISTICS_VARIABLE, default=True)


def _switch(variable: str, *, default: bool) -> bool:
    text = os.environ.get(variable, "")
    if not text:
        return default
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ConfigurationError(f"{variable}={quoted(text)} is not a truth value: use 1 or 0")


def store_options(stream_key: str | None, group: str, lease: Seconds | None, queue_size: int | None) -> StoreOptions:
    """Return the options to open the store with. Raises `ConfigurationError` if one is not valid."""
    name = "tasks" if stream_key is None else stream_key
    size = 10_000 if queue_size is None else queue_size
    check_names(stream_key=name, consumer_group=group)
    check_numbers(queue_size=size)
    return StoreOptions(name, group, lease_ms(lease), size)


def failed_limits(ttl: Seconds | None, most: int | None) -> FailedLimits | None:
    """Return which failed tasks are deleted; None if all are kept. Raises `ConfigurationError` for a limit that is not
    valid."""
    if ttl is None and most is None:
        return None
    from ..model.failed import FailedLimits  # noqa: PLC0415 - few queues have such limits

    if most is not None:
        check_numbers(max_failed=most)
    seconds = None if ttl is None else in_seconds(ttl)
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (is_number and 0.001 <= seconds < MAX_SECONDS):
        raise ConfigurationError(f"failed_ttl={quoted(ttl)} must be a number of seconds, more than 0")
    return FailedLimits(None if seconds is None else milliseconds(seconds), most)


def check_stores(store: Any, broker: Backend | None, results: ResultStore | None) -> None:
    """Raise `ConfigurationError` if the application's own stores lack something."""
    if store is not None and broker is not None:
        raise ConfigurationError("give either a store, or broker= and results=, not both")
    check_complete(broker=(broker, Backend), results=(results, ResultStore))


_PREFIX = re.compile(r"[\w.@:-]{0,64}")


def check_prefix(prefix: str) -> None:
    """Raise `ConfigurationError` if the names of workers cannot begin with `prefix`."""
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"worker_prefix={quoted(prefix)} is not valid: use at most 64 letters, digits, _ . @ : -"
        )


def check_names(**given: str) -> None:
    """Raise `ConfigurationError` if one of the values cannot be the name of a queue or a group."""
    for name, value in given.items():
        if not isinstance(value, str) or not value or not is_encodable(value):
            raise ConfigurationError(f"{name}={quoted(value)} is not valid: give a text that is not empty")
        if "://" in value:
            raise ConfigurationError(f"{name}= is {quoted(value)}: give a URL as the first argument of TaskQueue")


def check_numbers(**given: int) -> None:
    """Raise `ConfigurationError` if one of the values is not a whole number of 0 or more."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigurationError(f"{name}={quoted(value)} must be a whole number, 0 or more")


def check_kinds(seal: object, observer: object, **switches: object) -> None:
    """Raise `ConfigurationError` if one of the values is not what the parameter of `TaskQueue` takes."""
    if seal is not None and not isinstance(seal, Seal):  # without its repr, which may be a key
        raise ConfigurationError(f"seal: a {type(seal).__name__} is not a Seal: write seal=Seal(key)")
    if observer is not None and not callable(observer):
        raise ConfigurationError(f"observer={quoted(observer)} is not a function: give one that takes an event")
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ConfigurationError(f"{name}={quoted(value)} must be True or False")


def check_complete(**parts: tuple[object, type]) -> None:
    """Raise `ConfigurationError` if an object lacks a member of the protocol it must implement."""
    for name, (given, protocol) in parts.items():
        missing = sorted(one for one in get_protocol_members(protocol) if not hasattr(given, one))
        if isinstance(given, str):
            raise ConfigurationError(f"{name} is a text: give a URL as the first argument, TaskQueue('redis://...')")
        if isinstance(given, type):
            raise ConfigurationError(f"{name} is the class {given.__name__}: make one, {given.__name__}(...)")
        if given is not None and missing:
            raise ConfigurationError(  # without its repr, which may show a password
                f"{name}: a {type(given).__name__} is not a {protocol.__name__}: it lacks {', '.join(missing)}. See "
                f"pyxqueue.protocols.{protocol.__name__}"
            )


def check_known(unknown: Iterable[str], cls: type) -> None:
    """Raise `ConfigurationError` if there are `unknown` arguments of `cls`."""
    names = sorted(unknown)
    if "gc_interval" in names:
        raise ConfigurationError(
            "gc_interval no longer exists, leave it out: the history is cut to queue_size when tasks end, and results "
            "and workers expire"
        )
    if names:
        known = [name for name, one in inspect.signature(cls).parameters.items() if one.kind is not one.VAR_KEYWORD]
        raise ConfigurationError(
            f"{cls.__name__} got an unknown option {', '.join(names)}; the options are {', '.join(known)}"
        )
