"""A task that is interrupted while it begins to wait for another leaves the thread that listens as it should be."""

from __future__ import annotations

import threading
from contextlib import closing

from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig
from pyxqueue.backends.redis.listening import Channel, Listener
from tests.support.interrupting import places
from tests.support.until import until


def test_an_interrupt_while_a_channel_is_added(redis_url: str, stream_key: str) -> None:
    """The next wait is told what is published there."""
    config, name = ConnectionConfig.from_url(redis_url), f"{{{stream_key}}}:wake"
    made: list[tuple[Listener, Channel]] = []

    def add() -> None:
        made.append((Listener(config), Channel(name)))
        listener, channel = made[-1]
        listener.add(channel)

    with closing(Redis.from_url(redis_url)) as client:
        for place in places(add):
            for listener, channel in made:
                is_heard(client, listener, channel, place)
            made.clear()


def is_heard(client: Redis, listener: Listener, channel: Channel, place: int) -> None:
    heard = threading.Event()
    with channel.watching(["a"], lambda *_: heard.set()):
        listener.add(channel)
        until(lambda: client.publish(channel.name, "a") and heard.is_set(), f"it is heard, after place {place}")
    listener.stop()
