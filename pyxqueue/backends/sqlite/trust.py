"""Checks who else can write to a store. A user who can may let the workers run any task, with their rights."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ...errors import StoreFileError


def check_trust(named: str, real: str) -> None:
    """Raises `StoreFileError` if others can write the file, or put another one in its place.

    `named` is the absolute path that was given, `real` the same with every link followed; the folders must exist, the
    file need not. As OpenSSH requires of its own files, they and their folder must belong to us or to root, and no
    other user may write to them. No folder above may be writable by everybody, unless it is sticky, as /tmp is.
    """
    us = os.geteuid()
    for path in map(Path, dict.fromkeys((named, real))):
        for place, found in (*_both(path.parent), *_both(path)):
            if why := intruders(found, us):
                raise _refused(place, why)
        for above in path.parent.parents:
            mode = above.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                raise _refused(above, "can be written by everybody")


def check_beside(real: str, *, shared: bool) -> None:
    """Raises `StoreFileError` if SQLite would write somewhere else, or wait for ever, because of what is beside the
    file: a link, a pipe, or a file of another user (which is allowed if `shared`).
    """
    us = os.geteuid()
    for name in ("-journal", "-wal", "-shm"):
        path = Path(f"{real}{name}")
        with suppress(FileNotFoundError):
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                what = "a link" if stat.S_ISLNK(found.st_mode) else "not a file"
                raise StoreFileError(f"{path} is {what}, and SQLite would write there: move it away")
            if not shared and (why := intruders(found, us)):
                raise _refused(path, why)


def _both(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What is at `path`: the link, if it is one, and what it leads to."""
    with suppress(FileNotFoundError):
        found = path.lstat()
        yield path, found
        if stat.S_ISLNK(found.st_mode):
            yield path, path.stat()


def intruders(found: os.stat_result, us: int) -> str:
    """Who besides root and the user `us` can change it, in words; "" if no other user can."""
    if found.st_uid not in (0, us):
        return f"belongs to the user {_user(found.st_uid)}"
    if stat.S_ISLNK(found.st_mode):
        return ""  # its rights mean nothing
    if found.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid, us):
        return f"can be written by the group {_group(found.st_gid)}"
    return ""


def _is_own_group(gid: int, us: int) -> bool:
    """Whether it is the group that many systems make for each user, without other members."""
    with suppress(KeyError):
        user, group = pwd.getpwuid(us).pw_name, grp.getgrgid(gid)
        return group.gr_name == user and set(group.gr_mem) <= {user}
    return False


def _user(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _group(gid: int) -> str:
    with suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)


def _refused(path: Path, why: str) -> StoreFileError:
    return StoreFileError(
        f"{path} {why}, and a user who can write there can let these workers run any task: name a file in a folder of "
        f"your own, or remove that right (chmod go-w). If you trust those users, add ?shared=yes to the URL"
    )
