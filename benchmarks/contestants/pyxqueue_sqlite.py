"""pyxqueue on a SQLite file: as `pyxqueue`, with another URL."""

from __future__ import annotations

from collections.abc import Mapping

from .pyxqueue import Entry as OnRedis


class Entry(OnRedis):
    guarantees: Mapping[str, str] = {**OnRedis.guarantees, "late result": "refused in the transaction"}
