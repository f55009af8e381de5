"""The faults, and the tests that notice them."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

_LUA = "pyxqueue/backends/redis/lua"
_REDIS = "pyxqueue/backends/redis"
_KIT = ("tests/contract/test_redis.py", "-k", "TestRealServers and valkey")
"""All laws, on one server."""
_DURABLE = "tests/topologies/test_durability.py"
_BOUND = ("tests/contract/test_redis.py", "-k", "TestRealServers and valkey and b15")


@frozen
class Fault:
    """A change of one place in one file."""

    name: str
    what: str
    """What goes wrong with it, in a sentence."""
    path: str
    before: str
    """Occurs once in the file."""
    after: str
    tests: Sequence[str]
    """The arguments of pytest: the tests of which one at least must fail."""


FAULTS = [
    Fault(
        "fence-off",
        "A worker that has lost its lease settles the task of another one.",
        f"{_LUA}/settle.lua",
        "local accepted = (one.live.holders[one.entry] or holder(one.live.stream, group, one.entry)) == one.consumer",
        "local accepted = (one.live.holders[one.entry] or holder(one.live.stream, group, one.entry)) ~= nil",
        _KIT,
    ),
    Fault(
        "extend-steals",
        "A worker that was stopped past its lease takes the task back from its new holder by extending it.",
        f"{_LUA}/extend.lua",
        "if owner == consumer then",
        "if owner then",
        _KIT,
    ),
    Fault(
        "group-at-end",
        "What was ready when a consumer group was destroyed is never handed out.",
        f"{_LUA}/register.lua",
        "paused and AT_END or '0', 'MKSTREAM'",
        "paused and AT_END or '$', 'MKSTREAM'",
        ("tests/redis/test_lost_groups.py", "-k", "valkey"),
    ),
    Fault(
        "no-grace",
        "After an outage, the work of the living is taken over as soon as the server is back.",
        f"{_REDIS}/reclaiming.py",
        "if self.health.unbroken_ms() < (lease if self._after_ms is None else self._after_ms):",
        "if self.health.unbroken_ms() < 0:",
        ["tests/processes/test_leases.py"],
    ),
    Fault(
        "clock-jump-unseen",
        "After a jump of the server's clock, all leases count as ended.",
        f"{_REDIS}/reclaiming.py",
        "if self._offset is not None and abs(offset - self._offset) > lease / 2:",
        "if self._offset is not None and abs(offset - self._offset) > 1e300:",
        ["tests/redis/test_idle.py"],
    ),
    Fault(
        "promoted-unseen",
        "A delayed task that was put off again between the look and the act starts too early.",
        f"{_LUA}/promote.lua",
        "if due and tonumber(due) <= now then",
        "if due then",
        ["tests/redis/test_put_off.py"],
    ),
    Fault(
        "claim-repeated",
        "The driver repeats a claim whose reply was lost: the first one has handed out tasks to nobody.",
        f"{_REDIS}/claiming.py",
        "config.open(timeout=timeout, retries=0)",
        "config.open(timeout=timeout, retries=3)",
        ["tests/redis/test_connections.py", "-k", "claim"],
    ),
    Fault(
        "neighbour-trimmed",
        "A settlement whose own entry was deleted by hand removes the entry of a neighbour.",
        f"{_LUA}/settle.lua",
        "live.are_rows = live.are_rows and live.fields[entry] ~= nil",
        "live.are_rows = live.are_rows",
        ["tests/redis/test_batches.py", "-k", "valkey"],
    ),
    Fault(
        "enqueued-twice",
        "A repeated enqueue of an id, as after a lost reply, makes a second task.",
        f"{_LUA}/enqueue_ready.lua",
        "local known = call('EXISTS', KEYS[task]) == 1",
        "local known = false",
        _KIT,
    ),
    Fault(
        "consumer-destroyed",
        "A consumer is forgotten with what it still holds, which no other gets then.",
        f"{_LUA}/retire.lua",
        "if held == 0 then",
        "if held >= 0 then",
        ["tests/redis/test_forgotten_consumers.py"],
    ),
    Fault(
        "crash-uncharged",
        "A task that kills its process every time runs for ever.",
        f"{_LUA}/restore.lua",
        "if charge == 'started' or field(fields, 'redelivered') == '1' then count_up(fields, 'crashes', 0) end",
        "",
        _KIT,
    ),
    Fault(
        "first-expiry-charged",
        "A task is charged for the first outage of its host, as if it had crashed it.",
        f"{_LUA}/restore.lua",
        "if charge == 'started' or field(fields, 'redelivered') == '1' then",
        "if charge then",
        _KIT,
    ),
    Fault(
        "restored-again",
        "A task whose holder has extended its lease meanwhile is made ready all the same.",
        f"{_LUA}/restore.lua",
        "if (found or '') == consumer and handed_out then",
        "if handed_out then",
        ["tests/redis/test_lines.py", "-k", "valkey"],
    ),
    Fault(
        "copied-run",
        "A second entry of a task, written by a failover or by hand, runs beside the first.",
        f"{_LUA}/_common.lua",
        "return task.place and (task.place ~= place or task.entry ~= entry) and not is_gone(keys, group, task)",
        "return false",
        ["tests/redis/test_sealed_copies.py", "-k", "valkey"],
    ),
    Fault(
        "cancel-forgotten",
        "A task that was cancelled while it ran is retried.",
        f"{_LUA}/settle.lua",
        "  end\n  if task.more and notes_of(keys, one.id, 'cancel')[1] then -- cancelled meanwhile",
        "  end\n  if false then",
        _KIT,
    ),
    Fault(
        "memory-refused",
        "In a full Redis, running tasks cannot settle and run again for ever.",
        f"{_LUA}/settle_done.lua",
        "allow_writes(stream, group)",
        "",
        ["tests/redis/test_full_memory.py", "-k", "valkey"],
    ),
    Fault(
        "half-enqueued",
        "A message that one group refuses is kept in the others.",
        f"{_LUA}/_common.lua",
        "    call('XDEL', one[1], one[2])\n    call('DEL', one[3])\n",
        "",
        ["tests/redis/test_all_or_nothing.py", "-k", "valkey"],
    ),
    Fault(
        "waiter-untold",
        "The end of a task wakes nobody who waits for it.",
        f"{_LUA}/settle_done.lua",
        "announce(history, channels, id, value)",
        "",
        ["tests/redis/test_round_trips.py", "-k", "told and valkey"],
    ),
    Fault(
        "old-master-kept",
        "A connection to a master that was demoted is kept, and every call fails until it is closed.",
        f"{_REDIS}/faults.py",
        '"READONLY" in str(error) or type(error).__name__ == "ReadOnlyError"',
        "False",
        ["tests/redis/test_connections.py"],
    ),
    Fault(
        "wait-for-nothing",
        "A durable call that finds its task stored says that replicas have it: its own connection has written nothing.",
        f"{_REDIS}/confirming.py",
        'self._touch = "EVAL", _TOUCH, 1, self._key',
        'self._touch = ("PING",)',
        [_DURABLE, "-k", "no_replica_confirmed"],
    ),
    Fault(
        "confirmation-unread",
        "A durable call returns when replicas have had the time, whether they have its task or not.",
        f"{_REDIS}/confirming.py",
        "if acknowledged < wanted:",
        "if failed:",
        [_DURABLE, "-k", "no_replica_confirmed"],
    ),
    Fault(
        "one-replica-is-enough",
        "A durable call that asks for several replicas returns when one has its task.",
        f"{_REDIS}/durability.py",
        "return min(int(reply), self.wanted)",
        "return self.wanted if int(reply) else 0",
        [_DURABLE, "-k", "more_replicas"],
    ),
    Fault(
        "disk-unasked",
        "A call with `durability=aof` returns before its task is on the disk of the server.",
        f"{_REDIS}/durability.py",
        "return min(int(reply[0]), 1) + min(",
        "return 1 + min(",
        [_DURABLE, "-k", "no_disk_confirmed"],
    ),
    Fault(
        "loss-counted-again",
        "What a failover has lost counts as often as it was called.",
        f"{_REDIS}/recent.py",
        "ids, lost = list(tasks), list[str]()",
        "ids, lost = [one for each in taken for one in each.tasks], list[str]()",
        ["tests/topologies/test_sentinel.py", "-k", "counted_once"],
    ),
    Fault(
        "settlement-dropped",
        "A worker gives up a settlement when the store is away, and its task runs again.",
        "pyxqueue/worker/settling.py",
        "                time.sleep(self.backoff(failures, 1.0))\n",
        "                return [False for _ in settlements]\n",
        ["tests/worker", "tests/processes/test_outages.py"],
    ),
    Fault(
        "given-back-and-run",
        "A task that the supervisor has given back starts here all the same.",
        "pyxqueue/inflight.py",
        "            if self._memory[slot] not in (_WAITING, _PINNED):\n                return False\n",
        "",
        ["tests/test_inflight.py", "tests/worker"],
    ),
    Fault(
        "stopped-charged",
        "What a worker is cut off from when it is stopped counts as a crash.",
        "pyxqueue/supervisor/supervisor.py",
        'return "the worker stopped, and its grace period was over" if self._is_stopping() else ""',
        'return ""',
        ["tests/processes/test_signals.py"],
    ),
    Fault(
        "neighbours-charged",
        "When a task is killed at its hard limit, the other tasks of its process count as crashed.",
        "pyxqueue/supervisor/supervisor.py",
        "        if child.overdue is not None:\n            return f",
        "        if False:\n            return f",
        ["tests/processes/test_deaths.py", "-k", "hard_limit"],
    ),
    Fault(
        "orphans-live",
        "The workers of a supervisor that was killed go on, and run what others have taken over.",
        "pyxqueue/supervisor/watchdog.py",
        "    for pid in pids:\n        kill_group(pid)\n",
        "",
        ["tests/processes/test_deaths.py"],
    ),
    Fault(
        "grandchildren-live",
        "What a task started outlives its process.",
        "pyxqueue/supervisor/children.py",
        "        kill_group(child.pid)  # the processes that it has started\n",
        "",
        ["tests/processes/test_deaths.py"],
    ),
    Fault(
        "drops-what-failed-again",
        "A failed task that is retried while old ones are deleted goes too, although it waits or has failed again.",
        f"{_LUA}/delete.lua",
        "local is_meant = not entry or task.place == 'f' and task.entry == entry",
        "local is_meant = true",
        ["tests/redis/test_dropping.py"],
    ),
    Fault(
        "edit-twice",
        "The same edit of a failed task, done again after a crash, runs it twice.",
        "pyxqueue/client/editing.py",
        "change = json.dumps([message.id, name, priority]).encode()",
        "change = __import__('os').urandom(8)",
        ["tests/queue/test_editing.py"],
    ),
    Fault(
        "forked-connection",
        "A forked process uses the connections of its parent, and replies reach the wrong one.",
        f"{_REDIS}/session.py",
        "if link is None or link.pid != os.getpid():",
        "if link is None:",
        ["tests/redis/test_connections.py", "-k", "fork"],
    ),
    Fault(
        "older-waiter-untold",
        "In a cluster, a client of an older program that waits is told of no end: it knows no shard channels.",
        f"{_LUA}/_cluster.lua",
        "if type(heard) ~= 'number' or heard == 0 then",
        "if type(heard) ~= 'number' then",
        ["tests/topologies/test_shards.py", "-k", "valkey"],
    ),
    Fault(
        "moved-slot-unheard",
        "A client that waits in a cluster goes on listening at the old owner of a slot that has moved.",
        f"{_REDIS}/subscribing.py",
        'if kind == "sunsubscribe" and message["channel"].decode() in self._channels:',
        "if False:",
        ["tests/topologies/test_shards.py", "-k", "valkey"],
    ),
    Fault(
        "bound-counts-once",
        "A batch of calls makes a queue with `max_length` longer than that.",
        f"{_LUA}/enqueue_ready_within.lua",
        "    length = length + 1\n",
        "",
        _BOUND,
    ),
    Fault(
        "bound-blind-to-classes",
        "Urgent tasks of other programs do not count for `max_length`.",
        f"{_LUA}/enqueue_ready_within.lua",
        "(found[2] or '') ~= ARGV[2]",
        "false",
        _BOUND,
    ),
    Fault(
        "bound-from-tickets-of-then",
        "On SQLite, tasks that others enqueue after a count do not count for `max_length`.",
        "pyxqueue/backends/sqlite/lengths.py",
        " + last - count.ticket",
        "",
        ["tests/sqlite/test_lengths.py"],
    ),
    Fault(
        "clock-jump-of-a-file-unseen",
        "On SQLite, all leases count as ended when the clock of the machine was set ahead.",
        "pyxqueue/backends/sqlite/jumps.py",
        "abs(offset - self._offset) > lease / 2",
        "abs(offset - self._offset) > 1e300",
        ["tests/sqlite/test_jumps.py"],
    ),
    Fault(
        "reused-entry-settled",
        "After a restore from a backup, a worker settles the task that has the entry of one that is lost.",
        f"{_LUA}/settle.lua",
        "if is_of_other(one.fields, one.id, one.entry) then",
        "if false then",
        ("tests/redis/test_reused_entries.py", "-k", "valkey"),
    ),
    Fault(
        "lost-tokens-stay-lost",
        "Tasks wait for ever for tokens of messages that were deleted by hand.",
        f"{_LUA}/recount.lua",
        "if counts then set_right(gate, counts[gate] or 0) end",
        "",
        ("tests/redis/test_unnoted.py", "-k", "valkey and token"),
    ),
    Fault(
        "streams-swapped",
        "A group takes the stream of the first one when the list of groups was lost.",
        f"{_LUA}/register.lua",
        "if is_there(KEYS[3]) and not is_there(KEYS[2]) then stream = KEYS[3] end",
        "",
        ("tests/redis/test_lost_groups.py", "-k", "valkey"),
    ),
    Fault(
        "offered-once",
        "A task that must run alone waits for ever behind one that never ends, while other processes are idle.",
        "pyxqueue/worker/claiming.py",
        "then * 2 ** (offers - 1) if offers else first",
        "None if offers else first",
        ("tests/worker/test_worker.py", "-k", "alone"),
    ),
]
