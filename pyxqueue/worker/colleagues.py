"""What the other workers of a group say that they can serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from itertools import chain, repeat

from attrs import define, field
from msgspec import Struct

from ..calls import takes
from ..codec import Codec
from ..errors import BrokerError
from ..model.message import Message
from ..protocols import Broker, HasPresence
from ..registry import Registry

_KEPT = 10.0
"""Seconds for which an answer of the store is used again."""


class _Colleague(Struct, frozen=True):
    tasks: dict[str, str]
    """For each task, its `Signature.text`; empty if it is not known."""
    serializers: Collection[str]


@define(eq=False)
class Colleagues:
    """The workers of a group, by what their supervisors announce. Threads may share it."""

    broker: Broker
    registry: Registry
    codec: Codec
    _monotonic: Callable[[], float] = time.monotonic
    _all: Sequence[_Colleague] = field(default=(), init=False)
    _until: float = field(default=0.0, init=False)

    def can_serve(self, message: Message) -> bool:
        """Return whether a worker that lives and claims may serve a message that this one cannot: it announces the
        task, reads the serializer, and its function takes the arguments, as far as this worker can read them. While
        the store cannot say that, True."""
        if self._monotonic() >= self._until:
            try:
                self._all = self._read()
            except BrokerError:
                return True
            self._until = self._monotonic() + _KEPT
        theirs = [one.tasks[message.name] for one in self._all if _may_read(one, message)]
        if not theirs or message.serializer not in self.codec.serializers:
            return bool(theirs)
        own = self.registry.get(message.name)
        try:
            args, kwargs = self.codec.open_call(message)
        except BaseException:  # noqa: BLE001 - a serializer's hooks are the user's code
            return own is None
        if own is not None and takes(own.signature.text, args, kwargs):
            return False  # it fails for another reason
        return any(takes(text, args, kwargs) or (own is None and not text) for text in theirs)

    def _read(self) -> list[_Colleague]:
        from ..model.presence import Announcement  # noqa: PLC0415 - only a worker that cannot serve a message asks

        if not isinstance(self.broker, HasPresence):
            return []
        said = [Announcement.read(one.text) for one in self.broker.present() if one.fresh]
        return [
            _Colleague(dict(zip(one.tasks, chain(one.parameters, repeat("")), strict=False)), one.serializers)
            for one in said
            if one is not None and one.workers and not one.draining
        ]


def _may_read(colleague: _Colleague, message: Message) -> bool:
    return message.name in colleague.tasks and message.serializer in colleague.serializers
