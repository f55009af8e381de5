"""What a store has of tasks that have not ended: nothing, once all have."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import redis

from pyxqueue.backends.redis.keys import GroupKeys, live_of
from pyxqueue.backends.sqlite.schema import FAILED, HISTORY, REMEMBERED

KEPT = f"{HISTORY}, {FAILED}"
"""The places of ended tasks that are kept with their messages."""
ENDED = f"{KEPT}, {REMEMBERED}"
ROWS = {
    "tasks": f"SELECT count(*) FROM task WHERE place NOT IN ({ENDED})",
    "consumers": "SELECT count(*) FROM consumer",
    "bodies": f"SELECT count(*) FROM body WHERE seq NOT IN (SELECT seq FROM task WHERE place IN ({KEPT}))",
    "fields": f"SELECT count(*) FROM task WHERE place NOT IN ({KEPT}) AND fields IS NOT NULL",
    **{
        table: f"SELECT count(*) FROM {table}"
        for table in ("lock", "gate", "gated", "gate_limit", "rate", "flow", "fair", "parent")
    },
    "steps": f"SELECT count(*) FROM step WHERE seq NOT IN (SELECT seq FROM task WHERE place = {FAILED})",
    "dependent": f"SELECT count(*) FROM dependent WHERE seq NOT IN (SELECT seq FROM task WHERE place = {FAILED})",
}
"""In SQLite, what is counted."""


def in_redis(run: Any, keys: GroupKeys) -> Mapping[str, int]:
    """How many entries and members there are, by the key. `run`: executes a command."""
    counts = {keys.places[place]: ("XLEN", keys.places[place]) for place in ("d", *live_of(keys.classes))}
    counts |= {key: ("ZCARD", key) for key in (keys.delayed, keys.expiries, keys.lines, keys.turns)}
    counts |= {key: ("HLEN", key) for key in (keys.notes, keys.gates)}
    found = {key: int(run(*command)) for key, command in counts.items()}
    ids = [raw.decode() for raw in run("HKEYS", keys.dependents) if raw != b":started"]
    found[keys.dependents] = sum(not (run("GET", keys.task(one)) or b"").startswith(b"f") for one in ids)
    return {key: count for key, count in found.items() if count}


def in_sqlite(db: Any) -> Mapping[str, int]:
    """How many rows there are, by what they are. `db`: its `execute` returns rows."""
    found = {name: next(iter(db.execute(statement)))[0] for name, statement in ROWS.items()}
    return {name: count for name, count in found.items() if count}


def left_over(url: str, stream: str, group: str = "cg") -> Mapping[str, int]:
    """What there is in the store with this URL."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
            return in_sqlite(db)
    with redis.Redis.from_url(url, protocol=2) as client:
        return in_redis(client.execute_command, GroupKeys.of(stream, group, stream))
