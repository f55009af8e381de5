"""Task ids. The client makes them; they sort by time."""

from __future__ import annotations

import os
import time
from binascii import b2a_base64

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
