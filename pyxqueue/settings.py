"""What a queue reads from its arguments and from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable

from .errors import ConfigurationError
from .protocols import Serializer
from .serializers import JSONSerializer, MsgpackSerializer, PickleSerializer, Seal

LEASE_VARIABLE = "PYXQUEUE_LEASE"
SEAL_VARIABLE = "PYXQUEUE_SEAL_KEYS"
_SERIALIZERS: dict[str, Callable[[], Serializer]] = {
    "json": JSONSerializer,
    "msgpack": MsgpackSerializer,
    "pickle": PickleSerializer,
}


def find_serializer(given: str | Serializer) -> Serializer:
    """The serializer of that name. Raises `ConfigurationError`."""
    if not isinstance(given, str):
        return given
    if given not in _SERIALIZERS:
        raise ConfigurationError(f"there is no serializer {given!r}, only {', '.join(_SERIALIZERS)}; or give an object")
    return _SERIALIZERS[given]()


def seal_of_environment() -> Seal | None:
    """A seal with the keys in ``PYXQUEUE_SEAL_KEYS``, or None."""
    keys = os.environ.get(SEAL_VARIABLE)
    return Seal.from_env(keys) if keys else None


def lease_ms(given: float | None) -> int | None:
    """The lease in ms: as given in seconds, else from ``PYXQUEUE_LEASE``, else None. Raises `ConfigurationError`."""
    text = os.environ.get(LEASE_VARIABLE)
    try:
        seconds = float(text) if given is None and text else given
    except ValueError:
        raise ConfigurationError(f"{LEASE_VARIABLE}={text!r} is not a number of seconds") from None
    if seconds is not None and seconds <= 0:
        raise ConfigurationError(f"lease={seconds} must be more than 0 seconds")
    return None if seconds is None else round(seconds * 1000)
