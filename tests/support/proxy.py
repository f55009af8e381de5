"""A TCP proxy in front of a server that loses what a test wants lost."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

Judge = Callable[[bytes], bool]


def ports_of(pid: int) -> set[int]:
    """The ports of this machine on which a process has TCP connections; none if there is no such process."""
    folder, sockets, rows = Path(f"/proc/{pid}"), set[str](), list[str]()
    with suppress(FileNotFoundError, ProcessLookupError):
        rows = (folder / "net/tcp").read_text().splitlines()[1:]
        for one in (folder / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                sockets.add(str(one.readlink()))
    return {
        int(local.rpartition(":")[2], 16)
        for _, local, *_, inode in (row.split()[:10] for row in rows)
        if f"socket:[{inode}]" in sockets
    }


class Link:
    """One proxied connection."""

    def __init__(self, client: socket.socket, server: socket.socket, port: int) -> None:
        self.client = client
        self.server = server
        self.port = port
        """That of the client."""
        self.said = b""
        """What the client has sent since the last reply came."""
        self.frozen = False
        self.muted = False

    def half_close(self) -> None:
        """Tell the client that nothing more will come. It may go on talking."""
        with suppress(OSError):
            self.client.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Forwards a local port to `port`.

    `lose_reply_of(judge)` arms one fault: the next request that `judge` accepts reaches the server, and
    its connection is cut instead of passing the reply on.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        """Where new connections lead; it may be changed."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._links: set[Link] = set()
        self._lock = threading.Lock()
        self._judge: Judge | None = None
        self.closed = False
        """While it is set, new connections are refused; open ones stay."""
        self.lost = threading.Event()
        """Set when an armed fault has happened."""
        self.piece = 1 << 16
        """How many bytes of a reply are passed on at a time."""
        self.delay = 0.0
        """Seconds for which each reply is held back."""
        self._swallowed = 0
        """The process whose connections hang."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def lose_reply_of(self, judge: Judge) -> None:
        self.lost.clear()
        self._judge = judge

    def cut_all(self) -> int:
        """Cut every open connection; return how many."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.cut()
        return len(links)

    def freeze_all(self) -> int:
        """From now on, drop what clients send on the connections that are open now; return how many those are."""
        with self._lock:
            for link in self._links:
                link.frozen = True
            return len(self._links)

    def mute_all(self) -> int:
        """From now on, drop what the server replies on the connections that are open now; return how many those are."""
        with self._lock:
            for link in self._links:
                link.muted = True
            return len(self._links)

    def swallow(self, pid: int) -> int:
        """From now on, drop everything on the connections of this process, also on new ones; return how many are open
        now. Linux only."""
        self._swallowed, ports = pid, ports_of(pid)
        with self._lock:
            links = [link for link in self._links if link.port in ports]
        for link in links:
            link.frozen = link.muted = True
        return len(links)

    def half_close_all(self) -> int:
        """Close the open connections in one direction, from the server to the client; return how many those are."""
        with self._lock:
            for link in self._links:
                link.half_close()
            return len(self._links)

    def cut_broken(self) -> int:
        """Cut the connections on which something is dropped; return how many."""
        with self._lock:
            broken = {link for link in self._links if link.frozen or link.muted}
            self._links -= broken
        for link in broken:
            link.cut()
        return len(broken)

    def deafen_all(self) -> int:
        """From now on, the kernel drops what comes in on a connection that is open now, unacknowledged, as a firewall
        does; return how many those are. Linux only."""
        nothing = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # the filter "return 0"
        with self._lock:
            for link in self._links:
                program = struct.pack("HL", 1, ctypes.addressof(nothing))
                link.client.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
            return len(self._links)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while True:
            try:
                client, address = self._listener.accept()
            except OSError:
                return
            if self.closed:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a piece is a packet
            link = Link(client, server, address[1])
            if self._swallowed:
                link.frozen = link.muted = link.port in ports_of(self._swallowed)
            with self._lock:
                self._links.add(link)
            threading.Thread(target=self._requests, args=(link,), daemon=True).start()
            threading.Thread(target=self._replies, args=(link,), daemon=True).start()

    def _requests(self, link: Link) -> None:
        with suppress(OSError):
            while data := link.client.recv(1 << 16):
                if link.frozen:
                    continue
                link.said += data
                link.server.sendall(data)
        self._drop(link)

    def _replies(self, link: Link) -> None:
        with suppress(OSError):
            while data := link.server.recv(1 << 16):
                said, link.said = link.said, b""
                if self._judge is not None and self._judge(said):
                    self._judge = None
                    self.lost.set()
                    break
                if self.delay:
                    time.sleep(self.delay)
                if not link.muted:
                    self._pass_on(link, data)
        self._drop(link)

    def _pass_on(self, link: Link, data: bytes) -> None:
        piece = self.piece  # it may change meanwhile
        for start in range(0, len(data), piece):
            link.client.sendall(data[start : start + piece])

    def _drop(self, link: Link) -> None:
        with self._lock:
            self._links.discard(link)
        link.cut()
