"""Pickle: it can write nearly any Python object. Use it only if you trust everyone who has the key of the seal."""

# ruff: noqa: PLC0415 - few queues use pickle
from __future__ import annotations

from typing import Any

from ..errors import SerializationError
from ..printable import quoted


class PickleSerializer:
    """Writes values as pickles. Loading a pickle can run any code, so a queue uses it only with a seal.

    The caller and the worker must be able to import a class under the same name; a class of a script does not have one.
    """

    name = "pickle"
    trusted = False

    def dumps(self, value: Any) -> bytes:
        """Return the bytes of a value. Raises `SerializationError` if pickle cannot write it."""
        import pickle

        try:
            # Not the highest protocol of this Python: the reader may run an older one.
            return pickle.dumps(value, protocol=5)
        except Exception as error:
            raise SerializationError(f"a {type(value).__qualname__} cannot be pickled: {quoted(error, 300)}") from error

    def loads(self, data: bytes) -> Any:
        """Return the value of the bytes. Raises `SerializationError` for any error, also for `SystemExit`."""
        import pickle

        try:
            return pickle.loads(data)  # noqa: S301 - only with a seal, as the class says
        except (Exception, SystemExit) as error:
            raise SerializationError(f"the pickle cannot be loaded: {quoted(error, 300)}") from error
