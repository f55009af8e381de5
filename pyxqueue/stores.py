"""Finds and opens the backend for a URL or a client object.

A backend registers a factory under its URL scheme, in the entry point group ``pyxqueue.backends``:
``factory(source, options) -> Backend``, where `source` is the URL, or a client object of that kind of store.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any
from urllib.parse import quote

from attrs import field, frozen
from msgspec import Struct

from .errors import ConfigurationError
from .log import get_logger
from .offload import asynchronous
from .printable import quoted
from .protocols import AsyncProducer, Backend, StoreOptions, durable
from .serializers.tags import is_encodable
from .urls import scheme_of, shown

URL_VARIABLE = "PYXQUEUE_URL"
DEFAULT_URL = "sqlite:///.pyxqueue/queue.db"
"""A file below the current folder: a queue without a server, for the processes of one machine."""
GROUP = "pyxqueue.backends"

log = get_logger("pyxqueue")


@frozen
class StoreSource:
    """The place of a queue's store. `open` opens it."""

    factory: Callable[[Any, StoreOptions], Backend]
    source: Any = field(repr=False)  # it may contain a password
    options: StoreOptions

    def open(self) -> Backend:
        return self.factory(self.source, self.options)


class OpenStore(Struct, frozen=True):
    """The store as one process has opened it."""

    backend: Backend
    producer: AsyncProducer
    pid: int

    @classmethod
    def of(cls, backend: Backend) -> OpenStore:
        return cls(backend, asynchronous(backend), os.getpid())

    def durable(self, word: str) -> OpenStore:
        """Return the same store for calls of another durability. Raises `ConfigurationError` if it does not support
        that."""
        return OpenStore.of(durable(self.backend, word))


def find_store(source: Any, options: StoreOptions) -> StoreSource:
    """Return the store for a URL or a client object; None stands for the default.

    Raises `ConfigurationError` if no backend for it is installed.
    """
    if source is None:
        source = absolute(os.environ.get(URL_VARIABLE) or DEFAULT_URL)
        if not scheme_of(source):
            raise ConfigurationError(f"{URL_VARIABLE} is not a URL: set it to one such as redis://127.0.0.1:6379/0")
        log.info("queue %s uses %s", options.stream_key, shown(source))
    if isinstance(source, str):
        return StoreSource(_by_scheme(source), absolute(source), options)
    for kind in type(source).__mro__:
        package = kind.__module__.partition(".")[0]
        for entry in entry_points(group=GROUP, name=package):
            return StoreSource(entry.load(), source, options)
    raise ConfigurationError(
        f"{type(source).__module__}.{type(source).__qualname__} is not a client of a known store: give a redis.Redis "
        f"client, a URL ({', '.join(sorted(known_schemes()))}), or broker= and results="
    )


def absolute(url: str) -> str:
    """Return a sqlite URL with an absolute path, so that a later `chdir` does not change it; any other URL as it is."""
    scheme, slashes, path = url.partition(":///")
    relative = scheme == "sqlite" and path and not path.startswith(("/", ":"))
    if not relative:
        return url
    folder = os.getcwd()  # noqa: PTH109 - it is put into a URL
    if not is_encodable(folder):
        raise ConfigurationError(
            f"the name of the current folder {quoted(folder)} is not UTF-8, so a SQLite store cannot be below it: use "
            f"another folder, or set {URL_VARIABLE} to sqlite:////absolute/path.db"
        )
    return f"{scheme}{slashes}{quote(folder)}/{path}"


def _by_scheme(url: str) -> Callable[[Any, StoreOptions], Backend]:
    scheme = scheme_of(url)
    if not scheme:
        raise ConfigurationError("the text given as a store is not a URL: give one such as redis://127.0.0.1:6379/0")
    found: list[EntryPoint] = list(entry_points(group=GROUP, name=scheme))
    if not found:
        raise ConfigurationError(
            f"no backend for {scheme}:// is installed; installed are {', '.join(sorted(known_schemes())) or 'none'}"
        )
    factory: Callable[[Any, StoreOptions], Backend] = found[0].load()
    return factory


def known_schemes() -> set[str]:
    return {entry.name for entry in entry_points(group=GROUP)}
