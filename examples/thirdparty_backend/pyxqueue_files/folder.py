"""A folder whose files change together or not at all, also when the process is killed in between.

Who changes something holds the lock of the folder. First all that is to be written goes into one file, the journal,
which gets its name in one step; from then on the change has happened. The files themselves are written after it, and
the journal is deleted. Whoever finds a journal when it gets the lock has come after a process that was killed, and
writes the files again; writing them twice does no harm.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pyxqueue.errors import BrokerUnavailableError

_JOURNAL = msgspec.msgpack.Decoder(dict[str, bytes | None])


class Change:
    """What one operation reads, and what it is about to write. Names are paths within the folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.writes: dict[str, bytes | None] = {}

    def read(self, name: str) -> bytes | None:
        """The content of a file, as it will be after this change; None if there is none."""
        return self.writes[name] if name in self.writes else _read(self._path / name)

    def write(self, name: str, data: bytes) -> None:
        self.writes[name] = data

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with all that is in it."""
        self.writes[name] = None

    def names(self, folder: str) -> list[str]:
        """The sorted names of the files in a folder, as they will be after this change."""
        path = self._path / folder
        found = {file.name for file in path.iterdir()} if path.exists() else set()
        for name, data in self.writes.items():
            parent, _, last = name.rpartition("/")
            if parent == folder:
                (found.discard if data is None else found.add)(last)
        return sorted(found)

    def ticket(self) -> int:
        """Draw a number that is larger than all before. This wakes all waiting calls."""
        number = int(self.read("ticket") or 0) + 1
        self.write("ticket", b"%d" % number)
        return number


class Folder:
    """The folder of one queue."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def change(self) -> Iterator[Change]:
        """One operation, alone on this host: what it writes takes effect when it ends well, and else nothing does.

        Raises `BrokerUnavailableError` if the folder cannot be read or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Each operation opens the file for itself, so that the lock is between threads, too.
            with (self.path / "lock").open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    self._finish()
                    change = Change(self.path)
                    yield change
                    if change.writes:
                        self._begin(change)
                        self._finish()
                finally:
                    # Closing it would not do: a process that was forked meanwhile has the file open as well.
                    fcntl.flock(lock, fcntl.LOCK_UN)
        except OSError as error:
            raise BrokerUnavailableError(f"{self.path}: {error}") from error

    def ticket(self) -> bytes:
        """What has changed whenever something has that others wait for; it is read without the lock."""
        try:
            return _read(self.path / "ticket") or b""
        except OSError as error:
            raise BrokerUnavailableError(f"{self.path}: {error}") from error

    def _begin(self, change: Change) -> None:
        unnamed = self.path / "journal.new"
        unnamed.write_bytes(msgspec.msgpack.encode(change.writes))
        unnamed.rename(self.path / "journal")  # the step that counts

    def _finish(self) -> None:
        journal = self.path / "journal"
        if (data := _read(journal)) is None:
            return
        for name, content in _JOURNAL.decode(data).items():
            file = self.path / name
            if content is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            elif file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)
        journal.unlink()


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
