"""Where the file is, and whether a store may be kept there."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from attrs import frozen

from ...errors import ConfigurationError, StoreFileError
from ...printable import quoted
from ...serializers.tags import is_encodable
from ...urls import shown

PRIVATE_FOLDER = ".pyxqueue"
"""A folder of this name is made if it does not exist, readable by its owner only; no other folder is made."""
DURABILITIES = ("normal", "full")

FileSystemOf = Callable[[str], str]
"""Returns the type of the file system on which a folder is, or "" if it is not known."""

_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "ceph", "glusterfs", "lustre", "beegfs", "webdav",
    "afpfs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone",
}  # fmt: skip


@frozen
class Location:
    """A file, by its absolute path, and how its store is kept."""

    path: str
    durability: str = "normal"
    named: str = ""
    """The path that was given, made absolute; `path` is where its links lead."""
    shared: bool = False
    """Whether other users are trusted to write it."""

    @property
    def folder(self) -> Path:
        return Path(self.path).parent


def from_url(url: str) -> Location:
    """Read ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with ``?durability=full&shared=yes`` if wanted.

    Raises `ConfigurationError` for another host, an unknown option, or a database in memory.
    """
    rest, _, query = url.removeprefix("sqlite://").partition("?")
    host, slash, raw = rest.partition("/")
    if not slash or host:
        raise ConfigurationError(
            "the sqlite URL names no file: write sqlite:///relative.db or sqlite:////absolute/path.db"
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    durability = options.pop("durability", "normal")
    shared = options.pop("shared", "no")
    if options:
        text = f"{shown(url)} has an unknown option {quoted(min(options))}; there are durability=full and shared=yes"
        raise ConfigurationError(text)
    if shared not in ("yes", "no"):
        raise ConfigurationError(f"shared=... of {shown(url)} is not known: it is yes or no")
    if durability not in DURABILITIES:
        raise ConfigurationError(f"durability=... of {shown(url)} is not known: it is {' or '.join(DURABILITIES)}")
    return locate(unquote(raw), durability, shared=shared == "yes")


def locate(path: str | os.PathLike[str], durability: str = "normal", *, shared: bool = False) -> Location:
    """The file at `path`, as seen from the directory that is current now."""
    text = os.fspath(path)
    if durability not in DURABILITIES:
        raise ConfigurationError(f"durability {quoted(durability)} is not known: it is {' or '.join(DURABILITIES)}")
    if not text or "\0" in text or Path(text).name.startswith(":memory:"):
        raise ConfigurationError(
            f"{quoted(text)} is not a file, and a SQLite store needs one; memory:// is the store without a file"
        )
    location = Location(os.path.realpath(text), durability, os.path.abspath(text), shared)  # noqa: PTH100 - as text
    if not is_encodable(location.path + location.named):
        raise ConfigurationError(f"{quoted(location.path)} is not UTF-8, as SQLite needs it: name a file elsewhere")
    return location


def prepare_folder(location: Location, file_system: FileSystemOf) -> None:
    """Make sure that there is a folder in which a store may be kept.

    Raises `ConfigurationError` where there is none, and `StoreFileError` on a network file system: its locks cannot be
    trusted, and without them two processes damage the file.
    """
    folder = location.folder
    if folder.name == PRIVATE_FOLDER:
        _make_private(folder)
    try:
        if not folder.is_dir():
            what = "is not a folder: move it away" if folder.exists() else "does not exist: make it"
            raise ConfigurationError(f"the folder {folder} {what}, or name another file")
        if Path(location.path).is_dir():
            raise StoreFileError(f"{location.path} is a folder: name a file in it")
        if Path(location.path).exists() and not Path(location.path).is_file():  # opening a pipe would never end
            raise StoreFileError(f"{location.path} is a pipe, a socket or a device: name a file")
    except OSError as error:
        raise StoreFileError(f"{location.path} cannot be reached: {error}") from error
    kind = file_system(str(folder))
    if kind in _NETWORK:
        raise StoreFileError(
            f"{location.path} is on a network file system ({kind}), where SQLite's locks cannot be trusted: use a disk "
            "of this machine, or a redis:// store to share a queue between machines"
        )


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreFileError(f"the folder {folder} cannot be made: {error}") from error
    # Where it fails, the store's own file says what is wrong.
    with suppress(OSError), open(folder / ".gitignore", "x", opener=_private) as file:
        file.write("*\n")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, stat.S_IRUSR | stat.S_IWUSR)


def is_there(path: str) -> bool:
    """Whether there is something at `path`. Raises `StoreFileError` if that cannot be found out."""
    try:
        os.stat(path)  # noqa: PTH116 - as everywhere here, a str
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreFileError(f"{path} cannot be reached: {error}") from error
    return True


def make_file(path: str, *, shared: bool = False) -> None:
    """Make an empty file that only its owner can read (`shared`: and its group), where there is none.

    SQLite gives the same rights to the files that it puts beside it. Raises `StoreFileError` where that is not allowed.
    """
    try:
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, stat.S_IRUSR | stat.S_IWUSR)
        if shared:
            os.fchmod(made, 0o660)
        os.close(made)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreFileError(f"{path} cannot be made: {error}") from error


def file_system_of(folder: str) -> str:
    """The type of the file system below `folder`; only Linux says it."""
    if not sys.platform.startswith("linux"):
        return ""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    return longest_mount(lines, os.path.realpath(folder))


def longest_mount(lines: Iterable[str], folder: str) -> str:
    """Of the mounts in ``mountinfo``, the type of the one that `folder` is in; a later mount hides an earlier."""
    best, kind = "", ""
    for line in lines:
        words, _, rest = line.partition(" - ")
        point = words.split(" ")[4].encode().decode("unicode_escape") if words.count(" ") >= 4 else ""
        inside = point in {"/", folder} or folder.startswith(f"{point}/")
        if point and rest and inside and len(point) >= len(best):
            best, kind = point, rest.split(" ")[0]
    return kind
