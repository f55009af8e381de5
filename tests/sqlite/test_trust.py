"""Whoever can write a store can have its workers run any task, so a store that others can write is refused."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import closing
from pathlib import Path

import pytest

from pyxqueue import TaskQueue
from pyxqueue.backends.sqlite import open_backend
from pyxqueue.backends.sqlite.trust import intruders
from pyxqueue.errors import ConfigurationError, StoreFileError
from pyxqueue.model.message import Message
from pyxqueue.protocols import StoreOptions

from .conftest import Open

US, ROOT, STRANGER = 1000, 0, 4_242_424


def found(mode: int, owner: int = US, group: int = STRANGER) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, owner, group, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (found(stat.S_IFREG | 0o644), ""),
        (found(stat.S_IFDIR | 0o755, ROOT), ""),
        (found(stat.S_IFLNK | 0o777), ""),
        (found(stat.S_IFREG | 0o600, STRANGER), "belongs to the user 4242424"),
        (found(stat.S_IFLNK | 0o777, STRANGER), "belongs to the user 4242424"),
        (found(stat.S_IFDIR | 0o1777, ROOT), "can be written by everybody"),
        (found(stat.S_IFREG | 0o666), "can be written by everybody"),
        (found(stat.S_IFREG | 0o660), "can be written by the group 4242424"),
    ],
)
def test_who_else_could_write_it(what: os.stat_result, why: str) -> None:
    """Ours or root's, and nobody else may write; the rights of a link mean nothing, its owner does."""
    assert intruders(what, US) == why


def test_a_group_with_nobody_else_in_it_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many systems make such a group for each user, and let it write what the user makes."""
    # Given
    members: list[str] = []
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(("ann", "x", US, 7, "", "/", "")))
    monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group(("ann", "x", 7, members)))
    # When, then
    assert intruders(found(stat.S_IFDIR | 0o775, US, 7), US) == ""
    members.append("bob")
    assert intruders(found(stat.S_IFDIR | 0o775, US, 7), US) == "can be written by the group ann"


def test_a_file_that_everybody_can_write_is_refused(open_store: Open, file: Path) -> None:
    """It may hold tasks of anybody; nothing in it was touched, and the words say what to do."""
    open_store().enqueue([Message("a", "kit.job")])
    file.chmod(0o666)
    before = file.read_bytes()

    with pytest.raises(StoreFileError, match=r"queue\.db can be written by everybody.*chmod go-w.*shared=yes"):
        open_store().claim("w", 1, 0)
    assert file.read_bytes() == before


def test_a_planted_default_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder like /tmp anybody can make `.pyxqueue` before we do."""
    # Given
    tmp_path.chmod(0o1777)
    (tmp_path / ".pyxqueue").mkdir()
    (tmp_path / ".pyxqueue").chmod(0o777)
    monkeypatch.chdir(tmp_path)
    # When, then
    refused = pytest.raises(StoreFileError, match=r"\.pyxqueue can be written by everybody")
    with closing(open_backend("sqlite:///.pyxqueue/queue.db", StoreOptions())) as backend, refused:
        backend.lease_ms()
    assert not list((tmp_path / ".pyxqueue").iterdir())


def test_our_own_default_store_in_an_open_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder above is sticky: nobody can put another in the place of ours."""
    tmp_path.chmod(0o1777)
    monkeypatch.chdir(tmp_path)

    with closing(open_backend("sqlite:///.pyxqueue/queue.db", StoreOptions())) as backend:
        assert backend.enqueue([Message("a", "kit.job")]) == [True]
    made = list((tmp_path / ".pyxqueue").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert len(made) > 1


def test_a_folder_above_that_everybody_can_write_is_refused(open_store: Open, tmp_path: Path) -> None:
    """Whoever can rename our folder can put his own in its place."""
    (tmp_path / "open" / "ours").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)

    with pytest.raises(StoreFileError, match="open can be written by everybody"):
        open_store(tmp_path / "open" / "ours" / "queue.db").lease_ms()


def test_a_link_is_judged_by_both_its_ends(open_store: Open, tmp_path: Path) -> None:
    """A link in a folder of others leads wherever they like: no file is made there."""
    # Given
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(0o777)
    (tmp_path / "ours").mkdir()
    link = tmp_path / "theirs" / "queue.db"
    link.symlink_to(tmp_path / "ours" / "made.db")
    # When, then
    with pytest.raises(StoreFileError, match="theirs can be written by everybody"):
        open_store(link).lease_ms()
    assert not list((tmp_path / "ours").iterdir())


def test_a_shared_store_is_taken_where_that_is_said(tmp_path: Path) -> None:
    """Its file can be written by the group, and so can what SQLite puts beside it."""
    tmp_path.chmod(0o777)

    with closing(open_backend(f"sqlite:///{tmp_path}/queue.db?shared=yes", StoreOptions())) as backend:
        assert backend.enqueue([Message("a", "kit.job")]) == [True]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o660}


def test_shared_is_yes_or_no() -> None:
    """Anything else is a mistake."""
    with pytest.raises(ConfigurationError, match="it is yes or no"):
        open_backend("sqlite:///q.db?shared=1", StoreOptions())


@pytest.mark.parametrize("shared", ["", "?shared=yes"])
def test_a_pipe_in_the_place_of_the_file_is_refused(tmp_path: Path, shared: str) -> None:
    """It would be waited for without an end: whoever may write in a shared folder can put one there."""
    os.mkfifo(tmp_path / "queue.db")
    queue = TaskQueue(f"sqlite:///{tmp_path}/queue.db{shared}", stream_key="q")

    with closing(queue), pytest.raises(StoreFileError, match="a pipe, a socket or a device"):
        queue.stores.backend.lease_ms()


@pytest.mark.parametrize("shared", ["", "?shared=yes"])
@pytest.mark.parametrize("name", ["-journal", "-wal", "-shm"])
def test_a_link_beside_the_file_is_refused(tmp_path: Path, name: str, shared: str) -> None:
    """SQLite would write wherever it leads."""
    with closing(open_backend(f"sqlite:///{tmp_path}/queue.db{shared}", StoreOptions())) as backend:
        backend.enqueue([Message("a", "kit.job")])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("theirs")
    Path(f"{tmp_path}/queue.db{name}").unlink(missing_ok=True)
    Path(f"{tmp_path}/queue.db{name}").symlink_to(elsewhere)

    refused = pytest.raises(StoreFileError, match=f"{name} is a link")
    with closing(open_backend(f"sqlite:///{tmp_path}/queue.db{shared}", StoreOptions())) as backend, refused:
        backend.lease_ms()
    assert elsewhere.read_text() == "theirs"


@pytest.mark.parametrize("name", ["-journal", "-wal", "-shm"])
def test_a_file_of_others_beside_the_file_is_refused(open_store: Open, file: Path, name: str) -> None:
    """SQLite takes what is in it for a part of the database."""
    open_store().enqueue([Message("a", "kit.job")])
    beside = Path(f"{file}{name}")
    beside.touch()
    beside.chmod(0o666)

    with pytest.raises(StoreFileError, match=f"{name} can be written by everybody"):
        open_store().lease_ms()


def test_a_pipe_beside_the_file_is_refused(open_store: Open, file: Path) -> None:
    """It would be waited for without an end."""
    open_store().enqueue([Message("a", "kit.job")])
    Path(f"{file}-journal").unlink(missing_ok=True)
    os.mkfifo(f"{file}-journal")

    with pytest.raises(StoreFileError, match="-journal is not a file"):
        open_store().lease_ms()
