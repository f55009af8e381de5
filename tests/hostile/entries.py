"""Hostile content, made from a seed: what any program with access to a store may write into it."""

from __future__ import annotations

from random import Random
from typing import Any

RESERVED = (
    "v", "id", "name", "body", "serializer", "attempt", "crashes", "redelivered", "deferrals", "enqueued", "due",
    "expires", "priority", "parent", "reply", "seal", "lock", "flow", "doomed", "gates", "share", "tenant", "after",
    "successors", "past", "headers", "packed", "_id", "_since", "_reason", "_state", "_ended", "_tokens", "_gate",
    "_order", "_tag", "_flow", "_told",
)  # fmt: skip
NOTES = ("waiters", "cancel", "started", "progress", "lock", "unique")
RECORD = ("v", "attempt", "value", "serializer", "seal", "error", "worker", "progress", "ran")
NASTY: tuple[bytes, ...] = (
    b"", b"0", b"-1", b"1", b"1e308", b"-3:", b"9" * 30, b"0x10", b"nan", b"inf", b"\xff\xfe", b"\x00",
    b"\x1b]52;c;x\x07", b"a\nb", b"\xe2\x80\xae", b"{", b"[]", b"[[],{}]", b"[[1],{}]", b'{"a":"b"}', b'{"a":1}',
    b"[" * 3000, b"json", b"pickle", b"fuzz.good", b"fuzz.bad", b"no.such.task", b"a b", b"1-1",
    b"18446744073709551615-1", b"live", b"parked", b"history", b"failed", b"true", b"4", b"5", b"6", b"99", b"x" * 300,
    b"3:abc", b"3:abc3:xyz", b"0:" * 40, b"v9:key:00", b"v2:key:00", b"one/1 two/", b"one/1",
    b"f:one", b"w:one c:two", b"one many.*9", b"f" + b"0" * 32, b"d" + b"0" * 32, b"s" + b"0" * 31,
)  # fmt: skip


def value(random: Random) -> bytes:
    """One value: a nasty one, two of them in a row, or noise."""
    match random.randrange(4):
        case 0:
            return random.randbytes(random.randrange(20))
        case 1:
            return random.choice(NASTY) + random.choice(NASTY)
        case _:
            return random.choice(NASTY)


def fields(random: Random, names: tuple[str, ...]) -> dict[Any, Any]:
    """Some fields, most with names that mean something."""
    found: dict[Any, Any] = {}
    for _ in range(random.randrange(1, 7)):
        name: Any = random.choice(names) if random.random() < 0.9 else random.randbytes(3)
        found[name] = value(random)
    return found


def task(random: Random) -> bytes:
    """The value of a task: like one, with some of it wrong, or anything."""
    if random.random() < 0.3:
        return value(random)
    place, more = random.choice((b"n", b"a", b"d", b"g", b"h", b"f", b"z")), random.choice((b"", b"+"))
    parts = [place + more + random.choice((b"", b"1-1", b"18446744073709551615-1", value(random)))]
    if place in {b"h", b"f"} or random.random() < 0.2:
        parts += [random.choice((b"1", b"9" * 13, value(random))) for _ in range(2)]
        parts += [random.choice((b"4", b"5", b"6", value(random))), record(random)]
    return b" ".join(parts)


def record(random: Random) -> bytes:
    """The rest of the value of an ended task, or of its record."""
    pairs = fields(random, RECORD).items()
    texts = [text.encode() if isinstance(text, str) else text for pair in pairs for text in pair]
    whole = b"".join(b"%d:%b" % (len(text), text) for text in texts)
    return whole if random.random() < 0.8 else whole[: random.randrange(len(whole) + 1)]


def message(random: Random) -> dict[Any, Any]:
    """The fields of an entry: like a message, with some of it wrong, or anything."""
    found = fields(random, RESERVED)
    if random.random() < 0.6:
        found = {"name": random.choice((b"fuzz.good", b"fuzz.bad", b"no.such.task")), "body": b"[[],{}]", **found}
    return found
