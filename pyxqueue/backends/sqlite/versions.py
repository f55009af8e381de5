"""What a version of SQLite may be used for.

Versions 3.7.0 to 3.51.2 can damage a file in WAL mode when one connection writes at the moment in which another resets
the log. The fix was carried back to 3.50.7 and 3.44.6. An affected SQLite therefore never gets a WAL file from us.
"""

from __future__ import annotations

from typing import TypeAlias

Version: TypeAlias = tuple[int, int, int]

MINIMUM: Version = (3, 24, 0)
"""The first with ``ON CONFLICT DO UPDATE``."""
_FIXED: Version = (3, 51, 3)
_FIXED_BRANCHES: tuple[Version, ...] = ((3, 50, 7), (3, 44, 6))


def parse(text: str) -> Version:
    """``3.40.1`` as numbers; what a vendor appends is left out."""
    major, minor, patch, *_ = [*text.split("."), "0", "0"]
    return int(major), int(minor), int(patch)


def wal_is_safe(version: Version) -> bool:
    """Whether this SQLite has the fix for the WAL-reset bug."""
    return version >= _FIXED or any(version[:2] == branch[:2] and version >= branch for branch in _FIXED_BRANCHES)


def shown(version: Version) -> str:
    return ".".join(map(str, version))
