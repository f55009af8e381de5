"""Limits and their gates: how they are spelt, and what an operator sees of them.

A limit has a name and a number. A gate is that limit for one key, such as one customer: ``NAME/KEY``, or ``NAME/``
where the limit has no keys. A message has a list of gates. It is ready or in flight only with a token of each; while
one has none left, the message waits in the line of that gate.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from urllib.parse import quote

from msgspec import Struct

from .rates import PREFIX

MAX_GATES = 8
"""The most gates of one message."""
LIMIT_PATTERN = re.compile(r"[\w.<>-]{1,200}")
"""The names of limits. A limit of one task is named after the task."""
_KEY = r"[A-Za-z0-9_.%~-]{0,192}"
KEY_PATTERN = re.compile(_KEY)
GATE_PATTERN = re.compile(rf"(?:{PREFIX})?{LIMIT_PATTERN.pattern}/{_KEY}")
_MAX_KEY = 64
_TASK = "task:/"
NO_LIMIT = 1 << 53
"""Stands for the number of a limit that has none."""


def gate_key(value: object) -> str:
    """Return the text by which a gate names a value, or a tuple of values: it is escaped, and a hash of it if it is
    longer than 64 characters."""
    text = ",".join(map(_part, value)) if isinstance(value, tuple) else str(value)
    escaped = quote(text, safe="", errors="surrogatepass").replace("~", "%7E")
    if len(text) <= _MAX_KEY and len(escaped) <= 3 * _MAX_KEY:
        return escaped
    return "~" + blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _part(value: object) -> str:
    """Escape commas in one of several values, which are separated by commas."""
    return str(value).replace("\\", "\\\\").replace(",", "\\,")


def gate_of(limit: str, key: str = "") -> str:
    return f"{limit}/{key}"


def limit_of(gate: str) -> str:
    """Return the name of the limit of a gate."""
    return gate.partition("/")[0]


def paused_names(gate: str) -> tuple[str, str]:
    """Return the names by which a gate can be paused: its limit and key, and its limit."""
    name = gate.removeprefix(PREFIX)
    return name, limit_of(name)


def task_gate(name: str) -> str:
    """Return the gate in whose line the tasks of a name wait while that name is paused. No limit has such a gate."""
    return _TASK + name


def task_of(gate: str) -> str:
    """Return the name of the tasks that wait at such a gate; an empty text for the gate of a limit."""
    return gate.removeprefix(_TASK) if gate.startswith(_TASK) else ""


def shown_gate(gate: str) -> str:
    """Return the gate as people see it: without the slash, where the limit has no keys."""
    return gate.removesuffix("/")


class LimitInfo(Struct, frozen=True):
    """A limit as the store knows it."""

    name: str
    """Its name, or the gate for whose key alone the number holds."""
    number: int | None
    """The number that counts; None for no limit. 0 lets nothing start."""
    declared: int | None = None
    """The number that the code has declared."""


class GateInfo(Struct, frozen=True):
    """A gate that has tokens out, or a line."""

    name: str
    used: int
    """How many tasks with this gate are ready or in flight."""
    limit: int | None
    """The most there may be; None for no limit."""
    waiting: int
    """How many tasks wait in its line."""
