"""What a queue reads from its arguments and from the environment."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Any

from typing_extensions import get_protocol_members

from ..clock import Seconds, in_seconds
from ..errors import ConfigurationError
from ..options import MAX_SECONDS
from ..printable import quoted
from ..protocols import Backend, ResultStore, Serializer, StoreOptions
from ..serializers import JSONSerializer, MsgpackSerializer, PickleSerializer, Seal
from ..serializers.tags import is_encodable
from ..stores import known_schemes

LEASE_VARIABLE = "PYXQUEUE_LEASE"
SEAL_VARIABLE = "PYXQUEUE_SEAL_KEYS"
EAGER_VARIABLE = "PYXQUEUE_EAGER"
SERIALIZER_GROUP = "pyxqueue.serializers"
"""The entry points with the serializers of other packages: a name, and what makes one when called."""
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_SERIALIZERS: dict[str, Callable[[], Serializer]] = {
    "json": JSONSerializer,
    "msgpack": MsgpackSerializer,
    "pickle": PickleSerializer,
}


def find_serializer(given: str | Serializer) -> Serializer:
    """The serializer of that name, one of ours or of an installed package. Raises `ConfigurationError`."""
    if not isinstance(given, str):
        check_complete(serializer=(given, Serializer))
        return given
    if given in _SERIALIZERS:
        return _SERIALIZERS[given]()
    for entry in entry_points(group=SERIALIZER_GROUP, name=given):
        make: Callable[[], Serializer] = entry.load()
        return make()
    names = ", ".join([*_SERIALIZERS, *sorted(entry_points(group=SERIALIZER_GROUP).names)])
    raise ConfigurationError(f"there is no serializer {quoted(given)}, only {names}; or give an object")


def store_and_name(store: Any, stream_key: str | None, client: Any) -> tuple[Any, str | None]:
    """A text without a scheme is the queue's name on the default store. Raises `ConfigurationError`."""
    if client is not None:
        if store is not None:
            raise ConfigurationError("give either a store, or client=: they are two names of one argument")
        store = client
    if not isinstance(store, str) or "://" in store:
        return store, stream_key
    # It may be a URL that was misspelt, with a password in it: nothing of it is shown.
    if not store or "/" in store or re.search(r":.*@|:\d+$", store) or store.partition(":")[0] in known_schemes():
        raise ConfigurationError(
            "TaskQueue(...) was given a text that is neither a queue's name nor a URL, such as "
            "redis://localhost:6379/0 or sqlite:///jobs.db; any other name is given as stream_key="
        )
    if stream_key is not None:
        raise ConfigurationError(
            f"TaskQueue({quoted(store)}, stream_key={quoted(stream_key)}) has two names: a text without a scheme is "
            f"the queue's "
            f"name on the default store"
        )
    return None, store


def seal_of_environment() -> Seal | None:
    """A seal with the keys in ``PYXQUEUE_SEAL_KEYS``, or None. Raises `ConfigurationError`."""
    keys = os.environ.get(SEAL_VARIABLE)
    try:
        return None if keys is None else Seal.from_env(keys)
    except ConfigurationError as error:
        raise ConfigurationError(f"{SEAL_VARIABLE}: {error}") from None


def lease_ms(given: Seconds | None) -> int | None:
    """The lease in ms: as given in seconds, else from ``PYXQUEUE_LEASE``, else None. Raises `ConfigurationError`."""
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
    """Whether the environment variable PYXQUEUE_EAGER asks for it. Raises `ConfigurationError` for no clear answer."""
    text = os.environ.get(EAGER_VARIABLE, "")
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ConfigurationError(f"{EAGER_VARIABLE}={quoted(text)} is not clear: use 1 or 0")


def store_options(stream_key: str | None, group: str, lease: Seconds | None, queue_size: int | None) -> StoreOptions:
    """What the store is opened with. Raises `ConfigurationError` for what cannot be used."""
    name = "tasks" if stream_key is None else stream_key
    check_names(stream_key=name, consumer_group=group)
    check_numbers(queue_size=queue_size)
    return StoreOptions(name, group, lease_ms(lease), 10_000 if queue_size is None else queue_size)


def check_stores(store: Any, broker: Backend | None, results: ResultStore | None) -> None:
    """Raises `ConfigurationError` for stores of the application's own making that lack something."""
    if store is not None and broker is not None:
        raise ConfigurationError("give either a store, or broker= and results=")
    check_complete(broker=(broker, Backend), results=(results, ResultStore))


_PREFIX = re.compile(r"[\w.@:-]{0,64}")


def check_prefix(prefix: str) -> None:
    """Raises `ConfigurationError` for what cannot stand in front of the names of workers."""
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"worker_prefix={quoted(prefix)} is not valid: use at most 64 letters, digits, _ . @ : -"
        )


def check_names(**given: str) -> None:
    """Raises `ConfigurationError` for what cannot be the name of a queue or a group."""
    for name, value in given.items():
        if not isinstance(value, str) or not value or not is_encodable(value):
            raise ConfigurationError(f"{name}={quoted(value)} is not valid: give a text that is not empty")
        if "://" in value:
            raise ConfigurationError(f"{name}= was given {quoted(value)}: a URL is the first argument of a TaskQueue")


def check_numbers(**given: int | None) -> None:
    """Raises `ConfigurationError` for what is no whole number of 0 or more."""
    for name, value in given.items():
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ConfigurationError(f"{name}={quoted(value)} must be a whole number, 0 or more")


def check_complete(**parts: tuple[object, type]) -> None:
    """Raises `ConfigurationError` for an object that lacks something of the protocol it is given for."""
    for name, (given, protocol) in parts.items():
        missing = sorted(one for one in get_protocol_members(protocol) if not hasattr(given, one))
        if isinstance(given, str):
            raise ConfigurationError(f"{name} is a text: a URL is the first argument, TaskQueue('redis://...')")
        if given is not None and missing:
            raise ConfigurationError(  # without its repr, which may show a password
                f"{name}: a {type(given).__name__} is no {protocol.__name__}: it lacks {', '.join(missing)}. What each "
                f"does is in the docstring of pyxqueue.protocols.{protocol.__name__}"
            )


def check_known(unknown: Iterable[str], cls: type) -> None:
    """Raises `ConfigurationError` if there is one among the arguments of `cls` that it does not know."""
    names = sorted(unknown)
    if "gc_interval" in names:
        raise ConfigurationError(
            "gc_interval is gone, leave it out: the history is cut to queue_size as tasks end, results and workers "
            "expire"
        )
    if names:
        known = [name for name, one in inspect.signature(cls).parameters.items() if one.kind is not one.VAR_KEYWORD]
        raise ConfigurationError(
            f"{cls.__name__} got an unknown option {', '.join(names)}; the options are {', '.join(known)}"
        )
