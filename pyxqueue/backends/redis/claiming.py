"""Claiming: by priority class, and within a class what came back and what is new in turns (B2), read on a connection
of its own.

Each line is a stream. One read takes from both of class 0, up to the limit from each, so that the usual claim, when
nothing came back, costs one command. What it has read beyond the limit goes back to its place. Where other classes are
in use, a script reads the lines in their order; only a claim that waits reads all at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

from redis.exceptions import NoScriptError

from ...errors import BrokerError, BrokerUnavailableError
from ...model.message import Delivery, Message, evolve
from ...model.turns import BY_AGE, Turn, take_first
from ...model.turns import Lines as TwoLines
from . import commands
from .connect import Client, as_text
from .faults import StaleGroups
from .keys import CLASS, LINES, GroupKeys, lines_of
from .reading import entry_fence
from .reclaiming import Reclaimer
from .registration import Registration
from .session import REPLY_TIMEOUT, Session
from .steps import Steps

MAX_BLOCK = 2_000
"""Ms that a blocking read may take, well under its socket's timeout."""
_Line: TypeAlias = Sequence[tuple[bytes, Sequence[bytes]]]
"""Entries of one stream: id, and fields."""
_Entry: TypeAlias = tuple[str, bytes, Sequence[bytes]]
"""The place of its stream, id, and fields."""
T = TypeVar("T")


