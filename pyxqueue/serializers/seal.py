"""Signatures over calls and records: a worker or a caller decodes only what a program with a key has written.

The seal of a call covers its body, queue, task name, id, serializer and headers. The seal of an end covers the queue,
the group, the id, and the record's status, attempt, failure, serializer and value. That of a step or an event covers
the queue, the group, the id, its name, serializer and value. A seal proves who wrote the bytes.
It does not prove that they are new, and does not encrypt them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from ..errors import ConfigurationError, SealError

VERSION = "v2"
MIN_KEY_BYTES = 16
Direction: TypeAlias = Literal["call", "end", "step"]


class SealContext(Struct, frozen=True):
    """What a seal covers besides the bytes."""

    queue: str
    name: str
    """The name of the task; empty for an end."""
    id: str
    direction: Direction
    serializer: str
    facts: Sequence[str] = ()
    """What else the seal covers. For a call, the names and values of its headers, in order; for an end, the group, the
    status, the attempt and the failure; for a step, the group, the kind and the name."""

    def frame(self, data: bytes) -> bytes:
        """Return the bytes to sign. Each part follows its length, so that no two contexts have the same bytes."""
        texts = (VERSION, self.queue, self.name, self.id, self.direction, self.serializer, *self.facts)
        parts = [*(text.encode("utf-8", "surrogatepass") for text in texts), data]
        return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


class Seal:
    """Signs with the first of its keys, and accepts signatures made with any of them (HMAC-SHA256).

    To change the key while the queue is in use, give every process the new key as the last one, then as the first one,
    then remove the old key.

    `keys`: one key or several, bytes or text, each at least 16 bytes long; make one with `secrets.token_hex`. Raises
    `ConfigurationError` if there is no key, or one is shorter.
    """

    def __init__(self, keys: str | bytes | Iterable[str | bytes]) -> None:
        several = [keys] if isinstance(keys, (str, bytes)) else list(keys) if isinstance(keys, Iterable) else []
        if not several:
            raise ConfigurationError("a seal needs at least one key: give a text or bytes, or a list of them")
        raw = [_key_bytes(number, key) for number, key in enumerate(several, 1)]
        for number, key in enumerate(raw, 1):
            if len(key) < MIN_KEY_BYTES:
                raise ConfigurationError(
                    f"key {number} of the seal has {len(key)} bytes, fewer than {MIN_KEY_BYTES}: "
                    "make one with secrets.token_hex(32)"
                )
        self._keys = {_key_id(key): key for key in raw}
        self._current = _key_id(raw[0])

    @classmethod
    def from_env(cls, value: str) -> Seal:
        """Return a seal with the keys in `value`, separated by commas. Blanks around them are ignored.

        Raises `ConfigurationError` as the constructor does.
        """
        return cls([key for part in value.split(",") if (key := part.strip())])

    def __repr__(self) -> str:
        return f"<Seal {', '.join(self._keys)}>"

    def sign(self, context: SealContext, data: bytes) -> str:
        """Return the seal of `data` as text, ``v2:<key id>:<hex>``."""
        return f"{VERSION}:{self._current}:{_digest(self._keys[self._current], context.frame(data))}"

    def verify(self, context: SealContext, data: bytes, seal: str) -> None:
        """Raise `SealError` unless `seal` was made for these bytes and this context with one of the keys."""
        what = f"the {context.direction} of task {context.id}"
        if not seal:
            raise SealError(f"{what} is not sealed, and this queue has a seal: give its writer the key")
        version, key_id, digest = (*seal.split(":", 2), "", "")[:3]
        if version != VERSION:
            raise SealError(f"{what} has a seal of an unknown version, {seal:.40}: this side reads {VERSION}")
        key = self._keys.get(key_id)
        if key is None:
            raise SealError(
                f"{what} is sealed with the key {key_id:.40}, this side has {', '.join(self._keys)}: "
                "give this side that key too, unless it is not one of yours"
            )
        expected = _digest(key, context.frame(data))
        # As bytes, because compare_digest refuses text that is not ASCII.
        if not hmac.compare_digest(expected.encode(), digest.encode("utf-8", "surrogatepass")):
            raise SealError(
                f"the seal of {what} does not fit: the bytes, or what the seal covers besides them, were changed"
            )


def _digest(key: bytes, data: bytes) -> str:
    return hmac.digest(key, data, hashlib.sha256).hex()


def _key_bytes(number: int, key: object) -> bytes:
    """Return a key as bytes. Raises `ConfigurationError` if it is not a text or bytes."""
    try:
        raw = key.encode() if isinstance(key, str) else key
    except UnicodeEncodeError:
        raw = None
    if not isinstance(raw, bytes):  # without its repr, which may be a secret
        raise ConfigurationError(
            f"key {number} of the seal is a {type(key).__name__} that is not valid: give a text or bytes"
        )
    return raw


def _key_id(key: bytes) -> str:
    """Return an id that tells keys apart without revealing anything about them."""
    return _digest(key, b"pyxqueue key id")[:16]
