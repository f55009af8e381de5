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
_made = [(0, 0)]
"""The millisecond and the bits of the last id that this process has made."""


def new_id(now_ns: int | None = None, random: bytes | None = None) -> str:
    """Return 18 characters: the milliseconds since the epoch in 44 bits, and 63 random bits; or,
    for a further id of the same millisecond, those of the last one plus 1 to 2^40.

    As text, ids sort by time (until the year 2527), and those that one thread makes within a millisecond in the order
    in which it made them. The time is that of this machine; it is used for sorting only.
    """
    now = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    if random is None:
        bits, (moment, last) = int.from_bytes(os.urandom(8)) >> 1, _made[0]
        if now == moment:
            bits = last + 1 + (bits >> 23)  # 40 random bits: no overflow within millions of ids
        _made[0] = now, bits
    else:
        bits = int.from_bytes(random)
    return b2a_base64((now << 68 | bits << 4).to_bytes(14)).translate(_SORTED)[:18].decode()


def id_text(task_id: TaskId) -> str:
    """Return an id given as text or bytes as text."""
    if not isinstance(task_id, str | bytes):
        raise ConfigurationError(f"{quoted(task_id)} is not a task id: give it as str or bytes")
    raw = task_id if isinstance(task_id, bytes) else task_id.encode(errors="replace")
    return raw.decode(errors="replace")  # invalid UTF-8 is never the id of a task
