"""Task ids. The client makes them; they sort by time. Callers may give them as text or bytes."""

from __future__ import annotations

import os
import time
from binascii import b2a_base64
from typing import TypeAlias

from .errors import ConfigurationError
from .printable import quoted

TaskId: TypeAlias = str | bytes

_SORTED = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
)
"""From Base64 to 64 characters in the order in which they sort."""


def new_id(now_ns: int | None = None, random: bytes | None = None) -> str:
    """Return 18 characters: the milliseconds since the epoch in 44 bits, and 64 random bits.

    As text, ids sort by time (until the year 2527). The time is that of this machine; it is used for sorting only.
    """
    now = time.time_ns() if now_ns is None else now_ns
    bits = now // 1_000_000 << 64 | int.from_bytes(os.urandom(8) if random is None else random)
    return b2a_base64((bits << 4).to_bytes(14)).translate(_SORTED)[:18].decode()


def id_text(task_id: TaskId) -> str:
    """Return an id given as text or bytes as text."""
    if not isinstance(task_id, str | bytes):
        raise ConfigurationError(f"{quoted(task_id)} is not a task id: give it as str or bytes")
    raw = task_id if isinstance(task_id, bytes) else task_id.encode(errors="replace")
    return raw.decode(errors="replace")  # invalid UTF-8 is never the id of a task