class Reader:
    """The connection on which a worker claims. It has its own, on which no command is repeated, because the reply hands
    out messages."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._client: Client | None = None
        self._client_id: int | None = None
        self.is_interrupted = False

    def run(self, steps: Steps[T]) -> T:
        """Take steps whose commands hand out messages."""
        return self._session.run(steps, self.execute)

    def execute(self, *args: Any, seconds: float | None = None) -> Any:  # noqa: ARG002 - each waits as long
        client = self._client or self._open()
        try:
            return client.execute_command(*as_text(args))
        except NoScriptError:
            raise
        except Exception as error:  # noqa: BLE001 - not all that the driver raises is a RedisError
            ours = self._session.fault(error)
        raise ours  # as in `Session.execute`

    def read_streams(
        self, group: str, consumer: str, streams: Sequence[str], count: int, block_ms: int
    ) -> Mapping[bytes, _Line]:
        """Read up to `count` new entries of each stream; wait `block_ms` for the first, or not at all if that is 0."""
        args: list[str | int] = ["XREADGROUP", "GROUP", group, consumer, "COUNT", count]
        if block_ms > 0:
            args += ["BLOCK", block_ms]
        found: dict[bytes, _Line] = dict(self.execute(*args, "STREAMS", *streams, *[">"] * len(streams)) or ())
        if block_ms > 0 and found and not any(found.values()):
            # Redis 6.2 or 7.0 was woken by an entry that a script has added and deleted; something else has come back.
            return self.read_streams(group, consumer, streams, count, 0)
        return found

    def _open(self) -> Client:
        config = self._session.config
        timeout = REPLY_TIMEOUT + MAX_BLOCK / 1000
        client = self._session.guard(lambda: config.open(timeout=timeout, retries=0))
        self._client, self._client_id = client, None
        if not config.is_cluster:  # there another node may have a connection of that number
            with suppress(Exception):  # an ACL may forbid it: an interrupt then waits for the block's end
                self._client_id = int(client.execute_command("CLIENT", "ID"))
        return client

    def take_interrupt(self) -> bool:
        """Whether there was an interrupt; it is forgotten."""
        interrupted, self.is_interrupted = self.is_interrupted, False
        return interrupted

    def interrupt(self) -> None:
        """End the read that waits in another thread, or the next one that would wait."""
        self.is_interrupted = True
        if self._client_id is not None:
            try:
                self._session.execute("CLIENT", "UNBLOCK", self._client_id)
            except (BrokerUnavailableError, StaleGroups):
                return  # then the read fails by itself, or ends with its block
            except Exception:  # noqa: BLE001 - an ACL forbids it, or the server does not know it: the block ends by itself
                self._client_id = None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = self._client_id = None


class Lines:
    """The lines of ready messages of a group, as one handle claims from them."""

    def __init__(self, registration: Registration, reader: Reader, reclaimer: Reclaimer) -> None:
        self.registration = registration
        self._group = registration.options.group
        self._reader = reader
        self._reclaimer = reclaimer
        self._owed = frozenset[int]()
        self._since = 0
        """With `_owed` the parts of a `Turn`, which is made where it is needed: a usual claim needs none."""
        self._came_back = False
        self._keys: GroupKeys | None = None
        self._streams: Sequence[str] = ()
        self._places: Sequence[tuple[str, bytes]] = ()

    def take(self, consumer: str, limit: int, block_ms: int) -> list[Delivery]:
        """Claim at most `limit` messages; wait `block_ms` for the first, or not at all if that is 0."""
        claimed = self._drawn_after(self._take(consumer, limit, block_ms))
        names = self.registration.names
        if names.asks_all or self._reclaimer.health.last > names.known_until:
            return self._asked(claimed)
        return claimed

    def _asked(self, claimed: list[Delivery]) -> list[Delivery]:
        """L9: have the store asked before each start, if a task name is paused. That is read again if it was read too
        long ago, as after a read that has waited."""
        names = self.registration.names
        if claimed and self._reclaimer.health.last > names.known_until:
            names.look()
        if not names.asks_all:
            return claimed
        return [evolve(one, must_begin=True) if isinstance(one.message, Message) else one for one in claimed]

    def _drawn_after(self, claimed: list[Delivery]) -> list[Delivery]:
        """Draw from fair lines, if messages with shares were claimed. If that fails, a supervisor does it."""
        for one in claimed:
            if one.message.share:
                self._draw(Counter(LINES[CLASS[delivery.receipt[0]]][0] for delivery in claimed))
                break
        return claimed

    def _draw(self, taken: Mapping[str, int]) -> None:
        with suppress(BrokerError, StaleGroups):
            self.registration.do(lambda keys: commands.draws(keys, taken))

    def _take(self, consumer: str, limit: int, block_ms: int) -> list[Delivery]:
        if self.registration.groups.classes:
            return self._of_all_classes(consumer, limit, block_ms)
        share = (limit + 1) // 2 if self._came_back else limit
        found = self._read(consumer, share, block_ms)
        came_back, new = found["a"], found["n"]
        missing = limit - len(came_back) - len(new)
        if missing > 0 and share in (len(came_back), len(new)):
            more = self._read(consumer, missing, 0)
            came_back, new = [*came_back, *more["a"]], [*new, *more["n"]]
        return self._hand_out(consumer, limit, {"a": came_back, "n": new})

    def streams(self) -> Sequence[str]:
        """The live streams, in the order in which one read takes from all of them."""
        keys = self.registration.keys
        if keys is not self._keys:
            places = [place for line in lines_of(keys.classes).values() for place in line]
            self._keys, self._streams = keys, [keys.places[place] for place in places]
            self._places = [(place, keys.places[place].encode()) for place in places]
        return self._streams

    def pick(self, consumer: str, limit: int, found: Mapping[bytes, _Line]) -> list[Delivery]:
        """Hand out at most `limit` of what a read has found in `streams`; what is beyond goes back to its place."""
        self._reclaimer.health.seen(self.registration.lease_ms)
        claimed = self._hand_out(consumer, limit, {place: found.get(stream, ()) for place, stream in self._places})
        return self._asked(self._drawn_after(claimed))

    def note_time(self, server_ms: int) -> None:
        """Note what the server's clock has just shown."""
        self._reclaimer.clock.note(server_ms)

    def lost(self) -> None:
        """Note that the server did not reply."""
        self._reclaimer.health.lost()

    def _hand_out(self, consumer: str, limit: int, found: Mapping[str, _Line]) -> list[Delivery]:
        if len(found) > 2:
            return self._in_turns(consumer, limit, found)
        came_back, new = found["a"], found["n"]
        self._came_back = bool(came_back)
        if not came_back and not self._owed and len(new) <= limit:
            self._since += len(new)
            now = self._reclaimer.clock()
            return [commands.delivery("n", entry, flat, consumer, now) for entry, flat in new]
        return self._in_turns(consumer, limit, {"a": came_back, "n": new})

    def _of_all_classes(self, consumer: str, limit: int, block_ms: int) -> list[Delivery]:
        registration = self.registration
        found = self._reader.run(
            registration.current(
                lambda groups: commands.claim(
                    groups.streams[self._group], consumer, limit, self._turn(), self._reclaimer.clock
                )
            )
        )
        self._reclaimer.health.seen(registration.lease_ms)
        if found or block_ms <= 0:
            last = {CLASS[place]: place for place in (one.receipt[0] for one in found)}
            came_back = {number: place == LINES[number][0] for number, place in last.items()}
            self._owed, self._since = self._turn().after(came_back, len(found))
            return found
        return self._in_turns(consumer, limit, self._read(consumer, limit, block_ms))

    def _turn(self) -> Turn:
        return Turn(self._owed, self._since % BY_AGE)

    def _in_turns(self, consumer: str, limit: int, found: Mapping[str, _Line]) -> list[Delivery]:
        def line(place: str) -> Sequence[_Entry]:
            return [(place, *entry) for entry in found.get(place, ())]

        classes = {number: TwoLines(*map(line, places)) for number, places in LINES.items()}
        taken = take_first(classes, limit, self._turn(), lambda entry: entry_fence(entry[1].decode()))
        self._owed, self._since = taken.turn
        kept = {
            place: size
            for number, sizes in taken.numbers.items()
            for place, size in zip(LINES[number], sizes, strict=True)
        }
        surplus = [(place, line, kept.get(place, 0)) for place, line in found.items()]
        self._unread(consumer, [(place, line, size) for place, line, size in surplus if size < len(line)])
        now = self._reclaimer.clock()
        return [commands.delivery(place, entry, flat, consumer, now) for place, entry, flat in taken.messages]

    def _unread(self, consumer: str, surplus: Sequence[tuple[str, _Line, int]]) -> None:
        """Return the entries of each line that are beyond those that are kept."""
        if not surplus:
            return
        rest = [(place, [entry.decode() for entry, _ in line[kept:]]) for place, line, kept in surplus]
        left = self.registration.do(lambda keys: commands.unread(keys, self._group, consumer, rest))
        self._reclaimer.put_back(consumer, left)

    def _read(self, consumer: str, count: int, block_ms: int) -> Mapping[str, _Line]:
        """Read from all lines, up to `count` from each. Returns their entries by place."""
        found = self._reader.read_streams(self._group, consumer, self.streams(), count, block_ms)
        self._reclaimer.health.seen(self.registration.lease_ms)
        return {place: found.get(stream, ()) for place, stream in self._places}
