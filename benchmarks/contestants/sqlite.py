"""What the contestants on SQLite agree on: file, journal, and how they sync."""

from __future__ import annotations

from pyxqueue.backends.sqlite.driver import best
from pyxqueue.backends.sqlite.location import from_url
from pyxqueue.backends.sqlite.versions import wal_is_safe

from .base import server_url

LOCATION = from_url(server_url())
PATH = LOCATION.path
FULL = LOCATION.durability == "full"
JOURNAL = "wal" if wal_is_safe(best().version) else "truncate"
"""The one pyxqueue chooses here."""
