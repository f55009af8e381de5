"""Pickle: takes nearly any Python object; use it only if you trust everyone who can write to the store."""

from __future__ import annotations

import pickle
from typing import Any

from ..errors import SerializationError
from ..printable import quoted


class PickleSerializer:
    """Values as pickles. Loading one runs whatever it says, so it is only used under a seal.

    A class must be importable by the same name on both sides; one that a script defines is not.
    """

    name = "pickle"
    trusted = False

    def dumps(self, value: Any) -> bytes:
        """The bytes of a value. Raises `SerializationError` for what pickle cannot write."""
        try:
            # Not the highest of this Python: the reader's may be older.
            return pickle.dumps(value, protocol=5)
        except Exception as error:
            raise SerializationError(f"a {type(value).__qualname__} cannot be pickled: {quoted(error, 300)}") from error

    def loads(self, data: bytes) -> Any:
        """The value of the bytes. Raises `SerializationError` for anything that goes wrong, `SystemExit` included."""
        try:
            return pickle.loads(data)  # noqa: S301 - only under a seal, as the class says
        except (Exception, SystemExit) as error:
            raise SerializationError(f"the pickle cannot be loaded: {quoted(error, 300)}") from error
