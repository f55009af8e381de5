"""Looks for what is wrong with a server: its version, memory, persistence, replicas, rights, clock and latency."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from statistics import median
from typing import Any

from msgspec import Struct
from redis.exceptions import NoPermissionError, ResponseError

from ...errors import BrokerError, BrokerUnavailableError
from ...model.findings import Finding
from ...printable import sized
from .cluster import ClusterClient
from .keys import channel, meta
from .registration import Registration
from .subscribing import Subscription

_NEEDED = (6, 2)
_ROUND_TRIPS = 11
_SLOW_MS, _SKEW_S = 5.0, 2.0
_NEARLY_FULL, _FULL = 0.8, 0.95


class Facts(Struct, frozen=True):
    """What INFO says, and the settings that this user may read."""

    info: Mapping[str, Any]
    setting: Callable[[str], str | None]
    """Returns the value of a setting; None if this user may not ask."""
    has_replicas: bool
    """Whether a replica is meant to take over: it is a cluster, or Sentinels name the master."""

    def number(self, name: str) -> int:
        value = self.info.get(name, 0)
        return int(value) if isinstance(value, int | float) else 0


def diagnose(registration: Registration) -> Iterator[Finding]:
    """Yield what was found."""
    session, queue = registration.session, registration.options.stream_key

    def run(*args: str) -> Any:
        return session.execute_near(meta(queue), *args)

    yield from _timing(lambda: run("TIME"))
    yield from _rights(registration)
    yield from _shard_channels(registration)
    try:
        info = run("INFO")
    except BrokerUnavailableError:
        raise
    except BrokerError:
        text = "this user may not run INFO, so nothing is known of the server"
        yield Finding("warning", "server", text, "give it +info, as the docs do for a user of its own")
        return

    def setting(name: str) -> str | None:
        try:
            return str(run("CONFIG GET", name)[name])
        except BrokerUnavailableError:
            raise
        except (BrokerError, KeyError, TypeError):
            return None

    facts = Facts(info, setting, session.config.may_fail_over)
    for look in (_version, _role, _memory, _eviction, _persistence, _replicas, _connections):
        yield from look(facts)


def risks(registration: Registration) -> Iterator[Finding]:
    """Yield what makes the server drop tasks."""
    try:
        info = registration.session.execute_near(meta(registration.options.stream_key), "INFO", "memory")
    except BrokerUnavailableError:
        raise
    except BrokerError:
        return
    yield from (found for found in _eviction(Facts(info, lambda _: None, False)) if found.level == "error")


def _timing(ask: Callable[[], Any]) -> Iterator[Finding]:
    times, skews = [], []
    for _ in range(_ROUND_TRIPS):
        begun, sent = time.monotonic(), time.time()
        seconds, micros = ask()
        took = time.monotonic() - begun
        times.append(took * 1000)
        skews.append(int(seconds) + int(micros) / 1e6 - (sent + took / 2))
    latency, skew = median(times), median(skews)
    slow = latency > _SLOW_MS
    yield Finding(
        "warning" if slow else "ok",
        "latency",
        f"a round trip takes {latency:.1f} ms",
        "run workers near the server: a claim and a settlement are a round trip each" if slow else "",
    )
    apart = abs(skew) > _SKEW_S
    yield Finding(
        "warning" if apart else "ok",
        "clock",
        f"the server's clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine's",
        "tasks go by the server's clock, and a time that you give for eta= by yours: synchronise both" if apart else "",
    )


def _rights(registration: Registration) -> Iterator[Finding]:
    """Try what a queue needs, without changing anything."""
    session, queue = registration.session, registration.options.stream_key
    tries: Mapping[str, Callable[[], Any]] = {
        "read streams": lambda: session.execute("XLEN", queue),
        "read hashes": lambda: session.execute("HLEN", meta(queue)),
        "read sorted sets": lambda: session.execute("ZCARD", registration.keys.delayed),
        "run scripts": lambda: session.execute("EVAL", "return redis.call('EXISTS', KEYS[1])", 1, meta(queue)),
        "subscribe": lambda: session.guard(lambda: _subscribe(registration)),
    }
    missing = []
    for what, attempt in tries.items():
        try:
            attempt()
        except BrokerUnavailableError:
            raise
        except BrokerError:
            missing.append(what)
    yield Finding(
        "error" if missing else "ok",
        "rights",
        f"this user may not {', '.join(missing)}" if missing else "this user may do what a queue needs",
        "give it the rights that the docs list for a user of its own (ACL SETUSER)" if missing else "",
    )


def _subscribe(registration: Registration) -> None:
    name = channel(registration.options.stream_key, "doctor")
    subscription = Subscription(registration.session.client, name)
    try:
        subscription.subscribe(name)
        subscription.get_message(timeout=1.0)
    finally:
        subscription.close()


def _shard_channels(registration: Registration) -> Iterator[Finding]:
    """In a cluster, say whether this user may use shard channels. Without them everything works, at the expense of all
    nodes."""
    client, name = registration.session.client, channel(registration.options.stream_key, "doctor")
    if not isinstance(client, ClusterClient):
        return
    tries: Mapping[str, Callable[[], Any]] = {
        "SPUBLISH": lambda: client.execute_near(name, "SPUBLISH", name, ""),
        "SSUBSCRIBE": lambda: _answer(client, "SSUBSCRIBE", name),
        "SUNSUBSCRIBE": lambda: _answer(client, "SUNSUBSCRIBE", name),
    }
    missing = [what for what, attempt in tries.items() if registration.session.guard(partial(_is_forbidden, attempt))]
    if missing:
        yield Finding(
            "warning",
            "shard channels",
            f"this user may not run {', '.join(missing)}: each wake-up and result is sent to all nodes of the cluster",
            "give it +spublish +ssubscribe +sunsubscribe",
        )


def _answer(client: ClusterClient, command: str, name: str) -> None:
    """Run a command about a channel on a connection of its own, to the node that has the channel."""
    pubsub = client.pubsub_near(name)
    try:
        pubsub.execute_command(command, name)
        pubsub.parse_response(block=False, timeout=1)
    finally:
        pubsub.close()


def _is_forbidden(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except NoPermissionError:
        return True
    except ResponseError:  # Redis 6.2 has no shard channels
        return False
    return False


def _version(facts: Facts) -> Iterator[Finding]:
    name = str(facts.info.get("server_name", "redis"))
    version = str(facts.info.get(f"{name}_version") or facts.info.get("redis_version", ""))
    found = re.match(r"(\d+)\.(\d+)", version)
    old = found is None or (int(found[1]), int(found[2])) < _NEEDED
    yield Finding(
        "error" if old else "ok",
        "server",
        f"{name} {version or 'of an unknown version'}",
        "use Redis 6.2 or newer, or Valkey" if old else "",
    )


def _role(facts: Facts) -> Iterator[Finding]:
    if facts.info.get("role", "master") != "master":
        yield Finding(
            "error",
            "role",
            "the server is a replica and takes no writes",
            "connect to the master, or through redis+sentinel://",
        )


def _memory(facts: Facts) -> Iterator[Finding]:
    used, limit, machine = (facts.number(name) for name in ("used_memory", "maxmemory", "total_system_memory"))
    whole = limit or machine
    if not whole:
        return
    part, of = used / whole, "its limit" if limit else "the machine's memory"
    level = "error" if part > _FULL else "warning" if part > _NEARLY_FULL else "ok"
    remedy = "raise maxmemory, let workers catch up, or delete tasks: `pyxqueue info` shows where they are"
    yield Finding(
        level,  # type: ignore[arg-type]  # one of three words
        "memory",
        f"{sized(used)} used, {part:.0%} of {of} ({sized(whole)})",
        "" if level == "ok" else remedy,
    )
    if not limit:
        yield Finding(
            "warning",
            "memory limit",
            "maxmemory is not set: a server that outgrows the machine is killed, with all tasks",
            "set maxmemory to what the machine can spare; producers then get StoreFullError, and workers go on",
        )


def _eviction(facts: Facts) -> Iterator[Finding]:
    policy = str(facts.info.get("maxmemory_policy", ""))
    if policy == "noeviction":
        yield Finding("ok", "eviction", "noeviction")
    elif policy:
        yield Finding(
            "error" if facts.number("maxmemory") else "warning",
            "eviction",
            f"{policy}: the server may drop tasks when its memory is full",
            "set maxmemory-policy noeviction, or give the queue a server of its own",
        )


def _persistence(facts: Facts) -> Iterator[Finding]:
    info = facts.info
    failing = [name for name in ("rdb_last_bgsave_status", "aof_last_write_status") if info.get(name, "ok") != "ok"]
    if failing:
        yield Finding(
            "error",
            "persistence",
            f"the last write to disk failed ({', '.join(failing)})",
            "see the server's log: is its disk full?",
        )
    if info.get("aof_enabled"):
        how = facts.setting("appendfsync")
        yield Finding("ok", "persistence", f"append-only file{f', appendfsync {how}' if how else ''}")
        return
    match facts.setting("save"):
        case None:
            text = "no append-only file; whether there are snapshots is not known, as this user may not run CONFIG GET"
        case "":
            text = "none: a crash or a restart loses all tasks"
        case _:
            text = "snapshots alone: a crash loses what came after the last one"
    yield Finding("warning", "persistence", text, "set appendonly yes")


def _replicas(facts: Facts) -> Iterator[Finding]:
    replicas = facts.number("connected_slaves")
    if not facts.has_replicas:
        return
    if not replicas:
        yield Finding("warning", "replicas", "no replica follows this master, so none can take over", "start one")
    needed = facts.setting("min-replicas-to-write")
    if needed == "0":
        yield Finding(
            "warning",
            "replicas",
            "the master takes tasks that no replica has; a failover loses them",
            "set min-replicas-to-write 1 and min-replicas-max-lag 1",
        )
    elif replicas:
        yield Finding("ok", "replicas", f"{replicas} connected")


def _connections(facts: Facts) -> Iterator[Finding]:
    used, limit = facts.number("connected_clients"), facts.number("maxclients")
    if not limit:
        return
    full = used > _NEARLY_FULL * limit
    yield Finding(
        "warning" if full else "ok",
        "connections",
        f"{used:,} of {limit:,}",
        "raise maxclients; a worker process needs two or three, a program that waits for results two" if full else "",
    )
